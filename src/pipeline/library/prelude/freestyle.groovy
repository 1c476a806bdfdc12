// Freestyle: what a job is configured with comes as one map, and is walked here. There is one machine for all job types.
// The log shows what Jenkins shows of such builds: all of it is said here.

// The executor came with the build.
def $freestyle(job) {
    def granted = $node(job.label)
    try {
        return $inWorkspace(granted, job.customWorkspace, {
            $say($whereItRuns())
            $freestyleMain(job)
            $freestyleAfter(job)
        })
    } finally {
        $release(granted)
    }
}

// Whatever becomes of it, what comes after runs.
def $freestyleMain(job) {
    try {
        if (job.cleanBefore) {
            $freestyleClean()
        }
        def found = $hasScm() ? $checkoutScm() : [:]
        $inEnv(found.collect { name, value -> "${name}=${value}" }, { $freestyleLimited(job) })
    } catch (Throwable e) {
        if ($fatal(e)) {
            throw e
        }
        if ($interruption(e)) {
            $setResult($resultOf(e))
        } else {
            $note($shown(e))
            $setResult('FAILURE')
        }
    }
}

def $freestyleLimited(job) {
    if (job.timeout == null) {
        return $freestyleBuilders(job.builders)
    }
    def limit = $limit($expand(job.timeout.time), job.timeout.activity)
    def timer = $timer(limit, 'MILLISECONDS', job.timeout.activity)
    try {
        try {
            $inTimer(timer, { $freestyleBuilders(job.builders) })
        } finally {
            $timerEnd(timer)
        }
    } catch (Throwable e) {
        def mine = $timedOut(e, timer)
        if ($fatal(e) || !mine) {
            throw e
        }
        def minutes = limit.intdiv(60000)
        def marked = job.timeout.fails ? 'failed' : 'aborted'
        $note("Build timed out (after ${minutes} minutes). Marking the build as ${marked}.\nBuild was aborted")
        $setResult(job.timeout.fails ? 'FAILURE' : 'ABORTED')
    }
}

// The first that fails ends them.
def $freestyleBuilders(builders) {
    for (builder in builders) {
        def status = $freestyleBuilder(builder)
        if (status != 0 && status == builder.unstable) {
            if ($noWorseThan('SUCCESS')) {
                $note("Build step '${builder.name}' changed build result to UNSTABLE")
            }
            $setResult('UNSTABLE')
        } else if (status != 0) {
            $note("Build step '${builder.name}' marked build as failure")
            $setResult('FAILURE')
            return
        }
    }
}

def $freestyleBuilder(builder) {
    $say($commandLine(builder.step, builder.script))
    try {
        return $step(builder.step, [[script: builder.script, returnStatus: true]], true)
    } catch (Throwable e) {
        if ($fatal(e) || $interruption(e)) {
            throw e
        }
        $note("ERROR: ${e.message}")
        return -1
    }
}

def $freestyleAfter(job) {
    for (publisher in job.publishers) {
        if (publisher.kind == 'archive') {
            $freestyleStep('Archive the artifacts', { $freestyleArchive(publisher) })
        }
    }
    for (publisher in job.publishers) {
        if (publisher.kind == 'clean' && publisher.results.contains($resultNow())) {
            $freestyleStep('Delete workspace when build is done', { $freestyleClean() })
        }
    }
    for (publisher in job.publishers) {
        if (publisher.kind == 'trigger' && $noWorseThan(publisher.threshold)) {
            for (name in job.unheard) {
                $note("WARNING: ${name} does not run in Majordomo yet: what it would find is not in this result")
            }
            $trigger(publisher.jobs)
        }
    }
}

def $freestyleStep(name, body) {
    try {
        body()
    } catch (Throwable e) {
        if ($fatal(e) || $interruption(e)) {
            throw e
        }
        $note("ERROR: Step ‘${name}’ failed: ${e.message}")
        $setResult('FAILURE')
    }
}

def $freestyleArchive(publisher) {
    def good = $noWorseThan('UNSTABLE')
    if (publisher.onlyIfSuccessful && !good) {
        return $note('Skipped archiving because build is not successful')
    }
    // Of a build that failed nobody expects files.
    $step('archiveArtifacts', [[
        artifacts: $expand(publisher.artifacts), excludes: $expand(publisher.excludes),
        allowEmptyArchive: publisher.allowEmpty || !good, defaultExcludes: publisher.defaultExcludes,
        caseSensitive: publisher.caseSensitive]], true)
}

def $freestyleClean() {
    $say('[WS-CLEANUP] Deleting project workspace...')
    $step('deleteDir', [], false)
    $note('[WS-CLEANUP] done')
}

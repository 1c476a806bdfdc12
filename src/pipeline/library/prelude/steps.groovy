// Steps with a body, as functions of their named arguments and the body. Names with $ are the machine's own.
// What closes something stands in `finally`: it runs for every way out, also for the second abort.

def node(args, body) {
    def granted = $node(args.label)
    try {
        return $inNode(granted, body)
    } finally {
        $release(granted)
    }
}

def $warned(text, name, args, named) {
    $note(text)
    return $step(name, args, named)
}

def stage(args, body) {
    def id = $stageStart(args.name, 0)
    def error = null
    try {
        return $inStage(id, args.name, body)
    } catch (Throwable e) {
        error = e
        throw e
    } finally {
        $blockEnd(id, error, false)
    }
}

def $branch(name, body) {
    def id = $branchStart(name)
    def error = null
    try {
        return body()
    } catch (Throwable e) {
        error = e
        if (!$interruption(e)) {
            $note("Failed in branch ${name}")
        }
        throw e
    } finally {
        $blockEnd(id, error, false)
    }
}

def dir(args, body) {
    return $inDir(args.path, body)
}

def withEnv(args, body) {
    return $inEnv(args.overrides, body)
}

def timeout(args, body) {
    def timer = $timer(args.time, args.unit)
    try {
        return $inTimer(timer, body)
    } finally {
        $timerEnd(timer)
    }
}

def retry(args, body) {
    def left = args.count as int
    while (true) {
        try {
            return body()
        } catch (Throwable e) {
            left = left - 1
            if (left < 1 || $interruption(e) || $fatal(e)) {
                throw e
            }
            $note($shown(e))
            $note('Retrying')
        }
    }
}

def catchError(args, body) {
    try {
        return body()
    } catch (Throwable e) {
        if ($fatal(e) || $interruption(e) && args.catchInterruptions == false) {
            throw e
        }
        if (args.message) {
            $note(args.message)
        }
        $note($shown(e))
        def result = args.containsKey('buildResult') ? args.buildResult ?: 'SUCCESS' : 'FAILURE'
        $setResult($interruption(e) ? $resultOf(e) : result)
        $stageResult($interruption(e) ? $resultOf(e) : args.stageResult ?: 'SUCCESS')
        return null
    }
}

def warnError(args, body) {
    def all = [message: args.message, buildResult: 'UNSTABLE', stageResult: 'UNSTABLE']
    if (args.catchInterruptions == false) {
        all.catchInterruptions = false
    }
    return catchError(all, body)
}

def unstable(args, body) {
    $note("WARNING: ${args.message}")
    $stageResult('UNSTABLE')
    $setResult('UNSTABLE')
}

def waitUntil(args, body) {
    def pause = args.initialRecurrencePeriod ?: 250
    while (!body()) {
        $sleep(pause)
        pause = pause >= 12500 ? 15000 : pause * 6 / 5 as int
    }
}

def timestamps(args, body) {
    return body()
}

def ansiColor(args, body) {
    return body()
}

def script(args, body) {
    return body()
}

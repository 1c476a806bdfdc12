// Steps with a body, as functions of their named arguments and the body. Names with $ are the machine's own.
// What closes something stands in `finally`: it runs for every way out, also for the second abort.
// Whatever no act shows in the log by itself is shown by a remark: `[Pipeline] dir`, `[Pipeline] {`, `[Pipeline] // dir`.

// A step whose body runs once.
def $block(name, remark, body) {
    $say("[Pipeline] ${name}${remark == null ? '' : '\n' + remark}\n[Pipeline] {")
    try {
        return body()
    } finally {
        $note("[Pipeline] }\n[Pipeline] // ${name}")
    }
}

// A step that says what happened in its body before it ends, and may run it again.
def $body(body) {
    $say('[Pipeline] {')
    try {
        return body()
    } finally {
        $note('[Pipeline] }')
    }
}

def node(args, body) {
    def granted = $node(args.label)
    try {
        return $inNode(granted, body)
    } finally {
        $release(granted)
    }
}

def $announced(text, name, args, named) {
    $say(text)
    return $step(name, args, named)
}

def $print(object) {
    return $step('println', [object.toString()], false)
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
        $stageEnd(id, error, false)
    }
}

def $branch(name, body) {
    def id = $branchStart(name)
    def error = null
    try {
        return body()
    } catch (Throwable e) {
        error = e
        throw e
    } finally {
        $branchEnd(id, error)
        if (error != null && !$interruption(error)) {
            $note("Failed in branch ${name}")
        }
    }
}

def $branches(bodies, failFast) {
    $say('[Pipeline] parallel')
    try {
        return $parallel(bodies, failFast)
    } finally {
        $note('[Pipeline] // parallel')
    }
}

def dir(args, body) {
    def folder = $folder(args.path)
    return $block('dir', "Running in ${folder}", { $inDir(folder, body) })
}

def withEnv(args, body) {
    return $block('withEnv', null, { $inEnv(args.overrides, body) })
}

def timeout(args, body) {
    def timer = $timer(args.time, args.unit, args.activity)
    try {
        try {
            return $inTimer(timer, body)
        } finally {
            $timerEnd(timer)
        }
    } catch (Throwable e) {
        $leavesTimeout(e, timer)
        throw e
    } finally {
        $note('[Pipeline] }\n[Pipeline] // timeout')
    }
}

def retry(args, body) {
    def left = args.count as int
    $say('[Pipeline] retry')
    try {
        while (true) {
            try {
                return $body(body)
            } catch (Throwable e) {
                left = left - 1
                if (left < 1 || $actual(e) || $fatal(e)) {
                    throw e
                }
                $note($shown(e))
                $note('Retrying')
            }
        }
    } finally {
        $note('[Pipeline] // retry')
    }
}

def catchError(args, body) {
    return $caught('catchError', args, body)
}

def $caught(name, args, body) {
    $say("[Pipeline] ${name}")
    try {
        return $body(body)
    } catch (Throwable e) {
        if ($fatal(e) || $actual(e) && args.catchInterruptions == false) {
            throw e
        }
        if (args.message) {
            $note("ERROR: ${args.message}")
        }
        $note($shown(e))
        def result = args.containsKey('buildResult') ? args.buildResult ?: 'SUCCESS' : 'FAILURE'
        $setResult($interruption(e) ? $resultOf(e) : result)
        $stageResult($interruption(e) ? $resultOf(e) : args.stageResult ?: 'SUCCESS')
        return null
    } finally {
        $note("[Pipeline] // ${name}")
    }
}

def warnError(args, body) {
    def all = [message: args.message, buildResult: 'UNSTABLE', stageResult: 'UNSTABLE']
    if (args.catchInterruptions == false) {
        all.catchInterruptions = false
    }
    return $caught('warnError', all, body)
}

def unstable(args, body) {
    $say('[Pipeline] unstable')
    $note("WARNING: ${args.message}")
    $stageResult('UNSTABLE')
    $setResult('UNSTABLE')
}

def waitUntil(args, body) {
    def pause = args.initialRecurrencePeriod ?: 250
    $say('[Pipeline] waitUntil')
    try {
        while (!$body(body)) {
            $sleep(pause)
            pause = pause >= 12500 ? 15000 : pause * 6 / 5 as int
        }
    } finally {
        $note('[Pipeline] // waitUntil')
    }
}

def timestamps(args, body) {
    return $block('timestamps', null, body)
}

def ansiColor(args, body) {
    return $block('ansiColor', null, body)
}

def script(args, body) {
    return $block('script', null, body)
}

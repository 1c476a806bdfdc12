// Declarative: `pipeline { }` comes as one tree of maps, lists and closures, and is walked here.

// The result of the build is never set by an error here: the error is carried, `post` looks at it, and it is thrown at the
// end. So what is tried again leaves nothing behind, and a branch does not fail because of another one.

// What fails before the stages begin, or is aborted there, finds no agent, and its `post` runs on none.
def $pipeline(p) {
    def state = [begun: false]
    try {
        $withAgent(p.agent, p, true, {
            $environment(p.environment, {
                $wrapped(p.options, {
                    state.begun = true
                    $stagesAndPost(p)
                })
            })
        })
    } catch (Throwable e) {
        if ($fatal(e) || state.begun) {
            throw e
        }
        throw $postStage(p.post, e)
    }
}

def $stagesAndPost(p) {
    def error = null
    try {
        $stages(p.stages, p)
    } catch (Throwable e) {
        if ($fatal(e)) {
            throw e
        }
        error = e
    }
    error = $postStage(p.post, error)
    if (error != null) {
        throw error
    }
}

def $wrapped(options, body) {
    if (options.timestamps) {
        return timestamps([:], { $limited(options, body) })
    }
    return $limited(options, body)
}

def $limited(options, body) {
    if (options.timeout != null) {
        def limit = options.timeout
        return timeout([time: limit.time(), unit: limit.unit, activity: limit.activity], { $retried(options, body) })
    }
    return $retried(options, body)
}

def $retried(options, body) {
    if (options.retry != null) {
        return retry([count: options.retry()], body)
    }
    return body()
}

def $withAgent(agent, root, top, body) {
    if (agent == null || agent.kind == 'none') {
        return body()
    }
    def label = agent.label == null ? null : agent.label()
    return node([label: label], {
        if (!$hasScm() || root.skipCheckout) {
            return body()
        }
        def found = top ? stage([name: 'Declarative: Checkout SCM'], { $checkoutScm() }) : $checkoutScm()
        return withEnv([overrides: found.collect { name, value -> "${name}=${value}" }], body)
    })
}

def $environment(pairs, body) {
    if (pairs.isEmpty()) {
        return body()
    }
    def all = []
    for (pair in pairs) {
        def value = $inEnv(all, pair[1])
        all.add("${pair[0]}=${value}")
    }
    return withEnv([overrides: all], body)
}

def $stages(stages, root) {
    def error = null
    for (s in stages) {
        def skip = null
        if (error != null) {
            skip = 'earlier failure(s)'
        } else if (root.skipAfterUnstable && $currentResult() == 'UNSTABLE') {
            skip = 'earlier stage(s) marking the build as unstable'
        }
        try {
            $stage(s, root, skip)
        } catch (Throwable e) {
            if ($fatal(e)) {
                throw e
            }
            error = error ?: e
        }
    }
    if (error != null) {
        throw error
    }
}

def $stage(s, root, skip) {
    def id = $stageStart(s.name, s.line)
    def error = null
    def state = [skipped: false]
    try {
        if (skip != null) {
            state.skipped = true
            $skip(s, root, skip)
            return null
        }
        return $inStage(id, s.name, {
            if (s.parallel == null) {
                return $stageInside(s, root, state, { $stageSteps(s, root) })
            }
            $stageAndPost(s, state, { $stageInside(s, root, state, { $parallelStages(s, root) }) })
        })
    } catch (Throwable e) {
        error = e
        throw e
    } finally {
        $stageEnd(id, error, state.skipped)
    }
}

def $skip(s, root, why) {
    $note("Stage \"${s.name}\" skipped due to ${why}")
    for (inner in (s.stages ?: s.parallel ?: [])) {
        $stage(inner, root, why)
    }
}

def $stageInside(s, root, state, body) {
    $wrapped(s.options, {
        if (s.when != null && s.beforeAgent && !$holds(s.when)) {
            state.skipped = true
            return $skip(s, root, 'when conditional')
        }
        $withAgent(s.agent, [skipCheckout: root.skipCheckout || s.skipCheckout], false, {
            if (s.when != null && !s.beforeAgent && !$holds(s.when)) {
                state.skipped = true
                return $skip(s, root, 'when conditional')
            }
            $environment(s.environment, body)
        })
    })
}

// `post` runs where the steps do: a stage that never got its agent, or was stopped while it waited for one, has none. Only
// the one of parallel stages, which have no agent in common, is outside of the options and the environment.
def $stageSteps(s, root) {
    $stageAndPost(s, [skipped: false], {
        if (s.steps != null) {
            s.steps()
        } else {
            $stages(s.stages, root)
        }
    })
}

def $stageAndPost(s, state, body) {
    def error = null
    try {
        body()
    } catch (Throwable e) {
        if ($fatal(e)) {
            throw e
        }
        error = e
    }
    if (!state.skipped) {
        error = $post(s.post, error, true)
    }
    if (error != null) {
        throw error
    }
}

def $parallelStages(s, root) {
    def branches = [:]
    for (inner in s.parallel) {
        def mine = inner
        branches[mine.name] = { $stage(mine, root, null) }
    }
    $branches(branches, s.failFast || root.failFast)
}

def $holds(conditions) {
    for (c in conditions) {
        if (!$condition(c)) {
            return false
        }
    }
    return true
}

def $condition(c) {
    switch (c.kind) {
        case 'expression':
            return c.test() ? true : false
        case 'equals':
            return c.expected() == c.actual()
        case 'environment':
            def value = $env($text(c.name()))
            def wanted = $text(c.value())
            return value != null && (c.ignoreCase ? value.equalsIgnoreCase(wanted) : value == wanted)
        case 'not':
            return !$condition(c.of[0])
        case 'anyOf':
            for (inner in c.of) {
                if ($condition(inner)) {
                    return true
                }
            }
            return false
        default:
            return $holds(c.of)
    }
}

// The body sees in `currentBuild` what the condition has looked at. A stage also looks at what its own steps gave it.
def $post(post, error, ofStage) {
    def said = !ofStage
    for (p in post) {
        if ($applies(p.condition, error, ofStage)) {
            if (!said) {
                $note('Post stage')
                said = true
            }
            try {
                $inPost(error, p.body)
            } catch (Throwable e) {
                if ($fatal(e)) {
                    throw e
                }
                $note("Error when executing ${p.condition} post condition:")
                $note($shown(e))
                error = error ?: e
            }
        }
    }
    return error
}

def $postStage(post, error) {
    def any = false
    for (p in post) {
        any = any || $applies(p.condition, error, false)
    }
    if (!any) {
        return error
    }
    try {
        stage([name: 'Declarative: Post Actions'], {
            def later = $post(post, error, false)
            if (error == null && later != null) {
                throw later
            }
        })
    } catch (Throwable e) {
        if ($fatal(e)) {
            throw e
        }
        return error ?: e
    }
    return error
}

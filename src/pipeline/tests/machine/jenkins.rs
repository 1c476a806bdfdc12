//! What Jenkinsfiles write that is neither plain Groovy nor one step: each line is an idiom that people use.

use pipeline::act::{Began, BuildResult, Earlier};

use crate::support::{Build, began, program};

/// Runs each script with a few files there, and compares what it echoes.
fn table(rows: &[(&str, &[&str])]) {
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|(source, wanted)| {
            let build = run(source);
            let found = build.echoes();
            let error = build.error();
            (found != *wanted)
                .then(|| format!("{source}\n  wanted {wanted:?}\n  found  {found:?}\n  {error}"))
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn run(source: &str) -> Build {
    let mut build = Build::new(&program(source), &began());
    build.files.insert("x".into(), "one\ntwo\n".into());
    build.finish();
    build
}

#[test]
fn steps_have_receivers() {
    table(&[
        ("steps.echo 'a'; this.echo 'b'; steps.echo(message: 'c')", &["a", "b", "c"]),
        (
            "def script = this; node { script.sh 'x'; script.echo script.pwd(); script.env.X = 'y'; script.echo script.env.X }",
            &["/ws/job", "y"],
        ),
        (
            "node { def o = steps.sh(script: 'out hi', returnStdout: true); steps.echo o.trim(); this.dir('d') { this.echo steps.pwd() } }",
            &["hi", "/ws/job/d"],
        ),
        (
            "def f(steps) { steps.stage('s') { steps.echo steps.env.JOB_NAME } }\nf(this); f(steps)",
            &["folder/job", "folder/job"],
        ),
        (
            "class Tool { def steps; Tool(steps) { this.steps = steps }\n def build(String n) { steps.node { steps.echo n; steps.sh(\"make $n\") } } }\nnew Tool(this).build('a')",
            &["a"],
        ),
        (
            "class Tool implements Serializable { Script script; def run() { script.echo \"${script.params.WHO} ${script.currentBuild.number}\" } }\nnew Tool(script: this).run()",
            &["world 7"],
        ),
        (
            "def call(Map config = [:], Closure body) { config.n = 1; body(config) }\ncall(m: 2) { c -> echo \"$c\" }\nthis.call { echo \"$it\" }",
            &["[m:2, n:1]", "[n:1]"],
        ),
    ]);
}

#[test]
fn environment_and_parameters_are_read_in_many_ways() {
    table(&[
        (
            "echo env.getProperty('WHO'); echo env['WHO']; echo params['WHO']; echo \"${env.WHO} ${params.get('WHO')}\"",
            &["world", "world", "world", "world world"],
        ),
        ("env['A'] = 'b'; env.setProperty('C', 'd'); echo \"${env.A} ${env['C']} $C\"", &["b d d"]),
        ("def n = 'A'; env.\"$n\" = 1; env[\"${n}2\"] = 2; echo env.A + env.\"${n}2\"", &["12"]),
        (
            "echo \"${env.NOPE} ${env.NOPE ?: 'd'} ${env['NOPE'] == null} ${params.NOPE} ${params.FLAG ? 'y' : 'n'}\"",
            &["null d true null y"],
        ),
        (
            "echo \"${params.containsKey('WHO')} ${params.collect { k, v -> \"$k=$v\" }} ${params.getOrDefault('X', 'z')}\"",
            &["true [FLAG=true, WHO=world] z"],
        ),
        ("env.A = null; echo \"${env.A}\"", &["null"]),
        (
            "echo \"${env.BUILD_NUMBER.toInteger() + 1} ${env.FLAG.toBoolean()} ${env.FLAG == 'true'} ${env.WHO?.size()}\"",
            &["8 true true 5"],
        ),
        (
            "echo \"${env.getEnvironment().containsKey('WHO')} ${env.getEnvironment()['JOB_NAME']}\"",
            &["true folder/job"],
        ),
        (
            "withEnv(['A=1', 'B=2']) { echo A + env.B }\nwithEnv([\"A=${params.WHO}\"]) { echo \"$A\" }",
            &["12", "world"],
        ),
        (
            "echo \"${binding.hasVariable('nope')} ${getBinding().hasVariable('x')}\"\nx = 1\necho \"${binding.hasVariable('x')} ${binding.getVariable('x')}\"; binding.setVariable('y', 2); echo \"$y\"",
            &["false false", "true 1", "2"],
        ),
    ]);
}

#[test]
fn current_build_can_be_read_and_set() {
    table(&[
        (
            "currentBuild.result = 'UNSTABLE'; echo \"${currentBuild.getResult()} ${currentBuild.currentResult} ${currentBuild.getCurrentResult()}\"",
            &["UNSTABLE UNSTABLE UNSTABLE"],
        ),
        ("currentBuild.setResult('FAILURE'); echo currentBuild.result", &["FAILURE"]),
        (
            "currentBuild.displayName = \"#${BUILD_NUMBER} x\"; currentBuild.description = 'd'; echo currentBuild.displayName + currentBuild.description",
            &["#7 xd"],
        ),
        (
            "currentBuild.setDisplayName('n'); currentBuild.setDescription('d'); echo \"${currentBuild.getDisplayName()}${currentBuild.getDescription()} ${currentBuild.getNumber()} ${currentBuild.fullProjectName}\"",
            &["nd 7 folder/job"],
        ),
        (
            "echo \"${currentBuild.resultIsBetterOrEqualTo('UNSTABLE')} ${currentBuild.resultIsWorseOrEqualTo('UNSTABLE')} ${currentBuild.result ?: 'SUCCESS'}\"",
            &["true false SUCCESS"],
        ),
        (
            "echo \"${currentBuild.getPreviousBuild()?.result} ${currentBuild.changeSets.size()} ${currentBuild.changeSets.isEmpty()} ${currentBuild.durationString.contains('and counting')}\"",
            &["null 0 true true"],
        ),
        (
            "currentBuild.result = hudson.model.Result.UNSTABLE.toString(); echo currentBuild.result",
            &["UNSTABLE"],
        ),
    ]);
    for (source, result, error) in [
        ("currentBuild.result = 'FAILURE'", BuildResult::Failure, ""),
        ("currentBuild.result = 'FAILURE'; currentBuild.result = 'SUCCESS'", BuildResult::Failure, ""),
        ("error(message: 'x')", BuildResult::Failure, "ERROR: x"),
        ("error('x')", BuildResult::Failure, "ERROR: x"),
        ("unstable('x')", BuildResult::Unstable, ""),
        ("unstable(message: 'x')", BuildResult::Unstable, ""),
        (
            "catchError(buildResult: 'SUCCESS', stageResult: 'FAILURE') { error 'x' }",
            BuildResult::Success,
            "",
        ),
        ("catchError(buildResult: null, stageResult: 'UNSTABLE') { error 'x' }", BuildResult::Success, ""),
        ("catchError { error 'x' }", BuildResult::Failure, ""),
        ("catchError('message') { error 'x' }", BuildResult::Failure, ""),
        ("warnError('message') { error 'x' }", BuildResult::Unstable, ""),
        ("throw new hudson.AbortException('x')", BuildResult::Failure, "ERROR: x"),
        (
            "try { error 'x' } catch (err) { currentBuild.result = 'FAILURE'; throw err } finally { echo 'f' }",
            BuildResult::Failure,
            "ERROR: x",
        ),
        (
            "try { error 'x' } catch (Exception e) { currentBuild.result = 'UNSTABLE' }",
            BuildResult::Unstable,
            "",
        ),
        ("currentBuild.result = 'ABORTED'; error 'x'", BuildResult::Aborted, "ERROR: x"),
        (
            "stage('a') { currentBuild.result = 'UNSTABLE'; return }\nstage('b') { echo 'b' }",
            BuildResult::Unstable,
            "",
        ),
        (
            "if (true) { currentBuild.result = 'NOT_BUILT'; return }\nerror 'not here'",
            BuildResult::NotBuilt,
            "",
        ),
        (
            "throw new org.jenkinsci.plugins.workflow.steps.FlowInterruptedException(hudson.model.Result.ABORTED)",
            BuildResult::Aborted,
            "ABORTED",
        ),
    ] {
        let build = run(source);
        assert_eq!(build.result(), result, "{source}\n{}", build.error());
        assert_eq!(build.error(), error, "{source}");
    }
}

#[test]
fn results_of_steps_are_worked_with() {
    table(&[
        (
            "node { def l = sh(script: '''out a\nb''', returnStdout: true).trim().split('\\n'); echo \"${l.length} ${l[0]} ${l[-1]} ${l.size()}\"; for (i in l) { echo i }; l.each { echo it } }",
            &["2 a b 2", "a", "b", "a", "b"],
        ),
        (
            "node { readFile('x').readLines().each { echo it }; readFile(file: 'x').eachLine { echo it }; for (line in readFile('x').split('\\n')) { echo line } }",
            &["one", "two", "one", "two", "one", "two"],
        ),
        (
            "node { echo \"${readFile('x').trim().split().collect { it.length() }.sum()}\"; def m = readFile('x') =~ /tw./; echo m[0]; def (a, b) = readFile('x').tokenize('\\n'); echo b + a }",
            &["6", "two", "twoone"],
        ),
        (
            "node { if (sh(script: 'exit 1', returnStatus: true) != 0) { echo 'bad' }\n def rc = sh returnStatus: true, script: 'exit 2'\n echo \"rc ${rc}\"\n def out = sh returnStdout: true, script: 'out x'\n echo out.trim() }",
            &["bad", "rc 2", "x"],
        ),
        (
            "node { if (fileExists('x') && !fileExists('y')) { echo 'yes' }\n echo isUnix() ? 'u' : 'w' }",
            &["yes", "u"],
        ),
        (
            "node { writeFile(file: 'j', text: '{\"a\": [1, {\"b\": null}]}'); def j = readJSON text: readFile('j'); echo \"${j.a[1].containsKey('b')} ${j.a.size()} ${j['a'][0]}\" }",
            &["true 2 1"],
        ),
        (
            "node { def r = stage('s') { return 5 }\n def t = timeout(5) { 6 }\n def u = retry(3) { 7 }\n def v = dir('x') { withEnv(['A=1']) { A } }\n echo \"$r $t $u $v ${node('b') { NODE_NAME }} ${script { 8 }}\" }",
            &["5 6 7 1 b-1 8"],
        ),
        (
            "node('a && b') { echo NODE_LABELS }\nnode('!a || (b)') { echo 'x' }\nnode(label: 'c') { echo NODE_NAME }\nnode('') { echo NODE_NAME }",
            &["a && b", "x", "c-1", "agent-1"],
        ),
        ("stage 'old'\necho 'x'", &[]),
        ("stage('e') { }\necho 'x'", &["x"]),
        (
            "timeout(time: 1, unit: 'HOURS') { echo 'a' }\ntimeout(time: 1) { echo 'b' }\ntimeout(time: 5, unit: TimeUnit.SECONDS) { echo 'c' }",
            &["a", "b", "c"],
        ),
        (
            "def n = 0\nwaitUntil { n++; return n > 2 }\nwaitUntil(initialRecurrencePeriod: 15000) { n++ > 4 }\necho \"$n\"",
            &["6"],
        ),
        (
            "println 'a'; print 'b'; println(\"c${1}\"); println([1, 2]); println(null); echo \"${[a: 1]}\"; echo(null as String)",
            &["a", "b", "c1", "[1, 2]", "null", "[a:1]", "null"],
        ),
        ("echo 'a' + 1 + null; echo \"\"\"x\n${1 + 1}\"\"\"; echo 'it\\'s'", &["a1null", "x\n2", "it's"]),
    ]);
}

#[test]
fn branches_are_built_in_loops() {
    table(&[
        (
            "def b = [:]\nfor (i in 1..3) { def n = i\n b[\"b$n\"] = { echo \"n$n\" } }\nparallel b",
            &["n1", "n2", "n3"],
        ),
        ("def b = [:]\n['x', 'y'].each { n -> b[n] = { stage(n) { echo n } } }\nparallel(b)", &["x", "y"]),
        (
            "def b = [failFast: true]\n[a: 1, c: 2].each { k, v -> b.put(k, { echo \"$k$v\" }) }\nparallel b",
            &["a1", "c2"],
        ),
        ("parallel(['x', 'y'].collectEntries { n -> [(n): { echo n }] })", &["x", "y"]),
        (
            "parallel(['x', 'y'].collectEntries { [\"run ${it}\", make(it)] })\ndef make(n) { return { -> node(n) { echo NODE_NAME } } }",
            &["x-1", "y-1"],
        ),
        (
            "def b = [:]\nfor (int i = 0; i < 2; i++) { int k = i; b[\"$k\"] = { echo \"$k\" } }\ndef r = parallel(b + [z: { 'zz' }])\necho r.z",
            &["0", "1", "zz"],
        ),
        (
            "def b = [:]\ndef l = ['p', 'q']\nfor (int i = 0; i < l.size(); i++) { def v = l.get(i); b[v] = { -> try { if (v == 'q') { error v } } finally { echo v } } }\ntry { parallel b } catch (e) { echo \"e ${e.message}\" }",
            &["p", "q", "Failed in branch q", "e q"],
        ),
        (
            "def all = ['a', 'b', 'c', 'd'].collate(2)\nfor (part in all) { parallel part.collectEntries { n -> [n, { echo n }] } }",
            &["a", "b", "c", "d"],
        ),
        (
            "def axes = [os: ['l', 'w'], jdk: [8, 11]]\ndef combos = [axes.os, axes.jdk].combinations()\nparallel combos.collectEntries { os, jdk -> [(\"$os-$jdk\".toString()): { echo \"$os$jdk\" }] }",
            &["l8", "w8", "l11", "w11"],
        ),
    ]);
}

#[test]
fn maps_switches_and_texts_are_used_as_in_jenkins() {
    table(&[
        (
            "def m = [:]; m.a = 1; m['b'] = 2; m.each { k, v -> echo \"$k $v\" }; m.each { e -> echo \"${e.key} ${e.getValue()}\" }; for (e in m) { echo e.key }; for (k in m.keySet()) { echo k }; m.entrySet().each { echo \"$it\" }",
            &["a 1", "b 2", "a 1", "b 2", "a", "b", "a", "b", "a=1", "b=2"],
        ),
        (
            "def f(x) { switch (x) { case 'a': return 'text'; case ~/v\\d+/: return 'regex'; case ['l', 'm']: return 'list'; case 1..5: return 'range'; case Number: return 'number'; case { it == null }: return 'closure'; case Map: return 'map'; default: return 'other' } }\necho(['a', 'v12', 'm', 3, 9, null, [:], 'zz'].collect { f(it) }.join(' '))",
            &["text regex list range number closure map other"],
        ),
        ("switch (env.WHO) { case 'x': case 'world': echo 'w'\nbreak\ncase ~/.*/: echo 'any' }", &["w"]),
        (
            "echo 'feature/x-1'.replaceAll('[^a-z0-9]', '_') + 'A_b'.toLowerCase().replace('_', '-') + 'a.b'.split('\\\\.')[1]",
            &["feature_x_1a-bb"],
        ),
        (
            "echo \"${'abc'.startsWith('a')} ${'abc'.endsWith('c')} ${'a-b'.substring(2)} ${'x'.padLeft(3, '0')} ${'a b'.capitalize()} ${'abc'.indexOf('z')} ${'abcabc'.lastIndexOf('b')} ${'a'.compareTo('b')}\"",
            &["true true b 00x A b -1 4 -1"],
        ),
        (
            "echo \"${'1.2.3'.tokenize('.')*.toInteger()} ${'a,b'.split(',').toList()} ${'x=1;y=2'.split(';').collectEntries { it.split('=') as List }}\"",
            &["[1, 2, 3] [a, b] [x:1, y:2]"],
        ),
        (
            "if (env.WHO =~ /^wor/) { echo 'found' }\nif ('release/1.0' ==~ /release\\/.+/) { echo 'match' }\ndef v = ('v1.2.3' =~ /v(\\d+)\\.(\\d+)/)[0]; echo v[1] + v[2]; echo 'a1b2'.findAll(/\\d/).join(); echo 'a1'.find(/\\d/)",
            &["found", "match", "12", "12", "1"],
        ),
        (
            "echo 'abc'.contains('b') ? 'y' : 'n'; echo \"${'a'.equals('a')} ${'A'.equalsIgnoreCase('a')} ${''.isEmpty()} ${' '.trim().isEmpty()} ${'x'.isNumber()} ${'12'.isInteger()} ${'1' as int} ${'a'.multiply(2)}\"",
            &["y", "true true true true false true 1 aa"],
        ),
        (
            "def s = 'x'; s += 'y'; s <<= 'z'; echo s.toString(); echo \"${s.length()}\"; echo 'a'.concat('b'); echo String.valueOf(5); echo 'a,b,,'.split(',').size() + ''; echo 'x' + ['a', 'b'].toString()",
            &["xyz", "3", "ab", "5", "2", "x[a, b]"],
        ),
        (
            "echo 'line1\\nline2'.readLines().size() + ' ' + 'a\\tb'.split('\\t').length + ' ' + 'äö'.length()",
            &["2 2 2"],
        ),
        (
            "echo 'ab'.collect { it.toUpperCase() }.join('-') + 'abc'.toList() + ('a'..'c').join() + 'abc'.getAt(0) + 'x'.toCharArray().length + 'abc'[0..-2]",
            &["A-B[a, b, c]abca1ab"],
        ),
        (
            "echo 'Hello ${x}'.replace('${x}', 'you'); echo 'a'.center(3, '*'); echo 'aXbX'.replaceFirst('X', '-'); echo 'ab12'.replaceAll(/\\D/, ''); echo 'x'.plus('y').minus('x'); echo 'HI'.uncapitalize()",
            &["Hello you", "*a*", "a-bX", "12", "y", "hI"],
        ),
        (
            "def s = 'abcde'; echo s[0..-2] + ' ' + s[-2..-1] + ' ' + s[1..3] + ' ' + s[3..1] + ' ' + s[-1..0] + ' ' + s[0, 2] + ' ' + s[1..<3]; try { s[2..9] } catch (IndexOutOfBoundsException e) { echo 'out' }",
            &["abcd de bcd dcb edcba ac bc", "out"],
        ),
        (
            "def l = [1, 2, 3, 4]; echo \"${l[0..-2]} ${l[-2..-1]} ${l[2..0]} ${l[0, 3]} ${l[1..<3]}\"; try { l[2..9] } catch (IndexOutOfBoundsException e) { echo 'out' }",
            &["[1, 2, 3] [3, 4] [3, 2, 1] [1, 4] [2, 3]", "out"],
        ),
        ("echo \"${'abc'.hashCode()}\"", &["96354"]),
        (
            "def m = [a: [b: 1]]; echo \"${m?.a?.b} ${m?.x?.y} ${m.a.b ?: 0} ${m.containsKey('a')} ${m.size()} ${m.findAll { it.key == 'a' }.size()} ${m.any { k, v -> v.b == 1 }} ${m.collect { k, v -> k }} ${m.remove('a')} $m ${m.isEmpty()}\"",
            &["1 null 1 true 1 1 true [a] [b:1] [:] true"],
        ),
        (
            "def m = [b: 1, a: 2]; echo \"${m.sort()} ${m.sort { -it.value }} ${m.max { it.value }.key} ${m.values().sum()} ${m.find { it.value == 2 }?.key} ${m + [c: 3]} ${m.keySet() as List} ${m.inject(0) { r, k, v -> r + v }} ${m.groupBy { it.value > 1 }} ${m.subMap(['a'])} ${m.min { it.value }.key} ${m.every { it.value }} ${m.count { it.value > 1 }} ${m.putIfAbsent('z', 9)} ${m.z}\"",
            &[
                "[a:2, b:1] [a:2, b:1] a 3 a [b:1, a:2, c:3] [b, a] 3 [false:[b:1], true:[a:2]] [a:2] b true 1 null 9",
            ],
        ),
        (
            "def l = ['b', 'a']; l.push('c'); l.remove('c'); l.add(0, 'z'); l.addAll(['q']); l.removeAll { it == 'q' }; echo \"$l ${l.reverse()} ${l.contains('a')} ${l.indexOf('a')} ${l.first()} ${l.last()} ${l.head()} ${l.tail()} ${l.isEmpty()} ${l.sort(false)} ${l.withIndex().collect { v, i -> \"$i$v\" }} ${l.indexed()} ${l.take(1)} ${l.count { it > 'a' }} ${l.toSet().size()} ${l.findIndexOf { it == 'a' }} ${l.intersect(['a'])} ${l.disjoint(['x'])}\"",
            &[
                "[z, b, a] [a, b, z] true 2 z a z [b, a] false [a, b, z] [0z, 1b, 2a] [0:z, 1:b, 2:a] [z] 2 3 2 [a] true",
            ],
        ),
        (
            "@NonCPS\ndef parse(text) { def m = text =~ /(\\w+)=(\\w+)/; m ? [m[0][1], m[0][2]] : null }\necho \"${parse('a=b')} ${parse('x')}\"",
            &["[a, b] null"],
        ),
        (
            "import static java.util.UUID.randomUUID\nimport java.text.SimpleDateFormat\ndef d = new Date(); echo d.format('yyyy-MM-dd') + ' ' + new Date().getTime() + ' ' + System.currentTimeMillis().toString().length()",
            &["1970-01-01 1000000 7"],
        ),
        (
            "def (a, b) = 'x-y'.split('-'); def c = a + b; int n = '3' as Integer; long t = 5L; boolean f = !c.isEmpty(); final String s = \"$n\"; echo \"$c $n $t $f $s ${n instanceof Integer}\"",
            &["xy 3 5 true 3 true"],
        ),
        (
            "assert 1 + 1 == 2\ntry { assert params.WHO == 'x' : 'wrong' } catch (AssertionError e) { echo 'assert' }\ndef x = params.WHO ?: 'y'; echo x; echo((x == 'world' && !(x in ['a', 'b'])) ? 'in' : 'out'); echo x !in ['a'] ? '1' : '2'",
            &["assert", "world", "in", "1"],
        ),
        (
            "def closure = { String a, int b = 2 -> \"$a$b\" }; echo closure('x'); echo closure.call('y', 3); def f = this.&g; echo f('z'); def g(x) { x * 2 }; def h = { -> 'no args' }; echo h(); def run(Closure c) { c.resolveStrategy = Closure.DELEGATE_FIRST; c.delegate = [v: 'dv']; c() }; run { echo v }",
            &["x2", "y3", "zz", "no args", "dv"],
        ),
    ]);
}

#[test]
fn what_reaches_beyond_the_library_is_refused() {
    for (source, what) in [
        ("new File('/etc/passwd').text", "new File"),
        ("new java.io.File('x')", "new File"),
        ("File.createTempFile('a', 'b')", "File"),
        ("Jenkins.instance", "Jenkins"),
        ("Jenkins.getInstance()", "Jenkins"),
        ("import jenkins.model.Jenkins\nJenkins.get().items", "Jenkins"),
        ("jenkins.model.Jenkins.instance.items", "jenkins"),
        ("hudson.model.Hudson.instance", "hudson"),
        ("'ls'.execute()", "String.execute()"),
        ("\"ls ${1}\".execute().text", "String.execute()"),
        ("['ls'].execute()", "List.execute()"),
        ("new URL('http://x').text", "new URL"),
        ("'http://x'.toURL().text", "String.toURL()"),
        ("System.getenv('PATH')", "staticMethod java.lang.System getenv"),
        ("System.exit(1)", "staticMethod java.lang.System exit"),
        ("System.getProperty('x')", "staticMethod java.lang.System getProperty"),
        ("Runtime.getRuntime().exec('x')", "Runtime"),
        ("Thread.sleep(1)", "Thread"),
        ("new Thread({ })", "new Thread"),
        ("evaluate('1')", "evaluate()"),
        ("new GroovyShell().evaluate('1')", "new GroovyShell"),
        ("Eval.me('1')", "Eval"),
        ("java.nio.file.Files.readString('x')", "java"),
        ("currentBuild.rawBuild", "currentBuild.rawBuild"),
        ("currentBuild.getRawBuild()", "currentBuild.rawBuild"),
        ("Class.forName('x')", "staticMethod java.lang.Class forName"),
        ("Math.random()", "Math.random()"),
        ("new Random().nextInt()", "new Random"),
    ] {
        let build = run(source);
        let class = "org.jenkinsci.plugins.scriptsecurity.sandbox.RejectedAccessException";
        let sentence =
            format!("{class}: Scripts not permitted to use {what}: it is not part of Majordomo's library\n");
        assert!(build.error().starts_with(&sentence), "{source}\n{}", build.error());
        assert_eq!(build.result(), BuildResult::Failure, "{source}");
    }
    for source in ["this.class.classLoader", "String.metaClass.x = { }"] {
        assert!(run(source).error().starts_with("groovy.lang.MissingPropertyException: "), "{source}");
    }
    assert_eq!(run("def File = 'mine'; java = 1; echo \"$File$java\"").echoes(), ["mine1"]);
}

#[test]
fn current_build_knows_why_it_runs_and_what_ran_before() {
    let ran = |number: u64, result: BuildResult| Earlier {
        number,
        result: Some(result),
        running: false,
        display_name: (number == 4).then(|| "four".to_owned()),
        at: number * 1000,
        duration: 62_000,
    };
    let running = Earlier { result: None, running: true, duration: 0, ..ran(6, BuildResult::Success) };
    let earlier = vec![
        running,
        ran(5, BuildResult::NotBuilt),
        ran(4, BuildResult::Failure),
        ran(2, BuildResult::Unstable),
        ran(1, BuildResult::Success),
    ];
    let began = Began { earlier, ..began() };
    let all = ["", "InProgress", "Built", "Completed", "Failed", "NotFailed", "Successful"];
    let names: Vec<String> = all
        .iter()
        .map(|kind| match *kind {
            "InProgress" => "previousBuildInProgress".to_owned(),
            kind => format!("previous{kind}Build"),
        })
        .collect();
    for (name, number) in names.iter().zip([6, 6, 4, 5, 4, 6, 1]) {
        let build = Build::of_began(&format!("echo \"${{currentBuild.{name}.number}}\""), &began);
        assert_eq!(build.echoes(), [number.to_string()], "{name} {}", build.error());
    }
    for (source, wanted) in [
        (
            "def b = currentBuild.getPreviousBuild().previousBuild.previousBuild; echo \"${b.displayName} ${b.result} ${b.currentResult} ${b.duration} ${b.durationString} ${b.fullDisplayName} ${b.resultIsWorseOrEqualTo('FAILURE')} ${b.nextBuild.number}\"",
            "four FAILURE FAILURE 62000 1 min 2 sec folder » job four true 5",
        ),
        (
            "def n = []; for (def b = currentBuild; b != null; b = b.previousBuild) { n << b.number }; echo \"$n\"",
            "[7, 6, 5, 4, 2, 1]",
        ),
        (
            "def c = currentBuild.getBuildCauses(); echo \"${c.size()} ${c[0]._class} ${c[0].userId} ${c.shortDescription}\"",
            "1 hudson.model.Cause$UserIdCause alice [Started by user Alice A.]",
        ),
        (
            "echo \"${currentBuild.getBuildCauses('hudson.model.Cause$UserIdCause')[0].userName} ${currentBuild.getBuildCauses('hudson.triggers.TimerTrigger$TimerTriggerCause').size()} ${currentBuild.buildCauses.size()}\"",
            "Alice A. 0 1",
        ),
    ] {
        let build = Build::of_began(source, &began);
        assert_eq!(build.echoes(), [wanted], "{source}\n{}", build.error());
    }
    let source = "echo \"${currentBuild.previousSuccessfulBuild.previousSuccessfulBuild}\"";
    assert_eq!(Build::of_began(source, &began).echoes(), ["null"]);
    let far = Build::of_began(source, &Began { older: true, ..began });
    assert!(far.error().contains("of the builds before this one, the newest 5 are known"), "{}", far.error());
}

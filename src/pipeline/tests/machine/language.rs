//! Groovy: what small scripts print.

use crate::support::Build;
use crate::types::echoes;

/// Runs each script and compares what it echoes.
fn table(rows: &[(&str, &[&str])]) {
    for (source, wanted) in rows {
        let build = Build::of(source);
        assert_eq!(build.echoes(), *wanted, "{source}\n{}", build.error());
    }
}

#[test]
fn numbers_behave_as_in_groovy() {
    table(&[
        ("echo \"${1 + 2 * 3}\"", &["7"]),
        ("echo \"${7 / 2} ${6 / 2} ${7 % 3} ${2 ** 10} ${7.intdiv(2)}\"", &["3.5 3 1 1024 3"]),
        ("echo \"${0.1 + 0.2} ${1.0 / 3}\"", &["0.3 0.3333333333"]),
        ("echo \"${9223372036854775807 + 1}\"", &["-9223372036854775808"]),
        ("echo \"${1 == 1.0} ${1 <=> 2} ${'a' < 'b'} ${3 in [1, 2, 3]}\"", &["true -1 true true"]),
        ("def x = 5; x++; x += 10; --x; echo \"$x\"", &["15"]),
        ("def a = [n: 1]; a.n++; a['n'] += 2; echo \"${a.n} ${a.n++} ${++a.n}\"", &["4 4 6"]),
        (
            "echo \"${Math.max(3, 7)} ${Math.abs(-2)} ${Integer.parseInt('42') + 1} ${'12'.toInteger() * 2}\"",
            &["7 2 43 24"],
        ),
        ("echo \"${5 & 3} ${5 | 3} ${5 ^ 3} ${1 << 4} ${-16 >> 2} ${~5}\"", &["1 7 6 16 -4 -6"]),
        ("try { 1 / 0 } catch (ArithmeticException e) { echo e.message }", &["Division by zero"]),
        ("echo String.format('%05d|%-5s|%.2f|%x', 42, 'ab', 3.14159, 255)", &["00042|ab   |3.14|ff"]),
    ]);
}

#[test]
fn texts_behave_as_in_groovy() {
    table(&[
        ("def n = [x: 'x']; echo \"a${n.x}b $n.x ${n.x.size()}\"", &["axb x 1"]),
        ("echo 'Hello'.toUpperCase() + ' ' + 'a,b,c'.split(',').length", &["HELLO 3"]),
        ("echo 'a-b-c'.replaceAll('-(.)', '[$1]')", &["a[b][c]"]),
        ("echo 'abc'[1] + 'abcdef'[1..3] + 'abc'[-1]", &["bbcdc"]),
        (
            "echo \"${'abc'.contains('b')} ${'abc'.indexOf('c')} ${'  x '.trim()}| ${'ab' * 3}\"",
            &["true 2 x| ababab"],
        ),
        ("echo 'a b  c'.tokenize().toString() + 'a:b'.tokenize(':')", &["[a, b, c][a, b]"]),
        ("echo 'one\\ntwo'.readLines().collect { it.capitalize() }.join('+')", &["One+Two"]),
        ("echo \"${'v1.2' ==~ /v\\d+\\.\\d+/} ${('v1.2' =~ /(\\d+)/)[0][1]}\"", &["true 1"]),
        ("def m = 'key=val' =~ /(\\w+)=(\\w+)/; if (m.matches()) { echo m.group(2) }", &["val"]),
        ("def m = 'a1b22' =~ /\\d+/; while (m.find()) { echo m.group() }", &["1", "22"]),
        ("echo 'abc'.padLeft(5, '*') + 'x'.padRight(3) + '|'", &["**abcx  |"]),
        ("echo 'hello world'.replaceAll(/o/) { it.toUpperCase() }", &["hellO wOrld"]),
        ("echo '''a\n  b'''.stripIndent()", &["a\n  b"]),
        ("echo 'abc'.reverse() + 'abc'.take(2) + 'abc'.drop(1) + ('abc' - 'b')", &["cbaabbcac"]),
        ("echo 'x'.equals('x').toString() + ('a' == \"${'a'}\")", &["truetrue"]),
        ("echo 'hi'.bytes.encodeBase64().toString()", &["aGk="]),
    ]);
}

#[test]
fn collections_behave_as_in_groovy() {
    table(&[
        (
            "def l = [3, 1, 2]; l << 4; l.add(5); echo \"$l ${l.size()} ${l[0]} ${l[-1]} ${l[1..2]}\"",
            &["[3, 1, 2, 4, 5] 5 3 5 [1, 2]"],
        ),
        (
            "echo \"${[3, 1, 2].sort()} ${[3, 1, 2].sort { -it }} ${['bb', 'a'].sort { a, b -> a.size() <=> b.size() }}\"",
            &["[1, 2, 3] [3, 2, 1] [a, bb]"],
        ),
        (
            "def m = [a: 1, 'b': 2]; m.c = 3; m['d'] = 4; echo \"$m ${m.a} ${m.get('x', 9)} ${m.x} ${m.keySet()}\"",
            &["[a:1, b:2, c:3, d:4] 1 9 9 [a, b, c, d, x]"],
        ),
        ("[a: 1, b: 2].each { k, v -> echo \"$k=$v\" }", &["a=1", "b=2"]),
        ("[a: 1].each { echo \"${it.key}${it.value}\" }", &["a1"]),
        (
            "echo \"${(1..3).collect { it * 2 }} ${(1..<4).sum()} ${(3..1).toList()}\"",
            &["[2, 4, 6] 6 [3, 2, 1]"],
        ),
        (
            "echo \"${[1, 2, 3, 4].findAll { it % 2 == 0 }} ${[1, 2].find { it > 1 }} ${[1, 2].any { it > 1 }} ${[1].every { it > 1 }}\"",
            &["[2, 4] 2 true false"],
        ),
        (
            "echo \"${[1, 2, 3].inject(0) { a, b -> a + b }} ${['a', 'b'].join('-')} ${[1, [2, [3]]].flatten()}\"",
            &["6 a-b [1, 2, 3]"],
        ),
        (
            "echo \"${['a', 'bb', 'c'].groupBy { it.size() }} ${['a', 'b'].collectEntries { [(it): it * 2] }}\"",
            &["[1:[a, c], 2:[bb]] [a:aa, b:bb]"],
        ),
        ("['x', 'y'].eachWithIndex { v, i -> echo \"$i$v\" }", &["0x", "1y"]),
        ("def (a, b) = [1, 2]; (a, b) = [b, a]; echo \"$a$b\"", &["21"]),
        (
            "echo \"${[1, 2, 2, 3].unique()} ${[1, 2] + [3]} ${[1, 2, 3] - [2]} ${[[1, 2], [3]]*.size()}\"",
            &["[1, 2, 3] [1, 2, 3] [1, 3] [2, 1]"],
        ),
        ("def l = [*[1, 2], 3]; def m = [*:[a: 1], b: 2]; echo \"$l $m\"", &["[1, 2, 3] [a:1, b:2]"]),
        ("def s = [1, 1, 2] as Set; echo \"$s ${s.size()} ${1 in s}\"", &["[1, 2] 2 true"]),
        (
            "echo \"${[a: [b: [c: 5]]].a.b.c} ${[[n: 1], [n: 2]].n} ${null?.foo} ${[1, 2, 3].max()}\"",
            &["5 [1, 2] null 3"],
        ),
        ("3.times { echo \"$it\" }", &["0", "1", "2"]),
        ("1.upto(2) { echo \"$it\" }", &["1", "2"]),
        (
            "echo \"${[3, 1].max { it }} ${[b: 1, a: 2].sort { it.value }} ${[1, 2, 3, 4, 5].collate(2)}\"",
            &["3 [b:1, a:2] [[1, 2], [3, 4], [5]]"],
        ),
        (
            "def m = [:]; m.computeIfAbsent('k') { it + '1' }; echo \"${m} ${m.isEmpty()} ${!m}\"",
            &["[k:k1] false false"],
        ),
    ]);
}

#[test]
fn control_flow_behaves_as_in_groovy() {
    table(&[
        ("for (int i = 0; i < 3; i++) { if (i == 1) continue; echo \"$i\" }", &["0", "2"]),
        ("for (x in ['a', 'b']) { echo x }", &["a", "b"]),
        ("def i = 0; while (true) { i++; if (i > 2) break }; echo \"$i\"", &["3"]),
        (
            "switch (3) { case 1: echo 'one'; break; case [2, 3]: echo 'few'; case 9: echo 'on'; break; default: echo 'many' }",
            &["few", "on"],
        ),
        ("switch ('abc') { case ~/a.*/: echo 'a'; break; case String: echo 's' }", &["a"]),
        (
            "def f(x) { switch (x) { case Integer: return 'int'; case String: return 'text'; default: return 'other' } }\necho f(1) + f('') + f([])",
            &["inttextother"],
        ),
        (
            "outer: for (a in 1..3) { for (b in 1..3) { if (b == 2) continue outer; if (a == 3) break outer; echo \"$a$b\" } }",
            &["11", "21"],
        ),
        ("echo((null ?: 'default') + (0 ? 'y' : 'n') + ('' ?: 'e'))", &["defaultne"]),
        ("def x = null; x ?= 5; echo \"$x\"", &["5"]),
        ("echo \"${[] ? 1 : 0}${[1] ? 1 : 0}${'' ? 1 : 0}${null ? 1 : 0}${[:] ? 1 : 0}\"", &["01000"]),
        ("def f() { try { return 'try' } finally { echo 'finally' } }\necho f()", &["finally", "try"]),
        (
            "def f() { for (i in 1..3) { try { if (i == 2) { continue }; if (i == 3) { break }; echo \"b$i\" } finally { echo \"f$i\" } }; 'end' }\necho f()",
            &["b1", "f1", "f2", "f3", "end"],
        ),
        (
            "def f() { try { try { return 1 } finally { echo 'in' } } finally { echo 'out' } }\necho \"${f()}\"",
            &["in", "out", "1"],
        ),
        ("def f(n) { if (n > 1) { 'big' } else { 'small' } }\necho f(2) + f(0)", &["bigsmall"]),
        ("do { echo 'once' } while (false)", &["once"]),
        (
            "assert 1 == 1; try { assert 1 == 2 : 'no' } catch (Throwable e) { echo e.message }",
            &["no. Expression: (1 == 2)"],
        ),
    ]);
}

#[test]
fn functions_and_closures_behave_as_in_groovy() {
    table(&[
        ("def add(a, b = 10) { a + b }\necho \"${add(1)} ${add(1, 2)}\"", &["11 3"]),
        (
            "def all(Object... xs) { xs.size() }\necho \"${all()} ${all(1)} ${all(1, 2, 3)} ${all([1, 2])}\"",
            &["0 1 3 2"],
        ),
        ("def named(Map m, x) { \"$m $x\" }\necho named(a: 1, 'z')", &["[a:1] z"]),
        ("def c = { it * 2 }; echo \"${c(4)} ${c.call(5)}\"", &["8 10"]),
        ("def n = 0; def inc = { n++ }; inc(); inc(); echo \"$n\"", &["2"]),
        ("def make(n) { return { x -> x + n } }\necho \"${make(3)(4)}\"", &["7"]),
        (
            "def cs = []; for (x in [1, 2]) { def y = x; cs << { y } }; echo \"${cs.collect { it() }}\"",
            &["[1, 2]"],
        ),
        ("def cs = []; for (x in [1, 2]) { cs << { x } }; echo \"${cs*.call()}\"", &["[2, 2]"]),
        ("def f = { a, b = 2 -> a + b }; echo \"${f(1)} ${f.curry(5)(1)}\"", &["3 6"]),
        ("def up = 'abc'.&toUpperCase; echo up()", &["ABC"]),
        ("def compose = { it + 1 } >> { it * 2 }; echo \"${compose(3)}\"", &["8"]),
        ("def fact\nfact = { n -> n <= 1 ? 1 : n * fact(n - 1) }\necho \"${fact(20)}\"", &["-2102132736"]),
        ("def fib(n) { n < 2 ? n : fib(n - 1) + fib(n - 2) }\necho \"${fib(15)}\"", &["610"]),
        ("x = 5; def f() { x + 1 }\necho \"${f()}\"", &["6"]),
        (
            "import groovy.transform.Field\n@Field def n = 1\n@Field String text\ndef f() { n++; \"$n $text\" }\necho f(); text = 'x'; n = 5; echo f()",
            &["2 null", "6 x"],
        ),
        (
            "def f() { all << count++; flag = !flag; all }\nf()\necho \"${f()} $count $flag ${all instanceof Set}\"\n@groovy.transform.Field Set all = [1]\n@Field\nprivate int count\n@Field boolean flag",
            &["[1, 0] 2 false true"],
        ),
        (
            "@Field final List NAMES = ['a', 'b']\nclass C { def f(script) { script.NAMES } }\ndef each(body) { NAMES.each { body(it) } }\neach { echo it }\necho \"${this.NAMES} ${new C().f(this)}\"",
            &["a", "b", "[a, b] [a, b]"],
        ),
        ("'abc'.with { echo toUpperCase(); echo \"${length()}\" }", &["ABC", "3"]),
        ("def m = [say: { w -> echo \"hi $w\" }]; m.say('you')", &["hi you"]),
        ("def method = 'toUpperCase'; echo 'a'.\"$method\"()", &["A"]),
        ("[[1, 2], [3, 4]].each { a, b -> echo \"${a + b}\" }", &["3", "7"]),
    ]);
}

#[test]
fn classes_and_enums_behave_as_in_groovy() {
    table(&[
        (
            "class P { String name; int age = 3\n String hi() { \"I am $name, $age\" } }\ndef p = new P(name: 'Ann'); p.age++; echo p.hi()",
            &["I am Ann, 4"],
        ),
        ("class A { def v; A(x) { v = x * 2 } }\necho \"${new A(4).v}\"", &["8"]),
        (
            "class A { def f() { 'a' } }\nclass B extends A { def f() { super.f() + 'b' } }\necho new B().f()",
            &["ab"],
        ),
        ("class C { static int n = 1; static int next() { n++ ; n } }\nC.next(); echo \"${C.n}\"", &["2"]),
        (
            "enum Color { RED, GREEN }\necho \"${Color.RED} ${Color.values().size()} ${Color.valueOf('GREEN').ordinal()} ${Color.RED == Color.RED}\"",
            &["RED 2 1 true"],
        ),
        (
            "class V { int n; boolean equals(o) { n == o.n }\n String toString() { \"V$n\" }\n V plus(V o) { new V(n: n + o.n) }\n int compareTo(o) { n <=> o.n } }\necho \"${new V(n: 1) == new V(n: 1)} ${new V(n: 2) + new V(n: 3)} ${new V(n: 1) < new V(n: 2)}\"",
            &["true V5 true"],
        ),
        (
            "class My extends Exception { My(String m) { super(m) } }\ntry { throw new My('boom') } catch (My e) { echo \"${e.message} ${e instanceof Exception}\" }",
            &["boom true"],
        ),
        ("class G { def getTwice() { 4 } }\necho \"${new G().twice}\"", &["4"]),
    ]);
}

#[test]
fn exceptions_are_caught_by_class() {
    table(&[
        (
            "try { throw new RuntimeException('x') } catch (IllegalStateException e) { echo 'no' } catch (Exception e) { echo \"$e\" }",
            &["java.lang.RuntimeException: x"],
        ),
        (
            "try { error 'bad' } catch (e) { echo e.getMessage() + e.class.simpleName }",
            &["badAbortException"],
        ),
        (
            "try { null.foo() } catch (NullPointerException e) { echo e.message }",
            &["Cannot invoke method foo() on null object"],
        ),
        ("try { 'x'.nope() } catch (MissingMethodException e) { echo 'mme' }", &["mme"]),
        (
            "try { echo nope } catch (MissingPropertyException e) { echo e.message }",
            &["No such property: nope for class: groovy.lang.Binding"],
        ),
        ("try { [].first() } catch (NoSuchElementException e) { echo 'empty' }", &["empty"]),
        (
            "try { 'x' as int } catch (NumberFormatException e) { echo e.message }",
            &["For input string: \"x\""],
        ),
        (
            "try { try { throw new Exception('a') } finally { echo 'f' } } catch (e) { echo e.message }",
            &["f", "a"],
        ),
        (
            "try { throw new Exception('outer', new IOException('inner')) } catch (Exception e) { echo e.cause.message }",
            &["inner"],
        ),
        (
            "try { nope() } catch (NoSuchMethodError e) { echo e.message.substring(0, 24) }",
            &["No such DSL method 'nope"],
        ),
        ("try { input 'x' } catch (e) { echo e.message }", &["step \"input\" does not run in Majordomo yet"]),
        (
            "try { new File('/etc/passwd') } catch (e) { echo e.message }",
            &["Scripts not permitted to use new File: it is not part of Majordomo's library"],
        ),
        ("try { def f\nf = { f() }\nf() } catch (StackOverflowError e) { echo 'deep' }", &["deep"]),
        (
            "try { sh 'x' } catch (e) { echo e.message.readLines()[0] }",
            &["Required context class hudson.FilePath is missing"],
        ),
        ("try { 'x' * 100000000 } catch (OutOfMemoryError e) { echo 'large' }", &["large"]),
    ]);
}

#[test]
fn json_and_other_library_classes_are_there() {
    table(&[
        (
            "import groovy.json.JsonOutput\necho JsonOutput.toJson([a: 1, b: [true, null, 'x\"']])",
            &["{\"a\":1,\"b\":[true,null,\"x\\\"\"]}"],
        ),
        (
            "def j = new groovy.json.JsonSlurperClassic().parseText('{\"b\": [1, 2.5], \"a\": null}'); echo \"$j\"",
            &["[b:[1, 2.5], a:null]"],
        ),
        (
            "echo \"${UUID.randomUUID().toString().size()} ${UUID.randomUUID() == UUID.randomUUID()}\"",
            &["36 false"],
        ),
        (
            "echo \"${new Date().format('HH:mm')} ${new Date(0)} ${new Date().time}\"",
            &["00:16 Thu Jan 01 00:00:00 UTC 1970 1000000"],
        ),
        ("def s = new StringBuilder(); s.append('a').append(1); s << 'b'; echo s.toString()", &["a1b"]),
        (
            "echo \"${[1, 2] instanceof List} ${'' instanceof String} ${1.class.name} ${[:].getClass().simpleName}\"",
            &["true true java.lang.Integer LinkedHashMap"],
        ),
        (
            "echo \"${env.BUILD_NUMBER} ${BUILD_NUMBER} ${params.WHO} ${params.FLAG} ${WHO}\"",
            &["7 7 world true world"],
        ),
        ("env.X = 'y'; echo \"${env.X} ${X}\"", &["y y"]),
        (
            "echo \"${currentBuild.number} ${currentBuild.currentResult} ${currentBuild.result} ${currentBuild.previousBuild?.result}\"",
            &["7 SUCCESS null null"],
        ),
    ]);
}

#[test]
fn pointers_to_functions_of_the_script_work_in_methods_of_the_library() {
    echoes(
        "def fact(n) { n < 2 ? 1 : n * fact(n - 1) }\ndef odd(n) { n % 2 == 1 }\ndef pair(k, v) { \"$k$v\" }\ndef m = this.&fact; echo \"${[1, 2, 3].collect(m)} ${m(4)} ${[1, 2, 3].findAll(this.&odd)} ${[1, 2, 3].any(this.&odd)}\"\necho \"${[a: 1].collect(this.&pair)}\"\n['x', 'y'].each(this.&echo)\ndef c = { it + 1 }; twice = c.&call; echo \"${[1].collect(twice)} ${['a'].collect('b'.&plus)}\"",
        &["[1, 2, 6] 24 [1, 3] true", "[a1]", "x", "y", "[2] [ba]"],
    );
}

#[test]
fn iterators_and_steps_of_ranges() {
    echoes(
        "def i = [1, 2].iterator(); def n = 0; while (i.hasNext()) { n += i.next() }; echo \"$n ${(1..10).step(3)} ${[a: 1].iterator().next().key} ${[3].iterator().collect { it }}\"\ntry { i.next() } catch (NoSuchElementException e) { echo 'end' }",
        &["3 [1, 4, 7, 10] a [3]", "end"],
    );
}

#[test]
fn parameters_cannot_be_set() {
    for source in ["params.X = 1", "params['X'] = 1", "params.put('X', 1)", "params.remove('WHO')"] {
        echoes(
            &format!(
                "try {{ {source} }} catch (UnsupportedOperationException e) {{ echo 'no' }}\necho \"${{params.get('X', 2)}} ${{params.X}} ${{params.WHO}}\""
            ),
            &["no", "2 null world"],
        );
    }
}

#[test]
fn methods_give_what_they_give_in_groovy() {
    for (source, wanted) in [
        (
            "def d = [a: 1].withDefault { it.size() }; println \"${d.a} ${d.bbb} ${d['cc']} ${d.get('dddd')} ${d.containsKey('zz')} $d\"",
            "1 3 2 4 false [a:1, bbb:3, cc:2, dddd:4]",
        ),
        ("def n = [:].withDefault { 0 }; ['a', 'b', 'a'].each { n[it] += 1 }; println n", "{a=2, b=1}"),
        ("def l = [:].withDefault { [] }; l['k'] << 1; l.k << 2; println l", "{k=[1, 2]}"),
        ("println([a: [:], b: 1..3])", "{a={}, b=1..3}"),
        ("println(String.valueOf([a: 1]) + [a: 1] + \"${1..2}\")", "{a=1}[a:1][1, 2]"),
        ("println([1, 2, 3, 4, 5].collate(2, 1, false))", "[[1, 2], [2, 3], [3, 4], [4, 5]]"),
        ("println([1, 2, 3, 4, 5].collate(2, 3))", "[[1, 2], [4, 5]]"),
        ("println((1..5).collate(2, false))", "[[1, 2], [3, 4]]"),
        ("println(['a', 'b'].withIndex(1))", "[[a, 1], [b, 2]]"),
        ("println(['a', 'b'].indexed(5))", "{5=a, 6=b}"),
        ("println('a1b2'.findAll(/([a-z])(\\d)/) { all, l, d -> d + l })", "[1a, 2b]"),
        ("println('a1b2'.find(/\\d/) { it.toInteger() * 2 })", "2"),
        ("def s = ''; 'x\\ny'.eachLine(1) { l, n -> s += \"$n$l\" }; println s", "1x2y"),
        ("def s = ''; [a: 1].eachWithIndex { k, v, i -> s += \"$k$v$i\" }; println s", "a10"),
        ("println('abca'.takeWhile { it != 'c' } + 'abc'.dropWhile { it == 'a' })", "abbc"),
        ("println('abcabc'.lastIndexOf('b', 2))", "1"),
        ("println('10'.compareTo('9') + 'ab'.compareTo('abcd'))", "-10"),
        ("println(({ it + 1 } << { it * 2 })(5))", "11"),
        ("println(String.format('%,d|%,.2f|%s', 1234567, -9876.543, [1]))", "1,234,567|-9,876.54|[1]"),
        ("println(String.format('%s', [1]) + sprintf('%03d', 7))", "[1]007"),
        (
            "println(12.345.setScale(2, BigDecimal.ROUND_HALF_UP) + 1.9.setScale(0, java.math.RoundingMode.DOWN))",
            "13.35",
        ),
        ("println(new Date(0).format('yyyy-MM-dd', TimeZone.getTimeZone('UTC')))", "1970-01-01"),
        (
            "class P { String name; int n; P() { n = 7 }\n String toString() { \"P($name)\" } }\nprintln(new P(name: 'a'))",
            "P(a)",
        ),
        (
            "class P { String name; int n; P() { n = 7 } }\nprintln(new P(name: 'a').getName() + new P(n: 2).n + new P().n)",
            "a27",
        ),
        ("enum E { A, B; def low() { name().toLowerCase() + ordinal() } }\nprintln(E.B.low())", "b1"),
    ] {
        let build = Build::told(source);
        assert_eq!(build.echoes(), [wanted], "{source}\n{}", build.error());
    }
    for (source, error) in [
        ("[].withDefault { 0 }", "withDefault of a list does not run in Majordomo"),
        ("TimeZone.getTimeZone('CET')", "the time zone CET, only UTC"),
        ("'abc'.join { it }", "No signature of method: java.lang.String.join()"),
    ] {
        let found = Build::of(source).error();
        assert!(found.contains(error), "{source}\n{found}");
    }
    let errors = pipeline::program::Program::compile("def x = 1\necho \"a${-> x}\"").unwrap_err();
    assert!(
        errors[0].to_string().contains("WorkflowScript: 2: A closure in a text is worked out when"),
        "{}",
        errors[0]
    );
}

use super::check;

#[test]
fn literals_are_read() {
    check(&[
        ("x = 'a\\n\\u0041\\101\\\\'", r#"x = "a\nAA\\""#),
        ("x = '''a\nb\\\nc'''", r#"x = "a\nbc""#),
        ("x = \"\"\"say \"no\"\"\"\"", r#"x = "say \"no\"""#),
        ("x = \"$a.b.c.\"", r#"x = g(${a.b.c} ".")"#),
        ("x = \"${a.b()}c$d\"", r#"x = g(${a.b()} "c" ${d})"#),
        ("x = \"${a ? \"x${b}\" : '}'}\"", r#"x = g(${(a ? g("x" ${b}) : "}")})"#),
        ("x = \"${-> y}\"", "x = g(${|| {y}})"),
        ("x = \"${}\"", "x = g(${null})"),
        ("x = \"${a(); b}\"", "x = g(${<|| {a(); b}>()})"),
        ("x = \"\\${a}\\$\"", r#"x = "${a}$""#),
        ("x = /a\\/b\\d$/", r#"x = "a/b\\d$""#),
        ("x = /a${b}c/", r#"x = g("a" ${b} "c")"#),
        ("x = $/a/b $$c $/d/$", r#"x = "a/b $c /d""#),
        ("x = '\\uD83D\\uDE00'", "x = \"😀\""),
        ("x = [1_000, 0xFF, 010, 0b101, 7L, 8G, 0xFFFFFFFF]", "x = [1000, 255, 8, 5, 7L, 8d, 4294967295]"),
        ("x = [1.5, 2f, 1e3, 1.5e-3d]", "x = [1.5d, 2D, 1e3d, 0.0015D]"),
        ("x = 0xFFFFFFFFFFFFFFFFFFFF", "x = 1208925819614629174706175d"),
        (
            "x = [-9223372036854775808, 9223372036854775808]",
            "x = [-9223372036854775808, 9223372036854775808d]",
        ),
        ("x = [1, 'a', null, true,]", r#"x = [1, "a", null, true]"#),
        (
            "x = [a: 1, 'b': 2, (c): 3, 4: 5, if: 6, \"$d\": 7]",
            r#"x = ["a": 1, "b": 2, c: 3, 4: 5, "if": 6, g(${d}): 7]"#,
        ),
        ("x = [:]", "x = [:]"),
        ("x = [*a, *b]; y = [*: c, d: 1]", r#"x = [*a, *b]; y = [*null: c, "d": 1]"#),
        ("x = 1..5; y = 0..<n - 1", "x = (1..5); y = (0..<(n Sub 1))"),
        ("x = [\n  1,\n  2\n]", "x = [1, 2]"),
    ]);
}

#[test]
fn operators_bind_as_in_groovy() {
    check(&[
        ("x = 1 + 2 * 3 - 4", "x = ((1 Add (2 Mul 3)) Sub 4)"),
        ("x = -2 ** 2", "x = Minus((2 Pow 2))"),
        ("x = 2 ** -1; y = 2 ** 3 ** 4", "x = (2 Pow -1); y = ((2 Pow 3) Pow 4)"),
        ("x = !a && b || c", "x = ((Not(a) And b) Or c)"),
        ("x = a | b ^ c & d", "x = (a BitOr (b BitXor (c BitAnd d)))"),
        ("x = a == b =~ c", "x = ((a Equal b) Find c)"),
        ("x = a << 1 + 2 >= 3 == true", "x = (((a ShiftLeft (1 Add 2)) GreaterEqual 3) Equal true)"),
        (
            "x = a <=> b; y = a ==~ /b/; z = a !== b",
            r#"x = (a Compare b); y = (a Match "b"); z = (a NotIdentical b)"#,
        ),
        (
            "x = a in b; y = a !in b; z = !in",
            "error: WorkflowScript: 1: unexpected token: in @ line 1, column 31.",
        ),
        ("x = a in [1]; y = a !in b", "x = (a In [1]); y = (a NotIn b)"),
        ("x = a instanceof B && c !instanceof d.E", "x = ((a is B) And (c !is d.E))"),
        ("x = a + b as String", "x = ((a Add b) as String)"),
        ("x = a as List<String>", "x = (a as List)"),
        ("x = a ? b : c ? d : e", "x = (a ? b : (c ? d : e))"),
        ("x = a ?: b ?: c", "x = (a ?: (b ?: c))"),
        ("x = a\n  ? b\n  : c", "x = (a ? b : c)"),
        ("x = a /b/ c", "x = ((a Div b) Div c)"),
        ("x = y = 1", "x = y = 1"),
        (
            "x += 1; x <<= 2; x **= 3; x ?= 4; x >>>= 5",
            "x Add= 1; x ShiftLeft= 2; x Pow= 3; x Elvis= 4; x ShiftRightUnsigned= 5",
        ),
        ("x = a +\n b", "x = (a Add b)"),
        ("x = (a\n + b)", "x = (a Add b)"),
        ("x++; --y; z = -x++", "x++; --y; z = Minus(x++)"),
        ("x = !!a; y = ~/b/; z = - -1", r#"x = Not(Not(a)); y = BitNot("b"); z = Minus(-1)"#),
    ]);
}

#[test]
fn casts_are_told_from_parentheses() {
    check(&[
        ("x = (int) y", "x = (y as int)"),
        ("x = (String) y.z", "x = (y.z as String)"),
        ("x = (y) + 1", "x = (y Add 1)"),
        ("x = (Y) + 1", "x = (Y Add 1)"),
        ("x = (int) -1", "x = (-1 as int)"),
        ("x = (List<String>) [1]", "x = ([1] as List)"),
        ("x = (String[]) y", "x = (y as String[])"),
        ("x = (a.b.C) (d)", "x = (d as a.b.C)"),
        ("x = (y)[0]", "x = y[0]"),
        ("x = (y) as String", "x = (y as String)"),
        ("x = (Y) in z", "x = (Y In z)"),
        ("x = (y)(1)", "x = <y>(1)"),
    ]);
}

#[test]
fn members_are_read() {
    check(&[
        ("x = a.b.c", "x = a.b.c"),
        ("x = a?.b*.c", "x = a?.b*.c"),
        ("x = a\n  .b()\n  // why\n  ?.c()", "x = a.b()?.c()"),
        ("x = a.\"b c\"; y = a.\"$d\"()", r#"x = a.b c; y = a.g(${d})()"#),
        ("x = a.&b; y = this.&c; z = a.@d", "x = a.&b; y = this.&c; z = a.d"),
        ("x = a[1]; y = a[1..3]; z = a[1, 2]", "x = a[1]; y = a[(1..3)]; z = a[[1, 2]]"),
        ("x = a.class.in.if", "x = a.class.in.if"),
        ("x = a[0].b[1]()", "x = <a[0].b[1]>()"),
        ("x = 1.plus(2)", "x = 1.plus(2)"),
        ("x = 'a'.size()", "x = \"a\".size()"),
        (
            "x = new A(1, b: 2).c; y = new a.B<C>(); z = new D<>()",
            "x = new A(1, \"b\": 2).c; y = new a.B(); z = new D()",
        ),
        ("x = new int[3]", "x = new int[](3)"),
        ("x = a.(b)", "x = a.b"),
    ]);
}

#[test]
fn closures_are_read() {
    check(&[
        ("x = { it }", "x = {it}"),
        ("x = { -> 1 }", "x = || {1}"),
        ("x = { a, b -> a + b }", "x = |a, b| {(a Add b)}"),
        ("x = { String a, int b = 2, Object... c -> a }", "x = |String a, int b = 2, Object ...c| {a}"),
        ("x = { Map<String, List<String>> a ->\n  a\n}", "x = |Map a| {a}"),
        ("x = { a = 1; b }", "x = {a = 1; b}"),
        ("x = {\n  a,\n  b ->\n  c\n}", "x = |a, b| {c}"),
        ("x = { a { b -> c } }", "x = {a(|b| {c})}"),
        ("x = {}", "x = {}"),
        ("{ -> a }.call()", "|| {a}.call()"),
        ("x.each { k, v -> println k }", "x.each(|k, v| {println(k)})"),
    ]);
}

#[test]
fn calls_are_read() {
    check(&[
        ("a()", "a()"),
        ("a(1, b: 2, *c)", "a(1, *c, \"b\": 2)"),
        ("a(1) { b }", "a(1, {b})"),
        ("a { b } { c }", "a({b}, {c})"),
        ("a\n{\n  b(1)\n  {\n  }\n}\nc.d\n{ e }", "a({b(1, {})}); c.d({e})"),
        ("a.b { c }", "a.b({c})"),
        ("\"$a\"(1)", "g(${a})(1)"),
        ("a(b)(c)", "<a(b)>(c)"),
        ("a(\n  b,\n  c: 1,\n)", "a(b, \"c\": 1)"),
        ("a (1 + 2)", "a((1 Add 2))"),
    ]);
}

#[test]
fn calls_without_parentheses_are_read() {
    check(&[
        ("echo 'x'", r#"echo("x")"#),
        ("echo \"x${y}\"", r#"echo(g("x" ${y}))"#),
        ("sh script: 'x', returnStdout: true", r#"sh("script": "x", "returnStdout": true)"#),
        ("println x.y", "println(x.y)"),
        ("println x.y()", "println(x.y())"),
        ("println !x", "println(Not(x))"),
        ("a b c d", "a(b).c(d)"),
        ("a b c", "a(b).c"),
        ("a b c d, e: 1", r#"a(b).c(d, "e": 1)"#),
        ("given { a } when { b }", "given({a}).when({b})"),
        ("a b, c d", "a(b, c).d"),
        ("a.b c, d: e", r#"a.b(c, "d": e)"#),
        ("def x = sh script: 'a', returnStdout: true", r#"def x = sh("script": "a", "returnStdout": true)"#),
        ("x = load 'a'", r#"x = load("a")"#),
        ("return sh('a')", r#"return sh("a")"#),
        ("return a b", "return a(b)"),
        ("stage 'x', { a }", r#"stage("x", {a})"#),
        ("node('x') { a }", r#"node("x", {a})"#),
        ("git url: 'u',\n    branch: 'b'", r#"git("url": "u", "branch": "b")"#),
        ("a 'b': 1", r#"a("b": 1)"#),
        ("step new A()", "step(new A())"),
        ("a -1", "(a Sub 1)"),
        ("a [1]", "a[1]"),
        ("emailext body: '''x\ny''', to: env.A", r#"emailext("body": "x\ny", "to": env.A)"#),
        ("MyStep name: 'x'", r#"MyStep("name": "x")"#),
        ("echo 'a' + b", r#"echo(("a" Add b))"#),
        ("echo a ? b : c", "echo((a ? b : c))"),
        ("timeout(time: 1, unit: 'HOURS') { a }", r#"timeout({a}, "time": 1, "unit": "HOURS")"#),
    ]);
}

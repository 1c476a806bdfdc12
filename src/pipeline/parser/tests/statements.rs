use super::check;

#[test]
fn statements_end_at_lines_and_semicolons() {
    check(&[
        ("", ""),
        ("\n\n;;\n", ""),
        ("#!/usr/bin/env groovy\na()", "a()"),
        ("a(); b()\nc()", "a(); b(); c()"),
        ("a() // x\n/* y\n */ b()", "a(); b()"),
        ("a() /* x */ + 1", "(a() Add 1)"),
        ("\u{feff}a()\r\nb()\r\n", "a(); b()"),
        ("x = 1 \\\n + 2", "x = (1 Add 2)"),
    ]);
}

#[test]
fn definitions_are_read() {
    check(&[
        ("def x", "def x"),
        ("def x = 1", "def x = 1"),
        ("int i = 0, j = 1", "def int i = 0; def int j = 1"),
        ("final def x = 1; final String y = ''", "def x = 1; def String y = \"\""),
        ("String[] xs = []", "def String[] xs = []"),
        ("Map<String, List<String>> m = [:]", "def Map m = [:]"),
        ("java.util.List<String> x", "def java.util.List x"),
        ("def (a, b) = [1, 2]", "def (a, b) = [1, 2]"),
        ("def (int a, String b) = c", "def (int a, String b) = c"),
        ("(a, b) = [b, a]", "[a, b] = [b, a]"),
        ("a()\n@Field def x = 1", "field x = 1; a()"),
        ("@groovy.transform.Field\nfinal String x = 'a', y", "field String x = \"a\"; field String y"),
        ("def x =\n  1", "def x = 1"),
        ("def x = { a }", "def x = {a}"),
        ("Foo bar", "def Foo bar"),
        ("foo bar", "foo(bar)"),
    ]);
}

#[test]
fn functions_are_hoisted() {
    check(&[
        ("a()\ndef f(x, int y = 2) { x }\nb()", "def f(x, int y = 2) {x}; a(); b()"),
        ("void f() { }", "def f() {}"),
        ("String f(Object... xs) {\n return 1 }", "def f(Object ...xs) {return 1}"),
        ("private f(a) { }", "def f(a) {}"),
        ("private static Map<A, B> f(a) throws X, Y\n{ }", "def f(a) {}"),
        ("@NonCPS\ndef f() { }", "def f() {}"),
        ("def 'a b'() { }", "def a b() {}"),
        ("def <T> f(T x) { }", "def f(T x) {}"),
        ("f() { }", "f({})"),
    ]);
}

#[test]
fn control_flow_is_read() {
    check(&[
        ("if (a) b() else c()", "if a {b()} else {c()}"),
        ("if (a) {\n b() }\nelse if (c) { }\nelse { d() }", "if a {b()} else {if c {} else {d()}}"),
        ("if (a)\n b()\nc()", "if a {b()} else {}; c()"),
        ("while (a) b()", "while a {b()}"),
        ("do { a() } while (b)", "do-while b {a()}"),
        ("for (x in xs) { a(x) }", "for x in xs {a(x)}"),
        ("for (def x in xs) a()", "for x in xs {a()}"),
        ("for (Map.Entry<A, B> x : xs.b) { }", "for x in xs.b {}"),
        ("for (int i = 0; i < 3; i++) { }", "for {def int i = 0} (i Less 3) i++ {}"),
        ("for (i = 0, j = 1; ; i++, j--) { }", "for {i = 0; j = 1}  i++, j-- {}"),
        ("for (;;) { }", "for {}   {}"),
        ("a: for (x in y) { continue a }\n", "a: for x in y {continue a}"),
        ("a: { b() }", "block {b()}"),
        ("a: b()", "b()"),
        (
            "switch (a) {\n case 1:\n case [2, 3]: b(); break\n default: c() }",
            "switch a {1: {} [2, 3]: {b(); break} default: {c()}}",
        ),
        ("switch (a) { }", "switch a {}"),
        (
            "try { a() } catch (A | b.C e) { } catch (e) { } finally { b() }",
            "try {a()} catch (A|b.C e) {} catch ( e) {} finally {b()}",
        ),
        ("try { a() }\ncatch (final A e)\n{ }", "try {a()} catch (A e) {} finally {}"),
        ("throw new A('b')", r#"throw new A("b")"#),
        ("return", "return "),
        ("assert a == 1 : 'b'", r#"assert (a Equal 1) <a == 1> "b""#),
        ("assert a", "assert a <a> "),
        ("synchronized (a) { b() }", "block {b()}"),
    ]);
}

#[test]
fn classes_are_hoisted() {
    check(&[
        ("class A { }", "class A {}"),
        (
            "class A<T> extends B implements C, D {\n String x = 'y', z\n static final int N = 1\n A(x) { this.x = x }\n def f() { x }\n static void g() { }\n}",
            "class A : B {x = \"y\"; z; N = 1; def <init>(x) {this.x = x}; def f() {x}; static def g() {}}",
        ),
        ("enum A { B, C }", "class A {B; C}"),
        ("enum A {\n B,\n C;\n def f() { }\n}", "class A {B; C; def f() {}}"),
        ("interface A { void f(); def g(int x) }", "class A {}"),
        ("@X class A { @Y def b; class C { } }", "class C {}; class A {b}"),
        ("import a.b.C\nimport static a.b.*\nimport a.B as D;\npackage e.f\ng()", "g()"),
        ("@Grab('x') _\na()", "a()"),
    ]);
}

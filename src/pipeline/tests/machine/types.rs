//! Declared types: variables, parameters, results, and the choice among functions of one name.

use crate::support::Build;

pub(crate) fn echoes(source: &str, wanted: &[&str]) {
    let build = Build::told(source);
    assert_eq!(build.echoes(), *wanted, "{source}\n{}", build.error());
}

/// The sentence of the exception that the script ends with.
fn refused(source: &str, wanted: &str) {
    let error = Build::told(source).error();
    assert!(error.contains(wanted), "{source}\nwanted {wanted}\nfound  {error}");
}

#[test]
fn numbers_are_cut_off_and_texts_are_made() {
    echoes(
        "int pct = 10/3; int a = 3.7; Integer i = 7/2; long l = 3.9; long neg = -3.9; double d = 1; String s = 5; String g = \"x${a}\"; boolean b = 'x'; boolean e = ''; char c = 'y'; byte w = 300; int big = 4294967298; float f = 0.5\necho \"$pct $a $i $l $neg $d $s $g $b $e $c $w $big $f ${g instanceof String}\"",
        &["3 3 3 3 -3 1.0 5 x3 true false y 44 2 0.5 true"],
    );
    echoes(
        "List l = 1..3; Set s = [1, 1]; Map m = [a: 1]; String[] p = 'a,b'.split(','); Closure c = { 'c' }; Object o = 4; Integer n = null; String t = null; boolean b = null; BigDecimal d = 2; def x = 3.7\necho \"$l $s $m ${p.length} ${c()} $o $n $t $b $d $x\"",
        &["[1, 2, 3] [1] [a:1] 2 c 4 null null false 2 3.7"],
    );
}

#[test]
fn primitives_begin_with_something() {
    echoes(
        "int x; long l; boolean b; double d; String s; Integer i\nx++; echo \"$x $l $b $d $s $i\"\nclass C { int n; boolean b; String s; static long t; def inc() { n++; n } }\nechoed = new C()\necho \"${echoed.inc()} ${echoed.b} ${echoed.s} ${C.t}\"",
        &["1 0 false 0.0 null null", "1 false null 0"],
    );
}

#[test]
fn what_cannot_become_the_type_is_refused_with_the_sentence_of_groovy() {
    let class = "org.codehaus.groovy.runtime.typehandling.GroovyCastException: Cannot cast object ";
    for (source, what) in [
        ("int x = 'abc'", "'abc' with class 'java.lang.String' to class 'int'"),
        ("int x = '12'", "'12' with class 'java.lang.String' to class 'int'"),
        ("Integer x = 'abc'", "'abc' with class 'java.lang.String' to class 'java.lang.Integer'"),
        ("double x = 'abc'", "'abc' with class 'java.lang.String' to class 'double'"),
        ("int x = null", "'null' with class 'null' to class 'int'. Try 'java.lang.Integer' instead"),
        ("List x = 'abc'", "'abc' with class 'java.lang.String' to class 'java.util.List'"),
        ("Map x = [1]", "'[1]' with class 'java.util.ArrayList' to class 'java.util.Map'"),
        ("int x = 1; x = 'abc'", "'abc' with class 'java.lang.String' to class 'int'"),
        ("int x = 1; [1].each { x = 'abc' }", "'abc' with class 'java.lang.String' to class 'int'"),
        ("int f() { 'abc' }\nf()", "'abc' with class 'java.lang.String' to class 'int'"),
        ("int f() { return [:] }\nf()", "'[:]' with class 'java.util.LinkedHashMap' to class 'int'"),
        ("def (int a, b) = ['abc', 1]", "'abc' with class 'java.lang.String' to class 'int'"),
        ("enum Color { RED }\nColor c = 'BLUE'", "'BLUE' with class 'java.lang.String' to class 'Color'"),
    ] {
        refused(source, &format!("{class}{what}"));
    }
    echoes("try { int x = 'ab' } catch (ClassCastException e) { echo 'caught' }", &["caught"]);
}

#[test]
fn a_variable_keeps_its_type() {
    echoes(
        "int x = 1; x = 7/2; echo \"$x\"; x /= 2; echo \"$x\"; String s = 'a'; s = 5; s += 1; echo s; [1].each { x = 9.9 }; echo \"$x\"\nint a, b; (a, b) = [1.5, 2.5]; echo \"$a $b\"; for (int i = 0; i < 2; i++) { i += 0.5; echo \"i$i\" }; def free = 1; free = 'x'; echo free; { int x2 -> x2 = 2.5; echo \"$x2\" }(1)",
        &["3", "1", "51", "9", "1 2", "i0", "i1", "x", "2"],
    );
    echoes(
        "class C { int n = 5; def m = 6 }\necho \"${new C(n: 1).n} ${new C(m: 2).m} ${new C().n}\"",
        &["1 2 5"],
    );
    echoes(
        "enum Color { RED, GREEN }\nColor c = 'RED'; echo \"${c == Color.RED} ${c.ordinal()}\"",
        &["true 0"],
    );
}

#[test]
fn parameters_and_results_are_made_to_fit() {
    echoes(
        "String f(String s, double d = 1) { \"$s $d ${s instanceof String}\" }\nint g(long n) { n / 2 }\nboolean h(def x) { return x }\nboolean none() { if (false) { return true } }\nvoid v(boolean b) { echo \"$b\" }\nString early(int n) { try { if (n > 1) { return n }\n 'small' } finally { echo 'f' } }\necho f(\"a${1}\"); echo \"${g(7)} ${h('x')} ${h([])} ${none()}\"; v(true); echo early(2) + early(1)",
        &["a1 1.0 true", "3 true false null", "true", "f", "f", "2small"],
    );
    let class = "groovy.lang.MissingMethodException: No signature of method: ";
    refused(
        "def f(int n) { n }\nf('a')",
        &format!("{class}f() is applicable for argument types: (java.lang.String) values: [a]"),
    );
    refused(
        "def f(String s) { s }\nf(5)",
        &format!("{class}f() is applicable for argument types: (java.lang.Integer)"),
    );
    refused("def f(int n) { n }\nf(1.5)", class);
    refused("def c = { Map m -> m }\nc('x')", class);
}

#[test]
fn of_several_functions_the_types_choose() {
    echoes(
        "def f(int n) { \"int $n\" }\ndef f(String s) { \"String $s\" }\ndef f(Map m) { \"Map $m\" }\ndef f(List l) { \"List $l\" }\ndef f(Closure c) { \"Closure ${c()}\" }\ndef f(boolean b) { \"boolean $b\" }\ndef f(o) { \"Object $o\" }\ndef f(String s, int n) { \"both $s $n\" }\ndef f(int n, String s) { \"swapped $n $s\" }\necho f('a'); echo f(1); echo f(a: 1); echo f([1]); echo f { 2 }; echo f(true); echo f(1.5); echo f('b', 2); echo f(2, \"${'c'}\")",
        &[
            "String a",
            "int 1",
            "Map [a:1]",
            "List [1]",
            "Closure 2",
            "boolean true",
            "Object 1.5",
            "both b 2",
            "swapped 2 c",
        ],
    );
    echoes(
        "interface Shape { }\nclass A implements Shape { }\nclass B extends A { }\nclass T { def m(A a) { 'A' }\n def m(B b) { 'B' }\n def m(Exception e) { 'E' }\n def m(IOException e) { 'IO' }\n T() { }\n T(String s) { println s } }\ndef draw(Shape s) { 'drawn' }\ndef t = new T('made'); echo t.m(new A()) + t.m(new B()) + t.m(new Exception('x')) + t.m(new IOException('x')) + draw(new A())",
        &["made", "ABEIOdrawn"],
    );
}

#[test]
fn an_integer_has_32_bits_and_a_long_64_and_both_wrap() {
    for (source, wanted) in [
        ("2147483647 + 1", "-2147483648 java.lang.Integer"),
        ("1000 * 60 * 60 * 24 * 30", "-1702967296 java.lang.Integer"),
        ("1000L * 60 * 60 * 24 * 30", "2592000000 java.lang.Long"),
        ("2147483648", "2147483648 java.lang.Long"),
        ("-2147483648", "-2147483648 java.lang.Integer"),
        ("-(-2147483648)", "-2147483648 java.lang.Integer"),
        ("9223372036854775807 + 1", "-9223372036854775808 java.lang.Long"),
        ("0xFFFFFFFF", "4294967295 java.lang.Long"),
        ("1 << 33", "2 java.lang.Integer"),
        ("1L << 33", "8589934592 java.lang.Long"),
        ("-1 >>> 28", "15 java.lang.Integer"),
        ("5 & 3L", "1 java.lang.Long"),
        ("~5", "-6 java.lang.Integer"),
        ("2 ** 3", "8 java.lang.Integer"),
        ("2L ** 40", "1099511627776 java.lang.Long"),
        ("2 ** 64", "18446744073709551616 java.math.BigDecimal"),
        ("2 ** -1", "0.5 java.lang.Double"),
        ("2 ** 0.5", "1.4142135623730951 java.lang.Double"),
        ("10 / 4", "2.5 java.math.BigDecimal"),
        ("-7.intdiv(2)", "-3 java.lang.Integer"),
        ("7L.intdiv(2)", "3 java.lang.Long"),
        ("-7 % 3", "-1 java.lang.Integer"),
        ("0.1d + 0.2d", "0.30000000000000004 java.lang.Double"),
        ("4294967298 as int", "2 java.lang.Integer"),
        ("3.7 as long", "3 java.lang.Long"),
        ("'5'.toLong()", "5 java.lang.Long"),
        ("[2147483647, 1].sum()", "-2147483648 java.lang.Integer"),
        ("Math.max(1, 2L)", "2 java.lang.Long"),
        ("Math.round(2.5)", "3 java.lang.Long"),
        ("System.currentTimeMillis()", "1000000 java.lang.Long"),
        ("currentBuild.number", "7 java.lang.Integer"),
        ("'abc'.size()", "3 java.lang.Integer"),
        (
            "readJSON(text: '[3000000000, 3]').collect { it.class.simpleName }.join()",
            "LongInteger java.lang.String",
        ),
    ] {
        echoes(&format!("def v = {source}\necho \"$v ${{v.getClass().name}}\""), &[wanted]);
    }
    echoes(
        "int i = 2147483647; i++; long l = 2147483647; l++; echo \"$i $l ${5 instanceof Long} ${5L instanceof Long} ${1 == 1L}\"",
        &["-2147483648 2147483648 false true true"],
    );
    echoes("def f(int x) { 'int' }\ndef f(long x) { 'long' }\necho f(1) + f(1L)", &["intlong"]);
    echoes(
        "echo String.format('%d %d', 2 ** 40, 5G) + \" ${(2 ** 40) | 1} ${(2 ** 64) & (2 ** 64)} ${7G ^ 2}\"",
        &["1099511627776 5 1099511627777 18446744073709551616 5"],
    );
    refused("String.format('%d', 1.5)", "d != java.math.BigDecimal");
    refused("node('x' * 2001) { }", "a label expression has more than 2000 bytes");
    for source in ["1 % 0", "1.intdiv(0)", "1L % 0"] {
        refused(&format!("echo \"${{{source}}}\""), "java.lang.ArithmeticException: / by zero");
    }
    refused("echo \"${1 / 0}\"", "java.lang.ArithmeticException: Division by zero");
    refused("'3000000000' as int", "java.lang.NumberFormatException: For input string: \"3000000000\"");
    refused(
        "Integer.parseInt('3000000000')",
        "java.lang.NumberFormatException: For input string: \"3000000000\"",
    );
}

//! Nothing that a source can contain makes the parser panic, overflow the stack or take for ever.

use crate::parser::parse;

fn refused(source: &str) -> String {
    parse(source).expect_err("is refused").to_string()
}

#[test]
fn nesting_has_a_limit_instead_of_a_stack_overflow() {
    let many = 100_000;
    for open in
        ["(", "[", "!", "-", "~", "++", "a(", "[a:", "\"${", "a.b{", "a{b c,", "a?b:", "a?:", "a=", "2**-"]
    {
        let count = many / open.len();
        let text = refused(&format!("x = {}", open.repeat(count)));
        assert!(text.contains("nested deeper than 200"), "{open}: {text}");
    }
    for open in [
        "if(a)",
        "else ",
        "while(a)",
        "if(a){",
        "a:",
        "for(x in y)",
        "switch(a){case 1:",
        "try{",
        "do ",
        "class A{",
        "def f(){",
    ] {
        refused(&open.repeat(many / open.len()));
    }
}

#[test]
fn a_million_brackets_are_refused() {
    for open in ["[", "!", "{", "\"", "${", "/*", "a+"] {
        refused(&format!("x = a(\n{}", open.repeat(1_000_000 / open.len())));
    }
}

#[test]
fn chains_have_a_limit_instead_of_a_stack_overflow() {
    for (link, first) in [
        ("+a", "a"),
        (".a", "a"),
        ("[0]", "a"),
        ("()", "a"),
        (" a b", "a b"),
        ("**a", "a"),
        (" as A", "a"),
        ("{}.a", "a"),
    ] {
        let text = refused(&format!("x = {first}{}", link.repeat(100_000)));
        assert!(text.contains("more than 400 operations"), "{link}: {text}");
    }
}

#[test]
fn what_is_within_the_limits_is_read_on_a_small_stack() {
    let nested = |open: &str, middle: &str, close: &str, count: usize| {
        format!("x = {}{middle}{}", open.repeat(count), close.repeat(count))
    };
    let sources = [
        nested("(", "1", ")", 190),
        nested("[", "1", "]", 95),
        nested("[a: ", "1", "]", 95),
        nested("a(", "1", ")", 60),
        nested("!", "a", "", 190),
        nested("\"${", "a", "}\"", 60),
        nested("{ it -> a.b(c) || ", "1", "}", 60),
        nested("1 + (a || ", "1", ")", 190),
        nested("a ? b : ", "1", "", 190),
        format!("{}b(){}", "a { ".repeat(60), "}".repeat(60)),
        format!("{}b(){}", "if (a) { ".repeat(190), "}".repeat(190)),
        format!("x = 'a'{}", " + 'a'".repeat(390)),
        format!("x = a{}", ".b(1)".repeat(390)),
    ];
    for source in sources {
        let read = parse(&source);
        assert!(read.is_ok(), "{:.60}: {read:?}", source);
    }
}

#[test]
fn size_has_a_limit() {
    assert!(refused(&" ".repeat((1 << 20) + 1)).contains("larger than"));
    assert!(parse(&"a()\n".repeat((1 << 20) / 4)).is_ok());
    assert!(refused(&format!("x = {}", "9".repeat(500_000))).contains("more than 1000 digits"));
}

#[test]
fn looking_ahead_takes_no_square_time() {
    // Each of these was chosen because some look-ahead could run over the rest of the source at each token.
    for part in ["{a,", "(a,", "A<", "a(", "for(", "Foo b(", "def f(", "@A(", "[a", "${", "x?{y", "A.b."] {
        let _ = parse(&part.repeat((1 << 17) / part.len()));
        let _ = parse(&format!("{part}\n").repeat((1 << 17) / (part.len() + 1)));
    }
}

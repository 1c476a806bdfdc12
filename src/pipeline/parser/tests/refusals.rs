use super::check;

#[test]
fn what_cannot_be_read_is_said_with_its_place() {
    check(&[
        ("node {", "error: WorkflowScript: 1: expecting '}', found '' @ line 1, column 7."),
        ("a(", "error: WorkflowScript: 1: unexpected end of the file @ line 1, column 3."),
        ("a)", "error: WorkflowScript: 1: unexpected token: ) @ line 1, column 2."),
        ("}", "error: WorkflowScript: 1: unexpected token: } @ line 1, column 1."),
        ("x = ", "error: WorkflowScript: 1: unexpected end of the file @ line 1, column 5."),
        ("äöü = 1 2", "error: WorkflowScript: 1: unexpected token: 2 @ line 1, column 9."),
        (
            "x = 'a",
            "error: WorkflowScript: 1: the string that begins here has no end: expecting ' @ line 1, column 5.",
        ),
        (
            "x = 'a\n'",
            "error: WorkflowScript: 1: the string ends with its line: expecting ' @ line 1, column 7.",
        ),
        ("x = \"${a", "error: WorkflowScript: 1: expecting '}', found '' @ line 1, column 9."),
        (
            "x = \"a $ b\"",
            "error: WorkflowScript: 1: illegal character after the dollar sign: write \\$ for a dollar, ${…} for a value @ line 1, column 8.",
        ),
        ("x = '\\q'", "error: WorkflowScript: 1: unknown escape: '\\q' @ line 1, column 6."),
        (
            "/* a",
            "error: WorkflowScript: 1: the comment that begins here has no end: expecting '*/' @ line 1, column 1.",
        ),
        ("x = 08", "error: WorkflowScript: 1: '08' is not a number @ line 1, column 5."),
        ("x = 1abc", "error: WorkflowScript: 1: '1abc' is not a number @ line 1, column 5."),
        ("a()\n # b", "error: WorkflowScript: 2: unexpected char: '#' @ line 2, column 2."),
        (
            "1 = 2",
            "error: WorkflowScript: 1: the left side of an assignment is neither a variable nor a property nor an element @ line 1, column 3.",
        ),
        (
            "if (a) { def f() { } }",
            "error: WorkflowScript: 1: a function can be defined at the top level and in classes only @ line 1, column 14.",
        ),
        (
            "x = [a: 1, 2]",
            "error: WorkflowScript: 1: a list has no keys and every entry of a map has one @ line 1, column 12.",
        ),
        (
            "if (a) { @Field def x = 1 }",
            "error: WorkflowScript: 1: @Field stands before the definition of a variable at the top level @ line 1, column 10.",
        ),
        (
            "@Field def f() { }",
            "error: WorkflowScript: 1: @Field stands before the definition of a variable at the top level @ line 1, column 1.",
        ),
        ("try { }", "error: WorkflowScript: 1: expecting 'catch' or 'finally', found '' @ line 1, column 8."),
        (
            "x = 1\n{\n}",
            "error: WorkflowScript: 2: ambiguous: a '{' at the begin of a statement is neither a block nor a closure; put it on the line of what it belongs to, give it parameters ('{ -> …'), or a label @ line 2, column 1.",
        ),
        (
            "a()\n  @Library(['x', 'y@main']) _\nb()",
            "error: WorkflowScript: 2: shared libraries (@Library) do not run in Majordomo yet @ line 2, column 3.",
        ),
        (
            "@Library('x')\nimport a.B\nc()",
            "error: WorkflowScript: 1: shared libraries (@Library) do not run in Majordomo yet @ line 1, column 1.",
        ),
        ("if a { }", "error: WorkflowScript: 1: expecting '(', found 'a' @ line 1, column 4."),
        (
            "def class = 1",
            "error: WorkflowScript: 1: expecting the name of a variable, found 'class' @ line 1, column 5.",
        ),
    ]);
}

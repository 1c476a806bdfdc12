//! What is read as what. Each table has the source on the left and the tree, written by `show`, on the right.

mod corpus;
mod expressions;
mod limits;
mod refusals;
mod show;
mod statements;

/// Checks a table of sources and trees; all differences are reported.
fn check(table: &[(&str, &str)]) {
    let wrong: Vec<String> = table
        .iter()
        .filter_map(|(source, expected)| {
            let found = match super::parse(source) {
                Ok(script) => show::script(&script),
                Err(error) => format!("error: {error}"),
            };
            (found != *expected).then(|| format!("{source}\n  expected {expected}\n  found    {found}"))
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

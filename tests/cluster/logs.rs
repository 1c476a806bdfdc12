//! What replicas and agents may say at WARN or ERROR while they are ill-treated.

use crate::support::controller::Controller;

/// A part of the line, and why it may be there.
const ALLOWED: &[(&str, &str)] = &[
    ("the link to http://", "the replica that held the link was killed, or the link was cut"),
    ("can't be reached", "between the end of a replica and the next accept"),
    ("this replica is no member any more", "it was stopped for longer than a lease"),
    ("the store is away", "the database was killed, or a stopped replica held SQLite's lock"),
    ("the store did not say whether it committed", "the database was killed during a commit"),
    ("waiting for it", "a replica was started while the database was away"),
    ("join; waiting for the store", "a replica was started while the database was away"),
];

/// Fails on any other.
pub(crate) fn check(controller: &Controller, also: &[(&str, &str)]) {
    let mut unlisted = Vec::new();
    for (name, text) in controller.logs() {
        for line in text.lines() {
            let level = line.split_whitespace().nth(1);
            let loud = matches!(level, Some("WARN" | "ERROR")) || line.contains("panicked at");
            let allowed = |list: &[(&str, &str)]| list.iter().any(|(part, _)| line.contains(part));
            if loud && !allowed(ALLOWED) && !allowed(also) {
                unlisted.push(format!("{name}: {line}"));
            }
        }
    }
    let count = unlisted.len();
    unlisted.truncate(40);
    assert!(unlisted.is_empty(), "{count} unlisted warnings:\n{}", unlisted.join("\n"));
}

/// How many lines hold this.
pub(crate) fn count(controller: &Controller, part: &str) -> usize {
    controller.logs().iter().flat_map(|(_, text)| text.lines()).filter(|line| line.contains(part)).count()
}

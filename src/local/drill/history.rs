//! `HOME/failover-tests.jsonl`: what came of the failover tests, one a line, oldest first.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::table::{ago, columns, now, plain};
use crate::{Error, Paths, files};

/// Older ones are forgotten.
const MAX_TESTS: usize = 1_000;
/// Most problems that are kept of one, and the longest text of each.
pub(super) const MAX_PROBLEMS: usize = 10;
pub(super) const MAX_TEXT: usize = 200;

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Test {
    /// When the replica was killed, in milliseconds since 1970.
    pub(super) at: i64,
    pub(super) replica: String,
    pub(super) incarnation: i64,
    /// How many builds it drove.
    pub(super) builds: u64,
    /// Of those whose logs were checked: not seen to go on, ended since, and ended neither stable nor unstable.
    pub(super) builds_waiting: u64,
    pub(super) builds_ended: u64,
    pub(super) builds_failed: u64,
    /// Until the last of them was adopted, and had committed something new, as the controller has measured.
    pub(super) adopted_millis: Option<u64>,
    pub(super) resumed_millis: Option<u64>,
    /// Until a replica of that name was ready again.
    pub(super) ready_millis: Option<u64>,
    pub(super) logs_checked: u64,
    pub(super) log_bytes: u64,
    /// Logs that are longer than they were before.
    pub(super) logs_longer: u64,
    /// Logs that were not read before, so that their beginnings could not be compared.
    pub(super) logs_uncompared: u64,
    pub(super) logs_deleted: u64,
    /// Of these, those of jobs that discard none.
    pub(super) logs_missing: u64,
    pub(super) logs_unchecked: u64,
    pub(super) defects: u64,
    /// `passed`, `failed`, `unknown`.
    pub(super) outcome: String,
    pub(super) problems: Vec<String>,
}

/// Adds one; a line that can't be read is kept.
pub(super) fn add(paths: &Paths, test: &Test) -> Result<(), Error> {
    let path = paths.failover_tests();
    let line =
        serde_json::to_string(test).map_err(|e| Error::Refused(format!("write {}: {e}", path.display())))?;
    let old = files::read_text(&path)?.unwrap_or_default();
    let mut lines: Vec<&str> = old.lines().filter(|line| !line.trim().is_empty()).collect();
    lines.push(&line);
    let kept = &lines[lines.len().saturating_sub(MAX_TESTS)..];
    files::write_whole(&path, &format!("{}\n", kept.join("\n")))
}

/// All failover tests of a home as a table, the newest first.
pub fn failover_history(home: &Path) -> Result<String, Error> {
    let path = Paths::new(home).failover_tests();
    let Some(text) = files::read_text(&path)? else {
        return Ok(format!("no failover test has run in {}", home.display()));
    };
    Ok(draw(&text, now()))
}

fn draw(text: &str, now: i64) -> String {
    let header = ["AGO", "REPLICA", "BUILDS", "ADOPTED", "RESUMED", "READY", "LOGS", "DEFECTS", "OUTCOME"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    let mut damaged = 0;
    let millis = |value: Option<u64>| value.map_or("-".to_owned(), |ms| format!("{ms} ms"));
    for line in text.lines().rev().filter(|line| !line.trim().is_empty()) {
        let Ok(test) = serde_json::from_str::<Test>(line) else {
            damaged += 1;
            continue;
        };
        rows.push(vec![
            ago(now, test.at),
            plain(&test.replica, 63),
            test.builds.to_string(),
            millis(test.adopted_millis),
            millis(test.resumed_millis),
            millis(test.ready_millis),
            test.logs_checked.to_string(),
            test.defects.to_string(),
            plain(&test.outcome, 20),
        ]);
    }
    let mut table = columns(&rows);
    if damaged > 0 {
        table.push_str(&format!("\n{damaged} lines can't be read"));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_test(at: i64, outcome: &str) -> Test {
        Test {
            at,
            replica: "majordomo-1".to_owned(),
            builds: 12,
            adopted_millis: Some(310),
            ready_millis: Some(900),
            logs_checked: 12,
            outcome: outcome.to_owned(),
            ..Test::default()
        }
    }

    #[test]
    fn the_last_thousand_are_kept_and_shown_newest_first() {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths::new(folder.path());
        assert!(failover_history(folder.path()).unwrap().contains("no failover test has run"));
        let line = serde_json::to_string(&a_test(1, "old")).unwrap();
        files::write_whole(&paths.failover_tests(), &format!("{}rubbish\n", format!("{line}\n").repeat(999)))
            .unwrap();
        add(&paths, &a_test(2, "failed")).unwrap();
        add(&paths, &a_test(3, "passed")).unwrap();
        let text = files::read_text(&paths.failover_tests()).unwrap().unwrap();
        assert_eq!(text.lines().count(), 1_000);
        let table = failover_history(folder.path()).unwrap();
        let outcomes: Vec<&str> =
            table.lines().skip(1).take(3).map(|l| &l[l.rfind(' ').unwrap() + 1..]).collect();
        assert_eq!(outcomes, ["passed", "failed", "old"]);
        assert!(table.ends_with("1 lines can't be read"), "{table}");
    }

    #[test]
    fn what_was_not_reached_is_a_dash() {
        let text = serde_json::to_string(&a_test(40_000, "unknown")).unwrap();
        let wanted = "AGO   REPLICA      BUILDS  ADOPTED  RESUMED  READY   LOGS  DEFECTS  OUTCOME\n\
                      1m0s  majordomo-1  12      310 ms   -        900 ms  12    0        unknown";
        assert_eq!(draw(&text, 100_000), wanted);
    }
}

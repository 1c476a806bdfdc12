//! A replica is killed on purpose under load, by the command for it, which says what came of it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::logs;
use crate::rolling::{incarnations, roll, said, under_load};
use crate::support::controller::{Controller, LONG};

/// The number before this word in the line that begins so.
fn number(text: &str, begin: &str, word: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with(begin)).unwrap_or_else(|| panic!("{begin}: {text}"));
    let before = line.split(word).next().unwrap().trim_end_matches([' ', ',']);
    before.rsplit(' ').next().unwrap().parse().unwrap_or_else(|_| panic!("{word} in {line}"))
}

fn tests(controller: &Controller) -> Vec<Value> {
    let text = std::fs::read_to_string(controller.home.join("failover-tests.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_failover_test_kills_a_busy_replica_and_says_what_came_of_it() {
    let (mut controller, mut load, _agents) = roll("drill", None);
    let first = incarnations(&controller);

    let none = controller.command(&["failover-test", "--history"]);
    assert!(none.status.success() && said(&none).contains("no failover test has run"), "{}", said(&none));
    let unasked = controller.command(&["failover-test"]);
    assert_eq!(unasked.status.code(), Some(2), "{}", said(&unasked));
    assert!(
        said(&unasked).contains("drives no build") && said(&unasked).contains("say --yes"),
        "{}",
        said(&unasked)
    );
    let unknown = controller.command(&["failover-test", "--yes", "--replica", "nobody"]);
    assert_eq!(unknown.status.code(), Some(2), "{}", said(&unknown));
    assert!(said(&unknown).contains("no replica nobody is ready"), "{}", said(&unknown));
    assert_eq!(incarnations(&controller), first, "nothing was killed");

    let idle = controller.command(&["failover-test", "--yes", "--replica", "majordomo-2"]);
    assert!(idle.status.success(), "{}", said(&idle));
    assert!(said(&idle).contains("majordomo-2 is ready again after "), "{}", said(&idle));
    assert!(said(&idle).contains("builds   none ran there"), "{}", said(&idle));
    let second = incarnations(&controller);
    assert_eq!(first.intersection(&second).count(), 2, "{first:?} {second:?}");

    load.keep_going(12, |done| done >= 2);
    let busy = under_load(&controller, &mut load, &["failover-test", "--yes"]);
    let text = said(&busy);
    assert!(busy.status.success(), "{text}");
    assert!(text.contains("defects  none\n") && text.contains("outcome  passed\n"), "{text}");
    let builds = number(&text, "builds ", ", the last one adopted after");
    let logs_checked = number(&text, "logs ", " checked");
    assert!(builds > 0 && logs_checked == builds, "{text}");
    let third = incarnations(&controller);
    let killed: BTreeSet<i64> = second.difference(&third).copied().collect();
    assert!(third.len() == 3 && killed.len() == 1, "{second:?} {third:?}");

    // the controller itself says the same of that loss
    let shown = controller.client().json("/replicas/api/json");
    let rows = shown["failovers"].as_array().unwrap();
    let row = rows.iter().find(|row| killed.contains(&row["incarnation"].as_i64().unwrap())).unwrap();
    let kept = tests(&controller);
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert_eq!((&kept[0]["replica"], &kept[0]["outcome"]), (&"majordomo-2".into(), &"passed".into()));
    for what in ["adoptedMillis", "incarnation"] {
        assert_eq!(kept[1][what], row[what], "{kept:?} {row}");
    }
    // one that waited for an executor may have gone on since
    assert!(
        kept[1]["resumedMillis"].as_u64().unwrap() <= row["resumedMillis"].as_u64().unwrap(),
        "{kept:?} {row}"
    );
    assert_eq!((&kept[1]["builds"], &kept[1]["problems"]), (&builds.into(), &Value::Array(vec![])));
    let table = controller.command(&["failover-test", "--history"]);
    let passed = said(&table).lines().filter(|line| line.ends_with("passed")).count();
    assert_eq!(passed, 2, "{}", said(&table));

    let builds = load.finish(LONG);
    eprintln!("{:?}\n{text}", load.check(&builds));
    for build in &builds {
        let checked = controller.command(&["verify-log", &build.job, &build.number.to_string()]);
        assert!(checked.status.success(), "{build:?}: {}", said(&checked));
    }
    controller.stop();
    logs::check(&controller, &[]);
}

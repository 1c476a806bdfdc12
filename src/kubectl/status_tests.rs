//! What `status` shows.

use crate::paint::Paint;
use crate::samples::{fresh, healthy, troubled};
use crate::status::status_text;

#[test]
fn a_healthy_controller_is_shown_in_short() {
    insta::assert_snapshot!(status_text(&healthy(), false, Paint(false)));
}

#[test]
fn everything_is_shown_when_asked_for() {
    insta::assert_snapshot!(status_text(&healthy(), true, Paint(false)));
}

#[test]
fn trouble_is_shown_with_why() {
    insta::assert_snapshot!(status_text(&troubled(), false, Paint(false)));
}

#[test]
fn a_controller_that_nobody_looks_after_says_so() {
    insta::assert_snapshot!(status_text(&fresh(), false, Paint(false)));
}

#[test]
fn colours_change_nothing_but_colours() {
    let strip = |text: &str| {
        let parts = text.split('\u{1b}').enumerate();
        let parts = parts.map(|(at, part)| if at == 0 { part } else { part.split_once('m').unwrap().1 });
        parts.collect::<String>()
    };
    let coloured = status_text(&troubled(), true, Paint(true));
    assert!(coloured.contains("\u{1b}[31mDegraded\u{1b}[0m"), "{coloured}");
    assert_eq!(strip(&coloured), status_text(&troubled(), true, Paint(false)));
}

#[test]
fn programs_read_the_same() {
    let json: serde_json::Value = serde_json::from_str(&troubled().json().unwrap()).unwrap();
    assert_eq!(json["phase"], "Degraded");
    assert_eq!(json["behind"], true);
    assert_eq!(json["members"][1]["pod"], "acme-1");
    assert_eq!(json["members"][1]["node"], "node-1");
    assert_eq!(json["rollout"]["turn"]["stage"], "Start");
    let yaml: serde_json::Value = serde_saphyr::from_str(&troubled().yaml().unwrap()).unwrap();
    assert_eq!(yaml, json);
}

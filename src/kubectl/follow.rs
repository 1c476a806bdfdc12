//! How far a rollout is, from what the resource says. Pure.

use resource::{ConditionType, MemberState, RolloutEnd, RolloutPhase, RolloutStatus};

use crate::controller::Controller;
use crate::paint::line;
use crate::wait::Next;

/// What is waited for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Goal {
    /// Whatever is wanted now.
    Settled,
    /// A rollout that the resource did not know of when it looked like this.
    After(Mark),
}

/// Which rollout was the last one.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Mark {
    wanted: Option<String>,
    /// When it was asked for.
    asked: Option<jiff::Timestamp>,
}

impl Mark {
    pub(crate) fn of(rollout: Option<&RolloutStatus>) -> Mark {
        Mark {
            wanted: rollout.map(|rollout| rollout.wanted.clone()),
            asked: rollout.and_then(|rollout| Some(rollout.history.first()?.asked_at.0)),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// All replicas run it.
    Settled(String),
    /// It was given up.
    Halted(String),
    /// Nobody goes on until somebody says so.
    Paused(String),
}

pub(crate) fn look(controller: &Controller, goal: &Goal) -> Next<End> {
    let name = controller.name();
    let Some(rollout) = &controller.status.rollout else {
        return Next::Wait("no rollout can begin before all replicas were ready once".to_owned());
    };
    let taken_up = match goal {
        Goal::Settled => controller.observed(),
        Goal::After(mark) => *mark != Mark::of(Some(rollout)),
    };
    if !taken_up && controller.paused() {
        return Next::End(End::Paused(format!(
            "it begins when the rollout is resumed: kubectl majordomo rollout resume {name}"
        )));
    }
    if !taken_up {
        return Next::Wait("waiting for the operator to take it up".to_owned());
    }
    let wanted = line(&rollout.wanted);
    match rollout.phase {
        RolloutPhase::Settled if gone_back(rollout) => Next::End(End::Halted(why(controller, rollout))),
        RolloutPhase::Settled => Next::End(End::Settled(format!("all replicas run revision {wanted}"))),
        RolloutPhase::Halted => Next::End(End::Halted(why(controller, rollout))),
        RolloutPhase::Paused => Next::End(End::Paused(format!(
            "the rollout of {wanted} is paused ({}): kubectl majordomo rollout resume {name}",
            progress(controller, rollout)
        ))),
        RolloutPhase::Waiting | RolloutPhase::Rolling | RolloutPhase::GoingBack => {
            Next::Wait(format!("{}: {}", rollout.phase, progress(controller, rollout)))
        }
    }
}

/// The last rollout came to nothing, though what runs is what is wanted again.
fn gone_back(rollout: &RolloutStatus) -> bool {
    rollout
        .history
        .first()
        .is_some_and(|last| last.end == Some(RolloutEnd::GoneBack) && last.revision != rollout.wanted)
}

fn progress(controller: &Controller, rollout: &RolloutStatus) -> String {
    // what comes back is what was good
    let target = match rollout.phase {
        RolloutPhase::GoingBack => &rollout.good,
        _ => &rollout.wanted,
    };
    let serves = |state| matches!(state, MemberState::Ready | MemberState::Setup);
    let members = &controller.status.members;
    let done = members.iter().filter(|member| member.revision == *target && serves(member.state)).count();
    let mut text = format!("{done} of {} replicas run {}", members.len(), line(target));
    if let Some(turn) = &rollout.turn {
        text.push_str(&format!(", {}-{} is at {}", controller.name(), turn.ordinal, turn.stage));
    }
    if let Some(message) = rollout.message.as_deref().map(line).filter(|message| !message.is_empty()) {
        text.push_str(&format!("; {message}"));
    }
    text
}

/// Why it was given up.
fn why(controller: &Controller, rollout: &RolloutStatus) -> String {
    let rolled_back = ConditionType::RolledBack.as_str();
    let told = controller.status.conditions.iter().find(|condition| condition.type_ == rolled_back);
    let told = told.filter(|condition| condition.status == "True");
    let reason = match told {
        Some(condition) => format!("{}: {}", line(&condition.reason), line(&condition.message)),
        None => {
            rollout.message.as_deref().map(line).unwrap_or_else(|| "the operator does not say why".to_owned())
        }
    };
    let failed = match rollout.history.first() {
        Some(last) if last.end == Some(RolloutEnd::GoneBack) => &last.revision,
        _ => &rollout.wanted,
    };
    format!(
        "revision {} was given up, the replicas run {} again: {reason}",
        line(failed),
        line(&rollout.good)
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn controller(status: Value, spec: Value) -> Controller {
        let metadata = json!({ "name": "acme", "generation": 2 });
        let object = json!({ "metadata": metadata, "spec": spec, "status": status });
        Controller::read(serde_json::from_value(object).unwrap()).unwrap()
    }

    fn status(phase: &str, wanted: &str, end: Value) -> Value {
        json!({
            "observedGeneration": 2,
            "members": [
                { "ordinal": 0, "pod": "acme-0", "state": "Ready", "revision": "old" },
                { "ordinal": 1, "pod": "acme-1", "state": "Ready", "revision": "new" },
            ],
            "conditions": [{
                "type": "RolledBack", "status": "True", "reason": "ImageRefused", "message": "no such image",
                "lastTransitionTime": "2026-11-26T20:00:00Z",
            }],
            "rollout": {
                "phase": phase, "good": "old", "wanted": wanted,
                "turn": { "ordinal": 0, "stage": "Drain", "since": "2026-11-26T20:00:00Z" },
                "history": [{
                    "revision": "new", "reason": "Annotation", "askedAt": "2026-11-26T20:00:00Z", "end": end,
                }],
            },
        })
    }

    fn before() -> Goal {
        Goal::After(Mark { wanted: Some("old".to_owned()), asked: None })
    }

    fn told(next: Next<End>) -> String {
        match next {
            Next::Wait(text) => format!("wait: {text}"),
            Next::End(End::Settled(text)) => format!("settled: {text}"),
            Next::End(End::Halted(text)) => format!("halted: {text}"),
            Next::End(End::Paused(text)) => format!("paused: {text}"),
        }
    }

    #[test]
    fn each_phase_of_a_rollout_is_told() {
        let gone_back =
            "halted: revision new was given up, the replicas run old again: ImageRefused: no such image";
        for (phase, wanted, end, text) in [
            ("Rolling", "new", Value::Null, "wait: Rolling: 1 of 2 replicas run new, acme-0 is at Drain"),
            ("Waiting", "new", Value::Null, "wait: Waiting: 1 of 2 replicas run new, acme-0 is at Drain"),
            ("GoingBack", "new", Value::Null, "wait: GoingBack: 1 of 2 replicas run old, acme-0 is at Drain"),
            ("Settled", "new", json!("Finished"), "settled: all replicas run revision new"),
            ("Halted", "new", json!("GoneBack"), gone_back),
            ("Settled", "old", json!("GoneBack"), gone_back),
        ] {
            let seen = controller(status(phase, wanted, end), json!({}));
            assert_eq!(told(look(&seen, &before())), text, "{phase}");
        }
        let paused = told(look(&controller(status("Paused", "new", Value::Null), json!({})), &before()));
        assert!(paused.starts_with("paused: the rollout of new is paused"), "{paused}");
    }

    #[test]
    fn what_was_there_before_is_not_taken_for_what_was_asked_for() {
        let seen = controller(status("Settled", "new", json!("Finished")), json!({}));
        let same = Goal::After(Mark::of(seen.status.rollout.as_ref()));
        assert_eq!(told(look(&seen, &same)), "wait: waiting for the operator to take it up");
        assert!(told(look(&seen, &Goal::Settled)).starts_with("settled"));
        let paused =
            controller(status("Settled", "new", json!("Finished")), json!({ "rollout": { "paused": true } }));
        assert!(told(look(&paused, &same)).starts_with("paused: it begins when"));
    }

    #[test]
    fn an_operator_that_has_not_seen_the_spec_is_waited_for() {
        let mut told_before = status("Settled", "new", json!("Finished"));
        told_before["observedGeneration"] = json!(1);
        let seen = controller(told_before, json!({}));
        assert_eq!(told(look(&seen, &Goal::Settled)), "wait: waiting for the operator to take it up");
        let empty = controller(json!({}), json!({}));
        assert!(told(look(&empty, &Goal::Settled)).starts_with("wait: no rollout can begin"));
    }
}

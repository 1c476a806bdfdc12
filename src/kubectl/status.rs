//! What `status` shows, as text. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use resource::{ConditionType, MemberState, Phase, Reason, RolloutPhase, RolloutStatus};

use crate::overview::{Overview, Row};
use crate::paint::{Cell, Paint, Tone, cut, line, table};
use crate::times::age;

/// Longest message in a table, unless everything is wanted.
const MESSAGE: usize = 80;
/// Rollouts that are shown, unless everything is wanted.
const ROLLOUTS: usize = 3;

/// How it is shown.
#[derive(Clone, Copy)]
struct Look {
    now: Timestamp,
    /// Everything is wanted.
    all: bool,
    paint: Paint,
}

/// `all`: also what is as it should be.
pub fn status_text(seen: &Overview, all: bool, paint: Paint) -> String {
    let look = Look { now: seen.at, all, paint };
    let parts = [
        head(seen, look),
        conditions(seen, look),
        members(seen, look),
        rollout(seen, look),
        failovers(seen, look),
        secrets(seen, look),
        events(seen, look),
        unseen(seen, look),
    ];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

fn titled(look: Look, title: &str, text: String) -> String {
    match text.is_empty() {
        true => text,
        false => format!("{}\n{text}", look.paint.text(Tone::Heading, title)),
    }
}

fn phase_tone(phase: Phase) -> Tone {
    match phase {
        Phase::Ready | Phase::Setup => Tone::Good,
        Phase::Pending | Phase::Starting | Phase::Rolling | Phase::Deleting => Tone::Busy,
        Phase::Degraded | Phase::Unavailable => Tone::Bad,
        Phase::Stopped => Tone::Plain,
    }
}

fn state_tone(state: MemberState) -> Tone {
    match state {
        MemberState::Ready | MemberState::Setup => Tone::Good,
        MemberState::Pending | MemberState::Waiting | MemberState::Starting => Tone::Busy,
        MemberState::Draining | MemberState::Stopped => Tone::Busy,
        MemberState::Lost => Tone::Bad,
    }
}

fn rollout_tone(phase: RolloutPhase) -> Tone {
    match phase {
        RolloutPhase::Settled => Tone::Good,
        RolloutPhase::Waiting | RolloutPhase::Rolling | RolloutPhase::Paused => Tone::Busy,
        RolloutPhase::GoingBack | RolloutPhase::Halted => Tone::Bad,
    }
}

fn head(seen: &Overview, look: Look) -> String {
    let none = || "–".to_owned();
    let (phase, tone) = match seen.phase {
        Some(phase) => (phase.to_string(), phase_tone(phase)),
        None => ("the operator has not seen it yet: is it running?".to_owned(), Tone::Bad),
    };
    let mut lines = vec![
        ("Controller", format!("{}/{}", seen.namespace, seen.name)),
        ("Phase", look.paint.text(tone, &phase)),
        ("Replicas", format!("{} of {} ready", seen.ready_replicas, seen.replicas)),
        ("URL", seen.url.as_deref().map_or_else(none, line)),
        ("Revision", seen.revision.as_deref().map_or_else(none, line)),
        ("Store", store(seen)),
    ];
    if let Some(counters) = &seen.counters {
        let text = format!(
            "{} builds run, {} wait, {} agents are connected",
            counters.builds, counters.queue, counters.agents
        );
        lines.push(("Work", text));
    }
    if let Some(budget) = &seen.budget {
        let text = format!(
            "{} may be evicted now ({} of {} are healthy)",
            budget.allowed, budget.healthy, budget.wanted
        );
        lines.push(("Disruption", text));
    }
    if let Some(startup) = &seen.startup {
        let since = age(look.now, startup.since.0);
        lines.push(("Starting", format!("{} has the startup lock, since {since}", line(&startup.holder))));
    }
    lines.push(("Age", seen.created.as_ref().map_or_else(none, |time| age(look.now, time.0))));
    let mut text: String = lines.iter().map(|(name, value)| format!("{name:<12} {value}\n")).collect();
    if seen.deleting {
        text.push_str("It is being removed.\n");
    } else if seen.behind && seen.phase.is_some() {
        text.push_str("The operator has not taken up the last change of the resource yet.\n");
    }
    text
}

/// Its kind, and how it is.
fn store(seen: &Overview) -> String {
    let told = seen.conditions.iter().filter(|condition| {
        let of = [ConditionType::StoreReady, ConditionType::StoreDurable];
        of.iter().any(|kind| kind.as_str() == condition.type_)
    });
    let told: Vec<_> = told.map(|condition| line(&condition.reason)).collect();
    match told.is_empty() {
        true => seen.store.to_owned(),
        false => format!("{} ({})", seen.store, told.join(", ")),
    }
}

/// Whether a condition is as it should be; `None`: this version does not know it.
fn fine(condition: &Condition) -> Option<bool> {
    let kind = ConditionType::ALL.iter().find(|kind| kind.as_str() == condition.type_)?;
    let wanted = match kind {
        ConditionType::Progressing | ConditionType::RolledBack => "False",
        ConditionType::Ready
        | ConditionType::StoreReady
        | ConditionType::StoreDurable
        | ConditionType::Exposed
        | ConditionType::ConfigurationValid
        | ConditionType::PluginsLoaded => "True",
    };
    // these are as they were asked for
    let asked = [Reason::NotAsked, Reason::Stopped, Reason::NoPlugins];
    Some(condition.status == wanted || asked.iter().any(|reason| reason.as_str() == condition.reason))
}

fn conditions(seen: &Overview, look: Look) -> String {
    let shown = seen.conditions.iter().filter(|condition| look.all || fine(condition) != Some(true));
    let rows: Vec<Vec<Cell>> = shown
        .map(|condition| {
            let tone = match (fine(condition), condition.status.as_str()) {
                (Some(true), _) => Tone::Good,
                (None, _) => Tone::Plain,
                (Some(false), "Unknown") => Tone::Busy,
                (Some(false), _) if condition.type_ == ConditionType::Progressing.as_str() => Tone::Busy,
                (Some(false), _) => Tone::Bad,
            };
            vec![
                (&condition.type_).into(),
                Cell { text: line(&condition.status), tone },
                (&condition.reason).into(),
                age(look.now, condition.last_transition_time.0).into(),
                // what is wrong is told whole
                (&condition.message).into(),
            ]
        })
        .collect();
    match rows.is_empty() {
        true => String::new(),
        false => {
            let heads = ["CONDITION", "STATUS", "REASON", "SINCE", "MESSAGE"];
            titled(look, "Conditions", table(look.paint, &heads, &rows))
        }
    }
}

fn message(text: Option<&str>, look: Look) -> String {
    let text = line(text.unwrap_or_default());
    if look.all { text } else { cut(&text, MESSAGE) }
}

fn members(seen: &Overview, look: Look) -> String {
    let row = |Row { member, node, restarts, terminating }: &Row| {
        let state = member.state.to_string();
        let state = if *terminating { format!("{state}, ending") } else { state };
        vec![
            member.ordinal.into(),
            (&member.pod).into(),
            node.as_deref().unwrap_or("–").into(),
            Cell { text: state, tone: state_tone(member.state) },
            (&member.revision).into(),
            member.builds.into(),
            member.agents.into(),
            restarts.map_or_else(|| "–".into(), Cell::from),
            member.since.as_ref().map_or_else(|| "–".into(), |time| age(look.now, time.0).into()),
            message(member.message.as_deref(), look).into(),
        ]
    };
    if seen.members.is_empty() {
        return titled(look, "Replicas", "There is none.\n".to_owned());
    }
    let rows: Vec<Vec<Cell>> = seen.members.iter().map(row).collect();
    let heads = ["#", "POD", "NODE", "STATE", "REVISION", "BUILDS", "AGENTS", "RESTARTS", "SINCE", "MESSAGE"];
    titled(look, "Replicas", table(look.paint, &heads, &rows))
}

fn rollout(seen: &Overview, look: Look) -> String {
    let Some(rollout) = &seen.rollout else { return String::new() };
    let mut text = format!("{}\n", standing(rollout, look.now, look.paint));
    if seen.paused && rollout.phase != RolloutPhase::Paused {
        text.push_str("The resource says paused: nothing more is replaced.\n");
    }
    text.push_str(&history_table(
        rollout,
        if look.all { usize::MAX } else { ROLLOUTS },
        look.now,
        look.paint,
    ));
    titled(look, "Rollout", text)
}

/// Where it stands, in one line.
pub(crate) fn standing(rollout: &RolloutStatus, now: Timestamp, paint: Paint) -> String {
    let mut text = paint.text(rollout_tone(rollout.phase), rollout.phase.as_str());
    match rollout.good == rollout.wanted {
        true => text.push_str(&format!(": {} is wanted and good", line(&rollout.wanted))),
        false => {
            text.push_str(&format!(": {} is wanted, {} was good", line(&rollout.wanted), line(&rollout.good)))
        }
    }
    if let Some(turn) = &rollout.turn {
        let since = age(now, turn.since.0);
        text.push_str(&format!("; replica {} is at {}, since {since}", turn.ordinal, turn.stage));
    }
    if let Some(message) = rollout.message.as_deref().map(line).filter(|message| !message.is_empty()) {
        text.push_str(&format!("; {message}"));
    }
    text
}

/// The rollouts so far, the last one first.
pub(crate) fn history_table(rollout: &RolloutStatus, most: usize, now: Timestamp, paint: Paint) -> String {
    let row = |record: &resource::RolloutRecord| {
        let end = record.end.map_or("goes on", |end| end.as_str());
        vec![
            (&record.revision).into(),
            record.reason.into(),
            age(now, record.asked_at.0).into(),
            record.ended_at.as_ref().map_or_else(|| "–".into(), |time| age(now, time.0).into()),
            end.into(),
            record.message.as_deref().unwrap_or_default().into(),
        ]
    };
    let rows: Vec<Vec<Cell>> = rollout.history.iter().take(most).map(row).collect();
    match rows.is_empty() {
        true => String::new(),
        false => table(paint, &["REVISION", "REASON", "ASKED", "ENDED", "END", "MESSAGE"], &rows),
    }
}

fn failovers(seen: &Overview, look: Look) -> String {
    let row = |failover: &resource::Failover| {
        vec![(&failover.replica).into(), age(look.now, failover.at.0).into(), failover.builds.into()]
    };
    let rows: Vec<Vec<Cell>> = seen.failovers.iter().map(row).collect();
    match rows.is_empty() {
        true => String::new(),
        false => titled(look, "Failovers", table(look.paint, &["LOST", "AGO", "BUILDS WENT ON"], &rows)),
    }
}

fn secrets(seen: &Overview, look: Look) -> String {
    let shown = seen.secrets.iter().filter(|key| look.all || key.there == Some(false));
    let row = |key: &crate::overview::Key| {
        let there = match key.there {
            Some(true) => Cell { text: "there".to_owned(), tone: Tone::Good },
            Some(false) => Cell { text: "missing".to_owned(), tone: Tone::Bad },
            None => Cell { text: "not seen".to_owned(), tone: Tone::Plain },
        };
        vec![(&key.name).into(), key.purpose.into(), there]
    };
    let rows: Vec<Vec<Cell>> = shown.map(row).collect();
    match rows.is_empty() {
        true => String::new(),
        false => titled(look, "Secrets", table(look.paint, &["SECRET", "FOR", "STATE"], &rows)),
    }
}

fn events(seen: &Overview, look: Look) -> String {
    let row = |event: &crate::overview::Happened| {
        let kind = if event.warning { "Warning" } else { "Normal" };
        let tone = if event.warning { Tone::Busy } else { Tone::Plain };
        let times = if event.times > 1 { format!(" (x{})", event.times) } else { String::new() };
        let ago = event.at.map_or_else(|| "–".to_owned(), |at| age(look.now, at));
        vec![
            format!("{ago}{times}").into(),
            Cell { text: kind.to_owned(), tone },
            (&event.reason).into(),
            (&event.about).into(),
            message(Some(&event.message), look).into(),
        ]
    };
    let rows: Vec<Vec<Cell>> = seen.events.iter().map(row).collect();
    match rows.is_empty() {
        true => String::new(),
        false => {
            titled(look, "Events", table(look.paint, &["AGO", "TYPE", "REASON", "OBJECT", "MESSAGE"], &rows))
        }
    }
}

fn unseen(seen: &Overview, look: Look) -> String {
    titled(look, "Not seen", seen.unseen.iter().map(|why| format!("{}\n", line(why))).collect())
}

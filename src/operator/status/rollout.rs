//! How far the rollout is, and what was rolled out before.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use resource::{RolloutEnd, RolloutPhase, RolloutRecord, RolloutStage, RolloutStatus, RolloutTurn};
use rollout::{Hold, Phase, Stage};

use super::{cut, number};
use crate::decide::Outcome;
use crate::names::{PEER_PORT, ordinal};
use crate::pods;
use crate::roll::{Note, Rolled};
use crate::seen::Seen;

/// In the message of one that was gone back from.
const GIVEN_UP: &str = "given up: ";
/// Rollouts that are told.
const MOST: usize = 10;

pub(super) fn rollout(
    seen: &Seen,
    outcome: &Outcome,
    before: Option<RolloutStatus>,
) -> Option<RolloutStatus> {
    let Some(rolled) = &outcome.rolled else { return before };
    let note = &rolled.note;
    if !note.proven && before.is_none() {
        return None;
    }
    let history = before.map(|before| before.history).unwrap_or_default();
    Some(RolloutStatus {
        phase: phase(rolled),
        good: note.good.0.clone(),
        wanted: note.wanted.0.clone(),
        turn: note.turn.map(|turn| RolloutTurn {
            ordinal: number(turn.ordinal),
            stage: match turn.stage {
                Stage::Drain => RolloutStage::Drain,
                Stage::Start => RolloutStage::Start,
            },
            since: Time(turn.since),
        }),
        message: message(seen, rolled),
        history: told(seen, outcome, rolled, history),
    })
}

pub(super) fn phase(rolled: &Rolled) -> RolloutPhase {
    match (rolled.phase, rolled.hold) {
        (Phase::Settled, _) => RolloutPhase::Settled,
        (Phase::Halted, _) => RolloutPhase::Halted,
        (Phase::Rolling | Phase::Waiting | Phase::GoingBack, Some(Hold::Paused))
            if rolled.note.turn.is_none() =>
        {
            RolloutPhase::Paused
        }
        (Phase::Waiting, _) => RolloutPhase::Waiting,
        (Phase::Rolling, _) => RolloutPhase::Rolling,
        (Phase::GoingBack, _) => RolloutPhase::GoingBack,
    }
}

/// What happens now, for people; no times in it, which would be news each second.
pub(crate) fn message(seen: &Seen, rolled: &Rolled) -> Option<String> {
    let Note { turn, failed, wanted, good, .. } = &rolled.note;
    let work = turn.map(|turn| {
        let pod = seen.owner.pod(turn.ordinal);
        match turn.stage {
            Stage::Drain => format!("{pod} hands over what it does"),
            Stage::Start => format!("{pod} is replaced and becomes ready"),
        }
    });
    let back = failed.as_ref().map(|why| format!("{wanted} was given up: {why}; {good} runs"));
    let waits = match phase(rolled) {
        RolloutPhase::Waiting if rolled.hold == Some(Hold::Closed) => Some("it waits for its window"),
        RolloutPhase::Waiting => Some("it waits until nothing runs"),
        RolloutPhase::Paused => Some("it is paused"),
        RolloutPhase::Rolling if turn.is_none() => Some("the next replica waits until all others are ready"),
        _ => None,
    };
    let silent = if done(rolled) { None } else { silent(seen) };
    let silent = silent.map(|pod| {
        format!(
            "{pod} is ready, and gives the operator no answer at port {PEER_PORT}: a network policy or a mesh may be between them, or \
             the first of the peer keys is one that it does not know"
        )
    });
    let waits = waits.map(str::to_owned);
    let overdue = if done(rolled) { None } else { pods::overdue(seen) };
    let parts: Vec<String> = [back, work, waits, silent, overdue].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| cut(&parts.join("; ")))
}

fn done(rolled: &Rolled) -> bool {
    matches!(rolled.phase, Phase::Settled | Phase::Halted)
}

/// A replica that its kubelet reaches, and not the operator. Not all are asked at rest.
fn silent(seen: &Seen) -> Option<String> {
    let name = |pod: &Pod| pod.metadata.name.clone().filter(|_| pods::ready(pod));
    let mut ready = seen.pods.iter().filter_map(name);
    ready.find(|name| ordinal(&seen.owner.name, name).is_some_and(|at| !seen.told.contains_key(&at)))
}

/// The rollouts, the last one first. The first start is none.
fn told(
    seen: &Seen,
    outcome: &Outcome,
    rolled: &Rolled,
    mut history: Vec<RolloutRecord>,
) -> Vec<RolloutRecord> {
    let note = &rolled.note;
    let now = || Some(Time(seen.now));
    let new = history.first().map_or(note.good != note.wanted, |last| last.revision != note.wanted.0);
    if let Some(wish) = outcome.wanted.as_ref().filter(|wish| new && wish.revision == note.wanted) {
        for open in history.iter_mut().filter(|record| record.end.is_none()) {
            (open.end, open.ended_at) = (Some(RolloutEnd::Superseded), now());
        }
        let record = RolloutRecord {
            revision: wish.revision.0.clone(),
            reason: wish.reason,
            message: wish.message.as_deref().map(cut),
            asked_at: Time(note.asked),
            ended_at: None,
            end: None,
        };
        history.insert(0, record);
    }
    // it is tried once more, because its image may be there by now
    if let Some(last) = history.first_mut().filter(|last| {
        note.failed.is_none() && last.end == Some(RolloutEnd::GoneBack) && last.revision == note.wanted.0
    }) {
        (last.end, last.ended_at) = (None, None);
        let before = last.message.as_deref().and_then(|message| message.split(GIVEN_UP).next());
        let before = before.map(|before| before.trim_end_matches("; ").to_owned());
        last.message = before.filter(|before| !before.is_empty());
    }
    let end = match rolled.phase {
        Phase::Settled => Some(RolloutEnd::Finished),
        Phase::Halted => Some(RolloutEnd::GoneBack),
        Phase::Waiting | Phase::Rolling | Phase::GoingBack => None,
    };
    let settled = note.good == note.wanted || note.failed.is_some();
    if let Some(last) =
        history.first_mut().filter(|last| last.end.is_none() && last.revision == note.wanted.0)
        && let Some(end) = end.filter(|_| settled)
    {
        (last.end, last.ended_at) = (Some(end), now());
        if end == RolloutEnd::GoneBack {
            let why = note.failed.as_deref().unwrap_or_default();
            let before = last.message.as_deref().map(|before| format!("{before}; ")).unwrap_or_default();
            last.message = Some(cut(&format!("{before}{GIVEN_UP}{why}")));
        }
    }
    history.truncate(MOST);
    history
}

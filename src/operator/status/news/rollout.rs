//! What is new of rollouts: each begins and ends with an Event, and so does each replica's turn.

use std::time::Duration;

use resource::{
    ConditionType, Member, MemberState, RolloutEnd, RolloutPhase, RolloutRecord, RolloutStage, RolloutStatus,
    RolloutTurn, Status,
};

use super::{Look, News};
use crate::kinds::Kind;

pub(super) fn news(before: &Status, after: &Status, look: &Look) -> Vec<News> {
    let Some(now) = &after.rollout else { return Vec::new() };
    let was = before.rollout.as_ref();
    let back = given_up(after).is_some();
    let told = [
        given_up(after).filter(|_| was.is_some() && given_up(before).is_none()),
        phase(was, now, look),
        timed_out(before, now, look),
        turn(was, now, back, look),
    ];
    told.into_iter().flatten().collect()
}

/// A revision that does not become ready.
fn given_up(status: &Status) -> Option<News> {
    let of = ConditionType::RolledBack.as_str();
    let condition = status.conditions.iter().find(|one| one.type_ == of && one.status == "True")?;
    let note = format!("{}: {}", condition.reason, condition.message);
    Some(News::warning("RolloutGivenUp", "Rollout", note))
}

fn phase(was: Option<&RolloutStatus>, now: &RolloutStatus, look: &Look) -> Option<News> {
    let record = now.history.first()?;
    let last = was.and_then(|was| was.history.first());
    let new =
        last.is_none_or(|last| (&last.revision, &last.asked_at) != (&record.revision, &record.asked_at));
    let from = was.map_or(RolloutPhase::Settled, |was| was.phase);
    let finished = |record: &RolloutRecord| record.end == Some(RolloutEnd::Finished);
    let said = |reason: &str, text: String| {
        let revision = look.owner.record(&record.revision);
        Some(News::normal(reason, "Rollout", text).about(Kind::ControllerRevision, &revision))
    };
    let what = || format!("{}: {}", record.revision, why(record));
    let waits = || now.message.clone().unwrap_or_default();
    match now.phase {
        RolloutPhase::Settled if finished(record) && (new || !last.is_some_and(finished)) => {
            said("RolloutFinished", format!("all replicas run {}", what()))
        }
        RolloutPhase::Settled => None,
        phase if !new && phase == from => None,
        RolloutPhase::Rolling | RolloutPhase::GoingBack if !new && from == RolloutPhase::Paused => {
            said("RolloutResumed", format!("replicas go on to be replaced; {}", what()))
        }
        RolloutPhase::Rolling => {
            said("RolloutBegun", format!("replicas are replaced one after the other; {}", what()))
        }
        RolloutPhase::Waiting => said("RolloutWaits", format!("{}; {}", what(), waits())),
        RolloutPhase::Paused => said("RolloutPaused", format!("{}; {}", what(), waits())),
        // it is told why it was given up
        RolloutPhase::GoingBack => None,
        RolloutPhase::Halted => {
            said("RolloutGoneBack", format!("all replicas run {} again, not {}", now.good, record.revision))
        }
    }
}

/// `ImageChanged, from a:1 to a:2`
fn why(record: &RolloutRecord) -> String {
    let reason = record.reason.as_str();
    record.message.as_ref().map_or_else(|| reason.to_owned(), |message| format!("{reason}, {message}"))
}

/// A replica that is taken next.
fn turn(was: Option<&RolloutStatus>, now: &RolloutStatus, back: bool, look: &Look) -> Option<News> {
    let turn = now.turn.as_ref()?;
    let last = was.and_then(|was| was.turn.as_ref()).filter(|last| last.ordinal == turn.ordinal);
    let same = |last: &RolloutTurn| match (last.stage, turn.stage) {
        (RolloutStage::Drain, _) => true,
        (RolloutStage::Start, RolloutStage::Start) => last.since == turn.since,
        (RolloutStage::Start, RolloutStage::Drain) => false,
    };
    if last.is_some_and(same) {
        return None;
    }
    let pod = pod(turn, look)?;
    let record = now.history.first()?;
    let (reason, text) = match back {
        true => ("GoneBack", format!("{pod} is replaced: it goes back to {}", now.good)),
        false => (record.reason.as_str(), format!("{pod} is replaced: {}", why(record))),
    };
    Some(News::normal(reason, "Replace", text).about(Kind::Pod, &pod))
}

/// One that had not handed over all when its time was over.
fn timed_out(before: &Status, now: &RolloutStatus, look: &Look) -> Option<News> {
    let last = before.rollout.as_ref()?.turn.as_ref().filter(|last| last.stage == RolloutStage::Drain)?;
    let next =
        now.turn.as_ref().filter(|next| next.stage == RolloutStage::Start && next.ordinal == last.ordinal)?;
    let took = Duration::try_from(next.since.0.duration_since(last.since.0)).unwrap_or_default();
    let done = |member: &&Member| member.ordinal == last.ordinal && member.state == MemberState::Stopped;
    if took < look.drain || before.members.iter().any(|member| done(&member)) {
        return None;
    }
    let pod = pod(next, look)?;
    let note = format!(
        "{pod} had not handed over all that it did within {} s, and is replaced all the same; builds go on at others",
        look.drain.as_secs()
    );
    Some(News::warning("DrainTimedOut", "Drain", note).about(Kind::Pod, &pod))
}

fn pod(turn: &RolloutTurn, look: &Look) -> Option<String> {
    usize::try_from(turn.ordinal).ok().map(|ordinal| look.owner.pod(ordinal))
}

//! The conditions, all of them each time.

use ::rollout::Revision;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use resource::{ConditionType, Member, MemberState, Reason, RolloutPhase, Status};

use super::store::store_ready;
use super::{cut, newest, rollout, serves};
use crate::check::Fault;
use crate::decide::Outcome;
use crate::names::{Owner, RESTARTED_AT};
use crate::pods;
use crate::seen::Seen;

/// Whether it is so, why, and what people read.
pub(super) struct Word(pub &'static str, pub Reason, pub String);

pub(super) const TRUE: &str = "True";
pub(super) const FALSE: &str = "False";
pub(super) const UNKNOWN: &str = "Unknown";

/// A pod that no node takes is told of after so long.
const UNSCHEDULED: SignedDuration = SignedDuration::from_secs(30);
/// Between a revision and why it was given up.
const GIVEN_UP: &str = " was given up: ";

pub(super) fn conditions(
    seen: &Seen,
    outcome: &Outcome,
    members: &[Member],
    before: &[Condition],
) -> Vec<Condition> {
    let words = ConditionType::ALL.iter().map(|of| {
        let word = match of {
            ConditionType::Ready => ready(seen, members),
            ConditionType::StoreReady => store(seen, outcome),
            ConditionType::StoreDurable => durable(seen),
            ConditionType::Exposed => fault(*of, outcome).unwrap_or_else(|| exposed(seen)),
            ConditionType::Progressing => progressing(seen, outcome),
            ConditionType::RolledBack => rolled_back(outcome),
            ConditionType::ConfigurationValid => fault(*of, outcome).unwrap_or_else(|| {
                Word(TRUE, Reason::Valid, "all that the spec says can be honoured".to_owned())
            }),
            ConditionType::PluginsLoaded => plugins(seen),
        };
        (*of, word)
    });
    words.map(|(of, word)| condition(seen, of, word, before)).collect()
}

fn condition(seen: &Seen, of: ConditionType, word: Word, before: &[Condition]) -> Condition {
    let Word(status, reason, message) = word;
    debug_assert!(of.reasons().contains(&reason), "{of} has no reason {reason}");
    let before = before.iter().find(|before| before.type_ == of.as_str() && before.status == status);
    Condition {
        type_: of.as_str().to_owned(),
        status: status.to_owned(),
        reason: reason.as_str().to_owned(),
        message: cut(&message),
        observed_generation: seen.controller.metadata.generation,
        last_transition_time: before.map_or(Time(seen.now), |before| before.last_transition_time.clone()),
    }
}

/// The first fault says the reason; all are told.
fn fault(of: ConditionType, outcome: &Outcome) -> Option<Word> {
    let all = outcome.faults.iter().filter(|fault| fault.of.contains(&of) && !of_size(fault));
    told(FALSE, all)
}

fn told<'a>(status: &'static str, faults: impl Iterator<Item = &'a Fault>) -> Option<Word> {
    let all: Vec<_> = faults.collect();
    let sentences: Vec<_> = all.iter().map(|fault| fault.sentence.as_str()).collect();
    Some(Word(status, all.first()?.reason, sentences.join("; ")))
}

/// A store that is smaller than wished still answers.
fn of_size(fault: &Fault) -> bool {
    matches!(fault.reason, Reason::StorageGrowing | Reason::StorageFixed)
}

/// How large it is matters only while it answers.
fn store(seen: &Seen, outcome: &Outcome) -> Word {
    if let Some(word) = fault(ConditionType::StoreReady, outcome) {
        return word;
    }
    let word = store_ready(seen);
    let size = told(TRUE, outcome.faults.iter().filter(|fault| of_size(fault)));
    size.filter(|_| word.0 == TRUE).unwrap_or(word)
}

fn ready(seen: &Seen, members: &[Member]) -> Word {
    let wanted = seen.controller.spec.replicas as usize;
    let ready = members.iter().filter(|member| serves(member.state)).count();
    if seen.controller.metadata.deletion_timestamp.is_some() {
        return Word(FALSE, Reason::Deleting, "it is being removed".to_owned());
    }
    if wanted == 0 {
        return Word(FALSE, Reason::Stopped, "no replicas are wanted".to_owned());
    }
    if let Some(member) = members.iter().find(|member| member.state == MemberState::Setup) {
        let text = format!("{} waits for a user to end the setup wizard", member.pod);
        return Word(FALSE, Reason::Setup, text);
    }
    let text = format!("{ready} of {wanted} replicas serve");
    match ready {
        ready if ready >= wanted => Word(TRUE, Reason::AllReady, text),
        0 => Word(FALSE, Reason::NoneReady, text),
        _ => Word(FALSE, Reason::SomeReady, text),
    }
}

fn durable(seen: &Seen) -> Word {
    let Some(told) = newest(seen) else {
        return Word(UNKNOWN, Reason::ReplicationUnknown, "no replica could be asked".to_owned());
    };
    let of = &told.durability;
    match (of.synchronous_replicas, of.standbys) {
        _ if of.engine == "sqlite" => {
            Word(FALSE, Reason::SingleCopy, "the database is one file on one volume".to_owned())
        }
        (Some(count), _) if count > 0 => {
            let text = format!("each commit waits for {count} further database servers");
            Word(TRUE, Reason::Replicated, text)
        }
        (Some(_), Some(count)) if count > 0 => {
            let text =
                "further database servers follow later: what was committed last may be lost with its machine";
            Word(FALSE, Reason::AsynchronousReplicas, text.to_owned())
        }
        (Some(_), Some(_)) => {
            Word(FALSE, Reason::SingleCopy, "the database is on one server only".to_owned())
        }
        _ => {
            Word(UNKNOWN, Reason::ReplicationUnknown, "the database does not say how it is copied".to_owned())
        }
    }
}

fn exposed(seen: &Seen) -> Word {
    let spec = &seen.controller.spec;
    if spec.ingress.is_none() && spec.gateway.is_none() && spec.route.is_none() {
        let text =
            "neither spec.ingress nor spec.gateway nor spec.route is set: only the Service leads to it";
        return Word(UNKNOWN, Reason::NotAsked, text.to_owned());
    }
    match seen.address.as_deref() {
        // of a Gateway only the name is known
        Some([first, ..]) if spec.ingress.is_none() && spec.gateway.is_some() => {
            Word(TRUE, Reason::AddressAssigned, format!("the Gateway {first} has taken it"))
        }
        Some([first, ..]) => Word(TRUE, Reason::AddressAssigned, format!("it has the address {first}")),
        Some([]) | None => Word(
            FALSE,
            Reason::AddressPending,
            "whoever implements what is in front of it has given it no address yet".to_owned(),
        ),
    }
}

fn progressing(seen: &Seen, outcome: &Outcome) -> Word {
    if seen.controller.metadata.deletion_timestamp.is_some() {
        return Word(FALSE, Reason::Deleting, "it is being removed".to_owned());
    }
    let Some(rolled) = &outcome.rolled else {
        return match outcome.faults.iter().find(|fault| fault.blocks) {
            Some(fault) => Word(FALSE, Reason::Blocked, format!("nothing is started: {}", fault.sentence)),
            None => Word(TRUE, Reason::FirstStart, "keys and passwords are made".to_owned()),
        };
    };
    let text = rollout::message(seen, rolled)
        .unwrap_or_else(|| format!("all replicas run {}", rolled.note.target()));
    let first = !rolled.note.proven && seen.controller.spec.replicas > 0;
    match rollout::phase(rolled) {
        RolloutPhase::Halted => Word(FALSE, Reason::Halted, halted(seen, &text, rolled.note.failed_for)),
        RolloutPhase::Settled | RolloutPhase::Rolling => match stuck(seen) {
            Some((reason, why)) => Word(TRUE, reason, why),
            None if first => Word(TRUE, Reason::FirstStart, "replicas start for the first time".to_owned()),
            None if rollout::phase(rolled) == RolloutPhase::Settled => Word(FALSE, Reason::Settled, text),
            None => Word(TRUE, Reason::Rolling, text),
        },
        RolloutPhase::Waiting if rolled.hold == Some(::rollout::Hold::Closed) => {
            Word(TRUE, Reason::WaitingForWindow, text)
        }
        RolloutPhase::Waiting => Word(TRUE, Reason::WaitingForIdle, text),
        RolloutPhase::Paused => Word(TRUE, Reason::Paused, text),
        RolloutPhase::GoingBack => Word(TRUE, Reason::GoingBack, text),
    }
}

/// What a person can do; but for an image, nothing more is done by itself.
fn halted(seen: &Seen, text: &str, failed_for: Option<Reason>) -> String {
    let Owner { namespace, name, .. } = &seen.owner;
    let again = match failed_for {
        Some(Reason::ImageRefused) => "; it is tried again by itself, later each time",
        _ => "",
    };
    format!(
        "{text}{again}; another spec is tried at once, and this one again after `kubectl majordomo restart {name} -n {namespace}` \
         or with another time in the annotation {RESTARTED_AT}"
    )
}

/// What keeps a pod from becoming ready, and does not end by itself as far as one can tell.
fn stuck(seen: &Seen) -> Option<(Reason, String)> {
    let there = |pod: &&Pod| pod.metadata.deletion_timestamp.is_none() && !pods::ready(pod);
    seen.pods.iter().filter(there).find_map(|pod| {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        if let Some((reason, why)) = pods::broken(pod, Timestamp::MAX) {
            return Some((reason, format!("{name}: {why}")));
        }
        let scheduled = pods::condition(pod, "PodScheduled").filter(|scheduled| {
            let since = scheduled.last_transition_time.as_ref();
            // a volume that is just being made, or a node, keeps a pod waiting for a while
            scheduled.status == "False"
                && since.is_none_or(|Time(since)| seen.now.duration_since(*since) >= UNSCHEDULED)
        })?;
        let why = scheduled.message.as_deref().unwrap_or_default();
        Some((Reason::Unschedulable, format!("no node takes {name}: {why}")))
    })
}

/// Why this revision was given up, and when, if that was told last.
pub(crate) fn given_up(told: &Status, wanted: &Revision) -> Option<(String, Option<Reason>, Timestamp)> {
    let of = ConditionType::RolledBack.as_str();
    let told = told.conditions.iter().find(|told| told.type_ == of && told.status == TRUE)?;
    let why = told.message.strip_prefix(&wanted.0)?.strip_prefix(GIVEN_UP)?;
    let reason = Reason::ALL.iter().find(|reason| reason.as_str() == told.reason);
    Some((why.to_owned(), reason.copied(), told.last_transition_time.0))
}

fn rolled_back(outcome: &Outcome) -> Word {
    let note = outcome.rolled.as_ref().map(|rolled| &rolled.note);
    match note.and_then(|note| Some((note, note.failed.as_ref()?))) {
        Some((note, why)) => {
            let reason = note.failed_for.unwrap_or(Reason::NotReadyInTime);
            Word(TRUE, reason, format!("{}{GIVEN_UP}{why}", note.wanted))
        }
        None => Word(FALSE, Reason::NothingFailed, "no revision was given up".to_owned()),
    }
}

fn plugins(seen: &Seen) -> Word {
    match seen.controller.spec.plugins.as_deref() {
        None | Some([]) => Word(TRUE, Reason::NoPlugins, "the list is empty".to_owned()),
        Some(plugins) => {
            let text =
                format!("this version has no plugin runtime: {} plugins are not loaded", plugins.len());
            Word(FALSE, Reason::NoRuntime, text)
        }
    }
}

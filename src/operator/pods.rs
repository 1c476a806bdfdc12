//! What is seen of each pod, as a place of the rollout. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use resource::Reason;
use rollout::{Revision, Slot, Stage, State};

use crate::names::{CONTAINER, PEER_PORT, POSTGRES_CONTAINER, REVISION_LABEL};
use crate::roll::{Note, NotedStore, overviews};
use crate::seen::Seen;
use crate::told::{self, Told};
use model::ReplicaState;

/// A replica that has ended so often and is not ready does not start.
const MOST_ENDS: i32 = 3;
/// An image, and what else a container needs, is waited for so long.
const PATIENCE: SignedDuration = SignedDuration::from_secs(90);
/// Longest time in which a new replica is given its share of the agents before the next one is taken.
const SHARE: SignedDuration = SignedDuration::from_secs(30);
/// A replica that says that it serves is believed for so long, although its probes fail.
const BLINK: Duration = Duration::from_secs(30);
/// A pod that has not ended so long after it should have is told.
const OVERDUE: SignedDuration = SignedDuration::from_secs(60);
/// Bytes of what a container has said last.
const MAX_WORDS: usize = 500;

/// One place: what is, or is to be, in the pod of this ordinal.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Place {
    pub slot: Slot,
    /// The same as `slot.broken`, in a word.
    pub why: Option<Reason>,
}

/// What the pod runs.
pub(crate) fn revision(pod: &Pod) -> Option<Revision> {
    pod.metadata.labels.as_ref()?.get(REVISION_LABEL).cloned().map(Revision)
}

/// By ordinal.
pub(crate) fn places(seen: &Seen, count: usize, note: &Note) -> Vec<Place> {
    (0..count).map(|ordinal| place(seen, ordinal, note)).collect()
}

fn place(seen: &Seen, ordinal: usize, note: &Note) -> Place {
    // one that is being removed has done its work: what counts is what comes after it
    let pod = seen.pod(ordinal).filter(|pod| pod.metadata.deletion_timestamp.is_none());
    let Some(pod) = pod else {
        let slot = Slot { revision: comes_as(seen, ordinal, note), state: State::Starting, broken: None };
        return Place { slot, why: None };
    };
    let revision = revision(pod).unwrap_or_else(|| Revision(String::new()));
    let state = state(seen, ordinal, pod, note);
    let broken = if state == State::Starting { broken(pod, seen.now) } else { None };
    let ready = seen.controller.spec.rollout.as_ref().and_then(|r| r.ready_timeout).map(|span| span.0);
    let limit = ready.unwrap_or(rollout::Policy::default().ready);
    let late = || {
        let old = revision != *note.target() && state == State::Starting;
        (old && !store_was_away(note, limit, seen.now) && unready_for(pod, seen.now) >= limit)
            .then(|| (Reason::NotReadyInTime, format!("it is not ready for {} s", limit.as_secs())))
    };
    let silent = || {
        let at_work = note.turn.is_some_and(|turn| turn.ordinal == ordinal);
        let long = note.unheard.is_some_and(|since| passed(since, seen.now) >= limit);
        (at_work && long).then(|| {
            let pod = seen.owner.pod(ordinal);
            let why =
                format!("{pod} gave the operator no answer at port {PEER_PORT} for {} s", limit.as_secs());
            (Reason::NotReadyInTime, why)
        })
    };
    let (why, broken) = broken.or_else(late).or_else(silent).unzip();
    Place { slot: Slot { revision, state, broken }, why }
}

/// Whether nobody could be ready for so long, because the store was away.
fn store_was_away(note: &Note, lately: Duration, now: Timestamp) -> bool {
    match note.store {
        None => false,
        Some(NotedStore::Away(_)) => true,
        Some(NotedStore::Back(since)) => passed(since, now) < lately,
    }
}

/// What the StatefulSet makes below its partition.
pub(crate) fn below<'a>(seen: &'a Seen, note: &'a Note) -> Option<&'a Revision> {
    seen.below.as_ref().or_else(|| note.proven.then_some(&note.good))
}

/// What the StatefulSet makes where no pod is.
fn comes_as(seen: &Seen, ordinal: usize, note: &Note) -> Revision {
    let asked = seen.controller.spec.replicas as usize;
    let spec = seen.set.as_ref().and_then(|set| set.spec.as_ref());
    let from = spec.and_then(|spec| spec.update_strategy.as_ref()?.rolling_update.as_ref()?.partition);
    let template =
        spec.and_then(|spec| spec.template.metadata.as_ref()?.labels.as_ref()?.get(REVISION_LABEL));
    let given = from.and_then(|from| usize::try_from(from).ok()).is_none_or(|from| ordinal >= from);
    match template {
        _ if ordinal >= asked => note.target().clone(),
        Some(template) if given => Revision(template.clone()),
        Some(_) => below(seen, note).unwrap_or(&note.good).clone(),
        // there is no StatefulSet: the next one begins with what was proven
        None => note.good.clone(),
    }
}

fn state(seen: &Seen, ordinal: usize, pod: &Pod, note: &Note) -> State {
    if !ready(pod) && !matches!(seen.told.get(&ordinal), Some(Told::Overview(_))) {
        return State::Starting;
    }
    // its kubelet may be gone, and a node that vanished is noticed late: nobody is drained while it is not known that it serves.
    // As at rest one speaks for all, this does not hold then.
    let Some(Told::Overview(told)) = seen.told.get(&ordinal) else {
        let rest = at_rest(seen) && note.good == note.wanted;
        return if rest { State::Ready } else { State::Draining };
    };
    let serves = ready(pod);
    match told.state {
        Some(ReplicaState::Draining) if told.drained => State::Drained,
        Some(ReplicaState::Draining) => State::Draining,
        Some(ReplicaState::Stopped) => State::Drained,
        Some(ReplicaState::Ready | ReplicaState::Setup) if serves => State::Ready,
        // it has missed a probe or two: nobody is replaced for that, and nobody else goes meanwhile
        Some(ReplicaState::Ready | ReplicaState::Setup) if unready_for(pod, seen.now) < BLINK => {
            State::Draining
        }
        // a newer version may know a state that we do not: its kubelet says what counts
        None if serves => State::Ready,
        Some(_) | None => State::Starting,
    }
}

/// Whether the kubelet has found the replica ready.
pub(crate) fn ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|condition| condition.status == "True")
}

pub(crate) fn condition<'a>(pod: &'a Pod, name: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == name)
}

/// Whether the replica that was just replaced is waited for: until agents have come to it, so that the next one's do not all go
/// to the rest.
pub(crate) fn lacks_its_share(seen: &Seen, note: &Note) -> bool {
    let Some(turn) = note.turn.filter(|turn| turn.stage == Stage::Start) else { return false };
    let Some(pod) = seen.pod(turn.ordinal) else { return false };
    let since = condition(pod, "Ready").and_then(|ready| ready.last_transition_time.as_ref());
    let fresh = since.is_some_and(|Time(since)| seen.now.duration_since(*since) < SHARE);
    let told = overviews(seen).max_by_key(|told| told.members.len());
    let Some(told) = told.filter(|_| fresh) else { return false };
    let name = seen.owner.pod(turn.ordinal);
    let own = told::member(told, &name).map_or(0, |member| u64::from(member.agents));
    let count = u64::from(seen.controller.spec.replicas.max(1));
    // where agents are fewer than replicas somebody is always without
    own * 2 < told.agents / count
}

/// Whether all was as it is to be when it was last looked at, so that one replica can speak for all.
pub(crate) fn at_rest(seen: &Seen) -> bool {
    let note = crate::decide::note(seen);
    let settled =
        note.is_some_and(|note| note.turn.is_none() && note.good == note.wanted && note.failed.is_none());
    settled && seen.pods.len() == seen.controller.spec.replicas as usize && seen.pods.iter().all(ready)
}

/// Why it will not become ready, as far as that can be seen.
pub(crate) fn broken(pod: &Pod, now: Timestamp) -> Option<(Reason, String)> {
    let container = container(pod)?;
    let state = container.state.as_ref();
    let waiting = state.and_then(|state| state.waiting.as_ref());
    let reason = waiting.and_then(|waiting| waiting.reason.as_deref()).unwrap_or_default();
    let said = waiting.and_then(|waiting| waiting.message.as_deref()).unwrap_or_default();
    let words = |what: &str, said: &str| short(format!("{what}: {}", said.trim()).trim_end_matches(": "));
    match reason {
        // no registry will ever know it: it is not tried again
        "InvalidImageName" => return Some((Reason::ImageUnfit, words("its image has no proper name", said))),
        "ErrImageNeverPull" | "ImageInspectError" => {
            return Some((Reason::ImageRefused, words("its image can't be had", said)));
        }
        // a registry may be away for a while, and what the container needs may come
        "ImagePullBackOff" | "ErrImagePull" if patient(pod, now) => return None,
        "CreateContainerConfigError" | "CreateContainerError" if patient(pod, now) => return None,
        "ImagePullBackOff" | "ErrImagePull" => {
            return Some((Reason::ImageRefused, words("its image can't be had", said)));
        }
        "CreateContainerConfigError" | "CreateContainerError" => {
            return Some((Reason::ObjectRefused, words("its container can't be made", said)));
        }
        "RunContainerError" => {
            return Some((Reason::ImageUnfit, words("its program can't be started", said)));
        }
        _ => {}
    }
    let ended = state.and_then(|s| s.terminated.as_ref());
    let ended = ended.or_else(|| container.last_state.as_ref()?.terminated.as_ref())?;
    let how = ended.reason.as_deref().unwrap_or_default();
    if matches!(how, "StartError" | "ContainerCannotRun") && container.restart_count > 0 {
        let said = ended.message.as_deref().unwrap_or_default();
        return Some((Reason::ImageUnfit, words("its program can't be started", said)));
    }
    if reason != "CrashLoopBackOff" && container.restart_count < MOST_ENDS {
        return None;
    }
    let said = ended.message.as_deref().map(last_line).unwrap_or_default();
    let what =
        format!("it ended {} times, the last time with status {}", container.restart_count, ended.exit_code);
    Some((Reason::ReplicaEnds, words(&what, said)))
}

/// Whether the pod is young enough to be waited for.
fn patient(pod: &Pod, now: Timestamp) -> bool {
    let created = pod.metadata.creation_timestamp.as_ref();
    created.is_some_and(|Time(created)| now.duration_since(*created) < PATIENCE)
}

/// Why the pod is not ready, for people.
pub(crate) fn message(pod: &Pod) -> Option<String> {
    let scheduled = condition(pod, "PodScheduled").filter(|scheduled| scheduled.status == "False");
    if let Some(why) = scheduled.and_then(|scheduled| scheduled.message.as_deref()) {
        return Some(short(&format!("no node takes it: {why}")));
    }
    let waiting = container(pod).and_then(|container| container.state.as_ref()?.waiting.as_ref());
    broken(pod, Timestamp::MAX).map(|(_, why)| why).or_else(|| {
        let waiting = waiting?;
        let said = waiting.message.as_deref().or(waiting.reason.as_deref())?;
        Some(short(said))
    })
}

/// Why a replica is waited for, as far as its pod or it itself says it: it is told before the pod goes.
pub(crate) fn words(seen: &Seen, ordinal: usize) -> Option<String> {
    let pod = seen.pod(ordinal)?;
    let name = seen.owner.pod(ordinal);
    let said = match seen.told.get(&ordinal) {
        Some(Told::Waits(said)) => Some(format!("it says “{}”", short(said.trim()))),
        Some(Told::Overview(_)) | None => None,
    };
    let probe = || {
        (!ready(pod) && container(pod)?.state.as_ref()?.running.is_some())
            .then(|| "it runs, and its probe of readiness fails".to_owned())
    };
    Some(format!("{name}: {}", message(pod).or(said).or_else(probe)?))
}

/// Pods that should have ended a while ago: a finalizer keeps them, or their node.
pub(crate) fn overdue(seen: &Seen) -> Option<String> {
    let late = |pod: &&Pod| {
        // until then its containers had time
        let end = pod.metadata.deletion_timestamp.as_ref();
        end.is_some_and(|Time(end)| seen.now.duration_since(*end) > OVERDUE)
    };
    let pod = seen.pods.iter().find(late)?;
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or("no node");
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    Some(format!("{name} on {node} should have ended: a finalizer, a volume or the node keeps it"))
}

/// The one that matters in a pod of ours: of a replica, or of the PostgreSQL.
pub(crate) fn container(pod: &Pod) -> Option<&ContainerStatus> {
    let all = pod.status.as_ref()?.container_statuses.as_ref()?;
    let named = |name: &str| all.iter().find(|container| container.name == name);
    named(CONTAINER).or_else(|| named(POSTGRES_CONTAINER))
}

/// How long it has been there without serving.
fn unready_for(pod: &Pod, now: Timestamp) -> Duration {
    let since = condition(pod, "Ready").filter(|ready| ready.status != "True");
    let since = since.and_then(|ready| ready.last_transition_time.as_ref());
    let since = since.or(pod.metadata.creation_timestamp.as_ref());
    since.map(|Time(since)| passed(*since, now)).unwrap_or_default()
}

fn passed(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}

fn last_line(text: &str) -> &str {
    text.trim_end().rsplit('\n').next().unwrap_or_default()
}

fn short(text: &str) -> String {
    let end = text.char_indices().map(|(at, _)| at).find(|at| *at > MAX_WORDS).unwrap_or(text.len());
    text.get(..end).unwrap_or(text).to_owned()
}

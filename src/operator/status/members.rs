//! The replicas one by one.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use resource::{Member, MemberState};

use super::{cut, lost, newest, number, saturating};
use crate::decide::Outcome;
use crate::names::ordinal;
use crate::pods;
use crate::seen::Seen;
use crate::told::{self, Told};
use model::ReplicaState;

/// Members that are told; a controller has fewer.
const MOST: usize = 20;

/// Those that are wanted, and those that still are there.
pub(super) fn members(seen: &Seen, outcome: &Outcome) -> Vec<Member> {
    let wanted =
        outcome.rolled.as_ref().map_or(seen.controller.spec.replicas as usize, |rolled| rolled.replicas);
    let there = seen.pods.iter().filter_map(|pod| ordinal(&seen.owner.name, pod.metadata.name.as_deref()?));
    let mut ordinals: Vec<usize> = (0..wanted).chain(there).collect();
    ordinals.sort_unstable();
    ordinals.dedup();
    ordinals.into_iter().take(MOST).map(|ordinal| member(seen, outcome, ordinal)).collect()
}

fn member(seen: &Seen, outcome: &Outcome, ordinal: usize) -> Member {
    let name = seen.owner.pod(ordinal);
    let pod = seen.pod(ordinal);
    let known = newest(seen).and_then(|told| told::member(told, &name));
    let state = state(seen, ordinal, pod, known);
    let runs = pod.and_then(pods::revision);
    let runs = runs.or_else(|| outcome.rolled.as_ref().map(|rolled| rolled.note.target().clone()));
    let same = known.filter(|known| known.state.and_then(word) == Some(state));
    let created = || pod.and_then(|pod| pod.metadata.creation_timestamp.as_ref()).map(|Time(at)| *at);
    let since = same.and_then(|known| told::exact(&known.since)).or_else(created);
    Member {
        ordinal: number(ordinal),
        pod: name,
        state,
        revision: runs.map(|runs| runs.0).unwrap_or_default(),
        builds: known.map_or(0, |known| saturating(known.builds.into())),
        agents: known.map_or(0, |known| saturating(known.agents.into())),
        since: since.map(MicroTime),
        message: message(seen, ordinal, pod, state).map(|text| cut(&text)),
    }
}

fn state(
    seen: &Seen,
    ordinal: usize,
    pod: Option<&Pod>,
    known: Option<&model::overview::Seen>,
) -> MemberState {
    let Some(pod) = pod else { return MemberState::Pending };
    if lost(seen, ordinal) {
        return MemberState::Lost;
    }
    if pod.metadata.deletion_timestamp.is_some() {
        return MemberState::Draining;
    }
    match seen.told.get(&ordinal) {
        Some(Told::Overview(own)) if own.drained => MemberState::Stopped,
        Some(Told::Overview(own)) => match own.state.and_then(word) {
            // its kubelet has the last word on whether anybody is sent there
            Some(MemberState::Ready) if !pods::ready(pod) => MemberState::Starting,
            Some(state) => state,
            None => MemberState::Starting,
        },
        Some(Told::Waits(_)) => MemberState::Waiting,
        None if pods::ready(pod) => MemberState::Ready,
        None => match known.and_then(|known| known.state.and_then(word)) {
            Some(MemberState::Waiting) => MemberState::Waiting,
            Some(MemberState::Starting) => MemberState::Starting,
            _ if started(pod) => MemberState::Starting,
            _ => MemberState::Pending,
        },
    }
}

fn started(pod: &Pod) -> bool {
    let container = pods::container(pod).and_then(|container| container.state.as_ref());
    container.is_some_and(|state| state.running.is_some())
}

fn word(state: ReplicaState) -> Option<MemberState> {
    MemberState::ALL.iter().copied().find(|word| word.as_str().eq_ignore_ascii_case(state.as_str()))
}

fn message(seen: &Seen, ordinal: usize, pod: Option<&Pod>, state: MemberState) -> Option<String> {
    match state {
        MemberState::Ready | MemberState::Setup => None,
        MemberState::Lost => {
            let node = pod.and_then(|pod| pod.spec.as_ref()?.node_name.clone()).unwrap_or_default();
            Some(format!("its node {node} does not answer"))
        }
        _ => match seen.told.get(&ordinal) {
            Some(Told::Waits(why)) => Some(why.clone()),
            Some(Told::Overview(_)) | None => pod.and_then(pods::message),
        },
    }
}

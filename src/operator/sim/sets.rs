//! StatefulSets in memory: their controller, what of them can't be changed, and how they go.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::DynamicObject;
use serde_json::Value;

use super::cluster::{DRAIN, Doing, Replica, START, State, revision_of};
use crate::kinds::Kind;

/// As an API server says it.
pub(super) const UNCHANGEABLE: &str = "StatefulSet.apps \"acme\" is invalid: spec: Forbidden: updates to statefulset spec for \
                                       fields other than 'replicas', 'ordinals' are forbidden";

/// Whether an API server takes the one for the other.
pub(super) fn can_become(there: &DynamicObject, object: &DynamicObject) -> bool {
    let fixed = ["/spec/serviceName", "/spec/selector", "/spec/podManagementPolicy"];
    fixed.iter().all(|path| there.data.pointer(path) == object.data.pointer(path))
}

/// Its pods are let go, which takes a moment, or go with it.
pub(super) fn remove(state: &mut State, orphan: bool) {
    let key = (Kind::StatefulSet, "acme".to_owned());
    if !orphan {
        state.objects.remove(&key);
        let owned: Vec<usize> =
            state.replicas.iter().filter(|(_, replica)| replica.owned).map(|(ordinal, _)| *ordinal).collect();
        owned.into_iter().for_each(|ordinal| end(state, ordinal));
        return;
    }
    state.uids += 1;
    let version = state.uids.to_string();
    if let Some(set) = state.objects.get_mut(&key) {
        set.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
        set.metadata.resource_version = Some(version);
        state.replicas.values_mut().for_each(|replica| replica.owned = false);
    }
}

/// One look: parallel, with a partition, as Kubernetes does it.
pub(super) fn control(state: &mut State) {
    let key = (Kind::StatefulSet, "acme".to_owned());
    let Some(set) = state.objects.get(&key).cloned() else {
        // the next one begins anew
        state.current.clear();
        return;
    };
    if set.metadata.deletion_timestamp.is_some() {
        // what belonged to it has been let go
        state.objects.remove(&key);
        return;
    }
    // pods that it finds by their labels are its own from now on
    state.replicas.values_mut().for_each(|replica| replica.owned = true);
    let number = |path: &str| set.data.pointer(path).and_then(Value::as_u64).unwrap_or_default() as usize;
    let (wanted, partition) =
        (number("/spec/replicas"), number("/spec/updateStrategy/rollingUpdate/partition"));
    let template = set.data.pointer("/spec/template").cloned().unwrap_or_default();
    state.update = template.to_string();
    if state.current.is_empty() {
        state.current.clone_from(&state.update);
    }
    let all = state.replicas.len() == wanted
        && state.replicas.values().all(|r| r.hash == state.update && r.state == Doing::Ready);
    if all {
        state.current.clone_from(&state.update);
    }
    for ordinal in 0..wanted {
        if !state.replicas.contains_key(&ordinal) {
            let hash = if ordinal >= partition { state.update.clone() } else { state.current.clone() };
            let revision = revision_of(&hash).unwrap();
            state.uids += 1;
            let uid = format!("pod-{}", state.uids);
            let replica =
                Replica { uid, revision, hash, state: Doing::Starting(START), restarts: 0, owned: true };
            state.replicas.insert(ordinal, replica);
        }
    }
    let surplus: Vec<usize> = state.replicas.keys().copied().filter(|ordinal| *ordinal >= wanted).collect();
    for ordinal in surplus {
        end(state, ordinal);
    }
    let others: Vec<usize> = (partition..wanted).rev().collect();
    for ordinal in others {
        let Some(replica) = state.replicas.get(&ordinal) else { return };
        if replica.hash != state.update && !matches!(replica.state, Doing::Ending(_)) {
            if replica.state == Doing::Ready {
                state.torn.push(format!("acme-{ordinal} by its StatefulSet"));
            }
            end(state, ordinal);
            return;
        }
        if replica.state != Doing::Ready {
            return;
        }
    }
}

pub(super) fn end(state: &mut State, ordinal: usize) {
    if let Some(replica) = state.replicas.get_mut(&ordinal)
        && !matches!(replica.state, Doing::Ending(_))
    {
        let left = if replica.state == Doing::Ready { DRAIN } else { 0 };
        replica.state = Doing::Ending(left);
    }
}

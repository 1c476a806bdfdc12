//! Pods of nodes that do not answer any more: nobody else would remove them, and no other pod of that name could come. Pure, but for
//! the removal.
//!
//! Fences make whatever may still run there harmless. But it may also serve well where only the API server can't see it, so those
//! who share the store with it are believed: while its lease lives, it stays.

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;
use model::ReplicaState;

use crate::kinds::Kind;
use crate::names::ordinal;
use crate::pods::ready;
use crate::roll::overviews;
use crate::seen::Seen;
use crate::told;
use crate::world::{Doomed, Removal};

/// A pod on a node that does not answer is waited for so long; by then others do what its replica did.
const LOST: SignedDuration = SignedDuration::from_secs(60);
/// So long where nobody can say whether they do: it may be that a whole zone is cut off from the API server, and serves.
const UNHEARD: SignedDuration = SignedDuration::from_secs(300);

/// What those who share the store with it say of a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    /// Others may do, or do, what it did.
    Lapsed,
    Lives,
    /// Nobody can be asked, or their store does not answer.
    Nothing,
}

/// Those that will never end by themselves.
pub(crate) fn lost(seen: &Seen) -> impl Iterator<Item = Doomed> {
    let lost = seen.pods.iter().filter(|pod| gone(seen, pod) && !last(seen, pod));
    lost.map(|pod| {
        let name = pod.metadata.name.clone().unwrap_or_default();
        Doomed { kind: Kind::Pod, name, uid: pod.metadata.uid.clone(), how: Removal::Force }
    })
}

/// Whether the pod will never end by itself, and whatever may still run there is harmless: its node has not answered for long, and
/// its replica's lease has lapsed, as far as somebody can say it. Of a database in a file nobody knows that.
pub(crate) fn gone(seen: &Seen, pod: &Pod) -> bool {
    let sqlite = seen.controller.spec.store.as_ref().is_some_and(|store| store.sqlite.is_some());
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
    let Some(since) = node.and_then(|node| seen.lost_nodes.get(node)) else { return false };
    let long = |most| seen.now.duration_since(*since) >= most;
    let lapsed = match word(seen, pod) {
        Word::Lapsed => long(LOST),
        Word::Lives => false,
        Word::Nothing => long(UNHEARD),
    };
    lapsed && !sqlite && !ready(pod)
}

/// Whether it is the one that stays while nobody speaks of it and none of the others is ready: it may be all that serves. Those
/// that come instead of the others will say whether it lives. A single one has no others: it goes when Kubernetes, too, has given
/// it up.
fn last(seen: &Seen, pod: &Pod) -> bool {
    let place = |pod: &Pod| ordinal(&seen.owner.name, pod.metadata.name.as_deref().unwrap_or_default());
    if word(seen, pod) != Word::Nothing || seen.pods.iter().any(ready) {
        return false;
    }
    let first = seen.pods.iter().filter(|pod| gone(seen, pod)).filter_map(place).min();
    let single = seen.controller.spec.replicas <= 1 && seen.pods.len() == 1;
    place(pod) == first && !(single && pod.metadata.deletion_timestamp.is_some())
}

fn word(seen: &Seen, pod: &Pod) -> Word {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let told = overviews(seen).filter(|told| told.store_answers).max_by_key(|told| told.members.len());
    let Some(told) = told else { return Word::Nothing };
    match told::member(told, name) {
        Some(member) if member.state != Some(ReplicaState::Stopped) => Word::Lives,
        // it never came so far as to have one
        None | Some(_) => Word::Lapsed,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::overview::{Overview, Seen as Member};
    use resource::{Spec, Sqlite, Store};
    use serde_json::json;

    use super::*;
    use crate::sim::nothing_yet;
    use crate::told::Told;

    /// Three pods on three nodes that are lost for so many seconds, and what one that is somewhere else says of `acme-0`.
    fn cut_off(seconds: i64, told: Option<Overview>) -> Seen {
        let mut seen = nothing_yet(Spec::default());
        seen.pods = (0..3).map(pod).collect();
        let since = seen.now - SignedDuration::from_secs(seconds);
        seen.lost_nodes = (0..3).map(|n| (format!("node-{n}"), since)).collect();
        seen.told = told.into_iter().map(|told| (2, Told::Overview(Box::new(told)))).collect();
        seen
    }

    fn pod(n: usize) -> Pod {
        let pod = json!({
            "metadata": { "name": format!("acme-{n}"), "uid": format!("uid-{n}") },
            "spec": { "nodeName": format!("node-{n}"), "containers": [] },
            "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "False" }] },
        });
        serde_json::from_value(pod).unwrap()
    }

    fn turns_ready(seen: &mut Seen, n: usize) {
        seen.lost_nodes.remove(&format!("node-{n}"));
        let conditions = seen.pods[n].status.as_mut().unwrap().conditions.as_mut().unwrap();
        conditions[0].status = "True".to_owned();
    }

    fn says(state: Option<ReplicaState>) -> Overview {
        let member = |state| Member { name: "acme-0".to_owned(), state: Some(state), ..Member::default() };
        let members = state.map(member).into_iter().collect();
        Overview { members, store_answers: true, ..Overview::default() }
    }

    fn buried(seen: &Seen) -> Vec<&str> {
        let buried = seen.pods.iter().filter(|pod| gone(seen, pod) && !last(seen, pod));
        buried.filter_map(|pod| pod.metadata.name.as_deref()).collect()
    }

    #[test]
    fn who_shares_the_store_with_a_lost_replica_is_believed() {
        use ReplicaState::{Draining, Ready, Stopped};
        let away = |state| Some(Overview { store_answers: false, ..says(state) });
        for (told, after_59, after_60, after_299, after_300) in [
            (Some(says(Some(Stopped))), false, true, true, true),
            (Some(says(Some(Ready))), false, false, false, false),
            (Some(says(Some(Draining))), false, false, false, false),
            // it never joined
            (Some(says(None)), false, true, true, true),
            // what is said was so before the store went away
            (away(Some(Stopped)), false, false, false, true),
            (away(Some(Ready)), false, false, false, true),
            (None, false, false, false, true),
        ] {
            for (seconds, wanted) in [(59, after_59), (60, after_60), (299, after_299), (300, after_300)] {
                let seen = cut_off(seconds, told.clone());
                assert_eq!(gone(&seen, &seen.pods[0]), wanted, "{seconds} s, {told:?}");
            }
        }
    }

    #[test]
    fn what_is_not_lost_stays() {
        let stopped = || Some(says(Some(ReplicaState::Stopped)));
        let mut seen = cut_off(600, stopped());
        seen.lost_nodes.clear();
        assert!(!gone(&seen, &seen.pods[0]), "its node answers");
        let mut seen = cut_off(600, stopped());
        seen.pods[0].spec.as_mut().unwrap().node_name = None;
        assert!(!gone(&seen, &seen.pods[0]), "it has no node yet");
        let mut seen = cut_off(600, stopped());
        let store = Store { sqlite: Some(Sqlite::default()), ..Store::default() };
        seen.controller.spec.store = Some(store);
        assert!(!gone(&seen, &seen.pods[0]), "a second one would write the same file");
        let mut seen = cut_off(600, stopped());
        let since = seen.lost_nodes["node-0"];
        turns_ready(&mut seen, 0);
        seen.lost_nodes = BTreeMap::from([("node-0".to_owned(), since)]);
        assert!(!gone(&seen, &seen.pods[0]), "it is ready");
    }

    #[test]
    fn of_a_zone_that_is_cut_off_one_replica_stays_until_others_speak_of_it() {
        assert_eq!(buried(&cut_off(299, None)), Vec::<&str>::new());
        let mut seen = cut_off(300, None);
        assert_eq!(buried(&seen), ["acme-1", "acme-2"]);
        // the others are made anew elsewhere, and are not ready yet
        seen.lost_nodes.retain(|node, _| node == "node-0");
        assert_eq!(buried(&seen), Vec::<&str>::new());
        seen.pods.truncate(1);
        assert_eq!(buried(&seen), Vec::<&str>::new(), "nor do the others exist");
        // they serve, and say it
        let mut seen = cut_off(300, Some(says(Some(ReplicaState::Ready))));
        turns_ready(&mut seen, 1);
        turns_ready(&mut seen, 2);
        assert_eq!(buried(&seen), Vec::<&str>::new(), "its lease lives");
        let stopped = cut_off(300, Some(says(Some(ReplicaState::Stopped))));
        assert!(buried(&stopped).contains(&"acme-0"));
        seen.told.clear();
        assert_eq!(buried(&seen), ["acme-0"], "others are ready, though nobody hears what they say");
    }

    #[test]
    fn a_single_replica_goes_when_kubernetes_has_given_it_up() {
        let mut seen = cut_off(300, None);
        (seen.controller.spec.replicas, _) = (1, seen.pods.truncate(1));
        assert_eq!(buried(&seen), Vec::<&str>::new());
        seen.pods[0].metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(seen.now));
        assert_eq!(buried(&seen), ["acme-0"]);
        seen.controller.spec.replicas = 3;
        assert_eq!(buried(&seen), Vec::<&str>::new(), "the others are yet to come");
    }
}

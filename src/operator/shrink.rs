//! Fewer replicas: pods that are too many go one after the other, before any that stays is replaced. What they do goes to those that
//! stay, and not to others that go as well. Pure.

use k8s_openapi::api::core::v1::Pod;
use rollout::Revision;

use crate::names::ordinal;
use crate::pods;
use crate::seen::Seen;

/// How many pods there are to be by what was last asked for: what the StatefulSet says, or, while it is made anew, those that it
/// takes up.
pub(crate) fn there(seen: &Seen) -> usize {
    let set = seen.set.as_ref().and_then(|set| usize::try_from(set.spec.as_ref()?.replicas?).ok());
    let pods = || seen.pods.iter().filter_map(|pod| place(seen, pod)).max().map_or(0, |highest| highest + 1);
    set.unwrap_or_else(pods)
}

/// How many the StatefulSet is to make now. When all are to go, nobody stays, and they go together.
pub(crate) fn step(seen: &Seen, wanted: usize) -> usize {
    let there = there(seen);
    if wanted == 0 || there <= wanted {
        return wanted;
    }
    let goes = |pod: &Pod| {
        pod.metadata.deletion_timestamp.is_some() || place(seen, pod).is_some_and(|place| place >= there)
    };
    if seen.pods.iter().any(goes) { there } else { there - 1 }
}

/// Pods that are too many.
pub(crate) fn surplus(seen: &Seen, wanted: usize) -> impl Iterator<Item = &Pod> {
    seen.pods.iter().filter(move |pod| place(seen, pod).is_some_and(|place| place >= wanted))
}

/// Whether one that is too many would be replaced before it goes, if the StatefulSet were to replace it.
pub(crate) fn differs(seen: &Seen, wanted: usize, template: &Revision) -> bool {
    surplus(seen, wanted).any(|pod| pods::revision(pod).as_ref() != Some(template))
}

fn place(seen: &Seen, pod: &Pod) -> Option<usize> {
    ordinal(&seen.owner.name, pod.metadata.name.as_deref()?)
}

//! The StatefulSet of the replicas.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    RollingUpdateStatefulSetStrategy, StatefulSet, StatefulSetSpec, StatefulSetUpdateStrategy,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::names::{Component, Owner, ROLLOUT_ANNOTATION};
use crate::plan::Set;

/// What the StatefulSet's own controller keeps of old templates; ours are kept apart.
const HISTORY: i32 = 10;

pub(super) fn set(set: &Set, owner: &Owner) -> StatefulSet {
    let Set { replicas, partition, revision: _, template, rollout } = set;
    let mut metadata = owner.meta(owner.name.clone(), Component::Replica);
    metadata.annotations = Some(BTreeMap::from([(ROLLOUT_ANNOTATION.to_owned(), rollout.clone())]));
    let spec = StatefulSetSpec {
        replicas: Some(count(*replicas)),
        // they start one after the other by the startup lock, and a pod that waits for it must not keep others from existing
        pod_management_policy: Some("Parallel".to_owned()),
        service_name: Some(owner.peers()),
        selector: LabelSelector {
            match_labels: Some(owner.selector(Component::Replica)),
            ..LabelSelector::default()
        },
        update_strategy: Some(StatefulSetUpdateStrategy {
            type_: Some("RollingUpdate".to_owned()),
            rolling_update: Some(RollingUpdateStatefulSetStrategy {
                partition: Some(count(*partition)),
                ..RollingUpdateStatefulSetStrategy::default()
            }),
        }),
        revision_history_limit: Some(HISTORY),
        template: template.clone(),
        ..StatefulSetSpec::default()
    };
    StatefulSet { metadata, spec: Some(spec), ..StatefulSet::default() }
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

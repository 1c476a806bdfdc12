//! What stays as it is although we would make it otherwise today. Pure.
//!
//! A newer operator may know a better PostgreSQL, or better pods for it; nobody has asked it to restart the database for that.
//! What replicas run is kept by records, see [`crate::record`].

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{LocalObjectReference, PodTemplateSpec};
use resource::Spec;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::build::Objects;
use crate::seen::Seen;

/// On the StatefulSet of PostgreSQL: of which fields of the spec its pods were made.
const MADE_OF: &str = "majordomo.dev/made-of";
/// Beside it: its pods as they were made. What stands in the StatefulSet itself, others may have changed.
const MADE: &str = "majordomo.dev/made";

pub(crate) fn pin(objects: &mut Objects, seen: &Seen) {
    for claim in &mut objects.claims {
        let there = claim.metadata.name.as_ref().and_then(|name| seen.claims.get(name));
        let there = there.and_then(|there| there.spec.as_ref());
        if let (Some(there), Some(spec)) = (there, claim.spec.as_mut()) {
            // read when the volume is made; Kubernetes refuses another one
            spec.storage_class_name.clone_from(&there.storage_class_name);
        }
    }
    let Some(postgres) = &mut objects.postgres else { return };
    let made_of = made_of(&seen.controller.spec);
    let there = seen.postgres.as_ref().and_then(|there| there.metadata.annotations.as_ref());
    let Some(spec) = postgres.set.spec.as_mut() else { return };
    let kept = there.and_then(|annotations| made(annotations, &made_of));
    // whoever runs needs no other credentials for its image; whoever can't be fetched does
    let fits =
        |kept: &PodTemplateSpec| seen.postgres_ready() || credentials(kept) == credentials(&spec.template);
    if let Some(template) = kept.filter(fits) {
        spec.template = template;
    }
    let annotations = postgres.set.metadata.annotations.get_or_insert_default();
    // a tree of texts, numbers and maps
    annotations.insert(MADE.to_owned(), serde_json::to_string(&spec.template).unwrap_or_default());
    annotations.insert(MADE_OF.to_owned(), made_of);
}

/// With what its images are fetched.
fn credentials(template: &PodTemplateSpec) -> Option<&Vec<LocalObjectReference>> {
    template.spec.as_ref()?.image_pull_secrets.as_ref()
}

/// The pods as they were made, if they were made of the same.
fn made(annotations: &BTreeMap<String, String>, made_of: &String) -> Option<PodTemplateSpec> {
    let text = annotations.get(MADE).filter(|_| annotations.get(MADE_OF) == Some(made_of))?;
    serde_json::from_str(text).ok()
}

fn made_of(spec: &Spec) -> String {
    let builtin = spec.store.as_ref().and_then(|store| store.builtin.clone()).unwrap_or_default();
    let claim = builtin.storage.as_ref().and_then(|storage| storage.claim_name.as_ref());
    let text = json!([builtin.image, builtin.resources, claim]).to_string();
    let mut sum = hex::encode(Sha256::digest(text));
    sum.truncate(10);
    sum
}

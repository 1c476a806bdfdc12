//! Schemas of fields that no type of ours describes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::{Schema, SchemaGenerator, json_schema};

use crate::condition::{ConditionType, Reason};

/// An object with fields that are none of ours.
pub(crate) fn free(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

/// A text or an object.
pub(crate) fn any(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "x-kubernetes-preserve-unknown-fields": true })
}

/// Kubernetes' own conditions, with what there is of ours.
pub(crate) fn conditions(generator: &mut SchemaGenerator) -> Schema {
    let mut about = "What is right and what is not, and why.".to_owned();
    for of in ConditionType::ALL {
        let reasons: Vec<_> = of.reasons().iter().map(|reason| reason.as_str()).collect();
        about.push_str(&format!("\n\n{of}: {} Reasons: {}.", of.meaning(), reasons.join(", ")));
    }
    about.push_str("\n\nReasons:");
    for reason in Reason::ALL {
        about.push_str(&format!("\n\n{reason}: {}", reason.meaning()));
    }
    json_schema!({
        "type": "array",
        "description": about,
        "items": generator.subschema_for::<Condition>(),
        "maxItems": 32,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    })
}

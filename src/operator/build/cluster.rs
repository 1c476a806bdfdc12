//! The database cluster that CloudNativePG looks after.

use kube::core::DynamicObject;
use resource::{CloudNativePg, Spec, Storage};
use serde_json::{Map, Value, json};

use super::foreign;
use super::postgres::{DATABASE, ROLE};
use crate::names::{Component, Owner};

/// Servers when none are asked for.
const INSTANCES: u32 = 3;

/// It stays when the resource is removed: with it all data would go.
pub(super) fn cluster(owner: &Owner, spec: &Spec) -> Option<DynamicObject> {
    let CloudNativePg { cluster, instances, image, storage, resources, spec: over } =
        spec.store.as_ref()?.cloud_native_pg.as_ref()?;
    let instances = instances.unwrap_or(INSTANCES);
    let Storage { size, class_name, claim_name: _ } = storage.clone().unwrap_or_default();
    let mut volume = Map::from_iter([("size".to_owned(), json!(size.unwrap_or_default()))]);
    volume.extend(class_name.map(|class| ("storageClass".to_owned(), json!(class))));
    let mut fields = Map::from_iter([
        ("instances".to_owned(), json!(instances)),
        ("storage".to_owned(), Value::Object(volume)),
        ("bootstrap".to_owned(), json!({ "initdb": { "database": DATABASE, "owner": ROLE } })),
    ]);
    if instances > 2 {
        // One of the others has each commit, so that the loss of a server loses none. With two servers, the loss of one would
        // stop all writing.
        let synchronous = json!({ "synchronous": { "method": "any", "number": 1 } });
        fields.insert("postgresql".to_owned(), synchronous);
    }
    fields.extend(image.as_ref().map(|image| ("imageName".to_owned(), json!(image))));
    fields.extend(resources.as_ref().map(|resources| ("resources".to_owned(), json!(resources))));
    for (name, value) in over.iter().flatten() {
        // a cluster has one kind of beginning
        if name == "bootstrap" {
            fields.insert(name.clone(), value.clone());
        } else {
            lay(fields.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
    let name = cluster.clone().unwrap_or_else(|| owner.cluster());
    let metadata = owner.kept(name, Component::Postgres);
    Some(foreign("postgresql.cnpg.io/v1", "Cluster", metadata, Value::Object(fields)))
}

/// Maps are joined, all else is replaced.
fn lay(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (name, value) in over {
                lay(base.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}

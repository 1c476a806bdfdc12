//! Secrets: their names, keys and sizes for the report; what is in them only to take it out of everything else.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::overview::selector;
use crate::paint::{Cell, Paint, table};
use crate::report::collect::Collected;

/// The table, and all values with their keys.
pub(super) async fn read(
    cluster: &Cluster,
    mut wanted: BTreeSet<String>,
    collected: &mut Collected,
) -> (String, Vec<(String, Vec<u8>)>) {
    for (_, object) in &collected.objects {
        named(object, &mut wanted);
    }
    let mut found: Vec<Secret> = Vec::new();
    let mut refused = None;
    match cluster.list::<Secret>(ListParams::default().labels(&selector(&collected.name, None))).await {
        Ok(ours) => found.extend(ours),
        Err(error) => refused = Some(error),
    }
    let known: BTreeSet<String> = found.iter().filter_map(|secret| secret.metadata.name.clone()).collect();
    for name in wanted.difference(&known) {
        match cluster.get_opt::<Secret>(name).await {
            Ok(secret) => found.extend(secret),
            Err(error) => drop(refused.get_or_insert(error)),
        }
    }
    // one of them says it for all
    collected.missing.extend(refused.map(|error| blind(&error.to_string())));
    let text = described(&found);
    let absent =
        wanted.iter().filter(|name| !found.iter().any(|secret| secret.metadata.name.as_ref() == Some(*name)));
    let absent: String = absent.map(|name| format!("{name}: not there, or not to be seen\n")).collect();
    let values = found.into_iter().flat_map(|secret| secret.data.unwrap_or_default());
    (format!("{text}{absent}"), values.map(|(key, value)| (key, value.0)).collect())
}

/// Without their values, secrets are found by their looks only.
fn blind(why: &str) -> String {
    format!("{why}; what is in Secrets is taken out of the rest only where it looks like a secret")
}

fn described(secrets: &[Secret]) -> String {
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    for secret in secrets {
        let name = secret.metadata.name.as_deref().unwrap_or_default();
        for (key, value) in secret.data.iter().flatten() {
            let kind = secret.type_.as_deref().unwrap_or_default();
            rows.push(vec![name.into(), kind.into(), key.into(), value.0.len().into()]);
        }
    }
    table(Paint(false), &["SECRET", "TYPE", "KEY", "BYTES"], &rows)
}

/// The Secrets of the same namespace that an object names.
fn named(value: &Value, names: &mut BTreeSet<String>) {
    let name = |value: &Value| value.get("name").and_then(Value::as_str).map(str::to_owned);
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                match (field.as_str(), value) {
                    ("secretName", Value::String(text)) => drop(names.insert(text.clone())),
                    ("secrets" | "imagePullSecrets", Value::Array(items)) => {
                        names.extend(items.iter().filter_map(name));
                    }
                    (field, Value::Object(_))
                        if field.ends_with("ecretRef") || field.ends_with("ecretKeyRef") =>
                    {
                        names.extend(name(value));
                    }
                    // of a projected volume
                    ("secret", Value::Object(_)) => names.extend(name(value)),
                    _ => {}
                }
                named(value, names);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| named(item, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_that_an_object_names_are_found() {
        let mut names = BTreeSet::new();
        named(
            &json!({ "spec": {
                "store": { "postgres": { "secretRef": { "name": "a" } } },
                "security": { "adminSecretRef": { "name": "b" } },
                "configurationAsCode": { "secrets": [{ "name": "c" }] },
                "imagePullSecrets": [{ "name": "d" }],
                "volumes": [
                    { "secret": { "secretName": "e" } },
                    { "projected": { "sources": [{ "secret": { "name": "f" } }, { "configMap": { "name": "x" } }] } },
                ],
                "env": [{ "valueFrom": { "secretKeyRef": { "name": "g", "key": "k" } } }],
                "ingress": { "tls": { "secretName": "h" } },
            } }),
            &mut names,
        );
        assert_eq!(names.into_iter().collect::<String>(), "abcdefgh");
    }

    #[test]
    fn only_sizes_of_values_are_told() {
        let secret: Secret = serde_json::from_value(json!({
            "metadata": { "name": "acme-admin" }, "type": "Opaque", "data": { "password": "aHVudGVyMg==" },
        }))
        .unwrap();
        let text = described(&[secret]);
        assert!(text.contains("acme-admin   Opaque   password   7"), "{text}");
        assert!(!text.contains("hunter2") && !text.contains("aHVu"), "{text}");
    }
}

//! From one JSON value to another: as a merge patch for the API server, and as lines for people. Pure.

use serde_json::{Map, Value};

/// The merge patch (RFC 7396) that makes `after` of `before`; `None`: they are the same.
pub(crate) fn merge_patch(before: &Value, after: &Value) -> Option<Value> {
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        return (before != after).then(|| after.clone());
    };
    let mut patch = Map::new();
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    for (name, value) in new {
        let change = match old.get(name) {
            Some(before) => merge_patch(before, value),
            None => Some(value.clone()),
        };
        if let Some(change) = change {
            patch.insert(name.clone(), change);
        }
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// Without fields that say nothing: a patch reads those as *remove it*.
pub(crate) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let said = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(said.map(|(name, value)| (name, without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

/// What differs, a line for each field: `- path: before` and `+ path: after`.
pub(crate) fn changes(path: &str, before: &Value, after: &Value) -> Vec<String> {
    if before == after {
        return Vec::new();
    }
    if let (Value::Object(old), Value::Object(new)) = (before, after)
        && !(old.is_empty() || new.is_empty())
    {
        let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
        names.sort();
        names.dedup();
        let of = |fields: &Map<String, Value>, name: &str| fields.get(name).cloned().unwrap_or(Value::Null);
        return names
            .into_iter()
            .flat_map(|name| changes(&format!("{path}.{name}"), &of(old, name), &of(new, name)))
            .collect();
    }
    let line = |sign: char, value: &Value| match value {
        Value::Null => None,
        Value::String(text) => Some(format!("{sign} {path}: {text}")),
        other => Some(format!("{sign} {path}: {other}")),
    };
    [line('-', before), line('+', after)].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn merged(target: Value, patch: &Value) -> Value {
        let Value::Object(patch) = patch else { return patch.clone() };
        let mut fields = match target {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        for (name, value) in patch {
            match value {
                Value::Null => drop(fields.remove(name)),
                value => {
                    let before = fields.remove(name).unwrap_or(Value::Null);
                    fields.insert(name.clone(), merged(before, value));
                }
            }
        }
        Value::Object(fields)
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any::<bool>().prop_map(Value::from), (0..4i64).prop_map(Value::from)];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                proptest::collection::hash_map("[a-c]", inner, 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_patch_makes_the_one_of_the_other(before in values(), after in values()) {
            let got = match merge_patch(&before, &after) {
                Some(patch) => merged(before.clone(), &patch),
                None => before.clone(),
            };
            prop_assert_eq!(&got, &after);
            prop_assert_eq!(changes("", &before, &after).is_empty(), before == after);
        }
    }

    #[test]
    fn people_see_each_field_that_differs() {
        let before = json!({ "image": "a", "resources": { "limits": { "cpu": "1" } }, "plugins": [] });
        let after = json!({ "image": "b", "resources": { "limits": { "cpu": "1", "memory": "1Gi" } } });
        assert_eq!(
            changes("spec", &before, &after),
            [
                "- spec.image: a",
                "+ spec.image: b",
                "- spec.plugins: []",
                "+ spec.resources.limits.memory: 1Gi"
            ]
        );
    }

    #[test]
    fn fields_that_say_nothing_are_left_out() {
        let value = json!({ "a": null, "b": { "c": null, "d": [{ "e": null, "f": 1 }] } });
        assert_eq!(without_nulls(value), json!({ "b": { "d": [{ "f": 1 }] } }));
    }
}

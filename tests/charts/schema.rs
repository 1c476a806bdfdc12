//! The values of a controller's chart are what its definition takes, also below the first level.

use serde_json::{Map, Value, json};

use crate::helm::{CONTROLLER, yaml};
use crate::snapshots::compare;

/// Fields of a spec that have fields. What the chart takes of the others is written by hand: they may be empty there.
const FIELDS: [&str; 14] = [
    "store",
    "objects",
    "configurationAsCode",
    "plugins",
    "ingress",
    "gateway",
    "route",
    "service",
    "rollout",
    "resources",
    "podTemplate",
    "security",
    "monitoring",
    "networkPolicy",
];
/// Of these an empty one asks for something; nothing is null.
const FRONTS: [&str; 3] = ["ingress", "gateway", "route"];
/// Of these one may be chosen.
const CHOICES: [&str; 2] = ["store", "objects"];
/// What the language of a definition and that of values have in common.
const COMMON: [&str; 10] = [
    "type",
    "enum",
    "required",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "maxProperties",
];

/// The same as values: a name that nobody knows is refused there, where the API server would only leave it out.
fn values(definition: &Value) -> Value {
    let says = |key: &str| definition[key] == json!(true);
    if says("x-kubernetes-int-or-string") {
        return json!({ "type": ["number", "string", "null"] });
    }
    let common = COMMON.into_iter().filter_map(|key| Some((key.to_owned(), definition.get(key)?.clone())));
    let mut taken: Map<String, Value> = common.collect();
    if let Some(items) = definition.get("items") {
        taken.insert("items".to_owned(), values(items));
    }
    if let Some(all) = definition.get("additionalProperties") {
        taken.insert("additionalProperties".to_owned(), or_null(values(all)));
    }
    if let Some(fields) = definition["properties"].as_object() {
        let needed =
            |name: &String| definition["required"].as_array().is_some_and(|all| all.contains(&json!(name)));
        let taken_of = |(name, field): (&String, &Value)| {
            let taken = values(field);
            (name.clone(), if needed(name) { taken } else { or_null(taken) })
        };
        let fields = fields.iter().map(taken_of).collect();
        taken.insert("properties".to_owned(), Value::Object(fields));
        if !says("x-kubernetes-preserve-unknown-fields") {
            taken.insert("additionalProperties".to_owned(), json!(false));
        }
    }
    Value::Object(taken)
}

/// By which one values file takes back what another one says: an API server drops it.
fn or_null(mut taken: Value) -> Value {
    if let Some(one) = taken["type"].as_str().map(str::to_owned) {
        taken["type"] = json!([one, "null"]);
    }
    if let Some(words) = taken.get_mut("enum").and_then(Value::as_array_mut) {
        words.push(Value::Null);
    }
    taken
}

#[test]
fn the_controllers_chart_takes_what_the_definition_takes() {
    let definition = yaml("crds/hacontrollers.yaml");
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let spec = &schema["properties"]["spec"]["properties"];
    let path = format!("{CONTROLLER}/values.schema.json");
    let mut chart = yaml(&path);
    for field in FIELDS {
        let mut taken = values(&spec[field]);
        assert!(taken["type"].is_string(), "{field}");
        if FRONTS.contains(&field) {
            taken = or_null(taken);
        }
        if CHOICES.contains(&field) {
            taken["maxProperties"] = json!(1);
        }
        chart["properties"][field] = taken;
    }
    compare(&path, &format!("{:#}\n", chart));
    for field in spec.as_object().unwrap().keys() {
        assert!(chart["properties"].get(field).is_some(), "{field} can't be chosen in the chart");
    }
}

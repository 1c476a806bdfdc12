//! Files that must say the same, and need no helm for it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::helm::{CONTROLLER, OPERATOR, read, yaml};

#[test]
fn the_chart_has_the_definition_as_it_is() {
    let copy = read(format!("{OPERATOR}/files/hacontrollers.yaml"));
    assert_eq!(copy, read("crds/hacontrollers.yaml"), "deploy/kubernetes/make copies it");
}

#[test]
fn charts_and_images_have_the_version_of_the_program() {
    let version = env!("CARGO_PKG_VERSION");
    for chart in [OPERATOR, CONTROLLER] {
        let about = yaml(format!("{chart}/Chart.yaml"));
        assert_eq!((&about["version"], &about["appVersion"]), (&version.into(), &version.into()), "{chart}");
    }
    for recipe in ["Dockerfile", "agent.Dockerfile"] {
        let text = read(format!("deploy/image/{recipe}"));
        assert!(text.contains(&format!("ARG VERSION={version}\n")), "{recipe}");
    }
}

/// Every value is known to the schema, and the schema knows no other: a name that is misspelt is refused.
#[test]
fn values_and_their_schema_know_the_same_names() {
    for chart in [OPERATOR, CONTROLLER] {
        let schema: Value = serde_json::from_str(&read(format!("{chart}/values.schema.json"))).unwrap();
        compare(&schema, &yaml(format!("{chart}/values.yaml")), chart);
    }
}

fn compare(schema: &Value, values: &Value, path: &str) {
    let (Some(known), Some(values)) = (schema["properties"].as_object(), values.as_object()) else { return };
    assert_eq!(schema["additionalProperties"], false, "{path}");
    if values.is_empty() {
        return; // what is below it is only known to the schema
    }
    for name in known.keys().filter(|name| !["global", "claims"].contains(&name.as_str())) {
        assert!(values.contains_key(name), "{path}.{name} is not in values.yaml");
    }
    for (name, value) in values {
        let schema = known.get(name).unwrap_or_else(|| panic!("{path}.{name} is not in the schema"));
        compare(schema, value, &format!("{path}.{name}"));
    }
}

#[test]
fn every_value_says_what_it_is() {
    for chart in [OPERATOR, CONTROLLER] {
        let text = read(format!("{chart}/values.yaml"));
        let mut before = "";
        for line in text.lines() {
            let value = line.starts_with(|c: char| c.is_ascii_lowercase());
            // those that say the same of a pod as everywhere else stand together
            assert!(!value || !before.is_empty(), "{chart}: {line}");
            before = line;
        }
    }
}

#[test]
fn the_chart_of_a_controller_knows_each_field_of_its_spec() {
    let definition = yaml("crds/hacontrollers.yaml");
    let spec =
        &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    let fields: BTreeSet<_> = spec.as_object().unwrap().keys().cloned().collect();
    let values = yaml(format!("{CONTROLLER}/values.yaml"));
    let ours = ["name", "labels", "annotations", "restartedAt", "keep"];
    let values = values.as_object().unwrap().keys().filter(|name| !ours.contains(&name.as_str()));
    assert_eq!(values.cloned().collect::<BTreeSet<_>>(), fields);
    let template = read(format!("{CONTROLLER}/templates/controller.yaml"));
    for field in fields.iter().filter(|field| *field != "replicas") {
        assert!(template.contains(&format!("\"{field}\"")), "{field}");
    }
}

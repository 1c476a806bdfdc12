//! What the charts make, compared with what they made.

use std::fs;

use serde_json::{Value, json};

use crate::helm::{CONTROLLER, Helm, OPERATOR, objects, only, read, root, yaml};

/// Each with the values in `values/NAME.yaml`. What the operator's chart makes with the usual values is
/// deploy/kubernetes/operator.yaml.
const SNAPSHOTS: [(&str, &str, &str); 7] = [
    ("operator-namespaced", "majordomo-operator", OPERATOR),
    ("operator-everything", "ci", OPERATOR),
    ("operator-least", "majordomo-operator", OPERATOR),
    ("controller-defaults", "acme", CONTROLLER),
    ("controller-everything", "acme", CONTROLLER),
    ("controller-gateway", "acme", CONTROLLER),
    ("controller-route", "acme", CONTROLLER),
];

/// Whether it was, or has just been written.
pub(crate) fn compare(path: &str, now: &str) {
    if std::env::var_os("MAJORDOMO_BLESS").is_some() {
        fs::write(root().join(path), now).unwrap();
    } else {
        assert!(read(path) == now, "{path} is out of date; MAJORDOMO_BLESS=1 writes it. Now it is\n{now}");
    }
}

#[test]
fn charts_make_what_they_made() {
    let Some(helm) = Helm::find("snapshots of the charts") else { return };
    for (name, release, chart) in SNAPSHOTS {
        let values = format!("tests/charts/values/{name}.yaml");
        let made =
            helm.template(release, chart, &["--values", &values]).unwrap_or_else(|why| panic!("{why}"));
        compare(&format!("tests/charts/snapshots/{name}.yaml"), &made);
    }
}

#[test]
fn charts_pass_their_own_linter() {
    let Some(helm) = Helm::find("helm lint") else { return };
    for chart in [OPERATOR, CONTROLLER] {
        helm.run(&["lint", "--strict", chart]).unwrap_or_else(|why| panic!("{why}"));
    }
    for (name, _, chart) in SNAPSHOTS {
        let values = format!("tests/charts/values/{name}.yaml");
        helm.run(&["lint", "--strict", chart, "--values", &values]).unwrap_or_else(|why| panic!("{why}"));
    }
}

#[test]
fn plain_manifests_are_what_the_chart_makes() {
    let Some(helm) = Helm::find("comparison of the plain manifests") else { return };
    let made = tempfile::tempdir().unwrap();
    let out = helm.command("deploy/kubernetes/make").arg(made.path()).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    for file in ["deploy/kubernetes/operator.yaml", "charts/majordomo-operator/files/hacontrollers.yaml"] {
        compare(file, &fs::read_to_string(made.path().join(file)).unwrap());
    }
}

/// Equal, but that a number may be written as 9 or as 9.0.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let there =
                |(name, value): (&String, &Value)| other.get(name).is_some_and(|other| same(value, other));
            one.len() == other.len() && one.iter().all(there)
        }
        _ => one == other,
    }
}

#[test]
fn the_definition_is_made_as_it_is_and_stays() {
    let Some(helm) = Helm::find("the definition in the chart") else { return };
    let made = |more: &[&str]| {
        let repository = ["--set", "image.repository=r.example/majordomo"];
        helm.objects("majordomo-operator", OPERATOR, &[&repository, more].concat())
    };
    let is = yaml("crds/hacontrollers.yaml");
    let kept = made(&[]);
    let definition = only(&kept, "CustomResourceDefinition");
    assert_eq!(definition["metadata"]["name"], is["metadata"]["name"]);
    assert!(same(&definition["spec"], &is["spec"]), "the chart makes another definition");
    assert_eq!(definition["metadata"]["annotations"], json!({ "helm.sh/resource-policy": "keep" }));
    let goes = made(&["--set", "crds.keep=false"]);
    assert_eq!(only(&goes, "CustomResourceDefinition")["metadata"]["annotations"], Value::Null);
    let none = made(&["--set", "crds.install=false"]);
    assert!(none.iter().all(|object| object["kind"] != "CustomResourceDefinition"));
}

#[test]
fn a_stopped_controller_is_asked_for_and_not_left_to_the_default() {
    let Some(helm) = Helm::find("a chart with replicas: 0") else { return };
    let made = helm.objects("acme", CONTROLLER, &["--set", "replicas=0", "--set-json", "ingress={}"]);
    assert_eq!(only(&made, "HAController")["spec"], json!({ "replicas": 0, "ingress": {} }));
}

#[test]
fn no_two_objects_of_two_releases_are_one() {
    let Some(helm) = Helm::find("two releases of the operator") else { return };
    let names = |namespace: &str| {
        let set =
            format!("namespaces={{{namespace}}},crds.install=false,image.repository=r.example/majordomo");
        let made = helm.template_in(namespace, "majordomo-operator", OPERATOR, &["--set", &set]);
        let made = objects(&made.unwrap_or_else(|why| panic!("{why}")));
        let name = |object: &Value| {
            let metadata = &object["metadata"];
            format!("{} {} {}", object["kind"], metadata["namespace"], metadata["name"])
        };
        made.iter().map(name).collect::<Vec<_>>()
    };
    let (one, other) = (names("one"), names("other"));
    assert!(one.len() > 8, "{one:?}");
    assert!(one.iter().all(|name| !other.contains(name)), "{one:?} {other:?}");
}

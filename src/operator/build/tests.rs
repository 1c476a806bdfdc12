use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use resource::{HAController, Spec};
use rollout::Revision;
use serde::Serialize;
use serde_json::Value;

use super::{Objects, Postgres, TemplateError, objects, template};
use crate::names::Owner;
use crate::plan::{Apis, Images, NewKeys, NewSecrets, Plan, Set, inputs};
use crate::record::{Inputs, Record};

mod everything;
mod laid_over;
mod places;
mod script;
mod shown;

pub(super) const EVERY: Apis =
    Apis { http_route: true, route: true, service_monitor: true, cloud_native_pg: true };

pub(super) fn owner() -> Owner {
    owner_called("acme")
}

pub(super) fn owner_called(name: &str) -> Owner {
    let uid = "5f2c7a1e-0000-4000-8000-000000000001".to_owned();
    Owner { namespace: "ci".to_owned(), name: name.to_owned(), uid }
}

pub(super) fn images() -> Images {
    Images {
        replica: "registry.local/majordomo:1".to_owned(),
        postgres: "registry.local/postgres:17".to_owned(),
    }
}

/// Fields of a spec, as they are in a file.
pub(super) fn spec(yaml: &str) -> Spec {
    let indented: String = yaml.lines().map(|line| format!("  {line}\n")).collect();
    let spec = if yaml.trim().is_empty() { "spec: {}".to_owned() } else { format!("spec:\n{indented}") };
    let head = "apiVersion: majordomo.dev/v1alpha1\nkind: HAController\nmetadata:\n  name: acme\n";
    HAController::parse(&format!("{head}{spec}")).unwrap().spec
}

/// Each field once. An API server takes one of ingress, gateway and route only; what is made of each is the same beside others.
pub(super) fn everything() -> Spec {
    let gateway = spec(include_str!("tests/gateway.yaml")).gateway;
    let route = spec(include_str!("tests/route.yaml")).route;
    Spec { gateway, route, ..spec(include_str!("tests/everything.yaml")) }
}

pub(super) fn inputs_of(spec: &Spec) -> Inputs {
    inputs(spec, &"5".repeat(64), None, 0)
}

pub(super) fn revision() -> Revision {
    Revision("0a1b2c3d4e".to_owned())
}

pub(super) fn pods(spec: &Spec) -> Result<PodTemplateSpec, TemplateError> {
    template(&inputs_of(spec), &images(), &owner(), &revision())
}

pub(super) fn secrets() -> NewSecrets {
    let keys = NewKeys { agent: "a1".repeat(32), encryption: "e2".repeat(32), peer: "b3".repeat(32) };
    NewSecrets {
        admin: Some("the password of admin".to_owned()),
        keys: Some(keys),
        metrics: Some("c4".repeat(32)),
        postgres: Some("d5".repeat(32)),
    }
}

pub(super) fn plan(owner: Owner, spec: Spec, apis: Apis) -> Plan {
    let template = template(&inputs_of(&spec), &images(), &owner, &revision()).unwrap();
    let set = Set {
        replicas: spec.replicas as usize,
        partition: spec.replicas as usize,
        revision: revision(),
        template,
        rollout: "{}".to_owned(),
    };
    Plan {
        owner,
        spec,
        apis,
        images: images(),
        secrets: secrets(),
        record: None,
        set: Some(set),
        taken: Vec::new(),
        proven: true,
    }
}

/// All of them, in the order of their fields, but what they record.
pub(super) fn list(all: &Objects) -> Vec<Value> {
    let Objects {
        service_account,
        secrets,
        claims,
        postgres,
        cloud_native_pg,
        home,
        peers,
        public,
        ingress,
        http_route,
        route,
        budget,
        network_policies,
        monitor,
        record,
        set,
    } = all.clone();
    let mut list = vec![value(&service_account)];
    list.extend(secrets.iter().map(value));
    list.extend(claims.iter().map(value));
    if let Some(Postgres { account, script, service, set }) = postgres {
        list.extend([value(&account), value(&script), value(&service), value(&set)]);
    }
    list.extend(cloud_native_pg.iter().map(value));
    list.extend(home.iter().map(value));
    list.extend([value(&peers), value(&public)]);
    list.extend(ingress.iter().map(value));
    list.extend(http_route.iter().chain(&route).map(value));
    list.push(value(&budget));
    list.extend(network_policies.iter().map(value));
    list.extend(monitor.iter().map(value));
    list.extend(record.iter().map(value));
    list.extend(set.iter().map(value));
    list
}

fn value(object: &impl Serialize) -> Value {
    serde_json::to_value(object).unwrap()
}

/// As a file that one could apply.
fn yaml(all: &Objects) -> String {
    let mut text = String::new();
    for mut object in list(all) {
        // their texts are files of their own
        if object["kind"] == "ConfigMap" {
            for text in object["data"].as_object_mut().unwrap().values_mut() {
                *text = format!("{} lines", text.as_str().unwrap().lines().count()).into();
            }
        }
        text.push_str("---\n");
        text.push_str(&serde_saphyr::to_string(&object).unwrap());
    }
    text
}

#[test]
fn the_minimal_example_makes_these_objects() {
    let minimal = HAController::parse(include_str!("../../../examples/acme.yaml")).unwrap();
    insta::assert_snapshot!("minimal", yaml(&objects(&plan(owner(), minimal.spec, Apis::default()))));
}

#[test]
fn the_production_example_makes_these_objects() {
    let production = HAController::parse(include_str!("../../../examples/production.yaml")).unwrap();
    let apis = Apis { service_monitor: true, ..Apis::default() };
    let mut plan = plan(owner(), production.spec, apis);
    plan.secrets = NewSecrets::default();
    insta::assert_snapshot!("production", yaml(&objects(&plan)));
}

#[test]
fn a_controller_on_sqlite_makes_these_objects() {
    let spec = spec("replicas: 1\nstore: { sqlite: { storage: { size: 5Gi, className: fast } } }");
    insta::assert_snapshot!("sqlite", yaml(&objects(&plan(owner(), spec, Apis::default()))));
}

#[test]
fn all_that_can_be_asked_for_makes_these_objects() {
    insta::assert_snapshot!("everything", yaml(&objects(&plan(owner(), everything(), EVERY))));
}

#[test]
fn what_was_rolled_out_is_recorded() {
    let spec = spec("");
    let record = Record::new(inputs_of(&spec), pods(&spec).unwrap(), &[]);
    let plan = Plan { record: Some(record.clone()), set: None, ..plan(owner(), spec, Apis::default()) };
    let made = objects(&plan);
    assert_eq!(Record::read(&made.record.unwrap()), Some(record));
    assert_eq!(made.set, None);
}

pub(super) type Labels = BTreeMap<String, String>;

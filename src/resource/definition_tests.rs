use std::fs;
use std::path::{Path, PathBuf};

use kube_cel::{ErrorKind, Validator, apply_defaults};
use serde::Deserialize;
use serde_json::{Value, json};

use super::*;
use crate::rules::rules;

/// A line of `cases.yaml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(default = "acme")]
    name: String,
    #[serde(default)]
    was: Option<Value>,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    at: String,
    says: Option<String>,
    kubernetes: Option<String>,
}

fn acme() -> String {
    "acme".to_owned()
}

impl Case {
    fn all() -> Vec<Case> {
        serde_saphyr::from_str(include_str!("cases.yaml")).unwrap()
    }

    fn document(&self, spec: &Value) -> Value {
        let spec = if spec.is_null() { json!({}) } else { spec.clone() };
        json!({ "apiVersion": API_VERSION, "kind": KIND, "metadata": { "name": self.name }, "spec": spec })
    }

    /// Why an API server refuses it.
    fn refused(&self) -> Option<&str> {
        self.kubernetes.as_deref().or(self.says.as_deref()).filter(|why| *why != "taken")
    }
}

fn root(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)
}

/// What an API server checks documents against.
fn openapi() -> Value {
    let schema = definition().spec.versions.remove(0).schema.unwrap().open_api_v3_schema.unwrap();
    serde_json::to_value(schema).unwrap()
}

/// What the rules of the definition say, each as `path: sentence`. Types and lengths are nothing to them.
fn told(schema: &Value, document: &Value, was: Option<&Value>) -> Vec<String> {
    let was = was.map(|was| whole(schema, was));
    let errors = Validator::new().validate(schema, &whole(schema, document), was.as_ref());
    let errors = errors.err().map(|errors| errors.into_vec()).unwrap_or_default();
    for error in &errors {
        assert_eq!(error.kind, ErrorKind::ValidationFailure, "{error}");
    }
    errors.iter().map(ToString::to_string).collect()
}

/// As an API server stores it.
fn whole(schema: &Value, document: &Value) -> Value {
    let mut document = without_nulls(document);
    loop {
        // what was filled in may have fields to be filled in
        let more = apply_defaults(schema, &document);
        if more == document {
            return document;
        }
        document = more;
    }
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let there = fields.iter().filter(|(_, value)| !value.is_null());
            there.map(|(name, value)| (name.clone(), without_nulls(value))).collect()
        }
        other => other.clone(),
    }
}

/// Each schema of the definition with its path.
fn walk(schema: &Value, path: &str, see: &mut impl FnMut(&str, &Value)) {
    see(path, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(property, &format!("{path}.{name}"), see);
    }
    for (key, below) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(inner) = schema.get(key) {
            walk(inner, &format!("{path}{below}"), see);
        }
    }
}

/// Kubernetes' own types, whose schemas are theirs.
fn theirs(path: &str) -> bool {
    ["resources.", "networkPolicy.from[]", "conditions[]"].iter().any(|part| path.contains(part))
}

#[test]
fn a_file_and_an_api_server_refuse_the_same() {
    let schema = openapi();
    let sentences: Vec<_> = {
        let mut found = Vec::new();
        walk(&schema, "", &mut |_, schema| {
            let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
            found.extend(rules.map(|rule| rule["message"].as_str().unwrap().to_owned()));
        });
        found
    };
    for case in Case::all() {
        let document = case.document(&case.spec);
        match (HAController::parse(&document.to_string()), &case.says) {
            (Ok(_), None) => {}
            (Err(Error(said)), Some(says)) => {
                assert!(said.starts_with(&case.at) && said.contains(says), "{case:?}\n  said: {said}");
            }
            (read, _) => panic!("{case:?}\n  {read:?}"),
        }
        let why = case.refused();
        if why.is_some_and(|why| !sentences.iter().any(|sentence| sentence.contains(why))) {
            // what a schema says besides its rules, only a real API server checks
            continue;
        }
        let told = told(&schema, &document, case.was.as_ref().map(|was| case.document(was)).as_ref());
        let found = |why: &str| told.iter().any(|told| told.starts_with(&case.at) && told.contains(why));
        assert!(why.map_or(told.is_empty(), found), "{case:?}\n  told: {told:?}");
    }
}

#[test]
fn each_rule_is_broken_by_a_case() {
    let cases = Case::all();
    for rule in rules() {
        let broken = |case: &&Case| case.refused().is_some_and(|why| rule.sentence.contains(why));
        let case = cases.iter().find(broken).unwrap_or_else(|| panic!("{}: {}", rule.at, rule.sentence));
        assert_eq!(case.says.is_some(), rule.holds.is_some() || rule.at.is_empty(), "{case:?}");
    }
}

#[test]
fn the_definition_is_the_one_that_is_kept() {
    let kept = fs::read_to_string(root("crds/hacontrollers.yaml")).unwrap_or_default();
    let made = definition_yaml().unwrap();
    assert!(
        kept == made,
        "crds/hacontrollers.yaml is old; write it anew: majordomo crd > crds/hacontrollers.yaml"
    );
    let read: Value = serde_saphyr::from_str(&made).unwrap();
    assert_eq!(read, serde_json::to_value(definition()).unwrap());
}

#[test]
fn an_api_server_can_take_the_definition() {
    let schema = openapi();
    let mut seen = 0;
    walk(&schema, "", &mut |path, schema| {
        seen += 1;
        let free = schema["x-kubernetes-preserve-unknown-fields"] == true;
        let typed = schema["type"].is_string() || schema["x-kubernetes-int-or-string"] == true;
        assert!(typed || free, "{path}: no type");
        for key in ["$ref", "definitions", "nullable", "oneOf", "anyOf", "allOf", "not", "patternProperties"]
        {
            assert!(schema.get(key).is_none(), "{path}: {key}");
        }
        let properties = schema["properties"].is_object();
        assert!(!properties || schema.get("additionalProperties").is_none(), "{path}: properties and more");
        assert!(schema.get("default") != Some(&Value::Null), "{path}: null is no default");
        assert!(!path.starts_with(".status") || schema.get("default").is_none(), "{path}: a default");
        let words = schema["enum"].as_array().into_iter().flatten();
        assert!(words.clone().all(Value::is_string), "{path}: {words:?}");
        let formats = [Value::Null, json!("int32"), json!("int64"), json!("date-time")];
        assert!(formats.contains(&schema["format"]), "{path}: {}", schema["format"]);
        match schema["type"].as_str() {
            Some("array") => assert!(schema["items"].is_object(), "{path}: no items"),
            Some("object") if !properties && !free => {
                let map = schema["additionalProperties"].is_object();
                assert!(map || path == ".spec.objects.store", "{path}: an object of nothing");
            }
            _ => {}
        }
    });
    assert!(seen > 200, "{seen}");
}

/// An API server refuses rules that might cost too much for what is as long as it can be.
#[test]
fn what_rules_read_is_bounded_and_so_is_what_is_ours() {
    walk(&openapi(), "", &mut |path, schema| {
        let bound = match schema["type"].as_str() {
            Some("array") => Some("maxItems"),
            Some("string") if schema["enum"].is_null() && schema["format"].is_null() => Some("maxLength"),
            Some("object") if schema["additionalProperties"].is_object() => Some("maxProperties"),
            _ => None,
        };
        // values of annotations and labels are bounded by Kubernetes, and no rule reads them
        let bounded =
            bound.is_none_or(|bound| schema[bound].is_u64()) || theirs(path) || path.ends_with("{}");
        assert!(bounded, "{path}: no {bound:?}");
        for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
            let text = rule["rule"].as_str().unwrap();
            for (n, _) in text.match_indices("elf.") {
                let name: String = text[n + 4..].chars().take_while(char::is_ascii_alphanumeric).collect();
                let known = schema["properties"].get(&name).is_some();
                let builtin = ["metadata", "trim", "matches"].contains(&name.as_str());
                assert!(known || builtin, "{path}: {name} in {text}");
                assert!(!theirs(&format!("{path}.{name}.")), "{path}: {text}");
            }
            let message = rule["message"].as_str().unwrap();
            assert!(!message.is_empty() && !message.contains('\n'), "{path}: {message}");
        }
    });
}

#[test]
fn each_rule_and_each_field_is_in_the_definition() {
    let schema = openapi();
    let mut all = Vec::new();
    walk(&schema, "", &mut |path, schema| {
        let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
        all.extend(rules.map(|rule| (path.trim_start_matches('.').to_owned(), rule["rule"].clone())));
        let bare = path.is_empty() || path.ends_with("{}") || path.ends_with("[]") || theirs(path);
        assert!(bare || schema["description"].is_string(), "{path}: nobody says what it is");
    });
    for rule in rules() {
        assert!(all.contains(&(rule.at.to_owned(), json!(rule.cel))), "{}: {}", rule.at, rule.cel);
    }
}

#[test]
fn defaults_are_what_they_are_without_the_definition() {
    let document = json!({ "apiVersion": API_VERSION, "kind": KIND, "metadata": { "name": "a" } });
    let full = whole(&openapi(), &document);
    assert!(told(&openapi(), &full, None).is_empty());
    let spec = HAController::parse(&full.to_string()).unwrap().spec;
    assert_eq!(spec.replicas, Spec::default().replicas);
    assert_eq!(spec.monitoring, Some(Monitoring::default()));
    assert_eq!(spec.network_policy, Some(NetworkPolicy::default()));
    assert!(spec.store.unwrap().builtin.unwrap().storage.unwrap().size == Some(Size::default()));
    assert!(spec.objects.unwrap().store.is_some());
    let rollout = spec.rollout.unwrap();
    let minutes = |minutes: u64| Some(Span(std::time::Duration::from_secs(minutes * 60)));
    assert_eq!((rollout.when, rollout.window), (Some(When::Immediately), None));
    assert_eq!((rollout.drain_timeout, rollout.ready_timeout), (minutes(5), minutes(5)));
    assert_eq!((rollout.bake, rollout.paused), (minutes(10), Some(false)));
}

/// Files of a folder whose names begin and end so, with what is in them.
fn files(folder: &str, begin: &str) -> Vec<(String, String)> {
    let names =
        fs::read_dir(root(folder)).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.starts_with(begin) && name.ends_with(".yaml")).collect();
    names.sort_unstable();
    let read = |name: &String| fs::read_to_string(root(folder).join(name)).unwrap();
    names.into_iter().map(|name| (name.clone(), read(&name))).collect()
}

#[test]
fn examples_and_what_the_chart_makes_are_taken_here_and_there() {
    let schema = openapi();
    let (mut examples, made) = (files("examples", ""), files("tests/charts/snapshots", "controller-"));
    examples.retain(|(_, text)| text.contains(&format!("\nkind: {KIND}\n")));
    assert!(examples.len() >= 6 && made.len() >= 2, "{} examples, {} made", examples.len(), made.len());
    for (name, text) in examples.iter().chain(&made) {
        let controller = HAController::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(controller.metadata.name.as_deref(), Some("acme"), "{name}");
        let document: Value = serde_saphyr::from_str(text).unwrap();
        assert_eq!(told(&schema, &document, None), Vec::<String>::new(), "{name}");
    }
    let warnings = |wanted: &str| {
        let (_, text) = examples.iter().find(|(name, _)| name == wanted).unwrap();
        local_plan(&HAController::parse(text).unwrap()).1.len()
    };
    assert_eq!(warnings("acme.yaml"), 0, "the least that there is must do on one machine, too");
    assert!(warnings("production.yaml") > 0);
}

#[test]
fn the_example_of_an_autoscaler_is_for_the_least_controller() {
    let text = fs::read_to_string(root("examples/autoscaler.yaml")).unwrap();
    let autoscaler: Value = serde_saphyr::from_str(&text).unwrap();
    let spec = &autoscaler["spec"];
    assert_eq!(spec["scaleTargetRef"], json!({ "apiVersion": API_VERSION, "kind": KIND, "name": "acme" }));
    let most = &openapi()["properties"]["spec"]["properties"]["replicas"]["maximum"];
    assert_eq!(spec["maxReplicas"].as_f64(), most.as_f64());
}

/// The commands in the comment above an example.
fn commands(example: &str) -> Vec<String> {
    let text = fs::read_to_string(root("examples").join(example)).unwrap();
    let comment = text.lines().map_while(|line| line.strip_prefix('#'));
    comment.filter_map(|line| line.strip_prefix("   ")).map(str::to_owned).collect()
}

#[test]
fn who_does_what_an_example_says_has_all_that_it_names() {
    let commands_of = commands("production.yaml");
    for made in [
        "kubectl create namespace ci",
        "kubectl create priorityclass important ",
        "kubectl -n ci create secret docker-registry registry ",
        "kubectl -n ci create secret generic acme-db --from-literal=url=",
        "kubectl -n ci create secret generic acme-s3 --from-literal=access-key-id=ID --from-literal=secret-access-key=",
    ] {
        assert!(commands_of.iter().any(|command| command.starts_with(made)), "{made}: {commands_of:#?}");
    }
    assert_eq!(commands_of.last().unwrap(), "kubectl apply -f examples/production.yaml");
    let document = fs::read_to_string(root("examples/production.yaml")).unwrap();
    let (_, document) = document.split_once("apiVersion:").unwrap();
    let names =
        document.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("name: "));
    for name in names.filter(|name| *name != "acme") {
        assert!(commands_of.iter().any(|command| command.contains(&format!(" {name} "))), "{name}");
    }
    // the database of this one is made, and has a ServiceAccount of its own
    let openshift = commands("openshift.yaml");
    for account in ["acme", "acme-postgres"] {
        let given = format!("--serviceaccount={account} ");
        assert!(openshift.iter().any(|command| command.contains(&given)), "{given}: {openshift:#?}");
    }
}

#[test]
fn a_status_is_read_as_it_was_written_and_what_is_newer_is_passed_over() {
    let status = json!({
        "observedGeneration": 4,
        "phase": "Rolling",
        "conditions": [{
            "type": ConditionType::Ready.as_str(), "status": "False", "reason": Reason::SomeReady.as_str(), "message": "2 of 3",
            "observedGeneration": 4, "lastTransitionTime": "2026-11-26T10:00:00Z",
        }],
        "replicas": 3,
        "readyReplicas": 2,
        "selector": "majordomo.dev/controller=acme",
        "url": "https://ci.example.com/",
        "revision": "7",
        "startup": { "holder": "acme-2", "since": "2026-11-26T10:00:00.000000Z" },
        "members": [{
            "ordinal": 2, "pod": "acme-2", "state": "Starting", "revision": "7", "builds": 0, "agents": 0,
            "since": "2026-11-26T10:00:00.000000Z", "message": "it has the startup lock",
        }],
        "rollout": {
            "phase": "Rolling", "good": "6", "wanted": "7", "message": "acme-2 starts",
            "turn": { "ordinal": 2, "stage": "Start", "since": "2026-11-26T10:00:00Z" },
            "history": [{ "revision": "7", "reason": "ImageChanged", "askedAt": "2026-11-26T09:59:00Z" }],
        },
        "failovers": [{ "replica": "acme-1", "at": "2026-11-25T03:00:00Z", "builds": 12 }],
        "counters": { "builds": 12, "queue": 0, "agents": 40 },
    });
    let read: Status = serde_json::from_value(status.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), status);
    let mut newer = status;
    newer["mood"] = json!("good");
    newer["members"][0]["mood"] = json!("better");
    assert_eq!(serde_json::from_value::<Status>(newer).unwrap(), read);
}

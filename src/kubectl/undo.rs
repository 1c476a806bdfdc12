//! What `rollout undo` makes of the resource: the fields of an earlier revision, as its record has them. Pure.

use operator::inputs;
use operator::names::RESTARTED_AT;
use operator::record::{Inputs, Record};
use resource::{InStore, Named, Objects, RolloutEnd, RolloutStatus, Security};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::controller::Controller;
use crate::error::Error;
use crate::mend::{changes, merge_patch, without_nulls};

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    pub(crate) number: i64,
    pub(crate) revision: String,
    /// Of the resource.
    pub(crate) patch: Value,
    /// The same for people.
    pub(crate) changes: Vec<String>,
    /// What was another one then, too, and is not brought back.
    pub(crate) left: Vec<&'static str>,
}

pub(crate) fn plan(controller: &Controller, records: &[Record], to: Option<i64>) -> Result<Plan, Error> {
    let target = target(controller, records, to)?;
    let spec = controller.spec.as_ref().map_err(|why| {
        Error::Refused(format!(
            "this version of kubectl-majordomo can't read the spec, take that of the operator: {why}"
        ))
    })?;
    let then = &target.inputs;
    let restarted = controller.annotation(RESTARTED_AT);
    let now = inputs(spec, &then.keys, restarted, then.asked);
    let before = fields(&controller.raw);
    let mut after = brought_back(before.clone(), &now, then);
    if let (Some(image), Value::Object(fields)) = (of_then(controller, records, &now, target), &mut after) {
        fields.insert("image".to_owned(), image.into());
    }
    let mut patch = Map::new();
    if let Some(spec) = merge_patch(&before, &after) {
        patch.insert("spec".to_owned(), spec);
    }
    let mut told = changes("spec", &before, &after);
    if now.restarted_at != then.restarted_at {
        patch.insert("metadata".to_owned(), json!({ "annotations": { RESTARTED_AT: then.restarted_at } }));
        let value = |at: &Option<String>| at.as_deref().map_or(Value::Null, Value::from);
        told.extend(changes(
            &format!("metadata.annotations.{RESTARTED_AT}"),
            &value(&now.restarted_at),
            &value(&then.restarted_at),
        ));
    }
    let left = left(controller, records, &now, then);
    let (number, revision) = (target.number, target.revision.0.clone());
    match patch.is_empty() {
        false => Ok(Plan { number, revision, patch: Value::Object(patch), changes: told, left }),
        true if left.is_empty() => Err(Error::Refused(format!(
            "{} asks for revision {number} ({revision}) already",
            controller.name()
        ))),
        true => Err(Error::Refused(format!(
            "revision {number} ({revision}) differs only in what can't be brought back: {}",
            left.join(", ")
        ))),
    }
}

/// The image of then, when nobody named one then or now, and the operator has brought another one since: without its name it would
/// not come back.
fn of_then<'a>(
    controller: &Controller,
    records: &[Record],
    now: &Inputs,
    target: &'a Record,
) -> Option<&'a str> {
    let rollout = controller.status.rollout.as_ref()?;
    let wanted = &rollout.wanted;
    let wanted = records.iter().find(|record| record.revision.0 == *wanted)?;
    // what runs is found again as it is
    let runs = target.revision.0 == rollout.good;
    let unnamed = now.image.is_none() && target.inputs.image.is_none() && !runs;
    (unnamed && target.image() != wanted.image()).then(|| target.image())
}

fn fields(raw: &Value) -> Value {
    match raw {
        Value::Object(_) => raw.clone(),
        _ => Value::Object(Map::new()),
    }
}

/// The spec with all fields of `then` that differ; others stay as they were written.
fn brought_back(mut spec: Value, now: &Inputs, then: &Inputs) -> Value {
    fn set<T: Serialize + PartialEq>(spec: &mut Value, name: &str, now: &T, then: &T) {
        let Value::Object(fields) = spec else { return };
        if now == then {
            return;
        }
        // all of these are trees of texts, numbers and maps with text keys
        let value = without_nulls(serde_json::to_value(then).unwrap_or_default());
        let empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        match empty {
            true => drop(fields.remove(name)),
            false => drop(fields.insert(name.to_owned(), value)),
        }
    }
    set(&mut spec, "image", &now.image, &then.image);
    set(&mut spec, "imagePullPolicy", &now.image_pull_policy, &then.image_pull_policy);
    set(&mut spec, "imagePullSecrets", &now.image_pull_secrets, &then.image_pull_secrets);
    set(&mut spec, "plugins", &now.plugins, &then.plugins);
    set(&mut spec, "resources", &now.resources, &then.resources);
    set(&mut spec, "podTemplate", &now.pod_template, &then.pod_template);
    set(&mut spec, "trustedProxies", &now.trusted_proxies, &then.trusted_proxies);
    set(&mut spec, "security", &now.security, &secured(now, then));
    let (now, then) = (said(&now.objects), said(&then.objects));
    if now != then {
        // how large a volume is is no part of a revision; a claim of ours keeps what was said of it
        let size = spec.pointer("/objects/volume").cloned();
        set(&mut spec, "objects", &now, &then);
        let ours = then.volume.is_some_and(|volume| volume.claim_name.is_none());
        if let (true, Some(place), Some(Value::Object(mut kept))) =
            (ours, spec.pointer_mut("/objects/volume"), size)
        {
            kept.remove("claimName");
            *place = Value::Object(kept);
        }
    }
    spec
}

/// Which keys and which administrator there are stays: what was encrypted since could not be read with those of before.
fn secured(now: &Inputs, then: &Inputs) -> Option<Security> {
    let (admin_secret_ref, keys_secret_ref) = refs(now);
    let secured = Security { admin_secret_ref, keys_secret_ref, ..then.security.clone().unwrap_or_default() };
    (secured != Security::default() || then.security.is_some()).then_some(secured)
}

/// The Secrets with the first administrator and with the keys.
fn refs(inputs: &Inputs) -> (Option<Named>, Option<Named>) {
    let security = inputs.security.clone().unwrap_or_default();
    (security.admin_secret_ref, security.keys_secret_ref)
}

/// Without any they are in the store.
fn said(objects: &Objects) -> Objects {
    let store = (*objects == Objects::default()).then_some(InStore {});
    Objects { store: store.or_else(|| objects.store.clone()), ..objects.clone() }
}

/// What differs and has no field of its own, or none that can be gone back with.
fn left(controller: &Controller, records: &[Record], now: &Inputs, then: &Inputs) -> Vec<&'static str> {
    let wanted = controller.status.rollout.as_ref().map(|rollout| &rollout.wanted);
    let keys = records.iter().find(|record| Some(&record.revision.0) == wanted);
    let keys = keys.is_some_and(|record| record.inputs.keys != then.keys);
    [
        (now.url != then.url, "the address (ingress, gateway, route)"),
        (now.store != then.store, "the store"),
        (keys, "the keys in Secrets"),
        (refs(now) != refs(then), "which Secrets have the keys and the first administrator"),
    ]
    .into_iter()
    .filter_map(|(differs, what)| differs.then_some(what))
    .collect()
}

fn target<'a>(controller: &Controller, records: &'a [Record], to: Option<i64>) -> Result<&'a Record, Error> {
    let mut numbers: Vec<i64> = records.iter().map(|record| record.number).collect();
    numbers.sort_unstable();
    let there = match numbers.is_empty() {
        true => "there is none".to_owned(),
        false => format!("there are {}", numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(", ")),
    };
    match to {
        Some(number) => records.iter().find(|record| record.number == number).ok_or_else(|| {
            Error::Refused(format!("{} has no revision {number}; {there}", controller.name()))
        }),
        None => before(controller.status.rollout.as_ref(), records)
            .ok_or_else(|| Error::Refused(format!("{} has no revision before; {there}", controller.name()))),
    }
}

/// What ran before: what was gone back to, else the last one that was rolled out whole, else the one that was made before.
fn before<'a>(rollout: Option<&RolloutStatus>, records: &'a [Record]) -> Option<&'a Record> {
    let rollout = rollout?;
    let called = |revision: &str| records.iter().find(|record| record.revision.0 == revision);
    if rollout.good != rollout.wanted
        && let Some(good) = called(&rollout.good)
    {
        return Some(good);
    }
    let finished = rollout.history.iter().filter(|past| past.end == Some(RolloutEnd::Finished));
    let mut other = finished.filter(|past| past.revision != rollout.wanted);
    other.find_map(|past| called(&past.revision)).or_else(|| {
        let now = called(&rollout.wanted)?.number;
        records.iter().filter(|record| record.number < now).max_by_key(|record| record.number)
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodTemplateSpec;
    use operator::names::CONTAINER;

    use super::*;

    fn controller(spec: Value, annotation: Option<&str>, rollout: Value) -> Controller {
        let metadata = json!({ "name": "acme", "annotations": { RESTARTED_AT: annotation.unwrap_or("") } });
        let metadata = match annotation {
            Some(_) => metadata,
            None => json!({ "name": "acme" }),
        };
        let status = json!({ "rollout": rollout });
        let object = json!({ "metadata": metadata, "spec": spec, "status": status });
        Controller::read(serde_json::from_value(object).unwrap()).unwrap()
    }

    /// Records of these specs, oldest first.
    fn records(specs: &[(Value, Option<&str>)]) -> Vec<Record> {
        let mut all: Vec<Record> = Vec::new();
        for (spec, annotation) in specs {
            let spec = serde_json::from_value(spec.clone()).unwrap();
            let record = Record::new(inputs(&spec, "k", *annotation, 0), PodTemplateSpec::default(), &all);
            all.push(record);
        }
        all
    }

    fn rollout(records: &[Record], good: usize, wanted: usize, history: Value) -> Value {
        let name = |at: usize| records[at].revision.0.clone();
        json!({ "phase": "Settled", "good": name(good), "wanted": name(wanted), "history": history })
    }

    #[test]
    fn the_fields_of_the_revision_before_come_back_and_others_stay() {
        let first = json!({
            "image": "ci:1", "resources": { "limits": { "cpu": "1" } }, "plugins": [{ "name": "git" }],
        });
        let second = json!({
            "replicas": 5, "image": "ci:2", "resources": { "limits": { "cpu": "1", "memory": "1Gi" } },
            "podTemplate": { "spec": { "priorityClassName": "high" } },
            "ingress": { "host": "ci.example.com" }, "rollout": { "paused": true },
        });
        let records = records(&[(first, None), (second.clone(), Some("T"))]);
        let controller = controller(second, Some("T"), rollout(&records, 1, 1, json!([])));
        let plan = plan(&controller, &records, None).unwrap();
        assert_eq!((plan.number, plan.revision.as_str()), (1, records[0].revision.0.as_str()));
        assert_eq!(
            plan.patch,
            json!({
                "metadata": { "annotations": { RESTARTED_AT: null } },
                "spec": {
                    "image": "ci:1", "plugins": [{ "name": "git" }], "podTemplate": null,
                    "resources": { "limits": { "memory": null } },
                },
            })
        );
        assert_eq!(plan.left, ["the address (ingress, gateway, route)"]);
        let told = plan.changes.join("\n");
        assert!(told.contains("- spec.image: ci:2\n+ spec.image: ci:1"), "{told}");
        assert!(told.contains("- metadata.annotations.majordomo.dev/restartedAt: T"), "{told}");
        assert!(!told.contains("replicas"), "{told}");
    }

    #[test]
    fn the_image_of_an_older_operator_comes_back_by_its_name_unless_it_runs() {
        let (first, second) = (json!({ "trustedProxies": ["10.0.0.0/8"] }), json!({ "trustedProxies": [] }));
        let mut records = records(&[(first.clone(), None), (second.clone(), None)]);
        for (record, image) in records.iter_mut().zip(["ours:1", "ours:2"]) {
            let container = json!({ "name": CONTAINER, "image": image });
            record.template =
                serde_json::from_value(json!({ "spec": { "containers": [container] } })).unwrap();
        }
        let of = |good| {
            let controller = controller(second.clone(), None, rollout(&records, good, 1, json!([])));
            plan(&controller, &records, Some(1)).unwrap().patch["spec"].clone()
        };
        assert_eq!(of(1), json!({ "image": "ours:1", "trustedProxies": ["10.0.0.0/8"] }));
        assert_eq!(of(0), first);
    }

    #[test]
    fn objects_come_back_with_the_size_that_is_said_now() {
        let first = json!({ "objects": { "s3": { "bucket": "b" } } });
        let second = json!({ "objects": { "volume": { "size": "20Gi", "className": "nfs" } } });
        let third = json!({ "objects": { "volume": { "claimName": "mine", "size": "20Gi" } } });
        let records = records(&[(first, None), (second.clone(), None), (third.clone(), None)]);
        let of = |spec: Value, to| {
            let controller = controller(spec, None, rollout(&records, 2, 2, json!([])));
            plan(&controller, &records, Some(to)).map(|plan| plan.patch)
        };
        let s3 = json!({ "bucket": "b", "pathStyle": false });
        assert_eq!(
            of(second.clone(), 1).unwrap(),
            json!({ "spec": { "objects": { "s3": s3, "volume": null } } })
        );
        assert_eq!(
            of(third, 2).unwrap(),
            json!({ "spec": { "objects": { "volume": { "claimName": null } } } })
        );
        assert!(of(second, 2).unwrap_err().to_string().ends_with("already"));
    }

    #[test]
    fn keys_and_the_administrator_stay_those_of_now() {
        let first = json!({ "image": "ci:1", "security": { "setupWizard": true } });
        let keys = json!({ "keysSecretRef": { "name": "mine" }, "setupWizard": false });
        let second = json!({ "image": "ci:2", "security": keys });
        let records = records(&[(first, None), (second.clone(), None)]);
        let controller = controller(second, None, rollout(&records, 1, 1, json!([])));
        let plan = plan(&controller, &records, None).unwrap();
        assert_eq!(plan.patch, json!({ "spec": { "image": "ci:1", "security": { "setupWizard": true } } }));
        assert_eq!(plan.left, ["which Secrets have the keys and the first administrator"]);
    }

    #[test]
    fn which_one_ran_before_is_known_from_what_was_rolled_out() {
        let specs: Vec<_> = (1..=3).map(|n| (json!({ "image": n.to_string() }), None)).collect();
        let records = records(&specs);
        let past = |at: usize, end: &str| {
            json!({
                "revision": records[at].revision.0, "reason": "ImageChanged", "end": end,
                "askedAt": "2026-11-26T20:00:00Z",
            })
        };
        let undone = json!([past(0, "Finished"), past(2, "Finished"), past(0, "Finished")]);
        for (good, wanted, history, number) in [
            (2, 2, json!([]), Some(2)),
            // given up: what runs is what was good
            (0, 2, json!([past(2, "GoneBack")]), Some(1)),
            // undone before: back to what was undone
            (0, 0, undone, Some(3)),
            // what was given up is never gone back to
            (2, 2, json!([past(2, "Finished"), past(1, "GoneBack"), past(0, "Finished")]), Some(1)),
            (0, 0, json!([]), None),
        ] {
            let status = serde_json::from_value(rollout(&records, good, wanted, history)).unwrap();
            assert_eq!(before(Some(&status), &records).map(|record| record.number), number);
        }
        assert_eq!(before(None, &records), None);
    }

    #[test]
    fn what_can_not_be_gone_back_to_is_refused_with_why() {
        let host = |host: &str| json!({ "ingress": { "host": host } });
        let records = records(&[(host("a"), None), (host("b"), None)]);
        let controller = controller(host("b"), None, rollout(&records, 1, 1, json!([])));
        let refused = |to| plan(&controller, &records, to).unwrap_err().to_string();
        assert!(
            refused(None).contains("only in what can't be brought back: the address"),
            "{}",
            refused(None)
        );
        assert_eq!(refused(Some(7)), "acme has no revision 7; there are 1, 2");
        assert!(plan(&controller, &[], None).unwrap_err().to_string().ends_with("there is none"));
    }
}

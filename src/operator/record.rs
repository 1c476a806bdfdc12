//! What a revision is: the fields from which its pods follow, and the pods as they were made of them. It is kept as a
//! ControllerRevision, so that pods stay as they are under a newer operator, and can be gone back to.

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{PodTemplateSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use resource::{Named, Objects, Plugin, PodTemplate, PullPolicy, RestartReason, Security, Store, known};
use rollout::Revision;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::names::{CONTAINER, Component, Owner, REVISION_LABEL};

/// Digits of a revision's name.
const NAME_DIGITS: usize = 10;
/// Records that are kept, besides those in use.
const KEPT: usize = 10;

/// Everything that replicas must be replaced for. What is not here changes no pod.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Inputs {
    /// `None`: that of the operator which first sees this revision.
    pub image: Option<String>,
    pub image_pull_policy: Option<PullPolicy>,
    pub image_pull_secrets: Vec<Named>,
    pub plugins: Vec<Plugin>,
    pub store: Store,
    pub objects: Objects,
    pub resources: Option<ResourceRequirements>,
    pub pod_template: Option<PodTemplate>,
    pub security: Option<Security>,
    /// Where users reach the controller, as far as the spec says it.
    pub url: Option<String>,
    /// Whom it is believed for which client they speak.
    pub trusted_proxies: Vec<String>,
    /// SHA-256 of the keys that replicas share; in hexadecimal digits.
    pub keys: String,
    /// The value of the annotation.
    pub restarted_at: Option<String>,
    /// The number of the last restart that was asked of the controller itself.
    pub asked: i64,
    /// The image of the operator, where none is named and an earlier revision that is the same otherwise has another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of_operator: Option<String>,
}

impl Inputs {
    /// Whether both were asked for in the same words.
    pub fn same(&self, other: &Inputs) -> bool {
        Inputs { of_operator: None, ..self.clone() } == Inputs { of_operator: None, ..other.clone() }
    }

    /// A name for a revision that has none yet. What was recorded is found again by comparing, not by this: a newer operator
    /// may know fields that an older one has not summed.
    fn name(&self) -> Revision {
        // every field is a tree of texts, numbers and maps with text keys
        let text = serde_json::to_vec(self).unwrap_or_default();
        let mut name = hex::encode(Sha256::digest(text));
        name.truncate(NAME_DIGITS);
        Revision(name)
    }

    /// Why replicas that run `before` are replaced by such of `self`: the first that differs, from what users do most on.
    pub fn reason(&self, before: &Inputs) -> RestartReason {
        let Inputs {
            image,
            image_pull_policy: _,
            image_pull_secrets: _,
            plugins,
            store: _,
            objects: _,
            resources: _,
            pod_template: _,
            security: _,
            url: _,
            trusted_proxies: _,
            keys,
            restarted_at,
            asked,
            of_operator,
        } = self;
        if *image != before.image || *of_operator != before.of_operator {
            return RestartReason::ImageChanged;
        }
        if *plugins != before.plugins {
            return RestartReason::PluginsChanged;
        }
        let same = Inputs { restarted_at: before.restarted_at.clone(), asked: before.asked, ..self.clone() };
        if *keys != before.keys {
            return RestartReason::KeysChanged;
        }
        if same != *before {
            return RestartReason::TemplateChanged;
        }
        if *restarted_at != before.restarted_at && *asked == before.asked {
            return RestartReason::Annotation;
        }
        RestartReason::Asked
    }
}

/// One revision, as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub revision: Revision,
    /// The order in which they were made, from 1.
    pub number: i64,
    pub inputs: Inputs,
    pub template: PodTemplateSpec,
}

#[derive(Serialize, Deserialize)]
struct Data {
    inputs: Inputs,
    template: PodTemplateSpec,
}

impl Record {
    /// Of inputs that no record has yet; `before` are all that there are.
    pub fn new(inputs: Inputs, template: PodTemplateSpec, before: &[Record]) -> Record {
        let number = before.iter().map(|record| record.number).max().unwrap_or_default() + 1;
        Record { revision: inputs.name(), number, inputs, template }
    }

    /// `None`: it is none of ours, or nobody can read it any more.
    pub fn read(object: &ControllerRevision) -> Option<Record> {
        let revision = object.metadata.labels.as_ref()?.get(REVISION_LABEL)?.clone();
        let data = object.data.as_ref()?.0.clone();
        let data: Data = serde_json::from_value(data.clone()).ok().or_else(|| older(data))?;
        Some(Record {
            revision: Revision(revision),
            number: object.revision,
            inputs: data.inputs,
            template: data.template,
        })
    }

    /// Of its replicas.
    pub fn image(&self) -> &str {
        let containers = self.template.spec.iter().flat_map(|spec| &spec.containers);
        let ours = containers.into_iter().find(|container| container.name == CONTAINER);
        ours.and_then(|container| container.image.as_deref()).unwrap_or_default()
    }

    pub fn object(&self, owner: &Owner) -> ControllerRevision {
        let Record { revision, number, inputs, template } = self;
        let mut metadata = owner.meta(owner.record(&revision.0), Component::Revision);
        metadata.labels.get_or_insert_default().insert(REVISION_LABEL.to_owned(), revision.0.clone());
        let data = json!({ "inputs": inputs, "template": template });
        ControllerRevision { metadata, data: Some(RawExtension(data)), revision: *number }
    }
}

/// What a newer operator has written, whose users ask for things that this one does not know.
fn older(mut data: Value) -> Option<Data> {
    let inputs = data.get_mut("inputs")?.as_object_mut()?;
    for field in ["store", "objects", "plugins", "podTemplate", "security", "imagePullSecrets"] {
        let Some(value) = inputs.get_mut(field) else { continue };
        let mut spec = json!({ field: value.take() });
        known(&mut spec);
        *value = spec.get_mut(field).map(Value::take).unwrap_or_default();
    }
    serde_json::from_value(data).ok()
}

/// Those that may go: the newest are kept, and those that somebody still runs.
pub fn outdated<'a>(records: &'a [Record], used: &[&Revision]) -> Vec<&'a Record> {
    let mut by_age: Vec<_> = records.iter().filter(|record| !used.contains(&&record.revision)).collect();
    by_age.sort_by_key(|record| std::cmp::Reverse(record.number));
    by_age.split_off(by_age.len().min(KEPT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(image: &str) -> Inputs {
        Inputs { image: Some(image.to_owned()), ..Inputs::default() }
    }

    fn owner() -> Owner {
        Owner { namespace: "ci".to_owned(), name: "acme".to_owned(), uid: "1".to_owned() }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let first = Record::new(inputs("a"), PodTemplateSpec::default(), &[]);
        let second = Record::new(inputs("b"), PodTemplateSpec::default(), std::slice::from_ref(&first));
        assert_eq!((first.number, second.number), (1, 2));
        assert_ne!(first.revision, second.revision);
        assert_eq!(Record::read(&second.object(&owner())), Some(second));
        assert_eq!(Record::read(&ControllerRevision::default()), None);
    }

    #[test]
    fn what_a_newer_operator_has_written_is_read() {
        let record = Record::new(inputs("a"), PodTemplateSpec::default(), &[]);
        let mut object = record.object(&owner());
        let inputs = &mut object.data.as_mut().unwrap().0["inputs"];
        inputs["later"] = json!(true);
        inputs["store"]["later"] = Value::Null;
        inputs["objects"]["later"] = json!({ "bucket": "b" });
        inputs["podTemplate"] = json!({ "spec": { "hostUsers": false } });
        let mut record = record;
        let kept = json!({ "spec": { "hostUsers": false } });
        record.inputs.pod_template = Some(serde_json::from_value(kept).unwrap());
        assert_eq!(Record::read(&object), Some(record));
    }

    #[test]
    fn each_restart_has_its_reason() {
        let before = Inputs { keys: "k".to_owned(), ..inputs("a") };
        let plugin = Plugin { name: "git".to_owned(), version: None, source: None, digest: None };
        let restarted = Some("2026-11-26T20:00:00Z".to_owned());
        let table = [
            (inputs("b"), RestartReason::ImageChanged),
            (Inputs { plugins: vec![plugin], ..before.clone() }, RestartReason::PluginsChanged),
            (Inputs { keys: "l".to_owned(), ..before.clone() }, RestartReason::KeysChanged),
            (Inputs { url: Some("http://x/".to_owned()), ..before.clone() }, RestartReason::TemplateChanged),
            (
                Inputs { trusted_proxies: vec!["10.0.0.0/8".to_owned()], ..before.clone() },
                RestartReason::TemplateChanged,
            ),
            (Inputs { restarted_at: restarted.clone(), ..before.clone() }, RestartReason::Annotation),
            (Inputs { asked: 1, ..before.clone() }, RestartReason::Asked),
            (Inputs { restarted_at: restarted, ..inputs("b") }, RestartReason::ImageChanged),
        ];
        for (after, reason) in table {
            assert_eq!(after.reason(&before), reason, "{after:?}");
        }
    }

    #[test]
    fn the_newest_records_and_those_in_use_stay() {
        let mut records: Vec<Record> = Vec::new();
        for n in 0..14 {
            let record = Record::new(inputs(&n.to_string()), PodTemplateSpec::default(), &records);
            records.push(record);
        }
        let used = records[0].revision.clone();
        let gone: Vec<_> = outdated(&records, &[&used]).iter().map(|record| record.number).collect();
        assert_eq!(gone, [4, 3, 2]);
        assert!(outdated(&records[..5], &[]).is_empty());
    }
}

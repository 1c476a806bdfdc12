//! `podTemplate`, laid over the pods that are made: maps are joined, lists of things with names are joined by these, and all else
//! is replaced; null takes away. What the operator needs to find, reach and end its pods stays as it is.

use k8s_openapi::api::core::v1::{Container, ContainerPort, PodSpec, PodTemplateSpec, Volume};
use model::short;
use resource::{PodMetadata, PodTemplate};
use serde_json::{Map, Value};
use serde_path_to_error::Segment;

use super::label;
use super::state::{OBJECTS_VARIABLE, STORE_VARIABLE};
use crate::names::CONTAINER;

/// Where the overlay is in the resource.
const METADATA: &str = "spec.podTemplate.metadata";
const SPEC: &str = "spec.podTemplate.spec";
/// Longest sentence.
const LONGEST: usize = 200;

/// `podTemplate` makes something that is no pod.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {sentence}")]
pub(crate) struct TemplateError {
    /// `spec.podTemplate.spec.containers[proxy].ports[0]`
    pub path: String,
    pub sentence: String,
}

type Result<T> = std::result::Result<T, TemplateError>;

fn refuse<T>(path: impl Into<String>, sentence: impl Into<String>) -> Result<T> {
    Err(TemplateError { path: path.into(), sentence: sentence.into() })
}

pub(super) fn lay(base: PodTemplateSpec, over: &PodTemplate) -> Result<PodTemplateSpec> {
    let PodTemplate { metadata, spec } = over;
    let mut template = base;
    if let Some(metadata) = metadata {
        describe(&mut template, metadata)?;
    }
    if let Some(spec) = spec {
        let ours = template.spec.take().unwrap_or_default();
        let over = Value::Object(spec.clone().into_iter().collect());
        template.spec = Some(keep(joined(&ours, &over)?, ours)?);
    }
    Ok(template)
}

/// Labels and annotations. Ours stay.
fn describe(template: &mut PodTemplateSpec, over: &PodMetadata) -> Result<()> {
    let PodMetadata { labels, annotations } = over;
    let metadata = template.metadata.get_or_insert_default();
    for (name, value) in labels.iter().flatten() {
        let path = || format!("{METADATA}.labels[{}]", short(name));
        if !label::name(name) {
            return refuse(path(), "this is no name of a label");
        }
        if !label::value(value) {
            let value = short(value);
            return refuse(
                path(),
                format!("“{value}” is no value of a label: up to 63 of a-z, A-Z, 0-9, ‘-’, ‘_’ and ‘.’"),
            );
        }
        metadata.labels.get_or_insert_default().entry(name.clone()).or_insert_with(|| value.clone());
    }
    for (name, value) in annotations.iter().flatten() {
        if !label::name(name) {
            return refuse(
                format!("{METADATA}.annotations[{}]", short(name)),
                "this is no name of an annotation",
            );
        }
        metadata.annotations.get_or_insert_default().insert(name.clone(), value.clone());
    }
    Ok(())
}

/// Both as one pod, if it is one.
fn joined(ours: &PodSpec, over: &Value) -> Result<PodSpec> {
    let mut merged = match serde_json::to_value(ours) {
        Ok(value) => value,
        Err(error) => return refuse(SPEC, error.to_string()),
    };
    merge(&mut merged, over, SPEC)?;
    let pod: PodSpec = match serde_path_to_error::deserialize(&merged) {
        Ok(pod) => pod,
        Err(error) => return refuse(place(&merged, error.path()), sentence(error.inner())),
    };
    // what is no field of a pod was left out without a word
    let known = serde_json::to_value(&pod).unwrap_or_default();
    match lost(&merged, &known, SPEC.to_owned()) {
        Some((path, field)) => refuse(path, format!("there is no field “{}”", short(&field))),
        None => Ok(pod),
    }
}

/// By which of their fields the things in a list are told apart, and whether each must have it.
fn key(list: &str) -> Option<(&'static str, bool)> {
    match list {
        "containers" | "initContainers" | "volumes" | "env" | "imagePullSecrets" => Some(("name", true)),
        "volumeMounts" => Some(("mountPath", true)),
        "volumeDevices" => Some(("devicePath", true)),
        // with one port, nobody needs to name it
        "ports" => Some(("name", false)),
        _ => None,
    }
}

fn merge(base: &mut Value, over: &Value, path: &str) -> Result<()> {
    let (Value::Object(fields), Value::Object(over)) = (&mut *base, over) else {
        *base = over.clone();
        return Ok(());
    };
    for (name, value) in over {
        let path = format!("{path}.{}", short(name));
        match (value, key(name)) {
            (Value::Null, _) => {
                fields.remove(name);
            }
            (Value::Array(items), Some(key)) => {
                let ours = fields.entry(name.clone()).or_insert_with(|| Value::Array(Vec::new()));
                merge_list(ours, items, key, name == "volumes", &path)?;
            }
            (value, _) => {
                let ours = fields.entry(name.clone()).or_insert_with(|| Value::Object(Map::new()));
                merge(ours, value, &path)?;
            }
        }
    }
    Ok(())
}

/// What is new comes last. `whole`: what a thing is besides its name is one of several, so that only what both say is joined.
fn merge_list(base: &mut Value, over: &[Value], key: (&str, bool), whole: bool, path: &str) -> Result<()> {
    let Value::Array(ours) = base else {
        *base = Value::Array(over.to_vec());
        return Ok(());
    };
    let (key, needed) = key;
    let named = |item: &Value| item.get(key).and_then(Value::as_str).map(str::to_owned);
    let mut seen = Vec::new();
    for (n, item) in over.iter().enumerate() {
        let Some(name) = named(item).filter(|name| !name.is_empty()) else {
            if needed {
                return refuse(format!("{path}[{n}]"), format!("the field {key} is missing"));
            }
            let mut new = Value::Object(Map::new());
            merge(&mut new, item, &format!("{path}[{n}]"))?;
            ours.push(new);
            continue;
        };
        let path = format!("{path}[{}]", short(&name));
        if seen.contains(&name) {
            return refuse(path, "it is there twice");
        }
        match ours.iter_mut().find(|ours| named(ours).as_ref() == Some(&name)) {
            Some(found) => {
                if let (true, Value::Object(fields), Some(over)) = (whole, &mut *found, item.as_object()) {
                    fields.retain(|field, _| over.contains_key(field));
                }
                merge(found, item, &path)?;
            }
            None => {
                // lists within it may have names, too
                let mut new = Value::Object(Map::new());
                merge(&mut new, item, &path)?;
                ours.push(new);
            }
        }
        seen.push(name);
    }
    Ok(())
}

/// Where something is, with names instead of places in lists: those of the overlay are others.
fn place(pod: &Value, path: &serde_path_to_error::Path) -> String {
    let mut text = SPEC.to_owned();
    let mut at = Some(pod);
    for segment in path.iter() {
        match segment {
            Segment::Seq { index } => {
                at = at.and_then(|list| list.get(index));
                text.push_str(&format!("[{}]", called(at, *index)));
            }
            Segment::Map { key } | Segment::Enum { variant: key } => {
                at = at.and_then(|fields| fields.get(key));
                text.push_str(&format!(".{}", short(key)));
            }
            Segment::Unknown => {}
        }
    }
    text
}

/// The name of a thing in a list, or its place.
fn called(item: Option<&Value>, index: usize) -> String {
    let name = |key| item.and_then(|item| item.get(key)).and_then(Value::as_str);
    let name = name("name").or_else(|| name("mountPath")).map(short);
    name.unwrap_or_else(|| index.to_string())
}

/// What is in `merged` and not in what was read of it: the path of its parent, and its name.
fn lost(merged: &Value, known: &Value, path: String) -> Option<(String, String)> {
    match (merged, known) {
        (Value::Object(merged), Value::Object(known)) => merged
            .iter()
            .filter(|(_, value)| !value.is_null())
            .find_map(|(name, value)| match known.get(name) {
                Some(known) => lost(value, known, format!("{path}.{}", short(name))),
                None => Some((path.clone(), name.clone())),
            }),
        (Value::Array(merged), Value::Array(known)) => {
            merged.iter().zip(known).enumerate().find_map(|(n, (item, known))| {
                lost(item, known, format!("{path}[{}]", called(Some(item), n)))
            })
        }
        _ => None,
    }
}

/// One line for a person, without Rust's words for types.
fn sentence(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.replace("a boolean", "true or false").replace("a borrowed string", "a text");
    let words = text.replace("invalid type: ", "this is ").replace("invalid value: ", "this is ");
    words.replace("expected", "and should be").chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}

/// Sets again what must not be laid over.
fn keep(mut pod: PodSpec, ours: PodSpec) -> Result<PodSpec> {
    pod.restart_policy = ours.restart_policy;
    pod.service_account_name = ours.service_account_name;
    // the old name of the same
    pod.service_account = None;
    for volume in ours.volumes.into_iter().flatten().filter(ours_alone) {
        let volumes = pod.volumes.get_or_insert_default();
        match volumes.iter_mut().find(|other| other.name == volume.name) {
            Some(other) => *other = volume,
            None => volumes.push(volume),
        }
    }
    let (mounted, volumes) = (mounted(&ours.containers), pod.volumes.get_or_insert_default());
    for name in mounted {
        if !volumes.iter().any(|volume| volume.name == name) {
            volumes.push(super::volume::empty(&name));
        }
    }
    for container in ours.containers {
        match pod.containers.iter_mut().find(|other| other.name == container.name) {
            Some(other) => keep_container(other, container)?,
            None => pod.containers.insert(0, container),
        }
    }
    Ok(pod)
}

/// Whether it holds what no other volume does. Folders that begin empty may be of another kind.
fn ours_alone(volume: &Volume) -> bool {
    volume.empty_dir.is_none()
}

fn mounted(containers: &[Container]) -> Vec<String> {
    containers.iter().flat_map(|c| c.volume_mounts.iter().flatten()).map(|mount| mount.name.clone()).collect()
}

fn keep_container(container: &mut Container, ours: Container) -> Result<()> {
    let env = ours.env.unwrap_or_default();
    for (variable, field) in [(STORE_VARIABLE, "spec.store"), (OBJECTS_VARIABLE, "spec.objects")] {
        let said = container.env.iter().flatten().any(|other| other.name == variable);
        if said && !env.iter().any(|other| other.name == variable) {
            let path = format!("{SPEC}.containers[{CONTAINER}].env[{variable}]");
            return refuse(path, format!("{field} says it"));
        }
    }
    container.command = ours.command;
    container.args = ours.args;
    container.startup_probe = ours.startup_probe;
    container.liveness_probe = ours.liveness_probe;
    container.readiness_probe = ours.readiness_probe;
    replace(&mut container.env, env, |one, other| one.name == other.name);
    let ports = ours.ports.unwrap_or_default();
    let number = |port: &ContainerPort| {
        (port.container_port, port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()))
    };
    replace(&mut container.ports, ports, |one, other| one.name == other.name || number(one) == number(other));
    let mounts = ours.volume_mounts.unwrap_or_default();
    replace(&mut container.volume_mounts, mounts, |one, other| one.mount_path == other.mount_path);
    Ok(())
}

/// Ours first, as they were; then what else there is.
fn replace<T>(list: &mut Option<Vec<T>>, ours: Vec<T>, same: impl Fn(&T, &T) -> bool) {
    let others = list.take().unwrap_or_default();
    let others: Vec<T> =
        others.into_iter().filter(|other| !ours.iter().any(|one| same(one, other))).collect();
    *list = Some(ours.into_iter().chain(others).collect());
}

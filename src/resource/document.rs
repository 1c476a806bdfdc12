//! A resource in a file: read with its mistakes told in a sentence, as `majordomo up -f` takes it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use model::short;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_path_to_error::Segment;

use crate::rules::rules;
use crate::spec::{HAController, MAX_NAME, Spec};
use crate::{API_VERSION, Error, KIND, limits};

/// Largest file.
const MAX_BYTES: usize = 1024 * 1024;
const MAX_DEPTH: usize = 40;
const MAX_NODES: usize = 50_000;
const MAX_ALIASES: usize = 100;

const TOO_LARGE: &str = "the file is too large once its aliases and nesting are counted";

/// What a document says it is, before its fields are looked at.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    #[serde(default)]
    api_version: Option<String>,
    #[serde(default)]
    kind: Option<String>,
}

/// The document; what is none of its fields is refused.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    #[serde(rename = "apiVersion")]
    _api_version: IgnoredAny,
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    /// Written by the operator; nothing reads it here.
    #[serde(default, rename = "status")]
    _status: IgnoredAny,
}

/// What of an object's metadata counts; the rest (`uid`, `resourceVersion`, …) is Kubernetes' own.
#[derive(Deserialize)]
struct Metadata {
    name: String,
    namespace: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
}

impl HAController {
    /// Reads one YAML (or JSON) document.
    pub fn parse(text: &str) -> Result<HAController, Error> {
        if text.len() > MAX_BYTES {
            return Err(Error("the file is larger than 1 MiB".to_owned()));
        }
        let header: Option<Header> =
            serde_saphyr::from_str_with_options(text, options()).map_err(sentence)?;
        check_header(header)?;
        let mut path = String::new();
        let parsed = serde_saphyr::with_deserializer_from_str_with_options(text, options(), |yaml| {
            serde_path_to_error::deserialize::<_, Document>(yaml).map_err(|error| {
                path = path_text(error.path());
                error.into_inner()
            })
        });
        let Document { metadata, spec, .. } = parsed.map_err(|error| match sentence(error) {
            why if path.is_empty() => why,
            Error(why) => Error(format!("{path}: {why}")),
        })?;
        check(&metadata.name, &spec)?;
        let Metadata { name, namespace, labels, annotations } = metadata;
        let metadata =
            ObjectMeta { name: Some(name), namespace, labels, annotations, ..ObjectMeta::default() };
        Ok(HAController { metadata, spec, status: None })
    }
}

/// What types can't say.
fn check(name: &str, spec: &Spec) -> Result<(), Error> {
    if model::ReplicaName::parse(name).is_err() || name.len() > MAX_NAME {
        let name = short(name);
        return Err(Error(format!(
            "metadata.name: “{name}” is not 1 to {MAX_NAME} of a-z, 0-9 and ‘-’, not at either end"
        )));
    }
    for rule in rules() {
        if rule.holds.is_some_and(|holds| !holds(spec)) {
            return Err(Error(format!("{}: {}", rule.at, rule.sentence)));
        }
    }
    limits::check(spec)
}

fn check_header(header: Option<Header>) -> Result<(), Error> {
    let Some(Header { api_version, kind }) = header else {
        return Err(Error(format!("the file is empty; it should hold one {KIND}")));
    };
    match kind.as_deref() {
        Some(KIND) => {}
        Some(other) => {
            let other = short(other);
            return Err(Error(format!("kind: “{other}” is not {KIND}")));
        }
        None => return Err(Error(format!("kind: it is missing; this takes a {KIND}"))),
    }
    match api_version.as_deref() {
        Some(API_VERSION) => Ok(()),
        Some(other) => Err(Error(format!("apiVersion: “{}” is not {API_VERSION}", short(other)))),
        None => Err(Error(format!("apiVersion: it is missing; this takes {API_VERSION}"))),
    }
}

/// Limits against files that are made to be large only when read.
fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: 4 * MAX_NODES,
            max_aliases: MAX_ALIASES,
            max_anchors: MAX_ALIASES,
            max_documents: 2,
            max_merge_keys: 100,
            max_total_scalar_bytes: 4 * MAX_BYTES,
            max_recorded_anchor_events: MAX_NODES,
            max_recorded_anchor_bytes: MAX_BYTES,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_NODES },
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::Error,
        with_snippet: false,
    }
}

/// One line for a person.
fn sentence(error: serde_saphyr::Error) -> Error {
    use serde_saphyr::Error;
    let place = error.location().map(|l| (l.line(), l.column())).filter(|(line, _)| *line > 0);
    let what = match &error {
        Error::MultipleDocuments { .. } => {
            format!("the file holds more than one document; it should hold one {KIND}")
        }
        Error::Eof { .. } => format!("the file is empty; it should hold one {KIND}"),
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("the key “{}” is there twice", short(key))
        }
        Error::SerdeUnknownField { field, expected, .. } if expected.is_empty() => {
            format!("there is no field “{}”", short(field))
        }
        Error::SerdeUnknownField { field, expected, .. } => {
            format!("there is no field “{}”; there are {}", short(field), expected.join(", "))
        }
        Error::SerdeMissingField { field, .. } => format!("the field “{field}” is missing"),
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. } => TOO_LARGE.to_owned(),
        other => match other.to_string() {
            text if text.contains("budget breached") => TOO_LARGE.to_owned(),
            text => one_line(&text),
        },
    };
    match place {
        Some((line, column)) if !what.contains("line ") => {
            Error(format!("{what} (line {line}, column {column})"))
        }
        _ => Error(what),
    }
}

fn one_line(text: &str) -> String {
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("it can't be read");
    first.trim().chars().take(300).collect()
}

/// `spec.plugins[2].name`; a field that does not exist names its parent.
fn path_text(path: &serde_path_to_error::Path) -> String {
    let mut text = String::new();
    for segment in path.iter() {
        match segment {
            Segment::Seq { index } => text.push_str(&format!("[{index}]")),
            Segment::Map { key } | Segment::Enum { variant: key } => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(&short(key));
            }
            Segment::Unknown => {}
        }
    }
    text
}

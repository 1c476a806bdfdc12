//! The `HAController` resource: one description of a controller for Kubernetes and for `majordomo up -f`.

mod local;
mod spec;

use serde::Deserialize;
use serde_path_to_error::Segment;

pub use local::{LocalPlan, LocalRollout, LocalStore, Warning, local_plan};
pub use spec::*;

use crate::ConfigError;
use crate::xml::short;

pub const API_VERSION: &str = "majordomo.dev/v1alpha1";
pub const KIND: &str = "HAController";
/// Largest file.
const MAX_BYTES: usize = 1024 * 1024;
const MAX_DEPTH: usize = 40;
const MAX_NODES: usize = 50_000;
const MAX_ALIASES: usize = 100;
/// Longest name: what is made of it (`NAME-postgres-0`…) must fit a label of 63.
const MAX_NAME: usize = 52;

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

impl HAController {
    /// Reads one YAML (or JSON) document.
    pub fn parse(text: &str) -> Result<HAController, ConfigError> {
        if text.len() > MAX_BYTES {
            return Err(ConfigError::new("the file is larger than 1 MiB"));
        }
        let header: Option<Header> =
            serde_saphyr::from_str_with_options(text, options()).map_err(sentence)?;
        check_header(header)?;
        let mut path = String::new();
        let parsed = serde_saphyr::with_deserializer_from_str_with_options(text, options(), |yaml| {
            serde_path_to_error::deserialize::<_, HAController>(yaml).map_err(|error| {
                path = path_text(error.path());
                error.into_inner()
            })
        });
        let controller = parsed.map_err(|error| match sentence(error) {
            why if path.is_empty() => why,
            ConfigError(why) => ConfigError(format!("{path}: {why}")),
        })?;
        controller.check()?;
        Ok(controller)
    }

    /// What types can't say.
    fn check(&self) -> Result<(), ConfigError> {
        check_name(&self.metadata.name)?;
        if let Some(store) = &self.spec.store {
            check_store(store)?;
        }
        if let Some(objects) = &self.spec.objects {
            let Objects { store, s3, gcs, azure, volume } = objects;
            let set = [store.is_some(), s3.is_some(), gcs.is_some(), azure.is_some(), volume.is_some()];
            one_of("spec.objects", "store, s3, gcs, azure, volume", &set)?;
        }
        Ok(())
    }
}

fn check_name(name: &str) -> Result<(), ConfigError> {
    if model::ReplicaName::parse(name).is_err() || name.len() > MAX_NAME {
        let name = short(name);
        return Err(ConfigError(format!(
            "metadata.name: “{name}” is not 1 to {MAX_NAME} of a-z, 0-9 and ‘-’, not at either end"
        )));
    }
    Ok(())
}

fn check_store(store: &Store) -> Result<(), ConfigError> {
    let Store { postgres, builtin, sqlite, cloud_native_pg } = store;
    let set = [postgres.is_some(), builtin.is_some(), sqlite.is_some(), cloud_native_pg.is_some()];
    one_of("spec.store", "postgres, builtin, sqlite, cloudNativePg", &set)?;
    match postgres {
        Some(Postgres { secret_ref, url }) => {
            one_of("spec.store.postgres", "secretRef, url", &[secret_ref.is_some(), url.is_some()])
        }
        None => Ok(()),
    }
}

fn one_of(path: &str, names: &str, set: &[bool]) -> Result<(), ConfigError> {
    match set.iter().filter(|s| **s).count() {
        1 => Ok(()),
        0 => Err(ConfigError(format!("{path}: one of {names} is needed"))),
        _ => Err(ConfigError(format!("{path}: only one of {names} may be given"))),
    }
}

fn check_header(header: Option<Header>) -> Result<(), ConfigError> {
    let Some(Header { api_version, kind }) = header else {
        return Err(ConfigError(format!("the file is empty; it should hold one {KIND}")));
    };
    match kind.as_deref() {
        Some(KIND) => {}
        Some(other) => {
            let other = short(other);
            return Err(ConfigError(format!("kind: “{other}” is not {KIND}")));
        }
        None => return Err(ConfigError(format!("kind: it is missing; this takes a {KIND}"))),
    }
    match api_version.as_deref() {
        Some(API_VERSION) => Ok(()),
        Some(other) => Err(ConfigError(format!("apiVersion: “{}” is not {API_VERSION}", short(other)))),
        None => Err(ConfigError(format!("apiVersion: it is missing; this takes {API_VERSION}"))),
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
fn sentence(error: serde_saphyr::Error) -> ConfigError {
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
            ConfigError(format!("{what} (line {line}, column {column})"))
        }
        _ => ConfigError(what),
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

#[cfg(test)]
mod tests;

//! Where objects are when they are not with the store: one address, in which no secret may stand. Pure.

use std::fmt;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;

/// Most bytes of such an address.
const LONGEST: usize = 2_000;
/// Parameters by which other programs are given secrets: whoever writes one of them here is told where it belongs.
const SECRETS: [&str; 6] = ["key", "secret", "token", "password", "sig", "sas"];

/// An address of objects, as `s3://BUCKET/PREFIX?region=…`. What it shows of itself has no secret in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectsUrl {
    pub(super) kind: Kind,
    /// Before each key, without slashes at its ends; may be empty.
    pub(super) prefix: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Bucket(BucketKind),
    Folder(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BucketKind {
    S3 { bucket: String, region: Option<String>, endpoint: Option<String>, path_style: bool },
    Gcs { bucket: String },
    Azure { account: String, container: String, endpoint: Option<String> },
}

/// Why a text is no such address. The text is not repeated: a secret may be in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectsUrlError {
    #[error(
        "the address of the objects begins with none of s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, azure://ACCOUNT/CONTAINER/PREFIX \
         and folder:/PATH"
    )]
    Scheme,
    #[error(
        "a secret stands in the address of the objects: give it as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, \
         GOOGLE_APPLICATION_CREDENTIALS or AZURE_STORAGE_ACCOUNT_KEY in the environment"
    )]
    Secret,
    #[error("the address of the objects names no {0}")]
    Missing(&'static str),
    #[error("the {0} in the address of the objects can't be one: {1}")]
    Bad(&'static str, &'static str),
    #[error(
        "the address of the objects has a parameter that is unknown there; s3:// has region, endpoint and path-style, azure:// endpoint"
    )]
    Parameter,
    #[error("the address of the objects has {0} bytes, {LONGEST} are possible")]
    Long(usize),
}

type Result<T> = std::result::Result<T, ObjectsUrlError>;

impl ObjectsUrl {
    pub fn parse(text: &str) -> Result<ObjectsUrl> {
        if text.len() > LONGEST {
            return Err(ObjectsUrlError::Long(text.len()));
        }
        if let Some(path) = text.strip_prefix("folder:") {
            return folder(path.strip_prefix("//").unwrap_or(path));
        }
        let (scheme, rest) = text.split_once("://").ok_or(ObjectsUrlError::Scheme)?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        if path.contains('@') {
            return Err(ObjectsUrlError::Secret);
        }
        let given = Parameters::parse(query)?;
        let (first, path) = path.split_once('/').unwrap_or((path, ""));
        let (kind, path) = match scheme {
            "s3" => {
                let Parameters { region, endpoint, path_style } = given;
                let path_style = path_style.unwrap_or(false);
                (BucketKind::S3 { bucket: name("bucket", first)?, region, endpoint, path_style }, path)
            }
            "gs" if given.is_empty() => (BucketKind::Gcs { bucket: name("bucket", first)? }, path),
            "azure" if given.region.is_none() && given.path_style.is_none() => {
                let (second, path) = path.split_once('/').unwrap_or((path, ""));
                let (account, container) = (name("account", first)?, name("container", second)?);
                (BucketKind::Azure { account, container, endpoint: given.endpoint }, path)
            }
            "gs" | "azure" => return Err(ObjectsUrlError::Parameter),
            _ => return Err(ObjectsUrlError::Scheme),
        };
        Ok(ObjectsUrl { kind: Kind::Bucket(kind), prefix: prefix(path)? })
    }
}

/// Without the region, which does not say where it is to anybody who reads it.
impl fmt::Display for ObjectsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        let prefix = &self.prefix;
        let bucket = match &self.kind {
            Kind::Folder(path) => return write!(f, "folder:{}", path.display()),
            Kind::Bucket(bucket) => bucket,
        };
        let endpoint = match bucket {
            BucketKind::S3 { bucket, region: _, endpoint, path_style: _ } => {
                write!(f, "s3://{bucket}{slash}{prefix}")?;
                endpoint
            }
            BucketKind::Gcs { bucket } => return write!(f, "gs://{bucket}{slash}{prefix}"),
            BucketKind::Azure { account, container, endpoint } => {
                write!(f, "azure://{account}/{container}{slash}{prefix}")?;
                endpoint
            }
        };
        match endpoint {
            Some(endpoint) => write!(f, " at {endpoint}"),
            None => Ok(()),
        }
    }
}

#[derive(Default)]
struct Parameters {
    region: Option<String>,
    endpoint: Option<String>,
    path_style: Option<bool>,
}

impl Parameters {
    fn is_empty(&self) -> bool {
        self.region.is_none() && self.endpoint.is_none() && self.path_style.is_none()
    }

    fn parse(query: &str) -> Result<Parameters> {
        let mut given = Parameters::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded("parameter", value)?;
            match key {
                "region" => given.region = Some(name("region", &value)?),
                "endpoint" => given.endpoint = Some(endpoint(&value)?),
                "path-style" => given.path_style = Some(yes(&value)?),
                other => {
                    let other = other.to_ascii_lowercase();
                    let secret = SECRETS.iter().any(|word| other.contains(word));
                    return Err(if secret { ObjectsUrlError::Secret } else { ObjectsUrlError::Parameter });
                }
            }
        }
        Ok(given)
    }
}

fn yes(text: &str) -> Result<bool> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(ObjectsUrlError::Bad("path-style", "true or false are possible")),
    }
}

fn folder(path: &str) -> Result<ObjectsUrl> {
    match path {
        "" => Err(ObjectsUrlError::Missing("folder")),
        path if path.starts_with('/') => {
            Ok(ObjectsUrl { kind: Kind::Folder(PathBuf::from(path)), prefix: String::new() })
        }
        _ => Err(ObjectsUrlError::Bad("folder", "its path must begin with /")),
    }
}

fn decoded(what: &'static str, text: &str) -> Result<String> {
    let text = percent_decode_str(text).decode_utf8();
    let text = text.map_err(|_| ObjectsUrlError::Bad(what, "it is not UTF-8"))?;
    if text.chars().any(char::is_control) {
        return Err(ObjectsUrlError::Bad(what, "it has control characters"));
    }
    Ok(text.into_owned())
}

/// Of a bucket, a region, an account: what may stand in the name of a host.
fn name(what: &'static str, text: &str) -> Result<String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    match text {
        "" => Err(ObjectsUrlError::Missing(what)),
        text if text.chars().all(good) && text.len() <= 255 => Ok(text.to_owned()),
        _ => Err(ObjectsUrlError::Bad(what, "letters, digits, dots, hyphens and _ are possible")),
    }
}

fn prefix(path: &str) -> Result<String> {
    let prefix = decoded("prefix", path)?;
    let prefix = prefix.trim_matches('/');
    if prefix.split('/').any(|part| matches!(part, "." | "..")) || prefix.contains("//") {
        return Err(ObjectsUrlError::Bad("prefix", "its parts can't be empty, . or .."));
    }
    Ok(prefix.to_owned())
}

/// `http://` or `https://`, a host, perhaps a port and a path.
fn endpoint(text: &str) -> Result<String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let rest = rest.ok_or(ObjectsUrlError::Bad("endpoint", "it must begin with https:// or http://"))?;
    if rest.contains('@') {
        return Err(ObjectsUrlError::Secret);
    }
    if rest.starts_with('/') || rest.is_empty() || rest.contains(['?', '#', ' ']) {
        return Err(ObjectsUrlError::Bad("endpoint", "it must be a host, perhaps with a port"));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_as_it_is_known() {
        for (text, shown) in [
            ("s3://b/ci/acme?region=eu-central-1", "s3://b/ci/acme"),
            ("s3://b", "s3://b"),
            (
                "s3://b/a%20b/?endpoint=http%3A%2F%2F10.0.0.1%3A9000&path-style=true&region=x",
                "s3://b/a b at http://10.0.0.1:9000",
            ),
            ("gs://b/p", "gs://b/p"),
            ("azure://account/box/p/q", "azure://account/box/p/q"),
            ("azure://account/box", "azure://account/box"),
            ("folder:/mnt/objects", "folder:/mnt/objects"),
            ("folder:///mnt/objects", "folder:/mnt/objects"),
        ] {
            assert_eq!(ObjectsUrl::parse(text).unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn a_secret_is_refused_and_not_repeated() {
        for text in [
            "s3://hunter2:hunter2@b/p",
            "s3://b/p?secret_access_key=hunter2",
            "s3://b/p?X-Amz-Security-Token=hunter2",
            "azure://a/c/p?sig=hunter2",
            "s3://b/p?endpoint=https%3A%2F%2Fme%3Ahunter2%40host",
        ] {
            let error = ObjectsUrl::parse(text).unwrap_err();
            assert_eq!(error, ObjectsUrlError::Secret, "{text}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn rubbish_has_a_sentence() {
        for (text, part) in [
            ("", "begins with none of"),
            ("bucket/prefix", "begins with none of"),
            ("http://b/p", "begins with none of"),
            ("s3://", "names no bucket"),
            ("s3:///p", "names no bucket"),
            ("s3://b ü/p", "bucket in the address"),
            ("s3://b/p?path-style=perhaps", "path-style"),
            ("s3://b/p?endpoint=10.0.0.1", "must begin with https://"),
            ("s3://b/p?endpoint=http%3A%2F%2F", "must be a host"),
            ("s3://b/p?colour=red", "unknown there"),
            ("s3://b/a/../b", "prefix"),
            ("s3://b/a//b", "prefix"),
            ("s3://b/%ff", "not UTF-8"),
            ("gs://b/p?region=x", "unknown there"),
            ("azure://account", "names no container"),
            ("azure://account/c?region=x", "unknown there"),
            ("folder:", "names no folder"),
            ("folder:relative", "must begin with /"),
        ] {
            let error = ObjectsUrl::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        let long = format!("s3://b/{}", "x".repeat(LONGEST));
        assert!(matches!(ObjectsUrl::parse(&long), Err(ObjectsUrlError::Long(_))));
    }
}

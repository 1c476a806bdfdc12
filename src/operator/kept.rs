//! An object as it is kept: what is asked of each of thousands is in clear, the rest is packed until somebody looks at it.

use std::borrow::Cow;
use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use kube::ResourceExt;
use kube::api::DynamicObject;
use kube::runtime::reflector::Lookup;
use serde::de::DeserializeOwned;

use crate::kinds::Kind;
use crate::names::CONTROLLER_LABEL;
use crate::plan::Place;

#[derive(Clone)]
pub(crate) struct Kept {
    namespace: Option<String>,
    name: String,
    uid: Option<String>,
    version: Option<String>,
    /// The controller that it belongs to, by its label.
    controller: Option<String>,
    /// [`Place::key`] of where it leads users from.
    place: Option<String>,
    /// Kubernetes was told to remove it.
    ends: bool,
    /// All of it, as JSON, deflated.
    packed: Box<[u8]>,
}

impl Kept {
    pub(crate) fn new(kind: Kind, object: &DynamicObject) -> Kept {
        let meta = &object.metadata;
        Kept {
            namespace: meta.namespace.clone(),
            name: object.name_any(),
            uid: meta.uid.clone(),
            version: meta.resource_version.clone(),
            controller: object.labels().get(CONTROLLER_LABEL).cloned(),
            place: place(kind, object).map(|place| place.key()),
            ends: meta.deletion_timestamp.is_some(),
            // trees of texts and numbers are always written, and memory takes all
            packed: pack(object).unwrap_or_default().into_boxed_slice(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Namespace and name of the controller that it belongs to.
    pub(crate) fn controller(&self) -> Option<(&str, &str)> {
        Some((self.namespace.as_deref()?, self.controller.as_deref()?))
    }

    pub(crate) fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    pub(crate) fn uid(&self) -> Option<&str> {
        self.uid.as_deref()
    }

    pub(crate) fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }

    pub(crate) fn ends(&self) -> bool {
        self.ends
    }

    /// All of it; `None`: it is not of that form.
    pub(crate) fn open<T: DeserializeOwned>(&self) -> Option<T> {
        let mut json = Vec::new();
        DeflateDecoder::new(&*self.packed).read_to_end(&mut json).ok()?;
        serde_json::from_slice(&json).ok()
    }
}

fn pack(object: &DynamicObject) -> io::Result<Vec<u8>> {
    let mut packed = DeflateEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(&serde_json::to_vec(object)?)?;
    packed.finish()
}

/// Where an object leads from.
fn place(kind: Kind, object: &DynamicObject) -> Option<Place<'_>> {
    let spec = object.data.get("spec")?;
    let (host, path) = match kind {
        Kind::Ingress => {
            let rule = spec.get("rules")?.get(0)?;
            let path = || rule.get("http")?.get("paths")?.get(0)?.get("path")?.as_str();
            (rule.get("host")?, path())
        }
        Kind::HttpRoute => (spec.get("hostnames")?.get(0)?, None),
        Kind::Route => (spec.get("host")?, None),
        _ => return None,
    };
    Some(Place::new(host.as_str()?, path.unwrap_or_default()))
}

impl Lookup for Kept {
    type DynamicType = Kind;

    fn kind(kind: &Kind) -> Cow<'_, str> {
        kind.resource().kind.into()
    }

    fn group(kind: &Kind) -> Cow<'_, str> {
        kind.resource().group.into()
    }

    fn version(kind: &Kind) -> Cow<'_, str> {
        kind.resource().version.into()
    }

    fn plural(kind: &Kind) -> Cow<'_, str> {
        kind.resource().plural.into()
    }

    fn name(&self) -> Option<Cow<'_, str>> {
        Some(self.name.as_str().into())
    }

    fn namespace(&self) -> Option<Cow<'_, str>> {
        self.namespace.as_deref().map(Cow::from)
    }

    fn resource_version(&self) -> Option<Cow<'_, str>> {
        self.version.as_deref().map(Cow::from)
    }

    fn uid(&self) -> Option<Cow<'_, str>> {
        self.uid.as_deref().map(Cow::from)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;
    use serde_json::json;

    use super::*;

    fn object(kind: Kind, spec: serde_json::Value) -> DynamicObject {
        let resource = kind.resource();
        let metadata = json!({
            "name": "acme", "namespace": "ci", "uid": "1", "resourceVersion": "7",
            "labels": { CONTROLLER_LABEL: "acme" }, "deletionTimestamp": "2026-11-01T00:00:00Z",
        });
        let value = json!({
            "apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec,
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn nothing_of_an_object_is_lost() {
        let service = object(Kind::Service, json!({ "clusterIP": "None" }));
        let kept = Kept::new(Kind::Service, &service);
        assert_eq!(kept.open::<DynamicObject>().unwrap(), service);
        assert_eq!(kept.open::<Service>().unwrap().spec.unwrap().cluster_ip.as_deref(), Some("None"));
        assert_eq!((kept.name(), kept.uid(), kept.version()), ("acme", Some("1"), Some("7")));
        assert_eq!((kept.controller(), kept.place(), kept.ends()), (Some(("ci", "acme")), None, true));
    }

    #[test]
    fn what_leads_users_says_from_where() {
        let rules =
            json!({ "rules": [{ "host": "CI.example.com", "http": { "paths": [{ "path": "/a" }] } }] });
        for (kind, spec, place) in [
            (Kind::Ingress, rules, Some("ci.example.com/a/")),
            (Kind::Ingress, json!({ "rules": [{}] }), None),
            (Kind::HttpRoute, json!({ "hostnames": ["ci.example.com"] }), Some("ci.example.com/")),
            (Kind::Route, json!({ "host": "ci.example.com" }), Some("ci.example.com/")),
            (Kind::Service, json!({ "host": "ci.example.com" }), None),
        ] {
            assert_eq!(Kept::new(kind, &object(kind, spec)).place(), place, "{kind:?}");
        }
    }
}

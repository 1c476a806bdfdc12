//! The resource, as this program reads it. A newer cluster may know fields that it doesn't: those are kept as they are.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject};
use resource::{HAController, Spec, Status};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::error::Error;

/// Names that are told when the one that was asked for is not there.
const TOLD: usize = 20;

#[derive(Debug, Clone)]
pub(crate) struct Controller {
    pub(crate) metadata: ObjectMeta,
    /// As the API server has it.
    pub(crate) raw: Value,
    /// Or why this version can't read it.
    pub(crate) spec: Result<Spec, String>,
    pub(crate) status: Status,
}

impl Controller {
    pub(crate) fn read(object: DynamicObject) -> Result<Controller, Error> {
        let DynamicObject { metadata, data, .. } = object;
        let part = |name: &str| data.get(name).cloned().unwrap_or_else(|| Value::Object(Default::default()));
        let status = serde_json::from_value(part("status")).map_err(|error| {
            Error::Refused(format!(
                "this version of kubectl-majordomo can't read the status, take that of the operator: {error}"
            ))
        })?;
        let spec = serde_json::from_value(part("spec")).map_err(|error| error.to_string());
        Ok(Controller { metadata, raw: part("spec"), spec, status })
    }

    pub(crate) fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    pub(crate) fn annotation(&self, name: &str) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(name).map(String::as_str)
    }

    /// Replicas that are wanted.
    pub(crate) fn wanted(&self) -> u32 {
        let said = self.raw.get("replicas").and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
        said.unwrap_or(resource::DEFAULT_REPLICAS)
    }

    pub(crate) fn paused(&self) -> bool {
        self.raw.pointer("/rollout/paused").and_then(Value::as_bool).unwrap_or_default()
    }

    /// Whether the operator has seen the spec as it is.
    pub(crate) fn observed(&self) -> bool {
        self.status.observed_generation >= self.metadata.generation
    }
}

pub(crate) fn resource() -> ApiResource {
    ApiResource::erase::<HAController>(&())
}

impl Cluster {
    pub(crate) async fn controller(&self, name: &str) -> Result<Controller, Error> {
        match self.raw_controller(name).await? {
            Some(object) => Controller::read(object),
            None => Err(self.none_such(name).await),
        }
    }

    pub(crate) async fn raw_controller(&self, name: &str) -> Result<Option<DynamicObject>, Error> {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &self.namespace, &resource());
        let found = api.get_opt(name).await.map_err(self.error::<HAController>("get"));
        // a cluster that knows no such objects has none
        found.or_else(|error| if error.absent() { Ok(None) } else { Err(error) })
    }

    /// Says which controllers there are instead, or that the cluster knows no such objects.
    async fn none_such(&self, name: &str) -> Error {
        let here = self.names(Some(&self.namespace)).await;
        let there = match here {
            Err(error) if error.absent() => return Error::NotInstalled,
            Err(_) => "which there are can't be seen".to_owned(),
            Ok(names) if !names.is_empty() => format!("there are: {}", listed(&names)),
            // those elsewhere may be seen only by some
            Ok(_) => match self.names(None).await {
                Ok(names) if !names.is_empty() => {
                    format!("there is none; elsewhere there are: {}", listed(&names))
                }
                Ok(_) | Err(_) => "there is none in it; say -n NAMESPACE".to_owned(),
            },
        };
        Error::NoController { name: name.to_owned(), namespace: self.namespace.clone(), there }
    }

    async fn names(&self, namespace: Option<&str>) -> Result<Vec<String>, Error> {
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource()),
            None => Api::all_with(self.client.clone(), &resource()),
        };
        let page = api.list_metadata(&ListParams::default().limit(TOLD as u32 + 1)).await;
        let page = page.map_err(self.error::<HAController>("list"))?;
        let name = |meta: &ObjectMeta| match (&meta.namespace, &meta.name, namespace) {
            (Some(of), Some(name), None) => Some(format!("{of}/{name}")),
            (_, name, _) => name.clone(),
        };
        Ok(page.items.iter().filter_map(|item| name(&item.metadata)).collect())
    }
}

fn listed(names: &[String]) -> String {
    match names.get(..TOLD) {
        Some(first) if names.len() > TOLD => format!("{} and more", first.join(", ")),
        _ => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Result<Controller, Error> {
        Controller::read(serde_json::from_value(value).unwrap())
    }

    #[test]
    fn fields_that_a_newer_cluster_knows_do_not_hide_the_rest() {
        let metadata = json!({ "name": "acme", "generation": 4 });
        let spec = json!({ "replicas": 5, "later": {}, "rollout": { "paused": true } });
        let status = json!({ "observedGeneration": 3, "readyReplicas": 2, "later": 1 });
        let controller = read(json!({ "metadata": metadata, "spec": spec, "status": status })).unwrap();
        assert_eq!((controller.wanted(), controller.paused()), (5, true));
        assert_eq!((controller.status.ready_replicas, controller.observed()), (2, false));
        assert!(controller.spec.unwrap_err().contains("later"));
    }

    #[test]
    fn what_nobody_has_said_yet_is_empty() {
        let controller = read(json!({ "metadata": { "name": "acme" } })).unwrap();
        assert_eq!((controller.wanted(), controller.status), (3, Status::default()));
    }

    #[test]
    fn a_status_with_words_that_nobody_knows_is_told() {
        let error = read(json!({ "metadata": {}, "status": { "phase": "Dancing" } })).unwrap_err();
        assert!(error.to_string().contains("can't read the status"), "{error}");
    }

    #[test]
    fn a_long_list_of_names_is_cut() {
        let names: Vec<String> = (0..21).map(|n| format!("c{n}")).collect();
        assert!(listed(&names).ends_with("c19 and more"));
        assert_eq!(listed(&names[..2]), "c0, c1");
    }
}

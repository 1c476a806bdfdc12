//! The API server, and who calls it: found as kubectl finds it.

use std::fmt::Debug;
use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use kube::api::{ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::DynamicObject;
use kube::{Api, Client, Config, Resource};
use resource::HAController;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::controller;
use crate::error::{Call, Error, chain};

/// Objects of one page of a list.
const PAGE: u32 = 500;
/// Most objects that are read of one kind.
const MOST: usize = 10_000;
/// Between two looks at what is waited for.
const LOOK: Duration = Duration::from_secs(1);
/// Until a connection is there, and until an answer is.
const PATIENCE: Duration = Duration::from_secs(15);
/// Who has changed a field, as managedFields show it.
const FIELD_MANAGER: &str = "kubectl-majordomo";

/// Which cluster and namespace, as kubectl's flags say it.
#[derive(Debug, Clone, Default)]
pub struct Place {
    pub namespace: Option<String>,
    pub context: Option<String>,
    pub kubeconfig: Option<PathBuf>,
}

pub struct Cluster {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) server: String,
    /// Time between two looks at what is waited for.
    pub(crate) every: Duration,
}

impl Cluster {
    pub async fn connect(place: &Place) -> Result<Cluster, Error> {
        let mut config = config(place).await?;
        // a refused eviction is an answer, not something to try again in silence
        config.default_retry = false;
        config.connect_timeout = Some(PATIENCE);
        config.read_timeout = Some(PATIENCE);
        config.reset_reader_on_write = true;
        let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let namespace = place.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|error| Error::NoCluster(chain(&error)))?;
        Ok(Cluster { client, namespace, server, every: LOOK })
    }

    /// Objects of this namespace.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(crate) fn call<K: Resource<DynamicType = ()>>(&self, verb: &'static str, sub: &str) -> Call {
        let mut what = K::plural(&()).into_owned();
        if !K::group(&()).is_empty() {
            what = format!("{what}.{}", K::group(&()));
        }
        if !sub.is_empty() {
            what = format!("{what}/{sub}");
        }
        Call { verb, what, namespace: self.namespace.clone() }
    }

    pub(crate) fn error_on<K: Resource<DynamicType = ()>>(
        &self,
        verb: &'static str,
        sub: &str,
        error: kube::Error,
    ) -> Error {
        Error::of(error, self.call::<K>(verb, sub), &self.server)
    }

    pub(crate) fn error<K: Resource<DynamicType = ()>>(
        &self,
        verb: &'static str,
    ) -> impl FnOnce(kube::Error) -> Error {
        move |error| self.error_on::<K>(verb, "", error)
    }

    /// All of one kind in this namespace that have these labels or fields.
    pub(crate) async fn list<K>(&self, which: ListParams) -> Result<Vec<K>, Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        pages(&self.api::<K>(), which).await.map_err(self.error::<K>("list"))
    }

    pub(crate) async fn get_opt<K>(&self, name: &str) -> Result<Option<K>, Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        self.api::<K>().get_opt(name).await.map_err(self.error::<K>("get"))
    }

    /// Changes the resource by a merge patch; the fields in it alone.
    pub(crate) async fn patch_controller(&self, name: &str, patch: &Value) -> Result<(), Error> {
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.namespace, &controller::resource());
        let done = api.patch_metadata(name, &params, &Patch::Merge(patch)).await;
        done.map(drop).map_err(self.error::<HAController>("patch"))
    }
}

/// Page by page, so that nothing large is asked of the API server at once.
pub(crate) async fn pages<K>(api: &Api<K>, mut which: ListParams) -> Result<Vec<K>, kube::Error>
where
    K: Clone + Debug + DeserializeOwned,
{
    which.limit = Some(PAGE);
    let mut all = Vec::new();
    loop {
        let page = api.list(&which).await?;
        all.extend(page.items);
        match page.metadata.continue_.filter(|more| !more.is_empty()) {
            Some(more) if all.len() < MOST => which.continue_token = Some(more),
            _ => return Ok(all),
        }
    }
}

async fn config(place: &Place) -> Result<Config, Error> {
    let none = |error: &dyn std::error::Error| Error::NoCluster(chain(error));
    let options = KubeConfigOptions { context: place.context.clone(), ..KubeConfigOptions::default() };
    match &place.kubeconfig {
        Some(file) => {
            let read = Kubeconfig::read_from(file).map_err(|error| none(&error))?;
            Config::from_custom_kubeconfig(read, &options).await.map_err(|error| none(&error))
        }
        None if place.context.is_some() => {
            Config::from_kubeconfig(&options).await.map_err(|error| none(&error))
        }
        None => Config::infer().await.map_err(|error| none(&error)),
    }
}

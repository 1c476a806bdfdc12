//! The real cluster: what [`World`] says, done by the API server.

use std::time::Duration;

use kube::api::{
    DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy,
};
use kube::{Api, ResourceExt};
use parking_lot::Mutex;
use resource::{HAController, Status};
use serde_json::json;

use crate::ask::Replicas;
use crate::error::Error;
use crate::kinds::Kind;
use crate::metrics::{Metrics, Wrote};
use crate::names::{FIELD_MANAGER, FINALIZER, Owner};
use crate::world::{Doomed, Removal, World};

/// Does it.
pub(crate) struct Kubernetes<'a> {
    pub client: &'a kube::Client,
    pub replicas: &'a Replicas,
    pub metrics: &'a Metrics,
    /// Where each pod can be asked.
    pub addresses: Vec<(String, String)>,
    /// What was removed otherwise than in its own time.
    pub removed: Mutex<Vec<Doomed>>,
}

impl Kubernetes<'_> {
    fn api(&self, owner: &Owner, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &owner.namespace, &kind.resource())
    }

    fn controllers(&self, owner: &Owner) -> Api<HAController> {
        Api::namespaced(self.client.clone(), &owner.namespace)
    }
}

fn what(verb: &str, owner: &Owner, kind: Kind, name: &str) -> String {
    format!("{verb} the {} {name} of {}", kind.resource().kind, owner.namespace)
}

impl World for Kubernetes<'_> {
    type Error = Error;

    async fn apply(&self, owner: &Owner, kind: Kind, object: &DynamicObject) -> Result<DynamicObject, Error> {
        let name = object.metadata.name.as_deref().unwrap_or_default();
        self.metrics.writes.inc(Wrote::Object);
        // what is ours is ours, whoever has written it meanwhile
        let how = PatchParams::apply(FIELD_MANAGER).force();
        let applied = self.api(owner, kind).patch(name, &how, &Patch::Apply(object)).await;
        applied.map_err(Error::api(what("apply", owner, kind, name)))
    }

    async fn create(&self, owner: &Owner, kind: Kind, object: &DynamicObject) -> Result<(), Error> {
        let name = object.metadata.name.as_deref().unwrap_or_default();
        self.metrics.writes.inc(Wrote::Object);
        let how = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        match self.api(owner, kind).create(&how, object).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(Error::api(what("create", owner, kind, name))(error)),
        }
    }

    async fn foreign(&self, owner: &Owner, kind: Kind, name: &str) -> Result<bool, Error> {
        let there = self
            .api(owner, kind)
            .get_opt(name)
            .await
            .map_err(Error::api(what("look for", owner, kind, name)))?;
        Ok(there.is_some_and(|there| !owner.has(&there)))
    }

    async fn remove(&self, owner: &Owner, doomed: &Doomed) -> Result<(), Error> {
        let Doomed { kind, name, uid, how } = doomed;
        self.metrics.writes.inc(Wrote::Removal);
        let preconditions = uid.clone().map(|uid| Preconditions { uid: Some(uid), resource_version: None });
        let usual = DeleteParams { preconditions, ..DeleteParams::default() };
        let params = match how {
            Removal::Plain => {
                DeleteParams { propagation_policy: Some(PropagationPolicy::Background), ..usual }
            }
            Removal::Orphan => DeleteParams { propagation_policy: Some(PropagationPolicy::Orphan), ..usual },
            Removal::Force => DeleteParams { grace_period_seconds: Some(0), ..usual },
        };
        match self.api(owner, *kind).delete(name, &params).await {
            Ok(_) => {
                if *how != Removal::Plain {
                    self.removed.lock().push(doomed.clone());
                }
                Ok(())
            }
            // it is gone, or another one has its name
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(error) => Err(Error::api(what("remove", owner, *kind, name))(error)),
        }
    }

    async fn drain(&self, owner: &Owner, pod: &str, within: Duration) -> Result<(), Error> {
        let address = self.addresses.iter().find(|(name, _)| name == pod).map(|(_, address)| address);
        let Some(address) = address else { return Ok(()) };
        self.replicas.drain(owner, address, within).await
    }

    async fn tell(&self, owner: &Owner, status: &Status) -> Result<(), Error> {
        self.metrics.writes.inc(Wrote::Status);
        let patch = json!({
            "apiVersion": resource::API_VERSION,
            "kind": resource::KIND,
            "metadata": { "name": owner.name, "uid": owner.uid },
            "status": status,
        });
        let how = PatchParams::apply(FIELD_MANAGER).force();
        let told = self.controllers(owner).patch_status(&owner.name, &how, &Patch::Apply(patch)).await;
        told.map(|_| ()).map_err(Error::api(format!("tell how {} is", owner.identity())))
    }

    async fn hold(&self, owner: &Owner, held: bool) -> Result<(), Error> {
        let what = || format!("hold {} until its replicas are gone", owner.identity());
        let api = self.controllers(owner);
        // all else of it may be such that nobody can read it
        let Some(there) = api.get_metadata_opt(&owner.name).await.map_err(Error::api(what()))? else {
            return Ok(());
        };
        if there.metadata.uid.as_ref() != Some(&owner.uid) {
            return Ok(());
        }
        // whoever has put it there, an earlier operator or a restored copy: it is ours to take away
        let mut finalizers: Vec<_> =
            there.finalizers().iter().filter(|of| *of != FINALIZER).cloned().collect();
        if held {
            finalizers.push(FINALIZER.to_owned());
        }
        if finalizers == there.finalizers() {
            return Ok(());
        }
        self.metrics.writes.inc(Wrote::Object);
        let version = there.metadata.resource_version;
        let patch = json!({ "metadata": { "finalizers": finalizers, "resourceVersion": version } });
        match api.patch_metadata(&owner.name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(Error::api(what())(error)),
        }
    }

    fn refusal(error: &Error) -> Option<String> {
        error.refusal().map(str::to_owned)
    }
}

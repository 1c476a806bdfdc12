//! What a run on one machine makes of a `HAController`.

use std::time::Duration;

use crate::{HAController, Objects, Postgres, Rollout, Security, Spec, Store};

/// What `majordomo up` starts.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalPlan {
    /// The controller's name, which becomes the home's identity.
    pub name: String,
    /// 0 to 9; 0 means that the controller is to be stopped.
    pub replicas: u32,
    pub store: LocalStore,
    pub rollout: LocalRollout,
    /// The first user is made by a person, in the setup wizard.
    pub setup_wizard: bool,
}

/// How replicas are replaced. What is not set is as usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LocalRollout {
    /// Longest time in which one hands over what it does.
    pub drain_timeout: Option<Duration>,
    /// Longest time in which one becomes ready.
    pub ready_timeout: Option<Duration>,
    /// How long a new version runs before the one before can't be gone back to.
    pub bake: Option<Duration>,
}

#[derive(Clone, PartialEq, Eq)]
pub enum LocalStore {
    /// In the home.
    Sqlite,
    /// A URL, which may hold a password.
    Postgres(String),
}

impl std::fmt::Debug for LocalStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LocalStore::Sqlite => f.write_str("Sqlite"),
            LocalStore::Postgres(_) => f.write_str("Postgres(***)"),
        }
    }
}

/// A field that is set and that a local run can't honour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// `spec.ingress`
    pub field: &'static str,
    pub why: &'static str,
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.why)
    }
}

const KUBERNETES: &str = "it counts on Kubernetes only";
const LATER: &str = "this version does not do that yet";
const IN_HOME: &str = "state is kept in SQLite in the home; --store postgres://… chooses a database";

/// The plan, and one warning for each set field that it leaves out.
pub fn local_plan(controller: &HAController) -> (LocalPlan, Vec<Warning>) {
    // nothing else of the metadata means anything outside a cluster, and nobody reads a status there
    let HAController { metadata, spec, status: _ } = controller;
    let (name, annotations) = (&metadata.name, &metadata.annotations);
    let mut warnings = Vec::new();
    let mut warn = |set: bool, field: &'static str, why: &'static str| {
        if set {
            warnings.push(Warning { field, why });
        }
    };
    let restarted = annotations.as_ref().is_some_and(|a| a.contains_key("majordomo.dev/restartedAt"));
    warn(restarted, "metadata.annotations[majordomo.dev/restartedAt]", LATER);
    let Spec {
        replicas,
        image,
        image_pull_policy,
        image_pull_secrets,
        store,
        objects,
        configuration_as_code,
        plugins,
        ingress,
        gateway,
        route,
        service,
        rollout,
        resources,
        pod_template,
        security,
        monitoring,
        network_policy,
        trusted_proxies,
    } = spec;
    warn(image.is_some(), "spec.image", "replicas run the program that runs `up`");
    warn(image_pull_policy.is_some(), "spec.imagePullPolicy", KUBERNETES);
    warn(image_pull_secrets.is_some(), "spec.imagePullSecrets", KUBERNETES);
    let store = plan_store(store.as_ref(), &mut warn);
    warn_objects(objects.as_ref(), &mut warn);
    warn(configuration_as_code.is_some(), "spec.configurationAsCode", LATER);
    warn(plugins.as_ref().is_some_and(|p| !p.is_empty()), "spec.plugins", "there is no plugin runtime yet");
    warn(ingress.is_some(), "spec.ingress", "it counts on Kubernetes only; --listen chooses the address");
    warn(gateway.is_some(), "spec.gateway", KUBERNETES);
    warn(route.is_some(), "spec.route", KUBERNETES);
    warn(service.is_some(), "spec.service", KUBERNETES);
    let rollout = plan_rollout(rollout.as_ref(), &mut warn);
    warn(resources.is_some(), "spec.resources", KUBERNETES);
    warn(pod_template.is_some(), "spec.podTemplate", KUBERNETES);
    let setup_wizard = plan_security(security.as_ref(), &mut warn);
    warn(monitoring.is_some(), "spec.monitoring", "it counts on Kubernetes only; every replica has /metrics");
    warn(network_policy.is_some(), "spec.networkPolicy", KUBERNETES);
    warn(trusted_proxies.is_some(), "spec.trustedProxies", KUBERNETES);
    let name = name.clone().unwrap_or_default();
    (LocalPlan { name, replicas: *replicas, store, rollout, setup_wizard }, warnings)
}

/// Whether there is to be the setup wizard.
fn plan_security(
    security: Option<&Security>,
    warn: &mut impl FnMut(bool, &'static str, &'static str),
) -> bool {
    const NO_SECRETS: &str = "there are no Kubernetes Secrets here; keys and passwords are made in the home";
    let Some(Security { admin_secret_ref, keys_secret_ref, setup_wizard }) = security else { return false };
    warn(admin_secret_ref.is_some(), "spec.security.adminSecretRef", NO_SECRETS);
    warn(keys_secret_ref.is_some(), "spec.security.keysSecretRef", NO_SECRETS);
    *setup_wizard == Some(true)
}

fn plan_store(store: Option<&Store>, warn: &mut impl FnMut(bool, &'static str, &'static str)) -> LocalStore {
    let Some(Store { postgres, builtin, sqlite, cloud_native_pg }) = store else { return LocalStore::Sqlite };
    warn(builtin.is_some(), "spec.store.builtin", IN_HOME);
    warn(cloud_native_pg.is_some(), "spec.store.cloudNativePG", IN_HOME);
    let storage = sqlite.as_ref().is_some_and(|s| s.storage.is_some());
    warn(storage, "spec.store.sqlite.storage", "the database is a file in the home");
    match postgres {
        None => LocalStore::Sqlite,
        Some(Postgres { url: Some(url), secret_ref: _ }) => LocalStore::Postgres(url.clone()),
        Some(Postgres { url: None, secret_ref }) => {
            let why = "there are no Kubernetes Secrets here; state is kept in SQLite in the home unless --store says more";
            warn(secret_ref.is_some(), "spec.store.postgres.secretRef", why);
            LocalStore::Sqlite
        }
    }
}

fn plan_rollout(
    rollout: Option<&Rollout>,
    warn: &mut impl FnMut(bool, &'static str, &'static str),
) -> LocalRollout {
    let Some(Rollout { when, window: _, drain_timeout, ready_timeout, bake, paused }) = rollout else {
        return LocalRollout::default();
    };
    warn(when.is_some(), "spec.rollout.when", "`majordomo restart --when` chooses");
    warn(*paused == Some(true), "spec.rollout.paused", LATER);
    LocalRollout {
        drain_timeout: drain_timeout.map(|span| span.0),
        ready_timeout: ready_timeout.map(|span| span.0),
        bake: bake.map(|span| span.0),
    }
}

fn warn_objects(objects: Option<&Objects>, warn: &mut impl FnMut(bool, &'static str, &'static str)) {
    const FOLDER: &str = "artifacts are kept in a folder of the home so far";
    let Some(Objects { store, s3, gcs, azure, volume }) = objects else { return };
    warn(store.is_some(), "spec.objects.store", FOLDER);
    warn(s3.is_some(), "spec.objects.s3", FOLDER);
    warn(gcs.is_some(), "spec.objects.gcs", FOLDER);
    warn(azure.is_some(), "spec.objects.azure", FOLDER);
    warn(volume.is_some(), "spec.objects.volume", FOLDER);
}

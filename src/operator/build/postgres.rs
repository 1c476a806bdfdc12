//! The single PostgreSQL for a first try. It starts with a script of ours, so that it works with any image of PostgreSQL.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{
    ConfigMap, Container, ContainerPort, EnvVar, ExecAction, PodSpec, PodTemplateSpec, Probe,
    ProjectedVolumeSource, Service, ServiceSpec, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use resource::{Builtin, Spec};

use super::share::share;
use super::volume::{claimed, config, empty, files, memory, mount, projected, read_only, says};
use super::{Postgres, account, pull_secrets, security, service};
use crate::names::{Component, Owner, PASSWORD, POSTGRES_CONTAINER, POSTGRES_PORT};
use crate::plan::{self, Images};

/// Who owns the database, and its name.
pub(super) const ROLE: &str = "majordomo";
pub(super) const DATABASE: &str = "majordomo";

const SCRIPTS: &str = "/scripts";
/// Time to close the database, in seconds; clients are not waited for.
const GRACE: i64 = 60;

pub(super) const START: &str = include_str!("postgres/start");
pub(super) const READY: &str = include_str!("postgres/ready");
pub(super) const ACCESS: &str = include_str!("postgres/pg_hba.conf");
/// `initdb` wants the user to have a name, which few images have for ours.
const USERS: &str = include_str!("postgres/passwd");

pub(super) fn postgres(owner: &Owner, spec: &Spec, images: &Images) -> Option<Postgres> {
    let builtin = plan::builtin(spec)?;
    Some(Postgres {
        account: account(owner, owner.postgres(), Component::Postgres),
        script: script(owner),
        service: address(owner),
        set: set(owner, spec, &builtin, images),
    })
}

fn script(owner: &Owner) -> ConfigMap {
    let files = [("start", START), ("ready", READY), ("pg_hba.conf", ACCESS), ("passwd", USERS)];
    let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
    ConfigMap {
        metadata: owner.meta(owner.postgres(), Component::Postgres),
        data: Some(BTreeMap::from(files)),
        ..ConfigMap::default()
    }
}

fn address(owner: &Owner) -> Service {
    let spec = ServiceSpec {
        type_: Some("ClusterIP".to_owned()),
        selector: Some(owner.selector(Component::Postgres)),
        ports: Some(vec![service::port(POSTGRES_CONTAINER, POSTGRES_PORT)]),
        ..ServiceSpec::default()
    };
    Service {
        metadata: owner.meta(owner.postgres(), Component::Postgres),
        spec: Some(spec),
        ..Service::default()
    }
}

fn set(owner: &Owner, spec: &Spec, builtin: &Builtin, images: &Images) -> StatefulSet {
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(owner.labels(Component::Postgres)),
            ..ObjectMeta::default()
        }),
        spec: Some(pod(owner, spec, builtin, images)),
    };
    let spec = StatefulSetSpec {
        replicas: Some(1),
        // in order, a pod that can't start would never be replaced by one that can
        pod_management_policy: Some("Parallel".to_owned()),
        service_name: Some(owner.postgres()),
        selector: LabelSelector {
            match_labels: Some(owner.selector(Component::Postgres)),
            ..LabelSelector::default()
        },
        template,
        ..StatefulSetSpec::default()
    };
    StatefulSet {
        metadata: owner.meta(owner.postgres_set(), Component::Postgres),
        spec: Some(spec),
        ..StatefulSet::default()
    }
}

fn pod(owner: &Owner, spec: &Spec, builtin: &Builtin, images: &Images) -> PodSpec {
    let Builtin { image, storage, resources } = builtin;
    let claim = storage.as_ref().and_then(|storage| storage.claim_name.clone());
    let mut container = Container {
        name: POSTGRES_CONTAINER.to_owned(),
        image: Some(image.clone().unwrap_or_else(|| images.postgres.clone())),
        resources: resources.clone(),
        ..container()
    };
    if resources.is_none() {
        share(&mut container);
    }
    PodSpec {
        image_pull_secrets: pull_secrets(spec.image_pull_secrets.as_deref().unwrap_or_default()),
        service_account_name: Some(owner.postgres()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        restart_policy: Some("Always".to_owned()),
        termination_grace_period_seconds: Some(GRACE),
        security_context: Some(security::pod()),
        volumes: Some(volumes(owner, claim.unwrap_or_else(|| owner.postgres()))),
        containers: vec![container],
        ..PodSpec::default()
    }
}

fn container() -> Container {
    let shell = |script: &str| vec!["sh".to_owned(), format!("{SCRIPTS}/{script}")];
    let probe = |period, failures| Probe {
        exec: Some(ExecAction { command: Some(shell("ready")) }),
        period_seconds: Some(period),
        timeout_seconds: Some(5),
        failure_threshold: Some(failures),
        ..Probe::default()
    };
    Container {
        command: Some(shell("start")),
        env: Some(environment()),
        ports: Some(vec![ContainerPort {
            name: Some(POSTGRES_CONTAINER.to_owned()),
            container_port: POSTGRES_PORT,
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        // after a crash it first goes through what it had not written out; for an hour nobody disturbs it
        startup_probe: Some(probe(2, 1800)),
        readiness_probe: Some(probe(5, 2)),
        security_context: Some(security::container()),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(mounts()),
        ..Container::default()
    }
}

fn environment() -> Vec<EnvVar> {
    // what is written there by a tool that somebody runs in the pod has a place
    vec![says("HOME", "/tmp")]
}

fn volumes(owner: &Owner, claim: String) -> Vec<Volume> {
    let password = Volume {
        name: "secrets".to_owned(),
        projected: Some(ProjectedVolumeSource {
            default_mode: Some(0o440),
            sources: Some(vec![projected(files(&owner.postgres(), &[(PASSWORD, PASSWORD)]))]),
        }),
        ..Volume::default()
    };
    vec![
        claimed("data", claim),
        config("scripts", owner.postgres()),
        password,
        empty("run"),
        empty("tmp"),
        // what its processes share; a container has 64 MiB of it otherwise
        memory("shm", "256Mi"),
    ]
}

fn mounts() -> Vec<VolumeMount> {
    let users = VolumeMount { sub_path: Some("passwd".to_owned()), ..read_only("scripts", "/etc/passwd") };
    vec![
        mount("data", "/data"),
        read_only("scripts", SCRIPTS),
        read_only("secrets", "/secrets"),
        mount("run", "/run/postgresql"),
        mount("tmp", "/tmp"),
        mount("shm", "/dev/shm"),
        users,
    ]
}

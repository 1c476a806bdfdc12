//! The pods of a revision.

use k8s_openapi::api::core::v1::{
    Affinity, Container, ContainerPort, EnvVar, HTTPGetAction, PodAffinityTerm, PodAntiAffinity, PodSpec,
    PodTemplateSpec, Probe, ProjectedVolumeSource, SecretProjection, TopologySpreadConstraint, Volume,
    WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use resource::{Named, Security};
use rollout::Revision;

use super::share::share;
use super::state::{self, Place};
use super::volume::{empty, files, literal, mount, of_config, of_pod, projected, read_only, says};
use super::{TemplateError, overlay, pull_secrets, security};
use crate::names::{
    AGENT_KEY, CONTAINER, Component, ENCRYPTION_KEYS, EXPECTED, HEALTH_PORT, HTTP_PORT, Owner, PASSWORD,
    PEER_KEYS, PEER_PORT, REVISION_LABEL, TOKEN, USERNAME,
};
use crate::plan::Images;
use crate::record::Inputs;

/// Folder of what is a replica's own, or of the database that is a file.
pub(super) const HOME: &str = "/var/lib/majordomo";
/// Folder of keys and passwords.
pub(super) const SECRETS: &str = "/etc/majordomo/secrets";
pub(super) const SECRETS_VOLUME: &str = "secrets";
const METRICS_FILE: &str = "metrics-token";
/// Names of ports, which Services and monitors say.
pub(super) const HTTP: &str = "http";
pub(super) const PEERS: &str = "peers";
pub(super) const HEALTH: &str = "health";
/// Read by owner and group: the group is ours, whoever owns the files.
const SECRET_MODE: i32 = 0o440;
/// Time for a replica that is told to end to hand over what it does, in seconds.
const GRACE: i64 = 120;
/// The same for one that does not answer: others have its work long since.
const DEAF: i64 = 5;

/// The pods of a revision, which carry its name in a label.
pub(crate) fn template(
    inputs: &Inputs,
    images: &Images,
    owner: &Owner,
    revision: &Revision,
) -> Result<PodTemplateSpec, TemplateError> {
    let mut labels = owner.labels(Component::Replica);
    labels.insert(REVISION_LABEL.to_owned(), revision.0.clone());
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(labels), ..ObjectMeta::default() }),
        spec: Some(pod(inputs, images, owner, revision)),
    };
    let mut template = match &inputs.pod_template {
        Some(over) => overlay::lay(template, over)?,
        None => template,
    };
    if inputs.resources.is_none() {
        let containers = template.spec.iter_mut().flat_map(|spec| &mut spec.containers);
        containers.filter(|container| container.name == CONTAINER).for_each(share);
    }
    Ok(template)
}

fn pod(inputs: &Inputs, images: &Images, owner: &Owner, revision: &Revision) -> PodSpec {
    let Inputs {
        image,
        image_pull_policy,
        image_pull_secrets,
        // a change of them changes the revision; what pods do with them, they read elsewhere
        plugins: _,
        keys: _,
        restarted_at: _,
        asked: _,
        of_operator: _,
        store,
        objects,
        resources,
        // laid over the result
        pod_template: _,
        security,
        url,
        trusted_proxies,
    } = inputs;
    let places = [state::store(store, owner), state::objects(objects, owner)];
    let mut container = container(owner, revision, url.as_deref());
    if let Some(security) = security.as_ref().filter(|security| security.setup_wizard == Some(true)) {
        container.args.get_or_insert_default().push("--setup-wizard".to_owned());
        let place = says("MAJORDOMO_SETUP_PASSWORD_PLACE", &password_place(owner, security));
        container.env.get_or_insert_default().push(place);
    }
    container.image = Some(image.clone().unwrap_or_else(|| images.replica.clone()));
    container.image_pull_policy = image_pull_policy.map(|policy| policy.as_str().to_owned());
    container.resources = resources.clone();
    let proxies = Some(trusted_proxies.join(",")).filter(|proxies| !proxies.is_empty());
    let proxies = proxies.map(|proxies| says("MAJORDOMO_TRUSTED_PROXIES", &proxies));
    container.env.get_or_insert_default().extend(proxies);
    let mut secrets = secrets(owner, security.as_ref());
    let (mut volumes, mut mounts) = (Vec::new(), Vec::new());
    for Place { env, secrets: more, volumes: also, mounts: at } in places {
        container.env.get_or_insert_default().extend(env);
        secrets.extend(more);
        volumes.extend(also);
        mounts.extend(at);
    }
    volumes.extend([empty("tmp"), secret_files(secrets)]);
    mounts.extend([mount("tmp", "/tmp"), read_only(SECRETS_VOLUME, SECRETS)]);
    container.volume_mounts = Some(mounts);
    PodSpec {
        image_pull_secrets: pull_secrets(image_pull_secrets),
        volumes: Some(volumes),
        containers: vec![container],
        ..placed(owner)
    }
}

/// What is so of each pod: it knows nothing of the cluster, and keeps away from the others.
fn placed(owner: &Owner) -> PodSpec {
    let selector = || {
        Some(LabelSelector {
            match_labels: Some(owner.selector(Component::Replica)),
            ..LabelSelector::default()
        })
    };
    let apart = WeightedPodAffinityTerm {
        weight: 100,
        pod_affinity_term: PodAffinityTerm {
            label_selector: selector(),
            topology_key: "kubernetes.io/hostname".to_owned(),
            ..PodAffinityTerm::default()
        },
    };
    let spread = TopologySpreadConstraint {
        label_selector: selector(),
        max_skew: 1,
        topology_key: "topology.kubernetes.io/zone".to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        ..TopologySpreadConstraint::default()
    };
    PodSpec {
        service_account_name: Some(owner.name.clone()),
        automount_service_account_token: Some(false),
        // else each Service of the namespace is in the environment, and hundreds of them make a start slow
        enable_service_links: Some(false),
        restart_policy: Some("Always".to_owned()),
        termination_grace_period_seconds: Some(GRACE),
        security_context: Some(security::pod()),
        affinity: Some(Affinity {
            pod_anti_affinity: Some(PodAntiAffinity {
                preferred_during_scheduling_ignored_during_execution: Some(vec![apart]),
                ..PodAntiAffinity::default()
            }),
            ..Affinity::default()
        }),
        topology_spread_constraints: Some(vec![spread]),
        ..PodSpec::default()
    }
}

fn container(owner: &Owner, revision: &Revision, url: Option<&str>) -> Container {
    let port = |name: &str, container_port| ContainerPort {
        name: Some(name.to_owned()),
        container_port,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    };
    Container {
        name: CONTAINER.to_owned(),
        command: Some(vec!["majordomo".to_owned()]),
        args: Some(arguments(owner, revision, url)),
        env: Some(environment(owner)),
        ports: Some(vec![port(HTTP, HTTP_PORT), port(PEERS, PEER_PORT), port(HEALTH, HEALTH_PORT)]),
        // It says that the process works, so it answers soon. Whatever a replica then waits for, a lock, a database, a person
        // in the wizard, it may wait for: that is for the readiness probe.
        startup_probe: Some(Probe {
            period_seconds: Some(1),
            failure_threshold: Some(300),
            ..probe("/healthz", 5)
        }),
        // It touches no store: none of the replicas is better off for being killed while the database is away.
        liveness_probe: Some(Probe {
            period_seconds: Some(10),
            failure_threshold: Some(6),
            // who has not answered for a minute does not hear either that it is to end
            termination_grace_period_seconds: Some(DEAF),
            ..probe("/healthz", 5)
        }),
        // Who goes says so 5 s before: in that time all must have heard, and an ingress may look every two seconds only.
        readiness_probe: Some(Probe {
            period_seconds: Some(1),
            failure_threshold: Some(1),
            ..probe("/readyz", 3)
        }),
        security_context: Some(security::container()),
        // the last sentence of a replica that could not start is shown with its pod
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..Container::default()
    }
}

fn probe(path: &str, timeout: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(HEALTH.to_owned()),
            ..HTTPGetAction::default()
        }),
        timeout_seconds: Some(timeout),
        ..Probe::default()
    }
}

fn arguments(owner: &Owner, revision: &Revision, url: Option<&str>) -> Vec<String> {
    let identity = owner.identity();
    let mut arguments: Vec<String> = [
        "replica",
        "--home",
        HOME,
        "--secrets",
        SECRETS,
        "--name",
        "$(POD_NAME)",
        "--controller",
        &identity,
        "--listen",
        &format!(":{HTTP_PORT}"),
        "--peer-listen",
        &format!(":{PEER_PORT}"),
        "--peer-address",
        &format!("$(POD_IP):{PEER_PORT}"),
        "--health-listen",
        &format!(":{HEALTH_PORT}"),
        "--revision",
        &revision.0,
    ]
    .map(str::to_owned)
    .into();
    if let Some(url) = url {
        arguments.extend(["--url".to_owned(), literal(url)]);
    }
    arguments
}

/// First what the arguments say again.
fn environment(owner: &Owner) -> Vec<EnvVar> {
    vec![
        of_pod("POD_NAME", "metadata.name"),
        of_pod("POD_IP", "status.podIP"),
        of_pod("MAJORDOMO_ORDINAL", "metadata.labels['apps.kubernetes.io/pod-index']"),
        says("MAJORDOMO_METRICS_TOKEN_FILE", &format!("{SECRETS}/{METRICS_FILE}")),
        // before the first start has ended there is none
        of_config("MAJORDOMO_EXPECT_HOME", &owner.home(), EXPECTED),
    ]
}

/// How a person gets at the password that the wizard asks for: nobody can look into a pod that has no shell.
fn password_place(owner: &Owner, security: &Security) -> String {
    let secret = security.admin_secret_ref.as_ref().map_or_else(|| owner.admin(), |named| named.name.clone());
    let namespace = &owner.namespace;
    format!(
        "kubectl get secret {secret} --namespace {namespace} --output go-template='{{{{.data.{PASSWORD}|base64decode}}}}'"
    )
}

/// What is in the folder of secrets, whatever the store.
fn secrets(owner: &Owner, security: Option<&Security>) -> Vec<SecretProjection> {
    let Security { admin_secret_ref, keys_secret_ref, setup_wizard: _ } =
        security.cloned().unwrap_or_default();
    let name = |given: Option<Named>, ours: String| given.map_or(ours, |Named { name }| name);
    let keys = [AGENT_KEY, ENCRYPTION_KEYS, PEER_KEYS].map(|key| (key, key));
    let admin = [(USERNAME, "admin/username"), (PASSWORD, "admin/password")];
    vec![
        files(&name(keys_secret_ref, owner.keys()), &keys),
        // read at the first start only: who removes it afterwards, as is wise, must not keep pods from starting
        SecretProjection { optional: Some(true), ..files(&name(admin_secret_ref, owner.admin()), &admin) },
        files(&owner.metrics(), &[(TOKEN, METRICS_FILE)]),
    ]
}

fn secret_files(secrets: Vec<SecretProjection>) -> Volume {
    let source = ProjectedVolumeSource {
        default_mode: Some(SECRET_MODE),
        sources: Some(secrets.into_iter().map(projected).collect()),
    };
    Volume { name: SECRETS_VOLUME.to_owned(), projected: Some(source), ..Volume::default() }
}

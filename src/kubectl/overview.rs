//! What `status` shows of a controller: read once, put together purely, shown as text, JSON or YAML.

use futures_util::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Pod, Secret};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};
use kube::api::ListParams;
use operator::names::{Component, Owner};
use resource::{Counters, Failover, Member, MemberState, Phase, RolloutStatus, Spec, Startup, Store};
use serde::Serialize;

use crate::cluster::Cluster;
use crate::controller::Controller;
use crate::error::Error;

/// Events that are shown.
const EVENTS: usize = 10;

/// A controller at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    /// When it was looked at.
    pub at: Timestamp,
    pub namespace: String,
    pub name: String,
    pub phase: Option<Phase>,
    /// The operator has not taken up the last change of the spec yet.
    pub behind: bool,
    pub deleting: bool,
    pub replicas: u32,
    pub ready_replicas: i32,
    pub url: Option<String>,
    pub revision: Option<String>,
    pub created: Option<Time>,
    /// Which kind of store.
    pub store: &'static str,
    pub conditions: Vec<Condition>,
    pub startup: Option<Startup>,
    pub members: Vec<Row>,
    pub paused: bool,
    pub rollout: Option<RolloutStatus>,
    pub failovers: Vec<Failover>,
    pub counters: Option<Counters>,
    pub budget: Option<Budget>,
    pub secrets: Vec<Key>,
    /// The newest one last.
    pub events: Vec<Happened>,
    /// What could not be read, and why.
    pub unseen: Vec<String>,
}

/// A replica: what the operator says of it, and what its pod says.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    #[serde(flatten)]
    pub member: Member,
    pub node: Option<String>,
    /// Restarts of the container.
    pub restarts: Option<i32>,
    pub terminating: bool,
}

/// The disruption budget of the replicas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    pub name: String,
    /// Pods that may be evicted now.
    pub allowed: i32,
    pub healthy: i32,
    pub wanted: i32,
}

/// A Secret: never what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Key {
    pub name: String,
    pub purpose: &'static str,
    /// `None`: one may not look.
    pub there: Option<bool>,
}

/// An Event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Happened {
    pub at: Option<Timestamp>,
    pub warning: bool,
    pub reason: String,
    pub about: String,
    pub times: i32,
    pub message: String,
}

/// Everything that is read for it.
pub(crate) struct Seen {
    pub(crate) controller: Controller,
    pub(crate) pods: Vec<Pod>,
    pub(crate) budget: Option<PodDisruptionBudget>,
    pub(crate) secrets: Vec<Key>,
    pub(crate) events: Vec<Event>,
    pub(crate) unseen: Vec<String>,
}

impl Overview {
    pub fn json(&self) -> Result<String, Error> {
        serde_json::to_string_pretty(self).map_err(|error| Error::Refused(format!("write as JSON: {error}")))
    }

    pub fn yaml(&self) -> Result<String, Error> {
        serde_saphyr::to_string(self).map_err(|error| Error::Refused(format!("write as YAML: {error}")))
    }
}

pub async fn overview(cluster: &Cluster, name: &str) -> Result<Overview, Error> {
    let controller = cluster.controller(name).await?;
    let mut unseen = Vec::new();
    let pods = or_unseen(replicas(cluster, name).await, &mut unseen);
    let budget = or_unseen(cluster.get_opt::<PodDisruptionBudget>(name).await, &mut unseen);
    let about = [name.to_owned()].into_iter().chain(pods.iter().filter_map(|pod| pod.metadata.name.clone()));
    let lists = about.map(|object| {
        cluster.list::<Event>(ListParams::default().fields(&format!("involvedObject.name={object}")))
    });
    let mut events = Vec::new();
    for list in join_all(lists).await {
        events.extend(or_unseen(list, &mut unseen));
    }
    if let Err(why) = &controller.spec {
        unseen.push(format!("this version of kubectl-majordomo can't read the whole spec: {why}"));
    }
    let mut secrets = keys(name, controller.spec.as_ref().ok());
    for key in &mut secrets {
        match cluster
            .api::<Secret>()
            .get_metadata_opt(&key.name)
            .await
            .map_err(cluster.error::<Secret>("get"))
        {
            Ok(found) => key.there = Some(found.is_some()),
            Err(error) => unseen.push(error.to_string()),
        }
    }
    unseen.sort();
    unseen.dedup();
    let seen = Seen { controller, pods, budget, secrets, events, unseen };
    Ok(put_together(seen, &cluster.namespace, Timestamp::now()))
}

/// The pods of the replicas.
pub(crate) async fn replicas(cluster: &Cluster, name: &str) -> Result<Vec<Pod>, Error> {
    cluster.list(ListParams::default().labels(&selector(name, Some(Component::Replica)))).await
}

/// By which labels the objects of a controller are found.
pub(crate) fn selector(name: &str, component: Option<Component>) -> String {
    let all = || [(operator::names::CONTROLLER_LABEL.to_owned(), name.to_owned())].into();
    let labels = component.map_or_else(all, |component| owner("", name).selector(component));
    labels.iter().map(|(label, value)| format!("{label}={value}")).collect::<Vec<_>>().join(",")
}

/// For the names of its objects.
pub(crate) fn owner(namespace: &str, name: &str) -> Owner {
    Owner { namespace: namespace.to_owned(), name: name.to_owned(), uid: String::new() }
}

fn or_unseen<T: Default>(read: Result<T, Error>, unseen: &mut Vec<String>) -> T {
    read.unwrap_or_else(|error| {
        unseen.push(error.to_string());
        T::default()
    })
}

pub(crate) fn put_together(seen: Seen, namespace: &str, at: Timestamp) -> Overview {
    let Seen { controller, pods, budget, secrets, events, unseen } = seen;
    let status = controller.status.clone();
    Overview {
        at,
        namespace: namespace.to_owned(),
        name: controller.name().to_owned(),
        phase: status.phase,
        behind: !controller.observed(),
        deleting: controller.metadata.deletion_timestamp.is_some(),
        replicas: controller.wanted(),
        ready_replicas: status.ready_replicas,
        url: status.url,
        revision: status.revision,
        created: controller.metadata.creation_timestamp.clone(),
        store: store(controller.spec.as_ref().ok()),
        conditions: status.conditions,
        startup: status.startup,
        members: rows(controller.name(), status.members, &pods),
        paused: controller.paused(),
        rollout: status.rollout,
        failovers: status.failovers,
        counters: status.counters,
        budget: budget.map(room),
        secrets,
        events: happened(events),
        unseen,
    }
}

fn store(spec: Option<&Spec>) -> &'static str {
    let Some(spec) = spec else { return "unknown" };
    let Store { postgres, builtin: _, sqlite, cloud_native_pg } = spec.store.clone().unwrap_or_default();
    match (postgres.is_some(), sqlite.is_some(), cloud_native_pg.is_some()) {
        (true, ..) => "postgres",
        (_, true, _) => "sqlite",
        (.., true) => "cloudNativePG",
        (false, false, false) => "builtin",
    }
}

/// One row for each replica that the operator tells of, and for each pod that it does not tell of yet.
fn rows(name: &str, members: Vec<Member>, pods: &[Pod]) -> Vec<Row> {
    let pod = |called: &str| pods.iter().find(|pod| pod.metadata.name.as_deref() == Some(called));
    let unknown = pods.iter().filter_map(|pod| {
        let called = pod.metadata.name.clone()?;
        let ordinal = operator::names::ordinal(name, &called)?;
        let told = members.iter().any(|member| member.pod == called);
        let labels = pod.metadata.labels.clone().unwrap_or_default();
        (!told).then(|| Member {
            ordinal: i32::try_from(ordinal).unwrap_or(i32::MAX),
            pod: called,
            state: MemberState::Pending,
            revision: labels.get(operator::names::REVISION_LABEL).cloned().unwrap_or_default(),
            builds: 0,
            agents: 0,
            since: pod.metadata.creation_timestamp.as_ref().map(|Time(at)| MicroTime(*at)),
            message: Some("the operator has not told of it yet".to_owned()),
        })
    });
    let mut all: Vec<Member> = unknown.collect();
    all.extend(members);
    all.sort_by_key(|member| member.ordinal);
    let row = |member: Member| {
        let pod = pod(&member.pod);
        let status = pod.and_then(|pod| pod.status.as_ref());
        let containers = status.and_then(|status| status.container_statuses.as_ref());
        Row {
            node: pod.and_then(|pod| pod.spec.as_ref()?.node_name.clone()),
            restarts: containers.map(|all| all.iter().map(|container| container.restart_count).sum()),
            terminating: pod.is_some_and(|pod| pod.metadata.deletion_timestamp.is_some()),
            member,
        }
    };
    all.into_iter().map(row).collect()
}

pub(crate) fn room(budget: PodDisruptionBudget) -> Budget {
    let status = budget.status.unwrap_or_default();
    Budget {
        name: budget.metadata.name.unwrap_or_default(),
        allowed: status.disruptions_allowed,
        healthy: status.current_healthy,
        wanted: status.expected_pods,
    }
}

/// The Secrets that the controller needs, whoever makes them.
pub(crate) fn keys(name: &str, spec: Option<&Spec>) -> Vec<Key> {
    let owner = owner("", name);
    let key = |name: String, purpose| Key { name, purpose, there: None };
    let security = spec.and_then(|spec| spec.security.clone()).unwrap_or_default();
    let admin = security.admin_secret_ref.map_or_else(|| owner.admin(), |named| named.name);
    let keys = security.keys_secret_ref.map_or_else(|| owner.keys(), |named| named.name);
    let mut all = vec![key(admin, "first administrator"), key(keys, "keys"), key(owner.metrics(), "metrics")];
    let Some(spec) = spec else { return all };
    let given = spec.store.as_ref().and_then(|store| store.postgres.as_ref()?.secret_ref.clone());
    match given {
        Some(secret) => all.push(key(secret.name, "database")),
        None if store(Some(spec)) == "builtin" => all.push(key(owner.postgres(), "database")),
        None => {}
    }
    let objects = spec.objects.clone().unwrap_or_default();
    let s3 = objects.s3.and_then(|s3| s3.secret_ref);
    let gcs = objects.gcs.and_then(|gcs| gcs.secret_ref);
    let azure = objects.azure.and_then(|azure| azure.secret_ref);
    all.extend(s3.or(gcs).or(azure).map(|named| key(named.name, "objects")));
    let tls = spec.ingress.as_ref().and_then(|ingress| ingress.tls.as_ref()?.secret_name.clone());
    all.extend(tls.map(|name| key(name, "certificate")));
    all
}

fn happened(events: Vec<Event>) -> Vec<Happened> {
    let mut all: Vec<Happened> = events.into_iter().map(one).collect();
    all.sort_by_key(|event| event.at);
    all.split_off(all.len().saturating_sub(EVENTS))
}

fn one(event: Event) -> Happened {
    let series = event.series.unwrap_or_default();
    let last = series.last_observed_time.map(|time| time.0);
    let at = last
        .or(event.last_timestamp.map(|time| time.0))
        .or(event.event_time.map(|time| time.0))
        .or(event.first_timestamp.map(|time| time.0))
        .or(event.metadata.creation_timestamp.map(|time| time.0));
    let kind = event.involved_object.kind.unwrap_or_default().to_lowercase();
    let name = event.involved_object.name.unwrap_or_default();
    Happened {
        at,
        warning: event.type_.as_deref() == Some("Warning"),
        reason: event.reason.unwrap_or_default(),
        about: format!("{kind}/{name}"),
        times: series.count.or(event.count).unwrap_or(1),
        message: event.message.unwrap_or_default(),
    }
}

//! `drain`: one replica hands over what it has and comes back as a new pod. It is evicted, so that the disruption budget counts.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{Eviction, PodDisruptionBudget};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions};
use kube::api::PostParams;
use resource::{Member, MemberState};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::error::Error;
use crate::overview::{Budget, replicas, room};
use crate::paint::line;
use crate::wait::{Next, Waiting, until};
use crate::{Say, Verdict};

/// What `drain` is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Drain<'a> {
    pub pod: &'a str,
    /// Also when no other replica is ready: then nobody serves.
    pub force: bool,
    pub waiting: Option<Waiting>,
}

pub async fn drain(cluster: &Cluster, name: &str, asked: Drain<'_>, say: Say<'_>) -> Result<Verdict, Error> {
    let controller = cluster.controller(name).await?;
    let pods = replicas(cluster, name).await?;
    let pod = pick(name, asked.pod, &pods)?;
    if !asked.force && !pods.iter().any(|other| called(other) != asked.pod && ready(other)) {
        return Err(Error::Refused(format!(
            "no other replica of {name} is ready: nobody would serve; say --force if that is wanted"
        )));
    }
    let uid = pod.metadata.uid.clone();
    evict(cluster, name, asked.pod, uid.clone()).await?;
    let member = controller.status.members.iter().find(|member| member.pod == asked.pod);
    say(&format!("{}: evicted{}", asked.pod, member.map(has).unwrap_or_default()));
    let Some(waiting) = asked.waiting else { return Ok(Verdict::Good) };
    let end = until(cluster, waiting, say, async || {
        let pod = cluster.get_opt::<Pod>(asked.pod).await?;
        let seen = cluster.controller(name).await?;
        if usize::try_from(seen.wanted()).is_ok_and(|wanted| ordinal(name, asked.pod) >= Some(wanted))
            && pod.is_none()
        {
            return Ok(Next::End(format!("{}: gone, and not wanted any more", asked.pod)));
        }
        let member = seen.status.members.iter().find(|member| member.pod == asked.pod);
        Ok(back(asked.pod, uid.as_deref(), pod.as_ref(), member))
    });
    Ok(match end.await? {
        Some(text) => {
            say(&text);
            Verdict::Good
        }
        None => {
            say(&format!("{}: it is not back after {} s", asked.pod, waiting.timeout.as_secs()));
            Verdict::Bad
        }
    })
}

fn ordinal(name: &str, pod: &str) -> Option<usize> {
    operator::names::ordinal(name, pod)
}

/// What it hands over.
fn has(member: &Member) -> String {
    format!("; it hands over {} builds and {} agents, then ends", member.builds, member.agents)
}

async fn evict(cluster: &Cluster, name: &str, pod: &str, uid: Option<String>) -> Result<(), Error> {
    // another pod of that name stays
    let same = Preconditions { uid, resource_version: None };
    let eviction = Eviction {
        delete_options: Some(DeleteOptions { preconditions: Some(same), ..DeleteOptions::default() }),
        metadata: ObjectMeta { name: Some(pod.to_owned()), ..ObjectMeta::default() },
    };
    // not Api::evict: that one spells the options as no API server reads them
    let api = cluster.api::<Pod>();
    let done = api.create_subresource::<_, Value>("eviction", pod, &PostParams::default(), &eviction).await;
    let error = match done.map_err(|error| cluster.error_on::<Pod>("create", "eviction", error)) {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    match error {
        Error::Api { code: 429, why, .. } => {
            let budget = cluster.get_opt::<PodDisruptionBudget>(name).await.ok().flatten();
            Err(Error::Refused(no_room(pod, budget.map(room), &why)))
        }
        Error::Api { code: 404, .. } => Err(Error::Refused(format!("{pod} has gone already"))),
        Error::Api { code: 409, .. } => {
            Err(Error::Refused(format!("{pod} was replaced meanwhile: look again")))
        }
        error => Err(error),
    }
}

fn no_room(pod: &str, budget: Option<Budget>, why: &str) -> String {
    match budget {
        Some(Budget { name, healthy, wanted, .. }) => format!(
            "{pod} can't be evicted: the disruption budget {name} has no room ({healthy} of {wanted} replicas are healthy); \
             try again when all are"
        ),
        None => format!("{pod} can't be evicted now: {}", line(why)),
    }
}

pub(crate) fn called(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

pub(crate) fn ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions.is_some_and(|all| {
        all.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    });
    ready && pod.metadata.deletion_timestamp.is_none()
}

/// The replica of that name.
pub(crate) fn pick<'a>(name: &str, pod: &str, pods: &'a [Pod]) -> Result<&'a Pod, Error> {
    pods.iter().find(|other| called(other) == pod).ok_or_else(|| {
        let mut names: Vec<&str> = pods.iter().map(called).collect();
        names.sort_unstable();
        let there = match names.is_empty() {
            true => "it has none".to_owned(),
            false => format!("there are: {}", names.join(", ")),
        };
        Error::Refused(format!("{name} has no replica {pod}; {there}"))
    })
}

/// How far a replica is that ends and comes back as another pod of its name.
pub(crate) fn back(
    name: &str,
    old: Option<&str>,
    pod: Option<&Pod>,
    member: Option<&Member>,
) -> Next<String> {
    let Some(pod) = pod else { return Next::Wait(format!("{name}: gone; its next pod is to come")) };
    if pod.metadata.uid.as_deref() == old {
        let work =
            member.map(|member| format!(", {} builds and {} agents are left", member.builds, member.agents));
        return Next::Wait(format!("{name}: hands over{}", work.unwrap_or_default()));
    }
    if ready(pod) {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or("a node");
        return Next::End(format!("{name}: back and ready on {node}"));
    }
    let told = member.filter(|member| member.state != MemberState::Ready);
    let state = told.map_or(MemberState::Pending, |member| member.state);
    let why = told.and_then(|member| member.message.as_deref()).map(|why| format!(", {}", line(why)));
    Next::Wait(format!("{name}: its next pod is {state}{}", why.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(uid: &str, ready: &str, deleted: Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": "acme-1", "uid": uid, "deletionTimestamp": deleted },
            "spec": { "containers": [], "nodeName": "n1" },
            "status": { "conditions": [{ "type": "Ready", "status": ready }] },
        }))
        .unwrap()
    }

    fn member(state: &str, message: Value) -> Member {
        serde_json::from_value(json!({
            "ordinal": 1, "pod": "acme-1", "state": state, "revision": "r", "builds": 2, "agents": 5, "message": message,
        }))
        .unwrap()
    }

    #[test]
    fn a_replica_goes_and_comes_back() {
        let wait = |text: &str| Next::Wait(format!("acme-1: {text}"));
        let waits = member("Waiting", json!("for the startup lock"));
        let drains = member("Draining", Value::Null);
        let ending = pod("a", "False", json!("2026-11-26T20:00:00Z"));
        for (pod, member, next) in [
            (Some(&ending), Some(&drains), wait("hands over, 2 builds and 5 agents are left")),
            (Some(&pod("a", "True", Value::Null)), None, wait("hands over")),
            (None, Some(&drains), wait("gone; its next pod is to come")),
            (
                Some(&pod("b", "False", Value::Null)),
                Some(&waits),
                wait("its next pod is Waiting, for the startup lock"),
            ),
            (
                Some(&pod("b", "True", Value::Null)),
                Some(&waits),
                Next::End("acme-1: back and ready on n1".to_owned()),
            ),
        ] {
            assert_eq!(back("acme-1", Some("a"), pod, member), next);
        }
    }

    #[test]
    fn a_pod_that_ends_is_not_ready() {
        assert!(ready(&pod("a", "True", Value::Null)));
        assert!(!ready(&pod("a", "True", json!("2026-11-26T20:00:00Z"))));
        assert!(!ready(&pod("a", "False", Value::Null)));
    }

    #[test]
    fn a_pod_of_somebody_else_is_refused() {
        let error = pick("acme", "acme-postgres-0", &[pod("a", "True", Value::Null)]).unwrap_err();
        assert_eq!(error.to_string(), "acme has no replica acme-postgres-0; there are: acme-1");
    }

    #[test]
    fn a_budget_without_room_is_told() {
        let budget = Budget { name: "acme".to_owned(), allowed: 0, healthy: 2, wanted: 3 };
        assert_eq!(
            no_room("acme-1", Some(budget), ""),
            "acme-1 can't be evicted: the disruption budget acme has no room (2 of 3 replicas are healthy); try again when \
             all are"
        );
    }
}

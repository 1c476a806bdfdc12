//! What is told of a controller in its status. Pure. Everything is told anew each time, but for times: those stay that say since
//! when something is as it is.

mod conditions;
mod members;
pub(crate) mod news;
mod rollout;
mod store;

pub(crate) use conditions::given_up;
pub(crate) use rollout::message;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use resource::{Counters, Failover, MemberState, Phase, Startup, Status};

use crate::decide::Outcome;
use crate::names::Component;
use crate::plan;
use crate::pods;
use crate::roll::overviews;
use crate::seen::Seen;
use crate::told::{exact, time};
use model::ReplicaState;
use model::overview::Overview;

/// Failovers that are told.
const MOST_FAILOVERS: usize = 10;
/// Characters of a message.
const MAX_MESSAGE: usize = 1024;

/// What is told now; `before` is what was told last.
pub(crate) fn status(seen: &Seen, outcome: &Outcome, before: &Status) -> Status {
    let before = before.clone();
    let members = members::members(seen, outcome);
    let told = newest(seen);
    let phase = phase(seen, outcome, &members);
    let selector = seen.owner.selector(Component::Replica);
    let selector: Vec<_> = selector.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let ready = members.iter().filter(|member| serves(member.state)).count();
    let startup = told.and_then(|told| told.startup.as_ref()).and_then(|startup| {
        Some(Startup { holder: startup.holder.clone(), since: MicroTime(exact(&startup.since)?) })
    });
    Status {
        observed_generation: seen.controller.metadata.generation,
        phase: Some(phase),
        conditions: conditions::conditions(seen, outcome, &members, &before.conditions),
        // those that go are none any more to whoever scales by this number
        replicas: number(seen.pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).count()),
        ready_replicas: number(ready),
        selector: Some(selector.join(",")),
        url: Some(url(seen)),
        revision: outcome.wanted.as_ref().map(|wanted| wanted.revision.0.clone()).or(before.revision),
        startup,
        rollout: rollout::rollout(seen, outcome, before.rollout),
        failovers: told.map_or(before.failovers, failovers),
        counters: told.map(|told| counters(told, before.counters.as_ref())).or(before.counters),
        members,
    }
}

/// The word of whoever knows most: one that serves knows all others.
fn newest(seen: &Seen) -> Option<&Overview> {
    overviews(seen)
        .max_by_key(|told| (told.store_answers, told.state == Some(ReplicaState::Ready), told.members.len()))
}

fn serves(state: MemberState) -> bool {
    matches!(state, MemberState::Ready | MemberState::Setup)
}

fn phase(seen: &Seen, outcome: &Outcome, members: &[resource::Member]) -> Phase {
    let wanted = seen.controller.spec.replicas as usize;
    let ready = members.iter().filter(|member| serves(member.state)).count();
    if seen.controller.metadata.deletion_timestamp.is_some() {
        return Phase::Deleting;
    }
    let Some(rolled) = &outcome.rolled else {
        return if ready > 0 { Phase::Degraded } else { Phase::Pending };
    };
    if wanted == 0 {
        return Phase::Stopped;
    }
    if members.iter().any(|member| member.state == MemberState::Setup) {
        return Phase::Setup;
    }
    let rolling = matches!(rolled.phase, ::rollout::Phase::Rolling | ::rollout::Phase::GoingBack);
    match (ready, rolled.note.proven) {
        (0, true) => Phase::Unavailable,
        (_, false) => Phase::Starting,
        _ if rolling => Phase::Rolling,
        (ready, true) if ready >= wanted => Phase::Ready,
        (_, true) => Phase::Degraded,
    }
}

/// As the spec says, else as whoever is in front says, else as it is known within the cluster.
fn url(seen: &Seen) -> String {
    let given = plan::url(&seen.controller.spec);
    let address = || {
        let spec = &seen.controller.spec;
        let scheme = match (&spec.ingress, &spec.route) {
            (Some(ingress), _) => {
                if ingress.tls.is_some() {
                    "https"
                } else {
                    "http"
                }
            }
            (None, Some(_)) => "https",
            // a Gateway says no address
            (None, None) => return None,
        };
        let first = seen.address.as_ref()?.first()?;
        let literal = if first.contains(':') { format!("[{first}]") } else { first.clone() };
        let path = spec.ingress.as_ref().and_then(|ingress| ingress.path.as_deref()).unwrap_or_default();
        let path = path.trim_matches('/');
        let slash = if path.is_empty() { "" } else { "/" };
        Some(format!("{scheme}://{literal}/{path}{slash}"))
    };
    let within = || format!("http://{}.{}.svc/", seen.owner.name, seen.owner.namespace);
    given.or_else(address).unwrap_or_else(within)
}

fn failovers(told: &Overview) -> Vec<Failover> {
    let known = told.failovers.iter().filter_map(|failover| {
        Some(Failover {
            replica: failover.replica.clone(),
            at: Time(time(&failover.at)?),
            builds: saturating(failover.builds.into()),
        })
    });
    known.take(MOST_FAILOVERS).collect()
}

fn counters(told: &Overview, before: Option<&Counters>) -> Counters {
    Counters {
        builds: saturating(told.builds),
        queue: told.queue.map_or_else(|| before.map_or(0, |before| before.queue), saturating),
        agents: saturating(told.agents),
    }
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn saturating(count: u64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_MESSAGE).collect()
}

/// Whether they differ in what is worth a write at once. What only counts is written now and then.
pub(crate) fn differs(before: &Status, after: &Status) -> bool {
    plain(before) != plain(after)
}

fn plain(status: &Status) -> Status {
    let mut plain = Status { counters: None, ..status.clone() };
    for member in &mut plain.members {
        (member.builds, member.agents) = (0, 0);
    }
    plain
}

/// Whether the pod of a replica is on a node that does not answer.
fn lost(seen: &Seen, ordinal: usize) -> bool {
    let node = seen.pod(ordinal).and_then(|pod| pod.spec.as_ref()?.node_name.as_ref());
    node.is_some_and(|node| seen.lost_nodes.contains_key(node)) && !seen.pod(ordinal).is_some_and(pods::ready)
}

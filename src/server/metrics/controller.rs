//! What is so of the whole controller, read from the store: every replica says the same.

use meter::{Document, Name, escaped};
use model::{RolloutPhase, RolloutReport};
use store::{Busy, JobCounts, Node};

use crate::error::Error;
use crate::look::Look;
use crate::ports::App;
use crate::request::Base;

const JOBS: Name = Name::new("majordomo_jobs", "Jobs of the controller, by whether they are disabled");
const NODES: Name = Name::new("majordomo_nodes", "Nodes of the controller, by whether they may work now");
const EXECUTORS: Name =
    Name::new("majordomo_executors", "Executors of nodes that may work, by whether they do");
const QUEUE: Name =
    Name::new("majordomo_queue_items", "Items in the queue; quiet: still in their quiet period");
const WAITS: Name = Name::new("majordomo_executor_waits", "Steps that wait for an executor");
const RUNNING: Name = Name::new("majordomo_builds_running", "Builds of the controller that run");
const STATE: Name = Name::new("majordomo_replica_state", "1 for the state that the replica is in");
const BUILDS: Name = Name::new("majordomo_replica_builds", "Builds that the replica drives, by the store");
const TO_ARCHIVE: Name = Name::new(
    "majordomo_logs_to_archive",
    "Logs of builds that have ended, in the database, that are to become objects; 1,000 means that or more",
);
const QUIET: Name =
    Name::new("majordomo_quiet", "1 while no build leaves the queue because an administrator said so");
const PHASE: Name = Name::new("majordomo_rollout_phase", "1 for the phase that the rollout is in");
const FAILED: Name =
    Name::new("majordomo_rollout_revision_failed", "1 when the revision that was wanted last was given up");
const RESTARTS: Name =
    Name::new("majordomo_rollout_restart", "Number of the last restart that is part of what runs");

/// Logs that are counted.
const MOST: u32 = 1_000;

/// Nodes and executors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) online: u64,
    pub(crate) offline: u64,
    /// Of nodes that are online, as `busy` is: builds may still hold executors of a node that went.
    pub(crate) executors: u64,
    pub(crate) busy: u64,
}

impl Places {
    fn add(&mut self, node: &Node, online: bool, busy: &[Busy]) {
        if !online {
            self.offline += 1;
            return;
        }
        self.online += 1;
        self.executors += u64::from(node.executors);
        self.busy += busy.iter().filter(|executor| executor.node == node.name).count() as u64;
    }

    /// A node may have been given fewer executors than are busy.
    pub(crate) fn free(&self) -> u64 {
        self.executors.saturating_sub(self.busy)
    }
}

/// What was read.
pub(crate) struct Controller {
    jobs: JobCounts,
    pub(crate) places: Places,
    pub(crate) queued: u64,
    /// Of them, those in their quiet period.
    pub(crate) quiet_items: u64,
    pub(crate) waits: u64,
    pub(crate) running: u64,
    to_archive: u64,
    pub(crate) quiet: bool,
    /// Name, state, builds.
    replicas: Vec<(String, &'static str, u64)>,
    rollout: Option<RolloutReport>,
}

pub(crate) async fn read(app: &App) -> Result<Controller, Error> {
    let base = Base::of(Some("http://localhost"), &http::HeaderMap::new());
    let look = Look::new(app, &base);
    let now = app.commands.now();
    let (mut places, busy) = (Places::default(), look.busy().await?);
    for node in look.nodes().await? {
        places.add(node, node.offline.is_none() && look.holder(node).await?.is_some(), busy);
    }
    let queue = &look.queue().await?.items;
    let running = look.running().await?;
    let mut replicas = Vec::new();
    for member in look.members().await?.iter().filter(|member| member.live()) {
        let builds = running.iter().filter(|row| row.owner == member.id.incarnation).count() as u64;
        replicas.push((member.id.name.to_string(), member.state.as_str(), builds));
    }
    let meta = look.meta().await?;
    Ok(Controller {
        jobs: look.store().job_counts().await?,
        places,
        queued: queue.len() as u64,
        quiet_items: queue.iter().filter(|item| item.buildable_at > now).count() as u64,
        waits: look.store().waits().await?.len() as u64,
        running: running.len() as u64,
        to_archive: look.store().to_archive(None, MOST).await?.len() as u64,
        quiet: meta.quiet.is_some(),
        replicas,
        rollout: meta.rollout.clone(),
    })
}

/// For exact values below 2^53, as Prometheus has all of them.
fn float(value: u64) -> f64 {
    value as f64
}

fn labelled(key: &str, values: &[(&str, u64)]) -> Vec<(String, f64)> {
    values.iter().map(|(value, count)| (format!("{key}=\"{value}\""), float(*count))).collect()
}

impl Controller {
    pub(crate) fn write(&self, to: &mut Document) {
        let Places { online, offline, busy, .. } = self.places;
        let one = |value: u64| [(String::new(), float(value))];
        let JobCounts { enabled, disabled } = self.jobs;
        to.gauge(JOBS, labelled("state", &[("enabled", enabled), ("disabled", disabled)]));
        to.gauge(NODES, labelled("state", &[("online", online), ("offline", offline)]));
        to.gauge(EXECUTORS, labelled("state", &[("busy", busy), ("free", self.places.free())]));
        let buildable = self.queued - self.quiet_items;
        to.gauge(QUEUE, labelled("state", &[("buildable", buildable), ("quiet", self.quiet_items)]));
        to.gauge(WAITS, one(self.waits));
        to.gauge(TO_ARCHIVE, one(self.to_archive));
        to.gauge(RUNNING, one(self.running));
        to.gauge(QUIET, one(u64::from(self.quiet)));
        let state = |(name, state, _): &(String, &str, u64)| {
            (format!("replica=\"{}\",state=\"{state}\"", escaped(name)), 1.0)
        };
        to.gauge(STATE, self.replicas.iter().map(state));
        let builds = |(name, _, builds): &(String, &str, u64)| {
            (format!("replica=\"{}\"", escaped(name)), float(*builds))
        };
        to.gauge(BUILDS, self.replicas.iter().map(builds));
        let report = self.rollout.as_ref();
        let phase = |phase: RolloutPhase| {
            let is = report.is_some_and(|report| report.phase == phase);
            (format!("phase=\"{}\"", phase.as_str()), f64::from(u8::from(is)))
        };
        to.gauge(PHASE, RolloutPhase::ALL.into_iter().map(phase));
        to.gauge(FAILED, one(u64::from(report.is_some_and(|report| report.failed.is_some()))));
        let restart = report.map_or(0, |report| u64::try_from(report.restart).unwrap_or(0));
        to.gauge(RESTARTS, one(restart));
    }
}

#[cfg(test)]
mod tests {
    use model::{BuildId, JobName, NodeName};

    use super::*;

    #[test]
    fn what_is_busy_on_a_node_that_is_away_takes_nothing_from_what_is_free() {
        let node = |name: &str| Node {
            name: NodeName::parse(name).unwrap(),
            description: String::new(),
            executors: 2,
            labels: vec![],
            exclusive: false,
            remote_fs: String::new(),
            offline: None,
            config: String::new(),
        };
        let on = |node: &Node, slot: u32| Busy {
            node: node.name.clone(),
            slot,
            build: BuildId(1),
            job: JobName::parse("app").unwrap(),
            number: 1,
            step: "1".to_owned(),
        };
        let (here, away) = (node("here"), node("away"));
        let busy = [on(&here, 0), on(&away, 0), on(&away, 1)];
        let mut places = Places::default();
        places.add(&here, true, &busy);
        places.add(&away, false, &busy);
        assert_eq!(places, Places { online: 1, offline: 1, executors: 2, busy: 1 });
        assert_eq!(places.free(), 1);
    }
}

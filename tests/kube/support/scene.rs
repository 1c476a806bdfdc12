//! A controller under load that loses something: what it is about, who is lost, and the three times that say how bad it was.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "test support; no test uses all of it")]

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::agent::Agent;
use super::cluster::{Cluster, wait_or};
use super::container::Container;
use super::controller::{Controller, LONG, NAME, PATIENCE, REPLICAS};
use super::kubectl::is_ready;
use super::pulse::Pulse;
use super::traffic::{Tally, Traffic};
use crate::common::controller::{Controller as Shown, Replica};
use crate::common::http::Client;
use crate::load::Load;

/// Builds at once, besides those of the pulse.
pub(crate) const WIDTH: usize = 3;
/// Where a replica listens to users.
const HTTP: u16 = 8080;
/// So often builds are sent on from where they may not be.
const TRIES: usize = 6;

/// A controller with builds on two agents outside of Kubernetes, and users in front of the ingress.
pub(crate) struct Scene {
    pub(crate) load: Load,
    pub(crate) pulse: Pulse,
    pub(crate) traffic: Traffic,
    _agents: [Agent; 2],
    pub(crate) controller: Controller,
}

/// A replica that has builds of the pulse, and is about to be lost.
#[derive(Debug, Clone)]
pub(crate) struct Victim {
    pub(crate) pod: String,
    pub(crate) node: String,
    pub(crate) container: Container,
    pub(crate) builds: Vec<u64>,
}

/// From the loss on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// The longest time in which nothing was committed of a build that the lost replica had.
    resumed: Duration,
    /// Whoever connected later was answered.
    connections: Duration,
    /// Users that were not answered, on new connections and on kept ones.
    failed: usize,
    /// The replica is ready again.
    back: Duration,
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Times { resumed, connections, failed, back } = self;
        write!(
            f,
            "builds resumed after {resumed:.1?}, new connections all succeed after {connections:.1?} ({failed} requests \
             failed), replica back after {back:.1?}"
        )
    }
}

impl Scene {
    pub(crate) fn start(cluster: &'static Cluster, name: &str, spec: Value) -> Scene {
        let controller = Controller::start(cluster, name, spec);
        let agents = ["far-1", "far-2"].map(|agent| Agent::start(&controller, agent, 6, "work"));
        let load = Load::new(&controller, "k");
        let (pulse, traffic) = (Pulse::start(&controller), Traffic::start(&controller));
        Scene { load, pulse, traffic, _agents: agents, controller }
    }

    /// What replicas say of themselves.
    pub(crate) fn replicas(&self) -> Vec<Replica> {
        let reply = self.controller.client().try_get("/replicas/api/json").ok();
        reply.filter(|reply| reply.status == 200).map(|reply| Shown::replicas_of(&reply)).unwrap_or_default()
    }

    /// A replica that has builds, once there is one. `fit` says of its pod whether it may be this one. Builds of those that may
    /// not are sent on.
    pub(crate) fn victim(&self, fit: impl Fn(&Value) -> bool) -> Victim {
        let find = || {
            let has_builds = self.has_builds();
            let any = has_builds.iter().find(|(pod, _)| fit(pod)).or(has_builds.first());
            any.map(|(pod, builds)| (fit(pod), pod.clone(), builds.clone()))
        };
        let why = || format!("{:?}\n{}", self.replicas(), self.controller.explain());
        for _ in 0..TRIES {
            let (fits, pod, builds) = wait_or(LONG, "a replica has builds", find, why);
            let (name, node) = (text(&pod["metadata"]["name"]), text(&pod["spec"]["nodeName"]));
            if fits {
                return Victim { pod: name, node, container: Container::of(&pod).unwrap(), builds };
            }
            self.controller.kubectl().run(&["delete", "pod", &name]);
            self.controller.wait_ready();
        }
        panic!("all builds stay where they may not: {}", why());
    }

    /// Pods that are ready and have some of the long builds, with these.
    fn has_builds(&self) -> Vec<(Value, Vec<u64>)> {
        let pods = self.pods();
        let replicas = self.replicas().into_iter().filter(|replica| replica.state == "ready");
        let having = replicas.filter_map(|replica| {
            let builds = Pulse::among(&replica.builds);
            let pod = pods.iter().find(|pod| pod["metadata"]["name"] == replica.name.as_str())?;
            (!builds.is_empty() && is_ready(pod)).then(|| (pod.clone(), builds))
        });
        having.collect()
    }

    /// All pods with replicas.
    pub(crate) fn pods(&self) -> Vec<Value> {
        let pods = self.controller.kubectl().look(&["pods", "-l", REPLICAS]).unwrap_or_default();
        pods["items"].as_array().cloned().unwrap_or_default()
    }

    /// Whoever is ready, but for one, each asked itself.
    fn others(&self, but: &str) -> Vec<Client> {
        let pods = self.pods();
        let others = pods.iter().filter(|pod| is_ready(pod) && pod["metadata"]["name"] != but);
        let address = |pod: &Value| {
            Some(SocketAddr::from((pod["status"]["podIP"].as_str()?.parse::<IpAddr>().ok()?, HTTP)))
        };
        others.filter_map(address).map(|address| self.controller.client().at(address)).collect()
    }

    /// Readers of the pulse ask those that are ready, but for one.
    pub(crate) fn read_past(&self, but: &str) {
        let others = self.others(but);
        assert!(!others.is_empty(), "nobody is ready but {but}");
        self.pulse.read_at(others);
    }

    /// Builds begin and end before.
    pub(crate) fn warm_up(&mut self) {
        let enough = self.load.acknowledged() + 2;
        self.load.keep_going(WIDTH, |done| done >= enough);
    }

    /// It is lost. Builds begin and end until it is back and all is as it was.
    pub(crate) fn loses(
        &mut self,
        what: &str,
        victim: &Victim,
        act: impl FnOnce(&Controller) + Send,
    ) -> Times {
        self.read_past(&victim.pod);
        let Scene { load, pulse, traffic, controller, .. } = self;
        let (controller, failed) = (&*controller, traffic.tally().failed.len());
        let lost = Instant::now();
        let back = std::thread::scope(|scope| {
            let acting = scope.spawn(|| act(controller));
            let mut back = None;
            load.keep_going(WIDTH, |_| {
                let why = || format!("{victim:?} is not back: {}", controller.explain());
                assert!(lost.elapsed() < PATIENCE, "{}", why());
                if back.is_none() && returned(controller, victim) {
                    back = Some(lost.elapsed());
                }
                let go_on = victim.builds.iter().all(|number| pulse.goes_on(*number, lost));
                acting.is_finished() && go_on && back.is_some() && at_rest(controller)
            });
            acting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            back.unwrap_or_default()
        });
        let stood = victim.builds.iter().map(|number| pulse.stood_still(*number, lost));
        let all = traffic.tally().failed;
        let new = &all[failed..];
        let fresh = new.iter().filter(|failure| !failure.kept);
        let connections = fresh.map(|failure| failure.sent.saturating_duration_since(lost)).max();
        let times = Times {
            resumed: stood.max().unwrap_or_default(),
            connections: connections.unwrap_or_default(),
            failed: new.len(),
            back,
        };
        eprintln!("{what}: {} with builds {:?}: {times}", victim.pod, victim.builds);
        if let Some(last) = new.last() {
            eprintln!("  the last request that failed: {last}");
        }
        times
    }

    /// Waits until all have ended. No byte is lost, and nothing was done twice.
    pub(crate) fn settle(self) -> Tally {
        let builds = self.load.finish(PATIENCE);
        eprintln!("{:?}", self.load.check(&builds));
        self.pulse.finish();
        self.traffic.finish()
    }

    /// The same; and nobody who asked was not answered.
    pub(crate) fn settle_unnoticed(self) {
        let refused = self.load.asked.iter().filter(|asked| asked.queue.is_none()).count();
        let failed = self.settle().failed;
        let told: Vec<String> = failed.iter().map(ToString::to_string).collect();
        assert!(failed.is_empty(), "{} requests failed:\n{}", failed.len(), told.join("\n"));
        assert_eq!(refused, 0, "builds that nobody has acknowledged");
    }
}

/// Whether a pod of that name is ready, and its container another one.
fn returned(controller: &Controller, victim: &Victim) -> bool {
    let pod = controller.kubectl().look(&["pod", &victim.pod]).unwrap_or_default();
    let goes = !pod["metadata"]["deletionTimestamp"].is_null();
    is_ready(&pod) && !goes && Container::of(&pod).is_some_and(|container| container != victim.container)
}

fn at_rest(controller: &Controller) -> bool {
    let resource = controller.kubectl().look(&["hac", NAME]).unwrap_or_default();
    let status = &resource["status"];
    status["phase"] == "Ready" && status["readyReplicas"] == resource["spec"]["replicas"]
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

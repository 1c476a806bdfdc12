//! Replicas are replaced one after the other under load, whatever the reason: no request fails, no byte is lost.

use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::load::Load;
use crate::support::agent::{Agent, Inside};
use crate::support::cluster::Cluster;
use crate::support::controller::{Controller, NAME, PATIENCE, PROGRAM, REPLICAS};
use crate::support::operator::story;
use crate::support::traffic::Traffic;
use crate::support::watch::{Pod, Watch};
use crate::ticks::Ticks;

/// Builds at once.
const WIDTH: usize = 4;

/// A controller under load: builds on two agents outside of Kubernetes, steps that print every 50 ms, and users.
pub(crate) struct Busy {
    pub(crate) load: Load,
    traffic: Traffic,
    ticks: Ticks,
    _agents: [Agent; 2],
    pub(crate) controller: Controller,
}

impl Busy {
    pub(crate) fn start(cluster: &'static Cluster, name: &str, spec: Value) -> Busy {
        let controller = Controller::start(cluster, name, spec);
        let agents = ["far-1", "far-2"].map(|agent| Agent::start(&controller, agent, 5, "work"));
        let load = Load::new(&controller, "k");
        let (ticks, traffic) = (Ticks::start(&controller), Traffic::start(&controller));
        Busy { load, traffic, ticks, _agents: agents, controller }
    }

    /// Does it while builds run, and goes on with builds until the rollout that it asks for has ended; its record.
    pub(crate) fn rolls(&mut self, act: impl FnOnce(&Controller) + Send) -> Value {
        let history = |controller: &Controller| controller.resource()["status"]["rollout"]["history"].clone();
        let records = history(&self.controller).as_array().map_or(0, Vec::len) + 1;
        self.meanwhile(|controller| {
            act(controller);
            controller.rolled(records)
        })
    }

    /// Does it while builds run.
    pub(crate) fn meanwhile<T: Send>(&mut self, act: impl FnOnce(&Controller) -> T + Send) -> T {
        let ended = self.load.acknowledged() + 2;
        self.load.keep_going(WIDTH, |done| done + WIDTH >= ended);
        let (controller, load) = (&self.controller, &mut self.load);
        std::thread::scope(|scope| {
            let acting = scope.spawn(|| act(controller));
            load.keep_going(WIDTH, |_| acting.is_finished());
            acting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Nothing has failed, and no byte is lost.
    pub(crate) fn settle(self) {
        let builds = self.load.finish(PATIENCE);
        self.ticks.finish();
        self.traffic.all_answered();
        let refused = self.load.asked.iter().filter(|asked| asked.queue.is_none()).count();
        assert_eq!(refused, 0, "builds that nobody has acknowledged");
        eprintln!("{:?}", self.load.check(&builds));
    }
}

/// Ordinals of pods, as they became ready.
pub(crate) fn ordinals(pods: &[Pod]) -> Vec<&str> {
    pods.iter().filter_map(|pod| pod.name.rsplit('-').next()).collect()
}

/// A second image of the same program, made once.
pub(crate) fn second(cluster: &Cluster) -> &'static str {
    static MADE: OnceLock<()> = OnceLock::new();
    MADE.get_or_init(|| {
        let archive = cluster.image("majordomo", &[PROGRAM, "second"]);
        cluster.load(&[archive]);
    });
    "registry.local/majordomo:second"
}

/// Something of each pod, by ordinal.
fn of_pods(controller: &Controller, find: impl Fn(&Value) -> Value) -> Vec<Value> {
    let pods = controller.kubectl().get(&["pods", "-l", REPLICAS]);
    pods["items"].as_array().unwrap().iter().map(find).collect()
}

/// All that is to be seen of a rollout that has ended well, besides what its users have noticed.
fn rolled(busy: &mut Busy, watch: &Watch, reason: &str, act: impl FnOnce(&Controller) + Send) -> Value {
    let before = watch.became_ready();
    let record = busy.rolls(act);
    assert_eq!((&record["reason"], &record["end"]), (&reason.into(), &"Finished".into()), "{record}");
    let status = &busy.controller.wait_ready()["status"];
    assert_eq!((&status["rollout"]["phase"], &status["revision"]), (&"Settled".into(), &record["revision"]));
    assert_eq!(status["rollout"]["good"], record["revision"]);
    let pods = watch.became_ready().split_off(before.len());
    assert_eq!(ordinals(&pods), ["2", "1", "0"], "{pods:?}");
    assert!(pods.iter().all(|pod| record["revision"] == *pod.revision), "{record}: {pods:?}");
    let events = busy.controller.kubectl().run(&["get", "events", "-o", "jsonpath={.items[*].reason}"]);
    for reason in ["RolloutBegun", "RolloutFinished"] {
        assert!(events.split_whitespace().any(|told| told == reason), "{reason}: {events}");
    }
    let end = |record: &Value| record["endedAt"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let took = end(&record) - record["askedAt"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    eprintln!("{reason}: {} s", took.get_seconds());
    record
}

#[test]
fn a_restart_and_a_list_of_plugins_fail_no_request_and_lose_no_byte() {
    story(|cluster, _| {
        let mut busy = Busy::start(cluster, "restart", json!({}));
        let watch = Watch::of(busy.controller.kubectl(), 3);
        let when = "2026-11-26T20:00:00Z";
        let restart = |c: &Controller| c.annotate(&format!("majordomo.dev/restartedAt={when}"));
        let record = rolled(&mut busy, &watch, "Annotation", restart);
        assert_eq!(record["message"], when);

        let plugins = json!([{"name": "git", "version": "1.0"}]);
        rolled(&mut busy, &watch, "PluginsChanged", |c| c.edit(&json!({"spec": {"plugins": plugins}})));
        let why = busy.controller.wait_condition("PluginsLoaded", "False", "NoRuntime");
        assert!(why.contains("plugin"), "{why}");
        assert_eq!(watch.fewest_ready(3), 2, "one at a time");
        busy.settle();
    });
}

#[test]
fn a_single_replica_is_replaced_while_another_one_serves() {
    story(|cluster, _| {
        let mut busy = Busy::start(cluster, "single", json!({"replicas": 1}));
        let watch = Watch::of(busy.controller.kubectl(), 1);
        Inside::start(&busy.controller).builds(1);
        let before = of_pods(&busy.controller, |pod| pod["metadata"]["uid"].clone());
        let record = busy.rolls(|controller| {
            let done = controller.plugin(&["restart", NAME]);
            let said = String::from_utf8_lossy(&done.stdout);
            assert!(done.status.success() && said.contains("all replicas run"), "{said}{done:?}");
        });
        assert_eq!(
            (&record["reason"], &record["end"]),
            (&"Annotation".into(), &"Finished".into()),
            "{record}"
        );
        busy.controller.until("it is alone again", |_| (busy.controller.pods().len() == 1).then_some(()));
        let after = of_pods(&busy.controller, |pod| pod["metadata"]["uid"].clone());
        assert!(after.len() == 1 && after != before, "{before:?}, {after:?}");
        assert_eq!(watch.fewest_ready(1), 1, "somebody serves at any time");
        Inside(&busy.controller).builds(2);
        busy.settle();
    });
}

#[test]
fn another_image_and_another_template_fail_no_request_and_lose_no_byte() {
    story(|cluster, _| {
        let image = second(cluster);
        let mut busy = Busy::start(cluster, "image", json!({}));
        let watch = Watch::of(busy.controller.kubectl(), 3);
        let record =
            rolled(&mut busy, &watch, "ImageChanged", |c| c.edit(&json!({"spec": {"image": image}})));
        let message = record["message"].as_str().unwrap();
        assert!(message.ends_with(&format!("to {image}")), "{message}");
        let images = of_pods(&busy.controller, |pod| pod["spec"]["containers"][0]["image"].clone());
        assert_eq!(images, [image; 3]);

        let template = json!({"metadata": {"annotations": {"example.com/team": "blue"}}});
        rolled(&mut busy, &watch, "TemplateChanged", |c| c.edit(&json!({"spec": {"podTemplate": template}})));
        let teams =
            of_pods(&busy.controller, |pod| pod["metadata"]["annotations"]["example.com/team"].clone());
        assert_eq!(teams, ["blue"; 3]);

        // what needs no restart does not restart
        let pods = watch.became_ready();
        busy.controller
            .edit(&json!({"spec": {"rollout": {"drainTimeout": "4m"}, "monitoring": {"interval": "1m"}}}));
        busy.controller.wait_ready();
        assert_eq!(watch.became_ready(), pods);
        assert_eq!(watch.fewest_ready(3), 2, "one at a time");
        busy.settle();
    });
}

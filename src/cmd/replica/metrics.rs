//! Metrics of this process, in Prometheus' text format.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use engine::Engine;
use home::Home;
use link::Links;

pub(super) struct Source {
    pub(super) home: Home,
    pub(super) engine: Engine,
    pub(super) links: Links,
}

impl server::MetricsSource for Source {
    fn render(&self, into: &mut String) {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (engine, links) = (self.engine.metrics(), self.links.metrics());
        let stats = self.home.stats();
        let driving = self.engine.driving() as u64;
        let held = self.links.held().len() as u64;
        let rows: [(&str, &str, &str, u64); 12] = [
            ("majordomo_builds_driving", "gauge", "Builds that this replica drives.", driving),
            ("majordomo_builds_started_total", "counter", "Builds begun here.", load(&engine.builds_started)),
            (
                "majordomo_builds_adopted_total",
                "counter",
                "Builds adopted here.",
                load(&engine.builds_adopted),
            ),
            (
                "majordomo_builds_finished_total",
                "counter",
                "Builds ended here.",
                load(&engine.builds_finished),
            ),
            (
                "majordomo_build_writes_total",
                "counter",
                "Guarded writes committed.",
                load(&engine.progress_writes),
            ),
            ("majordomo_agents_held", "gauge", "Agents whose socket is here.", held),
            ("majordomo_agent_connects_total", "counter", "Agent links begun.", load(&links.connects)),
            ("majordomo_agent_disconnects_total", "counter", "Agent links ended.", load(&links.disconnects)),
            (
                "majordomo_agent_ping_micros_total",
                "counter",
                "Sum of ping round trips.",
                load(&links.ping_micros),
            ),
            ("majordomo_agent_pings_total", "counter", "Answered pings.", load(&links.pings)),
            ("majordomo_store_commits_total", "counter", "Commits of this process.", stats.commits),
            ("majordomo_store_writes_total", "counter", "Writes in those commits.", stats.writes),
        ];
        for (name, kind, help, value) in rows {
            let _infallible = writeln!(into, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        }
    }
}

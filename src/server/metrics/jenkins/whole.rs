//! What is said of the controller as a whole, and of each of its replicas.

use std::collections::{BTreeMap, BTreeSet};

use meter::Document;
use model::NodeName;
use store::Node;

use super::Job;
use super::page::{Page, float, label};
use crate::api::QueueCounts;
use crate::error::Error;
use crate::front::JENKINS_VERSION;
use crate::look::Look;
use crate::metrics::controller::Controller;
use crate::metrics::{REQUESTS, scrape};
use crate::ports::App;
use crate::request::Base;

/// Nodes and labels that are shown one by one.
const MOST: usize = 2_000;

pub(super) async fn text(app: &App, queue: &QueueCounts, jobs: &[Job]) -> Result<String, Error> {
    let base = Base::of(Some("http://localhost"), &http::HeaderMap::new());
    let look = Look::new(app, &base);
    let controller = scrape::whole(app).await?;
    let replicas = scrape::all(app).await;
    let mut page = Page::default();
    status(&mut page, app, &controller, &replicas);
    nodes(&mut page, &look).await?;
    numbers(&mut page, &controller, queue, jobs);
    processes(&mut page, &replicas);
    Ok(page.end())
}

fn status(page: &mut Page, app: &App, controller: &Controller, replicas: &Document) {
    page.gauge("default_jenkins_up", "Is Jenkins ready to receive requests", 1);
    // the controller is up for as long as the oldest of its replicas
    let began = replicas.family("process_start_time_seconds");
    let began =
        began.iter().flat_map(|f| f.samples.iter().map(meter::Sample::number)).fold(f64::MAX, f64::min);
    let up = (app.commands.now().0 as f64 - began * 1_000.0).max(0.0).round();
    page.head("default_jenkins_uptime", "gauge", "Milliseconds since the oldest replica began");
    page.sample("default_jenkins_uptime", "", up);
    page.head("default_jenkins_version_info", "gauge", "Version of Jenkins whose REST is spoken");
    page.sample("default_jenkins_version_info", &label("version", JENKINS_VERSION), 1.0);
    page.head("default_jenkins_version", "gauge", "Version of Jenkins whose REST is spoken");
    page.sample("default_jenkins_version", &label("version", JENKINS_VERSION), 1.0);
    page.gauge("default_jenkins_quietdown", "Is Jenkins in quiet mode", u64::from(controller.quiet));
}

/// Executors of the nodes of a label.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Load {
    defined: u64,
    online: u64,
    busy: u64,
    queue: u64,
}

/// By label and by name of a node, which is a label too.
fn loads(
    nodes: &[(&Node, bool)],
    busy: &BTreeMap<&NodeName, u64>,
    waits: &[Option<&str>],
) -> BTreeMap<String, Load> {
    let mut loads: BTreeMap<String, Load> = BTreeMap::new();
    for (node, online) in nodes {
        let executors = u64::from(node.executors);
        let busy = busy.get(&node.name).copied().unwrap_or(0);
        let own = std::iter::once(node.name.as_str());
        let labels: BTreeSet<&str> = node.labels.iter().map(String::as_str).chain(own).collect();
        for label in labels {
            let load = loads.entry(label.to_owned()).or_default();
            load.defined += executors;
            load.online += if *online { executors } else { 0 };
            load.busy += if *online { busy.min(executors) } else { 0 };
        }
    }
    for label in waits.iter().flatten() {
        if let Some(load) = loads.get_mut(*label) {
            load.queue += 1;
        }
    }
    loads
}

async fn nodes(page: &mut Page, look: &Look<'_>) -> Result<(), Error> {
    let mut all = Vec::new();
    for node in look.nodes().await? {
        all.push((node, node.offline.is_none() && look.holder(node).await?.is_some()));
    }
    page.head("default_jenkins_nodes_online", "gauge", "Jenkins nodes online status");
    for (node, online) in all.iter().take(MOST) {
        let value = if *online { 1.0 } else { 0.0 };
        page.sample("default_jenkins_nodes_online", &label("node", node.name.as_str()), value);
    }
    let mut busy: BTreeMap<&NodeName, u64> = BTreeMap::new();
    for executor in look.busy().await? {
        *busy.entry(&executor.node).or_default() += 1;
    }
    let waits = look.store().waits().await?;
    let waits: Vec<Option<&str>> = waits.iter().map(|wait| wait.label.as_deref().map(str::trim)).collect();
    let loads = loads(&all, &busy, &waits);
    type Of = fn(&Load) -> u64;
    let families: [(&str, &str, Of); 7] = [
        ("available", "Executors Available", |load| load.online - load.busy),
        ("busy", "Executors Busy", |load| load.busy),
        ("connecting", "Executors Connecting", |_| 0),
        ("defined", "Executors Defined", |load| load.defined),
        ("idle", "Executors Idle", |load| load.online - load.busy),
        ("online", "Executors Online", |load| load.online),
        ("queue_length", "Executors Queue Length", |load| load.queue),
    ];
    for (name, help, value) in families {
        let name = format!("default_jenkins_executors_{name}");
        page.head(&name, "gauge", help);
        for (of, load) in loads.iter().take(MOST) {
            page.sample(&name, &label("label", of), float(value(load)));
        }
    }
    Ok(())
}

/// Name and value of each gauge of the plugin `metrics` that is of the whole; a name as Dropwizard has it.
pub(super) fn gauges(controller: &Controller, queue: &QueueCounts, jobs: &[Job]) -> Vec<(&'static str, u64)> {
    let places = controller.places;
    let disabled = jobs.iter().filter(|job| job.tally.item.disabled).count() as u64;
    let all = jobs.len() as u64;
    vec![
        ("jenkins.executor.count", places.executors),
        ("jenkins.executor.free", places.free()),
        ("jenkins.executor.in-use", places.busy),
        ("jenkins.job.count", all),
        ("jenkins.node.count", places.online + places.offline),
        ("jenkins.node.offline", places.offline),
        ("jenkins.node.online", places.online),
        ("jenkins.project.count", all),
        ("jenkins.project.disabled.count", disabled),
        ("jenkins.project.enabled.count", all - disabled),
        ("jenkins.queue.blocked", queue.blocked),
        ("jenkins.queue.buildable", queue.buildable),
        ("jenkins.queue.pending", 0),
        ("jenkins.queue.size", queue.all()),
        ("jenkins.queue.stuck", queue.stuck),
    ]
}

fn numbers(page: &mut Page, controller: &Controller, queue: &QueueCounts, jobs: &[Job]) {
    for (name, value) in gauges(controller, queue, jobs) {
        let name = format!("{}_value", name.replace(['.', '-'], "_"));
        page.gauge(&name, "Under the name of Jenkins' metrics plugin", value);
    }
    let plugins = ["jenkins_plugins_active", "jenkins_plugins_failed", "jenkins_plugins_inactive"];
    for name in plugins.into_iter().chain(["jenkins_plugins_withUpdate"]) {
        page.gauge(name, "Plugins: there are none yet", 0);
    }
    page.gauge("jenkins_health_check_count", "Health checks: of the store", 1);
    page.gauge("jenkins_health_check_score", "Share of health checks that are well", 1);
}

/// How the plugin names a status.
pub(super) fn code(status: &str) -> &'static str {
    match status {
        "200" => "ok",
        "201" => "created",
        "204" => "noContent",
        "304" => "notModified",
        "400" => "badRequest",
        "403" => "forbidden",
        "404" => "notFound",
        "500" => "serverError",
        "503" => "serviceUnavailable",
        _ => "other",
    }
}

/// Samples of a metric of ours, summed up by replica and by what `key` makes of each.
fn by_replica(
    document: &Document,
    name: &str,
    key: impl Fn(&meter::Sample) -> String,
) -> BTreeMap<(String, String), f64> {
    let mut sums = BTreeMap::new();
    for sample in document.family(name).iter().flat_map(|family| &family.samples) {
        let replica = sample.label("replica").unwrap_or_default().to_owned();
        *sums.entry((key(sample), replica)).or_insert(0.0) += sample.number();
    }
    sums
}

/// What each replica has counted since it began.
fn processes(page: &mut Page, replicas: &Document) {
    let ended = by_replica(replicas, "majordomo_builds_ended_total", |sample| {
        sample.label("result").unwrap_or_default().to_owned()
    });
    let total = by_replica(replicas, "majordomo_builds_ended_total", |_| "total".to_owned());
    series(
        page,
        "jenkins_runs_",
        "_total",
        "Builds that have ended at the replica",
        ended.into_iter().chain(total),
    );
    let codes = by_replica(replicas, REQUESTS.name, |s| code(s.label("code").unwrap_or_default()).to_owned());
    series(page, "http_responseCodes_", "_total", "Answers of the replica with that status", codes);
    let requests = by_replica(replicas, REQUESTS.name, |_| "http_requests".to_owned());
    let seconds = by_replica(replicas, "majordomo_http_request_seconds", |sample| sample.name.clone());
    page.head("http_requests", "summary", "Requests to the replica, in seconds");
    for ((_, replica), count) in requests {
        page.sample("http_requests_count", &label("replica", &replica), count);
    }
    for ((_, replica), sum) in seconds.into_iter().filter(|((name, _), _)| name.ends_with("_sum")) {
        page.sample("http_requests_sum", &label("replica", &replica), sum);
    }
    machine(page, replicas);
}

/// A family for each key: `prefix`, the key, `suffix`.
fn series(
    page: &mut Page,
    prefix: &str,
    suffix: &str,
    help: &str,
    sums: impl IntoIterator<Item = ((String, String), f64)>,
) {
    let mut last = String::new();
    for ((key, replica), value) in sums {
        let name = format!("{prefix}{key}{suffix}");
        if name != last {
            page.head(&name, "counter", help);
            last.clone_from(&name);
        }
        page.sample(&name, &label("replica", &replica), value);
    }
}

/// What a Java machine would say of itself, as far as a process has it, and the process itself.
fn machine(page: &mut Page, replicas: &Document) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let value = |replica: &str, name: &str| {
        let family = replicas.family(name)?;
        family.samples.iter().find(|s| s.label("replica") == Some(replica)).map(meter::Sample::number)
    };
    let names = replicas.family("process_start_time_seconds");
    let names: Vec<&str> = names.iter().flat_map(|f| &f.samples).filter_map(|s| s.label("replica")).collect();
    type Of<'a> = Box<dyn Fn(&str) -> Option<f64> + 'a>;
    let families: [(&str, &str, &str, Of<'_>); 7] = [
        (
            "vm_uptime_milliseconds",
            "gauge",
            "Milliseconds since the replica began",
            Box::new(|replica| {
                Some(((now.as_secs_f64() - value(replica, "process_start_time_seconds")?) * 1_000.0).round())
            }),
        ),
        (
            "vm_memory_total_used",
            "gauge",
            "Bytes of memory that the replica has in use",
            Box::new(|replica| value(replica, "process_resident_memory_bytes")),
        ),
        (
            "vm_count",
            "gauge",
            "Threads of the replica",
            Box::new(|replica| value(replica, "process_threads")),
        ),
        (
            "vm_file_descriptor_ratio",
            "gauge",
            "Open file descriptors by those that may be open",
            Box::new(|replica| {
                Some(value(replica, "process_open_fds")? / value(replica, "process_max_fds")?)
            }),
        ),
        (
            "process_cpu_seconds_total",
            "counter",
            "Processor time of the replica, in seconds",
            Box::new(|replica| value(replica, "process_cpu_seconds_total")),
        ),
        (
            "process_start_time_seconds",
            "gauge",
            "When the replica began, in seconds since 1970",
            Box::new(|replica| value(replica, "process_start_time_seconds")),
        ),
        (
            "process_resident_memory_bytes",
            "gauge",
            "Bytes of memory that the replica has in use",
            Box::new(|replica| value(replica, "process_resident_memory_bytes")),
        ),
    ];
    for (name, kind, help, of) in families {
        page.head(name, kind, help);
        for replica in &names {
            if let Some(value) = of(replica).filter(|value| value.is_finite()) {
                page.sample(name, &label("replica", replica), value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executors_are_counted_under_each_label_and_under_the_name_of_their_node() {
        let node = |name: &str, labels: &[&str]| Node {
            name: NodeName::parse(name).unwrap(),
            description: String::new(),
            executors: 2,
            labels: labels.iter().map(|l| (*l).to_owned()).collect(),
            exclusive: false,
            remote_fs: String::new(),
            offline: None,
            config: String::new(),
        };
        let (one, two) = (node("n1", &["linux", "n1"]), node("n2", &["linux"]));
        let busy = BTreeMap::from([(&one.name, 1)]);
        let loads = loads(&[(&one, true), (&two, false)], &busy, &[Some("linux"), Some("mac || x"), None]);
        assert_eq!(loads["linux"], Load { defined: 4, online: 2, busy: 1, queue: 1 });
        assert_eq!(loads["n1"], Load { defined: 2, online: 2, busy: 1, queue: 0 });
        assert_eq!(loads["n2"], Load { defined: 2, ..Load::default() });
        assert_eq!(loads.len(), 3);
    }
}

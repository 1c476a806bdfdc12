//! What Prometheus reads: while builds run, after a loss, and as it is documented.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use meter::{Document, Kind};

use crate::harness::{Client, Controller, until};

/// The documentation, and what is around its table.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
const BEGIN: &str = "<!-- metrics: written by tests/it/metrics.rs -->\n";
const END: &str = "<!-- end -->";

/// Who scrapes.
fn scraper(it: &Controller) -> Client {
    let token = fs::read_to_string(it.home.join("metrics-token")).unwrap();
    Client { authorization: Some(format!("Bearer {}", token.trim())), ..it.anonymous() }
}

fn scrape(client: &Client, path: &str) -> Document {
    let text = client.get(path).expect(200).text();
    let lines = text.lines().map(|line| Ok(line.to_owned()));
    let parsed = prometheus_parse::Scrape::parse(lines).unwrap();
    let document = Document::parse(&text);
    let samples = |line: &&str| !line.starts_with('#') && !line.is_empty();
    let found: usize = document.families.iter().map(|family| family.samples.len()).sum();
    assert_eq!(found, text.lines().filter(samples).count(), "each line is one of the format");
    assert!(parsed.samples.len() > 100, "another parser reads it too: {}", parsed.samples.len());
    document
}

/// Sum of the samples of that name in which all these labels stand.
fn sum(document: &Document, name: &str, labels: &[&str]) -> f64 {
    let family = name.strip_suffix("_count").or(name.strip_suffix("_sum")).unwrap_or(name);
    let family = document.family(family).unwrap_or_else(|| panic!("there is no {name}"));
    let of = |sample: &&meter::Sample| {
        sample.name == name && labels.iter().all(|label| sample.labels.split(',').any(|l| l == *label))
    };
    family.samples.iter().filter(of).map(meter::Sample::number).sum()
}

const ALL: &str = "/metrics?scope=controller";

#[test]
fn builds_are_counted_while_they_run_and_an_adoption_after_a_loss() {
    let it = Controller::start(3, 2);
    let scraper = scraper(&it);
    let mode = fs::metadata(it.home.join("metrics-token")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{mode:o}");
    it.admin.create_job("good", "node { sh 'echo 0123456789' }");
    it.admin.create_job("bad", "node { error 'no' }");
    it.admin.create_job("long", "node { sh 'while [ ! -e ../stop ]; do sleep 0.1; done' }");
    it.admin.build("good");
    it.admin.build("bad");
    it.admin.post("/job/long/build?delay=0sec").expect(201);
    let running = until("the build that stays", || {
        let document = scrape(&scraper, ALL);
        (sum(&document, "majordomo_builds_running", &[]) == 1.0
            && sum(&document, "majordomo_executors", &["state=\"busy\""]) == 1.0)
            .then_some(document)
    });
    assert_eq!(sum(&running, "majordomo_builds_ended_total", &["result=\"success\""]), 1.0);
    assert_eq!(sum(&running, "majordomo_builds_ended_total", &["result=\"failure\""]), 1.0);
    assert_eq!(sum(&running, "majordomo_build_seconds_count", &[]), 2.0);
    assert_eq!(sum(&running, "majordomo_builds_driving", &[]), 1.0);
    assert_eq!(sum(&running, "majordomo_queue_wait_seconds_count", &[]), 3.0);
    assert_eq!(sum(&running, "majordomo_executor_wait_seconds_count", &[]), 3.0);
    assert_eq!(sum(&running, "majordomo_steps_total", &["kind=\"node\""]), 3.0);
    assert_eq!(sum(&running, "majordomo_agent_links", &[]), 2.0);
    assert_eq!(sum(&running, "majordomo_replica_scraped", &[]), 3.0);
    assert_eq!(sum(&running, "majordomo_builds_adopted_total", &[]), 0.0);
    // the line itself, and what `sh -x` says
    assert!(sum(&running, "majordomo_log_received_bytes_total", &[]) >= 11.0);
    assert!(sum(&running, "majordomo_log_stored_bytes_total", &[]) > 100.0);
    assert!(sum(&running, "majordomo_store_commit_seconds_count", &[]) > 10.0);
    assert_eq!(sum(&running, "majordomo_store_available", &[]), 3.0);

    let owner = running.family("majordomo_replica_builds").unwrap();
    let owner = owner.samples.iter().find(|s| s.number() == 1.0).unwrap().label("replica").unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(it.pids[owner]).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let adopted = until("an adoption that is counted", || {
        let answer = scraper.get(ALL);
        let document = (answer.status == 200).then(|| Document::parse(&answer.text()))?;
        let counted = sum(&document, "majordomo_build_adoption_seconds_count", &[]) >= 1.0
            && sum(&document, "majordomo_agent_links", &[]) == 2.0;
        counted.then_some(document)
    });
    assert_eq!(sum(&adopted, "majordomo_builds_adopted_total", &[]), 1.0);
    assert!(sum(&adopted, "majordomo_build_adoption_seconds_sum", &[]) < 60.0);
    fs::write(it.home.join("agents/agent-1/workspace/stop"), "").ok();
    fs::write(it.home.join("agents/agent-2/workspace/stop"), "").ok();
    until("the end of the adopted build", || {
        (it.admin.json("/job/long/1/api/json")["result"] == "SUCCESS").then_some(())
    });
    until("the resumption", || {
        let document = scrape(&scraper, ALL);
        (sum(&document, "majordomo_build_resumption_seconds_count", &[]) == 1.0).then_some(())
    });
}

#[test]
fn metrics_are_refused_without_their_token() {
    let it = Controller::start(1, 0);
    for path in ["/metrics", ALL, "/prometheus/"] {
        let refused = it.anonymous().get(path).expect(401);
        assert!(refused.text().contains("metrics-token"), "{}", refused.text());
        let wrong = Client { authorization: Some("Bearer wrong".to_owned()), ..it.anonymous() };
        wrong.get(path).expect(403);
        it.admin.get(path).expect(200);
        scraper(&it).get(path).expect(200);
    }
    scraper(&it).get("/api/json").expect(401);
    it.unharmed();
}

/// A row of the table for each family.
fn table(document: &Document) -> String {
    let mut rows = BTreeSet::new();
    for family in document.families.iter().filter(|family| !family.samples.is_empty()) {
        let mut labels = BTreeSet::new();
        for pair in family.samples.iter().flat_map(|s| s.labels.split("\",")).filter(|pair| !pair.is_empty())
        {
            labels.insert(pair.split('=').next().unwrap());
        }
        let own = labels.remove("replica");
        labels.remove("le");
        let whose = if own { "" } else { "controller" };
        let named = labels.iter().map(|label| format!("`{label}`")).chain([whose.to_owned()]);
        let named: Vec<String> = named.filter(|label| !label.is_empty()).collect();
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
            Kind::Gauge | Kind::Summary | Kind::Unknown => "gauge",
        };
        let help = family.help.trim_end_matches('.');
        rows.insert(format!("| `{}` | {kind} | {} | {help} |\n", family.known_as(), named.join(", ")));
    }
    format!("| name | type | labels | meaning |\n|---|---|---|---|\n{}", rows.into_iter().collect::<String>())
}

#[test]
fn every_metric_is_documented_as_it_is_exported() {
    let it = Controller::start(2, 1);
    it.admin.create_job("one", "node { sh 'true' }");
    it.admin.build("one");
    let table = table(&scrape(&scraper(&it), ALL));
    let text = fs::read_to_string(FILE).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (documented, after) = rest.split_once(END).unwrap();
    if std::env::var_os("MAJORDOMO_BLESS").is_some() {
        fs::write(FILE, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    } else {
        assert_eq!(documented, table, "docs/metrics.md is out of date; MAJORDOMO_BLESS=1 writes it");
    }
    it.unharmed();
}

#[test]
fn what_is_exported_passes_the_check_of_prometheus() {
    let promtool = std::env::var("MAJORDOMO_PROMTOOL").unwrap_or_else(|_| "/usr/bin/promtool".to_owned());
    if !Path::new(&promtool).exists() {
        eprintln!("not run: there is no promtool (Debian package prometheus) here");
        return;
    }
    let it = Controller::start(1, 1);
    it.admin.create_job("one", "node { sh 'true' }");
    it.admin.build("one");
    for path in ["/metrics", ALL, "/prometheus/"] {
        let text = scraper(&it).get(path).expect(200).text();
        let mut check = check_of(Command::new(&promtool).args(["check", "metrics"]));
        check.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let said = check.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        // Jenkins' names keep no convention; ours do
        let bad: Vec<&str> =
            said.lines().filter(|line| path != "/prometheus/" || line.contains("error")).collect();
        assert!(bad.is_empty(), "{path}: {}", bad.join("\n"));
    }
    it.unharmed();
}

fn check_of(command: &mut Command) -> std::process::Child {
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

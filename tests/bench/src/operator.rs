//! The operator with many controllers on a real API server: how long until all is made, what it takes at rest. Nothing is scheduled,
//! so no pod runs: what is measured is the operator, and the API server beside it. The limit is a client that knows what to
//! write and writes the same objects, as many at once.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client, Config};
use serde_json::{Value, json};

use crate::system;
use crate::table::Table;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../kube/cluster");
/// The id of the cluster, which no test uses.
const ID: &str = "mjb";
const NAMESPACES: usize = 25;
/// Writes at once, as many as the operator has reconciles.
const WRITERS: usize = 64;
const PATIENCE: Duration = Duration::from_secs(900);
const REST: Duration = Duration::from_secs(60);
const PORT: u16 = 18_080;

pub(crate) fn measure(binary: &Path, count: usize, table: &mut Table) -> Result<()> {
    let Some(cluster) = Cluster::up()? else {
        println!("not run: a cluster can't be had here, see tests/kube/README.md");
        return Ok(());
    };
    cluster.kubectl(&["cordon", "-l", "kubernetes.io/os"])?;
    let definition = Command::new(binary).arg("crd").output().context("run majordomo crd")?;
    cluster.apply(&definition.stdout)?;
    cluster.kubectl(&["wait", "--for=condition=Established", "crd/hacontrollers.majordomo.dev"])?;
    let names: Vec<Value> = (0..NAMESPACES)
        .map(|n| json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace(n) } }))
        .collect();
    cluster.apply(list(&names).as_bytes())?;

    let operator = cluster.operator(binary)?;
    let controllers: Vec<Value> = (0..count).map(controller).collect();
    let began = Instant::now();
    cluster.create(list(&controllers).as_bytes())?;
    let written = began.elapsed();
    cluster.converged(count, began)?;
    let took = began.elapsed();
    let busy = system::busy(operator.pid);
    let all = cluster.scrape()?;
    let writes = sum(&all, "majordomo_operator_writes_total");
    let objects = number(&all, "majordomo_operator_objects");
    let limit = cluster.bare()?;
    table.row(
        "kubernetes",
        &format!("{count} controllers, until all is made"),
        format!("{:.1} s ({writes:.0} writes, {:.0}/s; {:.1} s on a core)", took.as_secs_f64(), writes / took.as_secs_f64(), busy.as_secs_f64()),
        format!(
            "a client that writes {} such objects, {WRITERS} at once: {:.1} s; creating the resources alone {:.1} s",
            limit.0,
            limit.1.as_secs_f64(),
            written.as_secs_f64()
        ),
    );
    table.row(
        "kubernetes",
        "reconciles until then, p99",
        quantile(&all, "majordomo_operator_reconcile_seconds", 0.99),
        "",
    );
    table.row(
        "kubernetes",
        &format!("operator with {count} controllers"),
        format!(
            "{:.1} MiB, {:.1} its own ({objects:.0} objects known)",
            mib(system::memory(operator.pid)),
            mib(system::own_memory(operator.pid))
        ),
        "goal 30 MB",
    );
    cluster.quiet()?;
    let before = (sum(&cluster.scrape()?, "majordomo_operator_writes_total"), system::busy(operator.pid));
    std::thread::sleep(REST);
    let after = (sum(&cluster.scrape()?, "majordomo_operator_writes_total"), system::busy(operator.pid));
    let share = (after.1 - before.1).as_secs_f64() / REST.as_secs_f64();
    table.row(
        "kubernetes",
        "at rest",
        format!("{:.0} writes a minute, {:.1} % of a core", after.0 - before.0, share * 100.0),
        "goal no writes",
    );
    Ok(())
}

fn namespace(n: usize) -> String {
    format!("bench-{}", n % NAMESPACES)
}

fn controller(n: usize) -> Value {
    json!({
        "apiVersion": "majordomo.dev/v1alpha1",
        "kind": "HAController",
        "metadata": { "name": format!("c{n}"), "namespace": namespace(n) },
        "spec": { "ingress": { "host": format!("c{n}.example.com"), "className": "none" } },
    })
}

fn list(items: &[Value]) -> String {
    json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()
}

#[expect(clippy::cast_precision_loss, reason = "a size for people")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1024.0 / 1024.0
}

/// A cluster of its own; it goes when this does, however that ends.
struct Cluster {
    _holder: Child,
    _held: ChildStdin,
}

/// A process of ours in the cluster's network.
struct Operator {
    child: Child,
    pid: u32,
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

impl Cluster {
    /// `None`: this machine can't carry one.
    fn up() -> Result<Option<Cluster>> {
        let script = |name: &str| PathBuf::from(SCRIPTS).join(name);
        let built = Command::new(script("build.sh")).stdout(Stdio::null()).status()?.success()
            && Command::new(script("images.sh")).arg("base").stdout(Stdio::null()).status()?.success();
        if !built || !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let mut holder = Command::new(script("hold.sh"))
            .envs([("NS", ID), ("NODES", "1"), ("INGRESS", "no")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start a cluster")?;
        let (held, said) = (holder.stdin.take(), holder.stdout.take());
        let mut line = String::new();
        BufReader::new(said.context("hear of the cluster")?).read_line(&mut line)?;
        if line.trim() != "ready" {
            return Ok(None);
        }
        Ok(Some(Cluster { _holder: holder, _held: held.context("hold the cluster")? }))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{ID}")).arg(program);
        command.env("KUBECONFIG", format!("/run/majordomo-kube/{ID}/admin.kubeconfig"));
        command
    }

    fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.fed(arguments, &[])
    }

    fn fed(&self, arguments: &[&str], input: &[u8]) -> Result<String> {
        let mut child = Command::new(PathBuf::from(SCRIPTS).join("k"))
            .env("NS", ID)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        child.stdin.take().context("feed kubectl")?.write_all(input)?;
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("kubectl {} failed", arguments.join(" "));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn apply(&self, objects: &[u8]) -> Result<()> {
        self.fed(&["apply", "--server-side", "-f", "-"], objects).map(drop)
    }

    fn create(&self, objects: &[u8]) -> Result<()> {
        self.fed(&["create", "-f", "-"], objects).map(drop)
    }

    fn operator(&self, binary: &Path) -> Result<Operator> {
        let child = self
            .command(&binary.canonicalize()?.display().to_string())
            .args(["operator", "--image", "registry.example.com/majordomo:1", "--identity", "bench"])
            .args(["--listen", &format!("127.0.0.1:{PORT}")])
            .env("MAJORDOMO_LOG", "warn")
            .spawn()
            .context("start the operator")?;
        // nsenter becomes the program
        let pid = child.id();
        Ok(Operator { child, pid })
    }

    /// Until each controller has its StatefulSets and was told of.
    fn converged(&self, count: usize, began: Instant) -> Result<()> {
        loop {
            let told = sum(&self.scrape().unwrap_or_default(), "majordomo_operator_controllers");
            #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
            let all = told >= count as f64;
            if all {
                let sets = self.kubectl(&["get", "statefulsets", "-A", "--no-headers"])?;
                if sets.lines().count() >= count * 2 {
                    return Ok(());
                }
            }
            if began.elapsed() > PATIENCE {
                bail!("{told} of {count} controllers were made after {} s", PATIENCE.as_secs());
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// Until nothing was written for some seconds.
    fn quiet(&self) -> Result<()> {
        let began = Instant::now();
        let (mut writes, mut since) = (0.0, Instant::now());
        while since.elapsed() < Duration::from_secs(20) && began.elapsed() < PATIENCE {
            let now = sum(&self.scrape()?, "majordomo_operator_writes_total");
            if now > writes {
                (writes, since) = (now, Instant::now());
            }
            std::thread::sleep(Duration::from_secs(1));
        }
        Ok(())
    }

    fn scrape(&self) -> Result<Metrics> {
        let output =
            self.command("curl").args(["-sf", &format!("http://127.0.0.1:{PORT}/metrics")]).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Ok(samples.collect())
    }

    /// The limit: the same kinds of objects under other names, as many as there are, written by a client that does nothing else.
    fn bare(&self) -> Result<(usize, Duration)> {
        const KINDS: [(&str, &str, &str, &str); 9] = [
            ("", "v1", "ServiceAccount", "serviceaccounts"),
            ("", "v1", "Secret", "secrets"),
            ("", "v1", "ConfigMap", "configmaps"),
            ("", "v1", "Service", "services"),
            ("apps", "v1", "ControllerRevision", "controllerrevisions"),
            ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
            ("networking.k8s.io", "v1", "Ingress", "ingresses"),
            ("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"),
            ("apps", "v1", "StatefulSet", "statefulsets"),
        ];
        self.kubectl(&["create", "namespace", "bare"])?;
        let mut objects = Vec::new();
        for (group, version, kind, plural) in KINDS {
            let selector = "app.kubernetes.io/managed-by=majordomo-operator";
            let all = self.kubectl(&["get", plural, "-A", "-l", selector, "-o", "json"])?;
            let all: Value = serde_json::from_str(&all)?;
            let resource =
                ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
            for item in all["items"].as_array().into_iter().flatten() {
                objects.push((resource.clone(), copied(item)));
            }
        }
        let count = objects.len();
        // a thread of its own: who has entered the cluster's network stays in it
        let writer = std::thread::spawn(move || -> Result<Duration> {
            enter();
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .on_thread_start(enter)
                .enable_all()
                .build()?;
            runtime.block_on(write(objects))
        });
        let took = writer.join().map_err(|_| anyhow::anyhow!("the client has panicked"))??;
        Ok((count, took))
    }
}

/// Without what only the one that it is copied from can have, in a namespace of its own.
fn copied(item: &Value) -> Value {
    let mut object = item.clone();
    let meta = &item["metadata"];
    let name = format!(
        "{}-{}",
        meta["namespace"].as_str().unwrap_or_default(),
        meta["name"].as_str().unwrap_or_default()
    );
    object["metadata"] = json!({ "name": name, "namespace": "bare" });
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        spec.retain(|field, _| !matches!(field.as_str(), "clusterIP" | "clusterIPs"));
        if spec.contains_key("template") {
            // no pods: they would be the scheduler's work
            spec.insert("replicas".to_owned(), 0.into());
        }
    }
    object
}

/// This thread sees the cluster's network from now on.
fn enter() {
    let entered = std::fs::File::open(format!("/run/netns/{ID}")).ok().and_then(|net| {
        let kind = Some(rustix::thread::LinkNameSpaceType::Network);
        rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&net), kind).ok()
    });
    if entered.is_none() {
        eprintln!("the cluster's network can't be entered");
    }
}

async fn write(objects: Vec<(ApiResource, Value)>) -> Result<Duration> {
    let path = format!("/run/majordomo-kube/{ID}/admin.kubeconfig");
    let config = kube::config::Kubeconfig::read_from(path)?;
    let config = Config::from_custom_kubeconfig(config, &kube::config::KubeConfigOptions::default()).await?;
    let client = Client::try_from(config)?;
    let began = Instant::now();
    let writes = futures_util::stream::iter(objects).map(|(resource, object)| {
        let api = Api::<DynamicObject>::namespaced_with(client.clone(), "bare", &resource);
        async move {
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            api.patch(&name, &PatchParams::apply("bench").force(), &Patch::Apply(object)).await
        }
    });
    let mut writes = writes.buffer_unordered(WRITERS);
    while let Some(written) = writes.next().await {
        written?;
    }
    Ok(began.elapsed())
}

type Metrics = BTreeMap<String, f64>;

fn sum(metrics: &Metrics, name: &str) -> f64 {
    metrics.iter().filter(|(sample, _)| sample.split('{').next() == Some(name)).map(|(_, value)| value).sum()
}

fn number(metrics: &Metrics, name: &str) -> f64 {
    metrics.get(name).copied().unwrap_or_default()
}

/// The bucket of a histogram in which this share of all is.
fn quantile(metrics: &Metrics, name: &str, share: f64) -> String {
    let mut buckets = BTreeMap::<u64, (String, f64)>::new();
    for (sample, value) in metrics {
        let Some(labels) = sample.strip_prefix(&format!("{name}_bucket{{")) else { continue };
        let Some(end) = labels.split("le=\"").nth(1).and_then(|rest| rest.split('"').next()) else {
            continue;
        };
        let number: f64 = end.parse().unwrap_or(f64::MAX);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an order of ends")]
        let key = (number.min(1e9) * 1e6) as u64;
        buckets.entry(key).or_insert((end.to_owned(), 0.0)).1 += value;
    }
    let all = buckets.values().next_back().map_or(0.0, |(_, value)| *value);
    let found = buckets.values().find(|(_, value)| *value >= all * share);
    found.map_or_else(|| "none".to_owned(), |(end, _)| format!("≤ {end} s"))
}

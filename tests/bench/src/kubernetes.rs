//! A Kubernetes of the benchmark's own, of `tests/kube/cluster`, on which nothing is scheduled, and the operator in it.

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

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../kube/cluster");
/// The id of the cluster, which no test uses.
const ID: &str = "mjb";
/// Writes at once, as many as the operator has reconciles.
pub(crate) const WRITERS: usize = 64;
const PATIENCE: Duration = Duration::from_secs(900);
const PORT: u16 = 18_080;

/// A cluster of its own; it goes when this does, however that ends.
pub(crate) struct Cluster {
    _holder: Child,
    _held: ChildStdin,
}

/// A process of ours in the cluster's network.
pub(crate) struct Operator {
    child: Child,
    pub(crate) pid: u32,
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

impl Cluster {
    /// `None`: this machine can't carry one.
    pub(crate) fn up() -> Result<Option<Cluster>> {
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

    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String> {
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

    pub(crate) fn apply(&self, objects: &[u8]) -> Result<()> {
        self.fed(&["apply", "--server-side", "-f", "-"], objects).map(drop)
    }

    pub(crate) fn create(&self, objects: &[u8]) -> Result<()> {
        self.fed(&["create", "-f", "-"], objects).map(drop)
    }

    pub(crate) fn operator(&self, binary: &Path) -> Result<Operator> {
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

    /// Until each controller was told of, and there are that many StatefulSets.
    pub(crate) fn converged(&self, count: usize, sets: usize, began: Instant) -> Result<()> {
        loop {
            let told = sum(&self.scrape().unwrap_or_default(), "majordomo_operator_controllers");
            #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
            let all = told >= count as f64;
            if all {
                let there = self.kubectl(&["get", "statefulsets", "-A", "--no-headers"])?;
                if there.lines().count() >= sets {
                    return Ok(());
                }
            }
            if began.elapsed() > PATIENCE {
                bail!("{told} of {count} controllers were made after {} s", PATIENCE.as_secs());
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// All that is asked for can be had: a controller with a fault does not rest.
    pub(crate) fn without_faults(&self) -> Result<()> {
        let all: Value = serde_json::from_str(&self.kubectl(&["get", "hac", "-A", "-o", "json"])?)?;
        for controller in all["items"].as_array().into_iter().flatten() {
            let conditions = controller["status"]["conditions"].as_array();
            let fault = conditions.into_iter().flatten().find(|condition| match condition["type"].as_str() {
                Some("ConfigurationValid") => condition["status"] != "True",
                Some("Exposed") => condition["reason"] != "AddressPending",
                _ => false,
            });
            if let Some(fault) = fault {
                bail!("{}: {fault}", controller["metadata"]["name"]);
            }
        }
        Ok(())
    }

    /// Until nothing was written for some seconds.
    pub(crate) fn quiet(&self) -> Result<()> {
        let began = Instant::now();
        let (mut writes, mut since) = (0.0, Instant::now());
        while since.elapsed() < Duration::from_secs(20) {
            if began.elapsed() > PATIENCE {
                bail!("the operator still writes after {} s", PATIENCE.as_secs());
            }
            let now = sum(&self.scrape()?, "majordomo_operator_writes_total");
            if now > writes {
                (writes, since) = (now, Instant::now());
            }
            std::thread::sleep(Duration::from_secs(1));
        }
        Ok(())
    }

    pub(crate) fn scrape(&self) -> Result<Metrics> {
        let output =
            self.command("curl").args(["-sf", &format!("http://127.0.0.1:{PORT}/metrics")]).output()?;
        Ok(read(&String::from_utf8_lossy(&output.stdout)))
    }

    /// Requests that the API server has answered so far, whoever asked, but for watches, which are counted when they end.
    pub(crate) fn requests(&self) -> Result<f64> {
        let all = read(&self.kubectl(&["get", "--raw", "/metrics"])?);
        let counted = |sample: &String| {
            sample.starts_with("apiserver_request_total{") && !sample.contains("verb=\"WATCH\"")
        };
        Ok(all.iter().filter(|(sample, _)| counted(sample)).map(|(_, count)| count).sum())
    }

    /// Has all pods seem to run and to be ready, as a kubelet would tell it, until there are so many.
    pub(crate) fn run_pods(&self, count: usize) -> Result<()> {
        let began = Instant::now();
        loop {
            let pods: Value = serde_json::from_str(&self.kubectl(&["get", "pods", "-A", "-o", "json"])?)?;
            let ours = |pod: &&Value| {
                pod["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "majordomo-operator"
            };
            let pods: Vec<&Value> = pods["items"].as_array().into_iter().flatten().filter(ours).collect();
            let (run, wait): (Vec<&Value>, Vec<&Value>) =
                pods.into_iter().partition(|pod| pod["status"]["phase"] == "Running");
            if run.len() == count {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                bail!("{} of {count} pods were made", run.len() + wait.len());
            }
            let statuses: Vec<(String, String, Value)> = wait.into_iter().map(running).collect();
            elsewhere(move || tell(statuses))?;
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// The limit: the same kinds of objects under other names, as many as there are, written by a client that does nothing else.
    pub(crate) fn bare(&self) -> Result<(usize, Duration)> {
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
        Ok((count, elsewhere(move || write(objects))?))
    }
}

/// Executes it in the cluster's network, on a thread of its own: who has entered stays there.
fn elsewhere<T, F>(act: impl FnOnce() -> F + Send + 'static) -> Result<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>>,
{
    let client = std::thread::spawn(move || -> Result<T> {
        enter();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .on_thread_start(enter)
            .enable_all()
            .build()?;
        runtime.block_on(act())
    });
    client.join().map_err(|_| anyhow::anyhow!("the client has panicked"))?
}

/// Namespace and name of a pod, and what its kubelet would tell if it ran.
fn running(pod: &Value) -> (String, String, Value) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let since = &pod["metadata"]["creationTimestamp"];
    let condition = |kind: &str| json!({ "type": kind, "status": "True", "lastTransitionTime": since });
    let mut conditions = vec![condition("ContainersReady"), condition("Ready")];
    // what the scheduler has told stays, or it would tell it again
    conditions.extend(pod["status"]["conditions"].as_array().into_iter().flatten().cloned());
    let container = &pod["spec"]["containers"][0];
    let status = json!({
        "phase": "Running",
        "startTime": since,
        "conditions": conditions,
        "containerStatuses": [{
            "name": container["name"], "image": container["image"], "imageID": container["image"],
            "ready": true, "started": true, "restartCount": 0, "state": { "running": { "startedAt": since } },
        }],
    });
    (text(&pod["metadata"]["namespace"]), text(&pod["metadata"]["name"]), json!({ "status": status }))
}

async fn client() -> Result<Client> {
    let path = format!("/run/majordomo-kube/{ID}/admin.kubeconfig");
    let config = kube::config::Kubeconfig::read_from(path)?;
    let config = Config::from_custom_kubeconfig(config, &kube::config::KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

async fn tell(statuses: Vec<(String, String, Value)>) -> Result<()> {
    let client = client().await?;
    let pods = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Pod"), "pods");
    let told = futures_util::stream::iter(statuses).map(|(namespace, name, status)| {
        let api = Api::<DynamicObject>::namespaced_with(client.clone(), &namespace, &pods);
        async move { api.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await }
    });
    let mut told = told.buffer_unordered(WRITERS);
    while let Some(told) = told.next().await {
        told?;
    }
    Ok(())
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
    let client = client().await?;
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

/// Samples, by name and labels.
pub(crate) type Metrics = BTreeMap<String, f64>;

fn read(text: &str) -> Metrics {
    let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    });
    samples.collect()
}

pub(crate) fn sum(metrics: &Metrics, name: &str) -> f64 {
    metrics.iter().filter(|(sample, _)| sample.split('{').next() == Some(name)).map(|(_, value)| value).sum()
}

pub(crate) fn number(metrics: &Metrics, name: &str) -> f64 {
    metrics.get(name).copied().unwrap_or_default()
}

/// The bucket of a histogram in which this share of all is.
pub(crate) fn quantile(metrics: &Metrics, name: &str, share: f64) -> String {
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

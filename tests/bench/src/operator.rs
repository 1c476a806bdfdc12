//! The operator with many controllers on a real API server: how long until all is made, what it takes at rest. Nothing is scheduled;
//! pods only seem to run, so that what is measured is the operator, and the API server beside it. The limit is a client that
//! knows what to write and writes the same objects, as many at once.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::kubernetes::{Cluster, Operator, WRITERS, number, quantile, sum};
use crate::system;
use crate::table::Table;

const NAMESPACES: usize = 25;
/// Of so many controllers one has a database and a bucket of somebody else.
const EXTERNAL: usize = 5;
const REPLICAS: usize = 3;
/// What is read once a minute is read about as often in each such time.
const REST: Duration = Duration::from_secs(180);
/// Nobody is its controller, so no ingress gets an address.
const CLASS: &str = "{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {name: none}, spec: {controller: example.com/nobody}}";

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
    cluster.apply(CLASS.as_bytes())?;
    let external = (0..count).filter(|n| is_external(*n));
    let secrets: Vec<Value> = external.clone().flat_map(secrets).collect();
    cluster.create(list(&secrets).as_bytes())?;
    let builtin = count - external.count();
    let controllers: Vec<Value> = (0..count).map(controller).collect();
    let began = Instant::now();
    cluster.create(list(&controllers).as_bytes())?;
    let written = began.elapsed();
    cluster.converged(count, count + builtin, began)?;
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
    cluster.run_pods(count * REPLICAS + builtin)?;
    cluster.quiet()?;
    rests(&cluster, operator, table)
}

/// All is made, and all pods seem to be ready.
fn rests(cluster: &Cluster, operator: Operator, table: &mut Table) -> Result<()> {
    cluster.without_faults()?;
    let look = || -> Result<(Instant, f64, f64, Duration)> {
        let writes = sum(&cluster.scrape()?, "majordomo_operator_writes_total");
        Ok((Instant::now(), cluster.requests()?, writes, system::busy(operator.pid)))
    };
    // the first readings have their connections, the last their own request in them, as those without the operator
    let before = look()?;
    std::thread::sleep(REST);
    let after = look()?;
    let memory = (system::memory(operator.pid), system::own_memory(operator.pid));
    let minutes = (after.0 - before.0).as_secs_f64() / 60.0;
    let (requests, writes) = ((after.1 - before.1) / minutes, (after.2 - before.2) / minutes);
    let share = (after.3 - before.3).as_secs_f64() / (after.0 - before.0).as_secs_f64();
    drop(operator);
    let (began, before) = (Instant::now(), cluster.requests()?);
    std::thread::sleep(REST);
    let without = (cluster.requests()? - before) / (began.elapsed().as_secs_f64() / 60.0);
    table.row(
        "kubernetes",
        "at rest (pods seem ready, and are not asked)",
        format!(
            "{writes:.0} writes and {:.0} other requests a minute, {:.1} % of a core, {:.1} MiB, {:.1} its own",
            requests - without - writes,
            share * 100.0,
            mib(memory.0),
            mib(memory.1)
        ),
        format!("goal no writes; without the operator the API server has {without:.0} requests a minute"),
    );
    Ok(())
}

fn is_external(n: usize) -> bool {
    n.is_multiple_of(EXTERNAL)
}

fn namespace(n: usize) -> String {
    format!("bench-{}", n % NAMESPACES)
}

/// As in the examples: the minimal one behind an ingress, or one of a company.
fn controller(n: usize) -> Value {
    let mut ingress = json!({ "host": format!("c{n}.example.com"), "className": "none" });
    let mut spec = json!({ "replicas": REPLICAS });
    if is_external(n) {
        ingress["tls"] = json!({ "secretName": format!("c{n}-tls") });
        spec["store"] = json!({ "postgres": { "secretRef": { "name": format!("c{n}-db") } } });
        spec["objects"] = json!({ "s3": { "bucket": "ci", "secretRef": { "name": format!("c{n}-s3") } } });
        spec["resources"] = json!({ "requests": { "cpu": "1", "memory": "1Gi" } });
    }
    spec["ingress"] = ingress;
    json!({
        "apiVersion": "majordomo.dev/v1alpha1",
        "kind": "HAController",
        "metadata": { "name": format!("c{n}"), "namespace": namespace(n) },
        "spec": spec,
    })
}

/// What such a one names.
fn secrets(n: usize) -> [Value; 3] {
    let url = format!("postgres://ci:secret@db.example.com/c{n}");
    let made = [
        ("db", json!({ "url": url })),
        ("s3", json!({ "access-key-id": "id", "secret-access-key": "secret" })),
        ("tls", json!({ "tls.crt": "", "tls.key": "" })),
    ];
    made.map(|(name, data)| {
        let metadata = json!({ "name": format!("c{n}-{name}"), "namespace": namespace(n) });
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data })
    })
}

fn list(items: &[Value]) -> String {
    json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()
}

#[expect(clippy::cast_precision_loss, reason = "a size for people")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1024.0 / 1024.0
}

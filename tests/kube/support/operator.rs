//! The operator, installed by Helm as a user would.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "test support; no test uses all of it")]

use std::io::Write;
use std::path::Path;
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::cluster::{Cluster, cluster, not_run, postgres, wait_or};
use super::kubectl::{Kubectl, LONG, is_ready};

const NAMESPACE: &str = "majordomo-system";
/// Of the release, its Deployment and its Lease.
const NAME: &str = "majordomo-operator";
/// Which pods it has.
const PODS: &str = "app.kubernetes.io/instance=majordomo-operator";

/// Stories at once: most of the time each waits for something, and two cores carry three controllers under load.
const AT_ONCE: usize = 3;

/// Executes it in the cluster's network, with the operator installed, while nobody breaks what it needs.
pub(crate) fn story(act: impl FnOnce(&'static Cluster, &'static Operator) + Send) {
    let Some(cluster) = here() else { return };
    let _peace = cluster.peace();
    tell(cluster, act);
}

/// The same for stories that break what others need.
pub(crate) fn story_alone(act: impl FnOnce(&'static Cluster, &'static Operator) + Send) {
    let Some(cluster) = here() else { return };
    let _alone = cluster.alone();
    tell(cluster, act);
}

fn here() -> Option<&'static Cluster> {
    let cluster = cluster()?;
    if postgres().is_none() {
        not_run("PostgreSQL is not installed");
        return None;
    }
    Some(cluster)
}

fn tell(cluster: &'static Cluster, act: impl FnOnce(&'static Cluster, &'static Operator) + Send) {
    let _turn = Turn::take();
    let operator = Operator::installed(cluster);
    let began = Instant::now();
    cluster.inside(|| act(cluster, operator));
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    // not captured: who runs them all wants to know what takes its time
    let _told = writeln!(std::io::stderr(), "{name} was told in {:.0?}", began.elapsed());
}

static FREE: (Mutex<usize>, Condvar) = (Mutex::new(AT_ONCE), Condvar::new());

/// One of those that are told at once.
struct Turn;

impl Turn {
    fn take() -> Turn {
        let (free, given_back) = &FREE;
        let free = free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = given_back.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let (free, given_back) = &FREE;
        *free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        given_back.notify_one();
    }
}

pub(crate) struct Operator {
    /// In its namespace.
    pub(crate) kubectl: Kubectl,
}

/// The operator is not as the other stories need it.
pub(crate) struct Otherwise<'a>(&'a Operator, &'a Cluster);

impl Drop for Otherwise<'_> {
    fn drop(&mut self) {
        match self.0.release(self.1, &[]) {
            Err(why) if std::thread::panicking() => eprintln!("{why}"),
            done => done.unwrap_or_else(|why| panic!("{why}")),
        }
    }
}

impl Operator {
    /// Installed once for all tests of this process, with its two pods ready. It goes with the cluster.
    pub(crate) fn installed(cluster: &Cluster) -> &'static Operator {
        static INSTALLED: OnceLock<Operator> = OnceLock::new();
        INSTALLED.get_or_init(|| Operator::install(cluster))
    }

    fn install(cluster: &Cluster) -> Operator {
        let all = cluster.kubectl();
        let operator = Operator { kubectl: all.within(NAMESPACE) };
        all.apply(&format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: {NAMESPACE}, \
             labels: {{pod-security.kubernetes.io/enforce: restricted}}}}}}"
        ));
        operator.release(cluster, &[]).unwrap_or_else(|why| panic!("{why}"));
        operator
    }

    /// Installs it, or another release of it, with further values, and waits until its pods are ready.
    fn release(&self, cluster: &Cluster, more: &[String]) -> Result<(), String> {
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/majordomo-operator");
        let postgres = postgres().expect("a story begins only where there is one");
        let values = [
            "image.repository=registry.local/majordomo".to_owned(),
            "image.tag=dev".to_owned(),
            format!("postgresImage=registry.local/postgres:{postgres}"),
            // stories that kill it wait for it
            "leaseDurationSeconds=8".to_owned(),
            // in a cluster that stood before, pods with what was built before go
            format!("podAnnotations.test=process-{}", std::process::id()),
        ];
        let mut helm = cluster.helm();
        // a cluster of somebody may have it already
        helm.args(["upgrade", "--install", NAME]).arg(chart).args(["--namespace", NAMESPACE]);
        helm.args(["--wait", "--timeout", "5m"]);
        for value in values.iter().chain(more) {
            helm.args(["--set", value]);
        }
        let done = helm.output().unwrap();
        if !done.status.success() {
            return Err(format!("helm: {}{}", String::from_utf8_lossy(&done.stderr), self.explain()));
        }
        // those of an earlier one may still be on their way out
        let began = Instant::now();
        while self.pods().len() != 2 {
            if began.elapsed() > LONG {
                return Err(format!("there are not two pods that are ready: {}", self.explain()));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    /// For these namespaces only, until the value is dropped.
    pub(crate) fn only<'a>(&'a self, cluster: &'a Cluster, namespaces: &[&str]) -> Otherwise<'a> {
        let otherwise = Otherwise(self, cluster);
        let these = format!("namespaces={{{}}}", namespaces.join(","));
        self.release(cluster, &[these]).unwrap_or_else(|why| panic!("{why}"));
        otherwise
    }

    /// Away, until the value is dropped.
    pub(crate) fn away<'a>(&'a self, cluster: &'a Cluster) -> Otherwise<'a> {
        let otherwise = Otherwise(self, cluster);
        self.kubectl.run(&["scale", "deployment", NAME, "--replicas=0"]);
        let none = || {
            let pods = self.kubectl.look(&["pods", "-l", PODS])?;
            pods["items"].as_array().is_some_and(Vec::is_empty).then_some(())
        };
        wait_or(LONG, "the operator is away", none, || self.explain());
        otherwise
    }

    /// Whether it may do that, as the API server says: `verb` and resource.
    pub(crate) fn may(&self, verb: &str, resource: &str, namespace: &str) -> bool {
        let who = format!("system:serviceaccount:{NAMESPACE}:{NAME}");
        let asked = ["auth", "can-i", verb, resource, "--as", &who];
        self.kubectl.within(namespace).attempt(&asked).is_ok()
    }

    /// Names of those that are ready.
    pub(crate) fn pods(&self) -> Vec<String> {
        let pods = self.kubectl.look(&["pods", "-l", PODS]).unwrap_or_default();
        let pods = pods["items"].as_array().into_iter().flatten().filter(|pod| is_ready(pod));
        pods.filter_map(|pod| Some(pod["metadata"]["name"].as_str()?.to_owned())).collect()
    }

    /// The pod that leads, as its Lease says, and when it has said so last; nothing while nobody does.
    pub(crate) fn leader(&self) -> Option<(String, Timestamp)> {
        let lease = self.kubectl.look(&["lease", NAME])?;
        let (holder, renewed) = (&lease["spec"]["holderIdentity"], &lease["spec"]["renewTime"]);
        let holder = holder.as_str().filter(|holder| !holder.is_empty())?;
        Some((holder.to_owned(), renewed.as_str()?.parse().ok()?))
    }

    /// What its pods have said, each line with the pod before it.
    pub(crate) fn logs(&self) -> String {
        let arguments = ["logs", "-l", PODS, "--prefix", "--tail=-1", "--ignore-errors"];
        self.kubectl.attempt(&arguments).unwrap_or_else(|why| why)
    }

    pub(crate) fn explain(&self) -> String {
        let pods = self.kubectl.attempt(&["describe", "pods", "-l", PODS]).unwrap_or_else(|why| why);
        pods + &self.logs()
    }
}

//! A controller of the operator, in a namespace of its own, and what its users do.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "test support; no test uses all of it")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use security::Keys;
use serde_json::{Value, json};

use super::cluster::{Cluster, INGRESS, NODES, OUTSIDE, node_ingress, wait_or};
pub(crate) use super::kubectl::LONG;
use super::kubectl::{Kubectl, Namespace, condition};
pub(crate) use crate::common::controller::wait;
use crate::common::http::{Client, Reply};
use crate::common::items;
use crate::common::processes::{folder, kill_all};

/// Of each.
pub(crate) const NAME: &str = "acme";
/// For what takes several starts of pods.
pub(crate) const PATIENCE: Duration = Duration::from_secs(420);
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_majordomo");

pub(crate) struct Controller {
    pub(crate) cluster: &'static Cluster,
    pub(crate) namespace: Namespace,
    /// Files of the test and its agents; also the mark of their processes.
    pub(crate) root: PathBuf,
    /// What users call it: the host of its ingress, if it has one.
    pub(crate) host: String,
    client: OnceLock<Client>,
}

impl Controller {
    /// A namespace for one, and nothing in it yet.
    pub(crate) fn prepare(cluster: &'static Cluster, name: &str) -> Controller {
        let namespace = cluster.kubectl().namespace(name);
        let host = format!("{NAME}.{}.test", namespace.name);
        Controller { cluster, root: folder(name), host, namespace, client: OnceLock::new() }
    }

    /// One behind the ingress, under [`Controller::host`], as soon as all its replicas are ready. `spec` is what else is wanted
    /// of it.
    pub(crate) fn start(cluster: &'static Cluster, name: &str, mut spec: Value) -> Controller {
        let controller = Controller::prepare(cluster, name);
        spec["ingress"] = json!({"host": controller.host});
        controller.apply(&spec);
        controller.wait_ready();
        controller
    }

    /// `kubectl apply` of a `HAController` with this spec.
    pub(crate) fn apply(&self, spec: &Value) {
        let object = json!({
            "apiVersion": "majordomo.dev/v1alpha1", "kind": "HAController", "metadata": {"name": NAME}, "spec": spec,
        });
        self.namespace.apply(&object.to_string());
    }

    /// Changes fields of the resource; null removes one.
    pub(crate) fn edit(&self, patch: &Value) {
        self.namespace.run(&["patch", "hac", NAME, "--type=merge", "-p", &patch.to_string()]);
    }

    pub(crate) fn annotate(&self, annotation: &str) {
        self.namespace.run(&["annotate", "--overwrite", "hac", NAME, annotation]);
    }

    pub(crate) fn resource(&self) -> Value {
        self.namespace.get(&["hac", NAME])
    }

    /// Waits until there is something to be seen in the resource, whose status is that of what it asks for now.
    pub(crate) fn until<T>(&self, what: &str, mut look: impl FnMut(&Value) -> Option<T>) -> T {
        let current = || {
            let resource = self.namespace.look(&["hac", NAME])?;
            let (status, generation) = (&resource["status"], &resource["metadata"]["generation"]);
            (status["observedGeneration"] == *generation).then(|| look(&resource)).flatten()
        };
        wait_or(PATIENCE, what, current, || self.explain())
    }

    /// Waits until all replicas that are wanted serve and run what is wanted, and no others are there.
    pub(crate) fn wait_ready(&self) -> Value {
        self.until("all replicas are ready", |resource| {
            let status = &resource["status"];
            let wanted = &resource["spec"]["replicas"];
            let all = status["readyReplicas"] == *wanted && status["replicas"] == *wanted;
            (status["phase"] == "Ready" && all).then(|| resource.clone())
        })
    }

    /// Waits until this many rollouts were recorded, and the last one has ended; its record.
    pub(crate) fn rolled(&self, records: usize) -> Value {
        self.until(&format!("rollout {records} has ended"), |resource| {
            let history = resource["status"]["rollout"]["history"].as_array()?;
            let last = history.first()?;
            (history.len() == records && last["end"].is_string()).then(|| last.clone())
        })
    }

    /// Waits until a condition is as it is to be; its message.
    pub(crate) fn wait_condition(&self, kind: &str, status: &str, reason: &str) -> String {
        self.until(&format!("{kind} is {status}, {reason}"), |resource| {
            let condition = condition(resource, kind)?;
            let so = condition["status"] == status && condition["reason"] == reason;
            so.then(|| condition["message"].as_str().unwrap_or_default().to_owned())
        })
    }

    /// `kubectl majordomo ARGUMENTS`.
    pub(crate) fn plugin(&self, arguments: &[&str]) -> Output {
        let mut command = self.cluster.command(PROGRAM);
        command.arg("kubectl").args(arguments).args(["--namespace", &self.namespace.name]);
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// Of the Secret with this name.
    pub(crate) fn secret(&self, name: &str, key: &str) -> String {
        let secret = self.namespace.get(&["secret", name]);
        let value = secret["data"][key].as_str().unwrap_or_else(|| panic!("{name} has no {key}"));
        String::from_utf8(STANDARD.decode(value).unwrap()).unwrap()
    }

    /// Where the ingress is found.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((OUTSIDE, INGRESS))
    }

    /// The administrator behind the ingress, by a token. Whoever uses it must be in the cluster's network.
    pub(crate) fn client(&self) -> Client {
        self.client.get_or_init(|| self.sign_in()).clone()
    }

    fn sign_in(&self) -> Client {
        let (user, password) = (self.secret("acme-admin", "username"), self.secret("acme-admin", "password"));
        self.wait_routed();
        let first = Client::new(self.address(), &user, &password).named(&self.host);
        let why = std::cell::RefCell::new(String::new());
        let token = || token(&first).map_err(|error| why.replace(error)).ok();
        let token = wait_or(LONG, "the administrator gets a token", token, || why.borrow().clone());
        Client::new(self.address(), &user, &token).named(&self.host)
    }

    /// Until the ingress controller of each node has heard of the host: whoever asks at [`Controller::address`] comes to any of them.
    fn wait_routed(&self) {
        for node in 1..=NODES {
            let client = Client::anonymous(node_ingress(node)).named(&self.host);
            let answers = || client.try_get("/login").ok().filter(|reply| reply.status < 400);
            wait_or(LONG, &format!("node {node} knows the host"), answers, || self.explain());
        }
    }

    pub(crate) fn keys(&self) -> Keys {
        let file = self.root.join("agent.key");
        std::fs::write(&file, self.secret("acme-keys", "agent.key")).unwrap();
        Keys::read(&file).unwrap()
    }

    pub(crate) fn create_job(&self, name: &str, script: &str) {
        items::create_job(&self.client(), name, script);
    }

    pub(crate) fn create_freestyle(&self, name: &str, label: &str, lines: &str) {
        items::create_freestyle(&self.client(), name, label, lines);
    }

    /// What is known, for whoever has to find out why it is not as it should be.
    pub(crate) fn explain(&self) -> String {
        let said = |arguments: &[&str]| self.namespace.attempt(arguments).unwrap_or_else(|why| why);
        let status = self.namespace.look(&["hac", NAME]).unwrap_or_default()["status"].clone();
        let mut all = vec![format!("{status:#}"), said(&["get", "pods,ingress", "-o", "wide"])];
        all.push(said(&["get", "events", "--sort-by=.lastTimestamp"]));
        for pod in self.pods() {
            all.push(format!("{pod}:\n{}", said(&["logs", &pod, "--tail=30"])));
        }
        let operator = self.cluster.kubectl();
        let of = ["logs", "-n", "majordomo-system", "-l", "app.kubernetes.io/instance=majordomo-operator"];
        all.push(operator.attempt(&[&of[..], &["--prefix", "--tail=40"]].concat()).unwrap_or_else(|why| why));
        all.join("\n")
    }

    /// Names of its pods with replicas.
    pub(crate) fn pods(&self) -> Vec<String> {
        let pods = self.namespace.look(&["pods", "-l", REPLICAS]).unwrap_or_default();
        let names = pods["items"].as_array().into_iter().flatten().map(|pod| &pod["metadata"]["name"]);
        names.filter_map(|name| Some(name.as_str()?.to_owned())).collect()
    }

    pub(crate) fn kubectl(&self) -> &Kubectl {
        &self.namespace
    }
}

/// A new one of the user who comes with a password, as a browser gets it.
fn token(user: &Client) -> Result<String, String> {
    let told = |reply: Reply| format!("{}: {}", reply.status, reply.text());
    let reply = user.try_get("/crumbIssuer/api/json").map_err(|e| e.to_string())?;
    let cookie = reply.header("set-cookie").and_then(|cookie| cookie.split(';').next()).map(str::to_owned);
    let crumb: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let (Some(cookie), Some(crumb)) = (cookie, crumb["crumb"].as_str()) else { return Err(told(reply)) };
    let user = user.with("Cookie", &cookie).with("Jenkins-Crumb", crumb);
    let generate =
        "/me/descriptorByName/jenkins.security.ApiTokenProperty/generateNewToken?newTokenName=test";
    let reply = user.post(generate).map_err(|e| e.to_string())?;
    let answer: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    answer["data"]["tokenValue"].as_str().map(str::to_owned).ok_or_else(|| told(reply))
}

/// Which pods are replicas.
pub(crate) const REPLICAS: &str = "majordomo.dev/controller=acme,app.kubernetes.io/component=replica";

impl Drop for Controller {
    fn drop(&mut self) {
        let left = kill_all(&self.root);
        if std::thread::panicking() {
            let _kept = std::fs::File::create(self.root.join("kept"));
            eprintln!("{}\nkept for a look: {}", self.explain(), self.root.display());
        } else {
            assert!(left.is_empty(), "can't be killed: {left:?}");
            let _gone = std::fs::remove_dir_all(&self.root);
        }
    }
}

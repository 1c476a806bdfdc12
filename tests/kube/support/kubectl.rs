//! `kubectl`, and namespaces of tests.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "test support; no test uses all of it")]

use std::ffi::OsString;
use std::io::Write;
use std::ops::Deref;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::cluster::{wait, wait_or};
use super::objects::Objects;

/// Starts of containers on a busy machine take their time.
pub(crate) const LONG: Duration = Duration::from_secs(120);

#[derive(Clone)]
pub(crate) struct Kubectl {
    program: PathBuf,
    environment: Vec<(&'static str, OsString)>,
    objects: Objects,
    namespace: Option<String>,
}

impl Kubectl {
    pub(crate) fn new(
        program: PathBuf,
        environment: impl IntoIterator<Item = (&'static str, OsString)>,
        objects: Objects,
    ) -> Self {
        Kubectl { program, environment: environment.into_iter().collect(), objects, namespace: None }
    }

    /// A new namespace with restricted pod security, deleted with all that is in it when the value is dropped.
    pub(crate) fn namespace(&self, name: &str) -> Namespace {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{name}-{}-{count}", std::process::id());
        self.apply(&format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}, \
             labels: {{pod-security.kubernetes.io/enforce: restricted}}}}}}"
        ));
        let namespace =
            Namespace { kubectl: Kubectl { namespace: Some(name.clone()), ..self.clone() }, name };
        // pods are refused before it is there
        wait(LONG, "the namespace has its service account", || {
            namespace.look(&["serviceaccount", "default"])
        });
        namespace
    }

    /// In a namespace that is there.
    pub(crate) fn within(&self, namespace: &str) -> Kubectl {
        Kubectl { namespace: Some(namespace.to_owned()), ..self.clone() }
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.envs(self.environment.iter().cloned());
        if let Some(namespace) = &self.namespace {
            command.args(["--namespace", namespace]);
        }
        command.args(arguments).stdin(Stdio::null());
        command
    }

    /// What it printed, or what it said against it.
    pub(crate) fn attempt(&self, arguments: &[&str]) -> Result<String, String> {
        read(self.command(arguments).output().unwrap())
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        self.attempt(arguments).unwrap_or_else(|why| panic!("kubectl {arguments:?}: {why}"))
    }

    /// What `kubectl get ARGUMENTS -o json` prints; nothing when the object is not there, or the API server. The arguments are a
    /// kind and a name, or `-l` and a selector.
    pub(crate) fn look(&self, arguments: &[&str]) -> Option<Value> {
        self.objects.look(self.namespace.as_deref().unwrap_or("default"), arguments)
    }

    pub(crate) fn get(&self, arguments: &[&str]) -> Value {
        self.look(arguments).unwrap_or_else(|| panic!("{arguments:?} is not there"))
    }

    pub(crate) fn try_apply(&self, manifest: &str) -> Result<String, String> {
        let mut command = self.command(&["apply", "-f", "-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(manifest.as_bytes()).unwrap();
        read(child.wait_with_output().unwrap())
    }

    pub(crate) fn apply(&self, manifest: &str) {
        self.try_apply(manifest).unwrap_or_else(|why| panic!("kubectl apply: {why}\n{manifest}"));
    }

    /// Waits until a pod is ready.
    pub(crate) fn wait_ready(&self, pod: &str) -> Value {
        let ready = || self.look(&["pod", pod]).filter(is_ready);
        wait_or(LONG, &format!("pod {pod} is ready"), ready, || self.explain(pod))
    }

    /// Waits until a pod's containers have ended; its log.
    pub(crate) fn wait_ended(&self, pod: &str) -> String {
        let ended = || {
            let phase = self.look(&["pod", pod])?["status"]["phase"].as_str()?.to_owned();
            matches!(phase.as_str(), "Succeeded" | "Failed").then_some(())
        };
        wait_or(LONG, &format!("pod {pod} ends"), ended, || self.explain(pod));
        self.run(&["logs", pod])
    }

    /// What is known of a pod, for whoever has to find out why it is not as it should be.
    fn explain(&self, pod: &str) -> String {
        let said = |arguments: &[&str]| self.attempt(arguments).unwrap_or_else(|why| why);
        said(&["describe", "pod", pod]) + &said(&["logs", pod, "--all-containers", "--tail=20"])
    }
}

/// Whether a pod or node says of itself that it is ready.
pub(crate) fn is_ready(object: &Value) -> bool {
    condition(object, "Ready").is_some_and(|condition| condition["status"] == "True")
}

pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

fn read(output: Output) -> Result<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

pub(crate) struct Namespace {
    kubectl: Kubectl,
    pub(crate) name: String,
}

impl Deref for Namespace {
    type Target = Kubectl;

    fn deref(&self) -> &Kubectl {
        &self.kubectl
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // the cluster goes with the process, so nobody waits
        let _gone = self.attempt(&["delete", "namespace", &self.name, "--wait=false"]);
    }
}

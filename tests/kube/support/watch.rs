//! Whoever looks on all the time: each state of the resource and of the pods, in the order in which the API server told them.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "test support; no test uses all of it")]

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Deserializer, Value};

use super::cluster::wait;
use super::controller::{NAME, REPLICAS};
use super::kubectl::{Kubectl, LONG, is_ready};

/// One state of an object.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) at: Instant,
    pub(crate) object: Value,
    /// It was removed.
    pub(crate) gone: bool,
}

pub(crate) struct Watch {
    resource: Stream,
    pods: Stream,
}

/// A pod, from its start to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) revision: String,
}

impl Watch {
    pub(crate) fn start(kubectl: &Kubectl) -> Watch {
        Watch {
            resource: Stream::start(kubectl, &["hac", NAME]),
            pods: Stream::start(kubectl, &["pods", "-l", REPLICAS]),
        }
    }

    /// The same, once it has seen that many pods ready: there are so many.
    pub(crate) fn of(kubectl: &Kubectl, ready: usize) -> Watch {
        let watch = Watch::start(kubectl);
        let all = || (watch.became_ready().len() == ready).then_some(());
        wait(LONG, &format!("{ready} pods are seen to be ready"), all);
        watch
    }

    /// States of the resource.
    pub(crate) fn resource(&self) -> Vec<Seen> {
        self.resource.seen()
    }

    /// States of all pods with replicas.
    pub(crate) fn pods(&self) -> Vec<Seen> {
        self.pods.seen()
    }

    /// Pods in the order in which they became ready for the first time.
    pub(crate) fn became_ready(&self) -> Vec<Pod> {
        let mut found: Vec<Pod> = Vec::new();
        for Seen { object, gone, .. } in self.pods() {
            let pod = pod(&object);
            if !gone && serves(&object) && !found.contains(&pod) {
                found.push(pod);
            }
        }
        found
    }

    /// How many pods were ready at each moment.
    pub(crate) fn ready_counts(&self) -> Vec<(Instant, usize)> {
        let mut ready: Vec<String> = Vec::new();
        let mut counts = Vec::new();
        for Seen { at, object, gone } in self.pods() {
            let uid = pod(&object).uid;
            ready.retain(|one| *one != uid);
            if !gone && serves(&object) {
                ready.push(uid);
            }
            counts.push((at, ready.len()));
        }
        counts
    }

    /// The fewest that were ready since that many were.
    pub(crate) fn fewest_ready(&self, of: usize) -> usize {
        let counts = self.ready_counts();
        let counts = counts.iter().map(|(_, count)| *count).skip_while(|count| *count < of);
        counts.min().unwrap_or_default()
    }
}

fn pod(object: &Value) -> Pod {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &object["metadata"];
    Pod {
        name: text(&metadata["name"]),
        uid: text(&metadata["uid"]),
        revision: text(&metadata["labels"]["majordomo.dev/revision"]),
    }
}

/// Whether somebody who connects may be sent to it.
fn serves(pod: &Value) -> bool {
    is_ready(pod) && pod["metadata"]["deletionTimestamp"].is_null()
}

/// `kubectl get --watch`, started again when it ends.
struct Stream {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Vec<Seen>>,
    stop: AtomicBool,
    child: Mutex<Option<Child>>,
}

impl Stream {
    fn start(kubectl: &Kubectl, what: &[&str]) -> Stream {
        let mut arguments = vec!["get", "--watch", "--output-watch-events", "-o", "json"];
        arguments.extend(what);
        let mut command = kubectl.command(&arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let shared = Arc::<Shared>::default();
        let reading = Arc::clone(&shared);
        let read = move || {
            while !reading.stop.load(Ordering::Relaxed) {
                reading.read(&mut command);
                // the API server is away
                std::thread::sleep(Duration::from_millis(200));
            }
        };
        Stream { shared, thread: Some(std::thread::spawn(read)) }
    }

    fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }
}

impl Shared {
    /// To its end.
    fn read(&self, command: &mut Command) {
        let mut process = command.spawn().unwrap();
        let said = process.stdout.take().unwrap();
        let mut child = self.child.lock().unwrap();
        if self.stop.load(Ordering::Relaxed) {
            let _killed = process.kill();
        }
        *child = Some(process);
        drop(child);
        for event in Deserializer::from_reader(std::io::BufReader::new(said)).into_iter::<Value>() {
            // cut in the middle, when it is killed
            let Ok(mut event) = event else { break };
            let gone = event["type"] == "DELETED";
            let object = event["object"].take();
            self.seen.lock().unwrap().push(Seen { at: Instant::now(), object, gone });
        }
        if let Some(mut process) = self.child.lock().unwrap().take() {
            let _killed = process.kill();
            let _ended = process.wait();
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(process) = self.shared.child.lock().unwrap().as_mut() {
            let _killed = process.kill();
        }
        if let Some(thread) = self.thread.take() {
            let _joined = thread.join();
        }
    }
}

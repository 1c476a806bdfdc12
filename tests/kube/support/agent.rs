//! Agents. One outside of Kubernetes knows the controller's host only, and connects through the ingress; one in a pod connects to
//! the Service.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "test support; no test uses all of it")]

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::cluster::{INGRESS, OUTSIDE, wait_or};
use super::controller::{Controller, LONG, PROGRAM};
use crate::common::http::Client;
use crate::common::items;
use crate::common::processes::mark;

pub(crate) struct Agent {
    pub(crate) name: String,
    client: Client,
    command: Command,
    log: PathBuf,
    child: Option<Child>,
}

impl Agent {
    /// Makes the node, and starts its agent; waits until it is connected.
    pub(crate) fn start(controller: &Controller, name: &str, executors: u32, labels: &str) -> Agent {
        let (client, folder) = (controller.client(), controller.root.join(name));
        items::create_node(&client, name, &folder, executors, labels);
        let secret = controller.root.join(format!("{name}.secret"));
        std::fs::write(&secret, controller.keys().agent_secret(name)).unwrap();
        let hosts = controller.root.join("hosts");
        std::fs::write(&hosts, format!("127.0.0.1 localhost\n{OUTSIDE} {}\n", controller.host)).unwrap();

        // nobody here answers for the domain `test`
        let mut command = controller.cluster.command("unshare");
        command
            .args(["--mount", "--", "sh", "-c", r#"mount --bind "$0" /etc/hosts && exec "$@""#])
            .arg(hosts);
        command.args([PROGRAM, "agent", "-webSocket", "-name", name, "-url"]);
        command.arg(format!("http://{}:{INGRESS}/", controller.host));
        command.arg("-secret").arg(format!("@{}", secret.display())).arg("-workDir").arg(&folder);
        command.env_remove("MAJORDOMO_STORE").env_remove("MAJORDOMO_LOG").env_remove("KUBECONFIG");
        mark(&mut command, &controller.root);
        let log = controller.root.join(format!("{name}.log"));
        let mut agent = Agent { name: name.to_owned(), client, command, log, child: None };
        agent.begin();
        agent.wait_connected();
        agent
    }

    pub(crate) fn begin(&mut self) {
        self.kill();
        let log = OpenOptions::new().append(true).create(true).open(&self.log).unwrap();
        self.command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(self.command.spawn().unwrap());
    }

    pub(crate) fn connected(&self) -> bool {
        connected(&self.client, &self.name)
    }

    pub(crate) fn wait_connected(&self) {
        let connected = || self.connected().then_some(());
        let what = format!("agent {} is connected", self.name);
        wait_or(LONG, &what, connected, || std::fs::read_to_string(&self.log).unwrap_or_default());
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// kill -9; steps go on.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

/// The agent of the example, in a pod beside the controller.
pub(crate) struct Inside<'a>(pub(crate) &'a Controller);

impl Inside<'_> {
    /// Makes the node, and starts its agent; waits until it is connected.
    pub(crate) fn start(controller: &Controller) -> Inside<'_> {
        const NAME: &str = "linux-1";
        let (kubectl, client) = (controller.kubectl(), controller.client());
        items::create_node(&client, NAME, Path::new("/var/lib/majordomo-agent"), 1, "inside");
        let secret = format!("--from-literal=secret={}", controller.keys().agent_secret(NAME));
        kubectl.run(&["create", "secret", "generic", "agent-linux-1", &secret]);
        let example = include_str!("../../../examples/agent.yaml");
        let ours = example.replace("registry.example.com/majordomo-agent:0.1.0", "registry.local/agent:dev");
        assert_ne!(ours, example);
        kubectl.apply(&ours);
        wait_or(
            LONG,
            "the agent in the pod is connected",
            || connected(&client, NAME).then_some(()),
            || {
                kubectl.attempt(&["logs", "agent-linux-1-0"]).unwrap_or_else(|why| why)
                    + &controller.explain()
            },
        );
        controller.create_job("inside", "node('inside') { sh 'echo \"in $(cat /etc/hostname)\"' }");
        Inside(controller)
    }

    /// A build of its own, the `number`th, says where it was.
    pub(crate) fn builds(&self, number: u32) {
        let client = self.0.client();
        let asked = client.post("/job/inside/buildWithParameters?ID=inside&delay=0sec").unwrap();
        assert_eq!(asked.status, 201, "{}", asked.text());
        let path = format!("/job/inside/{number}/consoleText");
        let ended =
            || client.try_get(&path).ok().map(|reply| reply.text()).filter(|log| log.contains("Finished: "));
        let log = wait_or(LONG, "the build in the pod has ended", ended, || self.0.explain());
        assert!(log.contains("in agent-linux-1-0") && log.contains("Finished: SUCCESS"), "{log}");
    }
}

/// Whether this node is, as whoever looks at it sees it.
fn connected(client: &Client, name: &str) -> bool {
    let path = format!("/computer/{name}/api/json?tree=offline");
    let reply = client.try_get(&path).ok().filter(|reply| reply.status == 200);
    reply.is_some_and(|reply| reply.text().contains("\"offline\":false"))
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
    }
}

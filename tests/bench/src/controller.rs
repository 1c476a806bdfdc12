//! A controller under measurement: `majordomo up` with a home of its own, and a client for it.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine as _;
use serde_json::Value;

use crate::postgres::Server;

pub(crate) struct Store<'a> {
    pub(crate) name: &'static str,
    /// Each controller gets a database of its own there. `None`: SQLite in the home.
    pub(crate) server: Option<&'a Server>,
}

pub(crate) struct Controller {
    up: Child,
    _home: tempfile::TempDir,
    pub(crate) store: &'static str,
    url: String,
    authorization: String,
    agent: ureq::Agent,
}

/// One replica, as `/replicas/api/json` has it.
pub(crate) struct Replica {
    pub(crate) pid: u32,
    pub(crate) address: String,
    pub(crate) builds: usize,
}

impl Controller {
    /// Three replicas and two agents with so many executors each, on an empty home.
    pub(crate) fn start(binary: &Path, store: &Store<'_>, executors: usize) -> Result<Controller> {
        let home = tempfile::tempdir()?;
        let folder = home.path().join("home");
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new(binary);
        command.args([
            "up",
            "--no-example",
            "--agents",
            "2",
            "--listen",
            &format!("127.0.0.1:{port}"),
            "--home",
        ]);
        command.arg(&folder).stdout(Stdio::null()).stdin(Stdio::null()).env("MAJORDOMO_LOG", "warn");
        if let Some(server) = store.server {
            command.env("MAJORDOMO_STORE", server.database());
        }
        let up = command.spawn().context("start up")?;
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .max_redirects(0)
            .max_idle_connections_per_host(64)
            .build()
            .into();
        let url = format!("http://127.0.0.1:{port}");
        let mut controller =
            Controller { up, _home: home, store: store.name, url, authorization: String::new(), agent };
        controller.wait_ready(&folder, executors)?;
        Ok(controller)
    }

    fn wait_ready(&mut self, folder: &Path, executors: usize) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if Instant::now() > deadline {
                bail!("the controller is not ready after a minute");
            }
            if let Some(status) = self.up.try_wait()? {
                bail!("`majordomo up` has ended: {status}");
            }
            std::thread::sleep(Duration::from_millis(100));
            let Ok(token) = std::fs::read_to_string(folder.join("admin-token")) else { continue };
            let pair = format!("admin:{}", token.trim());
            self.authorization = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
            let ready = self.replicas().is_ok_and(|all| all.len() == 3)
                && self
                    .get("/replicas/api/json")
                    .is_ok_and(|v| v["replicas"].to_string().matches("\"ready\"").count() == 3);
            let nodes = self.get("/computer/api/json?tree=computer[displayName,offline]").unwrap_or_default();
            if ready && nodes.to_string().matches("\"offline\":false").count() >= 2 {
                break;
            }
        }
        for node in ["agent-1", "agent-2"] {
            let path = format!("/computer/{node}/config.xml");
            let (_, xml) = self.ask("GET", &path, None)?;
            let (before, after) =
                xml.split_once("<numExecutors>").ok_or_else(|| anyhow!("a node without executors: {xml}"))?;
            let rest = after.split_once('<').map(|(_, rest)| rest).unwrap_or_default();
            let xml = format!("{before}<numExecutors>{executors}<{rest}");
            self.ask("POST", &path, Some(("application/xml", xml)))?;
        }
        Ok(())
    }

    /// Status, and body as text. A connection that a dying replica took is tried once more, when that is harmless.
    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<(&str, String)>,
    ) -> Result<(u16, String)> {
        let again = body.clone();
        match self.ask_once(method, path, body) {
            Err(error) if method == "GET" && error.is::<ureq::Error>() => self.ask_once(method, path, again),
            answer => answer,
        }
    }

    fn ask_once(&self, method: &str, path: &str, body: Option<(&str, String)>) -> Result<(u16, String)> {
        let url = format!("{}{path}", self.url);
        let mut answer = match (method, body) {
            ("GET", _) => self.agent.get(&url).header("Authorization", &self.authorization).call()?,
            (_, None) => self.agent.post(&url).header("Authorization", &self.authorization).send_empty()?,
            (_, Some((kind, text))) => {
                let request = self.agent.post(&url).header("Authorization", &self.authorization);
                request.header("Content-Type", kind).send(text)?
            }
        };
        let status = answer.status().as_u16();
        let text = answer.body_mut().with_config().limit(256 << 20).read_to_string()?;
        if status >= 400 {
            bail!("{method} {path} was answered {status}: {text}");
        }
        Ok((status, text))
    }

    /// Reads the log of a build from an offset, once; gives where it ends.
    pub(crate) fn progress(&self, job: &str, n: usize, from: u64) -> Result<u64> {
        let url = format!("{}/job/{job}/{n}/logText/progressiveText?start={from}", self.url);
        let mut answer = self.agent.get(&url).header("Authorization", &self.authorization).call()?;
        let end = answer.headers().get("x-text-size").and_then(|size| size.to_str().ok()?.parse().ok());
        answer.body_mut().with_config().limit(256 << 20).read_to_vec()?;
        end.with_context(|| format!("{url} was answered {}", answer.status()))
    }

    pub(crate) fn get(&self, path: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.ask("GET", path, None)?.1)?)
    }

    /// A Pipeline job with one text parameter `N`, so that no two queue items are equal.
    pub(crate) fn create(&self, job: &str, script: &str) -> Result<()> {
        let escaped = script.replace('&', "&amp;").replace('<', "&lt;");
        let xml = format!(
            "<flow-definition><properties><hudson.model.ParametersDefinitionProperty><parameterDefinitions>\
             <hudson.model.StringParameterDefinition><name>N</name></hudson.model.StringParameterDefinition>\
             </parameterDefinitions></hudson.model.ParametersDefinitionProperty></properties>\
             <definition class=\"org.jenkinsci.plugins.workflow.cps.CpsFlowDefinition\"><script>{escaped}</script>\
             <sandbox>true</sandbox></definition></flow-definition>"
        );
        self.ask("POST", &format!("/createItem?name={job}"), Some(("application/xml", xml))).map(|_| ())
    }

    pub(crate) fn build(&self, job: &str, n: usize) -> Result<()> {
        self.ask("POST", &format!("/job/{job}/buildWithParameters?N={n}"), None).map(|_| ())
    }

    pub(crate) fn replicas(&self) -> Result<Vec<Replica>> {
        let all = self.get("/replicas/api/json")?;
        let list = all["replicas"].as_array().cloned().unwrap_or_default();
        let replica = |r: &Value| {
            let builds =
                r["builds"].as_array().map_or_else(|| r["builds"].as_u64().unwrap_or(0), |b| b.len() as u64);
            Some(Replica {
                pid: u32::try_from(r["pid"].as_u64()?).ok()?,
                address: r["address"].as_str()?.to_owned(),
                builds: usize::try_from(builds).ok()?,
            })
        };
        Ok(list.iter().filter_map(replica).collect())
    }

    /// Sum of a counter over all replicas.
    pub(crate) fn counter(&self, name: &str) -> Result<f64> {
        let mut sum = 0.0;
        for replica in self.replicas()? {
            let url = format!("http://{}/metrics", replica.address);
            let text = self
                .agent
                .get(&url)
                .header("Authorization", &self.authorization)
                .call()?
                .body_mut()
                .read_to_string()?;
            let ours = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
            let values =
                text.lines().filter(ours).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
            sum += values.sum::<f64>();
        }
        Ok(sum)
    }

    /// Waits until `done` says so.
    pub(crate) fn until(
        &self,
        what: &str,
        most: Duration,
        mut done: impl FnMut() -> Result<bool>,
    ) -> Result<()> {
        let deadline = Instant::now() + most;
        while !done()? {
            if Instant::now() > deadline {
                bail!("{what}: not after {} s", most.as_secs());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    pub(crate) fn stop(mut self) -> Result<()> {
        self.end();
        Ok(())
    }

    fn end(&mut self) {
        if matches!(self.up.try_wait(), Ok(None)) {
            let _gone = Command::new("kill").args(["-INT", &self.up.id().to_string()]).status();
        }
        let _reaped = self.up.wait();
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.end();
    }
}

//! A controller under measurement: `majordomo up` with a home of its own, and a client for it.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
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

/// What a controller consists of.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) replicas: usize,
    /// Real agents on this machine.
    pub(crate) agents: usize,
    /// Of each of them.
    pub(crate) executors: usize,
}

pub(crate) struct Controller {
    /// `None`: only a client of what somebody else started.
    up: Option<Child>,
    home: Option<tempfile::TempDir>,
    folder: PathBuf,
    /// Of the database, when it is not in the home.
    database: Option<String>,
    pub(crate) store: &'static str,
    pub(crate) shape: Shape,
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
    /// On an empty home.
    pub(crate) fn start(binary: &Path, store: &Store<'_>, shape: Shape) -> Result<Controller> {
        Self::start_in(tempfile::tempdir()?, binary, store, shape)
    }

    /// On the home in a folder's folder `home`, which may be there already.
    pub(crate) fn start_in(
        home: tempfile::TempDir,
        binary: &Path,
        store: &Store<'_>,
        shape: Shape,
    ) -> Result<Controller> {
        let folder = home.path().join("home");
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new(binary);
        command.args(["up", "--no-example", "--agents", &shape.agents.to_string()]);
        command.args(["--replicas", &shape.replicas.to_string()]);
        command.args(["--listen", &format!("127.0.0.1:{port}"), "--home"]);
        command.arg(&folder).stdout(Stdio::null()).stdin(Stdio::null()).env("MAJORDOMO_LOG", "warn");
        let database = store.server.map(Server::database);
        if let Some(url) = &database {
            command.env("MAJORDOMO_STORE", url);
        }
        let up = Some(command.spawn().context("start up")?);
        let url = format!("http://127.0.0.1:{port}");
        let authorization = String::new();
        let (home, agent) = (Some(home), client());
        let mut controller =
            Controller { up, home, folder, database, store: store.name, shape, url, authorization, agent };
        controller.wait_ready()?;
        Ok(controller)
    }

    /// The folder with everything that the controller keeps.
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.clone()
    }

    /// URL of its database, when that is not in the home.
    pub(crate) fn database(&self) -> Option<&str> {
        self.database.as_deref()
    }

    /// Where users and agents connect.
    pub(crate) fn address(&self) -> Result<SocketAddr> {
        Ok(self.url.trim_start_matches("http://").parse()?)
    }

    fn wait_ready(&mut self) -> Result<()> {
        let (folder, Shape { replicas, agents, executors }) = (self.folder(), self.shape);
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if Instant::now() > deadline {
                bail!("the controller is not ready after a minute");
            }
            if let Some(status) = self.up.as_mut().map(Child::try_wait).transpose()?.flatten() {
                bail!("`majordomo up` has ended: {status}");
            }
            std::thread::sleep(Duration::from_millis(20));
            let Ok(token) = std::fs::read_to_string(folder.join("admin-token")) else { continue };
            self.authorization = basic(&token);
            let ready = self.replicas().is_ok_and(|all| all.len() == replicas)
                && self
                    .get("/replicas/api/json")
                    .is_ok_and(|v| v["replicas"].to_string().matches("\"ready\"").count() == replicas);
            let nodes = self.get("/computer/api/json?tree=computer[displayName,offline]").unwrap_or_default();
            if ready && nodes.to_string().matches("\"offline\":false").count() > agents {
                break;
            }
        }
        for node in (1..=agents).map(|n| format!("agent-{n}")) {
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

    /// Reads the log of a build from an offset, once; gives where it ends now, and whether there will be more.
    pub(crate) fn progress(&self, job: &str, n: usize, from: u64) -> Result<(u64, bool)> {
        let url = format!("{}/job/{job}/{n}/logText/progressiveText?start={from}", self.url);
        let mut answer = self.agent.get(&url).header("Authorization", &self.authorization).call()?;
        let end = answer.headers().get("x-text-size").and_then(|size| size.to_str().ok()?.parse().ok());
        let more = answer.headers().contains_key("x-more-data");
        answer.body_mut().with_config().limit(256 << 20).read_to_vec()?;
        end.map(|end| (end, more)).with_context(|| format!("{url} was answered {}", answer.status()))
    }

    pub(crate) fn get(&self, path: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.ask("GET", path, None)?.1)?)
    }

    /// A Pipeline job with one text parameter `N`, so that no two queue items are equal.
    pub(crate) fn create(&self, job: &str, script: &str) -> Result<()> {
        self.create_with(job, "", script)
    }

    /// The same with more properties, as XML.
    pub(crate) fn create_with(&self, job: &str, properties: &str, script: &str) -> Result<()> {
        let escaped = script.replace('&', "&amp;").replace('<', "&lt;");
        let xml = format!(
            "<flow-definition><properties><hudson.model.ParametersDefinitionProperty><parameterDefinitions>\
             <hudson.model.StringParameterDefinition><name>N</name></hudson.model.StringParameterDefinition>\
             </parameterDefinitions></hudson.model.ParametersDefinitionProperty>{properties}</properties>\
             <definition class=\"org.jenkinsci.plugins.workflow.cps.CpsFlowDefinition\"><script>{escaped}</script>\
             <sandbox>true</sandbox></definition></flow-definition>"
        );
        self.ask("POST", &format!("/createItem?name={job}"), Some(("application/xml", xml))).map(|_| ())
    }

    pub(crate) fn build(&self, job: &str, n: usize) -> Result<()> {
        self.ask("POST", &format!("/job/{job}/buildWithParameters?N={n}"), None).map(|_| ())
    }

    /// The same, once and whatever the answer: its status.
    pub(crate) fn try_build(&self, job: &str, n: usize) -> Result<u16> {
        let url = format!("{}/job/{job}/buildWithParameters?N={n}", self.url);
        let answer = self.agent.post(&url).header("Authorization", &self.authorization).send_empty()?;
        Ok(answer.status().as_u16())
    }

    /// A node with the label `sim` for an agent with so many executors.
    pub(crate) fn create_node(&self, name: &str, executors: usize) -> Result<()> {
        let json = format!(
            r#"{{"numExecutors":"{executors}","remoteFS":"/nowhere","labelString":"sim","mode":"EXCLUSIVE"}}"#
        );
        let json: String = json.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let path = format!("/computer/doCreateItem?name={name}&json={json}");
        self.ask("POST", &path, None).map(|_| ())
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

    /// Stops all of it, and keeps what it has written.
    pub(crate) fn stop_and_keep(mut self) -> Result<Kept> {
        self.end();
        let home = Some(self.home.take().context("the home of somebody else")?);
        let (folder, url) = (self.folder.clone(), self.database.take());
        Ok(Kept { _home: home, folder, url, store: self.store, authorization: self.authorization.clone() })
    }

    fn end(&mut self) {
        let Some(mut up) = self.up.take() else { return };
        if matches!(up.try_wait(), Ok(None)) {
            let _gone = Command::new("kill").args(["-INT", &up.id().to_string()]).status();
        }
        let _reaped = up.wait();
    }
}

/// What is left of a controller that was stopped.
pub(crate) struct Kept {
    _home: Option<tempfile::TempDir>,
    folder: PathBuf,
    /// Of the database, when it is not in the home.
    pub(crate) url: Option<String>,
    store: &'static str,
    authorization: String,
}

impl Kept {
    /// The home of a controller that somebody else started.
    pub(crate) fn of(folder: &Path) -> Result<Kept> {
        let token =
            std::fs::read_to_string(folder.join("admin-token")).context("read the administrator's token")?;
        let (folder, authorization) = (folder.to_owned(), basic(&token));
        Ok(Kept { _home: None, folder, url: None, store: "-", authorization })
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.clone()
    }

    /// A client of a replica that serves the home now.
    pub(crate) fn client(&self, address: SocketAddr) -> Controller {
        Controller {
            up: None,
            home: None,
            folder: self.folder.clone(),
            database: self.url.clone(),
            store: self.store,
            shape: Shape { replicas: 1, agents: 0, executors: 0 },
            url: format!("http://{address}"),
            authorization: self.authorization.clone(),
            agent: client(),
        }
    }
}

/// The header of the administrator's requests.
fn basic(token: &str) -> String {
    let pair = format!("admin:{}", token.trim());
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

fn client() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(60)))
        .max_redirects(0)
        .max_idle_connections_per_host(64)
        .build()
        .into()
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.end();
    }
}

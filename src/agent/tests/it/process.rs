//! Agents as processes of their own, that can be killed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Program, Stdio};
use std::time::{Duration, Instant};

use agent::{Flags, run};
use tempfile::TempDir;

use crate::support::{Controller, DEADLINE};

/// Runs [`the_agent_as_a_process`].
const TEST_ARGS: [&str; 4] = ["process::the_agent_as_a_process", "--exact", "--ignored", "--nocapture"];

/// A work folder with an agent on it that can be killed and started again.
pub(crate) struct Agent {
    dir: TempDir,
    at: Option<PathBuf>,
    url: String,
    env: Vec<(String, String)>,
    child: Option<Child>,
}

impl Agent {
    pub(crate) fn new(controller: &Controller) -> Agent {
        let dir = tempfile::tempdir().unwrap();
        Agent { dir, at: None, url: controller.url(), env: Vec::new(), child: None }
    }

    pub(crate) fn started(controller: &Controller) -> Agent {
        let mut agent = Agent::new(controller);
        agent.start();
        agent
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Agent {
        self.env.push((name.into(), value.into()));
        self
    }

    pub(crate) fn at(mut self, dir: &Path) -> Agent {
        self.at = Some(dir.to_owned());
        self
    }

    pub(crate) fn work_dir(&self) -> &Path {
        self.at.as_deref().unwrap_or(self.dir.path())
    }

    /// A workspace below the work folder.
    pub(crate) fn workspace(&self) -> PathBuf {
        self.work_dir().join("workspace")
    }

    /// This test program again, as an agent: see `the_agent_as_a_process`.
    pub(crate) fn start(&mut self) {
        let mut program = match std::env::var_os("AGENT_PROGRAM") {
            Some(program) => Program::new(program),
            None => Program::new(std::env::current_exe().unwrap()),
        };
        let dir = self.work_dir().display().to_string();
        if std::env::var_os("AGENT_PROGRAM").is_some() {
            let flags = ["-url", &self.url, "-name", "a-1", "-workDir", &dir];
            program.args(flags).env("JENKINS_SECRET", "s3cret").stderr(Stdio::null());
        } else {
            program.args(TEST_ARGS);
        }
        program.env("TEST_AGENT_URL", &self.url).env("TEST_AGENT_DIR", self.work_dir());
        program.envs(self.env.iter().cloned()).stdin(Stdio::null()).stdout(Stdio::null());
        self.child = Some(program.spawn().unwrap());
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Its memory in use, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !so() {
        assert!(Instant::now() < deadline, "{what} does not come true");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

pub(crate) fn read_pid(path: &Path) -> Option<i32> {
    std::fs::read_to_string(path).ok()?.strip_suffix('\n')?.trim().parse().ok()
}

/// Not a test: what [`Agent::start`] runs.
#[test]
#[ignore = "the program of the other tests"]
fn the_agent_as_a_process() {
    let (Ok(url), Ok(dir)) = (std::env::var("TEST_AGENT_URL"), std::env::var("TEST_AGENT_DIR")) else {
        return;
    };
    let args = ["-url", &url, "-name", "a-1", "-secret", "s3cret", "-workDir", &dir].map(str::to_owned);
    let Ok(Flags::Run(mut config)) = Flags::parse(&args, &BTreeMap::new(), |_| unreachable!()) else {
        panic!()
    };
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    config.max_spool = number("TEST_MAX_SPOOL").unwrap_or(config.max_spool);
    config.min_free = number("TEST_MIN_FREE").unwrap_or(config.min_free);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    runtime.block_on(run(*config, stopped)).unwrap();
}

//! Clients of Jenkins, unchanged, as their users install them: each tells one story, from a job's creation to its end.
//!
//! They are installed once, in exact versions, into the folder that cargo keeps for tests; without Python or a registry
//! they are told as not run.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use support::controller::{Controller, Options, wait};
use support::processes::mark;

/// Each has a story `python/NAME_story.py`.
const CLIENTS: [&str; 4] = ["python_jenkins", "jenkinsapi", "api4jenkins", "aiojenkins"];
const MOST: Duration = Duration::from_secs(120);

#[test]
fn clients_in_python_do_all_that_their_users_do_with_jobs_builds_and_nodes() {
    let python = match installed() {
        Ok(python) => python,
        Err(why) => {
            // not by `eprintln!`, which is hidden when the test passes
            writeln!(std::io::stderr(), "not run: {}: {why}", CLIENTS.join(", ")).unwrap();
            return;
        }
    };
    let mut controller = Controller::start(Options { name: "compat", store: None, replicas: 2, agents: 2 });
    // one after the other: jenkinsapi walks all folders there are, and fails if another's is deleted just then
    let told = CLIENTS.map(|client| Story::begin(&controller, &python, client).end());
    let failed: String = told.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{failed}");
    controller.stop();
}

/// A client at work.
struct Story {
    client: &'static str,
    output: PathBuf,
    child: Child,
}

impl Story {
    fn begin(controller: &Controller, python: &Path, client: &'static str) -> Story {
        let folder = controller.root.join(client);
        std::fs::create_dir(&folder).unwrap();
        let output = folder.join("output");
        let file = std::fs::File::create(&output).unwrap();
        let mut command = Command::new(python);
        // no bytecode beside the sources
        command.arg("-B").arg(stories().join(format!("{client}_story.py")));
        // by name, as from an address aiohttp keeps no cookies, and with a password a crumb is worth nothing without its own
        let url = format!("http://localhost:{}/", controller.address().port());
        command.env("STORY_URL", url).env("STORY_USER", "admin");
        command.env("STORY_PASSWORD", controller.password()).env("STORY_FOLDER", &folder);
        // a proxy that this machine has is not for its own addresses
        command.env("no_proxy", "*");
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        mark(&mut command, &controller.root);
        Story { client, output, child: command.spawn().unwrap() }
    }

    /// What it said, if it failed.
    fn end(mut self) -> Result<(), String> {
        let what = format!("the story of {} ends", self.client);
        let status = wait(MOST, &what, || self.child.try_wait().unwrap());
        let said = std::fs::read_to_string(&self.output).unwrap();
        if status.success() { Ok(()) } else { Err(format!("\n{}: {status}\n{said}", self.client)) }
    }
}

fn stories() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compat/python")
}

/// The Python that has the clients; installs them first, unless an earlier run has.
fn installed() -> Result<PathBuf, String> {
    let requirements = stories().join("requirements.txt");
    let wanted = std::fs::read_to_string(&requirements).unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compat-python");
    let (python, installed) = (folder.join("bin/python"), folder.join("installed"));
    // the Python that it was made of may be gone
    let there = std::fs::read_to_string(&installed).is_ok_and(|there| there == wanted);
    if there && run(Command::new(&python).arg("--version")).is_ok() {
        return Ok(python);
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    run(Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r"])
        .arg(requirements))?;
    std::fs::write(installed, wanted).unwrap();
    Ok(python)
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|e| format!("{command:?}: {e}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {}", said.trim())) }
}

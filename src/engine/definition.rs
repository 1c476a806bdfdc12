//! What a job's builds run: its configuration, and what its Jenkinsfile says beside it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use config::{ConfigError, Definition, FreestyleJob, GitScm, ItemConfig, JobConfig};
use model::{BuildDiscarder, ParamValue, ParameterDefinition};
use pipeline::act::Language;
use pipeline::program::Program;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use crate::checkout::{self, GitSource};
use crate::programs::Programs;

/// Time that fetching a Jenkinsfile may take.
const FETCH: Duration = Duration::from_secs(120);
/// Largest Jenkinsfile.
const MAX_SOURCE: u64 = 1024 * 1024;
/// URL and branch of a repository as JSON: they are part of the first record of a build.
const MAX_SCM: usize = 4 * 1024;
/// Most lines of a log about what is left out.
const MAX_WARNINGS: usize = 100;
/// Most of what git says.
const MAX_SAID: usize = 64 * 1024;

/// What holds for a job, wherever it was said.
#[derive(Debug, Clone, Default)]
pub struct Effective {
    pub parameters: Vec<ParameterDefinition>,
    /// One build at a time.
    pub exclusive: bool,
    pub discarder: Option<BuildDiscarder>,
}

/// Joins `config.xml` with the options of an inline Declarative Pipeline, which win.
pub(crate) async fn effective(job: &JobConfig, programs: &Programs) -> Effective {
    let mut effective = Effective {
        parameters: job.parameters.clone(),
        exclusive: job.disable_concurrent_builds,
        discarder: job.discarder.clone(),
    };
    let Definition::Script { text } = &job.definition else { return effective };
    let Ok(program) = programs.compile(Language::Pipeline, text).await else { return effective };
    let properties = program.properties();
    effective.exclusive |= properties.disable_concurrent_builds;
    if !properties.parameters.is_empty() {
        effective.parameters.clone_from(&properties.parameters);
    }
    if properties.build_discarder.is_some() {
        effective.discarder.clone_from(&properties.build_discarder);
    }
    effective
}

pub(crate) fn job_config(xml: &str) -> Result<JobConfig, String> {
    match ItemConfig::parse(xml) {
        Ok(ItemConfig::Job(job)) => Ok(*job),
        Ok(ItemConfig::Folder { .. }) => Err("a folder can't be built".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// The Jenkinsfile of a build or the steps of a Freestyle job, and what `checkout scm` fetches.
pub(crate) struct Source {
    pub(crate) language: Language,
    pub(crate) text: String,
    pub(crate) scm: Option<GitSource>,
    /// For the log.
    pub(crate) note: String,
}

pub(crate) async fn source(job: &JobConfig, params: &BTreeMap<String, String>) -> Result<Source, String> {
    match &job.definition {
        Definition::None => Err("the job has no Pipeline definition".to_owned()),
        Definition::Script { text } => {
            Ok(Source { language: Language::Pipeline, text: text.clone(), scm: None, note: String::new() })
        }
        Definition::Freestyle(job) => freestyle(job, params),
        Definition::Scm { scm, script_path, .. } => {
            let git = git_source(fetchable(scm)?, params)?;
            let (text, commit) = fetch(&git, script_path).await?;
            let note = format!("Obtained {script_path} from git {} ({commit})\n", git.url);
            // All of the build sees one commit, whatever is pushed meanwhile.
            let name = Some(git.branch.clone());
            let scm = GitSource { branch: commit, name, ..git };
            Ok(Source { language: Language::Pipeline, text, scm: Some(scm), note })
        }
    }
}

fn fetchable(scm: &Result<GitScm, ConfigError>) -> Result<&GitScm, String> {
    scm.as_ref().map_err(ToString::to_string)
}

/// Where builds of the job get their source from, if they can.
pub(crate) fn scm(job: &JobConfig) -> Option<&GitScm> {
    match &job.definition {
        Definition::None | Definition::Script { .. } => None,
        Definition::Scm { scm, .. } => scm.as_ref().ok(),
        Definition::Freestyle(job) => job.scm.as_ref()?.as_ref().ok(),
    }
}

/// Refuses what would not fit into the first record of a build with these parameters.
pub(crate) fn fits(scm: Option<&GitScm>, params: &BTreeMap<String, ParamValue>) -> Result<(), String> {
    let Some(scm) = scm else { return Ok(()) };
    let texts = params.iter().map(|(name, value)| (name.clone(), value.to_string())).collect();
    git_source(scm, &texts).map(drop)
}

fn small(source: &GitSource) -> Result<(), String> {
    let texts = (&source.url, &source.branch);
    match serde_json::to_vec(&texts).map_or(usize::MAX, |json| json.len()) {
        0..=MAX_SCM => Ok(()),
        size => Err(format!(
            "the URL and the branch of the repository have {size} bytes, over the limit of {MAX_SCM}"
        )),
    }
}

/// What does not run is named in the log of each build.
fn freestyle(job: &FreestyleJob, params: &BTreeMap<String, String>) -> Result<Source, String> {
    let mut note = String::from("Running as SYSTEM\n");
    for name in job.ignored.iter().take(MAX_WARNINGS) {
        note.push_str(&format!("WARNING: {name} does not run in Majordomo yet and is ignored\n"));
    }
    match job.ignored.len().saturating_sub(MAX_WARNINGS) {
        0 => {}
        more => note.push_str(&format!("WARNING: {more} more elements are ignored\n")),
    }
    if let Some(why) = job.unfit() {
        return Err(why);
    }
    let text = Program::freestyle_source(&job.steps);
    // The agent finds the commit: nothing has to be fetched before the build.
    let scm = job.scm.as_ref().map(|scm| git_source(fetchable(scm)?, params)).transpose()?;
    let scm = scm.map(|scm| GitSource { shallow: false, ..scm });
    Ok(Source { language: Language::Freestyle, text, scm, note })
}

/// Parameters may be named in URL, branch and refspec.
fn git_source(scm: &GitScm, params: &BTreeMap<String, String>) -> Result<GitSource, String> {
    let expand = |text: &str| expanded(text, params);
    let scm = GitScm {
        url: expand(&scm.url),
        branch: expand(&scm.branch),
        refspec: expand(&scm.refspec),
        ..scm.clone()
    };
    let branch = scm.reference().map_err(|e| e.to_string())?;
    let source = GitSource { url: scm.url, branch, name: None, shallow: true };
    small(&source)?;
    Ok(source)
}

/// With `${NAME}` replaced by the parameter of that name.
pub(crate) fn expanded(text: &str, params: &BTreeMap<String, String>) -> String {
    params.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${{{name}}}"), value))
}

/// Fetches one file of a repository with the real git, shallow, into a folder that goes away.
async fn fetch(source: &GitSource, path: &str) -> Result<(String, String), String> {
    let url = &source.url;
    let folder = tempfile::tempdir().map_err(|e| format!("make a folder to fetch into: {e}"))?;
    let script = checkout::script(source, false);
    let mut git = Command::new("/bin/sh");
    git.args(["-c", &script]).current_dir(folder.path()).stdin(Stdio::null());
    git.env("GIT_TERMINAL_PROMPT", "0").stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars_os().filter(|(n, _)| n.to_string_lossy().starts_with("MAJORDOMO_")) {
        git.env_remove(name);
    }
    // A group of its own, so that a time-out ends git and ssh as well.
    let mut child = git.process_group(0).spawn().map_err(|e| format!("run git: {e}"))?;
    let group = Group(child.id());
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let reading =
        async { tokio::join!(limited(stdout, &mut out), limited(stderr, &mut err), child.wait()).2 };
    let status = tokio::time::timeout(FETCH, reading)
        .await
        .map_err(|_| format!("fetching {url} took longer than {} s", FETCH.as_secs()))?
        .map_err(|e| format!("run git: {e}"))?;
    drop(group);
    let stdout = String::from_utf8_lossy(&out).into_owned();
    let commit = stdout.lines().find_map(|l| l.strip_prefix("GIT_COMMIT="));
    let (true, Some(commit)) = (status.success(), commit) else {
        return Err(format!("{url} can't be fetched: {}", String::from_utf8_lossy(&err).trim()));
    };
    let text = read(folder.path(), path).await?;
    Ok((text, commit.to_owned()))
}

/// Ends what is left of a group of processes when it is dropped.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) =
            self.0.and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw)
        {
            let _ended = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

/// Reads to the end and keeps what is within the limit.
async fn limited(from: Option<impl tokio::io::AsyncRead + Unpin>, into: &mut Vec<u8>) {
    let Some(mut from) = from else { return };
    let mut piece = [0; 4096];
    while let Ok(size @ 1..) = from.read(&mut piece).await {
        let room = MAX_SAID.saturating_sub(into.len()).min(size);
        into.extend_from_slice(&piece[..room]);
    }
}

async fn read(folder: &Path, path: &str) -> Result<String, String> {
    let inside = Path::new(path).components().all(|c| matches!(c, std::path::Component::Normal(_)));
    if !inside {
        return Err(format!("the script path {path} is not inside the repository"));
    }
    let full = folder.join(path);
    let real =
        tokio::fs::canonicalize(&full).await.map_err(|_| format!("{path} is not in the repository"))?;
    let root = tokio::fs::canonicalize(folder).await.map_err(|e| e.to_string())?;
    if !real.starts_with(root) {
        return Err(format!("{path} points outside the repository"));
    }
    let size = tokio::fs::metadata(&real).await.map_err(|e| e.to_string())?.len();
    if size > MAX_SOURCE {
        return Err(format!("{path} has {size} bytes, over the limit of {MAX_SOURCE}"));
    }
    tokio::fs::read_to_string(&real).await.map_err(|e| format!("read {path}: {e}"))
}

//! Helm, and what it says.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use serde_json::Value;

pub(crate) const OPERATOR: &str = "charts/majordomo-operator";
pub(crate) const CONTROLLER: &str = "charts/majordomo";
/// The oldest that the charts take.
const KUBERNETES: &str = "1.29.0";

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) struct Helm {
    pub(crate) program: PathBuf,
    /// What it keeps for itself.
    home: tempfile::TempDir,
}

impl Helm {
    /// `$HELM`, the one in PATH, or the one that tests/kube has built; else it is said that `what` was not run.
    pub(crate) fn find(what: &str) -> Option<Helm> {
        let Some(program) = program() else {
            let required = env::var("MAJORDOMO_KUBE").is_ok_and(|value| value == "required");
            assert!(!required, "{what}: there is no helm");
            // not with a macro: the harness would keep it to itself
            let say = format!("NOT RUN: {what}: there is no helm (HELM=…, or tests/kube/cluster/build.sh)\n");
            std::io::stderr().write_all(say.as_bytes()).unwrap();
            return None;
        };
        Some(Helm { program, home: tempfile::tempdir().unwrap() })
    }

    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(root()).env("HELM", &self.program).env("KUBECONFIG", "/dev/null");
        for folder in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(folder, self.home.path());
        }
        command
    }

    /// `Err` is what it says when it refuses.
    pub(crate) fn run(&self, args: &[&str]) -> Result<String, String> {
        let out = self.command(&self.program).args(args).output().unwrap();
        let (said, why) = (String::from_utf8(out.stdout).unwrap(), String::from_utf8(out.stderr).unwrap());
        if out.status.success() { Ok(said) } else { Err(format!("{said}{why}")) }
    }

    pub(crate) fn template(&self, release: &str, chart: &str, more: &[&str]) -> Result<String, String> {
        self.template_in("majordomo", release, chart, more)
    }

    pub(crate) fn template_in(
        &self,
        namespace: &str,
        release: &str,
        chart: &str,
        more: &[&str],
    ) -> Result<String, String> {
        // without a cluster helm takes a version for granted, which depends on how it was built
        let args = ["template", release, chart, "--namespace", namespace, "--kube-version", KUBERNETES];
        self.run(&[&args, more].concat())
    }

    /// The objects that a chart makes.
    pub(crate) fn objects(&self, release: &str, chart: &str, more: &[&str]) -> Vec<Value> {
        objects(&self.template(release, chart, more).unwrap_or_else(|why| panic!("{why}")))
    }
}

fn program() -> Option<PathBuf> {
    if let Some(said) = env::var_os("HELM").filter(|said| !said.is_empty()) {
        return Some(said.into());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    if let Some(found) = env::split_paths(&path).map(|dir| dir.join("helm")).find(|file| file.is_file()) {
        return Some(found);
    }
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".cache")))?;
    let mut built: Vec<_> = fs::read_dir(cache.join("majordomo-kube")).ok()?.flatten().collect();
    built.sort_by_key(std::fs::DirEntry::file_name);
    built.into_iter().map(|folder| folder.path().join("helm")).rfind(|file| file.is_file())
}

/// The documents of a file that are more than comments.
pub(crate) fn objects(text: &str) -> Vec<Value> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(text).unwrap_or_else(|why| panic!("{why}\n{text}"));
    documents.into_iter().filter(|document| !document.is_null()).collect()
}

pub(crate) fn yaml(path: impl AsRef<Path>) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap()
}

/// The only object of a kind.
pub(crate) fn only<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let found: Vec<_> = objects.iter().filter(|object| object["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "{kind}");
    found[0]
}

//! The programs that this machine has: which one runs, which one is started next, and which one is gone back to.
//!
//! ```text
//! STATE/
//!   current -> revisions/3.1     what is started next
//!   revisions/3.1/majordomo      the program of each revision that is kept
//!   trial                        while `current` has not been ready yet: what to go back to, and how many starts are left
//!   gave-up                      what was gone back from, and why; the revision is in the first line
//! ```
//!
//! `deploy/systemd/majordomo-start` reads and writes the same: a program that does not run can't go back by itself. Without
//! it (`MAJORDOMO_INSTALLED` is not set) no program is kept, only the revision's name.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rollout::Revision;

use crate::going::GaveUp;
use crate::{Number, Plan};

/// Environment variable with the path of the program that the administrator installs.
pub const INSTALLED_ENV: &str = "MAJORDOMO_INSTALLED";
/// Name of a program in its folder: what processes are called.
const PROGRAM: &str = "majordomo";
/// How often a program is started that does not get ready.
const STARTS: u32 = 3;
/// How long `--version` may take.
const CHECK: Duration = Duration::from_secs(30);

/// What became of preparing a revision.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{what} {path}: {source}")]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error("the installed program {path} does not run: {why}")]
    DoesNotRun { path: PathBuf, why: String },
    #[error("the preparation of the revision was given up")]
    Cancelled,
}

impl Error {
    fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { what, path, source }
    }
}

/// What is to be started in the place of this replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub revision: Revision,
    pub source: Source,
    /// The revision that may be gone back to: its program is kept.
    pub keep: Revision,
}

/// Which program a revision has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// What is installed now, on trial.
    Installed,
    /// What this machine has under that number already; if it has none and is behind, what is installed.
    Kept,
}

/// The folder, and what this process is.
#[derive(Debug)]
pub struct Programs {
    root: PathBuf,
    /// `None`: no program is kept.
    installed: Option<PathBuf>,
    runs: Revision,
}

impl Programs {
    /// Of this machine. Where it has run nothing yet, it runs what the others are to run.
    pub fn open(root: &Path, installed: Option<PathBuf>, plan: Option<&Plan>) -> Result<Programs, Error> {
        let first = Revision("1.0".to_owned());
        let known = Self::current(root);
        let runs = known.clone().unwrap_or_else(|| plan.map_or(first, |plan| plan.target().clone()));
        let programs = Programs { root: root.to_owned(), installed, runs };
        if known.is_none() {
            let folder = programs.make(&programs.runs)?;
            // what the start program has put there before it knew a number
            let started = root.join("current").join(PROGRAM);
            if started.exists() {
                programs.put(&started, &folder)?;
            }
            programs.flip(&programs.runs)?;
            programs.prune(&[&programs.runs]);
        }
        Ok(programs)
    }

    /// `None`: nothing that has a number.
    fn current(root: &Path) -> Option<Revision> {
        let link = fs::read_link(root.join("current")).ok()?;
        Number::parse(link.file_name()?.to_str()?).map(Number::revision)
    }

    /// The revision of this process.
    pub fn runs(&self) -> &Revision {
        &self.runs
    }

    /// Whether a start on this machine is one of a trial.
    pub fn on_trial(root: &Path) -> bool {
        root.join("trial").exists()
    }

    /// What this machine has gone back from.
    pub fn gave_up(&self) -> Option<GaveUp> {
        let text = fs::read_to_string(self.root.join("gave-up")).ok()?;
        let (revision, why) = text.split_once('\n')?;
        let revision = Number::parse(revision.trim())?.revision();
        Some(GaveUp { revision, why: why.trim().chars().take(1_000).collect() })
    }

    /// This program is good: it is gone back from only when somebody says so.
    pub fn ready(&self) -> Result<(), Error> {
        remove(&self.root.join("trial"))
    }

    /// Gets a revision ready to be started next. Done again, it does the same.
    pub(crate) async fn take(self: Arc<Programs>, order: Order) -> Result<(), Error> {
        if let (Source::Installed, Some(installed)) = (order.source, &self.installed) {
            runs(installed).await?;
        }
        tokio::task::spawn_blocking(move || self.take_now(&order)).await.map_err(|_| Error::Cancelled)?
    }

    fn take_now(&self, order: &Order) -> Result<(), Error> {
        let Order { revision, source, keep } = order;
        let folder = self.make(revision)?;
        let mut trial = false;
        if let Some(installed) = &self.installed {
            let kept = match source {
                Source::Installed => None,
                Source::Kept => self.kept(revision),
            };
            // one that is behind takes what is installed; one that has lost what it is to go back to keeps what it runs
            let behind = Number::of(revision).map(|n| n.program) > Number::of(&self.runs).map(|n| n.program);
            trial = kept.is_none() && (*source == Source::Installed || behind);
            let own = self.folder(&self.runs).join(PROGRAM);
            let from = kept.unwrap_or_else(|| if trial { installed.clone() } else { own });
            self.put(&from, &folder)?;
        }
        remove(&self.root.join("gave-up"))?;
        if trial {
            self.write("trial", &format!("{} {STARTS}\n", self.runs))?;
        } else {
            remove(&self.root.join("trial"))?;
        }
        self.flip(revision)?;
        self.prune(&[revision, &self.runs, keep]);
        Ok(())
    }

    fn folder(&self, revision: &Revision) -> PathBuf {
        self.root.join("revisions").join(&revision.0)
    }

    fn make(&self, revision: &Revision) -> Result<PathBuf, Error> {
        let folder = self.folder(revision);
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        Ok(folder)
    }

    /// A program that is here under this number.
    fn kept(&self, revision: &Revision) -> Option<PathBuf> {
        let program = Number::of(revision)?.program;
        let folders = fs::read_dir(self.root.join("revisions")).ok()?.flatten();
        let mut found: Vec<Number> = folders
            .filter_map(|f| Number::parse(f.file_name().to_str()?))
            .filter(|n| n.program == program)
            .collect();
        found.sort();
        let paths = found.into_iter().rev().map(|number| self.folder(&number.revision()).join(PROGRAM));
        paths.into_iter().find(|path| path.exists())
    }

    /// Puts a program into the folder of a revision: a link to the same file where it is one of ours.
    fn put(&self, from: &Path, folder: &Path) -> Result<(), Error> {
        let (aside, to) = (folder.join("majordomo.new"), folder.join(PROGRAM));
        if fs::canonicalize(from).ok().is_some_and(|from| fs::canonicalize(&to).ok() == Some(from)) {
            return Ok(());
        }
        remove(&aside)?;
        if !from.starts_with(&self.root)
            || fs::hard_link(fs::canonicalize(from).unwrap_or(from.to_owned()), &aside).is_err()
        {
            fs::copy(from, &aside).map_err(Error::io("copy the program to", &aside))?;
            let whole = fs::File::open(&aside).and_then(|file| {
                file.set_permissions(fs::Permissions::from_mode(0o755))?;
                file.sync_all()
            });
            whole.map_err(Error::io("write", &aside))?;
        }
        fs::rename(&aside, &to).map_err(Error::io("write", &to))
    }

    fn flip(&self, revision: &Revision) -> Result<(), Error> {
        let (aside, current) = (self.root.join("current.new"), self.root.join("current"));
        remove(&aside)?;
        symlink(Path::new("revisions").join(&revision.0), &aside).map_err(Error::io("write", &aside))?;
        fs::rename(&aside, &current).map_err(Error::io("write", &current))?;
        self.sync()
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        let (aside, to) = (self.root.join(format!("{name}.new")), self.root.join(name));
        fs::write(&aside, text).map_err(Error::io("write", &aside))?;
        fs::rename(&aside, &to).map_err(Error::io("write", &to))?;
        self.sync()
    }

    /// A machine that loses its power now must find all of it.
    fn sync(&self) -> Result<(), Error> {
        fs::File::open(&self.root).and_then(|root| root.sync_all()).map_err(Error::io("write", &self.root))
    }

    fn prune(&self, keep: &[&Revision]) {
        for entry in fs::read_dir(self.root.join("revisions")).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if !keep.iter().any(|revision| name.to_str() == Some(&revision.0)) {
                // the next one tries again
                let _left = fs::remove_dir_all(entry.path());
            }
        }
    }
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Refuses a program that can't even say its version: one of another kind of machine, or a file that is cut.
async fn runs(program: &Path) -> Result<(), Error> {
    let does_not = |why: String| Error::DoesNotRun { path: program.to_owned(), why };
    let mut command = tokio::process::Command::new(program);
    command
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    match tokio::time::timeout(CHECK, command.status()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(does_not(format!("asked for its version, it ends with {status}"))),
        Ok(Err(error)) => Err(does_not(error.to_string())),
        Err(_) => Err(does_not(format!("it does not say its version within {} s", CHECK.as_secs()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(text: &str) -> Revision {
        Revision(text.to_owned())
    }

    fn script(path: &Path, text: &str) {
        let aside = path.with_extension("aside");
        fs::write(&aside, text).unwrap();
        fs::set_permissions(&aside, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(aside, path).unwrap();
    }

    fn order(to: &str, source: Source, keep: &str) -> Order {
        Order { revision: revision(to), source, keep: revision(keep) }
    }

    fn started(root: &Path) -> (String, String) {
        let current = Programs::current(root).unwrap().0;
        (current, fs::read_to_string(root.join("current").join(PROGRAM)).unwrap())
    }

    fn kept(root: &Path) -> Vec<String> {
        let names = fs::read_dir(root.join("revisions")).unwrap().flatten();
        let mut names: Vec<_> = names.map(|e| e.file_name().to_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn a_machine_takes_programs_restarts_them_and_goes_back() {
        let folder = tempfile::tempdir().unwrap();
        let (root, installed) = (folder.path().join("state"), folder.path().join("installed"));
        fs::create_dir(&root).unwrap();
        let open = || Arc::new(Programs::open(&root, Some(installed.clone()), None).unwrap());
        script(&installed, "#!/bin/sh\n# one\n");
        // as the start program does it
        fs::create_dir_all(root.join("revisions/first")).unwrap();
        fs::copy(&installed, root.join("revisions/first/majordomo")).unwrap();
        symlink("revisions/first", root.join("current")).unwrap();
        let programs = open();
        assert_eq!(programs.runs(), &revision("1.0"));
        let one = "#!/bin/sh\n# one\n".to_owned();
        assert_eq!((started(&root), kept(&root)), (("1.0".to_owned(), one.clone()), vec!["1.0".to_owned()]));

        script(&installed, "#!/bin/sh\n# two\n");
        for _again in 0..2 {
            Arc::clone(&programs).take(order("1.1", Source::Kept, "1.0")).await.unwrap();
            assert_eq!(started(&root), ("1.1".to_owned(), one.clone()), "a restart takes no other program");
            assert!(!Programs::on_trial(&root));
        }
        let programs = open();
        Arc::clone(&programs).take(order("2.0", Source::Installed, "1.1")).await.unwrap();
        let two = "#!/bin/sh\n# two\n".to_owned();
        assert_eq!(started(&root), ("2.0".to_owned(), two.clone()));
        assert_eq!(fs::read_to_string(root.join("trial")).unwrap(), "1.1 3\n");
        assert_eq!(kept(&root), ["1.1", "2.0"]);
        let programs = open();
        assert!(Programs::on_trial(&root));
        programs.ready().unwrap();
        assert!(!Programs::on_trial(&root));

        Arc::clone(&programs).take(order("1.1", Source::Kept, "1.1")).await.unwrap();
        assert_eq!(started(&root), ("1.1".to_owned(), one));
        // it was away, and is behind
        let programs = open();
        Arc::clone(&programs).take(order("3.2", Source::Kept, "3.1")).await.unwrap();
        assert_eq!((started(&root), Programs::on_trial(&root)), (("3.2".to_owned(), two), true));
    }

    #[tokio::test]
    async fn a_program_that_can_not_run_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let (root, installed) = (folder.path().join("state"), folder.path().join("installed"));
        fs::create_dir(&root).unwrap();
        let programs = Arc::new(Programs::open(&root, Some(installed.clone()), None).unwrap());
        for (text, why) in [("#!/bin/sh\nexit 3\n", "exit status: 3"), ("\u{7f}ELF", "does not run")] {
            script(&installed, text);
            let order = order("2.0", Source::Installed, "1.0");
            let error = Arc::clone(&programs).take(order).await.unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
            assert_eq!(Programs::current(&root), Some(revision("1.0")));
        }
    }

    #[test]
    fn what_was_gone_back_from_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let programs = Programs::open(folder.path(), None, None).unwrap();
        assert_eq!(programs.gave_up(), None);
        fs::write(folder.path().join("gave-up"), "4.0\nit ended 3 times\n").unwrap();
        let wanted = GaveUp { revision: revision("4.0"), why: "it ended 3 times".to_owned() };
        assert_eq!(programs.gave_up(), Some(wanted));
    }
}

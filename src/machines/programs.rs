//! The programs that this machine has: which one runs, which one is started next, and which one is gone back to.
//!
//! ```text
//! STATE/
//!   current -> revisions/3.1     what is started next
//!   revisions/3.1/majordomo      the program of each revision that is kept
//!   trial                        while `current` has not been ready yet: what to go back to, and how many starts are left
//!   said                         why the program on trial could not go on, in its own words
//!   gave-up                      what was gone back from, and why; the revision is in the first line
//! ```
//!
//! `deploy/systemd/majordomo-start` reads and writes the same: a program that does not run can't go back by itself. Without
//! it (`MAJORDOMO_INSTALLED` is not set) no program is kept, only the revision's name.

use std::fs;
use std::io::{self, Write as _};
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
/// The same before it is whole.
const ASIDE: &str = "majordomo.new";
/// How often a program is started that does not get ready.
const STARTS: u32 = 3;
/// How long `--version` may take.
const CHECK: Duration = Duration::from_secs(30);
/// Before the next attempt to run one that is still being written.
const BUSY: Duration = Duration::from_millis(20);

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

/// Where the program of a revision is found.
enum Found {
    Installed,
    Here(PathBuf),
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
                programs.link(&started, &folder)?;
                place(&folder)?;
                sync(&folder)?;
                sync(&root.join("revisions"))?;
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

    /// Leaves there why a program on trial ends, for whoever goes back from it. A disk that is full does not hear it.
    pub fn last_words(root: &Path, why: &str) {
        let _unheard = fs::write(root.join("said"), why);
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

    /// Gets a revision ready to be started next. Done again, it does the same. Where it can't, nothing is left of it.
    pub(crate) async fn take(self: Arc<Programs>, order: Order) -> Result<(), Error> {
        let order = Arc::new(order);
        let taken = self.copy_check_and_take(&order).await;
        if taken.is_err() {
            // why it can't be taken is what counts; the next attempt removes the rest
            let _left = blocking(&self, &order, Programs::clean).await;
        }
        taken
    }

    async fn copy_check_and_take(self: &Arc<Programs>, order: &Arc<Order>) -> Result<(), Error> {
        // what is installed may be replaced meanwhile: what is checked is what is started
        if let Some((aside, installed)) = blocking(self, order, Programs::lay_aside).await? {
            runs(&aside, &installed).await?;
        }
        blocking(self, order, Programs::take_now).await
    }

    /// Puts the program of this revision beside its place. `Some`: where it is, and which installed program it is a copy of.
    fn lay_aside(&self, order: &Order) -> Result<Option<(PathBuf, PathBuf)>, Error> {
        let Some(installed) = &self.installed else { return Ok(None) };
        let folder = self.make(&order.revision)?;
        match self.from(order) {
            Found::Installed => self.copy(installed, &folder).map(|aside| Some((aside, installed.clone()))),
            Found::Here(own) => {
                self.link(&own, &folder)?;
                Ok(None)
            }
        }
    }

    /// Where the program of that revision comes from.
    fn from(&self, order: &Order) -> Found {
        let kept = match order.source {
            Source::Installed => None,
            Source::Kept => self.kept(&order.revision),
        };
        // one that is behind takes what is installed; one that has lost what it is to go back to keeps what it runs
        let program = |revision| Number::of(revision).map(|number| number.program);
        let behind = program(&order.revision) > program(&self.runs);
        match kept {
            Some(kept) => Found::Here(kept),
            None if order.source == Source::Installed || behind => Found::Installed,
            None => Found::Here(self.folder(&self.runs).join(PROGRAM)),
        }
    }

    fn take_now(&self, order: &Order) -> Result<(), Error> {
        let Order { revision, source: _, keep } = order;
        let trial = self.installed.is_some() && matches!(self.from(order), Found::Installed);
        let back = self.back(order);
        let folder = self.make(revision)?;
        if self.installed.is_some() {
            place(&folder)?;
        }
        sync(&folder)?;
        sync(&self.root.join("revisions"))?;
        remove(&self.root.join("gave-up"))?;
        if trial {
            remove(&self.root.join("ended"))?;
            self.write("trial", &format!("{back} {STARTS}\n"))?;
        } else {
            remove(&self.root.join("trial"))?;
        }
        self.flip(revision)?;
        self.prune(&[revision, &self.runs, keep, &back]);
        Ok(())
    }

    /// What a trial goes back to: what runs here, unless that was never ready itself.
    fn back(&self, order: &Order) -> Revision {
        let there =
            |revision: &Revision| *revision != order.revision && self.folder(revision).join(PROGRAM).exists();
        if !Self::on_trial(&self.root) {
            return self.runs.clone();
        }
        let proven = std::iter::once(order.keep.clone()).chain(self.before());
        proven.into_iter().find(there).unwrap_or_else(|| self.runs.clone())
    }

    /// What the trial that is under way goes back to.
    fn before(&self) -> Option<Revision> {
        let text = fs::read_to_string(self.root.join("trial")).ok()?;
        text.split(' ').next().and_then(Number::parse).map(Number::revision)
    }

    /// Nothing stays of what could not be taken: a full disk would stay full.
    fn clean(&self, order: &Order) -> Result<(), Error> {
        let back = self.back(order);
        let current = Self::current(&self.root);
        self.prune(&[&self.runs, &order.keep, &back, current.as_ref().unwrap_or(&self.runs)]);
        remove(&self.folder(&order.revision).join(ASIDE))?;
        if current == self.before() {
            // nothing is on trial
            remove(&self.root.join("trial"))?;
        }
        remove(&self.root.join("trial.new"))?;
        remove(&self.root.join("current.new"))
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

    /// Lays one of our programs aside in the folder of a revision: a link to the same file, where there can be one.
    fn link(&self, from: &Path, folder: &Path) -> Result<(), Error> {
        let same = |path: &Path| fs::canonicalize(path).ok();
        let aside = folder.join(ASIDE);
        remove(&aside)?;
        if same(from).is_some_and(|from| same(&folder.join(PROGRAM)) == Some(from)) {
            return Ok(());
        }
        match fs::hard_link(same(from).unwrap_or(from.to_owned()), &aside) {
            Ok(()) => Ok(()),
            Err(_) => self.copy(from, folder).map(drop),
        }
    }

    fn copy(&self, from: &Path, folder: &Path) -> Result<PathBuf, Error> {
        let aside = folder.join(ASIDE);
        remove(&aside)?;
        fs::copy(from, &aside).map_err(Error::io("copy the program to", &aside))?;
        let whole = fs::File::open(&aside).and_then(|file| {
            file.set_permissions(fs::Permissions::from_mode(0o755))?;
            file.sync_all()
        });
        whole.map_err(Error::io("write", &aside))?;
        Ok(aside)
    }

    fn flip(&self, revision: &Revision) -> Result<(), Error> {
        let (aside, current) = (self.root.join("current.new"), self.root.join("current"));
        remove(&aside)?;
        symlink(Path::new("revisions").join(&revision.0), &aside).map_err(Error::io("write", &aside))?;
        fs::rename(&aside, &current).map_err(Error::io("write", &current))?;
        sync(&self.root)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        let (aside, to) = (self.root.join(format!("{name}.new")), self.root.join(name));
        let whole = fs::File::create(&aside).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        whole.map_err(Error::io("write", &aside))?;
        fs::rename(&aside, &to).map_err(Error::io("write", &to))?;
        sync(&self.root)
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

/// Does what blocks where it may.
async fn blocking<T: Send + 'static>(
    programs: &Arc<Programs>,
    order: &Arc<Order>,
    what: impl FnOnce(&Programs, &Order) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let (programs, order) = (Arc::clone(programs), Arc::clone(order));
    tokio::task::spawn_blocking(move || what(&programs, &order)).await.map_err(|_| Error::Cancelled)?
}

/// Puts what was laid aside into its place.
fn place(folder: &Path) -> Result<(), Error> {
    let to = folder.join(PROGRAM);
    match fs::rename(folder.join(ASIDE), &to) {
        // it is there already
        Err(error) if error.kind() == io::ErrorKind::NotFound && to.exists() => Ok(()),
        placed => placed.map_err(Error::io("write", &to)),
    }
}

/// A machine that loses its power now must find all of it.
fn sync(folder: &Path) -> Result<(), Error> {
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io("write", folder))
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Refuses a program that can't even say its version: one of another kind of machine, or a file that is cut. `copy` is run,
/// `installed` is named.
async fn runs(copy: &Path, installed: &Path) -> Result<(), Error> {
    let does_not = |why: String| Error::DoesNotRun { path: installed.to_owned(), why };
    let version = async {
        loop {
            let mut command = tokio::process::Command::new(copy);
            command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            match command.kill_on_drop(true).status().await {
                // A process that was started while it was written has its file open until it runs its own program.
                Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                    tokio::time::sleep(BUSY).await;
                }
                ended => return ended,
            }
        }
    };
    match tokio::time::timeout(CHECK, version).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(does_not(format!("asked for its version, it ends with {status}"))),
        Ok(Err(error)) => Err(does_not(error.to_string())),
        Err(_) => Err(does_not(format!("it does not say its version within {} s", CHECK.as_secs()))),
    }
}

#[cfg(test)]
mod tests;

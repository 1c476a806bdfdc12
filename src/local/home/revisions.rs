//! `revisions.json`: what replicas run and how far that is rolled out. The program of each revision is kept in `programs/`:
//! going back would be impossible otherwise.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use model::{RestartWhen, RolloutAsked};
use rollout::{Revision, Rollout};
use serde::{Deserialize, Serialize};

use super::Paths;
use crate::Error;
use crate::files::{private_folder, read_json, write_json};

/// Name of a kept program in its folder: what processes are called.
const PROGRAM: &str = "majordomo";

/// What was asked for, and what of it is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Revisions {
    /// Number of the newest revision.
    last: u64,
    /// All replicas were ready with it once.
    good: Revision,
    wanted: Revision,
    /// Why `wanted` was given up.
    failed: Option<String>,
    when: RestartWhen,
    /// The last restart that a user has asked for and that a revision was made for.
    restart: i64,
    known: BTreeMap<String, Known>,
}

/// One revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    /// Folder in `programs/`.
    program: String,
    /// Why there is this revision.
    reason: String,
}

impl Revisions {
    /// Of this home; with another program than the last time a new revision is wanted.
    pub(crate) fn open(paths: &Paths, program: &Path) -> Result<Revisions, Error> {
        let kept = keep(paths, program)?;
        let Some(mut revisions) = read_json::<Revisions>(&paths.revisions())? else {
            let first = Revision("1".to_owned());
            let known = Known { program: kept, reason: "the first start".to_owned() };
            let revisions = Revisions {
                last: 1,
                good: first.clone(),
                wanted: first.clone(),
                failed: None,
                when: RestartWhen::Immediately,
                restart: 0,
                known: BTreeMap::from([(first.0, known)]),
            };
            revisions.write(paths)?;
            return Ok(revisions);
        };
        if revisions.current().is_none_or(|known| known.program != kept) {
            revisions.want(kept, "another program was started", RestartWhen::Immediately);
            revisions.write(paths)?;
        }
        Ok(revisions)
    }

    /// Wants what is at `program` now. `false`: that is wanted already.
    pub(crate) fn reload(&mut self, paths: &Paths, program: &Path) -> Result<bool, Error> {
        let kept = keep(paths, program)?;
        if self.current().is_some_and(|known| known.program == kept) && self.failed.is_none() {
            return Ok(false);
        }
        let mut next = self.clone();
        next.want(kept, "another program was loaded", RestartWhen::Immediately);
        self.become_written(paths, next)?;
        Ok(true)
    }

    /// Wants what users have asked for: a restart, with the program that is `installed` if they say so. `false`: that is
    /// wanted already, or was withdrawn.
    pub(crate) fn restart(
        &mut self,
        paths: &Paths,
        asked: &RolloutAsked,
        installed: &Path,
    ) -> Result<bool, Error> {
        let RolloutAsked { restart: number, when, by, reload, withdrawn, busy: _ } = asked;
        if *number == self.restart {
            return Ok(false);
        }
        let mut next = self.clone();
        next.restart = *number;
        // one that is lower: the store was set back
        let wanted = *number > self.restart && !withdrawn;
        if wanted {
            let target = self.known.get(&self.rollout().target().0);
            let program = match reload {
                true => keep(paths, installed)?,
                false => target.map(|known| known.program.clone()).unwrap_or_default(),
            };
            let what = if *reload { "the installed program" } else { "a restart" };
            next.want(program, &format!("{what} was asked for by {by}"), *when);
        }
        self.become_written(paths, next)?;
        Ok(wanted)
    }

    /// What can't be written down is not so.
    fn become_written(&mut self, paths: &Paths, next: Revisions) -> Result<(), Error> {
        next.write(paths)?;
        *self = next;
        Ok(())
    }

    fn want(&mut self, program: String, reason: &str, when: RestartWhen) {
        self.last += 1;
        let number = self.last.to_string();
        self.known.insert(number.clone(), Known { program, reason: reason.to_owned() });
        (self.wanted, self.failed, self.when) = (Revision(number), None, when);
    }

    /// Writes down how far the rollout is, and forgets what nobody runs or can go back to.
    pub(crate) fn note<'a>(
        &mut self,
        paths: &Paths,
        rollout: &Rollout,
        running: impl Iterator<Item = &'a Revision> + Clone,
    ) -> Result<(), Error> {
        let mut next = self.clone();
        (next.good, next.wanted) = (rollout.good.clone(), rollout.wanted.clone());
        next.failed = rollout.failed.clone();
        let (good, wanted) = (&rollout.good.0, &rollout.wanted.0);
        let runs = |number: &String| running.clone().any(|revision| revision.0 == *number);
        next.known.retain(|number, _| number == good || number == wanted || runs(number));
        if *self != next {
            self.become_written(paths, next)?;
            prune(paths, &self.known);
        }
        Ok(())
    }

    /// As it was written down: nobody is at work.
    pub(crate) fn rollout(&self) -> Rollout {
        let settled = Rollout::settled(self.good.clone());
        Rollout { wanted: self.wanted.clone(), failed: self.failed.clone(), ..settled }
    }

    fn current(&self) -> Option<&Known> {
        self.known.get(&self.wanted.0)
    }

    pub(crate) fn wanted(&self) -> &Revision {
        &self.wanted
    }

    pub(crate) fn when(&self) -> RestartWhen {
        self.when
    }

    pub(crate) fn last_restart(&self) -> i64 {
        self.restart
    }

    pub(crate) fn reason(&self) -> &str {
        self.current().map_or("", |known| &known.reason)
    }

    /// What replicas of this revision run.
    pub(crate) fn program(&self, paths: &Paths, revision: &Revision) -> Option<PathBuf> {
        let known = self.known.get(&revision.0)?;
        Some(paths.programs().join(&known.program).join(PROGRAM))
    }

    fn write(&self, paths: &Paths) -> Result<(), Error> {
        write_json(&paths.revisions(), self)
    }
}

/// Keeps this program, if it is not kept yet; gives the name of its folder. A link to the same bytes where that is possible:
/// whoever installs a program puts a new file in the place of the old one.
fn keep(paths: &Paths, program: &Path) -> Result<String, Error> {
    let found = fs::metadata(program).map_err(Error::io("look at", program))?;
    let name = format!("{:x}-{:x}{:08x}", found.len(), found.mtime(), found.mtime_nsec());
    let folder = paths.programs().join(&name);
    let kept = folder.join(PROGRAM);
    let same = |at: &Path| {
        fs::metadata(at)
            .is_ok_and(|kept| kept.len() == found.len() && kept.modified().ok() == found.modified().ok())
    };
    if same(&kept) {
        return Ok(name);
    }
    private_folder(&paths.programs())?;
    private_folder(&folder)?;
    let aside = folder.join(format!("{PROGRAM}.{}.tmp", std::process::id()));
    let _none = fs::remove_file(&aside);
    if fs::hard_link(program, &aside).is_err() {
        fs::copy(program, &aside).map_err(Error::io("write", &aside))?;
        let copied = fs::File::options().append(true).open(&aside);
        let dated = copied.and_then(|file| file.set_modified(found.modified()?));
        dated.map_err(Error::io("write", &aside))?;
    }
    fs::rename(&aside, &kept).map_err(Error::io("write", &kept))?;
    Ok(name)
}

fn prune(paths: &Paths, known: &BTreeMap<String, Known>) {
    let kept = |name: &str| known.values().any(|known| known.program == name);
    for entry in fs::read_dir(paths.programs()).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(|name| !kept(name)) {
            // The next one tries again.
            let _left = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn install(at: &Path, text: &str) {
        let aside = at.with_extension("new");
        fs::write(&aside, text).unwrap();
        fs::set_permissions(&aside, fs::Permissions::from_mode(0o700)).unwrap();
        fs::rename(&aside, at).unwrap();
    }

    fn read(revisions: &Revisions, paths: &Paths, number: &str) -> String {
        fs::read_to_string(revisions.program(paths, &Revision(number.to_owned())).unwrap()).unwrap()
    }

    #[test]
    fn a_new_program_is_a_revision_and_the_former_is_kept_until_it_is_good() {
        let home = tempfile::tempdir().unwrap();
        let (paths, program) = (Paths::new(home.path()), home.path().join("program"));
        install(&program, "first");
        let first = Revisions::open(&paths, &program).unwrap();
        assert_eq!(Revisions::open(&paths, &program).unwrap(), first);
        assert_eq!((first.wanted().0.as_str(), first.reason()), ("1", "the first start"));

        install(&program, "the second");
        let mut second = first.clone();
        assert!(second.reload(&paths, &program).unwrap());
        assert!(!second.reload(&paths, &program).unwrap());
        assert_eq!(
            (read(&second, &paths, "1"), read(&second, &paths, "2")),
            ("first".into(), "the second".into())
        );
        assert_eq!(Revisions::open(&paths, &program).unwrap(), second, "as it was written down");
        assert_eq!(second.rollout().target().0, "2");

        let good = Rollout { good: Revision("2".to_owned()), ..second.rollout() };
        second.note(&paths, &good, [].iter()).unwrap();
        assert_eq!(fs::read_dir(paths.programs()).unwrap().count(), 1);
        assert_eq!(second.program(&paths, &Revision("1".to_owned())), None);
    }

    #[test]
    fn a_restart_is_a_revision_of_what_runs_and_happens_once() {
        let home = tempfile::tempdir().unwrap();
        let (paths, program) = (Paths::new(home.path()), home.path().join("program"));
        install(&program, "first");
        let mut revisions = Revisions::open(&paths, &program).unwrap();
        let ask = |restart, when, by: &str, reload| {
            let by = by.to_owned();
            RolloutAsked { restart, when, by, reload, withdrawn: false, busy: 0 }
        };
        let idle = ask(4, RestartWhen::Idle, "ann", false);
        assert!(revisions.restart(&paths, &idle, &program).unwrap());
        assert!(!revisions.restart(&paths, &idle, &program).unwrap());
        assert_eq!(
            (revisions.reason(), revisions.when()),
            ("a restart was asked for by ann", RestartWhen::Idle)
        );
        assert_eq!(read(&revisions, &paths, "2"), "first");
        // after one that has failed, what was gone back to is restarted
        install(&program, "broken");
        revisions.reload(&paths, &program).unwrap();
        let failed = Rollout { failed: Some("it is broken".to_owned()), ..revisions.rollout() };
        revisions.note(&paths, &failed, [].iter()).unwrap();
        revisions.restart(&paths, &ask(5, RestartWhen::Immediately, "bob", false), &program).unwrap();
        assert_eq!(read(&revisions, &paths, "4"), "first");
        install(&program, "mended");
        revisions.restart(&paths, &ask(6, RestartWhen::Immediately, "bob", true), &program).unwrap();
        assert_eq!(read(&revisions, &paths, "5"), "mended");
        assert_eq!(revisions.reason(), "the installed program was asked for by bob");
        // of one that was withdrawn only its number is known
        let withdrawn = RolloutAsked { withdrawn: true, ..ask(7, RestartWhen::Idle, "ann", false) };
        assert!(!revisions.restart(&paths, &withdrawn, &program).unwrap());
        assert_eq!((revisions.last_restart(), revisions.wanted().0.as_str()), (7, "5"));
        assert_eq!(Revisions::open(&paths, &program).unwrap(), revisions, "as it was written down");
    }
}

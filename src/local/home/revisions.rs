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
    /// The last one that was good and had another program than `good`. `None`: there was none.
    former: Option<Revision>,
    wanted: Revision,
    /// Why `wanted` was given up.
    failed: Option<String>,
    when: RestartWhen,
    /// The last restart that a user has asked for and that a revision was made for.
    restart: i64,
    /// What was found installed the last time, as a folder in `programs/`. `None`: an older version wrote this.
    installed: Option<String>,
    known: BTreeMap<String, Known>,
}

/// One revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    /// Folder in `programs/`.
    program: String,
    /// Why there is this revision.
    reason: String,
    /// The newest level that its replicas know. `None`: nobody has seen all of them ready.
    level: Option<i64>,
}

impl Known {
    fn new(program: String, reason: &str) -> Known {
        Known { program, reason: reason.to_owned(), level: None }
    }
}

impl Revisions {
    /// Of this home; with another program than the last time a new revision is wanted.
    pub(crate) fn open(paths: &Paths, program: &Path) -> Result<Revisions, Error> {
        let kept = keep(paths, program)?;
        let Some(mut revisions) = read_json::<Revisions>(&paths.revisions())? else {
            let first = Revision("1".to_owned());
            let known = Known::new(kept.clone(), "the first start");
            let revisions = Revisions {
                last: 1,
                good: first.clone(),
                former: None,
                wanted: first.clone(),
                failed: None,
                when: RestartWhen::Immediately,
                restart: 0,
                installed: Some(kept),
                known: BTreeMap::from([(first.0, known)]),
            };
            revisions.write(paths)?;
            return Ok(revisions);
        };
        // another one may have been gone back to since it was installed
        let known = revisions.installed.as_ref().or(revisions.current().map(|known| &known.program));
        if known != Some(&kept) {
            revisions.installed = Some(kept.clone());
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
        next.installed = Some(kept.clone());
        next.want(kept, "another program was loaded", RestartWhen::Immediately);
        self.become_written(paths, next)?;
        Ok(true)
    }

    /// Wants the program again that ran before the one that is wanted now. `level`: of the home, where it is known.
    pub(crate) fn back(&mut self, paths: &Paths, level: Option<i64>) -> Result<(), Error> {
        if self.rollout().failed.is_some() {
            return Err(Error::Refused(format!(
                "revision {} was given up, and {} is gone back to already",
                self.wanted(),
                self.good
            )));
        }
        // one that is not good yet is gone back from to the one that is
        let settled = self.same_program(self.rollout().target(), &self.good);
        let before = if settled { self.former.as_ref() } else { Some(&self.good) };
        let before = before.and_then(|before| Some((before, self.known.get(&before.0)?)));
        let Some((before, Known { program, reason: _, level: knows })) = before else {
            return Err(Error::Refused(
                "no other program has run before: there is nothing to go back to".to_owned(),
            ));
        };
        if let Some((level, knows)) = level.zip(*knows).filter(|(level, knows)| level > knows) {
            return Err(Error::Refused(format!(
                "the home is at level {level}, and the program of revision {before} knows {knows} only"
            )));
        }
        let reason = format!("the program of revision {before} was asked for again");
        let (mut next, program) = (self.clone(), program.clone());
        next.want(program, &reason, RestartWhen::Immediately);
        self.become_written(paths, next)
    }

    fn same_program(&self, one: &Revision, other: &Revision) -> bool {
        let program = |revision: &Revision| self.known.get(&revision.0).map(|known| &known.program);
        program(one) == program(other)
    }

    /// Wants what users have asked for: a restart, with the program that is `installed` if they say so. `false`: that is
    /// wanted already, or was withdrawn.
    pub(crate) fn restart(
        &mut self,
        paths: &Paths,
        asked: &RolloutAsked,
        installed: &Path,
    ) -> Result<bool, Error> {
        let RolloutAsked { restart: number, when, by, reload, withdrawn, busy: _, known: _ } = asked;
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
            if *reload {
                next.installed = Some(program.clone());
            }
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
        self.known.insert(number.clone(), Known::new(program, reason));
        (self.wanted, self.failed, self.when) = (Revision(number), None, when);
    }

    /// Writes down how far the rollout is, and forgets what nobody runs or can go back to. `level`: the newest that all
    /// replicas know.
    pub(crate) fn note<'a>(
        &mut self,
        paths: &Paths,
        rollout: &Rollout,
        running: impl Iterator<Item = &'a Revision> + Clone,
        level: Option<i64>,
    ) -> Result<(), Error> {
        let mut next = self.clone();
        if !self.same_program(&self.good, &rollout.good) {
            next.former = Some(self.good.clone());
        }
        (next.good, next.wanted) = (rollout.good.clone(), rollout.wanted.clone());
        next.failed = rollout.failed.clone();
        let (good, wanted) = (&rollout.good.0, &rollout.wanted.0);
        let former = next.former.as_ref().map(|former| &former.0);
        let runs = |number: &String| running.clone().any(|revision| revision.0 == *number);
        next.known
            .retain(|number, _| number == good || number == wanted || Some(number) == former || runs(number));
        if let (Some(known), true) = (next.known.get_mut(good), running.clone().all(|runs| runs.0 == *good)) {
            known.level = level.or(known.level);
        }
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

    fn ask(restart: i64, when: RestartWhen, by: &str, reload: bool) -> RolloutAsked {
        RolloutAsked { restart, when, by: by.to_owned(), reload, withdrawn: false, busy: 0, known: 1 }
    }

    /// All replicas are ready with what is wanted, and know this level.
    fn settle(revisions: &mut Revisions, paths: &Paths, level: i64) {
        let good = Rollout { good: revisions.wanted().clone(), ..revisions.rollout() };
        revisions.note(paths, &good, [revisions.wanted().clone()].iter(), Some(level)).unwrap();
    }

    fn programs(paths: &Paths) -> usize {
        fs::read_dir(paths.programs()).unwrap().count()
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

        settle(&mut second, &paths, 1);
        assert_eq!(programs(&paths), 2, "the former one");
        assert_eq!(read(&second, &paths, "1"), "first");
        // a restart is of the same program
        assert!(second.restart(&paths, &ask(1, RestartWhen::Immediately, "ann", false), &program).unwrap());
        settle(&mut second, &paths, 1);
        assert_eq!((programs(&paths), read(&second, &paths, "1")), (2, "first".into()));

        install(&program, "the third one");
        assert!(second.reload(&paths, &program).unwrap());
        assert_eq!(programs(&paths), 3, "the new one may not be good");
        settle(&mut second, &paths, 1);
        assert_eq!((programs(&paths), read(&second, &paths, "3")), (2, "the second".into()));
        assert_eq!(second.program(&paths, &Revision("1".to_owned())), None);
        assert_eq!(Revisions::open(&paths, &program).unwrap(), second, "as it was written down");
    }

    #[test]
    fn the_program_before_is_gone_back_to_while_the_level_of_the_home_allows() {
        let home = tempfile::tempdir().unwrap();
        let (paths, program) = (Paths::new(home.path()), home.path().join("program"));
        let wanted = |revisions: &Revisions| read(revisions, &paths, &revisions.wanted().0);
        install(&program, "first");
        let mut revisions = Revisions::open(&paths, &program).unwrap();
        settle(&mut revisions, &paths, 1);
        let none = revisions.back(&paths, Some(1)).unwrap_err();
        assert_eq!(none.to_string(), "no other program has run before: there is nothing to go back to");

        // from one that is not good yet
        install(&program, "the second");
        assert!(revisions.reload(&paths, &program).unwrap());
        revisions.back(&paths, Some(1)).unwrap();
        assert_eq!(
            (wanted(&revisions), revisions.reason()),
            ("first".into(), "the program of revision 1 was asked for again")
        );
        settle(&mut revisions, &paths, 1);
        // from one that is
        assert!(revisions.reload(&paths, &program).unwrap());
        settle(&mut revisions, &paths, 2);
        assert_eq!((programs(&paths), wanted(&revisions)), (2, "the second".into()));
        revisions.back(&paths, Some(1)).unwrap();
        assert_eq!(wanted(&revisions), "first");
        settle(&mut revisions, &paths, 1);
        // another life of `up`, started as what is installed, does not undo that
        assert_eq!(Revisions::open(&paths, &program).unwrap(), revisions);
        // and forth again, in the same way
        revisions.back(&paths, Some(1)).unwrap();
        assert_eq!(wanted(&revisions), "the second");
        settle(&mut revisions, &paths, 2);
        let before = revisions.clone();
        let late = revisions.back(&paths, Some(2)).unwrap_err();
        assert_eq!(late.to_string(), "the home is at level 2, and the program of revision 5 knows 1 only");
        assert_eq!(revisions, before);
        // of a program that was installed meanwhile it takes notice
        install(&program, "the third one");
        let reopened = Revisions::open(&paths, &program).unwrap();
        assert_eq!(
            (wanted(&reopened), reopened.reason()),
            ("the third one".into(), "another program was started")
        );
    }

    #[test]
    fn a_restart_is_a_revision_of_what_runs_and_happens_once() {
        let home = tempfile::tempdir().unwrap();
        let (paths, program) = (Paths::new(home.path()), home.path().join("program"));
        install(&program, "first");
        let mut revisions = Revisions::open(&paths, &program).unwrap();
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
        revisions.note(&paths, &failed, [].iter(), None).unwrap();
        let back = revisions.back(&paths, Some(1)).unwrap_err().to_string();
        assert!(back.ends_with(" was given up, and 1 is gone back to already"), "{back}");
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

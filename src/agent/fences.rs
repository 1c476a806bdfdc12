//! The fences of builds, on disk: of those that are kept here, and of the newest that were forgotten. A former owner that
//! was stopped meanwhile may wake and claim one of these: it would find no folder and run its steps again.
//!
//! One file of lines, `BUILD FENCE BOOT` for a claim and `BUILD FENCE -` for a build that was forgotten; the last line of
//! a build counts. Claims that come together share a write and a sync. `BOOT` is the boot in which the build was first
//! claimed: steps are not synced when they start, so after a restart of the machine their folders may be missing, and
//! the answer to the next claim says so. That a build was forgotten is not synced: if the line is lost, the agent tells
//! the build as kept, and hears once more that it may go.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use model::{BuildId, Fence};

use crate::home::replace;

/// Forgotten builds that are remembered; with hundreds that end in a second, far more than a lease.
const MOST: usize = 10_000;
/// Stands for the boot in the line of a forgotten build.
const FORGOTTEN: &str = "-";

/// A claim, as the file keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    fence: Fence,
    boot: String,
}

/// What there is to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    Claim(BuildId, Fence),
    /// The fence stays for a while.
    Forget(BuildId, Fence),
}

/// The file and what it says. Its functions block the thread.
#[derive(Debug)]
pub(crate) struct FenceFile {
    path: PathBuf,
    /// The machine's present boot.
    boot: String,
    /// Where lines are added. Nothing after a write that failed: who knows how far it got, so the file is made anew.
    file: Option<File>,
    lines: usize,
    held: BTreeMap<BuildId, Held>,
    /// Oldest first. One that was claimed again is in `held`, too, which counts.
    forgotten: VecDeque<(BuildId, Fence)>,
}

impl FenceFile {
    pub(crate) fn open(path: &Path, boot: &str) -> io::Result<FenceFile> {
        let mut fences = FenceFile {
            path: path.to_owned(),
            boot: boot.to_owned(),
            file: None,
            lines: 0,
            held: BTreeMap::new(),
            forgotten: VecDeque::new(),
        };
        let text = match fs::read(path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(e),
        };
        // A last line that is cut off was never answered for.
        let whole = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        for (number, line) in whole.enumerate() {
            let damaged = || format!("line {} of {} is damaged", number + 1, path.display());
            let (build, fence, boot) =
                parse(line).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, damaged()))?;
            if boot == FORGOTTEN {
                let _oldest = fences.forget(build, fence);
            } else {
                fences.held.insert(build, Held { fence, boot: boot.to_owned() });
            }
        }
        fences.rewrite()?;
        Ok(fences)
    }

    /// The builds that are kept here, and whether the machine was restarted since each was first claimed.
    pub(crate) fn held(&self) -> impl Iterator<Item = (BuildId, Fence, bool)> + '_ {
        self.held.iter().map(|(build, held)| (*build, held.fence, held.boot != self.boot))
    }

    /// Of builds that were forgotten, oldest first.
    pub(crate) fn forgotten(&self) -> impl Iterator<Item = (BuildId, Fence)> + '_ {
        self.forgotten.iter().copied()
    }

    /// Whether the machine was restarted since this build was first claimed.
    pub(crate) fn rebooted(&self, build: BuildId) -> bool {
        self.held.get(&build).is_some_and(|held| held.boot != self.boot)
    }

    /// Claims are durable when it returns; after an error none of these may be answered for.
    /// → builds that were forgotten, and are not remembered any more
    pub(crate) fn write(&mut self, lines: &[Entry]) -> io::Result<Vec<BuildId>> {
        let mut text = String::new();
        let mut claims = Vec::new();
        let mut dropped = Vec::new();
        for line in lines {
            match *line {
                Entry::Claim(build, fence) => {
                    let boot = self.held.get(&build).map_or(&self.boot, |held| &held.boot).clone();
                    text.push_str(&claimed(build, fence, &boot));
                    claims.push((build, Held { fence, boot }));
                }
                Entry::Forget(build, fence) => {
                    text.push_str(&forgotten(build, fence));
                    dropped.extend(self.forget(build, fence));
                }
            }
        }
        if self.file.is_none() {
            self.rewrite()?;
        }
        self.append(&text, !claims.is_empty()).inspect_err(|_| self.file = None)?;
        self.lines += lines.len();
        self.held.extend(claims);
        if self.lines > 2 * (MOST + self.held.len()) {
            self.rewrite()?;
        }
        Ok(dropped)
    }

    fn append(&mut self, text: &str, sync: bool) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::NotFound.into()) };
        file.write_all(text.as_bytes())?;
        if sync { file.sync_data() } else { Ok(()) }
    }

    /// Builds of another controller come.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        self.held.clear();
        self.forgotten.clear();
        self.rewrite()
    }

    fn forget(&mut self, build: BuildId, fence: Fence) -> Option<BuildId> {
        self.held.remove(&build);
        self.forgotten.push_back((build, fence));
        let (oldest, _) =
            if self.forgotten.len() > MOST { self.forgotten.pop_front()? } else { return None };
        let known =
            self.held.contains_key(&oldest) || self.forgotten.iter().any(|(build, _)| *build == oldest);
        (!known).then_some(oldest)
    }

    /// Makes the file anew, durable, with what counts.
    fn rewrite(&mut self) -> io::Result<()> {
        self.file = None;
        let old = self.forgotten.iter().map(|(build, fence)| forgotten(*build, *fence));
        let held = self.held.iter().map(|(build, held)| claimed(*build, held.fence, &held.boot));
        replace(&self.path, old.chain(held).collect::<String>().as_bytes())?;
        self.file = Some(OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)?);
        self.lines = self.forgotten.len() + self.held.len();
        Ok(())
    }
}

fn claimed(build: BuildId, fence: Fence, boot: &str) -> String {
    format!("{build} {} {boot}\n", fence.to_i64())
}

fn forgotten(build: BuildId, fence: Fence) -> String {
    claimed(build, fence, FORGOTTEN)
}

fn parse(line: &str) -> Option<(BuildId, Fence, &str)> {
    let (build, rest) = line.split_once(' ')?;
    let (fence, boot) = rest.split_once(' ')?;
    Some((BuildId(build.parse().ok()?), Fence::from_i64(fence.parse().ok()?), boot))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: BuildId = BuildId(1);

    fn open(dir: &tempfile::TempDir, boot: &str) -> FenceFile {
        FenceFile::open(&dir.path().join("fences"), boot).unwrap()
    }

    #[test]
    fn a_fence_is_read_back_and_a_restart_of_the_machine_is_told_at_the_next_claim() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (Fence::first(1), Fence::first(2));
        let mut fences = open(&dir, "old");
        assert!(fences.write(&[Entry::Claim(ONE, one), Entry::Claim(ONE, two)]).unwrap().is_empty());
        assert!(!fences.rebooted(ONE));
        let mut fences = open(&dir, "new");
        assert_eq!(fences.held().collect::<Vec<_>>(), [(ONE, two, true)]);
        fences.write(&[Entry::Claim(ONE, two), Entry::Claim(BuildId(2), one)]).unwrap();
        assert!(fences.rebooted(ONE) && !fences.rebooted(BuildId(2)));
        fences.write(&[Entry::Forget(ONE, two)]).unwrap();
        let mut fences = open(&dir, "new");
        assert_eq!(fences.held().collect::<Vec<_>>(), [(BuildId(2), one, false)]);
        assert_eq!(fences.forgotten().collect::<Vec<_>>(), [(ONE, two)]);
        fences.clear().unwrap();
        assert_eq!(open(&dir, "new").held().count(), 0);
    }

    #[test]
    fn a_last_line_that_was_cut_off_is_nothing_and_a_damaged_one_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        open(&dir, "b").write(&[Entry::Claim(ONE, Fence::first(1))]).unwrap();
        let add = |text: &[u8]| {
            let path = dir.path().join("fences");
            OpenOptions::new().append(true).open(path).unwrap().write_all(text).unwrap();
        };
        add(b"12 345");
        let mut fences = open(&dir, "b");
        fences.write(&[Entry::Claim(BuildId(2), Fence::first(2))]).unwrap();
        assert_eq!(open(&dir, "b").held().count(), 2);
        add(b"12 345\n");
        let error = FenceFile::open(&dir.path().join("fences"), "b").unwrap_err();
        assert!(error.to_string().starts_with("line 3 of /"), "{error}");
    }

    #[test]
    fn the_newest_are_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (Fence::first(1), Fence::first(2));
        let mut fences = open(&dir, "b");
        let build = |n: usize| BuildId(n.try_into().unwrap());
        let all: Vec<Entry> = (0..MOST).map(|n| Entry::Forget(build(n), one)).collect();
        assert!(fences.write(&all).unwrap().is_empty());
        assert_eq!(fences.write(&[Entry::Forget(BuildId(-1), one)]).unwrap(), [BuildId(0)]);
        assert_eq!(fences.write(&[Entry::Claim(build(1), two)]).unwrap(), []);
        assert_eq!(fences.write(&[Entry::Forget(BuildId(-2), one)]).unwrap(), [], "it was claimed again");
        let mut fences = open(&dir, "b");
        assert_eq!(fences.held().collect::<Vec<_>>(), [(build(1), two, false)]);
        assert_eq!(fences.forgotten().count(), MOST);
        for _ in 0..3 {
            fences.write(&all).unwrap();
        }
        assert!(fs::read_to_string(dir.path().join("fences")).unwrap().lines().count() <= 2 * MOST);
    }

    /// The file can be made and not grow: a disk that is full.
    #[test]
    fn a_write_that_fails_leaves_no_half_line_for_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let mut fences = open(&dir, "b");
        fences.write(&[Entry::Claim(ONE, Fence::first(1))]).unwrap();
        fences.file = Some(OpenOptions::new().write(true).open("/dev/full").unwrap());
        assert!(fences.write(&[Entry::Claim(ONE, Fence::first(2))]).is_err());
        OpenOptions::new().append(true).open(dir.path().join("fences")).unwrap().write_all(b"1 2").unwrap();
        assert_eq!(fences.held().collect::<Vec<_>>(), [(ONE, Fence::first(1), false)]);
        fences.write(&[Entry::Claim(BuildId(2), Fence::first(3))]).unwrap();
        let held = [(ONE, Fence::first(1), false), (BuildId(2), Fence::first(3), false)];
        assert_eq!(open(&dir, "b").held().collect::<Vec<_>>(), held);
    }
}

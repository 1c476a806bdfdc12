//! The fences of builds that were forgotten here, the newest of them. A former owner that was stopped meanwhile may wake
//! and claim such a build: it would find no folder and run its steps again.
//!
//! Kept in a file of lines, so that a restart of the agent changes nothing. It is not synced: an owner whose lease
//! lapsed sends nothing any more by the time that a machine has been restarted.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use model::{BuildId, Fence};

/// Builds that are remembered; with hundreds that end in a second, far more than a lease.
const MOST: usize = 10_000;

#[derive(Debug)]
pub(crate) struct Forgotten {
    path: PathBuf,
    file: File,
    /// Lines of the file.
    lines: usize,
    /// Oldest first; no build twice.
    builds: VecDeque<(BuildId, Fence)>,
}

impl Forgotten {
    pub(crate) fn open(path: &Path) -> io::Result<Forgotten> {
        let text = match fs::read(path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(e),
        };
        let mut forgotten =
            Forgotten { path: path.to_owned(), file: append(path)?, lines: 0, builds: VecDeque::new() };
        // A last line that was cut off names a build whose folder is still there.
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            if let Some((build, fence)) = parse(line) {
                let _oldest = forgotten.remember(build, fence);
            }
        }
        forgotten.rewrite()?;
        Ok(forgotten)
    }

    /// Oldest first.
    pub(crate) fn all(&self) -> impl Iterator<Item = (BuildId, Fence)> + '_ {
        self.builds.iter().copied()
    }

    /// On disk before the folder of the build goes. → a build that is not remembered any more
    pub(crate) fn add(&mut self, build: BuildId, fence: Fence) -> io::Result<Option<BuildId>> {
        self.file.write_all(format!("{build} {}\n", fence.to_i64()).as_bytes())?;
        self.lines += 1;
        let oldest = self.remember(build, fence);
        if self.lines > 2 * MOST {
            self.rewrite()?;
        }
        Ok(oldest)
    }

    /// Builds of another controller come.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        self.builds.clear();
        self.rewrite()
    }

    fn remember(&mut self, build: BuildId, fence: Fence) -> Option<BuildId> {
        self.builds.retain(|(known, _)| *known != build);
        self.builds.push_back((build, fence));
        if self.builds.len() > MOST { self.builds.pop_front().map(|(oldest, _)| oldest) } else { None }
    }

    fn rewrite(&mut self) -> io::Result<()> {
        let lines = self.builds.iter().map(|(build, fence)| format!("{build} {}\n", fence.to_i64()));
        let new = self.path.with_extension("new");
        fs::write(&new, lines.collect::<String>())?;
        fs::rename(&new, &self.path)?;
        self.file = append(&self.path)?;
        self.lines = self.builds.len();
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

fn parse(line: &str) -> Option<(BuildId, Fence)> {
    let (build, fence) = line.split_once(' ')?;
    Some((BuildId(build.parse().ok()?), Fence::from_i64(fence.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_remembered_and_a_line_that_was_cut_off_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("forgotten");
        let mut forgotten = Forgotten::open(&path).unwrap();
        let (one, two) = (Fence::first(1), Fence::first(2));
        for n in 0..MOST {
            assert_eq!(forgotten.add(BuildId(i64::try_from(n).unwrap()), one).unwrap(), None);
        }
        assert_eq!(forgotten.add(BuildId(-1), one).unwrap(), Some(BuildId(0)));
        assert_eq!(forgotten.add(BuildId(7), two).unwrap(), None, "it is remembered already");
        append(&path).unwrap().write_all(b"12").unwrap();
        let again = Forgotten::open(&path).unwrap();
        assert_eq!(again.all().last(), Some((BuildId(7), two)));
        assert_eq!(again.all().count(), MOST);
        assert_eq!(again.all().filter(|(build, _)| *build == BuildId(7)).count(), 1);
    }
}

//! The file: a gzipped tar of bounded size, which only its owner can read.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;

use crate::error::Error;

/// Most bytes in it, before they are packed.
const MOST: usize = 150 * 1024 * 1024;
/// Kept for what is written last and tells of what is not in it.
const RESERVE: usize = 1024 * 1024;

pub(super) struct Archive {
    tar: tar::Builder<GzEncoder<File>>,
    path: PathBuf,
    now: Timestamp,
    left: usize,
    omitted: Vec<String>,
}

impl Archive {
    /// Nothing that is there is written over.
    pub(super) fn create(path: &Path, now: Timestamp) -> Result<Archive, Error> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(|why| Error::Write { path: path.display().to_string(), why })?;
        let tar = tar::Builder::new(GzEncoder::new(file, Compression::default()));
        Ok(Archive { tar, path: path.to_path_buf(), now, left: MOST, omitted: Vec::new() })
    }

    /// How much still fits.
    pub(super) fn room(&self) -> usize {
        self.left.saturating_sub(RESERVE)
    }

    pub(super) fn add(&mut self, name: &str, text: &str) -> Result<(), Error> {
        let last = name == "missing.txt";
        if text.len() > if last { self.left } else { self.room() } {
            self.omitted.push(format!("{name}: the report is full"));
            return Ok(());
        }
        self.left -= text.len();
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(u64::try_from(self.now.as_second()).unwrap_or_default());
        let done = self.tar.append_data(&mut header, format!("majordomo-report/{name}"), text.as_bytes());
        done.map_err(|why| self.failed(why))
    }

    pub(super) fn omitted(&mut self) -> Vec<String> {
        std::mem::take(&mut self.omitted)
    }

    /// How large the file is.
    pub(super) fn finish(self) -> Result<u64, Error> {
        let Archive { tar, path, .. } = self;
        let done = tar.into_inner().and_then(GzEncoder::finish).and_then(|file| {
            file.sync_all()?;
            Ok(file.metadata()?.len())
        });
        done.map_err(|why| {
            let _ = std::fs::remove_file(&path);
            Error::Write { path: path.display().to_string(), why }
        })
    }

    /// A part of a report is of no use to anybody.
    fn failed(&self, why: io::Error) -> Error {
        let _ = std::fs::remove_file(&self.path);
        Error::Write { path: self.path.display().to_string(), why }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn what_was_added_is_in_it_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.tar.gz");
        let mut archive = Archive::create(&path, Timestamp::now()).unwrap();
        archive.add("objects/a.yaml", "a: 1\n").unwrap();
        assert!(archive.finish().unwrap() > 0);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let mut read = tar::Archive::new(GzDecoder::new(File::open(&path).unwrap()));
        let mut entry = read.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(entry.path().unwrap().to_str(), Some("majordomo-report/objects/a.yaml"));
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        assert_eq!(text, "a: 1\n");
        let again = Archive::create(&path, Timestamp::now()).err().unwrap().to_string();
        assert!(again.starts_with("write "), "{again}");
    }

    #[test]
    fn a_full_report_still_says_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.tar.gz");
        let mut archive = Archive::create(&path, Timestamp::now()).unwrap();
        archive.left = RESERVE + 10;
        archive.add("small", "0123456789").unwrap();
        archive.add("large", "0123456789").unwrap();
        assert_eq!(archive.omitted(), ["large: the report is full"]);
        archive.add("missing.txt", "large").unwrap();
        assert_eq!(archive.omitted(), [""; 0]);
        archive.finish().unwrap();
    }
}

//! A disk of bounded size for the home, that can be filled up: a file system in memory.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

/// Enough for the home of a soak, and filled in a moment.
const SIZE: &str = "size=1g";

/// Unmounted when it is dropped.
pub(super) struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// An error says why this user can't mount one.
    pub(super) fn mount() -> Result<Disk> {
        let folder = std::env::temp_dir().join(format!("majordomo-soak-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let out = Command::new("mount").args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(&folder).output();
        let why = match out {
            Ok(out) if out.status.success() => return Ok(Disk { folder }),
            Ok(out) => String::from_utf8_lossy(&out.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        let _gone = std::fs::remove_dir(&folder);
        bail!("a file system of bounded size can't be mounted: {why}")
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }

    /// Takes all room that there is, and goes on until nothing more can be written.
    pub(super) fn fill(&self) -> Result<()> {
        let mut file = File::options().create(true).append(true).open(self.filler())?;
        for size in [1 << 20, 4096] {
            let block = vec![0u8; size];
            while file.write(&block).is_ok_and(|written| written > 0) {}
        }
        Ok(())
    }

    pub(super) fn free(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.filler())?)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // what still has a file open there is about to end
        let _unmounted = Command::new("umount").arg("-l").arg(&self.folder).status();
        let _gone = std::fs::remove_dir(&self.folder);
    }
}

//! The agent's folder on disk: lock, instance id, folders of builds. See the crate's page for the layout.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use model::BuildId;
use tracing::warn;

use crate::Error;
use crate::fences::FenceFile;

/// A lock that is held is tried again for a second.
const LOCK_TRIES: u32 = 11;
const LOCK_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// The open folder. Locked until it is dropped.
#[derive(Debug)]
pub(crate) struct Home {
    root: PathBuf,
    pub(crate) instance: String,
    /// Differs from all other work folders on this machine, and stays.
    pub(crate) place: String,
    /// Changes when the machine is restarted.
    pub(crate) boot: String,
    _lock: File,
}

impl Home {
    pub(crate) fn open(work_dir: &Path) -> Result<Home, Error> {
        let failed = |source| Error::WorkDir { path: work_dir.to_owned(), source };
        fs::create_dir_all(work_dir).map_err(failed)?;
        let work_dir = fs::canonicalize(work_dir).map_err(failed)?;
        let root = work_dir.join("majordomo");
        for dir in [root.clone(), root.join("builds"), root.join("trash")] {
            make_private_dir(&dir).map_err(failed)?;
        }
        spread(&root.join("builds"));
        let lock = File::create(root.join("lock")).map_err(failed)?;
        for last in (0..LOCK_TRIES).rev().map(|left| left == 0) {
            match lock.try_lock() {
                Ok(()) => break,
                // A child that an agent forked just before it was killed holds the lock until it runs its program.
                Err(TryLockError::WouldBlock) if !last => std::thread::sleep(LOCK_PAUSE),
                Err(TryLockError::WouldBlock) => return Err(Error::InUse(work_dir)),
                Err(TryLockError::Error(e)) => return Err(failed(e)),
            }
        }
        let instance = instance(&root).map_err(failed)?;
        let place = fs::metadata(&root).map_err(failed)?;
        let place = format!("{:x}-{:x}", place.dev(), place.ino());
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Ok(Home { root, instance, place, boot: boot.trim().to_owned(), _lock: lock })
    }

    /// The work folder itself.
    pub(crate) fn work_dir(&self) -> &Path {
        self.root.parent().unwrap_or(&self.root)
    }

    /// The builds that have a folder.
    pub(crate) fn builds(&self) -> io::Result<Vec<BuildId>> {
        let mut builds = Vec::new();
        for entry in fs::read_dir(self.root.join("builds"))? {
            let name = entry?.file_name();
            builds.extend(name.to_str().and_then(|name| name.parse().ok()).map(BuildId));
        }
        Ok(builds)
    }

    pub(crate) fn fences(&self) -> io::Result<FenceFile> {
        FenceFile::open(&self.root.join("fences"), &self.boot)
    }

    /// Whose builds are kept here; nothing before the first link.
    pub(crate) fn controller(&self) -> Option<String> {
        let text = fs::read_to_string(self.root.join("controller")).ok()?;
        text.strip_suffix('\n').map(str::to_owned)
    }

    /// From now on nobody takes this for the work folder that it was.
    pub(crate) fn renew(&mut self) -> io::Result<()> {
        self.instance = new_instance(&self.root)?;
        Ok(())
    }

    pub(crate) fn set_controller(&self, controller: &str) -> io::Result<()> {
        replace(&self.root.join("controller"), format!("{controller}\n").as_bytes())
    }

    /// Where the folders of a build's steps are; made with the first of them.
    pub(crate) fn build(&self, build: BuildId) -> PathBuf {
        self.root.join("builds").join(build.to_string())
    }

    /// Takes a build's folder away at once; deleting it may take longer and is left to the caller.
    pub(crate) fn discard(&self, build: BuildId) -> io::Result<Option<PathBuf>> {
        let to = self.root.join("trash").join(format!("{build}-{}", random_hex(4)?));
        match fs::rename(self.build(build), &to) {
            Ok(()) => Ok(Some(to)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// What an agent that was killed had not deleted yet.
    pub(crate) fn trash(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.root.join("trash")).into_iter().flatten();
        entries.flatten().map(|e| e.path()).collect()
    }

    /// Bytes that are free for this agent's user on the disk of the spools.
    pub(crate) fn free(&self) -> Option<u64> {
        match rustix::fs::statvfs(&self.root) {
            Ok(stat) => Some(stat.f_bavail.saturating_mul(stat.f_frsize)),
            Err(e) => {
                warn!("ask for the free space of {}: {e}", self.root.display());
                None
            }
        }
    }
}

/// Makes the file anew as a whole; durable when it returns.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(new, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Makes a folder that only this user can look into: scripts and outputs may hold secrets.
pub(crate) fn make_private_dir(path: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        done => done,
    }
}

/// Lets ext4 spread the folders of builds over the disk, as it does by itself with those at its top: they have nothing to
/// do with each other. In one place, it looks past each inode deleted in the last minute whenever it makes one, and with
/// hundreds of builds a second that took more time than the steps themselves. Other file systems know no such hint.
fn spread(folder: &Path) {
    use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
    let Ok(folder) = File::open(folder) else { return };
    if let Ok(flags) = ioctl_getflags(&folder) {
        let _only_a_hint = ioctl_setflags(&folder, flags | IFlags::TOPDIR);
    }
}

/// The id of this work folder; made with it.
fn instance(root: &Path) -> io::Result<String> {
    let path = root.join("instance");
    match fs::read_to_string(&path) {
        Ok(id) if id.len() == 33 => return Ok(id.trim().to_owned()),
        // Cut off by a crash of the machine: no controller has seen it, for it is synced before it is used.
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    new_instance(root)
}

fn new_instance(root: &Path) -> io::Result<String> {
    let id = random_hex(16)?;
    replace(&root.join("instance"), format!("{id}\n").as_bytes())?;
    Ok(id)
}

/// `bytes` random bytes as hex.
pub(crate) fn random_hex(bytes: usize) -> io::Result<String> {
    let mut random = vec![0; bytes];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(hex::encode(random))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_agent_on_one_work_folder_is_refused_with_a_sentence() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let error = Home::open(dir.path()).unwrap_err();
        assert!(error.to_string().starts_with("another agent uses the work folder /"), "{error}");
        let instance = home.instance.clone();
        drop(home);
        assert_eq!(Home::open(dir.path()).unwrap().instance, instance);
    }

    #[test]
    fn a_build_goes_to_the_trash_once() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let build = BuildId(7);
        make_private_dir(&home.build(build)).unwrap();
        assert_eq!(home.builds().unwrap(), [build]);
        assert!(home.discard(build).unwrap().is_some());
        assert!(home.builds().unwrap().is_empty());
        assert_eq!(home.discard(build).unwrap(), None);
        assert_eq!(home.trash().len(), 1);
    }
}

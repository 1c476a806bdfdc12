//! Whether a folder can be a home at all: looked at before anything is written.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, statfs, statvfs};

use crate::Error;

/// Least free space on the home's disk.
const MIN_FREE: u64 = 64 * 1024 * 1024;

/// Magic numbers of network file systems (`statfs(2)`): locks and SQLite are not safe there.
const NETWORK: &[(u32, &str)] = &[
    (0x0000_6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x0000_517b, "SMB"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x4750_4653, "GPFS"),
    (0x0bd0_0bd0, "Lustre"),
    (0x0102_1997, "9P"),
    (0x7461_636f, "OCFS2"),
    (0x7375_7245, "Coda"),
];
const FUSE: u32 = 0x6573_5546;
/// What FUSE mounts of remote folders call themselves in `mountinfo`.
const FUSE_NETWORK: &[&str] = &[
    "fuse.sshfs",
    "fuse.glusterfs",
    "fuse.ceph",
    "fuse.s3fs",
    "fuse.rclone",
    "fuse.gcsfuse",
    "fuse.juicefs",
];

/// Refuses a folder on a network file system, on a full or read-only disk, or one that this user can't write.
pub fn ensure_usable(home: &Path) -> Result<(), Error> {
    if fs::metadata(home).is_ok_and(|found| !found.is_dir()) {
        return Err(Error::Refused(format!("{} is not a folder; choose another --home", home.display())));
    }
    let place = home.display();
    if let (Ok(target), Err(_)) = (fs::read_link(home), fs::metadata(home)) {
        let target = target.display();
        return Err(Error::Refused(format!(
            "the home {place} is a symbolic link to {target}, where no folder is; create that folder or choose another --home"
        )));
    }
    let there = existing(home)?;
    if let Some(kind) = network(&there)? {
        return Err(Error::Refused(format!(
            "the home {place} is on a network file system ({kind}); choose a folder on a local disk"
        )));
    }
    if let Err(error) = access(&there, Access::WRITE_OK | Access::EXEC_OK) {
        return Err(Error::io("write to", &there)(error.into()));
    }
    let space = statvfs(&there).map_err(|e| Error::io("look at", &there)(e.into()))?;
    if space.f_bavail.saturating_mul(space.f_frsize) < MIN_FREE {
        return Err(Error::Refused(format!(
            "the disk of the home {place} has less than 64 MiB free; make room or choose another --home"
        )));
    }
    Ok(())
}

/// Refuses a database whose folder is not there: it may be on a disk that is not mounted, and a new one would be empty.
pub(super) fn ensure_folder_of(database: &Path, home: &Path) -> Result<(), Error> {
    let Some(folder) = database.parent().filter(|folder| *folder != home) else { return Ok(()) };
    let place = folder.display();
    match fs::metadata(folder) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(Error::Refused(format!("--store: {place} is not a folder"))),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(Error::Refused(format!("--store: there is no folder {place}; create it first")))
        }
        Err(error) => Err(Error::Refused(format!("--store: look at {place}: {error}"))),
    }
}

/// The folder itself or the nearest one above it that exists.
fn existing(folder: &Path) -> Result<PathBuf, Error> {
    for candidate in folder.ancestors() {
        match fs::metadata(candidate) {
            Ok(_) => return Ok(candidate.to_owned()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("look at", candidate)(error)),
        }
    }
    Ok(PathBuf::from("/"))
}

fn network(folder: &Path) -> Result<Option<String>, Error> {
    let found = statfs(folder).map_err(|e| Error::io("look at", folder)(e.into()))?;
    // the type of the field differs between platforms; the numbers have 32 bits
    let magic = (found.f_type as u64 & 0xffff_ffff) as u32;
    if magic == FUSE {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let kind = mount_kind(&mounts, folder);
        return Ok(kind.filter(|kind| FUSE_NETWORK.iter().any(|n| kind.starts_with(n))));
    }
    Ok(NETWORK.iter().find(|(number, _)| *number == magic).map(|(_, name)| (*name).to_owned()))
}

/// File system type of the mount that the folder is on, from `mountinfo`: the one with the longest mount point.
fn mount_kind(mounts: &str, folder: &Path) -> Option<String> {
    let parse = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let point = before.split(' ').nth(4)?.replace("\\040", " ");
        let kind = after.split(' ').next()?.to_owned();
        folder.starts_with(&point).then_some((point.len(), kind))
    };
    mounts.lines().filter_map(parse).max_by_key(|(length, _)| *length).map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_counts() {
        let mounts = "22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n\
                      30 22 0:40 / /mnt/far\\040away rw shared:2 - fuse.sshfs host:/ rw\n";
        let kind = |folder: &str| mount_kind(mounts, Path::new(folder)).unwrap();
        assert_eq!(kind("/home/x"), "ext4");
        assert_eq!(kind("/mnt/far away/x"), "fuse.sshfs");
        assert_eq!(kind("/mnt/far"), "ext4");
    }

    #[test]
    fn folders_that_can_be_no_home_are_refused_with_a_sentence() {
        let folder = tempfile::tempdir().unwrap();
        ensure_usable(folder.path()).unwrap();
        ensure_usable(&folder.path().join("not/there/yet")).unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(ensure_usable(&file).unwrap_err().to_string().contains("is not a folder"));
        let said = ensure_usable(&file.join("below")).unwrap_err().to_string();
        assert!(said.ends_with("a part of the way there is a file, not a folder"), "{said}");
        let dangling = folder.path().join("dangling");
        std::os::unix::fs::symlink("nowhere", &dangling).unwrap();
        let said = ensure_usable(&dangling).unwrap_err().to_string();
        assert!(said.contains("dangling is a symbolic link to nowhere, where no folder is"), "{said}");
        let circle = folder.path().join("circle");
        std::os::unix::fs::symlink("circle", &circle).unwrap();
        assert!(ensure_usable(&circle).unwrap_err().to_string().contains("is a symbolic link to circle"));
        assert!(!format!("{:?}", ensure_usable(&circle.join("x"))).contains("os error"));
    }
}

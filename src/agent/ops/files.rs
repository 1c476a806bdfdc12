//! Single files, and the end of a folder.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use remoting::ops::{MAX_PIECE, OpResult};

use super::{OpError, Pipe};
use crate::home::random_hex;

pub(super) fn read(path: &Path, max: u64, pipe: &Pipe) -> Result<OpResult, OpError> {
    let at = |e| OpError::at(path, e);
    // A fifo would wait for its other end for ever.
    if !fs::metadata(path).map_err(at)?.is_file() {
        return Err(OpError::Failed(format!("{} is not a file", path.display())));
    }
    let file = File::open(path).map_err(at)?;
    let large = || OpError::Failed(format!("{} is larger than {max} bytes", path.display()));
    if file.metadata().map_err(at)?.len() > max {
        return Err(large());
    }
    let copied = copy(&mut file.take(max.saturating_add(1)), &mut pipe.clone(), path)?;
    // It may have grown meanwhile.
    if copied > max { Err(large()) } else { Ok(OpResult::Done) }
}

/// Copies all of `from`; errors of `from` name its path, those of `to` are about content.
pub(super) fn copy(from: &mut dyn Read, to: &mut dyn Write, path: &Path) -> Result<u64, OpError> {
    let mut buffer = vec![0; MAX_PIECE];
    let mut copied = 0;
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(copied),
            Ok(length) => {
                to.write_all(&buffer[..length])?;
                copied += length as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(OpError::Io { path: path.to_owned(), source }),
        }
    }
}

/// Replaces a file as a whole. Through a link its target is replaced, and its permissions stay, as Jenkins does it.
pub(super) fn write(path: &Path, pipe: &Pipe) -> Result<OpResult, OpError> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let io = |source| OpError::Io { path: path.to_owned(), source };
    let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
        return Err(OpError::Failed(format!("{} is not the name of a file", path.display())));
    };
    if target.is_dir() {
        return Err(OpError::Failed(format!("{} is a folder", path.display())));
    }
    fs::create_dir_all(parent).map_err(io)?;
    let mut hidden = OsString::from(".");
    hidden.push(name.as_encoded_bytes().get(..100).map_or(name, |_| "file".as_ref()));
    hidden.push(format!(".{}.tmp", random_hex(6).map_err(io)?));
    let temporary = parent.join(hidden);
    let written = write_new(&temporary, &target, pipe);
    if written.is_err() {
        let _nothing_to_remove = fs::remove_file(&temporary);
    }
    written.map(|()| OpResult::Done)
}

fn write_new(temporary: &Path, target: &Path, pipe: &Pipe) -> Result<(), OpError> {
    let io = |source| OpError::Io { path: target.to_owned(), source };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o666).open(temporary).map_err(io)?;
    let mut buffer = vec![0; MAX_PIECE];
    let mut from = pipe.clone();
    loop {
        match from.read(&mut buffer)? {
            0 => break,
            length => file.write_all(&buffer[..length]).map_err(io)?,
        }
    }
    if let Ok(before) = fs::metadata(target) {
        file.set_permissions(before.permissions()).map_err(io)?;
    }
    fs::rename(temporary, target).map_err(io)
}

/// Deletes a folder with all in it. A link is deleted, not followed. One that is not there is deleted already.
pub(super) fn delete_dir(dir: &Path) -> Result<OpResult, OpError> {
    let failed = |source| OpError::Io { path: dir.to_owned(), source };
    if dir.parent().is_none() {
        return Err(OpError::Failed("the root of the file system is not deleted".to_owned()));
    }
    match remove_all(dir) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            // Folders without write permission, as some build tools leave them in their caches.
            open_up(dir);
            remove_all(dir).map_err(failed)?;
        }
        done => done.map_err(failed)?,
    }
    Ok(OpResult::Done)
}

fn remove_all(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn open_up(dir: &Path) {
    let mut left = vec![dir.to_owned()];
    while let Some(dir) = left.pop() {
        // What can't be changed will be said by the deletion that follows.
        let _may_not = fs::set_permissions(&dir, Permissions::from_mode(0o700));
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                left.push(entry.path());
            }
        }
    }
}

//! Files that are there whole or not at all.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;
use crate::error::of_given;

/// Largest file that is read here.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Written aside, synced, renamed; mode 600.
pub(crate) fn write_whole(path: &Path, text: &str) -> Result<(), Error> {
    let aside = path.with_extension(format!("{}.tmp", std::process::id()));
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&aside, path)?;
        match path.parent() {
            Some(parent) => fs::File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&aside);
        Error::io("write", path)(error)
    })
}

/// A secret of its own file: its first line. `None`: there is no such file.
pub fn read_secret(path: &Path) -> Result<Option<security::Token>, Error> {
    let Some(text) = read_given(path)? else { return Ok(None) };
    match text.lines().next().map(str::trim).filter(|line| !line.is_empty()) {
        Some(line) => Ok(Some(security::Token::chosen(line))),
        None => {
            Err(Error::Refused(format!("{} is empty; write a token into it, or delete it", path.display())))
        }
    }
}

/// Written whole, for its owner only.
pub fn write_secret(path: &Path, secret: &security::Token) -> Result<(), Error> {
    write_whole(path, &format!("{}\n", secret.expose()))
}

pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| Error::Refused(format!("write {}: {e}", path.display())))?;
    write_whole(path, &format!("{text}\n"))
}

/// A file of the home. `None`: there is no such file.
pub(crate) fn read_text(path: &Path) -> Result<Option<String>, Error> {
    read(path, Error::io("read", path))
}

/// A file that the user has named. `None`: there is no such file.
pub(crate) fn read_given(path: &Path) -> Result<Option<String>, Error> {
    read(path, |error| Error::Refused(format!("read {}: {}", path.display(), of_given(&error))))
}

fn read(path: &Path, failed: impl FnOnce(io::Error) -> Error) -> Result<Option<String>, Error> {
    match fs::metadata(path) {
        Ok(found) if found.len() > MAX_BYTES => {
            return Err(Error::Refused(format!("{} is larger than 4 MiB", path.display())));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Ok(_) | Err(_) => {}
    }
    fs::read_to_string(path).map(Some).map_err(failed)
}

/// `None`: there is no such file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    let Some(text) = read_text(path)? else { return Ok(None) };
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|e| Error::Refused(format!("{} is damaged ({e}); restore it from a backup", path.display())))
}

/// A folder that only its owner enters; nothing happens when it is there.
pub(crate) fn private_folder(path: &Path) -> Result<(), Error> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::io("create", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_named_file_has_nothing_to_do_with_the_home() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read_given(&folder.path().join("none")).unwrap(), None);
        let said = read_given(folder.path()).unwrap_err().to_string();
        assert!(said.ends_with(": it is a folder"), "{said}");
        assert_eq!(of_given(&ErrorKind::PermissionDenied.into()), "permission denied; let this user read it");
    }
}

//! Why `up` stops: each is one line for a person that says what to do.

use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Bad options, a bad file, an address or a home that can't be used.
    #[error("{0}")]
    Refused(String),
    #[error("{what} {path}: {why}")]
    Io { what: &'static str, path: PathBuf, why: String },
    /// A replica said why it can't start.
    #[error("{0}")]
    Replica(String),
}

impl Error {
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |error| Error::Io { what, path, why: plain(&error) }
    }
}

/// An error at a file that the user has named: the home has nothing to do with it.
pub(crate) fn of_given(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "permission denied; let this user read it".to_owned(),
        io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        io::ErrorKind::InvalidData => "it is not text in UTF-8".to_owned(),
        _ => words(error),
    }
}

/// An error of the system, in words that say what to do.
fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull => "the disk is full; make room or choose another --home".to_owned(),
        io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only; choose another --home".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "permission denied; choose another --home or run as its owner".to_owned()
        }
        _ => words(error),
    }
}

/// What the system says, without its number.
fn words(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotADirectory {
        return "a part of the way there is a file, not a folder".to_owned();
    }
    if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
        return "its symbolic links lead in a circle".to_owned();
    }
    let text = error.to_string();
    let plain = text.split(" (os error").next().unwrap_or_default();
    plain.to_lowercase()
}

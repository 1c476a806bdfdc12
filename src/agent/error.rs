//! Why an agent can't run at all. Everything else is answered to the controller or tried again.

use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("another agent uses the work folder {0}")]
    InUse(PathBuf),
    #[error("use the work folder {path}")]
    WorkDir {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("no URL of a controller is given")]
    NoUrl,
    #[error("{0}")]
    Url(String),
}

impl Error {
    /// Stable label for log fields. Never derived from text.
    pub fn reason(&self) -> &'static str {
        match self {
            Error::InUse(_) => "InUse",
            Error::WorkDir { .. } => "WorkDir",
            Error::NoUrl => "NoUrl",
            Error::Url(_) => "Url",
        }
    }
}

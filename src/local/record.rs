//! What running processes leave in `run/`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::files;

/// `run/NAME.json`: written by the replica once it has joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaRecord {
    pub pid: u32,
    /// `127.0.0.1:PORT` of its peer listener.
    pub peer: String,
    pub incarnation: i64,
}

impl ReplicaRecord {
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        files::write_json(path, self)
    }

    /// `None`: there is none, or none that can be read.
    pub(crate) fn read(path: &Path) -> Option<ReplicaRecord> {
        files::read_json(path).ok().flatten()
    }
}

/// `run/NAME.wait.json`: written by a replica while its store does not answer, removed when it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaWait {
    pub pid: u32,
    /// A sentence for a person.
    pub why: String,
}

impl ReplicaWait {
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        files::write_json(path, self)
    }

    /// `None`: there is none of this very process.
    pub(crate) fn read(path: &Path, pid: u32) -> Option<ReplicaWait> {
        files::read_json(path).ok().flatten().filter(|wait: &ReplicaWait| wait.pid == pid)
    }
}

/// `run/reload.json`: written by `up` when it has taken over a changed file or program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReloadRecord {
    /// A sentence for a person.
    pub(crate) outcome: String,
    /// What is wanted now; `None`: nothing was changed.
    pub(crate) revision: Option<String>,
}

impl ReloadRecord {
    pub(crate) fn write(&self, path: &Path) -> Result<(), Error> {
        files::write_json(path, self)
    }

    /// `None`: there is none.
    pub(crate) fn read(path: &Path) -> Result<Option<ReloadRecord>, Error> {
        files::read_json(path)
    }
}

/// `run/up.json`: written by `up` when it has its address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpRecord {
    pub pid: u32,
    /// `http://127.0.0.1:8080/`
    pub url: String,
    /// The replicas that it keeps running; empty when an older version wrote it.
    #[serde(default)]
    pub replicas: Vec<String>,
}

impl UpRecord {
    pub(crate) fn write(&self, path: &Path) -> Result<(), Error> {
        files::write_json(path, self)
    }

    /// `None`: there is none.
    pub fn read(path: &Path) -> Result<Option<UpRecord>, Error> {
        files::read_json(path)
    }
}

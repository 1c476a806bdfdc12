//! The names of everything in a home.

use std::path::{Path, PathBuf};

use super::DATABASE;

/// Where things are in a home.
#[derive(Debug, Clone)]
pub struct Paths {
    root: PathBuf,
}

impl Paths {
    pub fn new(root: impl Into<PathBuf>) -> Paths {
        Paths { root: root.into() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn master_key(&self) -> PathBuf {
        self.root.join("secrets/master.key")
    }

    pub fn admin_password(&self) -> PathBuf {
        self.root.join("admin-password")
    }

    pub fn bootstrap(&self) -> PathBuf {
        self.root.join("bootstrap.json")
    }

    pub fn objects(&self) -> PathBuf {
        self.root.join("objects")
    }

    pub fn database(&self) -> PathBuf {
        self.root.join(DATABASE)
    }

    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// Written by the replica of that name: [`crate::ReplicaRecord`].
    pub fn replica_record(&self, name: &str) -> PathBuf {
        self.run().join(format!("{name}.json"))
    }

    /// Where that replica hands out the listening socket: [`crate::share`].
    pub fn replica_socket(&self, name: &str) -> PathBuf {
        self.run().join(format!("{name}.sock"))
    }

    pub fn up_record(&self) -> PathBuf {
        self.run().join("up.json")
    }

    pub fn log(&self, name: &str) -> PathBuf {
        self.root.join("logs").join(format!("{name}.log"))
    }

    pub fn agent_folder(&self, name: &str) -> PathBuf {
        self.root.join("agents").join(name)
    }

    pub fn agent_secret(&self, name: &str) -> PathBuf {
        self.root.join("agents").join(format!("{name}.secret"))
    }

    pub fn example(&self) -> PathBuf {
        self.root.join("example")
    }

    pub(super) fn identity(&self) -> PathBuf {
        self.root.join("home.json")
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.root.join("up.lock")
    }
}

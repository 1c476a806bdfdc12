//! What `up` wants a controller to have. Replicas read it at their start, under the startup lock, and create what is
//! missing; what is there is left alone, so reading it twice is harmless.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::files;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// Identity of the controller, for `Write::Identify`.
    pub controller: String,
    /// The first user, if the controller has none yet.
    pub admin: Administrator,
    pub nodes: Vec<BootstrapNode>,
    /// Jobs of the first start; empty later, so that a deleted one stays deleted.
    pub items: Vec<BootstrapItem>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Administrator {
    pub id: String,
    pub full_name: String,
    /// PHC string.
    pub password_hash: String,
    /// An API token that is there from the beginning; none in homes of older versions.
    #[serde(default)]
    pub token: Option<BootstrapToken>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootstrapToken {
    pub id: String,
    pub hash: String,
}

impl fmt::Debug for Administrator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Administrator({}, ***)", self.id)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootstrapNode {
    pub name: String,
    pub executors: u32,
    pub labels: Vec<String>,
    pub remote_fs: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootstrapItem {
    /// Full name of the job.
    pub name: String,
    /// `config.xml`
    pub xml: String,
}

impl Bootstrap {
    /// `None`: there is no such file.
    pub fn read(path: &Path) -> Result<Option<Bootstrap>, Error> {
        files::read_json(path)
    }

    pub(crate) fn write(&self, path: &Path) -> Result<(), Error> {
        files::write_json(path, self)
    }
}

//! What an agent is told at its start.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use remoting::ops::MAX_SPOOL;

/// How often the controller pings until it says otherwise.
pub(crate) const PING: Duration = Duration::from_secs(15);
/// A disk with less than this free is full.
const MIN_FREE: u64 = 1024 * 1024;

/// The secret of a node. Prints as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(secret: impl Into<String>) -> Secret {
        Secret(secret.into())
    }

    /// The secret itself, for the one header that carries it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// All that an agent needs to run. [`Config::new`] fills in the defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Roots of the controller, tried in turn; the first that accepts wins.
    pub urls: Vec<String>,
    /// Name of the node.
    pub name: String,
    pub secret: Secret,
    /// Made when it is missing. One agent at a time.
    pub work_dir: PathBuf,
    /// End when an established link ends.
    pub no_reconnect: bool,
    /// End when there has been no link for this long.
    pub no_reconnect_after: Option<Duration>,
    /// Added to the upgrade request.
    pub web_socket_headers: Vec<(String, String)>,
    /// How often the controller pings until it says otherwise; after three silent intervals the link is left.
    pub ping_interval: Duration,
    /// Largest output of one step.
    pub max_spool: u64,
    /// The disk of the work folder is full when less than this many bytes are free.
    pub min_free: u64,
}

impl Config {
    pub fn new(urls: Vec<String>, name: String, secret: Secret, work_dir: PathBuf) -> Config {
        Config {
            urls,
            name,
            secret,
            work_dir,
            no_reconnect: false,
            no_reconnect_after: None,
            web_socket_headers: Vec::new(),
            ping_interval: PING,
            max_spool: MAX_SPOOL,
            min_free: MIN_FREE,
        }
    }
}

//! What `majordomo up` does: prepares a home, starts replicas and agents as processes behind one address, probes, kills and
//! restarts them, and takes over what an earlier `up` left running.
//!
//! It speaks HTTP to the replicas and never touches the store. Nothing that it starts depends on it: whatever kills `up`
//! kills no build.
//!
//! ```text
//! HOME/
//!   home.json        what this home is; written when all the rest is there
//!   up.lock          held while an `up` runs
//!   bootstrap.json   what replicas create at their start when it is missing
//!   admin-password   first password of the administrator, until he deletes it or the setup wizard has ended
//!   admin-name       whose admin-token is, where the setup wizard has made the first user
//!   admin-token      API token of the administrator, until he deletes it
//!   secrets/         master.key: all other keys are derived from it
//!   run/             NAME.json, NAME.sock, NAME.wait.json of each replica; up.json
//!   logs/            NAME.log, NAME.log.1
//!   agents/          NAME/ work folder, NAME.secret
//!   objects/         artifacts, stashes
//!   example/         the repository of the example job
//!   revisions.json   what replicas run, and how far it is rolled out
//!   programs/        the program of each revision that runs or can be gone back to
//!   failover-tests.jsonl  what came of each `majordomo failover-test`
//!   majordomo.db     the database, unless it is elsewhere
//! ```

mod bootstrap;
mod drill;
mod error;
mod example;
mod files;
mod fleet;
mod follow;
mod found;
mod home;
mod init;
mod listener;
mod peer;
mod process;
mod record;
mod secrets;
mod store_url;
mod supervise;
mod table;
mod up;
mod verify;
mod watch;
mod whom;
mod wizard;

pub use bootstrap::{Administrator, Bootstrap, BootstrapItem, BootstrapNode, BootstrapToken};
pub use drill::{FailoverTest, failover_history, failover_test};
pub use error::Error;
pub use files::{read_secret, write_secret};
pub use follow::{cancel_restart, drain, drain_over_http, reload, reload_over_http, restart};
pub use home::{Paths, ensure_usable};
pub use init::{Initialised, init};
pub use listener::{LISTEN_FD, inherited, share};
pub use peer::{begin_drain, drain_limit};
pub use record::{ReplicaRecord, ReplicaWait, UpRecord};
pub use secrets::{FirstAdmin, Secrets};
pub use store_url::{STORE_ENV, StoreUrl};
pub use table::{Auth, replicas_table};
pub use up::{Options, Say, run};
pub use verify::{Verdict, verify_log};
pub use whom::{Said, Whom, whom};
pub use wizard::{initial_password, setup_done};

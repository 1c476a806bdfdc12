//! Membership, leases, the startup lock, who adopts what.
//!
//! Decisions are pure: [`watch`] says who has lapsed, [`assign`] who takes which build, [`place`] where objects are, [`level`] when the
//! home may contain what is new. [`membership`] is the shell: it
//! joins, beats once a second, looks once a second, and publishes what it saw. It knows nothing of what a build does.

pub mod assign;
pub mod level;
pub mod membership;
mod metrics;
pub mod place;
#[cfg(test)]
mod start_tests;
pub mod startup;
pub mod watch;

use std::time::Duration;

/// How often a member raises its beat.
pub const BEAT: Duration = Duration::from_secs(1);
/// A beat that stood still for that long, while the store answered, is a lapse.
pub const LEASE: Duration = Duration::from_secs(5);
/// A holder stops sending that long before others may count it as lapsed.
pub const MARGIN: Duration = Duration::from_secs(1);
/// How often each member looks at the store, hints or not.
pub const LOOK: Duration = Duration::from_secs(1);
/// Deadline of a start under the startup lock; the setup wizard has none.
pub const START_DEADLINE: Duration = Duration::from_secs(60);
/// Name of the lease that lets one replica at a time start.
pub const STARTUP: &str = "startup";

pub use membership::{Handle, Lost, Membership, View};
pub use metrics::{Metrics, Stage};

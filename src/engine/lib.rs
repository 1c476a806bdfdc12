//! Queue, scheduler, build actors, logs, artifacts; commands in.
//!
//! Decisions are pure (`driver`, `allocate`); the shells around them talk to the store and to agents.

mod commands;
mod error;
mod hints;
mod inbox;

pub use commands::{Commands, Queued};
pub use error::Error;
pub use hints::{Hint, Hints};

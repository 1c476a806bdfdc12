//! Queue, scheduler, build actors, logs, artifacts; commands in.
//!
//! Decisions are pure (`driver`, `allocate`); the shells around them talk to the store and to agents.

mod actor;
pub mod allocate;
mod archive;
mod checkout;
mod commands;
mod definition;
mod downstream;
pub mod driver;
mod elastic;
mod error;
mod hints;
mod history;
mod inbox;
pub mod label;
mod metrics;
mod programs;
mod schedule;
mod seats;
mod service;
mod start;
mod texts;
mod trace;

pub use checkout::GitSource;
pub use commands::{Buildable, Commands, Queued};
pub use definition::Effective;
pub use error::Error;
pub use hints::{Hint, Hints};
pub use inbox::{Delivery, text as delivery_text};
pub use metrics::{Ended, Metrics};
pub use service::{Engine, Parts, forgotten};
pub use trace::{BuildTrace, MOST_SPANS, Span, SpanKind};

/// In the environment that a `node` step is granted: the instance id of the agent.
pub const INSTANCE_ENV: &str = "MAJORDOMO_AGENT_INSTANCE";

pub(crate) fn base64_decode(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text.trim()).ok()
}

pub(crate) fn base64_encode(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

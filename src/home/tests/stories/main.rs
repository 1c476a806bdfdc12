//! What a home promises beyond the contract: when connections race, processes are killed and servers go away.
#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

#[path = "../../../../tests/support/postgres.rs"]
mod postgres;
mod proxy;
mod support;

mod away;
mod crash;
mod erasing;
mod groups;
mod guard;
mod opening;

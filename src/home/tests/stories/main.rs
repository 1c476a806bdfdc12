//! What a home promises beyond the contract: when connections race, processes are killed and servers go away.
#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

#[path = "../../../../tests/support/postgres.rs"]
mod postgres;
mod proxy;
#[path = "../../../../tests/support/s3.rs"]
mod s3;
mod support;

mod away;
mod crash;
mod erasing;
mod groups;
mod guard;
mod login;
mod objects;
mod opening;

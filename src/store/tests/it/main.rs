//! The memory store under the contract, and what only it has.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

mod contract;
mod failing;
mod memory;

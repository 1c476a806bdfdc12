//! Stories told to real processes of the binary: what users and clients do over HTTP, and what the malicious and the
//! broken do. Most tests share one controller, started once; those that damage things have their own.
//!
//! Every test that shares the controller ends with [`harness::Controller::unharmed`]: no replica was lost, and no log has
//! an error.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may end them")]

mod harness;

mod agents;
mod bad_input;
mod builds;
mod crd;
mod disks;
mod freestyle;
mod jobs;
mod kubectl;
mod metrics;
mod nodes;
mod queue;
mod refusals;
mod replicas;
mod spools;
mod starts;
mod traces;
mod users;
mod wizard;

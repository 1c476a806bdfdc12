//! Stories of builds, told through the public face of the machine.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that is surprised fails")]

mod abort;
mod absent;
mod corpus;
mod declarative;
mod errors;
mod freestyle;
mod interruptions;
mod jenkins;
mod language;
mod limits;
mod mutants;
mod post;
mod replay;
mod steps;
mod support;
mod types;

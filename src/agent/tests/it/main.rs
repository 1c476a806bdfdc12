//! The native agent as a controller sees it: a real process, a real WebSocket, real programs.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may end them")]

mod fences;
mod files;
mod kill;
mod limits;
mod link;
mod measure;
mod process;
mod spools;
mod steps;
mod support;

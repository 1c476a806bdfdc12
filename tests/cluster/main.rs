//! Controllers of real processes, ill-treated at random: killed, stopped, cut off, robbed of their database.
//!
//! `MAJORDOMO_SEED=` repeats the choices of a run, `MAJORDOMO_CHAOS_MINUTES=` makes a long one.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod archive;
mod chaos;
mod deployed;
mod drill;
mod faults;
mod idle;
mod load;
mod logs;
mod machines;
mod next;
mod objects;
mod pods;
mod restore;
mod rolling;
mod ticks;
mod up;
mod zombies;

#[path = "../support/mod.rs"]
mod support;

//! A real Kubernetes on this machine: API server, etcd, kubelets with containers, DNS, ingress. `README.md` beside this says
//! what it is made of. Where the machine can't carry it, its tests say `NOT RUN` and why; `MAJORDOMO_KUBE=required` makes that
//! a failure.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod api;
mod back;
mod bad;
mod database;
mod installed;
#[path = "../cluster/load.rs"]
#[allow(dead_code, reason = "some of it only the tests of processes use")]
mod load;
mod losses;
mod next;
mod nodes;
mod operators;
mod rolling;
mod scale;
mod standing;
mod start;
mod support;
#[path = "../cluster/ticks.rs"]
mod ticks;
mod wizard;

#[path = "../support/mod.rs"]
mod common;

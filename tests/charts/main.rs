//! The charts, and what is made of them: templates as they were, values that are refused, rights, and that files which say the
//! same do so. Nothing here talks to a cluster; what it makes of this is told by tests/kube.
//!
//! `MAJORDOMO_BLESS=1 cargo test -p majordomo-charts` writes the snapshots, and what `deploy/kubernetes/make` does.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may end them")]

mod files;
mod helm;
mod refusals;
mod rights;
mod schema;
mod snapshots;

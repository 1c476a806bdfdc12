//! The operator: looks after `HAController` resources of a Kubernetes cluster. Each reconcile goes through typed phases, of which
//! only the first, the third and the fourth talk to anybody: fetch what there is → decide (check, roll, plan, build) → perform →
//! tell (status, Events). What is decided is pure.
//!
//! It links no engine and knows no store: replicas are asked over HTTP. It must never write what it has not read in the same
//! reconcile, never restart a controller because it is itself a newer version, and never give up.

mod ask;
mod build;
mod cache;
mod check;
mod context;
mod decide;
mod error;
mod fetch;
mod index;
mod kept;
mod kinds;
mod kubernetes;
mod leader;
mod lost;
mod metrics;
mod named;
pub mod names;
mod others;
mod perform;
mod pins;
mod plan;
mod pods;
mod reconcile;
pub mod record;
mod refused;
mod remove;
mod roll;
mod run;
mod secrets;
mod seen;
mod shrink;
mod status;
mod told;
mod window;
mod world;

pub use error::Error;
pub use leader::{Candidate, LeaseTimes};
pub use metrics::Metrics;
pub use plan::{Images, inputs};
pub use run::{Ended, Options, run};

#[cfg(test)]
mod sim;

//! Traces of builds for an OpenTelemetry collector, when one is named: OTLP over HTTP, as JSON.
//!
//! A trace is made of a build that has ended (`engine::BuildTrace`), so that nothing is kept while it runs, and sent by
//! one task of the replica that has seen the end. A collector that is slow or away holds up nothing: what finds no room is
//! dropped and counted. [`json`](crate::json) is pure; [`export`](crate::export) is the shell.

mod endpoint;
mod export;
mod json;
mod metrics;

pub use endpoint::{Endpoint, EndpointError};
pub use export::{Exporter, Source};
pub use json::{span_id, trace_id};
pub use metrics::Metrics;

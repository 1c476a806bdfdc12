//! HTTP: Jenkins-compatible REST, agents, peers, the page.
//!
//! A request goes through [`front`](crate::front) (route, who, may they, body), [`dispatch`](crate::dispatch), and one handler,
//! which reads the store and calls `engine::Commands`; the server never writes to the store itself.

mod act;
mod api;
mod artifact;
mod caller;
mod dispatch;
mod error;
mod export;
mod front;
mod health;
mod log;
mod look;
mod metrics;
mod open;
mod overview;
mod pages;
mod path;
mod patience;
mod permit;
mod ports;
mod remote;
mod reply;
mod request;
mod serve;
mod session;
mod setup;
mod sign;
mod socket;
#[cfg(test)]
mod tests;
mod verify;

pub use caller::Proxies;
pub use front::{JENKINS_VERSION, router};
pub use health::Health;
pub use metrics::{Access as MetricsAccess, Metrics, Scrapes};
pub use ports::{
    AgentSockets, App, Arrival, MetricsSource, PeerSockets, Replica, Secrets, Settings, Spools, Upgraded,
};
pub use serve::{Limits, Tls, serve};
pub use setup::{Unlock, Wizard};
pub use verify::LogChecks;

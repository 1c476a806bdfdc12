//! What the server counts and times, and who is shown which metrics.
//!
//! `/metrics` is of the replica that answers; with `scope=controller` of all live replicas and of the controller as a whole,
//! so that one scrape through a load balancer is complete. `jenkins` has the names that dashboards for Jenkins expect.

mod controller;
mod gate;
mod jenkins;
mod kept;
mod scrape;

use std::time::Duration;

use http::{Method, StatusCode};
use meter::encoding::{EncodeLabel, EncodeLabelSet, LabelSetEncoder};
use meter::{Counter, Counters, Family, Gauge, Histograms, Label, Name, Registry, add, labels, quick};

use crate::path::{Action, Route};

pub use gate::Access;
pub(crate) use gate::{Shown, shown, unless_shown};
pub use scrape::Scrapes;
pub(crate) use scrape::{queued, serve};

pub(crate) const REQUESTS: Name = Name::new(
    "majordomo_http_requests_total",
    "Requests that were answered, by method, kind of address and status",
);
const SECONDS: Name = Name::new(
    "majordomo_http_request_seconds",
    "From the head of a request to the head of its answer, by kind of address",
);
const WORKING: Name = Name::new("majordomo_http_requests_in_flight", "Requests that are being answered");
const HANDSHAKES: Name = Name::new(
    "majordomo_peer_handshakes_total",
    "TLS handshakes with those who connect where the other replicas do, by what became of them",
);
const SERVED: Name =
    Name::new("majordomo_log_served_bytes_total", "Bytes of builds' logs that were read for clients");

labels! {
    /// What an address is for.
    pub(crate) enum Class("route") {
        SignIn => "sign_in",
        Health => "health",
        Metrics => "metrics",
        Static => "static",
        /// The upgrade of an agent's connection, and what an agent asks before.
        Agent => "agent",
        /// Of other replicas, and of whoever looks after them.
        Peer => "peer",
        Api => "api",
        Page => "page",
        /// Jobs and folders are made, changed, deleted.
        Item => "item",
        /// Builds are begun, ended, changed, deleted.
        Build => "build",
        Log => "log",
        Artifact => "artifact",
        Queue => "queue",
        Node => "node",
        User => "user",
        /// The controller as a whole.
        Controller => "controller",
        /// What there is not.
        Other => "other",
    }
}

labels! {
    /// What became of a handshake.
    pub(crate) enum Handshake("outcome") {
        Done => "done",
        /// No certificate, one that is not trusted, or no TLS at all.
        Refused => "refused",
        /// It took too long.
        Late => "late",
        /// Too many were under way.
        TooMany => "too_many",
    }
}

impl Class {
    pub(crate) fn of(route: &Route) -> Class {
        match route {
            Route::Login | Route::LoginError | Route::SignIn | Route::SignOut => Class::SignIn,
            Route::Healthz | Route::Readyz => Class::Health,
            Route::Metrics | Route::Prometheus { .. } | Route::MetricsOf(..) => Class::Metrics,
            Route::Static(_) => Class::Static,
            Route::Agent | Route::SealedJnlp(_) => Class::Agent,
            Route::Peer | Route::Admin(_) => Class::Peer,
            Route::Export(..) => Class::Api,
            Route::Page(_) | Route::Confirm(_) | Route::Setup(_) => Class::Page,
            Route::Do(action) => Class::of_action(action),
            Route::NotServed(_) | Route::NotFound => Class::Other,
        }
    }

    fn of_action(action: &Action) -> Class {
        match action {
            Action::CreateItem(_)
            | Action::ItemConfig(_)
            | Action::ItemDelete(_)
            | Action::ItemRename(_)
            | Action::ItemEnable(_)
            | Action::ItemDisable(_) => Class::Item,
            Action::Build(_)
            | Action::BuildWithParameters(_)
            | Action::BuildDelete(..)
            | Action::BuildKeep(..)
            | Action::BuildStop(..)
            | Action::BuildTerm(..)
            | Action::BuildKill(..)
            | Action::BuildNumber(..) => Class::Build,
            Action::ConsoleText(..)
            | Action::ProgressiveText(..)
            | Action::ProgressiveHtml(..)
            | Action::Console(..)
            | Action::VerifyLog(..) => Class::Log,
            Action::Artifact(..) | Action::ArtifactZip(..) => Class::Artifact,
            Action::Restart(_)
            | Action::Reload
            | Action::CancelRestart
            | Action::Drain(_)
            | Action::Quiet(_)
            | Action::AnonymousRead => Class::Controller,
            Action::QueueCancel | Action::QueueItemCancel(_) => Class::Queue,
            Action::NodeCreate
            | Action::NodeConfig(_)
            | Action::NodeDelete(_)
            | Action::NodeToggleOffline(_)
            | Action::NodeJnlp(_) => Class::Node,
            Action::UserCreate
            | Action::UserConfigure(_)
            | Action::UserDelete(_)
            | Action::TokenGenerate(_)
            | Action::TokenRename(_)
            | Action::TokenRevoke(_)
            | Action::TokenRevokeAll(_)
            | Action::TokenRevokeAllExcept(_) => Class::User,
        }
    }
}

/// A client may invent methods.
fn method(method: &Method) -> &'static str {
    let known = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"];
    known.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

/// Statuses are ours: a client can't make one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Answered {
    method: &'static str,
    class: Class,
    status: StatusCode,
}

impl EncodeLabelSet for Answered {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> std::fmt::Result {
        ("method", self.method).encode(encoder.encode_label())?;
        (Class::KEY, self.class.as_str()).encode(encoder.encode_label())?;
        ("code", self.status.as_str()).encode(encoder.encode_label())
    }
}

/// What one server counts. Filled by it; read when somebody asks.
#[derive(Debug)]
pub struct Metrics {
    requests: Family<Answered, Counter>,
    seconds: Histograms<Class>,
    working: Gauge,
    pub(crate) handshakes: Counters<Handshake>,
    pub(crate) served: Counter,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics {
            requests: Family::default(),
            seconds: Histograms::new(quick),
            working: Gauge::default(),
            handshakes: Counters::default(),
            served: Counter::default(),
        }
    }
}

impl Metrics {
    pub fn register(&self, to: &mut Registry) {
        add(to, REQUESTS, self.requests.clone());
        self.seconds.add_to(to, SECONDS);
        add(to, WORKING, self.working.clone());
        self.handshakes.add_to(to, HANDSHAKES);
        add(to, SERVED, self.served.clone());
    }

    pub(crate) fn begins(&self) -> InFlight {
        self.working.inc();
        InFlight(self.working.clone())
    }

    pub(crate) fn answered(&self, by: &Method, class: Class, status: StatusCode, after: Duration) {
        self.requests.get_or_create(&Answered { method: method(by), class, status }).inc();
        self.seconds.observe(class, after);
    }
}

/// A request under way; it ends also when its client goes.
pub(crate) struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

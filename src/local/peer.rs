//! HTTP to replicas, most of them on this machine: one short request per connection, everything limited.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, header};
use model::{RolloutAsked, RolloutReport};
use mutual::{Dial, Peering};
use security::Keys;
use serde_json::json;
use tokio::time::timeout;

use crate::home::Paths;
use crate::record::ReplicaRecord;

/// Largest answer that is read.
const MAX_ANSWER: usize = 16 * 1024 * 1024;
/// How long a probe waits.
pub(crate) const PROBE: Duration = Duration::from_millis(450);
const TELL: Duration = Duration::from_secs(2);

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// `X-Text-Size`: the length of a log.
    pub(crate) text_size: Option<u64>,
    /// `X-Error`: why something was refused.
    pub(crate) error: Option<String>,
    /// `X-More-Data`: the log may grow.
    pub(crate) more_data: bool,
    pub(crate) body: Bytes,
}

pub(crate) struct Ask<'a> {
    pub(crate) dial: Dial,
    pub(crate) method: Method,
    /// `HOST:PORT`
    pub(crate) address: &'a str,
    pub(crate) path: &'a str,
    /// Value of the `Authorization` header.
    pub(crate) authorization: Option<String>,
    /// JSON.
    pub(crate) body: Option<String>,
}

impl<'a> Ask<'a> {
    /// Of a replica that `up` has started: on this machine, in the clear.
    fn of_ours(method: Method, address: &'a str, path: &'a str) -> Ask<'a> {
        Ask { dial: Dial::Plain, method, address, path, authorization: None, body: None }
    }
}

/// One request; `None` stands for every way in which no answer came in time.
pub(crate) async fn ask(ask: Ask<'_>, within: Duration) -> Option<Answer> {
    timeout(within, send(ask)).await.ok().flatten()
}

async fn send(ask: Ask<'_>) -> Option<Answer> {
    let stream = ask.dial.connect(ask.address).await.ok()?;
    let mut request = Request::builder()
        .method(ask.method)
        .uri(ask.path)
        .header(header::HOST, ask.address)
        .header(header::CONNECTION, "close");
    if let Some(authorization) = ask.authorization {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    if ask.body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let request = request.body(Full::new(Bytes::from(ask.body.unwrap_or_default()))).ok()?;
    let response = mutual::exchange(stream, request, MAX_ANSWER).await?;
    let text = |name: &str| response.headers().get(name)?.to_str().ok();
    Some(Answer {
        status: response.status().as_u16(),
        text_size: text("x-text-size").and_then(|size| size.parse().ok()),
        error: text("x-error").map(str::to_owned),
        more_data: response.headers().contains_key("x-more-data"),
        body: response.into_body(),
    })
}

/// Whether a replica answers 200 at `path` of its own address.
pub(crate) async fn probe(record: &ReplicaRecord, path: &str) -> bool {
    let ask_for = Ask::of_ours(Method::GET, &record.peer, path);
    ask(ask_for, PROBE).await.is_some_and(|answer| answer.status == 200)
}

/// What a replica says of itself at `/readyz`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Ready,
    /// It is ready for a person who ends the setup wizard.
    Setup,
    Draining,
    Starting,
}

pub(crate) async fn standing(record: &ReplicaRecord) -> Standing {
    let ask_for = Ask::of_ours(Method::GET, &record.peer, "/readyz");
    match ask(ask_for, PROBE).await {
        Some(answer) if answer.status == 200 && answer.body.starts_with(b"setup") => Standing::Setup,
        Some(answer) if answer.status == 200 => Standing::Ready,
        Some(answer) if answer.body.windows(8).any(|word| word == b"draining") => Standing::Draining,
        Some(_) | None => Standing::Starting,
    }
}

/// Until a replica that drains begins to hand over, and until it is heard that it is done.
pub(crate) const AROUND: Duration = Duration::from_secs(15);

/// Longest time in which a replica that a person drains hands over what it has.
pub fn drain_limit() -> Duration {
    rollout::Policy::default().drain
}

/// Asks the replica at the address where its peers reach it to hand over what it has, and does not wait for that.
/// `Err` is a sentence.
pub async fn begin_drain(address: &str, peering: &Peering) -> Result<(), String> {
    let dial = peering.dial.clone();
    let authorization = Some(format!("Bearer {}", peering.token));
    let body = Some(json!({"wait": false, "within": drain_limit().as_secs()}).to_string());
    let ask_for = Ask { dial, method: Method::POST, address, path: "/admin/drain", authorization, body };
    match ask(ask_for, TELL).await {
        Some(answer) if answer.status == 200 => Ok(()),
        Some(answer) => Err(format!("it answers with status {}", answer.status)),
        None => Err("it does not answer".to_owned()),
    }
}

/// What `up` tells replicas.
#[derive(Clone)]
pub(crate) struct Peers {
    paths: Paths,
    names: Vec<String>,
    keys: Keys,
}

impl Peers {
    pub(crate) fn new(paths: Paths, names: Vec<String>, keys: Keys) -> Peers {
        Peers { paths, names, keys }
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Of the last process of that name that has joined.
    pub(crate) fn newest_record(&self, name: &str) -> Option<ReplicaRecord> {
        ReplicaRecord::read(&self.paths.replica_record(name))
    }

    /// The record of this very process.
    pub(crate) fn record(&self, name: &str, pid: u32) -> Option<ReplicaRecord> {
        self.newest_record(name).filter(|record| record.pid == pid)
    }

    /// That one has ended, to all others at once: they need not wait for its lease.
    pub(crate) async fn lapsed(&self, name: &str, incarnation: i64) {
        let body = json!({"name": name, "incarnation": incarnation}).to_string();
        let others = self.names.iter().filter(|other| *other != name);
        let records = others.filter_map(|other| ReplicaRecord::read(&self.paths.replica_record(other)));
        let tell = |record: ReplicaRecord| self.post(record, "/admin/lapsed", body.clone(), TELL);
        futures_util::future::join_all(records.map(tell)).await;
    }

    /// Asks the replica to hand over what it has within a time; answers when it has, or when that is over.
    pub(crate) async fn drain(&self, record: ReplicaRecord, within: Duration) -> bool {
        let body = json!({"within": within.as_secs()}).to_string();
        let answer = self.post(record, "/admin/drain", body, within + AROUND).await;
        answer.is_some_and(|answer| answer.status == 200)
    }

    /// Reports how the rollout stands, if that is new, and asks what users want of the replicas as a whole.
    pub(crate) async fn rollout(
        &self,
        record: ReplicaRecord,
        report: Option<&RolloutReport>,
    ) -> Option<RolloutAsked> {
        let body = report.and_then(|report| serde_json::to_string(report).ok()).unwrap_or_default();
        let answer = self.post(record, "/admin/rollout", body, TELL).await?;
        serde_json::from_slice(&answer.body).ok().filter(|_| answer.status == 200)
    }

    async fn post(
        &self,
        record: ReplicaRecord,
        path: &'static str,
        body: String,
        within: Duration,
    ) -> Option<Answer> {
        let authorization = Some(format!("Bearer {}", self.keys.peer_token()));
        let ask_for =
            Ask { authorization, body: Some(body), ..Ask::of_ours(Method::POST, &record.peer, path) };
        ask(ask_for, within).await
    }
}

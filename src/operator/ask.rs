//! HTTP to replicas: at the address where their peers reach them, over TLS that both sides prove by the keys of the controller.
//! One short request per connection, everything limited. A replica that does not answer says nothing, which is no error.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::Full;
use hyper::{Method, Request, header};
use k8s_openapi::api::core::v1::Pod;
use mutual::{Dial, PeerTls, Peering, Stream};
use parking_lot::Mutex;
use security::KeyList;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::context::Context;
use crate::error::Error;
use crate::names::{HEALTH_PORT, Key, Owner, PEER_KEYS, PEER_PORT, ordinal};
use crate::pods::at_rest;
use crate::seen::Seen;
use crate::told::Told;
use model::overview::Overview;

/// Largest answer that is read.
const MAX_ANSWER: usize = 1024 * 1024;
/// Characters of what a replica waits for.
const MAX_WORDS: usize = 500;
/// Keys of a list that are tried.
const MOST_KEYS: usize = 3;
const WITHIN: Duration = Duration::from_secs(3);

/// The way to the replicas of each controller.
#[derive(Default)]
pub(crate) struct Replicas(Mutex<BTreeMap<Key, (String, Vec<Peering>)>>);

impl Replicas {
    /// The keys of a controller, as its Secret has them; `digest` tells whether they are others than before.
    pub(crate) fn keys(&self, owner: &Owner, digest: &str, text: &str) {
        let key = owner.key();
        if self.0.lock().get(&key).is_some_and(|(known, _)| known == digest) {
            return;
        }
        match peerings(text) {
            Ok(peerings) => {
                self.0.lock().insert(key, (digest.to_owned(), peerings));
            }
            Err(error) => {
                tracing::warn!(controller = owner.identity(), error, "use the keys of its replicas")
            }
        }
    }

    pub(crate) fn forget(&self, key: &Key) {
        self.0.lock().remove(key);
    }

    fn of(&self, owner: &Owner) -> Vec<Peering> {
        let known = self.0.lock();
        let of = known.get(&owner.key());
        of.map(|(_, peerings)| peerings.clone()).unwrap_or_default()
    }

    /// While keys are exchanged, replicas know the former ones only, so each key is tried.
    async fn call(
        &self,
        owner: &Owner,
        method: Method,
        address: &str,
        path: &str,
        body: Option<&str>,
    ) -> Option<(u16, Bytes)> {
        for peering in self.of(owner) {
            let answer = call(&peering, method.clone(), address, path, body).await;
            if answer.is_some() {
                return answer;
            }
        }
        None
    }

    /// Asks the replica there to hand over what it has, in this time at most.
    pub(crate) async fn drain(&self, owner: &Owner, address: &str, within: Duration) -> Result<(), Error> {
        let body = json!({ "wait": false, "within": within.as_secs() }).to_string();
        match self.post(owner, address, "/admin/drain", body).await {
            Some((200, _)) => Ok(()),
            Some((status, _)) => Err(Error::Replica(format!("{address} answers with status {status}"))),
            None => Err(Error::Replica(format!("{address} does not answer"))),
        }
    }

    /// Tells how the rollout stands; whether it was heard.
    pub(crate) async fn report(&self, owner: &Owner, address: &str, report: &str) -> bool {
        let answer = self.post(owner, address, "/admin/rollout", report.to_owned()).await;
        answer.is_some_and(|(status, _)| status == 200)
    }

    async fn overview(&self, owner: &Owner, address: &str) -> Option<Overview> {
        let (status, body) = self.call(owner, Method::GET, address, "/admin/overview", None).await?;
        serde_json::from_slice(&body).ok().filter(|_| status == 200)
    }

    async fn post(&self, owner: &Owner, address: &str, path: &str, body: String) -> Option<(u16, Bytes)> {
        self.call(owner, Method::POST, address, path, Some(&body)).await
    }
}

/// By each of the keys that are tried.
fn peerings(text: &str) -> Result<Vec<Peering>, String> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let count = lines.len().clamp(1, MOST_KEYS);
    let with = |first: usize| {
        let mut lines = lines.clone();
        lines.rotate_left(first);
        let list =
            KeyList::parse(&lines.join("\n"), Path::new(PEER_KEYS)).map_err(|error| error.to_string())?;
        let tls = PeerTls::new(list).map_err(|error| error.to_string())?;
        let dial = Dial::Tls(tls.operator_client().map_err(|error| error.to_string())?);
        Ok(Peering { dial, token: tls.keys().peer_token() })
    };
    (0..count).map(with).collect()
}

async fn call(
    peering: &Peering,
    method: Method,
    address: &str,
    path: &str,
    body: Option<&str>,
) -> Option<(u16, Bytes)> {
    let asked = async {
        let stream = peering.dial.connect(address).await.ok()?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, address)
            .header(header::CONNECTION, "close")
            .header(header::AUTHORIZATION, format!("Bearer {}", peering.token))
            .header(header::CONTENT_TYPE, "application/json");
        let request = request.body(Full::new(Bytes::from(body.unwrap_or_default().to_owned()))).ok()?;
        mutual::exchange(stream, request, MAX_ANSWER).await
    };
    let answer = timeout(WITHIN, asked).await.ok().flatten()?;
    Some((answer.status().as_u16(), answer.into_body()))
}

/// Pods that have an address, with it.
pub(crate) fn addresses(seen: &Seen) -> Vec<(String, String)> {
    let of = |pod: &Pod| Some((pod.metadata.name.clone()?, address(pod, PEER_PORT)?));
    seen.pods.iter().filter_map(of).collect()
}

fn address(pod: &Pod, port: i32) -> Option<String> {
    let ip = pod.status.as_ref()?.pod_ip.as_ref().filter(|ip| !ip.is_empty())?;
    Some(if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") })
}

/// So many are asked one after the other, at rest, until one speaks: where none can be reached, others don't wait for it.
const SPEAKERS: usize = 2;

impl Context {
    /// What replicas say. While all is at rest, one speaks for all.
    pub(crate) async fn ask(&self, seen: &Seen) -> BTreeMap<usize, Told> {
        let running =
            |pod: &&Pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
        let rest = at_rest(seen);
        let mut pods: Vec<&Pod> = seen.pods.iter().filter(running).collect();
        if rest {
            // each in its turn
            let turn = usize::try_from(seen.now.as_second()).unwrap_or_default() % pods.len().max(1);
            pods.rotate_left(turn);
        }
        let mut told = BTreeMap::new();
        if rest {
            for pod in pods.into_iter().take(SPEAKERS) {
                told.extend(self.ask_one(&seen.owner, pod).await);
                if !told.is_empty() {
                    break;
                }
            }
        } else {
            let asked = join_all(pods.into_iter().map(|pod| self.ask_one(&seen.owner, pod))).await;
            told.extend(asked.into_iter().flatten());
        }
        told
    }

    async fn ask_one(&self, owner: &Owner, pod: &Pod) -> Option<(usize, Told)> {
        let ordinal = ordinal(&owner.name, pod.metadata.name.as_deref()?)?;
        if let Some(overview) = self.replicas.overview(owner, &address(pod, PEER_PORT)?).await {
            return Some((ordinal, Told::Overview(Box::new(overview))));
        }
        let said = health(&address(pod, HEALTH_PORT)?).await?;
        Some((ordinal, Told::Waits(said)))
    }
}

/// What a replica waits for that does not serve its peers yet: the words of its health port.
async fn health(address: &str) -> Option<String> {
    let asked = async {
        let stream: Stream = Box::new(TcpStream::connect(address).await.ok()?);
        let request = Request::builder().uri("/readyz").header(header::HOST, address);
        let request = request.header(header::CONNECTION, "close").body(Full::default()).ok()?;
        mutual::exchange(stream, request, MAX_ANSWER).await
    };
    let answer = timeout(WITHIN, asked).await.ok().flatten()?;
    let said = String::from_utf8_lossy(answer.body());
    let line = said.lines().next().unwrap_or_default().chars().take(MAX_WORDS).collect();
    (answer.status() == 503).then_some(line)
}

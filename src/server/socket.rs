//! WebSockets of agents and peers: the handshake. What is said on them is others' business.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use futures_util::TryFutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use model::{NodeName, ReplicaState};
use remoting::native::{INSTANCE_HEADER, VERSION, VERSION_HEADER};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tracing::Instrument;

use crate::error::Error;
use crate::patience::again;
use crate::ports::{App, Arrival, Upgraded};
use crate::reply::{self, Reply};
use crate::request::Remote;

/// Longest instance id.
const MAX_INSTANCE: usize = 200;

/// `GET /wsagents/`: the agent shows the node's name and secret.
pub(crate) async fn agent(app: &App, request: Request<Body>) -> Reply {
    let headers = request.headers();
    let native = headers.get(VERSION_HEADER);
    if native.is_none() && headers.contains_key("x-remoting-capability") {
        let why = "stock agents are not served yet; use `majordomo agent`";
        return Err(Error::NotServed(why.to_owned()));
    }
    let version = native.ok_or_else(|| Error::bad(format!("the header {VERSION_HEADER} is missing")))?;
    if version.as_bytes() != VERSION.as_bytes() {
        return Err(Error::bad(format!("this controller speaks version {VERSION} with its agents")));
    }
    let name = latin1(headers, "node-name")?;
    let secret = latin1(headers, "secret-key")?;
    if !app.secrets.verify_agent_secret(&name, &secret) {
        return Err(Error::Forbidden("the secret is not that of this node".to_owned()));
    }
    let unknown = || Error::bad(format!("there is no node {name}"));
    let node = NodeName::parse(&name).map_err(|_| unknown())?;
    let store = app.commands.store();
    let found = again(app.settings.patience, || store.node(&node).map_err(Error::from)).await?;
    found.ok_or_else(unknown)?;
    let instance = match headers.contains_key(INSTANCE_HEADER) {
        true => latin1(headers, INSTANCE_HEADER)?,
        false => String::new(),
    };
    if instance.len() > MAX_INSTANCE {
        return Err(Error::bad(format!("the header {INSTANCE_HEADER} is too long")));
    }
    if app.replica.state() != ReplicaState::Ready {
        return Err(Error::Later("this replica takes no agents now".to_owned()));
    }
    let agents = Arc::clone(&app.agents);
    upgrade(app, request, async move |remote, stream| {
        agents.accept(Arrival { node, instance, remote, stream }).await;
    })
}

/// `GET /peer/ws`, whose token was checked.
pub(crate) fn peer(app: &App, request: Request<Body>) -> Reply {
    let peers = Arc::clone(&app.peers);
    upgrade(app, request, async move |remote, stream| peers.accept(remote, stream).await)
}

/// A header as agents write it: ISO-8859-1.
fn latin1(headers: &HeaderMap, name: &str) -> Result<String, Error> {
    let value = headers.get(name).ok_or_else(|| Error::bad(format!("the header {name} is missing")))?;
    Ok(value.as_bytes().iter().map(|b| char::from(*b)).collect())
}

/// Answers 101 and hands the connection over once that is sent.
fn upgrade<F>(
    app: &App,
    mut request: Request<Body>,
    accept: impl FnOnce(Option<SocketAddr>, Upgraded) -> F + Send + 'static,
) -> Reply
where
    F: Future<Output = ()> + Send + 'static,
{
    let key = handshake(request.headers())?;
    let remote = request.extensions().get::<Remote>().map(|r| r.0);
    let upgraded = hyper::upgrade::on(&mut request);
    let work = async move {
        match upgraded.await {
            Ok(stream) => accept(remote, TokioIo::new(stream)).await,
            Err(error) => tracing::debug!("a WebSocket ended before it began: {error}"),
        }
    };
    // what it says names the replica
    app.tasks.spawn(work.in_current_span());
    switching(&key)
}

fn switching(key: &str) -> Reply {
    let mut response: Response<Body> = reply::empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()));
    let accept = accept.map_err(|_| Error::bad("the WebSocket key can't be answered"))?;
    headers.insert(HeaderName::from_static("sec-websocket-accept"), accept);
    Ok(response)
}

/// The key of a WebSocket handshake (RFC 6455 §4.2.1).
fn handshake(headers: &HeaderMap) -> Result<String, Error> {
    let has = |name: HeaderName, word: &str| {
        let values = headers.get_all(name).iter().filter_map(|v| v.to_str().ok());
        values.flat_map(|v| v.split(',')).any(|w| w.trim().eq_ignore_ascii_case(word))
    };
    if !has(header::CONNECTION, "upgrade") || !has(header::UPGRADE, "websocket") {
        return Err(Error::bad("this address takes WebSockets only"));
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|v| v.as_bytes() != b"13") {
        return Err(Error::bad("the WebSocket is to be of version 13"));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).and_then(|v| v.to_str().ok());
    key.map(str::to_owned).ok_or_else(|| Error::bad("the WebSocket has no key"))
}

//! Connections between replicas: each dials each. Whoever dialled asks for agents, whoever answered holds them.
//!
//! A peer whose connection ends and whose address then refuses is dead at once, not after a lease.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use model::{ReplicaId, ReplicaState};
use mutual::Stream;
use parking_lot::Mutex;
use remoting::native::Frame;
use remoting::peer::{MAX_PEER_MESSAGE, Peer, PeerHint};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::Message;

use crate::Shared;
use crate::metrics::{End, PeerEnd};
use crate::routes::Outgoing;
use crate::socket;

const PING: Duration = Duration::from_secs(1);
/// A peer that was silent for that long is not used; its membership decides about the rest.
const SILENCE: Duration = Duration::from_secs(4);
const DIAL: Duration = Duration::from_secs(2);
const REDIAL: Duration = Duration::from_millis(200);
/// Messages that wait for a peer.
const QUEUE: usize = 8192;

static CONNECTIONS: AtomicU64 = AtomicU64::new(1);

/// Keeps a connection to every live peer.
pub(crate) async fn dial_all(shared: Arc<Shared>) {
    let dialled = Arc::new(Mutex::new(BTreeSet::<ReplicaId>::new()));
    let mut views = shared.cluster.view();
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        let view = Arc::clone(&views.borrow_and_update());
        let others = view.members.iter().filter(|m| m.live() && m.id != *shared.cluster.me());
        for member in others.filter(|m| !m.address.is_empty()) {
            if dialled.lock().insert(member.id.clone()) {
                let (shared, dialled) = (Arc::clone(&shared), Arc::clone(&dialled));
                let (id, address) = (member.id.clone(), member.address.clone());
                tasks.spawn(async move {
                    keep(&shared, &id, &address).await;
                    dialled.lock().remove(&id);
                });
            }
        }
        while tasks.try_join_next().is_some() {}
        if views.changed().await.is_err() {
            return;
        }
    }
}

/// Dials one peer again and again until it is no live member.
async fn keep(shared: &Arc<Shared>, id: &ReplicaId, address: &str) {
    let mut met = false;
    loop {
        let live = shared.cluster.view().borrow().member(id).is_some_and(store::Member::live);
        if !live {
            return;
        }
        match tokio::time::timeout(DIAL, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                met = true;
                let (end, why) = talk(shared, id, address, stream).await;
                shared.metrics.peers_ended.inc(end);
                tracing::debug!(peer = %id, why, "connection to a peer ended");
            }
            // We were connected, and now nobody listens: the process is gone. One that we never met may be
            // somewhere else than its address says.
            Ok(Err(error)) if met && error.kind() == std::io::ErrorKind::ConnectionRefused => {
                shared.cluster.ended(id.clone(), "its address refuses connections").await;
            }
            Ok(Err(error)) => tracing::debug!(peer = %id, %error, "dial a peer"),
            Err(_) => {}
        }
        tokio::time::sleep(REDIAL).await;
    }
}

/// One dialled connection, until it ends.
async fn talk(shared: &Arc<Shared>, id: &ReplicaId, address: &str, stream: TcpStream) -> (PeerEnd, String) {
    let _best_effort = stream.set_nodelay(true);
    let Ok(mut request) = format!("ws://{address}/peer/ws").into_client_request() else {
        return (PeerEnd::Handshake, "its address is no host and port".to_owned());
    };
    if let Ok(value) = format!("Bearer {}", shared.peering.token).parse() {
        request.headers_mut().insert("Authorization", value);
    }
    let handshake = async {
        let stream = shared.peering.dial.secure(stream).await.map_err(|error| format!("of TLS: {error}"))?;
        let config = Some(socket::config(MAX_PEER_MESSAGE));
        let made = tokio_tungstenite::client_async_with_config(request, stream, config).await;
        made.map(|(socket, _)| socket).map_err(|error| error.to_string())
    };
    // Boxed: what it needs is of use for a moment, and the connection stays.
    let mut socket = match tokio::time::timeout(DIAL, Box::pin(handshake)).await {
        Ok(Ok(socket)) => socket,
        Ok(Err(error)) => return (PeerEnd::Handshake, format!("the handshake was refused: {error}")),
        Err(_) => return (PeerEnd::Handshake, "the handshake took too long".to_owned()),
    };
    let iam = Peer::Iam(shared.cluster.me().clone());
    if let Err(error) = socket.send(Message::Binary(iam.encode())).await {
        return (PeerEnd::Broken, error.to_string());
    }
    let (to, mut queue) = Outgoing::new(QUEUE);
    let overflow = Arc::clone(&to.overflow);
    let mut wanted = shared.routes.peer_up(id.incarnation, to).into_iter();
    let (mut sink, mut source) = socket.split();
    let writing = async {
        let (mut beat, mut number) = (tokio::time::interval(PING), 0u64);
        loop {
            let message = tokio::select! {
                Some(message) = first(&mut wanted, &mut queue) => message,
                _ = beat.tick() => { number += 1; Peer::Ping(number) }
            };
            match tokio::time::timeout(SILENCE, sink.send(Message::Binary(message.encode()))).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return (PeerEnd::Broken, format!("the connection broke: {error}")),
                Err(_) => return (PeerEnd::WriteBlocked, "write blocked".to_owned()),
            }
        }
    };
    let reading = async {
        loop {
            let message = match tokio::time::timeout(SILENCE, socket::next(&mut source)).await {
                Ok(Ok(message)) => message,
                Ok(Err(gone)) => return (PeerEnd::Broken, gone.why),
                Err(_) => return (PeerEnd::Silent, "silent".to_owned()),
            };
            let size = message.len();
            match Peer::decode(message) {
                Ok(message) => answered(shared, id, message, size),
                Err(error) => return (PeerEnd::Protocol, format!("protocol error: {error}")),
            }
        }
    };
    let ended = tokio::select! {
        ended = writing => ended,
        ended = reading => ended,
        () = overflow.notified() => {
            (PeerEnd::WriteBlocked, "write blocked: the queue to the peer is full".to_owned())
        }
    };
    shared.routes.peer_down(id.incarnation);
    ended
}

/// What is to be said before all else, then what is queued. Cancel-safe: it waits for the queue only.
async fn first(wanted: &mut std::vec::IntoIter<Peer>, queue: &mut mpsc::Receiver<Peer>) -> Option<Peer> {
    match wanted.next() {
        Some(message) => Some(message),
        None => queue.recv().await,
    }
}

/// What a peer that we dialled says.
fn answered(shared: &Shared, id: &ReplicaId, message: Peer, size: usize) {
    match message {
        Peer::Up { build, fence, node, instance, link } => {
            shared.routes.peer_reaches(id.incarnation, (build, fence), &node, &instance, link);
        }
        Peer::Down { build, fence, node, link } => {
            shared.routes.peer_lost(id.incarnation, (build, fence), &node, link);
        }
        Peer::Relay { node, frame: Frame::Report(report) } => {
            shared.routes.relayed(id.incarnation, node, report, size);
        }
        Peer::Hint(hint) => hinted(shared, hint),
        Peer::Unknown => unknown(id),
        Peer::Iam(_)
        | Peer::Attach { .. }
        | Peer::Detach { .. }
        | Peer::Relay { .. }
        | Peer::Ping(_)
        | Peer::Pong(_) => {}
    }
}

fn hinted(shared: &Shared, hint: PeerHint) {
    match &hint {
        PeerHint::Linked { node, number } => {
            let why = "the agent connected to another replica";
            shared.routes.close(node, Some(*number), End::Moved, why);
        }
        PeerHint::Over { build, fence } => shared.routes.over(*build, *fence),
        PeerHint::Queue | PeerHint::Running | PeerHint::Begun { .. } | PeerHint::Inbox(_) => {}
        #[cfg(feature = "next")]
        PeerHint::Next => {}
    }
    let _nobody_listens = shared.hints.send(hint);
}

/// A connection that a peer has dialled, until it ends.
pub(crate) async fn serve(shared: &Arc<Shared>, stream: Stream) {
    let socket = socket::upgraded(stream, MAX_PEER_MESSAGE).await;
    let connection = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
    let (to, mut queue) = Outgoing::<Peer>::new(QUEUE);
    let overflow = Arc::clone(&to.overflow);
    let (mut sink, mut source) = socket.split();
    let writing = async {
        while let Some(message) = queue.recv().await {
            if sink.send(Message::Binary(message.encode())).await.is_err() {
                return;
            }
        }
    };
    let reading = async {
        while let Ok(Ok(message)) = tokio::time::timeout(SILENCE * 2, socket::next(&mut source)).await {
            let Ok(message) = Peer::decode(message) else { return };
            match message {
                Peer::Iam(id) => newcomer(shared, &id),
                Peer::Unknown => unknown(&"one that has dialled"),
                Peer::Hint(hint) => hinted(shared, hint),
                Peer::Attach { build, fence, node } => {
                    let Ok(room) = to.queue.reserve().await else { return };
                    shared.routes.attach_remote((build, fence), &node, connection, &to, room);
                }
                Peer::Detach { build, fence } => shared.routes.detach_remote((build, fence), connection),
                Peer::Relay { node, frame: Frame::Command(command) } => shared.routes.relay(&node, command),
                // An owner has too much of its reports.
                Peer::Relay { node, frame: Frame::Bye { reason } } => {
                    shared.routes.close(&node, None, End::TooMuch, &reason)
                }
                Peer::Ping(n) => {
                    to.tell(Peer::Pong(n));
                }
                Peer::Up { .. } | Peer::Down { .. } | Peer::Relay { .. } | Peer::Pong(_) => {}
            }
        }
    };
    tokio::select! { () = writing => {}, () = reading => {}, () = overflow.notified() => {} }
    shared.routes.connection_gone(connection);
}

/// Our levels are to keep a newer version from saying what we can't understand.
fn unknown(peer: &dyn std::fmt::Display) {
    tracing::warn!(%peer, "a peer says what this version does not know; it is passed over");
}

/// Somebody joined whom we may not know yet.
fn newcomer(shared: &Shared, id: &ReplicaId) {
    let known = shared.cluster.view().borrow().member(id).is_some_and(|m| m.state != ReplicaState::Stopped);
    if !known {
        shared.cluster.look();
    }
}

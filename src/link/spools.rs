//! Questions to agents about their spools, from whichever replica checks a log. No build is attached, none is claimed.
//!
//! An agent whose socket is here is asked over it; for another one the replica is asked that the newest link names. All
//! that keeps an agent from answering is a sentence: a check without spools is a check all the same.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::{Request, StatusCode};
use model::NodeName;
use parking_lot::Mutex;
use remoting::native::Frame;
use remoting::spools::{MAX_SPOOLS, SpoolsOf, SpoolsTold};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::call::{At, call};
use crate::{Shared, ToSocket};

/// Where one replica takes such a question from another one.
const PATH: &str = "/peer/spools";
/// What the way to an agent and back may take, besides what it was given.
const WAY: Duration = Duration::from_secs(2);
const NO_CONNECTION: &str = "no connection";

/// Those that wait for an answer over our own sockets.
#[derive(Default)]
pub(crate) struct Asks {
    waiting: Mutex<HashMap<u64, Waiting>>,
    last: AtomicU64,
}

struct Waiting {
    node: NodeName,
    link: i64,
    to: oneshot::Sender<SpoolsTold>,
}

/// Dropped, it waits no more.
struct Ask<'a> {
    asks: &'a Asks,
    number: u64,
}

impl Drop for Ask<'_> {
    fn drop(&mut self) {
        self.asks.waiting.lock().remove(&self.number);
    }
}

impl Asks {
    fn begin(&self, node: &NodeName, link: i64) -> (Ask<'_>, oneshot::Receiver<SpoolsTold>) {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let (to, answer) = oneshot::channel();
        self.waiting.lock().insert(number, Waiting { node: node.clone(), link, to });
        (Ask { asks: self, number }, answer)
    }

    /// An agent answers over its link. What nobody has asked, or not there, is nothing.
    pub(crate) fn told(&self, node: &NodeName, link: i64, ask: u64, told: SpoolsTold) {
        let mut waiting = self.waiting.lock();
        if waiting.get(&ask).is_some_and(|w| w.node == *node && w.link == link)
            && let Some(Waiting { to, .. }) = waiting.remove(&ask)
        {
            let _nobody_waits = to.send(told);
        }
    }

    /// Nobody answers over that link any more.
    pub(crate) fn link_down(&self, node: &NodeName, link: i64) {
        self.waiting.lock().retain(|_, w| w.node != *node || w.link != link);
    }
}

/// Asks the agent over our own socket. `None`: there is none.
pub(crate) async fn here(shared: &Shared, of: &SpoolsOf) -> Option<Result<SpoolsTold, String>> {
    loop {
        let local = shared.routes.local(&of.node)?;
        if of.asked.steps.len() > MAX_SPOOLS {
            return Some(Err(format!("nobody may ask it about more than {MAX_SPOOLS} spools at once")));
        }
        if local.instance != of.instance {
            return Some(Err("its work folder is another one now".to_owned()));
        }
        if !local.spools {
            return Some(Err("its version knows no questions about spools".to_owned()));
        }
        let (ask, answer) = shared.asks.begin(&of.node, local.link);
        // Only now nobody forgets us who ends the link. A newer one may have replaced it.
        if shared.routes.local(&of.node).is_none_or(|now| now.link != local.link) {
            continue;
        }
        let frame = Frame::Spools { ask: ask.number, asked: of.asked.clone() };
        // A queue that is full ends its link when something must be said; a question need not.
        if let Err(TrySendError::Full(_)) = local.to.queue.try_send(ToSocket::Frame(Box::new(frame))) {
            return Some(Err("its connection takes nothing more now".to_owned()));
        }
        return Some(match timeout(patience(of) + WAY, answer).await {
            Ok(Ok(told)) => Ok(told),
            Ok(Err(_)) => Err("its connection ended before it answered".to_owned()),
            Err(_) => Err(late(of)),
        });
    }
}

/// Asks the agent wherever its socket is.
pub(crate) async fn anywhere(shared: &Shared, of: &SpoolsOf) -> Result<SpoolsTold, String> {
    if let Some(answer) = here(shared, of).await {
        return answer;
    }
    match there(shared, of).await {
        Ok(told) => Ok(told),
        // it may have come here since
        Err(why) => here(shared, of).await.unwrap_or(Err(why)),
    }
}

/// Asks through the replica that the newest link names.
async fn there(shared: &Shared, of: &SpoolsOf) -> Result<SpoolsTold, String> {
    let row = shared.store.link(&of.node).await.map_err(|e| format!("its link can't be looked up: {e}"))?;
    let holder = row.and_then(|row| row.holder).filter(|holder| holder != shared.cluster.me());
    let view = shared.cluster.view().borrow().clone();
    let member = holder.as_ref().and_then(|holder| view.member(holder)).filter(|m| m.live());
    let Some(member) = member else { return Err(NO_CONNECTION.to_owned()) };
    let at = At { address: &member.address, peering: &shared.peering };
    match timeout(patience(of) + WAY * 2, relay(at, of)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(why)) => Err(format!("{}, which has its connection: {why}", member.id.name)),
        Err(_) => Err(late(of)),
    }
}

/// The answer of the replica that has the socket; the outer `Err` says why that gave none.
async fn relay(at: At<'_>, of: &SpoolsOf) -> Result<Result<SpoolsTold, String>, String> {
    let body = serde_json::to_vec(of).map_err(|e| e.to_string())?;
    let request = Request::post(PATH).header("Content-Type", "application/json");
    let (status, body) = call(at, request, body.into()).await?;
    match status {
        StatusCode::OK => serde_json::from_slice(&body).map_err(|e| format!("its answer can't be read: {e}")),
        // Our token is right: only who does not know that it is asked for here takes it for a user's.
        StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND => {
            Err("its version knows no questions about spools".to_owned())
        }
        StatusCode::FORBIDDEN => Err("it does not accept our token".to_owned()),
        status => Err(format!("it answers with status {}", status.as_u16())),
    }
}

/// The question of another replica.
pub(crate) async fn for_peer(shared: &Shared, of: &SpoolsOf) -> Result<SpoolsTold, String> {
    here(shared, of).await.unwrap_or_else(|| Err(NO_CONNECTION.to_owned()))
}

fn patience(of: &SpoolsOf) -> Duration {
    Duration::from_millis(of.asked.millis)
}

fn late(of: &SpoolsOf) -> String {
    format!("it did not answer within {} s", patience(of).as_secs())
}

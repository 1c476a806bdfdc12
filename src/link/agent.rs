//! The socket of one native agent: greets, pings, carries frames, says why it ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use meter::Label;
use model::{BuildId, NodeName, ReplicaId};
use mutual::Stream;
use remoting::native::{AgentInfo, Frame, MAX_MESSAGE, Welcome};
use remoting::ops::{Command, ToAgent};
use remoting::peer::{Peer, PeerHint};
use store::{Answer, Write};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::protocol::Message;

use crate::mail::{Kept, Mail};
use crate::metrics::{End, Gone, Refusal};
use crate::routes::{Local, Outgoing, Pulse, REPLACED, TOO_MUCH};
use crate::socket;
use crate::{Shared, ToSocket};

/// Between pings of an idle link.
const IDLE_PING: Duration = Duration::from_secs(15);
/// Between pings while a build is attached.
const BUSY_PING: Duration = Duration::from_secs(2);
/// A side that was silent for so many intervals is left.
const INTERVALS: u32 = 3;
/// An agent must greet within that time.
const GREETING: Duration = Duration::from_secs(10);
/// What an agent says about itself, as JSON: it is kept with its link.
const MAX_INFO: usize = 64 * 1024;
/// How long a refused agent may take to hear why.
const FAREWELL: Duration = Duration::from_secs(1);
/// Frames that wait for a socket.
const QUEUE: usize = 4096;
/// Why links end with this process.
const ENDS: &str = "this replica ends";

/// Why there is no link.
enum Turned {
    /// Somebody has to change something: the agent is told why, and does not hurry back.
    Refused(Refusal, String),
    Failed(Refusal, String),
}

/// An agent that is welcome.
struct Greeted {
    /// The number of its link, which is committed.
    link: i64,
    /// It can be asked about its spools.
    spools: bool,
}

pub(crate) async fn serve(shared: &Arc<Shared>, node: NodeName, instance: String, stream: Stream) -> String {
    let mut socket = socket::upgraded(stream, MAX_MESSAGE).await;
    let Greeted { link, spools } = match greet(shared, &node, &instance, &mut socket).await {
        Ok(greeted) => greeted,
        Err(Turned::Failed(refusal, why)) => {
            shared.metrics.refused.inc(refusal);
            socket::close(&mut socket, &why).await;
            return why;
        }
        Err(Turned::Refused(refusal, why)) => {
            shared.metrics.refused.inc(refusal);
            tracing::info!(agent = %node, why, "agent refused");
            let bye = Message::Binary(Frame::Bye { reason: why.clone() }.encode());
            let _gone_or_slow = tokio::time::timeout(FAREWELL, socket.send(bye)).await;
            socket::close(&mut socket, &why).await;
            return why;
        }
    };
    shared.metrics.accepted.inc();
    let (to, queue) = Outgoing::new(QUEUE);
    // The link is committed. Nothing is awaited until it is known here: `watch_store` ends committed links that are not.
    let replica = shared.cluster.me().name.to_string();
    let controller = shared.cluster.view().borrow().meta.controller.clone();
    to.tell(ToSocket::Frame(Box::new(Frame::Welcome(Welcome { replica, link, controller }))));
    let overflow = Arc::clone(&to.overflow);
    let pulse = Arc::new(Pulse::default());
    pulse.heard(shared.clock.elapsed(), IDLE_PING);
    let local = Local { link, instance, spools, to: to.clone(), pulse: Arc::clone(&pulse) };
    shared.routes.link_up(&node, local);
    shared.routes.to_peers(None, &Peer::Hint(PeerHint::Linked { node: node.clone(), number: link }));
    let _nobody_listens = shared.hints.send(PeerHint::Linked { node: node.clone(), number: link });
    tracing::info!(agent = %node, link, "agent connected");

    let Gone { end, why } = tokio::select! {
        gone = carry(shared, (&node, link), socket, (to, queue), &pulse) => gone,
        () = overflow.notified() => Gone::new(End::WriteBlocked, "write blocked: the queue to the agent is full"),
    };

    shared.metrics.ended.inc(end);
    shared.routes.link_down(&node, link);
    shared.asks.link_down(&node, link);
    tracing::info!(agent = %node, link, reason = end.as_str(), why, "agent disconnected");
    note_end(shared, node, link, why.clone()).await;
    why
}

/// Tried once: when the store is away, `watch_store` says it again.
async fn note_end(shared: &Shared, node: NodeName, number: i64, reason: String) {
    let down = Write::LinkDown { node, number, reason, at: shared.clock.now() };
    if let Err(error) = shared.store.write(down).await {
        tracing::debug!(%error, "note the end of a link");
    }
}

/// Hello, then a committed link number.
async fn greet(
    shared: &Shared,
    node: &NodeName,
    instance: &str,
    socket: &mut socket::Socket,
) -> Result<Greeted, Turned> {
    let failed = |why: String| Turned::Failed(Refusal::Greeting, why);
    let store = |why: String| Turned::Failed(Refusal::Store, why);
    let first = tokio::time::timeout(GREETING, socket::next(socket)).await;
    let message = first.map_err(|_| failed("it did not greet in time".to_owned()))?;
    let message = message.map_err(|gone| failed(gone.why))?;
    let info: Box<AgentInfo> = match Frame::decode(message).map_err(|e| failed(e.to_string()))? {
        Frame::Hello(info) if info.instance == instance => info,
        _ => {
            return Err(failed("its first frame was not the greeting that its headers announced".to_owned()));
        }
    };
    let spools = info.spools;
    let info = serde_json::to_string(&info).map_err(|e| failed(e.to_string()))?;
    if info.len() > MAX_INFO {
        let size = info.len();
        let why =
            format!("what the agent says about itself takes {size} bytes, over the limit of {MAX_INFO}");
        return Err(Turned::Refused(Refusal::TooLarge, why));
    }
    if taken(shared, node, instance).await? {
        let why = format!("another machine is connected as “{node}”: give each its own node");
        return Err(Turned::Refused(Refusal::OtherMachine, why));
    }
    let holder = shared.cluster.me().clone();
    let up = Write::LinkUp {
        node: node.clone(),
        holder,
        instance: instance.to_owned(),
        info,
        at: shared.clock.now(),
    };
    match shared.store.write(up).await {
        Ok(Answer::Linked { number }) => Ok(Greeted { link: number, spools }),
        Ok(other) => Err(store(format!("the store answered {other:?}"))),
        Err(error) => Err(store(format!("the link could not be noted: {error}"))),
    }
}

/// Whether an agent of another machine (instance) is connected under this name and may still be there: two machines must
/// not evict each other for ever.
///
/// Here, one that did not answer within the interval of its pings makes way. Of a link at another live replica only the row
/// is known: that replica leaves a silent agent after three intervals (45 s, 6 s when it works) and notes it, again and
/// again if need be, so a row under a live holder is believed and the newcomer comes back. Two that come at once may
/// both find nobody; the newer one stays, and the other is refused from then on.
async fn taken(shared: &Shared, node: &NodeName, instance: &str) -> Result<bool, Turned> {
    if let Some(answers) = shared.routes.rival(node, instance, shared.clock.elapsed()) {
        return Ok(answers);
    }
    let row = shared.store.link(node).await;
    let row = row.map_err(|error| {
        Turned::Failed(Refusal::Store, format!("the link could not be looked up: {error}"))
    })?;
    let holder = row.filter(|row| row.instance != instance).and_then(|row| row.holder);
    let members = shared.cluster.view();
    Ok(holder.is_some_and(|holder| {
        holder != *shared.cluster.me() && members.borrow().member(&holder).is_some_and(store::Member::live)
    }))
}

async fn carry(
    shared: &Arc<Shared>,
    (node, link): (&NodeName, i64),
    socket: socket::Socket,
    (to, mut queue): (Outgoing<ToSocket>, mpsc::Receiver<ToSocket>),
    pulse: &Pulse,
) -> Gone {
    let (mut sink, mut source) = socket.split();
    let mail = Mail::default();
    let reading = async {
        loop {
            let message = match socket::next(&mut source).await {
                Ok(message) => message,
                Err(gone) => return gone,
            };
            let size = message.len();
            match Frame::decode(message) {
                Ok(Frame::Report(report)) => {
                    // Boxed, as whatever an idle link has no use for.
                    if !Box::pin(shared.routes.report(node, report, size)).await {
                        return Gone::new(End::TooMuch, TOO_MUCH);
                    }
                }
                Ok(Frame::Pong(n)) => mail.answered(n),
                Ok(Frame::Ping(n)) => mail.pong(n),
                Ok(Frame::Builds { builds }) => mail.list(builds),
                Ok(Frame::Spooled { ask, told }) => shared.asks.told(node, link, ask, told),
                Ok(Frame::Bye { reason }) => {
                    return Gone::new(End::Left, format!("the agent left: {reason}"));
                }
                Ok(other) => {
                    let why = format!("protocol error: an agent may not send {}", kind(&other));
                    return Gone::new(End::Protocol, why);
                }
                Err(error) => return Gone::new(End::Protocol, format!("protocol error: {error}")),
            }
        }
    };
    let writing = async {
        // First what is first in the queue: the welcome.
        let mut welcomed = false;
        loop {
            let frame = tokio::select! {
                biased;
                beat = mail.frame(), if welcomed => beat,
                next = queue.recv() => match next {
                    Some(ToSocket::Frame(frame)) => *frame,
                    Some(ToSocket::Close(end, why)) => {
                        let bye = Frame::Bye { reason: why.clone() };
                        let _gone = sink.send(Message::Binary(bye.encode())).await;
                        socket::close(&mut sink, &why).await;
                        return Gone::new(end, why);
                    }
                    None => return Gone::new(End::ReplicaEnds, ENDS),
                },
            };
            let sent =
                tokio::time::timeout(IDLE_PING * INTERVALS, sink.send(Message::Binary(frame.encode()))).await;
            match sent {
                Ok(Ok(())) => welcomed = true,
                Ok(Err(error)) => return Gone::new(End::Broken, format!("the connection broke: {error}")),
                Err(_) => return Gone::new(End::WriteBlocked, "write blocked"),
            }
        }
    };
    tokio::select! {
        gone = reading => gone,
        gone = writing => gone,
        gone = ping(shared, node, &mail, pulse) => gone,
        () = forget_over(shared, &mail, &to) => Gone::new(End::ReplicaEnds, ENDS),
    }
}

/// Lets the agent forget what it keeps of builds that are over: the owner's own word is said once, and gets lost with a
/// link, or with the owner between the last commit and the send.
///
/// Forgetting kills, so it must never be said of a build that runs, or may run again:
/// - *Ended* is final in a store. A store that is set back to before the end has the build as running, its adoption raises
///   the fence, and whoever claims under it is obeyed before us: we show the very fence that the agent told us, which is
///   stale by then.
/// - *Deleted* builds had ended. That a build is not there means this only below the highest one that is: ids rise, and an
///   agent hears of a build after its commit. One above all may be from a time that the store has lost and may get back
///   (a standby, a backup, that was behind), so it is left alone. Once newer builds have passed its id, that time never
///   comes back: nobody will own the build again.
/// - When the store is away, nothing is said; the agent tells us again.
async fn forget_over(shared: &Shared, mail: &Mail, to: &Outgoing<ToSocket>) {
    loop {
        let kept = mail.kept().await;
        Box::pin(forget_those_over(shared, kept, to)).await;
    }
}

async fn forget_those_over(shared: &Shared, kept: Kept, to: &Outgoing<ToSocket>) {
    let ids: Vec<BuildId> = kept.iter().map(|(build, _)| *build).collect();
    let over: BTreeSet<BuildId> = match shared.store.over(&ids).await {
        Ok(over) => over.into_iter().collect(),
        Err(error) => return tracing::debug!(%error, "look which builds of an agent are over"),
    };
    for (build, fence) in kept.into_iter().filter(|(build, _)| over.contains(build)) {
        let forget = Frame::Command(ToAgent { build, fence, command: Command::Forget });
        let _gone = to.queue.send(ToSocket::Frame(Box::new(forget))).await;
    }
}

/// Pings; ends when three intervals passed without an answer.
async fn ping(shared: &Arc<Shared>, node: &NodeName, mail: &Mail, pulse: &Pulse) -> Gone {
    let (mut number, mut told) = (0u64, IDLE_PING);
    let mut heard = shared.clock.elapsed();
    loop {
        let interval = if shared.routes.busy(node) { BUSY_PING } else { IDLE_PING };
        if interval != told {
            told = interval;
            heard = shared.clock.elapsed();
            pulse.heard(heard, told);
            mail.interval(u64::try_from(interval.as_millis()).unwrap_or(u64::MAX));
        }
        number += 1;
        mail.ping(number);
        let asked = shared.clock.elapsed();
        let until = asked + interval;
        loop {
            let now = shared.clock.elapsed();
            let silent = heard + told * INTERVALS;
            if now >= silent {
                let why = format!("ping unanswered for {} s", (told * INTERVALS).as_secs());
                return Gone::new(End::Silent, why);
            }
            if now >= until {
                break;
            }
            tokio::select! {
                answer = mail.answer() => {
                    heard = shared.clock.elapsed();
                    pulse.heard(heard, told);
                    if answer == number {
                        shared.metrics.ping.observe((heard - asked).as_secs_f64());
                    }
                }
                () = tokio::time::sleep(until.min(silent) - now) => {}
                // It is pinged more often from now on.
                () = pulse.wanted.notified(), if told == IDLE_PING => break,
            }
        }
    }
}

fn kind(frame: &Frame) -> &'static str {
    match frame {
        Frame::Hello(_) => "a second greeting",
        Frame::Welcome(_) => "a welcome",
        Frame::Interval { .. } => "an interval",
        Frame::Command(_) => "a command",
        Frame::Spools { .. } => "a question about spools",
        Frame::Ping(_)
        | Frame::Pong(_)
        | Frame::Bye { .. }
        | Frame::Report(_)
        | Frame::Builds { .. }
        | Frame::Spooled { .. } => "this",
    }
}

/// Keeps links and store true to each other, should a hint, a write or an answer be lost, or the store be set back.
pub(crate) async fn watch_store(shared: Arc<Shared>) {
    let mut suspects = BTreeSet::new();
    loop {
        tokio::time::sleep(cluster::LOOK * 2).await;
        let held = shared.routes.held();
        let Ok(links) = shared.store.link_numbers().await else { continue };
        close_stale(&shared, held, &links);
        // Committed as ours, and not here: the note of its end was lost, or the answer that it had begun. One that is
        // just beginning or ending is not here either, so it must be so twice.
        let held: BTreeSet<(NodeName, i64)> = shared.routes.held().into_iter().collect();
        let ours = links.into_iter().filter(|(_, _, holder)| holder.as_ref() == Some(shared.cluster.me()));
        let gone = ours.map(|(node, number, _)| (node, number)).filter(|link| !held.contains(link));
        let gone: BTreeSet<(NodeName, i64)> = gone.collect();
        for (node, number) in gone.intersection(&suspects) {
            note_end(&shared, node.clone(), *number, "the connection is gone".to_owned()).await;
        }
        suspects = gone;
    }
}

/// Closes local links that are not the newest any more, that the store has forgotten, or whose node is gone.
fn close_stale(shared: &Shared, held: Vec<(NodeName, i64)>, links: &[(NodeName, i64, Option<ReplicaId>)]) {
    let me = shared.cluster.me();
    let rows: BTreeMap<&NodeName, (i64, Option<&ReplicaId>)> =
        links.iter().map(|(node, number, holder)| (node, (*number, holder.as_ref()))).collect();
    for (node, link) in held {
        let (end, why) = match rows.get(&node) {
            None => (End::NodeDeleted, "the node was deleted"),
            Some((number, _)) if *number > link => (End::Replaced, REPLACED),
            // The store was set back to before this link: nobody would give the agent anything.
            Some((number, holder)) if *number < link || *holder != Some(me) => {
                (End::StoreForgot, "the store has forgotten this connection")
            }
            Some(_) => continue,
        };
        shared.routes.close(&node, Some(link + 1), end, why);
    }
}

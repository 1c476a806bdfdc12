//! One simulated agent: connects, serves its link until it ends, connects again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use futures_util::{SinkExt, StreamExt};
use remoting::native::{AgentInfo, Frame};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_tungstenite::tungstenite::protocol::Message;

use super::dial::{Shown, Socket, dial};
use super::work::{Work, between_blocks};
use super::{Fleet, Node};

/// Between two looks at a step that prints.
const RATE: u64 = 20_000;
/// Between pings of the controller until it says otherwise; a side that is silent for three is left.
const INTERVAL: Duration = Duration::from_secs(15);
const SILENT: u32 = 3;

pub(super) async fn run(fleet: Arc<Fleet>, index: usize, node: Node) {
    let instance = format!("{index:032x}");
    let mut work = Work::default();
    let mut firsts = Firsts::default();
    loop {
        let shown = Shown { node: &node.name, secret: &node.secret, instance: &instance };
        let linked = {
            // as many at once as a replica takes connections, with some left for others
            let _turn = fleet.dialling.acquire().await;
            match dial(fleet.to, index, &shown).await {
                Ok(mut socket) => greet(&mut socket, &instance).await.map(|()| socket),
                Err(error) => Err(error),
            }
        };
        match linked {
            Ok(socket) => {
                fleet.seen.linked.fetch_add(1, Ordering::Relaxed);
                let why = serve(&fleet, index, socket, &mut work, &mut firsts).await;
                fleet.seen.linked.fetch_sub(1, Ordering::Relaxed);
                fleet.seen.lost.fetch_add(1, Ordering::Relaxed);
                fleet.note(&node.name, why);
            }
            Err(error) => {
                fleet.seen.refused.fetch_add(1, Ordering::Relaxed);
                fleet.note(&node.name, Err(error));
            }
        }
        work.unlinked();
        // not all at the same moment
        sleep(Duration::from_millis(100 + (index as u64 * 7_919) % 900)).await;
    }
}

/// What has been counted of this agent.
#[derive(Default)]
struct Firsts {
    pinged: bool,
    worked: bool,
}

async fn greet(socket: &mut Socket, instance: &str) -> Result<()> {
    let hello = AgentInfo {
        version: "simulated".to_owned(),
        instance: instance.to_owned(),
        pid: std::process::id(),
        hostname: "loopback".to_owned(),
        os: "linux".to_owned(),
        arch: "x86_64".to_owned(),
        unix: true,
        work_dir: "/nowhere".to_owned(),
        env: BTreeMap::from([
            ("HOME".to_owned(), "/nowhere".to_owned()),
            ("PATH".to_owned(), "/bin".to_owned()),
        ]),
        spools: false,
    };
    socket.send(Message::Binary(Frame::Hello(Box::new(hello)).encode())).await?;
    match frame(socket.next().await)? {
        Some(Frame::Welcome(_)) => Ok(()),
        other => bail!("it was greeted with {other:?}"),
    }
}

type Next = Option<Result<Message, tokio_tungstenite::tungstenite::Error>>;

/// `None`: nothing of ours.
fn frame(next: Next) -> Result<Option<Frame>> {
    match next {
        Some(Ok(Message::Binary(bytes))) => Ok(Some(Frame::decode(bytes)?)),
        Some(Ok(Message::Close(_))) | None => bail!("it was closed"),
        Some(Ok(_)) => Ok(None),
        Some(Err(error)) => Err(anyhow!(error)),
    }
}

/// Serves one link. `Ok` is the controller's own word that it ends.
async fn serve(
    fleet: &Fleet,
    index: usize,
    mut socket: Socket,
    work: &mut Work,
    firsts: &mut Firsts,
) -> Result<String> {
    let mut interval = INTERVAL;
    let mut heard = Instant::now();
    let mut asks = fleet.asks.subscribe();
    let mut asking: Option<Instant> = None;
    // the first question of this link comes when it is asked for, at a moment of its own
    let mut ask_at = phase(*asks.borrow_and_update(), index);
    let kept = work.kept();
    if !kept.is_empty() {
        send(&mut socket, Frame::Builds { builds: kept }).await?;
    }
    loop {
        say(fleet, &mut socket, work, firsts).await?;
        let prints = work.prints(fleet.now());
        let next = tokio::select! {
            next = timeout_at(heard + interval * SILENT, socket.next()) => {
                heard = Instant::now();
                frame(next.map_err(|_| anyhow!("the controller is silent"))?)?
            }
            () = sleep(between_blocks(RATE)), if prints => None,
            () = until(ask_at) => {
                asking = Some(Instant::now());
                ask_at = asks.borrow().map(|every| Instant::now() + every);
                send(&mut socket, Frame::Ping(u64::try_from(index).unwrap_or(0))).await?;
                None
            }
            Ok(()) = asks.changed() => {
                ask_at = phase(*asks.borrow_and_update(), index);
                None
            }
        };
        match next {
            None => {}
            Some(Frame::Ping(n)) => {
                send(&mut socket, Frame::Pong(n)).await?;
                if !std::mem::replace(&mut firsts.pinged, true) {
                    fleet.seen.pinged.fetch_add(1, Ordering::Relaxed);
                }
            }
            Some(Frame::Pong(_)) => {
                if let Some(asked) = asking.take() {
                    fleet.answered(asked.elapsed());
                }
            }
            Some(Frame::Interval { millis }) => interval = Duration::from_millis(millis.max(1)),
            Some(Frame::Bye { reason }) => return Ok(reason),
            Some(Frame::Command(command)) => {
                for said in work.command(command, fleet.now()) {
                    send(&mut socket, Frame::Report(said)).await?;
                }
            }
            Some(other) => bail!("the controller sends {other:?}"),
        }
    }
}

/// Sends all that may be said now.
async fn say(fleet: &Fleet, socket: &mut Socket, work: &mut Work, firsts: &mut Firsts) -> Result<()> {
    while let Some(said) = work.next(fleet.now()) {
        send(socket, Frame::Report(said)).await?;
    }
    if work.ended > 0 && !std::mem::replace(&mut firsts.worked, true) {
        fleet.seen.worked.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

async fn send(socket: &mut Socket, frame: Frame) -> Result<()> {
    Ok(socket.send(Message::Binary(frame.encode())).await?)
}

/// Agents do not ask all at the same moment.
fn phase(every: Option<Duration>, index: usize) -> Option<Instant> {
    every.map(|every| Instant::now() + every.mul_f64((index as u64 * 7_919 % 10_007) as f64 / 10_007.0))
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Idles on a bare WebSocket, answering its pings.
pub(super) async fn bare(fleet: Arc<Fleet>, index: usize) {
    let opened = {
        let _turn = fleet.dialling.acquire().await;
        super::dial::bare(fleet.to, index).await
    };
    let Ok(mut socket) = opened.inspect_err(|error| eprintln!("a bare WebSocket can't be opened: {error:#}"))
    else {
        return;
    };
    fleet.seen.linked.fetch_add(1, Ordering::Relaxed);
    while let Some(Ok(_)) = socket.next().await {}
    fleet.seen.linked.fetch_sub(1, Ordering::Relaxed);
}

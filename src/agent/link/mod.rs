//! The link to a controller: dials until one accepts, greets, answers pings, leaves a silent one, and starts anew.
//!
//! One task. To the service it is a pair of bounded channels for each link: commands in, encoded frames out. When the
//! channel of commands ends, that link is gone, and whatever was still in the channels with it.

mod dial;
mod retry;

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use remoting::native::{AgentInfo, Frame};
use remoting::ops::ToAgent;
use remoting::spools::SpoolsAsked;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tracing::{debug, info, warn};

use crate::{Config, Error};
use dial::{DialError, Root, Socket, dial};
use retry::{Outcome, Retry};

/// Commands that wait for the service.
const COMMANDS: usize = 16;
/// Frames that wait for the socket: one is being written while the next is made.
const FRAMES: usize = 2;
/// A controller that accepts says so within this.
const GREETING: Duration = Duration::from_secs(30);
/// Silent intervals after which a link is left.
const SILENT: u32 = 3;

/// The service's ends of a link.
#[derive(Debug)]
pub(crate) struct Ends {
    /// Identity of the controller, as its welcome says.
    pub(crate) controller: String,
    pub(crate) commands: mpsc::Receiver<Heard>,
    pub(crate) frames: mpsc::Sender<Bytes>,
}

/// What the controller wants of the service.
#[derive(Debug)]
pub(crate) enum Heard {
    Command(ToAgent),
    Spools { ask: u64, asked: SpoolsAsked },
}

/// Dials, and dials again.
#[derive(Debug)]
pub(crate) struct Dialer {
    config: Config,
    roots: Vec<Root>,
    /// What the next link is told.
    info: watch::Receiver<AgentInfo>,
}

/// How a link ended.
#[derive(Debug)]
enum End {
    /// The controller asked us to come back.
    Bye(String),
    Lost(String),
    /// The controller does not want us until somebody changes something.
    Refused(String),
    /// We are to stop.
    Stopped,
}

impl Dialer {
    pub(crate) fn new(config: Config, info: watch::Receiver<AgentInfo>) -> Result<Dialer, Error> {
        if config.urls.is_empty() {
            return Err(Error::NoUrl);
        }
        let roots = config.urls.iter().map(|url| Root::parse(url)).collect::<Result<_, _>>()?;
        Ok(Dialer { config, roots, info })
    }

    /// Keeps a link, until it is told to stop or may not connect again.
    pub(crate) async fn run(self, links: mpsc::Sender<Ends>, mut stop: watch::Receiver<bool>) {
        let mut retry = Retry::default();
        let mut away_since = Instant::now();
        loop {
            let info = self.info.borrow().clone();
            let dialled = tokio::select! {
                dialled = self.dial(&info.instance) => dialled,
                () = stopped(&mut stop) => return,
            };
            let outcome = match dialled {
                Ok((root, socket)) => {
                    let began = Instant::now();
                    let mut outcome = None;
                    match self.serve(root, socket, &info, &links, &mut stop).await {
                        End::Stopped => return,
                        End::Bye(reason) => info!("{} says goodbye: {reason}", root.url()),
                        End::Lost(why) => warn!("the link to {} is lost: {why}", root.url()),
                        End::Refused(why) => {
                            warn!("{} refuses this agent: {why}", root.url());
                            outcome = Some(Outcome::Refused);
                        }
                    }
                    if self.config.no_reconnect {
                        info!("this agent ends with its link (-noReconnect)");
                        return;
                    }
                    away_since = Instant::now();
                    outcome.unwrap_or_else(|| Outcome::Lost(began.elapsed()))
                }
                Err(outcome) => outcome,
            };
            if self.config.no_reconnect_after.is_some_and(|limit| away_since.elapsed() >= limit) {
                info!("there was no link for too long (-noReconnectAfter)");
                return;
            }
            let delay = retry.after(outcome, chance());
            tokio::select! {
                () = sleep(delay) => {}
                () = stopped(&mut stop) => return,
            }
        }
    }

    /// Tries each controller once.
    async fn dial(&self, instance: &str) -> Result<(&Root, Socket), Outcome> {
        let mut outcome = Outcome::Unreachable;
        for root in &self.roots {
            match dial(root, &self.config, instance).await {
                Ok(socket) => return Ok((root, socket)),
                Err(e @ DialError::Refused(_)) => {
                    warn!("{e}");
                    outcome = Outcome::Refused;
                }
                Err(e @ DialError::Unreachable { .. }) => warn!("{e}"),
            }
        }
        Err(outcome)
    }

    async fn serve(
        &self,
        root: &Root,
        socket: Socket,
        info: &AgentInfo,
        links: &mpsc::Sender<Ends>,
        stop: &mut watch::Receiver<bool>,
    ) -> End {
        let (mut sink, mut stream) = socket.split();
        let greeted = timeout(GREETING, greet(&mut sink, &mut stream, info)).await;
        let welcome = match greeted {
            Ok(Ok(welcome)) => welcome,
            Ok(Err(end)) => return end,
            Err(_) => return End::Lost("it accepted and did not greet".to_owned()),
        };
        info!(
            replica = welcome.replica,
            link = welcome.link,
            "connected to {} as “{}”",
            root.url(),
            self.config.name
        );
        let (to_service, commands) = mpsc::channel(COMMANDS);
        let (frames, from_service) = mpsc::channel(FRAMES);
        let controller = welcome.controller;
        if links.send(Ends { commands, frames, controller }).await.is_err() {
            return End::Stopped;
        }
        let (pong, pongs) = mpsc::channel(FRAMES);
        let end = tokio::select! {
            end = read(&mut stream, to_service, pong, self.config.ping_interval) => end,
            end = write(&mut sink, from_service, pongs) => end,
            () = stopped(stop) => End::Stopped,
        };
        // Best effort: the other side notices in any case.
        let _closed = timeout(Duration::from_millis(200), sink.close()).await;
        match end {
            End::Stopped if !links.is_closed() && !*stop.borrow() => {
                End::Lost("this agent does not serve it yet".to_owned())
            }
            end => end,
        }
    }
}

/// Says hello and waits for the welcome.
async fn greet(
    sink: &mut SplitSink<Socket, Message>,
    stream: &mut SplitStream<Socket>,
    info: &AgentInfo,
) -> Result<remoting::native::Welcome, End> {
    let hello = Frame::Hello(Box::new(info.clone())).encode();
    sink.send(Message::Binary(hello)).await.map_err(|e| End::Lost(e.to_string()))?;
    loop {
        match next(stream).await? {
            Some(Frame::Welcome(welcome)) => return Ok(welcome),
            Some(Frame::Bye { reason }) => return Err(End::Refused(reason)),
            Some(other) => return Err(End::Lost(format!("its first frame is no welcome: {other:?}"))),
            None => {}
        }
    }
}

/// The next message; `None` for one that is no frame of ours.
async fn next(stream: &mut SplitStream<Socket>) -> Result<Option<Frame>, End> {
    match stream.next().await {
        Some(Ok(Message::Binary(bytes))) => match Frame::decode(bytes) {
            Ok(frame) => Ok(Some(frame)),
            Err(e) => Err(End::Lost(format!("it sends what is no frame: {e}"))),
        },
        Some(Ok(Message::Text(_))) => Err(End::Lost("it sends text where frames belong".to_owned())),
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(None),
        Some(Ok(Message::Close(_))) | None => Err(End::Lost("it was closed".to_owned())),
        Some(Err(e)) => Err(End::Lost(e.to_string())),
    }
}

async fn read(
    stream: &mut SplitStream<Socket>,
    commands: mpsc::Sender<Heard>,
    pong: mpsc::Sender<Bytes>,
    ping_interval: Duration,
) -> End {
    let mut interval = ping_interval;
    loop {
        let frame = match timeout(interval * SILENT, next(stream)).await {
            Ok(Ok(frame)) => frame,
            Ok(Err(end)) => return end,
            Err(_) => return End::Lost(format!("it is silent for {} s", (interval * SILENT).as_secs_f32())),
        };
        match frame {
            None => {}
            Some(Frame::Ping(n)) => {
                let answered = pong.send(Frame::Pong(n).encode()).await;
                if answered.is_err() {
                    return End::Stopped;
                }
            }
            Some(Frame::Interval { millis }) => interval = Duration::from_millis(millis.max(1)),
            Some(Frame::Bye { reason }) => return End::Bye(reason),
            Some(Frame::Command(command)) => {
                debug!(build = command.build.0, "command");
                if commands.send(Heard::Command(command)).await.is_err() {
                    return End::Stopped;
                }
            }
            Some(Frame::Spools { ask, asked }) => {
                let heard = commands.send(Heard::Spools { ask, asked }).await;
                if heard.is_err() {
                    return End::Stopped;
                }
            }
            Some(Frame::Pong(_)) => {}
            Some(
                other @ (Frame::Hello(_)
                | Frame::Welcome(_)
                | Frame::Report(_)
                | Frame::Builds { .. }
                | Frame::Spooled { .. }),
            ) => {
                return End::Lost(format!("it sends what only an agent may: {other:?}"));
            }
        }
    }
}

async fn write(
    sink: &mut SplitSink<Socket, Message>,
    mut frames: mpsc::Receiver<Bytes>,
    mut pongs: mpsc::Receiver<Bytes>,
) -> End {
    loop {
        let frame = tokio::select! {
            biased;
            Some(pong) = pongs.recv() => pong,
            frame = frames.recv() => match frame {
                Some(frame) => frame,
                None => return End::Stopped,
            },
        };
        let more = !frames.is_empty() || !pongs.is_empty();
        let message = Message::Binary(frame);
        let sent = if more { sink.feed(message).await } else { sink.send(message).await };
        if let Err(e) = sent {
            return End::Lost(e.to_string());
        }
    }
}

/// Ends when the agent is to stop, or when nobody is left who could say so.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _sender_is_gone = stop.wait_for(|stop| *stop).await;
}

/// A number that differs from agent to agent and from try to try.
fn chance() -> u8 {
    match crate::home::random_hex(1) {
        Ok(hex) => u8::from_str_radix(&hex, 16).unwrap_or(0),
        Err(_) => 0,
    }
}

//! An agent with a valid secret that says whatever a test wants.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use model::{BuildId, Fence};
use remoting::native::{AgentInfo, Frame, INSTANCE_HEADER, VERSION, VERSION_HEADER};
use remoting::ops::{Command, FromAgent, OpRequest, OpResult, Report, StepReport, StepState};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::Controller;
use crate::nodes::{create_node, secret};

/// Longest wait for a frame.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Hostile {
    pub(crate) name: String,
    runtime: Runtime,
    socket: WebSocketStream<TcpStream>,
    pub(crate) answers_pings: bool,
}

/// A step that the controller has asked for.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) build: BuildId,
    pub(crate) fence: Fence,
    pub(crate) step: String,
}

impl Hostile {
    /// A new node, and its agent.
    pub(crate) fn connect(it: &Controller, name: &str) -> Hostile {
        create_node(&it.admin, name, name);
        let mut hostile = Hostile::dial(it, name);
        let info = AgentInfo {
            instance: name.to_owned(),
            unix: true,
            os: "linux".to_owned(),
            work_dir: "/w".to_owned(),
            ..AgentInfo::default()
        };
        hostile.send(Frame::Hello(Box::new(info)));
        assert!(matches!(hostile.next(), Some(Frame::Welcome(_))));
        hostile
    }

    /// Connected, and silent.
    pub(crate) fn dial(it: &Controller, name: &str) -> Hostile {
        let secret = secret(&it.admin, name);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut request = format!("ws://{}/wsagents/", it.admin.address).into_client_request().unwrap();
        for (header, value) in
            [("Node-Name", name), ("Secret-Key", &secret), (VERSION_HEADER, VERSION), (INSTANCE_HEADER, name)]
        {
            let header =
                tokio_tungstenite::tungstenite::http::HeaderName::from_bytes(header.as_bytes()).unwrap();
            request.headers_mut().insert(header, HeaderValue::from_str(value).unwrap());
        }
        let socket = runtime.block_on(async {
            let stream = TcpStream::connect(it.admin.address).await.unwrap();
            client_async(request, stream).await.unwrap().0
        });
        Hostile { name: name.to_owned(), runtime, socket, answers_pings: true }
    }

    /// Says something; that nobody listens any more is no error.
    pub(crate) fn say(&mut self, message: Message) -> bool {
        let sending = self.socket.send(message);
        let sent = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, sending).await });
        matches!(sent, Ok(Ok(())))
    }

    pub(crate) fn send(&mut self, frame: Frame) -> bool {
        self.say(Message::Binary(frame.encode()))
    }

    pub(crate) fn report(&mut self, to: &Asked, report: Report) -> bool {
        self.send(Frame::Report(FromAgent { build: to.build, fence: to.fence, report }))
    }

    pub(crate) fn output(&mut self, to: &Asked, offset: u64, bytes: &[u8]) -> bool {
        let (step, bytes) = (to.step.clone(), Bytes::copy_from_slice(bytes));
        self.report(to, Report::Output { step, offset, bytes })
    }

    pub(crate) fn state(&mut self, to: &Asked, state: StepState, end: u64) -> bool {
        self.report(to, Report::Step(StepReport { step: to.step.clone(), state, end }))
    }

    pub(crate) fn exited(&mut self, to: &Asked, status: i32, end: u64) -> bool {
        self.state(to, StepState::Exited { status, stdout: None }, end)
    }

    /// The next frame but pings, which are answered; `None` when the connection ends.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        self.next_within(PATIENCE).expect("no frame came in time")
    }

    /// Outer `None`: nothing came.
    pub(crate) fn next_within(&mut self, patience: Duration) -> Option<Option<Frame>> {
        let began = Instant::now();
        loop {
            let left = patience.checked_sub(began.elapsed())?;
            let next = self.socket.next();
            match self.runtime.block_on(async { tokio::time::timeout(left, next).await }).ok()? {
                Some(Ok(Message::Binary(bytes))) => match Frame::decode(bytes).unwrap() {
                    Frame::Ping(n) if self.answers_pings => {
                        self.send(Frame::Pong(n));
                    }
                    Frame::Ping(_) | Frame::Interval { .. } => {}
                    other => return Some(Some(other)),
                },
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Some(None),
                Some(Ok(_)) => {}
            }
        }
    }

    /// Reads until the controller ends the connection.
    #[track_caller]
    pub(crate) fn closed(&mut self, why: &str) {
        let began = Instant::now();
        while self.next_within(PATIENCE.saturating_sub(began.elapsed())) != Some(None) {
            assert!(began.elapsed() < PATIENCE, "the controller does not hang up after {why}");
        }
    }

    /// The next command to us; claims are answered with the steps given.
    pub(crate) fn command(&mut self, steps: &[StepReport]) -> (BuildId, Fence, Command) {
        loop {
            match self.next() {
                Some(Frame::Command(to)) if to.command == Command::Claim => {
                    let steps = steps.to_vec();
                    let report = Report::Claimed { steps, rebooted: false };
                    self.send(Frame::Report(FromAgent { build: to.build, fence: to.fence, report }));
                }
                Some(Frame::Command(to)) => return (to.build, to.fence, to.command),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Waits until a step is to be started, and answers that it runs.
    pub(crate) fn started(&mut self) -> Asked {
        loop {
            if let (build, fence, Command::Start { step, .. }) = self.command(&[]) {
                let asked = Asked { build, fence, step };
                self.state(&asked, StepState::Running, 0);
                return asked;
            }
        }
    }

    /// Waits until something is asked of files.
    pub(crate) fn op(&mut self) -> (Asked, u64, OpRequest) {
        loop {
            if let (build, fence, Command::Op { op, request }) = self.command(&[]) {
                return (Asked { build, fence, step: String::new() }, op, *request);
            }
        }
    }

    /// Content in pieces, without regard for credit.
    pub(crate) fn content(&mut self, to: &Asked, op: u64, content: &[u8]) {
        for (n, piece) in content.chunks(remoting::ops::MAX_PIECE).enumerate() {
            let offset = (n * remoting::ops::MAX_PIECE) as u64;
            self.report(to, Report::OpData { op, offset, bytes: Bytes::copy_from_slice(piece) });
        }
    }

    pub(crate) fn done(&mut self, to: &Asked, op: u64, result: OpResult) {
        self.report(to, Report::OpDone { op, result });
    }
}

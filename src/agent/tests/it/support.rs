//! A tiny controller.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use model::{BuildId, Fence};
use remoting::native::{AgentInfo, Frame, Welcome};
use remoting::ops::{
    CREDIT, Command, FileSet, FromAgent, MAX_PIECE, OpRequest, OpResult, Report, StartSpec, StepReport,
    ToAgent,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

/// Nothing in these tests takes longer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) fn build(n: i64) -> BuildId {
    BuildId(n)
}

pub(crate) fn fence(n: i64) -> Fence {
    Fence::from_i64(n)
}

/// What a controller answers to an upgrade, when it does not accept.
type Refusal = Arc<Mutex<Option<(u16, &'static str)>>>;

pub(crate) struct Controller {
    pub(crate) address: SocketAddr,
    pub(crate) refusal: Refusal,
    /// What its welcome says.
    pub(crate) identity: Arc<Mutex<String>>,
    links: mpsc::UnboundedReceiver<Link>,
    pub(crate) attempts: mpsc::UnboundedReceiver<Instant>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Controller {
    pub(crate) async fn start() -> Controller {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let refusal = Refusal::default();
        let (accepted, links) = mpsc::unbounded_channel();
        let (attempted, attempts) = mpsc::unbounded_channel();
        let refuse = refusal.clone();
        let identity = Arc::new(Mutex::new("c".to_owned()));
        let who = Arc::clone(&identity);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answer = *refuse.lock().unwrap();
                let (accepted, attempted) = (accepted.clone(), attempted.clone());
                let who = who.lock().unwrap().clone();
                tokio::spawn(async move { serve(stream, answer, who, accepted, attempted).await });
            }
        });
        Controller { address, refusal, identity, links, attempts, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// The next agent that connects.
    pub(crate) async fn link(&mut self) -> Link {
        timeout(DEADLINE, self.links.recv()).await.expect("no agent connects").unwrap()
    }
}

async fn serve(
    mut stream: TcpStream,
    refusal: Option<(u16, &'static str)>,
    controller: String,
    accepted: mpsc::UnboundedSender<Link>,
    attempted: mpsc::UnboundedSender<Instant>,
) {
    let mut start = [0; 16];
    let _ = stream.peek(&mut start).await;
    if start.starts_with(b"GET /login") {
        let _ = stream.read(&mut [0; 2048]).await;
        let _ =
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi").await;
        return;
    }
    let _ = attempted.send(Instant::now());
    let headers = Arc::new(Mutex::new(BTreeMap::new()));
    let seen = headers.clone();
    #[expect(clippy::result_large_err, reason = "the callback's type is given")]
    let check = move |request: &Request, response: Response| {
        for (name, value) in request.headers() {
            seen.lock().unwrap().insert(name.to_string(), value.to_str().unwrap_or_default().to_owned());
        }
        match refusal {
            Some((status, why)) => {
                let mut response = ErrorResponse::new(Some(why.to_owned()));
                *response.status_mut() = status.try_into().unwrap();
                Err(response)
            }
            None => Ok(response),
        }
    };
    let Ok(mut socket) = accept_hdr_async(stream, check).await else { return };
    let Some(Ok(Message::Binary(hello))) = socket.next().await else { return };
    let Ok(Frame::Hello(info)) = Frame::decode(hello) else { panic!("no hello") };
    let welcome = Frame::Welcome(Welcome { replica: "r-0".into(), link: 1, controller });
    socket.send(Message::Binary(welcome.encode())).await.unwrap();
    let headers = headers.lock().unwrap().clone();
    let _ = accepted.send(Link { info: *info, headers, socket });
}

/// One connected agent.
pub(crate) struct Link {
    pub(crate) info: AgentInfo,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) socket: WebSocketStream<TcpStream>,
}

impl Link {
    pub(crate) async fn frame(&mut self, frame: Frame) {
        self.socket.send(Message::Binary(frame.encode())).await.unwrap();
    }

    pub(crate) async fn tell(&mut self, build: BuildId, fence: Fence, command: Command) {
        self.frame(Frame::Command(ToAgent { build, fence, command })).await;
    }

    /// The next frame; nothing when the link has ended.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            match timeout(DEADLINE, self.socket.next()).await.expect("the agent says nothing") {
                Some(Ok(Message::Binary(bytes))) => return Some(Frame::decode(bytes).unwrap()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    pub(crate) async fn report(&mut self) -> FromAgent {
        loop {
            match self.next().await.expect("the link has ended") {
                Frame::Report(report) => return report,
                Frame::Pong(_) | Frame::Builds { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) async fn claim(&mut self, build: BuildId, fence: Fence) -> Vec<StepReport> {
        self.tell(build, fence, Command::Claim).await;
        loop {
            match self.report().await {
                FromAgent { report: Report::Claimed { steps, rebooted: false }, fence: f, .. }
                    if f == fence =>
                {
                    return steps;
                }
                FromAgent { report: Report::Refused { held }, fence: f, .. } if f == fence => {
                    panic!("refused, {held} is held")
                }
                _ => {}
            }
        }
    }

    pub(crate) async fn start(&mut self, build: BuildId, fence: Fence, step: &str, script: &str, dir: &Path) {
        let spec = Box::new(sh(script, dir));
        self.tell(build, fence, Command::Start { step: step.into(), spec }).await;
    }

    /// The next report about a step.
    pub(crate) async fn step(&mut self, step: &str) -> StepReport {
        loop {
            match self.report().await.report {
                Report::Step(report) if report.step == step => return report,
                _ => {}
            }
        }
    }

    pub(crate) async fn ended(&mut self, step: &str) -> StepReport {
        loop {
            let report = self.step(step).await;
            if report.state.ended() {
                return report;
            }
        }
    }

    /// Reads the output from where `got` ends, at most up to `stop`, giving credit as an owner does.
    pub(crate) async fn follow(
        &mut self,
        build: BuildId,
        fence: Fence,
        step: &str,
        got: &mut Vec<u8>,
        stop: u64,
    ) -> Followed {
        let mut upto = (got.len() as u64 + CREDIT).min(stop);
        self.tell(build, fence, Command::Follow { step: step.into(), from: got.len() as u64, upto }).await;
        let mut end = None;
        loop {
            let at = got.len() as u64;
            if let Some(end) = end.clone().filter(|e: &StepReport| e.end == at) {
                return Followed::End(end);
            }
            if at >= stop {
                return Followed::Stopped;
            }
            match self.report().await.report {
                Report::Output { step: of, offset, bytes } if of == step => {
                    assert_eq!(offset, at, "a gap, or a repetition");
                    assert!(bytes.len() <= MAX_PIECE && offset + bytes.len() as u64 <= upto);
                    got.extend_from_slice(&bytes);
                }
                Report::Step(report) if report.step == step && report.state.ended() => end = Some(report),
                _ => {}
            }
            let at = got.len() as u64;
            if upto < stop && upto - at < CREDIT / 2 {
                upto = (at + CREDIT).min(stop);
                self.tell(build, fence, Command::Follow { step: step.into(), from: at, upto }).await;
            }
        }
    }

    /// Runs a step to its end. → its report and output
    pub(crate) async fn run(
        &mut self,
        build: BuildId,
        fence: Fence,
        step: &str,
        spec: StartSpec,
    ) -> (StepReport, String) {
        self.tell(build, fence, Command::Start { step: step.into(), spec: Box::new(spec) }).await;
        let mut out = Vec::new();
        match self.follow(build, fence, step, &mut out, u64::MAX).await {
            Followed::End(report) => (report, String::from_utf8(out).unwrap()),
            Followed::Stopped => unreachable!(),
        }
    }

    /// An op with no content from here. → what it sent, and its result
    pub(crate) async fn op(
        &mut self,
        build: BuildId,
        fence: Fence,
        op: u64,
        request: OpRequest,
    ) -> (Vec<u8>, OpResult) {
        self.tell(build, fence, Command::Op { op, request: Box::new(request) }).await;
        let mut got = Vec::new();
        loop {
            match self.report().await.report {
                Report::OpData { op: of, offset, bytes } if of == op => {
                    assert_eq!(offset, got.len() as u64);
                    got.extend_from_slice(&bytes);
                    let upto = got.len() as u64 + CREDIT;
                    self.tell(build, fence, Command::OpCredit { op, upto }).await;
                }
                Report::OpDone { op: of, result } if of == op => return (got, result),
                _ => {}
            }
        }
    }

    /// An op with content from here, within the credit.
    pub(crate) async fn put(
        &mut self,
        build: BuildId,
        fence: Fence,
        op: u64,
        request: OpRequest,
        content: &[u8],
    ) -> OpResult {
        self.tell(build, fence, Command::Op { op, request: Box::new(request) }).await;
        let (mut sent, mut room) = (0, CREDIT as usize);
        let mut last = false;
        loop {
            while !last && sent <= content.len() && room > sent {
                let to = content.len().min(sent + MAX_PIECE).min(room);
                let bytes = Bytes::copy_from_slice(&content[sent..to]);
                last = to == content.len();
                self.tell(build, fence, Command::OpData { op, offset: sent as u64, last, bytes }).await;
                sent = to;
            }
            match self.report().await.report {
                Report::OpCredit { op: of, upto } if of == op => room = upto as usize,
                Report::OpDone { op: of, result } if of == op => return result,
                _ => {}
            }
        }
    }
}

#[derive(Debug)]
pub(crate) enum Followed {
    End(StepReport),
    Stopped,
}

pub(crate) fn sh(script: &str, dir: &Path) -> StartSpec {
    StartSpec {
        shell: "sh".into(),
        script: script.into(),
        dir: dir.display().to_string(),
        env: BTreeMap::new(),
        capture: false,
    }
}

pub(crate) fn all_files() -> FileSet {
    FileSet { includes: String::new(), excludes: String::new(), default_excludes: true, case_sensitive: true }
}

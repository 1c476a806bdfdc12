//! The task that sends traces.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engine::{BuildTrace, Engine};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use model::BuildId;
use tokio::net::TcpStream;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use crate::endpoint::Endpoint;
use crate::json;
use crate::metrics::{Dropped, Metrics};

/// Traces of one request.
const TOGETHER: usize = 64;
/// Spans of one request, but for the first trace in it: some 3 MB, and collectors take 4 MiB as a rule.
const SPANS: usize = engine::MOST_SPANS;
/// Time for one request.
const PATIENCE: Duration = Duration::from_secs(10);
/// Whoever was told that the collector is away need not be told again before that.
const QUIET: Duration = Duration::from_secs(60);

/// Where traces come from: an [`Engine`].
pub trait Source: Send + Sync + 'static {
    /// Builds as they end; only the newest wait.
    fn ended(&self) -> Receiver<BuildId>;
    /// `None`: it can't be read.
    fn trace(&self, build: BuildId) -> impl Future<Output = Option<BuildTrace>> + Send;
}

impl Source for Engine {
    fn ended(&self) -> Receiver<BuildId> {
        Engine::ended(self)
    }

    async fn trace(&self, build: BuildId) -> Option<BuildTrace> {
        Engine::trace(self, build).await
    }
}

/// Sends the traces of builds that have ended here.
pub struct Exporter {
    endpoint: Endpoint,
    /// `service.name`
    service: String,
    replica: String,
    metrics: Arc<Metrics>,
}

impl Exporter {
    pub fn new(endpoint: Endpoint, service: String, replica: String, metrics: Arc<Metrics>) -> Exporter {
        Exporter { endpoint, service, replica, metrics }
    }

    /// Until the process ends. A collector that is away costs traces and nothing else.
    pub async fn run(&self, source: &impl Source) {
        let mut builds = source.ended();
        let mut told: Option<tokio::time::Instant> = None;
        loop {
            let Some(some) = self.next(&mut builds).await else { return };
            let (mut traces, mut spans) = (Vec::new(), 0);
            for build in some {
                let Some(trace) = source.trace(build).await else {
                    self.metrics.dropped.inc(Dropped::Unreadable);
                    continue;
                };
                if spans + trace.spans.len() > SPANS && !traces.is_empty() {
                    self.hand_in(std::mem::take(&mut traces), &mut told).await;
                    spans = 0;
                }
                spans += trace.spans.len();
                traces.push(trace);
            }
            if !traces.is_empty() {
                self.hand_in(traces, &mut told).await;
            }
        }
    }

    /// Sends traces and counts what becomes of them. `told`: when it was said last that the collector does not take them.
    async fn hand_in(&self, traces: Vec<BuildTrace>, told: &mut Option<tokio::time::Instant>) {
        let count = traces.len() as u64;
        let why = match tokio::time::timeout(PATIENCE, self.send(traces)).await {
            Ok(Ok(())) => {
                self.metrics.exported.inc_by(count);
                *told = None;
                return;
            }
            Ok(Err(why)) => why,
            Err(_) => format!("it did not answer within {} s", PATIENCE.as_secs()),
        };
        self.metrics.dropped.inc_by(Dropped::Collector, count);
        if told.is_none_or(|at| at.elapsed() >= QUIET) {
            *told = Some(tokio::time::Instant::now());
            tracing::info!(collector = ?self.endpoint, why, "traces are dropped: the collector does not take them");
        }
    }

    /// Builds whose traces go together; `None`: there will be no more.
    async fn next(&self, builds: &mut Receiver<BuildId>) -> Option<Vec<BuildId>> {
        let mut some = Vec::new();
        while some.is_empty() {
            match builds.recv().await {
                Ok(build) => some.push(build),
                Err(RecvError::Lagged(missed)) => self.metrics.dropped.inc_by(Dropped::Full, missed),
                Err(RecvError::Closed) => return None,
            }
        }
        while some.len() < TOGETHER {
            match builds.try_recv() {
                Ok(build) => some.push(build),
                Err(TryRecvError::Lagged(missed)) => self.metrics.dropped.inc_by(Dropped::Full, missed),
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        Some(some)
    }

    async fn send(&self, traces: Vec<BuildTrace>) -> Result<(), String> {
        let Endpoint { host, port, path, headers } = &self.endpoint;
        // Thousands of spans take long to write: not on a thread that others wait for.
        let (service, replica) = (self.service.clone(), self.replica.clone());
        let write = move || json::request(&service, &replica, &traces).to_string();
        let body = tokio::task::spawn_blocking(write).await.map_err(|e| e.to_string())?;
        let address = (host.trim_matches(['[', ']']), *port);
        let stream = TcpStream::connect(address).await.map_err(|e| e.to_string())?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
        let mut request = Request::post(path.as_str())
            .header(HOST, format!("{host}:{port}"))
            .header(CONTENT_TYPE, "application/json")
            .header(CONNECTION, "close");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(|e| e.to_string())?;
        let work = async {
            let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
            let status = response.status();
            // what it says is of no use, but must be heard out
            let _said = response.into_body().frame().await;
            if status.is_success() { Ok(()) } else { Err(refused(status)) }
        };
        tokio::pin!(work, connection);
        let mut ended = false;
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                _ = &mut connection, if !ended => ended = true,
            }
        }
    }
}

fn refused(status: StatusCode) -> String {
    format!("it answered {status}")
}

#[cfg(test)]
mod tests {
    use model::{BuildResult, JobName, Millis};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::broadcast::Sender;

    use super::*;

    /// Builds that have no steps, but for those from 100 on, which have more than half of what goes into a request.
    struct Builds(Sender<BuildId>);

    fn step() -> engine::Span {
        engine::Span {
            id: "1".into(),
            parent: None,
            kind: engine::SpanKind::Step,
            name: "sh".into(),
            step: "1".into(),
            node: None,
            began: Millis(2),
            ended: Millis(3),
            failed: None,
        }
    }

    impl Source for Builds {
        fn ended(&self) -> Receiver<BuildId> {
            self.0.subscribe()
        }

        async fn trace(&self, build: BuildId) -> Option<BuildTrace> {
            (build.0 != 13).then(|| BuildTrace {
                controller: "acme".into(),
                build,
                job: JobName::parse("a").unwrap(),
                number: 1,
                result: BuildResult::Success,
                language: "pipeline",
                url: None,
                queued_at: Millis(1),
                started_at: Millis(2),
                ended_at: Millis(3),
                spans: vec![step(); if build.0 < 100 { 0 } else { SPANS / 2 + 1 }],
                left_out: 0,
            })
        }
    }

    fn exporter(address: std::net::SocketAddr) -> (Exporter, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::default());
        let endpoint = Endpoint::parse(&format!("http://{address}"), "authorization=Bearer x").unwrap();
        (Exporter::new(endpoint, "majordomo".into(), "acme-0".into(), Arc::clone(&metrics)), metrics)
    }

    /// Takes one request and answers it.
    async fn collect(listener: &TcpListener, answer: &str) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut said = Vec::new();
        loop {
            let mut piece = [0; 4096];
            let read = stream.read(&mut piece).await.unwrap();
            said.extend_from_slice(&piece[..read]);
            if said.ends_with(b"]}]}]}") || read == 0 {
                break;
            }
        }
        let answer = format!("HTTP/1.1 {answer}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}");
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(said).unwrap()
    }

    #[tokio::test]
    async fn builds_that_end_are_sent_and_those_that_are_not_are_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (exporter, metrics) = exporter(listener.local_addr().unwrap());
        let builds = Builds(Sender::new(4));
        let told = async {
            let said = collect(&listener, "200 OK").await;
            assert!(said.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{said}");
            assert!(said.to_lowercase().contains("authorization: bearer x\r\n"), "{said}");
            assert!(said.contains(&crate::trace_id("acme", BuildId(1))), "{said}");
            builds.0.send(BuildId(2)).unwrap();
            collect(&listener, "503 Service Unavailable").await;
            // nobody listens any more
            drop(listener);
            builds.0.send(BuildId(13)).unwrap();
            builds.0.send(BuildId(3)).unwrap();
            while metrics.dropped.get(Dropped::Collector) < 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let first = async {
            while builds.0.receiver_count() == 0 {
                tokio::task::yield_now().await;
            }
            builds.0.send(BuildId(1)).unwrap();
        };
        tokio::select! {
            () = exporter.run(&builds) => panic!("it ended"),
            _ = async { tokio::join!(first, told) } => {}
        }
        assert_eq!(metrics.exported.get(), 1);
        assert_eq!(metrics.dropped.get(Dropped::Unreadable), 1);
    }

    #[tokio::test]
    async fn a_request_has_no_more_spans_than_a_collector_takes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (exporter, metrics) = exporter(listener.local_addr().unwrap());
        let builds = Builds(Sender::new(8));
        let told = async {
            while builds.0.receiver_count() == 0 {
                tokio::task::yield_now().await;
            }
            (100..103).for_each(|n| drop(builds.0.send(BuildId(n))));
            for n in 100..103 {
                let said = collect(&listener, "200 OK").await;
                assert_eq!(said.matches("BUILD a").count(), 1);
                assert!(said.contains(&crate::trace_id("acme", BuildId(n))), "{n}");
            }
            while metrics.exported.get() < 3 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = exporter.run(&builds) => panic!("it ended"),
            () = told => {}
        }
    }

    #[tokio::test]
    async fn more_builds_than_wait_are_dropped_and_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (exporter, metrics) = exporter(listener.local_addr().unwrap());
        let mut receiver = Builds(Sender::new(2)).ended();
        assert_eq!(exporter.next(&mut receiver).await, None, "nobody ends builds any more");
        let builds = Builds(Sender::new(2));
        let mut receiver = builds.ended();
        (1..=10).for_each(|n| drop(builds.0.send(BuildId(n))));
        assert_eq!(exporter.next(&mut receiver).await, Some(vec![BuildId(9), BuildId(10)]));
        assert_eq!(metrics.dropped.get(Dropped::Full), 8);
    }
}

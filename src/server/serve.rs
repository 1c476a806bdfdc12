//! Connections: accepting, limits on slow and idle clients, and a stop that lets requests end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use http::{HeaderValue, Request, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::Instrument;

use crate::request::Remote;
use watched::{Activity, Watched};

pub use tls::Tls;

mod last;
mod tls;
mod watched;

/// What one listener bears.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Most connections that are not upgraded; more wait in the kernel.
    pub connections: usize,
    /// A request's head is there so long after its first byte, or the connection ends.
    pub head_timeout: Duration,
    /// A connection on which nothing moves, and no handler works, ends after this.
    pub idle_timeout: Duration,
    pub headers: usize,
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// After the stop, idle connections stay open so long: a client may be about to use one. Answers say
    /// `Connection: close` then.
    pub linger: Duration,
    /// After that, requests have so long to end.
    pub drain: Duration,
    /// Nobody else accepts on the listener: what clients have connected to when it stops would be reset. No further
    /// connection is made then, and those that are made already are served.
    pub own: bool,
    /// Who connects must show a certificate.
    pub tls: Option<Tls>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 8_192,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            headers: 100,
            head_bytes: 64 * 1024,
            linger: Duration::from_secs(1),
            drain: Duration::from_secs(30),
            own: false,
            tls: None,
        }
    }
}

/// How far a stop is.
#[derive(Clone)]
struct Stops {
    /// Answers say `Connection: close`.
    closing: Arc<AtomicBool>,
    /// Idle connections end.
    idle: CancellationToken,
    /// All connections end.
    all: CancellationToken,
}

/// Serves until `stop`, then drains. Answers when no connection but upgraded ones is left.
pub async fn serve(listener: TcpListener, router: axum::Router, stop: CancellationToken, limits: Limits) {
    let stops = Stops {
        closing: Arc::new(AtomicBool::new(false)),
        idle: CancellationToken::new(),
        all: CancellationToken::new(),
    };
    let slots = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    let take = |stream, remote, slot| {
        let work = connection(stream, Remote(remote), router.clone(), stops.clone(), limits.clone());
        async move {
            work.await;
            drop(slot);
        }
    };
    loop {
        let slot = tokio::select! {
            () = stop.cancelled() => break,
            Some(_ended) = connections.join_next() => continue,
            slot = Arc::clone(&slots).acquire_owned() => slot,
        };
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_ended) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, remote)) => {
                    let remote = plain(remote);
                    connections.spawn(take(stream, remote, slot).in_current_span());
                }
                Err(error) => {
                    tracing::warn!("accept a connection: {error}");
                    sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    if limits.own {
        last::refuse_more(&listener);
        stops.closing.store(true, Ordering::Relaxed);
        while let Some((stream, remote)) = last::made(&listener).await {
            let slot = Arc::clone(&slots).acquire_owned().await;
            connections.spawn(take(stream, plain(remote), slot).in_current_span());
        }
    }
    drop(listener);
    drain(connections, &stops, &limits).await;
}

/// A listener for IPv4 and IPv6 shows addresses of the former as some of the latter; proxies that are trusted, and
/// addresses from which guesses come, are known by what they are.
fn plain(remote: SocketAddr) -> SocketAddr {
    SocketAddr::new(remote.ip().to_canonical(), remote.port())
}

async fn drain(mut connections: JoinSet<()>, stops: &Stops, limits: &Limits) {
    stops.closing.store(true, Ordering::Relaxed);
    let begin = Instant::now();
    let phases = [(limits.linger, &stops.idle), (limits.linger + limits.drain, &stops.all)];
    for (after, next) in phases {
        let at = sleep_until(begin + after);
        tokio::pin!(at);
        loop {
            tokio::select! {
                ended = connections.join_next() => if ended.is_none() { return },
                () = &mut at => break,
            }
        }
        next.cancel();
    }
    while connections.join_next().await.is_some() {}
}

async fn connection(stream: TcpStream, remote: Remote, router: axum::Router, stops: Stops, limits: Limits) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("set TCP_NODELAY: {error}");
    }
    let Some(tls) = &limits.tls else { return speak(stream, remote, router, stops, limits).await };
    let secured = tokio::select! {
        secured = tls.accept(stream, remote) => secured,
        () = stops.all.cancelled() => None,
    };
    if let Some(stream) = secured {
        // boxed: the tasks of connections in the clear, which are many, would each have room for it
        Box::pin(speak(stream, remote, router, stops, limits)).await;
    }
}

/// HTTP on a connection.
async fn speak<S>(stream: S, remote: Remote, router: axum::Router, stops: Stops, limits: Limits)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let activity = Arc::new(Activity::new());
    let io = TokioIo::new(Watched::new(stream, Arc::clone(&activity)));
    let (seen, closing) = (Arc::clone(&activity), Arc::clone(&stops.closing));
    let service = service_fn(move |request: Request<Incoming>| {
        let (router, seen, closing) = (router.clone(), Arc::clone(&seen), Arc::clone(&closing));
        async move {
            let working = seen.begin();
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(remote);
            let mut answer = router.oneshot(request).await;
            if let Ok(response) = &mut answer
                && closing.load(Ordering::Relaxed)
                && response.status() != http::StatusCode::SWITCHING_PROTOCOLS
            {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            drop(working);
            answer
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_headers(limits.headers)
        .max_buf_size(limits.head_bytes.max(8_192))
        .keep_alive(true);
    let connection = http.serve_connection(io, service).with_upgrades();
    tokio::pin!(connection);
    let mut watch = interval(limits.head_timeout.min(limits.idle_timeout).div_f64(4.0));
    let mut ending = false;
    loop {
        tokio::select! {
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!("a connection ended: {error}");
                }
                return;
            }
            () = stops.idle.cancelled(), if !ending => {
                ending = true;
                connection.as_mut().graceful_shutdown();
            }
            () = stops.all.cancelled() => return,
            _ = watch.tick() => if activity.stuck(&limits) { return },
        }
    }
}

/// Counts in milliseconds since the connection began; 0 is never.
type Moment = AtomicU64;

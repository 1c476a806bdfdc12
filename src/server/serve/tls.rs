//! TLS of a listener on which everybody must show a certificate. What is not that must not disturb those who do: it has
//! little time, and only so many may try at once.

use std::sync::Arc;
use std::time::Duration;

use mutual::rustls::ServerConfig;
use mutual::tokio_rustls::TlsAcceptor;
use mutual::tokio_rustls::server::TlsStream;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::metrics::{Handshake, Metrics};
use crate::request::Remote;

/// Most time for a handshake.
const HANDSHAKE: Duration = Duration::from_secs(3);
/// Most handshakes at once.
const HANDSHAKES: usize = 128;

/// What a listener asks of those who connect.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    slots: Arc<Semaphore>,
    counted: Arc<Metrics>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    pub fn new(config: Arc<ServerConfig>, counted: Arc<Metrics>) -> Tls {
        Tls { acceptor: TlsAcceptor::from(config), slots: Arc::new(Semaphore::new(HANDSHAKES)), counted }
    }

    /// `None`: the connection is not let in, and has ended.
    pub(super) async fn accept(&self, stream: TcpStream, remote: Remote) -> Option<TlsStream<TcpStream>> {
        let outcome = match self.slots.try_acquire() {
            Err(_) => Err((Handshake::TooMany, "others are under way".to_owned())),
            Ok(_slot) => match timeout(HANDSHAKE, self.acceptor.accept(stream)).await {
                Ok(Ok(stream)) => Ok(stream),
                Ok(Err(error)) => Err((Handshake::Refused, error.to_string())),
                Err(_) => Err((Handshake::Late, "it took too long".to_owned())),
            },
        };
        match outcome {
            Ok(stream) => {
                self.counted.handshakes.inc(Handshake::Done);
                Some(stream)
            }
            Err((outcome, why)) => {
                self.counted.handshakes.inc(outcome);
                tracing::debug!(remote = %remote.0, why, "a handshake with somebody who connects as a peer");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::path::Path;

    use mutual::{Dial, PeerTls};
    use security::KeyList;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::serve::{Limits, serve};

    fn tls(digit: &str) -> PeerTls {
        PeerTls::new(KeyList::parse(&digit.repeat(64), Path::new("peer.keys")).unwrap()).unwrap()
    }

    async fn listening() -> (SocketAddr, Arc<Metrics>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, counted) = (listener.local_addr().unwrap(), Arc::new(Metrics::default()));
        let limits =
            Limits { tls: Some(Tls::new(tls("a").server(), Arc::clone(&counted))), ..Limits::default() };
        let router = axum::Router::new().fallback(async || "let in");
        tokio::spawn(serve(listener, router, CancellationToken::new(), limits));
        (address, counted)
    }

    /// All that comes back for one request; `Err`: the handshake itself came to nothing.
    async fn ask(address: SocketAddr, dial: &Dial) -> std::io::Result<String> {
        let mut stream = dial.connect(&address.to_string()).await?;
        let head = "GET /peer/ws HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let mut answer = Vec::new();
        stream.write_all(head.as_bytes()).await?;
        stream.read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    async fn counts(counted: &Metrics, outcome: Handshake, wanted: u64) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        while counted.handshakes.get(outcome) < wanted {
            assert!(
                tokio::time::Instant::now() < deadline,
                "{outcome:?} {}",
                counted.handshakes.get(outcome)
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(counted.handshakes.get(outcome), wanted, "{outcome:?}");
    }

    #[tokio::test]
    async fn only_who_has_the_key_is_let_in() {
        let (address, counted) = listening().await;
        let answer = ask(address, &Dial::Tls(tls("a").client())).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("let in"), "{answer}");
        let operator = Dial::Tls(tls("a").operator_client().unwrap());
        assert!(ask(address, &operator).await.unwrap().ends_with("let in"));
        counts(&counted, Handshake::Done, 2).await;

        let other = ask(address, &Dial::Tls(tls("b").client())).await;
        assert!(other.as_ref().is_err_and(|error| error.to_string().contains("UnknownIssuer")), "{other:?}");
        counts(&counted, Handshake::Refused, 1).await;
        // HTTP in the clear gets no answer of HTTP
        let plain = ask(address, &Dial::Plain).await;
        assert!(
            plain.as_ref().is_err() || plain.as_ref().is_ok_and(|answer| !answer.contains("HTTP")),
            "{plain:?}"
        );
        counts(&counted, Handshake::Refused, 2).await;
        assert!(ask(address, &operator).await.unwrap().ends_with("let in"));
    }

    #[tokio::test]
    async fn those_who_say_nothing_have_little_time_and_can_not_be_many() {
        let (address, counted) = listening().await;
        let mut silent = Vec::new();
        for _ in 0..HANDSHAKES {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        // those that come after them are not kept waiting
        let mut more = TcpStream::connect(address).await.unwrap();
        assert_eq!(more.read(&mut [0; 8]).await.unwrap(), 0, "it is closed");
        counts(&counted, Handshake::TooMany, 1).await;
        counts(&counted, Handshake::Late, HANDSHAKES as u64).await;
        for stream in &mut silent {
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap_or(0), 0, "it is closed");
        }
        assert!(ask(address, &Dial::Tls(tls("a").client())).await.unwrap().ends_with("let in"));
    }
}

//! The way to a peer, in the clear or in TLS: who dials need not know which.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use security::Keys;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::{PeerTls, REPLICA};

/// A connected byte stream.
pub type Stream = Box<dyn Io>;

pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// How a peer is dialled.
#[derive(Clone, Default)]
pub enum Dial {
    /// Where processes of one machine talk, or a network is trusted.
    #[default]
    Plain,
    Tls(Arc<ClientConfig>),
}

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Dial::Plain => "Plain",
            Dial::Tls(_) => "Tls",
        })
    }
}

impl Dial {
    /// Connects to `HOST:PORT`. Whoever waits limits the time.
    pub async fn connect(&self, address: &str) -> io::Result<Stream> {
        self.secure(TcpStream::connect(address).await?).await
    }

    /// What is said on a connection that is there. With TLS 1.3 the other side may still refuse us when this is done: then
    /// the first read ends.
    pub async fn secure(&self, stream: TcpStream) -> io::Result<Stream> {
        match self {
            Dial::Plain => Ok(Box::new(stream)),
            Dial::Tls(config) => {
                let name = ServerName::try_from(REPLICA).map_err(io::Error::other)?;
                Ok(Box::new(TlsConnector::from(Arc::clone(config)).connect(name, stream).await?))
            }
        }
    }
}

/// How one process comes to another of the same controller, and what it shows there.
#[derive(Clone)]
pub struct Peering {
    pub dial: Dial,
    pub token: String,
}

impl fmt::Debug for Peering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peering({:?}, ***)", self.dial)
    }
}

impl Peering {
    /// In the clear.
    pub fn plain(token: String) -> Peering {
        Peering { dial: Dial::Plain, token }
    }

    /// Of a replica.
    pub fn of(keys: &Keys, tls: Option<&PeerTls>) -> Peering {
        let dial = tls.map_or(Dial::Plain, |tls| Dial::Tls(tls.client()));
        Peering { dial, token: keys.peer_token() }
    }
}

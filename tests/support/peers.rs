//! What whoever looks after replicas asks them, at the address where peers reach them: in TLS where they have keys for it.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "test support; no test uses all of it")]

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use mutual::{Dial, PeerTls};
use security::Keys;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::http::{Reply, parse};

/// Who asks.
pub(crate) struct Parent {
    pub(crate) dial: Dial,
    pub(crate) token: String,
}

impl Parent {
    /// Of processes of this machine.
    pub(crate) fn plain(keys: &Keys) -> Parent {
        Parent { dial: Dial::Plain, token: keys.peer_token() }
    }

    /// With the keys that replicas know each other by.
    pub(crate) fn of(peer_keys: &Path) -> Parent {
        let tls = PeerTls::read(peer_keys).unwrap();
        Parent { token: tls.keys().peer_token(), dial: Dial::Tls(tls.operator_client().unwrap()) }
    }

    pub(crate) fn post(&self, at: SocketAddr, path: &str) -> io::Result<Reply> {
        self.ask(at, "POST", path, "")
    }

    pub(crate) fn ask(&self, at: SocketAddr, method: &str, path: &str, body: &str) -> io::Result<Reply> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let answer = runtime.block_on(async {
            let mut stream = self.dial.connect(&at.to_string()).await?;
            stream.write_all(head.as_bytes()).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            io::Result::Ok(answer)
        })?;
        parse(&answer).ok_or_else(|| io::Error::other("no answer of HTTP"))
    }
}

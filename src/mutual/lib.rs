//! TLS between replicas, and between them and whoever looks after them. Both sides show a certificate.
//!
//! Nobody hands out certificates. Each key of `peer.keys` is the seed of an authority, so whoever has the list has all
//! authorities of it: a process makes itself a certificate under the first at its start, in memory, and trusts those that
//! any of them has signed. To replace a key, the new one is first added at the end of the list, then put first, then the
//! old one is left out; all replicas are restarted after each step. No clock matters: a certificate is as good as its key.
//!
//! What it must never do: know what is said on a connection, or who is a member.

mod authority;
mod dial;
mod exchange;

use std::path::Path;
use std::sync::Arc;

use rustls::server::NoServerSessionStorage;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};
use security::{KeyError, KeyList};

use authority::{Authorities, Named};

pub use dial::{Dial, Io, Peering, Stream};
pub use exchange::exchange;
pub use rustls;
pub use tokio_rustls;

/// The name in a replica's certificate: who dials expects it, wherever the replica is.
pub const REPLICA: &str = "replica.majordomo";
/// The name in the certificate of whoever looks after replicas: they let it in, and it can't stand for one of them.
pub const OPERATOR: &str = "operator.majordomo";

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Keys(#[from] KeyError),
    #[error("make a certificate for peers: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("set up TLS between peers: {0}")]
    Tls(#[from] rustls::Error),
}

/// TLS of one process. Prints no key.
#[derive(Clone)]
pub struct PeerTls {
    keys: KeyList,
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl std::fmt::Debug for PeerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PeerTls(***)")
    }
}

impl PeerTls {
    /// By the keys of this file.
    pub fn read(path: &Path) -> Result<PeerTls, Error> {
        PeerTls::new(KeyList::read(path)?)
    }

    pub fn new(keys: KeyList) -> Result<PeerTls, Error> {
        let authorities = Authorities::of(&keys)?;
        let own = authorities.certify(REPLICA)?;
        let client = client(&authorities, own.clone())?;
        let verifier = Arc::new(Named::new(&authorities, [REPLICA, OPERATOR])?);
        let mut server = ServerConfig::builder_with_provider(authority::provider())
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(own.chain, own.key.into())?;
        // Each connection shows its certificate: who is not trusted any more is not let in by what it was given before.
        server.send_tls13_tickets = 0;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(PeerTls { keys, server: Arc::new(server), client })
    }

    /// The keys that it is made of.
    pub fn keys(&self) -> &KeyList {
        &self.keys
    }

    /// For the listener of a replica.
    pub fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }

    /// For a replica that dials another one; the name to expect is [`REPLICA`].
    pub fn client(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.client)
    }

    /// The same for whoever looks after replicas.
    pub fn operator_client(&self) -> Result<Arc<ClientConfig>, Error> {
        let authorities = Authorities::of(&self.keys)?;
        let own = authorities.certify(OPERATOR)?;
        client(&authorities, own)
    }
}

fn client(authorities: &Authorities, own: authority::Certified) -> Result<Arc<ClientConfig>, Error> {
    let mut client = ClientConfig::builder_with_provider(authority::provider())
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(Arc::clone(&authorities.roots))
        .with_client_auth_cert(own.chain, own.key.into())?;
    client.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(client))
}

#[cfg(test)]
mod tests;

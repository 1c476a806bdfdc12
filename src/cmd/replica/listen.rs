//! Addresses of our own: how they are written, how they are taken before anybody can connect, and where others find them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Result, anyhow, bail};
use socket2::SockRef;
use tokio::net::TcpSocket;

use super::ReplicaArgs;

/// Connections that wait to be accepted.
pub(crate) const BACKLOG: u32 = 1024;

/// Where to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listen {
    At(SocketAddr),
    /// `:PORT`: all addresses of this machine, those of IPv6 too where it has any.
    All(u16),
}

impl Listen {
    pub(crate) fn parse(text: &str) -> Result<Listen, String> {
        let address = crate::cmd::up::address(text)?;
        Ok(if text.starts_with(':') { Listen::All(address.port()) } else { Listen::At(address) })
    }

    /// Whether only this machine can reach it.
    fn local(self) -> bool {
        matches!(self, Listen::At(address) if address.ip().is_loopback())
    }
}

/// Takes the address, so that what is wrong with it is known at the start. Nobody can connect yet.
pub(crate) fn reserve(listen: Listen, option: &str) -> Result<TcpSocket> {
    let (taken, address) = match listen {
        Listen::At(address) => (take(address), address),
        Listen::All(port) => {
            let all = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
            match take(all) {
                // a machine without IPv6, or one on which it is switched off
                Err(error) if lacks_ipv6(&error) => {
                    let all = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
                    (take(all), all)
                }
                taken => (taken, all),
            }
        }
    };
    taken.map_err(|error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            anyhow!("{option}: {address} is in use by another program; stop that or choose another address")
        }
        io::ErrorKind::AddrNotAvailable => anyhow!("{option}: {address} is no address of this machine"),
        io::ErrorKind::PermissionDenied => {
            anyhow!("{option}: this user may not listen on {address}; choose a port above 1023")
        }
        _ => anyhow!(error).context(format!("{option}: listen on {address}")),
    })
}

fn lacks_ipv6(error: &io::Error) -> bool {
    let unsupported = error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error());
    unsupported || error.kind() == io::ErrorKind::AddrNotAvailable
}

fn take(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        // the default is for each machine to say
        SockRef::from(&socket).set_only_v6(false)?;
    }
    // connections of the one before may still be about to end
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Where the others are told to find this replica.
pub(super) fn peer_address(args: &ReplicaArgs, bound: SocketAddr) -> Result<String> {
    if let Some(given) = &args.peer_address {
        return host_and_port(given)
            .ok_or_else(|| anyhow!("--peer-address: {given} is not of the form HOST:PORT"));
    }
    if bound.ip().is_unspecified() {
        bail!(
            "--peer-listen: {bound} is all addresses of this machine, so the others can't know where it is: give one of \
             them, or say --peer-address HOST:PORT as well"
        );
    }
    let public = args.listen.is_some_and(|listen| !listen.local());
    if public && bound.ip().is_loopback() {
        tracing::warn!("replicas on other machines can't reach {bound}: see --peer-listen");
    }
    Ok(bound.to_string())
}

/// `HOST:PORT` as others dial it. An address of IPv6 may have been put before `:PORT` as it is: it gets its brackets.
fn host_and_port(given: &str) -> Option<String> {
    let (host, port) = given.rsplit_once(':')?;
    let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
    if host.parse::<Ipv6Addr>().is_ok() {
        return Some(format!("[{host}]:{port}"));
    }
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let good = match inner {
        Some(inner) => inner.parse::<Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty() && !host.contains([':', '[', ']', '/']) && !host.contains(char::is_whitespace)
        }
    };
    good.then(|| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Listen {
        Listen::parse(text).unwrap()
    }

    #[tokio::test]
    async fn an_address_is_reserved_before_anybody_can_connect() {
        let socket = reserve(at("127.0.0.1:0"), "--listen").unwrap();
        let address = socket.local_addr().unwrap();
        assert!(std::net::TcpStream::connect(address).is_err());
        let listener = socket.listen(1).unwrap();
        let _connected = std::net::TcpStream::connect(address).unwrap();
        let said = reserve(Listen::At(listener.local_addr().unwrap()), "--listen").unwrap_err().to_string();
        assert!(said.contains("is in use by another program"), "{said}");
        let said = reserve(at("192.0.2.1:80"), "--peer-listen").unwrap_err().to_string();
        assert_eq!(said, "--peer-listen: 192.0.2.1:80 is no address of this machine");
    }

    #[tokio::test]
    async fn a_port_alone_is_all_addresses_of_the_machine() {
        assert_eq!(at(":8080"), Listen::All(8080));
        assert_eq!(at("0.0.0.0:80"), Listen::At("0.0.0.0:80".parse().unwrap()));
        let listener = reserve(at(":0"), "--listen").unwrap().listen(8).unwrap();
        let address = listener.local_addr().unwrap();
        let _four = std::net::TcpStream::connect(("127.0.0.1", address.port())).unwrap();
        // a machine without IPv6 has no such address, and then nobody comes from there
        if std::net::TcpListener::bind("[::1]:0").is_ok() {
            assert!(address.is_ipv6());
            let _six = std::net::TcpStream::connect(("::1", address.port())).unwrap();
        }
    }

    #[test]
    fn an_address_for_peers_has_brackets_around_ipv6() {
        for (given, wanted) in [
            ("fd00::1:8081", Some("[fd00::1]:8081")),
            ("[fd00::1]:8081", Some("[fd00::1]:8081")),
            ("::1:8081", Some("[::1]:8081")),
            ("10.0.0.1:8081", Some("10.0.0.1:8081")),
            ("acme-0.acme-peers:8081", Some("acme-0.acme-peers:8081")),
            ("", None),
            (":8081", None),
            ("host", None),
            ("host:0", None),
            ("host:65536", None),
            ("[host]:1", None),
            ("[::1:1", None),
            ("a:b:1", None),
            ("ho st:1", None),
            ("http://h:1", None),
        ] {
            assert_eq!(host_and_port(given).as_deref(), wanted, "{given}");
        }
    }
}

//! Who a request comes from, and from where.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};
use ipnet::IpNet;
use security::{Accounts, Identity, Proof};

use crate::error::Error;
use crate::session;

/// Who asks. Prints no session.
#[derive(Clone)]
pub(crate) struct Caller {
    /// `None`: nobody has signed in.
    pub(crate) user: Option<Identity>,
    pub(crate) proof: Option<Proof>,
    /// The session that the browser has shown, whether it is one of a user or only carries a crumb.
    pub(crate) session: Option<String>,
}

/// By `Authorization`, else by the cookie. What is shown and wrong is refused, an unknown session is nobody's.
pub(crate) async fn caller(
    accounts: &Accounts,
    headers: &HeaderMap,
    from: Option<IpAddr>,
    cookie: &str,
) -> Result<Caller, Error> {
    let session = session::shown(headers, cookie);
    if headers.contains_key(header::AUTHORIZATION) {
        let (name, secret) = basic(headers)?;
        let (user, proof) = accounts.authenticate(&name, &secret, from).await?;
        return Ok(Caller { user: Some(user), proof: Some(proof), session });
    }
    let user = match &session {
        Some(session) => accounts.session(session).await?,
        None => None,
    };
    let proof = user.as_ref().map(|_| Proof::Session);
    Ok(Caller { user, proof, session })
}

/// Name and password or token of basic authentication.
fn basic(headers: &HeaderMap) -> Result<(String, String), Error> {
    let wanted = || Error::Unauthorized("sign in with a user name and a password".to_owned());
    let value = headers.get(header::AUTHORIZATION).ok_or_else(wanted)?.to_str().map_err(|_| wanted())?;
    let (scheme, encoded) = value.split_once(' ').ok_or_else(wanted)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(wanted());
    }
    let decoded = STANDARD.decode(encoded.trim()).map_err(|_| wanted())?;
    let text = String::from_utf8(decoded).map_err(|_| wanted())?;
    let (name, password) = text.split_once(':').ok_or_else(wanted)?;
    Ok((name.to_owned(), password.to_owned()))
}

/// The client's address: of the connection, or, while that is one of a reverse proxy, the one that the proxy has seen, which
/// it has written last into `X-Forwarded-For`.
pub(crate) fn address(headers: &HeaderMap, remote: Option<SocketAddr>, proxies: &Proxies) -> Option<IpAddr> {
    let mut client = remote?.ip().to_canonical();
    let values = headers.get_all("x-forwarded-for").iter().rev();
    let said = values.flat_map(|value| value.to_str().unwrap_or_default().rsplit(','));
    for said in said {
        let Some(said) = forwarded(said.trim()).filter(|_| proxies.trusts(client)) else { break };
        client = said.to_canonical();
    }
    Some(client)
}

/// An address, which some proxies write with the port, and those of version 6 in brackets then.
fn forwarded(said: &str) -> Option<IpAddr> {
    let bare = said.strip_prefix('[').and_then(|said| said.strip_suffix(']')).unwrap_or(said);
    bare.parse().ok().or_else(|| said.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// The networks whose members are reverse proxies of this controller: what they say of their clients is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxies(Vec<IpNet>);

impl Default for Proxies {
    /// Those of this machine.
    fn default() -> Proxies {
        let loopback = [IpAddr::from([127, 0, 0, 0]), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        let network = |(address, bits)| IpNet::new(address, bits).ok();
        Proxies(loopback.into_iter().zip([8, 128]).filter_map(network).collect())
    }
}

impl Proxies {
    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl FromStr for Proxies {
    type Err = String;

    /// Addresses and networks (`10.0.0.0/8`), with commas between them.
    fn from_str(text: &str) -> Result<Proxies, String> {
        let networks = text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(|part| {
            let address = part.parse::<IpAddr>().map(IpNet::from);
            let network = address.ok().or_else(|| part.parse().ok());
            network.ok_or_else(|| format!("“{part}” is no address and no network like 10.0.0.0/8"))
        });
        networks.collect::<Result<_, _>>().map(Proxies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(remote: &str, said: &[&str], proxies: &Proxies) -> String {
        let mut headers = HeaderMap::new();
        for value in said {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        address(&headers, Some(format!("{remote}:1").parse().unwrap()), proxies).unwrap().to_string()
    }

    #[test]
    fn a_proxy_that_is_named_says_for_whom_it_speaks_and_nobody_else_may() {
        let proxies = "10.1.0.0/16, 2001:db8::/64,10.9.9.9".parse().unwrap();
        for (remote, said, client) in [
            ("10.1.2.3", &["1.1.1.1, 2.2.2.2"][..], "2.2.2.2"),
            ("10.1.2.3", &["1.1.1.1", "2001:db8:1::1"], "2001:db8:1::1"),
            ("10.1.2.3", &["6.6.6.6, 1.1.1.1, 10.9.9.9,2001:db8::7"], "1.1.1.1"),
            ("[2001:db8::2]", &["198.51.100.1:77"], "198.51.100.1"),
            ("10.1.2.3", &["[2001:db8:1::1]:443"], "2001:db8:1::1"),
            ("10.1.2.3", &["[2001:db8:1::1]"], "2001:db8:1::1"),
            ("10.1.2.3", &["1.1.1.1, rubbish"], "10.1.2.3"),
            ("10.1.2.3", &["1.1.1.1, rubbish, 10.9.9.9"], "10.9.9.9"),
            ("[::ffff:10.1.0.1]", &["1.1.1.1"], "1.1.1.1"),
            ("10.2.0.1", &["1.1.1.1"], "10.2.0.1"),
            ("127.0.0.1", &["1.1.1.1"], "127.0.0.1"),
            ("10.1.2.3", &[], "10.1.2.3"),
        ] {
            assert_eq!(from(remote, said, &proxies), client, "{remote} {said:?}");
        }
        assert_eq!(address(&HeaderMap::new(), None, &proxies), None);
    }

    #[test]
    fn without_a_word_only_this_machine_is_a_proxy() {
        for (remote, client) in [("127.1.2.3", "1.1.1.1"), ("[::1]", "1.1.1.1"), ("10.0.0.1", "10.0.0.1")] {
            assert_eq!(from(remote, &["1.1.1.1"], &Proxies::default()), client);
        }
        assert_eq!(from("127.0.0.1", &["1.1.1.1"], &"".parse().unwrap()), "127.0.0.1");
        let refused = "10.0.0.0/8,ingress".parse::<Proxies>().unwrap_err();
        assert_eq!(refused, "“ingress” is no address and no network like 10.0.0.0/8");
    }
}

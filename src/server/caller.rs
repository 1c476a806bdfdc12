//! Who a request comes from, and from where.

use std::net::{IpAddr, SocketAddr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};
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
    remote: Option<SocketAddr>,
    cookie: &str,
) -> Result<Caller, Error> {
    let session = session::shown(headers, cookie);
    if headers.contains_key(header::AUTHORIZATION) {
        let (name, secret) = basic(headers)?;
        let (user, proof) = accounts.authenticate(&name, &secret, address(headers, remote)).await?;
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

/// The client's address. A neighbour is taken for a reverse proxy, which has written last whom it speaks for.
pub(crate) fn address(headers: &HeaderMap, remote: Option<SocketAddr>) -> Option<IpAddr> {
    let remote = remote?.ip().to_canonical();
    let neighbour = match remote {
        IpAddr::V4(address) => address.is_loopback() || address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
    };
    let last = headers.get_all("x-forwarded-for").iter().next_back().filter(|_| neighbour);
    let said = last.and_then(|value| value.to_str().ok()?.rsplit(',').next()?.trim().parse().ok());
    Some(said.unwrap_or(remote))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_nearby_says_for_whom_it_speaks_and_nobody_else_may() {
        let from = |remote: &str, said: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in said {
                headers.append("x-forwarded-for", value.parse().unwrap());
            }
            address(&headers, Some(format!("{remote}:1").parse().unwrap())).unwrap().to_string()
        };
        assert_eq!(from("10.1.2.3", &["1.1.1.1, 2.2.2.2"]), "2.2.2.2");
        assert_eq!(from("127.0.0.1", &["1.1.1.1", "2001:db8::1"]), "2001:db8::1");
        assert_eq!(from("[::1]", &["rubbish"]), "::1");
        assert_eq!(from("9.9.9.9", &["1.1.1.1"]), "9.9.9.9");
        assert_eq!(from("[::ffff:10.0.0.1]", &["1.1.1.1"]), "1.1.1.1");
        assert_eq!(from("10.1.2.3", &[]), "10.1.2.3");
        assert_eq!(address(&HeaderMap::new(), None), None);
    }
}

//! The cookie of a browser's session, crumbs, and whether a request comes from somebody else's page.
//!
//! The cookie carries a random name: that of a session of a user, which the store has, or, for who signs in with each
//! request, one that only carries a crumb. A crumb is derived from user and name, so every replica knows all of them.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, header};
use security::Proof;

use crate::error::Error;
use crate::ports::Secrets;
use crate::request::{Asked, Base};

/// Header or parameter that carries a crumb.
pub(crate) const CRUMB_FIELD: &str = "Jenkins-Crumb";
/// Hex digits of a session.
const LENGTH: usize = 32;

/// The cookie's name: `JSESSIONID.` and eight digits that all replicas of a controller agree on.
pub(crate) fn cookie_name(secrets: &dyn Secrets) -> String {
    format!("JSESSIONID.{}", digits(secrets, "cookie"))
}

/// Eight hex digits that are the controller's own.
pub(crate) fn digits(secrets: &dyn Secrets, purpose: &str) -> String {
    secrets.crumb("", purpose).chars().take(8).collect()
}

/// The session that the request shows.
pub(crate) fn shown(headers: &HeaderMap, cookie: &str) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
    let mut pairs = cookies.flat_map(|c| c.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let (_, session) = pairs.find(|(name, _)| *name == cookie)?;
    let good = session.len() == LENGTH && session.bytes().all(|b| b.is_ascii_hexdigit());
    good.then(|| session.to_owned())
}

/// A new session.
pub(crate) fn fresh() -> Result<String, Error> {
    let mut bytes = [0; LENGTH / 2];
    getrandom::fill(&mut bytes)
        .map_err(|_| Error::Internal("the system gives no random bytes".to_owned()))?;
    Ok(hex::encode(bytes))
}

/// `keep`: so long the browser keeps it when it is closed.
pub(crate) fn cookie(name: &str, session: &str, base: &Base, keep: Option<Duration>) -> Option<HeaderValue> {
    let secure = if base.secure() { "; Secure" } else { "" };
    let keep = keep.map(|keep| format!("; Max-Age={}", keep.as_secs())).unwrap_or_default();
    let text = format!("{name}={session}; Path={}; HttpOnly; SameSite=Lax{secure}{keep}", base.path());
    HeaderValue::from_str(&text).ok()
}

/// Refuses a change without the crumb of its session: another site's page may have made the browser ask for it. Who shows
/// an API token needs none, as a browser sends none by itself.
pub(crate) fn check(asked: &Asked, secrets: &dyn Secrets) -> Result<(), Error> {
    let looks = matches!(asked.method, Method::GET | Method::HEAD);
    if looks || asked.proof == Some(Proof::Token) {
        return Ok(());
    }
    let header = asked.headers.get(CRUMB_FIELD).and_then(|v| v.to_str().ok());
    let given = header.or_else(|| asked.param(CRUMB_FIELD));
    match (given, &asked.session) {
        (Some(crumb), Some(session)) if secrets.verify_crumb(asked.by(), session, crumb) => Ok(()),
        _ => Err(Error::Forbidden("No valid crumb was included in the request".to_owned())),
    }
}

/// Whether another site's page has made the browser ask.
pub(crate) fn foreign(headers: &HeaderMap, base: &Base) -> bool {
    let text = |name: &str| headers.get(name).map(|v| v.to_str().unwrap_or("?"));
    if let Some(site) = text("sec-fetch-site") {
        return site != "same-origin" && site != "none";
    }
    let Some(from) = text("origin").or_else(|| text("referer")) else { return false };
    let host = |url: &str| {
        let rest = url.split_once("://")?.1;
        Some(rest.split('/').next().unwrap_or_default().to_ascii_lowercase())
    };
    let from = host(from);
    from.is_none() || (from != host(base.origin()) && from.as_deref() != text("host"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_foreign(pairs: &[(&'static str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("ci:8080"));
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        foreign(&headers, &Base::of(Some("https://ci.example/"), &headers))
    }

    #[test]
    fn a_page_of_another_site_is_foreign() {
        assert!(!is_foreign(&[]));
        assert!(!is_foreign(&[("sec-fetch-site", "same-origin"), ("origin", "https://evil")]));
        assert!(is_foreign(&[("sec-fetch-site", "cross-site")]));
        assert!(is_foreign(&[("sec-fetch-site", "same-site")]));
        assert!(is_foreign(&[("origin", "https://evil")]));
        assert!(is_foreign(&[("origin", "null")]));
        assert!(is_foreign(&[("referer", "https://evil/ci.example")]));
        assert!(!is_foreign(&[("origin", "https://ci.example")]));
        assert!(!is_foreign(&[("origin", "http://ci:8080")]));
        assert!(!is_foreign(&[("referer", "https://ci.example/job/a/")]));
    }

    #[test]
    fn a_session_is_hexadecimal_and_of_one_length() {
        let mut headers = HeaderMap::new();
        let good = "0123456789abcdef0123456789abcdef";
        headers.insert("cookie", format!("a=b; JSESSIONID.1={good}").parse().unwrap());
        assert_eq!(shown(&headers, "JSESSIONID.1").as_deref(), Some(good));
        assert_eq!(shown(&headers, "JSESSIONID.2"), None);
        headers.insert("cookie", HeaderValue::from_static("JSESSIONID.1=x"));
        assert_eq!(shown(&headers, "JSESSIONID.1"), None);
    }
}

//! Signing in and out with a browser.

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use security::{Denied, Password, REMEMBER_ME};

use crate::caller::address;
use crate::error::Error;
use crate::pages;
use crate::pages::html::Frame;
use crate::patience::again;
use crate::ports::App;
use crate::reply::{self, Reply};
use crate::request::{Base, Params, Remote, read_body, segment};
use crate::session;

/// Largest form of a sign-in.
const MAX_FORM: usize = 16 * 1024;
/// Longest address to which a browser is sent back.
const MAX_FROM: usize = 2_000;
/// What may not stand in a header as it is.
const UNSAFE: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\');

/// The page with the form; for anybody: agents and probes ask for it, and want 200. `failed`: 401, and it says so.
pub(crate) fn page(base: &Base, query: Option<&str>, failed: bool) -> Reply {
    let query = Params::parse(query.unwrap_or_default().as_bytes())?;
    let from = local(query.get("from")).unwrap_or_default();
    let frame = Frame::new(base.path(), None, None);
    let mut response = reply::html(pages::sign_in(&frame, base.path(), from, failed));
    if failed {
        *response.status_mut() = StatusCode::UNAUTHORIZED;
    }
    Ok(response)
}

/// The address of the form for somebody who wanted that page.
pub(crate) fn form_for(base: &Base, wanted: &Uri) -> Reply {
    let inside = base.strip(wanted.path()).trim_start_matches('/');
    let query = wanted.query().map(|query| format!("?{query}")).unwrap_or_default();
    let wanted = format!("{}{inside}{query}", base.path());
    let from = local(Some(&wanted)).map(|from| format!("?from={}", segment(from)));
    reply::found(&format!("{}login{}", base.root(), from.unwrap_or_default()))
}

/// `j_spring_security_check`: a session and the way back, or the way to the page that says that it failed.
pub(crate) async fn sign_in(app: &App, base: &Base, cookie: &str, request: Request<Body>) -> Reply {
    let (head, mut body) = request.into_parts();
    let body = read_body(&head.headers, &mut body, MAX_FORM, &app.settings).await?;
    if session::foreign(&head.headers, base) {
        return Err(Error::Forbidden("another site may not sign anybody in here".to_owned()));
    }
    let query = Params::parse(head.uri.query().unwrap_or_default().as_bytes())?;
    let form = Params::parse(&body)?;
    let param = |name: &str| form.get(name).or_else(|| query.get(name));
    let from = local(param("from"));
    // never of the query: addresses come into the logs of proxies
    let user = form.get("j_username").unwrap_or_default();
    let password = Password::new(form.get("j_password").unwrap_or_default());
    let remember = param("remember_me").is_some_and(|text| matches!(text, "true" | "on" | "yes" | "1"));
    let remote = head.extensions.get::<Remote>().map(|r| r.0);
    let client = address(&head.headers, remote, &app.settings.proxies);
    let attempt = async || match app.accounts.sign_in(user, &password, client, remember).await {
        Err(Denied::Wrong) => Ok(None),
        other => Ok(Some(other?)),
    };
    let Some(session) = again(app.settings.patience, attempt).await? else {
        let from = from.map(|from| format!("?from={}", segment(from))).unwrap_or_default();
        return reply::found(&format!("{}loginError{from}", base.root()));
    };
    // on our own host, whatever `from` says
    let back = from.map_or_else(
        || base.root().to_owned(),
        |from| format!("{}{}", base.origin(), utf8_percent_encode(from, UNSAFE)),
    );
    // the session that was shown, if any, ends: it may be somebody else's on the same machine
    if let Some(old) = session::shown(&head.headers, cookie)
        && let Err(error) = app.accounts.sign_out(&old).await
    {
        tracing::debug!(%error, "end the session before this one");
    }
    let keep = remember.then_some(REMEMBER_ME);
    with_cookie(reply::found(&back)?, session::cookie(cookie, session.expose(), base, keep))
}

/// `logout`: the session ends, at every replica.
pub(crate) async fn sign_out(app: &App, base: &Base, cookie: &str, headers: &HeaderMap) -> Reply {
    if session::foreign(headers, base) {
        return Err(Error::Forbidden("another site may not sign anybody out here".to_owned()));
    }
    if let Some(session) = session::shown(headers, cookie) {
        let end = async || app.accounts.sign_out(&session).await.map_err(Error::from);
        again(app.settings.patience, end).await?;
    }
    let forget = session::cookie(cookie, "", base, Some(std::time::Duration::ZERO));
    with_cookie(reply::found(base.root())?, forget)
}

fn with_cookie(mut response: Response<Body>, cookie: Option<HeaderValue>) -> Reply {
    let cookie = cookie.ok_or_else(|| Error::Internal("the cookie fits no header".to_owned()))?;
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

/// A path of ours. Browsers take `//` and `/\` for other hosts, and drop tabs and line ends before they look.
fn local(from: Option<&str>) -> Option<&str> {
    let from = from?;
    let rest = from.strip_prefix('/')?;
    let good =
        !rest.starts_with(['/', '\\']) && from.len() <= MAX_FROM && !from.chars().any(char::is_control);
    good.then_some(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_to_another_site() {
        for good in ["/", "/job/a/?x=1", "/ci/job/é"] {
            assert_eq!(local(Some(good)), Some(good));
        }
        for bad in [
            "",
            "https://evil",
            "//evil",
            "/\\evil",
            "/\t/evil",
            "/a\r\nx: y",
            "evil",
            "javascript:x",
            "\\\\evil",
        ] {
            assert_eq!(local(Some(bad)), None, "{bad:?}");
        }
        assert_eq!(local(Some(&format!("/{}", "a".repeat(MAX_FROM)))), None);
        assert_eq!(local(None), None);
    }
}

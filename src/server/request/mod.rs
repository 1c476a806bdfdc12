//! A request as the handlers see it: who, what, with which parameters, under which address.

mod base;
mod form;
mod multipart;

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, header};
use http_body_util::BodyExt;
use security::{Identity, Proof};
use store::user_key;
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::Error;
use crate::ports::Settings;
pub(crate) use base::{Base, item_path, segment};
pub(crate) use form::Params;

/// Largest `config.xml`.
pub(crate) const MAX_XML: usize = 4 * 1024 * 1024;
/// Largest form.
pub(crate) const MAX_FORM: usize = 1024 * 1024;

/// Address of the client, put into the request by `serve`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Remote(pub(crate) SocketAddr);

/// A request whose body was read. It holds secrets, so it can't be printed.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) base: Base,
    pub(crate) query: Params,
    /// Fields of the body when it is a form.
    pub(crate) form: Params,
    pub(crate) body: Bytes,
    /// `None`: nobody has signed in.
    pub(crate) user: Option<Identity>,
    pub(crate) proof: Option<Proof>,
    pub(crate) remote: Option<SocketAddr>,
    /// The session that the client has shown, or was given with this request.
    pub(crate) session: Option<String>,
    /// The client is to be told of the session.
    pub(crate) fresh: bool,
}

impl Asked {
    /// A parameter of the query, else of the form.
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.query.get(name).or_else(|| self.form.get(name))
    }

    /// Id of the user; for messages.
    pub(crate) fn by(&self) -> &str {
        self.user.as_ref().map_or("anonymous", |u| &u.id)
    }

    /// Whether the user is the one of that id.
    pub(crate) fn is(&self, id: &str) -> bool {
        self.user.as_ref().is_some_and(|user| user_key(&user.id) == user_key(id))
    }

    pub(crate) fn administers(&self) -> bool {
        self.user.as_ref().is_some_and(|user| user.admin)
    }

    /// A form of a page was sent. Over plain HTTP browsers say that to this machine only; from elsewhere they are known by
    /// the page's origin and by what they want to see, which together no REST client sends.
    pub(crate) fn navigates(&self) -> bool {
        match self.headers.get("sec-fetch-mode") {
            Some(mode) => mode == "navigate",
            None => self.headers.contains_key(header::ORIGIN) && wants_page(&self.headers),
        }
    }

    pub(crate) fn post(&self) -> bool {
        self.method == Method::POST
    }

    /// The body as XML text: UTF-8, not empty.
    pub(crate) fn xml(&self) -> Result<&str, Error> {
        let text = std::str::from_utf8(&self.body).map_err(|_| Error::bad("the XML is not UTF-8"))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.trim().is_empty() {
            return Err(Error::bad("the request has no XML"));
        }
        Ok(text)
    }

    /// Fills `form` from the body, if that is one.
    pub(crate) fn read_form(&mut self) -> Result<(), Error> {
        let kind = self.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let essence = kind.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            self.form = Params::parse(&self.body)?;
        } else if essence.eq_ignore_ascii_case("multipart/form-data") {
            self.form = multipart::parse(kind, &self.body)?;
        }
        Ok(())
    }
}

/// Whether a page is wanted before all else: a person looks.
pub(crate) fn wants_page(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accept.starts_with("text/html")
}

/// Most of a refused body that is read away, and the time for it.
const MAX_UNREAD: usize = 16 * 1024 * 1024;
const UNREAD: Duration = Duration::from_secs(2);

/// Reads away what is left of a refused request's body: a client that still sends would see its connection reset and not
/// the answer. One that waits for `100 Continue` sends nothing.
pub(crate) async fn discard(expects: bool, body: &mut Body) {
    if expects || body.is_end_stream() {
        return;
    }
    let away = async {
        let mut left = MAX_UNREAD;
        while let Some(Ok(frame)) = body.frame().await {
            let size = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(size) {
                Some(rest) => left = rest,
                None => break,
            }
        }
    };
    let _gave_up = timeout(UNREAD, away).await;
}

/// Reads a body that is not larger than `limit` from a client that may be slow.
pub(crate) async fn read_body(
    headers: &HeaderMap,
    body: &mut Body,
    limit: usize,
    settings: &Settings,
) -> Result<Bytes, Error> {
    let too_large = || Error::TooLarge { what: "a body", limit };
    let said = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if said.is_some_and(|n| n > limit as u64) {
        return Err(too_large());
    }
    let deadline = Instant::now() + settings.body_timeout;
    let mut whole = BytesMut::new();
    loop {
        let frame = timeout_at(deadline, timeout(settings.body_pause, body.frame())).await;
        let Ok(Ok(frame)) = frame else { return Err(Error::Slow) };
        let Some(frame) = frame else { return Ok(whole.freeze()) };
        let frame = frame.map_err(|_| Error::bad("the body ends before its end"))?;
        if let Ok(data) = frame.into_data() {
            if whole.len() + data.len() > limit {
                return Err(too_large());
            }
            whole.extend_from_slice(&data);
        }
    }
}

//! Small answers.

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};

use crate::error::Error;

pub(crate) type Reply = Result<Response<Body>, Error>;

pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

pub(crate) fn typed(body: impl Into<Body>, kind: &'static str) -> Response<Body> {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

pub(crate) fn html(text: String) -> Response<Body> {
    typed(text, "text/html;charset=utf-8")
}

pub(crate) fn text(text: impl Into<Body>) -> Response<Body> {
    typed(text, "text/plain;charset=utf-8")
}

pub(crate) fn xml(text: String) -> Response<Body> {
    typed(text, "application/xml;charset=utf-8")
}

pub(crate) fn json(text: String) -> Response<Body> {
    typed(text, "application/json;charset=utf-8")
}

/// With `Location`; the addresses are ours, so they fit a header.
pub(crate) fn to(status: StatusCode, location: &str) -> Reply {
    let location =
        HeaderValue::from_str(location).map_err(|_| Error::Internal(format!("bad address {location}")))?;
    let mut response = empty(status);
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

/// What Jenkins answers when a form was sent.
pub(crate) fn found(location: &str) -> Reply {
    to(StatusCode::FOUND, location)
}

//! What a request can answer instead of what was asked, and the one place where that becomes a status.

use std::time::Duration;

use axum::body::Body;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use security::{Denied, UserError};

use crate::pages::html;

/// Why a request is refused. The sentences are for users.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    BadRequest(String),
    #[error("{0}")]
    Unauthorized(String),
    #[error("{0}")]
    Forbidden(String),
    #[error("{0}")]
    NotFound(String),
    /// With the methods that are allowed.
    #[error("this address takes {0} only")]
    Method(&'static str),
    #[error("the client took too long to send its request")]
    Slow,
    #[error("{0}")]
    Conflict(String),
    #[error("{what} of more than {limit} bytes is not taken")]
    TooLarge { what: &'static str, limit: usize },
    #[error("too many failed attempts; try again in {} s", .0.as_secs().max(1))]
    SlowDown(Duration),
    #[error("{0}")]
    NotServed(String),
    /// The store is away: nothing was changed, the same may work a moment later.
    #[error("{0}")]
    Away(String),
    /// It may work later, but is not tried again here.
    #[error("{0}")]
    Later(String),
    #[error("something went wrong here")]
    Internal(String),
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Error {
        Error::from(engine::Error::from(error))
    }
}

impl From<engine::Error> for Error {
    fn from(error: engine::Error) -> Error {
        let text = error.to_string();
        match error {
            engine::Error::Name(_) | engine::Error::Config(_) | engine::Error::Exists(_) => {
                Error::BadRequest(text)
            }
            engine::Error::NotFound(_) => Error::NotFound(text),
            engine::Error::Conflict(_) => Error::Conflict(text),
            engine::Error::Limit(_) | engine::Error::Store(store::Error::Unknown(_)) => Error::Later(text),
            engine::Error::Store(store::Error::Unavailable(_)) => Error::Away(text),
            engine::Error::Store(_) => Error::Internal(text),
        }
    }
}

impl From<Denied> for Error {
    fn from(denied: Denied) -> Error {
        match denied {
            Denied::Wrong => Error::Unauthorized(denied.to_string()),
            Denied::Busy(wait) => Error::SlowDown(wait),
            Denied::Store(error) => Error::from(error),
        }
    }
}

impl From<UserError> for Error {
    fn from(error: UserError) -> Error {
        let text = error.to_string();
        match error {
            UserError::Invalid(_) => Error::BadRequest(text),
            UserError::NoUser(_) | UserError::NoToken => Error::NotFound(text),
            UserError::Conflict(_) => Error::Conflict(text),
            UserError::Store(error) => Error::from(error),
        }
    }
}

impl From<model::NameError> for Error {
    fn from(error: model::NameError) -> Error {
        Error::BadRequest(error.to_string())
    }
}

impl Error {
    pub(crate) fn bad(why: impl Into<String>) -> Error {
        Error::BadRequest(why.into())
    }

    pub(crate) fn missing(what: impl Into<String>) -> Error {
        Error::NotFound(what.into())
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Error::BadRequest(_) => StatusCode::BAD_REQUEST,
            Error::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Error::Forbidden(_) => StatusCode::FORBIDDEN,
            Error::NotFound(_) => StatusCode::NOT_FOUND,
            Error::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Error::Slow => StatusCode::REQUEST_TIMEOUT,
            Error::Conflict(_) => StatusCode::CONFLICT,
            Error::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Error::SlowDown(_) => StatusCode::TOO_MANY_REQUESTS,
            Error::NotServed(_) => StatusCode::NOT_IMPLEMENTED,
            Error::Away(_) | Error::Later(_) => StatusCode::SERVICE_UNAVAILABLE,
            Error::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The answer. `request` is the id under which the log has what users are not told.
    pub(crate) fn response(&self, request: &str) -> Response<Body> {
        let status = self.status();
        if let Error::Internal(why) = self {
            tracing::error!(request.id = request, "answer 500: {why}");
        }
        let sentence = match self {
            Error::Internal(_) => format!("{self}; the log has it under request {request}"),
            other => other.to_string(),
        };
        let mut response = Response::new(Body::from(html::error_page(status, &sentence)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html;charset=utf-8"));
        if matches!(self, Error::BadRequest(_) | Error::Conflict(_) | Error::Later(_)) {
            headers.insert(HeaderName::from_static("x-error"), header_text(&sentence));
        }
        match self {
            Error::Unauthorized(_) => {
                let basic = HeaderValue::from_static("Basic realm=\"Jenkins\"");
                headers.insert(header::WWW_AUTHENTICATE, basic);
            }
            Error::Method(allowed) => {
                headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
            }
            Error::SlowDown(wait) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
            }
            Error::Away(_) | Error::Later(_) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(2));
            }
            Error::Slow | Error::TooLarge { .. } => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Error::Forbidden(_)
            | Error::NotFound(_)
            | Error::BadRequest(_)
            | Error::Conflict(_)
            | Error::NotServed(_)
            | Error::Internal(_) => {}
        }
        response
    }
}

/// A sentence as a header can carry it: clients read headers as Latin-1, so typographic quotes become plain ones.
fn header_text(sentence: &str) -> HeaderValue {
    let plain: String = sentence
        .chars()
        .take(500)
        .map(|c| match c {
            '‘' | '’' => '\'',
            '“' | '”' => '"',
            ' '..='~' => c,
            _ => '?',
        })
        .collect();
    HeaderValue::from_str(&plain).unwrap_or(HeaderValue::from_static("bad request"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_name_is_told_in_a_header_that_every_client_can_read() {
        let error = Error::from(engine::Error::Exists("A job already exists with the name ‘é’".into()));
        let response = error.response("1");
        assert_eq!(response.status(), 400);
        assert_eq!(response.headers()["x-error"], "A job already exists with the name '?'");
    }

    #[test]
    fn what_is_missing_never_carries_an_error_header() {
        let response = Error::missing("no crumb").response("1");
        assert_eq!(response.status(), 404);
        assert!(response.headers().get("x-error").is_none());
    }

    #[test]
    fn a_store_that_is_away_asks_to_come_again() {
        let response = Error::from(store::Error::Unavailable("gone".into())).response("1");
        assert_eq!(response.status(), 503);
        assert!(response.headers().contains_key("retry-after"));
    }
}

//! Who may see metrics: who shows the token of the metrics, other replicas, and administrators. Or everybody, if so configured.

use http::HeaderMap;
use security::Token;

use crate::error::Error;
use crate::open::bearer;
use crate::path::Route;
use crate::ports::App;

/// What is configured about it.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Everybody may.
    pub open: bool,
    /// Who shows it may; `None`: nobody has one.
    pub token: Option<Token>,
}

/// What a request shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Enough: no user is asked for.
    Enough,
    /// Nothing of that kind: only an administrator may.
    Nothing,
}

/// What is said to who shows nothing.
const SENTENCE: &str = "the metrics are for administrators, and for who shows their token (HOME/metrics-token) as \
                        Authorization: Bearer";

/// Whether this is enough to see metrics. A token that is wrong is refused.
pub(crate) fn shown(app: &App, route: &Route, headers: &HeaderMap) -> Result<Shown, Error> {
    let access = &app.settings.metrics;
    let ours = |given: &str| access.token.as_ref().is_some_and(|token| token.is(given));
    if access.open {
        return Ok(Shown::Enough);
    }
    match route {
        Route::MetricsOf(key, _) if ours(key) => return Ok(Shown::Enough),
        // as the plugin has it: whoever is signed in
        Route::MetricsOf(key, _) if key == "currentUser" => return Ok(Shown::Nothing),
        Route::MetricsOf(..) => {
            return Err(Error::Forbidden("this key is not the token of the metrics".to_owned()));
        }
        _ => {}
    }
    match bearer(headers) {
        Some(token) if ours(token) || app.secrets.verify_peer_token(token) => Ok(Shown::Enough),
        Some(_) => Err(Error::Forbidden("this token is not the token of the metrics".to_owned())),
        None => Ok(Shown::Nothing),
    }
}

/// The refusal of who has not signed in either, in the words of this address.
pub(crate) fn unless_shown(error: Error) -> Error {
    match error {
        Error::Unauthorized(_) => Error::Unauthorized(SENTENCE.to_owned()),
        other => other,
    }
}

//! *Trigger builds remotely*: whoever shows the token of a job may have it built, without a user, by GET too. As Jenkins'
//! `BuildAuthorizationToken` has it, a wrong one is refused whoever shows it.

use std::net::IpAddr;

use config::ItemConfig;
use http::request::Parts;
use model::{Cause, JobName};
use security::{Accounts, Denied};
use sha2::{Digest, Sha256};
use store::Store;

use crate::caller::{Proxies, address};
use crate::error::Error;
use crate::path::{Action, Route};
use crate::request::{Asked, Params};

/// Longest `cause=` that is kept, in characters.
const MAX_NOTE: usize = 200;

/// What a token that was shown is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// None was, or the job wants none.
    Nothing,
    Right,
    Wrong,
}

pub(crate) fn shown(wanted: Option<&str>, given: Option<&str>) -> Shown {
    match (wanted.filter(|wanted| !wanted.is_empty()), given) {
        (None, _) | (_, None) => Shown::Nothing,
        // of sums: how long it takes says nothing of the token
        (Some(wanted), Some(given)) if Sha256::digest(wanted) == Sha256::digest(given) => Shown::Right,
        (Some(_), Some(_)) => Shown::Wrong,
    }
}

pub(crate) fn invalid() -> Error {
    Error::Forbidden("Invalid token provided.".to_owned())
}

/// Whether the query of a request for a build shows the job's token. `anonymous`: who shows any other one is refused, so that
/// nobody learns which jobs there are. `from`: where wrong ones are counted.
pub(crate) async fn admits(
    (store, accounts): (&dyn Store, &Accounts),
    head: &Parts,
    route: &Route,
    anonymous: bool,
    from: Option<IpAddr>,
) -> Result<bool, Error> {
    let Route::Do(Action::Build(name) | Action::BuildWithParameters(name)) = route else { return Ok(false) };
    let query = Params::parse(head.uri.query().unwrap_or_default().as_bytes())?;
    let Some(given) = query.get("token") else { return Ok(false) };
    let shown = shown(token(store, name).await?.as_deref(), Some(given));
    if shown == Shown::Nothing && !anonymous {
        return Ok(false);
    }
    match accounts.job_token(name.as_str(), shown == Shown::Right, from) {
        Ok(()) => Ok(true),
        Err(Denied::Wrong) => Err(invalid()),
        Err(denied) => Err(denied.into()),
    }
}

async fn token(store: &dyn Store, name: &JobName) -> Result<Option<String>, Error> {
    let Some(item) = store.item(name).await? else { return Ok(None) };
    match ItemConfig::parse(&item.config) {
        Ok(ItemConfig::Job(job)) => Ok(job.auth_token),
        Ok(ItemConfig::Folder { .. }) | Err(_) => Ok(None),
    }
}

/// Who has a build started. A token that is shown names nobody, though somebody may have signed in; `proxies` are believed
/// which address that is.
pub(crate) fn cause(asked: &Asked, token: Option<&str>, proxies: &Proxies) -> Result<Cause, Error> {
    let client = || address(&asked.headers, asked.remote, proxies);
    let remote = || Cause::Remote {
        address: client().map(|client| client.to_string()).unwrap_or_default(),
        note: asked.param("cause").map(note).filter(|note| !note.is_empty()),
    };
    match (shown(token, asked.param("token")), &asked.user) {
        (Shown::Wrong, _) => Err(invalid()),
        (Shown::Right, _) | (Shown::Nothing, None) => Ok(remote()),
        (Shown::Nothing, Some(user)) => Ok(Cause::User { id: user.id.clone(), name: user.full_name.clone() }),
    }
}

/// In one line.
fn note(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(MAX_NOTE).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_of_the_job_is_right() {
        assert_eq!(shown(Some("tok"), Some("tok")), Shown::Right);
        assert_eq!(shown(Some("tok"), Some("Tok")), Shown::Wrong);
        assert_eq!(shown(Some("tok"), Some("")), Shown::Wrong);
        assert_eq!(shown(Some("tok"), None), Shown::Nothing);
        assert_eq!(shown(Some(""), Some("")), Shown::Nothing);
        assert_eq!(shown(None, Some("tok")), Shown::Nothing);
    }

    #[test]
    fn a_note_is_one_line_and_short() {
        assert_eq!(note(" by\nhook "), "by hook");
        assert_eq!(note(&"x".repeat(300)).len(), MAX_NOTE);
    }
}

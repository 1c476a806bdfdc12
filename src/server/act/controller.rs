//! The controller as a whole: restarts, quiet periods.

use http::StatusCode;
use model::RestartWhen;

use crate::error::Error;
use crate::look::Look;
use crate::reply::{self, Reply};
use crate::request::Asked;

/// What `quietDown` gives for a reason when none is said.
const QUIET: &str = "Jenkins is going to shut down";

/// `restart`, `safeRestart`: all replicas, one after the other. `safeRestart` waits until no step of a build is at work.
pub(crate) async fn restart(look: &Look<'_>, asked: &Asked, when: RestartWhen) -> Reply {
    look.app.commands.restart(when, asked.by()).await?;
    reply::to(StatusCode::FOUND, look.base.root())
}

/// `quietDown`, `cancelQuietDown`.
pub(crate) async fn quiet(look: &Look<'_>, asked: &Asked, quiet: bool) -> Reply {
    let reason = asked.param("reason").or(asked.param("message")).filter(|reason| !reason.trim().is_empty());
    if reason.is_some_and(|reason| reason.len() > store::MAX_REASON) {
        return Err(Error::bad(format!("the reason is longer than {} bytes", store::MAX_REASON)));
    }
    let reason = quiet.then(|| reason.unwrap_or(QUIET).to_owned());
    look.app.commands.set_quiet(reason).await?;
    reply::to(StatusCode::FOUND, look.base.root())
}

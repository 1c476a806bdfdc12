//! The controller as a whole: restarts, quiet periods.

use http::StatusCode;
use model::{ReplicaState, RestartWhen};

use crate::error::Error;
use crate::look::Look;
use crate::reply::{self, Reply};
use crate::request::Asked;

/// What `quietDown` gives for a reason when none is said.
const QUIET: &str = "Jenkins is going to shut down";

/// `restart`, `safeRestart`: all replicas, one after the other. `safeRestart` waits until no step of a build is at work.
pub(crate) async fn restart(look: &Look<'_>, asked: &Asked, when: RestartWhen) -> Reply {
    look.app.commands.restart(when, asked.by(), false).await?;
    reply::to(StatusCode::FOUND, look.base.root())
}

/// `replicas/reload`: the same at once, with the program that is installed.
pub(crate) async fn reload(look: &Look<'_>, asked: &Asked) -> Reply {
    look.app.commands.restart(RestartWhen::Immediately, asked.by(), true).await?;
    reply::to(StatusCode::FOUND, look.base.root())
}

/// `replicas/cancelRestart`: a restart that waits until no step of a build is at work is not carried out.
pub(crate) async fn cancel_restart(look: &Look<'_>) -> Reply {
    let withdrawn = look.app.commands.withdraw_restart().await?;
    withdrawn.ok_or_else(|| Error::Conflict("no restart waits; one that has begun goes on".to_owned()))?;
    reply::to(StatusCode::FOUND, look.base.root())
}

/// `replicas/NAME/drain`: that one hands over all it has, and takes no more until it is restarted. The last that serves does so
/// with `force=true` only.
pub(crate) async fn drain(look: &Look<'_>, asked: &Asked, name: &str) -> Reply {
    let members = look.members().await?;
    let Some(member) = members.iter().find(|m| m.id.name.as_str() == name) else {
        let names = members.iter().map(|m| m.id.name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(Error::bad(format!("there is no replica {name}; there are {names}")));
    };
    if !member.live() {
        return Err(Error::bad(format!("{name} does not run")));
    }
    let force = asked.param("force").is_some_and(|force| force == "true");
    let serves = |m: &store::Member| m.state == ReplicaState::Ready && m.id.name.as_str() != name;
    if !force && !members.iter().any(serves) {
        return Err(Error::Conflict(format!(
            "no other replica is ready: nobody would serve; force=true drains {name} all the same"
        )));
    }
    match look.app.replica.drain_other(&member.id, &member.address).await {
        Ok(()) => reply::to(StatusCode::FOUND, look.base.root()),
        Err(why) => Err(Error::Later(format!("{name} at {}: {why}", member.address))),
    }
}

/// `quietDown`, `cancelQuietDown`. The latter withdraws a restart that waits, too.
pub(crate) async fn quiet(look: &Look<'_>, asked: &Asked, quiet: bool) -> Reply {
    let reason = asked.param("reason").or(asked.param("message")).filter(|reason| !reason.trim().is_empty());
    if reason.is_some_and(|reason| reason.len() > store::MAX_REASON) {
        return Err(Error::bad(format!("the reason is longer than {} bytes", store::MAX_REASON)));
    }
    let reason = quiet.then(|| reason.unwrap_or(QUIET).to_owned());
    look.app.commands.set_quiet(reason).await?;
    if !quiet {
        look.app.commands.withdraw_restart().await?;
    }
    reply::to(StatusCode::FOUND, look.base.root())
}

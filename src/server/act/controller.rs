//! The controller as a whole: restarts, quiet periods.

use std::time::Duration;

use http::StatusCode;
use model::{ReplicaState, RestartWhen};
use tokio::time::{Instant, sleep};

use crate::error::Error;
use crate::look::Look;
use crate::reply::{self, Reply};
use crate::request::Asked;

/// How long a request waits until no build runs: proxies give up later.
const LONGEST: Duration = Duration::from_secs(45);
/// Between two looks whether any runs.
const LOOK: Duration = Duration::from_millis(500);

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

/// `quietDown`: no build begins. With `block=true` the answer comes when none runs any more, or after `timeout` milliseconds.
pub(crate) async fn quiet_down(look: &Look<'_>, asked: &Asked) -> Reply {
    let reason = [asked.param("reason"), asked.param("message")].into_iter().flatten();
    let reason = reason.map(str::trim).find(|reason| !reason.is_empty());
    let reason = reason.map_or_else(|| format!("{} has asked for it", asked.by()), str::to_owned);
    if reason.len() > store::MAX_REASON {
        return Err(Error::bad(format!("the reason is longer than {} bytes", store::MAX_REASON)));
    }
    let most = asked.param("timeout").filter(|millis| !millis.is_empty()).map(str::parse::<u64>).transpose();
    let most = most.map_err(|_| Error::bad("timeout is a number of milliseconds"))?;
    let most = most.filter(|millis| *millis > 0).map(Duration::from_millis);
    look.app.commands.set_quiet(Some(reason)).await?;
    if asked.param("block").is_some_and(|block| block == "true") {
        calm(look, most).await?;
    }
    reply::to(StatusCode::FOUND, look.base.root())
}

/// `cancelQuietDown`: builds begin again, and a restart that waits is withdrawn.
pub(crate) async fn cancel_quiet_down(look: &Look<'_>) -> Reply {
    look.app.commands.set_quiet(None).await?;
    look.app.commands.withdraw_restart().await?;
    reply::to(StatusCode::FOUND, look.base.root())
}

/// Waits until no build runs.
async fn calm(look: &Look<'_>, most: Option<Duration>) -> Result<(), Error> {
    let began = Instant::now();
    let (mut quiet, mut builds) = (true, 1);
    loop {
        // While the store is away nothing is new: the quiet period is not to begin again for that.
        match (look.store().meta().await, look.store().running(None).await) {
            (Ok(meta), Ok(running)) => (quiet, builds) = (meta.quiet.is_some(), running.len()),
            (Err(error), _) | (_, Err(error)) if error.passing() => {}
            (Err(error), _) | (_, Err(error)) => return Err(error.into()),
        }
        let seen = Calm {
            quiet,
            builds,
            goes: matches!(look.app.replica.state(), ReplicaState::Draining | ReplicaState::Stopped),
            waited: began.elapsed(),
        };
        match seen.wait(most)? {
            Some(pause) => sleep(pause).await,
            None => return Ok(()),
        }
    }
}

/// What is seen while a request waits until no build runs.
#[derive(Debug, Clone, Copy)]
struct Calm {
    quiet: bool,
    builds: usize,
    /// This replica is about to end.
    goes: bool,
    waited: Duration,
}

impl Calm {
    /// How long to wait until the next look; `None`: it is over. As in Jenkins, it is also when somebody ends the quiet period,
    /// or when the time is over that the client gives.
    fn wait(self, most: Option<Duration>) -> Result<Option<Duration>, Error> {
        let left = most.unwrap_or(Duration::MAX).saturating_sub(self.waited);
        if !self.quiet || self.builds == 0 || left.is_zero() {
            return Ok(None);
        }
        if self.goes || self.waited >= LONGEST {
            let builds = if self.builds == 1 { "one build still runs" } else { "builds still run" };
            return Err(Error::Later(format!("no build begins, and {builds}; ask again to wait on")));
        }
        Ok(Some(LOOK.min(left)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_for_the_last_build_waits_no_longer_than_he_must() {
        let seen = Calm { quiet: true, builds: 2, goes: false, waited: Duration::from_secs(7) };
        let (short, over) = (Duration::from_millis(7_200), Duration::from_secs(7));
        for (name, seen, most, wanted) in [
            ("builds run", seen, None, Some(LOOK)),
            ("the client gives more time", seen, Some(LONGEST), Some(LOOK)),
            ("the client gives little more time", seen, Some(short), Some(short - over)),
            ("the client's time is over", seen, Some(over), None),
            ("none runs", Calm { builds: 0, ..seen }, None, None),
            ("the quiet period was ended", Calm { quiet: false, ..seen }, None, None),
            (
                "none runs, at the very end",
                Calm { builds: 0, goes: true, waited: LONGEST, ..seen },
                None,
                None,
            ),
        ] {
            assert_eq!(seen.wait(most), Ok(wanted), "{name}");
        }
        for seen in [Calm { goes: true, ..seen }, Calm { waited: LONGEST, ..seen }] {
            let refused = seen.wait(None).unwrap_err();
            assert_eq!(refused.status(), 503, "{seen:?}");
            assert_eq!(refused.to_string(), "no build begins, and builds still run; ask again to wait on");
        }
    }
}

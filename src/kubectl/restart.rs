//! `restart`: all replicas, one after the other, by the annotation that the operator heeds.

use jiff::{Timestamp, ToSpan};
use operator::names::RESTARTED_AT;
use serde_json::json;

use crate::cluster::Cluster;
use crate::controller::Controller;
use crate::error::Error;
use crate::follow::{End, Goal, Mark, look};
use crate::times::stamp;
use crate::wait::{Waiting, until};
use crate::{Say, Verdict};

pub async fn restart(
    cluster: &Cluster,
    name: &str,
    waiting: Option<Waiting>,
    say: Say<'_>,
) -> Result<Verdict, Error> {
    let controller = cluster.controller(name).await?;
    refuse(&controller)?;
    let at = moment(&controller, Timestamp::now());
    let patch = json!({ "metadata": { "annotations": { RESTARTED_AT: at } } });
    cluster.patch_controller(name, &patch).await?;
    say(&format!("{name}: a restart is asked for, {RESTARTED_AT}={at}"));
    let goal = Goal::After(Mark::of(controller.status.rollout.as_ref()));
    follow(cluster, name, goal, waiting, say).await
}

/// What there is nothing to restart of.
fn refuse(controller: &Controller) -> Result<(), Error> {
    let name = controller.name();
    if controller.metadata.deletion_timestamp.is_some() {
        return Err(Error::Refused(format!("{name} is being removed")));
    }
    if controller.wanted() == 0 {
        return Err(Error::Refused(format!("{name} is stopped (replicas: 0): there is nothing to restart")));
    }
    Ok(())
}

/// Another moment than the one that stands there: the same one again would restart nothing.
fn moment(controller: &Controller, now: Timestamp) -> String {
    let at = stamp(now);
    match controller.annotation(RESTARTED_AT) == Some(&at) {
        true => stamp(now.saturating_add(1.second()).unwrap_or(now)),
        false => at,
    }
}

/// Waits for a rollout and tells of it; without waiting, what was asked for is all.
pub(crate) async fn follow(
    cluster: &Cluster,
    name: &str,
    goal: Goal,
    waiting: Option<Waiting>,
    say: Say<'_>,
) -> Result<Verdict, Error> {
    let Some(waiting) = waiting else { return Ok(Verdict::Good) };
    let end =
        until(cluster, waiting, say, async || Ok(look(&cluster.controller(name).await?, &goal))).await?;
    Ok(match end {
        Some(End::Settled(text)) => {
            say(&format!("{name}: {text}"));
            Verdict::Good
        }
        Some(End::Paused(text)) => {
            say(&format!("{name}: {text}"));
            Verdict::Good
        }
        Some(End::Halted(text)) => {
            say(&format!("{name}: {text}"));
            Verdict::Bad
        }
        None => {
            say(&format!(
                "{name}: it did not end in {} s, and goes on without us",
                waiting.timeout.as_secs()
            ));
            Verdict::Bad
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn controller(annotation: &str, replicas: u32) -> Controller {
        let metadata = json!({ "name": "acme", "annotations": { RESTARTED_AT: annotation } });
        let object = json!({ "metadata": metadata, "spec": { "replicas": replicas } });
        Controller::read(serde_json::from_value(object).unwrap()).unwrap()
    }

    #[test]
    fn two_restarts_in_one_second_are_two() {
        let now = "2026-11-26T20:00:00.5Z".parse().unwrap();
        assert_eq!(moment(&controller("", 3), now), "2026-11-26T20:00:00Z");
        assert_eq!(moment(&controller("2026-11-26T20:00:00Z", 3), now), "2026-11-26T20:00:01Z");
    }

    #[test]
    fn what_is_stopped_is_not_restarted() {
        assert!(refuse(&controller("", 1)).is_ok());
        let error = refuse(&controller("", 0)).unwrap_err();
        assert_eq!(error.to_string(), "acme is stopped (replicas: 0): there is nothing to restart");
    }
}

//! `rollout pause | resume | undo | status | history`.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::api::ListParams;
use operator::names::Component;
use operator::record::Record;
use resource::{RolloutPhase, RolloutStatus};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::error::Error;
use crate::follow::{Goal, Mark};
use crate::overview::selector;
use crate::paint::{Cell, Paint, Tone, table};
use crate::restart::follow;
use crate::status::{history_table, standing};
use crate::undo::plan;
use crate::wait::Waiting;
use crate::{Say, Verdict};

/// Writes that lose against others before they are given up.
const TRIES: usize = 5;

pub async fn pause(cluster: &Cluster, name: &str, say: Say<'_>) -> Result<Verdict, Error> {
    set_paused(cluster, name, true, say).await
}

pub async fn resume(cluster: &Cluster, name: &str, say: Say<'_>) -> Result<Verdict, Error> {
    set_paused(cluster, name, false, say).await
}

async fn set_paused(cluster: &Cluster, name: &str, paused: bool, say: Say<'_>) -> Result<Verdict, Error> {
    let controller = cluster.controller(name).await?;
    let rolling = controller
        .status
        .rollout
        .as_ref()
        .is_some_and(|rollout| matches!(rollout.phase, RolloutPhase::Rolling | RolloutPhase::GoingBack));
    if controller.paused() == paused {
        say(&format!("{name}: it is {} already", if paused { "paused" } else { "not paused" }));
        return Ok(Verdict::Good);
    }
    cluster.patch_controller(name, &json!({ "spec": { "rollout": { "paused": paused } } })).await?;
    say(&match (paused, rolling) {
        (true, true) => format!("{name}: paused; a replica that is being replaced is finished first"),
        (true, false) => format!("{name}: paused; nothing is replaced until it is resumed"),
        (false, _) => format!("{name}: resumed"),
    });
    Ok(Verdict::Good)
}

/// Until all replicas run what is wanted, or it halts.
pub async fn rollout_status(
    cluster: &Cluster,
    name: &str,
    waiting: Option<Waiting>,
    paint: Paint,
    say: Say<'_>,
) -> Result<Verdict, Error> {
    let controller = cluster.controller(name).await?;
    let Some(rollout) = &controller.status.rollout else {
        say(&format!("{name}: no rollout yet: its replicas were never all ready"));
        return follow(cluster, name, Goal::Settled, waiting, say).await;
    };
    if waiting.is_none() {
        let now = Timestamp::now();
        let last = history_table(rollout, 1, now, paint);
        say(format!("{name}: {}\n{last}", standing(rollout, now, paint)).trim_end());
        return Ok(match rollout.phase {
            RolloutPhase::Halted | RolloutPhase::GoingBack => Verdict::Bad,
            RolloutPhase::Settled | RolloutPhase::Waiting | RolloutPhase::Rolling | RolloutPhase::Paused => {
                Verdict::Good
            }
        });
    }
    follow(cluster, name, Goal::Settled, waiting, say).await
}

/// What was rolled out and can be gone back to.
pub async fn history(cluster: &Cluster, name: &str, paint: Paint) -> Result<String, Error> {
    let controller = cluster.controller(name).await?;
    let records = records(cluster, name).await?;
    Ok(match records.is_empty() {
        true => format!("{name} has no revision yet"),
        false => records_text(&records, controller.status.rollout.as_ref(), paint),
    })
}

async fn records(cluster: &Cluster, name: &str) -> Result<Vec<Record>, Error> {
    let which = ListParams::default().labels(&selector(name, Some(Component::Revision)));
    let objects = cluster.list::<ControllerRevision>(which).await?;
    let mut records: Vec<Record> = objects.iter().filter_map(Record::read).collect();
    records.sort_by_key(|record| record.number);
    Ok(records)
}

fn records_text(records: &[Record], rollout: Option<&RolloutStatus>, paint: Paint) -> String {
    let row = |(at, record): (usize, &Record)| {
        let revision = &record.revision.0;
        let before = at.checked_sub(1).and_then(|at| records.get(at));
        let reason = before.map_or("–", |before| record.inputs.reason(&before.inputs).as_str());
        let wanted = rollout.is_some_and(|rollout| rollout.wanted == *revision);
        let good = rollout.is_some_and(|rollout| rollout.good == *revision);
        let state = match (wanted, good) {
            (true, true) => Cell { text: "runs".to_owned(), tone: Tone::Good },
            (true, false) => Cell { text: "wanted".to_owned(), tone: Tone::Busy },
            (false, true) => Cell { text: "good".to_owned(), tone: Tone::Good },
            (false, false) => "".into(),
        };
        vec![record.number.into(), revision.into(), reason.into(), image(record).into(), state]
    };
    let rows: Vec<Vec<Cell>> = records.iter().enumerate().map(row).collect();
    table(paint, &["NUMBER", "REVISION", "REASON", "IMAGE", "STATE"], &rows).trim_end().to_owned()
}

/// What its pods run, also where the resource names no image.
fn image(record: &Record) -> String {
    let containers = record.template.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let ours = containers.iter().find(|container| container.name == operator::names::CONTAINER);
    let pulled = ours.and_then(|container| container.image.clone());
    pulled.or_else(|| record.inputs.image.clone()).unwrap_or_else(|| "–".to_owned())
}

/// What `rollout undo` is asked for.
pub struct Undo<'a> {
    /// Number of the revision; without it: the one before.
    pub to: Option<i64>,
    /// Shows what is to be done, and says whether the user wants it.
    pub sure: &'a dyn Fn(&str) -> Result<bool, Error>,
    pub waiting: Option<Waiting>,
}

pub async fn undo(cluster: &Cluster, name: &str, asked: Undo<'_>, say: Say<'_>) -> Result<Verdict, Error> {
    let controller = cluster.controller(name).await?;
    let plan = plan(&controller, &records(cluster, name).await?, asked.to)?;
    let mut text = format!("{name}: back to revision {} ({}):\n", plan.number, plan.revision);
    text.extend(plan.changes.iter().map(|line| format!("  {line}\n")));
    if !plan.left.is_empty() {
        text.push_str(&format!(
            "Not brought back, though it was another one then: {}.\n",
            plan.left.join(", ")
        ));
    }
    if !(asked.sure)(text.trim_end())? {
        say("Nothing was changed.");
        return Ok(Verdict::Unknown);
    }
    write(cluster, name, &plan.patch, &controller.raw).await?;
    say(&format!("{name}: the resource says what revision {} was", plan.number));
    let goal = Goal::After(Mark::of(controller.status.rollout.as_ref()));
    follow(cluster, name, goal, asked.waiting, say).await
}

/// Writes what was decided, unless somebody has changed meanwhile what it was decided of. The status may change as it likes.
async fn write(cluster: &Cluster, name: &str, patch: &Value, seen: &Value) -> Result<(), Error> {
    for left in (0..TRIES).rev() {
        let now = cluster.controller(name).await?;
        if now.raw != *seen {
            return Err(Error::Refused(format!("{name} was changed meanwhile: look at it again")));
        }
        let mut patch = patch.clone();
        patch["metadata"]["resourceVersion"] = json!(now.metadata.resource_version);
        match cluster.patch_controller(name, &patch).await {
            Err(Error::Api { code: 409, .. }) if left > 0 => {}
            done => return done,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodTemplateSpec;
    use operator::record::Inputs;

    use super::*;

    #[test]
    fn the_history_says_what_each_revision_was_for() {
        let inputs = |image: &str| Inputs { image: Some(image.to_owned()), ..Inputs::default() };
        let mut records: Vec<Record> = Vec::new();
        for image in ["ci:1", "ci:2", "ci:3"] {
            records.push(Record::new(inputs(image), PodTemplateSpec::default(), &records));
        }
        let name = |at: usize| records[at].revision.0.clone();
        let status = json!({ "phase": "Rolling", "good": name(1), "wanted": name(2) });
        let status: RolloutStatus = serde_json::from_value(status).unwrap();
        let text = records_text(&records, Some(&status), Paint(false));
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["1", name(0).as_str(), "–", "ci:1"]);
        assert_eq!(lines[2], ["2", name(1).as_str(), "ImageChanged", "ci:2", "good"]);
        assert_eq!(lines[3], ["3", name(2).as_str(), "ImageChanged", "ci:3", "wanted"]);
    }
}

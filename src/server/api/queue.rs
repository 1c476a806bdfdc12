//! The queue and its items.

use model::{JobName, ParamValue, QueueId};
use store::{ItemKind, Left, QueueItem};

use super::build::{BUILD, actions};
use super::item::{JOB, color};
use crate::error::Error;
use crate::export::{ALWAYS, PLAIN, Select, Shape, Value};
use crate::look::{Look, passwords};

pub(super) async fn queue(look: &Look<'_>, select: &Select) -> Result<Value, Error> {
    let mut shape = Shape::new("hudson.model.Queue", select);
    shape.put("discoverableItems", PLAIN, Vec::new());
    if let Some(inner) = shape.wants_inline("items", PLAIN) {
        let items = look.queue().await?.items.iter().rev().collect();
        let mut shown = Vec::new();
        for found in inner.range().cut(items) {
            match item(look, found, &inner).await {
                // its job was deleted meanwhile
                Err(Error::NotFound(_)) => {}
                other => shown.push(other?),
            }
        }
        shape.set("items", shown);
    }
    look.done(shape)
}

pub(super) async fn by_id(look: &Look<'_>, id: QueueId, select: &Select) -> Result<Value, Error> {
    let found = look.store().queue_item(id).await?;
    let found = found.ok_or_else(|| Error::missing(format!("there is no queue item {}", id.0)))?;
    item(look, &found, select).await
}

/// Why an item waits.
enum Waiting {
    QuietPeriod,
    /// The job builds one at a time and builds now.
    Blocked,
    Buildable,
}

pub(super) async fn item(look: &Look<'_>, item: &QueueItem, select: &Select) -> Result<Value, Error> {
    let waiting = if item.waiting() { Some(waiting(look, item).await?) } else { None };
    let class = match waiting {
        None => "hudson.model.Queue$LeftItem",
        Some(Waiting::QuietPeriod) => "hudson.model.Queue$WaitingItem",
        Some(Waiting::Blocked) => "hudson.model.Queue$BlockedItem",
        Some(Waiting::Buildable) => "hudson.model.Queue$BuildableItem",
    };
    let mut shape = Shape::new(class, select);
    if let Some(inner) = shape.wants("actions", PLAIN) {
        let actions = actions(look, &item.job, &item.params, &item.causes, &inner).await?;
        shape.set("actions", inner.range().cut(actions));
    }
    shape.put("blocked", PLAIN, matches!(waiting, Some(Waiting::Blocked)));
    shape.put("buildable", PLAIN, matches!(waiting, Some(Waiting::Buildable)));
    shape.put("id", PLAIN, item.id.0);
    shape.put("inQueueSince", PLAIN, item.since.0);
    if shape.wants("params", PLAIN).is_some() {
        shape.set("params", params(look, item).await?);
    }
    shape.put("stuck", PLAIN, false);
    if let Some(inner) = shape.wants("task", PLAIN) {
        shape.set("task", task(look, &item.job, &inner).await?);
    }
    shape.put("url", PLAIN, format!("queue/item/{}/", item.id.0));
    shape.put("why", PLAIN, waiting.as_ref().map(|w| why(look, item, w)));
    match (&item.left, waiting) {
        (Some(left), _) => left_item(look, item, left, &mut shape),
        (None, Some(Waiting::QuietPeriod)) => {
            shape.put("timestamp", PLAIN, item.buildable_at.0);
        }
        (None, Some(Waiting::Blocked | Waiting::Buildable) | None) => {
            shape.put("buildableStartMilliseconds", PLAIN, item.buildable_at.0);
            shape.put("pending", PLAIN, false);
        }
    }
    look.done(shape)
}

fn left_item(look: &Look<'_>, item: &QueueItem, left: &Left, shape: &mut Shape<'_>) {
    shape.put("cancelled", PLAIN, matches!(left, Left::Cancelled));
    let Some(inner) = shape.wants("executable", PLAIN) else { return };
    match left {
        Left::Cancelled => shape.set("executable", Value::Null),
        Left::Built { number } => {
            let mut build = Shape::new(BUILD, &inner);
            build.put("number", 2, *number);
            build.put("url", 2, look.base.build(&item.job, *number));
            shape.set("executable", build.done())
        }
    };
}

async fn waiting(look: &Look<'_>, item: &QueueItem) -> Result<Waiting, Error> {
    if item.buildable_at > look.app.commands.now() {
        return Ok(Waiting::QuietPeriod);
    }
    if !look.builds_now(&item.job).await? {
        return Ok(Waiting::Buildable);
    }
    let exclusive = look.effective(&item.job).await?.exclusive;
    Ok(if exclusive { Waiting::Blocked } else { Waiting::Buildable })
}

fn why(look: &Look<'_>, item: &QueueItem, waiting: &Waiting) -> String {
    match waiting {
        Waiting::QuietPeriod => {
            let left = item.buildable_at.since(look.app.commands.now());
            format!("In the quiet period. Expires in {:.1} sec", left.as_secs_f64())
        }
        Waiting::Blocked => format!("Build of {} is already in progress", item.job),
        Waiting::Buildable => "Waiting for a replica to take it".to_owned(),
    }
}

/// `"\nA=1\nB=2"`, as Jenkins shows the parameters of an item.
async fn params(look: &Look<'_>, item: &QueueItem) -> Result<String, Error> {
    if item.params.is_empty() {
        return Ok(String::new());
    }
    let effective = look.effective(&item.job).await?;
    let passwords = passwords(&effective);
    let line = |(name, value): (&String, &ParamValue)| match passwords.contains(name.as_str()) {
        true => format!("\n{name}='****'"),
        false => format!("\n{name}={value}"),
    };
    Ok(item.params.iter().map(line).collect())
}

async fn task(look: &Look<'_>, job: &JobName, select: &Select) -> Result<Value, Error> {
    let mut task = Shape::new(JOB, select);
    task.put("name", ALWAYS, job.short().to_owned());
    task.put("url", ALWAYS, look.base.item(job));
    if task.wants("color", 2).is_some() {
        let summary = look.configured(job).await?.item.summary.clone();
        task.set(
            "color",
            match summary.kind {
                ItemKind::Pipeline => Value::text(color(&summary)),
                ItemKind::Folder => Value::Null,
            },
        );
    }
    look.done(task)
}

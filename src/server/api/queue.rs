//! The queue and its items: builds that are to begin, and `node` steps of running builds that wait for an executor.

use std::time::Duration;

use model::{JobName, ParamValue, QueueId};
use store::{ItemKind, Left, QueueItem, Wait, Which};

use super::build::{self, actions, in_order};
use super::item::{self, color};
use crate::error::Error;
use crate::export::{ALWAYS, PLAIN, Select, Shape, Value};
use crate::look::{Look, Reason, passwords};

pub(super) async fn queue(look: &Look<'_>, select: &Select) -> Result<Value, Error> {
    let mut shape = Shape::new("hudson.model.Queue", select);
    shape.put("discoverableItems", PLAIN, Vec::new());
    if let Some(inner) = shape.wants_inline("items", PLAIN) {
        let waits = look.seen().await?.waits.iter().rev().map(Row::Step);
        let rows = look.queue().await?.items.iter().rev().map(Row::Build).chain(waits).collect();
        let mut shown = Vec::new();
        for row in inner.range().cut(rows) {
            let row = match row {
                Row::Build(found) => item(look, found, &inner).await,
                Row::Step(wait) => step(look, wait, &inner).await,
            };
            match row {
                // its job was deleted meanwhile
                Err(Error::NotFound(_)) => {}
                other => shown.push(other?),
            }
        }
        shape.set("items", shown);
    }
    look.done(shape)
}

/// What stands in the queue.
enum Row<'a> {
    Build(&'a QueueItem),
    Step(&'a Wait),
}

/// Numbers of steps in the queue begin here, so that they are never those of builds.
const STEPS: i64 = 1 << 40;

/// The waiting step that a number of the queue names.
pub(crate) async fn waiting_step<'a>(look: &'a Look<'_>, id: QueueId) -> Result<Option<&'a Wait>, Error> {
    let Some(wait) = id.0.checked_sub(STEPS).filter(|wait| *wait > 0) else { return Ok(None) };
    Ok(look.seen().await?.waits.iter().find(|w| w.id == wait))
}

async fn step(look: &Look<'_>, wait: &Wait, select: &Select) -> Result<Value, Error> {
    let mut shape = Shape::new("hudson.model.Queue$BuildableItem", select);
    shape.put("actions", PLAIN, Vec::new());
    shape.put("blocked", PLAIN, false).put("buildable", PLAIN, true);
    shape.put("id", PLAIN, STEPS + wait.id).put("inQueueSince", PLAIN, wait.since.0);
    shape.put("params", PLAIN, String::new());
    let reason = look.reason(wait).await?;
    shape.put("stuck", PLAIN, reason.stuck);
    if let Some(inner) = shape.wants("task", PLAIN) {
        let class = "org.jenkinsci.plugins.workflow.support.steps.ExecutorStepExecution$PlaceholderTask";
        let mut task = Shape::new(class, &inner);
        let name = format!("part of {} #{}", wait.job, wait.number);
        task.put("displayName", PLAIN, name.clone());
        task.put("name", ALWAYS, name);
        task.put("url", ALWAYS, look.base.build(&wait.job, wait.number));
        shape.set("task", task.done());
    }
    shape.put("url", PLAIN, format!("queue/item/{}/", STEPS + wait.id));
    shape.put("why", PLAIN, reason.why);
    shape.put("buildableStartMilliseconds", PLAIN, wait.since.0).put("pending", PLAIN, false);
    look.done(shape)
}

pub(super) async fn by_id(look: &Look<'_>, id: QueueId, select: &Select) -> Result<Value, Error> {
    if let Some(wait) = waiting_step(look, id).await? {
        return step(look, wait, select).await;
    }
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
    /// A Freestyle job begins with its executor.
    Executor(Reason),
    /// No build begins, for this reason.
    Quiet(String),
}

pub(super) async fn item(look: &Look<'_>, item: &QueueItem, select: &Select) -> Result<Value, Error> {
    let waiting = if item.waiting() { Some(waiting(look, item).await?) } else { None };
    let class = match waiting {
        None => "hudson.model.Queue$LeftItem",
        Some(Waiting::QuietPeriod) => "hudson.model.Queue$WaitingItem",
        Some(Waiting::Blocked) => "hudson.model.Queue$BlockedItem",
        Some(Waiting::Buildable | Waiting::Executor(_) | Waiting::Quiet(_)) => {
            "hudson.model.Queue$BuildableItem"
        }
    };
    let mut shape = Shape::new(class, select);
    if let Some(inner) = shape.wants("actions", PLAIN) {
        let actions = actions(look, &item.job, &item.params, &item.causes, &inner).await?;
        shape.set("actions", inner.range().cut(actions));
    }
    shape.put("blocked", PLAIN, matches!(waiting, Some(Waiting::Blocked)));
    let buildable = matches!(waiting, Some(Waiting::Buildable | Waiting::Executor(_) | Waiting::Quiet(_)));
    shape.put("buildable", PLAIN, buildable);
    shape.put("id", PLAIN, item.id.0);
    shape.put("inQueueSince", PLAIN, item.since.0);
    if shape.wants("params", PLAIN).is_some() {
        shape.set("params", params(look, item).await?);
    }
    let stuck = matches!(&waiting, Some(Waiting::Executor(reason)) if reason.stuck);
    shape.put("stuck", PLAIN, stuck);
    if let Some(inner) = shape.wants("task", PLAIN) {
        shape.set("task", task(look, item, &inner).await?);
    }
    shape.put("url", PLAIN, format!("queue/item/{}/", item.id.0));
    if shape.wants("why", PLAIN).is_some() {
        let why = match &waiting {
            Some(waiting) => Some(why(look, item, waiting).await?),
            None => None,
        };
        shape.set("why", why);
    }
    match (&item.left, waiting) {
        (Some(left), _) => left_item(look, item, left, &mut shape),
        (None, Some(Waiting::QuietPeriod)) => {
            shape.put("timestamp", PLAIN, item.buildable_at.0);
        }
        (
            None,
            Some(Waiting::Blocked | Waiting::Buildable | Waiting::Executor(_) | Waiting::Quiet(_)) | None,
        ) => {
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
            let mut build = Shape::new(build::class(item.kind), &inner);
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
    if look.builds_now(&item.job).await? && look.effective(&item.job).await?.exclusive {
        return Ok(Waiting::Blocked);
    }
    if let Some(reason) = &look.meta().await?.quiet {
        return Ok(Waiting::Quiet(reason.clone()));
    }
    match item.kind {
        ItemKind::Pipeline | ItemKind::Folder => Ok(Waiting::Buildable),
        ItemKind::Freestyle => {
            let configured = look.configured(&item.job).await?;
            let label = configured.freestyle().and_then(|job| job.steps.label.as_deref());
            Ok(Waiting::Executor(look.reason_of(label).await?))
        }
    }
}

/// How many stand in the queue, steps that wait for executors too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct QueueCounts {
    pub(crate) quiet: u64,
    pub(crate) blocked: u64,
    pub(crate) buildable: u64,
    /// Of those: waiting alone helps nothing.
    pub(crate) stuck: u64,
}

impl QueueCounts {
    pub(crate) fn all(&self) -> u64 {
        self.quiet + self.blocked + self.buildable
    }

    fn waits(&mut self, reason: &Reason) {
        self.buildable += 1;
        self.stuck += u64::from(reason.stuck);
    }
}

pub(crate) async fn queue_counts(look: &Look<'_>) -> Result<QueueCounts, Error> {
    let mut counts = QueueCounts::default();
    for item in &look.queue().await?.items {
        match waiting(look, item).await {
            Ok(Waiting::QuietPeriod) => counts.quiet += 1,
            Ok(Waiting::Blocked) => counts.blocked += 1,
            Ok(Waiting::Buildable | Waiting::Quiet(_)) => counts.buildable += 1,
            Ok(Waiting::Executor(reason)) => counts.waits(&reason),
            // its job was deleted meanwhile
            Err(Error::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    for wait in &look.seen().await?.waits {
        counts.waits(&look.reason(wait).await?);
    }
    Ok(counts)
}

/// Why an item of the queue waits; for pages.
pub(crate) async fn why_waits(look: &Look<'_>, item: &QueueItem) -> Result<String, Error> {
    let waiting = waiting(look, item).await?;
    why(look, item, &waiting).await
}

/// In the words of Jenkins, where they are true.
async fn why(look: &Look<'_>, item: &QueueItem, waiting: &Waiting) -> Result<String, Error> {
    Ok(match waiting {
        Waiting::QuietPeriod => {
            let left = item.buildable_at.since(look.app.commands.now());
            format!("In the quiet period. Expires in {} sec", left.as_millis().div_ceil(1000))
        }
        Waiting::Blocked => {
            let newest = look.running().await?.iter().filter(|r| r.job == item.job).map(|r| r.number).max();
            let number = newest.unwrap_or_default();
            let left = left(look, &item.job, number).await?;
            format!("Build #{number} is already in progress (ETA: {left})")
        }
        Waiting::Buildable => "Waiting for a replica to take it".to_owned(),
        Waiting::Executor(reason) => reason.why.clone(),
        Waiting::Quiet(reason) => format!("No build begins in the quiet period: {reason}"),
    })
}

/// How long a build will take from now on, as far as earlier ones tell it.
async fn left(look: &Look<'_>, job: &JobName, number: u64) -> Result<String, Error> {
    let unknown = || "N/A".to_owned();
    let Ok(takes) = u64::try_from(look.estimate(job).await?) else { return Ok(unknown()) };
    let Some(build) = look.store().build(job, Which::Number(number)).await? else { return Ok(unknown()) };
    let now = look.app.commands.now();
    let left = Duration::from_millis(takes).checked_sub(now.since(build.started_at));
    Ok(left.map_or_else(unknown, model::length))
}

/// `"\nA=1\nB=2"`, as Jenkins shows the parameters of an item.
async fn params(look: &Look<'_>, item: &QueueItem) -> Result<String, Error> {
    if item.params.is_empty() {
        return Ok(String::new());
    }
    let effective = look.effective(&item.job).await?;
    let passwords = passwords(&effective);
    let line = |(name, value): (&String, &ParamValue)| match value {
        ParamValue::Secret { .. } => format!("\n{name}='****'"),
        _ if passwords.contains(name.as_str()) => format!("\n{name}='****'"),
        ParamValue::Flag(_) | ParamValue::Text(_) => format!("\n{name}={value}"),
    };
    Ok(in_order(&effective.parameters, &item.params).map(line).collect())
}

async fn task(look: &Look<'_>, item: &QueueItem, select: &Select) -> Result<Value, Error> {
    let job = &item.job;
    let mut task = Shape::new(item::class(item.kind), select);
    task.put("name", ALWAYS, job.short().to_owned());
    task.put("url", ALWAYS, look.base.item(job));
    if task.wants("color", 2).is_some() {
        let summary = look.configured(job).await?.item.summary.clone();
        task.set(
            "color",
            match summary.kind {
                ItemKind::Pipeline | ItemKind::Freestyle => Value::text(color(&summary)),
                ItemKind::Folder => Value::Null,
            },
        );
    }
    look.done(task)
}

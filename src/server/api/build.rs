//! Builds.

use std::collections::BTreeMap;

use model::{Cause, JobName, Millis, ParamValue, ParameterDefinition, ParameterKind};
use store::{Artifact, Build, ItemKind, Which};

use super::item::parameter_value;
use crate::error::Error;
use crate::export::{ALWAYS, PLAIN, Select, Shape, Value};
use crate::look::{Look, passwords};
use crate::request::segment;

/// What Jenkins calls builds of such a job.
pub(super) fn class(kind: ItemKind) -> &'static str {
    match kind {
        ItemKind::Freestyle => "hudson.model.FreeStyleBuild",
        ItemKind::Pipeline | ItemKind::Folder => "org.jenkinsci.plugins.workflow.job.WorkflowRun",
    }
}

/// Rows of one read.
const PAGE: u32 = 1_000;

pub(super) async fn build(look: &Look<'_>, build: &Build, select: &Select) -> Result<Value, Error> {
    let kind = look.kind(&build.job).await?;
    let mut shape = Shape::new(class(kind), select);
    if let Some(inner) = shape.wants("actions", PLAIN) {
        let actions = actions(look, &build.job, &build.params, &build.causes, &inner).await?;
        shape.set("actions", inner.range().cut(actions));
    }
    if let Some(inner) = shape.wants("artifacts", PLAIN) {
        shape.set("artifacts", artifacts(look, build, &inner).await?);
    }
    let display = build.display_name.clone().unwrap_or_else(|| format!("#{}", build.number));
    shape.put("building", PLAIN, build.building());
    shape.put("description", PLAIN, build.description.clone());
    shape.put("displayName", PLAIN, display.clone());
    shape.put("duration", PLAIN, build.ended_at.map_or(0, |end| millis(end, build.started_at)));
    if shape.wants("estimatedDuration", PLAIN).is_some() {
        shape.set("estimatedDuration", look.estimate(&build.job).await?);
    }
    shape.put("executor", PLAIN, if build.building() { Value::empty() } else { Value::Null });
    shape.put("fullDisplayName", PLAIN, format!("{} {display}", build.job.as_str().replace('/', " » ")));
    shape.put("id", PLAIN, build.number.to_string());
    shape.put("inProgress", PLAIN, build.building());
    shape.put("keepLog", PLAIN, build.keep);
    shape.put("number", 2, build.number);
    shape.put("queueId", PLAIN, build.queue_id.0);
    shape.put("result", PLAIN, build.result.filter(|_| !build.building()).map(|r| r.as_str()));
    shape.put("timestamp", PLAIN, build.started_at.0);
    shape.put("url", 2, look.base.build(&build.job, build.number));
    match kind {
        ItemKind::Freestyle => {
            let node = build.built_on.as_ref().map(ToString::to_string);
            shape.put("builtOn", PLAIN, node.unwrap_or_default());
            if let Some(inner) = shape.wants_inline("changeSet", PLAIN) {
                let mut changes = Shape::new("hudson.scm.EmptyChangeLogSet", &inner);
                changes.put("items", ALWAYS, Vec::new()).put("kind", ALWAYS, Value::Null);
                shape.set("changeSet", changes.done());
            }
        }
        ItemKind::Pipeline | ItemKind::Folder => {
            shape.put("changeSets", PLAIN, Vec::new());
        }
    }
    shape.put("culprits", PLAIN, Vec::new());
    for (name, which) in
        [("nextBuild", Which::After(build.number)), ("previousBuild", Which::Before(build.number))]
    {
        if let Some(inner) = shape.wants(name, PLAIN) {
            let found = look.store().build(&build.job, which).await?;
            shape.set(name, found.map(|b| neighbour(look, &b, &inner)));
        }
    }
    look.done(shape)
}

fn millis(end: Millis, start: Millis) -> i64 {
    i64::try_from(end.since(start).as_millis()).unwrap_or(i64::MAX)
}

/// The build before or after: number and address only, or an answer would go through the whole history.
fn neighbour(look: &Look<'_>, build: &Build, select: &Select) -> Value {
    let mut shape = Shape::plain(select);
    shape.put("number", 2, build.number);
    shape.put("url", 2, look.base.build(&build.job, build.number));
    shape.done()
}

/// Parameters come first when there are some, then the causes: clients count on that order.
pub(super) async fn actions(
    look: &Look<'_>,
    job: &JobName,
    params: &BTreeMap<String, ParamValue>,
    causes: &[Cause],
    select: &Select,
) -> Result<Vec<Value>, Error> {
    let mut actions = Vec::new();
    if !params.is_empty() {
        let mut shape = Shape::new("hudson.model.ParametersAction", select);
        if let Some(inner) = shape.wants("parameters", 2) {
            let values = parameters(look, job, params, &inner).await?;
            shape.set("parameters", inner.range().cut(values));
        }
        actions.push(look.done(shape)?);
    }
    let mut shape = Shape::new("hudson.model.CauseAction", select);
    if let Some(inner) = shape.wants("causes", 2) {
        let causes = causes.iter().map(|c| cause(look, c, &inner)).collect();
        shape.set("causes", inner.range().cut(causes));
    }
    actions.push(look.done(shape)?);
    Ok(actions)
}

/// Values in the order of the definitions; those that have none (any more) come last.
pub(super) fn in_order<'a>(
    definitions: &'a [ParameterDefinition],
    values: &'a BTreeMap<String, ParamValue>,
) -> impl Iterator<Item = (&'a String, &'a ParamValue)> {
    let defined = definitions.iter().filter_map(|d| values.get_key_value(&d.name));
    let left = values.iter().filter(|(name, _)| !definitions.iter().any(|d| d.name == **name));
    defined.chain(left)
}

async fn parameters(
    look: &Look<'_>,
    job: &JobName,
    params: &BTreeMap<String, ParamValue>,
    select: &Select,
) -> Result<Vec<Value>, Error> {
    let effective = look.effective(job).await?;
    let passwords = passwords(&effective);
    let long = |name: &str| {
        let of = effective.parameters.iter().find(|p| p.name == name);
        of.is_some_and(|p| matches!(p.kind, ParameterKind::Text { .. }))
    };
    let values = in_order(&effective.parameters, params).map(|(name, value)| {
        let (class, value) = match value {
            ParamValue::Secret { .. } => ("hudson.model.PasswordParameterValue", None),
            _ if passwords.contains(name.as_str()) => ("hudson.model.PasswordParameterValue", None),
            ParamValue::Flag(_) => ("hudson.model.BooleanParameterValue", Some(value.clone())),
            ParamValue::Text(_) if long(name) => ("hudson.model.TextParameterValue", Some(value.clone())),
            ParamValue::Text(_) => ("hudson.model.StringParameterValue", Some(value.clone())),
        };
        parameter_value(class, name, value, select)
    });
    Ok(values.collect())
}

fn cause(look: &Look<'_>, cause: &Cause, select: &Select) -> Value {
    let mut shape = Shape::new(cause.class(), select);
    shape.put("shortDescription", 3, cause.short_description());
    match cause {
        Cause::User { id, name } => {
            shape.put("userId", 3, id.clone()).put("userName", 3, name.clone());
        }
        Cause::Remote { address, note } => {
            shape.put("addr", 3, address.clone()).put("note", 3, note.clone());
        }
        Cause::Upstream { job, number } => {
            let path = match JobName::parse(job) {
                Ok(name) => look.base.item(&name).replacen(look.base.root(), "", 1),
                Err(_) => format!("job/{}/", segment(job)),
            };
            shape.put("upstreamBuild", 3, *number);
            shape.put("upstreamProject", 3, job.clone());
            shape.put("upstreamUrl", 3, path);
        }
        Cause::More { .. } => {}
    }
    shape.done()
}

async fn artifacts(look: &Look<'_>, build: &Build, select: &Select) -> Result<Value, Error> {
    let range = select.range();
    let mut found: Vec<Artifact> = Vec::new();
    while found.len() < range.reach() {
        let limit = PAGE.min(u32::try_from(range.reach() - found.len()).unwrap_or(PAGE));
        let after = found.last().map(|a| a.path.clone());
        let page = look.store().artifacts(build.id, after.as_deref(), limit).await?;
        let full = page.len() == limit as usize;
        found.extend(page);
        if !full {
            break;
        }
    }
    let mut shown = Vec::new();
    for artifact in range.cut(found) {
        let file = artifact.path.rsplit('/').next().unwrap_or_default().to_owned();
        let mut shape = Shape::plain(select);
        shape.put("displayPath", 3, file.clone());
        shape.put("fileName", 3, file);
        shape.put("relativePath", 3, artifact.path);
        shown.push(look.done(shape)?);
    }
    Ok(Value::List(shown))
}

//! Jobs and folders.

use std::sync::Arc;

use model::{BuildResult, JobName, ParamValue, ParameterDefinition, ParameterKind};
use store::{Build, ItemKind, ItemSummary, Store, Which};
use tokio_util::task::AbortOnDropHandle;

use super::{build, queue, root};
use crate::error::Error;
use crate::export::{ALWAYS, PLAIN, Select, Shape, Value};
use crate::look::Look;

/// What Jenkins calls such an item.
pub(super) fn class(kind: ItemKind) -> &'static str {
    match kind {
        ItemKind::Folder => "com.cloudbees.hudson.plugins.folder.Folder",
        ItemKind::Pipeline => "org.jenkinsci.plugins.workflow.job.WorkflowJob",
        ItemKind::Freestyle => "hudson.model.FreeStyleProject",
    }
}

/// How many builds `builds` shows.
const NEWEST: u32 = 100;
/// Rows of one read.
const PAGE: u32 = 1_000;

const PERMALINKS: [(&str, Which); 7] = [
    ("lastBuild", Which::Last),
    ("lastCompletedBuild", Which::LastCompleted),
    ("lastFailedBuild", Which::LastFailed),
    ("lastStableBuild", Which::LastStable),
    ("lastSuccessfulBuild", Which::LastSuccessful),
    ("lastUnstableBuild", Which::LastUnstable),
    ("lastUnsuccessfulBuild", Which::LastUnsuccessful),
];

pub(super) async fn item(look: &Look<'_>, name: &JobName, select: &Select) -> Result<Value, Error> {
    let summary = look.configured(name).await?.item.summary.clone();
    summarized(look, &summary, select).await
}

/// The jobs and folders directly in `folder`, or at the top, as far as `select` wants them.
pub(super) async fn children(
    look: &Look<'_>,
    folder: Option<&JobName>,
    select: &Select,
) -> Result<Value, Error> {
    let range = select.range();
    let mut pages = Pages { store: Arc::clone(look.store()), folder: folder.cloned(), next: None };
    pages.read(None, range.reach());
    let mut seen = 0;
    let mut shown = Vec::new();
    while seen < range.reach() {
        let page = pages.page(range.reach() - seen).await?;
        if page.is_empty() {
            break;
        }
        for summary in page {
            if seen >= range.from {
                match Box::pin(summarized(look, &summary, select)).await {
                    // it was deleted meanwhile
                    Err(Error::NotFound(_)) => {}
                    other => shown.push(other?),
                }
            }
            seen += 1;
        }
    }
    Ok(Value::List(shown))
}

/// Reads children page after page, the next one while one is shown.
struct Pages {
    store: Arc<dyn Store>,
    folder: Option<JobName>,
    /// How many the next one may have, and what comes of it. `None`: there is no more.
    next: Option<(u32, AbortOnDropHandle<store::Result<Vec<ItemSummary>>>)>,
}

impl Pages {
    /// The next page; empty at the end, and when no more than `left` are wanted.
    async fn page(&mut self, left: usize) -> Result<Vec<ItemSummary>, Error> {
        let Some((limit, page)) = self.next.take() else { return Ok(Vec::new()) };
        let page = page.await.map_err(|e| Error::Away(e.to_string()))??;
        if let Some(last) = page.last()
            && page.len() == limit as usize
        {
            self.read(Some(last.name.clone()), left.saturating_sub(page.len()));
        }
        Ok(page)
    }

    /// Begins to read the next page.
    fn read(&mut self, after: Option<JobName>, left: usize) {
        if left == 0 {
            return;
        }
        let limit = PAGE.min(u32::try_from(left).unwrap_or(PAGE));
        let (store, folder) = (Arc::clone(&self.store), self.folder.clone());
        let read = async move { store.children(folder.as_ref(), after.as_ref(), limit).await };
        self.next = Some((limit, AbortOnDropHandle::new(tokio::spawn(read))));
    }
}

async fn summarized(look: &Look<'_>, summary: &ItemSummary, select: &Select) -> Result<Value, Error> {
    match summary.kind {
        ItemKind::Folder => folder(look, summary, select).await,
        ItemKind::Pipeline | ItemKind::Freestyle => job(look, summary, select).await,
    }
}

/// What jobs and folders have in common.
async fn common(look: &Look<'_>, summary: &ItemSummary, shape: &mut Shape<'_>) -> Result<(), Error> {
    let name = &summary.name;
    if shape.wants("description", PLAIN).is_some() {
        let text = look.configured(name).await?.description().map(str::to_owned);
        shape.set("description", text);
    }
    let display = ["displayName", "displayNameOrNull", "fullDisplayName"];
    if display.iter().any(|d| shape.wants(d, PLAIN).is_some()) {
        let given = look.configured(name).await?.display_name().map(str::to_owned);
        let shown = given.clone().unwrap_or_else(|| name.short().to_owned());
        shape.put("displayName", PLAIN, shown.clone());
        shape.put("displayNameOrNull", PLAIN, given);
        let full = match name.parent() {
            Some(parent) => format!("{} » {shown}", parent.as_str().replace('/', " » ")),
            None => shown,
        };
        shape.put("fullDisplayName", PLAIN, full);
    }
    shape.put("fullName", PLAIN, name.as_str().to_owned());
    shape.put("name", ALWAYS, name.short().to_owned());
    shape.put("url", ALWAYS, look.base.item(name));
    Ok(())
}

async fn folder(look: &Look<'_>, summary: &ItemSummary, select: &Select) -> Result<Value, Error> {
    let mut shape = Shape::new(class(summary.kind), select);
    shape.put("actions", PLAIN, Vec::new());
    common(look, summary, &mut shape).await?;
    shape.put("healthReport", PLAIN, Vec::new());
    if let Some(inner) = shape.wants("jobs", PLAIN) {
        shape.set("jobs", children(look, Some(&summary.name), &inner).await?);
    }
    root::views(look, Some(&summary.name), &mut shape).await?;
    if let Some(inner) = shape.wants("views", PLAIN) {
        shape.set("views", vec![root::view(look, Some(&summary.name), &inner).await?]);
    }
    look.done(shape)
}

async fn job(look: &Look<'_>, summary: &ItemSummary, select: &Select) -> Result<Value, Error> {
    let name = &summary.name;
    look.is_of_kind(name, summary.kind);
    let mut shape = Shape::new(class(summary.kind), select);
    if let Some(inner) = shape.wants("actions", PLAIN) {
        let parameters = parameters(look, name, &inner).await?;
        shape.set("actions", inner.range().cut(parameters));
    }
    common(look, summary, &mut shape).await?;
    shape.put("buildable", PLAIN, !summary.disabled);
    builds(look, name, &mut shape).await?;
    shape.put("healthReport", PLAIN, health(summary));
    waiting(look, name, &mut shape).await?;
    shape.put("keepDependencies", PLAIN, false);
    shape.put("nextBuildNumber", PLAIN, summary.next_build);
    if let Some(inner) = shape.wants_inline("property", PLAIN) {
        let properties = parameters(look, name, &inner).await?;
        shape.set("property", inner.range().cut(properties));
    }
    shape.put("color", 2, color(summary));
    if shape.wants("concurrentBuild", PLAIN).is_some() {
        let exclusive = look.effective(name).await?.exclusive;
        shape.set("concurrentBuild", !exclusive);
    }
    shape.put("disabled", PLAIN, summary.disabled);
    match summary.kind {
        ItemKind::Freestyle => freestyle(look, name, &mut shape).await?,
        ItemKind::Pipeline | ItemKind::Folder => {
            shape.put("resumeBlocked", PLAIN, false);
            shape.put("downstreamProjects", PLAIN, Vec::new());
        }
    }
    // Nothing tells a job who triggers it.
    shape.put("upstreamProjects", PLAIN, Vec::new());
    look.done(shape)
}

/// What only Freestyle jobs have.
async fn freestyle(look: &Look<'_>, name: &JobName, shape: &mut Shape<'_>) -> Result<(), Error> {
    if let Some(inner) = shape.wants("downstreamProjects", PLAIN) {
        let mut shown = Vec::new();
        for summary in inner.range().cut(downstream(look, name).await?) {
            shown.push(Box::pin(summarized(look, &summary, &inner)).await?);
        }
        shape.set("downstreamProjects", shown);
    }
    let wanted = ["labelExpression", "scm"].iter().any(|wanted| shape.wants(wanted, PLAIN).is_some());
    if !wanted {
        return Ok(());
    }
    let configured = look.configured(name).await?;
    let job = configured.freestyle();
    shape.put("labelExpression", PLAIN, job.and_then(|job| job.steps.label.clone()));
    if let Some(inner) = shape.wants_inline("scm", PLAIN) {
        let class = match job.and_then(|job| job.scm.as_ref()) {
            Some(Ok(_)) => "hudson.plugins.git.GitSCM",
            // one that builds can't fetch
            Some(Err(_)) => "hudson.scm.SCM",
            None => "hudson.scm.NullSCM",
        };
        shape.set("scm", Shape::new(class, &inner).done());
    }
    Ok(())
}

/// The jobs that builds of this one trigger, each once.
async fn downstream(look: &Look<'_>, name: &JobName) -> Result<Vec<ItemSummary>, Error> {
    let configured = look.configured(name).await?;
    let mut found: Vec<ItemSummary> = Vec::new();
    for text in configured.freestyle().map(|job| job.steps.downstream()).into_iter().flatten() {
        for name in name.seen_from(text) {
            let Some(item) = look.store().item(&name).await? else { continue };
            if item.summary.kind.is_job() && !found.iter().any(|known| known.id == item.summary.id) {
                found.push(item.summary);
            }
            break;
        }
    }
    Ok(found)
}

/// `builds`, `allBuilds` and the permalinks; a permalink among builds that were loaded anyway is not asked for again.
async fn builds(look: &Look<'_>, name: &JobName, shape: &mut Shape<'_>) -> Result<(), Error> {
    // It is long: only a `tree` gets it.
    if let Some(inner) = shape.wants("allBuilds", PLAIN).filter(Select::explicit) {
        let all = newest(look, name, inner.range().reach()).await?;
        shape.set("allBuilds", list(look, inner.range().cut(all), &inner).await?);
    }
    let mut loaded: Option<Vec<Build>> = None;
    if let Some(inner) = shape.wants("builds", PLAIN) {
        let reach = inner.range().reach().min(NEWEST as usize);
        let found = newest(look, name, reach).await?;
        shape.set("builds", list(look, inner.range().cut(found.clone()), &inner).await?);
        loaded = Some(found);
    }
    if let Some(inner) = shape.wants("firstBuild", PLAIN) {
        let first = look.store().build(name, Which::First).await?;
        shape.set("firstBuild", optional(look, first, &inner).await?);
    }
    for (link, which) in PERMALINKS {
        let Some(inner) = shape.wants(link, PLAIN) else { continue };
        let among = loaded.as_ref().and_then(|builds| builds.iter().find(|b| is(b, which)).cloned());
        let found = match among {
            Some(build) => Some(build),
            None if loaded.as_ref().is_some_and(Vec::is_empty) => None,
            None => look.store().build(name, which).await?,
        };
        shape.set(link, optional(look, found, &inner).await?);
    }
    Ok(())
}

fn is(build: &Build, which: Which) -> bool {
    match which {
        Which::Last => true,
        Which::LastCompleted => !build.building(),
        which => !build.building() && build.result.is_some_and(|r| which.wants(r)),
    }
}

async fn newest(look: &Look<'_>, name: &JobName, most: usize) -> Result<Vec<Build>, Error> {
    let mut found: Vec<Build> = Vec::new();
    while found.len() < most {
        let limit = PAGE.min(u32::try_from(most - found.len()).unwrap_or(PAGE));
        let page = look.store().builds(name, found.last().map(|b| b.number), limit).await?;
        let full = page.len() == limit as usize;
        found.extend(page);
        if !full {
            break;
        }
    }
    Ok(found)
}

async fn list(look: &Look<'_>, builds: Vec<Build>, select: &Select) -> Result<Value, Error> {
    let mut shown = Vec::with_capacity(builds.len());
    for found in builds {
        shown.push(build::build(look, &found, select).await?);
    }
    Ok(Value::List(shown))
}

async fn optional(look: &Look<'_>, found: Option<Build>, select: &Select) -> Result<Value, Error> {
    match found {
        Some(found) => build::build(look, &found, select).await,
        None => Ok(Value::Null),
    }
}

async fn waiting(look: &Look<'_>, name: &JobName, shape: &mut Shape<'_>) -> Result<(), Error> {
    let inner = shape.wants("queueItem", PLAIN);
    if inner.is_none() && shape.wants("inQueue", PLAIN).is_none() {
        return Ok(());
    }
    let queued = look.queued(name).await?;
    shape.put("inQueue", PLAIN, queued.is_some());
    if let Some(inner) = inner {
        shape.set(
            "queueItem",
            match queued {
                Some(item) => Box::pin(queue::item(look, item, &inner)).await?,
                None => Value::Null,
            },
        );
    }
    Ok(())
}

/// The ball: result of the newest completed build, blinking while one runs.
pub(crate) fn color(summary: &ItemSummary) -> String {
    let ball = match (summary.disabled, summary.last_result) {
        (true, _) => "disabled",
        (false, None) => "notbuilt",
        (false, Some(BuildResult::Success)) => "blue",
        (false, Some(BuildResult::Unstable)) => "yellow",
        (false, Some(BuildResult::Failure)) => "red",
        (false, Some(BuildResult::NotBuilt)) => "notbuilt",
        (false, Some(BuildResult::Aborted)) => "aborted",
    };
    let blink = if summary.running > 0 { "_anime" } else { "" };
    format!("{ball}{blink}")
}

/// The weather, as far as the newest completed build tells it.
fn health(summary: &ItemSummary) -> Vec<Value> {
    let Some(result) = summary.last_result else { return Vec::new() };
    let good = result <= BuildResult::Unstable;
    let select = Select::Visible(1);
    let mut report = Shape::plain(&select);
    report.put(
        "description",
        PLAIN,
        match good {
            true => "Build stability: No recent builds failed.",
            false => "Build stability: The last build failed.",
        },
    );
    report.put("iconClassName", PLAIN, if good { "icon-health-80plus" } else { "icon-health-00to19" });
    report.put("iconUrl", PLAIN, if good { "health-80plus.png" } else { "health-00to19.png" });
    report.put("score", PLAIN, if good { 100u32 } else { 0 });
    vec![report.done()]
}

/// `ParametersDefinitionProperty`, if the job has parameters.
async fn parameters(look: &Look<'_>, name: &JobName, select: &Select) -> Result<Vec<Value>, Error> {
    let effective = look.effective(name).await?;
    if effective.parameters.is_empty() {
        return Ok(Vec::new());
    }
    let mut property = Shape::new("hudson.model.ParametersDefinitionProperty", select);
    if let Some(inner) = property.wants("parameterDefinitions", 2) {
        let definitions = effective.parameters.iter().map(|p| definition(p, &inner)).collect();
        property.set("parameterDefinitions", inner.range().cut(definitions));
    }
    Ok(vec![look.done(property)?])
}

fn definition(parameter: &ParameterDefinition, select: &Select) -> Value {
    let (class, value_class) = match &parameter.kind {
        ParameterKind::String { .. } => {
            ("hudson.model.StringParameterDefinition", "hudson.model.StringParameterValue")
        }
        ParameterKind::Text { .. } => {
            ("hudson.model.TextParameterDefinition", "hudson.model.TextParameterValue")
        }
        ParameterKind::Boolean { .. } => {
            ("hudson.model.BooleanParameterDefinition", "hudson.model.BooleanParameterValue")
        }
        ParameterKind::Choice { .. } => {
            ("hudson.model.ChoiceParameterDefinition", "hudson.model.StringParameterValue")
        }
        ParameterKind::Password { .. } => {
            ("hudson.model.PasswordParameterDefinition", "hudson.model.PasswordParameterValue")
        }
    };
    let mut shape = Shape::new(class, select);
    if let Some(inner) = shape.wants("defaultParameterValue", 3) {
        let secret = matches!(parameter.kind, ParameterKind::Password { .. });
        let value = (!secret).then(|| parameter.default_value());
        shape.set("defaultParameterValue", parameter_value(value_class, &parameter.name, value, &inner));
    }
    shape.put("description", 3, parameter.description.clone());
    shape.put("name", 3, parameter.name.clone());
    shape.put("type", 3, parameter.class());
    if let ParameterKind::Choice { choices } = &parameter.kind {
        shape.put("choices", 3, choices.iter().map(Value::text).collect::<Vec<_>>());
    }
    shape.done()
}

/// A `…ParameterValue`; one without a value is a password.
pub(super) fn parameter_value(
    class: &'static str,
    name: &str,
    value: Option<ParamValue>,
    select: &Select,
) -> Value {
    let mut shape = Shape::new(class, select);
    shape.put("name", 3, name.to_owned());
    match value {
        Some(ParamValue::Flag(flag)) => shape.put("value", 4, flag),
        // Not a value to show.
        Some(ParamValue::Secret { .. }) => shape.put("value", 4, Value::Null),
        Some(ParamValue::Text(text)) => shape.put("value", 4, text),
        None => &mut shape,
    };
    shape.done()
}

//! A job with its builds, or a folder with what is in it.

use model::{JobName, ParameterDefinition};
use store::{Build, ItemKind};

use super::form::form;
use super::html::{escape, link, mark, page, table};
use super::{home, moment, path_of, trail};
use crate::api::why_waits;
use crate::error::Error;
use crate::look::Look;

/// How many builds the page shows.
const BUILDS: u32 = 50;
/// How many queued builds, and how many waiting steps.
const WAITING: usize = 20;

pub(super) async fn item(look: &Look<'_>, name: &JobName) -> Result<String, Error> {
    let configured = look.configured(name).await?;
    let title = configured.display_name().unwrap_or(name.short()).to_owned();
    let mut content = String::new();
    if let Some(text) = configured.description() {
        content.push_str(&format!("<p class=\"text\">{}</p>", escape(text)));
    }
    match configured.item.summary.kind {
        ItemKind::Folder => {
            let children = look.store().children(Some(name), None, home::ROWS).await?;
            content.push_str(&home::items(look, &children));
        }
        ItemKind::Pipeline | ItemKind::Freestyle => {
            let parameters = &look.effective(name).await?.parameters;
            let disabled = configured.item.summary.disabled;
            content.push_str(&actions(look, name, disabled, parameters));
            content.push_str(&waiting(look, name).await?);
            let builds = look.store().builds(name, None, BUILDS).await?;
            content.push_str(&table_of(look, name, &builds));
        }
    }
    let config = link(&format!("{}config.xml", path_of(look.base, name)), "config.xml");
    content.push_str(&format!("<p>{config}</p>"));
    Ok(page(&look.frame, &title, &trail(look.base, name), &content))
}

fn actions(look: &Look<'_>, name: &JobName, disabled: bool, parameters: &[ParameterDefinition]) -> String {
    let path = path_of(look.base, name);
    let (verb, text) = if disabled { ("enable", "Enable") } else { ("disable", "Disable") };
    let toggle = look.frame.button(&format!("{path}{verb}"), text);
    if !look.frame.signed_in() {
        return if disabled { "<p>This job is disabled.</p>".to_owned() } else { String::new() };
    }
    match (disabled, parameters) {
        (true, _) => format!("<div class=\"actions\"><p>This job is disabled.</p>{toggle}</div>"),
        (false, []) => {
            format!(
                "<div class=\"actions\">{}{toggle}</div>",
                look.frame.button(&format!("{path}build"), "Build now")
            )
        }
        (false, parameters) => {
            let form = form(&look.frame, &format!("{path}buildWithParameters"), parameters);
            format!("{form}<div class=\"actions\">{toggle}</div>")
        }
    }
}

/// Builds of the job that are to begin, and steps of its builds that wait; nothing when there are none.
async fn waiting(look: &Look<'_>, name: &JobName) -> Result<String, Error> {
    let mut rows = Vec::new();
    let items = look.queue().await?.items.iter().filter(|item| item.job == *name);
    for item in items.take(WAITING) {
        let cancel =
            look.frame.button(&format!("{}queue/item/{}/cancelQueue", look.base.path(), item.id.0), "Cancel");
        let why = escape(&why_waits(look, item).await?);
        rows.push(vec!["a new build".to_owned(), why, moment(item.since), cancel]);
    }
    let waits = look.seen().await?.waits.iter().filter(|wait| wait.job == *name);
    for wait in waits.take(WAITING) {
        let address = format!("{}{}/", path_of(look.base, name), wait.number);
        let what = format!("a step of {}", link(&address, &format!("#{}", wait.number)));
        rows.push(vec![what, escape(&look.reason(wait).await?.why), moment(wait.since), String::new()]);
    }
    if rows.is_empty() {
        return Ok(String::new());
    }
    Ok(format!("<h2>Queued</h2>{}<h2>Builds</h2>", table("queued", &["What", "Why", "Since", ""], &rows, "")))
}

fn table_of(look: &Look<'_>, name: &JobName, builds: &[Build]) -> String {
    let rows: Vec<Vec<String>> = builds
        .iter()
        .map(|build| {
            let address = format!("{}{}/", path_of(look.base, name), build.number);
            let shown = build.display_name.clone().unwrap_or_else(|| format!("#{}", build.number));
            let took = build.ended_at.map_or("…".to_owned(), |end| {
                format!("{:.1} s", end.since(build.started_at).as_secs_f64())
            });
            vec![result(build), link(&address, &shown), moment(build.started_at), took]
        })
        .collect();
    table("builds", &["Result", "Build", "Started", "Took"], &rows, "There are no builds yet.")
}

/// Result of a build as a mark.
pub(super) fn result(build: &Build) -> String {
    match (build.building(), build.result) {
        (true, _) => mark("building", "building"),
        (false, Some(result)) => mark(&result.as_str().to_lowercase(), &result.as_str().replace('_', " ")),
        (false, None) => mark("notbuilt", "unknown"),
    }
}

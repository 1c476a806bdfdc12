//! A job with its builds, or a folder with what is in it.

use model::JobName;
use store::{Build, ItemKind};

use super::html::{button, escape, link, mark, page, table};
use super::{home, moment, path_of, trail};
use crate::error::Error;
use crate::look::Look;

/// How many builds the page shows.
const BUILDS: u32 = 50;

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
        ItemKind::Pipeline => {
            let parameterized = !look.effective(name).await?.parameters.is_empty();
            let disabled = configured.item.summary.disabled;
            content.push_str(&actions(look, name, disabled, parameterized));
            let builds = look.store().builds(name, None, BUILDS).await?;
            content.push_str(&table_of(look, name, &builds));
        }
    }
    let config = link(&format!("{}config.xml", path_of(look.base, name)), "config.xml");
    content.push_str(&format!("<p>{config}</p>"));
    Ok(page(look.base.path(), &title, &trail(look.base, name), &content))
}

fn actions(look: &Look<'_>, name: &JobName, disabled: bool, parameterized: bool) -> String {
    let path = path_of(look.base, name);
    let build = match (disabled, parameterized) {
        (true, _) => "<p>This job is disabled.</p>".to_owned(),
        (false, true) => button(&format!("{path}buildWithParameters"), "Build with default parameters"),
        (false, false) => button(&format!("{path}build"), "Build now"),
    };
    let (verb, text) = if disabled { ("enable", "Enable") } else { ("disable", "Disable") };
    format!("<div class=\"actions\">{build}{}</div>", button(&format!("{path}{verb}"), text))
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

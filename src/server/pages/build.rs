//! A build with its log, live while it runs; its artifacts.

use model::JobName;
use store::{Artifact, Build, Which};

use super::html::{self, escape, link};
use super::{item, moment, path_of, trail};
use crate::act::builds::found;
use crate::error::Error;
use crate::look::Look;
use crate::reply::{self, Reply};
use crate::request::segment;

/// How many artifacts the page lists.
const FILES: u32 = 100;

fn path(look: &Look<'_>, build: &Build) -> String {
    format!("{}{}/", path_of(look.base, &build.job), build.number)
}

fn title(build: &Build) -> String {
    let shown = build.display_name.clone().unwrap_or_else(|| format!("#{}", build.number));
    format!("{} {shown}", build.job.short())
}

fn way(look: &Look<'_>, build: &Build) -> Vec<(String, String)> {
    let mut way = trail(look.base, &build.job);
    way.push((path(look, build), format!("#{}", build.number)));
    way
}

/// The log; the page's script fetches it and goes on while there is more.
fn log(look: &Look<'_>, build: &Build) -> String {
    let path = escape(&path(look, build));
    format!(
        "<p><a href=\"{path}consoleText\">Whole log as text</a></p>\
         <pre id=\"log\" role=\"log\" tabindex=\"0\" aria-label=\"Log\" data-log=\"{path}logText/progressiveText\"></pre>"
    )
}

pub(super) async fn page(look: &Look<'_>, name: &JobName, which: Which) -> Result<String, Error> {
    let build = found(look, name, which).await?;
    let mut content = format!("<p>{} started {}", item::result(&build), moment(build.started_at));
    if let Some(end) = build.ended_at {
        content.push_str(&format!(", took {:.1} s", end.since(build.started_at).as_secs_f64()));
    }
    content.push_str("</p><ul>");
    for cause in &build.causes {
        content.push_str(&format!("<li>{}</li>", escape(&cause.short_description())));
    }
    content.push_str("</ul>");
    if let Some(text) = &build.description {
        content.push_str(&format!("<p class=\"text\">{}</p>", escape(text)));
    }
    if build.building() {
        let stop = look.frame.button(&format!("{}stop", path(look, &build)), "Stop");
        content.push_str(&format!("<div class=\"actions\">{stop}</div>"));
    }
    let files = look.store().artifacts(build.id, None, FILES).await?;
    if !files.is_empty() {
        content.push_str("<h2>Artifacts</h2>");
        content.push_str(&list(look, &build, &files));
        content.push_str(&zip(look, &build, ""));
    }
    content.push_str("<h2>Log</h2>");
    content.push_str(&log(look, &build));
    Ok(html::page(&look.frame, &title(&build), &way(look, &build), &content))
}

/// `console`: the log alone.
pub(crate) async fn console(look: &Look<'_>, name: &JobName, which: Which) -> Reply {
    let build = found(look, name, which).await?;
    let content = log(look, &build);
    Ok(reply::html(html::page(&look.frame, &title(&build), &way(look, &build), &content)))
}

fn list(look: &Look<'_>, build: &Build, files: &[Artifact]) -> String {
    let base = format!("{}artifact/", path(look, build));
    let entry = |file: &Artifact| {
        let encoded: Vec<String> = file.path.split('/').map(segment).collect();
        let address = format!("{base}{}", encoded.join("/"));
        format!("<li>{} <small>{} bytes</small></li>", link(&address, &file.path), file.size)
    };
    format!("<ul>{}</ul>", files.iter().map(entry).collect::<String>())
}

/// All of them, or all in a folder, as one file.
fn zip(look: &Look<'_>, build: &Build, folder: &str) -> String {
    let parts = folder.split('/').filter(|part| !part.is_empty());
    let encoded: String = parts.map(|part| format!("{}/", segment(part))).collect();
    let own = folder.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("archive");
    let address = format!("{}artifact/{encoded}*zip*/{}.zip", path(look, build), segment(own));
    format!("<p>{}</p>", link(&address, "All as one zip"))
}

/// Artifacts of a build, or of one of its folders.
pub(crate) fn artifacts(look: &Look<'_>, build: &Build, folder: &str, files: &[Artifact]) -> String {
    let title = if folder.is_empty() { "Artifacts".to_owned() } else { format!("Artifacts in {folder}") };
    let content = if files.is_empty() {
        "<p>The build has archived nothing.</p>".to_owned()
    } else {
        list(look, build, files) + &zip(look, build, folder)
    };
    html::page(&look.frame, &title, &way(look, build), &content)
}

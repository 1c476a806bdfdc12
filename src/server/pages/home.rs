//! The first page: jobs and replicas. And the queue.

use store::{ItemKind, ItemSummary};

use super::html::{link, mark, page, table};
use super::{moment, path_of};
use crate::api::color;
use crate::error::Error;
use crate::look::Look;
use crate::pages::html::escape;

/// Most rows of a list on a page.
pub(super) const ROWS: u32 = 500;

pub(super) async fn home(look: &Look<'_>) -> Result<String, Error> {
    let jobs = look.store().children(None, None, ROWS).await?;
    let content = format!(
        "<section aria-labelledby=\"h-jobs\"><h2 id=\"h-jobs\">Jobs</h2>{}</section>\
         <section aria-labelledby=\"h-replicas\"><h2 id=\"h-replicas\">Replicas</h2>{}\
         <p id=\"lock\">{}</p></section><p id=\"fresh\" role=\"status\"></p>",
        items(look, &jobs),
        replicas(look).await?,
        lock(look).await?,
    );
    Ok(page(&look.frame, "Jobs and replicas", &[], &content))
}

/// Jobs and folders as a table.
pub(super) fn items(look: &Look<'_>, items: &[ItemSummary]) -> String {
    let rows: Vec<Vec<String>> = items.iter().map(|item| row(look, item)).collect();
    let more = if items.len() == ROWS as usize {
        format!("<p>The first {ROWS} are shown.</p>")
    } else {
        String::new()
    };
    let table = table("jobs", &["Status", "Name", "Last build"], &rows, "There is nothing yet.");
    format!("{table}{more}")
}

fn row(look: &Look<'_>, item: &ItemSummary) -> Vec<String> {
    let path = path_of(look.base, &item.name);
    let name = link(&path, item.name.short());
    match item.kind {
        ItemKind::Folder => vec![mark("folder", "folder"), name, String::new()],
        ItemKind::Pipeline | ItemKind::Freestyle => {
            let color = color(item);
            let last = item.next_build - 1;
            let last = if last == 0 {
                "–".to_owned()
            } else {
                link(&format!("{path}lastBuild/"), &format!("#{last}"))
            };
            vec![mark(&color, word(&color)), name, last]
        }
    }
}

/// What a ball means.
fn word(color: &str) -> &'static str {
    match color {
        "blue" => "success",
        "yellow" => "unstable",
        "red" => "failure",
        "aborted" => "aborted",
        "disabled" => "disabled",
        "notbuilt" => "not built",
        _ => "building",
    }
}

async fn replicas(look: &Look<'_>) -> Result<String, Error> {
    let mut rows = Vec::new();
    let (running, links) = (look.running().await?, look.links().await?);
    for member in look.members().await? {
        let builds = running.iter().filter(|r| r.owner == member.id.incarnation).count();
        let agents = links.iter().filter(|l| l.holder.as_ref() == Some(&member.id)).count();
        rows.push(vec![
            escape(member.id.name.as_str()),
            mark(member.state.as_str(), member.state.as_str()),
            builds.to_string(),
            agents.to_string(),
            moment(member.since),
            escape(&member.version),
        ]);
    }
    let heads = ["Name", "State", "Builds", "Agents", "Since", "Version"];
    Ok(table("replicas", &heads, &rows, "No replica has joined."))
}

async fn lock(look: &Look<'_>) -> Result<String, Error> {
    let leases = look.store().leases().await?;
    let holder = leases.iter().find(|l| l.name == "startup").and_then(|l| l.holder.clone());
    Ok(match holder {
        Some(holder) if look.live(&holder).await? => {
            format!("{} holds the startup lock.", escape(holder.name.as_str()))
        }
        _ => "The startup lock is free.".to_owned(),
    })
}

/// `node` steps without an executor, and why.
async fn waits(look: &Look<'_>) -> Result<String, Error> {
    let mut rows = Vec::new();
    for wait in look.seen().await?.waits.iter().take(ROWS as usize) {
        let address = format!("{}{}/", path_of(look.base, &wait.job), wait.number);
        let build = link(&address, &format!("{} #{}", wait.job, wait.number));
        rows.push(vec![build, escape(&look.reason(wait).await?.why), moment(wait.since)]);
    }
    Ok(table("waits", &["Build", "Why", "Since"], &rows, "No step waits."))
}

pub(super) async fn queue(look: &Look<'_>) -> Result<String, Error> {
    let items = &look.queue().await?.items;
    let rows: Vec<Vec<String>> = items
        .iter()
        .take(ROWS as usize)
        .map(|item| {
            let job = link(&path_of(look.base, &item.job), item.job.as_str());
            vec![item.id.0.to_string(), job, moment(item.since)]
        })
        .collect();
    let content = format!(
        "<p>{} waiting.</p>{}<h2>Steps that wait for an executor</h2>{}",
        items.len(),
        table("queue", &["Item", "Job", "Since"], &rows, "Nothing waits."),
        waits(look).await?,
    );
    Ok(page(&look.frame, "Queue", &[], &content))
}

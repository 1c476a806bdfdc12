//! Creating, configuring, renaming and deleting jobs and folders.

use http::StatusCode;
use model::JobName;

use crate::error::Error;
use crate::look::Look;
use crate::reply::{self, Reply};
use crate::request::Asked;

/// `createItem`: from XML, with `mode=copy` from another item, or with a class as `mode` an empty one.
pub(crate) async fn create(look: &Look<'_>, asked: &Asked, folder: Option<&JobName>) -> Reply {
    let commands = &look.app.commands;
    if let Some(folder) = folder {
        look.configured(folder).await?;
    }
    let name = asked.param("name").ok_or_else(|| Error::bad("Query parameter 'name' is required"))?.trim();
    match asked.param("mode") {
        Some("copy") => {
            let from = asked.param("from").ok_or_else(|| Error::bad("Query parameter 'from' is required"))?;
            let xml = source(look, folder, from).await?;
            let created = commands.create_item(folder, name, &xml).await?;
            reply::found(&format!("{}configure", look.base.item(&created)))
        }
        Some(mode) if plain(mode).is_some() => {
            let created = commands.create_item(folder, name, plain(mode).unwrap_or_default()).await?;
            reply::found(&format!("{}configure", look.base.item(&created)))
        }
        Some(mode) if asked.form.get("mode").is_some() || asked.body.is_empty() => {
            Err(Error::bad(format!("Unknown mode: {mode}; send the configuration as XML")))
        }
        _ => {
            commands.create_item(folder, name, asked.xml()?).await?;
            Ok(reply::empty(StatusCode::OK))
        }
    }
}

/// The configuration of a new item of a class, as its form creates it.
fn plain(mode: &str) -> Option<&'static str> {
    match mode {
        "com.cloudbees.hudson.plugins.folder.Folder" => {
            Some("<?xml version='1.1' encoding='UTF-8'?>\n<com.cloudbees.hudson.plugins.folder.Folder/>\n")
        }
        "org.jenkinsci.plugins.workflow.job.WorkflowJob" => {
            Some("<?xml version='1.1' encoding='UTF-8'?>\n<flow-definition/>\n")
        }
        "hudson.model.FreeStyleProject" => Some("<?xml version='1.1' encoding='UTF-8'?>\n<project/>\n"),
        _ => None,
    }
}

/// The configuration of what `from` names: `/full/name`, or relative to the folder.
async fn source(look: &Look<'_>, folder: Option<&JobName>, from: &str) -> Result<String, Error> {
    let full = match (from.strip_prefix('/'), folder) {
        (Some(absolute), _) => absolute.to_owned(),
        (None, Some(folder)) => format!("{folder}/{from}"),
        (None, None) => from.to_owned(),
    };
    let missing = || Error::bad(format!("No such job: {from}"));
    let name = JobName::parse(&full).map_err(|_| missing())?;
    let item = look.store().item(&name).await?;
    Ok(item.ok_or_else(missing)?.config)
}

pub(crate) async fn config(look: &Look<'_>, asked: &Asked, name: &JobName) -> Reply {
    if asked.post() {
        look.app.commands.configure_item(name, asked.xml()?).await?;
        return Ok(reply::empty(StatusCode::OK));
    }
    let item = look.store().item(name).await?;
    let item = item.ok_or_else(|| Error::missing(format!("there is no job {name}")))?;
    Ok(reply::xml(item.config))
}

pub(crate) async fn delete(look: &Look<'_>, asked: &Asked, name: &JobName) -> Reply {
    look.app.commands.delete_item(name, asked.by()).await?;
    reply::found(&look.base.folder(name.parent().as_ref()))
}

/// `confirmRename`, and `doRename` as it was called before.
pub(crate) async fn rename(look: &Look<'_>, asked: &Asked, name: &JobName) -> Reply {
    let new = asked.param("newName").ok_or_else(|| Error::bad("Query parameter 'newName' is required"))?;
    let renamed = look.app.commands.rename_item(name, new.trim()).await?;
    reply::found(&look.base.item(&renamed))
}

pub(crate) async fn set_disabled(look: &Look<'_>, name: &JobName, disabled: bool) -> Reply {
    look.app.commands.set_disabled(name, disabled).await?;
    reply::found(&look.base.item(name))
}

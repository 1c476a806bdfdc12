//! The controller itself, and the view `all` of it and of folders.

use model::JobName;

use super::item;
use crate::error::Error;
use crate::export::{PLAIN, Select, Shape, Value};
use crate::look::Look;

pub(super) async fn root(look: &Look<'_>, select: &Select) -> Result<Value, Error> {
    let mut root = Shape::new("hudson.model.Hudson", select);
    if root.wants("assignedLabels", PLAIN).is_some() {
        root.set("assignedLabels", vec![Value::empty()]);
    }
    root.put("mode", PLAIN, "NORMAL");
    root.put("nodeDescription", PLAIN, "the controller's built-in node");
    root.put("nodeName", 999, "");
    root.put("numExecutors", PLAIN, 0u32);
    root.put("description", PLAIN, Value::Null);
    if let Some(inner) = root.wants("jobs", PLAIN) {
        root.set("jobs", item::children(look, None, &inner).await?);
    }
    root.put("overallLoad", PLAIN, Value::empty());
    views(look, None, &mut root).await?;
    let quiet = look.meta().await?.quiet.clone();
    root.put("quietDownReason", PLAIN, quiet.clone());
    root.put("quietingDown", PLAIN, quiet.is_some());
    root.put("slaveAgentPort", PLAIN, -1i64);
    root.put("unlabeledLoad", PLAIN, Value::empty());
    root.put("url", PLAIN, look.base.root().to_owned());
    root.put("useCrumbs", PLAIN, true);
    root.put("useSecurity", PLAIN, true);
    if let Some(inner) = root.wants("views", PLAIN) {
        root.set("views", vec![view(look, None, &inner).await?]);
    }
    look.done(root)
}

/// `primaryView`.
pub(super) async fn views(
    look: &Look<'_>,
    folder: Option<&JobName>,
    shape: &mut Shape<'_>,
) -> Result<(), Error> {
    if let Some(inner) = shape.wants("primaryView", PLAIN) {
        shape.set("primaryView", view(look, folder, &inner).await?);
    }
    Ok(())
}

/// The view `all`; the only one there is.
pub(super) async fn view(look: &Look<'_>, folder: Option<&JobName>, select: &Select) -> Result<Value, Error> {
    if let Some(folder) = folder {
        look.configured(folder).await?;
    }
    let mut view = Shape::new("hudson.model.AllView", select);
    view.put("description", PLAIN, Value::Null);
    if let Some(inner) = view.wants("jobs", PLAIN) {
        view.set("jobs", Box::pin(item::children(look, folder, &inner)).await?);
    }
    view.put("name", 2, "all");
    view.put("property", PLAIN, Vec::new());
    // it is the primary view, so its address is its owner's
    view.put("url", 2, look.base.folder(folder));
    look.done(view)
}

/// There are no plugins; what clients know as such is built in.
pub(super) fn plugins(select: &Select) -> Value {
    let mut manager = Shape::new("hudson.LocalPluginManager", select);
    manager.put("plugins", PLAIN, Vec::new());
    manager.done()
}

//! Plain pages: enough to see jobs, builds, nodes and replicas, and to have somewhere to go after a form.

mod build;
mod confirm;
mod form;
mod home;
pub(crate) mod html;
mod item;
mod node;
pub(crate) mod setup;
mod users;

use model::{JobName, Millis};

use crate::error::Error;
use crate::look::Look;
use crate::path::Thing;
use crate::reply::{self, Reply};
use crate::request::{Asked, Base, item_path};

pub(crate) use build::{artifacts, console};
pub(crate) use confirm::confirm;
pub(crate) use users::{new_token, sign_in};

pub(crate) async fn page(look: &Look<'_>, asked: &Asked, thing: &Thing) -> Reply {
    let text = match thing {
        Thing::Root | Thing::View(None) | Thing::Replicas => home::home(look).await?,
        Thing::Item(name) | Thing::View(Some(name)) => item::item(look, name).await?,
        Thing::Build(name, which) => build::page(look, name, *which).await?,
        Thing::Queue | Thing::QueueItem(_) => home::queue(look).await?,
        Thing::Computers => node::all(look).await?,
        Thing::Computer(name) => node::one(look, name).await?,
        Thing::WhoAmI => users::who_am_i(look, asked),
        Thing::Me => return reply::found(&look.base.user(asked.by())),
        Thing::User(id) => users::user(look, asked, id).await?,
        Thing::People | Thing::AsynchPeople => users::people(look).await?,
        Thing::Realm => users::realm(look).await?,
        Thing::Plugins => html::page(&look.frame, "Plugins", &[], "<p>There are no plugins.</p>"),
        Thing::CrumbIssuer => return Err(Error::missing("see crumbIssuer/api/json")),
    };
    Ok(reply::html(text))
}

/// The way to an item: its folders and itself.
fn trail(base: &Base, name: &JobName) -> Vec<(String, String)> {
    let mut way = Vec::new();
    let mut at = Some(name.clone());
    while let Some(name) = at {
        way.push((path_of(base, &name), name.short().to_owned()));
        at = name.parent();
    }
    way.reverse();
    way
}

/// An item's path, without host.
fn path_of(base: &Base, name: &JobName) -> String {
    format!("{}{}", base.path(), item_path(name))
}

/// A moment in UTC; the page's script shows it in the reader's time.
fn moment(at: Millis) -> String {
    let millis = at.0;
    let Ok(time) = jiff::Timestamp::from_millisecond(millis) else { return millis.to_string() };
    let shown = time.strftime("%Y-%m-%d %H:%M:%S UTC");
    format!(
        "<time data-millis=\"{millis}\" datetime=\"{}\">{shown}</time>",
        time.strftime("%Y-%m-%dT%H:%M:%SZ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_readable_without_scripts() {
        assert_eq!(
            moment(Millis(1_764_094_668_123)),
            "<time data-millis=\"1764094668123\" datetime=\"2025-11-25T18:17:48Z\">2025-11-25 18:17:48 UTC</time>"
        );
        assert_eq!(moment(Millis(i64::MAX)), i64::MAX.to_string());
    }
}

//! Pages that ask an administrator once more before the controller as a whole is restarted, or builds are held back.

use model::RestartWhen;

use super::html::{escape, field, page};
use crate::look::Look;
use crate::path::Confirm;
use crate::reply::{self, Reply};

const ONE_BY_ONE: &str = "All replicas are restarted, one after the other. Each hands over its builds and agents before: they go on meanwhile.";
const WAITS: &str = "They are restarted one after the other, once no step of a build is at work, after 24 hours at the latest. \
    Builds go on beginning until then. While it waits, it can be withdrawn at cancelQuietDown.";
const QUIET: &str = "No build begins until that is ended, also not after a restart; builds that run go on.";
const BEGIN: &str = "Builds begin again. A restart that waits until no step is at work is withdrawn.";

pub(crate) async fn confirm(look: &Look<'_>, what: Confirm) -> Reply {
    let reason = || field("text", "reason", "Reason, shown on all pages", "", "");
    let (title, says, address, fields, button) = match what {
        Confirm::Restart(RestartWhen::Immediately) => {
            ("Restart all replicas", ONE_BY_ONE, "restart", String::new(), "Restart")
        }
        Confirm::Restart(RestartWhen::Idle) => {
            ("Restart all replicas when idle", WAITS, "safeRestart", String::new(), "Restart when idle")
        }
        Confirm::Quiet(true) => ("Begin a quiet period", QUIET, "quietDown", reason(), "Let no build begin"),
        Confirm::Quiet(false) => {
            ("End the quiet period", BEGIN, "cancelQuietDown", String::new(), "Let builds begin")
        }
    };
    let running = match look.running().await?.len() {
        0 => "No build runs".to_owned(),
        1 => "One build runs".to_owned(),
        more => format!("{more} builds run"),
    };
    let content = format!(
        "<p>{}</p><p>{running} now.</p>{}",
        escape(says),
        look.frame.form(&format!("{}{address}", look.base.path()), &fields, button),
    );
    Ok(reply::html(page(&look.frame, title, &[], &content)))
}

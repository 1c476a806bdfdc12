//! Who may do what. Pure: a route and who asks go in, a verdict comes out.
//!
//! Administrators may do everything. Other users may do everything but administer nodes (and see the secrets of agents) and
//! users. Who has not signed in may look at jobs, builds, the queue and nodes, if an administrator has allowed that.

use http::Method;
use security::Identity;

use crate::error::Error;
use crate::path::{Action, Route, Thing};

/// What somebody must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// Anybody.
    Nothing,
    /// Signed in, unless who has not may look.
    Read,
    SignedIn,
    Administrator,
}

/// Refuses who may not. `anonymous_read`: who has not signed in may look.
pub(crate) fn check(need: Need, user: Option<&Identity>, anonymous_read: bool) -> Result<(), Error> {
    match (need, user) {
        (Need::Nothing, _) | (Need::Read | Need::SignedIn, Some(_)) => Ok(()),
        (Need::Read, None) if anonymous_read => Ok(()),
        (Need::Administrator, Some(user)) if user.admin => Ok(()),
        (Need::Administrator, Some(user)) => {
            Err(Error::Forbidden(format!("{} is missing the Overall/Administer permission", user.id)))
        }
        (Need::Read | Need::SignedIn | Need::Administrator, None) => {
            Err(Error::Unauthorized("sign in with a user name and a password".to_owned()))
        }
    }
}

/// What the route asks of its user. Open routes ask nothing: they ask for secrets of their own.
pub(crate) fn need(route: &Route, method: &Method) -> Need {
    match route {
        Route::Export(thing, _) | Route::Page(thing) => to_see(thing),
        Route::Do(action) => to_do(action, method),
        Route::NotServed(_) | Route::NotFound => Need::Read,
        Route::Metrics | Route::Prometheus { .. } | Route::MetricsOf(..) | Route::Confirm(_) => {
            Need::Administrator
        }
        Route::Login
        | Route::LoginError
        | Route::SignIn
        | Route::SignOut
        | Route::Setup(_)
        | Route::Healthz
        | Route::Readyz
        | Route::Static(_)
        | Route::SealedJnlp(_)
        | Route::Agent
        | Route::Peer
        | Route::Admin(_) => Need::Nothing,
    }
}

fn to_see(thing: &Thing) -> Need {
    match thing {
        Thing::WhoAmI => Need::Nothing,
        Thing::Root
        | Thing::View(_)
        | Thing::Item(_)
        | Thing::Build(..)
        | Thing::Queue
        | Thing::QueueItem(_)
        | Thing::Computers
        | Thing::Computer(_)
        | Thing::CrumbIssuer
        | Thing::Replicas
        | Thing::Plugins => Need::Read,
        Thing::Me | Thing::User(_) | Thing::People | Thing::AsynchPeople => Need::SignedIn,
        Thing::Realm => Need::Administrator,
    }
}

fn to_do(action: &Action, method: &Method) -> Need {
    match action {
        Action::ConsoleText(..)
        | Action::ProgressiveText(..)
        | Action::ProgressiveHtml(..)
        | Action::Console(..)
        | Action::Artifact(..)
        | Action::ArtifactZip(..)
        | Action::BuildNumber(..) => Need::Read,
        Action::NodeConfig(_) if *method != Method::POST => Need::SignedIn,
        Action::NodeCreate
        | Action::NodeConfig(_)
        | Action::NodeDelete(_)
        | Action::NodeToggleOffline(_)
        | Action::NodeJnlp(_)
        | Action::UserCreate
        | Action::UserDelete(_)
        | Action::VerifyLog(..)
        | Action::AnonymousRead
        | Action::Restart(_)
        | Action::Reload
        | Action::CancelRestart
        | Action::Drain(_)
        | Action::Quiet(_) => Need::Administrator,
        Action::CreateItem(_)
        | Action::ItemConfig(_)
        | Action::ItemDelete(_)
        | Action::ItemRename(_)
        | Action::ItemEnable(_)
        | Action::ItemDisable(_)
        | Action::Build(_)
        | Action::BuildWithParameters(_)
        | Action::BuildDelete(..)
        | Action::BuildKeep(..)
        | Action::BuildStop(..)
        | Action::BuildTerm(..)
        | Action::BuildKill(..)
        | Action::QueueCancel
        | Action::QueueItemCancel(_)
        // whose user it is, is asked there
        | Action::UserConfigure(_)
        | Action::TokenGenerate(_)
        | Action::TokenRename(_)
        | Action::TokenRevoke(_)
        | Action::TokenRevokeAll(_)
        | Action::TokenRevokeAllExcept(_) => Need::SignedIn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::parse;

    fn user(admin: bool) -> Identity {
        Identity { id: "u".to_owned(), full_name: "U".to_owned(), admin }
    }

    #[test]
    fn each_needs_what_it_should() {
        for (method, path, expected) in [
            ("GET", "/whoAmI/api/json", Need::Nothing),
            ("GET", "/login", Need::Nothing),
            ("GET", "/", Need::Read),
            ("GET", "/job/a/1/consoleText", Need::Read),
            ("GET", "/job/a/config.xml", Need::SignedIn),
            ("GET", "/people/", Need::SignedIn),
            ("GET", "/metrics", Need::Administrator),
            ("GET", "/prometheus/", Need::Administrator),
            ("GET", "/metrics/currentUser/ping", Need::Administrator),
            ("POST", "/job/a/build", Need::SignedIn),
            ("POST", "/me/descriptorByName/jenkins.security.ApiTokenProperty/revoke", Need::SignedIn),
            ("GET", "/computer/n/config.xml", Need::SignedIn),
            ("POST", "/computer/n/config.xml", Need::Administrator),
            ("GET", "/computer/n/jenkins-agent.jnlp", Need::Administrator),
            ("POST", "/computer/doCreateItem", Need::Administrator),
            ("POST", "/safeRestart", Need::Administrator),
            ("POST", "/quietDown", Need::Administrator),
            ("GET", "/securityRealm/", Need::Administrator),
            ("POST", "/securityRealm/createAccountByAdmin", Need::Administrator),
            ("POST", "/securityRealm/user/u/doDelete", Need::Administrator),
            ("POST", "/user/u/doDelete", Need::Administrator),
            ("POST", "/securityRealm/anonymousRead", Need::Administrator),
        ] {
            assert_eq!(need(&parse(path), &method.parse().unwrap()), expected, "{method} {path}");
        }
    }

    #[test]
    fn only_who_is_enough_is_let_in() {
        let all = [Need::Nothing, Need::Read, Need::SignedIn, Need::Administrator];
        let admin = user(true);
        let plain = user(false);
        for (who, anonymous_read, most) in [
            (None, false, Need::Nothing),
            (None, true, Need::Read),
            (Some(&plain), false, Need::SignedIn),
            (Some(&admin), false, Need::Administrator),
        ] {
            for need in all {
                assert_eq!(check(need, who, anonymous_read).is_ok(), need <= most, "{need:?} {who:?}");
            }
        }
        assert_eq!(check(Need::Administrator, Some(&plain), true).unwrap_err().status(), 403);
        assert_eq!(check(Need::SignedIn, None, true).unwrap_err().status(), 401);
    }
}

//! From route to handler, for requests of users.

use crate::error::Error;
use crate::look::Look;
use crate::path::{Action, Route};
use crate::ports::App;
use crate::reply::Reply;
use crate::request::Asked;
use crate::{act, api, artifact, log, metrics, pages, verify};

/// May be called again when the store was away.
pub(crate) async fn dispatch(app: &App, asked: &Asked, route: &Route) -> Reply {
    let mut look = Look::of(app, asked);
    if route.page() {
        look.frame.quiet = look.meta().await?.quiet.clone();
    }
    match route {
        Route::Export(thing, format) => api::export(&look, asked, thing, *format).await,
        Route::Page(thing) => pages::page(&look, asked, thing).await,
        Route::Confirm(what) => pages::confirm(&look, *what).await,
        Route::Do(action) => act(&look, asked, action).await,
        Route::Metrics | Route::Prometheus { .. } | Route::MetricsOf(..) => {
            metrics::serve(app, route, &asked.base, &asked.headers, asked.query.get("scope")).await
        }
        Route::NotServed(why) => Err(Error::NotServed((*why).to_owned())),
        Route::NotFound => Err(Error::missing("there is nothing at this address")),
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
        | Route::Admin(_) => Err(Error::Internal("an open address came to the users' door".to_owned())),
    }
}

async fn act(look: &Look<'_>, asked: &Asked, action: &Action) -> Reply {
    match action {
        Action::CreateItem(folder) => act::items::create(look, asked, folder.as_ref()).await,
        Action::ItemConfig(name) => act::items::config(look, asked, name).await,
        Action::ItemDelete(name) => act::items::delete(look, asked, name).await,
        Action::ItemRename(name) => act::items::rename(look, asked, name).await,
        Action::ItemEnable(name) => act::items::set_disabled(look, name, false).await,
        Action::ItemDisable(name) => act::items::set_disabled(look, name, true).await,
        Action::Build(name) => act::builds::build(look, asked, name).await,
        Action::BuildWithParameters(name) => act::builds::with_parameters(look, asked, name).await,
        Action::BuildStop(name, which) => act::builds::stop(look, asked, name, *which).await,
        Action::BuildTerm(name, which) => act::builds::end(look, asked, name, *which, 1).await,
        Action::BuildKill(name, which) => act::builds::end(look, asked, name, *which, 2).await,
        Action::BuildDelete(name, which) => act::builds::delete(look, name, *which).await,
        Action::BuildKeep(name, which) => act::builds::keep(look, name, *which).await,
        Action::BuildNumber(name, which) => act::builds::number(look, name, *which).await,
        Action::Restart(when) => act::controller::restart(look, asked, *when).await,
        Action::Reload => act::controller::reload(look, asked).await,
        Action::CancelRestart => act::controller::cancel_restart(look).await,
        Action::Drain(name) => act::controller::drain(look, asked, name).await,
        Action::Quiet(true) => act::controller::quiet_down(look, asked).await,
        Action::Quiet(false) => act::controller::cancel_quiet_down(look).await,
        Action::QueueCancel => act::builds::cancel(look, asked).await,
        Action::QueueItemCancel(id) => act::builds::cancel_item(look, asked, *id).await,
        Action::ConsoleText(name, which) => log::console_text(look, name, *which).await,
        Action::ProgressiveText(name, which) => log::progressive(look, asked, name, *which, false).await,
        Action::ProgressiveHtml(name, which) => log::progressive(look, asked, name, *which, true).await,
        Action::Console(name, which) => pages::console(look, name, *which).await,
        Action::VerifyLog(name, which) => verify::log(look, asked, name, *which).await,
        Action::Artifact(name, which, path) => artifact::serve(look, asked, name, *which, path).await,
        Action::ArtifactZip(name, which, folder) => {
            artifact::archive::serve(look, name, *which, folder).await
        }
        Action::NodeCreate => act::nodes::create(look, asked).await,
        Action::NodeConfig(name) => act::nodes::config(look, asked, name).await,
        Action::NodeDelete(name) => act::nodes::delete(look, name).await,
        Action::NodeToggleOffline(name) => act::nodes::toggle_offline(look, asked, name).await,
        Action::NodeJnlp(name) => act::nodes::jnlp(look, name).await,
        Action::UserCreate => act::users::create(look, asked).await,
        Action::UserConfigure(whose) => act::users::configure(look, asked, whose).await,
        Action::UserDelete(whose) => act::users::delete(look, asked, whose).await,
        Action::AnonymousRead => act::users::anonymous_read(look, asked).await,
        Action::TokenGenerate(whose) => act::users::generate_token(look, asked, whose).await,
        Action::TokenRename(whose) => act::users::rename_token(look, asked, whose).await,
        Action::TokenRevoke(whose) => act::users::revoke_token(look, asked, whose).await,
        Action::TokenRevokeAll(whose) => act::users::revoke_tokens(look, asked, whose, false).await,
        Action::TokenRevokeAllExcept(whose) => act::users::revoke_tokens(look, asked, whose, true).await,
    }
}

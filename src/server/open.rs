//! What is served without a user: health, the sign-in page, the setup wizard, static files, and what shows a secret of its own.

use std::time::Duration;

use axum::body::Body;
use futures_util::TryFutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use model::{ReplicaId, ReplicaName, RestartWhen, RolloutAsked};
use serde::Deserialize;
use store::Write;

use crate::error::Error;
use crate::look::Look;
use crate::path::{Admin, Route};
use crate::patience::again;
use crate::ports::App;
use crate::reply::{self, Reply};
use crate::request::{Base, read_body};
use crate::{act, overview, setup, sign, socket, verify};

/// Longest time for a drain.
const MAX_DRAIN: Duration = Duration::from_secs(24 * 60 * 60);
/// Largest body of an administrator's request.
const MAX_ADMIN: usize = 16 * 1024;
/// Largest question about spools.
const MAX_QUESTION: usize = 256 * 1024;

pub(crate) async fn serve(
    app: &App,
    route: &Route,
    base: &Base,
    cookie: &str,
    request: Request<Body>,
) -> Reply {
    match route {
        Route::Healthz => Ok(reply::text("ok\n")),
        Route::Readyz => Ok(ready(app)),
        Route::Login => sign::page(base, request.uri().query(), false),
        Route::LoginError => sign::page(base, request.uri().query(), true),
        Route::SignIn => sign::sign_in(app, base, cookie, request).await,
        Route::SignOut => sign::sign_out(app, base, cookie, request.headers()).await,
        Route::Setup(step) => setup::serve(app, *step, base, request).await,
        Route::Static(name) => file(name),
        Route::SealedJnlp(node) => {
            let sealed = async || act::nodes::sealed_jnlp(&Look::new(app, base), node).await;
            again(app.settings.patience, sealed).await
        }
        Route::Agent => socket::agent(app, request).await,
        Route::Peer | Route::Admin(_) if !app.settings.peers => {
            Err(Error::missing("replicas are served at an address of their own"))
        }
        Route::Peer => {
            peers_only(app, request.headers())?;
            socket::peer(app, request)
        }
        Route::Admin(admin) => {
            peers_only(app, request.headers())?;
            administer(app, *admin, request).await
        }
        Route::Metrics
        | Route::Prometheus { .. }
        | Route::MetricsOf(..)
        | Route::Export(..)
        | Route::Page(_)
        | Route::Confirm(_)
        | Route::Do(_)
        | Route::NotServed(_)
        | Route::NotFound => Err(Error::Internal("a user's address came to the open door".to_owned())),
    }
}

/// The token of `Authorization: Bearer …`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn peers_only(app: &App, headers: &HeaderMap) -> Result<(), Error> {
    match bearer(headers) {
        Some(token) if app.secrets.verify_peer_token(token) => Ok(()),
        Some(_) => Err(Error::Forbidden("this token is not that of the controller".to_owned())),
        None => Err(Error::Unauthorized("this address takes the controller's own token".to_owned())),
    }
}

fn ready(app: &App) -> Response<Body> {
    let state = app.replica.state().as_str();
    match app.replica.ready() {
        Ok(()) => reply::text(format!("{state}\n")),
        Err(why) => {
            let mut response = reply::text(format!("{state}: {why}\n"));
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            response
        }
    }
}

fn file(name: &str) -> Reply {
    let (content, kind) = match name {
        "main.css" => (include_str!("pages/main.css"), "text/css;charset=utf-8"),
        "main.js" => (include_str!("pages/main.js"), "text/javascript;charset=utf-8"),
        "favicon.svg" => (include_str!("pages/favicon.svg"), "image/svg+xml"),
        _ => return Err(Error::missing("there is no such file")),
    };
    let mut response = reply::typed(content, kind);
    let cache = HeaderValue::from_static("public, max-age=600");
    response.headers_mut().insert(HeaderName::from_static("cache-control"), cache);
    Ok(response)
}

/// `{"name":"acme-0","incarnation":7}`
#[derive(Deserialize)]
struct Lapsed {
    name: ReplicaName,
    incarnation: i64,
}

/// Keeps what whoever has started the replicas reports, if it does, and says what users ask of the replicas as a whole.
async fn rollout(app: &App, body: &[u8]) -> Reply {
    let store = app.commands.store();
    if !body.is_empty() {
        let report = serde_json::from_slice(body).map_err(|e| Error::bad(format!("the report: {e}")))?;
        store.write(Write::ReportRollout { report }).await?;
    }
    let restart = store.meta().await?.restart;
    let members = store.members().await?;
    let running = match restart.when {
        RestartWhen::Idle => store.running(None).await?,
        RestartWhen::Immediately => Vec::new(),
    };
    let busy = overview::busy(&members, &running);
    let store::Restart { number: restart, when, by, reload, withdrawn } = restart;
    let known = members.iter().filter(|m| m.live()).map(|m| m.level).min().unwrap_or_default();
    let asked = RolloutAsked { restart, when, by, reload, withdrawn, busy, known };
    Ok(reply::json(serde_json::to_string(&asked).map_err(|e| Error::Internal(e.to_string()))?))
}

/// `{"wait":false,"within":300}`; whatever is not said is as usual.
#[derive(Deserialize)]
#[serde(default)]
struct Drain {
    /// Whether who asks waits until it is done.
    wait: bool,
    /// Longest time for it, in seconds.
    within: Option<u64>,
}

impl Default for Drain {
    fn default() -> Drain {
        Drain { wait: true, within: None }
    }
}

async fn drain(app: &App, body: &[u8]) -> Result<(), Error> {
    let refused =
        |error| Error::bad(format!("the body is to be {{\"wait\":BOOL,\"within\":SECONDS}}: {error}"));
    // a list would be taken for the fields in their order
    let object = |body| serde_json::from_slice::<serde_json::Map<_, _>>(body).map(serde_json::Value::Object);
    let Drain { wait, within } = match body {
        [] => Drain::default(),
        body => object(body).and_then(serde_json::from_value).map_err(refused)?,
    };
    let within = within.map(|seconds| Duration::from_secs(seconds).min(MAX_DRAIN));
    if wait {
        app.replica.drain(within).await
    } else {
        app.replica.begin_drain(within).await
    }
    Ok(())
}

async fn administer(app: &App, admin: Admin, request: Request<Body>) -> Reply {
    let (head, mut body) = request.into_parts();
    let most = if admin == Admin::Spools { MAX_QUESTION } else { MAX_ADMIN };
    let body = read_body(&head.headers, &mut body, most, &app.settings).await?;
    match admin {
        Admin::Drain => drain(app, &body).await?,
        Admin::Stop => app.replica.stop().await,
        Admin::Rollout => return rollout(app, &body).await,
        Admin::Overview => return overview::serve(app).await,
        Admin::Spools => return verify::spools_here(app, &body),
        Admin::Lapsed => {
            let lost: Lapsed = serde_json::from_slice(&body)
                .map_err(|_| Error::bad("the body is to be {\"name\":…,\"incarnation\":…}"))?;
            let who = ReplicaId { name: lost.name, incarnation: lost.incarnation };
            let said =
                again(app.settings.patience, || app.replica.lapsed(who.clone()).map_err(Error::from)).await?;
            return Ok(reply::json(format!("{{\"lapsed\":{said}}}")));
        }
    }
    Ok(reply::json(format!("{{\"state\":\"{}\"}}", app.replica.state().as_str())))
}

//! The way of every request: route, who asks and may he, read the body, do it, and what every answer carries.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::body::{Body, HttpBody};
use axum::extract::State;
use futures_util::{FutureExt, stream};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header};
use model::ReplicaState;
use security::Proof;
use tokio::time::{Instant, timeout};

use crate::caller::{Caller, address, caller};
use crate::dispatch::dispatch;
use crate::error::Error;
use crate::metrics::{self, Class, Shown};
use crate::path::{Action, Route, Thing, parse};
use crate::patience::again;
use crate::ports::App;
use crate::reply::Reply;
use crate::request::{Asked, Base, MAX_FORM, MAX_XML, Params, Remote, discard, read_body, wants_page};
use crate::{open, permit, remote, session, setup, sign};

/// The version of Jenkins whose REST we speak; clients switch features by it.
pub const JENKINS_VERSION: &str = "2.479.1";
/// What pages may load: our own files and nothing else.
const CSP: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; \
                   form-action 'self'; frame-ancestors 'self'; base-uri 'none'";

/// The server of one replica.
pub(crate) struct Front {
    pub(crate) app: App,
    cookie: String,
    session_header: HeaderValue,
}

/// Everything that the replica serves over HTTP.
pub fn router(app: App) -> axum::Router {
    let cookie = session::cookie_name(app.secrets.as_ref());
    let digits = session::digits(app.secrets.as_ref(), "controller");
    let session_header = HeaderValue::from_str(&digits).unwrap_or(HeaderValue::from_static("00000000"));
    let front = Front { app, cookie, session_header };
    axum::Router::new().fallback(handle).with_state(Arc::new(front))
}

async fn handle(State(front): State<Arc<Front>>, request: Request<Body>) -> Response<Body> {
    let mut bytes = [0; 8];
    let id = match getrandom::fill(&mut bytes) {
        Ok(()) => hex::encode(bytes),
        Err(_) => "unnamed".to_owned(),
    };
    let head = request.method() == Method::HEAD;
    let path = request.uri().path().to_owned();
    let secure = Base::of(front.app.settings.root_url.as_deref(), request.headers()).secure();
    let browser = front.browser(request.headers());
    let (method, began) = (request.method().clone(), Instant::now());
    let working = front.app.counted.begins();
    let mut class = Class::Other;
    let served = AssertUnwindSafe(front.serve(request, &mut class)).catch_unwind().await;
    let mut response = match served {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => error.response(&id),
        Err(_panic) => {
            // of metrics, the address may hold their token
            let path = if class == Class::Metrics { "/metrics" } else { path.as_str() };
            Error::Internal(format!("the handler of {path} panicked")).response(&id)
        }
    };
    drop(working);
    front.app.counted.answered(&method, class, response.status(), began.elapsed());
    front.finish(&mut response, &id, secure);
    if browser {
        // it would ask in a window of its own, instead of showing our page
        response.headers_mut().remove(header::WWW_AUTHENTICATE);
    }
    if head { without_body(response) } else { response }
}

/// An answer to `HEAD`: as to `GET`, but for the body.
fn without_body(mut response: Response<Body>) -> Response<Body> {
    let length = response.body().size_hint().exact();
    let told = response.headers().contains_key(header::CONTENT_LENGTH);
    if let Some(length) = length.filter(|_| !told) {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    // the router would tell the length 0 of an empty body where none is known
    *response.body_mut() = match length {
        None if !told => Body::from_stream(stream::empty::<Result<bytes::Bytes, Error>>()),
        _ => Body::empty(),
    };
    response
}

impl Front {
    async fn serve(&self, request: Request<Body>, class: &mut Class) -> Reply {
        let (head, mut body) = request.into_parts();
        let expects = head.headers.contains_key(header::EXPECT);
        let reply = self.served(head, &mut body, class).await;
        if reply.as_ref().is_err_and(|e| *e != Error::Slow) {
            discard(expects, &mut body).await;
        }
        reply
    }

    async fn served(&self, head: Parts, body: &mut Body, class: &mut Class) -> Reply {
        let base = Base::of(self.app.settings.root_url.as_deref(), &head.headers);
        let route = match parse(base.strip(head.uri.path())) {
            Route::Do(Action::NodeJnlp(node)) if encrypted(head.uri.query())? => Route::SealedJnlp(node),
            route if looks(&head) => route.confirmed(),
            route => route,
        };
        *class = Class::of(&route);
        let waits = self.app.wizard.waits() && !route.beside_setup();
        if waits && !route.metrics() {
            return setup::instead(&base, looks(&head));
        }
        if route.open() {
            if !route.takes(&head.method) {
                return Err(Error::Method(route.allow()));
            }
            let request = Request::from_parts(head, std::mem::take(body));
            let reply = open::serve(&self.app, &route, &base, &self.cookie, request);
            return self.patiently(true, reply).await;
        }
        if route.metrics() && metrics::shown(&self.app, &route, &head.headers)? == Shown::Enough {
            return self.patiently(true, self.metrics(&route, &base, &head)).await;
        }
        if waits {
            return setup::instead(&base, looks(&head));
        }
        if matches!(self.app.replica.state(), ReplicaState::Waiting | ReplicaState::Starting) {
            return Err(Error::Later("this replica is getting ready to work".to_owned()));
        }
        let caller = match self.admitted(&head, &route).await {
            Err(Error::Unauthorized(_)) if lost(&head) => {
                return sign::form_for(&base, &head.uri);
            }
            Err(error) if route.metrics() => return Err(metrics::unless_shown(error)),
            admitted => admitted?,
        };
        let (caller, by_token) = caller;
        let asked = self.ask(head, body, caller, base, &route).await?;
        if !by_token {
            session::check(&asked, self.app.secrets.as_ref())?;
        }
        let reply = again(self.app.settings.patience, || dispatch(&self.app, &asked, &route));
        let mut response = self.patiently(false, reply).await?;
        let name = HeaderValue::from_str(self.app.replica.name().as_str());
        if let Ok(name) = name {
            response.headers_mut().insert(HeaderName::from_static("x-majordomo-replica"), name);
        }
        self.remember_session(&asked, &mut response);
        Ok(response)
    }

    /// Who asks, if he may. What is allowed to nobody in particular is refused before a method that is not taken.
    /// → the caller, and whether the token of a job admits him: that asks for no crumb, as no browser sends it by itself
    async fn admitted(&self, head: &Parts, route: &Route) -> Result<(Caller, bool), Error> {
        let accounts = &self.app.accounts;
        let patience = self.app.settings.patience;
        let remote = head.extensions.get::<Remote>().map(|r| r.0);
        let from = address(&head.headers, remote, &self.app.settings.proxies);
        let caller = again(patience, || caller(accounts, &head.headers, from, &self.cookie)).await?;
        let anonymous = caller.user.is_none();
        let judges = (&**self.app.commands.store(), accounts);
        let takes = matches!(head.method, Method::GET | Method::POST);
        if takes && again(patience, || remote::admits(judges, head, route, anonymous, from)).await? {
            return Ok((caller, true));
        }
        let anonymous_read = match caller.user {
            Some(_) => false,
            None => again(patience, async || Ok(accounts.anonymous_read().await?)).await?,
        };
        let need = permit::need(route, &head.method);
        if caller.user.is_none() {
            permit::check(need, None, anonymous_read)?;
        }
        if !route.takes(&head.method) {
            return Err(Error::Method(route.allow()));
        }
        permit::check(need, caller.user.as_ref(), anonymous_read)?;
        Ok((caller, false))
    }

    /// Reads the request.
    async fn ask(
        &self,
        head: Parts,
        body: &mut Body,
        caller: Caller,
        base: Base,
        route: &Route,
    ) -> Result<Asked, Error> {
        let settings = &self.app.settings;
        let body = match head.method {
            Method::GET | Method::HEAD => bytes::Bytes::new(),
            _ => read_body(&head.headers, body, body_limit(route), settings).await?,
        };
        let Caller { user, proof, session } = caller;
        // pages have forms, which need a crumb; who shows a token sees no pages
        let page = match route {
            Route::Page(_) | Route::Confirm(_) | Route::Do(Action::Console(..)) => {
                user.is_some() && proof != Some(Proof::Token)
            }
            route => matches!(route, Route::Export(Thing::CrumbIssuer, _)),
        };
        let (session, fresh) = match session {
            None if page => (Some(session::fresh()?), true),
            session => (session, false),
        };
        let mut asked = Asked {
            base,
            query: Params::parse(head.uri.query().unwrap_or_default().as_bytes())?,
            form: Params::default(),
            method: head.method,
            headers: head.headers,
            body,
            user,
            proof,
            remote: head.extensions.get::<Remote>().map(|r| r.0),
            session,
            fresh,
        };
        asked.read_form()?;
        Ok(asked)
    }

    fn remember_session(&self, asked: &Asked, response: &mut Response<Body>) {
        let Some(session) = asked.session.as_ref().filter(|_| asked.fresh) else { return };
        if let Some(cookie) = session::cookie(&self.cookie, session, &asked.base, None) {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
    }

    /// A browser asks, and would not by itself show a name and password.
    fn browser(&self, headers: &HeaderMap) -> bool {
        let signs_in = headers.contains_key(header::AUTHORIZATION);
        !signs_in
            && (headers.contains_key("sec-fetch-mode") || session::shown(headers, &self.cookie).is_some())
    }

    /// Bounds the time of a request. `open` ones are not worth a word in the log.
    async fn patiently(&self, open: bool, work: impl Future<Output = Reply>) -> Reply {
        match timeout(self.app.settings.request_timeout, work).await {
            Ok(reply) => reply,
            Err(_) => {
                if !open {
                    tracing::warn!("a request took longer than {:?}", self.app.settings.request_timeout);
                }
                Err(Error::Later("this took too long".to_owned()))
            }
        }
    }

    /// For whom no user is asked for.
    async fn metrics(&self, route: &Route, base: &Base, head: &Parts) -> Reply {
        if !route.takes(&head.method) {
            return Err(Error::Method(route.allow()));
        }
        let query = Params::parse(head.uri.query().unwrap_or_default().as_bytes())?;
        metrics::serve(&self.app, route, base, &head.headers, query.get("scope")).await
    }

    /// What every answer carries.
    fn finish(&self, response: &mut Response<Body>, id: &str, secure: bool) {
        let headers = response.headers_mut();
        let mut set = |name: &'static str, value: &'static str| {
            headers.entry(HeaderName::from_static(name)).or_insert(HeaderValue::from_static(value));
        };
        set("x-jenkins", JENKINS_VERSION);
        set("x-hudson", "1.395");
        set("x-content-type-options", "nosniff");
        set("x-frame-options", "sameorigin");
        set("referrer-policy", "same-origin");
        set("content-security-policy", CSP);
        set("cross-origin-opener-policy", "same-origin");
        if secure {
            set("strict-transport-security", "max-age=31536000");
        }
        set("cache-control", "no-cache, no-store, must-revalidate");
        headers.insert(HeaderName::from_static("x-jenkins-session"), self.session_header.clone());
        if let Ok(id) = HeaderValue::from_str(id) {
            headers.insert(HeaderName::from_static("x-request-id"), id);
        }
    }
}

/// A person wants a page.
fn looks(head: &Parts) -> bool {
    matches!(head.method, Method::GET | Method::HEAD) && wants_page(&head.headers)
}

/// One who has not signed in.
fn lost(head: &Parts) -> bool {
    looks(head) && !head.headers.contains_key(header::AUTHORIZATION)
}

/// Whether the query asks for an answer that only the agent can read.
fn encrypted(query: Option<&str>) -> Result<bool, Error> {
    let query = Params::parse(query.unwrap_or_default().as_bytes())?;
    Ok(query.get("encrypt").is_some_and(|e| e.eq_ignore_ascii_case("true")))
}

/// How large a body may be.
fn body_limit(route: &Route) -> usize {
    match route {
        Route::Do(Action::CreateItem(_) | Action::ItemConfig(_) | Action::NodeConfig(_)) => MAX_XML,
        Route::Do(_) | Route::Export(..) => MAX_FORM,
        _ => 64 * 1024,
    }
}

//! The way of every request: route, sign in, read the body, do it, and what every answer carries.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::body::{Body, HttpBody};
use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{FutureExt, TryFutureExt, stream};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header};
use model::ReplicaState;
use security::Identity;
use tokio::time::timeout;

use crate::dispatch::dispatch;
use crate::error::Error;
use crate::path::{Action, Route, Thing, parse};
use crate::patience::again;
use crate::ports::App;
use crate::reply::Reply;
use crate::request::{Asked, Base, MAX_FORM, MAX_XML, Params, Remote, discard, read_body};
use crate::{open, session};

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
    let mut response = match AssertUnwindSafe(front.serve(request)).catch_unwind().await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => error.response(&id),
        Err(_panic) => Error::Internal(format!("the handler of {path} panicked")).response(&id),
    };
    front.finish(&mut response, &id);
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
    async fn serve(&self, request: Request<Body>) -> Reply {
        let (head, mut body) = request.into_parts();
        let expects = head.headers.contains_key(header::EXPECT);
        let reply = self.served(head, &mut body).await;
        if reply.as_ref().is_err_and(|e| *e != Error::Slow) {
            discard(expects, &mut body).await;
        }
        reply
    }

    async fn served(&self, head: Parts, body: &mut Body) -> Reply {
        let base = Base::of(self.app.settings.root_url.as_deref(), &head.headers);
        let route = match parse(base.strip(head.uri.path())) {
            Route::Do(Action::NodeJnlp(node)) if encrypted(head.uri.query())? => Route::SealedJnlp(node),
            route => route,
        };
        if route.open() {
            if !route.takes(&head.method) {
                return Err(Error::Method(route.allow()));
            }
            let request = Request::from_parts(head, std::mem::take(body));
            return self.patiently(true, open::serve(&self.app, &route, request)).await;
        }
        if route == Route::Metrics && self.peer(&head.headers) {
            return open::metrics(&self.app).await;
        }
        if matches!(self.app.replica.state(), ReplicaState::Waiting | ReplicaState::Starting) {
            return Err(Error::Later("this replica is getting ready to work".to_owned()));
        }
        let (name, password) = basic(&head.headers)?;
        let patience = self.app.settings.patience;
        let accounts = &self.app.accounts;
        let user = again(patience, || accounts.authenticate(&name, &password).map_err(Error::from)).await?;
        if !route.takes(&head.method) {
            return Err(Error::Method(route.allow()));
        }
        let asked = self.ask(head, body, user, base, &route).await?;
        session::check(&asked, self.app.secrets.as_ref())?;
        let reply = again(patience, || dispatch(&self.app, &asked, &route));
        let mut response = self.patiently(false, reply).await?;
        let name = HeaderValue::from_str(self.app.replica.name().as_str());
        if let Ok(name) = name {
            response.headers_mut().insert(HeaderName::from_static("x-majordomo-replica"), name);
        }
        self.remember_session(&asked, &route, &mut response);
        Ok(response)
    }

    /// Reads the request.
    async fn ask(
        &self,
        head: Parts,
        body: &mut Body,
        user: Identity,
        base: Base,
        route: &Route,
    ) -> Result<Asked, Error> {
        let settings = &self.app.settings;
        let body = match head.method {
            Method::GET | Method::HEAD => bytes::Bytes::new(),
            _ => read_body(&head.headers, body, body_limit(route), settings).await?,
        };
        let shown = session::shown(&head.headers, &self.cookie);
        let session = match (shown, route) {
            (None, Route::Export(Thing::CrumbIssuer, _)) => Some(session::fresh()?),
            (shown, _) => shown,
        };
        let mut asked = Asked {
            base,
            query: Params::parse(head.uri.query().unwrap_or_default().as_bytes())?,
            form: Params::default(),
            method: head.method,
            headers: head.headers,
            body,
            user: Some(user),
            remote: head.extensions.get::<Remote>().map(|r| r.0),
            session,
        };
        asked.read_form()?;
        Ok(asked)
    }

    fn remember_session(&self, asked: &Asked, route: &Route, response: &mut Response<Body>) {
        let (Some(session), Route::Export(Thing::CrumbIssuer, _)) = (&asked.session, route) else { return };
        if let Some(cookie) = session::cookie(&self.cookie, session, &asked.base) {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
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

    /// Whether the request shows the peers' token.
    fn peer(&self, headers: &HeaderMap) -> bool {
        open::bearer(headers).is_some_and(|token| self.app.secrets.verify_peer_token(token))
    }

    /// What every answer carries.
    fn finish(&self, response: &mut Response<Body>, id: &str) {
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
        set("cache-control", "no-cache, no-store, must-revalidate");
        headers.insert(HeaderName::from_static("x-jenkins-session"), self.session_header.clone());
        if let Ok(id) = HeaderValue::from_str(id) {
            headers.insert(HeaderName::from_static("x-request-id"), id);
        }
    }
}

/// Name and password of basic authentication.
fn basic(headers: &HeaderMap) -> Result<(String, String), Error> {
    let wanted = || Error::Unauthorized("sign in with a user name and a password".to_owned());
    let value = headers.get(header::AUTHORIZATION).ok_or_else(wanted)?.to_str().map_err(|_| wanted())?;
    let (scheme, encoded) = value.split_once(' ').ok_or_else(wanted)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(wanted());
    }
    let decoded = STANDARD.decode(encoded.trim()).map_err(|_| wanted())?;
    let text = String::from_utf8(decoded).map_err(|_| wanted())?;
    let (name, password) = text.split_once(':').ok_or_else(wanted)?;
    Ok((name.to_owned(), password.to_owned()))
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

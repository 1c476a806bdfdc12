//! A listener for probes alone. It is open before there is anything to serve, so what it says then comes from memory, and it
//! never touches the store: a process that waits for its database lives, and is not ready.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use parking_lot::RwLock;
use tower::ServiceExt;

use crate::reply;

/// What the listener says; cheap to clone.
#[derive(Clone)]
pub struct Health {
    shown: Arc<RwLock<Shown>>,
}

enum Shown {
    /// Nothing is served yet, for this reason.
    Waits(String),
    /// What the other listeners serve.
    Serves(axum::Router),
}

impl Health {
    /// Of a process that begins; `why` it is not ready.
    pub fn new(why: &str) -> Health {
        Health { shown: Arc::new(RwLock::new(Shown::Waits(why.to_owned()))) }
    }

    /// It is not ready yet, for another reason. Nothing changes once it serves.
    pub fn waits(&self, why: &str) {
        if let Shown::Waits(shown) = &mut *self.shown.write() {
            why.clone_into(shown);
        }
    }

    /// From now on the answers are those of this router.
    pub fn serves(&self, router: axum::Router) {
        *self.shown.write() = Shown::Serves(router);
    }

    /// For the listener.
    pub fn router(&self) -> axum::Router {
        axum::Router::new().fallback(handle).with_state(self.clone())
    }
}

async fn handle(State(health): State<Health>, request: Request<Body>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    if !matches!(path.as_str(), "/healthz" | "/readyz" | "/metrics") {
        return said(StatusCode::NOT_FOUND, "there is /healthz, /readyz and /metrics here\n".to_owned());
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = said(StatusCode::METHOD_NOT_ALLOWED, "this address takes GET\n".to_owned());
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let why = match &*health.shown.read() {
        Shown::Waits(why) => Err(why.clone()),
        Shown::Serves(router) => Ok(router.clone()),
    };
    match (why, path.as_str()) {
        (Ok(router), _) => match router.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        },
        (Err(_), "/healthz") => said(StatusCode::OK, "ok\n".to_owned()),
        (Err(why), _) => said(StatusCode::SERVICE_UNAVAILABLE, format!("waiting: {why}\n")),
    }
}

fn said(status: StatusCode, text: String) -> Response<Body> {
    let mut response = reply::text(text);
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn ask(health: &Health, method: Method, path: &str) -> (u16, String) {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let response = health.router().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_process_that_waits_lives_and_is_not_ready_and_says_why() {
        let health = Health::new("it begins");
        assert_eq!(ask(&health, Method::GET, "/healthz").await, (200, "ok\n".to_owned()));
        assert_eq!(ask(&health, Method::GET, "/readyz").await, (503, "waiting: it begins\n".to_owned()));
        health.waits("no database");
        assert_eq!(ask(&health, Method::GET, "/readyz").await, (503, "waiting: no database\n".to_owned()));
        assert_eq!(ask(&health, Method::GET, "/metrics").await.0, 503);
        assert_eq!(ask(&health, Method::POST, "/healthz").await.0, 405);
        health.serves(
            axum::Router::new().fallback(async |request: Request<Body>| format!("served {}", request.uri())),
        );
        health.waits("too late");
        let asked = ask(&health, Method::GET, "/metrics?scope=controller").await;
        assert_eq!(asked, (200, "served /metrics?scope=controller".to_owned()));
        for path in ["/", "/api/json", "/healthz/", "/admin/stop", "/metrics/key/ping"] {
            assert_eq!(ask(&health, Method::GET, path).await.0, 404, "{path}");
        }
    }
}

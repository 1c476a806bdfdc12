//! An API server for tests: answers from a function, and remembers what it was asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use crate::cluster::Cluster;

#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// With its query.
    pub(crate) path: String,
    pub(crate) body: Value,
}

impl Asked {
    pub(crate) fn is(&self, method: &str, path: &str) -> bool {
        self.method == method && self.path.split('?').next() == Some(path)
    }
}

pub(crate) type Log = Arc<Mutex<Vec<Asked>>>;

/// What is answered: a status and a body.
pub(crate) type Answer = (u16, String);

pub(crate) fn found(value: Value) -> Answer {
    (200, value.to_string())
}

pub(crate) fn list(items: Value) -> Answer {
    found(json!({ "apiVersion": "v1", "kind": "List", "metadata": {}, "items": items }))
}

pub(crate) fn refused(code: u16, message: &str) -> Answer {
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        429 => "TooManyRequests",
        _ => "",
    };
    let body = json!({
        "kind": "Status", "status": "Failure", "code": code, "message": message, "reason": reason,
    });
    (code, body.to_string())
}

pub(crate) fn cluster(answer: impl FnMut(&Asked) -> Answer + Send + 'static) -> (Cluster, Log) {
    let log: Log = Log::default();
    let (noted, answer) = (log.clone(), Arc::new(Mutex::new(answer)));
    let service = tower::service_fn(move |request: Request<Body>| {
        let (noted, answer) = (noted.clone(), answer.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = serde_json::from_slice(&body.collect_bytes().await?).unwrap_or_default();
            let asked = Asked { method: parts.method.to_string(), path: parts.uri.to_string(), body };
            let (code, text) = (answer.lock().unwrap())(&asked);
            noted.lock().unwrap().push(asked);
            Response::builder()
                .status(code)
                .body(Body::from(text.into_bytes()))
                .map_err(kube::Error::HttpError)
        }
    });
    let cluster = Cluster {
        client: Client::new(service, "ci"),
        namespace: "ci".to_owned(),
        server: "https://k".to_owned(),
        every: Duration::from_millis(1),
    };
    (cluster, log)
}

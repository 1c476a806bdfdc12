//! How object_store speaks HTTP: over our own client, so that no second one is in the program, on rustls with ring, and with
//! limits for whatever does not answer.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector as Tcp;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse,
    HttpResponseBody, HttpService,
};
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;

/// Until a connection is there.
const CONNECT: Duration = Duration::from_secs(5);
/// From the beginning of a request, with its body, to the beginning of its answer.
const ANSWER: Duration = Duration::from_secs(30);
/// A connection that nobody has used for so long is closed.
const IDLE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
pub(super) struct Web {
    client: Client<HttpsConnector<Tcp>, HttpRequestBody>,
}

impl Web {
    /// With the authorities that this machine trusts; `SSL_CERT_FILE` and `SSL_CERT_DIR` may name others. One that has none can
    /// still speak in the clear.
    pub(super) fn new() -> io::Result<Web> {
        let mut tcp = Tcp::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT));
        tcp.set_nodelay(true);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let trusted = HttpsConnectorBuilder::new().with_provider_and_native_roots(Arc::clone(&provider));
        let schemes = match trusted {
            Ok(schemes) => schemes,
            Err(error) => {
                tracing::debug!(%error, "no certificates of authorities are on this machine");
                let config = ClientConfig::builder_with_provider(provider);
                let config = config.with_safe_default_protocol_versions().map_err(io::Error::other)?;
                let config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
                HttpsConnectorBuilder::new().with_tls_config(config)
            }
        };
        let connector = schemes.https_or_http().enable_http1().wrap_connector(tcp);
        let mut client = Client::builder(TokioExecutor::new());
        client.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE).pool_max_idle_per_host(8);
        Ok(Web { client: client.build(connector) })
    }
}

impl HttpConnector for Web {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait::async_trait]
impl HttpService for Web {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        match timeout(ANSWER, self.client.request(request)).await {
            Ok(Ok(response)) => Ok(response.map(|body| {
                HttpResponseBody::new(body.map_err(|e| HttpError::new(HttpErrorKind::Interrupted, e)))
            })),
            Ok(Err(error)) => Err(HttpError::new(kind(&error), error)),
            Err(late) => Err(HttpError::new(HttpErrorKind::Timeout, late)),
        }
    }
}

/// Whether the request was sent decides whether it may be sent again.
fn kind(error: &Error) -> HttpErrorKind {
    if error.is_connect() {
        return HttpErrorKind::Connect;
    }
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<hyper::Error>()
            && (error.is_closed() || error.is_incomplete_message() || error.is_body_write_aborted())
        {
            return HttpErrorKind::Request;
        }
        if error.downcast_ref::<io::Error>().is_some() {
            return HttpErrorKind::Interrupted;
        }
        cause = error.source();
    }
    HttpErrorKind::Unknown
}

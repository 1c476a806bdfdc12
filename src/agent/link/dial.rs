//! One try to reach a controller: `/login` must be there, then the upgrade.

use std::io;
use std::time::Duration;

use remoting::native::{INSTANCE_HEADER, MAX_MESSAGE, VERSION, VERSION_HEADER};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue, Request, Response, Uri};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::{Config, Error};

pub(crate) type Socket = WebSocketStream<TcpStream>;

/// For each of: connect, ask for the login page, upgrade.
const PATIENCE: Duration = Duration::from_secs(10);
/// Read and write buffers; thousands of idle agents are to be cheap, and so is one.
const BUFFER: usize = 4 * 1024;
/// Largest header of an HTTP answer.
const MAX_ANSWER: usize = 16 * 1024;
/// Most of a refusal's text that is logged.
const MAX_REASON: usize = 300;

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("{0}")]
    Refused(String),
    #[error("{url} can't be reached: {why}")]
    Unreachable { url: String, why: String },
}

/// The root of a controller, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Root {
    /// With a slash at the end.
    url: String,
    host: String,
    port: u16,
    authority: String,
    /// With slashes at both ends.
    path: String,
}

impl Root {
    pub(crate) fn parse(url: &str) -> Result<Root, Error> {
        let wrong = |why: &str| Error::Url(format!("the URL {url} {why}"));
        let uri: Uri = url.parse().map_err(|_| wrong("can't be read"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(wrong(
                    "is https, which this agent does not speak yet: use a TLS proxy beside it",
                ));
            }
            Some(_) | None => return Err(wrong("does not begin with http://")),
        }
        let authority = uri.authority().ok_or_else(|| wrong("names no host"))?;
        let port = authority.port_u16().unwrap_or(80);
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let named = match authority.as_str().rsplit_once('@') {
            Some((_, named)) => named,
            None => authority.as_str(),
        };
        let mut path = uri.path().to_owned();
        if !path.ends_with('/') {
            path.push('/');
        }
        let url = format!("http://{named}{path}");
        Ok(Root { url, host, port, authority: named.to_owned(), path })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    async fn connect(&self) -> Result<TcpStream, DialError> {
        let connect = TcpStream::connect((self.host.as_str(), self.port));
        let stream = self.patient(connect).await?;
        // Small frames, some of them awaited: none may sit in the kernel.
        stream.set_nodelay(true).map_err(|e| self.away(e))?;
        Ok(stream)
    }

    async fn patient<T>(&self, io: impl Future<Output = io::Result<T>>) -> Result<T, DialError> {
        match timeout(PATIENCE, io).await {
            Ok(done) => done.map_err(|e| self.away(e)),
            Err(_) => Err(self.away(format!("no answer within {} s", PATIENCE.as_secs()))),
        }
    }

    fn away(&self, why: impl ToString) -> DialError {
        DialError::Unreachable { url: self.url.clone(), why: why.to_string() }
    }
}

/// Connects to the controller at `root`.
pub(crate) async fn dial(root: &Root, config: &Config, instance: &str) -> Result<Socket, DialError> {
    login(root).await?;
    let request = upgrade_request(root, config, instance).map_err(DialError::Refused)?;
    let stream = root.connect().await?;
    let settings = WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    match timeout(PATIENCE, client_async_with_config(request, stream, Some(settings))).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(tungstenite::Error::Http(response))) => Err(refusal(root, &response)),
        Ok(Err(e)) => Err(root.away(e)),
        Err(_) => Err(root.away("the upgrade was not answered")),
    }
}

fn upgrade_request(root: &Root, config: &Config, instance: &str) -> Result<Request<()>, String> {
    let url = format!("ws://{}{}wsagents/", root.authority, root.path);
    let mut request =
        url.into_client_request().map_err(|e| format!("the URL {} is refused: {e}", root.url))?;
    let ours = [
        ("Node-Name", config.name.as_str()),
        ("Secret-Key", config.secret.reveal()),
        (VERSION_HEADER, VERSION),
        (INSTANCE_HEADER, instance),
    ];
    let added = config.web_socket_headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in ours.into_iter().chain(added) {
        let header =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("“{name}” is no HTTP header"))?;
        // Not the value: it may be the secret.
        let value = HeaderValue::from_bytes(value.as_bytes())
            .map_err(|_| format!("the value of the HTTP header {name} has characters that can't be sent"))?;
        request.headers_mut().insert(header, value);
    }
    Ok(request)
}

fn refusal(root: &Root, response: &Response<Option<Vec<u8>>>) -> DialError {
    let status = response.status();
    let body = response.body().as_deref().unwrap_or_default();
    let reason: String = String::from_utf8_lossy(body).trim().chars().take(MAX_REASON).collect();
    let text = if reason.is_empty() { String::new() } else { format!(": {}", reason.escape_debug()) };
    let sentence = format!("{} refuses this agent with {status}{text}", root.url);
    match status.as_u16() {
        // It is starting, or about to stop: not our fault, and another one may be there already.
        500.. => DialError::Unreachable { url: root.url.clone(), why: format!("it answers {status}{text}") },
        _ => DialError::Refused(sentence),
    }
}

/// `GET /login` must be answered with 200, as for stock agents: then a controller is there, and it is up.
async fn login(root: &Root) -> Result<(), DialError> {
    let mut stream = root.connect().await?;
    let request = format!(
        "GET {}login HTTP/1.1\r\nHost: {}\r\nUser-Agent: majordomo-agent/{}\r\nConnection: close\r\n\r\n",
        root.path,
        root.authority,
        env!("CARGO_PKG_VERSION")
    );
    let answer = root
        .patient(async {
            stream.write_all(request.as_bytes()).await?;
            read_status(&mut stream).await
        })
        .await?;
    match answer {
        200 => Ok(()),
        300..500 => Err(DialError::Refused(format!(
            "{}login answers {answer} and not 200: is this the root of a controller?",
            root.url
        ))),
        _ => Err(root.away(format!("its login page answers {answer}"))),
    }
}

async fn read_status(stream: &mut TcpStream) -> io::Result<u16> {
    let mut line = Vec::new();
    while !line.contains(&b'\n') {
        if line.len() > MAX_ANSWER || stream.read_buf(&mut line).await? == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"));
        }
    }
    let text = String::from_utf8_lossy(&line);
    let status = text.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
    status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_of_a_controller_may_have_a_path_a_port_or_an_address() {
        let root = Root::parse("http://ci.example/jenkins").unwrap();
        assert_eq!((root.host.as_str(), root.port, root.path.as_str()), ("ci.example", 80, "/jenkins/"));
        assert_eq!(root.url(), "http://ci.example/jenkins/");
        let root = Root::parse("http://[::1]:8080").unwrap();
        assert_eq!((root.host.as_str(), root.port, root.authority.as_str()), ("::1", 8080, "[::1]:8080"));
        for (url, why) in [
            ("https://x", "https"),
            ("ftp://x", "does not begin with http://"),
            ("x", "does not begin"),
            ("http://", "can't be read"),
        ] {
            let error = Root::parse(url).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_secret_that_is_no_header_is_not_told() {
        let root = Root::parse("http://x").unwrap();
        let config = Config::new(vec![], "a".into(), crate::Secret::new("se\ncret"), "/w".into());
        let error = upgrade_request(&root, &config, "i").unwrap_err();
        assert!(error.contains("Secret-Key") && !error.contains("cret\""), "{error}");
        assert!(!error.contains("se\ncret"));
    }
}

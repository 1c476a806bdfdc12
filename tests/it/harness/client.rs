//! A small HTTP/1.1 client, one connection a request: it also says what no decent client would.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

/// Longest silence of the server.
const SILENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    /// Of the header `Authorization`.
    pub(crate) authorization: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) fn anonymous(address: SocketAddr) -> Client {
        Client { address, authorization: None }
    }

    pub(crate) fn user(address: SocketAddr, name: &str, password: &str) -> Client {
        let pair = BASE64_STANDARD.encode(format!("{name}:{password}"));
        Client { address, authorization: Some(format!("Basic {pair}")) }
    }

    /// The same user at another address.
    pub(crate) fn at(&self, address: SocketAddr) -> Client {
        Client { address, ..self.clone() }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    /// An answer of 200 as JSON.
    pub(crate) fn json(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    }

    pub(crate) fn post(&self, path: &str) -> Answer {
        self.send("POST", path, &[], b"")
    }

    pub(crate) fn form(&self, path: &str, form: &str) -> Answer {
        let kind = "application/x-www-form-urlencoded";
        self.send("POST", path, &[("Content-Type", kind)], form.as_bytes())
    }

    pub(crate) fn xml(&self, path: &str, xml: &str) -> Answer {
        self.send("POST", path, &[("Content-Type", "text/xml; charset=utf-8")], xml.as_bytes())
    }

    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        if let Some(authorization) = &self.authorization {
            head.push_str(&format!("Authorization: {authorization}\r\n"));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !matches!(method, "GET" | "HEAD") {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut stream = self.connect();
        // a server that refuses early may close before all is sent: what it answered counts
        let _refused = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        Answer::read(&mut stream, method == "HEAD").unwrap_or_else(|| panic!("{method} {path}: no answer"))
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(SILENCE)).unwrap();
        stream.set_write_timeout(Some(SILENCE)).unwrap();
        stream
    }
}

impl Answer {
    /// Reads up to the end of the connection; `None` when there was no answer.
    pub(crate) fn read(stream: &mut TcpStream, head_only: bool) -> Option<Answer> {
        let mut raw = Vec::new();
        // a reset after the answer is as good as an end
        let _reset = stream.read_to_end(&mut raw);
        let end = raw.windows(4).position(|w| w == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&raw[..end]).into_owned();
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let split = |line: &str| line.split_once(':').map(|(n, v)| (n.to_lowercase(), v.trim().to_owned()));
        let headers: Vec<_> = lines.filter_map(split).collect();
        let body = raw.split_off(end + 4);
        let chunked = headers.iter().any(|(n, v)| n == "transfer-encoding" && v == "chunked");
        let body = if chunked && !head_only { unchunk(&body) } else { body };
        Some(Answer { status, headers, body })
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Fails with the body when the status is another one.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{} {}", self.header("x-error"), self.text());
        self
    }
}

fn unchunk(mut raw: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = raw.windows(2).position(|w| w == b"\r\n") {
        let size =
            std::str::from_utf8(&raw[..end]).ok().and_then(|s| usize::from_str_radix(s.trim(), 16).ok());
        let from = end + 2;
        match size {
            Some(size) if size > 0 && raw.len() >= from + size + 2 => {
                body.extend_from_slice(&raw[from..from + size]);
                raw = &raw[from + size + 2..];
            }
            _ => break,
        }
    }
    body
}

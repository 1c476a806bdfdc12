//! A small HTTP client: one request a connection, blocking, whole answers only.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "test support; no test uses all of it")]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Speaks to one address as one user.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    address: SocketAddr,
    /// What requests say in `Host`.
    host: String,
    /// Further lines of the head of each request.
    more: String,
}

impl Client {
    pub(crate) fn new(address: SocketAddr, user: &str, password: &str) -> Client {
        let pair = base64(format!("{user}:{password}").as_bytes());
        Client::anonymous(address).with("Authorization", &format!("Basic {pair}"))
    }

    pub(crate) fn bearer(address: SocketAddr, token: &str) -> Client {
        Client::anonymous(address).with("Authorization", &format!("Bearer {token}"))
    }

    /// Of nobody.
    pub(crate) fn anonymous(address: SocketAddr) -> Client {
        Client { address, host: address.to_string(), more: String::new() }
    }

    /// The same user at another address.
    pub(crate) fn at(&self, address: SocketAddr) -> Client {
        Client { address, host: address.to_string(), ..self.clone() }
    }

    /// The same at a host of another name, which is found at the same address.
    pub(crate) fn named(&self, host: &str) -> Client {
        Client { host: host.to_owned(), ..self.clone() }
    }

    /// The same with a further header.
    pub(crate) fn with(&self, name: &str, value: &str) -> Client {
        Client { more: format!("{}{name}: {value}\r\n", self.more), ..self.clone() }
    }

    /// One attempt. An error says that there is no answer, or not all of it.
    pub(crate) fn send(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> io::Result<Reply> {
        let mut stream = TcpStream::connect_timeout(&self.address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
             Content-Type: {kind}\r\nContent-Length: {}\r\n{}\r\n",
            self.host,
            body.len(),
            self.more
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        parse(&answer).ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "the answer is cut"))
    }

    pub(crate) fn post(&self, path: &str) -> io::Result<Reply> {
        self.send("POST", path, "application/x-www-form-urlencoded", b"")
    }

    pub(crate) fn try_get(&self, path: &str) -> io::Result<Reply> {
        self.send("GET", path, "text/plain", b"")
    }

    /// Asks until there is an answer that is no 5xx, for at most a minute: replicas die while they answer.
    pub(crate) fn get(&self, path: &str) -> Reply {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let why = match self.try_get(path) {
                Ok(reply) if reply.status < 500 => return reply,
                Ok(reply) => format!("{}: {}", reply.status, reply.text()),
                Err(error) => error.to_string(),
            };
            assert!(Instant::now() < deadline, "GET {path}: {why}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn json(&self, path: &str) -> Value {
        let reply = self.get(path);
        assert_eq!(reply.status, 200, "GET {path}: {}", reply.text());
        serde_json::from_slice(&reply.body).unwrap_or_else(|e| panic!("GET {path}: {e}: {}", reply.text()))
    }
}

/// A connection that is used again and again, until the server says that it closes it. Nothing is ever tried twice.
#[derive(Debug)]
pub(crate) struct KeptAlive {
    client: Client,
    stream: Option<BufReader<TcpStream>>,
}

impl KeptAlive {
    pub(crate) fn new(client: Client) -> KeptAlive {
        KeptAlive { client, stream: None }
    }

    pub(crate) fn get(&mut self, path: &str) -> io::Result<Reply> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect_timeout(&self.client.address, TIMEOUT)?;
                stream.set_read_timeout(Some(TIMEOUT))?;
                BufReader::new(stream)
            }
        };
        let Client { host, more, .. } = &self.client;
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n");
        stream.get_mut().write_all(head.as_bytes())?;
        let cut = || io::Error::new(io::ErrorKind::UnexpectedEof, "the answer is cut");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            if stream.read_until(b'\n', &mut answer)? == 0 {
                return Err(cut());
            }
        }
        let head = parse_head(&answer).ok_or_else(cut)?;
        match head.header("content-length").and_then(|length| length.parse::<usize>().ok()) {
            Some(length) => {
                let from = answer.len();
                answer.resize(from + length, 0);
                stream.read_exact(&mut answer[from..])?;
            }
            None => {
                while !answer.ends_with(b"\r\n0\r\n\r\n") {
                    if stream.read_until(b'\n', &mut answer)? == 0 {
                        return Err(cut());
                    }
                }
            }
        }
        let reply = parse(&answer).ok_or_else(cut)?;
        if reply.header("connection").is_none_or(|word| !word.eq_ignore_ascii_case("close")) {
            self.stream = Some(stream);
        }
        Ok(reply)
    }
}

/// Nothing when it is not whole.
pub(crate) fn parse(answer: &[u8]) -> Option<Reply> {
    let reply = parse_head(answer)?;
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n")?;
    let rest = &answer[end + 4..];
    let body = if reply.header("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
        unchunk(rest)?
    } else if let Some(length) = reply.header("content-length") {
        rest.get(..length.parse().ok()?)?.to_vec()
    } else {
        rest.to_vec()
    };
    Some(Reply { body, ..reply })
}

/// Status and headers.
fn parse_head(answer: &[u8]) -> Option<Reply> {
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    Some(Reply { status, headers, body: Vec::new() })
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|w| w == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..end]).ok()?.split(';').next()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(end + 2..end + 2 + size)?);
        rest = rest.get(end + 2 + size + 2..)?;
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let word =
            three.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= three.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

/// For queries.
pub(crate) fn percent(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

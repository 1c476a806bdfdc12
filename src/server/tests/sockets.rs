//! Real connections: upgrades, slow clients, the stop.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::serve::{Limits, serve};

struct Served {
    site: Site,
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

async fn served(limits: Limits) -> Served {
    let site = Site::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(serve(listener, site.router.clone(), stop.clone(), limits));
    Served { site, address, stop, task }
}

async fn say(stream: &mut TcpStream, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    let mut piece = [0; 4096];
    while !heard.windows(4).any(|w| w == b"\r\n\r\n") {
        let n = stream.read(&mut piece).await.unwrap();
        assert!(n > 0, "closed after {:?}", String::from_utf8_lossy(&heard));
        heard.extend_from_slice(&piece[..n]);
    }
    String::from_utf8_lossy(&heard).into_owned()
}

/// Reads to the end, which must come within five seconds.
async fn ends(mut stream: TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
    read.expect("the connection ends").unwrap_or(0);
    rest
}

fn upgrade(served: &Served, more: &[(&str, &str)]) -> String {
    let mut text = String::from(
        "GET /wsagents/ HTTP/1.1\r\nHost: ci\r\nConnection:Upgrade\r\nUpgrade:websocket\r\n\
         Sec-WebSocket-Version:13\r\nSec-WebSocket-Key:dGhlIHNhbXBsZSBub25jZQ==\r\n",
    );
    for (name, value) in more {
        let value = value.replace("SECRET", &served.site.keys.agent_secret("n1"));
        text.push_str(&format!("{name}:{value}\r\n"));
    }
    text + "\r\n"
}

const AGENT: [(&str, &str); 4] = [
    ("X-Majordomo-Native", "1"),
    ("Node-Name", "n1"),
    ("Secret-Key", "SECRET"),
    ("X-Majordomo-Instance", "abc"),
];

async fn node(site: &Site) {
    let form = "name=n1&json=%7B%22numExecutors%22%3A1%7D";
    assert_eq!(site.admin().form("/computer/doCreateItem", form).await.status, 302);
}

#[tokio::test]
async fn an_agent_with_the_right_secret_is_handed_over() {
    let served = served(Limits::default()).await;
    node(&served.site).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let answer = say(&mut stream, &upgrade(&served, &AGENT)).await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(answer.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    while served.site.nobody.asked.lock().is_empty() && tokio::time::Instant::now() < deadline {
        tokio::task::yield_now().await;
    }
    assert_eq!(*served.site.nobody.asked.lock(), ["agent n1 abc"]);
}

#[tokio::test]
async fn an_agent_that_may_not_in_is_told_why() {
    let served = served(Limits::default()).await;
    let other = served.site.keys.agent_secret("n2");
    let with = |name: &str, value: &str| {
        let mut headers = AGENT.map(|(n, v)| (n.to_owned(), v.to_owned()));
        headers.iter_mut().filter(|(n, _)| n == name).for_each(|(_, v)| *v = value.to_owned());
        headers.to_vec()
    };
    let without = |name: &str| {
        let mut headers = with("", "");
        headers.retain(|(n, _)| n != name);
        headers
    };
    let mut stock = without("X-Majordomo-Native");
    stock.push(("X-Remoting-Capability".into(), "rO0ABXNy".into()));
    let stories = [
        (with("", ""), 400, "there is no node n1"),
        (with("Secret-Key", &"0".repeat(64)), 403, "the secret is not that of this node"),
        (with("Secret-Key", &other), 403, "the secret is not that of this node"),
        (with("X-Majordomo-Native", "2"), 400, "speaks version 1"),
        (without("Secret-Key"), 400, "secret-key is missing"),
        (without("Node-Name"), 400, "node-name is missing"),
        (without("X-Majordomo-Native"), 400, "X-Majordomo-Native is missing"),
        (stock, 501, "stock agents are not served yet; use `majordomo agent`"),
    ];
    for (headers, status, why) in stories {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        let request = upgrade(&served, &headers);
        let answer = say(&mut stream, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{why}: {answer}");
        drop(stream);
        let client = headers.iter().fold(served.site.anon(), |c, (n, v)| {
            c.with(n, &v.replace("SECRET", &served.site.keys.agent_secret("n1")))
        });
        let body = client.get("/wsagents/").await.text();
        assert!(body.contains(&crate::pages::html::escape(why)), "{why}: {body}");
    }
    node(&served.site).await;
    let plain = AGENT.iter().fold(served.site.anon(), |c, (n, v)| {
        c.with(n, &v.replace("SECRET", &served.site.keys.agent_secret("n1")))
    });
    assert_eq!(plain.get("/wsagents/").await.header("x-error"), "this address takes WebSockets only");
    *served.site.nobody.state.lock() = ReplicaState::Draining;
    assert_eq!(plain.get("/wsagents/").await.status, 503);
    assert!(served.site.nobody.asked.lock().is_empty());
}

#[tokio::test]
async fn peers_are_handed_over_with_their_token_only() {
    let served = served(Limits::default()).await;
    let head = "GET /peer/ws HTTP/1.1\r\nHost: ci\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let refused = say(&mut stream, &format!("{head}\r\n")).await;
    assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
    let token = served.site.keys.peer_token();
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let answer = say(&mut stream, &format!("{head}Authorization: Bearer {token}\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
}

#[tokio::test]
async fn slow_clients_are_cut_off_and_keep_alive_is_kept() {
    let limits = Limits {
        head_timeout: Duration::from_millis(200),
        idle_timeout: Duration::from_millis(900),
        ..Limits::default()
    };
    let served = served(limits).await;
    let silent = TcpStream::connect(served.address).await.unwrap();
    assert!(ends(silent).await.is_empty());
    let mut dribbling = TcpStream::connect(served.address).await.unwrap();
    dribbling.write_all(b"GET /healthz HT").await.unwrap();
    assert!(ends(dribbling).await.is_empty());
    let mut steady = TcpStream::connect(served.address).await.unwrap();
    for _ in 0..2 {
        let answer = say(&mut steady, "GET /healthz HTTP/1.1\r\nHost: ci\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    ends(steady).await;
    let mut stalled = TcpStream::connect(served.address).await.unwrap();
    let head = "POST /createItem?name=x HTTP/1.1\r\nHost: ci\r\nAuthorization: Basic YWRtaW46cmlnaHQ=\r\nContent-Length: 9\r\n\r\n<";
    let answer = say(&mut stalled, head).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    ends(stalled).await;
}

#[tokio::test]
async fn a_client_that_sends_too_much_still_hears_why() {
    let served = served(Limits::default()).await;
    for (authorization, status) in [("Authorization: Basic YWRtaW46cmlnaHQ=\r\n", 413), ("", 401)] {
        let stream = TcpStream::connect(served.address).await.unwrap();
        let (mut hears, mut says) = stream.into_split();
        let head = format!(
            "POST /createItem?name=x HTTP/1.1\r\nHost: ci\r\n{authorization}Content-Length: 9000000\r\n\r\n"
        );
        says.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..9 {
            says.write_all(&[b'x'; 1_000_000]).await.unwrap();
        }
        let mut answer = [0; 12];
        hears.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, format!("HTTP/1.1 {status}").as_bytes());
    }
}

#[tokio::test]
async fn heads_have_a_limit() {
    let served = served(Limits::default()).await;
    for bomb in [
        format!("GET /healthz HTTP/1.1\r\nHost: ci\r\n{}\r\n", "a: b\r\n".repeat(200)),
        format!("GET /healthz HTTP/1.1\r\nHost: ci\r\na: {}\r\n\r\n", "b".repeat(200_000)),
        "\u{1}\u{2}\u{3}\r\n\r\n".to_owned(),
    ] {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        let _refused_early = stream.write_all(bomb.as_bytes()).await;
        let mut heard = vec![0; 12];
        if stream.read_exact(&mut heard).await.is_ok() {
            assert!(heard.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&heard));
        }
    }
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let answer = say(&mut stream, "GET /healthz HTTP/1.1\r\nHost: ci\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn a_stop_lets_clients_leave() {
    let limits = Limits { linger: Duration::from_millis(500), ..Limits::default() };
    let served = served(limits).await;
    let mut idle = TcpStream::connect(served.address).await.unwrap();
    let mut used = TcpStream::connect(served.address).await.unwrap();
    let ask = "GET /healthz HTTP/1.1\r\nHost: ci\r\n\r\n";
    assert!(!say(&mut idle, ask).await.contains("connection: close"));
    say(&mut used, ask).await;
    served.stop.cancel();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let last = say(&mut used, ask).await;
    assert!(last.contains("connection: close"), "{last}");
    ends(used).await;
    ends(idle).await;
    tokio::time::timeout(Duration::from_secs(5), served.task).await.unwrap().unwrap();
    assert!(TcpStream::connect(served.address).await.is_err());
}

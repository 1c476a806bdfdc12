//! Questions about spools: over our own socket, through a peer, and to those that do not know them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod support;

use model::{BuildId, Millis};
use remoting::native::{AgentInfo, Frame};
use remoting::spools::{SpoolAsked, SpoolsAsked, SpoolsOf, SpoolsTold};
use store::{Write, Writer};
use support::{Agent, Replica, joined_at, mac, replica};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

fn of(instance: &str, millis: u64) -> SpoolsOf {
    let steps = vec![SpoolAsked { step: "1".into(), first: 3 }];
    SpoolsOf {
        node: mac(),
        instance: instance.into(),
        asked: SpoolsAsked { build: BuildId(7), millis, steps },
    }
}

fn kept() -> SpoolsTold {
    SpoolsTold::Kept { rebooted: false, spools: Vec::new() }
}

async fn welcomed(replica: &Replica, spools: bool) -> Agent {
    let info = AgentInfo { instance: "i-1".into(), spools, ..AgentInfo::default() };
    Agent::welcomed_as(replica, info).await.0
}

/// What the agent is asked next.
async fn asked(agent: &mut Agent) -> u64 {
    match agent.hear().await {
        Frame::Spools { ask, asked } if asked == of("i-1", asked.millis).asked => ask,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_agent_is_asked_over_our_own_socket_and_only_its_own_answer_counts() {
    let replica = replica().await;
    let mut agent = welcomed(&replica, true).await;
    let links = replica.links.clone();
    let asking = tokio::spawn(async move { links.spools(&of("i-1", 20_000)).await });
    let ask = asked(&mut agent).await;
    agent.say(Frame::Spooled { ask: ask + 1, told: SpoolsTold::Nothing }).await;
    agent.say(Frame::Spooled { ask, told: kept() }).await;
    agent.say(Frame::Spooled { ask, told: SpoolsTold::Nothing }).await;
    assert_eq!(asking.await.unwrap(), Ok(kept()));
    let folder = replica.links.spools(&of("i-2", 20_000)).await;
    assert_eq!(folder, Err("its work folder is another one now".to_owned()));
    let late = replica.links.spools(&of("i-1", 0)).await;
    assert_eq!(late, Err("it did not answer within 0 s".to_owned()));
}

#[tokio::test]
async fn an_agent_that_does_not_know_the_question_never_gets_it() {
    let replica = replica().await;
    let mut agent = welcomed(&replica, false).await;
    let answer = replica.links.spools(&of("i-1", 20_000)).await;
    assert_eq!(answer, Err("its version knows no questions about spools".to_owned()));
    replica.links.close(&mac(), "enough");
    assert_eq!(agent.hear().await, Frame::Bye { reason: "enough".into() }, "nothing was said before");
}

#[tokio::test]
async fn whoever_asks_hears_at_once_that_the_connection_has_ended() {
    let replica = replica().await;
    assert_eq!(replica.links.spools(&of("i-1", 20_000)).await, Err("no connection".to_owned()));
    let mut agent = welcomed(&replica, true).await;
    let links = replica.links.clone();
    let asking = tokio::spawn(async move { links.spools(&of("i-1", 3_600_000)).await });
    asked(&mut agent).await;
    drop(agent);
    assert_eq!(asking.await.unwrap(), Err("its connection ended before it answered".to_owned()));
}

#[tokio::test]
async fn more_questions_than_an_agent_takes_are_refused_and_its_link_stays() {
    let replica = replica().await;
    let mut agent = welcomed(&replica, true).await;
    let mut asking = JoinSet::new();
    for _ in 0..6_000 {
        let links = replica.links.clone();
        asking.spawn(async move { links.spools(&of("i-1", 3_600_000)).await });
    }
    let refused = Err("its connection takes nothing more now".to_owned());
    assert_eq!(asking.join_next().await.unwrap().unwrap(), refused);
    let ask = asked(&mut agent).await;
    agent.say(Frame::Spooled { ask, told: kept() }).await;
    let mut answer = refused.clone();
    while answer == refused {
        answer = asking.join_next().await.unwrap().unwrap();
    }
    assert_eq!(answer, Ok(kept()));
}

/// A replica that gives one answer, and tells what it was asked.
async fn peer(status: &'static str, body: &'static str) -> (String, oneshot::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (asked, heard) = oneshot::channel();
    tokio::spawn(async move {
        let (mut stream, request) = request(&listener).await;
        asked.send(request).unwrap();
        answer(&mut stream, status, body).await;
    });
    (address, heard)
}

async fn request(listener: &TcpListener) -> (TcpStream, String) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = String::new();
    while !request.ends_with("}]}}") {
        let mut piece = [0; 4096];
        let length = stream.read(&mut piece).await.unwrap();
        assert!(length > 0, "{request}");
        request.push_str(std::str::from_utf8(&piece[..length]).unwrap());
    }
    (stream, request)
}

async fn answer(stream: &mut TcpStream, status: &str, body: &str) {
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await.unwrap();
}

/// A replica beside one at an address which has the agent's socket.
async fn beside(address: String) -> Replica {
    let store = replica().await.store;
    let there = joined_at(store.clone(), "r-1", address).await;
    let up = Write::LinkUp {
        node: mac(),
        holder: there.me,
        instance: "i-1".into(),
        info: "{}".into(),
        at: Millis(1),
    };
    store.write(up).await.unwrap();
    joined_at(store, "r-2", String::new()).await
}

#[tokio::test]
async fn the_replica_that_has_the_socket_is_asked_and_an_old_one_only_says_that_it_is() {
    let told = "\n\n{\"Ok\":{\"kept\":{\"rebooted\":false,\"spools\":[]}}}";
    let by_r1 = |why: &str| Err(format!("r-1, which has its connection: {why}"));
    let answers = [
        ("200 OK", told, Ok(kept())),
        ("200 OK", "{\"Err\":\"no connection\"}", Err("no connection".to_owned())),
        ("401 Unauthorized", "{}", by_r1("its version knows no questions about spools")),
        ("404 Not Found", "", by_r1("its version knows no questions about spools")),
        ("503 Busy", "", by_r1("it answers with status 503")),
    ];
    for (status, body, wanted) in answers {
        let (address, heard) = peer(status, body).await;
        let replica = beside(address).await;
        assert_eq!(replica.links.spools(&of("i-1", 20_000)).await, wanted);
        let request = heard.await.unwrap();
        assert!(request.starts_with("POST /peer/spools HTTP/1.1\r\n"), "{request}");
        assert!(request.to_lowercase().contains("authorization: bearer token\r\n"), "{request}");
        let body = request.split_once("\r\n\r\n").unwrap().1;
        assert_eq!(serde_json::from_str::<SpoolsOf>(body).unwrap(), of("i-1", 20_000));
        assert_eq!(
            replica.links.spools_for_peer(&of("i-1", 20_000)).await,
            Err("no connection".to_owned()),
            "a question is passed on once"
        );
    }
}

#[tokio::test]
async fn an_agent_that_comes_here_while_it_is_asked_elsewhere_is_asked_here() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let replica = beside(listener.local_addr().unwrap().to_string()).await;
    let links = replica.links.clone();
    let asking = tokio::spawn(async move { links.spools(&of("i-1", 20_000)).await });
    let (mut stream, _) = request(&listener).await;
    let mut agent = welcomed(&replica, true).await;
    answer(&mut stream, "200 OK", "{\"Err\":\"no connection\"}").await;
    let ask = asked(&mut agent).await;
    agent.say(Frame::Spooled { ask, told: kept() }).await;
    assert_eq!(asking.await.unwrap(), Ok(kept()));
}

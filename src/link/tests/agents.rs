//! Links to agents over a pipe, with the store in memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use link::Links;
use model::{BuildId, BuildResult, Clock, Fence, Millis, NodeName, ReplicaName, SystemClock};
use remoting::native::{AgentInfo, Frame};
use remoting::ops::{Command, ToAgent};
use store::{Join, Memory, Nodes, Store, Write};
use tokio::io::DuplexStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};

const DEADLINE: Duration = Duration::from_secs(20);

struct Replica {
    store: Memory,
    links: Links,
    me: model::ReplicaId,
}

async fn replica() -> Replica {
    let store = Memory::new();
    let node = store::contract::support::a_node("mac", 1);
    store.with(|state| state.apply(&Write::CreateNode(node))).unwrap();
    joined(store, "r-0").await
}

async fn joined(store: Memory, name: &str) -> Replica {
    let join = Join {
        name: ReplicaName::parse(name).unwrap(),
        ordinal: 0,
        pid: 1,
        address: String::new(),
        revision: "r".into(),
        version: "0".into(),
        level: 1,
        behaviour: 1,
        at: Millis(1),
    };
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let joining = cluster::Membership::join(Arc::clone(&shared), Arc::clone(&clock), join);
    let (_membership, handle) = joining.await.unwrap();
    let me = handle.me().clone();
    Replica { store, links: Links::new(shared, clock, handle, "token".into()), me }
}

fn mac() -> NodeName {
    NodeName::parse("mac").unwrap()
}

/// An agent's end of a link.
struct Agent {
    socket: WebSocketStream<DuplexStream>,
    /// Ends with the link, with the reason.
    served: tokio::task::JoinHandle<String>,
}

impl Agent {
    async fn dial(replica: &Replica, instance: &str) -> Agent {
        let info = AgentInfo { instance: instance.into(), ..AgentInfo::default() };
        Agent::dial_as(replica, info).await
    }

    async fn dial_as(replica: &Replica, info: AgentInfo) -> Agent {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (links, instance) = (replica.links.clone(), info.instance.clone());
        let served = tokio::spawn(async move { links.serve_agent(mac(), instance, Box::new(theirs)).await });
        let socket = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
        let mut agent = Agent { socket, served };
        agent.say(Frame::Hello(Box::new(info))).await;
        agent
    }

    async fn welcomed(replica: &Replica, instance: &str) -> (Agent, i64) {
        let mut agent = Agent::dial(replica, instance).await;
        match agent.hear().await {
            Frame::Welcome(welcome) => (agent, welcome.link),
            other => panic!("{other:?}"),
        }
    }

    async fn say(&mut self, frame: Frame) {
        self.socket.send(Message::Binary(frame.encode())).await.unwrap();
    }

    /// The next frame; pings are answered meanwhile.
    async fn hear(&mut self) -> Frame {
        loop {
            let message = timeout(DEADLINE, self.socket.next()).await.unwrap();
            match message.expect("the link has ended").unwrap() {
                Message::Binary(bytes) => match Frame::decode(bytes).unwrap() {
                    Frame::Ping(n) => self.say(Frame::Pong(n)).await,
                    Frame::Interval { .. } => {}
                    frame => return frame,
                },
                other => panic!("{other:?}"),
            }
        }
    }
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test]
async fn an_agent_forgets_what_it_keeps_of_builds_that_are_over() {
    use store::contract::support::{built, pipeline, start};
    let replica = replica().await;
    pipeline(&replica.store, "app").await;
    let running = start(&replica.store, "app", &replica.me).await;
    let ended = built(&replica.store, "app", &replica.me, BuildResult::Success).await;
    let last = start(&replica.store, "app", &replica.me).await;
    let (mut agent, _) = Agent::welcomed(&replica, "i-1").await;
    let fence = Fence::first(7);
    // Also one of which the store knows nothing: it may have been set back in time.
    let unknown = BuildId(last.build.0 + 1);
    let kept = |builds: &[BuildId]| Frame::Builds { builds: builds.iter().map(|b| (*b, fence)).collect() };
    agent.say(kept(&[running.build, unknown, ended.build, last.build])).await;
    let forget = |build| Frame::Command(ToAgent { build, fence, command: Command::Forget });
    assert_eq!(agent.hear().await, forget(ended.build));
    let mut last = last;
    last.finish(&replica.store, BuildResult::Failure).await;
    agent.say(kept(&[running.build, unknown, last.build])).await;
    assert_eq!(agent.hear().await, forget(last.build), "nothing was said of the others");
}

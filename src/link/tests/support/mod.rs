//! A replica with the store in memory, and an agent's end of a link over a pipe.

#![allow(dead_code, reason = "each of the tests' programs has its own copy and uses a part of it")]

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use link::Links;
use model::{Clock, Millis, NodeName, ReplicaName, SystemClock};
use remoting::native::{AgentInfo, Frame};
use store::{Join, Memory, Store, Write};
use tokio::io::DuplexStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};

const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct Replica {
    pub(crate) store: Memory,
    pub(crate) links: Links,
    pub(crate) me: model::ReplicaId,
}

pub(crate) async fn replica() -> Replica {
    let store = Memory::new();
    let node = store::contract::support::a_node("mac", 1);
    store.with(|state| state.apply(&Write::CreateNode(node))).unwrap();
    joined(store, "r-0").await
}

pub(crate) async fn joined(store: Memory, name: &str) -> Replica {
    joined_at(store, name, String::new()).await
}

/// Where peers reach it.
pub(crate) async fn joined_at(store: Memory, name: &str, address: String) -> Replica {
    let join = Join {
        name: ReplicaName::parse(name).unwrap(),
        ordinal: 0,
        pid: 1,
        address,
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
    Replica { store, links: Links::new(shared, clock, handle, mutual::Peering::plain("token".into())), me }
}

pub(crate) fn mac() -> NodeName {
    NodeName::parse("mac").unwrap()
}

/// An agent's end of a link.
pub(crate) struct Agent {
    pub(crate) socket: WebSocketStream<DuplexStream>,
}

impl Agent {
    pub(crate) async fn dial_as(replica: &Replica, info: AgentInfo) -> Agent {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (links, instance) = (replica.links.clone(), info.instance.clone());
        tokio::spawn(async move { links.serve_agent(mac(), instance, Box::new(theirs)).await });
        let socket = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
        let mut agent = Agent { socket };
        agent.say(Frame::Hello(Box::new(info))).await;
        agent
    }

    pub(crate) async fn welcomed(replica: &Replica, instance: &str) -> (Agent, i64) {
        let info = AgentInfo { instance: instance.into(), ..AgentInfo::default() };
        Agent::welcomed_as(replica, info).await
    }

    pub(crate) async fn welcomed_as(replica: &Replica, info: AgentInfo) -> (Agent, i64) {
        let mut agent = Agent::dial_as(replica, info).await;
        let Message::Binary(first) = agent.socket.next().await.unwrap().unwrap() else { panic!() };
        match Frame::decode(first).unwrap() {
            Frame::Welcome(welcome) => (agent, welcome.link),
            other => panic!("not the first frame: {other:?}"),
        }
    }

    pub(crate) async fn say(&mut self, frame: Frame) {
        self.socket.send(Message::Binary(frame.encode())).await.unwrap();
    }

    /// The next frame; pings are answered meanwhile.
    pub(crate) async fn hear(&mut self) -> Frame {
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

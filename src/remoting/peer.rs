//! Wire format between replicas, version 1: one WebSocket from each to each, one binary message a frame.
//!
//! A message is a 4-byte little-endian length, a JSON header of that length, and for relayed frames the native frame
//! itself. Whoever dialled asks; whoever answered holds agents. Upgrade on `/peer/ws` with the peer token as bearer.

use bytes::Bytes;
use model::{BuildId, Fence, JobName, NodeName, ReplicaId};
use serde::{Deserialize, Serialize};

use crate::native::{Frame, FrameError, MAX_MESSAGE, pack};

/// Largest message: a native frame and a short header.
pub const MAX_PEER_MESSAGE: usize = MAX_MESSAGE + 4096;

#[derive(Debug, Clone, PartialEq)]
pub enum Peer {
    /// The first message of whoever dialled.
    Iam(ReplicaId),
    /// Look at something.
    Hint(PeerHint),
    /// The build under this fence wants to reach the agent.
    Attach {
        build: BuildId,
        fence: Fence,
        node: NodeName,
    },
    /// It wants none any more.
    Detach {
        build: BuildId,
        fence: Fence,
    },
    /// The agent can be reached through the sender, over its link of that number.
    Up {
        build: BuildId,
        fence: Fence,
        node: NodeName,
        instance: String,
        link: i64,
    },
    Down {
        build: BuildId,
        fence: Fence,
        node: NodeName,
        link: i64,
    },
    /// To or from an agent whose link the answering side holds.
    Relay {
        node: NodeName,
        frame: Frame,
    },
    Ping(u64),
    Pong(u64),
    /// Of a version that knows more than this one. Never sent: new messages wait for a level that all replicas know.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PeerHint {
    /// Whoever hears it gives out builds and executors.
    Queue,
    Running,
    /// A build that has just begun is the receiver's.
    Begun {
        build: BuildId,
        job: JobName,
        number: u64,
        fence: Fence,
        behaviour: u32,
    },
    Inbox(BuildId),
    /// A build has ended without its agents being told: whoever holds them tells them.
    Over {
        build: BuildId,
        fence: Fence,
    },
    /// A node's agent has a new link: older ones are to be closed.
    Linked {
        node: NodeName,
        number: i64,
    },
    /// What the version after this one says once the home is at its level.
    #[cfg(feature = "next")]
    Next,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "t")]
enum Header {
    Iam {
        me: ReplicaId,
    },
    Hint {
        hint: Known,
    },
    Attach {
        build: BuildId,
        fence: Fence,
        node: NodeName,
    },
    Detach {
        build: BuildId,
        fence: Fence,
    },
    Up {
        build: BuildId,
        fence: Fence,
        node: NodeName,
        instance: String,
        link: i64,
    },
    Down {
        build: BuildId,
        fence: Fence,
        node: NodeName,
        link: i64,
    },
    Relay {
        node: NodeName,
    },
    Ping {
        n: u64,
    },
    Pong {
        n: u64,
    },
    #[serde(other)]
    Unknown,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Known {
    Hint(PeerHint),
    Other(serde_json::Value),
}

impl Peer {
    pub fn encode(self) -> Bytes {
        let mut content = Bytes::new();
        let header = match self {
            Peer::Iam(me) => Header::Iam { me },
            Peer::Hint(hint) => Header::Hint { hint: Known::Hint(hint) },
            Peer::Attach { build, fence, node } => Header::Attach { build, fence, node },
            Peer::Detach { build, fence } => Header::Detach { build, fence },
            Peer::Up { build, fence, node, instance, link } => {
                Header::Up { build, fence, node, instance, link }
            }
            Peer::Down { build, fence, node, link } => Header::Down { build, fence, node, link },
            Peer::Relay { node, frame } => {
                content = frame.encode();
                Header::Relay { node }
            }
            Peer::Ping(n) => Header::Ping { n },
            Peer::Pong(n) => Header::Pong { n },
            Peer::Unknown => Header::Unknown,
        };
        pack(&header, &content)
    }

    pub fn decode(mut message: Bytes) -> Result<Peer, FrameError> {
        let length: [u8; 4] =
            message.get(..4).and_then(|b| b.try_into().ok()).ok_or(FrameError::Short(message.len()))?;
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        if message.len().saturating_sub(4) < length {
            return Err(FrameError::Short(message.len()));
        }
        let content = message.split_off(4 + length);
        let header = serde_json::from_slice(&message[4..]).map_err(|e| FrameError::Header(e.to_string()))?;
        Ok(match header {
            Header::Iam { me } => Peer::Iam(me),
            Header::Hint { hint: Known::Hint(hint) } => Peer::Hint(hint),
            Header::Hint { hint: Known::Other(_) } | Header::Unknown => Peer::Unknown,
            Header::Attach { build, fence, node } => Peer::Attach { build, fence, node },
            Header::Detach { build, fence } => Peer::Detach { build, fence },
            Header::Up { build, fence, node, instance, link } => {
                Peer::Up { build, fence, node, instance, link }
            }
            Header::Down { build, fence, node, link } => Peer::Down { build, fence, node, link },
            Header::Relay { node } => Peer::Relay { node, frame: Frame::decode(content)? },
            Header::Ping { n } => Peer::Ping(n),
            Header::Pong { n } => Peer::Pong(n),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_read_as_it_was_written_and_a_cut_one_is_refused() {
        let node = NodeName::parse("agent-1").unwrap();
        let (build, fence) = (BuildId(1), Fence::first(2));
        let job = JobName::parse("a/b").unwrap();
        let me = ReplicaId { name: model::ReplicaName::parse("r-1").unwrap(), incarnation: 4 };
        let all = [
            Peer::Iam(me),
            Peer::Hint(PeerHint::Queue),
            Peer::Hint(PeerHint::Inbox(build)),
            Peer::Hint(PeerHint::Over { build, fence }),
            Peer::Hint(PeerHint::Begun { build, job, number: 7, fence, behaviour: 1 }),
            Peer::Hint(PeerHint::Linked { node: node.clone(), number: 3 }),
            Peer::Attach { build, fence, node: node.clone() },
            Peer::Detach { build, fence },
            Peer::Up { build, fence, node: node.clone(), instance: "i".into(), link: 3 },
            Peer::Down { build, fence, node: node.clone(), link: 3 },
            Peer::Relay { node, frame: Frame::Bye { reason: "x".into() } },
            Peer::Ping(1),
            Peer::Pong(1),
            Peer::Unknown,
        ];
        for message in all {
            let bytes = message.clone().encode();
            for cut in 0..bytes.len() {
                assert!(Peer::decode(bytes.slice(..cut)).is_err());
            }
            assert_eq!(Peer::decode(bytes), Ok(message));
        }
    }

    #[test]
    fn what_a_newer_version_says_breaks_no_connection() {
        for header in [
            r#"{"t":"later","n":[1,{}]}"#,
            r#"{"t":"hint","hint":"later"}"#,
            r#"{"t":"hint","hint":{"later":{"n":1}}}"#,
        ] {
            let mut message = u32::try_from(header.len()).unwrap().to_le_bytes().to_vec();
            message.extend(header.bytes());
            assert_eq!(Peer::decode(message.into()), Ok(Peer::Unknown), "{header}");
        }
    }
}

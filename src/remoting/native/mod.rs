//! Wire format of the native agent, version 1: one WebSocket, one binary message a frame.
//!
//! A frame is a 4-byte little-endian length, a JSON header of that length, and content up to the end of the message.
//! Upgrade on `/wsagents/` with the headers [`VERSION_HEADER`], `Node-Name`, `Secret-Key` and [`INSTANCE_HEADER`].
//! The agent speaks first (`hello`), the controller answers `welcome`; then both sides send what they have. A side that
//! hears nothing for three ping intervals leaves.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use model::{BuildId, Fence};
use serde::{Deserialize, Serialize};

use crate::ops::{
    Command, FromAgent, MAX_PIECE, OpRequest, OpResult, Report, StartSpec, StepReport, ToAgent,
};
use crate::spools::{MAX_SPOOLS, SpoolsAsked, SpoolsTold};

/// The protocol's version, in the header that marks a native agent.
pub const VERSION: &str = "1";
pub const VERSION_HEADER: &str = "X-Majordomo-Native";
/// Id of the agent's work folder: two machines under one name have different ones.
pub const INSTANCE_HEADER: &str = "X-Majordomo-Instance";
/// Largest JSON header; a script of 1 MiB fits, escaped.
pub const MAX_HEADER: usize = 8 * 1024 * 1024;
/// Most builds in one frame.
pub const MAX_BUILDS: usize = 1_000;
/// Largest message.
pub const MAX_MESSAGE: usize = MAX_HEADER + MAX_PIECE + 4;

/// What both sides say.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// The agent's first frame.
    Hello(Box<AgentInfo>),
    /// The controller's first frame.
    Welcome(Welcome),
    /// Asks for a `Pong` with the same number.
    Ping(u64),
    Pong(u64),
    /// How often the controller pings from now on: 15 s, 2 s while a step runs here.
    Interval {
        millis: u64,
    },
    /// The link is about to be closed; the agent connects again at once, to whichever replica answers.
    Bye {
        reason: String,
    },
    Command(ToAgent),
    Report(FromAgent),
    /// The agent keeps something of these builds, under the highest fence that it was shown for each; at most
    /// [`MAX_BUILDS`] a frame. Said after each welcome and every few minutes, because a `Forget` is said once and may be
    /// lost. The controller answers each that is over with a `Forget` under that very fence.
    Builds {
        builds: Vec<(BuildId, Fence)>,
    },
    /// Asks for a `Spooled` with the same number. Only for an agent that says that it knows it.
    Spools {
        ask: u64,
        asked: SpoolsAsked,
    },
    Spooled {
        ask: u64,
        told: SpoolsTold,
    },
}

/// What an agent says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentInfo {
    pub version: String,
    pub instance: String,
    pub pid: u32,
    pub hostname: String,
    /// `linux`, `windows`, `macos`.
    pub os: String,
    pub arch: String,
    pub unix: bool,
    pub work_dir: String,
    /// The environment that steps will see.
    pub env: BTreeMap<String, String>,
    /// It can be asked about its spools.
    #[serde(default)]
    pub spools: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Welcome {
    pub replica: String,
    pub link: i64,
    /// Identity of the controller; empty while the replica does not know it yet. Ids of builds mean something in it only.
    #[serde(default)]
    pub controller: String,
}

/// Why a message is not a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("a frame of {0} bytes is cut off")]
    Short(usize),
    #[error("a frame header of {0} bytes is over the limit of {MAX_HEADER}")]
    Large(usize),
    #[error("{0} bytes of content are over the limit of {MAX_PIECE}")]
    Content(usize),
    #[error("{0} builds are over the limit of {MAX_BUILDS}")]
    Builds(usize),
    #[error("{0} spools are over the limit of {MAX_SPOOLS}")]
    Spools(usize),
    #[error("the frame header can't be read: {0}")]
    Header(String),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "t")]
enum Header {
    Hello(Box<AgentInfo>),
    Welcome(Welcome),
    Ping {
        n: u64,
    },
    Pong {
        n: u64,
    },
    Interval {
        millis: u64,
    },
    Bye {
        reason: String,
    },
    Builds {
        builds: Vec<(BuildId, Fence)>,
    },
    Spools {
        id: u64,
        asked: SpoolsAsked,
    },
    Spooled {
        id: u64,
        told: SpoolsTold,
    },
    Claim(To),
    Start {
        #[serde(flatten)]
        to: To,
        step: String,
        spec: Box<StartSpec>,
    },
    Follow {
        #[serde(flatten)]
        to: To,
        step: String,
        from: u64,
        upto: u64,
    },
    Kill {
        #[serde(flatten)]
        to: To,
        step: String,
        grace: u64,
    },
    Op {
        #[serde(flatten)]
        to: To,
        id: u64,
        request: Box<OpRequest>,
    },
    Put {
        #[serde(flatten)]
        to: To,
        id: u64,
        offset: u64,
        last: bool,
    },
    Room {
        #[serde(flatten)]
        to: To,
        id: u64,
        upto: u64,
    },
    Cancel {
        #[serde(flatten)]
        to: To,
        id: u64,
    },
    Forget(To),
    Claimed {
        #[serde(flatten)]
        to: To,
        steps: Vec<StepReport>,
        #[serde(default)]
        rebooted: bool,
    },
    Refused {
        #[serde(flatten)]
        to: To,
        held: Fence,
    },
    Step {
        #[serde(flatten)]
        to: To,
        report: StepReport,
    },
    Output {
        #[serde(flatten)]
        to: To,
        step: String,
        offset: u64,
    },
    Data {
        #[serde(flatten)]
        to: To,
        id: u64,
        offset: u64,
    },
    Credit {
        #[serde(flatten)]
        to: To,
        id: u64,
        upto: u64,
    },
    Done {
        #[serde(flatten)]
        to: To,
        id: u64,
        result: OpResult,
    },
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct To {
    b: BuildId,
    f: Fence,
}

/// Length, JSON header, content: how a message is laid out, here and between peers.
pub(crate) fn pack(header: &impl Serialize, content: &[u8]) -> Bytes {
    let json = serde_json::to_vec(header).expect("a header is plain data with string keys");
    let mut out = BytesMut::with_capacity(4 + json.len() + content.len());
    out.put_u32_le(u32::try_from(json.len()).unwrap_or(u32::MAX));
    out.put_slice(&json);
    out.put_slice(content);
    out.freeze()
}

impl Frame {
    pub fn encode(self) -> Bytes {
        let (header, content) = self.split();
        pack(&header, &content)
    }

    pub fn decode(mut message: Bytes) -> Result<Frame, FrameError> {
        let length: [u8; 4] =
            message.get(..4).and_then(|b| b.try_into().ok()).ok_or(FrameError::Short(message.len()))?;
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        if length > MAX_HEADER {
            return Err(FrameError::Large(length));
        }
        if message.len() < 4 + length {
            return Err(FrameError::Short(message.len()));
        }
        let content = message.split_off(4 + length);
        if content.len() > MAX_PIECE {
            return Err(FrameError::Content(content.len()));
        }
        let header =
            serde_json::from_slice::<Header>(&message[4..]).map_err(|e| FrameError::Header(e.to_string()))?;
        within(&header)?;
        Ok(join(header, content))
    }

    fn split(self) -> (Header, Bytes) {
        let none = Bytes::new();
        match self {
            Frame::Hello(info) => (Header::Hello(info), none),
            Frame::Welcome(welcome) => (Header::Welcome(welcome), none),
            Frame::Ping(n) => (Header::Ping { n }, none),
            Frame::Pong(n) => (Header::Pong { n }, none),
            Frame::Interval { millis } => (Header::Interval { millis }, none),
            Frame::Bye { reason } => (Header::Bye { reason }, none),
            Frame::Builds { builds } => (Header::Builds { builds }, none),
            Frame::Spools { ask, asked } => (Header::Spools { id: ask, asked }, none),
            Frame::Spooled { ask, told } => (Header::Spooled { id: ask, told }, none),
            Frame::Command(command) => split_command(command),
            Frame::Report(report) => split_report(report),
        }
    }
}

/// Whether a list is as short as it must be.
fn within(header: &Header) -> Result<(), FrameError> {
    match header {
        Header::Builds { builds } if builds.len() > MAX_BUILDS => Err(FrameError::Builds(builds.len())),
        Header::Spools { asked, .. } if asked.steps.len() > MAX_SPOOLS => {
            Err(FrameError::Spools(asked.steps.len()))
        }
        Header::Spooled { told: SpoolsTold::Kept { spools, .. }, .. } if spools.len() > MAX_SPOOLS => {
            Err(FrameError::Spools(spools.len()))
        }
        _ => Ok(()),
    }
}

fn split_command(ToAgent { build, fence, command }: ToAgent) -> (Header, Bytes) {
    let to = To { b: build, f: fence };
    let header = match command {
        Command::Claim => Header::Claim(to),
        Command::Start { step, spec } => Header::Start { to, step, spec },
        Command::Follow { step, from, upto } => Header::Follow { to, step, from, upto },
        Command::Kill { step, grace_millis } => Header::Kill { to, step, grace: grace_millis },
        Command::Op { op, request } => Header::Op { to, id: op, request },
        Command::OpData { op, offset, last, bytes } => {
            return (Header::Put { to, id: op, offset, last }, bytes);
        }
        Command::OpCredit { op, upto } => Header::Room { to, id: op, upto },
        Command::OpCancel { op } => Header::Cancel { to, id: op },
        Command::Forget => Header::Forget(to),
    };
    (header, Bytes::new())
}

fn split_report(FromAgent { build, fence, report }: FromAgent) -> (Header, Bytes) {
    let to = To { b: build, f: fence };
    let header = match report {
        Report::Claimed { steps, rebooted } => Header::Claimed { to, steps, rebooted },
        Report::Refused { held } => Header::Refused { to, held },
        Report::Step(report) => Header::Step { to, report },
        Report::Output { step, offset, bytes } => return (Header::Output { to, step, offset }, bytes),
        Report::OpData { op, offset, bytes } => return (Header::Data { to, id: op, offset }, bytes),
        Report::OpCredit { op, upto } => Header::Credit { to, id: op, upto },
        Report::OpDone { op, result } => Header::Done { to, id: op, result },
    };
    (header, Bytes::new())
}

fn join(header: Header, bytes: Bytes) -> Frame {
    let command = |to: To, command| Frame::Command(ToAgent { build: to.b, fence: to.f, command });
    let report = |to: To, report| Frame::Report(FromAgent { build: to.b, fence: to.f, report });
    match header {
        Header::Hello(info) => Frame::Hello(info),
        Header::Welcome(welcome) => Frame::Welcome(welcome),
        Header::Ping { n } => Frame::Ping(n),
        Header::Pong { n } => Frame::Pong(n),
        Header::Interval { millis } => Frame::Interval { millis },
        Header::Bye { reason } => Frame::Bye { reason },
        Header::Builds { builds } => Frame::Builds { builds },
        Header::Spools { id, asked } => Frame::Spools { ask: id, asked },
        Header::Spooled { id, told } => Frame::Spooled { ask: id, told },
        Header::Claim(to) => command(to, Command::Claim),
        Header::Start { to, step, spec } => command(to, Command::Start { step, spec }),
        Header::Follow { to, step, from, upto } => command(to, Command::Follow { step, from, upto }),
        Header::Kill { to, step, grace } => command(to, Command::Kill { step, grace_millis: grace }),
        Header::Op { to, id, request } => command(to, Command::Op { op: id, request }),
        Header::Put { to, id, offset, last } => command(to, Command::OpData { op: id, offset, last, bytes }),
        Header::Room { to, id, upto } => command(to, Command::OpCredit { op: id, upto }),
        Header::Cancel { to, id } => command(to, Command::OpCancel { op: id }),
        Header::Forget(to) => command(to, Command::Forget),
        Header::Claimed { to, steps, rebooted } => report(to, Report::Claimed { steps, rebooted }),
        Header::Refused { to, held } => report(to, Report::Refused { held }),
        Header::Step { to, report: step } => report(to, Report::Step(step)),
        Header::Output { to, step, offset } => report(to, Report::Output { step, offset, bytes }),
        Header::Data { to, id, offset } => report(to, Report::OpData { op: id, offset, bytes }),
        Header::Credit { to, id, upto } => report(to, Report::OpCredit { op: id, upto }),
        Header::Done { to, id, result } => report(to, Report::OpDone { op: id, result }),
    }
}

#[cfg(test)]
mod tests;

//! What an agent is asked about the spools that it still has, by whoever checks the log of a build.
//!
//! A look, not a command: it names no fence and takes nothing from the build's owner, nor does it change anything at the
//! agent. It is asked only of agents that say in their greeting that they know it; others would leave.

use model::{BuildId, NodeName};
use serde::{Deserialize, Serialize};

/// Most steps in one question.
pub const MAX_SPOOLS: usize = 200;

/// Which spools of a build are to be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpoolsAsked {
    pub build: BuildId,
    /// Nobody waits for the answer any longer than that.
    pub millis: u64,
    /// At most [`MAX_SPOOLS`]; none: only whether something of the build is kept.
    pub steps: Vec<SpoolAsked>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpoolAsked {
    pub step: String,
    /// Of so many first bytes the sum is wanted; 0: none is.
    pub first: u64,
}

/// What the agent says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SpoolsTold {
    /// It keeps the build.
    Kept {
        /// The machine was restarted since the build was first claimed there. Spools are not synced to disk, so their ends
        /// may be missing.
        rebooted: bool,
        /// In the order of the question.
        spools: Vec<Spool>,
    },
    /// It keeps nothing of the build, or is about to forget it.
    Nothing,
    /// It can't say now; a sentence.
    Failed { why: String },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spool {
    pub step: String,
    pub held: Held,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Held {
    /// There is a spool.
    Spool {
        /// Bytes in it; a step that runs has more by now.
        end: u64,
        /// SHA-256 in hex of so many first bytes as were asked for; nothing when none were, or there are less.
        sha256: Option<String>,
    },
    /// The step has none here.
    Nothing,
    /// It can't be read; a sentence.
    Unreadable { why: String },
}

/// The same question, asked of the replica that has the agent's socket. It answers with a `Result<SpoolsTold, String>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpoolsOf {
    pub node: NodeName,
    /// Id of the work folder that the steps have run in.
    pub instance: String,
    pub asked: SpoolsAsked,
}

//! A step at this agent: its folder, its process, and what may be said about it.
//!
//! The files are the truth; memory only saves looking. The wrapper makes `started` exclusively before it runs the
//! program, so whoever fails to make it never runs anything: two agents, or one that was killed between two lines,
//! can't run a step twice. No file is synced when a step starts: what the kernel has taken outlives the agent, and
//! after a restart of the machine the boot id in the build's fence file says that folders may be missing.

mod folder;
mod left;
mod process;
mod tree;
mod wrapper;

use std::fs::File;
use std::sync::Arc;
use std::time::Instant;

use model::{BuildId, Fence};
use remoting::ops::StepState;
use tokio::sync::watch;

pub(crate) use folder::{Look, MAX_STDOUT, StepFolder};
pub(crate) use left::{ROUND, end_left};
pub(crate) use process::{Process, ended, left};
pub(crate) use tree::{Census, Tree, end_tree, mark_term};
pub(crate) use wrapper::{Launch, own_env, program, spawn};

/// Names a step of a build.
pub(crate) type StepKey = (BuildId, Arc<str>);

/// A step that has a folder here.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) folder: StepFolder,
    pub(crate) phase: Phase,
    /// The spool, once somebody asked for it.
    pub(crate) out: Option<File>,
    pub(crate) follow: Option<Follow>,
    /// Who notices that the spool grows.
    pub(crate) notice: Option<i32>,
    /// When the tree is killed; there while it is being ended.
    pub(crate) killing: Option<watch::Sender<Instant>>,
    /// This life of the agent has begun to end it.
    pub(crate) killed: bool,
    /// Why it has no exit status, should the disk be too full to write that down.
    pub(crate) failed: Option<String>,
    /// Something of its group lived when its wrapper had ended.
    pub(crate) left: bool,
    /// How it ended, unless that is large.
    pub(crate) known: Option<StepState>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing has run yet.
    Accepted,
    /// Its wrapper was started, or lives. The process is unknown until `started` can be read.
    Running,
    /// Its wrapper is gone; the output ends here.
    Ended { end: u64 },
}

/// Somebody reads the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Follow {
    pub(crate) fence: Fence,
    /// Up to where it was sent on this link.
    pub(crate) sent: u64,
    /// Up to where it may be sent.
    pub(crate) upto: u64,
}

impl Step {
    pub(crate) fn new(folder: StepFolder, phase: Phase) -> Step {
        Step {
            folder,
            phase,
            out: None,
            follow: None,
            notice: None,
            killing: None,
            killed: false,
            failed: None,
            left: false,
            known: None,
        }
    }

    pub(crate) fn running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Bytes in the spool; final when the step has ended.
    pub(crate) fn end(&self) -> u64 {
        match self.phase {
            Phase::Ended { end } => end,
            Phase::Accepted | Phase::Running => self.folder.spooled(),
        }
    }
}

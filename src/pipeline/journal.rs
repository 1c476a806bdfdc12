//! How acts are named, classed and compared with their records. The format is written down in `JOURNAL.md`.

use sha2::{Digest, Sha256};

use crate::act::{Act, ActKind, BlockKind, Class, Shell, StepId};

/// The journal and the machine disagree: the build cannot go on, and it is a bug of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the journal differs from the machine at step {step}: {message}")]
pub struct Divergence {
    pub step: StepId,
    pub message: String,
}

impl Divergence {
    pub(crate) fn new(step: &StepId, message: impl Into<String>) -> Divergence {
        Divergence { step: step.clone(), message: message.into() }
    }
}

impl Act {
    /// 16 hexadecimal digits of the SHA-256 of kind and branch as JSON. The line is not in it, so that a better
    /// line table does not break old journals.
    pub fn digest(&self) -> String {
        let json =
            serde_json::to_vec(&(&self.kind, &self.branch)).expect("acts have text keys only and serialise");
        crate::program::hex(&Sha256::digest(json)[..8])
    }

    /// How the act is treated when nobody knows whether it was done.
    pub fn class(&self) -> Class {
        match self.kind {
            ActKind::Echo { .. }
            | ActKind::BlockStart { .. }
            | ActKind::BlockEnd { .. }
            | ActKind::SetResult { .. }
            | ActKind::SetDisplayName { .. }
            | ActKind::SetDescription { .. }
            | ActKind::ReleaseNode { .. }
            | ActKind::CancelTimer { .. } => Class::Instant,
            ActKind::Node { .. } | ActKind::Sleep { .. } | ActKind::Timer { .. } => Class::Waiting,
            ActKind::Process(_) | ActKind::Checkout { .. } => Class::Durable,
            ActKind::ReadFile { .. }
            | ActKind::WriteFile { .. }
            | ActKind::FileExists { .. }
            | ActKind::DeleteDir { .. }
            | ActKind::Stash { .. }
            | ActKind::Unstash { .. }
            | ActKind::ArchiveArtifacts { .. } => Class::Repeatable,
            ActKind::Trigger { .. } => Class::Once,
        }
    }

    /// The step as the `[Pipeline]` lines of the log name it; empty for what they do not show.
    pub fn name(&self) -> &'static str {
        match &self.kind {
            ActKind::Echo { .. } if self.line == 0 => "",
            ActKind::Echo { .. } => "echo",
            ActKind::BlockStart { block: BlockKind::Stage, .. } => "stage",
            ActKind::BlockStart { block: BlockKind::Branch, .. } => "parallel",
            ActKind::BlockEnd { .. }
            | ActKind::SetResult { .. }
            | ActKind::SetDisplayName { .. }
            | ActKind::SetDescription { .. }
            | ActKind::ReleaseNode { .. }
            | ActKind::CancelTimer { .. } => "",
            ActKind::Node { .. } => "node",
            ActKind::Sleep { .. } => "sleep",
            ActKind::Timer { .. } => "timeout",
            ActKind::Process(process) => match process.shell {
                Shell::Sh => "sh",
                Shell::Bat => "bat",
                Shell::Powershell => "powershell",
                Shell::Pwsh => "pwsh",
            },
            ActKind::Checkout { scm: crate::act::Scm::Git { local_branch: true, .. }, .. } => "git",
            ActKind::Checkout { .. } => "checkout",
            ActKind::ReadFile { .. } => "readFile",
            ActKind::WriteFile { .. } => "writeFile",
            ActKind::FileExists { .. } => "fileExists",
            ActKind::DeleteDir { .. } => "deleteDir",
            ActKind::Stash { .. } => "stash",
            ActKind::Unstash { .. } => "unstash",
            ActKind::ArchiveArtifacts { .. } => "archiveArtifacts",
            ActKind::Trigger { .. } => "build",
        }
    }
}

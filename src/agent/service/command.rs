//! Who may command, and which part carries it out.

use model::{BuildId, Fence};
use remoting::ops::{Command, Report, ToAgent, Verdict};
use tracing::info;

use super::{Build, Service};

impl Service {
    /// Judges a command by its fence, and carries it out.
    pub(super) fn command(&mut self, ToAgent { build, fence, command }: ToAgent) {
        let claim = command == Command::Claim;
        // Of a former owner, while the newer claim is on its way to disk.
        let claimed =
            self.builds.get(&build).and_then(Build::claiming).filter(|held| !claim && fence < *held);
        if let Some(held) = claimed {
            return self.report(build, fence, Report::Refused { held });
        }
        match self.fences.judge(build, fence, claim) {
            Verdict::Stale { held } => {
                info!(build = build.0, %fence, %held, "refuse a command under a stale fence");
                self.report(build, fence, Report::Refused { held });
            }
            // A build that could not go on: its owner never claimed it here, and nobody will.
            Verdict::Unclaimed if command == Command::Forget && self.builds.contains_key(&build) => {
                self.fences.hold(build, fence);
                self.forget(build, fence);
            }
            Verdict::Unclaimed => {
                let held = self.fences.held(build).unwrap_or_default();
                self.report(build, fence, Report::Refused { held });
            }
            Verdict::Newer => self.claim(build, fence, true),
            // Nothing is kept of a build that was forgotten: it is claimed like a new one.
            Verdict::Current if claim => self.claim(build, fence, !self.builds.contains_key(&build)),
            Verdict::Current if !self.builds.contains_key(&build) => {
                self.report(build, fence, Report::Refused { held: fence });
            }
            Verdict::Current => self.obey(build, fence, command),
        }
    }

    fn obey(&mut self, build: BuildId, fence: Fence, command: Command) {
        if let Some(build) = self.builds.get_mut(&build) {
            build.spoken_of = true;
        }
        match command {
            Command::Claim => {}
            Command::Start { step, spec } => self.start(build, fence, &step, &spec),
            Command::Follow { step, from, upto } => self.follow(build, fence, &step, from, upto),
            Command::Kill { step, grace_millis } => self.kill(build, fence, &step, grace_millis),
            Command::Op { op, request } => self.begin_op((build, op), fence, *request),
            Command::OpData { op, offset, last, bytes } => self.op_data((build, op), offset, last, &bytes),
            Command::OpCredit { op, upto } => self.op_credit((build, op), upto),
            Command::OpCancel { op } => self.op_cancel((build, op)),
            Command::Forget => self.forget(build, fence),
        }
    }
}

//! What must hold when all has come to its end.

use model::{BuildId, BuildResult};
use pipeline::act::{Data, Outcome, Record};
use pipeline::machine::{Machine, Status};

use crate::oracle::Told;
use crate::world::World;

impl World {
    // -- the end -----------------------------------------------------------------------------

    pub(crate) fn check_end(&mut self) {
        let builds: Vec<BuildId> = self.oracle.builds.keys().copied().collect();
        for build in builds {
            if let Err(why) = self.check_build(build) {
                return self.fail(format!("build {build}: {why}"));
            }
        }
        let acknowledged = std::mem::take(&mut self.oracle.acknowledged);
        let lost = acknowledged.iter().find(|((build, index), record)| {
            self.home.state.journal(*build, *index).first() != Some(*record)
        });
        if let Some(((build, index), _)) = lost {
            self.fail(format!("record {index} of build {build} was acknowledged and is gone"));
        }
        let busy = self.home.state.busy();
        if !busy.is_empty() || !self.home.state.waits().is_empty() {
            self.fail(format!("executors stay in use at the end: {busy:?}"));
        }
    }

    pub(crate) fn check_build(&self, build: BuildId) -> Result<(), String> {
        let row = self.home.state.build_by_id(build).ok_or("it has no row")?;
        let told = &self.oracle.builds[&build];
        let result = row.result.filter(|_| !row.building()).ok_or("it has not ended")?;
        let journal = self.home.state.journal(build, 0);
        let records: Vec<Record> = journal
            .iter()
            .map(|r| serde_json::from_slice(r))
            .collect::<Result<_, _>>()
            .map_err(|e| e.to_string())?;
        let log = self.home.state.log(build, 0, usize::MAX).ok_or("it has no log")?;
        let text = String::from_utf8_lossy(&log.bytes);
        for wrong in ["journal differs", "can't go on", "can't be read"] {
            if text.contains(wrong) {
                return Err(format!("its log says “{wrong}”: {}", &text[text.len().saturating_sub(300)..]));
            }
        }
        let ended = self.replayed(&records, row.behaviour)?;
        if ended != result {
            return Err(format!("it ended as {result}, and replayed as {ended}"));
        }
        for record in &records {
            if let Record::Outcome { step, outcome, .. } = record {
                self.check_step(build, &step.0, outcome, told)?;
            }
        }
        for (step, (raw, _)) in &told.logs {
            if !self.oracle.printed.contains_key(&(build, step.clone())) && *raw > 0 {
                return Err(format!("step {step} has output and never ran"));
            }
        }
        Ok(())
    }

    /// What the output of a step must be.
    pub(crate) fn check_step(
        &self,
        build: BuildId,
        step: &str,
        outcome: &Outcome,
        told: &Told,
    ) -> Result<(), String> {
        let Some(printed) = self.oracle.printed.get(&(build, step.to_owned())) else {
            return match outcome {
                Outcome::Done(Data::Exit { .. }) => {
                    Err(format!("step {step} has an exit status and never ran"))
                }
                _ => Ok(()),
            };
        };
        let empty = (0, Vec::new());
        let (raw, stored) = told.logs.get(step).unwrap_or(&empty);
        let raw = usize::try_from(*raw).unwrap_or(usize::MAX);
        let bytes: &[u8] = if printed.capture { &[] } else { &printed.bytes };
        let upto = bytes
            .get(..raw)
            .ok_or_else(|| format!("step {step} printed {} bytes, {raw} are stored", bytes.len()))?;
        if String::from_utf8_lossy(upto).as_bytes() != stored {
            return Err(format!("the log of step {step} is not what it printed"));
        }
        if let Outcome::Done(Data::Exit { status, stdout }) = outcome {
            if printed.status != Some(*status) {
                return Err(format!(
                    "step {step} ended with {:?}, the journal says {status}",
                    printed.status
                ));
            }
            if raw != bytes.len() && !printed.damaged {
                return Err(format!("step {step} printed {} bytes and {raw} are stored", bytes.len()));
            }
            let captured = stdout.as_deref().map(str::as_bytes);
            if captured
                .is_some_and(|c| c != String::from_utf8_lossy(&printed.bytes).as_bytes() && !printed.damaged)
            {
                return Err(format!("step {step} did not return what it printed"));
            }
        }
        Ok(())
    }

    /// The end of a machine that is fed the journal.
    pub(crate) fn replayed(&self, records: &[Record], behaviour: u32) -> Result<BuildResult, String> {
        let Some((Record::Began(began), rest)) = records.split_first() else {
            return Err("it never began".into());
        };
        let mut machine = Machine::new(self.programs.of(&began.program, behaviour), began);
        for record in rest {
            machine.feed(record).map_err(|e| e.to_string())?;
        }
        loop {
            match machine.run(1_000_000) {
                Status::More => {}
                Status::Waiting => return Err("replayed, it has not ended".into()),
                Status::Done(ended) => return Ok(ended.result),
            }
        }
    }
}

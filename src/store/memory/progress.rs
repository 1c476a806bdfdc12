//! The guarded write of a build.

use model::{BuildId, BuildResult, Millis};

use super::{Archive, History, Source, State, next};
use crate::{Answer, Artifact, Effect, Error, MAX_RECORD, MAX_RECORDS, Progress, Result, Stash, Wait};

/// Index rows that name objects.
enum Named {
    Artifact(Artifact),
    Stash(Stash),
}

impl State {
    pub(super) fn progress(&mut self, progress: &Progress) -> Result<Answer> {
        let row = match self.running.get_mut(&progress.build) {
            Some(live) => &mut live.row,
            None => return Err(Error::Fenced { current: None }),
        };
        let ours = row.owner == progress.owner && row.fence == progress.fence;
        if ours && progress.seq.checked_add(1) == Some(row.seq) {
            return Ok(Answer::Unit);
        }
        if !ours || row.seq != progress.seq {
            return Err(Error::Fenced { current: Some(row.fence) });
        }
        let history = self.builds.get_mut(&progress.build);
        let history =
            history.ok_or_else(|| Error::Corrupt(format!("build {} has no row", progress.build)))?;
        check_records(progress, history)?;
        check_log(progress, row.log_end)?;
        check_effects(progress)?;
        row.seq += 1;
        row.log_end = progress.log_end;
        history.build.log_end = progress.log_end;
        history.journal.extend(progress.records.iter().cloned());
        for chunk in &progress.chunks {
            if !chunk.step.is_empty() {
                let raw = history.raw.entry(chunk.step.clone()).or_default();
                *raw = chunk.raw_to.max(*raw);
            }
            history.chunks.insert(chunk.offset, chunk.clone());
        }
        for effect in &progress.effects {
            self.effect(progress.build, effect);
        }
        Ok(Answer::Unit)
    }

    fn effect(&mut self, build: BuildId, effect: &Effect) {
        match effect {
            Effect::Source { hash, text } => self.name_source(build, hash, text),
            Effect::WaitNode { step, label, since } => self.wait_node(build, step, label.as_ref(), *since),
            Effect::CancelWait { step } => self.waits.retain(|_, w| w.build != build || w.step != *step),
            Effect::ReleaseExecutor { step } => self.busy.retain(|_, b| b.build != build || b.step != *step),
            Effect::Consume { key } => {
                if let Some(live) = self.running.get_mut(&build) {
                    live.inbox.retain(|row| row.key != *key);
                }
            }
            Effect::DisplayName { name } => self.on(build, |b| b.build.display_name = Some(name.clone())),
            Effect::Description { text } => self.on(build, |b| b.build.description = Some(text.clone())),
            Effect::Result { result } => self.on(build, |b| b.build.result = Some(*result)),
            Effect::Artifact { path, size, object } => {
                let row = Artifact { path: path.clone(), size: *size, object: object.clone() };
                self.name_object(build, object, Named::Artifact(row));
            }
            Effect::Stash { name, size, object } => {
                let row = Stash { name: name.clone(), size: *size, object: object.clone() };
                self.name_object(build, object, Named::Stash(row));
            }
            // Refused, nothing of it happens.
            Effect::Enqueue(wanted) => drop(self.enqueue(wanted)),
            Effect::Finish { result, at, archive } => self.finish(build, *result, *at, *archive),
        }
    }

    pub(super) fn on(&mut self, build: BuildId, change: impl FnOnce(&mut History)) {
        if let Some(history) = self.builds.get_mut(&build) {
            change(history);
        }
    }

    fn name_source(&mut self, build: BuildId, hash: &str, text: &str) {
        let Some(history) = self.builds.get_mut(&build) else { return };
        if history.sources.insert(hash.to_owned()) {
            let source = self.sources.entry(hash.to_owned());
            source.or_insert_with(|| Source { text: text.to_owned(), named: 0 }).named += 1;
        }
    }

    fn wait_node(&mut self, build: BuildId, step: &str, label: Option<&String>, since: Millis) {
        let waits = self.waits.values().any(|w| w.build == build && w.step == step);
        let Some(row) = self.running.get(&build).map(|live| &live.row).filter(|_| !waits) else { return };
        let wait = Wait {
            id: next(&mut self.last.wait),
            build,
            job: row.job.clone(),
            number: row.number,
            step: step.to_owned(),
            label: label.cloned(),
            since,
        };
        self.waits.insert(wait.id, wait);
    }

    /// The row names `object` from now on; what it named before is garbage.
    fn name_object(&mut self, build: BuildId, object: &str, row: Named) {
        let before = match row {
            Named::Artifact(row) => {
                let history = self.builds.get_mut(&build);
                history.and_then(|h| h.artifacts.insert(row.path.clone(), row)).map(|old| old.object)
            }
            Named::Stash(row) => {
                let live = self.running.get_mut(&build);
                live.and_then(|l| l.stashes.insert(row.name.clone(), row)).map(|old| old.object)
            }
        };
        self.garbage.extend(before);
        self.garbage.remove(object);
    }

    fn finish(&mut self, build: BuildId, result: BuildResult, at: Millis, archive: bool) {
        if let Some(live) = self.running.remove(&build) {
            self.garbage.extend(live.stashes.into_values().map(|stash| stash.object));
        }
        self.waits.retain(|_, wait| wait.build != build);
        self.busy.retain(|_, busy| busy.build != build);
        let Some(history) = self.builds.get_mut(&build) else { return };
        history.build.ended_at = Some(at);
        history.build.result = Some(result);
        if archive {
            history.archive = Archive::Due;
        }
        let (job, item) = (history.build.job.clone(), history.item);
        let took = at.since(history.build.started_at).as_millis();
        let (ended, all) = self.counted.entry(item).or_default();
        if let Some(ended) = BuildResult::ALL.iter().zip(ended).find_map(|(r, e)| (*r == result).then_some(e))
        {
            *ended += 1;
        }
        *all += u64::try_from(took).unwrap_or(u64::MAX);
        let last_result = self.last_result(item);
        if let Some(summary) = self.summary(&job) {
            summary.running = summary.running.saturating_sub(1);
            summary.last_result = last_result;
        }
    }
}

fn check_records(progress: &Progress, history: &History) -> Result<()> {
    if let Some(large) = progress.records.iter().find(|record| record.len() > MAX_RECORD) {
        return Err(Error::Limit(format!("a journal record of {} bytes is above {MAX_RECORD}", large.len())));
    }
    let length = history.journal.len();
    if length + progress.records.len() > usize::try_from(MAX_RECORDS).unwrap_or(usize::MAX) {
        return Err(Error::Limit(format!("the journal has more than {MAX_RECORDS} records")));
    }
    if !progress.records.is_empty() && usize::try_from(progress.first_record) != Ok(length) {
        let first = progress.first_record;
        return Err(Error::Corrupt(format!("record {first} does not follow a journal of {length} records")));
    }
    Ok(())
}

fn check_log(progress: &Progress, committed: u64) -> Result<()> {
    let mut end = committed;
    for chunk in &progress.chunks {
        if chunk.offset != end || chunk.bytes.is_empty() {
            let (at, length) = (chunk.offset, chunk.bytes.len());
            return Err(Error::Corrupt(format!("{length} bytes at {at} do not follow a log of {end} bytes")));
        }
        end += chunk.bytes.len() as u64;
    }
    if end == progress.log_end {
        Ok(())
    } else {
        Err(Error::Corrupt(format!("the log ends at {end}, not at {}", progress.log_end)))
    }
}

fn check_effects(progress: &Progress) -> Result<()> {
    let finish = progress.effects.iter().position(|effect| matches!(effect, Effect::Finish { .. }));
    if finish.is_some_and(|at| at + 1 < progress.effects.len()) {
        return Err(Error::Corrupt(format!("build {} goes on after its end", progress.build)));
    }
    Ok(())
}

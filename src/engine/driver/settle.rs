//! Writes: what joins them, what their commit means, how a build ends.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use meter::Label;
use model::BuildResult;
use pipeline::act::{Data, Event as Outside, Language, Outcome, Record, StepId};
use pipeline::machine::Status;
use store::{Effect, InboxRow, MAX_RECORD, Progress};

use super::log::Output;
use super::{Arrival, Do, Draft, Driver, Ending, Fed, InFlight, Now, RETRY, SLICE, Stop, at};
use crate::archive;
use crate::inbox::Delivery;

impl Driver {
    /// Gives the next write to the store, when none is in flight and there is something to write.
    pub(super) fn flush(&mut self, now: Now) {
        if self.in_flight.is_some() || self.rests() {
            return self.wake(now);
        }
        let raw = self.drain_outputs(now);
        if self.ending.is_none() {
            self.settle_complete(now);
        }
        let early = !self.facts.rules.result_committed && self.ending.is_none();
        if early {
            self.feed_early(now);
        }
        let draft = std::mem::take(&mut self.next);
        let mut records = draft.records;
        let mut effects = draft.effects;
        let intents = records.iter().filter_map(intent_step).collect();
        let mut feed = Vec::new();
        for Arrival { record, effects: more } in self.arrived.drain(..) {
            effects.extend(more);
            let record = with_raw(record, &self.outputs, &self.facts.raw);
            records.push(record.clone());
            feed.push(Fed { record, done: early });
        }
        if records.is_empty() && effects.is_empty() && draft.chunks.is_empty() {
            return self.wake(now);
        }
        let records: Vec<Bytes> = records.iter().map(encode).collect();
        self.facts.journal += records.iter().map(|r| r.len() as u64).sum::<u64>();
        let write = Progress {
            build: self.facts.build,
            owner: self.facts.owner,
            fence: self.facts.fence,
            seq: self.seq,
            first_record: self.records,
            records,
            chunks: draft.chunks,
            log_end: self.log_end,
            effects,
        };
        self.out.push(Do::Write(write.clone()));
        self.in_flight = Some(InFlight { write, feed, intents, raw, begun: draft.begun, retry_at: None });
    }

    pub(super) fn committed(&mut self, now: Now) {
        let Some(mut done) = self.in_flight.take() else { return };
        self.seq = done.write.seq + 1;
        self.records += i64::try_from(done.write.records.len()).unwrap_or(0);
        for kind in done.begun.drain(..) {
            self.begun.entry(kind.as_str()).or_insert((kind, 0)).1 += 1;
        }
        if let Some(Ending::Finishing(result)) = self.ending
            && done.write.effects.iter().any(|e| matches!(e, Effect::Finish { .. }))
        {
            self.forget_agents();
            self.out.push(Do::Stop(Stop::Finished(result)));
            return;
        }
        for (step, raw) in done.raw.drain(..) {
            self.raw_committed(&step, raw, now);
            self.heard_step(&step, now);
        }
        for step in &done.intents {
            if let Some(open) = self.steps.get_mut(step) {
                open.committed = true;
            }
        }
        self.to_feed.extend(done.feed.drain(..).filter(|fed| !fed.done));
    }

    /// Feeds committed outcomes and events, in the order of the journal, each when the machine rests. Gives whether all
    /// are fed; if not, the machine has more to run first, and others get their turn.
    pub(super) fn feed(&mut self, now: Now) -> bool {
        while let Some(fed) = self.to_feed.pop_front() {
            if let Status::More = self.machine.run(SLICE) {
                self.to_feed.push_front(fed);
                return false;
            }
            self.feed_one(&fed.record, now);
        }
        true
    }

    /// With the rule switched off: the machine sees results before their commit, and goes on.
    fn feed_early(&mut self, now: Now) {
        let records: Vec<Record> = self.arrived.iter().map(|a| a.record.clone()).collect();
        for record in records {
            while let Status::More = self.machine.run(SLICE) {}
            self.feed_one(&record, now);
        }
        let _waits = self.run(now);
    }

    fn feed_one(&mut self, record: &Record, now: Now) {
        let record = self.resolved(record);
        if let Record::Outcome { step, outcome, .. } = &record {
            self.note_outcome(step, outcome);
        }
        if let Err(divergence) = self.machine.feed(&record) {
            let text = divergence.to_string();
            self.finish(BuildResult::Failure, Some(&text), now);
        }
    }

    /// Forgets an act that has its outcome, and remembers which agent a `node` step was given.
    pub(super) fn note_outcome(&mut self, step: &StepId, outcome: &Outcome) {
        self.steps.remove(step);
        self.outputs.remove(step);
        if let Outcome::Done(Data::Granted(granted)) = outcome
            && let Ok(node) = model::NodeName::parse(&granted.node)
        {
            let instance = granted.env.get(crate::INSTANCE_ENV).cloned().unwrap_or_default();
            self.instances.insert(step.clone(), (node, instance));
        }
    }

    pub(super) fn refused(&mut self, error: store::Error, now: Now) {
        match error {
            // Nobody else writes under our fence: the store has forgotten what it acknowledged, or that it gave us the build.
            store::Error::Fenced { current: Some(fence) } if fence <= self.facts.fence => {
                self.out.push(Do::Stop(Stop::Outranked(self.facts.fence)))
            }
            store::Error::Fenced { .. } => self.out.push(Do::Stop(Stop::Fenced)),
            store::Error::Unavailable(_) | store::Error::Unknown(_) => {
                if let Some(flight) = self.in_flight.as_mut() {
                    flight.retry_at = Some(now.elapsed + RETRY);
                    self.out.push(Do::WakeAt(now.elapsed + RETRY));
                }
            }
            store::Error::Limit(why) if self.ending.is_none() => {
                // Nothing of the write has happened: its place is taken by the end of the build, which has its log.
                let mut chunks = self.in_flight.take().map(|flight| flight.write.chunks).unwrap_or_default();
                chunks.append(&mut self.next.chunks);
                let log = chunks.iter().map(|chunk| chunk.bytes.len()).sum();
                self.next = Draft { chunks, log, ..Draft::default() };
                self.finish(BuildResult::Failure, Some(&why), now);
            }
            store::Error::NotFound(_)
            | store::Error::Exists(_)
            | store::Error::Conflict(_)
            | store::Error::Limit(_)
            | store::Error::Corrupt(_) => self.out.push(Do::Stop(Stop::Broken(error.to_string()))),
        }
    }

    /// Gives a write again that the store did not take. Its (fence, seq) make a second commit impossible.
    pub(super) fn retry(&mut self, now: Now) -> bool {
        let Some(flight) = self.in_flight.as_mut() else { return false };
        match flight.retry_at {
            Some(due) if due <= now.elapsed => {
                flight.retry_at = None;
                self.out.push(Do::Write(flight.write.clone()));
                true
            }
            Some(_) | None => false,
        }
    }

    /// Rows of the inbox become outcomes and events, each once: its row goes in the write that journals it.
    pub(super) fn inbox(&mut self, rows: Vec<InboxRow>, now: Now) {
        for row in rows {
            if self.ending.is_some() || !self.taken.insert(row.key.clone()) {
                continue;
            }
            let consume = vec![Effect::Consume { key: row.key.clone() }];
            match serde_json::from_str(&row.body) {
                Ok(Delivery::Abort { by }) => {
                    let record =
                        Record::Event { key: row.key, event: Outside::Abort { by: by.clone() }, at: at(now) };
                    let text = match self.language {
                        Language::Pipeline => format!("Aborted by {by}\n"),
                        Language::Freestyle => format!("Build was aborted\nAborted by {by}\n"),
                    };
                    self.say(text.as_bytes(), now);
                    self.arrived.push_back(Arrival { record, effects: consume });
                }
                Ok(Delivery::Granted { step, granted }) => self.granted(&step, granted, consume, now),
                Err(error) => {
                    self.say(format!("A delivery can't be read and is dropped: {error}\n").as_bytes(), now);
                    self.next.effects.extend(consume);
                }
            }
        }
    }

    /// Ends the build: last words, then nothing more is written.
    pub(super) fn finish(&mut self, result: BuildResult, error: Option<&str>, now: Now) {
        if self.ending.is_some() {
            return;
        }
        // Of a line that goes on it has the begin: nobody hears the rest.
        self.outputs.values_mut().for_each(Output::close);
        self.drain_outputs(now);
        self.arrived.clear();
        self.say_pipeline("End of Pipeline", now);
        if let Some(error) = error {
            self.say(format!("{}\n", error.trim_end()).as_bytes(), now);
        }
        self.say(format!("Finished: {result}\n").as_bytes(), now);
        self.next.effects.push(Effect::Finish {
            result,
            at: now.wall,
            archive: self.log_end > archive::STAYS,
        });
        self.ending = Some(Ending::Finishing(result));
    }

    fn wake(&mut self, now: Now) {
        if let Some(flight) = &self.in_flight {
            // Nothing else can be done before its answer.
            self.out.extend(flight.retry_at.map(Do::WakeAt));
            return;
        }
        let deadline = self.steps.values().filter(|o| !o.settled).filter_map(|o| o.deadline).min();
        let timer = deadline.map(|due| now.elapsed + due.since(now.wall));
        let next = [timer, self.lost_due(now), self.output_due()].into_iter().flatten().min();
        if let Some(next) = next {
            self.out.push(Do::WakeAt(next.max(now.elapsed + Duration::from_millis(1))));
        }
    }
}

/// An outcome with how far the log has the output of its step, by the commit that it belongs to. `before`: how far a former
/// owner came; a step that is lost may never be followed by this one.
fn with_raw(record: Record, outputs: &BTreeMap<StepId, Output>, before: &BTreeMap<String, u64>) -> Record {
    match record {
        Record::Outcome { step, outcome, at, raw: _ } => {
            let raw = outputs.get(&step).map(Output::taken).or_else(|| before.get(&step.0).copied());
            Record::Outcome { step, outcome, at, raw: raw.filter(|raw| *raw > 0) }
        }
        other => other,
    }
}

fn intent_step(record: &Record) -> Option<StepId> {
    match record {
        Record::Intent { step, .. } => Some(step.clone()),
        Record::Began(_) | Record::Did { .. } | Record::Outcome { .. } | Record::Event { .. } => None,
    }
}

/// As the journal has it. A record that is too large is the store's to refuse.
pub(crate) fn encode(record: &Record) -> Bytes {
    Bytes::from(serde_json::to_vec(record).expect("a record is plain data with string keys"))
}

/// Whether a text must live in the object store.
pub(super) fn too_large(text: &str) -> bool {
    // Escaped, a character can take six bytes.
    let escaped = || serde_json::to_string(text).map_or(usize::MAX, |json| json.len());
    text.len() > MAX_RECORD / 4 || (text.len() > MAX_RECORD / 16 && escaped() > MAX_RECORD / 2)
}

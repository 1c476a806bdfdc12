//! `Trigger` acts: builds of other jobs. The shell looks for the jobs; they are enqueued by the very write that journals the
//! outcome, so exactly once, whoever drives the build by then.

use pipeline::act::{Data, Outcome, StepId};
use store::{Effect, Enqueue};

use super::{Do, Driver, Now};

/// A job that is to be built.
#[derive(Debug, Clone, PartialEq)]
pub struct Downstream {
    /// For the log.
    pub name: String,
    pub fate: Fate,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Fate {
    Builds(Enqueue),
    Disabled,
    /// Why it can't be built.
    Refused(String),
}

impl Driver {
    /// The answer may be asked for again by another owner: nothing happens before the outcome.
    pub(super) fn find_jobs(&mut self, step: &StepId, jobs: Vec<String>) {
        if self.finding.insert(step.clone()) {
            self.out.push(Do::FindJobs { step: step.clone(), jobs });
        }
    }

    pub(super) fn jobs_found(&mut self, step: &StepId, found: Vec<Downstream>, now: Now) {
        self.finding.remove(step);
        if self.ending.is_some() || self.steps.get(step).is_none_or(|open| open.settled) {
            return;
        }
        let mut effects = Vec::new();
        for Downstream { name, fate } in found {
            let line = match fate {
                Fate::Builds(enqueue) => {
                    effects.push(Effect::Enqueue(enqueue));
                    format!("Triggering a new build of {name}\n")
                }
                Fate::Disabled => format!("{name} is disabled. Triggering skipped\n"),
                Fate::Refused(why) => format!("WARNING: {name} is not triggered: {why}\n"),
            };
            self.say(line.as_bytes(), now);
        }
        self.settle(step, Outcome::Done(Data::None), effects, now);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;

    use model::{BuildResult, Cause, Freestyle, JobName, Millis, Publisher};
    use pipeline::act::{Granted, Language, Record};
    use pipeline::program::Program;
    use store::{InboxRow, Progress};

    use super::*;
    use crate::driver::Event;
    use crate::driver::{a_beginning, first_facts};
    use crate::{Delivery, delivery_text};

    const NOW: Now = Now { wall: Millis(1_000), elapsed: Duration::ZERO };

    fn source() -> String {
        let trigger = Publisher::Trigger { jobs: vec!["b".to_owned()], threshold: BuildResult::Success };
        Program::freestyle_source(&Freestyle { publishers: vec![trigger], ..Freestyle::default() })
    }

    /// Tells the driver; each write is committed at once and kept. → what is to be found
    fn tell(driver: &mut Driver, event: Event, writes: &mut Vec<Progress>) -> Vec<Vec<String>> {
        let (mut events, mut wanted) = (vec![event], Vec::new());
        while let Some(event) = events.pop() {
            for act in driver.handle(event, NOW) {
                match act {
                    Do::Write(write) => {
                        writes.push(write);
                        events.push(Event::Committed);
                    }
                    Do::FindJobs { jobs, .. } => wanted.push(jobs),
                    _ => {}
                }
            }
        }
        wanted
    }

    fn enqueue() -> Enqueue {
        Enqueue {
            job: JobName::parse("b").unwrap(),
            params: BTreeMap::new(),
            causes: vec![Cause::Upstream { job: "a".to_owned(), number: 1 }],
            at: Millis(1_000),
            buildable_at: Millis(1_000),
        }
    }

    /// A build that has its executor and wants to trigger, with all that it has written.
    fn triggering() -> (Driver, Arc<Program>, Vec<Progress>) {
        let program = Arc::new(Program::compile_in(Language::Freestyle, &source()).unwrap());
        let mut driver =
            Driver::begin(first_facts(true), &program, a_beginning(&program), source(), "Started\n", NOW);
        let mut writes = Vec::new();
        assert!(tell(&mut driver, Event::Tick, &mut writes).is_empty());
        let granted = Granted {
            node: "linux".to_owned(),
            executor: 0,
            workspace: "/w/a".to_owned(),
            unix: true,
            labels: vec!["local".to_owned(), "linux".to_owned()],
            env: BTreeMap::new(),
        };
        let body = delivery_text(&Delivery::Granted { step: "0".to_owned(), granted });
        let inbox = Event::Inbox(vec![InboxRow { key: "granted:0".to_owned(), body }]);
        assert_eq!(tell(&mut driver, inbox, &mut writes), [["b"]]);
        (driver, program, writes)
    }

    fn step(driver: &Driver) -> StepId {
        driver.open_steps().next().unwrap().0.clone()
    }

    fn records(writes: &[Progress]) -> Vec<Record> {
        let records = writes.iter().flat_map(|write| &write.records);
        records.map(|bytes| serde_json::from_slice(bytes).unwrap()).collect()
    }

    #[test]
    fn builds_are_enqueued_by_the_write_that_has_the_outcome() {
        let (mut driver, _, mut writes) = triggering();
        let waits = |write: &Progress| write.effects.iter().any(|e| matches!(e, Effect::WaitNode { .. }));
        assert!(!writes.iter().any(waits), "its executor came with the build");
        let (step, before) = (step(&driver), writes.len());
        let found = vec![
            Downstream { name: "b".to_owned(), fate: Fate::Builds(enqueue()) },
            Downstream { name: "c".to_owned(), fate: Fate::Disabled },
            Downstream { name: "d".to_owned(), fate: Fate::Refused("why".to_owned()) },
        ];
        tell(&mut driver, Event::Jobs { step: step.clone(), found: found.clone() }, &mut writes);
        let triggered = &writes[before];
        assert_eq!(triggered.effects, [Effect::Enqueue(enqueue())]);
        let outcome = |record: &Record| matches!(record, Record::Outcome { step: of, .. } if *of == step);
        assert!(records(&writes[before..=before]).iter().any(outcome));
        let log: Vec<u8> = writes.iter().flat_map(|w| &w.chunks).flat_map(|c| c.bytes.to_vec()).collect();
        let log = String::from_utf8(log).unwrap();
        assert_eq!(
            log,
            "Started\nBuilding remotely on linux (local) in workspace /w/a\nTriggering a new build of b\n\
             c is disabled. Triggering skipped\nWARNING: d is not triggered: why\nFinished: SUCCESS\n"
        );
        let all = writes.iter().flat_map(|write| &write.effects);
        assert_eq!(all.filter(|effect| matches!(effect, Effect::Enqueue(_))).count(), 1);
        // said twice, it counts once
        let before = writes.len();
        tell(&mut driver, Event::Jobs { step, found }, &mut writes);
        assert_eq!(writes.len(), before);
    }

    #[test]
    fn another_owner_asks_again_before_the_outcome_and_never_after_it() {
        let (mut driver, program, mut writes) = triggering();
        let resumed = |writes: &[Progress]| {
            let journal = records(writes).split_off(1);
            Driver::resume(first_facts(true), &program, &a_beginning(&program), journal).unwrap()
        };
        let mut next = resumed(&writes);
        assert_eq!(tell(&mut next, Event::Tick, &mut Vec::new()), [["b"]]);
        let found = vec![Downstream { name: "b".to_owned(), fate: Fate::Builds(enqueue()) }];
        let step = step(&driver);
        let before = writes.len();
        tell(&mut driver, Event::Jobs { step, found }, &mut writes);
        let mut last = resumed(&writes[..=before]);
        let mut more = Vec::new();
        assert!(tell(&mut last, Event::Tick, &mut more).is_empty());
        assert!(more.iter().all(|write| !write.effects.iter().any(|e| matches!(e, Effect::Enqueue(_)))));
        assert!(more.iter().any(|w| w.effects.iter().any(|e| matches!(e, Effect::Finish { .. }))));
    }
}

//! What a build has with an agent: reached or not, claimed or not, asked for what.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::NodeName;
use pipeline::act::StepId;
use remoting::ops::{Command, FromAgent, Report, StepReport, ToAgent};

use super::log::Piece;
use super::{AGENT_LOST, Do, Driver, Now, Stop};

/// Before a claim without an answer is said again.
const CLAIM_AGAIN: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub(super) struct Session {
    /// A link is there.
    up: bool,
    /// The agent has answered our claim on this link.
    pub(super) ready: bool,
    pub(super) instance: String,
    /// Since when no link is there; `None` until the first look.
    down_since: Option<Duration>,
    /// Steps that the agent reported when it was claimed.
    pub(super) known: BTreeMap<StepId, StepReport>,
    /// Acts that it was told on this link.
    pub(super) asked: BTreeSet<StepId>,
    /// Steps whose output it was asked for on this link.
    pub(super) followed: BTreeSet<StepId>,
    /// When the claim was last said on this link, and first without an answer.
    claiming: Option<(Duration, Duration)>,
    /// The agent's machine was restarted: what it does not know of a step is lost.
    pub(super) rebooted: bool,
}

impl Session {
    pub(super) fn down_for(&self, now: Now) -> Option<Duration> {
        if self.up { None } else { self.down_since.map(|since| now.elapsed.saturating_sub(since)) }
    }
}

impl Driver {
    /// Wants to know when the agent can be reached.
    pub(super) fn attach(&mut self, node: &NodeName) {
        if !self.sessions.contains_key(node) {
            self.sessions.insert(node.clone(), Session::default());
            self.out.push(Do::Attach(node.clone()));
        }
    }

    /// A new owner claims every agent whose executors the build still has.
    pub(super) fn claim_all(&mut self) {
        let nodes: BTreeSet<NodeName> = self.instances.values().map(|(node, _)| node.clone()).collect();
        for node in nodes {
            self.attach(&node);
        }
    }

    pub(super) fn send(&mut self, node: &NodeName, command: Command) {
        let Some(session) = self.sessions.get(node) else { return };
        let may = session.ready || command == Command::Claim || !self.facts.rules.claim_first;
        if session.up && may {
            let message = ToAgent { build: self.facts.build, fence: self.facts.fence, command };
            self.out.push(Do::Send(node.clone(), message));
        }
    }

    pub(super) fn link_up(&mut self, node: NodeName, instance: String) {
        let ready = !self.facts.rules.claim_first;
        let session = Session { up: true, ready, instance, ..Session::default() };
        self.sessions.insert(node.clone(), session);
        self.forget_transfers(&node);
        self.send(&node, Command::Claim);
    }

    /// An agent that is there and does not answer the claim (its disk may be full) is asked again, and is lost in the end.
    pub(super) fn claim_pending(&mut self, node: &NodeName, now: Now) -> bool {
        let Some(session) = self.sessions.get_mut(node).filter(|s| s.up && !s.ready) else { return false };
        let (said, since) = *session.claiming.get_or_insert((now.elapsed, now.elapsed));
        if now.elapsed >= said + CLAIM_AGAIN {
            session.claiming = Some((now.elapsed, since));
            self.send(node, Command::Claim);
        }
        now.elapsed >= since + AGENT_LOST
    }

    fn claim_again(&mut self, node: &NodeName) {
        let session = self.sessions.get(node).filter(|s| s.up && s.ready);
        if let Some(instance) = session.map(|s| s.instance.clone()) {
            self.link_up(node.clone(), instance);
        }
    }

    pub(super) fn link_down(&mut self, node: &NodeName, now: Now) {
        self.forget_transfers(node);
        let Some(session) = self.sessions.get_mut(node) else { return };
        let since = session.down_since.filter(|_| !session.up).unwrap_or(now.elapsed);
        *session = Session { down_since: Some(since), ..Session::default() };
    }

    pub(super) fn regained(&mut self, now: Now) {
        self.unsure = false;
        for session in self.sessions.values_mut().filter(|s| !s.up) {
            session.down_since = session.down_since.map(|_| now.elapsed);
        }
        let up: Vec<(NodeName, String)> = self
            .sessions
            .iter()
            .filter(|(_, s)| s.up)
            .map(|(n, s)| (n.clone(), s.instance.clone()))
            .collect();
        for (node, instance) in up {
            self.link_up(node, instance);
        }
    }

    /// When the next agent that is away counts as lost.
    pub(super) fn lost_due(&self, now: Now) -> Option<Duration> {
        let away = self.sessions.values().filter(|s| !s.up).filter_map(|s| s.down_since);
        away.map(|since| since + AGENT_LOST).filter(|due| *due > now.elapsed).min()
    }

    pub(super) fn report(&mut self, node: &NodeName, from: FromAgent, now: Now) {
        match from.report {
            Report::Refused { held } if held > self.facts.fence => {
                self.out.push(Do::Stop(Stop::Outranked(held)))
            }
            // The agent has forgotten the claim, or never had it: claim again.
            Report::Refused { .. } => self.claim_again(node),
            _ if from.fence != self.facts.fence || !self.sessions.get(node).is_some_and(|s| s.up) => {}
            Report::Claimed { steps, rebooted } => self.claimed(node, steps, rebooted, now),
            // An agent speaks for the steps that it was given, not for those of others.
            Report::Step(report) if self.node_of(&StepId(report.step.clone())).as_ref() != Some(node) => {}
            Report::Step(report) => self.step_report(report, now),
            Report::Output { step, .. } if self.node_of(&StepId(step.clone())).as_ref() != Some(node) => {}
            Report::Output { step, offset, bytes } => {
                let step = StepId(step);
                let Some(output) = self.outputs.get_mut(&step) else { return };
                match output.add(offset, &bytes, now) {
                    Piece::Taken => self.heard_step(&step, now),
                    // Claimed again, the agent begins anew at what is committed.
                    Piece::Gap | Piece::Excess => self.claim_again(node),
                }
            }
            Report::OpData { .. } | Report::OpCredit { .. } | Report::OpDone { .. } => {
                self.op_report(node, from.report, now);
            }
        }
    }

    fn claimed(&mut self, node: &NodeName, steps: Vec<StepReport>, rebooted: bool, now: Now) {
        let again = self.sessions.get(node).is_some_and(|s| s.ready) && self.facts.rules.claim_first;
        if again {
            // A claim that was said again came late: the agent has forgotten what it was asked on this link, so it is
            // asked once more, from what is committed.
            self.forget_transfers(node);
        }
        let Some(session) = self.sessions.get_mut(node) else { return };
        if again {
            session.asked.clear();
        } else {
            session.ready = true;
            session.rebooted = rebooted;
        }
        session.known.extend(steps.iter().map(|r| (StepId(r.step.clone()), r.clone())));
        for step in steps {
            if self.node_of(&StepId(step.step.clone())).as_ref() == Some(node) {
                self.step_report(step, now);
            }
        }
    }

    /// The build has ended: the agents may forget it. Processes that still run are ended first.
    pub(super) fn forget_agents(&mut self) {
        let open: Vec<StepId> = self.steps.keys().cloned().collect();
        for step in open {
            if let Some(node) = self.node_of(&step) {
                self.send(&node, Command::Kill { step: step.to_string(), grace_millis: 0 });
            }
        }
        let nodes: Vec<NodeName> = self.sessions.keys().cloned().collect();
        for node in nodes {
            self.send(&node, Command::Forget);
        }
    }
}

impl Driver {
    /// Every agent that can be reached has answered the claim; for the figures of an adoption.
    pub fn claimed_all(&self) -> bool {
        self.sessions.values().all(|s| s.ready || !s.up && s.down_since.is_some())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use model::{BuildId, Fence, Millis};
    use pipeline::act::Granted;
    use pipeline::program::Program;
    use remoting::ops::StepState;
    use store::{Effect, InboxRow, MAX_RECORDS};

    use super::*;
    use crate::driver::{Event, MAX_JOURNAL};
    use crate::driver::{a_beginning, first_facts};
    use crate::{Delivery, delivery_text};

    const SOURCE: &str = "node { sh 'x' }";

    fn driver(now: Now) -> Driver {
        let program = Arc::new(Program::compile(SOURCE).unwrap());
        Driver::begin(first_facts(false), &program, a_beginning(&program), SOURCE.to_owned(), "", now)
    }

    /// Tells the driver; each write is committed at once. → what it said to the agent
    fn tell(driver: &mut Driver, event: Event, now: Now) -> Vec<Command> {
        let (mut events, mut said) = (vec![event], Vec::new());
        while let Some(event) = events.pop() {
            for act in driver.handle(event, now) {
                match act {
                    Do::Write(_) => events.push(Event::Committed),
                    Do::Send(_, message) => said.push(message.command),
                    _ => {}
                }
            }
        }
        said
    }

    fn reported(node: &NodeName, report: Report) -> Event {
        let report = FromAgent { build: BuildId(1), fence: Fence::first(1), report };
        Event::Report { node: node.clone(), report }
    }

    /// From where and up to where the agent was told to send output.
    fn followed(said: Vec<Command>) -> Option<(u64, u64)> {
        said.into_iter()
            .find_map(|c| if let Command::Follow { from, upto, .. } = c { Some((from, upto)) } else { None })
    }

    /// A build that wants a step to be run on the node `linux`, and the step.
    fn stepping(now: Now) -> (Driver, NodeName, String) {
        let node = NodeName::parse("linux").unwrap();
        let mut driver = driver(now);
        tell(&mut driver, Event::Tick, now);
        let wait = driver.open_steps().next().unwrap().0.to_string();
        let granted = Granted {
            node: node.to_string(),
            executor: 0,
            workspace: "/w".to_owned(),
            unix: true,
            labels: Vec::new(),
            env: BTreeMap::new(),
        };
        let body = delivery_text(&Delivery::Granted { step: wait, granted });
        tell(&mut driver, Event::Inbox(vec![InboxRow { key: "granted".to_owned(), body }]), now);
        let step = driver.open_steps().next().unwrap().0.to_string();
        (driver, node, step)
    }

    #[test]
    fn a_step_that_prints_all_the_time_does_not_keep_its_build_from_being_handed_over() {
        let now = Now { wall: Millis(0), elapsed: Duration::ZERO };
        let (mut driver, node, step) = stepping(now);
        let report = |report| reported(&node, report);
        tell(&mut driver, Event::LinkUp { node: node.clone(), instance: String::new() }, now);
        tell(&mut driver, report(Report::Claimed { steps: Vec::new(), rebooted: false }), now);
        let line = |offset| Report::Output { step: step.clone(), offset, bytes: Bytes::from_static(b"a\n") };
        let writes = |acts: Vec<Do>| acts.iter().filter(|act| matches!(act, Do::Write(_))).count();
        assert_eq!(writes(driver.handle(report(line(0)), now)), 1);
        assert_eq!(writes(driver.handle(report(line(2)), now)), 0, "one write at a time");
        driver.rest();
        assert!(!driver.quiet());
        assert_eq!(writes(driver.handle(Event::Committed, now)), 0);
        assert_eq!(writes(driver.handle(report(line(4)), now)), 0);
        assert!(driver.quiet());
    }

    #[test]
    fn output_that_an_agent_sends_once_is_kept_when_its_claim_is_answered_twice() {
        let now = Now { wall: Millis(0), elapsed: Duration::ZERO };
        let (mut driver, node, step) = stepping(now);
        let report = |report| reported(&node, report);
        let claimed = || report(Report::Claimed { steps: Vec::new(), rebooted: false });
        let from = |said| followed(said).map(|(from, _)| from);

        let up = Event::LinkUp { node: node.clone(), instance: String::new() };
        assert_eq!(tell(&mut driver, up, now), [Command::Claim]);
        assert_eq!(from(tell(&mut driver, claimed(), now)), Some(0));
        let output = Report::Output { step: step.clone(), offset: 0, bytes: Bytes::from_static(b"ab") };
        tell(&mut driver, report(output), now);
        assert_eq!(from(tell(&mut driver, claimed(), now)), Some(2));
        let state = StepState::Exited { status: 0, stdout: None };
        tell(&mut driver, report(Report::Step(StepReport { step, state, end: 2 })), now);
        assert_eq!(driver.open_steps().count(), 0);
    }

    #[test]
    fn a_step_may_print_as_far_ahead_as_it_was_told_though_more_builds_run_now() {
        let now = Now { wall: Millis(0), elapsed: Duration::ZERO };
        let (mut driver, node, step) = stepping(now);
        let report = |report| reported(&node, report);
        let claimed = || report(Report::Claimed { steps: Vec::new(), rebooted: false });
        let upto = |said| followed(said).map(|(_, upto)| upto);
        tell(&mut driver, Event::LinkUp { node: node.clone(), instance: String::new() }, now);
        assert_eq!(upto(tell(&mut driver, claimed(), now)), Some(1024 * 1024));
        let print = |offset: u64, bytes: usize| {
            let bytes = Bytes::from("a\n".repeat(bytes / 2));
            report(Report::Output { step: step.clone(), offset, bytes })
        };
        let piece = 256 * 1024;
        assert_eq!(upto(tell(&mut driver, print(0, piece), now)), Some(1280 * 1024));
        driver.among(1000);
        assert_eq!(upto(tell(&mut driver, print(256 * 1024, piece), now)), None);
        assert_eq!(upto(tell(&mut driver, claimed(), now)), Some(1280 * 1024));
        for at in 2..4 {
            assert_eq!(upto(tell(&mut driver, print(at * 256 * 1024, piece), now)), None);
        }
        assert_eq!(upto(tell(&mut driver, print(1024 * 1024, piece), now)), Some(1536 * 1024));
    }

    /// The log of the write that ends the build, which has nothing else, and up to where it has the output of a step.
    fn last_log(acts: Vec<Do>, log_end: u64) -> (String, u64) {
        let write =
            acts.into_iter().find_map(|act| if let Do::Write(write) = act { Some(write) } else { None });
        let write = write.expect("it writes its end");
        assert!(matches!(write.effects[..], [Effect::Finish { .. }]) && write.records.is_empty());
        let (mut log, mut raw) = (Vec::new(), 0);
        for chunk in &write.chunks {
            assert_eq!(chunk.offset, log_end + log.len() as u64);
            log.extend_from_slice(&chunk.bytes);
            if !chunk.step.is_empty() {
                assert_eq!(chunk.raw_from, raw);
                raw = chunk.raw_to;
            }
        }
        assert_eq!(write.log_end, log_end + log.len() as u64);
        (String::from_utf8(log).unwrap(), raw)
    }

    #[test]
    fn the_begin_of_a_line_is_in_the_log_of_a_build_that_is_ended_before_its_last_words() {
        type End = fn(&mut Driver) -> Event;
        let over: End = |driver| {
            driver.facts.journal = MAX_JOURNAL + 1;
            Event::Tick
        };
        let refused: End = |_| Event::Refused(store::Error::Limit("too much".to_owned()));
        let large = "ERROR: what its steps gave back of this build is over its limit of 268435456 bytes";
        // the first line is in flight when the build is ended
        for (end, lines, why) in [(over, 0, large), (refused, 1, "too much"), (refused, 2, "too much")] {
            let now = Now { wall: Millis(0), elapsed: Duration::ZERO };
            let (mut driver, node, step) = stepping(now);
            let report = |report| reported(&node, report);
            tell(&mut driver, Event::LinkUp { node: node.clone(), instance: String::new() }, now);
            tell(&mut driver, report(Report::Claimed { steps: Vec::new(), rebooted: false }), now);
            let log_end = driver.log_end;
            for (n, text) in std::iter::repeat_n("a\n", lines).chain(["bc"]).enumerate() {
                let (offset, bytes) = (2 * n as u64, Bytes::from_static(text.as_bytes()));
                driver.handle(report(Report::Output { step: step.clone(), offset, bytes }), now);
            }
            let event = end(&mut driver);
            let (log, raw) = last_log(driver.handle(event, now), log_end);
            let printed = format!("{}bc", "a\n".repeat(lines));
            assert_eq!(log, format!("{printed}[Pipeline] End of Pipeline\n{why}\nFinished: FAILURE\n"));
            assert_eq!(raw, printed.len() as u64);
        }
    }

    #[test]
    fn a_build_that_can_not_go_on_writes_no_more_than_its_end() {
        let at = |seconds: u8| Now {
            wall: Millis(i64::from(seconds) * 1_000),
            elapsed: Duration::from_secs(seconds.into()),
        };
        let source = "parallel a: { sleep 1; echo 'x' }, b: { sleep 2 }";
        let program = Arc::new(Program::compile(source).unwrap());
        let began = a_beginning(&program);
        let mut driver = Driver::begin(first_facts(false), &program, began, source.to_owned(), "", at(0));
        tell(&mut driver, Event::Tick, at(0));
        assert_eq!(driver.open_steps().count(), 2);
        let acts = driver.handle(Event::Tick, at(1));
        assert!(acts.iter().any(|act| matches!(act, Do::Write(_))), "one has slept");
        driver.records = MAX_RECORDS;
        let log_end = driver.log_end;
        // the other one has slept, too
        let (log, _) = last_log(driver.handle(Event::Committed, at(3)), log_end);
        assert!(log.ends_with("Finished: FAILURE\n"), "{log}");
    }
}

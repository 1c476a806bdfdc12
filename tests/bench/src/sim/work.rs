//! What a simulated agent has been asked to do. Pure: commands and the time in, reports out.
//!
//! It keeps to the rules of a real one (claims, fences, credit, offsets), but a step is no process: what it prints is computed
//! from its offset, so a spool takes no memory. Fences and steps are gone when the bench ends.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{BuildId, Fence};
use remoting::ops::{
    Command, Fences, FromAgent, MAX_PIECE, OpResult, Report, StartSpec, StepReport, StepState, ToAgent,
    Verdict,
};

use super::text::{BLOCK, Text};

/// All builds that one agent keeps.
#[derive(Default)]
pub(crate) struct Work {
    fences: Fences,
    builds: BTreeMap<BuildId, BTreeMap<String, Step>>,
    /// The build and step that spoke last: the next one is served first.
    last: Option<(BuildId, String)>,
    /// Steps that ran to their end.
    pub(crate) ended: u32,
}

struct Step {
    text: Text,
    started: Duration,
    /// Set when it was ended before its time.
    killed: Option<u64>,
    /// The fence under which it is followed, how far it was sent, and how far it may be.
    follow: Option<(Fence, u64, u64)>,
    /// The end was reported under that claim.
    told: bool,
}

impl Step {
    /// How much it has printed.
    fn printed(&self, now: Duration) -> u64 {
        self.killed.unwrap_or_else(|| self.text.printed(now.saturating_sub(self.started)))
    }

    fn over(&self, now: Duration) -> bool {
        self.killed.is_some() || self.text.over(now.saturating_sub(self.started))
    }

    fn state(&self, now: Duration) -> StepState {
        match (self.killed, self.over(now)) {
            (Some(_), _) => StepState::Exited { status: 143, stdout: None },
            (None, true) => StepState::Exited { status: 0, stdout: None },
            (None, false) => StepState::Running,
        }
    }

    fn report(&self, name: &str, now: Duration) -> StepReport {
        StepReport { step: name.to_owned(), state: self.state(now), end: self.printed(now) }
    }
}

impl Work {
    /// Builds that the agent keeps, as it lists them after a welcome.
    pub(crate) fn kept(&self) -> Vec<(BuildId, Fence)> {
        self.builds.keys().map(|build| (*build, self.fences.held(*build).unwrap_or_default())).collect()
    }

    /// A new link: nobody follows any more.
    pub(crate) fn unlinked(&mut self) {
        self.builds.values_mut().flat_map(BTreeMap::values_mut).for_each(|step| step.follow = None);
    }

    pub(crate) fn command(&mut self, to: ToAgent, now: Duration) -> Vec<FromAgent> {
        let ToAgent { build, fence, command } = to;
        let mut out = Vec::new();
        let mut say = |report| out.push(FromAgent { build, fence, report });
        match self.fences.judge(build, fence, matches!(command, Command::Claim)) {
            Verdict::Stale { held } => say(Report::Refused { held }),
            Verdict::Unclaimed => {}
            Verdict::Current | Verdict::Newer => {
                if let Some(report) = self.obey(build, fence, command, now) {
                    say(report);
                }
            }
        }
        out
    }

    fn obey(&mut self, build: BuildId, fence: Fence, command: Command, now: Duration) -> Option<Report> {
        match command {
            Command::Claim => {
                self.fences.hold(build, fence);
                let steps = self.builds.entry(build).or_default();
                steps.values_mut().for_each(|step| (step.follow, step.told) = (None, false));
                let steps = steps.iter().map(|(name, step)| step.report(name, now)).collect();
                Some(Report::Claimed { steps, rebooted: false })
            }
            Command::Start { step: name, spec } => {
                let begun =
                    || Step { text: text(&spec), started: now, killed: None, follow: None, told: false };
                let step = self.builds.entry(build).or_default().entry(name.clone()).or_insert_with(begun);
                let mut report = step.report(&name, now);
                // its end is reported by `next`, once
                report.state = StepState::Running;
                Some(Report::Step(report))
            }
            Command::Follow { step: name, from, upto } => {
                let Some(step) = self.builds.entry(build).or_default().get_mut(&name) else {
                    return Some(Report::Step(StepReport { step: name, state: StepState::Accepted, end: 0 }));
                };
                match &mut step.follow {
                    Some((_, _, most)) => *most = upto.max(*most),
                    follow => *follow = Some((fence, from, upto)),
                }
                None
            }
            Command::Kill { step: name, .. } => {
                let step = self.builds.entry(build).or_default().get_mut(&name)?;
                if !step.over(now) {
                    step.killed = Some(step.printed(now));
                }
                step.told = true;
                Some(Report::Step(step.report(&name, now)))
            }
            Command::Op { op, .. } => {
                let result = OpResult::Failed("a simulated agent has no files".to_owned());
                Some(Report::OpDone { op, result })
            }
            Command::OpData { .. } | Command::OpCredit { .. } | Command::OpCancel { .. } => None,
            Command::Forget => {
                self.builds.remove(&build);
                self.fences.forget(build);
                None
            }
        }
    }

    /// What is to be said now: the end of a step, or the next piece of one, in turn.
    pub(crate) fn next(&mut self, now: Duration) -> Option<FromAgent> {
        let last = self.last.take();
        let after =
            |build: &BuildId, name: &String| last.as_ref().is_some_and(|(b, n)| (build, name) > (b, n));
        // those after the last one, then all from the beginning
        for first in [true, false] {
            for (build, steps) in &mut self.builds {
                for (name, step) in steps {
                    if first && !after(build, name) {
                        continue;
                    }
                    let Some((fence, sent, upto)) = &mut step.follow else { continue };
                    let fence = *fence;
                    let printed =
                        step.killed.unwrap_or_else(|| step.text.printed(now.saturating_sub(step.started)));
                    let most = printed.min(*upto).saturating_sub(*sent).min(MAX_PIECE as u64);
                    let report = if most > 0 {
                        let bytes = step.text.piece(*sent, most);
                        let offset = *sent;
                        *sent += bytes.len() as u64;
                        Report::Output { step: name.clone(), offset, bytes }
                    } else if step.over(now) && !std::mem::replace(&mut step.told, true) {
                        self.ended += 1;
                        Report::Step(step.report(name, now))
                    } else {
                        continue;
                    };
                    self.last = Some((*build, name.clone()));
                    return Some(FromAgent { build: *build, fence, report });
                }
            }
        }
        None
    }

    /// Whether something runs that prints by itself.
    pub(crate) fn prints(&self, now: Duration) -> bool {
        self.builds.values().flat_map(BTreeMap::values).any(|step| !step.over(now))
    }
}

/// `print RATE SECONDS` prints lines of a known text; anything else is a command that has no output and succeeds.
fn text(spec: &StartSpec) -> Text {
    let mut words = spec.script.split_whitespace().skip_while(|word| *word != "print").skip(1);
    let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
    match (number(), number()) {
        (Some(rate), Some(seconds)) => Text::lines(rate.max(1), Duration::from_secs(seconds)),
        _ => Text::none(),
    }
}

/// How often a printing step is looked at: it prints in blocks, as programs do whose output is a file.
pub(crate) fn between_blocks(rate: u64) -> Duration {
    Duration::from_millis(BLOCK * 1000 / rate.max(1)).max(Duration::from_millis(10))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUILD: BuildId = BuildId(7);

    fn ask(work: &mut Work, fence: i64, command: Command, at: u64) -> Vec<Report> {
        let to = ToAgent { build: BUILD, fence: Fence::from_i64(fence), command };
        work.command(to, Duration::from_secs(at)).into_iter().map(|said| said.report).collect()
    }

    fn start(script: &str) -> Command {
        let spec = StartSpec {
            shell: "sh".into(),
            script: script.into(),
            dir: "/w".into(),
            env: BTreeMap::new(),
            capture: false,
        };
        Command::Start { step: "1".into(), spec: Box::new(spec) }
    }

    fn follow(from: u64, upto: u64) -> Command {
        Command::Follow { step: "1".into(), from, upto }
    }

    /// All output that is sent at a time, and whether the end of the step is told.
    fn said(work: &mut Work, at: u64) -> (u64, Vec<u8>, bool) {
        let (mut from, mut all, mut ended) = (None, Vec::new(), false);
        while let Some(said) = work.next(Duration::from_secs(at)) {
            match said.report {
                Report::Output { offset, bytes, .. } => {
                    from.get_or_insert(offset);
                    all.extend_from_slice(&bytes);
                }
                Report::Step(report) => ended = report.state.ended(),
                other => panic!("{other:?}"),
            }
        }
        (from.unwrap_or(0), all, ended)
    }

    #[test]
    fn a_command_without_output_ends_at_once_and_once() {
        let mut work = Work::default();
        assert!(ask(&mut work, 1, start("true"), 0).is_empty(), "it must be claimed first");
        let claimed = ask(&mut work, 1, Command::Claim, 0);
        assert_eq!(claimed, [Report::Claimed { steps: Vec::new(), rebooted: false }]);
        ask(&mut work, 1, start("true"), 0);
        assert_eq!(said(&mut work, 0), (0, Vec::new(), false), "nobody follows");
        ask(&mut work, 1, follow(0, 1000), 0);
        assert_eq!(said(&mut work, 0), (0, Vec::new(), true));
        assert_eq!(said(&mut work, 9), (0, Vec::new(), false));
        assert_eq!(work.ended, 1);
    }

    #[test]
    fn a_printing_step_keeps_to_its_credit_and_a_new_owner_reads_on_where_the_old_one_was() {
        let mut work = Work::default();
        ask(&mut work, 1, Command::Claim, 0);
        ask(&mut work, 1, start("print 20000 10"), 0);
        ask(&mut work, 1, follow(0, 6_000), 1);
        let (_, first, ended) = said(&mut work, 1);
        assert_eq!((first.len(), ended), (6_000, false));
        ask(&mut work, 1, follow(0, 10_000), 1);
        let (from, second, _) = said(&mut work, 1);
        assert_eq!((from, second.len()), (6_000, 4_000));

        let claimed = ask(&mut work, 2, Command::Claim, 2);
        assert!(
            matches!(&claimed[..], [Report::Claimed { steps, .. }] if steps[0].state == StepState::Running)
        );
        assert_eq!(ask(&mut work, 1, follow(0, 90_000), 2), [Report::Refused { held: Fence::from_i64(2) }]);
        ask(&mut work, 2, follow(6_000, 1 << 30), 20);
        let (from, rest, ended) = said(&mut work, 20);
        assert_eq!((from, 6_000 + rest.len(), ended), (6_000, 200_000, true));
        assert_eq!(rest[..4_000], second[..]);
        assert_eq!(crate::sim::text::check(&[first, rest].concat(), 200_000), Ok(()));
    }

    #[test]
    fn a_step_that_is_killed_has_ended_where_it_was() {
        let mut work = Work::default();
        ask(&mut work, 1, Command::Claim, 0);
        ask(&mut work, 1, start("print 20000 10"), 0);
        assert!(work.prints(Duration::from_secs(1)));
        let killed = ask(&mut work, 1, Command::Kill { step: "1".into(), grace_millis: 1 }, 1);
        assert!(
            matches!(&killed[..], [Report::Step(report)] if report.end == 20_000 && report.state.ended())
        );
        assert!(!work.prints(Duration::from_secs(1)));
        ask(&mut work, 1, Command::Forget, 1);
        assert!(work.kept().is_empty());
    }
}

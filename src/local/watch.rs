//! When a process is started, and when it is killed: one pure step.
//!
//! Silence is counted in probes that went unanswered, not by the clock: after a pause of `up` itself no process is blamed.

use std::time::Duration;

/// Between two looks.
pub(crate) const TICK: Duration = Duration::from_millis(500);
/// Silent for so long, a process is killed: a lease.
const SILENT: Duration = Duration::from_secs(5);
/// As long as it has never answered: starting on a large or slow home takes time.
const STARTING: Duration = Duration::from_secs(120);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Running for so long, a process is healthy and its former ends are forgotten.
const HEALTHY: Duration = Duration::from_secs(30);

/// Where a process stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// To be started at `at`; `ends` in a row so far.
    Down { at: Duration, ends: u32 },
    /// Runs since `since`; silent for `silent`, answered before or not.
    Up { since: Duration, silent: Duration, answered: bool, ends: u32 },
    /// It was sent SIGKILL; only its end is waited for.
    Killed { since: Duration, ends: u32 },
}

/// What was just seen of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// There is no process.
    Gone,
    Answered,
    Silent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Start,
    Kill,
    /// Look again at the next tick, or at the moment named.
    Wait(Option<Duration>),
}

impl Phase {
    pub(crate) fn new(now: Duration) -> Phase {
        Phase::Down { at: now, ends: 0 }
    }

    /// Started, or found running.
    pub(crate) fn started(self, now: Duration, found: bool) -> Phase {
        let ends = match self {
            Phase::Down { ends, .. } | Phase::Up { ends, .. } | Phase::Killed { ends, .. } => ends,
        };
        Phase::Up { since: now, silent: Duration::ZERO, answered: found, ends }
    }
}

pub(crate) fn step(phase: Phase, seen: Seen, now: Duration) -> (Phase, Act) {
    match (phase, seen) {
        (Phase::Down { at, .. }, _) if now >= at => (phase, Act::Start),
        (Phase::Down { at, .. }, _) => (phase, Act::Wait(Some(at))),
        (Phase::Up { since, ends, .. } | Phase::Killed { since, ends }, Seen::Gone) => {
            let ends = if now.saturating_sub(since) >= HEALTHY { 0 } else { ends };
            let at = now + pause(ends);
            (Phase::Down { at, ends: ends.saturating_add(1) }, Act::Wait(Some(at)))
        }
        (Phase::Up { since, ends, .. }, Seen::Answered) => {
            (Phase::Up { since, silent: Duration::ZERO, answered: true, ends }, Act::Wait(None))
        }
        (Phase::Up { since, silent, answered, ends }, Seen::Silent) => {
            let silent = silent + TICK;
            if silent >= if answered { SILENT } else { STARTING } {
                (Phase::Killed { since, ends }, Act::Kill)
            } else {
                (Phase::Up { since, silent, answered, ends }, Act::Wait(None))
            }
        }
        // a process that is stuck in the kernel may need more than one
        (Phase::Killed { .. }, Seen::Answered | Seen::Silent) => (phase, Act::Kill),
    }
}

fn pause(ends: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << ends.min(16)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_000);

    #[test]
    fn ends_in_a_row_make_longer_pauses_and_health_forgets_them() {
        let mut phase = Phase::new(NOW);
        let mut pauses = Vec::new();
        for _ in 0..9 {
            phase = step(phase.started(NOW, false), Seen::Gone, NOW).0;
            let Phase::Down { at, .. } = phase else { panic!("{phase:?}") };
            pauses.push((at - NOW).as_millis());
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
        let (phase, act) = step(phase.started(NOW, false), Seen::Gone, NOW + HEALTHY);
        let at = NOW + HEALTHY + FIRST_PAUSE;
        assert_eq!((phase, act), (Phase::Down { at, ends: 1 }, Act::Wait(Some(at))));
        assert_eq!(step(phase, Seen::Gone, NOW + HEALTHY).1, Act::Wait(Some(at)));
        assert_eq!(step(phase, Seen::Gone, at).1, Act::Start);
    }

    #[test]
    fn a_process_that_is_silent_for_a_lease_is_killed_until_it_is_gone() {
        let mut phase = Phase::new(NOW).started(NOW, false);
        phase = step(phase, Seen::Answered, NOW).0;
        for _ in 1..10 {
            let (next, act) = step(phase, Seen::Silent, NOW);
            assert_eq!(act, Act::Wait(None));
            phase = next;
        }
        let (phase, act) = step(phase, Seen::Silent, NOW);
        assert_eq!(act, Act::Kill);
        assert_eq!(step(phase, Seen::Silent, NOW).1, Act::Kill);
        assert!(matches!(step(phase, Seen::Gone, NOW).0, Phase::Down { .. }));
    }

    #[test]
    fn an_answer_ends_a_silence_and_a_start_may_take_long() {
        let mut phase = Phase::new(NOW).started(NOW, false);
        for n in 0..239 {
            let (next, act) = step(phase, Seen::Silent, NOW);
            assert_eq!(act, Act::Wait(None), "{n}");
            phase = next;
        }
        assert_eq!(step(phase, Seen::Silent, NOW).1, Act::Kill);
        let mut found = Phase::new(NOW).started(NOW, true);
        for seen in [Seen::Silent; 9].into_iter().chain([Seen::Answered]).chain([Seen::Silent; 9]) {
            let (next, act) = step(found, seen, NOW);
            assert_eq!(act, Act::Wait(None));
            found = next;
        }
    }

    #[test]
    fn from_any_phase_a_healthy_process_comes_to_rest() {
        for start in [
            Phase::Down { at: NOW + LONGEST_PAUSE, ends: 9 },
            Phase::Up { since: NOW, silent: Duration::from_secs(4), answered: true, ends: 3 },
            Phase::Killed { since: NOW, ends: 2 },
        ] {
            let (mut phase, mut now, mut running) = (start, NOW, matches!(start, Phase::Up { .. }));
            for _ in 0..100 {
                let seen = if running { Seen::Answered } else { Seen::Gone };
                let (next, act) = step(phase, seen, now);
                phase = next;
                match act {
                    Act::Start => (phase, running) = (phase.started(now, false), true),
                    Act::Kill => running = false,
                    Act::Wait(until) => now = until.unwrap_or(now + TICK),
                }
            }
            assert!(
                matches!(phase, Phase::Up { silent: Duration::ZERO, answered: true, .. }),
                "{start:?}: {phase:?}"
            );
        }
    }
}

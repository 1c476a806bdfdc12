//! Time as it is passed around: milliseconds of a wall clock for people, a monotonic one for decisions.

use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Milliseconds since the epoch. For people and for recorded deadlines; no lease depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub i64);

impl Millis {
    pub fn plus(self, duration: Duration) -> Millis {
        Millis(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier`; nothing when the clock was set back.
    pub fn since(self, earlier: Millis) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// `2 min 3 sec`: a length of time as Jenkins writes it.
pub fn length(length: Duration) -> String {
    let (seconds, millis) = (length.as_secs(), length.subsec_millis());
    match seconds {
        0 if millis < 100 => format!("{millis} ms"),
        0 => format!("{} sec", f64::from(millis / 10) / 100.0),
        1..10 if millis >= 100 => format!("{seconds}.{} sec", millis / 100),
        1..60 => format!("{seconds} sec"),
        60..3_600 => format!("{} min {} sec", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} hr {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => {
            let days = seconds / 86_400;
            let plural = if days == 1 { "" } else { "s" };
            format!("{days} day{plural} {} hr", seconds % 86_400 / 3_600)
        }
    }
}

/// The two clocks of a process; the simulation has its own.
pub trait Clock: Send + Sync + 'static {
    /// Wall clock.
    fn now(&self) -> Millis;
    /// Time since some fixed moment of this process; never jumps.
    fn elapsed(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    pub fn new() -> SystemClock {
        SystemClock { started: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_written_as_jenkins_does() {
        for (millis, written) in [
            (99, "99 ms"),
            (250, "0.25 sec"),
            (300, "0.3 sec"),
            (1_000, "1 sec"),
            (1_250, "1.2 sec"),
            (59_900, "59 sec"),
            (60_000, "1 min 0 sec"),
            (3_660_000, "1 hr 1 min"),
            (90_000_000, "1 day 1 hr"),
            (172_800_000, "2 days 0 hr"),
        ] {
            assert_eq!(length(Duration::from_millis(millis)), written);
        }
    }
}

//! When to try the controller again. Pure.

use std::time::Duration;

/// After a refusal: somebody has to change something, so it is not urgent. As stock agents wait.
const REFUSED: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(7), Duration::from_secs(10)];
/// After a lost link or when nobody answers: another replica may take us in a moment.
const LOST: [Duration; 7] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(7),
    Duration::from_secs(10),
];
/// A link that lived this long starts the series anew.
const STEADY: Duration = Duration::from_secs(2);
/// Links of many agents are lost together; they come back spread over this.
const SPREAD: Duration = Duration::from_millis(50);

/// What the last try came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The controller answered that it doesn't want us.
    Refused,
    /// Nobody answered, or the answer was broken off.
    Unreachable,
    /// There was a link for this long.
    Lost(Duration),
}

/// How far the series has got.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Retry {
    refused: usize,
    lost: usize,
}

impl Retry {
    /// How long to wait after `outcome`. `chance` is random, in 0..=255.
    pub(crate) fn after(&mut self, outcome: Outcome, chance: u8) -> Duration {
        match outcome {
            Outcome::Refused => {
                let delay = at(&REFUSED, self.refused);
                self.refused += 1;
                delay
            }
            Outcome::Lost(lived) if lived >= STEADY => {
                *self = Retry { refused: 0, lost: 1 };
                jitter(chance)
            }
            Outcome::Unreachable | Outcome::Lost(_) => {
                let delay = at(&LOST, self.lost);
                self.lost += 1;
                delay + jitter(chance)
            }
        }
    }
}

fn at(series: &[Duration], n: usize) -> Duration {
    series.get(n).or(series.last()).copied().unwrap_or_default()
}

fn jitter(chance: u8) -> Duration {
    SPREAD.mul_f64(f64::from(chance) / 255.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(outcomes: &[Outcome]) -> Vec<u128> {
        let mut retry = Retry::default();
        outcomes.iter().map(|o| retry.after(*o, 0).as_millis()).collect()
    }

    #[test]
    fn a_lost_link_is_tried_at_once_and_then_ever_more_slowly() {
        let long = Outcome::Lost(Duration::from_secs(60));
        let away = Outcome::Unreachable;
        assert_eq!(
            series(&[long, away, away, away, away, away, away, away]),
            [0, 100, 300, 1_000, 3_000, 7_000, 10_000, 10_000]
        );
        assert_eq!(series(&[away, away, long, away]), [0, 100, 0, 100]);
    }

    #[test]
    fn links_that_are_lost_at_once_do_not_make_a_storm() {
        let short = Outcome::Lost(Duration::from_millis(5));
        assert_eq!(series(&[short, short, short, short]), [0, 100, 300, 1_000]);
    }

    #[test]
    fn a_refused_agent_waits_as_a_stock_one() {
        assert_eq!(series(&[Outcome::Refused; 6]), [1_000, 3_000, 7_000, 10_000, 10_000, 10_000]);
        assert!(Retry::default().after(Outcome::Unreachable, 255) <= SPREAD);
    }
}

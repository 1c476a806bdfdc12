//! What this replica is ordered to do, and until when it hands over what it does. Pure.

use std::time::{Duration, Instant};

/// Time for builds and links to move when a replica stops, and for answers that are on their way. For a drain it is so long
/// where nobody says more.
pub(super) const DRAIN: Duration = Duration::from_secs(30);

/// Each includes the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Serve,
    Drain {
        within: Duration,
    },
    /// The time of a drain that was ordered before goes on, but no longer than it is had after a signal.
    Stop {
        at: Instant,
        drain: Option<Duration>,
    },
}

impl Order {
    /// A drain that is said again has the longest time that was given, and from its beginning.
    pub(super) fn drain(self, within: Option<Duration>) -> Order {
        let within = within.unwrap_or(DRAIN);
        match self {
            Order::Serve => Order::Drain { within },
            Order::Drain { within: before } => Order::Drain { within: before.max(within) },
            Order::Stop { .. } => self,
        }
    }

    /// The first order to stop counts.
    pub(super) fn stop(self, at: Instant) -> Order {
        match self {
            Order::Serve => Order::Stop { at, drain: None },
            Order::Drain { within } => Order::Stop { at, drain: Some(within) },
            Order::Stop { .. } => self,
        }
    }

    pub(super) fn drains(self) -> bool {
        self != Order::Serve
    }

    pub(super) fn stops(self) -> bool {
        matches!(self, Order::Stop { .. })
    }

    /// Until when builds and links may move, if that began then. While nobody could take them there is nothing to wait long for:
    /// `alone` says since when that is so.
    pub(super) fn until(self, began: Instant, alone: Option<Instant>) -> Instant {
        let usual = |since: Instant| began.max(since) + DRAIN;
        match self {
            Order::Serve | Order::Stop { drain: None, .. } => usual(began),
            Order::Drain { within } => alone.map_or(began + within, |since| usual(since).min(began + within)),
            Order::Stop { at, drain: Some(within) } => {
                Order::Drain { within }.until(began, alone).min(usual(at))
            }
        }
    }
}

/// Hands over in short steps, because how much time is left may change meanwhile. Gives what is left when time is up.
pub(super) async fn hand_over(left: impl Fn() -> Duration, step: impl AsyncFn(Duration) -> usize) -> usize {
    const STEP: Duration = Duration::from_millis(200);
    loop {
        let builds = step(left().min(STEP)).await;
        if builds == 0 || left().is_zero() {
            return builds;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_drain_has_its_limit_and_a_signal_the_usual_one() {
        let began = Instant::now();
        let at = |after| began + seconds(after);
        let (none, long, short) = (None, Some(seconds(900)), Some(seconds(5)));
        for (order, others, until) in [
            (Order::Serve.stop(began), true, 30),
            (Order::Serve.drain(none), true, 30),
            (Order::Serve.drain(short), true, 5),
            (Order::Serve.drain(Some(Duration::ZERO)), true, 0),
            (Order::Serve.drain(long), true, 900),
            (Order::Serve.drain(long), false, 30),
            (Order::Serve.drain(short), false, 5),
            (Order::Serve.drain(short).drain(long), true, 900),
            (Order::Serve.drain(long).drain(none), true, 900),
            (Order::Serve.drain(long).stop(at(100)), true, 130),
            (Order::Serve.drain(long).stop(at(100)), false, 30),
            (Order::Serve.drain(long).stop(at(890)), true, 900),
            (Order::Serve.drain(short).stop(at(1)), true, 5),
            // while it still serves on
            (Order::Serve.drain(long).stop(began.checked_sub(seconds(3)).unwrap()), true, 30),
            (Order::Serve.stop(at(1)).drain(long), true, 30),
            (Order::Serve.drain(long).stop(at(100)).stop(at(200)), true, 130),
        ] {
            let alone = (!others).then_some(began);
            assert_eq!(order.until(began, alone), at(until), "{order:?}, others: {others}");
            assert!(order.drains());
        }
        // the others were there until then
        assert_eq!(Order::Serve.drain(long).until(began, Some(at(300))), at(330));
        assert_eq!(Order::Serve.drain(long).until(began, Some(at(890))), at(900));
        assert!(!Order::Serve.drains() && !Order::Serve.drain(long).stops());
        assert!(Order::Serve.drain(long).stop(began).stops());
    }

    /// A clock of its own, and builds of which some are left so long.
    async fn hands_over(
        order: Order,
        signal: Option<u64>,
        builds: impl Fn(Duration) -> usize,
    ) -> (usize, Duration) {
        let (began, passed, order) = (Instant::now(), Cell::new(Duration::ZERO), Cell::new(order));
        let left = || order.get().until(began, None).saturating_duration_since(began + passed.get());
        let step = async |most: Duration| {
            passed.set(passed.get() + most);
            if signal.is_some_and(|at| passed.get() >= seconds(at)) {
                order.set(order.get().stop(began + passed.get()));
            }
            builds(passed.get())
        };
        let builds = hand_over(left, step).await;
        (builds, passed.get())
    }

    #[tokio::test]
    async fn a_signal_during_a_long_drain_ends_it_after_the_usual_time() {
        let long = Order::Serve.drain(Some(seconds(3600)));
        assert_eq!(hands_over(long, None, |_| 3).await, (3, seconds(3600)));
        assert_eq!(hands_over(long, Some(600), |_| 3).await, (3, seconds(630)));
        assert_eq!(hands_over(long, Some(600), |at| usize::from(at < seconds(610))).await, (0, seconds(610)));
        assert_eq!(hands_over(Order::Serve.drain(Some(seconds(0))), None, |_| 3).await, (3, seconds(0)));
    }
}

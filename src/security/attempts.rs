//! How failed attempts are slowed and then refused.
//!
//! Failures count for the user, for the user from one address, and for the address. An attempt on a user waits instead of
//! being refused, so nobody locks out a user from elsewhere; few may wait at once, so guesses in parallel gain nothing.
//! Whoever goes on failing from one address is refused there for a while. All of it is of this process.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// Failures that cost nothing.
const FREE: u32 = 4;
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(10);
/// Failures of one user from one address before both together are refused.
const OF_ONE: u32 = 10;
/// Failures from one address before it is refused.
const OF_ADDRESS: u32 = 100;
const FIRST_REFUSAL: Duration = Duration::from_secs(15);
const LONGEST_REFUSAL: Duration = Duration::from_secs(15 * 60);
/// Failures are forgotten after this time without a new one; those of an address, which many may share, so long after
/// the first.
const FORGOTTEN: Duration = Duration::from_secs(15 * 60);
/// Attempts on one user that may be under way at once.
const AT_ONCE: u32 = 32;
/// When to come again if there are more.
const SOON: Duration = Duration::from_secs(2);
/// Counters that are kept.
const COUNTERS: usize = 30_000;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    User(String),
    One(String, IpAddr),
    Address(IpAddr),
}

#[derive(Debug, Default)]
struct Counter {
    failures: u32,
    under_way: u32,
    since: Duration,
    last: Duration,
}

/// Failures. Time comes in as `now`.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    counters: HashMap<Key, Counter>,
}

/// Who tries, from where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    /// In lower case.
    pub(crate) user: &'a str,
    /// `None` where it is not known.
    pub(crate) from: Option<IpAddr>,
}

impl Attempts {
    /// How long the attempt waits; `Err`: it is refused, and when it may come again. What began must `end`.
    pub(crate) fn begin(&mut self, source: Source<'_>, now: Duration) -> Result<Duration, Duration> {
        self.admit(source, now)?;
        let user = self.counter(Key::User(source.user.to_owned()), now);
        if user.under_way >= AT_ONCE {
            return Err(SOON);
        }
        user.under_way += 1;
        user.last = now;
        Ok(delay(user.failures))
    }

    /// Whether it is refused, because of what failed at its address.
    pub(crate) fn admit(&mut self, source: Source<'_>, now: Duration) -> Result<(), Duration> {
        let Some(from) = source.from.map(network) else { return Ok(()) };
        for (key, limit) in
            [(Key::One(source.user.to_owned(), from), OF_ONE), (Key::Address(from), OF_ADDRESS)]
        {
            let Some(counter) = self.counters.get_mut(&key) else { continue };
            counter.forget(&key, now);
            let until = counter.last + refusal(counter.failures, limit);
            if now < until {
                return Err(until - now);
            }
        }
        Ok(())
    }

    /// `failed`: `None` when it is not known, because the store was away or the caller went.
    pub(crate) fn end(&mut self, source: Source<'_>, failed: Option<bool>, now: Duration) {
        let key = Key::User(source.user.to_owned());
        if let Some(user) = self.counters.get_mut(&key) {
            user.under_way = user.under_way.saturating_sub(1);
            user.count(failed, now);
            if user.failures == 0 && user.under_way == 0 {
                self.counters.remove(&key);
            }
        }
        let Some(from) = source.from.map(network) else { return };
        let one = Key::One(source.user.to_owned(), from);
        match failed {
            Some(true) => {
                self.counter(one, now).count(failed, now);
                self.counter(Key::Address(from), now).count(failed, now);
            }
            Some(false) => drop(self.counters.remove(&one)),
            None => {}
        }
    }

    /// A token that is not known was shown. It can't be guessed, so it costs its sender only.
    pub(crate) fn bad_token(&mut self, source: Source<'_>, now: Duration) {
        if let Some(from) = source.from.map(network) {
            self.counter(Key::One(source.user.to_owned(), from), now).count(Some(true), now);
        }
    }

    fn counter(&mut self, key: Key, now: Duration) -> &mut Counter {
        if !self.counters.contains_key(&key) && self.counters.len() >= COUNTERS {
            self.make_room(now);
        }
        let new = Counter { since: now, last: now, ..Counter::default() };
        let counter = self.counters.entry(key.clone()).or_insert(new);
        counter.forget(&key, now);
        counter
    }

    /// Drops what is forgotten, or else the counter with the fewest failures.
    fn make_room(&mut self, now: Duration) {
        self.counters.retain(|key, counter| counter.under_way > 0 || !counter.forgotten(key, now));
        if self.counters.len() >= COUNTERS {
            let idle = self.counters.iter().filter(|(_, counter)| counter.under_way == 0);
            let least = idle.min_by_key(|(_, counter)| (counter.failures, counter.last));
            let least = least.map(|(key, _)| key.clone());
            least.map(|key| self.counters.remove(&key));
        }
    }
}

impl Counter {
    fn forgotten(&self, key: &Key, now: Duration) -> bool {
        let from = match key {
            Key::User(_) | Key::One(..) => self.last,
            Key::Address(_) => self.since,
        };
        now.saturating_sub(from) > FORGOTTEN
    }

    fn forget(&mut self, key: &Key, now: Duration) {
        if self.forgotten(key, now) {
            (self.failures, self.since) = (0, now);
        }
    }

    fn count(&mut self, failed: Option<bool>, now: Duration) {
        self.last = now;
        match failed {
            Some(true) => self.failures = self.failures.saturating_add(1),
            Some(false) => self.failures = 0,
            None => {}
        }
    }
}

fn delay(failures: u32) -> Duration {
    match failures.checked_sub(FREE + 1) {
        None => Duration::ZERO,
        Some(more) => FIRST_DELAY.saturating_mul(1 << more.min(10)).min(LONGEST_DELAY),
    }
}

/// How long after the last failure nobody is let try.
fn refusal(failures: u32, limit: u32) -> Duration {
    match failures.checked_sub(limit) {
        None => Duration::ZERO,
        Some(more) => FIRST_REFUSAL.saturating_mul(1 << more.min(10)).min(LONGEST_REFUSAL),
    }
}

/// Who has one address of version 6 has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn source(user: &str) -> Source<'_> {
        Source { user, from: None }
    }

    fn at<'a>(user: &'a str, address: &str) -> Source<'a> {
        Source { user, from: Some(address.parse().unwrap()) }
    }

    fn fail(attempts: &mut Attempts, source: Source<'_>) -> u64 {
        let waited = attempts.begin(source, NOW).unwrap();
        attempts.end(source, Some(true), NOW);
        waited.as_secs()
    }

    #[test]
    fn the_fifth_failure_makes_the_next_attempt_wait_and_success_forgets() {
        let mut attempts = Attempts::default();
        let waits: Vec<_> = (0..11).map(|_| fail(&mut attempts, source("a"))).collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 1, 2, 4, 8, 10, 10]);
        assert_eq!(fail(&mut attempts, source("b")), 0);
        attempts.begin(source("a"), NOW).unwrap();
        attempts.end(source("a"), Some(false), NOW);
        assert_eq!(fail(&mut attempts, source("a")), 0);
    }

    #[test]
    fn failures_are_forgotten_in_time() {
        let mut attempts = Attempts::default();
        for _ in 0..10 {
            fail(&mut attempts, at("a", "10.0.0.1"));
        }
        let later = NOW + FORGOTTEN + Duration::from_secs(1);
        assert_eq!(attempts.begin(at("a", "10.0.0.1"), later), Ok(Duration::ZERO));
    }

    #[test]
    fn a_user_is_refused_at_the_address_of_the_failures_only() {
        let mut attempts = Attempts::default();
        for n in 0..10 {
            assert!(attempts.admit(at("a", "10.0.0.1"), NOW).is_ok(), "{n}");
            fail(&mut attempts, at("a", "10.0.0.1"));
        }
        assert_eq!(attempts.begin(at("a", "10.0.0.1"), NOW), Err(Duration::from_secs(15)));
        assert!(attempts.begin(at("a", "10.0.0.2"), NOW).is_ok(), "the user himself, slowed");
        assert!(attempts.begin(at("b", "10.0.0.1"), NOW).is_ok());
        let later = NOW + Duration::from_secs(15);
        assert!(attempts.begin(at("a", "10.0.0.1"), later).is_ok());
        attempts.end(at("a", "10.0.0.1"), Some(true), later);
        assert_eq!(attempts.begin(at("a", "10.0.0.1"), later), Err(Duration::from_secs(30)));
    }

    #[test]
    fn an_address_that_tries_many_users_is_refused() {
        let mut attempts = Attempts::default();
        for n in 0..OF_ADDRESS {
            fail(&mut attempts, at(&format!("user{n}"), &format!("2001:db8::{n:x}")));
        }
        assert!(attempts.begin(at("new", "2001:db8::ffff:1"), NOW).is_err());
        assert!(attempts.begin(at("new", "2001:db8:0:1::1"), NOW).is_ok());
        // one of many users behind one address does not end it for all by success, nor for ever
        attempts.end(at("new", "2001:db8::1"), Some(false), NOW);
        assert!(attempts.begin(at("new", "2001:db8::1"), NOW).is_err());
    }

    #[test]
    fn a_token_that_is_wrong_again_and_again_is_refused_where_it_comes_from() {
        let mut attempts = Attempts::default();
        (0..OF_ONE).for_each(|_| attempts.bad_token(at("a", "::1"), NOW));
        assert!(attempts.admit(at("a", "::1"), NOW).is_err());
        assert!(attempts.admit(at("a", "10.0.0.1"), NOW).is_ok());
        assert!(attempts.admit(at("b", "::1"), NOW).is_ok());
    }

    #[test]
    fn few_are_under_way_at_once_and_few_counters_are_kept() {
        let mut attempts = Attempts::default();
        (0..AT_ONCE).for_each(|_| assert!(attempts.begin(source("a"), NOW).is_ok()));
        assert_eq!(attempts.begin(source("a"), NOW), Err(SOON));
        attempts.end(source("a"), None, NOW);
        assert!(attempts.begin(source("a"), NOW).is_ok());
        for _ in 0..6 {
            fail(&mut attempts, source("victim"));
        }
        for n in 0..COUNTERS + 50 {
            fail(&mut attempts, source(&format!("user{n}")));
        }
        assert!(attempts.counters.len() <= COUNTERS);
        assert_eq!(fail(&mut attempts, source("victim")), 2);
    }
}

//! How failed attempts are slowed and then refused.
//!
//! Failures count for the user, for the user from one address, and for the address. An attempt on a user waits; few may wait
//! at once, so guesses in parallel gain nothing. Where the user has signed in of late, only what failed there counts, so nobody locks
//! him out from elsewhere. Whoever goes on failing from one address is refused there for a while. Tokens of jobs, which nobody
//! signs in with, are counted by job and address. All of it is of this process.

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
/// Attempts on one user, and from one address, that may be under way at once.
const AT_ONCE: u32 = 32;
/// When to come again if there are more.
const SOON: Duration = Duration::from_secs(2);
/// Counters that are kept.
const COUNTERS: usize = 30_000;
/// How long the place counts where a user has signed in, and how many are kept.
const GOOD: Duration = Duration::from_secs(14 * 24 * 60 * 60);
const PLACES: usize = 10_000;
/// How often it is told that attempts are refused.
const TELL: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    User(String),
    One(String, IpAddr),
    Address(IpAddr),
    /// As `One`, of tokens that are not known.
    Token(String, IpAddr),
    /// As `One`, of the token of a job.
    Job(String, IpAddr),
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
    /// Where users have signed in, and when last.
    good: HashMap<(String, IpAddr), Duration>,
    /// Attempts that were refused since that was told last, and when that was.
    refused: (u64, Option<Duration>),
}

/// An attempt that may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Begun {
    /// Before it is.
    pub(crate) wait: Duration,
    /// From where the user signed in of late: nothing from elsewhere counts.
    apart: bool,
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
    pub(crate) fn begin(&mut self, source: Source<'_>, now: Duration) -> Result<Begun, Duration> {
        let from = source.from.map(network);
        if let Some(from) = from {
            let one = Key::One(source.user.to_owned(), from);
            if self.good.get(&(source.user.to_owned(), from)).is_some_and(|at| now.saturating_sub(*at) < GOOD)
            {
                self.admit([(one.clone(), OF_ONE)], now)?;
                let failures = self.counters.get(&one).map_or(0, |counter| counter.failures);
                return Ok(Begun { wait: delay(failures), apart: true });
            }
            self.admit([(one, OF_ONE), (Key::Address(from), OF_ADDRESS)], now)?;
        }
        let keys = || keys(source.user, from);
        if keys().any(|key| self.counter(key, now).under_way >= AT_ONCE) {
            return Err(SOON);
        }
        for key in keys() {
            let counter = self.counter(key, now);
            (counter.under_way, counter.last) = (counter.under_way + 1, counter.last.max(now));
        }
        let failures = self.counter(Key::User(source.user.to_owned()), now).failures;
        Ok(Begun { wait: delay(failures), apart: false })
    }

    /// Whether a token that is not known is refused, because of those before it from its address.
    pub(crate) fn admit_token(&mut self, source: Source<'_>, now: Duration) -> Result<(), Duration> {
        let Some(from) = source.from.map(network) else { return Ok(()) };
        self.admit([(Key::Token(source.user.to_owned(), from), OF_ONE)], now)
    }

    /// Whether the token of a job that is shown from there is looked at. Failures are counted by job and address and by address: whoever
    /// shows the right one is not held up by what others guess from elsewhere. A refused one is refused even when it is right, or
    /// its guesser would go on.
    pub(crate) fn job_token(
        &mut self,
        job: &str,
        from: Option<IpAddr>,
        right: bool,
        now: Duration,
    ) -> Result<(), Duration> {
        let Some(from) = from.map(network) else { return Ok(()) };
        let keys = [Key::Job(job.to_owned(), from), Key::Address(from)];
        let [of_job, of_address] = keys.clone();
        self.admit([(of_job.clone(), OF_ONE), (of_address, OF_ADDRESS)], now)?;
        if right {
            self.counters.remove(&of_job);
        } else {
            keys.into_iter().for_each(|key| self.counter(key, now).count(Some(true), now));
        }
        Ok(())
    }

    fn admit<const N: usize>(&mut self, limits: [(Key, u32); N], now: Duration) -> Result<(), Duration> {
        for (key, limit) in limits {
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
    pub(crate) fn end(&mut self, source: Source<'_>, begun: Begun, failed: Option<bool>, now: Duration) {
        let from = source.from.map(network);
        if !begun.apart {
            for key in keys(source.user, from) {
                let Some(counter) = self.counters.get_mut(&key) else { continue };
                counter.under_way = counter.under_way.saturating_sub(1);
                if matches!(key, Key::User(_)) {
                    counter.count(failed, now);
                }
                if counter.failures == 0 && counter.under_way == 0 {
                    self.counters.remove(&key);
                }
            }
        }
        let Some(from) = from else { return };
        let one = Key::One(source.user.to_owned(), from);
        match failed {
            Some(true) => {
                self.counter(one, now).count(failed, now);
                self.counter(Key::Address(from), now).count(failed, now);
            }
            Some(false) => {
                self.counters.remove(&one);
                self.note_good((source.user.to_owned(), from), now);
            }
            None => {}
        }
    }

    fn note_good(&mut self, place: (String, IpAddr), now: Duration) {
        if self.good.len() >= PLACES && !self.good.contains_key(&place) {
            let oldest = self.good.iter().min_by_key(|(_, at)| **at).map(|(place, _)| place.clone());
            oldest.map(|oldest| self.good.remove(&oldest));
        }
        self.good.insert(place, now);
    }

    /// A token that is not known was shown. It can't be guessed, and its user is not slowed by it: some program has an old one.
    pub(crate) fn bad_token(&mut self, source: Source<'_>, now: Duration) {
        if let Some(from) = source.from.map(network) {
            self.counter(Key::Token(source.user.to_owned(), from), now).count(Some(true), now);
        }
    }

    /// An attempt is refused. How many were, when that is to be told.
    pub(crate) fn refused(&mut self, now: Duration) -> Option<u64> {
        let (count, told) = &mut self.refused;
        *count += 1;
        if told.is_some_and(|told| now.saturating_sub(told) < TELL) {
            return None;
        }
        *told = Some(now);
        Some(std::mem::take(count))
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
            Key::User(_) | Key::One(..) | Key::Token(..) | Key::Job(..) => self.last,
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

/// What of an attempt is under way.
fn keys(user: &str, from: Option<IpAddr>) -> impl Iterator<Item = Key> {
    std::iter::once(Key::User(user.to_owned())).chain(from.map(Key::Address))
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
        let begun = attempts.begin(source, NOW).unwrap();
        attempts.end(source, begun, Some(true), NOW);
        begun.wait.as_secs()
    }

    fn succeed(attempts: &mut Attempts, source: Source<'_>) {
        let begun = attempts.begin(source, NOW).unwrap();
        attempts.end(source, begun, Some(false), NOW);
    }

    #[test]
    fn the_fifth_failure_makes_the_next_attempt_wait_and_success_forgets() {
        let mut attempts = Attempts::default();
        let waits: Vec<_> = (0..11).map(|_| fail(&mut attempts, source("a"))).collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 1, 2, 4, 8, 10, 10]);
        assert_eq!(fail(&mut attempts, source("b")), 0);
        succeed(&mut attempts, source("a"));
        assert_eq!(fail(&mut attempts, source("a")), 0);
    }

    #[test]
    fn failures_are_forgotten_in_time() {
        let mut attempts = Attempts::default();
        for _ in 0..10 {
            fail(&mut attempts, at("a", "10.0.0.1"));
        }
        let later = NOW + FORGOTTEN + Duration::from_secs(1);
        assert_eq!(attempts.begin(at("a", "10.0.0.1"), later).map(|begun| begun.wait), Ok(Duration::ZERO));
    }

    #[test]
    fn a_user_is_refused_at_the_address_of_the_failures_only() {
        let mut attempts = Attempts::default();
        for _ in 0..10 {
            fail(&mut attempts, at("a", "10.0.0.1"));
        }
        assert_eq!(attempts.begin(at("a", "10.0.0.1"), NOW), Err(Duration::from_secs(15)));
        assert!(attempts.begin(at("a", "10.0.0.2"), NOW).is_ok(), "the user himself, slowed");
        assert!(attempts.begin(at("b", "10.0.0.1"), NOW).is_ok());
        let later = NOW + Duration::from_secs(15);
        let begun = attempts.begin(at("a", "10.0.0.1"), later).unwrap();
        attempts.end(at("a", "10.0.0.1"), begun, Some(true), later);
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
        let begun = Begun { wait: Duration::ZERO, apart: false };
        attempts.end(at("other", "2001:db8::1"), begun, Some(false), NOW);
        assert!(attempts.begin(at("new", "2001:db8::1"), NOW).is_err());
        assert!(attempts.begin(at("other", "2001:db8::2"), NOW).is_ok(), "he has signed in there");
    }

    #[test]
    fn a_token_that_is_wrong_again_and_again_is_refused_where_it_comes_from() {
        let mut attempts = Attempts::default();
        (0..OF_ONE).for_each(|_| attempts.bad_token(at("a", "::1"), NOW));
        assert!(attempts.admit_token(at("a", "::1"), NOW).is_err());
        assert!(attempts.admit_token(at("a", "10.0.0.1"), NOW).is_ok());
        assert!(attempts.admit_token(at("b", "::1"), NOW).is_ok());
        assert_eq!(
            fail(&mut attempts, at("a", "::1")),
            0,
            "the password of the user has nothing to do with it"
        );
    }

    #[test]
    fn wrong_tokens_of_jobs_are_refused_where_they_come_from_and_nowhere_else() {
        let mut attempts = Attempts::default();
        let mut shown = |job: &str, from: &str, right| attempts.job_token(job, from.parse().ok(), right, NOW);
        for n in 1..OF_ONE {
            assert_eq!(shown("a", &format!("2001:db8::{n}"), false), Ok(()));
        }
        assert_eq!(shown("a", "2001:db8::1", true), Ok(()), "which forgets what failed");
        (0..OF_ONE).for_each(|_| assert_eq!(shown("a", "2001:db8::1", false), Ok(())));
        assert_eq!(shown("a", "2001:db8::2", true), Err(FIRST_REFUSAL));
        assert_eq!(shown("a", "10.0.0.1", true), Ok(()));
        assert_eq!(shown("b", "2001:db8::1", true), Ok(()));
        for n in 19..OF_ADDRESS {
            assert_eq!(shown(&format!("job{n}"), "2001:db8::1", false), Ok(()));
        }
        assert!(shown("b", "2001:db8::1", true).is_err());
        // each takes two
        for n in 0..COUNTERS / 2 + 50 {
            assert_eq!(
                attempts.job_token(
                    &n.to_string(),
                    format!("10.1.{}.{}", n / 256, n % 256).parse().ok(),
                    false,
                    NOW
                ),
                Ok(())
            );
        }
        assert!(attempts.counters.len() <= COUNTERS);
        let later = NOW + LONGEST_REFUSAL;
        assert_eq!(attempts.job_token("a", "2001:db8::1".parse().ok(), true, later), Ok(()));
    }

    #[test]
    fn who_has_signed_in_from_somewhere_is_not_locked_out_from_elsewhere() {
        let mut attempts = Attempts::default();
        succeed(&mut attempts, at("a", "10.0.0.1"));
        let all: Vec<_> =
            (0..AT_ONCE).map(|n| attempts.begin(at("a", &format!("10.1.0.{n}")), NOW)).collect();
        assert!(all.iter().all(Result::is_ok));
        (0..50).for_each(|n| attempts.end(at("a", "10.1.1.1"), all[n % 32].unwrap(), Some(true), NOW));
        (0..AT_ONCE).for_each(|n| assert!(attempts.begin(at("a", &format!("10.2.0.{n}")), NOW).is_ok()));
        assert_eq!(attempts.begin(at("a", "10.3.0.1"), NOW), Err(SOON));
        assert_eq!(fail(&mut attempts, at("a", "10.0.0.1")), 0);
        for _ in 0..9 {
            fail(&mut attempts, at("a", "10.0.0.1"));
        }
        assert!(attempts.begin(at("a", "10.0.0.1"), NOW).is_err(), "what fails there counts");
        let (mut attempts, later) = (Attempts::default(), NOW + GOOD);
        succeed(&mut attempts, at("a", "10.0.0.1"));
        assert_eq!(attempts.begin(at("a", "10.0.0.1"), NOW).map(|begun| begun.apart), Ok(true));
        assert_eq!(attempts.begin(at("a", "10.0.0.1"), later).map(|begun| begun.apart), Ok(false));
    }

    #[test]
    fn one_address_has_few_attempts_under_way_whoever_they_are_on() {
        let mut attempts = Attempts::default();
        for n in 0..AT_ONCE {
            assert!(attempts.begin(at(&format!("user{n}"), "10.0.0.1"), NOW).is_ok());
        }
        assert_eq!(attempts.begin(at("a", "10.0.0.1"), NOW), Err(SOON));
        assert!(attempts.begin(at("a", "10.0.0.2"), NOW).is_ok());
    }

    #[test]
    fn refusals_are_told_now_and_then() {
        let mut attempts = Attempts::default();
        let told: Vec<_> =
            [0, 1, 59, 60, 61].iter().map(|at| attempts.refused(Duration::from_secs(*at))).collect();
        assert_eq!(told, [Some(1), None, None, Some(3), None]);
    }

    #[test]
    fn few_are_under_way_at_once_and_few_counters_are_kept() {
        let mut attempts = Attempts::default();
        (0..AT_ONCE).for_each(|_| assert!(attempts.begin(source("a"), NOW).is_ok()));
        assert_eq!(attempts.begin(source("a"), NOW), Err(SOON));
        attempts.end(source("a"), Begun { wait: Duration::ZERO, apart: false }, None, NOW);
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

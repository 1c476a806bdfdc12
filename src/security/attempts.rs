//! How long an account's next attempt waits: failures are slowed, success forgets them.
//!
//! An attempt waits instead of being refused, so nobody locks out the owner of an account; and few may wait at once, so
//! guesses in parallel gain nothing.

use std::collections::HashMap;
use std::time::Duration;

/// Failures that cost nothing.
const FREE: u32 = 4;
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(10);
/// Failures are forgotten after this time without a new one.
const FORGOTTEN: Duration = Duration::from_secs(15 * 60);
/// Attempts on one account that may be under way at once.
const AT_ONCE: u32 = 32;
/// Accounts that are kept, existing or not.
const ACCOUNTS: usize = 10_000;

#[derive(Debug, Default)]
struct Account {
    failures: u32,
    under_way: u32,
    last: Duration,
}

/// Failures by account. Time comes in as `now`.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    accounts: HashMap<String, Account>,
}

impl Attempts {
    /// How long the attempt waits; `None`: too many are under way. What began must `end`.
    pub(crate) fn begin(&mut self, user: &str, now: Duration) -> Option<Duration> {
        if !self.accounts.contains_key(user) && self.accounts.len() >= ACCOUNTS {
            self.make_room(now);
        }
        let account = self.accounts.entry(user.to_owned()).or_default();
        if now.saturating_sub(account.last) > FORGOTTEN {
            account.failures = 0;
        }
        if account.under_way >= AT_ONCE {
            return None;
        }
        account.under_way += 1;
        account.last = now;
        Some(delay(account.failures))
    }

    /// `failed`: `None` when it is not known, because the store was away or the caller went.
    pub(crate) fn end(&mut self, user: &str, failed: Option<bool>, now: Duration) {
        let Some(account) = self.accounts.get_mut(user) else { return };
        account.under_way = account.under_way.saturating_sub(1);
        account.last = now;
        match failed {
            Some(true) => account.failures = account.failures.saturating_add(1),
            Some(false) => account.failures = 0,
            None => {}
        }
        if account.failures == 0 && account.under_way == 0 {
            self.accounts.remove(user);
        }
    }

    /// Drops what is forgotten, or else the account with the fewest failures.
    fn make_room(&mut self, now: Duration) {
        self.accounts.retain(|_, a| a.under_way > 0 || now.saturating_sub(a.last) <= FORGOTTEN);
        if self.accounts.len() >= ACCOUNTS {
            let idle = self.accounts.iter().filter(|(_, a)| a.under_way == 0);
            let least = idle.min_by_key(|(_, a)| (a.failures, a.last)).map(|(user, _)| user.clone());
            least.map(|user| self.accounts.remove(&user));
        }
    }
}

fn delay(failures: u32) -> Duration {
    match failures.checked_sub(FREE + 1) {
        None => Duration::ZERO,
        Some(more) => FIRST_DELAY.saturating_mul(1 << more.min(10)).min(LONGEST_DELAY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn fail(attempts: &mut Attempts, user: &str) -> u64 {
        let waited = attempts.begin(user, NOW).unwrap();
        attempts.end(user, Some(true), NOW);
        waited.as_secs()
    }

    #[test]
    fn the_fifth_failure_makes_the_next_attempt_wait_and_success_forgets() {
        let mut attempts = Attempts::default();
        let waits: Vec<_> = (0..11).map(|_| fail(&mut attempts, "a")).collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 1, 2, 4, 8, 10, 10]);
        assert_eq!(fail(&mut attempts, "b"), 0);
        attempts.begin("a", NOW).unwrap();
        attempts.end("a", Some(false), NOW);
        assert_eq!(fail(&mut attempts, "a"), 0);
    }

    #[test]
    fn failures_are_forgotten_in_time() {
        let mut attempts = Attempts::default();
        for _ in 0..8 {
            fail(&mut attempts, "a");
        }
        let later = NOW + FORGOTTEN + Duration::from_secs(1);
        assert_eq!(attempts.begin("a", later), Some(Duration::ZERO));
    }

    #[test]
    fn few_are_under_way_at_once_and_few_accounts_are_kept() {
        let mut attempts = Attempts::default();
        (0..AT_ONCE).for_each(|_| assert!(attempts.begin("a", NOW).is_some()));
        assert_eq!(attempts.begin("a", NOW), None);
        attempts.end("a", None, NOW);
        assert!(attempts.begin("a", NOW).is_some());
        for _ in 0..6 {
            fail(&mut attempts, "victim");
        }
        for n in 0..ACCOUNTS + 50 {
            fail(&mut attempts, &format!("user{n}"));
        }
        assert!(attempts.accounts.len() <= ACCOUNTS);
        assert_eq!(fail(&mut attempts, "victim"), 2);
    }
}

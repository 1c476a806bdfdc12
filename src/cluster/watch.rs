//! When a member has lapsed, by the observer's own monotonic clock.
//!
//! A beat must be read at least twice and stand still for a lease in which the store answered: a pause of the store, or
//! of the observer itself, counts for nothing. A store that answers reads and takes no writes has not answered: nobody's
//! beat moves then, the observer's own neither. No wall clock matters.

use std::collections::BTreeMap;
use std::time::Duration;

use model::ReplicaId;
use store::Member;

use crate::{BEAT, LEASE, LOOK};

/// Time between two reads that counts at most: whoever was paused between them saw nothing.
const LONGEST_GAP: Duration = Duration::from_millis(2 * LOOK.as_millis() as u64);

/// What one observer has seen of the others.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    seen: BTreeMap<ReplicaId, Seen>,
    last_read: Option<Duration>,
    /// Our own beat and how long it has stood still.
    own: Option<Seen>,
}

#[derive(Debug, Clone)]
struct Seen {
    beat: i64,
    still: Duration,
}

/// A member to be declared lapsed if its beat still is this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lapsed {
    pub who: ReplicaId,
    pub beat: i64,
}

impl Watch {
    /// Takes what was just read, at `now`. `members` may hold the observer itself, which is passed over.
    pub fn read(&mut self, now: Duration, me: &ReplicaId, members: &[Member]) -> Vec<Lapsed> {
        let gap = self.last_read.map_or(Duration::ZERO, |last| now.saturating_sub(last)).min(LONGEST_GAP);
        self.last_read = Some(now);
        let gap = if self.beating(me, members, gap) { gap } else { Duration::ZERO };
        let mut seen = BTreeMap::new();
        for member in members.iter().filter(|m| m.live() && m.id != *me) {
            let still = match self.seen.get(&member.id) {
                Some(before) if before.beat == member.beat => before.still + gap,
                Some(_) | None => Duration::ZERO,
            };
            seen.insert(member.id.clone(), Seen { beat: member.beat, still });
        }
        self.seen = seen;
        let lapsed = self.seen.iter().filter(|(_, s)| s.still >= LEASE);
        lapsed.map(|(who, s)| Lapsed { who: who.clone(), beat: s.beat }).collect()
    }

    /// Whether writes go through: our own beat moved not long ago. Beats and reads may fall differently, so one read
    /// without a new beat says nothing yet.
    fn beating(&mut self, me: &ReplicaId, members: &[Member], gap: Duration) -> bool {
        let Some(mine) = members.iter().find(|m| m.id == *me) else { return true };
        let still = match &self.own {
            Some(before) if before.beat == mine.beat => before.still + gap,
            Some(_) | None => Duration::ZERO,
        };
        self.own = Some(Seen { beat: mine.beat, still });
        still <= BEAT
    }

    /// The store did not answer: what passes until the next read counts for nothing.
    pub fn interrupted(&mut self) {
        self.last_read = None;
    }
}

/// A holder's own view of its lease.
#[derive(Debug, Clone, Copy, Default)]
pub struct OwnLease {
    /// When the last beat that was committed had been asked for.
    confirmed: Option<Duration>,
}

impl OwnLease {
    /// A beat that was asked for at `asked` is committed.
    pub fn confirm(&mut self, asked: Duration) {
        self.confirmed = Some(self.confirmed.map_or(asked, |c| c.max(asked)));
    }

    /// Since the last beat that is committed was asked for.
    pub fn age(&self, now: Duration) -> Duration {
        self.confirmed.map_or(Duration::ZERO, |confirmed| now.saturating_sub(confirmed))
    }

    /// Whether commands may be sent: nobody can count us as lapsed yet.
    pub fn may_send(&self, now: Duration) -> bool {
        self.confirmed.is_some_and(|confirmed| now < confirmed + LEASE - crate::MARGIN)
    }
}

#[cfg(test)]
mod tests {
    use model::{Millis, ReplicaName, ReplicaState};
    use store::Load;

    use super::*;

    fn member(name: &str, beat: i64) -> Member {
        Member {
            id: ReplicaId { name: ReplicaName::parse(name).unwrap(), incarnation: 1 },
            ordinal: 0,
            pid: 1,
            address: String::new(),
            state: ReplicaState::Ready,
            since: Millis(0),
            revision: String::new(),
            version: String::new(),
            level: 1,
            behaviour: 1,
            beat,
            load: Load::default(),
        }
    }

    fn secs(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn a_beat_that_stands_still_for_a_lease_is_a_lapse() {
        let (me, mut watch) = (member("a", 0).id, Watch::default());
        for s in 0..5 {
            let members = [member("a", i64::try_from(s).unwrap()), member("b", 7)];
            assert!(watch.read(secs(s), &me, &members).is_empty(), "after {s} s");
        }
        let lapsed = watch.read(secs(5), &me, &[member("a", 5), member("b", 7)]);
        assert_eq!(lapsed, [Lapsed { who: member("b", 7).id, beat: 7 }]);
        assert!(watch.read(secs(6), &me, &[member("b", 8)]).is_empty());
    }

    #[test]
    fn a_pause_of_the_observer_or_of_the_store_counts_for_nothing() {
        let (me, mut watch) = (member("a", 0).id, Watch::default());
        watch.read(secs(0), &me, &[member("b", 7)]);
        assert!(watch.read(secs(60), &me, &[member("b", 7)]).is_empty());
        watch.interrupted();
        assert!(watch.read(secs(120), &me, &[member("b", 7)]).is_empty());
        assert!(watch.read(secs(121), &me, &[member("b", 7)]).is_empty());
        assert!(watch.read(secs(122), &me, &[member("b", 7)]).is_empty());
        assert!(!watch.read(secs(123), &me, &[member("b", 7)]).is_empty());
    }

    #[test]
    fn a_store_that_takes_no_writes_makes_nobody_lapse() {
        let (me, mut watch) = (member("a", 0).id, Watch::default());
        for s in 0..60 {
            assert!(watch.read(secs(s), &me, &[member("a", 3), member("b", 7)]).is_empty(), "after {s} s");
        }
    }

    #[test]
    fn a_holder_stops_sending_before_others_may_count_it_as_lapsed() {
        let mut lease = OwnLease::default();
        assert!(!lease.may_send(secs(0)));
        lease.confirm(secs(10));
        lease.confirm(secs(9));
        assert!(lease.may_send(secs(13)));
        assert!(!lease.may_send(secs(14)));
    }
}

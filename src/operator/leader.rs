//! One of the operator's pods leads; it is the one that has the Lease. The others wait, ready to go on.
//!
//! No clock but one's own counts: a lease has lapsed when what it says stood still for its duration, as it was seen here. Who
//! leads stops in time before others may count it as lapsed.

use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::Instant;

use crate::error::Error;

/// Who waits looks at the lease as often as this, or more often.
const LOOK: Duration = Duration::from_secs(2);

/// When a lease lapses, and what follows from that. The parts are those of Kubernetes' own components: of 15 s, 10 and 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTimes {
    /// A lease that was not renewed for so long has lapsed. Whole seconds, as a Lease says them.
    duration: Duration,
}

impl LeaseTimes {
    /// That of a lease, in seconds: with less, a busy API server would change the leader for nothing.
    pub const SECONDS: RangeInclusive<u16> = 5..=600;

    /// Of a lease that lapses after so many seconds; those out of [`LeaseTimes::SECONDS`] become the nearest.
    pub fn new(seconds: u16) -> LeaseTimes {
        let seconds = seconds.clamp(*LeaseTimes::SECONDS.start(), *LeaseTimes::SECONDS.end());
        LeaseTimes { duration: Duration::from_secs(seconds.into()) }
    }

    /// Who leads and could not renew for so long leads no more.
    fn give_up(self) -> Duration {
        self.duration * 2 / 3
    }

    /// Longest time for one look at it.
    fn attempt(self) -> Duration {
        self.duration * 4 / 15
    }

    /// How often the lease is looked at and renewed.
    fn every(self) -> Duration {
        self.duration * 2 / 15
    }

    /// When an attempt to renew the lease that begins now must have ended: nobody leads while it is still on its way and the lease
    /// may count as lapsed. `None`: it has been tried for too long.
    fn end(self, renewed: Instant, now: Instant) -> Option<Instant> {
        let last = renewed + self.give_up();
        (now < last).then(|| last.min(now + self.attempt()))
    }
}

/// Where the lease is, and who wants it.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub namespace: String,
    pub lease: String,
    /// Unique: the name of the pod.
    pub identity: String,
    pub times: LeaseTimes,
}

/// What was seen of the lease, and when it last changed.
#[derive(Debug, Default)]
struct Watched {
    seen: Option<(Mark, Instant)>,
}

/// What a renewal changes.
#[derive(Debug, Clone, PartialEq)]
struct Mark {
    holder: Option<String>,
    renewed: Option<MicroTime>,
}

/// What to do about the lease. Pure.
#[derive(Debug, PartialEq, Eq)]
enum Claim {
    Create,
    /// It is ours, or nobody's, or has lapsed.
    Take,
    Wait,
}

impl Watched {
    fn look(&mut self, lease: Option<&Lease>, me: &str, ours: LeaseTimes, now: Instant) -> Claim {
        let Some(lease) = lease else { return Claim::Create };
        let spec = lease.spec.clone().unwrap_or_default();
        let mark = Mark { holder: spec.holder_identity, renewed: spec.renew_time };
        let holder = mark.holder.clone().unwrap_or_default();
        if holder.is_empty() || holder == me {
            self.seen = Some((mark, now));
            return Claim::Take;
        }
        match &self.seen {
            Some((seen, since)) if *seen == mark => {
                let given = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
                let duration = given.map_or(ours.duration, Duration::from_secs);
                if now.duration_since(*since) >= duration { Claim::Take } else { Claim::Wait }
            }
            _ => {
                self.seen = Some((mark, now));
                Claim::Wait
            }
        }
    }
}

/// Holds the lease once [`Candidate::acquire`] has returned it.
pub struct Leadership {
    api: Api<Lease>,
    candidate: Candidate,
    renewed: Instant,
}

impl Candidate {
    /// Until this process leads. The API server may be away meanwhile. The lease counts from before it was asked for: for others it
    /// began no earlier.
    pub async fn acquire(self, client: Client) -> Leadership {
        let api = Api::namespaced(client, &self.namespace);
        let mut watched = Watched::default();
        loop {
            let began = Instant::now();
            match within(began + self.times.attempt(), attempt(&api, &self, &mut watched)).await {
                Ok(true) => return Leadership { api, candidate: self, renewed: began },
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, lease = self.lease, "look who leads"),
            }
            // however long the lease is: who ends properly gives it back at once
            tokio::time::sleep(self.times.every().min(LOOK)).await;
        }
    }
}

impl Leadership {
    /// Renews the lease; ends when it is lost, and this process must do nothing any more.
    pub async fn keep(&mut self) {
        let (times, mut watched) = (self.candidate.times, Watched::default());
        loop {
            tokio::time::sleep_until((Instant::now() + times.every()).min(self.renewed + times.give_up()))
                .await;
            let began = Instant::now();
            let Some(end) = times.end(self.renewed, began) else { return };
            match within(end, attempt(&self.api, &self.candidate, &mut watched)).await {
                Ok(true) => self.renewed = began,
                Ok(false) => return,
                Err(error) => tracing::warn!(%error, lease = self.candidate.lease, "renew the lease"),
            }
        }
    }

    /// Lets go, so that another one need not wait until it has lapsed.
    pub async fn release(self) {
        let Ok(Some(mut lease)) = self.api.get_opt(&self.candidate.lease).await else { return };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(&self.candidate.identity) {
            return;
        }
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        // who is late waits
        let _late = self.api.replace(&self.candidate.lease, &PostParams::default(), &lease).await;
    }
}

/// A connection that is half open would hold up a request until somebody notices.
async fn within(end: Instant, attempt: impl Future<Output = Result<bool, Error>>) -> Result<bool, Error> {
    let most = end.saturating_duration_since(Instant::now());
    tokio::time::timeout_at(end, attempt).await.unwrap_or(Err(Error::Late(most)))
}

/// Whether it is ours now. Another one that wrote meanwhile has it.
async fn attempt(api: &Api<Lease>, candidate: &Candidate, watched: &mut Watched) -> Result<bool, Error> {
    let Candidate { namespace, lease: name, identity, times } = candidate;
    let lease = api.get_opt(name).await.map_err(Error::api(format!("read the Lease {name}")))?;
    let now = MicroTime(Timestamp::now());
    let claim = watched.look(lease.as_ref(), identity, *times, Instant::now());
    let done = match (claim, lease) {
        (Claim::Wait, _) => return Ok(false),
        (Claim::Create, _) | (Claim::Take, None) => {
            let metadata = ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(namespace.clone()),
                ..ObjectMeta::default()
            };
            let spec = renewed(LeaseSpec::default(), identity, *times, now);
            api.create(&PostParams::default(), &Lease { metadata, spec: Some(spec) }).await
        }
        (Claim::Take, Some(lease)) => {
            let spec = renewed(lease.spec.clone().unwrap_or_default(), identity, *times, now);
            // with its resource version: who comes second is refused
            api.replace(name, &PostParams::default(), &Lease { spec: Some(spec), ..lease }).await
        }
    };
    match done {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(Error::api(format!("write the Lease {name}"))(error)),
    }
}

fn renewed(before: LeaseSpec, identity: &str, ours: LeaseTimes, now: MicroTime) -> LeaseSpec {
    let kept = before.holder_identity.as_deref() == Some(identity);
    let times = before.lease_transitions.unwrap_or_default();
    LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: i32::try_from(ours.duration.as_secs()).ok(),
        acquire_time: if kept { before.acquire_time.clone() } else { Some(now.clone()) },
        lease_transitions: Some(if kept { times } else { times.saturating_add(1) }),
        renew_time: Some(now),
        ..before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: &str, renewed: i64) -> Lease {
        let renewed = Timestamp::from_second(renewed).unwrap();
        let spec = LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            renew_time: Some(MicroTime(renewed)),
            lease_duration_seconds: Some(15),
            ..LeaseSpec::default()
        };
        Lease { spec: Some(spec), ..Lease::default() }
    }

    #[test]
    fn a_lease_is_taken_when_it_stood_still_and_not_before() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let (mut watched, ours) = (Watched::default(), LeaseTimes::new(60));
        assert_eq!(watched.look(None, "me", ours, start), Claim::Create);
        assert_eq!(watched.look(Some(&lease("me", 1)), "me", ours, start), Claim::Take);
        assert_eq!(watched.look(Some(&lease("", 1)), "me", ours, start), Claim::Take);
        // whatever its clock says
        assert_eq!(watched.look(Some(&lease("other", 1)), "me", ours, at(0)), Claim::Wait);
        assert_eq!(watched.look(Some(&lease("other", 1)), "me", ours, at(14)), Claim::Wait);
        assert_eq!(watched.look(Some(&lease("other", 2)), "me", ours, at(15)), Claim::Wait);
        assert_eq!(watched.look(Some(&lease("other", 2)), "me", ours, at(29)), Claim::Wait);
        assert_eq!(watched.look(Some(&lease("other", 2)), "me", ours, at(30)), Claim::Take);
    }

    #[test]
    fn who_could_not_renew_leads_no_more_before_others_may_take_the_lease() {
        let renewed = Instant::now();
        let at = |millis| renewed + Duration::from_millis(millis);
        for (now, ends) in [
            (0, Some(4_000)),
            (2_000, Some(6_000)),
            (6_000, Some(10_000)),
            (8_000, Some(10_000)),
            // not four seconds later
            (9_900, Some(10_000)),
            (10_000, None),
            (60_000, None),
        ] {
            assert_eq!(LeaseTimes::new(15).end(renewed, at(now)), ends.map(at), "{now}");
        }
        for seconds in [0, 5, 6, 15, 600, u16::MAX] {
            let times = LeaseTimes::new(seconds);
            assert!(times.give_up() < times.duration && times.attempt() < times.give_up(), "{times:?}");
            assert!(times.every() < times.attempt(), "{times:?}");
            assert_eq!(times.duration.subsec_nanos(), 0);
        }
    }

    #[tokio::test]
    async fn an_attempt_that_is_not_answered_ends_in_time() {
        let late = within(Instant::now(), std::future::pending()).await.unwrap_err();
        assert!(matches!(late, Error::Late(_)), "{late}");
    }

    #[test]
    fn a_new_holder_is_a_transition() {
        let now = MicroTime(Timestamp::from_second(100).unwrap());
        let ours = LeaseTimes::new(15);
        let first = renewed(LeaseSpec::default(), "a", ours, now.clone());
        assert_eq!(first.lease_duration_seconds, Some(15));
        assert_eq!((first.lease_transitions, first.acquire_time.clone()), (Some(1), Some(now)));
        let later = MicroTime(Timestamp::from_second(200).unwrap());
        let again = renewed(first.clone(), "a", ours, later.clone());
        assert_eq!((again.lease_transitions, &again.acquire_time), (Some(1), &first.acquire_time));
        let other = renewed(again, "b", ours, later.clone());
        assert_eq!((other.lease_transitions, other.acquire_time), (Some(2), Some(later)));
    }
}

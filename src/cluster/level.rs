//! When the home is raised to the newest level that all replicas know. Until it is, the version before can be gone back
//! to, so they must have run well together for a while.

use std::time::Duration;

use model::{Clock, ReplicaState, RolloutPhase};
use store::{Answer, Store, Write};

use crate::assign::scheduler;
use crate::{Handle, LOOK, View};

/// How long all replicas must have been ready with a new level, when nothing else is said.
pub const BAKE: Duration = Duration::from_secs(10 * 60);

/// What one observer has seen of the others.
#[derive(Debug, Clone, Copy, Default)]
pub struct Baking {
    /// The level that all know, and since when, by the observer's monotonic clock.
    since: Option<(i64, Duration)>,
}

impl Baking {
    /// The level to which the home is to be raised now. `bake`: the time, unless whoever looks after the replicas says
    /// another one.
    pub fn look(&mut self, now: Duration, view: &View, bake: Duration) -> Option<i64> {
        let bake = view.meta.rollout.as_ref().and_then(|rollout| rollout.bake).unwrap_or(bake);
        let Some(level) = settled(view).filter(|level| *level > view.meta.level) else {
            self.since = None;
            return None;
        };
        let (known, since) = *self.since.get_or_insert((level, now));
        if known != level {
            self.since = Some((level, now));
            return None;
        }
        (now.saturating_sub(since) >= bake).then_some(level)
    }
}

/// The level that all live replicas know; `None` while not all are ready, or others are to come.
fn settled(view: &View) -> Option<i64> {
    let calm = view.meta.rollout.as_ref().is_none_or(|rollout| rollout.phase == RolloutPhase::Settled);
    let mut live = view.members.iter().filter(|m| m.live());
    if !calm || !live.clone().all(|m| m.state == ReplicaState::Ready) {
        return None;
    }
    let first = live.next()?.level;
    Some(live.fold(first, |least, m| least.min(m.level)))
}

/// Raises the level of the home when it is time; never ends. All replicas watch, and the one that schedules does it.
/// `bake` is as in [`Baking::look`].
pub async fn raise(store: &dyn Store, clock: &dyn Clock, cluster: &Handle, bake: Duration) {
    let mut views = cluster.view();
    let mut baking = Baking::default();
    loop {
        let view = views.borrow_and_update().clone();
        let wanted = baking.look(clock.elapsed(), &view, bake);
        if let Some(level) = wanted
            && scheduler(&view.members) == Some(cluster.me())
        {
            match store.write(Write::RaiseLevel { level }).await {
                Ok(Answer::Level(now)) if now >= level => {
                    tracing::info!(
                        level,
                        "the home is raised to a new level; older versions can't use it any more"
                    );
                    cluster.look();
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, level, "raise the level of the home"),
            }
        }
        let _changed_or_due = tokio::time::timeout(LOOK, views.changed()).await;
    }
}

#[cfg(test)]
mod tests {
    use model::{Millis, ReplicaId, ReplicaName, RolloutReport};
    use store::{Load, Member, Meta, Restart};

    use super::*;

    fn view(home: i64, members: &[(i64, ReplicaState)], phase: Option<RolloutPhase>) -> View {
        let member = |(n, (level, state)): (usize, &(i64, ReplicaState))| Member {
            id: ReplicaId {
                name: ReplicaName::parse(&format!("r-{n}")).unwrap(),
                incarnation: i64::try_from(n).unwrap() + 1,
            },
            ordinal: 0,
            pid: 0,
            address: String::new(),
            state: *state,
            since: Millis(0),
            revision: String::new(),
            version: String::new(),
            level: *level,
            behaviour: 1,
            beat: 0,
            load: Load::default(),
        };
        let rollout = phase.map(|phase| RolloutReport {
            phase,
            revision: "2".to_owned(),
            reason: String::new(),
            restart: 0,
            failed: None,
            message: String::new(),
            bake: Some(SHORT),
        });
        View {
            meta: Meta {
                controller: "acme".to_owned(),
                level: home,
                epoch: 1,
                tick: 1,
                quiet: None,
                restart: Restart::default(),
                rollout,
                objects: None,
                joined: 1,
            },
            members: members.iter().enumerate().map(member).collect(),
            leases: Vec::new(),
        }
    }

    const READY: ReplicaState = ReplicaState::Ready;
    const SHORT: Duration = Duration::from_secs(10);

    fn after(views: &[(u64, View)]) -> Vec<Option<i64>> {
        let mut baking = Baking::default();
        views.iter().map(|(at, view)| baking.look(Duration::from_secs(*at), view, BAKE)).collect()
    }

    #[test]
    fn a_level_that_all_have_known_for_the_baking_time_is_raised_to() {
        let all = view(1, &[(2, READY), (2, READY)], Some(RolloutPhase::Settled));
        let done = view(2, &[(2, READY), (2, READY)], None);
        assert_eq!(
            after(&[(5, all.clone()), (14, all.clone()), (15, all.clone()), (16, all), (17, done)]),
            [None, None, Some(2), Some(2), None]
        );
    }

    #[test]
    fn whatever_disturbs_the_calm_begins_the_time_anew() {
        let settled = Some(RolloutPhase::Settled);
        let calm = view(1, &[(2, READY), (3, READY)], settled);
        for disturbed in [
            view(1, &[(2, READY), (2, ReplicaState::Draining)], settled),
            view(1, &[(2, READY), (2, ReplicaState::Starting)], settled),
            view(1, &[(2, READY), (1, READY)], settled),
            view(1, &[(3, READY), (3, READY)], settled),
            view(1, &[(2, READY), (2, READY)], Some(RolloutPhase::Rolling)),
            view(1, &[(2, READY), (2, READY)], Some(RolloutPhase::Halted)),
            view(1, &[], None),
        ] {
            let seen = [
                (0, calm.clone()),
                (9, disturbed),
                (10, calm.clone()),
                (19, calm.clone()),
                (20, calm.clone()),
            ];
            assert_eq!(after(&seen), [None, None, None, None, Some(2)]);
        }
    }

    #[test]
    fn one_that_has_stopped_does_not_count() {
        let seen = view(1, &[(2, READY), (1, ReplicaState::Stopped)], Some(RolloutPhase::Settled));
        assert_eq!(after(&[(0, seen.clone()), (10, seen)]), [None, Some(2)]);
        let older = view(3, &[(2, READY)], None);
        assert_eq!(after(&[(0, older.clone()), (99, older)]), [None, None]);
        let unsaid = view(1, &[(2, READY)], None);
        assert_eq!(
            after(&[(0, unsaid.clone()), (599, unsaid.clone()), (600, unsaid)]),
            [None, None, Some(2)]
        );
    }
}

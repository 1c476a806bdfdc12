//! Who schedules, and who takes a build: the least loaded; among near-equals whoever is preferred. Pure.

use std::collections::BTreeMap;

use model::{ReplicaId, ReplicaState};
use store::Member;

/// Loads that differ by no more are equal.
const NEAR: u64 = 2;

/// Who gives out builds and executors, when all see the same members. This is no lease: rows with unique keys decide, and
/// the others do what was left for a while. It only spares them from all doing the same at once.
pub fn scheduler(members: &[Member]) -> Option<&ReplicaId> {
    let ready = members.iter().filter(|m| m.state == ReplicaState::Ready);
    ready.min_by_key(|m| (m.ordinal, m.id.incarnation)).map(|m| &m.id)
}

/// Loads as they change while builds are handed out.
#[derive(Debug, Clone)]
pub struct Loads {
    ready: BTreeMap<ReplicaId, u64>,
}

impl Loads {
    /// Members that may own builds, with what they do already: running builds weigh most, then agents.
    pub fn of(members: &[Member], builds: &BTreeMap<i64, u64>) -> Loads {
        let ready = members.iter().filter(|m| m.state == ReplicaState::Ready);
        let load = |m: &Member| {
            let running = builds.get(&m.id.incarnation).copied().unwrap_or(0);
            10 * running + u64::from(m.load.agents) / 10
        };
        Loads { ready: ready.map(|m| (m.id.clone(), load(m))).collect() }
    }

    /// The least loaded; `preferred` if it is nearly so. `None` when nobody is ready.
    pub fn choose(&mut self, preferred: Option<&ReplicaId>) -> Option<ReplicaId> {
        let least = *self.ready.values().min()?;
        let near = |id: &ReplicaId| self.ready.get(id).is_some_and(|load| *load <= least + 10 * NEAR);
        let chosen = match preferred {
            Some(id) if near(id) => id.clone(),
            Some(_) | None => self.ready.iter().min_by_key(|(id, load)| (**load, (*id).clone()))?.0.clone(),
        };
        *self.ready.get_mut(&chosen)? += 10;
        Some(chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: i64) -> ReplicaId {
        ReplicaId { name: model::ReplicaName::parse(&format!("r-{n}")).unwrap(), incarnation: n }
    }

    fn loads(of: &[(i64, u64)]) -> Loads {
        Loads { ready: of.iter().map(|(n, load)| (id(*n), *load)).collect() }
    }

    #[test]
    fn the_least_loaded_takes_a_build_and_load_is_spread() {
        let mut loads = loads(&[(1, 0), (2, 0), (3, 50)]);
        let chosen: Vec<i64> = (0..4).filter_map(|_| loads.choose(None)).map(|id| id.incarnation).collect();
        assert_eq!(chosen, [1, 2, 1, 2]);
    }

    #[test]
    fn the_preferred_one_is_taken_among_near_equals_only() {
        let mut loads = loads(&[(1, 0), (2, 20), (3, 90)]);
        assert_eq!(loads.choose(Some(&id(2))), Some(id(2)));
        assert_eq!(loads.choose(Some(&id(3))), Some(id(1)));
        assert_eq!(loads.choose(Some(&id(9))), Some(id(1)));
    }

    #[test]
    fn nobody_is_chosen_when_nobody_is_ready() {
        assert_eq!(loads(&[]).choose(None), None);
    }
}

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

/// Most agents that a replica sends elsewhere in a second.
pub const MOVES: usize = 64;

/// How many of its agents a replica sends elsewhere now: those above the mean, once it has half more than that. Where
/// there are few agents, chance alone makes such differences: they stay.
pub fn too_many(members: &[Member], me: &ReplicaId, held: usize) -> usize {
    const FEW: usize = 8;
    let ready = || members.iter().filter(|m| m.state == ReplicaState::Ready);
    if !ready().any(|m| m.id == *me) {
        return 0;
    }
    let others: usize = ready().filter(|m| m.id != *me).map(|m| m.load.agents as usize).sum();
    let mean = (others + held).div_ceil(ready().count());
    if held < FEW || held * 2 <= mean * 3 { 0 } else { (held - mean).min(MOVES) }
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

    fn member(n: i64, agents: u32, state: ReplicaState) -> Member {
        Member {
            id: id(n),
            ordinal: 0,
            pid: 0,
            address: String::new(),
            state,
            since: model::Millis(0),
            revision: String::new(),
            version: String::new(),
            level: 1,
            behaviour: 1,
            beat: 0,
            load: store::Load { agents, ..store::Load::default() },
        }
    }

    #[test]
    fn a_replica_with_half_more_agents_than_the_mean_sends_some_elsewhere() {
        use ReplicaState::{Draining, Ready};
        let members =
            |b, c| [member(1, 0, Ready), member(2, b, Ready), member(3, c, Ready), member(4, 900, Draining)];
        for (held, b, c, away) in [
            (0, 500, 500, 0),
            (7, 0, 0, 0),
            (9, 0, 0, 6),
            (150, 75, 75, 0),
            (151, 75, 74, 51),
            (1_000, 0, 0, 64),
            (1_000, 1_000, 0, 0),
        ] {
            assert_eq!(too_many(&members(b, c), &id(1), held), away, "{held} {b} {c}");
        }
        assert_eq!(too_many(&members(0, 0), &id(4), 900), 0, "it does not serve");
        assert_eq!(too_many(&[member(1, 0, Ready)], &id(1), 900), 0, "there is nowhere else");
    }

    #[test]
    fn nobody_is_chosen_when_nobody_is_ready() {
        assert_eq!(loads(&[]).choose(None), None);
    }
}

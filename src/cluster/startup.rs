//! The startup lock: one replica at a time starts. Pure.

use model::{Fence, ReplicaId};
use store::{Lease, Member};

/// What a waiting replica does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Try to take the lock; its fence was this when we looked.
    Acquire { seen: Option<Fence> },
    /// Somebody live has it.
    Wait { holder: ReplicaId },
}

/// Decides from what was read last.
pub fn step(lease: Option<&Lease>, members: &[Member], me: &ReplicaId) -> Step {
    let Some(lease) = lease else { return Step::Acquire { seen: None } };
    let live = |id: &ReplicaId| members.iter().any(|m| m.id == *id && m.live());
    match &lease.holder {
        Some(holder) if holder != me && live(holder) => Step::Wait { holder: holder.clone() },
        Some(_) | None => Step::Acquire { seen: Some(lease.fence) },
    }
}

#[cfg(test)]
mod tests {
    use model::{Millis, ReplicaName, ReplicaState};

    use super::*;

    fn member(n: i64, state: ReplicaState) -> Member {
        Member {
            id: ReplicaId { name: ReplicaName::parse(&format!("r-{n}")).unwrap(), incarnation: n },
            ordinal: 0,
            pid: 0,
            address: String::new(),
            state,
            since: Millis(0),
            revision: String::new(),
            version: String::new(),
            level: 1,
            behaviour: 1,
            beat: 0,
            load: store::Load::default(),
        }
    }

    #[test]
    fn the_lock_of_a_dead_holder_passes_on_and_that_of_a_live_one_does_not() {
        let (one, two) = (member(1, ReplicaState::Starting), member(2, ReplicaState::Waiting));
        let fence = Fence::first(1);
        let held = Lease {
            name: "startup".into(),
            holder: Some(one.id.clone()),
            fence,
            since: Millis(0),
            note: String::new(),
        };
        assert_eq!(step(None, &[], &two.id), Step::Acquire { seen: None });
        assert_eq!(
            step(Some(&held), &[one.clone(), two.clone()], &two.id),
            Step::Wait { holder: one.id.clone() }
        );
        let dead = Member { state: ReplicaState::Stopped, ..one.clone() };
        assert_eq!(step(Some(&held), &[dead, two.clone()], &two.id), Step::Acquire { seen: Some(fence) });
        assert_eq!(
            step(Some(&held), std::slice::from_ref(&two), &two.id),
            Step::Acquire { seen: Some(fence) }
        );
        assert_eq!(
            step(Some(&held), std::slice::from_ref(&one), &one.id),
            Step::Acquire { seen: Some(fence) }
        );
        let free = Lease { holder: None, ..held };
        assert_eq!(step(Some(&free), &[one], &two.id), Step::Acquire { seen: Some(fence) });
    }
}

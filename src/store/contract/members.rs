//! Membership: joining, beating, lapsing, and what is noted of a loss.

use model::{Millis, ReplicaState};

use super::support::*;
use crate::{Answer, Load, Member, Store, Write, first_id};

async fn member<S: Store>(store: &S, replica: &str) -> Member {
    let members = store.members().await.unwrap();
    members.into_iter().find(|m| m.id.name.as_str() == replica).unwrap()
}

pub async fn a_member_joins_waiting_and_beats<S: Store>(store: &S) {
    let join = join_as("r-0", 0);
    let Answer::Joined { incarnation, epoch } = ok(store, Write::Join(join.clone())).await else { panic!() };
    assert_eq!(epoch, 1);
    let mut expected = Member {
        id: model::ReplicaId { name: join.name, incarnation },
        ordinal: 0,
        pid: join.pid,
        address: join.address,
        state: ReplicaState::Waiting,
        since: Millis(1_000),
        revision: join.revision,
        version: join.version,
        level: 1,
        behaviour: 1,
        beat: 0,
        load: Load::default(),
    };
    assert_eq!(member(store, "r-0").await, expected);
    let load = Load { builds: 3, agents: 40, busy: 2 };
    assert_eq!(ok(store, Write::Beat { me: expected.id.clone(), load }).await, Answer::Unit);
    (expected.beat, expected.load) = (1, load);
    assert_eq!(member(store, "r-0").await, expected);
}

pub async fn each_beat_raises_the_tick<S: Store>(store: &S) {
    let (a, b) = (join(store, "r-0").await, join(store, "r-1").await);
    for me in [&a, &b, &a] {
        ok(store, beat(me)).await;
    }
    assert_eq!(store.meta().await.unwrap().tick, 3);
    assert_eq!((member(store, "r-0").await.beat, member(store, "r-1").await.beat), (2, 1));
}

pub async fn a_membership_of_a_raised_epoch_has_a_number_that_no_lost_one_had<S: Store>(store: &S) {
    let old = join(store, "r-0").await;
    ok(store, Write::RaiseEpoch { above: 1 }).await;
    let new = join(store, "r-1").await;
    assert!(old.incarnation < first_id(2) && new.incarnation == first_id(2), "{old} {new}");
    ok(store, Write::RaiseEpoch { above: 1 }).await;
    assert_eq!(join(store, "r-2").await.incarnation, first_id(2) + 1);
    ok(store, beat(&old)).await;
}

pub async fn a_replaced_incarnation_is_fenced<S: Store>(store: &S) {
    let old = join(store, "r-0").await;
    ok(store, beat(&old)).await;
    let new = join(store, "r-0").await;
    assert!(new.incarnation > old.incarnation);
    refused(store, beat(&old), "Fenced").await;
    refused(store, Write::SetState { me: old.clone(), state: ReplicaState::Ready, at: Millis(2) }, "Fenced")
        .await;
    ok(store, beat(&new)).await;
    let members = store.members().await.unwrap();
    assert_eq!(members.len(), 1);
    assert_eq!((&members[0].id, members[0].beat), (&new, 1));
}

pub async fn incarnations_are_never_used_twice<S: Store>(store: &S) {
    let mut last = 0;
    for replica in ["r-0", "r-1", "r-0", "r-2", "r-1"] {
        let id = join(store, replica).await;
        assert!(id.incarnation > last);
        last = id.incarnation;
        stop(store, &id).await;
    }
}

pub async fn members_come_by_ordinal_and_name<S: Store>(store: &S) {
    for (replica, ordinal) in [("c", 1), ("b", 1), ("z", 0), ("a", 10)] {
        ok(store, Write::Join(join_as(replica, ordinal))).await;
    }
    let members = store.members().await.unwrap();
    let names: Vec<_> = members.iter().map(|m| m.id.name.as_str()).collect();
    assert_eq!(names, ["z", "b", "c", "a"]);
}

pub async fn a_state_begins_when_it_changes<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    for (state, at, since) in [
        (ReplicaState::Starting, 10, 10),
        (ReplicaState::Starting, 20, 10),
        (ReplicaState::Setup, 30, 30),
        (ReplicaState::Ready, 40, 40),
        (ReplicaState::Draining, 50, 50),
        (ReplicaState::Ready, 60, 60),
    ] {
        assert_eq!(ok(store, Write::SetState { me: me.clone(), state, at: Millis(at) }).await, Answer::Unit);
        let seen = member(store, "r-0").await;
        assert_eq!((seen.state, seen.since), (state, Millis(since)));
        assert!(seen.live());
    }
}

pub async fn a_stopped_member_is_fenced<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    stop(store, &me).await;
    let seen = member(store, "r-0").await;
    assert_eq!((seen.state, seen.since, seen.live()), (ReplicaState::Stopped, Millis(9_000), false));
    refused(store, beat(&me), "Fenced").await;
    refused(store, Write::SetState { me: me.clone(), state: ReplicaState::Ready, at: Millis(1) }, "Fenced")
        .await;
    declined(store, lapse(&me, None)).await;
}

pub async fn a_member_whose_beat_went_on_does_not_lapse<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    ok(store, beat(&me)).await;
    declined(store, lapse(&me, Some(0))).await;
    declined(store, lapse(&me, Some(2))).await;
    assert!(claim(store, lapse(&me, Some(1))).await);
    let seen = member(store, "r-0").await;
    assert_eq!((seen.state, seen.since), (ReplicaState::Stopped, Millis(5_000)));
    declined(store, lapse(&me, Some(1))).await;
    refused(store, beat(&me), "Fenced").await;
    assert!(store.failovers(10).await.unwrap().is_empty(), "it owned nothing");
}

pub async fn only_the_newest_incarnation_lapses<S: Store>(store: &S) {
    let old = join(store, "r-0").await;
    let new = join(store, "r-0").await;
    declined(store, lapse(&old, None)).await;
    let never = model::ReplicaId { incarnation: new.incarnation + 1, ..new.clone() };
    declined(store, lapse(&never, None)).await;
    assert!(claim(store, lapse(&new, None)).await);
}

pub async fn a_lost_owner_is_a_failover<S: Store>(store: &S) {
    let (lost, other) = (join(store, "r-0").await, join(store, "r-1").await);
    pipeline(store, "app").await;
    start(store, "app", &lost).await;
    start(store, "app", &lost).await;
    start(store, "app", &other).await;
    built(store, "app", &lost, model::BuildResult::Success).await;
    assert!(claim(store, lapse(&lost, None)).await);
    let failovers = store.failovers(10).await.unwrap();
    assert_eq!(failovers.len(), 1);
    let row = &failovers[0];
    assert_eq!((&row.replica, row.at, row.builds), (&lost, Millis(5_000), 2));
    assert_eq!((row.adopted, row.resumed), (None, None));
    assert_eq!(store.running(Some(lost.incarnation)).await.unwrap().len(), 2, "they wait for a new owner");
}

pub async fn a_replaced_owner_is_a_failover<S: Store>(store: &S) {
    let lost = join(store, "r-0").await;
    pipeline(store, "app").await;
    start(store, "app", &lost).await;
    ok(store, Write::Join(crate::Join { at: Millis(7_000), ..join_as("r-0", 0) })).await;
    let failovers = store.failovers(10).await.unwrap();
    assert_eq!(failovers.len(), 1);
    assert_eq!((&failovers[0].replica, failovers[0].at, failovers[0].builds), (&lost, Millis(7_000), 1));
    join(store, "r-0").await;
    assert_eq!(store.failovers(10).await.unwrap().len(), 1, "its successor owned nothing");
}

pub async fn a_clean_stop_is_no_failover<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    pipeline(store, "app").await;
    start(store, "app", &me).await;
    stop(store, &me).await;
    declined(store, lapse(&me, None)).await;
    join(store, "r-0").await;
    assert!(store.failovers(10).await.unwrap().is_empty());
    assert_eq!(store.running(Some(me.incarnation)).await.unwrap().len(), 1);
}

pub async fn a_failover_keeps_the_latest_moments<S: Store>(store: &S) {
    let lost = join(store, "r-0").await;
    pipeline(store, "app").await;
    start(store, "app", &lost).await;
    let note = |adopted: Option<i64>, resumed: Option<i64>| Write::NoteFailover {
        lost: lost.incarnation,
        adopted_at: adopted.map(Millis),
        resumed_at: resumed.map(Millis),
    };
    assert_eq!(ok(store, note(Some(6_000), None)).await, Answer::Unit);
    assert!(store.failovers(10).await.unwrap().is_empty(), "nothing was lost yet");
    ok(store, lapse(&lost, None)).await;
    for (adopted, resumed, expected) in [
        (Some(4_000), None, (Some(0), None)),
        (Some(6_000), None, (Some(1_000), None)),
        (Some(5_500), Some(5_900), (Some(1_000), Some(900))),
        (None, Some(7_000), (Some(1_000), Some(2_000))),
        (None, Some(6_999), (Some(1_000), Some(2_000))),
    ] {
        assert_eq!(ok(store, note(adopted, resumed)).await, Answer::Unit);
        let row = store.failovers(10).await.unwrap().remove(0);
        assert_eq!((row.adopted, row.resumed), expected);
    }
}

pub async fn failovers_come_newest_first<S: Store>(store: &S) {
    pipeline(store, "app").await;
    let mut lost = Vec::new();
    for (replica, at) in [("r-0", 300), ("r-1", 100), ("r-2", 300), ("r-3", 200)] {
        let id = join(store, replica).await;
        start(store, "app", &id).await;
        ok(store, Write::Lapse { who: id.clone(), beat: None, at: Millis(at) }).await;
        lost.push(id);
    }
    let order = |rows: Vec<crate::Failover>| rows.into_iter().map(|f| f.replica).collect::<Vec<_>>();
    let all = [&lost[2], &lost[0], &lost[3], &lost[1]].map(Clone::clone);
    assert_eq!(order(store.failovers(10).await.unwrap()), all);
    assert_eq!(order(store.failovers(2).await.unwrap()), all[..2]);
}

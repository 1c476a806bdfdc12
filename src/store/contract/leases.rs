//! Leases: one live holder, and a fence that only rises.

use model::{Fence, Millis, ReplicaId};

use super::support::*;
use crate::{Answer, Lease, MAX_NOTE, Store, Write};

fn acquire(me: &ReplicaId, seen: Option<Fence>) -> Write {
    Write::AcquireLease { lease: "startup".into(), me: me.clone(), seen, at: Millis(100) }
}

async fn acquired<S: Store>(store: &S, me: &ReplicaId, seen: Option<Fence>) -> Option<Fence> {
    match ok(store, acquire(me, seen)).await {
        Answer::Acquired(fence) => fence,
        other => panic!("{other:?}"),
    }
}

fn note(me: &ReplicaId, fence: Fence, note: &str) -> Write {
    Write::NoteLease { lease: "startup".into(), me: me.clone(), fence, note: note.into() }
}

async fn noted<S: Store>(store: &S) -> String {
    store.leases().await.unwrap()[0].note.clone()
}

/// Not taken, and nothing changed.
async fn not_acquired<S: Store>(store: &S, me: &ReplicaId, seen: Option<Fence>) {
    let before = picture(store).await;
    assert_eq!(acquired(store, me, seen).await, None);
    assert_eq!(picture(store).await, before);
}

fn release(me: &ReplicaId, fence: Fence) -> Write {
    Write::ReleaseLease { lease: "startup".into(), me: me.clone(), fence }
}

pub async fn only_one_live_member_holds_a_lease<S: Store>(store: &S) {
    let (a, b) = (join(store, "r-0").await, join(store, "r-1").await);
    let fence = acquired(store, &a, None).await.unwrap();
    assert_eq!(fence, Fence::first(1));
    not_acquired(store, &b, None).await;
    not_acquired(store, &b, Some(fence)).await;
    let expected =
        Lease { name: "startup".into(), holder: Some(a), fence, since: Millis(100), note: String::new() };
    assert_eq!(store.leases().await.unwrap(), [expected]);
}

pub async fn a_lease_of_a_stopped_holder_can_be_taken<S: Store>(store: &S) {
    let (a, b) = (join(store, "r-0").await, join(store, "r-1").await);
    let first = acquired(store, &a, None).await.unwrap();
    ok(store, lapse(&a, None)).await;
    let second = acquired(store, &b, Some(first)).await.unwrap();
    assert_eq!(second, first.next(1));
    declined(store, release(&a, first)).await;
    assert_eq!(store.leases().await.unwrap()[0].holder, Some(b));
}

pub async fn a_lease_of_a_replaced_holder_can_be_taken<S: Store>(store: &S) {
    let old = join(store, "r-0").await;
    let first = acquired(store, &old, None).await.unwrap();
    let new = join(store, "r-0").await;
    assert_eq!(acquired(store, &new, Some(first)).await, Some(first.next(1)));
}

pub async fn a_lease_is_not_taken_with_an_old_fence<S: Store>(store: &S) {
    let (a, b) = (join(store, "r-0").await, join(store, "r-1").await);
    not_acquired(store, &a, Some(Fence::first(1))).await;
    let first = acquired(store, &a, None).await.unwrap();
    stop(store, &a).await;
    not_acquired(store, &b, None).await;
    not_acquired(store, &b, Some(first.next(1))).await;
    assert!(acquired(store, &b, Some(first)).await.is_some());
}

pub async fn a_holder_that_asks_again_keeps_its_fence<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    let fence = acquired(store, &me, None).await.unwrap();
    not_acquired(store, &me, None).await;
    let before = picture(store).await;
    assert_eq!(acquired(store, &me, Some(fence)).await, Some(fence));
    assert_eq!(picture(store).await, before);
}

pub async fn a_released_lease_can_be_taken_under_the_next_fence<S: Store>(store: &S) {
    let (a, b) = (join(store, "r-0").await, join(store, "r-1").await);
    let first = acquired(store, &a, None).await.unwrap();
    assert!(claim(store, release(&a, first)).await);
    let free =
        Lease { name: "startup".into(), holder: None, fence: first, since: Millis(100), note: String::new() };
    assert_eq!(store.leases().await.unwrap(), [free]);
    declined(store, release(&a, first)).await;
    assert_eq!(acquired(store, &b, Some(first)).await, Some(first.next(1)));
}

pub async fn a_lease_is_released_only_under_its_fence<S: Store>(store: &S) {
    let (a, b) = (join(store, "r-0").await, join(store, "r-1").await);
    declined(store, release(&a, Fence::first(1))).await;
    let fence = acquired(store, &a, None).await.unwrap();
    declined(store, release(&a, fence.next(1))).await;
    declined(store, release(&b, fence)).await;
    stop(store, &a).await;
    assert!(claim(store, release(&a, fence)).await, "who has stopped may still let go");
}

pub async fn a_member_that_does_not_live_gets_no_lease<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    let fence = acquired(store, &me, None).await.unwrap();
    stop(store, &me).await;
    refused(store, acquire(&me, Some(fence)), "Fenced").await;
    let nobody = ReplicaId { incarnation: 99, ..me };
    refused(store, acquire(&nobody, Some(fence)), "Fenced").await;
}

pub async fn a_raised_epoch_shows_in_the_next_fence<S: Store>(store: &S) {
    let (a, b) = (join(store, "r-0").await, join(store, "r-1").await);
    let first = acquired(store, &a, None).await.unwrap();
    ok(store, Write::RaiseEpoch { above: 4 }).await;
    stop(store, &a).await;
    assert_eq!(acquired(store, &b, Some(first)).await, Some(Fence::first(5)));
}

pub async fn leases_come_by_name<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    for lease in ["rollout", "cron", "startup"] {
        ok(store, Write::AcquireLease { lease: lease.into(), me: me.clone(), seen: None, at: Millis(1) })
            .await;
    }
    let names: Vec<_> = store.leases().await.unwrap().into_iter().map(|l| l.name).collect();
    assert_eq!(names, ["cron", "rollout", "startup"]);
}

pub async fn what_a_holder_leaves_is_there_for_the_next<S: Store>(store: &S) {
    let (a, b) = (join(store, "r-0").await, join(store, "r-1").await);
    let first = acquired(store, &a, None).await.unwrap();
    assert_eq!(noted(store).await, "");
    for text in ["half", "all"] {
        assert_eq!(ok(store, note(&a, first, text)).await, Answer::Unit);
        assert_eq!(noted(store).await, text);
    }
    assert!(claim(store, release(&a, first)).await);
    assert_eq!(noted(store).await, "all");
    let second = acquired(store, &b, Some(first)).await.unwrap();
    assert_eq!(noted(store).await, "all");
    stop(store, &b).await;
    acquired(store, &a, Some(second)).await.unwrap();
    assert_eq!(noted(store).await, "all");
}

pub async fn who_does_not_hold_a_lease_leaves_nothing<S: Store>(store: &S) {
    let (a, b) = (join(store, "r-0").await, join(store, "r-1").await);
    refused(store, note(&a, Fence::first(1), "x"), "Fenced").await;
    let fence = acquired(store, &a, None).await.unwrap();
    refused(store, note(&b, fence, "x"), "Fenced").await;
    refused(store, note(&a, fence.next(1), "x"), "Fenced").await;
    refused(store, note(&a, fence, &"x".repeat(MAX_NOTE + 1)), "Limit").await;
    stop(store, &a).await;
    refused(store, note(&a, fence, "x"), "Fenced").await;
    let next = acquired(store, &b, Some(fence)).await.unwrap();
    refused(store, note(&a, fence, "x"), "Fenced").await;
    assert_eq!((noted(store).await.as_str(), store.leases().await.unwrap()[0].fence), ("", next));
}

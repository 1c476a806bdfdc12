//! Taking over a build, and what reaches it from outside.

use model::{BuildId, BuildResult, Fence, ReplicaId};

use super::support::*;
use crate::{Adopted, Answer, Effect, Error, InboxRow, Store, Write};

fn adopt(build: &Driver, seen: Fence, owner: &ReplicaId) -> Write {
    Write::Adopt { build: build.build, seen, owner: owner.clone() }
}

fn deliver(build: BuildId, key: &str) -> Write {
    Write::Deliver { build, key: key.into(), body: format!("{{\"key\":\"{key}\"}}") }
}

async fn two_replicas_and_a_build<S: Store>(store: &S) -> (ReplicaId, ReplicaId, Driver) {
    let (a, b) = (join(store, "r-0").await, join(store, "r-1").await);
    pipeline(store, "app").await;
    let build = start(store, "app", &a).await;
    (a, b, build)
}

pub async fn a_new_owner_goes_on_under_the_next_fence<S: Store>(store: &S) {
    let (a, b, mut build) = two_replicas_and_a_build(store).await;
    build.journal(store, &["r"]).await;
    build.say(store, "hello\n").await;
    ok(store, lapse(&a, None)).await;
    let fence = build.fence.next(1);
    let answer = ok(store, adopt(&build, build.fence, &b)).await;
    assert_eq!(answer, Answer::Adopted(Adopted { fence, seq: 2, log_end: 6 }));
    let row = store.running(Some(b.incarnation)).await.unwrap().remove(0);
    assert_eq!((row.build, row.fence, row.seq, row.log_end), (build.build, fence, 2, 6));
    (build.owner, build.fence) = (b.incarnation, fence);
    build.journal(store, &["s"]).await;
    build.finish(store, BuildResult::Success).await;
}

pub async fn the_former_owner_is_fenced<S: Store>(store: &S) {
    let (a, b, build) = two_replicas_and_a_build(store).await;
    ok(store, adopt(&build, build.fence, &b)).await;
    let current = Some(build.fence.next(1));
    let error = build.refused(store, build.progress(), "Fenced").await;
    assert_eq!(error, Error::Fenced { current });
    assert!(store.running(Some(a.incarnation)).await.unwrap().is_empty());
}

pub async fn an_adoption_done_again_answers_the_same<S: Store>(store: &S) {
    let (_, b, build) = two_replicas_and_a_build(store).await;
    let first = ok(store, adopt(&build, build.fence, &b)).await;
    let before = picture(store).await;
    assert_eq!(ok(store, adopt(&build, build.fence, &b)).await, first);
    assert_eq!(picture(store).await, before);
    let own = build.fence.next(1);
    let answer = ok(store, adopt(&build, own, &b)).await;
    assert_eq!(answer, Answer::Adopted(Adopted { fence: own.next(1), seq: 0, log_end: 0 }), "its own, anew");
    refused(store, adopt(&build, build.fence, &b), "Fenced").await;
}

pub async fn only_one_adopts<S: Store>(store: &S) {
    let (a, b, build) = two_replicas_and_a_build(store).await;
    let c = join(store, "r-2").await;
    ok(store, lapse(&a, None)).await;
    ok(store, adopt(&build, build.fence, &b)).await;
    refused(store, adopt(&build, build.fence, &c), "Fenced").await;
    refused(store, adopt(&build, build.fence.next(1).next(1), &c), "Fenced").await;
    let unknown = Driver { build: BuildId(99), ..build };
    refused(store, adopt(&unknown, unknown.fence, &c), "Fenced").await;
}

pub async fn who_does_not_live_does_not_adopt<S: Store>(store: &S) {
    let (_, b, build) = two_replicas_and_a_build(store).await;
    stop(store, &b).await;
    refused(store, adopt(&build, build.fence, &b), "Fenced").await;
    let new = join(store, "r-1").await;
    refused(store, adopt(&build, build.fence, &b), "Fenced").await;
    ok(store, adopt(&build, build.fence, &new)).await;
}

pub async fn an_ended_build_is_not_adopted<S: Store>(store: &S) {
    let (_, b, mut build) = two_replicas_and_a_build(store).await;
    build.finish(store, BuildResult::Success).await;
    refused(store, adopt(&build, build.fence, &b), "Fenced").await;
}

pub async fn adoption_after_a_raised_epoch_shows_it<S: Store>(store: &S) {
    let (_, b, build) = two_replicas_and_a_build(store).await;
    ok(store, Write::RaiseEpoch { above: 1 }).await;
    let answer = ok(store, adopt(&build, build.fence, &b)).await;
    assert_eq!(answer, Answer::Adopted(Adopted { fence: Fence::first(2), seq: 0, log_end: 0 }));
    assert_eq!(ok(store, adopt(&build, build.fence, &b)).await, answer);
}

pub async fn a_key_is_delivered_once<S: Store>(store: &S) {
    let (a, _, build) = two_replicas_and_a_build(store).await;
    let other = start(store, "app", &a).await;
    assert!(claim(store, deliver(build.build, "abort")).await);
    declined(store, Write::Deliver { build: build.build, key: "abort".into(), body: "other".into() }).await;
    assert!(claim(store, deliver(other.build, "abort")).await);
    let row = InboxRow { key: "abort".into(), body: "{\"key\":\"abort\"}".into() };
    assert_eq!(store.inbox(build.build).await.unwrap(), [row]);
}

pub async fn a_consumed_key_stays_taken<S: Store>(store: &S) {
    let (_, _, mut build) = two_replicas_and_a_build(store).await;
    ok(store, deliver(build.build, "input:1")).await;
    ok(store, deliver(build.build, "input:2")).await;
    let consume = |key: &str| Effect::Consume { key: key.into() };
    build.effects(store, [consume("input:1"), consume("none")]).await;
    let keys: Vec<_> = store.inbox(build.build).await.unwrap().into_iter().map(|row| row.key).collect();
    assert_eq!(keys, ["input:2"]);
    declined(store, deliver(build.build, "input:1")).await;
    build.effects(store, [consume("input:1")]).await;
    assert!(claim(store, deliver(build.build, "none")).await, "nothing was consumed under it");
}

pub async fn deliveries_come_in_order<S: Store>(store: &S) {
    let (_, _, build) = two_replicas_and_a_build(store).await;
    let keys = ["z", "a", "m", "Z", "10", "9"];
    for key in keys {
        assert!(claim(store, deliver(build.build, key)).await);
    }
    let read: Vec<_> = store.inbox(build.build).await.unwrap().into_iter().map(|row| row.key).collect();
    assert_eq!(read, keys);
}

pub async fn nothing_is_delivered_to_an_ended_build<S: Store>(store: &S) {
    let (_, _, mut build) = two_replicas_and_a_build(store).await;
    build.finish(store, BuildResult::Success).await;
    refused(store, deliver(build.build, "abort"), "NotFound").await;
    refused(store, deliver(BuildId(99), "abort"), "NotFound").await;
}

pub async fn builds_with_an_inbox_are_found_by_owner<S: Store>(store: &S) {
    let (a, b, mut first) = two_replicas_and_a_build(store).await;
    let second = start(store, "app", &a).await;
    let third = start(store, "app", &b).await;
    start(store, "app", &a).await;
    for (build, key) in [(&second, "x"), (&third, "x"), (&first, "x"), (&first, "y")] {
        ok(store, deliver(build.build, key)).await;
    }
    assert_eq!(store.with_inbox(a.incarnation).await.unwrap(), [first.build, second.build]);
    assert_eq!(store.with_inbox(b.incarnation).await.unwrap(), [third.build]);
    first.effects(store, ["x", "y"].map(|key| Effect::Consume { key: key.into() })).await;
    ok(store, adopt(&second, second.fence, &b)).await;
    assert!(store.with_inbox(a.incarnation).await.unwrap().is_empty());
    assert_eq!(store.with_inbox(b.incarnation).await.unwrap(), [second.build, third.build]);
}

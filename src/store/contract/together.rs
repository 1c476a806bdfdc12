//! Writes that are under way at the same time: whatever the store groups, each is as if it were alone.

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use model::{Fence, Millis, ParamValue, ReplicaId};

use super::support::*;
use crate::{Answer, Effect, Enqueue, Error, ItemKind, Progress, Result, Store, Taken, Write};

/// What is under way.
pub(super) type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Waits for all of them at once; what they give, in their order.
pub(super) async fn all<T>(mut pending: Vec<Pending<'_, T>>) -> Vec<T> {
    let mut done: Vec<Option<T>> = pending.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (future, done) in pending.iter_mut().zip(&mut done) {
            if done.is_none()
                && let Poll::Ready(ready) = future.as_mut().poll(context)
            {
                *done = Some(ready);
            }
        }
        if done.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

/// Writes all of them at once; the answers in the order of the writes.
pub(super) async fn together<S: Store>(store: &S, writes: Vec<Write>) -> Vec<Result<Answer>> {
    all(writes.into_iter().map(|w| store.write(w)).collect()).await
}

pub async fn one_of_many_gets_a_name<S: Store>(store: &S) {
    for item in ["a", "b"] {
        pipeline(store, item).await;
    }
    let rename = |item: &str| Write::RenameItem { name: name(item), to: name("C") };
    let answers = together(store, vec![rename("a"), create("c", ItemKind::Folder), rename("b")]).await;
    assert_eq!(answers.iter().filter(|a| a.is_ok()).count(), 1, "{answers:?}");
    assert!(answers.iter().all(|a| matches!(a, Ok(_) | Err(Error::Exists(_)))), "{answers:?}");
}

async fn members<S: Store>(store: &S, count: usize) -> Vec<ReplicaId> {
    let mut members = Vec::new();
    for n in 0..count {
        members.push(join(store, &format!("r-{n}")).await);
    }
    members
}

pub async fn one_of_many_takes_a_lease<S: Store>(store: &S) {
    let members = members(store, 8).await;
    let mut seen = None;
    for _ in 0..3 {
        let acquire = |me: &ReplicaId| Write::AcquireLease {
            lease: "cron".into(),
            me: me.clone(),
            seen,
            at: Millis(1),
        };
        let answers = together(store, members.iter().map(acquire).collect()).await;
        let won: Vec<Fence> = answers
            .into_iter()
            .filter_map(|answer| match answer {
                Ok(Answer::Acquired(fence)) => fence,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(won.len(), 1);
        let lease = store.leases().await.unwrap().remove(0);
        assert_eq!(lease.fence, won[0]);
        let release =
            Write::ReleaseLease { lease: "cron".into(), me: lease.holder.unwrap(), fence: lease.fence };
        assert!(claim(store, release).await);
        seen = Some(lease.fence);
    }
}

pub async fn one_of_many_takes_a_build<S: Store>(store: &S) {
    let members = members(store, 8).await;
    pipeline(store, "app").await;
    let id = enqueue(store, want("app")).await;
    let answers = together(store, members.iter().map(|me| take(id, me)).collect()).await;
    let taken = answers.iter().filter(|answer| matches!(answer, Ok(Answer::Taken(_)))).count();
    let missed = answers.iter().filter(|answer| matches!(answer, Err(Error::NotFound(_)))).count();
    assert_eq!((taken, missed), (1, 7), "{answers:?}");
    assert_eq!(store.running(None).await.unwrap().len(), 1);
}

pub async fn equal_items_enqueued_at_once_are_one<S: Store>(store: &S) {
    pipeline(store, "app").await;
    let by = |n: usize| Write::Enqueue(Enqueue { causes: vec![user(&format!("u{n}"))], ..want("app") });
    let answers = together(store, (0..8).map(by).collect()).await;
    let new =
        answers.iter().filter(|answer| matches!(answer, Ok(Answer::Queued { existing: false, .. }))).count();
    assert_eq!(new, 1, "{answers:?}");
    let queue = store.queue().await.unwrap();
    assert_eq!((queue.len(), queue[0].causes.len()), (1, 8));
}

pub async fn builds_taken_at_once_have_numbers_without_gap<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    pipeline(store, "app").await;
    let item = |n: usize| {
        let params = BTreeMap::from([("n".to_owned(), ParamValue::Text(n.to_string()))]);
        Write::Enqueue(Enqueue { params, ..want("app") })
    };
    let queued = together(store, (0..40).map(item).collect()).await;
    let takes = queued.into_iter().map(|answer| match answer {
        Ok(Answer::Queued { id, existing: false }) => take(id, &me),
        other => panic!("{other:?}"),
    });
    let mut numbers = BTreeSet::new();
    for answer in together(store, takes.collect()).await {
        let Ok(Answer::Taken(Taken { number, .. })) = answer else { panic!("{answer:?}") };
        numbers.insert(number);
    }
    assert_eq!(numbers, (1..=40).collect());
    let item = store.item(&name("app")).await.unwrap().unwrap().summary;
    assert_eq!((item.next_build, item.running), (41, 40));
}

pub async fn one_of_many_gets_an_executor<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    linked_node(store, "mac", 1, &me).await;
    pipeline(store, "app").await;
    let mut build = start(store, "app", &me).await;
    let wait = |n: usize| Effect::WaitNode { step: n.to_string(), label: None, since: Millis(1) };
    build.effects(store, (0..8).map(wait)).await;
    let waits = store.waits().await.unwrap();
    let grant = |wait: i64| Write::Grant { wait, node: node_name("mac"), slot: 0, body: String::new() };
    let answers = together(store, waits.iter().map(|wait| grant(wait.id)).collect()).await;
    assert_eq!(answers.iter().filter(|answer| **answer == Ok(Answer::Bool(true))).count(), 1, "{answers:?}");
    assert_eq!(store.waits().await.unwrap().len(), 7);
    assert_eq!((store.busy().await.unwrap().len(), store.inbox(build.build).await.unwrap().len()), (1, 1));
}

/// Companions of a refused write commit, and each build's own writes keep their order.
pub async fn a_refused_write_takes_no_other_with_it<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    pipeline(store, "app").await;
    let mut builds = Vec::new();
    for _ in 0..6 {
        builds.push(start(store, "app", &me).await);
    }
    let write = |(n, build): (usize, &Driver)| {
        let said = Progress { chunks: vec![chunk(0, "1", 0, "line\n")], log_end: 5, ..build.progress() };
        Write::Progress(Box::new(match n {
            1 => Progress { seq: 9, ..said },
            3 => Progress { log_end: 6, ..said },
            4 => Progress { fence: build.fence.next(1), ..said },
            _ => said,
        }))
    };
    let mut writes: Vec<Write> = builds.iter().enumerate().map(write).collect();
    writes.insert(2, Write::DeleteItem { name: name("none") });
    let answers = together(store, writes).await;
    let reasons: Vec<&str> =
        answers.iter().map(|a| a.as_ref().map_or_else(Error::reason, |_| "done")).collect();
    assert_eq!(reasons, ["done", "Fenced", "NotFound", "done", "Corrupt", "Fenced", "done"]);
    for (build, end) in builds.iter().zip([5, 0, 5, 0, 0, 5]) {
        assert_eq!(store.log(build.build, 0, 100).await.unwrap().unwrap().end, end);
    }
}

pub async fn an_adoption_and_a_write_at_once_are_one_after_the_other<S: Store>(store: &S) {
    let (a, b) = (join(store, "r-0").await, join(store, "r-1").await);
    pipeline(store, "app").await;
    for round in 0..6 {
        let build = start(store, "app", &a).await;
        let said = Progress { chunks: vec![chunk(0, "1", 0, "line\n")], log_end: 5, ..build.progress() };
        let mut writes = vec![
            Write::Progress(Box::new(said)),
            Write::Adopt { build: build.build, seen: build.fence, owner: b.clone() },
        ];
        if round % 2 == 1 {
            writes.reverse();
        }
        let answers = together(store, writes).await;
        let adopted = answers.iter().find_map(|answer| match answer {
            Ok(Answer::Adopted(adopted)) => Some(adopted.clone()),
            _ => None,
        });
        let adopted = adopted.unwrap();
        let written = answers.contains(&Ok(Answer::Unit));
        assert!(
            written || answers.contains(&Err(Error::Fenced { current: Some(adopted.fence) })),
            "{answers:?}"
        );
        assert_eq!((adopted.seq, adopted.log_end), if written { (1, 5) } else { (0, 0) });
        assert_eq!(store.log(build.build, 0, 100).await.unwrap().unwrap().end, adopted.log_end);
    }
}

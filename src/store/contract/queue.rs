//! The queue.

use std::collections::BTreeMap;

use model::{Cause, Millis, ParamValue, QueueId};

use super::support::*;
use crate::{Answer, Enqueue, Left, QueueItem, Store, Write};

fn cancel(id: QueueId) -> Write {
    Write::CancelQueued { id, at: Millis(2_600) }
}

fn params(pairs: &[(&str, ParamValue)]) -> BTreeMap<String, ParamValue> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
}

pub async fn an_item_waits_until_it_is_cancelled<S: Store>(store: &S) {
    pipeline(store, "app").await;
    let given = params(&[("fast", ParamValue::Flag(true)), ("who", ParamValue::Text("Ä \"x\"".into()))]);
    let causes = vec![
        user("ann"),
        Cause::Remote { address: "10.0.0.1".into(), note: None },
        Cause::Upstream { job: "lib".into(), number: 4 },
    ];
    let wanted = Enqueue { params: given.clone(), causes: causes.clone(), ..want("app") };
    let Answer::Queued { id, existing: false } = ok(store, Write::Enqueue(wanted)).await else { panic!() };
    let mut expected = QueueItem {
        kind: crate::ItemKind::Pipeline,
        id,
        job: name("app"),
        params: given,
        causes,
        since: Millis(2_000),
        buildable_at: Millis(2_500),
        left: None,
    };
    assert_eq!(store.queue().await.unwrap(), [expected.clone()]);
    assert_eq!(store.queue_item(id).await.unwrap(), Some(expected.clone()));
    assert!(claim(store, cancel(id)).await);
    assert!(store.queue().await.unwrap().is_empty());
    expected.left = Some(Left::Cancelled);
    assert_eq!(store.queue_item(id).await.unwrap(), Some(expected));
    declined(store, cancel(id)).await;
    declined(store, cancel(QueueId(id.0 + 1))).await;
}

pub async fn an_equal_item_is_folded<S: Store>(store: &S) {
    pipeline(store, "app").await;
    let id = enqueue(store, want("app")).await;
    for (causes, at, buildable_at, joined, earliest) in [
        (vec![user("bob")], 2_100, 3_000, vec![user("ann"), user("bob")], 2_500),
        (vec![user("ann"), user("eve")], 2_200, 2_200, vec![user("ann"), user("bob"), user("eve")], 2_200),
        (vec![], 2_300, 2_400, vec![user("ann"), user("bob"), user("eve")], 2_200),
    ] {
        let again = Enqueue { causes, at: Millis(at), buildable_at: Millis(buildable_at), ..want("app") };
        assert_eq!(ok(store, Write::Enqueue(again)).await, Answer::Queued { id, existing: true });
        let item = store.queue_item(id).await.unwrap().unwrap();
        assert_eq!((item.causes, item.buildable_at, item.since), (joined, Millis(earliest), Millis(2_000)));
    }
    assert_eq!(store.queue().await.unwrap().len(), 1);
}

pub async fn the_causes_of_an_item_are_bounded<S: Store>(store: &S) {
    pipeline(store, "app").await;
    let id = enqueue(store, want("app")).await;
    for number in 1..=40 {
        let causes = vec![Cause::Upstream { job: "lib".into(), number }];
        ok(store, Write::Enqueue(Enqueue { causes, ..want("app") })).await;
    }
    let causes = store.queue_item(id).await.unwrap().unwrap().causes;
    assert_eq!(causes[..2], [user("ann"), Cause::More { count: 22 }]);
    assert_eq!(
        causes[2..],
        (23..=40).map(|number| Cause::Upstream { job: "lib".into(), number }).collect::<Vec<_>>()
    );
}

pub async fn other_parameters_are_another_item<S: Store>(store: &S) {
    pipeline(store, "app").await;
    pipeline(store, "lib").await;
    let mut ids = vec![enqueue(store, want("app")).await, enqueue(store, want("lib")).await];
    for value in [ParamValue::Flag(true), ParamValue::Text("true".into()), ParamValue::Text(String::new())] {
        ids.push(enqueue(store, Enqueue { params: params(&[("p", value)]), ..want("app") }).await);
    }
    let waiting: Vec<_> = store.queue().await.unwrap().into_iter().map(|q| q.id).collect();
    assert_eq!(waiting, ids);
}

pub async fn an_item_that_left_is_not_folded<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    pipeline(store, "app").await;
    let first = enqueue(store, want("app")).await;
    ok(store, cancel(first)).await;
    let second = enqueue(store, want("app")).await;
    ok(store, take(second, &me)).await;
    let third = enqueue(store, want("app")).await;
    assert!(first < second && second < third);
    declined(store, cancel(second)).await;
}

pub async fn what_is_not_buildable_is_not_queued<S: Store>(store: &S) {
    folder(store, "f").await;
    pipeline(store, "app").await;
    refused(store, Write::Enqueue(want("none")), "NotFound").await;
    refused(store, Write::Enqueue(want("APP")), "NotFound").await;
    refused(store, Write::Enqueue(want("f")), "Conflict").await;
    ok(store, Write::ConfigureItem { name: name("app"), config: "<x/>".into(), disabled: true }).await;
    let error = refused(store, Write::Enqueue(want("app")), "Conflict").await;
    assert!(error.to_string().ends_with("is disabled"), "{error}");
    ok(store, Write::ConfigureItem { name: name("app"), config: "<x/>".into(), disabled: false }).await;
    enqueue(store, want("app")).await;
}

pub async fn items_come_oldest_first<S: Store>(store: &S) {
    let mut ids = Vec::new();
    for (job, at) in [("c", 30), ("a", 20), ("b", 10)] {
        pipeline(store, job).await;
        ids.push(enqueue(store, Enqueue { at: Millis(at), ..want(job) }).await);
    }
    assert!(ids.is_sorted());
    let waiting: Vec<_> = store.queue().await.unwrap().into_iter().map(|q| q.id).collect();
    assert_eq!(waiting, ids, "whatever the wall clock says");
}

pub async fn what_left_is_kept_until_it_is_forgotten<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    for job in ["a", "b", "c"] {
        pipeline(store, job).await;
    }
    let cancelled = enqueue(store, want("a")).await;
    ok(store, cancel(cancelled)).await;
    let taken = enqueue(store, want("b")).await;
    ok(store, take(taken, &me)).await;
    let waits = enqueue(store, want("c")).await;
    for (before, kept) in [
        (2_600, [true, true, true]),
        (2_601, [false, true, true]),
        (3_000, [false, true, true]),
        (9_999, [false, false, true]),
    ] {
        assert_eq!(ok(store, Write::ForgetLeft { before: Millis(before) }).await, Answer::Unit);
        for (id, kept) in [cancelled, taken, waits].into_iter().zip(kept) {
            assert_eq!(store.queue_item(id).await.unwrap().is_some(), kept, "{id:?} before {before}");
        }
    }
}

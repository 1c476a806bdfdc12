//! The home itself: identity, epoch.

use super::support::*;
use crate::{Answer, MAX_EPOCH, Store, Write};

pub async fn a_new_home_has_no_controller<S: Store>(store: &S) {
    let meta = store.meta().await.unwrap();
    assert_eq!((meta.controller.as_str(), meta.level, meta.epoch, meta.tick), ("", 1, 1, 0));
    assert!(store.members().await.unwrap().is_empty());
    assert!(store.queue().await.unwrap().is_empty());
    assert!(store.garbage(10).await.unwrap().is_empty());
}

pub async fn the_first_identity_stays<S: Store>(store: &S) {
    for brought in ["acme", "other", "acme"] {
        let answer = ok(store, Write::Identify { controller: brought.into() }).await;
        assert_eq!(answer, Answer::Controller("acme".into()));
    }
    assert_eq!(store.meta().await.unwrap().controller, "acme");
}

pub async fn the_epoch_only_rises<S: Store>(store: &S) {
    for (above, epoch) in [(0, 1), (1, 2), (1, 2), (6, 7), (3, 7)] {
        assert_eq!(ok(store, Write::RaiseEpoch { above }).await, Answer::Epoch(epoch));
        assert_eq!(store.meta().await.unwrap().epoch, epoch);
    }
    match ok(store, Write::Join(join_as("r-0", 0))).await {
        Answer::Joined { epoch, .. } => assert_eq!(epoch, 7),
        other => panic!("{other:?}"),
    }
}

pub async fn an_epoch_that_no_fence_can_show_is_refused<S: Store>(store: &S) {
    refused(store, Write::RaiseEpoch { above: MAX_EPOCH }, "Limit").await;
    refused(store, Write::RaiseEpoch { above: u32::MAX }, "Limit").await;
    assert_eq!(ok(store, Write::RaiseEpoch { above: MAX_EPOCH - 1 }).await, Answer::Epoch(MAX_EPOCH));
}

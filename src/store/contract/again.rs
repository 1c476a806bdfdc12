//! What a writer does that does not know whether its write was committed: the same once more.

use super::life::{kind, live};
use super::support::*;
use crate::{Answer, Store, Write};

pub async fn a_write_done_again_changes_nothing<S: Store>(store: &S) {
    live(store, async |write: Write| {
        let first = ok(store, write.clone()).await;
        match &write {
            Write::Join(_) | Write::Beat { .. } | Write::LinkUp { .. } | Write::ConfigureItem { .. } => {
                return first;
            }
            _ => {}
        }
        let before = picture(store).await;
        let second = store.write(write.clone()).await;
        assert_eq!(picture(store).await, before, "{} once more changed something", kind(&write));
        if let (Write::TakeBuild { .. } | Write::Adopt { .. }, Ok(second)) = (&write, &second) {
            assert_eq!(*second, first, "{} once more", kind(&write));
        }
        let known = matches!(&write, Write::TakeBuild { .. } | Write::Adopt { .. } | Write::Identify { .. });
        assert!(second.is_ok() || !known, "{}: {second:?}", kind(&write));
        first
    })
    .await;
    assert!(matches!(store.running(None).await, Ok(rows) if rows.is_empty()));
    assert_eq!(
        ok(store, Write::Identify { controller: "x".into() }).await,
        Answer::Controller("acme".into())
    );
}

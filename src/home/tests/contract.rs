//! The contract of a store, told to both engines, and that of objects, told to the folder, the table and a bucket.

#![allow(clippy::unwrap_used, reason = "these are tests")]

#[path = "../../../tests/support/postgres.rs"]
mod postgres;
#[path = "../../../tests/support/s3.rs"]
mod s3;

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use home::Home;
use postgres::Server;
use tempfile::TempDir;

/// The server of all tests of this binary; it ends with the process (by the kernel, statics are not dropped).
static SERVER: LazyLock<Option<Mutex<Server>>> = LazyLock::new(|| Server::start().map(Mutex::new));

fn database() -> Option<String> {
    let server = SERVER.as_ref()?;
    Some(server.lock().unwrap_or_else(PoisonError::into_inner).database())
}

/// What objects are behind a pointer for, the suite wants by value.
struct Objects(Arc<dyn store::Objects>);

#[async_trait::async_trait]
impl store::Objects for Objects {
    async fn put(&self, key: &str, bytes: bytes::Bytes) -> store::Result<()> {
        self.0.put(key, bytes).await
    }

    async fn upload(&self, key: &str) -> store::Result<Box<dyn store::Upload>> {
        self.0.upload(key).await
    }

    async fn get(&self, key: &str, from: u64, max: usize) -> store::Result<Option<bytes::Bytes>> {
        self.0.get(key, from, max).await
    }

    async fn delete(&self, key: &str) -> store::Result<()> {
        self.0.delete(key).await
    }

    async fn keep_only(&self, prefix: &str, keep: &std::collections::BTreeSet<String>) -> store::Result<()> {
        self.0.keep_only(prefix, keep).await
    }
}

mod sqlite {
    use super::*;

    async fn fresh() -> Option<(Home, TempDir)> {
        let dir = TempDir::new().unwrap();
        let url = format!("sqlite:{}", dir.path().join("home.db").display());
        Some((::home::open(&url, None).await.unwrap(), dir))
    }

    async fn fresh_objects() -> Option<(Objects, TempDir)> {
        let (home, dir) = fresh().await?;
        Some((Objects(store::Store::objects(&home)), dir))
    }

    store::contract_suite!(fresh);
    store::contract_suite_of_objects!(fresh_objects);
}

mod postgresql {
    use super::*;

    async fn fresh() -> Option<(Home, ())> {
        let url = tokio::task::spawn_blocking(database).await.unwrap()?;
        Some((::home::open(&url, None).await.unwrap(), ()))
    }

    async fn fresh_objects() -> Option<(Objects, Home)> {
        let (home, ()) = fresh().await?;
        Some((Objects(store::Store::objects(&home)), home))
    }

    store::contract_suite!(fresh);
    store::contract_suite_of_objects!(fresh_objects);
}

mod bucket {
    use std::sync::atomic::{AtomicU32, Ordering};

    use ::home::{ObjectsPlace, ObjectsUrl};

    use super::*;

    static BUCKETS: LazyLock<Option<s3::Server>> = LazyLock::new(s3::Server::start);
    static PLACES: AtomicU32 = AtomicU32::new(0);

    async fn fresh_objects() -> Option<(Objects, TempDir)> {
        let server = tokio::task::spawn_blocking(|| BUCKETS.as_ref()).await.unwrap()?;
        let prefix = format!("place {}", PLACES.fetch_add(1, Ordering::Relaxed));
        let url = ObjectsUrl::parse(&server.url(s3::BUCKET, &prefix.replace(' ', "%20"))).unwrap();
        let place = ObjectsPlace::new(&url, s3::environment()).unwrap();
        let dir = TempDir::new().unwrap();
        let home = format!("sqlite:{}", dir.path().join("home.db").display());
        let home = ::home::open(&home, None).await.unwrap().with_objects_in(&place);
        Some((Objects(store::Store::objects(&home)), dir))
    }

    store::contract_suite_of_objects!(fresh_objects);
}

//! A store that fails where a test says so: before a write, after it without a word, or at every read.
//!
//! For crash tests: run a story with the fault at the first write, the second, … until [`Failing::writes`] says that the
//! story makes no more; the invariant must hold for all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use model::{BuildId, JobName, NodeName, QueueId, ReplicaId};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::*;

/// How a write fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is changed: `Unavailable`.
    Before,
    /// It is applied, but the writer hears `Unknown`, whatever the store answered.
    After,
    /// As `Before`, for this write and all later ones.
    Away,
}

/// Any store, with faults. Clones share the count and the faults.
#[derive(Debug, Clone)]
pub struct Failing<S> {
    inner: S,
    plan: Arc<Mutex<Plan>>,
    hung: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Plan {
    writes: u64,
    faults: BTreeMap<u64, Fault>,
    away: bool,
    deaf: bool,
    object_uses: u64,
    object_fault: Option<(u64, ObjectFault)>,
}

/// How a use of an object fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ObjectFault {
    Refused,
    Hangs,
}

impl<S> Failing<S> {
    pub fn new(inner: S) -> Failing<S> {
        Failing { inner, plan: Arc::default(), hung: Arc::default() }
    }

    /// The `n`-th write from the beginning (1 is the first) fails so.
    pub fn fail(&self, n: u64, fault: Fault) {
        self.plan.lock().faults.insert(n, fault);
    }

    /// From now on all reads fail, too: `Unavailable`.
    pub fn deafen(&self) {
        self.plan.lock().deaf = true;
    }

    /// No more faults; the count goes on.
    pub fn heal(&self) {
        let mut plan = self.plan.lock();
        plan.faults.clear();
        plan.away = false;
        plan.deaf = false;
    }

    /// The `n`-th use of its objects fails: `Unavailable`. Each call is one, and so is each of an upload.
    pub fn fail_object(&self, n: u64) {
        self.plan.lock().object_fault = Some((n, ObjectFault::Refused));
    }

    /// The `n`-th use of its objects does not come to an end.
    pub fn hang_object(&self, n: u64) {
        self.plan.lock().object_fault = Some((n, ObjectFault::Hangs));
    }

    /// Waits until one does not.
    pub async fn hangs(&self) {
        self.hung.notified().await;
    }

    /// How often objects were used so far.
    pub fn object_uses(&self) -> u64 {
        self.plan.lock().object_uses
    }

    /// How many writes were tried so far.
    pub fn writes(&self) -> u64 {
        self.plan.lock().writes
    }

    /// The store that the faults are about.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Counts a write; how it fails.
    fn next(&self) -> (u64, Option<Fault>) {
        let mut plan = self.plan.lock();
        plan.writes += 1;
        let n = plan.writes;
        let fault = plan.faults.remove(&n).or(plan.away.then_some(Fault::Away));
        plan.away |= fault == Some(Fault::Away);
        (n, fault)
    }
}

#[async_trait]
impl<S: Writer> Writer for Failing<S> {
    async fn write(&self, write: Write) -> Result<Answer> {
        let (n, fault) = self.next();
        match fault {
            None => self.inner.write(write).await,
            Some(Fault::Before | Fault::Away) => {
                Err(Error::Unavailable(format!("the test refuses write {n}")))
            }
            Some(Fault::After) => {
                let _forgotten = self.inner.write(write).await;
                Err(Error::Unknown(format!("the test hides the answer of write {n}")))
            }
        }
    }
}

macro_rules! read_inner {
    ($port:ident { $($read:ident($($arg:ident: $kind:ty),*) -> $answer:ty;)* }) => {
        #[async_trait]
        impl<S: $port> $port for Failing<S> {
            $(async fn $read(&self, $($arg: $kind),*) -> Result<$answer> {
                if self.plan.lock().deaf {
                    return Err(Error::Unavailable("the test refuses reads".to_owned()));
                }
                self.inner.$read($($arg),*).await
            })*
        }
    };
}
for_all_reads!(read_inner);
read_inner! { Logs {
    log(build: BuildId, from: u64, max: usize) -> Option<LogSlice>;
    chunks(build: BuildId, from: u64) -> Vec<Chunk>;
} }

impl<S: Store> Store for Failing<S> {
    fn objects(&self) -> Arc<dyn Objects> {
        let (plan, hung) = (Arc::clone(&self.plan), Arc::clone(&self.hung));
        Arc::new(FailingObjects { inner: self.inner.objects(), uses: Uses { plan, hung } })
    }
}

#[derive(Clone)]
struct Uses {
    plan: Arc<Mutex<Plan>>,
    hung: Arc<Notify>,
}

impl Uses {
    async fn next(&self) -> Result<()> {
        let (n, fault) = {
            let mut plan = self.plan.lock();
            plan.object_uses += 1;
            let n = plan.object_uses;
            (n, plan.object_fault.filter(|(at, _)| *at == n).map(|(_, fault)| fault))
        };
        match fault {
            None => Ok(()),
            Some(ObjectFault::Refused) => {
                Err(Error::Unavailable(format!("the test refuses use {n} of objects")))
            }
            Some(ObjectFault::Hangs) => {
                self.hung.notify_one();
                std::future::pending().await
            }
        }
    }
}

struct FailingObjects {
    inner: Arc<dyn Objects>,
    uses: Uses,
}

#[async_trait]
impl Objects for FailingObjects {
    async fn put(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.uses.next().await?;
        self.inner.put(key, bytes).await
    }

    async fn upload(&self, key: &str) -> Result<Box<dyn Upload>> {
        self.uses.next().await?;
        let inner = self.inner.upload(key).await?;
        Ok(Box::new(FailingUpload { inner, uses: self.uses.clone() }))
    }

    async fn get(&self, key: &str, from: u64, max: usize) -> Result<Option<Bytes>> {
        self.uses.next().await?;
        self.inner.get(key, from, max).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.uses.next().await?;
        self.inner.delete(key).await
    }

    async fn keep_only(&self, prefix: &str, keep: &BTreeSet<String>) -> Result<()> {
        self.uses.next().await?;
        self.inner.keep_only(prefix, keep).await
    }
}

struct FailingUpload {
    inner: Box<dyn Upload>,
    uses: Uses,
}

#[async_trait]
impl Upload for FailingUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.uses.next().await?;
        self.inner.write(bytes).await
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        self.uses.next().await?;
        self.inner.finish().await
    }
}

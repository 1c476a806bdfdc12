//! Logs of ended builds become objects, so that the database grows with the builds that are kept and not with what they print.
//!
//! Any replica can do it, and the store decides whose object counts; those that are ready share the work. A log is in the
//! database until its object was written, read back, and named by the store: whoever reads it does not notice.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use model::{BuildId, ReplicaState};
use sha2::{Digest, Sha256};
use store::archive::{self, Packer, Segment};
use store::{Answer, ArchivedLog, Chunk, Error, Objects, Store, Upload, Write};
use tokio::time::Instant;

use crate::history;
use crate::service::Shared;

/// A log that is no longer stays in the database: as an object it would cost more, and there it takes no more than the rest of a
/// build.
pub(crate) const STAYS: u64 = 64 * 1024;
/// How often a replica looks for logs.
const LOOK: Duration = Duration::from_secs(5);
/// Before a log is tried again that could not become an object.
const REST: Duration = Duration::from_secs(60);
/// Builds that are read at once.
const PAGE: u32 = 100;

/// Below it are the objects of a build's log: one, and what attempts have left that were killed.
pub(crate) fn prefix(build: BuildId) -> String {
    format!("logs/{build}")
}

/// Runs until the process ends. One log at a time: others have the disk, too.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut failed: HashMap<BuildId, Instant> = HashMap::new();
    loop {
        tokio::time::sleep(LOOK).await;
        failed.retain(|_, until| Instant::now() < *until);
        if let Err(error) = pass(&shared, &mut failed).await {
            tracing::debug!(%error, "look for logs to archive");
        }
    }
}

async fn pass(shared: &Shared, failed: &mut HashMap<BuildId, Instant>) -> Result<(), Error> {
    let mut after = None;
    loop {
        let page = shared.store.to_archive(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(*last);
        for build in page {
            if !ours(shared, build) || failed.contains_key(&build) {
                continue;
            }
            match archive(&shared.store, build, &key(shared, build), || shared.ready()).await {
                Ok(Some(bytes)) => {
                    shared.metrics.archived.inc();
                    shared.metrics.archived_bytes.inc_by(bytes);
                }
                Ok(None) => {}
                Err(error) => {
                    shared.metrics.archive_failures.inc();
                    tracing::warn!(%error, %build, "the log of a build stays in the database for now");
                    failed.insert(build, Instant::now() + REST);
                }
            }
        }
    }
}

/// Nobody else ever writes there.
fn key(shared: &Shared, build: BuildId) -> String {
    format!("{}/{}.gz", prefix(build), shared.cluster.me().incarnation)
}

/// Those that are ready take turns. Where two do not agree who is, both do it, or neither does so soon.
fn ours(shared: &Shared, build: BuildId) -> bool {
    let view = shared.cluster.view().borrow().clone();
    let ready: Vec<_> = view.members.iter().filter(|m| m.state == ReplicaState::Ready).collect();
    let turn = usize::try_from(build.0).unwrap_or(0).checked_rem(ready.len());
    turn.is_some_and(|turn| ready[turn].id == *shared.cluster.me())
}

/// Makes the log of a build an object, and erases the rows. → how long the log is; `None`: it is none of ours any more, or
/// `go_on` has said no.
async fn archive(
    store: &Arc<dyn Store>,
    build: BuildId,
    key: &str,
    go_on: impl Fn() -> bool,
) -> Result<Option<u64>, Error> {
    let objects = store.objects();
    let Some((log, length, seen)) = write(&**store, &*objects, build, key, go_on).await? else {
        return Ok(None);
    };
    match read_back(&*objects, &log).await? {
        Some(read) if read == (length, seen) => {}
        Some(_) => return Err(Error::Corrupt(format!("the object {key} is not what was written"))),
        // Another replica was faster, and has deleted ours.
        None => return Ok(None),
    }
    let ours = store.write(Write::LogArchived { build, log }).await? == Answer::Bool(true);
    // What nobody names any more: of ourselves, if another replica was faster, and of those that were killed.
    let keep: BTreeSet<String> = store.archived(build).await?.map(|log| log.object).into_iter().collect();
    objects.keep_only(&prefix(build), &keep).await?;
    history::erase(&**store).await?;
    Ok(ours.then_some(length))
}

/// Length of a log, and a sum over all that its chunks are.
type Seen = (u64, [u8; 32]);

/// Writes the object from the rows.
async fn write(
    store: &dyn Store,
    objects: &dyn Objects,
    build: BuildId,
    key: &str,
    go_on: impl Fn() -> bool,
) -> Result<Option<(ArchivedLog, u64, [u8; 32])>, Error> {
    let Some(end) = store.build_by_id(build).await?.map(|build| build.log_end) else { return Ok(None) };
    let (mut upload, mut packer, mut sum) = (objects.upload(key).await?, Packer::default(), Sha256::new());
    loop {
        if !go_on() {
            return Ok(None);
        }
        let page = store.chunks(build, packer.end()).await?;
        if page.is_empty() {
            break;
        }
        for chunk in &page {
            add(&mut sum, chunk);
            if let Some(segment) = packer.add(chunk)? {
                put(&mut *upload, &mut packer, segment).await?;
            }
        }
    }
    let length = packer.end();
    if length != end && store.build_by_id(build).await?.is_none() {
        return Ok(None);
    }
    if length != end {
        return Err(Error::Corrupt(format!("the log has {length} bytes, {end} are committed")));
    }
    if let Some(segment) = packer.last() {
        put(&mut *upload, &mut packer, segment).await?;
    }
    let (directory, log) = packer.finish(key.to_owned())?;
    upload.write(directory).await?;
    upload.finish().await?;
    Ok(Some((log, length, sum.finalize().into())))
}

async fn put(upload: &mut dyn Upload, packer: &mut Packer, segment: Segment) -> Result<(), Error> {
    let start = segment.start();
    // It takes a core for milliseconds, which others must not wait for.
    let packed = tokio::task::spawn_blocking(move || segment.pack()).await;
    let packed = packed.map_err(|e| Error::Unavailable(e.to_string()))??;
    packer.wrote(start, packed.len());
    upload.write(packed).await
}

/// What the object says that the log is. `None`: it is gone.
async fn read_back(objects: &dyn Objects, log: &ArchivedLog) -> Result<Option<Seen>, Error> {
    let (mut length, mut sum) = (0, Sha256::new());
    loop {
        let Some(page) = archive::chunks(objects, log, length).await? else { return Ok(None) };
        let Some(last) = page.last() else { return Ok(Some((length, sum.finalize().into()))) };
        length = last.offset + last.bytes.len() as u64;
        page.iter().for_each(|chunk| add(&mut sum, chunk));
    }
}

/// A chunk that was damaged in the database is kept as it is, with the sum that tells.
fn add(sum: &mut Sha256, chunk: &Chunk) {
    sum.update(chunk.checksum().to_le_bytes());
    sum.update(chunk.sum.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use store::contract::support::{Driver, chunk, join, name, ok, pipeline, start};
    use store::{Builds, Effect, Failing, Fault, Logs, Memory, Progress};

    use super::*;

    /// An ended build of `app` in a new store, and what its log is.
    async fn built(store: &Memory) -> (Driver, Vec<u8>) {
        let me = join(store, "r-0").await;
        pipeline(store, "app").await;
        let mut build = start(store, "app", &me).await;
        for n in 0..70 {
            let text = format!("{n} of many\n").repeat(1_000 + n * 10);
            let log_end = build.log_end + text.len() as u64;
            let chunks = vec![chunk(build.log_end, "0.1", build.log_end, &text)];
            build.write(store, Progress { chunks, log_end, ..build.progress() }).await;
        }
        let (result, at) = (model::BuildResult::Success, model::Millis(8_000));
        build.effects(store, [Effect::Finish { result, at, archive: true }]).await;
        let log = store.log(build.build, 0, usize::MAX).await.unwrap().unwrap().bytes;
        (build, log)
    }

    /// The log is what it was, as an object, and nothing else is kept.
    async fn is_archived(store: &Memory, build: BuildId, log: &[u8]) {
        let archived = store.archived(build).await.unwrap().expect("it is an object");
        assert_eq!(store.kept().keys(), [archived.object]);
        assert!(store.with(|state| state.chunks(build, 0)).is_empty());
        assert!(store.log(build, 0, usize::MAX).await.unwrap().unwrap().bytes == log);
    }

    /// The log is what it was, in the store alone.
    async fn has_stayed(store: &Memory, build: BuildId, log: &[u8]) {
        assert_eq!(store.archived(build).await.unwrap(), None);
        assert_eq!(store.to_archive(None, 10).await.unwrap(), [build]);
        assert!(store.log(build, 0, usize::MAX).await.unwrap().unwrap().bytes == log);
    }

    fn shared(store: impl Store) -> Arc<dyn Store> {
        Arc::new(store)
    }

    #[tokio::test]
    async fn a_log_becomes_an_object_and_its_rows_go() {
        let memory = Memory::new();
        let (build, log) = built(&memory).await;
        let store = shared(memory.clone());
        // what one that was killed has left
        let objects = store.objects();
        objects.put(&format!("{}/1.gz", prefix(build.build)), Bytes::from_static(b"half")).await.unwrap();
        let key = format!("{}/7.gz", prefix(build.build));
        let made = archive(&store, build.build, &key, || true).await.unwrap();
        assert_eq!(made, Some(log.len() as u64));
        is_archived(&memory, build.build, &log).await;
        assert!(memory.to_archive(None, 10).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn whichever_write_fails_the_log_is_there_and_the_next_try_brings_it_to_an_end() {
        for fault in [Fault::Before, Fault::After] {
            for n in 1.. {
                let memory = Memory::new();
                let (build, log) = built(&memory).await;
                let failing = Failing::new(memory.clone());
                failing.fail(n, fault);
                let store = shared(failing.clone());
                let first = archive(&store, build.build, "logs/1/1.gz", || true).await;
                assert!(memory.log(build.build, 0, usize::MAX).await.unwrap().unwrap().bytes == log);
                if first.is_ok() {
                    assert!(n > 1, "some write has failed");
                    break;
                }
                for again in memory.to_archive(None, 10).await.unwrap() {
                    archive(&store, again, &format!("{}/2.gz", prefix(again)), || true).await.unwrap();
                }
                history::erase(&*store).await.unwrap();
                is_archived(&memory, build.build, &log).await;
            }
        }
    }

    #[tokio::test]
    async fn of_two_at_once_one_makes_it() {
        let memory = Memory::new();
        let (build, log) = built(&memory).await;
        let store = shared(memory.clone());
        let keys = [1, 2].map(|n| format!("{}/{n}.gz", prefix(build.build)));
        let (a, b) = tokio::join!(
            archive(&store, build.build, &keys[0], || true),
            archive(&store, build.build, &keys[1], || true)
        );
        let made = [a.unwrap(), b.unwrap()];
        assert_eq!(made.iter().flatten().count(), 1, "{made:?}");
        is_archived(&memory, build.build, &log).await;
    }

    #[tokio::test]
    async fn one_that_is_stopped_leaves_nothing() {
        let memory = Memory::new();
        let (build, log) = built(&memory).await;
        let store = shared(memory.clone());
        let looks = AtomicUsize::new(0);
        let go_on = || looks.fetch_add(1, Ordering::Relaxed) < 1;
        assert_eq!(archive(&store, build.build, "logs/1/1.gz", go_on).await.unwrap(), None);
        assert!(memory.kept().keys().is_empty());
        has_stayed(&memory, build.build, &log).await;
    }

    #[tokio::test]
    async fn a_build_that_is_deleted_meanwhile_leaves_nothing() {
        // Before each page, and before the one that is empty.
        for page in 1..=4 {
            let memory = Memory::new();
            let (build, _) = built(&memory).await;
            let store = shared(memory.clone());
            let pages = AtomicUsize::new(0);
            let go_on = || {
                if pages.fetch_add(1, Ordering::Relaxed) + 1 == page {
                    let delete = Write::DeleteBuild { job: name("app"), number: build.number, build: None };
                    memory.with(|state| state.apply(&delete)).unwrap();
                }
                true
            };
            let key = format!("{}/1.gz", prefix(build.build));
            assert_eq!(archive(&store, build.build, &key, go_on).await.unwrap(), None, "page {page}");
            assert!(memory.kept().keys().is_empty(), "page {page}: {:?}", memory.kept().keys());
        }
    }

    #[tokio::test]
    async fn an_object_that_reads_otherwise_than_it_was_written_is_not_believed() {
        let memory = Memory::new();
        let (build, log) = built(&memory).await;
        let objects = memory.objects();
        let (made, length, sum) =
            write(&memory, &*objects, build.build, "logs/1/1.gz", || true).await.unwrap().unwrap();
        assert_eq!(length, log.len() as u64);
        assert_eq!(read_back(&*objects, &made).await.unwrap(), Some((length, sum)));
        let mut file = objects.get(&made.object, 0, usize::MAX).await.unwrap().unwrap().to_vec();
        let middle = file.len() / 2;
        file[middle] ^= 1;
        objects.put(&made.object, Bytes::from(file)).await.unwrap();
        let read = read_back(&*objects, &made).await;
        assert!(read != Ok(Some((length, sum))), "{read:?}");
        has_stayed(&memory, build.build, &log).await;
    }

    #[tokio::test]
    async fn a_log_with_a_hole_stays_in_the_store() {
        for at in [0, 1] {
            let memory = Memory::new();
            let (build, _) = built(&memory).await;
            memory.with(|state| {
                state.damage(build.build, |chunks, _, _| {
                    let key =
                        if at == 0 { *chunks.keys().nth(3).unwrap() } else { *chunks.keys().last().unwrap() };
                    chunks.remove(&key);
                });
            });
            let store = shared(memory.clone());
            let error = archive(&store, build.build, "logs/1/1.gz", || true).await.unwrap_err();
            assert_eq!(error.reason(), "Corrupt");
            assert!(memory.kept().keys().is_empty());
            assert_eq!(memory.to_archive(None, 10).await.unwrap(), [build.build]);
        }
    }

    #[tokio::test]
    async fn what_was_damaged_before_is_kept_with_the_sum_that_tells() {
        let memory = Memory::new();
        let (build, _) = built(&memory).await;
        memory.with(|state| {
            state.damage(build.build, |chunks, _, _| {
                let chunk = chunks.values_mut().nth(3).unwrap();
                chunk.bytes = Bytes::from(vec![b'x'; chunk.bytes.len()]);
            });
        });
        let before = memory.chunks(build.build, 0).await.unwrap();
        let store = shared(memory.clone());
        let key = format!("{}/1.gz", prefix(build.build));
        assert!(archive(&store, build.build, &key, || true).await.unwrap().is_some());
        assert_eq!(memory.chunks(build.build, 0).await.unwrap(), before);
        assert!(before.iter().any(|chunk| chunk.sum != chunk.checksum()));
        ok(&memory, Write::KeepBuild { job: name("app"), number: 1, keep: true }).await;
    }
}

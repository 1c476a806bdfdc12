//! Logs of ended builds become objects, so that the database grows with the builds that are kept and not with what they print.
//!
//! Any replica can do it, and the store decides whose object counts; those that are ready share the work. A log is in the
//! database until its object was written, read back, and named by the store: whoever reads it does not notice.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use model::{BuildId, Millis, ReplicaState};
use sha2::{Digest, Sha256};
use store::archive::{Packer, Reader, Segment, gone, prefix};
use store::{Answer, ArchivedLog, Chunk, Error, Member, Objects, Store, Upload, Write};
use tokio::time::Instant;

use crate::history;
use crate::service::Shared;

/// A log that is no longer stays in the database: as an object it would cost more, and there it takes no more than the rest of a
/// build.
pub(crate) const STAYS: u64 = 64 * 1024;
/// How often a replica looks for logs.
const LOOK: Duration = Duration::from_secs(5);
/// Longest pause after looks at which nothing could be written.
const PAUSE: Duration = Duration::from_secs(60);
/// So many passes in a row must fail before it is told that they do, if what makes them fail may pass.
const PASSING: u32 = 4;
const STAY: &str = "logs of builds stay in the database for now";
/// Before a log is tried again of which something is missing. Nobody will mend it, but somebody may restore it.
const REST: Duration = Duration::from_secs(6 * 60 * 60);
/// Before a log is tried again that could not be read or written.
const ASIDE: Duration = Duration::from_secs(60);
/// How long a log is one replica's business. Then it is the next one's: the first may have trouble of its own.
const TURN: Duration = Duration::from_secs(5 * 60);
/// Builds that are read at once.
const PAGE: u32 = 100;

/// Runs until the process ends. One log at a time: others have the disk, too.
pub(crate) async fn run(shared: Arc<Shared>) {
    let (mut archiver, mut failed) = (Archiver { shared, put_aside: HashMap::new(), attempts: 0 }, 0u32);
    loop {
        tokio::time::sleep((LOOK * (failed + 1)).min(PAUSE)).await;
        archiver.put_aside.retain(|_, until| Instant::now() < *until);
        match archiver.pass().await {
            Ok(()) => failed = 0,
            Err(error) => {
                failed = failed.saturating_add(1);
                // What passes by itself is told when it does not.
                match failed {
                    1 if !error.passing() => tracing::warn!(%error, "{STAY}"),
                    PASSING if error.passing() => tracing::warn!(%error, "{STAY}"),
                    _ => tracing::debug!(%error, "{STAY}"),
                }
            }
        }
    }
}

struct Archiver {
    shared: Arc<Shared>,
    /// Builds whose logs could not become objects, and when they are tried again.
    put_aside: HashMap<BuildId, Instant>,
    attempts: u64,
}

impl Archiver {
    /// An error says that no log can become an object now.
    async fn pass(&mut self) -> Result<(), Error> {
        let (mut after, mut last_failed) = (None, false);
        loop {
            let page = self.shared.store.to_archive(after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(*last);
            for build in page {
                if !self.is_next(build) {
                    continue;
                }
                match self.one(build).await {
                    Ok(()) => last_failed = false,
                    Err(error) => {
                        self.shared.metrics.archive_failures.inc();
                        let corrupt = matches!(error, Error::Corrupt(_));
                        if corrupt {
                            tracing::warn!(%error, %build, "the log of a build stays in the database");
                        }
                        let rest = if corrupt { REST } else { ASIDE };
                        self.put_aside.insert(build, Instant::now() + rest);
                        // One may have trouble of its own; two in a row have the same.
                        if !corrupt && std::mem::replace(&mut last_failed, true) {
                            return Err(error);
                        }
                    }
                }
            }
        }
    }

    fn is_next(&self, build: BuildId) -> bool {
        if self.put_aside.contains_key(&build) {
            return false;
        }
        let views = self.shared.cluster.view();
        let view = views.borrow();
        let turn = turn(&view.members, build, self.shared.clock.now());
        turn.is_some_and(|m| m.id == *self.shared.cluster.me())
    }

    async fn one(&mut self, build: BuildId) -> Result<(), Error> {
        let shared = &self.shared;
        self.attempts += 1;
        // Nobody else ever writes there: no epoch has the same incarnation twice.
        let key = format!("{}/{}-{}.gz", prefix(build), shared.cluster.me().incarnation, self.attempts);
        if let Some(bytes) = archive(&*shared.store, build, &key, || shared.ready()).await? {
            shared.metrics.archived.inc();
            shared.metrics.archived_bytes.inc_by(bytes);
            // Before the next one: the database is to get smaller.
            history::erase(&*shared.store).await?;
        }
        Ok(())
    }
}

/// Whose business the log of a build is now. Where two do not agree who is ready, both do it, or neither does so soon.
fn turn(members: &[Member], build: BuildId, now: Millis) -> Option<&Member> {
    let ready: Vec<&Member> = members.iter().filter(|m| m.state == ReplicaState::Ready).collect();
    let turns = now.since(Millis(0)).as_secs() / TURN.as_secs();
    let at = build.0.unsigned_abs().wrapping_add(turns).checked_rem(ready.len() as u64)?;
    usize::try_from(at).ok().map(|at| ready[at])
}

/// Makes the log of a build an object. → how long the log is; `None`: that is none of ours any more, or `go_on` has said no.
///
/// What is deleted follows from the answer of the write alone: what others can read may be older than that.
async fn archive(
    store: &dyn Store,
    build: BuildId,
    key: &str,
    go_on: impl Fn() -> bool,
) -> Result<Option<u64>, Error> {
    let objects = store.objects();
    let written = match make(store, &objects, build, key, go_on).await {
        Ok(Some((log, length))) => match store.write(Write::LogArchived { build, log }).await {
            Ok(Answer::Bool(true)) => {
                // And what those that were killed have left.
                let only = BTreeSet::from([key.to_owned()]);
                if let Err(error) = objects.keep_only(&prefix(build), &only).await {
                    tracing::debug!(%error, %build, "delete what attempts to archive a log have left");
                }
                return Ok(Some(length));
            }
            Ok(_) => {
                Err(Error::Unavailable(format!("the store does not take {key} for the log of the build")))
            }
            // It may be named now, or soon.
            Err(error @ Error::Unknown(_)) => return none_of_ours(store, build, error).await,
            Err(error) => Err(error),
        },
        Ok(None) => Ok(None),
        Err(error) => Err(error),
    };
    if let Err(error) = objects.delete(key).await {
        tracing::debug!(%error, %build, "delete an object that nobody names");
    }
    match written {
        Ok(none) => Ok(none),
        Err(error) => none_of_ours(store, build, error).await,
    }
}

/// No error, if another replica was faster, or whoever has deleted the build: it has deleted what we were reading or writing.
async fn none_of_ours(store: &dyn Store, build: BuildId, error: Error) -> Result<Option<u64>, Error> {
    let ours = store.archived(build).await?.is_none() && store.build_by_id(build).await?.is_some();
    if ours { Err(error) } else { Ok(None) }
}

/// Writes the object and reads it back. → and how long the log is
async fn make(
    store: &dyn Store,
    objects: &Arc<dyn Objects>,
    build: BuildId,
    key: &str,
    go_on: impl Fn() -> bool,
) -> Result<Option<(ArchivedLog, u64)>, Error> {
    let Some((log, seen)) = write(store, &**objects, build, key, &go_on).await? else { return Ok(None) };
    let Some(read) = read_back(objects, &log, &go_on).await? else { return Ok(None) };
    if read == seen {
        Ok(Some((log, seen.0)))
    } else {
        Err(Error::Corrupt(format!("the object {key} is not what was written")))
    }
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
) -> Result<Option<(ArchivedLog, Seen)>, Error> {
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
    if length != end {
        return Err(Error::Corrupt(format!("the log has {length} bytes, {end} are committed")));
    }
    if let Some(segment) = packer.last() {
        put(&mut *upload, &mut packer, segment).await?;
    }
    let (directory, log) = packer.finish(key.to_owned())?;
    upload.write(directory).await?;
    upload.finish().await?;
    Ok(Some((log, (length, sum.finalize().into()))))
}

async fn put(upload: &mut dyn Upload, packer: &mut Packer, segment: Segment) -> Result<(), Error> {
    let start = segment.start();
    // It takes a core for milliseconds, which others must not wait for.
    let packed = tokio::task::spawn_blocking(move || segment.pack()).await;
    let packed = packed.map_err(|e| Error::Unavailable(e.to_string()))??;
    packer.wrote(start, packed.len());
    upload.write(packed).await
}

/// What the object says that the log is. `None`: `go_on` has said no.
async fn read_back(
    objects: &Arc<dyn Objects>,
    log: &ArchivedLog,
    go_on: impl Fn() -> bool,
) -> Result<Option<Seen>, Error> {
    let lost = || gone(&log.object);
    let reader = Reader::open(Arc::clone(objects), log.clone()).await?.ok_or_else(lost)?;
    let (mut length, mut sum) = (0, Sha256::new());
    while go_on() {
        let page = reader.chunks(length).await?.ok_or_else(lost)?;
        let Some(last) = page.last() else { return Ok(Some((length, sum.finalize().into()))) };
        length = last.offset + last.bytes.len() as u64;
        page.iter().for_each(|chunk| add(&mut sum, chunk));
    }
    Ok(None)
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

    fn key(build: &Driver, incarnation: u32) -> String {
        format!("{}/{incarnation}.gz", prefix(build.build))
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
        objects.put(&key(&build, 1), Bytes::from_static(b"half")).await.unwrap();
        let own = key(&build, 7);
        let made = archive(&*store, build.build, &own, || true).await.unwrap();
        assert_eq!(made, Some(log.len() as u64));
        is_archived(&memory, build.build, &log).await;
        assert!(memory.to_archive(None, 10).await.unwrap().is_empty());
    }

    /// The next one that tries, as it does.
    async fn next_try(store: &dyn Store, build: &Driver) {
        for due in store.to_archive(None, 10).await.unwrap() {
            archive(store, due, &key(build, 2), || true).await.unwrap();
        }
        history::erase(store).await.unwrap();
    }

    #[tokio::test]
    async fn whichever_write_fails_the_log_is_there_and_the_next_try_brings_it_to_an_end() {
        for fault in [Fault::Before, Fault::After] {
            let memory = Memory::new();
            let (build, log) = built(&memory).await;
            let failing = Failing::new(memory.clone());
            failing.fail(1, fault);
            let store = shared(failing);
            let first = archive(&*store, build.build, &key(&build, 1), || true).await;
            // what is committed, though nobody heard of it, is no failure
            assert_eq!(first.is_ok(), fault == Fault::After, "{first:?}");
            assert!(memory.log(build.build, 0, usize::MAX).await.unwrap().unwrap().bytes == log);
            next_try(&*store, &build).await;
            is_archived(&memory, build.build, &log).await;
        }
    }

    #[tokio::test]
    async fn whichever_use_of_objects_fails_the_log_is_there_and_the_next_try_brings_it_to_an_end() {
        for n in 1.. {
            let memory = Memory::new();
            let (build, log) = built(&memory).await;
            let failing = Failing::new(memory.clone());
            failing.fail_object(n);
            let store = shared(failing.clone());
            let first = archive(&*store, build.build, &key(&build, 1), || true).await;
            if failing.object_uses() < n {
                assert!(n > 10 && first == Ok(Some(log.len() as u64)), "{n}: {first:?}");
                break;
            }
            assert!(memory.log(build.build, 0, usize::MAX).await.unwrap().unwrap().bytes == log);
            next_try(&*store, &build).await;
            assert!(memory.archived(build.build).await.unwrap().is_some());
            assert!(memory.log(build.build, 0, usize::MAX).await.unwrap().unwrap().bytes == log);
            if first.is_err() {
                is_archived(&memory, build.build, &log).await;
            }
        }
    }

    #[tokio::test]
    async fn whenever_one_is_killed_the_next_try_brings_it_to_an_end() {
        for n in 1.. {
            let memory = Memory::new();
            let (build, log) = built(&memory).await;
            let failing = Failing::new(memory.clone());
            failing.hang_object(n);
            let store = shared(failing.clone());
            let own = key(&build, 1);
            let killed = tokio::select! {
                biased;
                made = archive(&*store, build.build, &own, || true) => made,
                () = failing.hangs() => Ok(None),
            };
            if failing.object_uses() < n {
                assert_eq!(killed, Ok(Some(log.len() as u64)));
                break;
            }
            next_try(&memory, &build).await;
            assert!(memory.log(build.build, 0, usize::MAX).await.unwrap().unwrap().bytes == log);
            // killed after it was named, it has left nothing but that
            is_archived(&memory, build.build, &log).await;
        }
    }

    #[tokio::test]
    async fn of_two_at_once_one_makes_it() {
        let memory = Memory::new();
        let (build, log) = built(&memory).await;
        let store = shared(memory.clone());
        let keys = [1, 2].map(|n| key(&build, n));
        let (a, b) = tokio::join!(
            archive(&*store, build.build, &keys[0], || true),
            archive(&*store, build.build, &keys[1], || true)
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
        assert_eq!(archive(&*store, build.build, &key(&build, 1), go_on).await.unwrap(), None);
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
            let own = key(&build, 1);
            assert_eq!(archive(&*store, build.build, &own, go_on).await.unwrap(), None, "page {page}");
            assert!(memory.kept().keys().is_empty(), "page {page}: {:?}", memory.kept().keys());
        }
    }

    #[tokio::test]
    async fn an_object_that_reads_otherwise_than_it_was_written_is_not_believed() {
        let memory = Memory::new();
        let (build, log) = built(&memory).await;
        let objects = memory.objects();
        let (made, seen) =
            write(&memory, &*objects, build.build, &key(&build, 1), || true).await.unwrap().unwrap();
        assert_eq!(seen.0, log.len() as u64);
        assert_eq!(read_back(&objects, &made, || true).await.unwrap(), Some(seen));
        let mut file = objects.get(&made.object, 0, usize::MAX).await.unwrap().unwrap().to_vec();
        let middle = file.len() / 2;
        file[middle] ^= 1;
        objects.put(&made.object, Bytes::from(file)).await.unwrap();
        let read = read_back(&objects, &made, || true).await;
        assert!(read != Ok(Some(seen)), "{read:?}");
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
            let error = archive(&*store, build.build, &key(&build, 1), || true).await.unwrap_err();
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
        let before = memory.with(|state| state.chunks(build.build, 0));
        let store = shared(memory.clone());
        let own = key(&build, 1);
        assert!(archive(&*store, build.build, &own, || true).await.unwrap().is_some());
        let after = memory.chunks(build.build, 0).await.unwrap();
        assert!(after[..5] == before[..5]);
        assert!(after[..5].iter().any(|chunk| chunk.sum != chunk.checksum()));
        ok(&memory, Write::KeepBuild { job: name("app"), number: 1, keep: true }).await;
    }
}

//! Logs of ended builds that become objects.

use model::{BuildId, BuildResult, Millis, ReplicaId};

use super::support::*;
use super::together::Pending;
use crate::archive::{Packer, prefix};
use crate::{Answer, ArchivedLog, Chunk, Effect, LogSlice, Progress, Store, Write};

/// An ended build with many chunks of several sizes, whose log is to become an object.
async fn printed<S: Store>(store: &S, job: &str, owner: &ReplicaId) -> Driver {
    printed_much(store, job, owner, 1).await
}

/// That many times as much.
pub(super) async fn printed_much<S: Store>(store: &S, job: &str, owner: &ReplicaId, times: usize) -> Driver {
    let mut build = start(store, job, owner).await;
    for n in 0..50_u64 {
        let text = format!("{n} of many\n").repeat(times * (1 + (n as usize * 37) % 900));
        let piece = chunk(build.log_end, "1", build.log_end, &text);
        let log_end = build.log_end + text.len() as u64;
        let progress = Progress { chunks: vec![piece], log_end, ..build.progress() };
        build.write(store, progress).await;
    }
    finish(store, &mut build).await;
    build
}

async fn finish<S: Store>(store: &S, build: &mut Driver) {
    let end = Effect::Finish { result: BuildResult::Success, at: Millis(8_000), archive: true };
    build.effects(store, [end]).await;
}

/// All of a log, by chunks.
async fn chunks_of<S: Store>(store: &S, build: BuildId) -> Vec<Chunk> {
    let (mut all, mut from): (Vec<Chunk>, u64) = (Vec::new(), 0);
    loop {
        let page = store.chunks(build, from).await.unwrap();
        let Some(last) = page.last() else { return all };
        from = last.offset + last.bytes.len() as u64;
        all.extend(page);
    }
}

/// Makes an object of a log.
pub(super) async fn pack<S: Store>(store: &S, build: BuildId, attempt: u32) -> ArchivedLog {
    let key = format!("{}/{attempt}.gz", prefix(build));
    let (mut packer, mut file) = (Packer::default(), store.objects().upload(&key).await.unwrap());
    let mut segments = Vec::new();
    for chunk in chunks_of(store, build).await {
        segments.extend(packer.add(&chunk).unwrap());
    }
    segments.extend(packer.last());
    for segment in segments {
        let bytes = segment.pack().unwrap();
        packer.wrote(segment.start(), bytes.len());
        file.write(bytes).await.unwrap();
    }
    let (directory, log) = packer.finish(key).unwrap();
    file.write(directory).await.unwrap();
    file.finish().await.unwrap();
    log
}

fn archived(build: &Driver, log: &ArchivedLog) -> Write {
    Write::LogArchived { build: build.build, log: log.clone() }
}

pub async fn a_log_that_has_become_an_object_reads_the_same<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    pipeline(store, "app").await;
    let build = printed(store, "app", &me).await;
    let chunks = chunks_of(store, build.build).await;
    let whole = store.log(build.build, 0, usize::MAX).await.unwrap().unwrap();
    assert_eq!((chunks.len(), whole.bytes.len() as u64), (50, build.log_end));
    assert_eq!(store.archived(build.build).await.unwrap(), None);
    let log = pack(store, build.build, 1).await;
    assert!(claim(store, archived(&build, &log)).await);
    for erased in [false, true] {
        while erased && claim(store, Write::Erase).await {}
        assert_eq!(store.archived(build.build).await.unwrap(), Some(log.clone()));
        assert!(chunks_of(store, build.build).await == chunks);
        assert!(store.log(build.build, 0, usize::MAX).await.unwrap() == Some(whole.clone()));
        let middle = build.log_end / 2;
        assert_eq!(
            store.chunks(build.build, middle).await.unwrap()[0],
            *chunks.iter().find(|c| c.offset >= middle).unwrap()
        );
        for (from, max) in
            [(0, 0), (0, 10), (middle, 1_000), (build.log_end - 3, 10), (build.log_end, 10), (u64::MAX, 1)]
        {
            let slice = store.log(build.build, from, max).await.unwrap().unwrap();
            let begin = from.min(build.log_end) as usize;
            let wanted = &whole.bytes[begin..whole.bytes.len().min(begin + max)];
            assert_eq!((&slice.bytes[..], slice.end, slice.building), (wanted, build.log_end, false));
        }
    }
    declined(store, Write::Erase).await;
}

pub async fn logs_to_become_objects_are_listed_until_they_are<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    pipeline(store, "app").await;
    let mut builds = Vec::new();
    for _ in 0..3 {
        let mut build = start(store, "app", &me).await;
        build.say(store, "hello\n").await;
        builds.push(build);
    }
    let ids = |builds: &[Driver]| builds.iter().map(|b| b.build).collect::<Vec<_>>();
    assert_eq!(store.to_archive(None, 10).await.unwrap(), [], "they run");
    for build in &mut builds {
        finish(store, build).await;
    }
    built(store, "app", &me, BuildResult::Success).await;
    assert_eq!(store.to_archive(None, 10).await.unwrap(), ids(&builds));
    assert_eq!(store.to_archive(None, 2).await.unwrap(), ids(&builds[..2]));
    assert_eq!(store.to_archive(Some(builds[0].build), 10).await.unwrap(), ids(&builds[1..]));
    let log = pack(store, builds[1].build, 2).await;
    assert!(claim(store, archived(&builds[1], &log)).await);
    assert_eq!(store.to_archive(None, 10).await.unwrap(), [builds[0].build, builds[2].build]);
    ok(store, Write::DeleteBuild { job: name("app"), number: 1, build: None }).await;
    assert_eq!(store.to_archive(None, 10).await.unwrap(), [builds[2].build]);
}

pub async fn the_first_object_of_a_log_counts<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    pipeline(store, "app").await;
    let build = printed(store, "app", &me).await;
    let first = pack(store, build.build, 1).await;
    let second = pack(store, build.build, 2).await;
    assert!(claim(store, archived(&build, &first)).await);
    declined(store, archived(&build, &second)).await;
    assert!(claim(store, archived(&build, &first)).await, "who does not know asks again");
    assert_eq!(store.archived(build.build).await.unwrap(), Some(first));
}

pub async fn a_log_that_stays_becomes_no_object<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    pipeline(store, "app").await;
    let mut build = start(store, "app", &me).await;
    build.say(store, "hello\n").await;
    let log = pack(store, build.build, 1).await;
    declined(store, archived(&build, &log)).await;
    build.finish(store, BuildResult::Success).await;
    declined(store, archived(&build, &log)).await;
    let other = BuildId(build.build.0 + 1);
    refused(store, Write::LogArchived { build: other, log: log.clone() }, "Conflict").await;
    for object in ["logs", "logs/", "builds/1/a", &format!("{}/", prefix(build.build)), &prefix(build.build)]
    {
        let log = ArchivedLog { object: object.to_owned(), ..log.clone() };
        refused(store, archived(&build, &log), "Conflict").await;
    }
    let log_of = |build: BuildId| ArchivedLog { object: format!("{}/1.gz", prefix(build)), ..log.clone() };
    declined(store, Write::LogArchived { build: other, log: log_of(other) }).await;
    let gone = printed(store, "app", &me).await;
    ok(store, Write::DeleteBuild { job: name("app"), number: gone.number, build: None }).await;
    declined(store, archived(&gone, &log_of(gone.build))).await;
    assert_eq!(store.archived(gone.build).await.unwrap(), None);
}

pub async fn all_objects_of_a_log_are_garbage_when_its_build_goes<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    let mut below = Vec::new();
    for job in ["app", "other", "due"] {
        pipeline(store, job).await;
        let build = printed(store, job, &me).await;
        let log = pack(store, build.build, 1).await;
        if job != "due" {
            assert!(claim(store, archived(&build, &log)).await);
        }
        below.push(format!("{}/", prefix(build.build)));
    }
    for (job, below) in ["app", "due"].iter().zip([&below[0], &below[2]]) {
        let build = Write::DeleteBuild { job: name(job), number: 1, build: None };
        assert_eq!(ok(store, build).await, Answer::Objects(vec![below.clone()]));
    }
    let deleted = ok(store, Write::DeleteItem { name: name("other") }).await;
    assert_eq!(deleted, Answer::Objects(vec![below[1].clone()]));
    below.sort();
    assert_eq!(store.garbage(10).await.unwrap(), below);
    while claim(store, Write::Erase).await {}
    declined(store, Write::Erase).await;
}

pub async fn a_log_reads_the_same_while_it_becomes_an_object<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    pipeline(store, "app").await;
    // More than is erased at once.
    let build = printed_much(store, "app", &me, 40).await;
    let whole: Option<LogSlice> = store.log(build.build, 0, usize::MAX).await.unwrap();
    let chunks = chunks_of(store, build.build).await;
    let log = pack(store, build.build, 1).await;
    let read: Pending<'_, ()> = Box::pin(async {
        for _ in 0..6 {
            assert!(store.log(build.build, 0, usize::MAX).await.unwrap() == whole);
            assert!(chunks_of(store, build.build).await == chunks);
        }
    });
    let become_one: Pending<'_, ()> = Box::pin(async {
        assert!(claim(store, archived(&build, &log)).await);
        while claim(store, Write::Erase).await {}
    });
    super::together::all(vec![read, become_one]).await;
}

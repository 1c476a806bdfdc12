//! The guarded write of a build: its guard, its journal, its log.

use bytes::Bytes;
use model::{BuildId, BuildResult, Fence, Millis, ReplicaId};

use super::support::*;
use crate::{Answer, Effect, Error, LogSlice, MAX_RECORD, MAX_RECORDS, Progress, Store, Write};

/// A running build, and its owner.
async fn a_build<S: Store>(store: &S) -> (Driver, ReplicaId) {
    let me = join(store, "r-0").await;
    pipeline(store, "app").await;
    (start(store, "app", &me).await, me)
}

fn write(progress: Progress) -> Write {
    Write::Progress(Box::new(progress))
}

pub async fn records_and_log_grow_together<S: Store>(store: &S) {
    let (mut build, _) = a_build(store).await;
    build.journal(store, &["one", "two"]).await;
    let progress = Progress {
        records: vec![Bytes::from_static(&[0, 255, 10])],
        chunks: vec![chunk(0, "1", 0, "hello\n"), chunk(6, "2", 0, "wörld\n")],
        log_end: 13,
        ..build.progress()
    };
    build.write(store, progress).await;
    build.say(store, "done\n").await;
    let expected: [&[u8]; 3] = [b"one", b"two", &[0, 255, 10]];
    assert_eq!(store.journal(build.build, 0).await.unwrap(), expected);
    assert_eq!(store.journal(build.build, 2).await.unwrap(), expected[2..]);
    assert!(store.journal(build.build, 3).await.unwrap().is_empty());
    let row = store.running(None).await.unwrap().remove(0);
    assert_eq!((row.seq, row.log_end), (3, 18));
    let slice = store.log(build.build, 0, 100).await.unwrap();
    let bytes = "hello\nwörld\ndone\n".as_bytes().to_vec();
    assert_eq!(slice, Some(LogSlice { bytes: bytes.clone(), end: 18, building: true }));
    assert_eq!(store.build_by_id(build.build).await.unwrap().unwrap().log_end, 18);
    build.finish(store, BuildResult::Success).await;
    assert_eq!(store.journal(build.build, 0).await.unwrap(), expected);
    let slice = store.log(build.build, 0, 100).await.unwrap();
    assert_eq!(slice, Some(LogSlice { bytes, end: 18, building: false }));
    assert_eq!(store.build_by_id(build.build).await.unwrap().unwrap().log_end, 18);
}

pub async fn the_same_write_again_is_done<S: Store>(store: &S) {
    let (mut build, _) = a_build(store).await;
    for _ in 0..2 {
        let progress = Progress {
            records: vec![Bytes::from_static(b"r")],
            chunks: vec![chunk(build.log_end, "1", build.log_end, "line\n")],
            log_end: build.log_end + 5,
            effects: vec![Effect::WaitNode { step: "1".into(), label: None, since: Millis(1) }],
            ..build.progress()
        };
        build.write(store, progress.clone()).await;
        let before = picture(store).await;
        assert_eq!(ok(store, write(progress)).await, Answer::Unit);
        assert_eq!(picture(store).await, before);
    }
}

pub async fn a_write_of_another_turn_is_fenced<S: Store>(store: &S) {
    let (mut build, _) = a_build(store).await;
    build.journal(store, &["a"]).await;
    build.journal(store, &["b"]).await;
    let (me, other) = (build.owner, build.owner + 1);
    for (seq, owner, fence) in [
        (0, me, build.fence),
        (3, me, build.fence),
        (-1, me, build.fence),
        (2, me, build.fence.next(1)),
        (1, me, build.fence.next(1)),
        (2, me, Fence::from_i64(build.fence.to_i64() - 1)),
        (2, other, build.fence),
        (1, other, build.fence),
    ] {
        let change =
            Progress { seq, owner, fence, records: vec![Bytes::from_static(b"x")], ..build.progress() };
        let error = build.refused(store, change, "Fenced").await;
        assert_eq!(error, Error::Fenced { current: Some(build.fence) });
    }
}

pub async fn a_write_of_an_ended_build_is_fenced<S: Store>(store: &S) {
    let (mut build, _) = a_build(store).await;
    let finish = Effect::Finish { result: BuildResult::Success, at: Millis(8_000), archive: false };
    let last = Progress { effects: vec![finish], ..build.progress() };
    build.write(store, last.clone()).await;
    for change in [last, build.progress(), Progress { build: BuildId(77), ..build.progress() }] {
        let error = build.refused(store, change, "Fenced").await;
        assert_eq!(error, Error::Fenced { current: None });
    }
}

pub async fn a_fenced_write_changes_nothing_else<S: Store>(store: &S) {
    let (mut build, me) = a_build(store).await;
    build.say(store, "line\n").await;
    let other = join(store, "r-1").await;
    ok(store, Write::Adopt { build: build.build, seen: build.fence, owner: other }).await;
    ok(store, Write::Deliver { build: build.build, key: "abort".into(), body: "{}".into() }).await;
    let change = Progress {
        records: vec![Bytes::from_static(b"x")],
        chunks: vec![chunk(5, "1", 0, "late\n")],
        log_end: 10,
        effects: vec![
            Effect::Consume { key: "abort".into() },
            Effect::Artifact { path: "a".into(), size: 1, object: "o".into() },
            Effect::Result { result: BuildResult::Failure },
            Effect::Finish { result: BuildResult::Failure, at: Millis(8_000), archive: false },
        ],
        ..build.progress()
    };
    build.refused(store, change, "Fenced").await;
    assert!(
        store.members().await.unwrap().iter().any(|m| m.id == me && m.live()),
        "the membership is another thing"
    );
}

pub async fn a_record_has_a_limit<S: Store>(store: &S) {
    let (mut build, _) = a_build(store).await;
    let records = vec![Bytes::from_static(b"small"), Bytes::from(vec![7; MAX_RECORD + 1])];
    let change = Progress {
        records,
        chunks: vec![chunk(0, "1", 0, "x\n")],
        log_end: 2,
        effects: vec![Effect::DisplayName { name: "n".into() }],
        ..build.progress()
    };
    build.refused(store, change, "Limit").await;
    let records = vec![Bytes::from(vec![7; MAX_RECORD]), Bytes::new()];
    build.write(store, Progress { records: records.clone(), ..build.progress() }).await;
    assert_eq!(store.journal(build.build, 0).await.unwrap(), records);
}

pub async fn a_journal_has_a_limit<S: Store>(store: &S) {
    let (build, _) = a_build(store).await;
    let many = usize::try_from(MAX_RECORDS).unwrap() + 1;
    build.refused(store, Progress { records: vec![Bytes::new(); many], ..build.progress() }, "Limit").await;
}

pub async fn a_journal_has_no_gap<S: Store>(store: &S) {
    let (mut build, _) = a_build(store).await;
    build.journal(store, &["a", "b"]).await;
    for first_record in [0, 1, 3] {
        let records = vec![Bytes::from_static(b"x")];
        build.refused(store, Progress { first_record, records, ..build.progress() }, "Corrupt").await;
    }
}

pub async fn a_log_has_no_gap<S: Store>(store: &S) {
    let (mut build, _) = a_build(store).await;
    build.say(store, "0123456789").await;
    for (chunks, log_end) in [
        (vec![], 11),
        (vec![], 9),
        (vec![chunk(9, "", 0, "ab")], 11),
        (vec![chunk(11, "", 0, "ab")], 13),
        (vec![chunk(10, "", 0, "ab")], 11),
        (vec![chunk(10, "", 0, "ab")], 13),
        (vec![chunk(10, "", 0, "ab"), chunk(11, "", 0, "cd")], 13),
        (vec![chunk(10, "", 0, "ab"), chunk(13, "", 0, "cd")], 15),
        (vec![chunk(12, "", 0, "ab"), chunk(10, "", 0, "cd")], 14),
        (vec![chunk(10, "", 0, "")], 10),
        (vec![chunk(10, "", 0, ""), chunk(10, "", 0, "ab")], 12),
    ] {
        build.refused(store, Progress { chunks, log_end, ..build.progress() }, "Corrupt").await;
    }
}

pub async fn nothing_follows_the_finish<S: Store>(store: &S) {
    let (build, _) = a_build(store).await;
    let finish = Effect::Finish { result: BuildResult::Success, at: Millis(8_000), archive: false };
    for after in [Effect::DisplayName { name: "n".into() }, finish.clone()] {
        let effects = vec![finish.clone(), after];
        build.refused(store, Progress { effects, ..build.progress() }, "Corrupt").await;
    }
}

pub async fn a_long_journal_comes_in_pieces<S: Store>(store: &S) {
    let (mut build, _) = a_build(store).await;
    let mut expected: Vec<Bytes> = (0..2_300_u32).map(|i| Bytes::from(i.to_be_bytes().to_vec())).collect();
    expected.extend((0..70_u8).map(|i| Bytes::from(vec![i; MAX_RECORD])));
    for group in expected.chunks(230) {
        build.write(store, Progress { records: group.to_vec(), ..build.progress() }).await;
    }
    let mut read = Vec::new();
    loop {
        let piece = store.journal(build.build, read.len() as i64).await.unwrap();
        let bytes: usize = piece.iter().map(Bytes::len).sum();
        assert!(
            piece.len() <= crate::JOURNAL_RECORDS && bytes <= crate::JOURNAL_BYTES,
            "{} {bytes}",
            piece.len()
        );
        if piece.is_empty() {
            break;
        }
        read.extend(piece);
    }
    assert_eq!(read.len(), expected.len());
    assert!(read == expected);
}

pub async fn a_log_is_read_from_any_offset<S: Store>(store: &S) {
    let (mut build, _) = a_build(store).await;
    for text in ["abc\n", "de\n", "fghij\n", "k\n"] {
        build.say(store, text).await;
    }
    let all = b"abc\nde\nfghij\nk\n";
    for from in 0..all.len() + 2 {
        for max in 0..all.len() + 2 {
            let slice = store.log(build.build, from as u64, max).await.unwrap().unwrap();
            let begin = from.min(all.len());
            assert_eq!(slice.bytes, all[begin..all.len().min(begin + max)], "{max} bytes from {from} on");
            assert_eq!((slice.end, slice.building), (15, true));
        }
    }
}

pub async fn raw_offsets_are_the_highest_of_each_step<S: Store>(store: &S) {
    let (mut build, _) = a_build(store).await;
    assert!(store.raw_offsets(build.build).await.unwrap().is_empty());
    build.say(store, "begin\n").await;
    let mut wide = chunk(8, "10", 0, "é\n");
    wide.raw_to = 2;
    let chunks = vec![chunk(6, "2", 0, "x\n"), wide, chunk(11, "2", 2, "y\n")];
    build.write(store, Progress { chunks, log_end: 13, ..build.progress() }).await;
    let mut late = chunk(13, "10", 2, "****\n");
    late.raw_to = 40;
    let mut noted = chunk(18, "2", 1, "note\n");
    noted.raw_to = 1;
    build.write(store, Progress { chunks: vec![late, noted], log_end: 23, ..build.progress() }).await;
    let expected = [("10".to_owned(), 40), ("2".to_owned(), 4)];
    assert_eq!(store.raw_offsets(build.build).await.unwrap(), expected);
}

pub async fn chunks_come_as_they_were_written<S: Store>(store: &S) {
    let (mut build, _) = a_build(store).await;
    assert!(store.chunks(build.build, 0).await.unwrap().is_empty());
    let mut expected = Vec::new();
    for n in 0..80_u64 {
        let (step, raw) = if n % 7 == 0 { ("", 0) } else { ("1", n * 3) };
        let mut one = chunk(build.log_end, step, raw, "é\n");
        one.raw_to = if step.is_empty() { 0 } else { raw + 2 };
        build
            .write(store, Progress { chunks: vec![one.clone()], log_end: one.offset + 3, ..build.progress() })
            .await;
        expected.push(one);
    }
    let mut read: Vec<crate::Chunk> = Vec::new();
    loop {
        let next = read.last().map_or(0, |last| last.offset + 1);
        let piece = store.chunks(build.build, next).await.unwrap();
        assert!(piece.len() <= crate::CHUNKS, "{}", piece.len());
        if piece.is_empty() {
            break;
        }
        read.extend(piece);
    }
    assert_eq!(read, expected);
    assert_eq!(store.chunks(build.build, 3).await.unwrap()[0], expected[1]);
    assert_eq!(store.chunks(build.build, 4).await.unwrap()[0], expected[2], "they begin there or later");
    assert!(store.chunks(build.build, u64::MAX).await.unwrap().is_empty());
    build.finish(store, BuildResult::Success).await;
    assert_eq!(store.chunks(build.build, 0).await.unwrap()[0], expected[0]);
    assert!(store.chunks(BuildId(77), 0).await.unwrap().is_empty());
}

pub async fn records_are_numbered_and_counted<S: Store>(store: &S) {
    let (mut build, _) = a_build(store).await;
    assert_eq!(store.recorded(build.build).await.unwrap(), Some(0));
    assert!(store.journal_numbers(build.build, 0).await.unwrap().is_empty());
    for count in [1, 2, 200, 200] {
        build.write(store, Progress { records: vec![Bytes::new(); count], ..build.progress() }).await;
    }
    build.say(store, "no record\n").await;
    assert_eq!(store.recorded(build.build).await.unwrap(), Some(403));
    let all: Vec<i64> = (0..403).collect();
    assert_eq!(store.journal_numbers(build.build, 0).await.unwrap(), all);
    assert_eq!(store.journal_numbers(build.build, 400).await.unwrap(), all[400..]);
    build.finish(store, BuildResult::Success).await;
    assert_eq!(store.recorded(build.build).await.unwrap(), None, "it does not run");
    assert_eq!(store.journal_numbers(build.build, 402).await.unwrap(), all[402..]);
    assert_eq!(store.recorded(BuildId(77)).await.unwrap(), None);
    assert!(store.journal_numbers(BuildId(77), 0).await.unwrap().is_empty());
}

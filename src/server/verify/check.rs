//! What must hold of a stored log. Pure: rows of the store go in, one after the other, defects come out.
//!
//! Chunks follow each other without a gap and without an overlap up to the committed end. What a step printed is covered
//! from its first byte on in the order of the log, and no byte of it twice, up to the step's committed raw offset; when the
//! build has ended, up to where the journal says that the step's output ended. Bytes that are no UTF-8 become U+FFFD, so a
//! text is as long as the raw bytes or, with one of those in it, up to three times. Each chunk is what its sum says.

use std::collections::BTreeMap;

use serde::Serialize;
use sha2::{Digest, Sha256};
use store::Chunk;

/// Most defects that are told one by one; all are counted.
pub(super) const MAX_DEFECTS: usize = 100;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Kind {
    /// Bytes of the log are missing.
    Gap,
    /// Bytes of the log are there twice.
    Overlap,
    /// A chunk without bytes.
    Empty,
    /// The log does not end where its row says.
    End,
    /// Output of a step is missing.
    RawGap,
    /// Output of a step is there twice.
    RawBack,
    /// A chunk that covers no output of its step, or the controller's own that covers some.
    RawRange,
    /// A chunk is not as long as the output that it is made of.
    RawLength,
    /// The output of a step does not end where it was committed.
    RawEnd,
    /// A chunk is not what it was when it was written.
    Sum,
    /// Records of the journal are missing.
    Journal,
    /// The object that holds the log can't be read from there on.
    Unreadable,
    /// A step's spool at its agent is shorter than what the log has of the step.
    SpoolEnd,
    /// The log has other bytes of a step than its spool.
    Spool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Defect {
    pub(super) kind: Kind,
    /// In the log; of a record of the journal, its number.
    pub(super) offset: u64,
    /// Empty when it is about no step.
    pub(super) step: String,
    pub(super) message: String,
}

/// What the running row and the committed raw offsets said at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Committed {
    pub(super) records: Option<i64>,
    pub(super) raw: BTreeMap<String, u64>,
}

/// A check under way.
pub(super) struct Check {
    /// Where the log goes on without a gap.
    at: u64,
    chunks: u64,
    /// The raw offset that each step has reached.
    raw: BTreeMap<String, u64>,
    /// The number of the next record.
    next_record: i64,
    records: u64,
    hash: Sha256,
    /// How many bytes are in it.
    hashed: u64,
    first: Option<First>,
    defects: Vec<Defect>,
    found: u64,
}

/// The first bytes of a log, whose sum is asked for too.
#[derive(Debug, Clone, PartialEq, Eq)]
struct First {
    bytes: u64,
    /// When the log has so many.
    sha256: Option<String>,
}

/// What was found.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Found {
    /// Length of the log.
    pub(super) bytes: u64,
    pub(super) chunks: u64,
    /// Of the bytes of all chunks, in their order.
    pub(super) sha256: String,
    /// Of so many first bytes of the log as was asked for, if it has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first_sha256: Option<String>,
    /// Steps that have printed something.
    pub(super) steps: u64,
    pub(super) raw_bytes: u64,
    pub(super) records: u64,
    pub(super) defect_count: u64,
    /// The first of them.
    pub(super) defects: Vec<Defect>,
}

impl Check {
    /// `first`: the sum of so many first bytes is wanted as well.
    pub(super) fn new(first: Option<u64>) -> Check {
        let mut check = Check {
            at: 0,
            chunks: 0,
            raw: BTreeMap::new(),
            next_record: 0,
            records: 0,
            hash: Sha256::new(),
            hashed: 0,
            first: first.map(|bytes| First { bytes, sha256: None }),
            defects: Vec::new(),
            found: 0,
        };
        check.add(&[]);
        check
    }

    fn add(&mut self, bytes: &[u8]) {
        let (from, mut rest) = (self.hashed, bytes);
        self.hashed += bytes.len() as u64;
        if let Some(first) = self.first.as_mut().filter(|first| first.sha256.is_none())
            && first.bytes <= self.hashed
        {
            let (head, tail) = bytes.split_at(usize::try_from(first.bytes - from).unwrap_or(bytes.len()));
            self.hash.update(head);
            first.sha256 = Some(hex::encode(self.hash.clone().finalize()));
            rest = tail;
        }
        self.hash.update(rest);
    }

    fn defect(&mut self, kind: Kind, offset: u64, step: &str, message: String) {
        self.note(Defect { kind, offset, step: step.to_owned(), message });
    }

    pub(super) fn note(&mut self, defect: Defect) {
        self.found += 1;
        if self.defects.len() < MAX_DEFECTS {
            self.defects.push(defect);
        }
    }

    /// The next chunk by offset.
    pub(super) fn chunk(&mut self, chunk: &Chunk) {
        let (at, offset, length) = (self.at, chunk.offset, chunk.bytes.len() as u64);
        self.chunks += 1;
        self.add(&chunk.bytes);
        if chunk.sum != chunk.checksum() {
            let what = format!("the {length} bytes here are not what was written");
            self.defect(Kind::Sum, offset, &chunk.step, what);
        }
        if offset > at {
            let missing = offset - at;
            self.defect(Kind::Gap, at, &chunk.step, format!("{missing} bytes are missing before {offset}"));
        }
        if offset < at {
            let twice = (at - offset).min(length);
            self.defect(Kind::Overlap, offset, &chunk.step, format!("{twice} bytes are there twice"));
        }
        if length == 0 {
            self.defect(Kind::Empty, offset, &chunk.step, "a chunk has no bytes".to_owned());
        }
        self.at = at.max(offset.saturating_add(length));
        if chunk.step.is_empty() { self.of_controller(chunk) } else { self.of_step(chunk) }
    }

    fn of_controller(&mut self, chunk: &Chunk) {
        let Chunk { offset, raw_from, raw_to, .. } = chunk;
        if (*raw_from, *raw_to) != (0, 0) {
            let what = format!("the controller's own output claims the raw bytes {raw_from} to {raw_to}");
            self.defect(Kind::RawRange, *offset, "", what);
        }
    }

    fn of_step(&mut self, chunk: &Chunk) {
        let Chunk { offset, step, raw_from, raw_to, .. } = chunk;
        let reached = self.raw.get(step).copied().unwrap_or_default();
        if *raw_from > reached {
            let what = format!("the raw bytes {reached} to {raw_from} of step {step} are missing");
            self.defect(Kind::RawGap, *offset, step, what);
        }
        if *raw_from < reached {
            let what = format!("the output of step {step} goes back from raw byte {reached} to {raw_from}");
            self.defect(Kind::RawBack, *offset, step, what);
        }
        if raw_to <= raw_from {
            let what = format!("a chunk of step {step} is made of the raw bytes {raw_from} to {raw_to}");
            self.defect(Kind::RawRange, *offset, step, what);
        }
        let (raw, text) = (raw_to.saturating_sub(*raw_from), chunk.bytes.len() as u64);
        if raw > 0 && !fits(raw, &chunk.bytes) {
            let what = format!("a chunk of step {step} has {text} bytes, made of {raw} raw ones");
            self.defect(Kind::RawLength, *offset, step, what);
        }
        if *raw_to > reached || reached == 0 {
            self.raw.insert(step.clone(), *raw_to);
        }
    }

    /// The number of the next record of the journal.
    pub(super) fn record(&mut self, number: i64) {
        self.records += 1;
        if number != self.next_record {
            let (first, last) = (self.next_record, number.saturating_sub(1));
            let what = match first == last {
                true => format!("record {first} of the journal is missing"),
                false => format!("the records {first} to {last} of the journal are missing"),
            };
            self.defect(Kind::Journal, first.unsigned_abs(), "", what);
        }
        self.next_record = number.saturating_add(1);
    }

    /// All chunks that begin before `end` and all records were seen.
    pub(super) fn ends_at(&mut self, end: u64) {
        let at = self.at;
        if at != end {
            self.defect(Kind::End, at.min(end), "", format!("the log ends at {at}, its row says {end}"));
        }
    }

    /// What follows of the log can't be read, and no more is to be expected of it.
    pub(super) fn unreadable(&mut self, why: &str) {
        let at = self.at;
        self.defect(Kind::Unreadable, at, "", format!("the rest of the log can't be read: {why}"));
    }

    /// What was committed before the log was read is in it.
    pub(super) fn not_below(&mut self, committed: &Committed) {
        for (step, wanted) in &committed.raw {
            let reached = self.raw.get(step).copied().unwrap_or_default();
            if reached < *wanted {
                self.raw_end(step, reached, *wanted);
            }
        }
        let (count, wanted) = (self.next_record, committed.records.unwrap_or_default());
        if count < wanted {
            self.journal_end(count, wanted);
        }
    }

    /// Nothing is in the log that was not committed after it was read.
    pub(super) fn not_above(&mut self, committed: &Committed) {
        for (step, reached) in self.raw.clone() {
            let wanted = committed.raw.get(&step).copied().unwrap_or_default();
            if reached > wanted {
                self.raw_end(&step, reached, wanted);
            }
        }
        let (count, wanted) = (self.next_record, committed.records.unwrap_or_default());
        if count > wanted {
            self.journal_end(count, wanted);
        }
    }

    /// The journal of a build that has ended says how much a step has printed.
    pub(super) fn step_ended(&mut self, step: &str, wanted: u64) {
        let reached = self.raw.get(step).copied().unwrap_or_default();
        if reached < wanted {
            self.raw_end(step, reached, wanted);
        }
    }

    fn raw_end(&mut self, step: &str, reached: u64, wanted: u64) {
        let what =
            format!("the log has the output of step {step} up to raw byte {reached}, committed is {wanted}");
        self.defect(Kind::RawEnd, self.at, step, what);
    }

    fn journal_end(&mut self, count: i64, wanted: i64) {
        let what = format!("the journal has {count} records, its row says {wanted}");
        self.defect(Kind::Journal, count.min(wanted).unsigned_abs(), "", what);
    }

    pub(super) fn found(self) -> Found {
        Found {
            bytes: self.at,
            chunks: self.chunks,
            sha256: hex::encode(self.hash.finalize()),
            first_sha256: self.first.and_then(|first| first.sha256),
            steps: self.raw.len() as u64,
            raw_bytes: self.raw.values().fold(0, |sum, raw| sum.saturating_add(*raw)),
            records: self.records,
            defect_count: self.found,
            defects: self.defects,
        }
    }
}

/// Whether a text can be what so many raw bytes were decoded to.
fn fits(raw: u64, text: &[u8]) -> bool {
    let length = text.len() as u64;
    let replaced = || text.windows(3).any(|three| three == "\u{fffd}".as_bytes());
    length == raw || raw <= length && length <= raw.saturating_mul(3) && replaced()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use model::Millis;

    use super::*;

    fn chunk(offset: u64, step: &str, raw: (u64, u64), text: &'static str) -> Chunk {
        let bytes = Bytes::from_static(text.as_bytes());
        Chunk::new(offset, step.to_owned(), raw, Millis(1), bytes)
    }

    /// Kinds and offsets of what is found, whatever the sums say.
    fn kinds(chunks: &[Chunk], end: u64) -> Vec<(Kind, u64)> {
        let summed = |chunk: &Chunk| Chunk { sum: chunk.checksum(), ..chunk.clone() };
        all_kinds(&chunks.iter().map(summed).collect::<Vec<_>>(), end)
    }

    fn all_kinds(chunks: &[Chunk], end: u64) -> Vec<(Kind, u64)> {
        let mut check = Check::new(None);
        chunks.iter().for_each(|c| check.chunk(c));
        check.ends_at(end);
        check.found().defects.iter().map(|d| (d.kind, d.offset)).collect()
    }

    fn whole() -> Vec<Chunk> {
        vec![
            chunk(0, "", (0, 0), "begin\n"),
            chunk(6, "1", (0, 3), "ab\n"),
            // bytes that are no UTF-8 become longer
            chunk(9, "2", (0, 1), "\u{fffd}"),
            chunk(12, "1", (3, 5), "c\n"),
            chunk(14, "", (0, 0), "end\n"),
        ]
    }

    #[test]
    fn a_whole_log_has_no_defect_and_the_sum_of_its_bytes() {
        let mut check = Check::new(None);
        whole().iter().for_each(|c| check.chunk(c));
        (0..3).for_each(|n| check.record(n));
        check.ends_at(18);
        let raw = [("1".to_owned(), 5), ("2".to_owned(), 1)];
        let committed = Committed { records: Some(3), raw: raw.into() };
        check.not_below(&committed);
        check.not_above(&committed);
        let found = check.found();
        assert_eq!(found.defects, []);
        let text = "begin\nab\n\u{fffd}c\nend\n";
        let sum = hex::encode(Sha256::digest(text));
        let wanted = (18, 5, sum, 2, 6, 3);
        let Found { bytes, chunks, sha256, steps, raw_bytes, records, .. } = found;
        assert_eq!((bytes, chunks, sha256, steps, raw_bytes, records), wanted);
        assert_eq!(kinds(&[], 0), [], "a log may be empty");
        for first in 0..=19 {
            let mut check = Check::new(Some(first as u64));
            whole().iter().for_each(|c| check.chunk(c));
            let found = check.found();
            assert_eq!(found.sha256, hex::encode(Sha256::digest(text)));
            let wanted = text.as_bytes().get(..first).map(|head| hex::encode(Sha256::digest(head)));
            assert_eq!(found.first_sha256, wanted, "{first}");
        }
    }

    #[test]
    fn a_chunk_that_was_changed_or_moved_is_found_by_its_sum() {
        for change in [
            (|chunk| chunk.bytes = Bytes::from_static(b"##\n")) as fn(&mut Chunk),
            |chunk| chunk.offset -= 3,
            |chunk| (chunk.raw_from, chunk.raw_to) = (1, 4),
            |chunk| chunk.step = "3".to_owned(),
            |chunk| chunk.at = Millis(2),
        ] {
            let mut chunks = whole();
            change(&mut chunks[1]);
            let at = chunks[1].offset;
            assert!(all_kinds(&chunks, 18).contains(&(Kind::Sum, at)), "{chunks:?}");
        }
        assert_eq!(all_kinds(&whole(), 18), []);
        // what follows a shorter chunk was moved, so that there is no gap
        let mut chunks = whole();
        chunks[1].bytes = Bytes::from_static(b"a");
        chunks[2..].iter_mut().for_each(|chunk| chunk.offset -= 2);
        let found = all_kinds(&chunks, 16);
        assert_eq!(found[..2], [(Kind::Sum, 6), (Kind::RawLength, 6)]);
        assert_eq!(found[2..], [(Kind::Sum, 7), (Kind::Sum, 10), (Kind::Sum, 12)]);
    }

    #[test]
    fn a_text_is_as_long_as_its_raw_bytes_unless_some_were_replaced() {
        for (raw, text, right) in [
            (3, "abc", true),
            (4, "abc", false),
            (2, "abc", false),
            (1, "\u{fffd}", true),
            (3, "\u{fffd}", true),
            (4, "\u{fffd}", false),
            (4, "a\u{fffd}\u{fffd}", true),
            (2, "a\u{fffd}\u{fffd}", false),
        ] {
            assert_eq!(fits(raw, text.as_bytes()), right, "{raw} {text:?}");
        }
    }

    #[test]
    fn output_that_is_missing_at_the_end_of_a_step_is_told_by_the_journal() {
        let mut check = Check::new(None);
        whole().iter().for_each(|c| check.chunk(c));
        check.step_ended("1", 5);
        check.step_ended("2", 1);
        assert_eq!(check.defects, []);
        check.step_ended("1", 7);
        check.step_ended("4", 1);
        let found: Vec<(Kind, &str)> = check.defects.iter().map(|d| (d.kind, d.step.as_str())).collect();
        assert_eq!(found, [(Kind::RawEnd, "1"), (Kind::RawEnd, "4")]);
    }

    #[test]
    fn every_kind_of_defect_is_found_where_it_is() {
        let planted = |at: usize, change: fn(&mut Chunk)| {
            let mut chunks = whole();
            change(&mut chunks[at]);
            kinds(&chunks, 18)
        };
        assert_eq!(planted(1, |c| c.offset = 7), [(Kind::Gap, 6), (Kind::Overlap, 9)]);
        assert_eq!(planted(4, |c| c.offset = 13), [(Kind::Overlap, 13), (Kind::End, 17)]);
        assert_eq!(planted(4, |c| c.bytes = Bytes::new()), [(Kind::Empty, 14), (Kind::End, 14)]);
        assert_eq!(planted(4, |c| c.bytes = Bytes::from_static(b"ending\n")), [(Kind::End, 18)]);
        assert_eq!(planted(3, |c| c.raw_from = 4), [(Kind::RawGap, 12), (Kind::RawLength, 12)]);
        assert_eq!(planted(3, |c| c.raw_from = 2), [(Kind::RawBack, 12), (Kind::RawLength, 12)]);
        assert_eq!(planted(3, |c| c.raw_to = 3), [(Kind::RawRange, 12)]);
        assert_eq!(planted(2, |c| c.raw_from = 1), [(Kind::RawGap, 9), (Kind::RawRange, 9)]);
        assert_eq!(planted(0, |c| c.raw_to = 6), [(Kind::RawRange, 0)]);
        let mut lost = whole();
        lost.remove(1);
        assert_eq!(kinds(&lost, 18), [(Kind::Gap, 6), (Kind::RawGap, 12)]);
        let mut twice = whole();
        twice.insert(2, twice[1].clone());
        assert_eq!(kinds(&twice, 18), [(Kind::Overlap, 6), (Kind::RawBack, 6)]);
        lost = whole();
        lost.truncate(4);
        assert_eq!(kinds(&lost, 18), [(Kind::End, 14)]);
        assert_eq!(kinds(&[], 18), [(Kind::End, 0)]);
    }

    #[test]
    fn what_was_committed_is_in_the_log_and_no_more() {
        let found = |records: i64, raw: &[(&str, u64)], numbers: &[i64]| {
            let mut check = Check::new(None);
            whole().iter().for_each(|c| check.chunk(c));
            numbers.iter().for_each(|n| check.record(*n));
            let raw = raw.iter().map(|(step, to)| ((*step).to_owned(), *to)).collect();
            let committed = Committed { records: Some(records), raw };
            check.not_below(&committed);
            check.not_above(&committed);
            check.found().defects.into_iter().map(|d| (d.kind, d.message)).collect::<Vec<_>>()
        };
        let right = [("1", 5), ("2", 1)];
        assert_eq!(found(2, &right, &[0, 1]), []);
        let text = |what: &str| what.to_owned();
        let ends = |reached: u64, wanted: u64, step: &str| {
            let what = format!(
                "the log has the output of step {step} up to raw byte {reached}, committed is {wanted}"
            );
            (Kind::RawEnd, what)
        };
        assert_eq!(found(2, &[("1", 9), ("2", 1)], &[0, 1]), [ends(5, 9, "1")]);
        assert_eq!(found(2, &[("1", 4), ("2", 1)], &[0, 1]), [ends(5, 4, "1")]);
        assert_eq!(found(2, &[("1", 5)], &[0, 1]), [ends(1, 0, "2")]);
        assert_eq!(found(2, &[("1", 5), ("2", 1), ("3", 7)], &[0, 1]), [ends(0, 7, "3")]);
        let count = |what: &str| vec![(Kind::Journal, text(what))];
        assert_eq!(found(3, &right, &[0, 1]), count("the journal has 2 records, its row says 3"));
        assert_eq!(found(1, &right, &[0, 1]), count("the journal has 2 records, its row says 1"));
        assert_eq!(found(6, &right, &[0, 1, 5]), count("the records 2 to 4 of the journal are missing"));
        assert_eq!(found(2, &right, &[1]), count("record 0 of the journal is missing"));
    }

    #[test]
    fn defects_are_counted_all_and_told_in_part() {
        let mut check = Check::new(None);
        (0..300).for_each(|n| check.chunk(&chunk(n * 10, "", (0, 0), "x")));
        let found = check.found();
        assert_eq!((found.defect_count, found.defects.len()), (299, MAX_DEFECTS));
    }
}

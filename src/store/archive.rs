//! The log of an ended build as an object: a gzip file, so that `zcat` prints it, in which any place is found without reading
//! what is before it.
//!
//! The file is a row of gzip members (RFC 1952), each of which is whole by itself. First come *segments*: each holds the bytes of
//! some chunks, and in its header's field for extras, under `MJ`, what else there is to know of these chunks. Then comes the
//! *directory*: members without bytes, whose extras, under `MD`, say where in the log and where in the file each segment
//! begins. [`ArchivedLog`], which is in the store, says where the directory begins. All extras are JSON.

use std::io::{Read, Write as _};

use bytes::{Bytes, BytesMut};
use flate2::bufread::GzDecoder;
use flate2::{Compression, GzBuilder};
use model::Millis;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{ArchivedLog, CHUNKS, Chunk, Error, Objects, Result};

/// A segment is closed when it has so many bytes.
const SEGMENT: usize = 256 * 1024;
/// A segment or a piece of the directory is closed before its extras have more bytes: 16 bits say how many they are.
const EXTRAS: usize = 60_000;
/// No segment holds more: one chunk may be as large as a write of a build.
const MOST: u64 = 8 * 1024 * 1024;
/// No directory is larger: it would be of a log of terabytes.
const MOST_DIRECTORY: u64 = 64 * 1024 * 1024;
/// Segments of a directory's member. Two numbers of up to twenty digits each.
const PLACES: usize = 1_000;

/// What the extras of a segment say of a chunk: length, step, raw range, time, sum.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Entry(u64, String, u64, u64, i64, u32);

/// Where a segment begins: in the log, in the file.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Place(u64, u64);

/// Makes the file, piece by piece.
#[derive(Debug, Default)]
pub struct Packer {
    open: Segment,
    places: Vec<Place>,
    size: u64,
}

/// Chunks that become one member of the file.
#[derive(Debug, Default)]
pub struct Segment {
    /// Where it begins in the log.
    start: u64,
    bytes: BytesMut,
    entries: Vec<Entry>,
    /// At least as many bytes as its extras will have.
    extras: usize,
}

impl Packer {
    /// Takes the next chunk. Gives the segment before, if that is full: [`Segment::pack`] it, write that, and tell
    /// [`Packer::wrote`]. `Error::Corrupt`: the chunk does not begin where the one before ends.
    pub fn add(&mut self, chunk: &Chunk) -> Result<Option<Segment>> {
        if chunk.offset != self.open.end() {
            let (at, end) = (chunk.offset, self.open.end());
            return Err(Error::Corrupt(format!("the log has a chunk at {at} after one that ends at {end}")));
        }
        // Quotes and commas, five numbers, and each byte of the step as long as an escape.
        let extras = 128 + 6 * chunk.step.len();
        if extras > EXTRAS {
            return Err(Error::Corrupt(format!("the step of a chunk has {} bytes", chunk.step.len())));
        }
        let full = self.open.bytes.len() >= SEGMENT || self.open.extras + extras > EXTRAS;
        let full = full.then(|| {
            let next = Segment { start: self.open.end(), ..Segment::default() };
            std::mem::replace(&mut self.open, next)
        });
        self.open.bytes.extend_from_slice(&chunk.bytes);
        self.open.extras += extras;
        let length = chunk.bytes.len() as u64;
        let step = chunk.step.clone();
        self.open.entries.push(Entry(length, step, chunk.raw_from, chunk.raw_to, chunk.at.0, chunk.sum));
        Ok(full)
    }

    /// Where the next chunk must begin: the length of the log so far.
    pub fn end(&self) -> u64 {
        self.open.end()
    }

    /// The last segment, if there is one.
    pub fn last(&mut self) -> Option<Segment> {
        let next = Segment { start: self.open.end(), ..Segment::default() };
        let last = std::mem::replace(&mut self.open, next);
        (!last.entries.is_empty()).then_some(last)
    }

    /// The segment that begins at `start` in the log has that many bytes in the file.
    pub fn wrote(&mut self, start: u64, bytes: usize) {
        self.places.push(Place(start, self.size));
        self.size += bytes as u64;
    }

    /// The directory, which is written after all segments, and what is to be said of the file.
    pub fn finish(self, object: String) -> Result<(Bytes, ArchivedLog)> {
        let mut directory = Vec::new();
        for places in self.places.chunks(PLACES) {
            directory.extend(member(*b"MD", &places, &[])?);
        }
        let size = self.size + directory.len() as u64;
        Ok((Bytes::from(directory), ArchivedLog { object, directory: self.size, size }))
    }
}

impl Segment {
    /// Where it begins in the log.
    pub fn start(&self) -> u64 {
        self.start
    }

    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// As a member of the file. Takes milliseconds of a core.
    pub fn pack(&self) -> Result<Bytes> {
        member(*b"MJ", &self.entries, &self.bytes).map(Bytes::from)
    }

    /// From a member of the file.
    fn unpack(start: u64, packed: &[u8]) -> Result<Segment> {
        let (entries, bytes): (Vec<Entry>, _) = read_member(*b"MJ", &mut &packed[..])?;
        if entries.iter().try_fold(0u64, |sum, e| sum.checked_add(e.0)) != Some(bytes.len() as u64) {
            return Err(broken("a segment has not the bytes that it names"));
        }
        Ok(Segment { start, bytes: BytesMut::from(&bytes[..]), entries, extras: 0 })
    }

    /// Its chunks, as they were.
    fn chunks(self) -> impl Iterator<Item = Chunk> {
        let (mut at, mut rest) = (self.start, self.bytes.freeze());
        self.entries.into_iter().map(move |Entry(length, step, raw_from, raw_to, millis, sum)| {
            // `unpack` has seen that they are all there.
            let bytes = rest.split_to(usize::try_from(length).unwrap_or(usize::MAX).min(rest.len()));
            let offset = at;
            at += length;
            Chunk { offset, step, raw_from, raw_to, at: Millis(millis), bytes, sum }
        })
    }
}

/// One gzip member.
fn member(id: [u8; 2], said: &impl Serialize, bytes: &[u8]) -> Result<Vec<u8>> {
    let wrong = |e: &dyn std::fmt::Display| Error::Corrupt(format!("a log can't be packed: {e}"));
    let said = serde_json::to_vec(said).map_err(|e| wrong(&e))?;
    let length = u16::try_from(said.len()).map_err(|e| wrong(&e))?;
    let mut extras = id.to_vec();
    extras.extend(length.to_le_bytes());
    extras.extend(said);
    let mut packed = GzBuilder::new().extra(extras).write(Vec::new(), Compression::default());
    packed.write_all(bytes).and_then(|()| packed.finish()).map_err(|e| wrong(&e))
}

/// Reads the next member: what its extras say, and its bytes.
fn read_member<T: DeserializeOwned>(id: [u8; 2], from: &mut &[u8]) -> Result<(T, Vec<u8>)> {
    let mut member = GzDecoder::new(from);
    let mut bytes = Vec::new();
    let read = (&mut member).take(MOST + 1).read_to_end(&mut bytes);
    read.map_err(|e| broken(&e.to_string()))?;
    if bytes.len() as u64 > MOST {
        return Err(broken("a member is too large"));
    }
    let extras = member.header().and_then(|header| header.extra()).unwrap_or_default();
    let said = match extras.split_at_checked(4) {
        Some((head, said))
            if head[..2] == id && usize::from(u16::from_le_bytes([head[2], head[3]])) == said.len() =>
        {
            said
        }
        Some(_) | None => return Err(broken("a member is another one than expected")),
    };
    let said = serde_json::from_slice(said).map_err(|e| broken(&e.to_string()))?;
    Ok((said, bytes))
}

fn broken(why: &str) -> Error {
    Error::Corrupt(format!("the object of a log: {why}"))
}

/// Bytes of the log from `from` on, `max` at most, fewer only at the end. `None`: the object is gone.
pub async fn bytes(
    objects: &dyn Objects,
    log: &ArchivedLog,
    from: u64,
    max: usize,
) -> Result<Option<Vec<u8>>> {
    let Some(places) = directory(objects, log).await? else { return Ok(None) };
    let (mut bytes, mut at) = (Vec::new(), segment_of(&places, from));
    while at < places.len() && bytes.len() < max {
        let Some(segment) = segment(objects, log, &places, at).await? else { return Ok(None) };
        let skip = usize::try_from(from.saturating_sub(segment.start)).unwrap_or(usize::MAX);
        let rest = segment.bytes.get(skip..).unwrap_or_default();
        bytes.extend_from_slice(&rest[..rest.len().min(max - bytes.len())]);
        at += 1;
    }
    Ok(Some(bytes))
}

/// Chunks that begin at `from` or later, [`CHUNKS`] at most. `None`: the object is gone.
pub async fn chunks(objects: &dyn Objects, log: &ArchivedLog, from: u64) -> Result<Option<Vec<Chunk>>> {
    let Some(places) = directory(objects, log).await? else { return Ok(None) };
    let (mut chunks, mut at) = (Vec::new(), segment_of(&places, from));
    while at < places.len() && chunks.len() < CHUNKS {
        let Some(segment) = segment(objects, log, &places, at).await? else { return Ok(None) };
        chunks.extend(segment.chunks().filter(|chunk| chunk.offset >= from).take(CHUNKS - chunks.len()));
        at += 1;
    }
    Ok(Some(chunks))
}

/// Where the segment is in which `from` is.
fn segment_of(places: &[Place], from: u64) -> usize {
    places.partition_point(|place| place.0 <= from).saturating_sub(1)
}

async fn directory(objects: &dyn Objects, log: &ArchivedLog) -> Result<Option<Vec<Place>>> {
    let size = log.size.saturating_sub(log.directory);
    if size > MOST_DIRECTORY {
        return Err(broken("its directory is too large"));
    }
    let Some(packed) = range(objects, log, log.directory, size).await? else { return Ok(None) };
    let (mut places, mut rest) = (Vec::new(), &packed[..]);
    while !rest.is_empty() {
        let (some, _): (Vec<Place>, _) = read_member(*b"MD", &mut rest)?;
        places.extend(some);
    }
    let begins = places.first().is_none_or(|first| *first == Place(0, 0));
    let rises = places.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 < two[1].1);
    let within = places.last().is_none_or(|last| last.1 < log.directory);
    if begins && rises && within { Ok(Some(places)) } else { Err(broken("its directory is in disorder")) }
}

async fn segment(
    objects: &dyn Objects,
    log: &ArchivedLog,
    places: &[Place],
    at: usize,
) -> Result<Option<Segment>> {
    let Place(start, from) = places[at];
    let until = places.get(at + 1).map_or(log.directory, |next| next.1);
    if until - from > MOST {
        return Err(broken("a segment is too large"));
    }
    let Some(packed) = range(objects, log, from, until - from).await? else { return Ok(None) };
    Segment::unpack(start, &packed).map(Some)
}

/// Exactly these bytes of the object.
async fn range(objects: &dyn Objects, log: &ArchivedLog, from: u64, size: u64) -> Result<Option<Bytes>> {
    let most = usize::try_from(size).map_err(|e| broken(&e.to_string()))?;
    match objects.get(&log.object, from, most).await? {
        Some(bytes) if bytes.len() == most => Ok(Some(bytes)),
        Some(_) => Err(broken("it is shorter than it was")),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryObjects;

    /// Chunks of many sizes, some of steps and some of the controller.
    fn log(count: u64, size: usize) -> Vec<Chunk> {
        let (mut offset, mut chunks) = (0, Vec::new());
        for n in 0..count {
            let length = 1 + (usize::try_from(n).unwrap() * 7919) % size;
            let text: String = format!("line {n} of many\n").chars().cycle().take(length).collect();
            let step = if n % 3 == 0 { String::new() } else { format!("0.{}", n % 5) };
            let raw = if step.is_empty() { (0, 0) } else { (n, n + length as u64) };
            let at = Millis(1_700_000_000_000 + i64::try_from(n).unwrap());
            chunks.push(Chunk::new(offset, step, raw, at, Bytes::from(text)));
            offset += length as u64;
        }
        chunks
    }

    async fn packed(chunks: &[Chunk]) -> (MemoryObjects, ArchivedLog) {
        let (mut packer, mut file) = (Packer::default(), Vec::new());
        let mut write = |packer: &mut Packer, segment: Segment| {
            let bytes = segment.pack().unwrap();
            packer.wrote(segment.start(), bytes.len());
            file.extend_from_slice(&bytes);
        };
        for chunk in chunks {
            if let Some(segment) = packer.add(chunk).unwrap() {
                write(&mut packer, segment);
            }
        }
        if let Some(segment) = packer.last() {
            write(&mut packer, segment);
        }
        let (directory, log) = packer.finish("logs/1/1.gz".into()).unwrap();
        file.extend_from_slice(&directory);
        let objects = MemoryObjects::new();
        assert_eq!(file.len() as u64, log.size);
        objects.put(&log.object, Bytes::from(file)).await.unwrap();
        (objects, log)
    }

    fn text(chunks: &[Chunk]) -> Vec<u8> {
        chunks.iter().flat_map(|chunk| chunk.bytes.to_vec()).collect()
    }

    async fn all_chunks(objects: &MemoryObjects, log: &ArchivedLog) -> Vec<Chunk> {
        let (mut all, mut from) = (Vec::new(), 0);
        loop {
            let page = chunks(objects, log, from).await.unwrap().unwrap();
            assert!(page.len() <= CHUNKS);
            let Some(last) = page.last() else { return all };
            from = last.offset + 1;
            all.extend(page);
        }
    }

    #[tokio::test]
    async fn what_was_packed_is_read_from_any_place() {
        // Many small ones, which fill extras; few large ones, which fill segments; one; none.
        for (count, size) in [(5_000, 40), (60, 200_000), (1, 10), (0, 1)] {
            let chunks = log(count, size);
            let (objects, log) = packed(&chunks).await;
            let whole = text(&chunks);
            assert_eq!(all_chunks(&objects, &log).await, chunks);
            let length = whole.len() as u64;
            for from in [0, 1, length / 3, length / 2, length.saturating_sub(1), length, length + 9, u64::MAX]
            {
                let begin = usize::try_from(from.min(length)).unwrap();
                for max in [0, 1, 1_000, 700_000] {
                    let wanted = &whole[begin..whole.len().min(begin + max)];
                    let read = bytes(&objects, &log, from, max).await.unwrap().unwrap();
                    assert!(read == wanted, "{count} chunks, {max} bytes from {from}");
                }
            }
        }
    }

    #[tokio::test]
    async fn the_object_is_a_gzip_file_of_the_log() {
        let chunks = log(300, 9_000);
        let (objects, log) = packed(&chunks).await;
        let file = objects.get(&log.object, 0, usize::MAX).await.unwrap().unwrap();
        let mut plain = Vec::new();
        flate2::read::MultiGzDecoder::new(&file[..]).read_to_end(&mut plain).unwrap();
        assert!(plain == text(&chunks));
        assert!(file.len() < plain.len() / 4, "{} bytes of {}", file.len(), plain.len());
    }

    #[tokio::test]
    async fn a_hole_is_not_packed() {
        let chunks = log(3, 10);
        let mut packer = Packer::default();
        assert!(packer.add(&chunks[0]).unwrap().is_none());
        assert!(matches!(packer.add(&chunks[2]), Err(Error::Corrupt(_))));
        assert!(packer.add(&chunks[1]).unwrap().is_none());
        assert_eq!(packer.end(), chunks[2].offset);
    }

    #[tokio::test]
    async fn a_damaged_object_is_told_from_one_that_is_gone() {
        let made = log(200, 20_000);
        let (objects, log) = packed(&made).await;
        let file = objects.get(&log.object, 0, usize::MAX).await.unwrap().unwrap();
        for at in (0..file.len()).step_by(file.len() / 300) {
            let mut other = file.to_vec();
            other[at] ^= 0x10;
            objects.put(&log.object, Bytes::from(other)).await.unwrap();
            let (mut from, mut seen) = (0, Vec::new());
            // Whatever was changed is an error, or shows in a sum, or was of no meaning (a time stamp of gzip's).
            let read = loop {
                match chunks(&objects, &log, from).await {
                    Ok(Some(page)) if page.is_empty() => break Ok(seen),
                    Ok(Some(page)) => {
                        from = page.last().unwrap().offset + 1;
                        seen.extend(page);
                    }
                    Ok(None) => break Err(Error::NotFound("it".into())),
                    Err(error) => break Err(error),
                }
            };
            match read {
                Err(error) => assert_eq!(error.reason(), "Corrupt", "byte {at}"),
                Ok(seen) => assert!(seen == made || seen.iter().any(|c| c.sum != c.checksum()), "byte {at}"),
            }
        }
        for size in [0, 1, file.len() / 2, file.len() - 1] {
            objects.put(&log.object, file.slice(..size)).await.unwrap();
            assert_eq!(bytes(&objects, &log, 0, 10).await.unwrap_err().reason(), "Corrupt", "{size} bytes");
        }
        objects.delete(&log.object).await.unwrap();
        assert_eq!(bytes(&objects, &log, 0, 10).await.unwrap(), None);
        assert_eq!(chunks(&objects, &log, 0).await.unwrap(), None);
    }
}

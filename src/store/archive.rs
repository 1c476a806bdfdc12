//! The log of an ended build as an object: a gzip file, so that `zcat` prints it, in which any place is found without reading
//! what is before it.
//!
//! The file is a row of gzip members (RFC 1952), each of which is whole by itself. First come *segments*: each holds the bytes of
//! some chunks, and in its header's field for extras, under `MJ`, what else there is to know of these chunks. Then comes the
//! *directory*: members without bytes, whose extras, under `MD`, say where in the log and where in the file each segment
//! begins. [`ArchivedLog`], which is in the store, says where the directory begins. All extras are JSON.

use std::io::{Read, Write as _};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use flate2::bufread::GzDecoder;
use flate2::{Compression, GzBuilder};
use model::{BuildId, Millis};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{ArchivedLog, Chunk, Error, Objects, Result};

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
    /// Bytes of its extras, without the brackets.
    extras: usize,
}

/// Below it are the objects of a build's log: one, and what attempts to make one have left that were killed.
pub fn prefix(build: BuildId) -> String {
    format!("logs/{build}")
}

/// Refuses a key that is not of the log of this build.
pub fn check_key_of(build: BuildId, key: &str) -> Result<()> {
    match key.strip_prefix(&prefix(build)).is_some_and(|rest| rest.starts_with('/')) {
        true => crate::check_key(key),
        false => Err(Error::Conflict(format!("{key:?} is no key of the log of build {build}"))),
    }
}

impl Packer {
    /// Takes the next chunk. Gives the segment before, if that is full: [`Segment::pack`] it, write that, and tell
    /// [`Packer::wrote`]. `Error::Corrupt`: the chunk does not begin where the one before ends, or is larger than any that a
    /// build writes.
    pub fn add(&mut self, chunk: &Chunk) -> Result<Option<Segment>> {
        let (at, length, end) = (chunk.offset, chunk.bytes.len(), self.open.end());
        if at != end {
            return Err(Error::Corrupt(format!("the log has a chunk at {at} after one that ends at {end}")));
        }
        let step = chunk.step.clone();
        let entry = Entry(length as u64, step, chunk.raw_from, chunk.raw_to, chunk.at.0, chunk.sum);
        let extras = serde_json::to_vec(&entry).map_or(usize::MAX, |json| json.len() + 1);
        if extras > EXTRAS || (SEGMENT + length) as u64 > MOST {
            return Err(Error::Corrupt(format!("the log has a chunk at {at} that is too large")));
        }
        let full = self.open.bytes.len() >= SEGMENT || self.open.extras + extras > EXTRAS;
        let full = full.then(|| self.close());
        self.open.bytes.extend_from_slice(&chunk.bytes);
        self.open.extras += extras;
        self.open.entries.push(entry);
        Ok(full)
    }

    /// Where the next chunk must begin: the length of the log so far.
    pub fn end(&self) -> u64 {
        self.open.end()
    }

    /// The last segment, if there is one.
    pub fn last(&mut self) -> Option<Segment> {
        let last = self.close();
        (!last.entries.is_empty()).then_some(last)
    }

    fn close(&mut self) -> Segment {
        let next = Segment { start: self.open.end(), ..Segment::default() };
        std::mem::replace(&mut self.open, next)
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

    /// From a member of the file; the error says what is wrong with that.
    fn unpack(start: u64, packed: &[u8]) -> Result<Segment, String> {
        let (entries, bytes): (Vec<Entry>, _) = read_member(*b"MJ", &mut &packed[..])?;
        if entries.iter().try_fold(0u64, |sum, e| sum.checked_add(e.0)) != Some(bytes.len() as u64) {
            return Err("a segment has not the bytes that it names".to_owned());
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
fn read_member<T: DeserializeOwned>(id: [u8; 2], from: &mut &[u8]) -> Result<(T, Vec<u8>), String> {
    let mut member = GzDecoder::new(from);
    let mut bytes = Vec::new();
    (&mut member).take(MOST + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if bytes.len() as u64 > MOST {
        return Err("a member is too large".to_owned());
    }
    let extras = member.header().and_then(|header| header.extra()).unwrap_or_default();
    let said = match extras.split_at_checked(4) {
        Some((head, said))
            if head[..2] == id && usize::from(u16::from_le_bytes([head[2], head[3]])) == said.len() =>
        {
            said
        }
        Some(_) | None => return Err("a member is another one than expected".to_owned()),
    };
    let said = serde_json::from_slice(said).map_err(|e| e.to_string())?;
    Ok((said, bytes))
}

/// What is said of a log whose object is not there, though its build is.
pub fn gone(object: &str) -> Error {
    Error::Corrupt(format!("the object {object} of a log is gone"))
}

/// Reads a log that is an object. It has read the directory, once; cheap to clone.
#[derive(Clone)]
pub struct Reader {
    objects: Arc<dyn Objects>,
    log: ArchivedLog,
    places: Arc<[Place]>,
}

impl Reader {
    /// `None`: the object is gone.
    pub async fn open(objects: Arc<dyn Objects>, log: ArchivedLog) -> Result<Option<Reader>> {
        let mut reader = Reader { objects, log, places: Arc::default() };
        let size = reader.log.size.saturating_sub(reader.log.directory);
        if size > MOST_DIRECTORY {
            return Err(reader.broken("its directory is too large"));
        }
        let Some(packed) = reader.range(reader.log.directory, size).await? else { return Ok(None) };
        let (mut places, mut rest) = (Vec::new(), &packed[..]);
        while !rest.is_empty() {
            let (some, _): (Vec<Place>, _) =
                read_member(*b"MD", &mut rest).map_err(|why| reader.broken(&why))?;
            places.extend(some);
        }
        let begins = places.first().is_none_or(|first| *first == Place(0, 0));
        let rises = places.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 < two[1].1);
        let within = places.last().is_none_or(|last| last.1 < reader.log.directory);
        if !(begins && rises && within) {
            return Err(reader.broken("its directory is in disorder"));
        }
        reader.places = places.into();
        Ok(Some(reader))
    }

    /// Which object it reads.
    pub fn log(&self) -> &ArchivedLog {
        &self.log
    }

    /// Bytes of the log from `from` on, `max` at most, fewer only at the end. `None`: the object is gone.
    pub async fn bytes(&self, from: u64, max: usize) -> Result<Option<Vec<u8>>> {
        let (mut bytes, mut at) = (Vec::new(), self.segment_of(from));
        while at < self.places.len() && bytes.len() < max {
            let Some(segment) = self.segment(at).await? else { return Ok(None) };
            let skip = usize::try_from(from.saturating_sub(segment.start)).unwrap_or(usize::MAX);
            let rest = segment.bytes.get(skip..).unwrap_or_default();
            bytes.extend_from_slice(&rest[..rest.len().min(max - bytes.len())]);
            at += 1;
        }
        Ok(Some(bytes))
    }

    /// Chunks that begin at `from` or later: those of one segment, none only at the end. `None`: the object is gone.
    pub async fn chunks(&self, from: u64) -> Result<Option<Vec<Chunk>>> {
        let mut at = self.segment_of(from);
        while at < self.places.len() {
            let Some(segment) = self.segment(at).await? else { return Ok(None) };
            let chunks: Vec<Chunk> = segment.chunks().filter(|chunk| chunk.offset >= from).collect();
            if !chunks.is_empty() {
                return Ok(Some(chunks));
            }
            at += 1;
        }
        Ok(Some(Vec::new()))
    }

    /// Where the segment is in which `from` is.
    fn segment_of(&self, from: u64) -> usize {
        self.places.partition_point(|place| place.0 <= from).saturating_sub(1)
    }

    async fn segment(&self, at: usize) -> Result<Option<Segment>> {
        let Place(start, from) = self.places[at];
        let until = self.places.get(at + 1).map_or(self.log.directory, |next| next.1);
        if until - from > MOST {
            return Err(self.broken("a segment is too large"));
        }
        let Some(packed) = self.range(from, until - from).await? else { return Ok(None) };
        // It takes a core for a millisecond, which others must not wait for.
        let segment = tokio::task::spawn_blocking(move || Segment::unpack(start, &packed)).await;
        let segment = segment.map_err(|e| Error::Unavailable(e.to_string()))?;
        segment.map(Some).map_err(|why| self.broken(&why))
    }

    /// Exactly these bytes of the object.
    async fn range(&self, from: u64, size: u64) -> Result<Option<Bytes>> {
        let most = usize::try_from(size).map_err(|e| self.broken(&e.to_string()))?;
        match self.objects.get(&self.log.object, from, most).await? {
            Some(bytes) if bytes.len() == most => Ok(Some(bytes)),
            Some(_) => Err(self.broken("it is shorter than it was")),
            None => Ok(None),
        }
    }

    fn broken(&self, why: &str) -> Error {
        Error::Corrupt(format!("the object {} of a log: {why}", self.log.object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Failing, Memory, MemoryObjects, Store};

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

    fn shared(objects: &MemoryObjects) -> Arc<dyn Objects> {
        Arc::new(objects.clone())
    }

    async fn opened(objects: &MemoryObjects, log: &ArchivedLog) -> Result<Option<Reader>> {
        Reader::open(shared(objects), log.clone()).await
    }

    async fn all_chunks(reader: &Reader) -> Vec<Chunk> {
        let (mut all, mut from) = (Vec::new(), 0);
        loop {
            let page = reader.chunks(from).await.unwrap().unwrap();
            let Some(last) = page.last() else { return all };
            from = last.offset + last.bytes.len() as u64;
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
            let reader = opened(&objects, &log).await.unwrap().unwrap();
            assert_eq!(all_chunks(&reader).await, chunks);
            let length = whole.len() as u64;
            for from in [0, 1, length / 3, length / 2, length.saturating_sub(1), length, length + 9, u64::MAX]
            {
                let begin = usize::try_from(from.min(length)).unwrap();
                for max in [0, 1, 1_000, 700_000] {
                    let wanted = &whole[begin..whole.len().min(begin + max)];
                    let read = reader.bytes(from, max).await.unwrap().unwrap();
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
    async fn who_reads_on_reads_each_segment_once_and_the_directory_once() {
        for (count, size) in [(20_000, 40), (60, 200_000)] {
            let (objects, log) = packed(&log(count, size)).await;
            let memory = Memory::new();
            let file = objects.get(&log.object, 0, usize::MAX).await.unwrap().unwrap();
            memory.kept().put(&log.object, file).await.unwrap();
            let counting = Failing::new(memory);
            let reader = Reader::open(counting.objects(), log).await.unwrap().unwrap();
            let segments = reader.places.len();
            assert!(segments > 5, "{segments}");
            assert_eq!(all_chunks(&reader).await.len() as u64, count);
            // and once more the last one, to see that nothing follows
            assert_eq!(counting.object_uses(), 1 + segments as u64 + 1);
        }
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
        let made = log(150, 6_000);
        let (objects, log) = packed(&made).await;
        let file = objects.get(&log.object, 0, usize::MAX).await.unwrap().unwrap();
        for at in (0..file.len()).step_by(file.len() / 150) {
            let mut other = file.to_vec();
            other[at] ^= 0x10;
            objects.put(&log.object, Bytes::from(other)).await.unwrap();
            // Whatever was changed is an error, or shows in a sum, or was of no meaning (a time stamp of gzip's).
            let read = async {
                let reader = opened(&objects, &log).await?.expect("it is there");
                let (mut from, mut seen) = (0, Vec::new());
                loop {
                    let page = reader.chunks(from).await?.expect("it is there");
                    let Some(last) = page.last() else { return Ok::<_, Error>(seen) };
                    from = last.offset + 1;
                    seen.extend(page);
                }
            };
            match read.await {
                Err(error) => assert_eq!(error.reason(), "Corrupt", "byte {at}"),
                Ok(seen) => assert!(seen == made || seen.iter().any(|c| c.sum != c.checksum()), "byte {at}"),
            }
        }
        for size in [0, 1, file.len() / 2, file.len() - 1] {
            objects.put(&log.object, file.slice(..size)).await.unwrap();
            let error = opened(&objects, &log).await.err().expect("it is cut off");
            assert_eq!(error.reason(), "Corrupt", "{size} bytes");
            assert!(error.to_string().contains(&log.object), "{error}");
        }
        objects.put(&log.object, file).await.unwrap();
        let reader = opened(&objects, &log).await.unwrap().unwrap();
        objects.delete(&log.object).await.unwrap();
        assert_eq!(reader.bytes(0, 10).await.unwrap(), None);
        assert_eq!(reader.chunks(0).await.unwrap(), None);
        assert!(opened(&objects, &log).await.unwrap().is_none());
    }
}

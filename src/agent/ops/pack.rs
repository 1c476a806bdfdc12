//! A set of files as a gzipped tar. Links are stored as links; what is neither file nor link is left out.

use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use remoting::ops::{FileSet, MAX_PIECE, OpResult};
use tar::{Builder, EntryType, Header};

use super::walk::{Found, walk};
use super::{OpError, Pipe};

pub(super) fn pack(dir: &Path, files: &FileSet, pipe: &Pipe) -> Result<OpResult, OpError> {
    let out = BufWriter::with_capacity(MAX_PIECE, pipe.clone());
    let mut archive = Builder::new(GzEncoder::new(out, Compression::fast()));
    let (mut count, mut bytes) = (0, 0);
    walk(dir, files, pipe, &mut |found| {
        count += 1;
        bytes +=
            if found.link { add_link(&mut archive, &found)? } else { add_file(&mut archive, &found, pipe)? };
        Ok(())
    })?;
    let mut out = archive.into_inner()?.finish()?;
    out.flush()?;
    Ok(OpResult::Count { files: count, bytes })
}

fn add_link<W: Write>(archive: &mut Builder<W>, found: &Found) -> Result<u64, OpError> {
    let target = fs::read_link(&found.path).map_err(|e| OpError::at(&found.path, e))?;
    let data = fs::symlink_metadata(&found.path).map_err(|e| OpError::at(&found.path, e))?;
    let mut header = Header::new_gnu();
    header.set_metadata_in_mode(&data, tar::HeaderMode::Complete);
    nobody(&mut header);
    header.set_entry_type(EntryType::Symlink);
    header.set_size(0);
    archive.append_link(&mut header, &found.name, &target)?;
    Ok(0)
}

fn add_file<W: Write>(archive: &mut Builder<W>, found: &Found, pipe: &Pipe) -> Result<u64, OpError> {
    let file = File::open(&found.path).map_err(|e| OpError::at(&found.path, e))?;
    let data = file.metadata().map_err(|e| OpError::at(&found.path, e))?;
    let mut header = Header::new_gnu();
    header.set_metadata_in_mode(&data, tar::HeaderMode::Complete);
    nobody(&mut header);
    // The header promises this many bytes; a file that grows meanwhile is cut, one that shrinks can't be packed.
    let mut content = Exactly { from: file.take(data.len()), left: data.len(), pipe };
    let added = archive.append_data(&mut header, &found.name, &mut content);
    added.map_err(|source| OpError::Io { path: found.path.clone(), source })?;
    Ok(data.len())
}

/// Who owned a file means nothing where it is unpacked.
fn nobody(header: &mut Header) {
    header.set_uid(0);
    header.set_gid(0);
}

struct Exactly<'a, R> {
    from: R,
    left: u64,
    pipe: &'a Pipe,
}

impl<R: Read> Read for Exactly<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.pipe.check()?;
        let length = self.from.read(into)?;
        if length == 0 && self.left > 0 && !into.is_empty() {
            return Err(std::io::Error::other("it became shorter while it was packed"));
        }
        self.left = self.left.saturating_sub(length as u64);
        Ok(length)
    }
}

//! Unpacking a gzipped tar that somebody else made: nothing of it may land, or point, outside the folder.
//!
//! Long names are read here and not by the tar crate, which would take as much memory as the archive asks for.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use flate2::read::GzDecoder;
use remoting::ops::{MAX_PIECE, OpResult};
use tar::{Archive, Entry, EntryType, PaxExtensions};

use super::files::copy;
use super::{OpError, Pipe};

/// Entries of one archive.
const MAX_ENTRIES: u64 = 1_000_000;
/// Longest name, and largest set of extended headers, of one entry.
const MAX_NAME: u64 = 64 * 1024;
/// What may follow the end of the archive.
const MAX_TAIL: u64 = 1024 * 1024;

/// Extended headers that apply to the next entry.
#[derive(Default)]
struct Ahead {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

pub(super) fn unpack(dir: &Path, pipe: &Pipe) -> Result<OpResult, OpError> {
    fs::create_dir_all(dir).map_err(|e| OpError::at(dir, e))?;
    let root = fs::canonicalize(dir).map_err(|e| OpError::at(dir, e))?;
    let mut archive = Archive::new(BufReader::with_capacity(MAX_PIECE, GzDecoder::new(pipe.clone())));
    let (mut files, mut bytes, mut seen) = (0, 0, 0);
    let mut ahead = Ahead::default();
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry?;
        pipe.check()?;
        seen += 1;
        if seen > MAX_ENTRIES {
            return Err(OpError::Failed(format!("the archive has more than {MAX_ENTRIES} entries")));
        }
        if ahead.read(&mut entry)? {
            continue;
        }
        let name = ahead.name.take().unwrap_or_else(|| entry.path_bytes().into_owned());
        let link = ahead.link.take().or_else(|| entry.link_name_bytes().map(|l| l.into_owned()));
        if let Some(size) = place(&root, &mut entry, &name, link)? {
            files += 1;
            bytes += size;
        }
    }
    // The checksum comes last.
    io::copy(&mut archive.into_inner().take(MAX_TAIL), &mut io::sink())?;
    Ok(OpResult::Count { files, bytes })
}

impl Ahead {
    /// → whether the entry only tells of the next one
    fn read(&mut self, entry: &mut Entry<'_, impl Read>) -> Result<bool, OpError> {
        match entry.header().entry_type() {
            EntryType::GNULongName => self.name = Some(without_nul(bounded(entry)?)),
            EntryType::GNULongLink => self.link = Some(without_nul(bounded(entry)?)),
            EntryType::XHeader => {
                let content = bounded(entry)?;
                for extension in PaxExtensions::new(&content) {
                    let extension = extension?;
                    match extension.key_bytes() {
                        b"path" => self.name = Some(extension.value_bytes().to_vec()),
                        b"linkpath" => self.link = Some(extension.value_bytes().to_vec()),
                        b"size" => {
                            return Err(OpError::Failed(
                                "the archive has files of 8 GiB in pax headers".into(),
                            ));
                        }
                        _ => {}
                    }
                }
            }
            EntryType::XGlobalHeader => {
                bounded(entry)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn bounded(entry: &mut Entry<'_, impl Read>) -> Result<Vec<u8>, OpError> {
    if entry.size() > MAX_NAME {
        return Err(OpError::Failed(format!("the archive has a name of more than {MAX_NAME} bytes")));
    }
    let mut content = Vec::new();
    entry.read_to_end(&mut content)?;
    Ok(content)
}

fn without_nul(mut name: Vec<u8>) -> Vec<u8> {
    while name.last() == Some(&0) {
        name.pop();
    }
    name
}

/// Puts one entry into its place. → bytes of a file; nothing for a folder
fn place(
    root: &Path,
    entry: &mut Entry<'_, impl Read>,
    name: &[u8],
    link: Option<Vec<u8>>,
) -> Result<Option<u64>, OpError> {
    let relative = inside(name)?;
    let kind = entry.header().entry_type();
    if relative.as_os_str().is_empty() {
        return if kind.is_dir() { Ok(None) } else { Err(refuse(name, "has no name")) };
    }
    let path = root.join(&relative);
    if kind.is_dir() {
        fs::create_dir_all(&path).map_err(|e| io_at(&path, e))?;
        stays_inside(root, &path, name)?;
        return Ok(None);
    }
    let parent = path.parent().unwrap_or(root);
    fs::create_dir_all(parent).map_err(|e| io_at(parent, e))?;
    stays_inside(root, parent, name)?;
    let target = || link.ok_or_else(|| refuse(name, "is a link to nothing"));
    match kind {
        EntryType::Regular | EntryType::Continuous => {
            make_room(&path)?;
            write_file(&path, entry).map(Some)
        }
        EntryType::Symlink => {
            let target = target()?;
            let to = Path::new(std::ffi::OsStr::from_bytes(&target));
            link_stays_inside(root, &relative, to)
                .ok_or_else(|| refuse(name, "is a link that points outside"))?;
            make_room(&path)?;
            symlink(to, &path).map_err(|e| io_at(&path, e))?;
            Ok(Some(0))
        }
        EntryType::Link => {
            let from = root.join(inside(&target()?)?);
            stays_inside(root, &from, name)?;
            if !fs::symlink_metadata(&from).is_ok_and(|data| data.is_file()) {
                return Err(refuse(name, "is a hard link to what is no file"));
            }
            make_room(&path)?;
            fs::hard_link(&from, &path).map_err(|e| io_at(&path, e))?;
            Ok(Some(0))
        }
        _ => Err(refuse(name, "is neither file, folder nor link")),
    }
}

/// The name of an entry as a path below the folder.
fn inside(name: &[u8]) -> Result<PathBuf, OpError> {
    if name.contains(&0) {
        return Err(refuse(name, "has a NUL in its name"));
    }
    let mut relative = PathBuf::new();
    for component in Path::new(std::ffi::OsStr::from_bytes(name)).components() {
        match component {
            Component::Normal(part) => relative.push(part),
            Component::CurDir => {}
            Component::ParentDir => return Err(refuse(name, "has “..” in its name")),
            Component::RootDir | Component::Prefix(_) => return Err(refuse(name, "has an absolute name")),
        }
    }
    Ok(relative)
}

/// A link on the way, of this archive or of before, must not lead out.
fn stays_inside(root: &Path, path: &Path, name: &[u8]) -> Result<(), OpError> {
    let real = fs::canonicalize(path).map_err(|e| io_at(path, e))?;
    if real.starts_with(root) { Ok(()) } else { Err(refuse(name, "would be put outside, through a link")) }
}

/// Whether a link at `relative` that points to `to` stays inside: as written, and, as far as its target is there, really.
fn link_stays_inside(root: &Path, relative: &Path, to: &Path) -> Option<()> {
    let mut at: Vec<&std::ffi::OsStr> = relative.parent()?.iter().collect();
    let to = match to.strip_prefix(root) {
        Ok(below) => {
            at.clear();
            below
        }
        Err(_) => to,
    };
    for component in to.components() {
        match component {
            Component::Normal(part) => at.push(part),
            Component::CurDir => {}
            Component::ParentDir => {
                at.pop()?;
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    let really = fs::canonicalize(root.join(relative.parent()?).join(to));
    really.map_or(Some(()), |real| real.starts_with(root).then_some(()))
}

/// Takes away what is in an entry's place, so that nothing is written through a link.
fn make_room(path: &Path) -> Result<(), OpError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(io_at(path, e)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn write_file(path: &Path, entry: &mut Entry<'_, impl Read>) -> Result<u64, OpError> {
    let failed = |source| io_at(path, source);
    let header = entry.header();
    let (mode, modified, size) = (header.mode().unwrap_or(0o644), header.mtime().ok(), entry.size());
    let open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = open.map_err(failed)?;
    let copied = copy(entry, &mut file, path).map_err(|e| match e {
        OpError::Content(e) => failed(e),
        // What `copy` reads from is the archive.
        OpError::Io { source, .. } => OpError::Content(source),
        other @ (OpError::NoSuchFile(_) | OpError::Failed(_)) => other,
    })?;
    if copied != size {
        return Err(OpError::Failed("the archive is cut off".to_owned()));
    }
    file.set_permissions(Permissions::from_mode(mode & 0o777)).map_err(failed)?;
    if let Some(seconds) = modified {
        file.set_modified(UNIX_EPOCH + Duration::from_secs(seconds.min(1 << 40))).map_err(failed)?;
    }
    Ok(copied)
}

fn io_at(path: &Path, source: io::Error) -> OpError {
    OpError::Io { path: path.to_owned(), source }
}

fn refuse(name: &[u8], why: &str) -> OpError {
    OpError::Failed(format!("the entry “{}” {why}", String::from_utf8_lossy(name).escape_debug()))
}

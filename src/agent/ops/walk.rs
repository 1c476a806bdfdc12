//! Finding files below a folder. Links to folders are not followed, so there are no loops and no way out.

use std::ffi::OsString;
use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use remoting::ops::{FileSet, MAX_PIECE, OpResult};

use super::pattern::Patterns;
use super::{OpError, Pipe};

/// A file or link that belongs to a set.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    /// Relative, with `/`.
    pub(super) name: String,
    pub(super) link: bool,
    pub(super) size: u64,
}

/// Shows all files and links of the set, sorted by name. A folder that is not there holds none: the workspace of a build
/// that has not run anything yet.
pub(super) fn walk(
    root: &Path,
    files: &FileSet,
    pipe: &Pipe,
    visit: &mut dyn FnMut(Found) -> Result<(), OpError>,
) -> Result<(), OpError> {
    let patterns = Patterns::new(files);
    let mut left = match entries(root, "") {
        Err(OpError::NoSuchFile(_)) => Vec::new(),
        found => found?,
    };
    while let Some(entry) = left.pop() {
        pipe.check()?;
        if entry.kind.is_dir() {
            if patterns.worth_entering(&entry.name) {
                match entries(&entry.path, &entry.name) {
                    // Deleted meanwhile, as happens below a running build.
                    Err(OpError::NoSuchFile(_)) => {}
                    found => left.extend(found?),
                }
            }
        } else if (entry.kind.is_file() || entry.kind.is_symlink()) && patterns.matches(&entry.name) {
            let Ok(data) = fs::symlink_metadata(&entry.path) else { continue };
            let link = data.is_symlink();
            visit(Found { path: entry.path, name: entry.name, link, size: data.len() })?;
        }
    }
    Ok(())
}

struct Entry {
    path: PathBuf,
    name: String,
    kind: fs::FileType,
}

/// The entries of one folder, last first.
fn entries(dir: &Path, prefix: &str) -> Result<Vec<Entry>, OpError> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(dir).map_err(|e| OpError::at(dir, e))? {
        let entry = entry.map_err(|e| OpError::at(dir, e))?;
        let kind = entry.file_type().map_err(|e| OpError::at(dir, e))?;
        let file_name: OsString = entry.file_name();
        let short = file_name.to_string_lossy();
        let name = if prefix.is_empty() { short.into_owned() } else { format!("{prefix}/{short}") };
        entries.push(Entry { path: entry.path(), name, kind });
    }
    // As if sorted by full names: a folder's slash counts.
    let key = |e: &Entry| if e.kind.is_dir() { format!("{}/", e.name) } else { e.name.clone() };
    entries.sort_by_cached_key(|e| std::cmp::Reverse(key(e)));
    Ok(entries)
}

/// Lists a set: one JSON array of name and size a line. A link is listed when its target is a file inside.
pub(super) fn glob(dir: &Path, files: &FileSet, pipe: &Pipe) -> Result<OpResult, OpError> {
    // One that is not there has no links either.
    let root = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    let mut out = BufWriter::with_capacity(MAX_PIECE, pipe.clone());
    let (mut count, mut bytes) = (0, 0);
    walk(dir, files, pipe, &mut |found| {
        let size = if found.link {
            let inside = fs::canonicalize(&found.path).ok().filter(|target| target.starts_with(&root));
            match inside.and_then(|target| fs::metadata(target).ok()).filter(|data| data.is_file()) {
                Some(data) => data.len(),
                None => return Ok(()),
            }
        } else {
            found.size
        };
        count += 1;
        bytes += size;
        let line = serde_json::to_string(&(&found.name, size)).map_err(|e| OpError::Failed(e.to_string()))?;
        Ok(writeln!(out, "{line}")?)
    })?;
    out.flush()?;
    Ok(OpResult::Count { files: count, bytes })
}

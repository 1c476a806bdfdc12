//! What an owner does with files at the agent. Each op runs on a thread that may block; its content goes through a
//! [`Pipe`]. Ops are repeatable: nothing here remembers one that has ended.

mod files;
mod pack;
mod pattern;
mod pipe;
mod unpack;
mod walk;

use std::io;
use std::path::{Path, PathBuf};

use remoting::ops::{OpRequest, OpResult};

pub(crate) use pipe::Pipe;

/// Why an op has no result.
#[derive(Debug, thiserror::Error)]
enum OpError {
    #[error("{0} does not exist")]
    NoSuchFile(String),
    #[error("{0}")]
    Failed(String),
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    /// The content broke off, or could not be passed on.
    #[error("{0}")]
    Content(#[from] io::Error),
}

impl OpError {
    /// An error at a path, told as *not there* when it is that.
    fn at(path: &Path, source: io::Error) -> OpError {
        match source.kind() {
            io::ErrorKind::NotFound => OpError::NoSuchFile(path.display().to_string()),
            _ => OpError::Io { path: path.to_owned(), source },
        }
    }
}

/// Does content come from the owner?
pub(crate) fn takes_content(request: &OpRequest) -> bool {
    match request {
        OpRequest::Write { .. } | OpRequest::Unpack { .. } => true,
        OpRequest::Read { .. }
        | OpRequest::Exists { .. }
        | OpRequest::DeleteDir { .. }
        | OpRequest::Glob { .. }
        | OpRequest::Pack { .. } => false,
    }
}

/// Carries out an op; blocks.
pub(crate) fn perform(request: OpRequest, pipe: &Pipe) -> OpResult {
    let done = match request {
        OpRequest::Read { dir, path, max } => at(&dir, &path).and_then(|p| files::read(&p, max, pipe)),
        OpRequest::Write { dir, path } => at(&dir, &path).and_then(|p| files::write(&p, pipe)),
        OpRequest::Exists { dir, path } => at(&dir, &path).map(|p| OpResult::Flag(p.exists())),
        OpRequest::DeleteDir { dir } => at(&dir, "").and_then(|d| files::delete_dir(&d)),
        OpRequest::Glob { dir, files } => at(&dir, "").and_then(|d| walk::glob(&d, &files, pipe)),
        OpRequest::Pack { dir, files } => at(&dir, "").and_then(|d| pack::pack(&d, &files, pipe)),
        OpRequest::Unpack { dir } => at(&dir, "").and_then(|d| unpack::unpack(&d, pipe)),
    };
    match done {
        Ok(result) => result,
        Err(OpError::NoSuchFile(path)) => OpResult::NoSuchFile(path),
        Err(e @ (OpError::Failed(_) | OpError::Io { .. } | OpError::Content(_))) => {
            OpResult::Failed(e.to_string())
        }
    }
}

/// `path` in `dir`; an absolute path stands for itself, as in Jenkins.
fn at(dir: &str, path: &str) -> Result<PathBuf, OpError> {
    if !Path::new(dir).is_absolute() {
        return Err(OpError::Failed(format!("the folder “{dir}” is not an absolute path")));
    }
    if path.is_empty() { Ok(PathBuf::from(dir)) } else { Ok(Path::new(dir).join(path)) }
}

//! The turnstile that SQLite writers of several processes pass: two `flock`s. Who comes takes *next*, then *turn*, lets
//! go of *next*, writes, and lets go of *turn*: whoever has written cannot overtake who waits (DESIGN D3). The kernel
//! frees both when their holder dies.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use rustix::fs::{FlockOperation, flock};
use tokio::sync::oneshot;

struct Files {
    next: File,
    turn: File,
}

impl Files {
    fn open(database: &Path) -> io::Result<Files> {
        let open = |suffix: &str| {
            let mut path = database.as_os_str().to_owned();
            path.push(suffix);
            // Whoever may lock them may keep all others from writing.
            File::options().create(true).truncate(false).write(true).mode(0o600).open(PathBuf::from(path))
        };
        Ok(Files { next: open(".next")?, turn: open(".turn")? })
    }

    /// Without waiting. False: somebody is there.
    fn try_take(&self) -> io::Result<bool> {
        if !try_lock(&self.next)? {
            return Ok(false);
        }
        let taken = try_lock(&self.turn);
        flock(&self.next, FlockOperation::Unlock)?;
        taken
    }

    fn take(&self) -> io::Result<()> {
        lock(&self.next)?;
        let taken = lock(&self.turn);
        flock(&self.next, FlockOperation::Unlock)?;
        taken
    }

    fn leave(&self) {
        if let Err(error) = flock(&self.turn, FlockOperation::Unlock) {
            tracing::error!(%error, "the turn to write could not be handed on");
        }
    }
}

fn lock(file: &File) -> io::Result<()> {
    loop {
        match flock(file, FlockOperation::LockExclusive) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

fn try_lock(file: &File) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// One process's way through. It waits in a thread of its own, not in tokio's pool, so that a process whose peer is
/// stopped inside its turn can still end.
pub(crate) struct Turnstile {
    files: Arc<Files>,
    waiter: Option<mpsc::Sender<oneshot::Sender<io::Result<()>>>>,
}

impl Turnstile {
    pub(crate) fn open(database: &Path) -> io::Result<Turnstile> {
        Ok(Turnstile { files: Arc::new(Files::open(database)?), waiter: None })
    }

    /// Waits for the turn; `leave` ends it.
    pub(crate) async fn take(&mut self) -> io::Result<()> {
        if self.files.try_take()? {
            return Ok(());
        }
        let (tell, told) = oneshot::channel();
        let gone = || io::Error::other("the thread that waits for the turn has ended");
        self.waiter()?.send(tell).map_err(|_| gone())?;
        told.await.map_err(|_| gone())?
    }

    pub(crate) fn leave(&self) {
        self.files.leave();
    }

    fn waiter(&mut self) -> io::Result<&mpsc::Sender<oneshot::Sender<io::Result<()>>>> {
        if self.waiter.is_none() {
            let (ask, asked) = mpsc::channel();
            let files = Arc::clone(&self.files);
            std::thread::Builder::new().name("turnstile".to_owned()).spawn(move || wait(&files, &asked))?;
            self.waiter = Some(ask);
        }
        self.waiter.as_ref().ok_or_else(|| io::Error::other("no thread waits for the turn"))
    }
}

fn wait(files: &Files, asked: &mpsc::Receiver<oneshot::Sender<io::Result<()>>>) {
    for tell in asked {
        let taken = files.take();
        let got_it = taken.is_ok();
        if tell.send(taken).is_err() && got_it {
            // Whoever asked is gone.
            files.leave();
        }
    }
}

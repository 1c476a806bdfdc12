//! Looks at spools, for whoever checks the log of a build. Nothing is changed, and no fence is asked for.
//!
//! A spool has up to 10 GiB, so each look runs on a thread of its own, few at once; the others wait. A look ends early when
//! the link goes or nobody waits for it any longer.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use model::BuildId;
use remoting::spools::{Held, Spool, SpoolsAsked, SpoolsTold};
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Done, Out, Service};

/// Looks at once: each reads as fast as the disk gives, which steps need too.
const AT_ONCE: usize = 2;
/// Looks that may wait.
const MAX_WAITING: usize = 16;
/// Bytes that are read before it is asked whether somebody still waits.
const PIECE: usize = 128 * 1024;

/// Looks at work and in line.
pub(super) struct Looks {
    /// Those at work have one each until they end, whichever way.
    places: Arc<Semaphore>,
    waiting: VecDeque<Look>,
    /// The link over which the newest were asked for is gone.
    gone: Arc<AtomicBool>,
}

impl Default for Looks {
    fn default() -> Looks {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        Looks { places, waiting: VecDeque::new(), gone: Arc::default() }
    }
}

impl Looks {
    /// The next one that may begin, with its place.
    fn next(&mut self) -> Option<(Look, OwnedSemaphorePermit)> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some((self.waiting.pop_front()?, place))
    }

    /// Nobody hears an answer any more.
    pub(super) fn unlink(&mut self) {
        self.waiting.clear();
        self.gone.store(true, Ordering::Relaxed);
        self.gone = Arc::default();
    }
}

/// Who has asked.
#[derive(Debug)]
pub(super) struct Asking {
    ask: u64,
    build: BuildId,
    gone: Arc<AtomicBool>,
}

/// What is to be looked at.
struct Look {
    asking: Asking,
    rebooted: bool,
    /// When nobody waits any more, and how long that was.
    until: Instant,
    patience: Duration,
    /// Steps, their spools, and of how many first bytes the sum is wanted.
    files: Vec<(String, Option<PathBuf>, u64)>,
}

/// Why a look was given up.
enum Stop {
    /// Nobody waits.
    Unwanted,
    Unreadable(io::Error),
}

impl Service {
    pub(super) fn spools_asked(&mut self, ask: u64, asked: SpoolsAsked) {
        let SpoolsAsked { build: id, millis, steps } = asked;
        let Some(build) = self.builds.get(&id).filter(|build| !build.forgotten) else {
            return self.tell_spools(ask, SpoolsTold::Nothing);
        };
        if steps.is_empty() {
            // Whether it keeps the build is no question to wait for.
            let rebooted = build.rebooted;
            return self.tell_spools(ask, SpoolsTold::Kept { rebooted, spools: Vec::new() });
        }
        if self.looks.places.available_permits() == 0 && self.looks.waiting.len() >= MAX_WAITING {
            let why = format!("{MAX_WAITING} other questions about spools wait already");
            return self.tell_spools(ask, SpoolsTold::Failed { why });
        }
        let file = |step: &str| build.steps.get(step).map(|step| step.folder.out());
        let files = steps.into_iter().map(|asked| {
            let path = file(&asked.step);
            (asked.step, path, asked.first)
        });
        let patience = Duration::from_millis(millis);
        let now = Instant::now();
        let look = Look {
            asking: Asking { ask, build: id, gone: Arc::clone(&self.looks.gone) },
            rebooted: build.rebooted,
            until: now.checked_add(patience).unwrap_or_else(|| now + FAR),
            patience,
            files: files.collect(),
        };
        self.looks.waiting.push_back(look);
        self.look_on();
    }

    /// Begins looks for which there is a place.
    pub(super) fn look_on(&mut self) {
        while let Some((look, place)) = self.looks.next() {
            self.tasks.spawn_blocking(move || {
                let told = look.whole();
                drop(place);
                Done::Spools(look.asking, told)
            });
        }
    }

    pub(super) fn spools_seen(&mut self, asking: &Asking, told: SpoolsTold) {
        if !asking.gone.load(Ordering::Relaxed) {
            // forgotten meanwhile, it may have lost its spools one by one
            let kept = self.builds.get(&asking.build).is_some_and(|build| !build.forgotten);
            self.tell_spools(asking.ask, if kept { told } else { SpoolsTold::Nothing });
        }
        self.look_on();
    }

    fn tell_spools(&mut self, ask: u64, told: SpoolsTold) {
        if self.link.is_some() {
            self.outbox.push_back(Out::Spools(ask, told));
        }
    }
}

/// Stands for never.
const FAR: Duration = Duration::from_secs(24 * 60 * 60);

impl Look {
    fn whole(&self) -> SpoolsTold {
        let mut spools = Vec::with_capacity(self.files.len());
        for (step, path, first) in &self.files {
            let held = match path.as_deref().map(|path| self.one(path, *first)) {
                None => Held::Nothing,
                Some(Ok(held)) => held,
                Some(Err(Stop::Unreadable(e))) => Held::Unreadable { why: e.to_string() },
                Some(Err(Stop::Unwanted)) => {
                    let why = format!("it takes longer than {} s", self.patience.as_secs());
                    return SpoolsTold::Failed { why };
                }
            };
            spools.push(Spool { step: step.clone(), held });
        }
        SpoolsTold::Kept { rebooted: self.rebooted, spools }
    }

    fn one(&self, path: &Path, first: u64) -> Result<Held, Stop> {
        // a step may have put anything there, also what nobody ever writes into
        let whatever = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let file = match OpenOptions::new().read(true).custom_flags(whatever).open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Held::Nothing),
            file => file.map_err(Stop::Unreadable)?,
        };
        let end = file.metadata().map_err(Stop::Unreadable)?.len();
        let sha256 = if (1..=end).contains(&first) { self.sum(file.take(first), first)? } else { None };
        Ok(Held::Spool { end, sha256 })
    }

    /// Of all that can be read, if that is so much.
    fn sum(&self, mut file: impl Read, wanted: u64) -> Result<Option<String>, Stop> {
        let (mut hash, mut read) = (Sha256::new(), 0);
        let mut piece = vec![0; PIECE];
        loop {
            if self.asking.gone.load(Ordering::Relaxed) || Instant::now() >= self.until {
                return Err(Stop::Unwanted);
            }
            match file.read(&mut piece) {
                Ok(0) => return Ok((read == wanted).then(|| hex::encode(hash.finalize()))),
                Ok(length) => {
                    hash.update(&piece[..length]);
                    read += length as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Stop::Unreadable(e)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(files: Vec<(String, Option<PathBuf>, u64)>) -> Look {
        let asking = Asking { ask: 1, build: BuildId(1), gone: Arc::default() };
        let until = Instant::now() + FAR;
        Look { asking, rebooted: false, until, patience: Duration::from_secs(7), files }
    }

    fn sum(bytes: &[u8]) -> Option<String> {
        Some(hex::encode(Sha256::digest(bytes)))
    }

    #[test]
    fn a_spool_is_summed_as_far_as_was_asked_for_and_it_goes() {
        let dir = tempfile::tempdir().unwrap();
        let (path, absent) = (dir.path().join("out"), dir.path().join("absent"));
        let bytes: Vec<u8> = (0..3 * PIECE + 7).map(|n| (n % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let end = bytes.len() as u64;
        let held = |path: Option<&Path>, first| {
            let look = look(vec![("1".to_owned(), path.map(Path::to_owned), first)]);
            match look.whole() {
                SpoolsTold::Kept { mut spools, .. } => spools.remove(0).held,
                other => panic!("{other:?}"),
            }
        };
        for first in [1, PIECE, PIECE + 1, bytes.len()] {
            let wanted = Held::Spool { end, sha256: sum(&bytes[..first]) };
            assert_eq!(held(Some(&path), first as u64), wanted, "{first}");
        }
        for first in [0, end + 1, u64::MAX] {
            assert_eq!(held(Some(&path), first), Held::Spool { end, sha256: None }, "{first}");
        }
        assert_eq!(held(Some(&absent), 1), Held::Nothing);
        assert_eq!(held(None, u64::MAX), Held::Nothing);
        assert!(matches!(held(Some(dir.path()), 1), Held::Unreadable { .. }));
    }

    #[test]
    fn a_look_that_panics_gives_its_place_to_the_next_one() {
        let mut looks = Looks::default();
        looks.waiting.extend((0..3 * AT_ONCE).map(|_| look(Vec::new())));
        for _ in 0..AT_ONCE {
            let at_work: Vec<_> = std::iter::from_fn(|| looks.next()).collect();
            assert_eq!(at_work.len(), AT_ONCE);
            let panics = std::thread::spawn(move || assert!(at_work.is_empty(), "it panics"));
            assert!(panics.join().is_err());
        }
        assert_eq!(looks.waiting.len(), AT_ONCE);
    }

    #[test]
    fn a_look_ends_when_nobody_waits_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        std::fs::write(&path, "text").unwrap();
        let files = vec![("1".to_owned(), Some(path), 4)];
        let late = Look { until: Instant::now(), ..look(files.clone()) };
        assert_eq!(late.whole(), SpoolsTold::Failed { why: "it takes longer than 7 s".to_owned() });
        let gone = look(files);
        gone.asking.gone.store(true, Ordering::Relaxed);
        assert!(matches!(gone.whole(), SpoolsTold::Failed { .. }));
    }
}

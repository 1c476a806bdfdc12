//! What the stories are told with: a controller of real processes, a client, and patience.

mod client;
mod controller;
mod hostile;
mod site;

use std::path::Path;
use std::time::{Duration, Instant};

pub(crate) use client::{Answer, Client};
pub(crate) use controller::{BINARY, Controller, Guard, Refusal, Up, refused, shared};
pub(crate) use hostile::{Asked, Hostile};
pub(crate) use site::{job_xml, scm_xml};

/// Longest wait for anything; a machine under load is slow, a hang is for ever.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Looks until there is something, or fails with what was waited for.
pub(crate) fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, look)
}

pub(crate) fn within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < patience, "waited {patience:?} for {what}");
        std::thread::sleep(Duration::from_millis(25));
    }
}

/// Runs a program to its end; gives what it printed.
pub(crate) fn run(program: &str, arguments: &[&str], folder: &Path) -> String {
    let output = std::process::Command::new(program).args(arguments).current_dir(folder).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    text
}

//! Work shared by clients that run at once.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, anyhow};

/// Calls `one` for each number below `count`, by so many clients; ends with the first error.
pub(crate) fn share(clients: usize, count: usize, one: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let client = || -> Result<()> {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= count {
                    return Ok(());
                }
                one(n)?;
            }
        };
        let all: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        all.into_iter().try_for_each(|t| t.join().unwrap_or_else(|_| Err(anyhow!("a client stopped"))))
    })
}

/// As the table shows it.
pub(crate) fn float(n: impl TryInto<u32>) -> f64 {
    n.try_into().map_or(f64::MAX, f64::from)
}

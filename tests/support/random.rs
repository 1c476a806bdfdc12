//! Random numbers that a seed repeats: `MAJORDOMO_SEED=`.
#![allow(dead_code, clippy::unwrap_used, reason = "test support; no test uses all of it")]

use std::time::{Duration, SystemTime};

/// The seed of this run: from the environment, else a new one. Printed, so that it can be repeated.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("MAJORDOMO_SEED").ok().map(|text| text.parse().unwrap());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let seed = given.unwrap_or(u64::from(now.subsec_nanos()) ^ now.as_secs());
    eprintln!("MAJORDOMO_SEED={seed}");
    seed
}

/// splitmix64
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// Each `stream` of a seed is a sequence of its own.
    pub(crate) fn new(seed: u64, stream: &str) -> Random {
        let mut random = Random(seed);
        for byte in stream.bytes() {
            random.0 = random.next() ^ u64::from(byte);
        }
        random
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    pub(crate) fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.next() % (to - from))
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() { None } else { from.get(self.below(from.len())) }
    }
}

//! What a simulated step prints: numbered lines, computed from their offset, so that any reader can check them.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;

/// Bytes of a line with its end.
const LINE: u64 = 100;
/// Bytes that a program whose output is a file writes at once.
pub(super) const BLOCK: u64 = 4_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Text {
    /// Bytes a second.
    rate: u64,
    /// In all.
    size: u64,
}

impl Text {
    pub(super) fn none() -> Text {
        Text { rate: 1, size: 0 }
    }

    pub(super) fn lines(rate: u64, time: Duration) -> Text {
        Text { rate, size: rate * time.as_secs() / LINE * LINE }
    }

    /// How much is there after a time: whole blocks, and at the end all.
    pub(super) fn printed(&self, after: Duration) -> u64 {
        let bytes = self.rate.saturating_mul(u64::try_from(after.as_millis()).unwrap_or(u64::MAX)) / 1000;
        if bytes >= self.size { self.size } else { bytes / BLOCK * BLOCK }
    }

    pub(super) fn over(&self, after: Duration) -> bool {
        self.printed(after) >= self.size
    }

    /// `size` bytes from `from` on.
    pub(super) fn piece(&self, from: u64, size: u64) -> Bytes {
        let skip = usize::try_from(from % LINE).unwrap_or(0);
        let size = usize::try_from(size).unwrap_or(0);
        let mut bytes = Vec::with_capacity(size + 2 * 100);
        let mut number = from / LINE;
        while bytes.len() < skip + size {
            line(number, &mut bytes);
            number += 1;
        }
        Bytes::from(bytes).slice(skip..skip + size)
    }
}

fn line(number: u64, into: &mut Vec<u8>) {
    let _infallible = writeln!(into, "line {number:012} {:.<81}", "");
}

/// Whether a log holds all lines of a text of so many bytes, each once and in order. Other lines are the controller's own.
pub(crate) fn check(log: &[u8], size: u64) -> Result<(), String> {
    let (mut wanted, mut number) = (Vec::new(), 0);
    for found in log.split_inclusive(|byte| *byte == b'\n').filter(|found| found.starts_with(b"line ")) {
        wanted.clear();
        line(number, &mut wanted);
        if found != wanted {
            let found = String::from_utf8_lossy(found);
            return Err(format!("in place of line {number} stands {:?}", found.trim_end()));
        }
        number += 1;
    }
    if number * LINE == size { Ok(()) } else { Err(format!("{} lines in place of {}", number, size / LINE)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_piece_is_part_of_the_whole() {
        let text = Text::lines(1_000, Duration::from_secs(1));
        let whole = text.piece(0, 1_000);
        assert_eq!(check(&whole, 1_000), Ok(()));
        for (from, size) in [(0, 1), (99, 2), (150, 333), (999, 1)] {
            assert_eq!(text.piece(from, size), whole.slice(from as usize..(from + size) as usize));
        }
    }

    #[test]
    fn a_line_that_is_lost_doubled_or_cut_is_noticed() {
        let whole = Text::lines(1_000, Duration::from_secs(1)).piece(0, 1_000);
        let decorated = [b"Started by timer\n", &whole[..], b"Finished: SUCCESS\n"].concat();
        assert_eq!(check(&decorated, 1_000), Ok(()));
        for broken in [
            whole[..900].to_vec(),
            [&whole[..200], &whole[100..]].concat(),
            [&whole[..150], &whole[151..]].concat(),
        ] {
            assert!(check(&broken, 1_000).is_err());
        }
    }

    #[test]
    fn it_is_printed_in_blocks_until_its_end() {
        let text = Text::lines(20_000, Duration::from_secs(1));
        let printed = [0, 199, 200, 999, 1_000, 5_000].map(|ms| text.printed(Duration::from_millis(ms)));
        assert_eq!(printed, [0, 0, 4_000, 16_000, 20_000, 20_000]);
        assert!(Text::none().over(Duration::ZERO));
    }
}

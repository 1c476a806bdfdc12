//! Large things by key: in a folder, or in the PostgreSQL database itself.

mod folder;
mod table;

use store::Error;

pub(crate) use folder::Folder;
pub(crate) use table::Table;

/// Refuses what is no key: segments of `[A-Za-z0-9._-]` with `/` between them.
fn check(key: &str) -> Result<(), Error> {
    let good = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    if key.split('/').all(good) {
        return Ok(());
    }
    Err(Error::Conflict(format!("{key:?} cannot be the key of an object")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_cannot_leave_its_folder() {
        for key in ["", "/", "a//b", "a/../b", "..", "a b", "a#1", "ä"] {
            assert!(check(key).is_err(), "{key:?}");
        }
        assert!(check("builds/7/1.1/a-b_c.txt").is_ok());
    }
}

//! Keys that are replaced now and then: a list, one key a line. The first is used, all are accepted, so that those who have
//! the former list and those who have the next one understand each other while it is changed.

use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use crate::keys::{KeyError, LENGTH, mac, same};

/// Longest file that is looked at.
const MAX_BYTES: u64 = 16 * 1024;
/// Most keys of a list.
const MAX_KEYS: usize = 32;

/// At least one key of 32 bytes. Prints `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyList {
    first: [u8; LENGTH],
    others: Vec<[u8; LENGTH]>,
}

impl fmt::Debug for KeyList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyList(***)")
    }
}

impl KeyList {
    /// A new one, of one key.
    pub fn random() -> Result<KeyList, KeyError> {
        let mut first = [0; LENGTH];
        getrandom::fill(&mut first).map_err(|_| KeyError::NoRandom)?;
        Ok(KeyList { first, others: Vec::new() })
    }

    pub fn read(path: &Path) -> Result<KeyList, KeyError> {
        KeyList::parse(&small(path)?, path)
    }

    /// What a file holds; `path` is for what is said about it. Lines that are empty are passed over.
    pub fn parse(text: &str, path: &Path) -> Result<KeyList, KeyError> {
        let mut keys: Vec<[u8; LENGTH]> = Vec::new();
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let mut key = [0; LENGTH];
            let bad = |_| KeyError::Line { path: path.to_owned(), line: at + 1 };
            hex::decode_to_slice(line.trim(), &mut key).map_err(bad)?;
            if keys.contains(&key) {
                return Err(KeyError::Twice { path: path.to_owned(), line: at + 1 });
            }
            keys.push(key);
        }
        if keys.len() > MAX_KEYS {
            return Err(KeyError::TooMany { path: path.to_owned(), most: MAX_KEYS });
        }
        let mut keys = keys.into_iter();
        let first = keys.next().ok_or_else(|| KeyError::Empty(path.to_owned()))?;
        Ok(KeyList { first, others: keys.collect() })
    }

    /// What [`KeyList::read`] reads. The secret itself: for that file only.
    pub fn expose(&self) -> String {
        self.all().map(|key| format!("{}\n", hex::encode(key))).collect()
    }

    /// A key for one purpose from each key of the list, in its order.
    pub fn derived(&self, purpose: &str) -> Vec<[u8; LENGTH]> {
        self.all().map(|key| mac(key, &["majordomo 1", purpose])).collect()
    }

    /// What replicas, and whoever looks after them, show to each other.
    pub fn peer_token(&self) -> String {
        hex::encode(mac(&self.first, &["majordomo 1", PEER_TOKEN]))
    }

    /// Whether it is what one with any key of the list shows.
    pub fn verify_peer_token(&self, given: &str) -> bool {
        // all are compared, so that the time does not tell which
        self.derived(PEER_TOKEN).iter().fold(false, |good, token| same(&hex::encode(token), given) | good)
    }

    fn all(&self) -> impl Iterator<Item = &[u8; LENGTH]> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

pub(crate) const PEER_TOKEN: &str = "peer token";

/// A file of keys.
pub(crate) fn small(path: &Path) -> Result<String, KeyError> {
    let read = |source: std::io::Error| match source.kind() {
        ErrorKind::NotFound => KeyError::Missing(path.to_owned()),
        _ => KeyError::Read { path: path.to_owned(), source },
    };
    let mut text = String::new();
    let mut file = File::open(path).map_err(read)?.take(MAX_BYTES + 1);
    file.read_to_string(&mut text).map_err(read)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(KeyError::TooLarge { path: path.to_owned(), most: MAX_BYTES });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<KeyList, String> {
        KeyList::parse(text, Path::new("/s/peer.keys")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_list_is_read_as_it_was_written_and_prints_stars() {
        let (one, two) = ("1".repeat(64), "a".repeat(64));
        let list = parse(&format!("{one}\n\n {two} \n")).unwrap();
        assert_eq!(list.expose(), format!("{one}\n{two}\n"));
        assert_eq!(parse(&list.expose()).unwrap(), list);
        assert_eq!(format!("{list:?}"), "KeyList(***)");
        assert_eq!(KeyList::random().unwrap().expose().trim().len(), 64);
    }

    #[test]
    fn what_is_wrong_with_a_list_is_said_with_its_line() {
        let one = "1".repeat(64);
        for (text, said) in [
            (String::new(), "/s/peer.keys holds no key: write one of 64 hexadecimal digits on each line"),
            ("\n\n".to_owned(), "/s/peer.keys holds no key: write one of 64 hexadecimal digits on each line"),
            (format!("{one}\nkey"), "line 2 of /s/peer.keys is not a key of 64 hexadecimal digits"),
            (one[1..].to_owned(), "line 1 of /s/peer.keys is not a key of 64 hexadecimal digits"),
            (format!("{one}\n\n{one}"), "line 3 of /s/peer.keys is a key that is there already"),
            (
                (0..33).map(|n| format!("{n:064x}\n")).collect(),
                "/s/peer.keys holds more than 32 keys: leave out those that nobody uses any more",
            ),
        ] {
            assert_eq!(parse(&text).unwrap_err(), said);
        }
        assert!(parse(&(0..32).map(|n| format!("{n:064x}\n")).collect::<String>()).is_ok());
    }

    #[test]
    fn the_token_of_the_first_is_shown_and_that_of_any_is_taken() {
        let (one, two, three) = ("1".repeat(64), "2".repeat(64), "3".repeat(64));
        let before = parse(&one).unwrap();
        let between = parse(&format!("{two}\n{one}")).unwrap();
        let after = parse(&two).unwrap();
        assert_ne!(before.peer_token(), between.peer_token());
        assert_eq!(between.peer_token(), after.peer_token());
        assert!(between.verify_peer_token(&before.peer_token()));
        assert!(between.verify_peer_token(&after.peer_token()));
        assert!(!before.verify_peer_token(&after.peer_token()));
        assert!(!between.verify_peer_token(&parse(&three).unwrap().peer_token()));
        assert!(!between.verify_peer_token(""));
    }

    #[test]
    fn a_file_that_is_no_list_is_not_read_to_its_end() {
        let folder = std::env::temp_dir().join(format!("majordomo-list-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("peer.keys");
        assert!(matches!(KeyList::read(&path), Err(KeyError::Missing(_))));
        std::fs::write(&path, "0".repeat(20_000)).unwrap();
        assert!(matches!(KeyList::read(&path), Err(KeyError::TooLarge { .. })));
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(matches!(KeyList::read(&path), Err(KeyError::Read { .. })));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

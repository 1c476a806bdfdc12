//! API tokens and the secret names of sessions: made, recognised, hashed. They are random and long, so a plain hash keeps
//! them; that of tokens is the one Jenkins has.

use std::fmt;

use sha2::{Digest, Sha256};
use store::Hidden;
use subtle::ConstantTimeEq;

use crate::password::PasswordError;

/// Version of the form, which every token begins with.
const VERSION: &str = "11";
/// Hex digits after it.
const DIGITS: usize = 32;

/// An API token or the name of a session. Prints `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// One that somebody has chosen.
    pub fn chosen(text: &str) -> Token {
        Token(text.to_owned())
    }

    /// Whether this is what was shown; takes the same time whatever was.
    pub fn is(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

/// A new API token, as those of Jenkins look: `11` and 32 hexadecimal digits.
pub fn random_token() -> Result<Token, PasswordError> {
    Ok(Token(format!("{VERSION}{}", hex::encode(random()?))))
}

/// What the store keeps of a token.
pub fn token_hash(token: &str) -> Hidden {
    // the version is no part of what Jenkins hashes
    hash(token.strip_prefix(VERSION).unwrap_or(token))
}

/// Whether the text has the form of a token.
pub(crate) fn is_token(text: &str) -> bool {
    let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    text.strip_prefix(VERSION).is_some_and(|rest| rest.len() == DIGITS && rest.bytes().all(digit))
}

/// A new name of a session: 32 hexadecimal digits.
pub(crate) fn random_session() -> Result<Token, PasswordError> {
    Ok(Token(hex::encode(random()?)))
}

pub(crate) fn session_hash(session: &str) -> Hidden {
    hash(session)
}

/// A UUID of version 4.
pub fn random_uuid() -> Result<String, PasswordError> {
    let mut bytes = random()?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = hex::encode(bytes);
    let part = |from, to| digits.get(from..to).unwrap_or_default();
    Ok([part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-"))
}

fn random() -> Result<[u8; DIGITS / 2], PasswordError> {
    let mut bytes = [0; DIGITS / 2];
    getrandom::fill(&mut bytes).map_err(|_| PasswordError::NoRandom)?;
    Ok(bytes)
}

fn hash(text: &str) -> Hidden {
    Hidden(hex::encode(Sha256::digest(text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_looks_like_those_of_jenkins_and_prints_stars() {
        let token = random_token().unwrap();
        assert!(is_token(token.expose()) && token.expose().len() == 34);
        assert_ne!(token, random_token().unwrap());
        assert_eq!(format!("{token:?} {:?}", token_hash(token.expose())), "Token(***) ***");
        for no in
            ["", "11", &token.expose()[1..], &format!("{}0", token.expose()), &"11".repeat(17).to_uppercase()]
        {
            assert!(!is_token(no) || no.len() == 34, "{no}");
        }
        assert!(!is_token(&format!("12{}", "a".repeat(32))));
        assert!(!is_token(&format!("11{}", "A".repeat(32))));
    }

    #[test]
    fn hashes_are_those_that_are_in_stores() {
        let digest = hex::encode(Sha256::digest(b"00000000000000000000000000000000"));
        assert_eq!(token_hash(&format!("11{}", "0".repeat(32))), Hidden(digest));
    }

    #[test]
    fn a_uuid_says_its_version() {
        let uuid = random_uuid().unwrap();
        let lengths: Vec<usize> = uuid.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(uuid.as_bytes()[14], b'4');
        assert_ne!(uuid, random_uuid().unwrap());
    }
}

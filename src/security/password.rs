//! Passwords: made, hashed, compared.

use std::fmt;

use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};

/// Longest password that is looked at, in bytes.
pub(crate) const MAX_PASSWORD: usize = 1024;
/// 19 MiB, two passes, one lane: OWASP's first choice; about 20 ms a verification.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// The hash of nobody's password, with the parameters above: checking it takes as long as checking a real one.
pub(crate) const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IG5vYm9keSBubw$\
                                 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A password in clear. Prints `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    pub fn new(text: impl Into<String>) -> Password {
        Password(text.into())
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(***)")
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    #[error("a password has 1 to {MAX_PASSWORD} bytes")]
    Length,
    #[error("the system gives no random bytes")]
    NoRandom,
    #[error("hash the password: {0}")]
    Hash(String),
}

/// A new one: 32 hexadecimal digits.
pub fn random_password() -> Result<Password, PasswordError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| PasswordError::NoRandom)?;
    Ok(Password(hex::encode(bytes)))
}

/// The PHC string that the store keeps. Takes its time: not for an async thread.
pub fn hash_password(password: &Password) -> Result<String, PasswordError> {
    if password.0.is_empty() || password.0.len() > MAX_PASSWORD {
        return Err(PasswordError::Length);
    }
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|_| PasswordError::NoRandom)?;
    let params =
        Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|e| PasswordError::Hash(e.to_string()))?;
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash = argon
        .hash_password_with_salt(password.0.as_bytes(), &salt)
        .map_err(|e| PasswordError::Hash(e.to_string()))?;
    Ok(hash.to_string())
}

/// Whether the PHC string is that of the password. Takes its time: not for an async thread.
pub(crate) fn matches(password: &str, phc: &str) -> bool {
    Argon2::default().verify_password(password.as_bytes(), phc).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_that_of_its_password_only() {
        let password = random_password().unwrap();
        assert_eq!(password.expose().len(), 32);
        assert_ne!(password, random_password().unwrap());
        let hash = hash_password(&password).unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(matches(password.expose(), &hash));
        assert!(!matches("other", &hash));
        assert!(!matches(password.expose(), "rubbish"));
        assert_ne!(hash, hash_password(&password).unwrap());
        assert_eq!(format!("{password:?}"), "Password(***)");
        assert_eq!(hash_password(&Password::new("")), Err(PasswordError::Length));
    }

    #[test]
    fn nobodys_hash_is_one_that_is_really_computed() {
        let params = |phc: &str| phc.split('$').take(4).collect::<Vec<_>>().join("$");
        let real = hash_password(&Password::new("x")).unwrap();
        assert_eq!(params(NOBODY), params(&real));
        assert_eq!(NOBODY.len(), real.len());
        let error = Argon2::default().verify_password(b"x", NOBODY).unwrap_err();
        assert_eq!(error, argon2::password_hash::Error::PasswordInvalid);
    }
}

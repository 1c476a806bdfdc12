//! Passwords: made, hashed, compared.

use std::fmt;

use argon2::password_hash;
use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};

use crate::token::is_token;

/// Longest password that is looked at, in bytes.
pub(crate) const MAX_PASSWORD: usize = 1024;
/// Bytes of a password that bcrypt looks at.
pub(crate) const BCRYPT_LOOKS: usize = 72;
/// 19 MiB, two passes, one lane: OWASP's first choice; about 20 ms a verification.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Bytes to set aside for a hash, whatever it uses of them. The C library's allocator takes what is larger than 32 MiB from the
/// system and gives it back at once; what is smaller may stay with the thread that has freed it, 19 MiB each time.
const SET_ASIDE: usize = 33 << 20;
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

/// How Jenkins marks a bcrypt hash.
const JBCRYPT: &str = "#jbcrypt:";
/// Highest cost of an imported hash: one verification takes some seconds.
const MAX_COST: u32 = 16;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    #[error("a password has 1 to {MAX_PASSWORD} bytes")]
    Length,
    #[error("a password may not have the form of an API token")]
    Token,
    #[error(
        "this is no hash that can be imported: it is to begin with {JBCRYPT}$2a$ and have a cost of 4 to {MAX_COST}"
    )]
    NotImported,
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

/// Whether it may be somebody's password.
pub fn check_password(password: &Password) -> Result<(), PasswordError> {
    if password.0.is_empty() || password.0.len() > MAX_PASSWORD {
        return Err(PasswordError::Length);
    }
    if is_token(&password.0) {
        return Err(PasswordError::Token);
    }
    Ok(())
}

/// The PHC string that the store keeps. Takes its time: not for an async thread.
pub fn hash_password(password: &Password) -> Result<String, PasswordError> {
    check_password(password)?;
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|_| PasswordError::NoRandom)?;
    let params =
        Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|e| PasswordError::Hash(e.to_string()))?;
    let salt = Salt::new(&salt).map_err(|e| PasswordError::Hash(e.to_string()))?;
    let hash = argon2id(&password.0, salt, &params).map_err(|e| PasswordError::Hash(e.to_string()))?;
    Ok(hash.to_string())
}

fn argon2id(password: &str, salt: Salt, params: &Params) -> password_hash::Result<PasswordHash> {
    let mut memory = Vec::with_capacity(params.block_count().max(SET_ASIDE / Block::SIZE));
    memory.resize(params.block_count(), Block::default());
    let mut hash = vec![0; params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN)];
    let (algorithm, version) = (Algorithm::Argon2id, Version::V0x13);
    let argon = Argon2::new(algorithm, version, params.clone());
    argon.hash_password_into_with_memory(password.as_bytes(), &salt, &mut hash, &mut memory)?;
    Ok(PasswordHash {
        algorithm: algorithm.ident(),
        version: Some(version.into()),
        params: ParamsString::try_from(params)?,
        salt: Some(salt),
        hash: Some(Output::new(&hash)?),
    })
}

/// Compares in constant time.
fn is_argon2id(password: &str, hash: &str) -> password_hash::Result<bool> {
    let given = PasswordHash::new(hash)?;
    let ours = given.algorithm == Algorithm::Argon2id.ident() && given.version == Some(Version::V0x13.into());
    let (Some(salt), Some(wanted), true) = (given.salt, given.hash, ours) else { return Ok(false) };
    Ok(argon2id(password, salt, &Params::try_from(&given)?)?.hash == Some(wanted))
}

/// Whether the hash is that of the password. Takes its time: not for an async thread.
pub(crate) fn matches(password: &str, hash: &str) -> bool {
    match hash.strip_prefix(JBCRYPT) {
        Some(bcrypt) => bcrypt::verify(password, bcrypt).unwrap_or(false),
        None => is_argon2id(password, hash).unwrap_or(false),
    }
}

/// A hash that Jenkins has made, as it may be kept until its user signs in.
pub(crate) fn imported(text: &str) -> Result<String, PasswordError> {
    let parts: Vec<&str> = text.strip_prefix(JBCRYPT).ok_or(PasswordError::NotImported)?.split('$').collect();
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '/';
    match parts.as_slice() {
        ["", "2a" | "2b" | "2y", cost, rest]
            if cost.len() == 2
                && cost.parse().is_ok_and(|cost: u32| (4..=MAX_COST).contains(&cost))
                && rest.len() == 53
                && rest.chars().all(legal) =>
        {
            Ok(text.to_owned())
        }
        _ => Err(PasswordError::NotImported),
    }
}

/// Whether the hash is to be replaced by one of ours when its password is known.
pub(crate) fn outdated(hash: &str) -> bool {
    hash.starts_with(JBCRYPT)
}

#[cfg(test)]
mod tests {
    use argon2::PasswordVerifier;

    use super::*;

    #[test]
    fn a_hash_is_that_of_its_password_only() {
        let password = random_password().unwrap();
        assert_eq!(password.expose().len(), 32);
        assert_ne!(password, random_password().unwrap());
        let hash = hash_password(&password).unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(matches(password.expose(), &hash));
        // as the library reads it
        assert!(Argon2::default().verify_password(password.expose().as_bytes(), hash.as_str()).is_ok());
        assert!(!matches("other", &hash));
        assert!(!matches(password.expose(), "rubbish"));
        assert!(!matches(password.expose(), &hash.replace("argon2id", "argon2i")));
        assert_ne!(hash, hash_password(&password).unwrap());
        assert_eq!(format!("{password:?}"), "Password(***)");
        assert_eq!(hash_password(&Password::new("")), Err(PasswordError::Length));
        let token = crate::random_token().unwrap();
        assert_eq!(hash_password(&Password::new(token.expose())), Err(PasswordError::Token));
    }

    #[test]
    fn a_hash_with_other_parameters_is_that_of_its_password() {
        let salt = Salt::new(&[7; 16]).unwrap();
        let hash = argon2id("secret", salt, &Params::new(64, 3, 2, Some(24)).unwrap()).unwrap().to_string();
        assert!(hash.starts_with("$argon2id$v=19$m=64,t=3,p=2$"), "{hash}");
        assert!(matches("secret", &hash) && !matches("other", &hash));
    }

    #[test]
    fn a_hash_of_jenkins_is_that_of_its_password() {
        // of `secret`, cost 4
        let bcrypt = format!("{JBCRYPT}{}", bcrypt::hash("secret", 4).unwrap().replace("$2b$", "$2a$"));
        assert_eq!(imported(&bcrypt).as_deref(), Ok(bcrypt.as_str()));
        assert!(outdated(&bcrypt) && matches("secret", &bcrypt) && !matches("Secret", &bcrypt));
        assert!(!outdated(NOBODY));
        let rest = "a".repeat(53);
        for bad in [
            "secret".to_owned(),
            "#jbcrypt:".to_owned(),
            format!("$2a$10${rest}"),
            format!("#jbcrypt:$2a$31${rest}"),
            format!("#jbcrypt:$2a$03${rest}"),
            format!("#jbcrypt:$1$10${rest}"),
            format!("#jbcrypt:$2a$10${rest}a"),
            format!("#jbcrypt:$2a$10$!{}", "a".repeat(52)),
        ] {
            assert_eq!(imported(&bad), Err(PasswordError::NotImported), "{bad}");
            assert!(!matches("secret", &bad));
        }
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

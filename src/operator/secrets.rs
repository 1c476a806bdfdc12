//! What is by chance.

use crate::error::Error;
use crate::plan::{NewKeys, NewSecrets};

const KEY: usize = 32;
const PASSWORD: usize = 16;

/// Secrets, in case that some are to be made.
pub(crate) fn fresh() -> Result<NewSecrets, Error> {
    Ok(NewSecrets {
        admin: Some(digits(PASSWORD)?),
        keys: Some(NewKeys { agent: digits(KEY)?, encryption: digits(KEY)?, peer: digits(KEY)? }),
        metrics: Some(digits(KEY)?),
        postgres: Some(digits(PASSWORD)?),
    })
}

fn digits(bytes: usize) -> Result<String, Error> {
    let mut random = vec![0; bytes];
    getrandom::fill(&mut random).map_err(|_| Error::NoRandom)?;
    Ok(hex::encode(random))
}

/// Between 0 and 1; where the system gives no random bytes, in the middle.
pub(crate) fn chance() -> f64 {
    f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX)
}

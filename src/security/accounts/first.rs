//! The first user of a controller, as a person makes it in the setup wizard, and the password that unlocks the wizard.

use std::net::IpAddr;

use store::{Answer, ApiToken, Hidden, User, Write};

use super::{Accounts, Denied, NewUser, Proof, UserError, checked};
use crate::attempts::Source;
use crate::password::{self, Password, PasswordError, hash_password};
use crate::token::Token;

/// Under what guesses of the password count that unlocks the wizard. No user is called so.
const WIZARD: &str = "setup wizard";

/// What is compared with the password that unlocks the wizard. Prints `***`.
#[derive(Debug, Clone)]
pub struct UnlockKey(Hidden);

impl UnlockKey {
    /// Takes its time: not for an async thread.
    pub fn of(password: &Password) -> Result<UnlockKey, PasswordError> {
        Ok(UnlockKey(Hidden(hash_password(password)?)))
    }

    /// From the hash of the password.
    pub fn hashed(hash: String) -> UnlockKey {
        UnlockKey(Hidden(hash))
    }
}

/// Who is to be the first user: checked, with a hashed password, and written nowhere yet.
#[derive(Debug, Clone)]
pub struct FirstUser(User);

impl FirstUser {
    pub fn id(&self) -> &str {
        &self.0.id
    }

    pub fn full_name(&self) -> &str {
        &self.0.full_name
    }

    pub fn email(&self) -> &str {
        &self.0.email
    }
}

/// An API token that the first user has from the beginning, as whoever made the home has kept it.
#[derive(Debug, Clone)]
pub struct FirstToken {
    pub id: String,
    pub hash: Hidden,
}

impl FirstToken {
    pub fn of(self, user: &str, now: model::Millis) -> ApiToken {
        ApiToken {
            id: self.id,
            user: user.to_owned(),
            name: "made by the first start".to_owned(),
            hash: self.hash,
            created_at: now,
            used_at: None,
            uses: 0,
        }
    }
}

impl Accounts {
    /// Whether that is the password that unlocks the wizard; guesses are slowed as those of users' passwords are.
    pub async fn unlock(
        &self,
        key: &UnlockKey,
        given: &Password,
        from: Option<IpAddr>,
    ) -> Result<(), Denied> {
        let inner = &self.inner;
        let user = checked(WIZARD, given.expose())?;
        let (given, hash) = (given.expose().to_owned(), key.0.0.clone());
        let verify = async {
            match inner.hashing(move || password::matches(&given, &hash)).await? {
                true => Ok(()),
                false => Err(Denied::Wrong),
            }
        };
        let judged = inner.slowed(Source { user: &user, from }, verify).await;
        inner.metrics.shown(Proof::Password, &judged);
        judged
    }

    /// Checks who is to be the first user as all users are checked, and writes nothing.
    pub async fn first_user(&self, new: NewUser) -> Result<FirstUser, UserError> {
        Ok(FirstUser(self.checked_user(new).await?))
    }

    /// Whether this one is the first user now; `false`: there is another one. May be asked again when the answer was lost:
    /// no other has the same hash of a password.
    pub async fn create_first_user(
        &self,
        first: &FirstUser,
        token: Option<FirstToken>,
    ) -> Result<bool, UserError> {
        let inner = &self.inner;
        let FirstUser(user) = first;
        let token = token.map(|token| token.of(&user.id, inner.clock.now()));
        if inner.store.write(Write::CreateFirstUser { user: user.clone(), token }).await?
            == Answer::Bool(true)
        {
            return Ok(true);
        }
        Ok(inner.store.user(&user.id).await?.is_some_and(|there| there.password == user.password))
    }

    /// Begins a session of the first user, who has shown who he is by what he has just done.
    pub async fn sign_in_first(&self, first: &FirstUser) -> Result<Token, Denied> {
        self.inner.begin_session(first.0.clone(), false).await
    }
}

#[cfg(test)]
#[path = "first_tests.rs"]
mod tests;

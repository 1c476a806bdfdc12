//! What is done with users: created, changed, deleted; their tokens. Whether somebody may is asked before.

use store::{Answer, ApiToken, Hidden, User, UserEdit, Write, user_key};

use super::{Accounts, Denied};
use crate::password::{self, Password, PasswordError};
use crate::token::{Token, random_token, random_uuid, token_hash};

/// Longest id of a user that is created, in bytes.
const MAX_ID: usize = 100;
/// Longest full name, and name of a token, in bytes.
const MAX_NAME: usize = 200;
const MAX_EMAIL: usize = 254;
/// Names that mean something else.
const RESERVED: [&str; 5] = ["anonymous", "authenticated", "everyone", "system", "unknown"];

/// Why nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// What was given can't be.
    #[error("{0}")]
    Invalid(String),
    #[error("there is no user {0}")]
    NoUser(String),
    #[error("there is no such token")]
    NoToken,
    #[error("{0}")]
    Conflict(String),
    #[error(transparent)]
    Store(store::Error),
}

impl From<store::Error> for UserError {
    fn from(error: store::Error) -> UserError {
        match error {
            store::Error::Conflict(why) | store::Error::Limit(why) => UserError::Conflict(why),
            error => UserError::Store(error),
        }
    }
}

impl From<PasswordError> for UserError {
    fn from(error: PasswordError) -> UserError {
        match error {
            PasswordError::Length | PasswordError::Token | PasswordError::NotImported => {
                UserError::Invalid(error.to_string())
            }
            PasswordError::NoRandom | PasswordError::Hash(_) => {
                UserError::Store(store::Error::Unavailable(error.to_string()))
            }
        }
    }
}

/// What a user signs in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewPassword {
    Clear(Password),
    /// A hash as Jenkins keeps it: `#jbcrypt:$2a$…`.
    Imported(Hidden),
}

/// A user who is to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUser {
    pub id: String,
    /// Empty: as the id.
    pub full_name: String,
    /// May be empty.
    pub email: String,
    pub password: NewPassword,
    pub admin: bool,
}

/// What is to be changed of a user; `None` stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserChange {
    pub full_name: Option<String>,
    pub email: Option<String>,
    /// Ends all sessions of the user.
    pub password: Option<NewPassword>,
    pub admin: Option<bool>,
}

impl Accounts {
    pub async fn create_user(&self, new: NewUser) -> Result<(), UserError> {
        let user = self.checked_user(new).await?;
        let id = user.id.clone();
        match self.inner.store.write(Write::CreateUser(user)).await? {
            Answer::Bool(false) => Err(UserError::Invalid(format!("User name {id} is already taken"))),
            _ => Ok(()),
        }
    }

    /// As it would be written.
    pub(super) async fn checked_user(&self, new: NewUser) -> Result<User, UserError> {
        let NewUser { id, full_name, email, password, admin } = new;
        check_user_name(&id)?;
        let full_name = check_name(&full_name, "a full name")?.unwrap_or_else(|| id.clone());
        let email = check_email(&email)?;
        let password = self.hashed(password).await?;
        Ok(User { id, full_name, email, password, admin })
    }

    pub async fn change_user(&self, id: &str, change: UserChange) -> Result<(), UserError> {
        let UserChange { full_name, email, password, admin } = change;
        let full_name = match full_name {
            Some(name) => Some(check_name(&name, "a full name")?.unwrap_or_else(|| id.to_owned())),
            None => None,
        };
        let email = email.as_deref().map(check_email).transpose()?;
        let password = match password {
            Some(password) => Some(self.hashed(password).await?),
            None => None,
        };
        let edit = UserEdit { full_name, email, password, admin };
        let written = self.inner.store.write(Write::EditUser { id: id.to_owned(), edit }).await;
        self.forget(id);
        self.known(id, written).map(drop)
    }

    pub async fn delete_user(&self, id: &str) -> Result<(), UserError> {
        let written = self.inner.store.write(Write::DeleteUser { id: id.to_owned() }).await;
        self.forget(id);
        self.known(id, written).map(drop)
    }

    /// A new token of the user, and its secret, which nobody can read again. Without a name it gets one.
    pub async fn generate_token(&self, user: &str, name: &str) -> Result<(ApiToken, Token), UserError> {
        let now = self.inner.clock.now();
        let name = check_name(name, "the name of a token")?;
        let secret = random_token()?;
        let token = ApiToken {
            id: random_uuid()?,
            user: user.to_owned(),
            name: name.unwrap_or_else(|| format!("Token created at {now}")),
            hash: token_hash(secret.expose()),
            created_at: now,
            used_at: None,
            uses: 0,
        };
        let written = self.inner.store.write(Write::CreateToken(token.clone())).await;
        self.known(user, written)?;
        Ok((token, secret))
    }

    pub async fn rename_token(&self, user: &str, id: &str, name: &str) -> Result<(), UserError> {
        let name = check_name(name, "the name of a token")?;
        let name = name.ok_or_else(|| UserError::Invalid("The name cannot be empty".to_owned()))?;
        let (user, id) = (user.to_owned(), id.to_owned());
        match self.inner.store.write(Write::RenameToken { user, id, name }).await {
            Err(store::Error::NotFound(_)) => Err(UserError::NoToken),
            other => Ok(other.map(drop)?),
        }
    }

    /// Whether the user had it. It is refused here at once, and elsewhere after half a second.
    pub async fn revoke_token(&self, user: &str, id: &str) -> Result<bool, UserError> {
        let (user, id) = (user.to_owned(), id.to_owned());
        let answer = self.inner.store.write(Write::RevokeToken { user, id }).await?;
        self.inner.tokens.forget_all();
        Ok(answer == Answer::Bool(true))
    }

    /// As `revoke_token`, for all of them but one if `except` names one.
    pub async fn revoke_tokens(&self, user: &str, except: Option<&str>) -> Result<(), UserError> {
        let except = except.map(str::to_owned);
        self.inner.store.write(Write::RevokeTokens { user: user.to_owned(), except }).await?;
        self.inner.tokens.forget_all();
        Ok(())
    }

    /// Whether who has not signed in may look; it holds at every replica within half a second.
    pub async fn allow_anonymous_read(&self, allowed: bool) -> Result<(), UserError> {
        self.inner.store.write(Write::AllowAnonymousRead { allowed }).await?;
        self.inner.anonymous_read.forget_all();
        Ok(())
    }

    /// What was read of a user and of the sessions of all is read again.
    fn forget(&self, id: &str) {
        self.inner.users.forget(&user_key(id));
        self.inner.sessions.forget_all();
        self.inner.tokens.forget_all();
    }

    fn known(&self, id: &str, written: store::Result<Answer>) -> Result<Answer, UserError> {
        match written {
            Err(store::Error::NotFound(_)) => Err(UserError::NoUser(id.to_owned())),
            other => Ok(other?),
        }
    }

    async fn hashed(&self, password: NewPassword) -> Result<Hidden, UserError> {
        match password {
            NewPassword::Imported(hash) => Ok(Hidden(password::imported(&hash.0)?)),
            NewPassword::Clear(password) => {
                match self.inner.hashing(move || password::hash_password(&password)).await {
                    Ok(hash) => Ok(Hidden(hash?)),
                    Err(Denied::Store(error)) => Err(error.into()),
                    Err(Denied::Wrong | Denied::Busy(_)) => {
                        Err(UserError::Conflict("too much is hashed at once".to_owned()))
                    }
                }
            }
        }
    }
}

/// The rules of Jenkins for those who sign up.
/// Whether a new user may be called so.
pub fn check_user_name(id: &str) -> Result<(), UserError> {
    let refuse = |why: &str| Err(UserError::Invalid(why.to_owned()));
    if id.is_empty() {
        return refuse("User name is required");
    }
    if id.len() > MAX_ID {
        return Err(UserError::Invalid(format!("a user name has at most {MAX_ID} characters")));
    }
    if !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
        return refuse("User name must only contain alphanumeric characters, underscore and dash");
    }
    not_reserved(id)
}

fn not_reserved(name: &str) -> Result<(), UserError> {
    if RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
        return Err(UserError::Invalid(format!("{name} is prohibited as a user name for security reasons")));
    }
    Ok(())
}

/// The name without space around it; `None` when nothing is left.
fn check_name(name: &str, what: &str) -> Result<Option<String>, UserError> {
    let name = name.trim();
    if name.len() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(UserError::Invalid(format!("{what} has at most {MAX_NAME} bytes and is one line")));
    }
    not_reserved(name)?;
    Ok(Some(name).filter(|name| !name.is_empty()).map(str::to_owned))
}

fn check_email(email: &str) -> Result<String, UserError> {
    let email = email.trim();
    let bad = |c: char| c.is_control() || c.is_whitespace();
    let good = email.split_once('@').is_some_and(|(who, host)| !who.is_empty() && !host.is_empty());
    if email.is_empty() || (good && email.len() <= MAX_EMAIL && !email.contains(bad)) {
        return Ok(email.to_owned());
    }
    Err(UserError::Invalid("Invalid e-mail address".to_owned()))
}

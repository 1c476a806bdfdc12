//! Users, their sessions and tokens, and what those may who are none.

use std::cmp::Reverse;
use std::ops::Bound;

use model::Millis;

use super::State;
use crate::{
    Answer, ApiToken, Error, Hidden, MAX_SESSIONS, MAX_TOKENS, MAX_USERS, Result, Session, User, UserEdit,
    user_key,
};

fn no_user(id: &str) -> Error {
    Error::NotFound(format!("the user “{id}”"))
}

impl State {
    pub(super) fn create_first_user(&mut self, user: &User, token: Option<&ApiToken>) -> Result<Answer> {
        if !self.users.is_empty() {
            return Ok(Answer::Bool(false));
        }
        self.users.insert(user_key(&user.id), user.clone());
        if let Some(token) = token {
            self.create_token(token)?;
        }
        Ok(Answer::Bool(true))
    }

    pub(super) fn create_user(&mut self, user: &User) -> Result<Answer> {
        let key = user_key(&user.id);
        if self.users.contains_key(&key) {
            return Ok(Answer::Bool(false));
        }
        if self.users.len() as u64 >= MAX_USERS {
            return Err(Error::Limit(format!("there are {MAX_USERS} users already")));
        }
        self.users.insert(key, user.clone());
        Ok(Answer::Bool(true))
    }

    pub(super) fn edit_user(&mut self, id: &str, edit: &UserEdit) -> Result<Answer> {
        let key = user_key(id);
        if edit.admin == Some(false) {
            self.other_administrator(&key)?;
        }
        let user = self.users.get_mut(&key).ok_or_else(|| no_user(id))?;
        let UserEdit { full_name, email, password, admin } = edit.clone();
        user.full_name = full_name.unwrap_or_else(|| user.full_name.clone());
        user.email = email.unwrap_or_else(|| user.email.clone());
        user.admin = admin.unwrap_or(user.admin);
        if let Some(password) = password {
            user.password = password;
            self.sessions.retain(|_, session| user_key(&session.user) != key);
        }
        Ok(Answer::Unit)
    }

    /// Refuses when there is no administrator but this one.
    fn other_administrator(&self, key: &str) -> Result<()> {
        let is = self.users.get(key).is_some_and(|user| user.admin);
        if is && self.users.values().filter(|user| user.admin).count() == 1 {
            return Err(Error::Conflict("no administrator would be left".to_owned()));
        }
        Ok(())
    }

    pub(super) fn rehash(&mut self, id: &str, was: &Hidden, password: &Hidden) -> Answer {
        let user = self.users.get_mut(&user_key(id)).filter(|user| user.password == *was);
        Answer::Bool(user.map(|user| user.password = password.clone()).is_some())
    }

    pub(super) fn delete_user(&mut self, id: &str) -> Result<Answer> {
        let key = user_key(id);
        self.other_administrator(&key)?;
        self.users.remove(&key).ok_or_else(|| no_user(id))?;
        self.sessions.retain(|_, session| user_key(&session.user) != key);
        self.tokens.retain(|_, token| user_key(&token.user) != key);
        Ok(Answer::Unit)
    }

    pub(super) fn create_session(&mut self, session: &Session, password: &Hidden) -> Result<Answer> {
        let user = self.user(&session.user).ok_or_else(|| no_user(&session.user))?;
        if user.password != *password {
            return Err(Error::Conflict("the password was changed meanwhile".to_owned()));
        }
        let session = Session { user: user.id, ..session.clone() };
        self.sessions.entry(session.hash.clone()).or_insert_with(|| session.clone());
        for old in self.sessions(&session.user).into_iter().skip(MAX_SESSIONS) {
            self.sessions.remove(&old.hash);
        }
        Ok(Answer::Unit)
    }

    pub(super) fn touch_session(&mut self, hash: &Hidden, at: Millis) -> Answer {
        let session = self.sessions.get_mut(hash).filter(|session| session.seen_at < at);
        Answer::Bool(session.map(|session| session.seen_at = at).is_some())
    }

    pub(super) fn forget_sessions(&mut self, now: Millis) -> Answer {
        self.sessions.retain(|_, session| !session.over(now));
        Answer::Unit
    }

    pub(super) fn create_token(&mut self, token: &ApiToken) -> Result<Answer> {
        let user = self.user(&token.user).ok_or_else(|| no_user(&token.user))?;
        if self.tokens.contains_key(&token.id) || self.token(&token.hash).is_some() {
            return Err(Error::Exists("the token".to_owned()));
        }
        if self.tokens(&token.user).len() >= MAX_TOKENS {
            return Err(Error::Limit(format!("the user has {MAX_TOKENS} tokens already")));
        }
        self.tokens.insert(token.id.clone(), ApiToken { user: user.id, ..token.clone() });
        Ok(Answer::Unit)
    }

    fn token_of(&mut self, user: &str, id: &str) -> Option<&mut ApiToken> {
        self.tokens.get_mut(id).filter(|token| user_key(&token.user) == user_key(user))
    }

    pub(super) fn rename_token(&mut self, user: &str, id: &str, name: &str) -> Result<Answer> {
        let missing = || Error::NotFound(format!("the token {id}"));
        name.clone_into(&mut self.token_of(user, id).ok_or_else(missing)?.name);
        Ok(Answer::Unit)
    }

    pub(super) fn revoke_token(&mut self, user: &str, id: &str) -> Answer {
        let there = self.token_of(user, id).is_some();
        if there {
            self.tokens.remove(id);
        }
        Answer::Bool(there)
    }

    pub(super) fn revoke_tokens(&mut self, user: &str, except: Option<&str>) -> Answer {
        let key = user_key(user);
        self.tokens.retain(|id, token| user_key(&token.user) != key || Some(id.as_str()) == except);
        Answer::Unit
    }

    pub(super) fn use_token(&mut self, id: &str, at: Millis, uses: u64) -> Answer {
        let token = self.tokens.get_mut(id).filter(|token| token.used_at.is_none_or(|used| used < at));
        let counted = token.map(|token| {
            token.used_at = Some(at);
            token.uses += uses;
        });
        Answer::Bool(counted.is_some())
    }
}

/// What can be read.
impl State {
    pub fn user(&self, id: &str) -> Option<User> {
        self.users.get(&user_key(id)).cloned()
    }

    pub fn users(&self, after: Option<&str>, limit: u32) -> Vec<User> {
        let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded(user_key(after)));
        let users = self.users.range((from, Bound::Unbounded)).map(|(_, user)| user.clone());
        users.take(usize::try_from(limit).unwrap_or(usize::MAX)).collect()
    }

    pub fn session(&self, hash: &Hidden) -> Option<Session> {
        self.sessions.get(hash).cloned()
    }

    pub fn sessions(&self, user: &str) -> Vec<Session> {
        let key = user_key(user);
        let own = self.sessions.values().filter(|session| user_key(&session.user) == key);
        let mut own: Vec<Session> = own.cloned().collect();
        own.sort_by(|a, b| (Reverse(a.seen_at), &a.hash).cmp(&(Reverse(b.seen_at), &b.hash)));
        own
    }

    pub fn token(&self, hash: &Hidden) -> Option<ApiToken> {
        self.tokens.values().find(|token| token.hash == *hash).cloned()
    }

    pub fn tokens(&self, user: &str) -> Vec<ApiToken> {
        let key = user_key(user);
        let own = self.tokens.values().filter(|token| user_key(&token.user) == key);
        let mut own: Vec<ApiToken> = own.cloned().collect();
        own.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        own
    }

    pub fn anonymous_read(&self) -> bool {
        self.anonymous_read
    }
}

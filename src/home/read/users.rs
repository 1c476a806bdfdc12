//! Reads of users, their sessions and tokens.

use std::time::Duration;

use model::Millis;
use sqlx::AssertSqlSafe;
use store::{ApiToken, Hidden, Result, Session, User, Users, user_key};

use super::limit;
use crate::Home;
use crate::db::{Row, args};

/// Columns of a user, for [`user`].
const USER: &str = "SELECT id, full_name, email, password, admin FROM account";
/// Columns of a session, for [`session`].
const SESSION: &str = "SELECT session.hash, account.id, session.created_at, session.seen_at, session.idle, \
     session.expires_at FROM session JOIN account ON account.user_key = session.user_key";
/// Columns of a token, for [`token`].
const TOKEN: &str = "SELECT token.id, account.id, token.name, token.hash, token.created_at, token.used_at, token.uses \
     FROM token JOIN account ON account.user_key = token.user_key";

#[async_trait::async_trait]
impl Users for Home {
    async fn user(&self, id: &str) -> Result<Option<User>> {
        let sql = format!("{USER} WHERE user_key = $1");
        self.pool.first(AssertSqlSafe(sql), args![&user_key(id)], user).await
    }

    async fn users(&self, after: Option<&str>, most: u32) -> Result<Vec<User>> {
        let sql = format!("{USER} WHERE user_key > $1 ORDER BY user_key LIMIT $2");
        let after = user_key(after.unwrap_or_default());
        self.pool.list(AssertSqlSafe(sql), args![&after, limit(most)], user).await
    }

    async fn session(&self, hash: &Hidden) -> Result<Option<Session>> {
        let sql = format!("{SESSION} WHERE session.hash = $1");
        self.pool.first(AssertSqlSafe(sql), args![&hash.0], session).await
    }

    async fn sessions(&self, user: &str) -> Result<Vec<Session>> {
        let sql =
            format!("{SESSION} WHERE session.user_key = $1 ORDER BY session.seen_at DESC, session.hash");
        self.pool.list(AssertSqlSafe(sql), args![&user_key(user)], session).await
    }

    async fn token(&self, hash: &Hidden) -> Result<Option<ApiToken>> {
        let sql = format!("{TOKEN} WHERE token.hash = $1");
        self.pool.first(AssertSqlSafe(sql), args![&hash.0], token).await
    }

    async fn tokens(&self, user: &str) -> Result<Vec<ApiToken>> {
        let sql = format!("{TOKEN} WHERE token.user_key = $1 ORDER BY token.created_at, token.id");
        self.pool.list(AssertSqlSafe(sql), args![&user_key(user)], token).await
    }

    async fn anonymous_read(&self) -> Result<bool> {
        let sql = "SELECT value FROM setting WHERE name = 'anonymous_read'";
        let value = self.pool.first(sql, args![], |row| row.text(0)).await?;
        Ok(value.is_some_and(|value| value == "true"))
    }
}

fn user(row: &Row) -> sqlx::Result<User> {
    Ok(User {
        id: row.text(0)?,
        full_name: row.text(1)?,
        email: row.text(2)?,
        password: Hidden(row.text(3)?),
        admin: row.yes(4)?,
    })
}

fn session(row: &Row) -> sqlx::Result<Session> {
    Ok(Session {
        hash: Hidden(row.text(0)?),
        user: row.text(1)?,
        created_at: Millis(row.int(2)?),
        seen_at: Millis(row.int(3)?),
        idle: Duration::from_millis(row.size(4)?),
        expires_at: Millis(row.int(5)?),
    })
}

fn token(row: &Row) -> sqlx::Result<ApiToken> {
    Ok(ApiToken {
        id: row.text(0)?,
        user: row.text(1)?,
        name: row.text(2)?,
        hash: Hidden(row.text(3)?),
        created_at: Millis(row.int(4)?),
        used_at: row.int_or_null(5)?.map(Millis),
        uses: row.size(6)?,
    })
}

//! Users, their sessions and tokens. Whoever makes or ends something of a user has the user's row locked first.

use model::Millis;
use store::{
    Answer, ApiToken, Error, Hidden, MAX_SESSIONS, MAX_TOKENS, MAX_USERS, Session, User, UserEdit, user_key,
};

use super::Applied;
use crate::db::{Conn, Lock, args, int};

fn no_user(id: &str) -> Error {
    Error::NotFound(format!("the user “{id}”"))
}

pub(super) async fn create_first(conn: &mut Conn, user: &User, token: Option<&ApiToken>) -> Applied {
    let somebody = conn.row("SELECT 1 FROM account LIMIT 1", args![]).await?.is_some();
    if somebody || create(conn, user).await? == Answer::Bool(false) {
        return Ok(Answer::Bool(false));
    }
    if let Some(token) = token {
        create_token(conn, token).await?;
    }
    Ok(Answer::Bool(true))
}

pub(super) async fn create(conn: &mut Conn, user: &User) -> Applied {
    let key = user_key(&user.id);
    let there = conn.row("SELECT 1 FROM account WHERE user_key = $1", args![&key]).await?;
    if there.is_some() {
        return Ok(Answer::Bool(false));
    }
    let many = conn.row("SELECT COUNT(*) FROM account", args![]).await?;
    if many.map(|row| row.size(0)).transpose()?.unwrap_or(0) >= MAX_USERS {
        return Err(Error::Limit(format!("there are {MAX_USERS} users already")).into());
    }
    let created = conn
        .run(
            "INSERT INTO account (user_key, id, full_name, email, password, admin) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (user_key) DO NOTHING",
            args![&key, &user.id, &user.full_name, &user.email, &user.password.0, user.admin],
        )
        .await?;
    Ok(Answer::Bool(created > 0))
}

/// Refuses when there is no administrator but this one; as long as the transaction lasts nobody else becomes less.
async fn other_administrator(conn: &mut Conn, key: &str) -> Applied<()> {
    let sql = "SELECT user_key FROM account WHERE admin = 1 ORDER BY user_key";
    let admins = conn.locked(Lock::Change, sql, args![]).await?;
    if let [only] = admins.as_slice()
        && only.text(0)? == key
    {
        return Err(Error::Conflict("no administrator would be left".to_owned()).into());
    }
    Ok(())
}

pub(super) async fn edit(conn: &mut Conn, id: &str, edit: &UserEdit) -> Applied {
    let UserEdit { full_name, email, password, admin } = edit;
    let key = user_key(id);
    if *admin == Some(false) {
        other_administrator(conn, &key).await?;
    }
    let changed = conn
        .run(
            "UPDATE account SET full_name = COALESCE($2, full_name), email = COALESCE($3, email), \
             password = COALESCE($4, password), admin = COALESCE($5, admin) WHERE user_key = $1",
            args![
                &key,
                full_name.as_deref(),
                email.as_deref(),
                password.as_ref().map(|password| password.0.as_str()),
                admin.map(i64::from),
            ],
        )
        .await?;
    if changed == 0 {
        return Err(no_user(id).into());
    }
    if password.is_some() {
        conn.run("DELETE FROM session WHERE user_key = $1", args![&key]).await?;
    }
    Ok(Answer::Unit)
}

pub(super) async fn rehash(conn: &mut Conn, id: &str, was: &Hidden, password: &Hidden) -> Applied {
    let sql = "UPDATE account SET password = $3 WHERE user_key = $1 AND password = $2";
    let changed = conn.run(sql, args![&user_key(id), &was.0, &password.0]).await?;
    Ok(Answer::Bool(changed > 0))
}

pub(super) async fn delete(conn: &mut Conn, id: &str) -> Applied {
    let key = user_key(id);
    other_administrator(conn, &key).await?;
    if conn.run("DELETE FROM account WHERE user_key = $1", args![&key]).await? == 0 {
        return Err(no_user(id).into());
    }
    conn.run("DELETE FROM session WHERE user_key = $1", args![&key]).await?;
    conn.run("DELETE FROM token WHERE user_key = $1", args![&key]).await?;
    Ok(Answer::Unit)
}

/// The hash of the user's password; the row is locked.
async fn password(conn: &mut Conn, id: &str) -> Applied<String> {
    let sql = "SELECT password FROM account WHERE user_key = $1";
    let rows = conn.locked(Lock::Change, sql, args![&user_key(id)]).await?;
    let row = rows.first().ok_or_else(|| no_user(id))?;
    Ok(row.text(0)?)
}

pub(super) async fn create_session(conn: &mut Conn, session: &Session, shown: &Hidden) -> Applied {
    if password(conn, &session.user).await? != shown.0 {
        return Err(Error::Conflict("the password was changed meanwhile".to_owned()).into());
    }
    let key = user_key(&session.user);
    let idle = i64::try_from(session.idle.as_millis()).unwrap_or(i64::MAX);
    conn.run(
        "INSERT INTO session (hash, user_key, created_at, seen_at, idle, expires_at) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (hash) DO NOTHING",
        args![&session.hash.0, &key, session.created_at, session.seen_at, idle, session.expires_at],
    )
    .await?;
    conn.run(
        "DELETE FROM session WHERE user_key = $1 AND hash NOT IN \
         (SELECT hash FROM session WHERE user_key = $1 ORDER BY seen_at DESC, hash LIMIT $2)",
        args![&key, int(MAX_SESSIONS as u64)?],
    )
    .await?;
    Ok(Answer::Unit)
}

pub(super) async fn touch_session(conn: &mut Conn, hash: &Hidden, at: Millis) -> Applied {
    let sql = "UPDATE session SET seen_at = $2 WHERE hash = $1 AND seen_at < $2";
    Ok(Answer::Bool(conn.run(sql, args![&hash.0, at]).await? > 0))
}

pub(super) async fn end_session(conn: &mut Conn, hash: &Hidden) -> Applied {
    Ok(Answer::Bool(conn.run("DELETE FROM session WHERE hash = $1", args![&hash.0]).await? > 0))
}

pub(super) async fn forget_sessions(conn: &mut Conn, now: Millis) -> Applied {
    conn.run("DELETE FROM session WHERE expires_at <= $1 OR seen_at + idle <= $1", args![now]).await?;
    Ok(Answer::Unit)
}

pub(super) async fn create_token(conn: &mut Conn, token: &ApiToken) -> Applied {
    password(conn, &token.user).await?;
    let key = user_key(&token.user);
    let sql = "SELECT 1 FROM token WHERE id = $1 OR hash = $2";
    if conn.row(sql, args![&token.id, &token.hash.0]).await?.is_some() {
        return Err(Error::Exists("the token".to_owned()).into());
    }
    let many = conn.row("SELECT COUNT(*) FROM token WHERE user_key = $1", args![&key]).await?;
    if many.map(|row| row.size(0)).transpose()?.unwrap_or(0) >= MAX_TOKENS as u64 {
        return Err(Error::Limit(format!("the user has {MAX_TOKENS} tokens already")).into());
    }
    let created = conn
        .run(
            "INSERT INTO token (id, user_key, name, hash, created_at, used_at, uses) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
            args![
                &token.id,
                &key,
                &token.name,
                &token.hash.0,
                token.created_at,
                token.used_at,
                int(token.uses)?
            ],
        )
        .await?;
    if created == 0 { Err(Error::Exists("the token".to_owned()).into()) } else { Ok(Answer::Unit) }
}

pub(super) async fn rename_token(conn: &mut Conn, user: &str, id: &str, name: &str) -> Applied {
    let sql = "UPDATE token SET name = $3 WHERE id = $2 AND user_key = $1";
    if conn.run(sql, args![&user_key(user), id, name]).await? == 0 {
        return Err(Error::NotFound(format!("the token {id}")).into());
    }
    Ok(Answer::Unit)
}

pub(super) async fn revoke_token(conn: &mut Conn, user: &str, id: &str) -> Applied {
    let sql = "DELETE FROM token WHERE id = $2 AND user_key = $1";
    Ok(Answer::Bool(conn.run(sql, args![&user_key(user), id]).await? > 0))
}

pub(super) async fn revoke_tokens(conn: &mut Conn, user: &str, except: Option<&str>) -> Applied {
    let sql = "DELETE FROM token WHERE user_key = $1 AND id <> $2";
    conn.run(sql, args![&user_key(user), except.unwrap_or_default()]).await?;
    Ok(Answer::Unit)
}

pub(super) async fn use_token(conn: &mut Conn, id: &str, at: Millis, uses: u64) -> Applied {
    let sql =
        "UPDATE token SET used_at = $2, uses = uses + $3 WHERE id = $1 AND (used_at IS NULL OR used_at < $2)";
    Ok(Answer::Bool(conn.run(sql, args![id, at, int(uses)?]).await? > 0))
}

pub(super) async fn allow_anonymous_read(conn: &mut Conn, allowed: bool) -> Applied {
    let value = if allowed { "true" } else { "false" };
    conn.run(
        "INSERT INTO setting (name, value) VALUES ('anonymous_read', $1) \
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        args![value],
    )
    .await?;
    Ok(Answer::Unit)
}

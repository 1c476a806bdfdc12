//! Jobs and folders. Deleting them is in `history`.

use model::{JobName, Millis};
use store::{Answer, Error, ItemKind};

use super::Applied;
use crate::db::{Conn, Lock, args};

pub(super) fn no_item(name: &JobName) -> Error {
    Error::NotFound(format!("“{name}”"))
}

pub(super) async fn create(
    conn: &mut Conn,
    name: &JobName,
    kind: ItemKind,
    config: &str,
    disabled: bool,
    at: Millis,
) -> Applied {
    let parent = match name.parent() {
        None => 0,
        Some(parent) => folder(conn, &parent).await?,
    };
    let row = conn
        .row(
            "INSERT INTO item (name, name_key, parent, kind, disabled, next_build, running, last_completed, \
             last_result, version, created_at) VALUES ($1, $2, $3, $4, $5, 1, 0, 0, NULL, 1, $6) \
             ON CONFLICT (name_key) DO NOTHING RETURNING id",
            args![name.as_str(), &name.key(), parent, kind.as_str(), disabled, at],
        )
        .await?;
    let Some(row) = row else {
        return Err(Error::Exists(format!("“{name}”")).into());
    };
    let id = row.int(0)?;
    conn.run("INSERT INTO item_config (item, config) VALUES ($1, $2)", args![id, config]).await?;
    Ok(Answer::Id(id))
}

/// The id of a folder, which stays until the commit.
async fn folder(conn: &mut Conn, name: &JobName) -> Applied<i64> {
    let rows = conn
        .locked(
            Lock::Keep,
            "SELECT id, kind FROM item WHERE name_key = $1 AND name = $2",
            args![&name.key(), name.as_str()],
        )
        .await?;
    match rows.first() {
        Some(row) if row.word(1, ItemKind::parse)? == ItemKind::Folder => Ok(row.int(0)?),
        _ => Err(Error::NotFound(format!("the folder “{name}”")).into()),
    }
}

pub(super) async fn configure(conn: &mut Conn, name: &JobName, config: &str, disabled: bool) -> Applied {
    let row = conn
        .row(
            "UPDATE item SET disabled = $3, version = version + 1 WHERE name_key = $1 AND name = $2 RETURNING id",
            args![&name.key(), name.as_str(), disabled],
        )
        .await?
        .ok_or_else(|| no_item(name))?;
    conn.run("UPDATE item_config SET config = $2 WHERE item = $1", args![row.int(0)?, config]).await?;
    Ok(Answer::Unit)
}

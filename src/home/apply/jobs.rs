//! Jobs and folders. Deleting them is in `history`.

use model::{JobName, Millis};
use store::{Answer, Error, ItemKind};

use super::{Applied, history};
use crate::db::{Arg, Conn, Lock, args};

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

/// Everything else knows an item by its id.
pub(super) async fn rename(conn: &mut Conn, name: &JobName, to: &JobName) -> Applied {
    if name.parent() != to.parent() {
        return Err(Error::Conflict(format!("“{to}” is not in the folder of “{name}”")).into());
    }
    let (items, _) = history::subtree(conn, name).await?;
    let taken = conn.row("SELECT name FROM item WHERE name_key = $1", args![&to.key()]).await?;
    if name == to || (taken.is_some() && name.key() != to.key()) {
        return Err(Error::Exists(format!("“{to}”")).into());
    }
    let mut names = Vec::with_capacity(items.len());
    for row in conn.rows_in("SELECT id, name FROM item WHERE id IN", &items, "").await? {
        let old = row.parsed(1, JobName::parse)?;
        let outside = || Error::Corrupt(format!("the item “{old}” is stored as one in “{name}”"));
        let renamed = old.renamed(name, to).ok_or_else(outside)?;
        let renamed = renamed.map_err(|e| Error::Conflict(format!("“{old}” can't be renamed: {e}")))?;
        names.push((row.int(0)?, renamed.to_string(), renamed.key()));
    }
    let rows: Vec<Arg<'_>> =
        names.iter().flat_map(|(id, name, key)| [Arg::from(*id), Arg::from(name), Arg::from(key)]).collect();
    let head = "WITH v (id, name, name_key) AS (VALUES";
    let tail = ") UPDATE item SET name = v.name, name_key = v.name_key FROM v WHERE item.id = v.id";
    conn.run_many(head, 3, &rows, tail).await?;
    Ok(Answer::Unit)
}

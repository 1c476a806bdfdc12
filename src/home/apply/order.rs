//! In which order the writes of a group are applied, and which rows are locked before. Two groups of two processes that
//! lock the same rows in different orders wait for each other until PostgreSQL breaks one after a second; that is retried,
//! but it is slow. So: items, then running builds (each by id, at once), then what belongs to one, then nodes,
//! members, and the one row of `meta` last and shortest. Writes of one build keep their order.

use store::{Effect, Write};

use crate::db::{Conn, args};

/// The key of the order: rank, then a number, then a name.
fn rank(write: &Write) -> (u8, i64, &str) {
    match write {
        Write::CreateItem { .. }
        | Write::ConfigureItem { .. }
        | Write::RenameItem { .. }
        | Write::DeleteItem { .. }
        | Write::DeleteBuild { .. }
        | Write::KeepBuild { .. }
        | Write::CancelQueued { .. }
        | Write::ForgetLeft { .. } => (0, 0, ""),
        Write::Enqueue(_) => (0, 1, ""),
        Write::TakeBuild { .. } => (0, 2, ""),
        // One rank, so that a build's own order stays. What others deliver has no order with them.
        Write::Progress(_) | Write::Adopt { .. } => (1, 0, ""),
        Write::Deliver { .. } => (1, 1, ""),
        Write::Grant { node, slot, .. } => (2, i64::from(*slot), node.as_str()),
        Write::CreateNode(node) | Write::ConfigureNode(node) => (3, 0, node.name.as_str()),
        Write::DeleteNode { name } | Write::SetNodeOffline { name, .. } => (3, 0, name.as_str()),
        Write::LinkUp { node, .. } | Write::LinkDown { node, .. } => (3, 0, node.as_str()),
        Write::ForgetObjects { .. } | Write::Erase | Write::CreateUser(_) => (4, 0, ""),
        Write::AcquireLease { lease, .. } | Write::ReleaseLease { lease, .. } => (5, 0, lease.as_str()),
        Write::NoteFailover { lost, .. } => (6, *lost, ""),
        Write::Lapse { who: me, .. } | Write::SetState { me, .. } | Write::Beat { me, .. } => {
            (7, 0, me.name.as_str())
        }
        Write::Join(join) => (7, 0, join.name.as_str()),
        Write::Identify { .. } | Write::RaiseEpoch { .. } => (8, 0, ""),
    }
}

/// Positions of the writes in the order in which they are applied.
pub(super) fn sorted(writes: &[&Write]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..writes.len()).collect();
    order.sort_by_key(|at| rank(writes[*at]));
    order
}

/// Locks what several writes of the group will change, in the order of ids. PostgreSQL only; SQLite has one writer.
pub(super) async fn lock(conn: &mut Conn, writes: &[&Write]) -> sqlx::Result<()> {
    if matches!(conn, Conn::Sqlite(_)) || writes.len() < 2 {
        return Ok(());
    }
    let (mut taken, mut ended, mut builds) = (Vec::new(), Vec::new(), Vec::new());
    for write in writes {
        match write {
            Write::TakeBuild { id, .. } => taken.push(id.0),
            Write::Progress(progress) => {
                builds.push(progress.build.0);
                if progress.effects.iter().any(|e| matches!(e, Effect::Finish { .. })) {
                    ended.push(progress.build.0);
                }
            }
            Write::Adopt { build, .. } | Write::Deliver { build, .. } => builds.push(build.0),
            _ => {}
        }
    }
    if taken.len() + ended.len() > 1 {
        conn.rows(
            "SELECT id FROM item WHERE id IN (\
             SELECT item FROM queue WHERE id = ANY (string_to_array($1, ',')::bigint[]) UNION \
             SELECT item FROM running WHERE build = ANY (string_to_array($2, ',')::bigint[])) \
             ORDER BY id FOR NO KEY UPDATE",
            args![&list(&taken), &list(&ended)],
        )
        .await?;
    }
    if builds.len() > 1 {
        conn.rows(
            "SELECT build FROM running WHERE build = ANY (string_to_array($1, ',')::bigint[]) \
             ORDER BY build FOR NO KEY UPDATE",
            args![&list(&builds)],
        )
        .await?;
    }
    Ok(())
}

fn list(ids: &[i64]) -> String {
    ids.iter().map(i64::to_string).collect::<Vec<_>>().join(",")
}

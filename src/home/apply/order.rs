//! In which order the writes of a group are applied, and which rows are locked before. Two groups of two processes that
//! lock the same rows in different orders wait for each other until PostgreSQL breaks one after a second; that is retried,
//! but it is slow. So: the queue, then running builds (each by id, at once) and what belongs to one, then nodes, then items
//! (by id, at once) and the sources that their builds share, members, and the one row of `meta` last and shortest.
//! Writes of one build keep their order.
//!
//! Items come late because all builds of a job count in its one row: whoever has it locked has the other replicas wait
//! until it has committed. What writes of builds have for them waits in [`Late`](super::late::Late).

use store::Write;

use crate::db::{Conn, args};

/// Where the rows of items begin to be locked.
const ITEMS: u8 = 5;

/// The key of the order: rank, then a number, then a name.
fn rank(write: &Write) -> (u8, i64, &str) {
    match write {
        Write::CancelQueued { .. } | Write::ForgetLeft { .. } => (0, 0, ""),
        Write::Enqueue(_) => (0, 1, ""),
        // One rank, so that a build's own order stays. What others deliver has no order with them.
        Write::Progress(_) | Write::Adopt { .. } => (1, 0, ""),
        Write::Deliver { .. } => (1, 1, ""),
        Write::Grant { node, slot, .. } => (2, i64::from(*slot), node.as_str()),
        Write::CreateNode(node) | Write::ConfigureNode(node) => (3, 0, node.name.as_str()),
        Write::DeleteNode { name } | Write::SetNodeOffline { name, .. } => (3, 0, name.as_str()),
        Write::LinkUp { node, .. } | Write::LinkDown { node, .. } => (3, 0, node.as_str()),
        Write::ForgetObjects { .. } | Write::Erase | Write::CreateUser(_) => (4, 0, ""),
        Write::TakeBuild { .. } => (ITEMS, 0, ""),
        Write::CreateItem { .. }
        | Write::ConfigureItem { .. }
        | Write::RenameItem { .. }
        | Write::DeleteItem { .. }
        | Write::DeleteBuild { .. }
        | Write::KeepBuild { .. } => (ITEMS, 1, ""),
        Write::AcquireLease { lease, .. } | Write::ReleaseLease { lease, .. } => (6, 0, lease.as_str()),
        Write::NoteFailover { lost, .. } => (7, *lost, ""),
        Write::Lapse { who: me, .. } | Write::SetState { me, .. } | Write::Beat { me, .. } => {
            (8, 0, me.name.as_str())
        }
        Write::Join(join) => (8, 0, join.name.as_str()),
        Write::Identify { .. } | Write::RaiseEpoch { .. } => (9, 0, ""),
    }
}

/// Positions of the writes in the order in which they are applied: those before items and sources are locked, those of
/// items, and the rest.
pub(super) fn sorted(writes: &[&Write]) -> [Vec<usize>; 3] {
    let mut order: Vec<usize> = (0..writes.len()).collect();
    order.sort_by_key(|at| rank(writes[*at]));
    let rest = order.split_off(order.partition_point(|at| rank(writes[*at]).0 <= ITEMS));
    let items = order.split_off(order.partition_point(|at| rank(writes[*at]).0 < ITEMS));
    [order, items, rest]
}

/// Locks the running builds that several writes of the group will change, in the order of ids. PostgreSQL only; SQLite has
/// one writer.
pub(super) async fn lock(conn: &mut Conn, writes: &[&Write]) -> sqlx::Result<()> {
    if matches!(conn, Conn::Sqlite(_)) {
        return Ok(());
    }
    let builds = writes.iter().filter_map(|write| match write {
        Write::Progress(progress) => Some(progress.build.0),
        Write::Adopt { build, .. } | Write::Deliver { build, .. } => Some(build.0),
        _ => None,
    });
    let builds: Vec<i64> = builds.collect();
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

/// As `lock`, for the items in which builds have ended and those of which some are taken.
pub(super) async fn lock_items(conn: &mut Conn, writes: &[&Write], ended: &[i64]) -> sqlx::Result<()> {
    if matches!(conn, Conn::Sqlite(_)) {
        return Ok(());
    }
    let taken =
        writes.iter().filter_map(|w| if let Write::TakeBuild { id, .. } = w { Some(id.0) } else { None });
    let taken: Vec<i64> = taken.collect();
    if taken.is_empty() || taken.len() + ended.len() < 2 {
        // What is alone has nothing to be in order with, and `Late` goes by ids itself.
        return Ok(());
    }
    conn.rows(
        "SELECT id FROM item WHERE id = ANY (string_to_array($2, ',')::bigint[]) OR id IN (\
         SELECT item FROM queue WHERE id = ANY (string_to_array($1, ',')::bigint[])) \
         ORDER BY id FOR NO KEY UPDATE",
        args![&list(&taken), &list(ended)],
    )
    .await
    .map(drop)
}

fn list(ids: &[i64]) -> String {
    ids.iter().map(i64::to_string).collect::<Vec<_>>().join(",")
}

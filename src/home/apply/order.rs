//! In which order the writes of a group are applied, and which rows are locked before. Two groups of two processes that
//! lock the same rows in different orders wait for each other until PostgreSQL breaks one after a second; that is retried,
//! but it is slow. So: running builds (by id, at once), the queue, what belongs to one build, then nodes, users with their sessions and tokens, then items (by id,
//! at once) and the sources that their builds share, members, and the one row of `meta` last and shortest. Writes of one
//! build keep their order.
//!
//! The executors with which builds begin are occupied before items are locked, though their builds begin after
//! ([`reserve`](super::take::reserve)).
//!
//! Items come late because all builds of a job count in its one row: whoever has it locked has the other replicas wait
//! until it has committed. What writes of builds have for them waits in [`Late`](super::late::Late). Writes that lock items
//! against all others, what is enqueued too, are in no order with the queue, and go alone ([`alone`]).

use store::{Effect, Enqueue, Write};

use super::queue;
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
        // Of the build alone, which may be about to end.
        Write::KeepBuild { .. } => (1, 2, ""),
        Write::Grant { node, slot, .. } => (2, i64::from(*slot), node.as_str()),
        Write::CreateNode(node) | Write::ConfigureNode(node) => (3, 0, node.name.as_str()),
        Write::DeleteNode { name } | Write::SetNodeOffline { name, .. } => (3, 0, name.as_str()),
        Write::LinkUp { node, .. } | Write::LinkDown { node, .. } => (3, 0, node.as_str()),
        Write::ForgetObjects { .. } => (4, 0, ""),
        // Whoever changes users locks all administrators, then the user, then what is the user's.
        Write::CreateUser(user) | Write::CreateFirstUser { user, .. } => (4, 1, &user.id),
        Write::EditUser { id, .. } | Write::RehashPassword { id, .. } | Write::DeleteUser { id } => {
            (4, 1, id)
        }
        Write::CreateSession { session, .. } => (4, 2, &session.user),
        Write::CreateToken(token) => (4, 2, &token.user),
        Write::RevokeTokens { user, .. } => (4, 2, user),
        Write::TouchSession { hash, .. } | Write::EndSession { hash } => (4, 3, &hash.0),
        Write::ForgetSessions { .. } => (4, 4, ""),
        Write::RenameToken { id, .. } | Write::RevokeToken { id, .. } | Write::UseToken { id, .. } => {
            (4, 5, id)
        }
        Write::AllowAnonymousRead { .. } => (4, 6, ""),
        Write::TakeBuild { .. } => (ITEMS, 0, ""),
        Write::CreateItem { .. }
        | Write::ConfigureItem { .. }
        | Write::RenameItem { .. }
        | Write::DeleteItem { .. }
        | Write::DeleteBuild { .. }
        | Write::DeleteArtifacts { .. } => (ITEMS, 1, ""),
        // After items, as who deletes a build: what says of its log that it is an object, then the rows of the log.
        Write::LogArchived { .. } | Write::Erase => (ITEMS, 2, ""),
        Write::AcquireLease { lease, .. }
        | Write::ReleaseLease { lease, .. }
        | Write::NoteLease { lease, .. } => (6, 0, lease.as_str()),
        Write::NoteFailover { lost, .. } => (7, *lost, ""),
        Write::Lapse { who: me, .. } | Write::SetState { me, .. } | Write::Beat { me, .. } => {
            (8, 0, me.name.as_str())
        }
        Write::Join(join) => (8, 0, join.name.as_str()),
        Write::Identify { .. }
        | Write::RaiseEpoch { .. }
        | Write::RaiseLevel { .. }
        | Write::SetQuiet { .. }
        | Write::AskRestart { .. }
        | Write::WithdrawRestart { .. }
        | Write::ReportRollout { .. }
        | Write::PlaceObjects { .. } => (9, 0, ""),
    }
}

/// Whether a write must be in a group of its own.
pub(crate) fn alone(write: &Write) -> bool {
    matches!(write, Write::RenameItem { .. } | Write::DeleteItem { .. })
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

/// Locks what the group will change of running builds and, if it takes some of it, of the queue: each in the order of ids.
/// PostgreSQL only; SQLite has one writer.
pub(super) async fn lock(conn: &mut Conn, writes: &[&Write]) -> sqlx::Result<()> {
    if matches!(conn, Conn::Sqlite(_)) || writes.len() < 2 {
        return Ok(());
    }
    let builds = writes.iter().filter_map(|write| match write {
        Write::Progress(progress) => Some(progress.build.0),
        Write::Adopt { build, .. } | Write::Deliver { build, .. } => Some(build.0),
        _ => None,
    });
    let builds = list(builds);
    if !builds.is_empty() {
        conn.rows(
            "SELECT build FROM running WHERE build = ANY (string_to_array($1, ',')::bigint[]) \
             ORDER BY build FOR NO KEY UPDATE",
            args![&builds],
        )
        .await?;
    }
    let taken = taken(writes);
    if taken.is_empty() {
        return Ok(());
    }
    // What is enqueued may fold into what another group takes.
    let (names, folds): (Vec<String>, Vec<String>) =
        writes.iter().flat_map(|w| enqueued(w)).map(queue::key).unzip();
    conn.rows(
        "SELECT id FROM queue WHERE id IN (SELECT unnest(string_to_array($1, ',')::bigint[]) UNION \
         SELECT queue.id FROM item JOIN queue ON queue.item = item.id AND queue.left_at IS NULL \
         WHERE item.name_key = ANY (string_to_array($2, chr(10))) AND queue.fold = ANY (string_to_array($3, ','))) \
         ORDER BY id FOR NO KEY UPDATE",
        args![&taken, &names.join("\n"), &folds.join(",")],
    )
    .await
    .map(drop)
}

/// As `lock`, for the items in which builds have ended, those of which some are taken, and those that are changed.
pub(super) async fn lock_items(conn: &mut Conn, writes: &[&Write], ended: &[i64]) -> sqlx::Result<()> {
    let (taken, changed) = (taken(writes), changed(writes));
    // What is alone has nothing to be in order with, and `Late` goes by ids itself.
    let alone = writes.len() < 2 || (taken.is_empty() && changed.is_empty());
    if alone || matches!(conn, Conn::Sqlite(_)) {
        return Ok(());
    }
    conn.rows(
        "SELECT id FROM item WHERE id = ANY (string_to_array($2, ',')::bigint[]) \
         OR name_key = ANY (string_to_array($3, chr(10))) \
         OR id IN (SELECT item FROM queue WHERE id = ANY (string_to_array($1, ',')::bigint[])) \
         ORDER BY id FOR NO KEY UPDATE",
        args![&taken, &list(ended.iter().copied()), &changed.join("\n")],
    )
    .await
    .map(drop)
}

/// What a write puts into the queue.
fn enqueued(write: &Write) -> Vec<&Enqueue> {
    match write {
        Write::Enqueue(enqueue) => vec![enqueue],
        Write::Progress(progress) => {
            let wanted = progress.effects.iter();
            wanted
                .filter_map(|e| if let Effect::Enqueue(enqueue) = e { Some(enqueue) } else { None })
                .collect()
        }
        _ => Vec::new(),
    }
}

/// The places in the queue that are taken, as a list.
fn taken(writes: &[&Write]) -> String {
    list(writes.iter().filter_map(|w| if let Write::TakeBuild { id, .. } = w { Some(id.0) } else { None }))
}

/// The keys of the names of items that are changed or have something deleted.
fn changed(writes: &[&Write]) -> Vec<String> {
    let name = |write: &&Write| match write {
        Write::ConfigureItem { name, .. }
        | Write::DeleteBuild { job: name, .. }
        | Write::DeleteArtifacts { job: name, .. } => Some(name.key()),
        _ => None,
    };
    writes.iter().filter_map(name).collect()
}

fn list(ids: impl Iterator<Item = i64>) -> String {
    ids.map(|id| id.to_string()).collect::<Vec<_>>().join(",")
}

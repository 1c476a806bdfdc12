//! Executors: which waiting `node` step gets which.

use std::collections::BTreeSet;

use model::NodeName;
use store::Answer;

use crate::db::{Arg, Conn, Lock};

/// A `Grant`.
#[derive(Clone, Copy)]
pub(super) struct Grant<'a> {
    pub(super) wait: i64,
    pub(super) node: &'a NodeName,
    pub(super) slot: u32,
    pub(super) body: &'a str,
}

/// One that may be given, and to whom.
struct Fits<'a> {
    /// Where its answer goes.
    at: usize,
    grant: Grant<'a>,
    build: i64,
    step: String,
    key: String,
}

/// Gives executors; no wait and no executor twice in one batch.
pub(super) async fn batch(
    conn: &mut Conn,
    grants: &[(usize, Grant<'_>)],
    answers: &mut [store::Result<Answer>],
) -> sqlx::Result<()> {
    let mut fits = fitting(conn, grants).await?;
    for (at, _) in grants {
        answers[*at] = Ok(Answer::Bool(false));
    }
    let rows: Vec<Arg<'_>> = fits
        .iter()
        .flat_map(|f| {
            let executor = [Arg::from(f.grant.node.as_str()), Arg::from(f.grant.slot)];
            executor.into_iter().chain([Arg::from(f.build), Arg::from(&f.step)])
        })
        .collect();
    let head = "INSERT INTO busy (node, slot, build, step) VALUES";
    let tail = "ON CONFLICT (node, slot) DO NOTHING RETURNING node, slot";
    let mut free = BTreeSet::new();
    for row in conn.rows_many(head, 4, &rows, tail).await? {
        free.insert((row.text(0)?, row.small(1)?));
    }
    fits.retain(|f| free.contains(&(f.grant.node.to_string(), f.grant.slot)));
    // The wait row decides: its build may have ended, or somebody else may have granted, since it was read.
    let waits: Vec<i64> = fits.iter().map(|f| f.grant.wait).collect();
    let mut waited = BTreeSet::new();
    for row in conn.rows_in("DELETE FROM wait WHERE id IN", &waits, "RETURNING id").await? {
        waited.insert(row.int(0)?);
    }
    let (given, late): (Vec<_>, Vec<_>) = fits.into_iter().partition(|f| waited.contains(&f.grant.wait));
    for f in late {
        let executor = crate::db::args![f.grant.node.as_str(), f.grant.slot];
        conn.run("DELETE FROM busy WHERE node = $1 AND slot = $2", executor).await?;
    }
    let rows: Vec<Arg<'_>> = given
        .iter()
        .flat_map(|f| [Arg::from(f.build), Arg::from(&f.key), Arg::from(f.grant.body), Arg::from(0_i64)])
        .collect();
    let head = "INSERT INTO inbox (build, row_key, body, consumed) VALUES";
    conn.run_many(head, 4, &rows, "ON CONFLICT (build, row_key) DO NOTHING").await?;
    for f in given {
        answers[f.at] = Ok(Answer::Bool(true));
    }
    Ok(())
}

/// Those whose wait and whose executor are there, in the order of executors, so that two processes that insert the same
/// ones do not wait for each other in a circle.
async fn fitting<'a>(conn: &mut Conn, grants: &[(usize, Grant<'a>)]) -> sqlx::Result<Vec<Fits<'a>>> {
    let rows: Vec<Arg<'_>> = grants
        .iter()
        .flat_map(|(_, g)| [Arg::from(g.wait), Arg::from(g.node.as_str()), Arg::from(g.slot)])
        .collect();
    let head = "WITH v (wait, node, slot) AS (VALUES";
    let tail = ") SELECT v.wait, wait.build, wait.step FROM v JOIN wait ON wait.id = v.wait \
                JOIN node ON node.name = v.node WHERE node.offline IS NULL AND node.executors > v.slot \
                AND EXISTS (SELECT 1 FROM link JOIN member ON member.name = link.holder_name \
                AND member.incarnation = link.holder_incarnation \
                WHERE link.node = node.name AND member.state <> 'stopped')";
    let mut fits = Vec::with_capacity(grants.len());
    for row in conn.locked_many(Lock::KeepOf("node"), head, 3, &rows, tail).await? {
        let (wait, build, step) = (row.int(0)?, row.int(1)?, row.text(2)?);
        let Some((at, grant)) = grants.iter().find(|(_, g)| g.wait == wait) else { continue };
        let key = format!("granted:{step}");
        fits.push(Fits { at: *at, grant: *grant, build, step, key });
    }
    fits.sort_by(|a, b| (a.grant.node, a.grant.slot).cmp(&(b.grant.node, b.grant.slot)));
    Ok(fits)
}

//! What writes of builds have for rows that builds share. It waits until the rest of the group is done (see `order`).

use std::collections::BTreeMap;

use model::{BuildId, BuildResult};

use crate::db::{Arg, Conn, Lock, args};

/// Changes of items and sources, to be made by id.
#[derive(Default)]
pub(super) struct Late<'a> {
    items: BTreeMap<i64, Ended>,
    sources: BTreeMap<&'a str, &'a str>,
    source_uses: Vec<Arg<'a>>,
}

/// What a job has to be told: how many of its builds ended, and the newest of them.
struct Ended {
    builds: i64,
    number: i64,
    result: BuildResult,
    /// By result, in the order of `BuildResult::ALL`.
    results: [i64; 5],
    /// Milliseconds that they took, together.
    took: i64,
}

impl<'a> Late<'a> {
    pub(super) fn ended(&mut self, item: i64, number: i64, result: BuildResult, took: i64) {
        let newest =
            self.items.entry(item).or_insert(Ended { builds: 0, number, result, results: [0; 5], took: 0 });
        newest.builds += 1;
        newest.took += took;
        for (count, of) in newest.results.iter_mut().zip(BuildResult::ALL) {
            *count += i64::from(of == result);
        }
        if newest.number < number {
            (newest.number, newest.result) = (number, result);
        }
    }

    pub(super) fn source(&mut self, build: BuildId, hash: &'a str, text: &'a str) {
        self.sources.insert(hash, text);
        self.source_uses.extend([Arg::from(build), Arg::from(hash)]);
    }

    /// The items in which builds have ended, by id.
    pub(super) fn items(&self) -> Vec<i64> {
        self.items.keys().copied().collect()
    }

    pub(super) async fn count(&self, conn: &mut Conn) -> sqlx::Result<()> {
        for (item, newest) in &self.items {
            let [succeeded, unstable, failed, not_built, aborted] = newest.results;
            conn.run(
                "UPDATE item SET running = running - $2, succeeded = succeeded + $5, unstable = unstable + $6, \
                 failed = failed + $7, not_built = not_built + $8, aborted = aborted + $9, took = took + $10, \
                 last_result = CASE WHEN last_completed < $3 THEN $4 ELSE last_result END, \
                 last_completed = CASE WHEN last_completed < $3 THEN $3 ELSE last_completed END WHERE id = $1",
                args![
                    *item,
                    newest.builds,
                    newest.number,
                    newest.result.as_str(),
                    succeeded,
                    unstable,
                    failed,
                    not_built,
                    aborted,
                    newest.took
                ],
            )
            .await?;
        }
        Ok(())
    }

    /// Inserted, or there and kept from whoever deletes the last build that names it.
    pub(super) async fn keep_sources(&self, conn: &mut Conn) -> sqlx::Result<()> {
        let hashes: Vec<Arg<'_>> = self.sources.keys().map(|hash| Arg::from(*hash)).collect();
        let rows: Vec<Arg<'_>> =
            self.sources.iter().flat_map(|(h, t)| [Arg::from(*h), Arg::from(*t)]).collect();
        let there = ") SELECT source.hash FROM v JOIN source ON source.hash = v.hash";
        loop {
            let lock = Lock::KeepOf("source");
            let kept = conn.locked_many(lock, "WITH v (hash) AS (VALUES", 1, &hashes, there).await?;
            if kept.len() == self.sources.len() {
                break;
            }
            let head = "INSERT INTO source (hash, body) VALUES";
            conn.run_many(head, 2, &rows, "ON CONFLICT (hash) DO NOTHING").await?;
        }
        let head = "INSERT INTO source_use (build, hash) VALUES";
        conn.run_many(head, 2, &self.source_uses, "ON CONFLICT (build, hash) DO NOTHING").await
    }
}

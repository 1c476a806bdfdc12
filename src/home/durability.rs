//! What the database says of how safe a commit is. Asked now and then by whoever looks after the replicas.

use std::time::{Duration, Instant};

use model::overview::Durability;
use store::Result;

use crate::db::{Row, args};
use crate::{Engine, Home};

/// How long an answer is good for.
const FRESH: Duration = Duration::from_secs(60);

/// Settings that everybody may read. The standbys that he is shown whom the server lets look at them; of others he sees
/// that they are there.
const SETTINGS: &str = "SELECT current_setting('synchronous_commit'), \
     CASE WHEN current_setting('synchronous_standby_names') = '' THEN 0 ELSE 1 END::BIGINT, \
     CASE WHEN current_setting('fsync') = 'on' THEN 1 ELSE 0 END::BIGINT";
const STANDBYS: &str = "SELECT COUNT(*)::BIGINT, \
     (COUNT(*) FILTER (WHERE sync_state IS NULL))::BIGINT, \
     (COUNT(*) FILTER (WHERE state = 'streaming'))::BIGINT, \
     (COUNT(*) FILTER (WHERE state = 'streaming' AND sync_state IN ('sync', 'quorum')))::BIGINT \
     FROM pg_stat_replication";

impl Home {
    /// As the database tells; what it does not tell is `None`.
    pub async fn durability(&self) -> Durability {
        let engine = match self.engine {
            Engine::Sqlite => {
                let (engine, fsync) = ("sqlite".to_owned(), Some(true));
                return Durability { engine, fsync, ..Durability::default() };
            }
            Engine::Postgres => "postgres".to_owned(),
        };
        if let Some((at, known)) = &*self.told.lock()
            && at.elapsed() < FRESH
        {
            return known.clone();
        }
        let (settings, standbys) = (self.settings().await, self.standbys().await);
        // A database that only speaks like PostgreSQL may not know these: that is no reason to ask it again and again.
        let passing = |error: &store::Error| error.passing();
        let away =
            settings.as_ref().err().is_some_and(passing) || standbys.as_ref().err().is_some_and(passing);
        let (standbys, synchronous_replicas) = standbys.unwrap_or_default();
        let told = Durability { engine, standbys, synchronous_replicas, ..settings.unwrap_or_default() };
        if !away {
            *self.told.lock() = Some((Instant::now(), told.clone()));
        }
        told
    }

    async fn settings(&self) -> Result<Durability> {
        let row = |row: &Row| {
            Ok(Durability {
                synchronous_commit: Some(row.text(0)?),
                synchronous_standby_names: Some(row.int(1)? == 1),
                fsync: Some(row.int(2)? == 1),
                ..Durability::default()
            })
        };
        Ok(self.pool.first(SETTINGS, args![], row).await?.unwrap_or_default())
    }

    /// Those that stream, and those of them for which commits wait.
    async fn standbys(&self) -> Result<(Option<u32>, Option<u32>)> {
        let row = |row: &Row| {
            let (all, hidden) = (row.small(0)?, row.int(1)?);
            // what is hidden streams or not: nobody says
            Ok(if hidden > 0 { (Some(all), None) } else { (Some(row.small(2)?), Some(row.small(3)?)) })
        };
        Ok(self.pool.first(STANDBYS, args![], row).await?.unwrap_or_default())
    }
}

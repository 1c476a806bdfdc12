//! Reads of jobs and folders.

use model::{BuildResult, JobName};
use store::{Item, ItemKind, ItemSummary, Items, JobCounts, Result};

use super::{job, limit};
use crate::Home;
use crate::db::{Row, args};

#[async_trait::async_trait]
impl Items for Home {
    async fn item(&self, name: &JobName) -> Result<Option<Item>> {
        self.pool
            .first(
                "SELECT item.id, name, kind, disabled, next_build, running, last_result, version, config \
                 FROM item JOIN item_config ON item_config.item = item.id WHERE name_key = $1 AND name = $2",
                args![&name.key(), name.as_str()],
                |row| Ok(Item { summary: summary(row)?, config: row.text(8)? }),
            )
            .await
    }

    async fn children(
        &self,
        parent: Option<&JobName>,
        after: Option<&JobName>,
        most: u32,
    ) -> Result<Vec<ItemSummary>> {
        let after = after.map(JobName::key).unwrap_or_default();
        let Some(parent) = parent else {
            return self
                .pool
                .list(
                    "SELECT id, name, kind, disabled, next_build, running, last_result, version FROM item \
                     WHERE parent = 0 AND name_key > $1 ORDER BY name_key LIMIT $2",
                    args![&after, limit(most)],
                    summary,
                )
                .await;
        };
        self.pool
            .list(
                "SELECT id, name, kind, disabled, next_build, running, last_result, version FROM item \
                 WHERE parent = (SELECT id FROM item WHERE name_key = $1 AND name = $2) AND name_key > $3 \
                 ORDER BY name_key LIMIT $4",
                args![&parent.key(), parent.as_str(), &after, limit(most)],
                summary,
            )
            .await
    }

    async fn job_counts(&self) -> Result<JobCounts> {
        let counts = self
            .pool
            .list(
                "SELECT disabled, COUNT(*) FROM item WHERE kind <> 'folder' GROUP BY disabled",
                args![],
                |row| Ok((row.yes(0)?, row.size(1)?)),
            )
            .await?;
        let of = |disabled| counts.iter().filter(|count| count.0 == disabled).map(|count| count.1).sum();
        Ok(JobCounts { enabled: of(false), disabled: of(true) })
    }
}

pub(super) fn summary(row: &Row) -> sqlx::Result<ItemSummary> {
    let last_result = match row.text_or_null(6)? {
        None => None,
        Some(_) => Some(row.word(6, BuildResult::parse)?),
    };
    Ok(ItemSummary {
        id: row.int(0)?,
        name: job(row, 1)?,
        kind: row.word(2, ItemKind::parse)?,
        disabled: row.yes(3)?,
        next_build: row.size(4)?,
        running: row.small(5)?,
        last_result,
        version: row.int(7)?,
    })
}

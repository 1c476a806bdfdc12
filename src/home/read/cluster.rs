//! Reads of the home itself, its members and leases.

use model::{Fence, Millis, ReplicaId, ReplicaName, ReplicaState, RestartWhen};
use store::{Cluster, Error, Failover, Lease, Load, Member, Meta, ObjectPlace, Restart, Result};

use super::{limit, replica};
use crate::Home;
use crate::db::{Row, args};

#[async_trait::async_trait]
impl Cluster for Home {
    async fn meta(&self) -> Result<Meta> {
        let sql = "SELECT controller, level, epoch, tick, quiet, restart, restart_when, restart_by, \
                   restart_reload, restart_withdrawn, rollout, objects_id, objects_at, incarnation FROM meta";
        let meta = self.pool.first(sql, args![], |row| {
            let when = row.word(6, RestartWhen::parse)?;
            Ok(Meta {
                controller: row.text(0)?,
                level: row.int(1)?,
                epoch: row.small(2)?,
                tick: row.int(3)?,
                quiet: row.text_or_null(4)?,
                restart: Restart {
                    number: row.int(5)?,
                    when,
                    by: row.text(7)?,
                    reload: row.yes(8)?,
                    withdrawn: row.yes(9)?,
                },
                rollout: match row.text_or_null(10)? {
                    Some(_) => Some(row.json(10)?),
                    None => None,
                },
                objects: Some(ObjectPlace { id: row.text(11)?, address: row.text(12)? })
                    .filter(|place| !place.id.is_empty()),
                joined: row.int(13)?,
            })
        });
        meta.await?.ok_or_else(|| Error::Corrupt("the table “meta” is empty".to_owned()))
    }

    async fn members(&self) -> Result<Vec<Member>> {
        self.pool
            .list(
                "SELECT name, incarnation, ordinal, pid, address, state, since, revision, version, level, behaviour, \
                 beat, load_builds, load_agents, load_busy FROM member ORDER BY ordinal, name",
                args![],
                member,
            )
            .await
    }

    async fn leases(&self) -> Result<Vec<Lease>> {
        let sql = "SELECT name, holder_name, holder_incarnation, fence, since, note FROM lease ORDER BY name";
        self.pool
            .list(sql, args![], |row| {
                Ok(Lease {
                    name: row.text(0)?,
                    holder: replica(row, 1)?,
                    fence: Fence::from_i64(row.int(3)?),
                    since: Millis(row.int(4)?),
                    note: row.text(5)?,
                })
            })
            .await
    }

    async fn failovers(&self, most: u32) -> Result<Vec<Failover>> {
        self.pool
            .list(
                "SELECT name, lost, noted_at, builds, adopted, resumed FROM failover \
                 ORDER BY noted_at DESC, lost DESC LIMIT $1",
                args![limit(most)],
                failover,
            )
            .await
    }
}

fn member(row: &Row) -> sqlx::Result<Member> {
    Ok(Member {
        id: ReplicaId { name: row.parsed(0, ReplicaName::parse)?, incarnation: row.int(1)? },
        ordinal: row.small(2)?,
        pid: row.small(3)?,
        address: row.text(4)?,
        state: row.word(5, ReplicaState::parse)?,
        since: Millis(row.int(6)?),
        revision: row.text(7)?,
        version: row.text(8)?,
        level: row.int(9)?,
        behaviour: row.small(10)?,
        beat: row.int(11)?,
        load: Load { builds: row.small(12)?, agents: row.small(13)?, busy: row.small(14)? },
    })
}

fn failover(row: &Row) -> sqlx::Result<Failover> {
    let span = |at| row.int_or_null(at).map(|v| v.and_then(|v| u64::try_from(v).ok()));
    Ok(Failover {
        replica: ReplicaId { name: row.parsed(0, ReplicaName::parse)?, incarnation: row.int(1)? },
        at: Millis(row.int(2)?),
        builds: row.small(3)?,
        adopted: span(4)?,
        resumed: span(5)?,
    })
}

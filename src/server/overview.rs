//! `GET /admin/overview`: how this replica sees the controller. It answers also while the store is away, from what was seen
//! last: whoever looks after the replicas must not take them for dead then.

use std::time::Duration;

use cluster::{STARTUP, View};
use jiff::Timestamp;
use model::overview::{AskedRestart, Loss, Overview, Seen, StartupLock};
use model::{Millis, RestartWhen};
use store::{Failover, Member, Restart, Running, Store};
use tokio::time::timeout;

use crate::error::Error;
use crate::metrics;
use crate::ports::App;
use crate::reply::{self, Reply};

/// Time for the store; the answer must be there within 2 s.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// How many losses are told.
const FAILOVERS: u32 = 10;

/// What the store says now.
struct Fresh {
    view: View,
    failovers: Vec<Failover>,
    /// Those that run, when somebody waits for them.
    running: Vec<Running>,
}

pub(crate) async fn serve(app: &App) -> Reply {
    let store = app.commands.store();
    let (fresh, queue, durability) = tokio::join!(
        timeout(PATIENCE, read(&**store)),
        timeout(PATIENCE, metrics::queued(app)),
        timeout(PATIENCE, app.replica.durability()),
    );
    let (fresh, store_error) = match fresh {
        Ok(Ok(fresh)) => (Some(fresh), None),
        Ok(Err(error)) => (None, Some(error.to_string())),
        Err(_) => (None, Some(format!("the store has not answered within {} ms", PATIENCE.as_millis()))),
    };
    let mut told = match &fresh {
        Some(Fresh { view, failovers, running }) => {
            let failovers = failovers.iter().map(loss).collect();
            Overview { failovers, store_answers: true, ..of(view, running) }
        }
        None => of(&app.replica.view(), &[]),
    };
    told.store_error = store_error;
    told.queue = queue.ok().and_then(Result::ok);
    told.durability = durability.unwrap_or_default();
    let me = app.replica.me();
    told.replica = me.name.to_string();
    told.incarnation = me.incarnation;
    told.state = Some(app.replica.state());
    told.drained = app.replica.drained();
    told.ends = app.replica.ends();
    Ok(reply::json(serde_json::to_string(&told).map_err(|e| Error::Internal(e.to_string()))?))
}

async fn read(store: &dyn Store) -> store::Result<Fresh> {
    let view =
        View { meta: store.meta().await?, members: store.members().await?, leases: store.leases().await? };
    let failovers = store.failovers(FAILOVERS).await?;
    let running = match view.meta.restart.when {
        RestartWhen::Idle => store.running(None).await?,
        RestartWhen::Immediately => Vec::new(),
    };
    Ok(Fresh { view, failovers, running })
}

/// Pure.
fn of(view: &View, running: &[Running]) -> Overview {
    let live = || view.members.iter().filter(|m| m.live());
    let Restart { number, when, by, reload, withdrawn } = view.meta.restart.clone();
    let lock = view.leases.iter().find(|lease| lease.name == STARTUP);
    let startup = lock.and_then(|lock| {
        let holder = lock.holder.as_ref().filter(|holder| view.member(holder).is_some_and(Member::live))?;
        Some(StartupLock { holder: holder.name.to_string(), since: time(lock.since) })
    });
    Overview {
        controller: view.meta.controller.clone(),
        level: view.meta.level,
        known_level: live().map(|m| m.level).min().unwrap_or_default(),
        startup,
        members: view.members.iter().map(seen).collect(),
        builds: live().map(|m| u64::from(m.load.builds)).sum(),
        agents: live().map(|m| u64::from(m.load.agents)).sum(),
        restart: AskedRestart { number, when, by, withdrawn, reload },
        busy: busy(&view.members, running),
        ..Overview::default()
    }
}

/// Builds with an act in flight. What those of `running` are at that nobody drives is not known, so they count.
pub(crate) fn busy(members: &[Member], running: &[Running]) -> u64 {
    let live = || members.iter().filter(|m| m.live());
    let lost = running.iter().filter(|row| !live().any(|m| m.id.incarnation == row.owner)).count();
    live().map(|m| u64::from(m.load.busy)).sum::<u64>() + lost as u64
}

fn seen(member: &Member) -> Seen {
    Seen {
        name: member.id.name.to_string(),
        ordinal: member.ordinal,
        incarnation: member.id.incarnation,
        state: Some(member.state),
        revision: member.revision.clone(),
        version: member.version.clone(),
        since: time(member.since),
        builds: member.load.builds,
        agents: member.load.agents,
        address: member.address.clone(),
    }
}

fn loss(failover: &Failover) -> Loss {
    Loss { replica: failover.replica.name.to_string(), at: time(failover.at), builds: failover.builds }
}

fn time(at: Millis) -> String {
    Timestamp::from_millisecond(at.0).unwrap_or_default().to_string()
}

//! `GET /replicas/api/json`: who serves, who starts, who was lost.

use model::{ReplicaId, RolloutReport};
use store::{Failover, Member, Restart};

use crate::error::Error;
use crate::export::{ALWAYS, Select, Shape, Value};
use crate::look::Look;

/// Longer lists are a number, unless `tree` asks for them.
const MAX_LIST: usize = 1_000;
/// How many losses are shown.
const FAILOVERS: u32 = 100;
/// The lease that lets one replica at a time start.
const STARTUP: &str = "startup";
/// The lease of the replica that replaces the others, where no `up` does.
const ROLLOUT: &str = "rollout";

pub(super) async fn replicas(look: &Look<'_>, select: &Select) -> Result<Value, Error> {
    let mut shape = Shape::plain(select);
    if let Some(inner) = shape.wants("replicas", ALWAYS) {
        let mut shown = Vec::new();
        for member in inner.range().cut(look.members().await?.iter().collect()) {
            shown.push(replica(look, member, &inner).await?);
        }
        shape.set("replicas", shown);
    }
    if shape.wants("level", ALWAYS).is_some() {
        let level = look.meta().await?.level;
        shape.set("level", level);
    }
    if let Some(inner) = shape.wants("startupLock", ALWAYS) {
        shape.set("startupLock", lock(look, &inner).await?);
    }
    if let Some(inner) = shape.wants("failovers", ALWAYS) {
        let limit = u32::try_from(inner.range().reach()).unwrap_or(FAILOVERS).min(FAILOVERS);
        let found = look.store().failovers(limit).await?;
        let shown = inner.range().cut(found).iter().map(|f| failover(f, &inner)).collect::<Vec<_>>();
        shape.set("failovers", shown);
    }
    if let Some(inner) = shape.wants("rollout", ALWAYS) {
        let holder = roller(look).await?;
        let report = look.meta().await?.rollout.as_ref();
        shape.set("rollout", report.map(|report| rollout(report, holder, look.frame.admin, &inner)));
    }
    if let Some(inner) = shape.wants("restart", ALWAYS) {
        shape.set("restart", restart(&look.meta().await?.restart, &inner));
    }
    look.done(shape)
}

/// `pid` and `address` are for administrators.
async fn replica(look: &Look<'_>, member: &Member, select: &Select) -> Result<Value, Error> {
    let mut shape = Shape::plain(select);
    shape.put("name", ALWAYS, member.id.name.to_string());
    shape.put("ordinal", ALWAYS, member.ordinal);
    shape.put("incarnation", ALWAYS, member.id.incarnation);
    if look.frame.admin {
        shape.put("pid", ALWAYS, member.pid);
        shape.put("address", ALWAYS, member.address.clone());
    }
    shape.put("state", ALWAYS, member.state.as_str());
    shape.put("since", ALWAYS, member.since.0);
    shape.put("revision", ALWAYS, member.revision.clone());
    shape.put("version", ALWAYS, member.version.clone());
    shape.put("level", ALWAYS, member.level);
    if let Some(inner) = shape.wants("builds", ALWAYS) {
        shape.set("builds", builds(look, &member.id, &inner).await?);
    }
    if let Some(inner) = shape.wants("agents", ALWAYS) {
        let mine = look.links().await?.iter().filter(|l| l.holder.as_ref() == Some(&member.id));
        let agents = mine.map(|l| Value::text(l.node.as_str())).collect();
        shape.set("agents", list(agents, &inner));
    }
    look.done(shape)
}

async fn builds(look: &Look<'_>, owner: &ReplicaId, select: &Select) -> Result<Value, Error> {
    let mine: Vec<_> = look.running().await?.iter().filter(|r| r.owner == owner.incarnation).collect();
    if mine.len() > MAX_LIST && !select.explicit() {
        return Ok(Value::from(mine.len()));
    }
    let mut shown = Vec::new();
    for running in select.range().cut(mine) {
        let mut build = Shape::plain(select);
        build.put("job", ALWAYS, running.job.to_string());
        build.put("number", ALWAYS, running.number);
        shown.push(look.done(build)?);
    }
    Ok(Value::List(shown))
}

fn list(items: Vec<Value>, select: &Select) -> Value {
    if items.len() > MAX_LIST && !select.explicit() {
        return Value::from(items.len());
    }
    Value::List(select.range().cut(items))
}

async fn lock(look: &Look<'_>, select: &Select) -> Result<Value, Error> {
    let leases = look.store().leases().await?;
    let lease = leases.iter().find(|l| l.name == STARTUP);
    let holder = match lease.and_then(|l| l.holder.as_ref()) {
        Some(holder) if look.live(holder).await? => Some(holder.name.to_string()),
        _ => None,
    };
    let mut shape = Shape::plain(select);
    shape.put("holder", ALWAYS, holder);
    shape.put("fence", ALWAYS, lease.map(|l| l.fence.to_i64()));
    shape.put("since", ALWAYS, lease.map(|l| l.since.0));
    Ok(shape.done())
}

/// The replica that replaces the others; nobody where `up` does.
async fn roller(look: &Look<'_>) -> Result<Option<String>, Error> {
    let leases = look.store().leases().await?;
    let holder = leases.into_iter().find(|lease| lease.name == ROLLOUT).and_then(|lease| lease.holder);
    match holder {
        Some(holder) if look.live(&holder).await? => Ok(Some(holder.name.to_string())),
        Some(_) | None => Ok(None),
    }
}

/// What replicas have said is for administrators.
fn rollout(report: &RolloutReport, holder: Option<String>, admin: bool, select: &Select) -> Value {
    let mut shape = Shape::plain(select);
    shape.put("phase", ALWAYS, report.phase.as_str());
    shape.put("revision", ALWAYS, report.revision.clone());
    shape.put("reason", ALWAYS, report.reason.clone());
    shape.put("restart", ALWAYS, report.restart);
    shape.put("holder", ALWAYS, holder);
    if admin {
        shape.put("failed", ALWAYS, report.failed.clone());
        shape.put("message", ALWAYS, report.message.clone());
    }
    shape.done()
}

/// The last that a user has asked for.
fn restart(restart: &Restart, select: &Select) -> Value {
    let mut shape = Shape::plain(select);
    shape.put("number", ALWAYS, restart.number);
    shape.put("when", ALWAYS, restart.when.as_str());
    shape.put("by", ALWAYS, restart.by.clone());
    shape.put("withdrawn", ALWAYS, restart.withdrawn);
    shape.done()
}

fn failover(failover: &Failover, select: &Select) -> Value {
    let mut shape = Shape::plain(select);
    shape.put("replica", ALWAYS, failover.replica.name.to_string());
    shape.put("incarnation", ALWAYS, failover.replica.incarnation);
    shape.put("at", ALWAYS, failover.at.0);
    shape.put("builds", ALWAYS, failover.builds);
    shape.put("adoptedMillis", ALWAYS, failover.adopted);
    shape.put("resumedMillis", ALWAYS, failover.resumed);
    shape.done()
}

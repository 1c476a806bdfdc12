//! Identity of the home, membership, failovers.

use model::{Millis, ReplicaId, ReplicaState, RestartWhen, RolloutReport};
use store::{Answer, Error, Join, Load, ObjectPlace};

use super::{Applied, no_meta, note_loss};
use crate::db::{Conn, Lock, args};

const STOPPED: &str = "stopped";

/// The membership is over, or never was.
fn fenced() -> Error {
    Error::Fenced { current: None }
}

pub(super) async fn identify(conn: &mut Conn, controller: &str) -> Applied {
    conn.run("UPDATE meta SET controller = $1 WHERE id = 1 AND controller = ''", args![controller]).await?;
    let row = conn.row("SELECT controller FROM meta", args![]).await?.ok_or_else(no_meta)?;
    Ok(Answer::Controller(row.text(0)?))
}

pub(super) async fn raise_epoch(conn: &mut Conn, above: u32) -> Applied {
    let wanted = above.saturating_add(1);
    if wanted > store::MAX_EPOCH {
        return Err(Error::Limit(format!("no epoch is above {}", store::MAX_EPOCH)).into());
    }
    let first = store::first_id(wanted);
    let raised = conn
        .run(
            "UPDATE meta SET epoch = $1, incarnation = CASE WHEN incarnation < $2 THEN $2 ELSE incarnation END \
             WHERE id = 1 AND epoch < $1",
            args![wanted, first - 1],
        )
        .await?;
    if raised > 0 {
        conn.number_from("build", first).await?;
    }
    let row = conn.row("SELECT epoch FROM meta", args![]).await?.ok_or_else(no_meta)?;
    Ok(Answer::Epoch(row.small(0)?))
}

pub(super) async fn raise_level(conn: &mut Conn, level: i64) -> Applied {
    // The row is locked before members are looked at: whoever joins writes it, too.
    let had = conn.locked(Lock::Change, "SELECT level FROM meta WHERE id = 1", args![]).await?;
    let had = had.first().ok_or_else(no_meta)?.int(0)?;
    if had >= level {
        return Ok(Answer::Level(had));
    }
    let raised = conn
        .run(
            "UPDATE meta SET level = $1 WHERE id = 1 \
             AND NOT EXISTS (SELECT 1 FROM member WHERE state <> 'stopped' AND level < $1)",
            args![level],
        )
        .await?;
    Ok(Answer::Level(if raised > 0 { level } else { had }))
}

pub(super) async fn set_quiet(conn: &mut Conn, reason: Option<&str>) -> Applied {
    store::check_reason(reason)?;
    conn.run("UPDATE meta SET quiet = $1 WHERE id = 1", args![reason]).await?;
    Ok(Answer::Unit)
}

pub(super) async fn ask_restart(
    conn: &mut Conn,
    seen: i64,
    when: RestartWhen,
    by: &str,
    reload: bool,
) -> Applied {
    conn.run(
        "UPDATE meta SET restart = restart + 1, restart_when = $1, restart_by = $2, restart_reload = $4, \
         restart_withdrawn = 0 WHERE id = 1 AND (restart <= $3 OR restart_reload < $4 OR restart_withdrawn = 1)",
        args![when.as_str(), by, seen, i64::from(reload)],
    )
    .await?;
    let row = conn.row("SELECT restart FROM meta", args![]).await?.ok_or_else(no_meta)?;
    Ok(Answer::Id(row.int(0)?))
}

pub(super) async fn withdraw_restart(conn: &mut Conn, number: i64) -> Applied {
    let sql = "UPDATE meta SET restart_withdrawn = 1 WHERE id = 1 AND restart = $1";
    Ok(Answer::Bool(conn.run(sql, args![number]).await? > 0))
}

pub(super) async fn report_rollout(conn: &mut Conn, report: &RolloutReport) -> Applied {
    let report = store::report_json(report)?;
    conn.run("UPDATE meta SET rollout = $1 WHERE id = 1", args![&report]).await?;
    Ok(Answer::Unit)
}

pub(super) async fn place_objects(
    conn: &mut Conn,
    was: Option<&ObjectPlace>,
    place: Option<&ObjectPlace>,
    joined: i64,
) -> Applied {
    fn columns(place: Option<&ObjectPlace>) -> (&str, &str) {
        place.map_or(("", ""), |place| (&place.id, &place.address))
    }
    store::check_place(place)?;
    let ((had_id, had_at), (id, at)) = (columns(was), columns(place));
    // Whoever joins writes this row, too: so nobody does between the look and the change.
    let sql =
        "SELECT id FROM meta WHERE id = 1 AND objects_id = $1 AND objects_at = $2 AND incarnation <= $3";
    if conn.locked(Lock::Change, sql, args![had_id, had_at, joined]).await?.is_empty() {
        return Ok(Answer::Bool(false));
    }
    let moved = conn
        .run(
            "UPDATE meta SET objects_id = $1, objects_at = $2 WHERE id = 1 \
             AND NOT EXISTS (SELECT 1 FROM running) AND NOT EXISTS (SELECT 1 FROM artifact) \
             AND NOT EXISTS (SELECT 1 FROM stash) AND NOT EXISTS (SELECT 1 FROM garbage) \
             AND NOT EXISTS (SELECT 1 FROM archive WHERE object IS NOT NULL)",
            args![id, at],
        )
        .await?;
    if moved > 0 { Ok(Answer::Bool(true)) } else { Err(store::place_stays().into()) }
}

pub(super) async fn join(conn: &mut Conn, join: &Join) -> Applied {
    // The member's row first, then meta: the order of `beat`.
    let older = conn
        .locked(
            Lock::Change,
            "SELECT incarnation, state FROM member WHERE name = $1",
            args![join.name.as_str()],
        )
        .await?;
    let joined = conn
        .row(
            "UPDATE meta SET incarnation = incarnation + 1 WHERE id = 1 AND level <= $1 RETURNING incarnation, epoch",
            args![join.level],
        )
        .await?;
    let Some(row) = joined else {
        let row = conn.row("SELECT level FROM meta", args![]).await?.ok_or_else(no_meta)?;
        return Err(store::too_high(row.int(0)?, join.level).into());
    };
    let (incarnation, epoch) = (row.int(0)?, row.small(1)?);
    if let Some(older) = older.first()
        && older.text(1)? != STOPPED
    {
        let who = ReplicaId { name: join.name.clone(), incarnation: older.int(0)? };
        note_loss(conn, &who, join.at).await?;
    }
    conn.run(
        "INSERT INTO member (name, incarnation, ordinal, pid, address, state, since, revision, version, level, \
         behaviour, beat, load_builds, load_agents, load_busy) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, 0, 0, 0) \
         ON CONFLICT (name) DO UPDATE SET incarnation = excluded.incarnation, ordinal = excluded.ordinal, \
         pid = excluded.pid, address = excluded.address, state = excluded.state, since = excluded.since, \
         revision = excluded.revision, version = excluded.version, level = excluded.level, \
         behaviour = excluded.behaviour, beat = 0, load_builds = 0, load_agents = 0, load_busy = 0",
        args![
            join.name.as_str(),
            incarnation,
            join.ordinal,
            join.pid,
            &join.address,
            ReplicaState::Waiting.as_str(),
            join.at,
            &join.revision,
            &join.version,
            join.level,
            join.behaviour,
        ],
    )
    .await?;
    Ok(Answer::Joined { incarnation, epoch })
}

pub(super) async fn beat(conn: &mut Conn, me: &ReplicaId, load: &Load) -> Applied {
    let live = conn
        .run(
            "UPDATE member SET beat = beat + 1, load_builds = $3, load_agents = $4, load_busy = $5 \
             WHERE name = $1 AND incarnation = $2 AND state <> 'stopped'",
            args![me.name.as_str(), me.incarnation, load.builds, load.agents, load.busy],
        )
        .await?;
    if live == 0 {
        return Err(fenced().into());
    }
    conn.run("UPDATE meta SET tick = tick + 1 WHERE id = 1", args![]).await?;
    Ok(Answer::Unit)
}

pub(super) async fn set_state(conn: &mut Conn, me: &ReplicaId, state: ReplicaState, at: Millis) -> Applied {
    let live = conn
        .run(
            "UPDATE member SET since = CASE WHEN state = $3 THEN since ELSE $4 END, state = $3 \
             WHERE name = $1 AND incarnation = $2 AND state <> 'stopped'",
            args![me.name.as_str(), me.incarnation, state.as_str(), at],
        )
        .await?;
    if live == 0 { Err(fenced().into()) } else { Ok(Answer::Unit) }
}

pub(super) async fn lapse(conn: &mut Conn, who: &ReplicaId, beat: Option<i64>, at: Millis) -> Applied {
    let live = conn
        .run(
            "UPDATE member SET state = 'stopped', since = $3 \
             WHERE name = $1 AND incarnation = $2 AND state <> 'stopped' AND beat = COALESCE($4, beat)",
            args![who.name.as_str(), who.incarnation, at, beat],
        )
        .await?;
    if live > 0 {
        note_loss(conn, who, at).await?;
    }
    Ok(Answer::Bool(live > 0))
}

pub(super) async fn note_failover(
    conn: &mut Conn,
    lost: i64,
    adopted_at: Option<Millis>,
    resumed_at: Option<Millis>,
) -> Applied {
    let rows = conn
        .locked(Lock::Change, "SELECT noted_at, adopted, resumed FROM failover WHERE lost = $1", args![lost])
        .await?;
    let Some(row) = rows.first() else {
        return Ok(Answer::Unit);
    };
    let noted_at = row.int(0)?;
    let later =
        |had: Option<i64>, at: Option<Millis>| had.max(at.map(|at| at.0.saturating_sub(noted_at).max(0)));
    let (adopted, resumed) = (later(row.int_or_null(1)?, adopted_at), later(row.int_or_null(2)?, resumed_at));
    conn.run("UPDATE failover SET adopted = $2, resumed = $3 WHERE lost = $1", args![lost, adopted, resumed])
        .await?;
    Ok(Answer::Unit)
}

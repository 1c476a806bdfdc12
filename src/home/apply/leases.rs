//! Leases that one live member holds.

use model::{Fence, Millis, ReplicaId};
use store::{Answer, Error};

use super::{Applied, epoch_and_live};
use crate::db::{Conn, Lock, args};

pub(super) async fn acquire(
    conn: &mut Conn,
    lease: &str,
    me: &ReplicaId,
    seen: Option<Fence>,
    at: Millis,
) -> Applied {
    let (epoch, live) = epoch_and_live(conn, me).await?;
    if !live {
        return Err(Error::Fenced { current: None }.into());
    }
    let Some(seen) = seen else {
        let fence = Fence::first(epoch);
        let taken = conn
            .run(
                "INSERT INTO lease (name, holder_name, holder_incarnation, fence, since, note) \
                 VALUES ($1, $2, $3, $4, $5, '') ON CONFLICT (name) DO NOTHING",
                args![lease, me.name.as_str(), me.incarnation, fence, at],
            )
            .await?;
        return Ok(Answer::Acquired((taken > 0).then_some(fence)));
    };
    let rows = conn
        .locked(
            Lock::Change,
            "SELECT fence, holder_name, holder_incarnation, \
             (SELECT COUNT(*) FROM member WHERE member.name = lease.holder_name \
              AND member.incarnation = lease.holder_incarnation AND member.state <> 'stopped') \
             FROM lease WHERE name = $1",
            args![lease],
        )
        .await?;
    let Some(row) = rows.first() else {
        return Ok(Answer::Acquired(None));
    };
    if row.int(0)? != seen.to_i64() {
        return Ok(Answer::Acquired(None));
    }
    if row.yes(3)? {
        let mine = row.text_or_null(1)?.as_deref() == Some(me.name.as_str())
            && row.int_or_null(2)? == Some(me.incarnation);
        return Ok(Answer::Acquired(mine.then_some(seen)));
    }
    let fence = seen.next(epoch);
    conn.run(
        "UPDATE lease SET holder_name = $2, holder_incarnation = $3, fence = $4, since = $5 WHERE name = $1",
        args![lease, me.name.as_str(), me.incarnation, fence, at],
    )
    .await?;
    Ok(Answer::Acquired(Some(fence)))
}

pub(super) async fn release(conn: &mut Conn, lease: &str, me: &ReplicaId, fence: Fence) -> Applied {
    let held = conn
        .run(
            "UPDATE lease SET holder_name = NULL, holder_incarnation = NULL \
             WHERE name = $1 AND holder_name = $2 AND holder_incarnation = $3 AND fence = $4",
            args![lease, me.name.as_str(), me.incarnation, fence],
        )
        .await?;
    Ok(Answer::Bool(held > 0))
}

pub(super) async fn note(conn: &mut Conn, lease: &str, me: &ReplicaId, fence: Fence, note: &str) -> Applied {
    store::check_note(note)?;
    let noted = conn
        .run(
            "UPDATE lease SET note = $5 WHERE name = $1 AND holder_name = $2 AND holder_incarnation = $3 \
             AND fence = $4 AND EXISTS (SELECT 1 FROM member WHERE member.name = $2 AND member.incarnation = $3 \
             AND member.state <> 'stopped')",
            args![lease, me.name.as_str(), me.incarnation, fence, note],
        )
        .await?;
    if noted > 0 {
        return Ok(Answer::Unit);
    }
    let row = conn.row("SELECT fence FROM lease WHERE name = $1", args![lease]).await?;
    let current = row.map(|row| row.int(0)).transpose()?.map(Fence::from_i64);
    Err(Error::Fenced { current }.into())
}

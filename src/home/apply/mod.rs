//! What each write does to the tables. Nothing here begins or commits a transaction: that is `writer`'s.
//!
//! A refused write leaves no change, though the transaction goes on with its companions: each function looks first and
//! changes then. On PostgreSQL (READ COMMITTED, several writers) what it looked at is held by a row lock, a unique key or
//! the condition of an UPDATE; rows are locked in one order (`order`), so that groups seldom wait for each other in
//! a circle.

mod cluster;
mod effects;
mod finish;
mod grant;
mod history;
mod jobs;
mod late;
mod leases;
mod nodes;
mod order;
mod progress;
mod queue;
mod take;
mod users;

use std::collections::BTreeSet;
use std::mem::discriminant;

use store::{Answer, Error, Write};

use crate::db::{Conn, args};
use grant::Grant;
use late::Late;
pub(crate) use order::alone;
pub(crate) use queue::Room;
use take::Take;

/// Why one write was not applied.
pub(crate) enum Stop {
    /// It may not be; its companions go on.
    Refused(Error),
    /// The engine could not; the transaction is lost.
    Engine(sqlx::Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Refused(error)
    }
}

impl From<sqlx::Error> for Stop {
    fn from(error: sqlx::Error) -> Stop {
        Stop::Engine(error)
    }
}

type Applied<T = Answer> = Result<T, Stop>;

/// Applies a group inside the transaction that `conn` is in. The answers stand in the order of the writes.
pub(crate) async fn group(
    conn: &mut Conn,
    room: &mut Room,
    writes: &[&Write],
) -> sqlx::Result<Vec<store::Result<Answer>>> {
    let mut answers: Vec<store::Result<Answer>> = vec![Ok(Answer::Unit); writes.len()];
    let mut late = Late::default();
    let [first, items, rest] = order::sorted(writes);
    order::lock(conn, writes).await?;
    in_order(conn, room, writes, &first, &mut answers, &mut late).await?;
    take::reserve(conn, &items.iter().filter_map(|at| as_take(writes[*at])).collect::<Vec<_>>()).await?;
    order::lock_items(conn, writes, &late.items()).await?;
    late.count(conn).await?;
    late.keep_sources(conn).await?;
    in_order(conn, room, writes, &items, &mut answers, &mut late).await?;
    in_order(conn, room, writes, &rest, &mut answers, &mut late).await?;
    Ok(answers)
}

/// Applies the writes at `order`. Those of the kinds that every build needs share their statements.
async fn in_order<'a>(
    conn: &mut Conn,
    room: &mut Room,
    writes: &[&'a Write],
    order: &[usize],
    answers: &mut [store::Result<Answer>],
    late: &mut Late<'a>,
) -> sqlx::Result<()> {
    for run in order.chunk_by(|a, b| discriminant(writes[*a]) == discriminant(writes[*b])) {
        let all = run.iter().map(|at| (*at, writes[*at]));
        match writes[run[0]] {
            Write::Progress(_) => {
                let all = all
                    .filter_map(|(at, w)| if let Write::Progress(p) = w { Some((at, &**p)) } else { None });
                // Writes of one build keep their order.
                for part in parts(all, |p| [p.build.0]) {
                    let wanted = progress::batch(conn, &part, answers, late).await?;
                    for part in parts(wanted.into_iter().map(|e| (0, e)), |e| [queue::key(e)]) {
                        queue::by_builds(conn, room, part).await?;
                    }
                }
            }
            Write::Enqueue(_) => {
                let all =
                    all.filter_map(|(at, w)| if let Write::Enqueue(e) = w { Some((at, e)) } else { None });
                for part in parts(all, |e| [queue::key(e)]) {
                    queue::batch(conn, room, &part, answers).await?;
                }
            }
            Write::TakeBuild { .. } => {
                for part in parts(all.filter_map(|(at, w)| Some((at, as_take(w)?))), |t| [t.id]) {
                    take::batch(conn, &part, answers).await?;
                }
            }
            Write::Grant { .. } => {
                let all = all.filter_map(|(at, w)| Some((at, as_grant(w)?)));
                for part in parts(all, |g| [(Some(g.wait), None), (None, Some((g.node, g.slot)))]) {
                    grant::batch(conn, &part, answers).await?;
                }
            }
            _ => {
                for (at, write) in all {
                    answers[at] = match one(conn, write).await {
                        Ok(answer) => Ok(answer),
                        Err(Stop::Refused(error)) => Err(error),
                        Err(Stop::Engine(error)) => return Err(error),
                    };
                }
            }
        }
    }
    Ok(())
}

fn as_take(write: &Write) -> Option<Take<'_>> {
    let Write::TakeBuild { id, owner, exclusive, behaviour, at, executor } = write else { return None };
    let (exclusive, behaviour) = (*exclusive, *behaviour);
    Some(Take { id: *id, owner, exclusive, behaviour, at: *at, executor: executor.as_ref() })
}

fn as_grant(write: &Write) -> Option<Grant<'_>> {
    let Write::Grant { wait, node, slot, body } = write else { return None };
    Some(Grant { wait: *wait, node, slot: *slot, body })
}

/// Parts of `writes`, in their order, in each of which no key is there twice.
fn parts<T, K: Ord, const N: usize>(
    writes: impl Iterator<Item = (usize, T)>,
    keys: impl Fn(&T) -> [K; N],
) -> Vec<Vec<(usize, T)>> {
    let mut parts = Vec::new();
    let (mut part, mut known) = (Vec::new(), BTreeSet::new());
    for (at, write) in writes {
        let keys = keys(&write);
        if keys.iter().any(|key| known.contains(key)) {
            parts.push(std::mem::take(&mut part));
            known.clear();
        }
        known.extend(keys);
        part.push((at, write));
    }
    parts.push(part);
    parts
}

/// The store's clock: one more with each beat of any member.
pub(crate) async fn tick(conn: &mut Conn) -> sqlx::Result<i64> {
    conn.row("SELECT tick FROM meta", args![]).await?.map_or(Err(sqlx::Error::RowNotFound), |row| row.int(0))
}

/// The writes that stand alone.
async fn one(conn: &mut Conn, write: &Write) -> Applied {
    match write {
        Write::Identify { controller } => cluster::identify(conn, controller).await,
        Write::RaiseLevel { level } => cluster::raise_level(conn, *level).await,
        Write::RaiseEpoch { above } => cluster::raise_epoch(conn, *above).await,
        Write::SetQuiet { reason } => cluster::set_quiet(conn, reason.as_deref()).await,
        Write::AskRestart { seen, when, by, reload } => {
            cluster::ask_restart(conn, *seen, *when, by, *reload).await
        }
        Write::WithdrawRestart { number } => cluster::withdraw_restart(conn, *number).await,
        Write::ReportRollout { report } => cluster::report_rollout(conn, report).await,
        Write::PlaceObjects { was, place, joined } => {
            cluster::place_objects(conn, was.as_ref(), place.as_ref(), *joined).await
        }
        Write::CreateFirstUser { user, token } => users::create_first(conn, user, token.as_ref()).await,
        Write::CreateUser(user) => users::create(conn, user).await,
        Write::EditUser { id, edit } => users::edit(conn, id, edit).await,
        Write::RehashPassword { id, was, password } => users::rehash(conn, id, was, password).await,
        Write::DeleteUser { id } => users::delete(conn, id).await,
        Write::CreateSession { session, password } => users::create_session(conn, session, password).await,
        Write::TouchSession { hash, at } => users::touch_session(conn, hash, *at).await,
        Write::EndSession { hash } => users::end_session(conn, hash).await,
        Write::ForgetSessions { now } => users::forget_sessions(conn, *now).await,
        Write::CreateToken(token) => users::create_token(conn, token).await,
        Write::RenameToken { user, id, name } => users::rename_token(conn, user, id, name).await,
        Write::RevokeToken { user, id } => users::revoke_token(conn, user, id).await,
        Write::RevokeTokens { user, except } => users::revoke_tokens(conn, user, except.as_deref()).await,
        Write::UseToken { id, at, uses } => users::use_token(conn, id, *at, *uses).await,
        Write::AllowAnonymousRead { allowed } => users::allow_anonymous_read(conn, *allowed).await,
        Write::Join(join) => cluster::join(conn, join).await,
        Write::Beat { me, load } => cluster::beat(conn, me, load).await,
        Write::SetState { me, state, at } => cluster::set_state(conn, me, *state, *at).await,
        Write::Lapse { who, beat, at } => cluster::lapse(conn, who, *beat, *at).await,
        Write::AcquireLease { lease, me, seen, at } => leases::acquire(conn, lease, me, *seen, *at).await,
        Write::ReleaseLease { lease, me, fence } => leases::release(conn, lease, me, *fence).await,
        Write::NoteLease { lease, me, fence, note } => leases::note(conn, lease, me, *fence, note).await,
        Write::NoteFailover { lost, adopted_at, resumed_at } => {
            cluster::note_failover(conn, *lost, *adopted_at, *resumed_at).await
        }
        Write::CreateItem { name, kind, config, disabled, at } => {
            jobs::create(conn, name, *kind, config, *disabled, *at).await
        }
        Write::ConfigureItem { name, config, disabled } => {
            jobs::configure(conn, name, config, *disabled).await
        }
        Write::RenameItem { name, to } => jobs::rename(conn, name, to).await,
        Write::DeleteItem { name } => history::delete_item(conn, name).await,
        Write::CreateNode(node) => nodes::create(conn, node).await,
        Write::ConfigureNode(node) => nodes::configure(conn, node).await,
        Write::DeleteNode { name } => nodes::delete(conn, name).await,
        Write::SetNodeOffline { name, offline } => nodes::set_offline(conn, name, offline.as_ref()).await,
        Write::LinkUp { node, holder, instance, info, at } => {
            nodes::link_up(conn, node, holder, (instance, info), *at).await
        }
        Write::LinkDown { node, number, reason, at } => {
            nodes::link_down(conn, node, *number, reason, *at).await
        }
        Write::CancelQueued { id, at } => queue::cancel(conn, *id, *at).await,
        Write::ForgetLeft { before } => queue::forget_left(conn, *before).await,
        Write::Adopt { build, seen, owner } => progress::adopt(conn, *build, *seen, owner).await,
        Write::Deliver { build, key, body } => progress::deliver(conn, *build, key, body).await,
        Write::DeleteBuild { job, number, build } => history::delete_build(conn, job, *number, *build).await,
        Write::DeleteArtifacts { job, number, build } => {
            history::delete_artifacts(conn, job, *number, *build).await
        }
        Write::KeepBuild { job, number, keep } => history::keep(conn, job, *number, *keep).await,
        Write::LogArchived { build, log } => history::log_archived(conn, *build, log).await,
        Write::Erase => history::erase(conn).await,
        Write::ForgetObjects { keys } => history::forget_objects(conn, keys).await,
        Write::Progress(_) | Write::Enqueue(_) | Write::TakeBuild { .. } | Write::Grant { .. } => {
            Err(Error::Corrupt("this write goes in a batch".to_owned()).into())
        }
    }
}

/// The epoch, and whether `who` is live.
async fn epoch_and_live(conn: &mut Conn, who: &model::ReplicaId) -> Applied<(u32, bool)> {
    let row = conn
        .row(
            "SELECT epoch, (SELECT COUNT(*) FROM member WHERE name = $1 AND incarnation = $2 AND state <> 'stopped') \
             FROM meta",
            args![who.name.as_str(), who.incarnation],
        )
        .await?
        .ok_or_else(no_meta)?;
    Ok((row.small(0)?, row.yes(1)?))
}

fn no_meta() -> Error {
    Error::Corrupt("the table “meta” is empty".to_owned())
}

/// A number that the store keeps for the builds or items of one job, as the row's condition.
fn unsigned(value: i64) -> Result<u64, Error> {
    u64::try_from(value).map_err(|_| Error::Corrupt(format!("{value} where no negative number can be")))
}

/// JSON of a value that always has one.
fn json<T: serde::Serialize>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|e| Error::Limit(format!("a value has no JSON: {e}")))
}

/// Notes the loss of an incarnation, if it owned builds; once.
async fn note_loss(conn: &mut Conn, who: &model::ReplicaId, at: model::Millis) -> Applied<()> {
    conn.run(
        "INSERT INTO failover (lost, name, noted_at, builds, adopted, resumed) \
         SELECT $1, $2, $3, owned, NULL, NULL FROM (SELECT COUNT(*) AS owned FROM running WHERE owner = $1) AS c \
         WHERE owned > 0 ON CONFLICT (lost) DO NOTHING",
        args![who.incarnation, who.name.as_str(), at],
    )
    .await?;
    Ok(())
}

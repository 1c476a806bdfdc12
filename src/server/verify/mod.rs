//! `verifyLog/api/json`: reads a build's whole log and journal through the store, and tells whether they are as they must
//! be. For administrators.
//!
//! What agents still hold of the build's spools is compared with it, as far as they can be asked.
//!
//! Nothing is changed. A build may go on meanwhile: what it had committed before must be there, and nothing that it has
//! not committed after. A check of 10 GiB takes minutes: the answer begins with white space, a line each second, which
//! JSON allows, so that nobody on the way takes it for dead.

mod ask;
mod check;
mod spools;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use model::{BuildId, JobName};
use remoting::spools::SpoolsOf;
use serde::Serialize;
use store::{Build, Store, Which};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use crate::act::builds::found;
use crate::error::Error;
use crate::look::Look;
use crate::patience::again;
use crate::ports::{self, App};
use crate::reply::{self, Reply};
use crate::request::Asked;
use ask::Kept;
use check::{Check, Committed, Found};
use spools::{Agent, Journal, Printed, Spools};

/// How many a replica checks at once: each reads as fast as the store gives.
const AT_ONCE: usize = 2;
/// Most time for one check.
const LONGEST: Duration = Duration::from_secs(30 * 60);
/// Pause between two signs of life.
const BEAT: Duration = Duration::from_secs(1);

/// Who may check a log now.
#[derive(Debug, Clone)]
pub struct LogChecks(Arc<Semaphore>);

impl Default for LogChecks {
    fn default() -> LogChecks {
        LogChecks(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    job: String,
    number: u64,
    /// Whether it ran when the check began.
    building: bool,
    result: Option<&'static str>,
    /// Whether the check came to its end.
    checked: bool,
    /// Why it did not.
    why: Option<String>,
    /// The build was deleted.
    gone: bool,
    /// Whether the ends of what steps have printed were there to compare with: those that are committed while the build runs,
    /// or those in the journal of one that has ended. Not of one that has ended meanwhile.
    compared: bool,
    /// The key of the object that the log has become. `null`: it is in the database.
    object: Option<String>,
    /// What came of comparing the log with the spools that agents still hold; nothing when the check did not come to its end.
    spools: Option<Spools>,
    #[serde(flatten)]
    found: Option<Found>,
}

/// `first=N`: the sum of the first N bytes of the log is wanted as well.
pub(crate) async fn log(look: &Look<'_>, asked: &Asked, name: &JobName, which: Which) -> Reply {
    let first = asked.param("first").map(str::parse).transpose();
    let first = first.map_err(|_| Error::bad("first is a number of bytes"))?;
    let build = found(look, name, which).await?;
    let permits = Arc::clone(&look.app.log_checks.0);
    let busy = || Error::Later(format!("this replica checks {AT_ONCE} logs already"));
    let permit = permits.try_acquire_owned().map_err(|_| busy())?;
    let walk = Walk {
        store: Arc::clone(look.store()),
        agents: Arc::clone(&look.app.spools),
        patience: look.app.settings.patience,
        first,
    };
    Ok(reply::typed(lively(report(walk, build, permit)), "application/json;charset=utf-8"))
}

/// The question of another replica about the spools at an agent whose socket is here.
pub(crate) fn spools_here(app: &App, body: &[u8]) -> Reply {
    let of: SpoolsOf = serde_json::from_slice(body)
        .map_err(|e| Error::bad(format!("the question about spools can't be read: {e}")))?;
    let spools = Arc::clone(&app.spools);
    // summing a large spool takes longer than a request may
    let answer =
        lively(async move { serde_json::to_string(&spools.ask_here(&of).await).unwrap_or_default() });
    Ok(reply::typed(answer, "application/json;charset=utf-8"))
}

/// The text as a body that shows a sign of life while it is worked on.
fn lively(work: impl Future<Output = String> + Send + 'static) -> Body {
    let work: Pin<Box<dyn Future<Output = String> + Send>> = Box::pin(work);
    Body::from_stream(stream::unfold(Some(work), |work| async {
        let mut work = work?;
        let piece: Result<Bytes, Error> = match timeout(BEAT, &mut work).await {
            Ok(text) => return Some((Ok(Bytes::from(text)), None)),
            Err(_) => Ok(Bytes::from_static(b"\n")),
        };
        Some((piece, Some(work)))
    }))
}

async fn report(walk: Walk, build: Build, permit: OwnedSemaphorePermit) -> String {
    let done = walk.whole(build.id, Instant::now() + LONGEST).await;
    drop(permit);
    let (job, number) = (build.job.to_string(), build.number);
    let gone = matches!(done, Err(Error::NotFound(_)));
    let (walked, why) = match done {
        Ok(walked) => (Some(walked), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let seen = walked.as_ref().map_or(&build, |walked| &walked.build);
    let (building, result, compared) =
        (seen.building(), seen.result, walked.as_ref().is_some_and(|walked| walked.compared));
    let object = walked.as_ref().and_then(|walked| walked.object.clone());
    let (found, spools) = walked.map(|walked| (walked.found, walked.spools)).unzip();
    let report = Report {
        job,
        number,
        building,
        result: result.filter(|_| !building).map(|result| result.as_str()),
        checked: found.is_some(),
        why,
        gone,
        compared,
        object,
        spools,
        found,
    };
    serde_json::to_string(&report).unwrap_or_default()
}

/// The eyes of one check.
struct Walk {
    store: Arc<dyn Store>,
    agents: Arc<dyn ports::Spools>,
    patience: Duration,
    /// Of so many first bytes the sum is wanted.
    first: Option<u64>,
}

/// The log is checked, and agents were not asked yet.
struct Checked {
    /// As it was when the check began.
    build: Build,
    compared: bool,
    object: Option<String>,
    journal: Journal,
    kept: Kept,
    printed: Printed,
    check: Check,
}

struct Walked {
    build: Build,
    compared: bool,
    object: Option<String>,
    spools: Spools,
    found: Found,
}

impl Walk {
    /// Asking agents has what is left of the time; when that is over, the check of the log counts all the same.
    async fn whole(&self, id: BuildId, until: Instant) -> Result<Walked, Error> {
        let late = |_| Error::Later(format!("the check took longer than {} min", LONGEST.as_secs() / 60));
        let checked = timeout_at(until, self.log(id, until)).await.map_err(late)??;
        self.spools(checked, until).await
    }

    async fn log(&self, id: BuildId, until: Instant) -> Result<Checked, Error> {
        // before its row: all of that is below the end that the row says
        let before = self.committed(id).await?;
        let build = self.build(id).await?;
        let end = build.log_end;
        let mut check = Check::new(self.first);
        let journal = if build.building() { None } else { Some(self.journal(id).await?) };
        // summing all that it has printed would be for nothing when nobody keeps anything of it
        let kept = match &journal {
            Some(journal) => ask::kept(&self.agents, id, journal.agents(), until).await,
            None => Kept::Some,
        };
        let mut printed = matches!(kept, Kept::Some).then(Printed::default);
        // a build that goes on has more by now, which nobody has said yet where it ends
        let upto = if build.building() { end } else { u64::MAX };
        let whole = self.chunks(id, upto, &mut check, printed.as_mut()).await?;
        if whole {
            check.ends_at(end);
        }
        self.records(id, &mut check).await?;
        match &journal {
            Some(journal) if whole => {
                journal.ends.iter().for_each(|(step, raw)| check.step_ended(step, *raw));
            }
            Some(_) => {}
            None => check.not_below(&before),
        }
        let after = self.committed(id).await?;
        let still = self.build(id).await?.building();
        if still {
            check.not_above(&after);
        }
        let journal = match journal {
            Some(journal) => journal,
            None => self.journal(id).await?,
        };
        let object = self.read(|| self.store.archived(id)).await?.map(|log| log.object);
        let (compared, printed) = (build.building() == still, printed.unwrap_or_default());
        Ok(Checked { build, compared, object, journal, kept, printed, check })
    }

    async fn build(&self, id: BuildId) -> Result<Build, Error> {
        let build = self.read(|| self.store.build_by_id(id)).await?;
        build.ok_or_else(|| Error::missing("the build was deleted"))
    }

    async fn committed(&self, id: BuildId) -> Result<Committed, Error> {
        let raw = self.read(|| self.store.raw_offsets(id)).await?;
        let records = self.read(|| self.store.recorded(id)).await?;
        Ok(Committed { records, raw: raw.into_iter().collect() })
    }

    /// Those that begin before `end`, a page in memory at a time. → whether all could be read
    async fn chunks(
        &self,
        id: BuildId,
        end: u64,
        check: &mut Check,
        mut printed: Option<&mut Printed>,
    ) -> Result<bool, Error> {
        let mut from = 0;
        while from < end {
            let page = self.read(|| async {
                match self.store.chunks(id, from).await {
                    Err(store::Error::Corrupt(why)) => Ok(Err(why)),
                    page => page.map(Ok),
                }
            });
            let page = match page.await? {
                Ok(page) => page,
                Err(why) => {
                    check.unreadable(&why);
                    return Ok(false);
                }
            };
            let Some(last) = page.last() else { break };
            from = last.offset.saturating_add(1);
            for chunk in page.iter().take_while(|chunk| chunk.offset < end) {
                check.chunk(chunk);
                if let Some(printed) = &mut printed {
                    printed.chunk(chunk);
                }
                // adding up bytes takes the thread for itself
                tokio::task::yield_now().await;
            }
        }
        Ok(true)
    }

    async fn records(&self, id: BuildId, check: &mut Check) -> Result<(), Error> {
        let mut from = 0;
        loop {
            let page = self.read(|| self.store.journal_numbers(id, from)).await?;
            let Some(last) = page.last() else { return Ok(()) };
            from = last.saturating_add(1);
            page.iter().for_each(|number| check.record(*number));
        }
    }

    async fn journal(&self, id: BuildId) -> Result<Journal, Error> {
        let (mut journal, mut from) = (Journal::default(), 0);
        loop {
            let page = self.read(|| self.store.journal(id, from)).await?;
            if page.is_empty() {
                return Ok(journal);
            }
            from = from.saturating_add(i64::try_from(page.len()).unwrap_or(i64::MAX));
            page.iter().for_each(|record| journal.record(record));
            tokio::task::yield_now().await;
        }
    }

    /// Compares what the log has with the spools. They only grow, so they are looked at last.
    async fn spools(&self, checked: Checked, until: Instant) -> Result<Walked, Error> {
        let Checked { build, compared, object, journal, kept, printed, mut check } = checked;
        let mut spools = Spools::of(&journal);
        let answers = match kept {
            Kept::None(answers) => answers,
            Kept::Some => {
                let questions = |agent: Agent| {
                    let questions = printed.questions(build.id, &agent, &journal);
                    (agent, questions)
                };
                ask::all(&self.agents, journal.agents().into_iter().map(questions).collect(), until).await
            }
        };
        // it may have ended, and its spools gone, since it was last looked at
        let building = self.build(build.id).await?.building();
        for (agent, answers) in answers {
            let defects = spools.told(&agent, &answers, &printed, building);
            defects.into_iter().for_each(|defect| check.note(defect));
        }
        Ok(Walked { build, compared, object, spools, found: check.found() })
    }

    /// Waits for a store that is away.
    async fn read<T, F>(&self, mut read: impl FnMut() -> F) -> Result<T, Error>
    where
        F: Future<Output = store::Result<T>>,
    {
        again(self.patience, || {
            let read = read();
            async { Ok(read.await?) }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use http_body_util::BodyExt;
    use pipeline::act::{Data, Granted, Outcome, Record, StepId};

    use super::*;
    use crate::tests::{PIPELINE, Site};

    /// The journal says that the agent of `mac` was given to the build.
    fn granted() -> Vec<u8> {
        let env = BTreeMap::from([(engine::INSTANCE_ENV.to_owned(), "i-mac".to_owned())]);
        let (node, workspace, labels) = ("mac".to_owned(), "/w".to_owned(), Vec::new());
        let granted = Granted { node, executor: 0, workspace, unix: true, labels, env };
        let (step, outcome) = (StepId("0".to_owned()), Outcome::Done(Data::Granted(granted)));
        serde_json::to_vec(&Record::Outcome { step, outcome, at: 1, raw: None }).unwrap()
    }

    #[tokio::test]
    async fn a_log_that_is_checked_counts_though_there_is_no_time_to_ask_agents() {
        let site = Site::new().await;
        site.create("", "hello", PIPELINE).await;
        site.admin().post("/job/hello/build").await;
        let taken = site.take().await;
        site.progress(&taken, 0, "text\n", vec![]).await;
        let agents = Arc::clone(&site.nobody) as Arc<dyn ports::Spools>;
        let walk = Walk { store: Arc::clone(&site.store), agents, patience: Duration::ZERO, first: None };
        let mut checked = walk.log(taken.build, Instant::now() + LONGEST).await.unwrap();
        checked.journal.record(&granted());
        let walked = walk.spools(checked, Instant::now()).await.unwrap();
        assert_eq!((walked.found.bytes, walked.found.defect_count), (5, 0));
        let spools = serde_json::to_value(&walked.spools).unwrap();
        assert_eq!((&spools["agents"], &spools["asked"]), (&1.into(), &0.into()));
        let why = "mac: the time of the check was over before it answered";
        assert_eq!(spools["unreachable"], serde_json::json!([why]));
    }

    #[tokio::test]
    async fn an_answer_that_takes_long_shows_signs_of_life_and_is_json_all_the_same() {
        let (finish, finished) = tokio::sync::oneshot::channel();
        let mut body = lively(async { finished.await.unwrap_or_default() });
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first, "\n");
        finish.send("{\"checked\":true}".to_owned()).unwrap();
        let rest = body.collect().await.unwrap().to_bytes();
        let answer: serde_json::Value = serde_json::from_slice(&[first, rest].concat()).unwrap();
        assert_eq!(answer["checked"], true);
    }
}

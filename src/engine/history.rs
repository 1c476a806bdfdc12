//! History: the build discarder, and objects that nothing names any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use config::ItemConfig;
use model::{BuildDiscarder, BuildId, JobName};
use parking_lot::Mutex;
use store::{Answer, Build, Write};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::definition;
use crate::service::Shared;
use crate::texts;

/// Builds that are read at once.
const PAGE: u32 = 200;
/// Before a discarder runs, for more builds may end.
const PAUSE: Duration = Duration::from_secs(1);
/// Before the discarder of a job runs again that keeps more than a page.
const REST: Duration = Duration::from_secs(60);
/// Queue items that left are known that long.
const LEFT: Duration = Duration::from_secs(300);
const SWEEP: Duration = Duration::from_secs(60);
const BETWEEN_PIECES: Duration = Duration::from_millis(5);
const DAY: Duration = Duration::from_secs(86_400);

/// Jobs whose builds have ended since their discarders ran.
#[derive(Default)]
pub(crate) struct Discards {
    jobs: Mutex<BTreeSet<JobName>>,
    some: Notify,
}

impl Discards {
    /// `job` is the name that it had when the build began; one that was renamed since is asked for by its next build.
    pub(crate) fn ask(&self, job: &JobName) {
        self.jobs.lock().insert(job.clone());
        self.some.notify_one();
    }
}

/// Deletes what the discarders of jobs do not keep, soon after their builds have ended: once for all that ended
/// meanwhile, and seldom where much is kept, for each run looks at all of that.
pub(crate) async fn discard(shared: Arc<Shared>) {
    let mut rest: BTreeMap<JobName, Instant> = BTreeMap::new();
    loop {
        if shared.discards.jobs.lock().is_empty() {
            shared.discards.some.notified().await;
        }
        tokio::time::sleep(PAUSE).await;
        rest.retain(|_, until| Instant::now() < *until);
        let due: Vec<JobName> = {
            let mut jobs = shared.discards.jobs.lock();
            let due = jobs.iter().filter(|job| !rest.contains_key(job)).cloned().collect();
            jobs.retain(|job| rest.contains_key(job));
            due
        };
        for job in due {
            match try_discard(&shared, &job).await {
                Ok(seen) if seen > PAGE => drop(rest.insert(job, Instant::now() + REST)),
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, %job, "discard old builds"),
            }
        }
    }
}

/// Deletes the objects of a build that has ended but for its artifacts: stashes and texts, and what no row names because a
/// link, an owner or an attempt was lost on the way.
pub(crate) async fn tidy(shared: &Shared, build: BuildId) {
    if let Err(error) = try_tidy(shared, build).await {
        tracing::debug!(%error, %build, "tidy the objects of a build");
    }
}

async fn try_tidy(shared: &Shared, build: BuildId) -> Result<(), store::Error> {
    let (mut keep, mut after) = (BTreeSet::new(), None::<String>);
    loop {
        let page = shared.store.artifacts(build, after.as_deref(), PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.path.clone());
        keep.extend(page.into_iter().map(|artifact| artifact.object));
    }
    shared.objects.keep_only(&texts::prefix(build), &keep).await
}

/// → how many builds it looked at
async fn try_discard(shared: &Arc<Shared>, job: &JobName) -> Result<u32, store::Error> {
    let Some(item) = shared.store.item(job).await? else { return Ok(0) };
    let Ok(ItemConfig::Job(config)) = ItemConfig::parse(&item.config) else { return Ok(0) };
    let Some(discarder) = definition::effective(&config, &shared.programs).await.discarder else {
        return Ok(0);
    };
    let (mut below, mut seen) = (None, 0u32);
    loop {
        let page = shared.store.builds(job, below, PAGE).await?;
        let Some(last) = page.last() else { return Ok(seen) };
        below = Some(last.number);
        for build in &page {
            seen += 1;
            let kept = keeps(&discarder, build, seen, shared.clock.now());
            if !kept && delete(shared, job, build).await? {
                shared.objects.keep_only(&texts::prefix(build.id), &BTreeSet::new()).await?;
            }
        }
    }
}

/// Whether a build, the `nth` newest, stays. A running one and one that is kept always do; the newest does as well.
fn keeps(discarder: &BuildDiscarder, build: &Build, nth: u32, now: model::Millis) -> bool {
    if build.building() || build.keep || nth == 1 {
        return true;
    }
    let old = discarder.days_to_keep.is_some_and(|days| now.since(build.started_at) > DAY * days);
    let many = discarder.num_to_keep.is_some_and(|most| nth > most);
    !old && !many
}

/// → whether this call deleted it; it may be kept meanwhile
async fn delete(shared: &Arc<Shared>, job: &JobName, build: &Build) -> Result<bool, store::Error> {
    let (job, number, build) = (job.clone(), build.number, Some(build.id));
    match shared.store.write(Write::DeleteBuild { job, number, build }).await {
        Ok(Answer::Objects(keys)) => forget(shared, keys).await.map(|()| true),
        Ok(_) | Err(store::Error::NotFound(_) | store::Error::Conflict(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Deletes objects, and then their keys.
async fn forget(shared: &Shared, keys: Vec<String>) -> Result<(), store::Error> {
    for key in &keys {
        shared.objects.delete(key).await?;
    }
    if keys.is_empty() {
        return Ok(());
    }
    shared.store.write(Write::ForgetObjects { keys }).await.map(|_| ())
}

/// What deleted builds have left, piece by piece, with time for others in between.
async fn erase(shared: &Shared) -> Result<(), store::Error> {
    while shared.store.write(Write::Erase).await? == Answer::Bool(true) {
        tokio::time::sleep(BETWEEN_PIECES).await;
    }
    Ok(())
}

/// Once a minute: forgets queue items that left, erases what deleted builds have left, and deletes objects whose owner died before it could.
pub(crate) async fn sweep(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        if !shared.ready() {
            continue;
        }
        let before = model::Millis(shared.clock.now().0 - i64::try_from(LEFT.as_millis()).unwrap_or(0));
        let left = shared.store.write(Write::ForgetLeft { before }).await.map(|_| ());
        let garbage = match shared.store.garbage(1000).await {
            Ok(keys) => forget(&shared, keys).await,
            Err(error) => Err(error),
        };
        let erased = erase(&shared).await;
        for error in [left, garbage, erased].into_iter().filter_map(Result::err) {
            tracing::debug!(%error, "sweep");
        }
    }
}

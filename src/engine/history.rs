//! History: the build discarder, and objects that nothing names any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use config::ItemConfig;
use model::{BuildDiscarder, BuildId, BuildResult, JobName};
use parking_lot::Mutex;
use store::{Answer, Build, Store, Write};
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
    let (mut below, mut view) = (None, View::default());
    loop {
        let page = shared.store.builds(job, below, PAGE).await?;
        let Some(last) = page.last() else { return Ok(view.seen) };
        below = Some(last.number);
        let fates: Vec<Fate> =
            page.iter().map(|build| view.fate(&discarder, build, shared.clock.now())).collect();
        let with = |fate| page.iter().zip(&fates).filter(move |(_, f)| **f == fate).map(|(build, _)| build);
        for build in with(Fate::Goes) {
            if delete(shared, job, build).await? {
                shared.objects.keep_only(&texts::prefix(build.id), &BTreeSet::new()).await?;
            }
        }
        let bare: Vec<BuildId> = with(Fate::Bare).map(|build| build.id).collect();
        let some = shared.store.with_artifacts(&bare).await?;
        for build in with(Fate::Bare).filter(|build| some.contains(&build.id)) {
            let (job, number) = (job.clone(), build.number);
            take(shared, Write::DeleteArtifacts { job, number, build: build.id }).await?;
        }
    }
}

/// What becomes of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    /// It stays without its artifacts.
    Bare,
    Goes,
}

/// The builds of a job that a discarder has seen, from the newest on.
#[derive(Debug, Default)]
struct View {
    seen: u32,
    successful: bool,
    stable: bool,
}

impl View {
    /// The next older one. One that runs or is kept stays as it is, and so do the last successful and the last stable one:
    /// `lastSuccessfulBuild/artifact/…` is what others are built with. The newest is always there.
    fn fate(&mut self, discarder: &BuildDiscarder, build: &Build, now: model::Millis) -> Fate {
        self.seen += 1;
        let ended = build.result.filter(|_| !build.building());
        let successful = ended.is_some_and(|result| result <= BuildResult::Unstable);
        let stable = ended == Some(BuildResult::Success);
        let last = successful && !self.successful || stable && !self.stable;
        self.successful |= successful;
        self.stable |= stable;
        if build.building() || build.keep || last {
            return Fate::Stays;
        }
        let over = |days: Option<u32>, most: Option<u32>| {
            days.is_some_and(|days| now.since(build.started_at) > DAY * days)
                || most.is_some_and(|most| self.seen > most)
        };
        if self.seen > 1 && over(discarder.days_to_keep, discarder.num_to_keep) {
            return Fate::Goes;
        }
        match over(discarder.artifact_days_to_keep, discarder.artifact_num_to_keep) {
            true => Fate::Bare,
            false => Fate::Stays,
        }
    }
}

/// → whether this call deleted it; it may be kept meanwhile
async fn delete(shared: &Arc<Shared>, job: &JobName, build: &Build) -> Result<bool, store::Error> {
    let (job, number, build) = (job.clone(), build.number, Some(build.id));
    take(shared, Write::DeleteBuild { job, number, build }).await
}

/// Deletes in the store, and then the objects that nothing names any more. → whether this call did
async fn take(shared: &Shared, write: Write) -> Result<bool, store::Error> {
    match shared.store.write(write).await {
        Ok(Answer::Objects(keys)) => forget(&*shared.store, keys).await.map(|()| true),
        Ok(_) | Err(store::Error::NotFound(_) | store::Error::Conflict(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Deletes objects, and all of those below a key that ends with `/`, and then their keys.
async fn forget(store: &dyn Store, keys: Vec<String>) -> Result<(), store::Error> {
    let objects = store.objects();
    for key in &keys {
        match key.strip_suffix('/') {
            Some(prefix) => objects.keep_only(prefix, &BTreeSet::new()).await?,
            None => objects.delete(key).await?,
        }
    }
    if keys.is_empty() {
        return Ok(());
    }
    store.write(Write::ForgetObjects { keys }).await.map(|_| ())
}

/// As `forget`, while nobody waits: what is left is swept.
pub(crate) fn forget_soon(store: &Arc<dyn Store>, answer: Answer) {
    let (Answer::Objects(keys), store) = (answer, Arc::clone(store)) else { return };
    tokio::spawn(async move {
        if let Err(error) = forget(&*store, keys).await {
            tracing::debug!(%error, "delete the objects of what was deleted");
        }
    });
}

/// What deleted builds and archived logs have left, piece by piece, with time for others in between.
pub(crate) async fn erase(store: &dyn Store) -> Result<(), store::Error> {
    while store.write(Write::Erase).await? == Answer::Bool(true) {
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
            Ok(keys) => forget(&*shared.store, keys).await,
            Err(error) => Err(error),
        };
        let erased = erase(&*shared.store).await;
        for error in [left, garbage, erased].into_iter().filter_map(Result::err) {
            tracing::debug!(%error, "sweep");
        }
    }
}

#[cfg(test)]
mod tests {
    use model::Millis;

    use super::*;

    const NOW: Millis = Millis(100 * 86_400_000);

    /// `number` is its age in days, too.
    fn build(number: u64, result: Option<BuildResult>) -> Build {
        let started_at = Millis(NOW.0 - i64::try_from(number).unwrap() * 86_400_000 - 1);
        Build {
            id: BuildId(i64::try_from(number).unwrap()),
            job: JobName::parse("app").unwrap(),
            number,
            queue_id: model::QueueId(1),
            causes: Vec::new(),
            params: BTreeMap::new(),
            queued_at: started_at,
            started_at,
            ended_at: result.map(|_| started_at),
            result,
            display_name: None,
            description: None,
            keep: number == 9,
            log_end: 0,
            behaviour: 1,
            built_on: None,
        }
    }

    /// Of a job whose builds have aged that many days, the newest first.
    fn fates(discarder: &BuildDiscarder) -> Vec<Fate> {
        use BuildResult::{Failure, Success, Unstable};
        let results = [None, Some(Failure), Some(Unstable), Some(Success), Some(Unstable), Some(Success)];
        let mut builds: Vec<Build> =
            (1u64..).zip(results).map(|(number, result)| build(number, result)).collect();
        builds.push(build(9, Some(Failure)));
        builds.push(build(10, Some(Failure)));
        let mut view = View::default();
        builds.iter().map(|build| view.fate(discarder, build, NOW)).collect()
    }

    #[test]
    fn the_last_successful_and_the_last_stable_build_stay_whatever_their_age() {
        use Fate::{Goes, Stays};
        let wanted = [Stays, Goes, Stays, Stays, Goes, Goes, Stays, Goes];
        assert_eq!(fates(&BuildDiscarder { num_to_keep: Some(1), ..BuildDiscarder::default() }), wanted);
        assert_eq!(fates(&BuildDiscarder { days_to_keep: Some(1), ..BuildDiscarder::default() }), wanted);
        assert_eq!(fates(&BuildDiscarder::default()), [Stays; 8]);
    }

    #[test]
    fn artifacts_go_earlier_than_their_build_but_not_those_of_the_last_successful_one() {
        use Fate::{Bare, Goes, Stays};
        let few = BuildDiscarder {
            artifact_num_to_keep: Some(1),
            num_to_keep: Some(5),
            ..BuildDiscarder::default()
        };
        assert_eq!(fates(&few), [Stays, Bare, Stays, Stays, Bare, Goes, Stays, Goes]);
        let old = BuildDiscarder { artifact_days_to_keep: Some(5), ..BuildDiscarder::default() };
        assert_eq!(fates(&old), [Stays, Stays, Stays, Stays, Bare, Bare, Stays, Bare]);
    }

    #[test]
    fn the_newest_build_is_always_there() {
        let mut view = View::default();
        let discarder = BuildDiscarder {
            days_to_keep: Some(1),
            artifact_days_to_keep: Some(1),
            ..BuildDiscarder::default()
        };
        let newest = build(20, Some(BuildResult::Failure));
        assert_eq!(view.fate(&discarder, &newest, NOW), Fate::Bare);
        assert_eq!(view.fate(&discarder, &build(21, Some(BuildResult::Failure)), NOW), Fate::Goes);
    }
}

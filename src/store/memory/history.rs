//! Builds that have ended, and what they leave behind.

use std::collections::BTreeSet;

use model::{BuildId, BuildResult, JobName};

use super::{Archive, History, State};
use crate::{Answer, ArchivedLog, Error, Result, archive};

impl State {
    /// Result of the newest completed build of an item.
    pub(super) fn last_result(&self, item: i64) -> Option<BuildResult> {
        let newest = self.of_item(item).rev().find(|history| history.build.ended_at.is_some());
        newest.and_then(|history| history.build.result)
    }

    /// Builds of an item, by number.
    pub(super) fn of_item(&self, item: i64) -> impl DoubleEndedIterator<Item = &History> {
        self.numbers.range((item, 0)..=(item, u64::MAX)).filter_map(|(_, id)| self.builds.get(id))
    }

    /// Those with numbers below `number`.
    pub(super) fn before(&self, item: i64, number: u64) -> impl DoubleEndedIterator<Item = &History> {
        self.numbers.range((item, 0)..(item, number)).filter_map(|(_, id)| self.builds.get(id))
    }

    pub(super) fn of_number(&self, item: i64, number: u64) -> Option<&History> {
        self.numbers.get(&(item, number)).and_then(|id| self.builds.get(id))
    }

    fn numbered(&self, job: &JobName, number: u64) -> Result<&History> {
        let item = self.must_find(job)?.summary.id;
        self.of_number(item, number).ok_or_else(|| Error::NotFound(format!("build {number} of {job}")))
    }

    pub(super) fn delete_build(
        &mut self,
        job: &JobName,
        number: u64,
        only: Option<BuildId>,
    ) -> Result<Answer> {
        let (id, item) = self.deletable(job, number, only)?;
        let objects: BTreeSet<String> = self.forget_build(id).into_iter().collect();
        let last_result = self.last_result(item);
        if let Some(summary) = self.summary(job) {
            summary.last_result = last_result;
        }
        self.garbage.extend(objects.iter().cloned());
        Ok(Answer::Objects(objects.into_iter().collect()))
    }

    pub(super) fn delete_artifacts(&mut self, job: &JobName, number: u64, build: BuildId) -> Result<Answer> {
        let (id, _) = self.deletable(job, number, Some(build))?;
        let artifacts = self.builds.get_mut(&id).map(|history| std::mem::take(&mut history.artifacts));
        let objects: BTreeSet<String> =
            artifacts.unwrap_or_default().into_values().map(|artifact| artifact.object).collect();
        self.garbage.extend(objects.iter().cloned());
        Ok(Answer::Objects(objects.into_iter().collect()))
    }

    /// An ended build that need not be kept, and its item.
    fn deletable(&self, job: &JobName, number: u64, only: Option<BuildId>) -> Result<(BuildId, i64)> {
        let History { build, item, .. } = self.numbered(job, number)?;
        if only.is_some_and(|only| only != build.id) {
            return Err(Error::NotFound(format!("build {number} of {job}")));
        }
        if build.building() {
            return Err(Error::Conflict(format!("build {number} of {job} runs")));
        }
        if build.keep {
            return Err(Error::Conflict(format!("build {number} of {job} is kept")));
        }
        Ok((build.id, *item))
    }

    pub(super) fn keep_build(&mut self, job: &JobName, number: u64, keep: bool) -> Result<Answer> {
        let id = self.numbered(job, number)?.build.id;
        if let Some(history) = self.builds.get_mut(&id) {
            history.build.keep = keep;
        }
        Ok(Answer::Unit)
    }

    /// Removes an ended build; gives the objects that it named.
    pub(super) fn forget_build(&mut self, build: BuildId) -> Vec<String> {
        let Some(history) = self.builds.remove(&build) else { return Vec::new() };
        self.numbers.remove(&(history.item, history.build.number));
        for hash in &history.sources {
            if let Some(source) = self.sources.get_mut(hash) {
                source.named -= 1;
                if source.named == 0 {
                    self.sources.remove(hash);
                }
            }
        }
        let artifacts = history.artifacts.into_values().map(|artifact| artifact.object);
        let log = (history.archive != Archive::Stays).then(|| format!("{}/", archive::prefix(build)));
        artifacts.chain(log).collect()
    }

    pub(super) fn log_archived(&mut self, build: BuildId, log: &ArchivedLog) -> Result<Answer> {
        archive::check_key_of(build, &log.object)?;
        let Some(history) = self.builds.get_mut(&build) else { return Ok(Answer::Bool(false)) };
        match &history.archive {
            Archive::Stays => return Ok(Answer::Bool(false)),
            Archive::Done(known) => return Ok(Answer::Bool(known.object == log.object)),
            Archive::Due => {}
        }
        history.archive = Archive::Done(log.clone());
        history.chunks.clear();
        Ok(Answer::Bool(true))
    }

    pub(super) fn forget_objects(&mut self, keys: &[String]) -> Answer {
        for key in keys {
            self.garbage.remove(key);
        }
        Answer::Unit
    }
}

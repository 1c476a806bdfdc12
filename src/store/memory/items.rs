//! Jobs and folders.

use std::collections::{BTreeMap, BTreeSet};

use model::{BuildId, JobName};

use super::{State, next};
use crate::{Answer, Error, Item, ItemKind, ItemSummary, Result};

impl State {
    /// The item of exactly this name.
    pub(super) fn find(&self, name: &JobName) -> Option<&Item> {
        self.items.get(&name.key()).filter(|item| item.summary.name == *name)
    }

    pub(super) fn must_find(&self, name: &JobName) -> Result<&Item> {
        self.find(name).ok_or_else(|| Error::NotFound(format!("job {name}")))
    }

    /// The summary of an item that the caller has found already.
    pub(super) fn summary(&mut self, name: &JobName) -> Option<&mut ItemSummary> {
        self.items.get_mut(&name.key()).map(|item| &mut item.summary)
    }

    pub(super) fn create_item(
        &mut self,
        name: &JobName,
        kind: ItemKind,
        config: &str,
        disabled: bool,
    ) -> Result<Answer> {
        if let Some(parent) = name.parent() {
            let folder = self.find(&parent).filter(|item| item.summary.kind == ItemKind::Folder);
            folder.ok_or_else(|| Error::NotFound(format!("folder {parent}")))?;
        }
        if let Some(there) = self.items.get(&name.key()) {
            return Err(Error::Exists(format!("job {}", there.summary.name)));
        }
        let id = next(&mut self.last.item);
        let summary = ItemSummary {
            id,
            name: name.clone(),
            kind,
            disabled,
            next_build: 1,
            running: 0,
            last_result: None,
            version: 1,
        };
        self.items.insert(name.key(), Item { summary, config: config.to_owned() });
        Ok(Answer::Id(id))
    }

    pub(super) fn configure_item(&mut self, name: &JobName, config: &str, disabled: bool) -> Result<Answer> {
        self.must_find(name)?;
        if let Some(item) = self.items.get_mut(&name.key()) {
            config.clone_into(&mut item.config);
            item.summary.disabled = disabled;
            item.summary.version += 1;
        }
        Ok(Answer::Unit)
    }

    pub(super) fn rename_item(&mut self, name: &JobName, to: &JobName) -> Result<Answer> {
        self.must_find(name)?;
        if name.parent() != to.parent() {
            return Err(Error::Conflict(format!("{to} is not in the folder of {name}")));
        }
        if name == to || (name.key() != to.key() && self.items.contains_key(&to.key())) {
            return Err(Error::Exists(format!("job {to}")));
        }
        let mut names = BTreeMap::new();
        for item in self.items.values() {
            if let Some(renamed) = item.summary.name.renamed(name, to) {
                let old = &item.summary.name;
                let renamed = renamed.map_err(|e| Error::Conflict(format!("{old} can't be renamed: {e}")))?;
                names.insert(old.clone(), renamed);
            }
        }
        let call = |job: &mut JobName| {
            if let Some(renamed) = names.get(job) {
                renamed.clone_into(job);
            }
        };
        for old in names.keys() {
            if let Some(mut item) = self.items.remove(&old.key()) {
                call(&mut item.summary.name);
                self.items.insert(item.summary.name.key(), item);
            }
        }
        self.builds.values_mut().for_each(|history| call(&mut history.build.job));
        self.running.values_mut().for_each(|live| call(&mut live.row.job));
        self.waits.values_mut().for_each(|wait| call(&mut wait.job));
        self.busy.values_mut().for_each(|busy| call(&mut busy.job));
        for queued in self.queue.values_mut() {
            call(&mut queued.item.job);
            call(&mut queued.same.0);
        }
        let waiting = self.queue.iter().filter(|(_, queued)| queued.item.waiting());
        self.waiting = waiting.map(|(id, queued)| (queued.same.clone(), *id)).collect();
        Ok(Answer::Unit)
    }

    pub(super) fn delete_item(&mut self, name: &JobName) -> Result<Answer> {
        self.must_find(name)?;
        let key = name.key();
        let below = format!("{key}/");
        let inside = self.items.range(below.clone()..).take_while(|(key, _)| key.starts_with(&below));
        let keys: Vec<String> =
            std::iter::once(key.clone()).chain(inside.map(|(key, _)| key.clone())).collect();
        let summaries = keys.iter().filter_map(|key| self.items.get(key)).map(|item| &item.summary);
        if let Some(busy) = summaries.clone().find(|summary| summary.running > 0) {
            return Err(Error::Conflict(format!("a build of {} runs", busy.name)));
        }
        let ids: BTreeSet<i64> = summaries.map(|summary| summary.id).collect();
        let builds: Vec<BuildId> = ids
            .iter()
            .flat_map(|id| self.numbers.range((*id, 0)..=(*id, u64::MAX)))
            .map(|(_, id)| *id)
            .collect();
        let objects: BTreeSet<String> =
            builds.into_iter().flat_map(|build| self.forget_build(build)).collect();
        let gone = |job: &JobName| job.key() == key || job.key().starts_with(&below);
        self.queue.retain(|_, queued| !gone(&queued.item.job));
        self.waiting.retain(|(job, _), _| !gone(job));
        for key in &keys {
            self.items.remove(key);
        }
        self.garbage.extend(objects.iter().cloned());
        Ok(Answer::Objects(objects.into_iter().collect()))
    }
}

//! What becomes an Event: what has changed between two statuses and is worth knowing. Pure, but for [`publish`].
//!
//! How a controller is at first is no news, and neither is what is on its way. A Warning says that something that was good is
//! bad now, or that a first start does not get on.

mod condition;
mod rollout;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use resource::{Failover, Phase, Status};

use crate::kinds::Kind;
use crate::names::Owner;
use crate::seen::Seen;
use crate::world::{Doomed, Removal};

/// What is older was noticed by somebody else, or before the operator could ask anybody.
const RECENT: SignedDuration = SignedDuration::from_mins(10);
/// Bytes of the note of an Event that Kubernetes takes.
const MAX_NOTE: usize = 1024;

/// One thing that people may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct News {
    pub warns: bool,
    pub reason: String,
    /// What is done, or the condition that has changed.
    pub action: &'static str,
    pub note: String,
    /// What it is about besides the controller.
    pub about: Option<(Kind, String)>,
}

impl News {
    fn normal(reason: &str, action: &'static str, note: String) -> News {
        News { warns: false, reason: reason.to_owned(), action, note, about: None }
    }

    fn warning(reason: &str, action: &'static str, note: String) -> News {
        News { warns: true, ..News::normal(reason, action, note) }
    }

    fn about(self, kind: Kind, name: &str) -> News {
        News { about: Some((kind, name.to_owned())), ..self }
    }
}

/// Who looks, and when.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    pub owner: Owner,
    pub now: Timestamp,
    /// When it was looked before; `None`: nobody knows, and what does not get on is told again.
    pub last: Option<Timestamp>,
    /// Longest time in which a replica hands over what it does.
    pub drain: Duration,
}

impl Look {
    pub(crate) fn new(seen: &Seen, last: Option<Timestamp>) -> Look {
        let given = seen.controller.spec.rollout.as_ref().and_then(|rollout| rollout.drain_timeout);
        let drain = given.map_or(::rollout::Policy::default().drain, |span| span.0);
        Look { owner: seen.owner.clone(), now: seen.now, last, drain }
    }

    /// Whether something that began then lasts for so long, and did not when it was looked last.
    fn passes(&self, since: Timestamp, long: SignedDuration) -> bool {
        let lasts = |at: Timestamp| at.duration_since(since) >= long;
        lasts(self.now) && self.last.is_none_or(|last| !lasts(last))
    }
}

/// All that is new, in the order in which people read it.
pub(crate) fn news(before: &Status, after: &Status, look: &Look) -> Vec<News> {
    let mut news = failovers(before, after, look);
    news.extend(rollout::news(before, after, look));
    news.extend(condition::news(before, after, look));
    // one mistake may make several conditions false
    let mut told: Vec<News> = Vec::new();
    for one in news {
        if !told.iter().any(|told| (&told.reason, &told.note) == (&one.reason, &one.note)) {
            told.push(one);
        }
    }
    told
}

fn failovers(before: &Status, after: &Status, look: &Look) -> Vec<News> {
    if before.phase.is_none() || after.phase == Some(Phase::Deleting) {
        return Vec::new();
    }
    let known =
        |one: &Failover| before.failovers.iter().any(|b| (&b.replica, &b.at) == (&one.replica, &one.at));
    let recent = |one: &&Failover| look.now.duration_since(one.at.0) < RECENT;
    let new = after.failovers.iter().rev().filter(|one| !known(one)).filter(recent);
    let tell = |Failover { replica, at: _, builds }: &Failover| {
        let note =
            format!("{replica} was lost, and other replicas do what it did: {builds} builds go on there");
        News::warning("Failover", "Failover", note).about(Kind::Pod, replica)
    };
    new.map(tell).collect()
}

/// Of something that was removed otherwise than in its own time.
pub(crate) fn removed(doomed: &Doomed) -> Option<News> {
    let Doomed { kind, name, uid: _, how } = doomed;
    let news = match (how, kind) {
        (Removal::Force, Kind::Pod) => {
            let note =
                format!("{name} was removed by force: its node does not answer, and others do what it did");
            News::warning("PodForceDeleted", "Remove", note)
        }
        (Removal::Orphan, Kind::StatefulSet) => {
            let note = format!(
                "the StatefulSet {name} is made anew, because something of it is other that can't be changed; its pods stay"
            );
            News::normal("StatefulSetRecreated", "Recreate", note)
        }
        _ => return None,
    };
    Some(news.about(*kind, name))
}

/// Of a controller that was written under another definition.
pub(crate) fn unreadable(error: &str) -> News {
    let note = format!("it can't be read, and all stays as it is: {error}");
    News::warning("Unreadable", "Read", note)
}

/// Of a controller that can't be looked after, as the operator may not read or write what it must.
pub(crate) fn refused(error: &str) -> News {
    let note = format!("Kubernetes refuses the operator something, and all stays as it is: {error}");
    News::warning("OperatorRefused", "Reconcile", note)
}

/// Writes them down beside the controller. One that can't be written is let go: the status says how things are.
pub(crate) async fn publish(client: &Client, reporter: &Reporter, of: &ObjectReference, news: &[News]) {
    for one in news {
        // one recorder for all would take what has the same reason for the same, and keep the note of the first
        let recorder = Recorder::new(client.clone(), reporter.clone());
        if let Err(error) = recorder.publish(&event(one, of), of).await {
            tracing::warn!(%error, reason = one.reason, "publish an Event");
        }
    }
}

fn event(news: &News, of: &ObjectReference) -> Event {
    let News { warns, reason, action, note, about } = news;
    let secondary = about.as_ref().map(|(kind, name)| {
        let resource = kind.resource();
        ObjectReference {
            api_version: Some(resource.api_version),
            kind: Some(resource.kind),
            namespace: of.namespace.clone(),
            name: Some(name.clone()),
            ..ObjectReference::default()
        }
    });
    Event {
        type_: if *warns { EventType::Warning } else { EventType::Normal },
        reason: reason.clone(),
        note: Some(note.get(..note.floor_char_boundary(MAX_NOTE)).unwrap_or_default().to_owned()),
        action: (*action).to_owned(),
        secondary,
    }
}

#[cfg(test)]
mod tests;

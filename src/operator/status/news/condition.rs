//! What is new of conditions.

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use resource::{ConditionType, Phase, RolloutPhase, Status};

use super::{Look, News};

/// A first start may be on its way for so long before somebody is told.
const PATIENCE: SignedDuration = SignedDuration::from_secs(30);

/// Reasons that say that something comes or goes in its own time: bad news only where it was good before.
const UNDER_WAY: [&str; 5] = ["StoreStarting", "AddressPending", "SomeReady", "NoneReady", "NotSupported"];
/// Of Progressing: no replica starts by waiting longer.
const STUCK: [&str; 5] = ["Unschedulable", "ImageRefused", "ImageUnfit", "ReplicaEnds", "ObjectRefused"];
/// Neither good nor bad, but somebody's wish.
const WISHES: [&str; 3] = ["Setup", "Stopped", "Deleting"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Good,
    Bad,
    /// Nobody knows, or nobody minds.
    Neither,
}

pub(super) fn news(before: &Status, after: &Status, look: &Look) -> Vec<News> {
    let all = ConditionType::ALL.iter().filter_map(|of| {
        let find = |status: &'_ Status| status.conditions.iter().position(|one| one.type_ == of.as_str());
        let is = after.conditions.get(find(after)?)?;
        let was = find(before).and_then(|at| before.conditions.get(at));
        let gone = after.phase == Some(Phase::Deleting) && *of != ConditionType::Ready;
        let one = (!gone).then_some(Change { of: *of, was, is, before, after, look })?;
        one.news()
    });
    all.collect()
}

/// Of one condition.
struct Change<'a> {
    of: ConditionType,
    was: Option<&'a Condition>,
    is: &'a Condition,
    before: &'a Status,
    after: &'a Status,
    look: &'a Look,
}

impl Change<'_> {
    fn news(&self) -> Option<News> {
        let Change { of, was, is, .. } = self;
        let other = was.is_none_or(|was| (&was.status, &was.reason) != (&is.status, &is.reason));
        // until all replicas were ready once, all is new, and only what lasts is told
        let first = self.after.rollout.is_none();
        let warns = match first {
            true => self.lasts(other) || (self.worse(other) && *of != ConditionType::Progressing),
            false => self.worse(other),
        };
        if warns {
            return Some(News::warning(&is.reason, of.as_str(), is.message.clone()));
        }
        let wish =
            *of == ConditionType::Ready && was.is_some() && other && WISHES.contains(&is.reason.as_str());
        let tells = wish || (mood(*of, is) == Mood::Good && self.mended());
        tells.then(|| News::normal(&is.reason, of.as_str(), is.message.clone()))
    }

    /// A first start that does not get on.
    fn lasts(&self, other: bool) -> bool {
        let under_way = UNDER_WAY.contains(&self.is.reason.as_str());
        let matters = !matches!(
            self.of,
            ConditionType::Ready | ConditionType::StoreDurable | ConditionType::PluginsLoaded
        );
        let since = self.is.last_transition_time.0;
        let lasts = self.look.now.duration_since(since) >= PATIENCE;
        matters
            && !under_way
            && mood(self.of, self.is) == Mood::Bad
            && ((other && lasts) || self.look.passes(since, PATIENCE))
    }

    /// It was better.
    fn worse(&self, other: bool) -> bool {
        let Some(was) = self.was.filter(|_| other && mood(self.of, self.is) == Mood::Bad) else {
            return false;
        };
        let under_way = UNDER_WAY.contains(&self.is.reason.as_str());
        if self.of == ConditionType::Ready {
            let fewer = self.after.ready_replicas < self.before.ready_replicas;
            // replicas that are replaced go one after the other, which is told of each
            return fewer && (self.after.ready_replicas == 0 || !self.rolls());
        }
        match mood(self.of, was) {
            Mood::Good => true,
            Mood::Bad | Mood::Neither => !under_way,
        }
    }

    /// It was told that it is bad, and it is no more.
    fn mended(&self) -> bool {
        let Some(was) = self.was.filter(|was| mood(self.of, was) == Mood::Bad) else { return false };
        let lasted = || self.look.now.duration_since(was.last_transition_time.0) >= PATIENCE;
        match self.of {
            ConditionType::Ready => !self.rolls(),
            // Ready says it
            ConditionType::Progressing => false,
            _ if self.before.rollout.is_none() => lasted() && !UNDER_WAY.contains(&was.reason.as_str()),
            _ => true,
        }
    }

    fn rolls(&self) -> bool {
        let phases =
            [self.before, self.after].map(|status| status.rollout.as_ref().map(|rollout| rollout.phase));
        phases.iter().flatten().any(|phase| matches!(phase, RolloutPhase::Rolling | RolloutPhase::GoingBack))
    }
}

fn mood(of: ConditionType, condition: &Condition) -> Mood {
    let reason = condition.reason.as_str();
    match of {
        ConditionType::Progressing if STUCK.contains(&reason) => Mood::Bad,
        ConditionType::Progressing => Mood::Good,
        // the rollout tells it
        ConditionType::RolledBack => Mood::Neither,
        _ if WISHES.contains(&reason) => Mood::Neither,
        _ => match condition.status.as_str() {
            "True" => Mood::Good,
            "False" => Mood::Bad,
            _ => Mood::Neither,
        },
    }
}

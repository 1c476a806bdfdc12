//! What is to be done for one controller. Pure: all that was seen in, all that is to be done out. Done again on the same, it says
//! the same, so that whoever is killed between two acts loses nothing.

use std::borrow::Cow;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use model::RestartWhen;
use model::overview::AskedRestart;
use resource::{ConditionType, RestartReason};
use rollout::Revision;

use crate::build::{self, Objects};
use crate::check::{self, Fault};
use crate::names::{REVISION_LABEL, ROLLOUT_ANNOTATION};
use crate::pins::pin;
use crate::plan::{Images, NewSecrets, Plan, Set, builtin, inputs};
use crate::record::{Inputs, Record, outdated};
use crate::roll::{Deed, Note, Rolled, Wanted, overviews, roll};
use crate::seen::Seen;
use crate::shrink;
use crate::status::given_up;

/// What is to be done, in this order: objects, then records that nobody needs, then the deed.
#[derive(Debug, Clone)]
pub(crate) struct Decision {
    /// `None`: nothing may be written, because the names are somebody else's.
    pub objects: Option<Objects>,
    /// Names of ControllerRevisions.
    pub forget: Vec<String>,
    pub deed: Deed,
    pub outcome: Outcome,
}

/// What the status is made of, besides what was seen.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub faults: Vec<Fault>,
    /// `None`: nothing can be rolled out.
    pub rolled: Option<Rolled>,
    pub wanted: Option<Wish>,
}

/// The revision that is wanted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wish {
    pub revision: Revision,
    /// What it is made of, and what the one before was.
    pub inputs: Inputs,
    pub reason: RestartReason,
    /// Who has asked, for people.
    pub message: Option<String>,
}

/// Decides.
pub(crate) fn decide(seen: &Seen, images: &Images, fresh: &NewSecrets) -> Decision {
    let mut faults = check::check(seen);
    let noted = note(seen);
    let was_proven = noted.as_ref().is_some_and(|note| note.proven);
    let set = wish(seen, noted.as_ref(), images, &mut faults);
    let secrets = new_secrets(seen, fresh);
    let (mut record, mut rolled, mut wanted, mut pods) = (None, None, None, None);
    if let Some((wish, template, new, heard)) = set {
        let idle = wish.reason == RestartReason::Asked && asked_to_wait(seen);
        let kept = kept(seen, &faults, noted.as_ref());
        let before = noted.map(|note| Note { heard, ..note });
        let first = Note { heard, ..Note::first(wish.revision.clone(), seen.now) };
        let step = roll(&kept, before.unwrap_or(first), Wanted { revision: &wish.revision, idle });
        // A StatefulSet that is new gives all pods what it begins with, whatever its partition is.
        let fresh = seen.set.as_ref().is_none_or(|set| {
            set.status.as_ref().and_then(|status| status.current_revision.as_ref()).is_none()
        });
        let target = if fresh { &step.note.good } else { &step.target };
        pods = template_of(target, seen, &wish, template).map(|template| Set {
            replicas: step.replicas,
            partition: if fresh { step.replicas } else { step.partition },
            revision: target.clone(),
            template,
            rollout: step.note.write(),
        });
        record = new;
        rolled = Some(step);
        wanted = Some(wish);
    }
    let proven = was_proven || rolled.as_ref().is_some_and(|rolled| rolled.note.proven);
    let deed = rolled.as_ref().filter(|_| pods.is_some()).map_or(Deed::Nothing, |rolled| rolled.deed.clone());
    let plan = Plan {
        owner: seen.owner.clone(),
        spec: seen.controller.spec.clone(),
        apis: seen.apis,
        images: images.clone(),
        secrets,
        record,
        set: pods,
        taken: check::taken(seen).map(|(front, ..)| front).collect(),
        proven,
    };
    let forget = forget(seen, rolled.as_ref());
    let clash = faults.iter().any(|fault| fault.reason == resource::Reason::NameTaken);
    let objects = (!clash).then(|| {
        let mut objects = build::objects(&plan);
        pin(&mut objects, seen);
        precondition(&mut objects, seen);
        objects
    });
    Decision { objects, forget, deed, outcome: Outcome { faults, rolled, wanted } }
}

/// Who decided by an older StatefulSet than there is must not write it: it would put back an older note.
fn precondition(objects: &mut Objects, seen: &Seen) {
    let version = seen.set.as_ref().and_then(|set| set.metadata.resource_version.clone());
    if let Some(set) = &mut objects.set {
        set.metadata.resource_version = version;
    }
}

/// As it was seen, with no more replicas than there are while only one node can mount a volume of theirs: those that are added
/// would wait for it for ever.
fn kept<'a>(seen: &'a Seen, faults: &[Fault], note: Option<&Note>) -> Cow<'a, Seen> {
    // one that serves while a single one is replaced goes again; one can mount it in any case
    let surge = usize::from(note.is_some_and(|note| note.surge));
    let there = shrink::there(seen).saturating_sub(surge).max(1);
    let there = u32::try_from(there).unwrap_or(u32::MAX);
    let not_shared = faults.iter().any(|fault| fault.reason == resource::Reason::VolumeNotShared);
    if !not_shared || seen.controller.spec.replicas <= there {
        return Cow::Borrowed(seen);
    }
    let mut kept = seen.clone();
    kept.controller.spec.replicas = there;
    Cow::Owned(kept)
}

/// Where the rollout stands: as it is written beside the pods, or, if somebody has removed that, as it was told last.
pub(crate) fn note(seen: &Seen) -> Option<Note> {
    let annotations = seen.set.as_ref().and_then(|set| set.metadata.annotations.as_ref());
    let written = annotations.and_then(|annotations| Note::read(annotations.get(ROLLOUT_ANNOTATION)?));
    written.or_else(|| {
        let status = seen.controller.status.as_ref()?;
        let told = status.rollout.as_ref()?;
        let known = |name: &String| seen.records.iter().any(|record| record.revision.0 == *name);
        (known(&told.good) && known(&told.wanted)).then(|| {
            let good = Revision(told.good.clone());
            let note = Note { proven: true, ..Note::first(good, seen.now) };
            let note = Note { wanted: Revision(told.wanted.clone()), ..note };
            match given_up(status, &note.wanted) {
                Some((why, failed_for, at)) => {
                    Note { failed: Some(why), failed_for, failed_at: Some(at), ..note }
                }
                None => note,
            }
        })
    })
}

type Found = (Wish, PodTemplateSpec, Option<Record>, Option<i64>);

/// What pods are to run. While something is wrong with the spec, what was wanted last.
fn wish(seen: &Seen, note: Option<&Note>, images: &Images, faults: &mut Vec<Fault>) -> Option<Found> {
    let spec = &seen.controller.spec;
    let find = |revision: &Revision| seen.records.iter().find(|record| record.revision == *revision);
    let last = note.and_then(|note| find(&note.wanted));
    let good = note.and_then(|note| find(&note.good));
    let heard = Heard::new(seen, note, last, good);
    let keep = || {
        let last = last?;
        let wish = Wish::of(last, good, seen);
        // a restart that is asked for meanwhile is heard of when it can be
        let before = note.and_then(|note| note.heard).or(heard.number);
        Some((wish, last.template.clone(), None, before))
    };
    if faults.iter().any(|fault| fault.blocks) {
        return keep();
    }
    // they are made by now; what is in them is known when they are looked at again
    let keys = keys_name(seen);
    let digest = &seen.secrets.get(&keys)?.digest;
    let restarted = match check::restarted_at(seen) {
        Some(Ok(given)) => Some(given.to_owned()),
        Some(Err(_)) => last.and_then(|last| last.inputs.restarted_at.clone()),
        None => None,
    };
    let inputs = inputs(spec, digest, restarted.as_deref(), heard.asked);
    match recorded(seen, [last, good], inputs, images) {
        Ok((record, new)) => {
            let (wish, template) = (Wish::of(&record, good, seen), record.template.clone());
            Some((wish, template, new.then_some(record), heard.number))
        }
        Err(error) => {
            let sentence = error.to_string();
            let of: &[_] = &[ConditionType::ConfigurationValid];
            let reason = resource::Reason::ObjectRefused;
            faults.push(Fault { of, reason, sentence, blocks: true });
            keep()
        }
    }
}

/// The record of what is asked for, and whether it is a new one. `stands`: what was wanted last, and what runs.
fn recorded(
    seen: &Seen,
    stands: [Option<&Record>; 2],
    inputs: Inputs,
    images: &Images,
) -> Result<(Record, bool), build::TemplateError> {
    // a newer operator may have told some apart by what this one does not know
    let same = |record: &&Record| record.inputs.same(&inputs);
    // nobody is restarted for what they are
    if let Some(record) = stands.into_iter().flatten().find(same) {
        return Ok((record.clone(), false));
    }
    let make = |inputs: Inputs| {
        let mut record = Record::new(inputs, PodTemplateSpec::default(), &seen.records);
        record.template = build::template(&record.inputs, images, &seen.owner, &record.revision)?;
        Ok(record)
    };
    let made = make(inputs.clone())?;
    let mut before: Vec<&Record> = seen.records.iter().filter(same).collect();
    if before.is_empty() {
        return Ok((made, true));
    }
    // whoever asks for what was wanted once does not ask for the image of an operator of that time, unless it still runs
    let ours = made.image();
    let runs = |image: &str| stands.iter().flatten().any(|record| record.image() == image);
    before.retain(|record| record.image() == ours || runs(record.image()));
    match before.into_iter().max_by_key(|record| record.number) {
        Some(newest) => Ok((newest.clone(), false)),
        None => Ok((make(Inputs { of_operator: Some(ours.to_owned()), ..inputs.clone() })?, true)),
    }
}

impl Wish {
    fn of(record: &Record, good: Option<&Record>, seen: &Seen) -> Wish {
        let told = seen.controller.status.as_ref().and_then(|status| status.rollout.as_ref());
        // what was asked for stays what it was when another operator looks at it
        let told =
            told.and_then(|told| told.history.first()).filter(|told| told.revision == record.revision.0);
        let reason = match (told, good) {
            (Some(told), _) => told.reason,
            (None, Some(good)) if record.number < good.number => RestartReason::Undone,
            (None, Some(good)) => record.inputs.reason(&good.inputs),
            (None, None) => RestartReason::TemplateChanged,
        };
        let by = asked_for(seen).map(|restart| restart.by.as_str());
        let asked = match reason {
            RestartReason::Asked => by.map(|by| format!("asked for by {by}")),
            RestartReason::Annotation => record.inputs.restarted_at.clone(),
            _ => None,
        };
        // whatever the reason: an image that nobody names is another one after an upgrade of the operator
        let images = good.map(|good| (good.image(), record.image()));
        let images = images.filter(|(before, after)| before != after);
        let images = images.map(|(before, after)| format!("from {before} to {after}"));
        let parts: Vec<_> = [asked, images].into_iter().flatten().collect();
        let message = (!parts.is_empty()).then(|| parts.join("; "));
        Wish { revision: record.revision.clone(), inputs: record.inputs.clone(), reason, message }
    }
}

/// Restarts that users have asked the controller itself for.
struct Heard {
    /// The number of the last one that was heard of; `None`: no replica could be asked yet.
    number: Option<i64>,
    /// For [`Inputs::asked`].
    asked: i64,
}

impl Heard {
    fn new(seen: &Seen, note: Option<&Note>, last: Option<&Record>, good: Option<&Record>) -> Heard {
        let before = note.and_then(|note| note.heard);
        let asked = last.map(|last| last.inputs.asked).unwrap_or_default();
        let Some(told) = asked_for(seen) else { return Heard { number: before, asked } };
        // the first number that is heard is of the time before; a lower one, of a store that was set back
        let new = before.is_some_and(|before| told.number > before) && !told.withdrawn;
        let begun = note.is_some_and(|note| note.begun(seen));
        let asked = match good {
            Some(good) if told.withdrawn && !begun => good.inputs.asked,
            _ => asked + i64::from(new),
        };
        Heard { number: Some(told.number), asked }
    }
}

/// The last restart that a user has asked for, as far as a replica could be asked.
fn asked_for(seen: &Seen) -> Option<&AskedRestart> {
    overviews(seen).map(|told| &told.restart).max_by_key(|restart| restart.number)
}

fn asked_to_wait(seen: &Seen) -> bool {
    asked_for(seen).is_some_and(|restart| restart.when == RestartWhen::Idle)
}

/// The template of what pods are to be now: of a revision that was gone back to, as it was recorded.
fn template_of(
    target: &Revision,
    seen: &Seen,
    wish: &Wish,
    template: PodTemplateSpec,
) -> Option<PodTemplateSpec> {
    if *target == wish.revision {
        return Some(template);
    }
    let recorded = seen.records.iter().find(|record| record.revision == *target);
    recorded.map(|record| record.template.clone()).or_else(|| {
        // somebody has removed the record: it may still be what is there
        let live = &seen.set.as_ref()?.spec.as_ref()?.template;
        let label = live.metadata.as_ref()?.labels.as_ref()?.get(REVISION_LABEL)?;
        (*label == target.0).then(|| live.clone())
    })
}

/// Records that nothing refers to any more.
fn forget(seen: &Seen, rolled: Option<&Rolled>) -> Vec<String> {
    let Some(rolled) = rolled else { return Vec::new() };
    let runs: Vec<Revision> = seen.pods.iter().filter_map(crate::pods::revision).collect();
    let mut used: Vec<&Revision> = runs.iter().collect();
    used.extend([&rolled.note.good, &rolled.note.wanted]);
    let gone = outdated(&seen.records, &used);
    gone.into_iter().map(|record| seen.owner.record(&record.revision.0)).collect()
}

/// The Secret with the keys that replicas share.
pub(crate) fn keys_name(seen: &Seen) -> String {
    crate::fetch::keys(&seen.owner, &seen.controller.spec)
}

/// Those that are missing, and never were there: once pods were made, a Secret that is gone is not made anew, but for the
/// token of the metrics, which locks nothing.
fn new_secrets(seen: &Seen, fresh: &NewSecrets) -> NewSecrets {
    let spec = &seen.controller.spec;
    let security = spec.security.clone().unwrap_or_default();
    let missing = |name: String| !seen.secrets.contains_key(&name);
    let first = seen.records.is_empty();
    let owner = &seen.owner;
    let NewSecrets { admin, keys, metrics, postgres } = fresh.clone();
    NewSecrets {
        admin: admin.filter(|_| first && security.admin_secret_ref.is_none() && missing(owner.admin())),
        keys: keys.filter(|_| first && security.keys_secret_ref.is_none() && missing(owner.keys())),
        metrics: metrics.filter(|_| missing(owner.metrics())),
        postgres: postgres.filter(|_| first && builtin(spec).is_some() && missing(owner.postgres())),
    }
}

//! Names of the objects of one kind by the controller that they belong to, so that nobody looks through those of all controllers.
//! It may name more than there is, never less: whoever asks looks each of them up.

use std::collections::{BTreeMap, BTreeSet};

use kube::runtime::watcher::Event;
use parking_lot::RwLock;

use crate::kept::Kept;
use crate::names::Owner;

type Key = (String, String);

#[derive(Default)]
pub(crate) struct Index(RwLock<BTreeMap<Key, BTreeSet<String>>>);

impl Index {
    /// What a watch brings. What has gone while nobody watched stays named.
    pub(crate) fn hear(&self, event: &Event<Kept>) {
        match event {
            Event::Apply(object) | Event::InitApply(object) => self.add(object),
            Event::Delete(object) => self.remove(object),
            Event::Init | Event::InitDone => {}
        }
    }

    pub(crate) fn add(&self, object: &Kept) {
        let Some(key) = key(object) else { return };
        self.0.write().entry(key).or_default().insert(object.name().to_owned());
    }

    fn remove(&self, object: &Kept) {
        let Some(key) = key(object) else { return };
        let mut all = self.0.write();
        if let Some(names) = all.get_mut(&key) {
            names.remove(object.name());
            if names.is_empty() {
                all.remove(&key);
            }
        }
    }

    pub(crate) fn of(&self, owner: &Owner) -> Vec<String> {
        let key = owner.key();
        self.0.read().get(&key).map(|names| names.iter().cloned().collect()).unwrap_or_default()
    }
}

fn key(object: &Kept) -> Option<Key> {
    let (namespace, name) = object.controller()?;
    Some((namespace.to_owned(), name.to_owned()))
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt;
    use kube::api::DynamicObject;

    use super::*;
    use crate::kinds::Kind;
    use crate::names::CONTROLLER_LABEL;

    fn object(name: &str, controller: &str) -> Kept {
        let mut object = DynamicObject::new(name, &Kind::Service.resource()).within("ci");
        object.labels_mut().insert(CONTROLLER_LABEL.to_owned(), controller.to_owned());
        Kept::new(Kind::Service, &object)
    }

    #[test]
    fn each_has_the_names_of_its_own() {
        let index = Index::default();
        let of = |name: &str, namespace: &str| {
            let owner = Owner { namespace: namespace.to_owned(), name: name.to_owned(), uid: String::new() };
            index.of(&owner)
        };
        for event in [Event::Init, Event::InitApply(object("a", "acme")), Event::InitDone] {
            index.hear(&event);
        }
        index.hear(&Event::Apply(object("b", "acme")));
        index.hear(&Event::Apply(object("b", "acme")));
        index.hear(&Event::Apply(object("c", "other")));
        assert_eq!(of("acme", "ci"), ["a", "b"]);
        assert_eq!((of("other", "ci"), of("acme", "elsewhere")), (vec!["c".to_owned()], Vec::new()));
        // it is listed anew: until then what was known counts
        index.hear(&Event::Init);
        assert_eq!(of("acme", "ci"), ["a", "b"]);
        index.hear(&Event::Delete(object("a", "acme")));
        index.hear(&Event::Delete(object("c", "other")));
        assert_eq!(of("acme", "ci"), ["b"]);
        assert!(of("other", "ci").is_empty() && index.0.read().len() == 1);
    }
}

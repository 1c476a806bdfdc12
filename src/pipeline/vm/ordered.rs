//! A map that keeps the order in which keys came, as `LinkedHashMap` does.

use std::collections::HashMap;
use std::sync::Arc;

use super::value::{Ref, Value};

/// What makes two keys the same. Collections count by their content when they are put in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Null,
    Bool(bool),
    Int(i64),
    /// A number with a fraction, or a collection, as text.
    Text(u8, String),
    Str(Arc<str>),
    Ref(Ref),
}

#[derive(Debug, Clone, Default)]
pub(crate) struct OrderedMap {
    /// `None` where an entry was removed.
    entries: Vec<Option<(Key, Value, Value)>>,
    /// Never iterated, so its order does not matter.
    index: HashMap<Key, usize>,
    /// The closure of `withDefault`: what a key that is not there is given when it is read.
    pub(crate) default: Option<Value>,
}

impl PartialEq for OrderedMap {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl OrderedMap {
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Value> {
        let at = *self.index.get(key)?;
        self.entries[at].as_ref().map(|e| &e.2)
    }

    pub(crate) fn get_str(&self, key: &str) -> Option<&Value> {
        self.get(&Key::Str(Arc::from(key)))
    }

    pub(crate) fn has(&self, key: &Key) -> bool {
        self.index.contains_key(key)
    }

    pub(crate) fn put(&mut self, key: Key, shown: Value, value: Value) -> Option<Value> {
        match self.index.get(&key) {
            Some(at) => self.entries[*at].as_mut().map(|e| std::mem::replace(&mut e.2, value)),
            None => {
                self.index.insert(key.clone(), self.entries.len());
                self.entries.push(Some((key, shown, value)));
                None
            }
        }
    }

    pub(crate) fn put_str(&mut self, key: &str, value: Value) {
        let key: Arc<str> = Arc::from(key);
        self.put(Key::Str(key.clone()), Value::Str(key), value);
    }

    pub(crate) fn remove(&mut self, key: &Key) -> Option<Value> {
        let at = self.index.remove(key)?;
        let gone = self.entries[at].take().map(|e| e.2);
        if self.entries.len() > 16 && self.index.len() * 2 < self.entries.len() {
            self.entries.retain(Option::is_some);
            for (at, entry) in self.entries.iter().enumerate() {
                if let Some((key, ..)) = entry {
                    self.index.insert(key.clone(), at);
                }
            }
        }
        gone
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.index.clear();
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (&Value, &Value)> {
        self.entries.iter().flatten().map(|(_, shown, value)| (shown, value))
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (&Key, &Value, &Value)> {
        self.entries.iter().flatten().map(|(key, shown, value)| (key, shown, value))
    }
}

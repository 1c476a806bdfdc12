//! Nodes, and the links of their agents.

use model::{Millis, NodeName, ReplicaId};

use super::State;
use crate::{Answer, Error, Link, Node, Offline, Result};

impl State {
    /// The node of exactly this name.
    pub(super) fn find_node(&self, name: &NodeName) -> Option<&Node> {
        self.nodes.get(&name.key()).filter(|node| node.name == *name)
    }

    fn must_find_node(&mut self, name: &NodeName) -> Result<&mut Node> {
        let node = self.nodes.get_mut(&name.key()).filter(|node| node.name == *name);
        node.ok_or_else(|| Error::NotFound(format!("node {name}")))
    }

    pub(super) fn create_node(&mut self, node: &Node) -> Result<Answer> {
        if let Some(there) = self.nodes.get(&node.name.key()) {
            return Err(Error::Exists(format!("node {}", there.name)));
        }
        self.nodes.insert(node.name.key(), node.clone());
        Ok(Answer::Unit)
    }

    pub(super) fn configure_node(&mut self, node: &Node) -> Result<Answer> {
        let there = self.must_find_node(&node.name)?;
        *there = Node { offline: there.offline.take(), ..node.clone() };
        Ok(Answer::Unit)
    }

    pub(super) fn delete_node(&mut self, name: &NodeName) -> Result<Answer> {
        self.must_find_node(name)?;
        let key = name.key();
        if self.busy.range((key.clone(), 0)..=(key.clone(), u32::MAX)).next().is_some() {
            return Err(Error::Conflict(format!("an executor of {name} is in use")));
        }
        self.nodes.remove(&key);
        self.links.remove(&key);
        Ok(Answer::Unit)
    }

    pub(super) fn set_offline(&mut self, name: &NodeName, offline: Option<&Offline>) -> Result<Answer> {
        self.must_find_node(name)?.offline = offline.cloned();
        Ok(Answer::Unit)
    }

    pub(super) fn link_up(
        &mut self,
        node: &NodeName,
        holder: &ReplicaId,
        instance: &str,
        info: &str,
        at: Millis,
    ) -> Result<Answer> {
        self.must_find_node(node)?;
        self.must_live(holder)?;
        let number = self.links.get(&node.key()).map_or(0, |link| link.number) + 1;
        let link = Link {
            node: node.clone(),
            number,
            holder: Some(holder.clone()),
            instance: instance.to_owned(),
            since: at,
            info: info.to_owned(),
            reason: None,
        };
        self.links.insert(node.key(), link);
        Ok(Answer::Linked { number })
    }

    pub(super) fn link_down(&mut self, node: &NodeName, number: i64, reason: &str, at: Millis) -> Answer {
        match self.links.get_mut(&node.key()) {
            Some(link) if link.node == *node && link.number == number && link.holder.is_some() => {
                link.holder = None;
                link.reason = Some(reason.to_owned());
                link.since = at;
                Answer::Bool(true)
            }
            Some(_) | None => Answer::Bool(false),
        }
    }
}

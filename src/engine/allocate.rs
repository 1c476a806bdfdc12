//! Which waiting `node` step gets which executor. Pure; the store's unique keys decide in the end.

use std::collections::{BTreeMap, BTreeSet};

use model::NodeName;
use store::{Busy, Link, Node, Wait};

use crate::label::Label;

/// What a decision looks at.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Oldest first.
    pub waits: Vec<Wait>,
    pub busy: Vec<Busy>,
    pub nodes: Vec<Node>,
    /// Links whose holder is live.
    pub links: Vec<Link>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allocation {
    pub wait: Wait,
    pub node: NodeName,
    pub slot: u32,
}

/// The oldest that a free executor suits is served first; among suitable nodes the one with most free executors.
pub fn allocate(seen: &Seen) -> Vec<Allocation> {
    let linked: BTreeSet<&NodeName> = seen.links.iter().map(|l| &l.node).collect();
    let mut free: BTreeMap<&NodeName, BTreeSet<u32>> = seen
        .nodes
        .iter()
        .filter(|n| n.offline.is_none() && linked.contains(&n.name))
        .map(|n| (&n.name, (0..n.executors).collect()))
        .collect();
    for busy in &seen.busy {
        if let Some(slots) = free.get_mut(&busy.node) {
            slots.remove(&busy.slot);
        }
    }
    let mut given = Vec::new();
    for wait in &seen.waits {
        let Ok(suits) = suitable(wait.label.as_deref()) else { continue };
        let best = seen
            .nodes
            .iter()
            .filter(|n| suits(n))
            .filter_map(|n| free.get(&n.name).map(|slots| (slots.len(), n)))
            .filter(|(count, _)| *count > 0)
            .max_by_key(|(count, n)| (*count, std::cmp::Reverse(&n.name)));
        let Some((_, node)) = best else { continue };
        if let Some(slot) = free.get_mut(&node.name).and_then(BTreeSet::pop_first) {
            given.push(Allocation { wait: wait.clone(), node: node.name.clone(), slot });
        }
    }
    given
}

type Suits = Box<dyn Fn(&Node) -> bool>;

fn suitable(label: Option<&str>) -> Result<Suits, crate::label::LabelError> {
    let Some(text) = label.map(str::trim).filter(|l| !l.is_empty()) else {
        return Ok(Box::new(|node| !node.exclusive));
    };
    let label = Label::parse(text)?;
    Ok(Box::new(move |node| {
        label.matches(&|name| node.name.as_str() == name || node.labels.iter().any(|l| l == name))
    }))
}

/// Whether no executor would suit a `node` step even if all were free.
pub fn stuck(wait: &Wait, seen: &Seen) -> bool {
    let Ok(suits) = suitable(wait.label.as_deref()) else { return true };
    let linked: BTreeSet<&NodeName> = seen.links.iter().map(|l| &l.node).collect();
    let online = |n: &Node| n.offline.is_none() && linked.contains(&n.name);
    !seen.nodes.iter().any(|n| n.executors > 0 && suits(n) && online(n))
}

/// Why a `node` step waits, in the words of Jenkins.
pub fn why(wait: &Wait, seen: &Seen) -> String {
    let Some(text) = wait.label.as_deref().map(str::trim).filter(|l| !l.is_empty()) else {
        return "Waiting for next available executor".to_owned();
    };
    let suits = match suitable(Some(text)) {
        Ok(suits) => suits,
        Err(error) => return error.to_string(),
    };
    let nodes: Vec<&Node> = seen.nodes.iter().filter(|n| suits(n)).collect();
    let linked: BTreeSet<&NodeName> = seen.links.iter().map(|l| &l.node).collect();
    let online = |n: &&Node| n.offline.is_none() && linked.contains(&n.name);
    match nodes.as_slice() {
        [] => format!("There are no nodes with the label ‘{text}’"),
        all if !all.iter().any(online) => format!("All nodes of label ‘{text}’ are offline"),
        _ => format!("Waiting for next available executor on ‘{text}’"),
    }
}

#[cfg(test)]
mod tests {
    use model::{BuildId, JobName, Millis};

    use super::*;

    fn node(name: &str, executors: u32, labels: &[&str]) -> Node {
        Node {
            name: NodeName::parse(name).unwrap(),
            description: String::new(),
            executors,
            labels: labels.iter().map(|l| (*l).to_owned()).collect(),
            exclusive: false,
            remote_fs: "/w".into(),
            offline: None,
            config: String::new(),
        }
    }

    fn link(name: &str) -> Link {
        let node = NodeName::parse(name).unwrap();
        Link {
            node,
            number: 1,
            holder: None,
            instance: "i".into(),
            since: Millis(0),
            info: String::new(),
            reason: None,
        }
    }

    fn wait(id: i64, label: Option<&str>) -> Wait {
        let (job, label) = (JobName::parse("j").unwrap(), label.map(ToOwned::to_owned));
        Wait { id, build: BuildId(id), job, number: 1, step: "0".into(), label, since: Millis(id) }
    }

    fn given(seen: &Seen) -> Vec<(i64, String, u32)> {
        allocate(seen).into_iter().map(|a| (a.wait.id, a.node.to_string(), a.slot)).collect()
    }

    #[test]
    fn the_oldest_that_fits_is_served_first() {
        let seen = Seen {
            waits: vec![wait(1, Some("mac")), wait(2, Some("linux")), wait(3, None)],
            nodes: vec![node("a", 1, &["linux"]), node("b", 1, &[])],
            links: vec![link("a"), link("b")],
            ..Seen::default()
        };
        assert_eq!(given(&seen), [(2, "a".into(), 0), (3, "b".into(), 0)]);
        assert_eq!(why(&seen.waits[0], &seen), "There are no nodes with the label ‘mac’");
        assert_eq!(seen.waits.iter().map(|w| stuck(w, &seen)).collect::<Vec<_>>(), [true, false, false]);
    }

    #[test]
    fn a_node_that_is_offline_exclusive_or_without_link_gets_nothing_that_it_should_not() {
        let mut only = node("only", 2, &["gpu"]);
        only.exclusive = true;
        let mut off = node("off", 9, &[]);
        off.offline = Some(store::Offline { reason: String::new(), by: String::new(), at: Millis(0) });
        let seen = Seen {
            waits: vec![wait(1, None), wait(2, Some("gpu"))],
            nodes: vec![only, off, node("unlinked", 9, &[])],
            links: vec![link("only"), link("off")],
            ..Seen::default()
        };
        assert_eq!(given(&seen), [(2, "only".into(), 0)]);
    }

    #[test]
    fn an_executor_in_use_is_not_given_twice() {
        let job = JobName::parse("j").unwrap();
        let busy = Busy {
            node: NodeName::parse("a").unwrap(),
            slot: 0,
            build: BuildId(9),
            job,
            number: 1,
            step: "0".into(),
        };
        let seen = Seen {
            waits: vec![wait(1, None), wait(2, None), wait(3, None)],
            busy: vec![busy],
            nodes: vec![node("a", 3, &[])],
            links: vec![link("a")],
        };
        assert_eq!(given(&seen), [(1, "a".into(), 1), (2, "a".into(), 2)]);
    }
}

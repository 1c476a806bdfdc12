//! Which waiting `node` step gets which executor. Pure; the store's unique keys decide in the end.

use std::collections::{BTreeSet, HashMap, HashSet};

use model::NodeName;
use store::{Link, Node, Wait};

use crate::label::Label;

/// What tells why a `node` step waits.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Oldest first.
    pub waits: Vec<Wait>,
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

/// The executors that may be given.
#[derive(Debug)]
pub struct Free<'a> {
    nodes: Vec<(&'a Node, BTreeSet<u32>)>,
    /// How many in all.
    left: usize,
    /// Which of them suit a label.
    suitable: HashMap<String, Vec<usize>>,
    /// Which of them have a name or label, once one was asked for: thousands of nodes may each be waited for by name.
    named: Option<HashMap<&'a str, Vec<usize>>>,
}

impl<'a> Free<'a> {
    /// `links` are those whose holder is live, `slots` the executors in use.
    pub fn of(nodes: &'a [Node], links: &[Link], slots: &[(NodeName, u32)]) -> Free<'a> {
        let linked: HashSet<&NodeName> = links.iter().map(|link| &link.node).collect();
        let mut used: HashMap<&NodeName, BTreeSet<u32>> = HashMap::new();
        for (node, slot) in slots {
            used.entry(node).or_default().insert(*slot);
        }
        let free = |node: &Node| {
            let used = used.get(&node.name);
            (0..node.executors).filter(|slot| used.is_none_or(|used| !used.contains(slot))).collect()
        };
        let may = nodes.iter().filter(|node| node.offline.is_none() && linked.contains(&node.name));
        let nodes: Vec<(&Node, BTreeSet<u32>)> = may
            .map(|node| (node, free(node)))
            .filter(|(_, free): &(_, BTreeSet<u32>)| !free.is_empty())
            .collect();
        let left = nodes.iter().map(|(_, free)| free.len()).sum();
        Free { nodes, left, suitable: HashMap::new(), named: None }
    }

    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// How many suit this label (empty: none is named). No more `node` steps of it have to be looked at.
    pub fn count(&mut self, label: &str) -> u32 {
        self.know(label);
        let free = |at: &usize| self.nodes.get(*at).map_or(0, |(_, free)| free.len());
        self.suitable(label).iter().map(free).sum::<usize>().try_into().unwrap_or(u32::MAX)
    }

    /// Takes one of the node with most of them; the first by name among equals.
    pub(crate) fn take(&mut self, label: &str) -> Option<(NodeName, u32)> {
        self.know(label);
        let free = |at: &usize| self.nodes.get(*at).map_or(0, |(_, free)| free.len());
        let best = self.suitable(label).iter().copied().max_by_key(|at| {
            (free(at), std::cmp::Reverse(self.nodes.get(*at).map(|(node, _)| &node.name)))
        })?;
        let (node, free) = self.nodes.get_mut(best)?;
        let slot = free.pop_first()?;
        self.left -= 1;
        Some((node.name.clone(), slot))
    }

    /// Which suit a label that is known.
    fn suitable(&self, label: &str) -> &[usize] {
        self.suitable.get(label).map_or(&[], Vec::as_slice)
    }

    /// Finds out which suit a label.
    fn know(&mut self, label: &str) {
        if self.suitable.contains_key(label) {
            return;
        }
        let suit = match Label::parse(label) {
            Ok(Label::Name(name)) => self.named().get(name.as_str()).cloned().unwrap_or_default(),
            _ => {
                let all = self.nodes.iter().enumerate();
                match suitable(Some(label)) {
                    Ok(suits) => all.filter(|(_, (node, _))| suits(node)).map(|(at, _)| at).collect(),
                    // The step was told that its label says nothing.
                    Err(_) => Vec::new(),
                }
            }
        };
        self.suitable.insert(label.to_owned(), suit);
    }

    fn named(&mut self) -> &HashMap<&'a str, Vec<usize>> {
        let nodes = &self.nodes;
        self.named.get_or_insert_with(|| {
            let mut named: HashMap<&'a str, Vec<usize>> = HashMap::new();
            for (at, (node, _)) in nodes.iter().enumerate() {
                let node: &'a Node = node;
                let names: BTreeSet<&'a str> =
                    node.labels.iter().map(String::as_str).chain([node.name.as_str()]).collect();
                names.into_iter().for_each(|name| named.entry(name).or_default().push(at));
            }
            named
        })
    }
}

/// The oldest that a free executor suits is served first; `waits` are in that order.
pub fn allocate(waits: Vec<Wait>, mut free: Free<'_>) -> Vec<Allocation> {
    let given = |wait: Wait| {
        let (node, slot) = free.take(wait.label.as_deref().unwrap_or_default())?;
        Some(Allocation { wait, node, slot })
    };
    waits.into_iter().filter_map(given).collect()
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

/// Whether no executor would suit what waits for this label even if all were free.
pub fn stuck(label: Option<&str>, seen: &Seen) -> bool {
    let Ok(suits) = suitable(label) else { return true };
    let linked: BTreeSet<&NodeName> = seen.links.iter().map(|l| &l.node).collect();
    let online = |n: &Node| n.offline.is_none() && linked.contains(&n.name);
    !seen.nodes.iter().any(|n| n.executors > 0 && suits(n) && online(n))
}

/// Why something waits for this label, in the words of Jenkins.
pub fn why(label: Option<&str>, seen: &Seen) -> String {
    let Some(text) = label.map(str::trim).filter(|l| !l.is_empty()) else {
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

    fn given(seen: &Seen, slots: &[(NodeName, u32)]) -> Vec<(i64, String, u32)> {
        let free = Free::of(&seen.nodes, &seen.links, slots);
        let given = allocate(seen.waits.clone(), free);
        given.into_iter().map(|a| (a.wait.id, a.node.to_string(), a.slot)).collect()
    }

    #[test]
    fn the_oldest_that_fits_is_served_first() {
        let seen = Seen {
            waits: vec![wait(1, Some("mac")), wait(2, Some("linux")), wait(3, None)],
            nodes: vec![node("a", 1, &["linux"]), node("b", 1, &[])],
            links: vec![link("a"), link("b")],
        };
        assert_eq!(given(&seen, &[]), [(2, "a".into(), 0), (3, "b".into(), 0)]);
        assert_eq!(why(seen.waits[0].label.as_deref(), &seen), "There are no nodes with the label ‘mac’");
        assert_eq!(
            seen.waits.iter().map(|w| stuck(w.label.as_deref(), &seen)).collect::<Vec<_>>(),
            [true, false, false]
        );
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
        };
        assert_eq!(given(&seen, &[]), [(2, "only".into(), 0)]);
        let mut free = Free::of(&seen.nodes, &seen.links, &[]);
        assert_eq!(["gpu", "only", "", "mac"].map(|label| free.count(label)), [2, 2, 0, 0]);
    }

    #[test]
    fn a_name_and_the_expression_of_it_mean_the_same_nodes() {
        let seen = Seen {
            waits: Vec::new(),
            nodes: vec![node("a", 1, &["linux", "a"]), node("b", 2, &["linux"]), node("linux", 3, &[])],
            links: vec![link("a"), link("b"), link("linux")],
        };
        let mut free = Free::of(&seen.nodes, &seen.links, &[]);
        for name in ["a", "b", "linux", "mac"] {
            assert_eq!(free.count(name), free.count(&format!("!!{name}")), "{name}");
        }
        assert_eq!(["a", " linux "].map(|label| free.count(label)), [1, 6]);
    }

    #[test]
    fn an_executor_in_use_is_not_given_twice() {
        let seen = Seen {
            waits: vec![wait(1, None), wait(2, None), wait(3, None)],
            nodes: vec![node("a", 3, &[])],
            links: vec![link("a")],
        };
        let busy = [(seen.nodes[0].name.clone(), 0)];
        assert_eq!(given(&seen, &busy), [(1, "a".into(), 1), (2, "a".into(), 2)]);
    }
}

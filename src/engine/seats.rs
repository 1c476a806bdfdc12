//! Executors that are free, for builds that begin with one and for `node` steps: who is there first, and what the build is told.

use std::collections::{BTreeMap, VecDeque};

use config::Definition;
use model::{JobName, NodeName};
use pipeline::act::Granted;
use remoting::native::AgentInfo;
use store::{Executor, Link, Node, QueueItem, Wait};

use crate::allocate::Free;
use crate::inbox::{self, Delivery};
use crate::service::Shared;

/// Bytes of an agent's environment that a build sees.
const MAX_ENV: usize = 24 * 1024;
/// Where a Freestyle build runs: it stays in the queue until it can begin there.
#[derive(Clone)]
pub(crate) struct Place {
    label: Option<String>,
    custom_workspace: Option<String>,
}

/// A Pipeline asks for executors when it runs; a Freestyle job that can't run needs none to say so.
pub(crate) fn place(definition: &Definition) -> Option<Place> {
    match definition {
        Definition::Freestyle(job) if job.unfit().is_none() => Some(Place {
            label: job.steps.label.clone(),
            custom_workspace: job.steps.custom_workspace.clone(),
        }),
        Definition::Freestyle(_) | Definition::None | Definition::Script { .. } | Definition::Scm { .. } => {
            None
        }
    }
}

/// The executors that builds of Freestyle jobs may begin on, and the `node` steps that wait for them too.
pub(crate) struct Seats {
    nodes: Vec<Node>,
    links: Vec<Link>,
    slots: Vec<(NodeName, u32)>,
    /// Oldest first.
    waits: VecDeque<Wait>,
}

pub(crate) struct FreeSeats<'a> {
    nodes: &'a [Node],
    links: &'a [Link],
    free: Free<'a>,
    waits: VecDeque<Wait>,
}

impl Seats {
    pub(crate) async fn look(shared: &Shared) -> Result<Seats, store::Error> {
        let (nodes, links, slots) = executors(shared).await?;
        let labels = shared.store.wait_labels().await?;
        let waits = first_waits(shared, labels, &mut Free::of(&nodes, &links, &slots)).await?;
        Ok(Seats { nodes, links, slots, waits: waits.into() })
    }

    pub(crate) fn free(&self) -> FreeSeats<'_> {
        let free = Free::of(&self.nodes, &self.links, &self.slots);
        FreeSeats { nodes: &self.nodes, links: &self.links, free, waits: self.waits.clone() }
    }
}

impl FreeSeats<'_> {
    /// Whether nothing is left for the item, after what `node` steps get that have waited for longer.
    pub(crate) fn none_for(&mut self, item: &QueueItem) -> bool {
        while let Some(wait) = self.waits.pop_front_if(|wait| wait.since <= item.buildable_at) {
            let _theirs = self.free.take(wait.label.as_deref().unwrap_or_default());
        }
        self.free.is_empty()
    }

    /// One for a build that begins.
    pub(crate) fn take(&mut self, item: &QueueItem, place: &Place) -> Option<Executor> {
        let (name, slot) = self.free.take(place.label.as_deref().unwrap_or_default())?;
        let node = self.nodes.iter().find(|node| node.name == name)?;
        let link = self.links.iter().find(|link| link.node == name)?;
        let granted = granted(&item.job, slot, node, link, place.custom_workspace.as_deref());
        let body = inbox::text(&Delivery::Granted { step: Executor::STEP.to_owned(), granted });
        Some(Executor { node: name, slot, body })
    }
}

/// Thousands of `node` steps may wait; of each label, no more than there are executors can get one. Oldest first.
pub(crate) async fn first_waits(
    shared: &Shared,
    labels: Vec<String>,
    free: &mut Free<'_>,
) -> Result<Vec<Wait>, store::Error> {
    let mut waits = Vec::new();
    for label in labels {
        let most = free.count(&label);
        if most > 0 {
            waits.append(&mut shared.store.first_waits(&label, most).await?);
        }
    }
    waits.sort_by_key(|wait| wait.id);
    Ok(waits)
}

/// All nodes, the links whose holder is live, and the executors that are taken.
pub(crate) async fn executors(
    shared: &Shared,
) -> Result<(Vec<Node>, Vec<Link>, Vec<(NodeName, u32)>), store::Error> {
    tokio::try_join!(shared.store.nodes(), live_links(shared), shared.store.slots())
}

/// The links whose holder is live.
pub(crate) async fn live_links(shared: &Shared) -> Result<Vec<Link>, store::Error> {
    let mut links = shared.store.links().await?;
    let view = shared.cluster.view().borrow().clone();
    links.retain(|link| link.holder.as_ref().is_some_and(|holder| view.live(holder.incarnation)));
    Ok(links)
}

pub(crate) fn granted(
    job: &JobName,
    slot: u32,
    node: &Node,
    link: &Link,
    custom_workspace: Option<&str>,
) -> Granted {
    let info: AgentInfo = serde_json::from_str(&link.info).unwrap_or_default();
    let root = if node.remote_fs.is_empty() { &info.work_dir } else { &node.remote_fs };
    let separator = if info.unix { '/' } else { '\\' };
    let root = root.trim_end_matches(['/', '\\']);
    let workspace = match custom_workspace {
        Some(path) if path.starts_with(['/', '\\']) || path.chars().nth(1) == Some(':') => path.to_owned(),
        Some(path) => format!("{root}{separator}{path}"),
        None => {
            let folder = job.as_str().replace('/', &separator.to_string());
            // Each executor has a workspace of its own, so that builds at once do not meet.
            let own = if slot > 0 { format!("@{}", slot + 1) } else { String::new() };
            format!("{root}{separator}workspace{separator}{folder}{own}")
        }
    };
    let mut room = MAX_ENV;
    let mut env: BTreeMap<String, String> = info
        .env
        .into_iter()
        .take_while(|(name, value)| {
            room = room.saturating_sub(name.len() + value.len() + 8);
            room > 0
        })
        .collect();
    env.insert(crate::INSTANCE_ENV.to_owned(), link.instance.clone());
    let labels = node.labels.iter().cloned().chain([node.name.to_string()]).collect();
    Granted { node: node.name.to_string(), executor: slot, workspace, unix: info.unix, labels, env }
}

#[cfg(test)]
mod tests {
    use model::{BuildId, Millis, QueueId};
    use store::ItemKind;

    use super::*;

    fn seats(executors: u32, waits: &[i64]) -> Seats {
        let name = || NodeName::parse("linux").unwrap();
        let node = Node {
            name: name(),
            description: String::new(),
            executors,
            labels: vec!["fast".to_owned()],
            exclusive: false,
            remote_fs: "/r/".to_owned(),
            offline: None,
            config: String::new(),
        };
        let info = AgentInfo { unix: true, ..AgentInfo::default() };
        let link = Link {
            node: name(),
            number: 1,
            holder: None,
            instance: "i".to_owned(),
            since: Millis(0),
            info: serde_json::to_string(&info).unwrap(),
            reason: None,
        };
        let wait = |since: &i64| Wait {
            id: *since,
            build: BuildId(*since),
            job: JobName::parse("p").unwrap(),
            number: 1,
            step: "0".to_owned(),
            label: None,
            since: Millis(*since),
        };
        Seats {
            nodes: vec![node],
            links: vec![link],
            slots: Vec::new(),
            waits: waits.iter().map(wait).collect(),
        }
    }

    fn item(buildable_at: i64) -> QueueItem {
        QueueItem {
            id: QueueId(1),
            job: JobName::parse("team/free").unwrap(),
            kind: ItemKind::Freestyle,
            params: BTreeMap::new(),
            causes: Vec::new(),
            since: Millis(0),
            buildable_at: Millis(buildable_at),
            left: None,
        }
    }

    fn place(label: Option<&str>, custom_workspace: Option<&str>) -> Place {
        let text = |text: Option<&str>| text.map(str::to_owned);
        Place { label: text(label), custom_workspace: text(custom_workspace) }
    }

    fn workspace(executor: &Executor) -> String {
        match serde_json::from_str(&executor.body).unwrap() {
            Delivery::Granted { step, granted } => {
                assert_eq!((step.as_str(), granted.executor), ("0", executor.slot));
                granted.workspace
            }
            Delivery::Abort { .. } => panic!("a grant"),
        }
    }

    #[test]
    fn a_node_step_that_has_waited_for_longer_is_served_first() {
        let seats = seats(3, &[5, 20]);
        let mut free = seats.free();
        assert!(!free.none_for(&item(10)));
        let first = free.take(&item(10), &place(None, None)).unwrap();
        assert_eq!((first.node.as_str(), first.slot), ("linux", 1), "the step of 5 has the first executor");
        assert!(free.take(&item(10), &place(Some("slow"), None)).is_none());
        assert!(free.none_for(&item(30)), "the step of 20 gets the last");
        assert!(free.take(&item(30), &place(None, None)).is_none());
    }

    #[test]
    fn a_workspace_is_the_executors_or_the_jobs_own_choice() {
        let seats = seats(5, &[]);
        let mut free = seats.free();
        for (custom, wanted) in [
            (None, "/r/workspace/team/free"),
            (None, "/r/workspace/team/free@2"),
            (Some("shared/$X"), "/r/shared/$X"),
            (Some("/abs"), "/abs"),
            (Some("C:\\abs"), "C:\\abs"),
        ] {
            let executor = free.take(&item(1), &place(Some("fast"), custom)).unwrap();
            assert_eq!(workspace(&executor), wanted);
        }
    }
}

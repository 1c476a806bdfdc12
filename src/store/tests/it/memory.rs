//! What only the memory store can be asked: limits that take long elsewhere, and what holds after any writes.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use model::{
    BuildId, BuildResult, Fence, JobName, Millis, NodeName, QueueId, ReplicaId, ReplicaName, ReplicaState,
};
use store::contract::support::{a_node, chunk, join_as, link_up, want};
use store::memory::State;
use store::{Answer, Effect, Enqueue, Error, ItemKind, Load, MAX_QUEUE, MAX_RECORDS, Progress, Write};

fn create(item: &str, kind: ItemKind) -> Write {
    Write::CreateItem {
        name: JobName::parse(item).unwrap(),
        kind,
        config: String::new(),
        disabled: false,
        at: Millis(1),
    }
}

#[test]
fn a_full_queue_takes_no_new_item_but_folds_equal_ones() {
    let mut state = State::new();
    state.apply(&create("app", ItemKind::Pipeline)).unwrap();
    let item = |n: u64| {
        let params = BTreeMap::from([("n".to_owned(), model::ParamValue::Text(n.to_string()))]);
        Write::Enqueue(Enqueue { params, ..want("app") })
    };
    for n in 0..MAX_QUEUE {
        state.apply(&item(n)).unwrap();
    }
    assert!(matches!(state.apply(&item(MAX_QUEUE)), Err(Error::Limit(_))));
    assert!(matches!(state.apply(&item(7)), Ok(Answer::Queued { existing: true, .. })));
    state.apply(&Write::CancelQueued { id: QueueId(1), at: Millis(1) }).unwrap();
    assert!(matches!(state.apply(&item(MAX_QUEUE)), Ok(Answer::Queued { existing: false, .. })));
}

#[test]
fn a_journal_may_be_filled_to_its_limit() {
    let mut state = State::new();
    state.apply(&create("app", ItemKind::Pipeline)).unwrap();
    state.apply(&Write::Join(join_as("r-0", 0))).unwrap();
    state.apply(&Write::Enqueue(want("app"))).unwrap();
    let owner = ReplicaId { name: ReplicaName::parse("r-0").unwrap(), incarnation: 1 };
    let take = Write::TakeBuild {
        id: QueueId(1),
        owner,
        exclusive: false,
        behaviour: 1,
        at: Millis(1),
        executor: None,
    };
    state.apply(&take).unwrap();
    let some = |seq: i64, first_record: i64, records: i64| {
        Write::Progress(Box::new(Progress {
            build: BuildId(1),
            owner: 1,
            fence: Fence::first(1),
            seq,
            first_record,
            records: vec![Bytes::new(); usize::try_from(records).unwrap()],
            chunks: vec![],
            log_end: 0,
            effects: vec![],
        }))
    };
    assert_eq!(state.apply(&some(0, 0, MAX_RECORDS - 1)), Ok(Answer::Unit));
    assert!(matches!(state.apply(&some(1, MAX_RECORDS - 1, 2)), Err(Error::Limit(_))));
    assert_eq!(state.apply(&some(1, MAX_RECORDS - 1, 1)), Ok(Answer::Unit));
    assert!(matches!(state.apply(&some(2, MAX_RECORDS, 1)), Err(Error::Limit(_))));
    assert_eq!(state.apply(&some(2, MAX_RECORDS, 0)), Ok(Answer::Unit));
}

/// Writes drawn from a small world, so that most of them meet each other. The same seed gives the same ones.
struct Draw(u64);

impl Draw {
    /// A number below `n` (splitmix64).
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as u64)).unwrap()].clone()
    }

    fn small(&mut self, n: u64) -> i64 {
        i64::try_from(self.below(n)).unwrap()
    }

    fn job(&mut self) -> JobName {
        let name = self.of(&["a", "a", "A", "f", "f/a", "f/b", "f/g", "f/g/c", "none/x"]);
        JobName::parse(name).unwrap()
    }

    fn node(&mut self) -> NodeName {
        NodeName::parse(self.of(&["mac", "linux", "Mac"])).unwrap()
    }

    /// Mostly a member that is there.
    fn replica(&mut self, state: &State) -> ReplicaId {
        let members = state.members();
        if members.is_empty() || self.below(10) == 0 {
            let name = ReplicaName::parse(self.of(&["r-0", "r-1", "r-2"])).unwrap();
            return ReplicaId { name, incarnation: 1 + self.small(9) };
        }
        self.of(&members).id
    }

    fn cluster(&mut self, state: &State) -> Write {
        let me = self.replica(state);
        let at = Millis(self.small(1_000));
        let leases = state.leases();
        match self.below(9) {
            0 => Write::Join(join_as(self.of(&["r-0", "r-1", "r-2"]), 0)),
            1..=3 => Write::Beat { me, load: Load::default() },
            4 => Write::SetState { me, state: self.of(&ReplicaState::ALL), at },
            5 => Write::Lapse { who: me, beat: self.of(&[None, Some(0), Some(1)]), at },
            6 => {
                let seen = leases.first().map(|l| l.fence).filter(|_| self.below(4) > 0);
                Write::AcquireLease { lease: "cron".into(), me, seen, at }
            }
            7 => {
                let fence = leases.first().map_or(Fence::first(1), |l| l.fence);
                Write::ReleaseLease { lease: "cron".into(), me, fence }
            }
            _ => Write::NoteFailover { lost: me.incarnation, adopted_at: Some(at), resumed_at: None },
        }
    }

    fn items(&mut self, state: &State) -> Write {
        let (name, disabled) = (self.job(), self.below(6) == 0);
        let node = store::Node { name: self.node(), ..a_node("x", 2) };
        match self.below(12) {
            0..=2 => {
                let folder = matches!(name.as_str(), "f" | "f/g");
                let kind = if folder { ItemKind::Folder } else { ItemKind::Pipeline };
                Write::CreateItem { name, kind, config: String::new(), disabled, at: Millis(1) }
            }
            3 => Write::ConfigureItem { name, config: "<x/>".into(), disabled },
            4 if self.below(4) == 0 => Write::DeleteItem { name },
            4 => Write::RenameItem { name, to: self.job() },
            5 => Write::CreateNode(node),
            6 => Write::ConfigureNode(node),
            7 if self.below(4) == 0 => Write::DeleteNode { name: node.name },
            8 => Write::LinkDown {
                node: node.name,
                number: self.small(5),
                reason: String::new(),
                at: Millis(1),
            },
            9 => Write::RaiseEpoch { above: u32::try_from(self.below(3)).unwrap() },
            _ => link_up(node.name.as_str(), &self.replica(state)),
        }
    }

    fn queue(&mut self, state: &State) -> Write {
        let id = QueueId(self.small(60) + 1);
        let waiting = state.queue();
        let id = if waiting.is_empty() || self.below(4) == 0 { id } else { self.of(&waiting).id };
        match self.below(10) {
            0..=3 => Write::Enqueue(Enqueue { job: self.job(), ..want("a") }),
            4 => Write::CancelQueued { id, at: Millis(self.small(1_000)) },
            5 => Write::ForgetLeft { before: Millis(self.small(1_000)) },
            _ => {
                let (owner, exclusive) = (self.replica(state), self.below(3) == 0);
                Write::TakeBuild {
                    id,
                    owner,
                    exclusive,
                    behaviour: 1,
                    at: Millis(self.small(1_000)),
                    executor: None,
                }
            }
        }
    }

    fn running(&mut self, state: &State) -> Write {
        let running = state.running(None);
        if running.is_empty() {
            return self.queue(state);
        }
        let row = self.of(&running);
        match self.below(10) {
            0 => {
                let wait = state.waits().first().map_or(1, |w| w.id);
                let slot = u32::try_from(self.below(3)).unwrap();
                Write::Grant { wait, node: self.node(), slot, body: String::new() }
            }
            1 => Write::Adopt { build: row.build, seen: row.fence, owner: self.replica(state) },
            2 => Write::Deliver { build: row.build, key: self.of(&["x", "y"]).into(), body: String::new() },
            3 => {
                let (job, number) = (self.job(), self.below(5) + 1);
                Write::KeepBuild { job, number, keep: self.below(5) == 0 }
            }
            4 => Write::DeleteBuild { job: self.job(), number: self.below(5) + 1, build: None },
            _ => self.progress(state, &row),
        }
    }

    fn progress(&mut self, state: &State, row: &store::Running) -> Write {
        let step = self.of(&["1", "2"]).to_owned();
        let object = format!("o/{}/{}", row.build, self.below(6));
        let effect = match self.below(10) {
            0 => Effect::Source { hash: self.of(&["h1", "h2"]).into(), text: "text".into() },
            1 | 2 => Effect::WaitNode { step, label: None, since: Millis(1) },
            3 => Effect::CancelWait { step },
            4 => Effect::ReleaseExecutor { step },
            5 => Effect::Consume { key: self.of(&["x", "y", "granted:1"]).into() },
            6 => Effect::Artifact { path: object.clone(), size: 1, object },
            7 => Effect::Stash { name: object.clone(), size: 1, object: format!("{object}/s") },
            _ => Effect::Finish {
                result: self.of(&BuildResult::ALL),
                at: Millis(self.small(1_000)),
                archive: self.below(2) == 0,
            },
        };
        let gap = u64::from(self.below(8) == 0);
        Write::Progress(Box::new(Progress {
            build: row.build,
            owner: row.owner,
            fence: row.fence,
            seq: row.seq - i64::from(self.below(8) == 0),
            first_record: i64::try_from(state.journal(row.build, 0).len()).unwrap(),
            records: vec![Bytes::from_static(b"r")],
            chunks: vec![chunk(row.log_end + gap, "1", 0, "line\n")],
            log_end: row.log_end + 5,
            effects: vec![effect],
        }))
    }

    fn write(&mut self, state: &State) -> Write {
        match self.below(10) {
            0 | 1 => self.cluster(state),
            2 | 3 => self.items(state),
            4 | 5 => self.queue(state),
            _ => self.running(state),
        }
    }
}

#[test]
fn whatever_is_written_a_refusal_changes_nothing_and_the_rows_agree() {
    for seed in 0..8 {
        let (mut draw, mut state, mut fences) = (Draw(seed), State::new(), BTreeMap::new());
        let (mut done, mut refused) = (0, 0);
        for _ in 0..3_000 {
            let write = draw.write(&state);
            let before = state.clone();
            match state.apply(&write) {
                Ok(Answer::Bool(false)) | Err(_) => {
                    assert!(state == before, "seed {seed}: {write:?} changed something");
                    refused += 1;
                }
                Ok(answer) => {
                    assert_eq!(before.clone().apply(&write), Ok(answer.clone()), "seed {seed}: {write:?}");
                    repeat(&mut state, &write, &answer);
                    done += 1;
                }
            }
            rows_agree(&state, &mut fences);
        }
        assert!(done > 500 && refused > 500, "seed {seed}: {done} done, {refused} refused");
    }
}

/// Those that an owner repeats when it does not know the outcome.
fn repeat(state: &mut State, write: &Write, answer: &Answer) {
    let before = state.clone();
    match write {
        Write::TakeBuild { .. } | Write::Adopt { .. } => assert_eq!(state.apply(write).as_ref(), Ok(answer)),
        Write::Progress(_) if state.apply(write) == Ok(Answer::Unit) => {}
        Write::Progress(p) => assert!(!state.running(None).iter().any(|row| row.build == p.build)),
        _ => return,
    }
    assert!(*state == before, "{write:?} once more changed something");
}

/// What must hold between the rows, whatever was written.
fn rows_agree(state: &State, fences: &mut BTreeMap<BuildId, (Fence, i64)>) {
    let running = state.running(None);
    let by_build: BTreeSet<BuildId> = running.iter().map(|row| row.build).collect();
    for row in &running {
        let build = state.build_by_id(row.build).unwrap();
        assert!(build.building() && build.log_end == row.log_end && build.number == row.number);
        let now = (row.fence, row.seq);
        let before = fences.insert(row.build, now).unwrap_or(now);
        assert!(now.0 >= before.0 && now.1 >= before.1, "fence or seq of {} went back", row.build);
        let log = state.log(row.build, 0, 1 << 20).unwrap();
        assert_eq!(log.bytes.len() as u64, row.log_end);
    }
    assert!(state.waits().iter().all(|wait| by_build.contains(&wait.build)));
    assert!(
        state.busy().iter().all(|busy| by_build.contains(&busy.build) && state.node(&busy.node).is_some())
    );
    assert!(state.links().iter().all(|link| state.node(&link.node).is_some()));
    let garbage: BTreeSet<String> = state.garbage(u32::MAX).into_iter().collect();
    let mut folders = vec![None];
    while let Some(parent) = folders.pop() {
        for item in state.children(parent.as_ref(), None, u32::MAX) {
            let builds = state.builds(&item.name, None, u32::MAX);
            assert_eq!(
                builds.iter().filter(|b| b.building()).count(),
                usize::try_from(item.running).unwrap()
            );
            let newest = builds.iter().find(|b| !b.building());
            assert_eq!(item.last_result, newest.and_then(|b| b.result), "{}", item.name);
            assert!(builds.iter().all(|b| b.number < item.next_build));
            let named = builds.iter().flat_map(|b| state.artifacts(b.id, None, u32::MAX));
            assert!(named.into_iter().all(|artifact| !garbage.contains(&artifact.object)));
            folders.extend((item.kind == ItemKind::Folder).then_some(Some(item.name)));
        }
    }
    assert!(state.queue().iter().all(|queued| state.item(&queued.job).is_some()));
}

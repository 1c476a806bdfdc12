//! Starts under the lock, with a store in memory.

use std::sync::Arc;
use std::time::Duration;

use model::{Clock, Millis, ReplicaName, ReplicaState, SystemClock};
use store::{Join, Memory, Store};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::{Handle, Membership, STARTUP};

const DEADLINE: Duration = Duration::from_secs(20);

async fn join(store: &Arc<dyn Store>, ordinal: u32) -> (Handle, tokio::task::JoinHandle<crate::Lost>) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let join = Join {
        name: ReplicaName::parse(&format!("r-{ordinal}")).unwrap(),
        ordinal,
        pid: 1,
        address: String::new(),
        revision: "r".into(),
        version: "0".into(),
        level: 1,
        behaviour: 1,
        at: Millis(1),
    };
    let (membership, handle) = Membership::join(Arc::clone(store), clock, join).await.unwrap();
    (handle, tokio::spawn(membership.run()))
}

/// Waits until `here` sees the replicas in these states, and who has the lock.
async fn sees(here: &Handle, states: &[ReplicaState], holder: Option<&Handle>) {
    let mut views = here.view();
    let holder = holder.map(|holder| holder.me().clone());
    let seen = views.wait_for(|view| {
        let lock = view.leases.iter().find(|lease| lease.name == STARTUP);
        view.members.iter().map(|member| member.state).eq(states.iter().copied())
            && lock.is_some_and(|lock| lock.holder == holder)
    });
    if timeout(DEADLINE, seen).await.is_err() {
        panic!("{states:?} in vain: {:?}", here.view().borrow());
    }
}

fn begin(handle: &Handle, setup: Option<&Arc<Notify>>) -> tokio::task::JoinHandle<()> {
    let (handle, setup) = (handle.clone(), setup.cloned());
    tokio::spawn(async move {
        let start = || {
            let setup = setup.clone();
            async { Ok::<_, String>(setup.map(|until| async move { until.notified().await })) }
        };
        handle.start(start).await.unwrap();
    })
}

#[tokio::test]
async fn a_setup_keeps_the_lock_until_it_has_ended_and_the_next_follows() {
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let ((one, _one), (two, _two)) = (join(&store, 0).await, join(&store, 1).await);
    let until = Arc::new(Notify::new());
    let first = begin(&one, Some(&until));
    sees(&two, &[ReplicaState::Setup, ReplicaState::Waiting], Some(&one)).await;
    let second = begin(&two, None);
    sees(&two, &[ReplicaState::Setup, ReplicaState::Waiting], Some(&one)).await;
    assert!(!first.is_finished() && !second.is_finished());
    until.notify_one();
    timeout(DEADLINE, first).await.unwrap().unwrap();
    timeout(DEADLINE, second).await.unwrap().unwrap();
    sees(&one, &[ReplicaState::Ready, ReplicaState::Ready], None).await;
}

#[tokio::test]
async fn whoever_ends_in_the_setup_loses_the_lock_to_the_next() {
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let ((one, beats), (two, _two)) = (join(&store, 0).await, join(&store, 1).await);
    let until = Arc::new(Notify::new());
    let first = begin(&one, Some(&until));
    let second = begin(&two, Some(&until));
    sees(&two, &[ReplicaState::Setup, ReplicaState::Waiting], Some(&one)).await;
    first.abort();
    beats.abort();
    two.ended(one.me().clone(), "the test says so").await;
    sees(&two, &[ReplicaState::Stopped, ReplicaState::Setup], Some(&two)).await;
    until.notify_one();
    timeout(DEADLINE, second).await.unwrap().unwrap();
    sees(&two, &[ReplicaState::Stopped, ReplicaState::Ready], None).await;
}

//! What a replica needs that no `up` has started: programs, turns, and a service manager.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use local::Paths;
use machines::{INSTALLED_ENV, Notifier, Plan, Programs, ROLLOUT, Roller, Tell};
use model::{Clock, ReplicaState};
use resource::Span;
use store::Store;

use super::this::This;

/// A length of time, as in `spec.rollout`.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    Span::parse(text).map(|span| span.0).ok_or_else(|| "a time has the form 90s, 5m or 1h30m".to_owned())
}

/// Whether no start of this program will ever succeed here: the home was raised to a level that it does not know.
pub(super) fn outdated(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<home::OpenError>(), Some(home::OpenError::Level(_)))
}

/// What this machine runs, and what it can be told to run.
pub(super) async fn programs(paths: &Paths, store: &Arc<dyn Store>) -> Result<Arc<Programs>> {
    let installed = std::env::var_os(INSTALLED_ENV).map(PathBuf::from);
    let leases = loop {
        match store.leases().await {
            Ok(leases) => break leases,
            Err(error) if error.passing() => {
                tracing::warn!(%error, "look what is to run; waiting for the store");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(error) => return Err(anyhow!(error)).context("look what is to run"),
        }
    };
    let plan = leases.iter().find(|lease| lease.name == ROLLOUT).and_then(|lease| Plan::read(&lease.note));
    let programs = Programs::open(paths.root(), installed, plan.as_ref()).context("look what runs here")?;
    Ok(Arc::new(programs))
}

/// The replicas restart each other, unless `up` does it.
pub(super) struct Machine<'a> {
    pub(super) store: &'a Arc<dyn Store>,
    pub(super) clock: &'a Arc<dyn Clock>,
    pub(super) cluster: &'a cluster::Handle,
    pub(super) programs: Option<&'a Arc<Programs>>,
    /// `--bake`
    pub(super) bake: Option<Duration>,
}

impl Machine<'_> {
    /// Until the process ends. When this replica is the next to go, it is told to end.
    pub(super) async fn run(&self, this: &This) {
        let Some(programs) = self.programs else { return std::future::pending().await };
        let (store, clock) = (Arc::clone(self.store), Arc::clone(self.clock));
        let goes = async {
            machines::gone(self.store, self.clock, self.cluster, programs).await;
            this.end();
            std::future::pending::<()>().await;
        };
        tokio::join!(Roller::new(store, clock, self.cluster.clone(), self.bake).run(), goes);
    }
}

/// Tells the service manager what this replica does, and that its program is good once it is ready.
pub(super) async fn tell(notifier: &Notifier, this: &This, programs: Option<&Programs>) {
    let mut states = this.states();
    loop {
        let state = *states.borrow_and_update();
        match state {
            ReplicaState::Waiting | ReplicaState::Starting => {
                notifier.tell(Tell::Starting("waits for its turn to start".to_owned()));
            }
            ReplicaState::Ready | ReplicaState::Setup => {
                if let Some(Err(error)) = programs.map(Programs::ready) {
                    tracing::warn!("{error}; this program would be gone back from after some more starts");
                }
                let runs =
                    programs.map(|programs| format!("revision {}", programs.runs())).unwrap_or_default();
                let does = if state == ReplicaState::Setup { "shows the setup wizard" } else { "ready" };
                notifier.tell(Tell::Ready(format!("{does} {runs}").trim_end().to_owned()));
            }
            ReplicaState::Draining if this.ends() => notifier.tell(Tell::Stopping),
            ReplicaState::Draining => notifier.tell(Tell::Draining),
            ReplicaState::Stopped => {}
        }
        tokio::select! {
            changed = states.changed() => if changed.is_err() { return std::future::pending().await },
            () = this.ending(), if state == ReplicaState::Draining && !this.ends() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_too_old_for_a_home_at_a_level_that_it_does_not_know() {
        let too_high = model::level::usable(9, 1).unwrap_err();
        assert!(outdated(&anyhow!(home::OpenError::from(too_high)).context("open the home")));
        assert!(!outdated(&anyhow!(home::OpenError::Url("x".to_owned()))));
    }
}

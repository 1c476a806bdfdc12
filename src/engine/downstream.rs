//! The jobs that a build triggers.

use std::collections::BTreeSet;
use std::time::Duration;

use model::{BuildId, Cause, JobName};
use store::{Enqueue, Item};

use crate::commands::defaults;
use crate::definition::{effective, fits, job_config, scm};
use crate::driver::{Downstream, Fate};
use crate::service::Shared;

/// So long a job that says none waits for more that trigger it, as everything in Jenkins does: one build is for all of them,
/// and jobs that trigger each other in a circle do not spin.
const QUIET: Duration = Duration::from_secs(5);

/// Looks for jobs by their names as the job of the build writes them.
pub(crate) async fn find(
    shared: &Shared,
    build: BuildId,
    names: &[String],
) -> Result<Vec<Downstream>, store::Error> {
    let of = shared.store.build_by_id(build).await?;
    // Its name may be newer than the one it began under.
    let of = of.ok_or_else(|| store::Error::NotFound(format!("the build {build}")))?;
    let cause = Cause::Upstream { job: of.job.to_string(), number: of.number };
    let mut found = Vec::with_capacity(names.len());
    let mut seen = BTreeSet::new();
    for name in names {
        found.push(match item(shared, &of.job, name).await? {
            // told once, as it is enqueued once
            Some(item) if !seen.insert(item.summary.name.clone()) => continue,
            Some(item) => {
                let shown = item.summary.name.as_str().replace('/', " » ");
                Downstream { name: shown, fate: fate(shared, item, &cause).await }
            }
            None => refused(name, "there is no such job"),
        });
    }
    Ok(found)
}

/// What became of jobs that can't be looked for.
pub(crate) fn unknown(names: &[String], error: &store::Error) -> Vec<Downstream> {
    names.iter().map(|name| refused(name, &error.to_string())).collect()
}

fn refused(name: &str, why: &str) -> Downstream {
    Downstream { name: name.to_owned(), fate: Fate::Refused(why.to_owned()) }
}

async fn item(shared: &Shared, job: &JobName, name: &str) -> Result<Option<Item>, store::Error> {
    for name in job.seen_from(name) {
        if let Some(item) = shared.store.item(&name).await? {
            return Ok(Some(item));
        }
    }
    Ok(None)
}

async fn fate(shared: &Shared, item: Item, cause: &Cause) -> Fate {
    if item.summary.disabled {
        return Fate::Disabled;
    }
    let config = match job_config(&item.config) {
        Ok(config) => config,
        Err(why) => return Fate::Refused(why),
    };
    let params = match defaults(&effective(&config, &shared.programs).await.parameters) {
        Ok(params) => params,
        Err(error) => return Fate::Refused(error.to_string()),
    };
    if let Err(why) = fits(scm(&config), &params) {
        return Fate::Refused(why);
    }
    let at = shared.clock.now();
    let quiet = config.quiet_period.map_or(QUIET, |seconds| Duration::from_secs(u64::from(seconds)));
    let causes = vec![cause.clone()];
    Fate::Builds(Enqueue { job: item.summary.name, params, causes, at, buildable_at: at.plus(quiet) })
}

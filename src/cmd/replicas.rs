//! `majordomo replicas`: who does what, as a table.

use std::process::ExitCode;

use anyhow::Result;
use local::replicas_table;

/// Show the replicas of a controller: state, lock, builds, agents, since when
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  majordomo replicas\n  \
    majordomo replicas --url http://ci.example.com/ --auth @credentials")]
pub(crate) struct ReplicasArgs {
    #[command(flatten)]
    whom: super::WhomArgs,
}

pub(crate) fn run(args: ReplicasArgs) -> Result<ExitCode> {
    let whom = args.whom.find()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let table = runtime.block_on(replicas_table(&whom))?;
    super::say(&table);
    Ok(ExitCode::SUCCESS)
}

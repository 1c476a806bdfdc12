//! `majordomo replicas`: who does what, as a table.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use local::{Said, replicas_table, whom};

/// Show the replicas of a controller: state, lock, builds, agents, since when
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  majordomo replicas\n  \
    majordomo replicas --url http://ci.example.com/ --auth @credentials")]
pub(crate) struct ReplicasArgs {
    /// Folder of the controller: its address and the administrator's API token are read there
    /// [default: majordomo-home]
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Where the controller is, when it is not on this machine; needs --auth, unless --home is given too
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// USER:PASSWORD or USER:TOKEN, or @FILE with that in it
    #[arg(long, value_name = "AUTH", env = "MAJORDOMO_AUTH", hide_env_values = true)]
    auth: Option<String>,
}

pub(crate) fn run(args: ReplicasArgs) -> Result<ExitCode> {
    let said = Said { home: args.home.as_deref(), url: args.url.as_deref(), auth: args.auth.as_deref() };
    let whom = whom(said, Path::new(super::up::HOME))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let table = runtime.block_on(replicas_table(&whom))?;
    super::say(&table);
    Ok(ExitCode::SUCCESS)
}

//! `majordomo drain`: a replica hands over all it has.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

/// Move all builds and agents of one replica to the others; it takes no more until it is restarted
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  majordomo drain majordomo-1\n  \
    majordomo drain ci-2 --url http://ci.example.com/ --auth @credentials\n\n\
    The replica goes on running without work. `majordomo restart` makes it serve again.")]
pub(crate) struct DrainArgs {
    /// Name of the replica, as `majordomo replicas` shows it
    name: String,
    /// Also when no other replica is ready: then nobody serves
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    whom: super::WhomArgs,
}

pub(crate) fn run(args: DrainArgs) -> Result<ExitCode> {
    if args.whom.url.is_some() {
        let whom = args.whom.find()?;
        return super::wait_for(local::drain_over_http(&whom, &args.name, args.force));
    }
    // on this machine it is asked directly, whether or not the controller answers; `up` restarts also the last one
    let home = args.whom.home.as_deref().unwrap_or(Path::new(super::up::HOME));
    super::wait_for(local::drain(home, &args.name))
}

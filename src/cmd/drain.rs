//! `majordomo drain`: a replica hands over all it has.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

/// Move all builds and agents of one replica of this machine to the others; it takes no more until it is restarted
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  majordomo drain majordomo-1\n\n\
    The replica goes on running without work. `majordomo restart` makes it serve again.")]
pub(crate) struct DrainArgs {
    /// Name of the replica, as `majordomo replicas` shows it
    name: String,
    /// Folder of the controller
    #[arg(long, value_name = "DIR", default_value = super::up::HOME)]
    home: PathBuf,
}

pub(crate) fn run(args: DrainArgs) -> Result<ExitCode> {
    super::wait_for(local::drain(&args.home, &args.name))
}

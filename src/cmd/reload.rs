//! `majordomo reload`: a changed file or program of `majordomo up`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use local::{Said, whom};

/// Tell `majordomo up` on this machine that its file or its program has changed
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  install majordomo-new /usr/local/bin/majordomo && majordomo reload --home /srv/ci\n\n\
    Replicas are replaced one after the other while builds and requests go on. A program that does not start is given up,\n\
    and the one before comes back."
)]
pub(crate) struct ReloadArgs {
    /// Folder of the controller
    #[arg(long, value_name = "DIR", default_value = super::up::HOME)]
    home: PathBuf,
    /// USER:PASSWORD, or @FILE with that in it [default: the administrator's first password, from the folder]
    #[arg(long, value_name = "AUTH", env = "MAJORDOMO_AUTH", hide_env_values = true)]
    auth: Option<String>,
}

pub(crate) fn run(args: ReloadArgs) -> Result<ExitCode> {
    let whom = whom(Said { home: Some(&args.home), url: None, auth: args.auth.as_deref() }, &args.home)?;
    super::wait_for(local::reload(&args.home, &whom, &(Arc::new(super::say) as local::Say)))
}

//! `majordomo failover-test`: a replica is killed on purpose.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use local::{Error, FailoverTest, Said, failover_history, failover_test, whom};

/// Kill a replica of `majordomo up` on this machine as a crash would, and check that its builds go on whole
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  majordomo failover-test\n  majordomo failover-test --replica majordomo-1 --yes\n  \
    majordomo failover-test --history\n\n\
    At least two replicas must be ready. The test waits until all builds of the lost one are adopted, each of them (of 100 at\n\
    most) has written to its log or ended, and it is ready again. Then it checks their logs as `majordomo verify-log` does,\n\
    and that they begin as they did before. No build should fail by it: one that has ended badly since is named.\n\n\
    Exit status: 0 all is right, 1 a build was not adopted, a log has defects or the replica did not come back,\n\
    2 it was refused, or not all could be seen to be right: a build only waits, failed meanwhile, or is gone."
)]
pub(crate) struct FailoverTestArgs {
    /// Folder of the controller
    #[arg(long, value_name = "DIR", default_value = super::up::HOME)]
    home: PathBuf,
    /// Which replica; without it, the one with most builds
    #[arg(long, value_name = "NAME")]
    replica: Option<String>,
    /// Don't ask first
    #[arg(long)]
    yes: bool,
    /// Kill nothing; show the tests so far, the last 1000 at most
    #[arg(long, conflicts_with_all = ["replica", "yes"])]
    history: bool,
    /// File with USER:PASSWORD or USER:TOKEN in it; the environment may hold those themselves
    /// [default: the administrator's, from the folder]
    #[arg(long, value_name = "@FILE", env = "MAJORDOMO_AUTH", hide_env_values = true)]
    auth: Option<String>,
}

pub(crate) fn run(args: FailoverTestArgs) -> Result<ExitCode> {
    if args.history {
        super::say(&failover_history(&args.home)?);
        return Ok(ExitCode::SUCCESS);
    }
    let whom = whom(Said { home: Some(&args.home), url: None, auth: args.auth.as_deref() }, &args.home)?;
    let sure = |plan: &str| super::sure(plan, args.yes).map_err(Error::Refused);
    let test = FailoverTest { home: &args.home, replica: args.replica.as_deref(), sure: &sure };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let say = Arc::new(super::say) as local::Say;
    let (text, verdict) = runtime.block_on(failover_test(test, &whom, &say))?;
    super::say(&text);
    Ok(ExitCode::from(verdict.status()))
}

//! `majordomo verify-log`: whether a build's log is whole.

use std::process::ExitCode;

use anyhow::Result;
use local::verify_log;

/// Check that the log of a build is whole: no byte missing, none twice, and its end as committed
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  majordomo verify-log team/app 7\n  \
    majordomo verify-log app lastBuild --url http://ci.example.com/ --auth @credentials\n\n\
    Checked are the chunks of the log (each by its sum), the raw output of each step from its first byte to what was\n\
    committed, and the numbers of the journal's records; and that the log has the bytes of the spools which agents\n\
    still hold, mostly of a build that runs. An agent that can't be asked is named, and is no defect. The build may run.\n\
    The sum (SHA-256) is that of `consoleText`. A replica checks two logs at once, each for 30 minutes at most.\n\n\
    Exit status: 0 all is right, 1 there are defects, 2 it could not be checked.")]
pub(crate) struct VerifyLogArgs {
    /// Full name of the job, with `/` between folders
    job: String,
    /// Number of the build, or lastBuild, lastFailedBuild and their like
    number: String,
    #[command(flatten)]
    whom: super::WhomArgs,
}

pub(crate) fn run(args: VerifyLogArgs) -> Result<ExitCode> {
    let whom = args.whom.find()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (text, verdict) = runtime.block_on(verify_log(&whom, &args.job, &args.number))?;
    super::say(&text);
    Ok(ExitCode::from(verdict.status()))
}

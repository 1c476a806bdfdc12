//! `majordomo reload`: a new program, or a changed file of `majordomo up`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;

/// Run what is installed now: a new program, or a changed file of the `majordomo up` on this machine
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  install majordomo-new /usr/local/bin/majordomo && majordomo reload --home /srv/ci\n  \
    majordomo reload --back                                               # the program before, again\n  \
    majordomo reload --url http://ci.example.com/ --auth @credentials     # installed on each machine before\n\n\
    Replicas are replaced one after the other while builds and requests go on. A program that does not start is given up,\n\
    and the one before comes back. Without --url the `majordomo up` of this machine reads its -f file again as well."
)]
pub(crate) struct ReloadArgs {
    #[command(flatten)]
    whom: super::WhomArgs,
    /// Run the program again that ran before, as long as the level of the home allows; of the `majordomo up` on this machine
    #[arg(long, conflicts_with = "url")]
    back: bool,
}

pub(crate) fn run(args: ReloadArgs) -> Result<ExitCode> {
    let say = Arc::new(super::say) as local::Say;
    let whom = args.whom.find()?;
    if args.whom.url.is_some() {
        return super::wait_for(local::reload_over_http(&whom, &say));
    }
    let home = args.whom.home.as_deref().unwrap_or(Path::new(super::up::HOME));
    super::wait_for(local::reload(home, &whom, args.back, &say))
}

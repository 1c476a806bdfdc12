//! `majordomo restart`: all replicas, one after the other.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use model::RestartWhen;

/// Restart all replicas, one after the other, while builds and requests go on
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  majordomo restart\n  majordomo restart --when idle --no-wait\n  \
    majordomo restart --cancel\n\n\
    Each replica hands over its builds and agents before it ends; the next one follows when it is ready again.")]
pub(crate) struct RestartArgs {
    #[command(flatten)]
    whom: super::WhomArgs,
    /// `now`, or `idle`: once no step of a build is at work, after 24 hours at the latest
    #[arg(long, value_name = "WHEN", default_value = "now", value_parser = when)]
    when: RestartWhen,
    /// Don't wait until it is done
    #[arg(long)]
    no_wait: bool,
    /// Withdraw a restart that waits to be idle; one that has begun goes on
    #[arg(long, conflicts_with_all = ["when", "no_wait"])]
    cancel: bool,
}

fn when(text: &str) -> Result<RestartWhen, String> {
    match text {
        "now" | "immediately" => Ok(RestartWhen::Immediately),
        "idle" => Ok(RestartWhen::Idle),
        _ => Err("say now or idle".to_owned()),
    }
}

pub(crate) fn run(args: RestartArgs) -> Result<ExitCode> {
    let whom = args.whom.find()?;
    let say = Arc::new(super::say) as local::Say;
    if args.cancel {
        return super::wait_for(local::cancel_restart(&whom, &say));
    }
    super::wait_for(local::restart(&whom, args.when, !args.no_wait, &say))
}

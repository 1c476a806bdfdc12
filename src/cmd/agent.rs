//! `majordomo agent`: the native agent, with the flags and the environment of the stock one.

use std::collections::BTreeMap;
use std::process::ExitCode;

use agent::{Config, Flags, HELP};
use anyhow::{Result, anyhow};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Handed on as they are: stock flags have one dash.
#[derive(Debug, clap::Args)]
pub(crate) struct AgentArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FLAGS")]
    flags: Vec<String>,
}

pub(crate) fn run(args: AgentArgs) -> Result<ExitCode> {
    // pairs that are no text are none of ours
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    let env: BTreeMap<String, String> = std::env::vars_os().filter_map(text).collect();
    let flags = Flags::parse(&args.flags, &env, |path| std::fs::read_to_string(path));
    match flags.map_err(|why| anyhow!(why))? {
        Flags::Help => {
            print!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        Flags::Run(config) => {
            super::log_to_stderr();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(serve(*config))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn serve(config: Config) -> Result<()> {
    let (stop, stopped) = watch::channel(false);
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let running = agent::run(config, stopped);
    tokio::pin!(running);
    loop {
        tokio::select! {
            ended = &mut running => return Ok(ended?),
            _ = interrupt.recv() => stop.send_replace(true),
            _ = terminate.recv() => stop.send_replace(true),
        };
    }
}

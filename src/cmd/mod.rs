//! The subcommands: flags in, parts wired together, no logic.

pub(crate) mod agent;
pub(crate) mod crd;
pub(crate) mod drain;
pub(crate) mod failover_test;
pub(crate) mod init;
pub(crate) mod kubectl;
pub(crate) mod operator;
pub(crate) mod reload;
pub(crate) mod replica;
pub(crate) mod replicas;
pub(crate) mod restart;
pub(crate) mod secrets;
pub(crate) mod up;
pub(crate) mod verify_log;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use local::{Said, Whom, whom};
use tracing_subscriber::EnvFilter;

/// Exit status when something was refused: bad options, an address in use, a home or a database that can't be had.
pub(crate) const REFUSED: u8 = 2;

/// Which controller a command is for, and in whose name.
#[derive(Debug, clap::Args)]
pub(crate) struct WhomArgs {
    /// Folder of the controller: its address and the administrator's API token are read there
    /// [default: majordomo-home]
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Where the controller is (http:// only: behind a proxy for TLS), when it is not on this machine; needs --auth, unless
    /// --home is given too
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// File with USER:PASSWORD or USER:TOKEN in it; the environment may hold those themselves
    #[arg(long, value_name = "@FILE", env = "MAJORDOMO_AUTH", hide_env_values = true)]
    auth: Option<String>,
}

impl WhomArgs {
    pub(crate) fn find(&self) -> Result<Whom> {
        let said = Said { home: self.home.as_deref(), url: self.url.as_deref(), auth: self.auth.as_deref() };
        Ok(whom(said, Path::new(up::HOME))?)
    }
}

/// Runs a command that is only waited for.
pub(crate) fn wait_for(work: impl Future<Output = Result<(), local::Error>>) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(work)?;
    Ok(ExitCode::SUCCESS)
}

/// Logs of this process go to standard error; `MAJORDOMO_LOG` chooses what, `MAJORDOMO_LOG_FORMAT=json` makes each line
/// an object.
pub(crate) fn log_to_stderr() {
    // what becomes of a statement or a connection is told where it is handled, once
    let default = "info,sqlx=error,sqlx_core=error";
    let filter = EnvFilter::try_from_env("MAJORDOMO_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        // It would be told on the same file, with a panic when that fails too: a full disk must end nobody.
        .log_internal_errors(false);
    // a second call, in tests, changes nothing
    let _ =
        match std::env::var("MAJORDOMO_LOG_FORMAT").is_ok_and(|format| format.eq_ignore_ascii_case("json")) {
            true => logs.json().flatten_event(true).with_current_span(false).try_init(),
            false => logs.try_init(),
        };
}

/// A line for the user. A reader that has gone (`majordomo … | head`) is no error.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Shows what is to be done, and says whether the user wants it; who can't be asked must have said so.
pub(crate) fn sure(plan: &str, yes: bool) -> Result<bool, String> {
    say(plan);
    if yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        return Err("nobody can be asked here: say --yes if that is wanted".to_owned());
    }
    print!("Go on? [y/N] ");
    let _ = std::io::stdout().flush();
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    Ok(read.is_ok() && ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

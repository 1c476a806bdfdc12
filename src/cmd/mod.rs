//! The subcommands: flags in, parts wired together, no logic.

pub(crate) mod agent;
pub(crate) mod replica;
pub(crate) mod replicas;
pub(crate) mod up;

use tracing_subscriber::EnvFilter;

/// Exit status when something was refused: bad options, an address in use, a home or a database that can't be had.
pub(crate) const REFUSED: u8 = 2;

/// Logs of this process go to standard error; `MAJORDOMO_LOG` chooses what.
pub(crate) fn log_to_stderr() {
    // what becomes of a statement or a connection is told where it is handled, once
    let default = "info,sqlx=error,sqlx_core=error";
    let filter = EnvFilter::try_from_env("MAJORDOMO_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    // a second call, in tests, changes nothing
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        // It would be told on the same file, with a panic when that fails too: a full disk must end nobody.
        .log_internal_errors(false)
        .try_init();
}

/// A line for the user. A reader that has gone (`majordomo … | head`) is no error.
pub(crate) fn say(line: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

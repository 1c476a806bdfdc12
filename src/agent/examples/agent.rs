//! The agent as a program, for the tests that kill it and for measuring.

#![expect(clippy::print_stderr, clippy::print_stdout, reason = "a program's own words")]

use std::process::ExitCode;

use agent::{Flags, HELP};
use tokio::sync::watch;

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut config =
        match Flags::parse(&args, &std::env::vars().collect(), |path| std::fs::read_to_string(path)) {
            Ok(Flags::Run(config)) => *config,
            Ok(Flags::Help) => {
                print!("{HELP}");
                return ExitCode::SUCCESS;
            }
            Err(why) => {
                eprintln!("{why}");
                return ExitCode::from(2);
            }
        };
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    config.max_spool = number("TEST_MAX_SPOOL").unwrap_or(config.max_spool);
    config.min_free = number("TEST_MIN_FREE").unwrap_or(config.min_free);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (_stop, stopped) = watch::channel(false);
    match runtime.block_on(agent::run(config, stopped)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

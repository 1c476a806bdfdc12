//! The one binary; subcommands live in `cmd`, one file each.

mod cmd;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A continuous-integration controller that does not stop when one of its machines does.
#[derive(Debug, Parser)]
#[command(name = "majordomo", version, arg_required_else_help = true)]
#[command(
    after_help = "Example:\n  majordomo up          # a controller with three replicas and two agents on this machine"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(cmd::up::UpArgs),
    Init(cmd::init::InitArgs),
    Replica(Box<cmd::replica::ReplicaArgs>),
    Replicas(cmd::replicas::ReplicasArgs),
    Restart(cmd::restart::RestartArgs),
    Reload(cmd::reload::ReloadArgs),
    Drain(cmd::drain::DrainArgs),
    VerifyLog(cmd::verify_log::VerifyLogArgs),
    FailoverTest(cmd::failover_test::FailoverTestArgs),
    Operator(cmd::operator::OperatorArgs),
    Crd(cmd::crd::CrdArgs),
    Kubectl(Box<cmd::kubectl::KubectlArgs>),
    /// Connect this machine to a controller as an agent; takes the flags of the stock agent, see `agent -help`
    #[command(disable_help_flag = true)]
    Agent(cmd::agent::AgentArgs),
}

fn main() -> ExitCode {
    if cmd::kubectl::called_as_plugin(std::env::args_os().next()) {
        return ended("kubectl majordomo", cmd::kubectl::run(cmd::kubectl::KubectlArgs::parse()));
    }
    let command = Cli::parse().command;
    let arguments = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned());
    let done = cmd::secrets::refuse(arguments).and_then(|()| match command {
        Command::Up(args) => cmd::up::run(args),
        Command::Init(args) => cmd::init::run(args),
        Command::Replica(args) => cmd::replica::run(*args),
        Command::Replicas(args) => cmd::replicas::run(args),
        Command::Restart(args) => cmd::restart::run(args),
        Command::Reload(args) => cmd::reload::run(args),
        Command::Drain(args) => cmd::drain::run(args),
        Command::VerifyLog(args) => cmd::verify_log::run(args),
        Command::FailoverTest(args) => cmd::failover_test::run(args),
        Command::Operator(args) => cmd::operator::run(args),
        Command::Crd(args) => cmd::crd::run(args),
        Command::Kubectl(args) => cmd::kubectl::run(*args),
        Command::Agent(args) => cmd::agent::run(args),
    });
    ended("majordomo", done)
}

fn ended(program: &str, done: anyhow::Result<ExitCode>) -> ExitCode {
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{program}: {error:#}");
            ExitCode::from(cmd::REFUSED)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// Each command, and each below it.
    fn check(command: &clap::Command) {
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "agent") {
            let help = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example"), "{} {}", command.get_name(), sub.get_name());
            check(sub);
        }
    }

    #[test]
    fn every_command_has_an_example() {
        let command = Cli::command();
        command.clone().debug_assert();
        check(&command);
        assert!(agent::HELP.contains("Example"));
        check(&cmd::kubectl::KubectlArgs::command());
    }
}

//! `majordomo up`: a controller on this machine.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use local::{Options, STORE_ENV, StoreUrl};

/// The home when none is named.
pub(crate) const HOME: &str = "majordomo-home";

/// Start a controller on this machine: replicas behind one address, and agents
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  majordomo up\n  majordomo up -f acme.yaml --listen 0.0.0.0:8080\n  \
    MAJORDOMO_STORE=postgres://ci@localhost/ci majordomo up --replicas 5\n\n\
    Ctrl-C stops; builds that run go on at the next start. What kills `up` itself kills no build.")]
pub(crate) struct UpArgs {
    /// A HAController in YAML, the same that Kubernetes takes
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    file: Option<PathBuf>,
    /// Folder with everything that the controller keeps
    #[arg(long, value_name = "DIR", default_value = HOME)]
    home: PathBuf,
    /// Address for users and agents [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR", value_parser = address)]
    listen: Option<SocketAddr>,
    /// Replicas, 1 to 9 [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=9))]
    replicas: Option<u32>,
    /// Agents on this machine, 0 to 100
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=100))]
    agents: u32,
    /// sqlite:PATH, postgres://… without a password, or @FILE with an address in it [default: SQLite in the home]
    #[arg(long, value_name = "URL", env = STORE_ENV, hide_env_values = true)]
    store: Option<String>,
    /// Create no example job
    #[arg(long)]
    no_example: bool,
    /// Have a person make the first user of a new controller: one replica shows the setup wizard, and the others wait for its end.
    /// Without it there is the user `admin`
    #[arg(long, env = "MAJORDOMO_SETUP_WIZARD", value_parser = clap::builder::BoolishValueParser::new())]
    setup_wizard: bool,
    /// Show metrics to everybody; without it, to who shows the token in HOME/metrics-token, and to administrators
    #[arg(long)]
    metrics_open: bool,
}

/// `HOST:PORT`, where HOST may be left out.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    let full = match text.strip_prefix(':') {
        Some(port) => format!("0.0.0.0:{port}"),
        None => text.replacen("localhost:", "127.0.0.1:", 1),
    };
    full.parse().map_err(|_| match full.rsplit_once(':') {
        Some((_, port)) if port.len() > 4 && port.chars().all(|c| c.is_ascii_digit()) => {
            "the port is at most 65535".to_owned()
        }
        _ => "an address has the form 127.0.0.1:8080".to_owned(),
    })
}

pub(crate) fn run(args: UpArgs) -> Result<ExitCode> {
    let store = args.store.as_deref().filter(|s| !s.is_empty()).map(StoreUrl::parse).transpose()?;
    let options = Options {
        file: args.file,
        home: args.home,
        listen: args.listen,
        replicas: args.replicas,
        agents: args.agents,
        store,
        example: !args.no_example,
        metrics_open: args.metrics_open,
        setup_wizard: args.setup_wizard,
        program: program()?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(local::run(options, Arc::new(super::say)))?;
    Ok(ExitCode::SUCCESS)
}

/// This program. After it was replaced by a newer one, the newer one: what is restarted runs that.
fn program() -> Result<PathBuf> {
    let program = std::env::current_exe().context("find this program")?;
    let replaced = program.to_str().and_then(|path| path.strip_suffix(" (deleted)")).map(PathBuf::from);
    Ok(replaced.unwrap_or(program))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_rubbish_is_refused_with_a_sentence() {
        for (text, wanted) in
            [(":80", "0.0.0.0:80"), ("localhost:80", "127.0.0.1:80"), ("[::1]:65535", "[::1]:65535")]
        {
            assert_eq!(address(text).unwrap().to_string(), wanted);
        }
        for text in [":65536", "127.0.0.1:99999", "[::1]:123456789"] {
            assert_eq!(address(text).unwrap_err(), "the port is at most 65535", "{text}");
        }
        for text in ["", "80", "x:80", "127.0.0.1:http"] {
            assert_eq!(address(text).unwrap_err(), "an address has the form 127.0.0.1:8080", "{text}");
        }
    }
}

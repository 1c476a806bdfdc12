//! `majordomo replicas`: who does what, as a table.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use local::{Auth, Paths, UpRecord, replicas_table};

/// Show the replicas of a controller: state, lock, builds, agents, since when
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  majordomo replicas\n  \
    majordomo replicas --url http://ci.example.com/ --auth @credentials")]
pub(crate) struct ReplicasArgs {
    /// Folder of the controller: its address and the administrator's password are read there
    #[arg(long, value_name = "DIR", default_value = super::up::HOME)]
    home: PathBuf,
    /// Where the controller is, when it is not on this machine
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// USER:PASSWORD, or @FILE with that in it
    #[arg(long, value_name = "AUTH", env = "MAJORDOMO_AUTH", hide_env_values = true)]
    auth: Option<String>,
}

pub(crate) fn run(args: ReplicasArgs) -> Result<ExitCode> {
    let paths = Paths::new(&args.home);
    let url = match args.url {
        Some(url) => url,
        None => {
            UpRecord::read(&paths.up_record())?
                .ok_or_else(|| {
                    anyhow!("no controller has run in {}; use --home or --url", args.home.display())
                })?
                .url
        }
    };
    let auth = match args.auth.as_deref() {
        None => format!("admin:{}", read(&paths.admin_password()).context("use --auth")?),
        Some(auth) => match auth.strip_prefix('@') {
            Some(file) => read(Path::new(file))?,
            None => auth.to_owned(),
        },
    };
    let auth = Auth::parse(&auth)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let table = runtime.block_on(replicas_table(&url, &auth))?;
    super::say(&table);
    Ok(ExitCode::SUCCESS)
}

fn read(file: &Path) -> Result<String> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    Ok(text.trim().to_owned())
}

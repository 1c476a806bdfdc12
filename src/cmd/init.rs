//! `majordomo init`: what all machines of a controller share.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use local::{Initialised, STORE_ENV, StoreUrl};

/// Make what all machines of a controller share: its keys, its identity, its first administrator
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  majordomo init --to /etc/majordomo --name ci --store @/root/database-url\n\n\
    Once, on one machine; copy master.key, peer.keys, bootstrap.json and store to the others then. Whoever has the keys has the controller."
)]
pub(crate) struct InitArgs {
    /// Folder that is made
    #[arg(long, value_name = "DIR", default_value = "/etc/majordomo")]
    to: PathBuf,
    /// Name of the controller
    #[arg(long, default_value = "majordomo")]
    name: String,
    /// postgres://… without a password, or @FILE with an address in it; written to the file `store` in the folder
    #[arg(long, value_name = "URL", env = STORE_ENV, hide_env_values = true)]
    store: Option<String>,
}

pub(crate) fn run(args: InitArgs) -> Result<ExitCode> {
    let store = args.store.as_deref().filter(|store| !store.is_empty());
    let store = store.map(StoreUrl::parse).transpose()?;
    let Initialised { folder, password, store_missing } = local::init(&args.to, &args.name, store.as_ref())?;
    super::say(&format!(
        "{} holds the controller's keys: keep a copy of it, and of nothing less.",
        folder.display()
    ));
    if let Some(store) = store_missing {
        super::say(&format!("Write the address of the database (postgres://…) to {}.", store.display()));
    }
    super::say(
        "Copy master.key, peer.keys, bootstrap.json and store to the same folder of each other machine, and start the replicas.",
    );
    super::say(&format!("The administrator is `admin`; the first password is in {}.", password.display()));
    Ok(ExitCode::SUCCESS)
}

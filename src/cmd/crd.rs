//! `majordomo crd`: what Kubernetes must know of a `HAController` before it takes one.

use std::process::ExitCode;

use anyhow::Result;

/// Print the definition of HAController for Kubernetes, as YAML
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  majordomo crd | kubectl apply --server-side -f -")]
pub(crate) struct CrdArgs {}

pub(crate) fn run(_: CrdArgs) -> Result<ExitCode> {
    super::say(resource::definition_yaml()?.trim_end());
    Ok(ExitCode::SUCCESS)
}

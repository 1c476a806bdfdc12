//! The one binary; subcommands live in `cmd`, one file each.

fn main() -> anyhow::Result<()> {
    Ok(())
}

//! Secrets are no arguments: those show in the list of processes, to every user of the machine and to each step of a build there.

use anyhow::{Result, bail};

/// Refuses secrets among the arguments of any command, and says how to give them.
pub(crate) fn refuse(arguments: impl IntoIterator<Item = String>) -> Result<()> {
    let mut arguments = arguments.into_iter().peekable();
    while let Some(argument) = arguments.next() {
        let (option, value) = match argument.split_once('=') {
            Some(pair) => pair,
            None => (argument.as_str(), arguments.peek().map(String::as_str).unwrap_or_default()),
        };
        let instead = match option {
            "--store" if has_password(value) => {
                "write the address to a file and say --store @FILE, or set MAJORDOMO_STORE"
            }
            "--auth" if !value.starts_with('@') => {
                "write it to a file and say --auth @FILE, or set MAJORDOMO_AUTH"
            }
            "--metrics-token" => {
                "write it to a file and say --metrics-token-file FILE, or set MAJORDOMO_METRICS_TOKEN"
            }
            _ => continue,
        };
        bail!("{option}: arguments show in the list of processes, and a secret with them; {instead}");
    }
    Ok(())
}

/// Whether the address of a database has one, before its host or among its options.
fn has_password(address: &str) -> bool {
    let Some((_, rest)) = address.split_once("://") else { return false };
    let (place, options) = rest.split_once('?').unwrap_or((rest, ""));
    // a password may hold an @ that nobody has encoded
    let before = place.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'));
    before || options.split('&').any(|option| option.starts_with("password="))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(arguments: &str) -> Option<String> {
        refuse(arguments.split(' ').map(str::to_owned)).err().map(|error| error.to_string())
    }

    #[test]
    fn a_secret_is_refused_with_how_to_give_it() {
        for (arguments, instead) in [
            ("up --store postgres://ci:hush@h/ci", "say --store @FILE, or set MAJORDOMO_STORE"),
            ("replica --store=postgres://ci:hu/sh@h/ci", "say --store @FILE, or set MAJORDOMO_STORE"),
            (
                "init --store postgresql://h/ci?user=ci&password=hush",
                "say --store @FILE, or set MAJORDOMO_STORE",
            ),
            ("replicas --url http://h --auth me:hush", "say --auth @FILE, or set MAJORDOMO_AUTH"),
            ("failover-test --yes --auth=me:hush", "say --auth @FILE, or set MAJORDOMO_AUTH"),
            ("replica --metrics-token hush", "say --metrics-token-file FILE, or set MAJORDOMO_METRICS_TOKEN"),
        ] {
            let said = said(arguments).unwrap();
            assert!(said.ends_with(instead), "{arguments}: {said}");
            assert!(!said.contains("hu"), "{said}");
        }
    }

    #[test]
    fn what_shows_no_secret_is_taken() {
        for arguments in [
            "up --store postgres://ci@h:5432/ci?sslmode=require",
            "up --store=postgres://[::1]:5432/ci",
            "up --store postgres://h:5432/ci?user=me@corp",
            "up --store sqlite:/a:b@c.db",
            "init --store @/root/database-url",
            "replicas --auth @credentials",
            "drain r-0 --auth=@credentials",
            "replica --metrics-token-file /f",
        ] {
            assert_eq!(said(arguments), None, "{arguments}");
        }
    }
}

//! Flags and environment: those of the stock agent, so that existing images and scripts start this one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::{Config, Secret};

/// What `-help` prints.
pub const HELP: &str = "\
Connects this machine to a controller as an agent.

Usage: majordomo agent -url URL -name NAME -secret @FILE -workDir DIR

  -url URL                 root of the controller; several are tried in turn (JENKINS_URL)
  -name NAME               name of the node (JENKINS_AGENT_NAME)
  -secret @FILE            file that holds the secret of the node (JENKINS_SECRET); the secret itself is taken too,
                           and shows in the list of processes then
  -workDir DIR             where builds run and outputs are kept (JENKINS_AGENT_WORKDIR)
  -webSocket               connect by WebSocket; always so (JENKINS_WEB_SOCKET)
  -webSocketHeader N=V     add a header to the connection; may be repeated
  -noReconnect             end when the connection ends
  -noReconnectAfter TIME   end after so long without a connection, such as 30s, 5m, 2h
  -help                    print this

Running steps go on when the agent ends, and are found again by the next one on the same folder.

Example:
  majordomo agent -url http://ci.example.com/ -name linux-1 -secret @/run/secrets/agent -workDir /var/lib/agent
";

/// Flags of stock agents that mean nothing here and take no value.
const IGNORED: [&str; 6] =
    ["-webSocket", "-noKeepAlive", "-failIfWorkDirIsMissing", "-headless", "-text", "-disableWorkDir"];
/// The same with a value.
const IGNORED_WITH_VALUE: [&str; 5] =
    ["-internalDir", "-jar-cache", "-agentLog", "-loggingConfig", "-protocols"];
/// Flags of stock agents for other ways to connect.
const OTHER_WAYS: [&str; 5] = ["-tunnel", "-direct", "-jnlpUrl", "-instanceIdentity", "-credentials"];
/// Flags of stock agents for TLS.
const TLS: [&str; 3] = ["-cert", "-noCertificateCheck", "-noHttpsCertValidation"];

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flags {
    Run(Box<Config>),
    Help,
}

/// What was said on the command line, before the environment fills the gaps.
#[derive(Default)]
struct Said {
    urls: Vec<String>,
    name: Option<String>,
    secret: Option<String>,
    work_dir: Option<String>,
    no_reconnect: bool,
    no_reconnect_after: Option<Duration>,
    headers: Vec<(String, String)>,
    /// Old images give secret and name without flags, in this order.
    bare: Vec<String>,
}

impl Flags {
    /// Reads the arguments after `majordomo agent`. Pure: `read` reads the file of `-secret @FILE`. `Err` is a sentence.
    pub fn parse(
        args: &[String],
        env: &BTreeMap<String, String>,
        read: impl Fn(&str) -> std::io::Result<String>,
    ) -> Result<Flags, String> {
        match Said::parse(args)? {
            None => Ok(Flags::Help),
            Some(said) => said.config(env, read).map(|config| Flags::Run(Box::new(config))),
        }
    }
}

impl Said {
    /// Nothing when help is asked for.
    fn parse(args: &[String]) -> Result<Option<Said>, String> {
        let mut said = Said::default();
        let mut args = args.iter();
        while let Some(flag) = args.next() {
            // `--url` as well: fingers are used to it.
            let name = flag.strip_prefix('-').filter(|rest| rest.starts_with('-')).unwrap_or(flag);
            let mut value = || args.next().cloned().ok_or_else(|| format!("{flag} needs a value"));
            match name {
                "-help" | "-h" | "-?" => return Ok(None),
                "-url" => said.urls.push(value()?),
                "-name" => said.name = Some(value()?),
                "-secret" => said.secret = Some(value()?),
                "-workDir" => said.work_dir = Some(value()?),
                "-noReconnect" => said.no_reconnect = true,
                "-noReconnectAfter" => said.no_reconnect_after = Some(parse_duration(&value()?)?),
                "-webSocketHeader" => said.headers.push(parse_header(&value()?)?),
                _ if IGNORED.contains(&name) => {}
                _ if IGNORED_WITH_VALUE.contains(&name) => {
                    value()?;
                }
                _ if OTHER_WAYS.contains(&name) => {
                    return Err(format!("{flag} is not for this agent: it connects by WebSocket, with -url"));
                }
                _ if TLS.contains(&name) => {
                    return Err(format!("{flag} is about TLS, which this agent does not speak yet"));
                }
                _ if name.starts_with('-') => return Err(format!("the flag {flag} is not known; see -help")),
                _ => said.bare.push(flag.clone()),
            }
        }
        Ok(Some(said))
    }

    fn config(
        self,
        env: &BTreeMap<String, String>,
        read: impl Fn(&str) -> std::io::Result<String>,
    ) -> Result<Config, String> {
        let from = |name: &str| env.get(name).filter(|value| !value.is_empty()).cloned();
        let mut bare = self.bare.into_iter();
        let secret = self.secret.or_else(|| bare.next()).or_else(|| from("JENKINS_SECRET"));
        let name = self.name.or_else(|| bare.next());
        let name = name.or_else(|| from("JENKINS_AGENT_NAME")).or_else(|| from("JENKINS_NAME"));
        if let Some(extra) = bare.next() {
            return Err(format!("“{extra}” is neither a flag nor the value of one; see -help"));
        }
        let mut urls = self.urls;
        if urls.is_empty() {
            urls.extend(from("JENKINS_URL"));
        }
        if urls.is_empty() {
            return Err("the controller is not given: use -url or JENKINS_URL; see -help".to_owned());
        }
        let missing =
            |what: &str, flag: &str, var: &str| format!("the {what} is not given: use {flag} or {var}");
        let name = name.ok_or_else(|| missing("name of the node", "-name", "JENKINS_AGENT_NAME"))?;
        let secret = secret.ok_or_else(|| missing("secret of the node", "-secret", "JENKINS_SECRET"))?;
        let secret = match secret.strip_prefix('@') {
            Some(path) => {
                read(path).map_err(|e| format!("read the secret from {path}: {e}"))?.trim().to_owned()
            }
            None => secret,
        };
        let work_dir = self.work_dir.or_else(|| from("JENKINS_AGENT_WORKDIR"));
        let work_dir = work_dir.ok_or_else(|| missing("work folder", "-workDir", "JENKINS_AGENT_WORKDIR"))?;
        let mut config = Config::new(urls, name, Secret::new(secret), PathBuf::from(work_dir));
        config.no_reconnect = self.no_reconnect;
        config.no_reconnect_after = self.no_reconnect_after;
        config.web_socket_headers = self.headers;
        Ok(config)
    }
}

fn parse_header(text: &str) -> Result<(String, String), String> {
    // Not the text: its value may be a secret.
    let (name, value) = text.split_once('=').ok_or("-webSocketHeader needs NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// `90`, `90s`, `5m`, `2h`, `1d`, and what they add up to: `1h30m`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("“{text}” is no time such as 30s, 5m or 2h");
    let mut seconds: u64 = 0;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit = rest[digits..].chars().next();
        let factor = match unit {
            None | Some('s') => 1,
            Some('m') => 60,
            Some('h') => 60 * 60,
            Some('d') => 24 * 60 * 60,
            Some(_) => return Err(wrong()),
        };
        seconds = number.checked_mul(factor).and_then(|s| seconds.checked_add(s)).ok_or_else(wrong)?;
        rest = &rest[digits + usize::from(unit.is_some())..];
    }
    if text.trim().is_empty() { Err(wrong()) } else { Ok(Duration::from_secs(seconds)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &str, env: &[(&str, &str)]) -> Result<Flags, String> {
        let args: Vec<String> = args.split_whitespace().map(str::to_owned).collect();
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Flags::parse(&args, &env, |path| match path {
            "/s" => Ok("from-file\n".to_owned()),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        })
    }

    fn config(args: &str, env: &[(&str, &str)]) -> Config {
        match parse(args, env) {
            Ok(Flags::Run(config)) => *config,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_of_the_stock_agent_are_understood() {
        let config = config(
            "-url http://a -url http://b -name n -secret @/s -webSocket -workDir /w -noReconnectAfter 1m30s \
             -webSocketHeader X=y=z -internalDir remoting -noKeepAlive",
            &[],
        );
        assert_eq!(config.urls, ["http://a", "http://b"]);
        assert_eq!(config.secret, Secret::new("from-file"));
        assert_eq!(config.no_reconnect_after, Some(Duration::from_secs(90)));
        assert_eq!(config.web_socket_headers, [("X".to_owned(), "y=z".to_owned())]);
        assert!(!format!("{config:?}").contains("from-file"));
    }

    #[test]
    fn the_environment_of_the_stock_image_is_enough() {
        let env = [
            ("JENKINS_URL", "http://a"),
            ("JENKINS_SECRET", "s"),
            ("JENKINS_AGENT_NAME", "n"),
            ("JENKINS_AGENT_WORKDIR", "/w"),
            ("JENKINS_WEB_SOCKET", "true"),
        ];
        let from_env = config("", &env);
        assert_eq!((from_env.name.as_str(), from_env.secret), ("n", Secret::new("s")));
        assert_eq!(config("-name m", &env).name, "m");
        let bare = config("t0ken old", &env);
        assert_eq!((bare.name.as_str(), bare.secret), ("old", Secret::new("t0ken")));
    }

    #[test]
    fn what_is_missing_or_wrong_is_told_in_a_sentence() {
        for (args, why) in [
            ("", "the controller is not given"),
            ("-url http://a", "the name of the node is not given"),
            ("-url http://a -name n", "the secret of the node is not given"),
            ("-url http://a -name n -secret s", "the work folder is not given"),
            ("-url http://a -name n -secret @/x", "read the secret from /x"),
            ("-url", "-url needs a value"),
            ("-tunnel x", "-tunnel is not for this agent"),
            ("-frob", "the flag -frob is not known"),
            ("-noReconnectAfter soon", "“soon” is no time"),
            ("a b c -url u", "“c” is neither a flag"),
        ] {
            let error = parse(args, &[]).unwrap_err();
            assert!(error.starts_with(why), "{args}: {error}");
        }
        assert_eq!(parse("-help", &[]), Ok(Flags::Help));
        assert!(HELP.contains("Example:"));
    }
}

//! `majordomo replicas`: what `GET /replicas/api/json` says, as a table.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::Method;
use serde::Deserialize;
use serde_json::Value;

use crate::Error;
use crate::peer::{Answer, Ask, ask};
use crate::whom::Whom;

const PATIENCE: Duration = Duration::from_secs(15);

/// `USER:PASSWORD`. Prints `***`.
#[derive(Clone)]
pub struct Auth(String);

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Auth(***)")
    }
}

impl Auth {
    pub fn parse(text: &str) -> Result<Auth, Error> {
        match text.split_once(':') {
            Some((user, _)) if !user.is_empty() => Ok(Auth(text.to_owned())),
            _ => Err(Error::Refused("--auth takes @FILE with USER:PASSWORD or USER:TOKEN in it".to_owned())),
        }
    }

    /// With its password.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    replicas: Vec<Replica>,
    #[serde(default)]
    startup_lock: Option<Lock>,
    #[serde(default)]
    failovers: Vec<Failover>,
}

#[derive(Debug, Deserialize)]
struct Replica {
    name: String,
    state: String,
    #[serde(default)]
    pid: Option<u64>,
    #[serde(default)]
    since: Option<i64>,
    /// A list, or a count when it is long.
    #[serde(default)]
    builds: Value,
    #[serde(default)]
    agents: Value,
}

#[derive(Debug, Deserialize)]
struct Lock {
    #[serde(default)]
    holder: Value,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Failover {
    #[serde(default)]
    replica: Value,
    #[serde(default)]
    at: Option<i64>,
    #[serde(default)]
    builds: Value,
    #[serde(default)]
    adopted_millis: Option<u64>,
    #[serde(default)]
    resumed_millis: Option<u64>,
}

/// Asks the controller and draws the table.
pub async fn replicas_table(whom: &Whom) -> Result<String, Error> {
    let answer = send(whom, Method::GET, "/replicas/api/json").await?;
    match answer.status {
        200 => draw(&answer.body, &whom.replicas, now()),
        // such as that a person has to set it up first
        status => {
            let why = answer.error.map(|why| format!(": {}", plain(&why, 300))).unwrap_or_default();
            Err(Error::Refused(format!("{} answers with status {status}{why}", whom.url)))
        }
    }
}

/// One request to the controller, in the name of its administrator.
pub(crate) async fn send(whom: &Whom, method: Method, path: &str) -> Result<Answer, Error> {
    send_within(whom, method, path, PATIENCE).await
}

/// The same, for what takes long or must not.
pub(crate) async fn send_within(
    whom: &Whom,
    method: Method,
    path: &str,
    within: Duration,
) -> Result<Answer, Error> {
    let Whom { url, auth, .. } = whom;
    let Some(rest) = url.strip_prefix("http://") else {
        return Err(Error::Refused(format!(
            "--url {url}: this command speaks plain http:// only; give the address behind the proxy that speaks TLS"
        )));
    };
    let (host, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let address = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
    let path = format!("/{prefix}").trim_end_matches('/').to_owned() + path;
    let authorization = Some(format!("Basic {}", BASE64_STANDARD.encode(auth.expose())));
    let asked =
        Ask { dial: mutual::Dial::Plain, method, address: &address, path: &path, authorization, body: None };
    let answer = ask(asked, within)
        .await
        .ok_or_else(|| Error::Refused(format!("nobody answers at {url}; is `majordomo up` running?")))?;
    match answer.status {
        401 | 403 => {
            Err(Error::Refused(format!("{url} refuses this user and password; give others with --auth")))
        }
        _ => Ok(answer),
    }
}

pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Of those that are stopped, only the wanted ones are shown, if it is known who is wanted: the others were taken away.
fn draw(json: &[u8], wanted: &[String], now: i64) -> Result<String, Error> {
    let report: Report = serde_json::from_slice(json)
        .map_err(|e| Error::Refused(format!("the answer is not that of a Majordomo controller: {e}")))?;
    let holder =
        report.startup_lock.as_ref().map(|lock| name_of(&lock.holder)).filter(|name| !name.is_empty());
    let header = ["REPLICA", "STATE", "SINCE", "LOCK", "BUILDS", "AGENTS", "PID"].map(str::to_owned);
    let mut rows = vec![header.to_vec()];
    let gone = |replica: &&Replica| {
        replica.state == "stopped" && !wanted.is_empty() && !wanted.contains(&replica.name)
    };
    for replica in report.replicas.iter().filter(|replica| !gone(replica)) {
        let lock = if holder.as_deref() == Some(&replica.name) { "startup" } else { "" };
        rows.push(vec![
            printable(&replica.name),
            printable(&replica.state),
            replica.since.map(|since| ago(now, since)).unwrap_or_default(),
            lock.to_owned(),
            count(&replica.builds),
            count(&replica.agents),
            replica.pid.map(|pid| pid.to_string()).unwrap_or_default(),
        ]);
    }
    let mut text = columns(&rows);
    for failover in report.failovers.iter().take(5) {
        let millis = |value: Option<u64>| value.map_or("not yet".to_owned(), |ms| format!("after {ms} ms"));
        let builds = match count(&failover.builds).as_str() {
            "1" => "1 build".to_owned(),
            several => format!("{several} builds"),
        };
        text.push_str(&format!(
            "\nlost {} {} ago with {builds}: adopted {}, resumed {}",
            printable(&name_of(&failover.replica)),
            failover.at.map(|at| ago(now, at)).unwrap_or_default(),
            millis(failover.adopted_millis),
            millis(failover.resumed_millis),
        ));
    }
    Ok(text)
}

/// A name, given as it is or inside an object.
fn name_of(value: &Value) -> String {
    let name = value.get("name").unwrap_or(value);
    // NAME#INCARNATION is a name, too
    name.as_str().and_then(|name| name.split('#').next()).unwrap_or_default().to_owned()
}

fn count(value: &Value) -> String {
    match value {
        Value::Array(list) => list.len().to_string(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Object(_) => "0".to_owned(),
    }
}

/// Nothing that moves a terminal's cursor.
pub(crate) fn plain(text: &str, most: usize) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).take(most).collect()
}

fn printable(text: &str) -> String {
    plain(text, 80)
}

pub(crate) fn ago(now: i64, since: i64) -> String {
    let seconds = now.saturating_sub(since).max(0) / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

pub(crate) fn columns(rows: &[Vec<String>]) -> String {
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max();
    let line = |row: &Vec<String>| {
        let cells = row.iter().enumerate();
        let padded = cells.map(|(n, cell)| format!("{cell:<width$}  ", width = width(n).unwrap_or_default()));
        padded.collect::<String>().trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_who_does_what() {
        let json = r#"{"replicas":[
            {"name":"majordomo-0","ordinal":0,"incarnation":3,"pid":77,"address":"127.0.0.1:1","state":"ready",
             "since":1000,"revision":"r","version":"v","builds":[{"job":"a","number":1}],"agents":["agent-1","agent-2"]},
            {"name":"majordomo-1","state":"starting","since":95000,"builds":0,"agents":[]}],
            "startupLock":{"holder":"majordomo-1","fence":"1.2","since":1},
            "failovers":[{"replica":"majordomo-0","at":40000,"builds":2,"adoptedMillis":310,"resumedMillis":null}]}"#;
        let table = draw(json.as_bytes(), &[], 100_000).unwrap();
        let wanted = "REPLICA      STATE     SINCE  LOCK     BUILDS  AGENTS  PID\n\
                      majordomo-0  ready     1m39s           1       2       77\n\
                      majordomo-1  starting  5s     startup  0       0\n\
                      lost majordomo-0 1m0s ago with 2 builds: adopted after 310 ms, resumed not yet";
        assert_eq!(table, wanted);
    }

    #[test]
    fn replicas_that_were_taken_away_are_shown_until_they_have_stopped() {
        let json = r#"{"replicas":[{"name":"ci-0","state":"ready"},{"name":"ci-1","state":"stopped"},
            {"name":"ci-2","state":"draining"},{"name":"ci-3","state":"stopped"}],
            "failovers":[{"replica":"ci-3","at":0,"builds":1}]}"#;
        let drawn = |wanted: &[String]| draw(json.as_bytes(), wanted, 1_000).unwrap();
        let table = drawn(&["ci-0".to_owned(), "ci-1".to_owned()]);
        assert!(
            ["ci-0     ready", "ci-1     stopped", "ci-2     draining"].iter().all(|row| table.contains(row)),
            "{table}"
        );
        assert!(!table.contains("ci-3     stopped"), "{table}");
        assert!(table.contains("lost ci-3 1s ago with 1 build: "), "{table}");
        // of whom nothing is known, all are shown
        assert!(drawn(&[]).contains("ci-3     stopped"));
    }

    #[test]
    fn rubbish_is_refused_with_a_sentence() {
        assert!(draw(b"<html>", &[], 0).unwrap_err().to_string().contains("not that of a Majordomo"));
        assert!(Auth::parse("admin").is_err());
        assert_eq!(format!("{:?}", Auth::parse("admin:secret").unwrap()), "Auth(***)");
    }
}

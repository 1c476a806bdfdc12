//! What `up` shows.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::home::Home;
use crate::supervise::{Event, What};
use crate::up::Say;

/// Who is waited for, and what that one waits for if it says so.
pub(super) fn progress(
    names: &[String],
    ready: &BTreeSet<String>,
    waited: Duration,
    why: Option<&str>,
) -> String {
    let missing: Vec<_> = names.iter().filter(|name| !ready.contains(*name)).map(String::as_str).collect();
    let why = why.map_or("; they start one after the other".to_owned(), |why| format!(": {why}"));
    format!("waiting for {} since {} s{why}", missing.join(", "), waited.as_secs())
}

/// All are ready: where, who, and what to try. `terminal`: it is kept nowhere.
pub(super) fn ready(home: &Home, url: &str, count: usize, took: Duration, terminal: bool) -> String {
    let seconds = took.as_secs_f32();
    let replicas = if count == 1 { "replica" } else { "replicas" };
    let file = home.paths.admin_password();
    let (place, admin) = (home.paths.root().display(), home.admin());
    let mut lines = vec![
        format!("{count} {replicas} ready after {seconds:.1} s"),
        String::new(),
        format!("  Majordomo    {url}"),
        format!("  user         {admin}"),
    ];
    match home.password() {
        // In a file or a journal it would stay.
        Some(password) if home.untold && terminal => {
            lines.push(format!("  password     {}   (also in {})", password.expose(), file.display()));
        }
        Some(_) => lines.push(format!("  password     in {}", file.display())),
        None => {}
    }
    let token = home.paths.admin_token();
    if token.exists() {
        lines.push(format!("  API token    in {}", token.display()));
    }
    lines.extend([String::new(), "  Try next, in another terminal:".to_owned()]);
    if home.untold && home.example {
        let auth = format!("{admin}:$(cat '{}')", token.display());
        lines.push(format!("    curl -X POST -u \"{auth}\" {url}job/example/build"));
        lines.push(format!("    curl -u \"{auth}\" {url}job/example/lastBuild/consoleText"));
    }
    lines.extend([
        format!("    majordomo replicas --home '{place}'    # who does what; then kill -9 one of them"),
        String::new(),
        "  Ctrl-C stops; builds that run go on at the next start.".to_owned(),
        String::new(),
    ]);
    lines.join("\n")
}

/// The first replica waits for a person.
pub(super) fn setup(home: &Home, url: &str, name: &str) -> String {
    let lines = [
        format!("{name} shows the setup wizard; the others start when somebody has ended it"),
        String::new(),
        format!("  Set up       {url}setupWizard/"),
        format!("  password     in {}", home.paths.admin_password().display()),
        String::new(),
    ];
    lines.join("\n")
}

/// What the user should know of an event.
pub(super) fn show(event: &Event, announced: bool, say: &Say) {
    let name = &event.name;
    match &event.what {
        What::Started { pid, found: true } => say(&format!("{name} runs (process {pid})")),
        What::Started { pid, found: false } => say(&format!("{name} starts (process {pid})")),
        What::Unready | What::Drained => {}
        What::Replaced => say(&format!("{name} has ended, to start with another revision")),
        // told with the address
        What::Setup => {}
        What::Ready if announced => say(&format!("{name} is ready")),
        What::Ready => {}
        What::Hangs => say(&format!("{name} hangs: killing it")),
        What::Ended { exit, said, pause } => {
            let pause = pause.as_secs_f32();
            let said = match (exit.code, said) {
                (Some(code), Some(said)) if code != 0 => format!(" ({said})"),
                _ => String::new(),
            };
            say(&format!("{name} ended, {}{said}; starting it again in {pause:.1} s", exit.how));
        }
        What::CannotStart { why } => say(&format!("{name} can't be started: {why}")),
    }
}

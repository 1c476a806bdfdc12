//! Starting a step: the wrapper around its program, and which program runs a script.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use remoting::ops::StartSpec;
use tokio::process::{Child, Command};

use super::folder::StepFolder;
use super::process::Stat;

/// Runs `$3…` once and leaves its exit status, with builtins only: one `fork`, no further program.
/// `$1` is the step's folder, `$2` the boot id; standard input says in a line which process this is, and without that
/// line nothing is started: the agent has ended. (`read` takes a byte at a time, so the line is short: from
/// `/proc/self/stat` it cost more than both shells.) Of two wrappers of one step, the one that makes `started` goes on.
/// The traps let it outlive a signal to the whole group, so that it can write how the program ended; the program itself
/// gets the default actions back.
const WRAPPER: &str = r#"trap : HUP INT TERM
IFS= read -r MAJORDOMO_LIFE || exit 0
set -C
{ echo "$2
$MAJORDOMO_LIFE" >"$1/started"; } 2>/dev/null || exit 0
set +C
MAJORDOMO_DIR=$1
shift 2
"$@" </dev/null
echo "$?" >"$MAJORDOMO_DIR/exit"
"#;

/// Marks the processes of a step, however far they run.
pub(crate) const COOKIE: &str = "MAJORDOMO_STEP";
/// What `BUILD_ID` was for the step. A process of which it is another one by now is not to end with the build.
pub(crate) const BUILD_ID: &str = "MAJORDOMO_BUILD_ID";
/// Begins the names of what is meant for programs of ours, this one and others.
const OURS: &str = "MAJORDOMO_";
/// What else steps must not see of the agent's own environment.
const HIDDEN: [&str; 5] = [
    "JENKINS_SECRET",
    "JENKINS_AGENT_SECRET",
    "PGPASSWORD",
    // with which replicas show a collector who they are
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
];

/// Whether steps must not see this variable of the agent's own environment. They see it when the build itself sets it.
fn hidden(name: &str) -> bool {
    name.starts_with(OURS) || HIDDEN.contains(&name)
}

/// All that starting takes.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    pub(crate) folder: &'a StepFolder,
    pub(crate) spec: &'a StartSpec,
    pub(crate) program: Vec<String>,
    pub(crate) boot: &'a str,
    pub(crate) cookie: &'a str,
}

/// What runs a script, or the sentence why nothing does here. The sentences are Jenkins'.
pub(crate) fn program(spec: &StartSpec, script: &Path, path: Option<&str>) -> Result<Vec<String>, String> {
    let script = script.to_string_lossy().into_owned();
    let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).chain([script.clone()]).collect();
    match spec.shell.as_str() {
        "sh" if spec.script.starts_with("#!") => Ok(words(&[])),
        "sh" => Ok(words(&["/bin/sh", "-xe"])),
        "bat" => Err("Batch scripts can only be run on Windows nodes".to_owned()),
        "powershell" | "pwsh" => {
            let on_path = |dir: &str| Path::new(dir).join("pwsh").is_file();
            if !path.unwrap_or_default().split(':').any(on_path) {
                return Err(format!("“{}” needs the program pwsh, and it is not in the PATH", spec.shell));
            }
            // `-File` would want the extension .ps1.
            let script = script.replace('\'', "''");
            Ok(["pwsh", "-NoProfile", "-NonInteractive", "-Command"]
                .map(str::to_owned)
                .into_iter()
                .chain([format!("& ([scriptblock]::Create([IO.File]::ReadAllText('{script}')))")])
                .collect())
        }
        other => Err(format!("no shell “{other}” is known to this agent")),
    }
}

/// Most bytes of the environment that an agent tells, as JSON; a controller refuses an agent that says too much.
const MAX_TOLD: usize = 32 * 1024;

/// The environment that steps see before their own is added, without the largest variables if it is large: steps have
/// these all the same.
pub(crate) fn own_env() -> BTreeMap<String, String> {
    let all = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
    told(all.filter(|(name, _)| !hidden(name)).collect())
}

fn told(mut all: Vec<(String, String)>) -> BTreeMap<String, String> {
    all.sort_by_key(|(name, value)| name.len() + value.len());
    let mut room = MAX_TOLD;
    let fits = |(name, value): &(String, String)| {
        let rest = room.checked_sub(quoted(name) + quoted(value) + 2);
        room = rest.unwrap_or_default();
        rest.is_some()
    };
    all.into_iter().take_while(fits).collect()
}

/// Bytes of a JSON string, at most.
fn quoted(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(escaped).sum::<usize>() + 2
}

/// Starts the wrapper. It needs the agent no more.
pub(crate) fn spawn(launch: &Launch<'_>) -> io::Result<Child> {
    std::fs::create_dir_all(&launch.spec.dir)?;
    let out = launch.folder.append("out")?;
    let stdout: File = if launch.spec.capture { launch.folder.append("stdout")? } else { out.try_clone()? };
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(WRAPPER).arg("majordomo-step");
    command.arg(launch.folder.path()).arg(launch.boot).args(&launch.program);
    let own = std::env::vars_os().map(|(name, _)| name);
    for name in own.filter(|name| hidden(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    command.current_dir(&launch.spec.dir).envs(&launch.spec.env).env(COOKIE, launch.cookie);
    if let Some(id) = launch.spec.env.get("BUILD_ID") {
        command.env(BUILD_ID, id);
    }
    let (life, mut tell) = io::pipe()?;
    command.stdin(life).stdout(stdout).stderr(out);
    // Its own group: a signal to the agent's, or the end of the agent's terminal, does not reach it.
    let child = command.process_group(0).spawn()?;
    // It waits for this line, so its number is its own. Should the line not come through, it ends and has started nothing.
    let stat = child.id().and_then(|pid| Stat::of(i32::try_from(pid).ok()?));
    if let Some(Stat { process, .. }) = stat {
        let _ended = tell.write_all(process.line().as_bytes());
    }
    Ok(child)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_runs_as_jenkins_runs_it_or_is_refused_with_its_sentence() {
        let program = |shell: &str, script: &str| {
            let spec = StartSpec {
                shell: shell.into(),
                script: script.into(),
                dir: "/".into(),
                env: BTreeMap::new(),
                capture: false,
            };
            program(&spec, Path::new("/s"), Some("/nowhere"))
        };
        assert_eq!(program("sh", "true").unwrap(), ["/bin/sh", "-xe", "/s"]);
        assert_eq!(program("sh", "#!/usr/bin/env python3\n").unwrap(), ["/s"]);
        assert_eq!(program("bat", "dir").unwrap_err(), "Batch scripts can only be run on Windows nodes");
        assert!(program("pwsh", "1").unwrap_err().contains("not in the PATH"));
        assert!(program("fish", "1").unwrap_err().contains("“fish”"));
    }

    #[test]
    fn the_largest_variables_are_left_out_of_a_large_environment() {
        let var = |name: &str, size: usize| (name.to_owned(), "\n".repeat(size));
        let all = vec![var("LARGE", 6_000), var("HOME", 10), var("PATH", 5_000)];
        let told = told(all);
        assert_eq!(told.keys().collect::<Vec<_>>(), ["HOME", "PATH"]);
        assert!(serde_json::to_string(&told).unwrap().len() <= MAX_TOLD);
    }

    /// What two lives of an agent may leave: several wrappers of one step, none of which knows of the others.
    #[tokio::test]
    async fn of_many_wrappers_of_one_step_one_runs_it() {
        let dir = tempfile::tempdir().unwrap();
        let folder = StepFolder::new(dir.path(), "0").unwrap();
        folder.make().unwrap();
        let spec = StartSpec {
            shell: "sh".into(),
            script: "echo run >>runs; exit 3".into(),
            dir: dir.path().display().to_string(),
            env: BTreeMap::new(),
            capture: false,
        };
        folder.write_script(&spec.script, true).unwrap();
        let program = program(&spec, &folder.script(), None).unwrap();
        let launch = Launch { folder: &folder, spec: &spec, program, boot: "b", cookie: "c" };
        let wrappers: Vec<Child> = (0..16).map(|_| spawn(&launch).unwrap()).collect();
        for mut wrapper in wrappers {
            wrapper.wait().await.unwrap();
        }
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        assert_eq!(read(&dir.path().join("runs")), "run\n");
        assert_eq!(read(&folder.path().join("exit")), "3\n");
        assert_eq!(read(&folder.out()), "+ echo run\n+ exit 3\n");
    }
}

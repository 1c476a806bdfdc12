//! `up` with real processes: started, killed, stopped, taken over. This program plays all parts: called as `replica` or
//! `agent` it is a stand-in for the real one, called as `up` it runs `local::run`, otherwise it runs the stories.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod fake;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use local::{Options, Paths};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

const PATIENCE: Duration = Duration::from_secs(40);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("replica") => fake::replica(&arguments),
        Some("agent") => fake::agent(&arguments),
        Some("up") => up(&arguments),
        // asked by tools that list tests
        Some("--list") => {}
        _ => stories(),
    }
}

fn stories() {
    type Story = fn(&Path);
    let stories: [(&str, Story); 5] = [
        ("a killed replica is started again and the others are told", a_killed_replica_is_started_again),
        ("what hangs is killed and started again", what_hangs_is_killed),
        ("what kills up kills no replica, and the next up takes over", the_next_up_takes_over),
        ("a second up on the home, and a port in use, are refused", what_is_taken_is_refused),
        ("a replica that refuses to start ends a first start without a trace", a_refusal_leaves_no_trace),
    ];
    for (name, story) in stories {
        let folder = tempfile::tempdir().unwrap();
        story(folder.path());
        println!("story {name} ... ok");
    }
}

/// `up HOME LISTEN REPLICAS`
fn up(arguments: &[String]) {
    let [_, _, home, listen, replicas] = arguments else { panic!("{arguments:?}") };
    let options = Options {
        file: None,
        home: PathBuf::from(home),
        listen: Some(listen.parse().unwrap()),
        replicas: Some(replicas.parse().unwrap()),
        agents: 1,
        store: None,
        example: false,
        program: std::env::current_exe().unwrap(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let say = |line: &str| println!("{line}");
    if let Err(error) = runtime.block_on(local::run(options, Arc::new(say))) {
        println!("refused: {error}");
        std::process::exit(2);
    }
}

/// One `up` and the lines that it says.
struct Up {
    child: Child,
    lines: Receiver<String>,
}

impl Up {
    fn start(home: &Path, listen: SocketAddr, environment: &[(&str, &str)]) -> Up {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg("up").arg(home).arg(listen.to_string()).arg("3");
        command.envs(environment.iter().copied()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (said, lines) = channel();
        // ends with the process
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| said.send(line)));
        Up { child, lines }
    }

    /// Lines until one has all the words.
    fn until(&mut self, words: &str) -> Vec<String> {
        let mut seen = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let line = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            let Ok(line) = line else { panic!("no “{words}” in {seen:#?}") };
            let found = words.split(' ').all(|word| line.contains(word));
            seen.push(line);
            if found {
                return seen;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn stop(mut self) {
        self.signal(Signal::TERM);
        self.until("stopped; go on");
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // a story that failed: a clean stop, so that nothing stays behind
        if self.child.try_wait().unwrap().is_none() {
            self.signal(Signal::TERM);
            self.signal(Signal::INT);
            let _ = self.child.wait();
        }
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn pid(home: &Path, name: &str) -> Pid {
    let record = fs::read_to_string(Paths::new(home).replica_record(name)).unwrap();
    let record: local::ReplicaRecord = serde_json::from_str(&record).unwrap();
    Pid::from_raw(i32::try_from(record.pid).unwrap()).unwrap()
}

fn wait_for(what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn a_killed_replica_is_started_again(folder: &Path) {
    let (home, address) = (folder.join("home"), free_address());
    let mut up = Up::start(&home, address, &[("MAJORDOMO_STORE", "postgres://u:secret@h/d")]);
    let lines = up.until("Ctrl-C stops").join("\n");
    let password = fs::read_to_string(home.join("admin-password")).unwrap();
    assert!(lines.contains(password.trim()) && lines.contains(&format!("http://{address}/")), "{lines}");
    wait_for("all answer at one address", || {
        (0..3).all(|n| (0..60).any(|_| fake::get(address) == Some(format!("majordomo-{n}"))))
    });
    // steps of builds see the agent's environment
    wait_for("the agent runs", || home.join("agents/agent-1/environment").exists());
    let seen = fs::read_to_string(home.join("agents/agent-1/environment")).unwrap();
    assert!(!seen.contains("MAJORDOMO_STORE") && !seen.contains("secret@"), "{seen}");

    let killed = pid(&home, "majordomo-1");
    kill_process(killed, Signal::KILL).unwrap();
    up.until("majordomo-1 ended signal: 9");
    up.until("majordomo-1 is ready");
    for other in ["majordomo-0", "majordomo-2"] {
        let told = fs::read_to_string(home.join(format!("run/{other}.told"))).unwrap();
        assert!(told.contains(r#""name":"majordomo-1""#) && told.contains("Bearer "), "{told}");
        assert!(told.contains(&format!(r#""incarnation":{}"#, killed.as_raw_nonzero())), "{told}");
    }
    assert_ne!(pid(&home, "majordomo-1"), killed);
    let replicas: Vec<Pid> = (0..3).map(|n| pid(&home, &format!("majordomo-{n}"))).collect();
    up.stop();
    assert!(replicas.iter().all(|pid| test_kill_process(*pid).is_err()));
    assert!(fs::read_to_string(home.join("run/majordomo-0.told")).unwrap().contains("drain"));
}

fn what_hangs_is_killed(folder: &Path) {
    let (home, address) = (folder.join("home"), free_address());
    let mut up = Up::start(&home, address, &[]);
    up.until("Ctrl-C stops");
    kill_process(pid(&home, "majordomo-2"), Signal::STOP).unwrap();
    let began = Instant::now();
    up.until("majordomo-2 hangs");
    assert!(began.elapsed() > Duration::from_secs(3), "{:?}", began.elapsed());
    up.until("majordomo-2 is ready");
    up.stop();
}

fn the_next_up_takes_over(folder: &Path) {
    let (home, address) = (folder.join("home"), free_address());
    let mut first = Up::start(&home, address, &[]);
    first.until("Ctrl-C stops");
    wait_for("the agent runs", || home.join("agents/agent-1/environment").exists());
    let before: Vec<Pid> = (0..3).map(|n| pid(&home, &format!("majordomo-{n}"))).collect();
    first.signal(Signal::KILL);
    first.child.wait().unwrap();
    // one of them ends while nobody looks
    kill_process(before[2], Signal::KILL).unwrap();
    wait_for("the others go on", || fake::get(address).is_some());

    let mut second = Up::start(&home, address, &[]);
    let lines = second.until("Ctrl-C stops").join("\n");
    assert!(lines.contains("taking them over") && lines.contains("majordomo-2 starts"), "{lines}");
    if !lines.contains("agent-1 runs") {
        second.until("agent-1 runs");
    }
    assert_eq!([pid(&home, "majordomo-0"), pid(&home, "majordomo-1")], before[..2]);
    assert_ne!(pid(&home, "majordomo-2"), before[2]);
    wait_for("the new one accepts at the same socket", || {
        (0..60).any(|_| fake::get(address).as_deref() == Some("majordomo-2"))
    });
    kill_process(before[0], Signal::KILL).unwrap();
    second.until("majordomo-0 ended");
    second.until("majordomo-0 is ready");
    second.stop();
    assert!(fake::get(address).is_none());
}

fn what_is_taken_is_refused(folder: &Path) {
    let (home, address) = (folder.join("home"), free_address());
    let mut up = Up::start(&home, address, &[]);
    up.until("Ctrl-C stops");
    let mut second = Up::start(&home, free_address(), &[]);
    second.until("refused: another holds the home");
    assert_eq!(second.child.wait().unwrap().code(), Some(2));
    let mut third = Up::start(&folder.join("other"), address, &[]);
    third.until("refused: is in use by another program");
    assert!(!folder.join("other").exists());
    up.stop();
}

fn a_refusal_leaves_no_trace(folder: &Path) {
    let home = folder.join("home");
    let mut up = Up::start(&home, free_address(), &[("FAKE_REFUSES", "1")]);
    up.until("refused: the database refuses");
    assert_eq!(up.child.wait().unwrap().code(), Some(2));
    assert!(!home.exists());
}

//! What `up` refuses: one clear line, exit status 2, nothing half-created.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use crate::harness::{Controller, Refusal, Up, refused};

#[track_caller]
pub(crate) fn one_line(refusal: &Refusal, wanted: &str) {
    assert_eq!(refusal.status.code(), Some(2), "{}", refusal.said);
    assert!(refusal.said.contains(wanted), "{wanted:?} is not in: {}", refusal.said);
    assert_eq!(refusal.said.trim_end().lines().count(), 1, "{}", refusal.said);
}

#[track_caller]
pub(crate) fn nothing_was_made(home: &Path) {
    assert!(
        !home.exists(),
        "{:?}",
        fs::read_dir(home).map(|d| d.flatten().map(|e| e.path()).collect::<Vec<_>>())
    );
}

#[test]
fn bad_options_are_refused_before_anything_is_made() {
    for (flag, value, wanted) in [
        ("--replicas", "0", "0 is not in 1..=9"),
        ("--replicas", "10", "10 is not in 1..=9"),
        ("--replicas", "many", "invalid value"),
        ("--agents", "101", "not in 0..=100"),
        ("--store", "mysql://x/y", "--store takes"),
        ("--store", "@/no/such/file", "there is no file"),
        ("--listen", "127.0.0.1:99999", "the port is at most 65535"),
        ("--frobnicate", "1", "unexpected argument"),
    ] {
        let up = Up::new(1, 0);
        let mut command = std::process::Command::new(crate::harness::BINARY);
        command.args(["up", "--no-example", "--home"]).arg(up.home()).args([flag, value]);
        command.env_remove("MAJORDOMO_STORE");
        let refusal = refused(command);
        assert_eq!(refusal.status.code(), Some(2), "{}", refusal.said);
        assert!(refusal.said.contains(wanted), "{wanted:?} is not in: {}", refusal.said);
        nothing_was_made(&up.home());
    }
}

#[test]
fn a_secret_is_refused_as_an_argument_of_any_command() {
    let up = Up::new(1, 0);
    let home = up.home().display().to_string();
    let store = ["--store", "postgres://ci:hush-hush@127.0.0.1:1/ci"];
    let auth = ["--home", &home, "--auth", "admin:hush-hush"];
    for (command, arguments) in [
        (&["up", "--home", &home][..], &store[..]),
        (&["init", "--to", &home], &store),
        (&["replica", "--name", "r", "--home", &home], &store),
        (&["replica", "--name", "r", "--home", &home], &["--metrics-token", "hush-hush"]),
        (&["replicas"], &auth),
        (&["restart"], &auth),
        (&["reload"], &auth),
        (&["drain", "r"], &auth),
        (&["verify-log", "app", "1"], &auth),
        (&["failover-test"], &auth),
    ] {
        let mut program = std::process::Command::new(crate::harness::BINARY);
        program.args(command).args(arguments).env_remove("MAJORDOMO_STORE");
        let refusal = refused(program);
        one_line(&refusal, "arguments show in the list of processes");
        assert!(!refusal.said.contains("hush-hush"), "{}", refusal.said);
        nothing_was_made(&up.home());
    }
}

#[test]
fn a_file_that_is_no_controller_is_refused_with_its_place() {
    let bomb = format!(
        "a: &a [x,x,x,x,x,x,x,x,x]\n{}",
        (0..12)
            .map(|n| {
                let name = |n: u8| char::from(b'a' + n);
                format!(
                    "{}: &{} [{}]\n",
                    name(n + 1),
                    name(n + 1),
                    vec![format!("*{}", name(n)); 9].join(",")
                )
            })
            .collect::<String>()
    );
    for (text, wanted) in [
        ("", ""),
        ("kind: [", "line"),
        ("apiVersion: v1\nkind: Pod\n", "HAController"),
        (
            "apiVersion: majordomo.dev/v1alpha1\nkind: HAController\nmetadata: {name: 'UPPER case'}\nspec: {}\n",
            "",
        ),
        (
            "apiVersion: majordomo.dev/v1alpha1\nkind: HAController\nmetadata: {name: x}\nspec: {replicas: 99}\n",
            "replicas",
        ),
        (
            "apiVersion: majordomo.dev/v1alpha1\nkind: HAController\nmetadata: {name: x}\nspec: {replicaz: 3}\n",
            "replicaz",
        ),
        (&bomb, ""),
        (&"[".repeat(100_000), ""),
        ("\u{0}\u{1}", ""),
    ] {
        let mut up = Up::new(1, 0);
        let file = up.folder.path().join("acme.yaml");
        fs::write(&file, text).unwrap();
        up.more.extend(["-f".to_owned(), file.display().to_string()]);
        let refusal = up.refused();
        one_line(&refusal, "acme.yaml");
        assert!(refusal.said.contains(wanted), "{wanted:?} is not in: {}", refusal.said);
        assert!(refusal.said.len() < 600, "{}", refusal.said);
        nothing_was_made(&up.home());
    }
    let mut up = Up::new(1, 0);
    up.more.extend(["-f".to_owned(), "/no/such/file.yaml".to_owned()]);
    one_line(&up.refused(), "there is no such file");
}

#[test]
fn a_port_in_use_is_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let up = Up::new(1, 0);
    let mut command = std::process::Command::new(crate::harness::BINARY);
    command
        .args(["up", "--no-example", "--listen", &taken.local_addr().unwrap().to_string(), "--home"])
        .arg(up.home());
    command.env_remove("MAJORDOMO_STORE");
    one_line(&refused(command), "in use");
    nothing_was_made(&up.home());
}

#[test]
fn folders_that_are_no_home_are_left_as_they_are() {
    let up = Up::new(1, 0);
    fs::create_dir(up.home()).unwrap();
    fs::write(up.home().join("thesis.txt"), "precious").unwrap();
    one_line(&up.refused(), "is not empty and no home");
    assert_eq!(fs::read_dir(up.home()).unwrap().count(), 1);

    let up = Up::new(1, 0);
    fs::write(up.home(), "a file").unwrap();
    one_line(&up.refused(), "is not a folder");
    assert_eq!(fs::read_to_string(up.home()).unwrap(), "a file");

    let up = Up::new(1, 0);
    fs::create_dir(up.home()).unwrap();
    fs::write(up.home().join("home.json"), r#"{"format": 999, "unknown": []}"#).unwrap();
    one_line(&up.refused(), "newer Majordomo");
    assert_eq!(fs::read_dir(up.home()).unwrap().count(), 1);

    let up = Up::new(1, 0);
    fs::create_dir(up.home()).unwrap();
    fs::write(up.home().join("home.json"), "{").unwrap();
    one_line(&up.refused(), "home.json");
}

#[test]
fn a_home_that_cannot_be_written_is_refused() {
    let mut up = Up::new(1, 0);
    // /proc is a file system in which nobody can make a folder, not even root
    let mut command = std::process::Command::new(crate::harness::BINARY);
    command
        .args(["up", "--no-example", "--listen", "127.0.0.1:0", "--home", "/proc/home"])
        .env_remove("MAJORDOMO_STORE");
    one_line(&refused(command), "/proc");
    up.more.extend(["--store".to_owned(), "sqlite:/proc/nowhere/x.db".to_owned()]);
    one_line(&up.refused(), "/proc/nowhere");
    nothing_was_made(&up.home());
}

#[test]
fn a_database_that_refuses_is_told_in_one_line() {
    // whoever listens here speaks no PostgreSQL
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in silent.incoming().flatten() {
            use std::io::{Read, Write};
            let mut stream = stream;
            let _asked = stream.read(&mut [0; 64]);
            let _said = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let mut up = Up::new(1, 0);
    up.env.push(("MAJORDOMO_STORE", format!("postgres://ci:hush-hush@{address}/ci")));
    let refusal = up.refused();
    assert!(!refusal.said.contains("hush-hush"), "{}", refusal.said);
    one_line(&refusal, "");
    nothing_was_made(&up.home());
}

#[test]
fn a_first_start_gives_up_on_a_database_that_does_not_answer() {
    // an address where nobody listens, once it is let go
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut up = Up::new(1, 0);
    up.env.push(("MAJORDOMO_STORE", format!("postgres://ci:hush-hush@{address}/ci")));
    let refusal = up.refused();
    assert!(!refusal.said.contains("hush-hush"), "{}", refusal.said);
    one_line(&refusal, &format!("no database server answers at {address}"));
    nothing_was_made(&up.home());
}

#[test]
fn a_home_that_is_held_or_of_another_controller_is_refused() {
    let it = Controller::start(1, 0);
    let second = || {
        let mut command = std::process::Command::new(crate::harness::BINARY);
        command.args(["up", "--no-example", "--listen", "127.0.0.1:0", "--home"]).arg(&it.home);
        command.env_remove("MAJORDOMO_STORE");
        command
    };
    one_line(&refused(second()), "another `majordomo up`");
    let yaml = it.home.parent().unwrap().join("other.yaml");
    fs::write(
        &yaml,
        "apiVersion: majordomo.dev/v1alpha1\nkind: HAController\nmetadata: {name: other}\nspec: {}\n",
    )
    .unwrap();
    let mut other = second();
    other.arg("-f").arg(&yaml);
    one_line(&refused(other), "belongs to the controller majordomo, not other");
    let mut other = second();
    other.args(["--store", "postgres://localhost/x"]);
    one_line(&refused(other), "keeps its state in SQLite");
    let mut other = second();
    other.arg("--store").arg(format!("sqlite:{}", it.home.parent().unwrap().join("x.db").display()));
    one_line(&refused(other), "keeps its state in SQLite at majordomo.db");
    it.admin.get("/api/json").expect(200);
    it.unharmed();
}

#[test]
fn a_database_of_another_controller_is_refused_and_left_alone() {
    let shared = tempfile::tempdir().unwrap();
    let up = || {
        let mut up = Up::new(1, 0);
        let database = shared.path().join("shared.db");
        up.more.extend(["--store".to_owned(), format!("sqlite:{}", database.display())]);
        up
    };
    let it = Controller::of(up());
    let second = up();
    one_line(&second.refused(), "the database belongs to another controller, majordomo-");
    nothing_was_made(&second.home());
    assert_eq!(it.admin.json("/replicas/api/json")["replicas"].as_array().unwrap().len(), 1);
    it.unharmed();
}

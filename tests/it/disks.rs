//! Disks that a home may meet: full, read-only, far away. Mounting takes root; without it these are told as not run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{Controller, PATIENCE, Up, job_xml, refused, until, within};
use crate::refusals::{nothing_was_made, one_line};

/// A mounted folder; unmounted when dropped.
struct Mount(PathBuf);

impl Mount {
    /// Runs the program that mounts something on the folder; `None`, said on stderr, when it can't.
    fn with(folder: &Path, program: &str, arguments: &[&str]) -> Option<Mount> {
        fs::create_dir_all(folder).unwrap();
        let mounted = Command::new(program).args(arguments).arg(folder).output();
        if mounted.is_ok_and(|m| m.status.success()) {
            return Some(Mount(fs::canonicalize(folder).unwrap()));
        }
        #[expect(clippy::print_stderr, reason = "what is missing is told, never passed over")]
        {
            eprintln!("not run: {program} {arguments:?} is not possible here");
        }
        None
    }

    fn tmpfs(folder: &Path, options: &str) -> Option<Mount> {
        Mount::with(folder, "mount", &["-t", "tmpfs", "-o", options, "tmpfs"])
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _gone = Command::new("umount").arg("-l").arg(&self.0).status();
        let _empty = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_read_only_a_full_and_a_far_disk_are_refused_and_stay_as_they_are() {
    let up = Up::new(1, 0);
    let folder = up.folder.path();
    let tell = |disk: Option<Mount>, wanted: &str| {
        let Some(disk) = disk else { return };
        let mut command = Command::new(crate::harness::BINARY);
        let home = disk.0.join("home");
        command.args(["up", "--no-example", "--listen", "127.0.0.1:0", "--home"]).arg(&home);
        command.env_remove("MAJORDOMO_STORE");
        one_line(&refused(command), wanted);
        nothing_was_made(&home);
    };
    tell(Mount::tmpfs(&folder.join("read-only"), "ro,size=100m"), "read-only");
    tell(Mount::tmpfs(&folder.join("small"), "size=8m"), "less than 64 MiB free");
    let near = folder.join("near");
    fs::create_dir(&near).unwrap();
    // a real FUSE file system under the name of one that reaches another machine
    let far = ["-o", "subtype=sshfs,fsname=host:/home", near.to_str().unwrap()];
    tell(Mount::with(&folder.join("far"), "bindfs", &far), "network file system (fuse.sshfs)");
}

/// Longer than a lease: whoever were lost by what is going on is lost by then.
const LEASE: Duration = Duration::from_secs(7);

#[test]
fn a_disk_that_fills_up_ends_nobody_and_what_waited_goes_on_when_there_is_room() {
    let up = Up::new(2, 1);
    // the program is kept in the home, and with what a debugger needs it is large
    let Some(disk) = Mount::tmpfs(up.folder.path(), "size=320m") else { return };
    let it = Controller::of(up);
    let create = |name: &str| it.admin.xml(&format!("/createItem?name={name}"), &job_xml("echo 'x'"));
    // the agents' spools are on this disk too, so it runs nothing there while it is full
    it.admin.create_job("long", "sleep 12\nnode { sh 'echo room again' }");
    it.admin.post("/job/long/build").expect(201);
    until("the build to wait", || {
        it.admin.get("/job/long/1/consoleText").text().contains("[Pipeline] sleep").then_some(())
    });

    fs::write(disk.0.join("filler"), vec![b'x'; 400 << 20]).unwrap_err();
    let mut names = (0..).map(|n| format!("n{n}"));
    let refusal = until("a write that finds no room", || {
        let answer = create(&names.next().unwrap());
        (answer.status == 503).then_some(answer)
    });
    assert!(refusal.text().contains("full"), "{}", refusal.text());
    assert_ne!(refusal.header("retry-after"), "");
    let since = Instant::now();
    while since.elapsed() < LEASE {
        it.admin.get("/job/long/api/json").expect(200);
        std::thread::sleep(Duration::from_millis(500));
    }

    fs::remove_file(disk.0.join("filler")).unwrap();
    within(PATIENCE, "room to write", || (create(&names.next().unwrap()).status == 200).then_some(()));
    assert_eq!(it.pids_now(), it.pids, "nobody was lost");
    assert_eq!(it.admin.result("long", 1), "SUCCESS", "{}", it.admin.console("long", 1));
    assert!(it.admin.console("long", 1).contains("\nroom again\n"));
    drop(it);
    drop(disk);
}

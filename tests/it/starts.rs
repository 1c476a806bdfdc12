//! How a controller begins, when its beginning is cut short.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use crate::harness::{Controller, Guard, Up};

#[test]
fn a_first_start_that_was_killed_is_completed_by_the_next_one() {
    for millis in [5, 40, 150, 700] {
        let options = Up::new(1, 0);
        let folder = fs::canonicalize(options.folder.path()).unwrap();
        let mut first = options.command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let guard = Guard::new(&folder, first.id());
        std::thread::sleep(Duration::from_millis(millis));
        first.kill().unwrap();
        first.wait().unwrap();
        // with port 0 it takes the address that what the first one left running has already
        let it = Controller::of(options);
        it.admin.get("/api/json").expect(200);
        // what goes into a file says where the password is, and not what it is
        let said = fs::read_to_string(folder.join("up.log")).unwrap();
        let file = it.home.join("admin-password");
        let password = fs::read_to_string(&file).unwrap();
        assert!(said.contains(&file.display().to_string()) && !said.contains(password.trim()), "{said}");
        let (result, console) = it.admin.try_script("first", "echo 'complete'");
        assert_eq!(result, "SUCCESS", "{console}");
        drop((it, guard));
    }
}

#[test]
fn builds_know_where_users_find_them() {
    let it = Controller::start(1, 0);
    let (result, console) = it.admin.try_script("where", "echo \"at ${env.BUILD_URL}\"");
    assert_eq!(result, "SUCCESS", "{console}");
    let here = format!("at http://{}/job/where/1/", it.admin.address);
    assert!(console.contains(&here), "{here} is not in: {console}");
}

use super::*;

fn revision(text: &str) -> Revision {
    Revision(text.to_owned())
}

fn script(path: &Path, text: &str) {
    let aside = path.with_extension("aside");
    fs::write(&aside, text).unwrap();
    fs::set_permissions(&aside, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(aside, path).unwrap();
}

fn order(to: &str, source: Source, keep: &str) -> Order {
    Order { revision: revision(to), source, keep: revision(keep) }
}

fn started(root: &Path) -> (String, String) {
    let current = Programs::current(root).unwrap().0;
    (current, fs::read_to_string(root.join("current").join(PROGRAM)).unwrap())
}

fn kept(root: &Path) -> Vec<String> {
    let names = fs::read_dir(root.join("revisions")).unwrap().flatten();
    let mut names: Vec<_> = names.map(|e| e.file_name().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_machine_takes_programs_restarts_them_and_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let (root, installed) = (folder.path().join("state"), folder.path().join("installed"));
    fs::create_dir(&root).unwrap();
    let open = || Arc::new(Programs::open(&root, Some(installed.clone()), None).unwrap());
    script(&installed, "#!/bin/sh\n# one\n");
    // as the start program does it
    fs::create_dir_all(root.join("revisions/first")).unwrap();
    fs::copy(&installed, root.join("revisions/first/majordomo")).unwrap();
    symlink("revisions/first", root.join("current")).unwrap();
    let programs = open();
    assert_eq!(programs.runs(), &revision("1.0"));
    let one = "#!/bin/sh\n# one\n".to_owned();
    assert_eq!((started(&root), kept(&root)), (("1.0".to_owned(), one.clone()), vec!["1.0".to_owned()]));

    script(&installed, "#!/bin/sh\n# two\n");
    for _again in 0..2 {
        Arc::clone(&programs).take(order("1.1", Source::Kept, "1.0")).await.unwrap();
        assert_eq!(started(&root), ("1.1".to_owned(), one.clone()), "a restart takes no other program");
        assert!(!Programs::on_trial(&root));
    }
    let programs = open();
    Arc::clone(&programs).take(order("2.0", Source::Installed, "1.1")).await.unwrap();
    let two = "#!/bin/sh\n# two\n".to_owned();
    assert_eq!(started(&root), ("2.0".to_owned(), two.clone()));
    assert_eq!(fs::read_to_string(root.join("trial")).unwrap(), "1.1 3\n");
    assert_eq!(kept(&root), ["1.1", "2.0"]);
    let programs = open();
    assert!(Programs::on_trial(&root));
    programs.ready().unwrap();
    assert!(!Programs::on_trial(&root));

    Arc::clone(&programs).take(order("1.1", Source::Kept, "1.1")).await.unwrap();
    assert_eq!(started(&root), ("1.1".to_owned(), one));
    // it was away, and is behind
    let programs = open();
    Arc::clone(&programs).take(order("3.2", Source::Kept, "3.1")).await.unwrap();
    assert_eq!((started(&root), Programs::on_trial(&root)), (("3.2".to_owned(), two), true));
}

#[tokio::test]
async fn a_program_that_can_not_run_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let (root, installed) = (folder.path().join("state"), folder.path().join("installed"));
    fs::create_dir(&root).unwrap();
    let programs = Arc::new(Programs::open(&root, Some(installed.clone()), None).unwrap());
    for (text, why) in [("#!/bin/sh\nexit 3\n", "exit status: 3"), ("\u{7f}ELF", "does not run")] {
        script(&installed, text);
        let order = order("2.0", Source::Installed, "1.0");
        let error = Arc::clone(&programs).take(order).await.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        assert_eq!(Programs::current(&root), Some(revision("1.0")));
        assert_eq!(kept(&root), ["1.0"], "nothing is left of it");
    }
    fs::remove_file(&installed).unwrap();
    let none = Arc::clone(&programs).take(order("2.0", Source::Installed, "1.0")).await.unwrap_err();
    assert!(none.to_string().starts_with("copy the program to"), "{none}");
    assert_eq!(kept(&root), ["1.0"]);
}

#[test]
fn what_was_gone_back_from_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let programs = Programs::open(folder.path(), None, None).unwrap();
    assert_eq!(programs.gave_up(), None);
    fs::write(folder.path().join("gave-up"), "4.0\nit ended 3 times\n").unwrap();
    let wanted = GaveUp { revision: revision("4.0"), why: "it ended 3 times".to_owned() };
    assert_eq!(programs.gave_up(), Some(wanted));
}

#[tokio::test]
async fn a_program_that_can_not_be_put_in_its_place_is_not_on_trial() {
    let folder = tempfile::tempdir().unwrap();
    let (root, installed) = (folder.path().join("state"), folder.path().join("installed"));
    fs::create_dir_all(&root).unwrap();
    script(&installed, "#!/bin/sh\n");
    let programs = Arc::new(Programs::open(&root, Some(installed.clone()), None).unwrap());
    // nothing can be written there
    fs::create_dir_all(root.join("current.new/full")).unwrap();
    for _again in 0..2 {
        let order = order("2.0", Source::Installed, "1.0");
        Arc::clone(&programs).take(order).await.unwrap_err();
    }
    fs::remove_dir_all(root.join("current.new")).unwrap();
    Arc::clone(&programs).take(order("2.0", Source::Installed, "1.0")).await.unwrap();
    assert_eq!(fs::read_to_string(root.join("trial")).unwrap(), "1.0 3\n");
    fs::remove_file(root.join("current")).unwrap();
    symlink("revisions/1.0", root.join("current")).unwrap();
    fs::write(root.join("trial.new"), "").unwrap();
    fs::create_dir(root.join("gave-up")).unwrap();
    Arc::clone(&programs).take(order("3.0", Source::Installed, "1.0")).await.unwrap_err();
    assert!(!Programs::on_trial(&root) && !root.join("trial.new").exists());
    assert_eq!(kept(&root), ["1.0"]);
}

#[tokio::test]
async fn what_was_checked_is_what_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let (root, installed) = (folder.path().join("state"), folder.path().join("installed"));
    fs::create_dir(&root).unwrap();
    let programs = Arc::new(Programs::open(&root, Some(installed.clone()), None).unwrap());
    // another package arrives while it is asked for its version
    let text = format!("#!/bin/sh\necho three >{}\n", installed.display());
    script(&installed, &text);
    Arc::clone(&programs).take(order("2.0", Source::Installed, "1.0")).await.unwrap();
    assert_eq!(fs::read_to_string(&installed).unwrap(), "three\n");
    assert_eq!(started(&root), ("2.0".to_owned(), text));
}

#[tokio::test]
async fn a_trial_goes_back_to_what_was_ready_once() {
    let folder = tempfile::tempdir().unwrap();
    let (root, installed) = (folder.path().join("state"), folder.path().join("installed"));
    fs::create_dir_all(root.join("revisions/1.1")).unwrap();
    script(&installed, "#!/bin/sh\n");
    fs::copy(&installed, root.join("revisions/1.1/majordomo")).unwrap();
    symlink("revisions/1.1", root.join("current")).unwrap();
    let open = || Arc::new(Programs::open(&root, Some(installed.clone()), None).unwrap());
    open().take(order("2.0", Source::Installed, "1.1")).await.unwrap();
    // it never gets ready, and waits for something when the next one is asked for
    for (number, keep) in [("3.0", "1.1"), ("4.0", "0.9")] {
        open().take(order(number, Source::Installed, keep)).await.unwrap();
        assert_eq!(fs::read_to_string(root.join("trial")).unwrap(), "1.1 3\n", "{number}");
        assert!(kept(&root).contains(&"1.1".to_owned()), "{:?}", kept(&root));
    }
    open().ready().unwrap();
    open().take(order("5.0", Source::Installed, "1.1")).await.unwrap();
    assert_eq!(fs::read_to_string(root.join("trial")).unwrap(), "4.0 3\n");
}

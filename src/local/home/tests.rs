use std::os::unix::fs::PermissionsExt;

use super::*;

fn wanted() -> Wanted {
    Wanted { name: None, store: None, agents: 2, example: false }
}

fn start(root: &Path, wanted: &Wanted) -> Result<Home, Error> {
    Taken::take(root, wanted)?.complete(wanted)
}

fn refusal(root: &Path, wanted: &Wanted) -> String {
    match start(root, wanted) {
        Ok(_) => panic!("taken"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_first_start_makes_a_home_and_the_next_one_finds_it() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("home");
    let home = start(&root, &wanted()).unwrap();
    assert!(home.new);
    let password = home.password().unwrap();
    let bootstrap = Bootstrap::read(&home.paths.bootstrap()).unwrap().unwrap();
    assert_eq!(bootstrap.nodes.len(), 2);
    assert!(bootstrap.controller.starts_with("majordomo-"));
    let secrets = [home.paths.master_key(), home.paths.admin_password(), home.paths.admin_token()];
    for secret in secrets.into_iter().chain([home.paths.agent_secret("agent-1")]) {
        assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600, "{secret:?}");
    }
    let secret = fs::read_to_string(home.paths.agent_secret("agent-2")).unwrap();
    assert_eq!(secret.trim(), home.keys.agent_secret("agent-2"));
    drop(home);
    let again = start(&root, &Wanted { agents: 3, ..wanted() }).unwrap();
    assert!(!again.new);
    assert_eq!(again.password(), Some(password));
    let after = Bootstrap::read(&again.paths.bootstrap()).unwrap().unwrap();
    assert_eq!((after.nodes.len(), &after.admin), (3, &bootstrap.admin));
}

#[test]
fn a_start_cut_short_anywhere_is_completed() {
    let folder = tempfile::tempdir().unwrap();
    let files = ["home.json", "bootstrap.json", "admin-password", "secrets/master.key"];
    // as if killed before each of these was written, the last written first
    for cut in 1..=files.len() {
        let root = folder.path().join(format!("home{cut}"));
        drop(start(&root, &wanted()).unwrap());
        let before = fs::read_to_string(root.join("admin-password")).unwrap();
        files[..cut].iter().for_each(|file| fs::remove_file(root.join(file)).unwrap());
        let home = start(&root, &wanted()).unwrap();
        assert!(home.new);
        let kept = home.password().unwrap().expose() == before.trim();
        assert_eq!(kept, cut < 3, "{cut}");
        assert!(root.join("home.json").exists());
    }
    // and as if killed right after the lock was made, before it was marked
    let root = folder.path().join("lock-only");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("up.lock"), "").unwrap();
    assert!(start(&root, &wanted()).unwrap().new);
}

#[test]
fn a_home_that_is_held_foreign_newer_or_damaged_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("home");
    let held = start(&root, &wanted()).unwrap();
    assert!(refusal(&root, &wanted()).contains(&format!("(process {})", std::process::id())));
    drop(held);
    let acme = Wanted { name: Some("acme".to_owned()), ..wanted() };
    assert!(refusal(&root, &acme).contains("belongs to the controller majordomo, not acme"));
    let postgres = Wanted { store: Some(StoreUrl::parse("postgres://h/d").unwrap()), ..wanted() };
    assert!(refusal(&root, &postgres).contains("keeps its state in SQLite"));
    let identity = fs::read_to_string(root.join("home.json")).unwrap();
    fs::write(root.join("home.json"), r#"{"format": 2, "other": 1}"#).unwrap();
    assert!(refusal(&root, &wanted()).contains("format 2 of a newer Majordomo"));
    fs::write(root.join("home.json"), "{").unwrap();
    assert!(refusal(&root, &wanted()).contains("damaged"));
    fs::write(root.join("home.json"), identity).unwrap();
    fs::remove_file(root.join("secrets/master.key")).unwrap();
    assert!(refusal(&root, &wanted()).contains("restore it from a backup"));
}

#[test]
fn a_home_has_one_database_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let of = |url: &str| Wanted { store: Some(StoreUrl::parse(url).unwrap()), ..wanted() };
    let elsewhere = of(&format!("sqlite:{}", folder.path().join("x.db").display()));
    let root = folder.path().join("own");
    drop(start(&root, &wanted()).unwrap());
    let said = refusal(&root, &elsewhere);
    assert!(said.contains("in SQLite at majordomo.db, not at /"), "{said}");
    // named, or moved with its home, it is the same
    let named = of(&format!("sqlite:{}", root.join("majordomo.db").display()));
    drop(start(&root, &named).unwrap());
    let moved = folder.path().join("moved");
    fs::rename(&root, &moved).unwrap();
    drop(start(&moved, &wanted()).unwrap());

    let root = folder.path().join("elsewhere");
    drop(start(&root, &elsewhere).unwrap());
    assert!(refusal(&root, &wanted()).contains("x.db, not at majordomo.db"));
    drop(start(&root, &elsewhere).unwrap());

    let root = folder.path().join("postgres");
    drop(start(&root, &of("postgres://ci:hush-hush@h/ci")).unwrap());
    drop(start(&root, &of("postgres://other:hash-hash@h:5432/ci")).unwrap());
    assert!(
        refusal(&root, &of("postgres://ci:hush-hush@h/other")).contains("h:5432/ci, not at h:5432/other")
    );
    let kept = fs::read_to_string(root.join("home.json")).unwrap();
    assert!(!kept.contains("hush") && !kept.contains("ci:"), "{kept}");
}

#[test]
fn a_home_of_a_version_that_kept_no_place_gets_one() {
    let folder = tempfile::tempdir().unwrap();
    drop(start(folder.path(), &wanted()).unwrap());
    let file = folder.path().join("home.json");
    let old = r#"{"format": 1, "controller": "majordomo-x", "name": "majordomo", "store": "sqlite"}"#;
    fs::write(&file, old).unwrap();
    assert!(!start(folder.path(), &wanted()).unwrap().new);
    let kept = fs::read_to_string(&file).unwrap();
    assert!(kept.contains("majordomo-x") && kept.contains(r#""place": "majordomo.db""#), "{kept}");
}

#[test]
fn the_folder_of_a_database_must_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let of = |path: &Path| {
        let url = format!("sqlite:{}", path.display());
        Wanted { store: Some(StoreUrl::parse(&url).unwrap()), ..wanted() }
    };
    let (root, missing) = (folder.path().join("home"), folder.path().join("missing"));
    let said = refusal(&root, &of(&missing.join("x.db")));
    assert!(said.contains(&format!("there is no folder {}", missing.display())), "{said}");
    assert!(!root.exists() && !missing.exists());
    // the home's own is made
    drop(start(&root, &of(&root.join("x.db"))).unwrap());
}

#[test]
fn a_folder_of_somebody_else_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.txt"), "x").unwrap();
    assert!(refusal(folder.path(), &wanted()).contains("is not empty and no home"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    // not even when its names are ours
    let other = tempfile::tempdir().unwrap();
    for name in ["logs", "run", "example"] {
        fs::create_dir(other.path().join(name)).unwrap();
    }
    assert!(refusal(other.path(), &wanted()).contains("is not empty and no home"));
    assert_eq!(fs::read_dir(other.path()).unwrap().count(), 3);
}

#[test]
fn nothing_is_left_when_nothing_comes_of_a_first_start() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("new/home");
    drop(Taken::take(&root, &wanted()).unwrap());
    assert!(!root.exists());
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    drop(Taken::take(&empty, &wanted()).unwrap());
    assert_eq!(fs::read_dir(&empty).unwrap().count(), 0);
    start(&root, &wanted()).unwrap().undo_first_start();
    assert!(!root.exists());
    drop(start(&root, &wanted()).unwrap());
    drop(Taken::take(&root, &wanted()).unwrap());
    start(&root, &wanted()).unwrap().undo_first_start();
    assert!(root.join("home.json").exists());
}

#[test]
fn a_home_is_all_there_is_until_another_database_may_know_it() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["majordomo-0".to_owned()];
    let joined = |home: &Home| fs::write(home.paths.replica_record("majordomo-0"), "{}").unwrap();
    let inside = start(&folder.path().join("a"), &wanted()).unwrap();
    joined(&inside);
    assert!(inside.is_all(&names));
    let store = Some(StoreUrl::parse("postgres://h/d").unwrap());
    let outside = start(&folder.path().join("b"), &Wanted { store, ..wanted() }).unwrap();
    assert!(outside.is_all(&names));
    joined(&outside);
    assert!(!outside.is_all(&names));
}

#[test]
fn the_example_is_created_once() {
    let folder = tempfile::tempdir().unwrap();
    let wanted = Wanted { example: true, ..wanted() };
    let home = start(folder.path(), &wanted).unwrap();
    if home.no_example.is_some() {
        return; // no git on this machine
    }
    let items = |home: &Home| Bootstrap::read(&home.paths.bootstrap()).unwrap().unwrap().items.len();
    assert_eq!(items(&home), 1);
    home.first_start_done().unwrap();
    assert_eq!(items(&home), 0);
    drop(home);
    assert_eq!(items(&start(folder.path(), &wanted).unwrap()), 0);
}

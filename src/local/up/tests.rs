use super::*;

fn options(folder: &Path) -> Options {
    Options {
        setup_wizard: false,
        file: None,
        home: folder.join("home"),
        listen: None,
        replicas: None,
        agents: 2,
        store: None,
        example: true,
        metrics_open: false,
        program: PathBuf::from("/bin/false"),
    }
}

fn silent() -> Say {
    Arc::new(|_| {})
}

#[test]
fn options_override_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("acme.yaml");
    let text = "apiVersion: majordomo.dev/v1alpha1\nkind: HAController\nmetadata: {name: acme}\n\
                spec: {replicas: 5, store: {postgres: {url: 'postgres://a/b'}}, ingress: {host: x}}\n";
    std::fs::write(&file, text).unwrap();
    let from_file = Options { file: Some(file), ..options(folder.path()) };
    let said = Arc::new(std::sync::Mutex::new(Vec::new()));
    let lines = said.clone();
    let say: Say = Arc::new(move |line: &str| lines.lock().unwrap().push(line.to_owned()));
    let (found, wanted) = plan(&from_file, &say).unwrap();
    assert_eq!((found.replicas, wanted.name.as_deref()), (5, Some("acme")));
    assert_eq!(wanted.store.unwrap().expose(), "postgres://a/b");
    assert!(said.lock().unwrap()[0].contains("acme.yaml: spec.ingress: it counts on Kubernetes only"));
    let store = Some(StoreUrl::parse("sqlite:/x.db").unwrap());
    let (found, wanted) = plan(&Options { replicas: Some(1), store, ..from_file }, &silent()).unwrap();
    assert_eq!((found.replicas, wanted.store.unwrap().expose()), (1, "sqlite:/x.db"));
}

#[test]
fn a_file_or_a_number_that_can_not_be_is_refused_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("acme.yaml");
    let with_file = Options { file: Some(file.clone()), ..options(folder.path()) };
    let refusal = |options: &Options| plan(options, &silent()).unwrap_err().to_string();
    assert!(refusal(&with_file).contains("there is no such file"));
    std::fs::write(&file, "kind: [").unwrap();
    assert!(refusal(&with_file).contains("acme.yaml: "));
    std::fs::write(&file, [0xff, 0xfe]).unwrap();
    assert!(refusal(&with_file).ends_with("acme.yaml: it is not text in UTF-8"));
    std::fs::write(
        &file,
        "apiVersion: majordomo.dev/v1alpha1\nkind: HAController\nmetadata: {name: a}\n\
         spec: {store: {postgres: {url: 'mysql://u:hush@h/d'}}}\n",
    )
    .unwrap();
    let said = refusal(&with_file);
    assert!(said.contains("acme.yaml: spec.store.postgres.url: it must begin with postgres://"), "{said}");
    assert!(!said.contains("hush") && !said.contains("--store"), "{said}");
    let text =
        "apiVersion: majordomo.dev/v1alpha1\nkind: HAController\nmetadata: {name: a}\nspec: {replicas: 0}\n";
    std::fs::write(&file, text).unwrap();
    let said = refusal(&with_file);
    assert!(said.contains("acme.yaml: spec.replicas: with 0 replicas nothing would run here"), "{said}");
    let some = Options { replicas: Some(2), ..with_file };
    assert_eq!(plan(&some, &silent()).unwrap().0.replicas, 2);
}

#[test]
fn an_address_for_all_is_reached_on_this_machine() {
    for (listens, reached) in
        [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "[::1]:80"), ("10.0.0.1:80", "10.0.0.1:80")]
    {
        assert_eq!(reachable(listens.parse().unwrap()).to_string(), reached);
    }
}

#[tokio::test]
async fn users_are_told_an_address_that_others_can_use() {
    assert_eq!(public("127.0.0.1:8080".parse().unwrap()).await, "http://127.0.0.1:8080/");
    assert_eq!(public("[::1]:80".parse().unwrap()).await, "http://[::1]:80/");
    let of_all = public("0.0.0.0:8080".parse().unwrap()).await;
    let known = [host_name().unwrap_or_default(), "127.0.0.1".to_owned()];
    assert!(known.iter().any(|host| of_all == format!("http://{host}:8080/")), "{of_all}");
}

/// A replica that waits for its store for ever.
fn waiting(folder: &Path) -> Options {
    use std::os::unix::fs::OpenOptionsExt;
    let program = folder.join("waits");
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o700).open(&program);
    let script = "#!/bin/sh\necho '{\"pid\": '$$', \"why\": \"nobody answers\"}' >\"$3/run/$5.wait.json\"\nexec sleep 60\n";
    std::io::Write::write_all(&mut file.unwrap(), script.as_bytes()).unwrap();
    let listen = Some("127.0.0.1:0".parse().unwrap());
    let store = Some(StoreUrl::parse("postgres://ci@h/ci").unwrap());
    Options { program, listen, store, replicas: Some(1), agents: 0, example: false, ..options(folder) }
}

#[tokio::test]
async fn a_first_start_of_which_nothing_comes_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let wait = home.join("run/majordomo-0.wait.json");
    let said = Arc::new(std::sync::Mutex::new(Vec::new()));
    let lines = said.clone();
    let say: Say = Arc::new(move |line: &str| lines.lock().unwrap().push(line.to_owned()));
    // its store does not answer
    let short = Patience { progress: Duration::from_millis(300), first_answer: Duration::from_millis(1_000) };
    let error = run_with(waiting(folder.path()), short, say.clone()).await.unwrap_err();
    assert_eq!(error.to_string(), "nobody answers");
    assert!(!home.exists());
    // it is stopped before a replica is ready; in one test with the former, because the signal is for all of this process
    let stopped = run_with(waiting(folder.path()), Patience::default(), say);
    let stop = async {
        while !wait.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // `up` listens to signals by now, so this one ends nobody
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::INT).unwrap();
    };
    tokio::join!(stopped, stop).0.unwrap();
    assert!(!home.exists());
    let said = said.lock().unwrap().join("\n");
    assert!(said.contains("stopped before any replica was ready: the new home is removed"), "{said}");
}

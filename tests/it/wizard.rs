//! The setup wizard of a first start, walked through by requests as a browser sends them.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::{Answer, BINARY, Client, Guard, Up, run, until};

const PAGE: &str = "/setupWizard/";
const USER: &str = "/setupWizard/createAdminUser";
const INSTANCE: &str = "/setupWizard/configureInstance";

/// A browser in the wizard.
struct Browser {
    client: Client,
    cookie: String,
    crumb: String,
}

impl Browser {
    fn unlock(address: SocketAddr, password: &str) -> Browser {
        let client = Client::anonymous(address);
        let answer = client.form("/setupWizard/unlock", &format!("password={password}")).expect(303);
        let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
        let mut browser = Browser { client, cookie, crumb: String::new() };
        let page = browser.get(USER).expect(200).text();
        let crumb = page.split("name=\"Jenkins-Crumb\" value=\"").nth(1).unwrap();
        browser.crumb = crumb.split('"').next().unwrap().to_owned();
        browser
    }

    fn get(&self, path: &str) -> Answer {
        self.client.send("GET", path, &[("Cookie", &self.cookie), ("Accept", "text/html,*/*")], b"")
    }

    fn form(&self, path: &str, fields: &str) -> Answer {
        let headers = [("Cookie", &*self.cookie), ("Content-Type", "application/x-www-form-urlencoded")];
        let form = format!("Jenkins-Crumb={}&{fields}", self.crumb);
        self.client.send("POST", path, &headers, form.as_bytes())
    }

    fn user(&self, name: &str) {
        let fields = format!("username={name}&password1=pass&password2=pass&fullname=&email=");
        assert_eq!(
            self.form(USER, &fields).expect(303).header("location").rsplit('/').next(),
            Some("configureInstance")
        );
    }
}

/// Process and peers' address of a replica of `up`.
fn record(home: &Path, name: &str) -> Option<(u64, SocketAddr)> {
    let record: Value =
        serde_json::from_slice(&fs::read(home.join(format!("run/{name}.json"))).ok()?).ok()?;
    Some((record["pid"].as_u64()?, record["peer"].as_str()?.parse().ok()?))
}

/// What a replica says of itself.
fn readyz(home: &Path, name: &str) -> Option<(u16, String)> {
    let (_, address) = record(home, name)?;
    // one that was killed leaves its record
    std::net::TcpStream::connect(address).ok()?;
    let answer = Client::anonymous(address).get("/readyz");
    Some((answer.status, answer.text()))
}

#[test]
fn one_replica_shows_the_wizard_to_its_end_and_the_others_follow_one_by_one() {
    let mut options = Up::new(3, 1);
    options.more.push("--setup-wizard".to_owned());
    let (home, log) = (options.home(), options.folder.path().join("up.log"));
    let said = fs::File::create(&log).unwrap();
    let mut running = options.command().stdout(said.try_clone().unwrap()).stderr(said).spawn().unwrap();
    let folder = options.folder.keep();
    let _guard = Guard::new(&fs::canonicalize(&folder).unwrap(), running.id());
    let told = || fs::read_to_string(&log).unwrap_or_default();
    until("the wizard", || told().contains("setupWizard/").then_some(()));
    let password = fs::read_to_string(home.join("admin-password")).unwrap();
    assert!(told().contains("admin-password") && !told().contains(password.trim()), "{}", told());
    let up: Value = serde_json::from_slice(&fs::read(home.join("run/up.json")).unwrap()).unwrap();
    let address: SocketAddr =
        up["url"].as_str().unwrap().trim_start_matches("http://").trim_end_matches('/').parse().unwrap();
    let anybody = Client::anonymous(address);

    // one serves, and nothing but the wizard
    let names = ["majordomo-0", "majordomo-1", "majordomo-2"];
    until("one in setup, and the others waiting", || {
        let states: Option<Vec<_>> = names.iter().map(|name| readyz(&home, name)).collect();
        let mut states = states?;
        states.sort();
        let waiting = |(status, text): &(u16, String)| *status == 503 && text.starts_with("waiting");
        (states[0] == (200, "setup\n".to_owned()) && states[1..].iter().all(waiting)).then_some(())
    });
    let refused = anybody.get("/api/json").expect(503);
    assert!(!refused.header("retry-after").is_empty() && refused.text().contains("setupWizard"));
    let page = anybody.send("GET", "/", &[("Accept", "text/html")], b"").expect(302);
    assert!(page.header("location").ends_with(PAGE), "{}", page.header("location"));
    let wrong = anybody.form("/setupWizard/unlock", "password=wrong").expect(401);
    assert!(wrong.header("set-cookie").is_empty());

    // killed in the middle: another one shows it, from its beginning
    let first = Browser::unlock(address, password.trim());
    first.user("nobody");
    let holder = first.get(INSTANCE).expect(200).header("x-majordomo-replica").to_owned();
    let (pid, _) = record(&home, &holder).unwrap();
    assert!(Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
    let next = until("the next one", || {
        let heir = names.iter().find(|name| {
            **name != holder && readyz(&home, name).is_some_and(|said| said == (200, "setup\n".to_owned()))
        });
        heir.copied()
    });
    assert_eq!(anybody.get(PAGE).expect(200).header("x-majordomo-replica"), next);
    assert!(first.get(INSTANCE).expect(302).header("location").ends_with(PAGE));

    // of two at once one becomes the user
    let (ann, bob) = (Browser::unlock(address, password.trim()), Browser::unlock(address, password.trim()));
    ann.user("ann");
    bob.user("bob");
    let answers = std::thread::scope(|scope| {
        let both = [&ann, &bob].map(|browser| scope.spawn(|| browser.form(INSTANCE, "")));
        both.map(|one| one.join().unwrap())
    });
    let made: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    let (name, winner) = if made == [200, 409] { ("ann", &ann) } else { ("bob", &bob) };
    assert!(made == [200, 409] || made == [409, 200], "{made:?}");
    // the answer was lost, and is asked for again
    assert!(matches!(winner.form(INSTANCE, "").status, 200 | 409));

    // all are ready, the one that has shown the wizard first
    until("all to be ready", || told().contains("Try next").then_some(()));
    assert!(told().contains(&format!("user         {name}")), "{}", told());
    let token = fs::read_to_string(home.join("admin-token")).unwrap();
    let shown = Client::user(address, name, token.trim()).json("/replicas/api/json");
    let since = |name: &str| {
        let replica = shown["replicas"].as_array().unwrap().iter().find(|r| r["name"] == name).unwrap();
        assert_eq!(replica["state"], "ready");
        replica["since"].as_i64().unwrap()
    };
    let mut order: Vec<_> = names.iter().map(|name| (since(name), *name)).collect();
    order.sort_unstable();
    assert_eq!(order[0].1, next, "{order:?}");
    assert!(order[0].0 < order[1].0 && order[1].0 < order[2].0, "{order:?}");
    let users = Client::user(address, name, "pass").json("/asynchPeople/api/json?depth=1");
    assert_eq!(users["users"].as_array().unwrap().len(), 1, "{users}");
    assert!(!home.join("admin-password").exists());
    let table = run(BINARY, &["replicas", "--home", &home.display().to_string()], &home);
    assert_eq!(table.lines().filter(|line| line.contains("ready")).count(), 3, "{table}");
    until("the agent", || {
        let nodes = Client::user(address, name, "pass").json("/computer/api/json?tree=computer[offline]");
        nodes["computer"].as_array().unwrap().iter().any(|node| node["offline"] == false).then_some(())
    });
    assert!(Command::new("kill").args(["-TERM", &running.id().to_string()]).status().unwrap().success());
    assert!(running.wait().unwrap().success(), "{}", told());
}

/// A replica without `up`, in a folder of its own.
struct Alone {
    folder: PathBuf,
    listen: SocketAddr,
}

impl Alone {
    fn start(&self) -> (std::process::Child, Guard) {
        let said = fs::OpenOptions::new().create(true).append(true).open(self.folder.join("log")).unwrap();
        let mut command = Command::new(BINARY);
        command.arg("replica").arg("--home").arg(self.folder.join("home"));
        command.arg("--secrets").arg(self.folder.join("secrets"));
        command.args(["--name", "r-0", "--revision", "1", "--controller", "ci/acme", "--setup-wizard"]);
        command.args(["--url", "https://ci.example.org/", "--listen", &self.listen.to_string()]);
        command.env_remove("MAJORDOMO_STORE").env_remove("MAJORDOMO_LOG").stdin(Stdio::null());
        let child = command.stdout(said.try_clone().unwrap()).stderr(said).spawn().unwrap();
        let guard = Guard::new(&self.folder, child.id());
        (child, guard)
    }

    fn wait(&self, path: &str) -> Answer {
        until("the replica to serve", || {
            std::net::TcpStream::connect(self.listen).ok()?;
            let answer = Client::anonymous(self.listen).get(path);
            (answer.status == 200).then_some(answer)
        })
    }
}

#[test]
fn a_replica_alone_makes_the_password_itself_and_shows_the_wizard_once() {
    let folder = tempfile::Builder::new().prefix("majordomo-it-").tempdir().unwrap().keep();
    let folder = fs::canonicalize(folder).unwrap();
    fs::create_dir(folder.join("secrets")).unwrap();
    fs::write(folder.join("secrets/agent.key"), "07".repeat(32)).unwrap();
    // free a moment ago, and nobody else takes it that soon
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let alone = Alone { folder, listen };
    let (mut child, _guard) = alone.start();
    let file = alone.folder.join("home/secrets/initialAdminPassword");
    let page = alone.wait(PAGE).text();
    assert!(page.contains(&file.display().to_string()), "{page}");
    let password = fs::read_to_string(&file).unwrap();
    let log = fs::read_to_string(alone.folder.join("log")).unwrap();
    assert!(log.contains("initialAdminPassword") && !log.contains(password.trim()), "{log}");
    let browser = Browser::unlock(listen, password.trim());
    browser.user("ann");
    let page = browser.get(INSTANCE).expect(200).text();
    assert!(
        page.contains("https://ci.example.org/") && page.contains("given to the controller from outside"),
        "{page}"
    );
    let ready = browser.form(INSTANCE, "").expect(200);
    assert!(ready.text().contains("Majordomo is ready!"));
    let session = ready.header("set-cookie").split(';').next().unwrap().to_owned();
    assert!(ready.header("set-cookie").contains("; Secure"));
    let me =
        Client::anonymous(listen).send("GET", "/whoAmI/api/json", &[("Cookie", &session)], b"").expect(200);
    assert!(me.text().contains("\"ann\""), "{}", me.text());
    assert!(!file.exists());
    // the same process says again that it was he; after a restart nobody is shown the wizard any more
    browser.form(INSTANCE, "").expect(200);
    child.kill().unwrap();
    child.wait().unwrap();
    let (_child, _guard) = alone.start();
    alone.wait("/login");
    assert_eq!(browser.get(PAGE).expect(302).header("location"), "https://ci.example.org/");
    browser.form(INSTANCE, "").expect(409);
    Client::user(listen, "ann", "pass").get("/api/json").expect(200);
    assert!(!file.exists());
}

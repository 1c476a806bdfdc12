//! From one version to the next, back, forth again, and past the point of no return, with builds in flight all the time.

use std::path::Path;
use std::process::Output;

use crate::load::Load;
use crate::logs;
use crate::rolling::{Clients, incarnations, said, settle, under_load};
use crate::support::controller::{Controller, FarAgent, LONG, Options, wait};
use crate::support::front::Kind;
use crate::support::machines::Machines;
use crate::support::next::next_version;
use crate::support::postgres::Server;

/// Goes on until it is told to end.
const TURNS: &str = r#"
node('work') {
    int turn = 0
    while (sh(script: 'test -e FOLDER/end', returnStatus: true) != 0) {
        echo "turn ${turn++}"
        sh 'sleep 0.3'
    }
}
"#;

fn describe(bake: &str) -> String {
    format!(
        "apiVersion: majordomo.dev/v1alpha1\nkind: HAController\nmetadata: {{name: up}}\n\
         spec: {{rollout: {{bake: {bake}}}}}\n"
    )
}

/// What runs the replicas.
enum Runs {
    Up(Controller),
    Machines(Machines),
}

impl Runs {
    fn controller(&self) -> &Controller {
        match self {
            Runs::Up(controller) => controller,
            Runs::Machines(machines) => &machines.controller,
        }
    }

    fn install(&self, program: &Path) {
        let copy = |aside: &Path| {
            std::fs::copy(program, aside).unwrap();
        };
        match self {
            Runs::Up(controller) => controller.install(copy),
            Runs::Machines(machines) => machines.install(copy),
        }
    }

    /// How long new versions are to bake. Gives the command after which it is so.
    fn bake(&self, time: &str) -> &'static str {
        match self {
            Runs::Up(controller) => {
                controller.describe(&describe(time));
                "reload"
            }
            Runs::Machines(machines) => {
                machines.say(&format!("MAJORDOMO_BAKE={time}"));
                "restart"
            }
        }
    }

    fn stop(&mut self) {
        match self {
            Runs::Up(controller) => controller.stop(),
            Runs::Machines(machines) => machines.stop(),
        }
    }
}

struct Upgrade {
    runs: Runs,
    load: Load,
}

impl Upgrade {
    fn command(&mut self, command: &str) -> Output {
        under_load(self.runs.controller(), &mut self.load, &[command])
    }

    fn reload(&mut self, program: &Path) -> Output {
        self.runs.install(program);
        self.command("reload")
    }

    /// All replicas are others afterwards.
    fn rolls_to(&mut self, program: &Path) {
        let before = incarnations(self.runs.controller());
        let reload = self.reload(program);
        assert!(reload.status.success(), "{}", said(&reload));
        let after = incarnations(self.runs.controller());
        assert!(after.len() == 3 && before.is_disjoint(&after), "{before:?} {after:?}");
    }

    /// Of the home, and those that its replicas know.
    fn levels(&self) -> (i64, Vec<i64>) {
        let seen =
            self.runs.controller().client().json("/replicas/api/json?tree=level,replicas[level,state]");
        let replicas = seen["replicas"].as_array().unwrap().iter().filter(|r| r["state"] == "ready");
        (seen["level"].as_i64().unwrap(), replicas.map(|r| r["level"].as_i64().unwrap()).collect())
    }

    /// One more build that goes on until the end.
    fn begin_turns(&self, number: u64) {
        let client = self.runs.controller().client();
        assert_eq!(client.post("/job/turns/buildWithParameters?ID=turns&delay=0sec").unwrap().status, 201);
        let path = format!("/job/turns/{number}/consoleText");
        wait(LONG, "the build says something", || {
            let reply = client.try_get(&path).ok()?;
            reply.text().contains("turn 0").then_some(())
        });
    }

    fn turns(&self, number: u64) -> Vec<String> {
        let reply = self.runs.controller().client().get(&format!("/job/turns/{number}/consoleText"));
        let said = reply.text();
        assert!(said.contains("Finished: SUCCESS"), "{said}");
        said.lines().filter(|line| line.contains("turn ")).map(str::to_owned).collect()
    }
}

fn up(name: &'static str, store: Option<String>) -> Runs {
    let options = Options { name, store, replicas: 3, agents: 0 };
    Runs::Up(Controller::start_described(options, &describe("1h")))
}

fn upgrade(start: impl FnOnce() -> Runs) {
    let (this, next) = (Path::new(env!("CARGO_BIN_EXE_majordomo")), next_version());
    let runs = start();
    let controller = runs.controller();
    let agents: Vec<_> =
        (1..=3).map(|n| FarAgent::start(controller, &format!("far-{n}"), 5, "work")).collect();
    let load = Load::new(controller, "u");
    controller.create_job("turns", &TURNS.replace("FOLDER", &load.folder().display().to_string()));
    let clients = Clients::start(controller);
    let mut story = Upgrade { runs, load };

    story.begin_turns(1);
    story.rolls_to(&next);
    assert_eq!(story.levels(), (1, vec![2, 2, 2]));
    story.begin_turns(2);
    story.rolls_to(this);
    assert_eq!(story.levels(), (1, vec![1, 1, 1]));
    story.rolls_to(&next);
    assert_eq!(story.levels(), (1, vec![2, 2, 2]), "it bakes for an hour");

    let command = story.runs.bake("1s");
    let told = story.command(command);
    assert!(told.status.success(), "{}", said(&told));
    wait(LONG, "the level is raised", || (story.levels() == (2, vec![2, 2, 2])).then_some(()));
    story.begin_turns(3);

    let kept = incarnations(story.runs.controller());
    // on machines what is installed is gone back to
    if let Runs::Up(controller) = &story.runs {
        let late = controller.command(&["reload", "--back"]);
        assert_eq!(late.status.code(), Some(2), "{}", said(&late));
        let sentence = "nothing is changed: the home is at level 2, and the program of";
        assert!(said(&late).contains(sentence), "{}", said(&late));
        assert_eq!(incarnations(controller), kept);
    }
    let refused = story.reload(this);
    let sentence = "the home is at level 2 and this version knows 1 only";
    assert!(!refused.status.success() && said(&refused).contains(sentence), "{}", said(&refused));
    wait(LONG, "all are back", || (incarnations(story.runs.controller()).len() == 3).then_some(()));
    assert_eq!(
        incarnations(story.runs.controller()).intersection(&kept).count(),
        2,
        "only one slot was touched"
    );

    std::fs::write(story.load.folder().join("end"), "").unwrap();
    let client = story.runs.controller().client();
    wait(LONG, "the long builds end", || {
        let seen = client.json("/job/turns/api/json?tree=builds[building]");
        seen["builds"].as_array().unwrap().iter().all(|b| b["building"] == false).then_some(())
    });
    for number in 1..=3 {
        let behaviour = if number == 3 { "[next] " } else { "" };
        for (turn, line) in story.turns(number).iter().enumerate() {
            assert_eq!(*line, format!("{behaviour}turn {turn}"), "build {number}");
        }
    }
    assert!(logs::count(story.runs.controller(), "a peer speaks as the next version does") > 0);
    settle(&story.load, clients);
    drop(agents);
    story.runs.stop();
    logs::check(story.runs.controller(), &[]);
}

#[test]
fn versions_are_rolled_forth_and_back_until_the_level_is_raised() {
    upgrade(|| up("upgrade", None));
}

#[test]
fn versions_are_rolled_forth_and_back_until_the_level_is_raised_on_postgres() {
    let Some(server) = Server::start() else { panic!("PostgreSQL is not installed: see tests/run") };
    upgrade(|| up("upgrade-pg", Some(server.database())));
}

#[test]
fn versions_are_rolled_forth_and_back_on_three_machines_until_the_level_is_raised() {
    upgrade(|| {
        let machines = Machines::start("machines-upgrade", Some(Kind::Nginx));
        // heard when the replicas are started again: by the first reload
        machines.say("MAJORDOMO_BAKE=1h");
        Runs::Machines(machines)
    });
}

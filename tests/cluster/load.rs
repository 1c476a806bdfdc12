//! Builds, and an oracle outside our store: each step appends its unique id to a file and writes what it prints to
//! another one as well.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::controller::Controller;
use crate::support::http::{Client, Reply};

/// Called with an id, a number of lines and a pause between them.
const STEP: &str = r#"#!/bin/sh
folder=${0%/*}
echo "$1" >>"$folder/ids"
n=0
while [ "$n" -lt "$2" ]; do
    n=$((n + 1))
    line="$1 $n of $2: všechno je v pořádku ✓ ................................................"
    echo "$line" >>"$folder/out/$1"
    echo "$line"
    [ "$3" = 0 ] || sleep "$3"
done
echo "$1" >>"$folder/ends"
"#;

/// A kind of build.
pub(crate) struct Job {
    pub(crate) name: &'static str,
    script: &'static str,
    /// The script is the builders of a Freestyle job, one a line.
    freestyle: bool,
    /// Names of its steps, without the id of the build.
    steps: &'static [&'static str],
    artifact: bool,
}

/// One stage after the other; much output in one of them.
const LINE: Job = Job {
    name: "line",
    script: r#"
pipeline {
    agent { label 'local || work' }
    stages {
        stage('First') {
            steps {
                sh 'STEP $ID.a1 1 0'
                sh 'STEP $ID.a2 20 0.05'
                sh 'STEP $ID.a3 900 0'
                sh 'STEP $ID.a4 1 0'
            }
        }
        stage('Second') {
            steps {
                sh 'STEP $ID.b1 2 0'
                sh 'STEP $ID.b2 1 1'
                sh 'STEP $ID.b3 5 0.2'
                sh 'STEP $ID.b4 1 0'
            }
        }
        stage('Third') {
            steps {
                script {
                    for (int i = 1; i <= 3; i++) { sh "STEP ${params.ID}.c${i} 3 0" }
                }
                sh 'STEP $ID.c4 1 0'
            }
        }
    }
}
"#,
    freestyle: false,
    steps: &["a1", "a2", "a3", "a4", "b1", "b2", "b3", "b4", "c1", "c2", "c3", "c4"],
    artifact: false,
};

/// Branches that run at once.
const FORK: Job = Job {
    name: "fork",
    script: r#"
def branches = [:]
for (int n = 1; n <= 3; n++) {
    def branch = n
    branches["b" + branch] = {
        node('local || work') {
            sh "STEP ${params.ID}.f${branch}1 10 0.1"
            sh "STEP ${params.ID}.f${branch}2 30 0"
            sh "STEP ${params.ID}.f${branch}3 3 0.5"
        }
    }
}
stage('Fork') { parallel branches }
node('local || work') { sh "STEP ${params.ID}.end 1 0" }
"#,
    freestyle: false,
    steps: &["f11", "f12", "f13", "f21", "f22", "f23", "f31", "f32", "f33", "end"],
    artifact: false,
};

/// Files from one agent to another, results of steps, an artifact.
const FILES: Job = Job {
    name: "files",
    script: r#"
def word
node('local || work') {
    sh 'STEP $ID.g1 3 0.3'
    word = sh(script: 'echo "$ID.said" >>FOLDER/ids; echo "word of $ID"', returnStdout: true).trim()
    writeFile file: 'from/a.txt', text: word + '\n'
    sh 'STEP $ID.g2 300 0 >from/b.txt; cat from/b.txt'
    stash name: 'from', includes: 'from/**'
    archiveArtifacts artifacts: 'from/b.txt'
    sh 'STEP $ID.g3 1 0'
    deleteDir()
}
node('local || work') {
    sh 'STEP $ID.g4 2 0.4'
    unstash 'from'
    if (readFile('from/a.txt').trim() != word || word != "word of ${params.ID}") { error "the file is another one" }
    sh 'cmp from/b.txt FOLDER/out/$ID.g2'
    sh 'STEP $ID.g5 4 0.2'
    def status = sh(script: 'echo "$ID.status" >>FOLDER/ids; exit 3', returnStatus: true)
    if (status != 3) { error "the status is ${status}" }
    sh 'STEP $ID.g6 1 0'
    sh 'STEP $ID.g7 1 0.6'
    deleteDir()
}
"#,
    freestyle: false,
    steps: &["g1", "said", "g2", "g3", "g4", "g5", "status", "g6", "g7"],
    artifact: true,
};

/// Many short steps: of what its owner writes, every other thing is what it is about to do.
const QUICK: Job = Job {
    name: "quick",
    script: r#"
node('local || work') {
    for (int i = 0; i < 24; i++) { sh "STEP ${params.ID}.q${i} 1 0" }
}
"#,
    freestyle: false,
    steps: &[
        "q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "q8", "q9", "q10", "q11", "q12", "q13", "q14", "q15",
        "q16", "q17", "q18", "q19", "q20", "q21", "q22", "q23",
    ],
    artifact: false,
};

/// Builders of a Freestyle job: the build has one executor, and the queue waits for it.
const FREE: Job = Job {
    name: "free",
    script: r#"STEP $ID.h1 5 0.2
STEP $ID.h2 400 0
STEP $ID.h3 2 0.5
STEP $ID.h4 1 0
STEP $ID.h5 1 1
STEP $ID.h6 3 0
STEP $ID.h7 3 0.2
STEP $ID.h8 30 0
STEP $ID.h9 1 0
STEP $ID.h10 2 0.3
STEP $ID.h11 1 0
STEP $ID.h12 1 0"#,
    freestyle: true,
    steps: &["h1", "h2", "h3", "h4", "h5", "h6", "h7", "h8", "h9", "h10", "h11", "h12"],
    artifact: false,
};

const JOBS: [&Job; 5] = [&LINE, &FORK, &FILES, &QUICK, &FREE];
/// What a load is made of, unless it is to be something special.
pub(crate) const MIXED: &[&Job] = &[&LINE, &FORK, &FILES, &FREE];

/// A build that was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) id: String,
    /// `None`: no answer came, so it may be there or not.
    pub(crate) queue: Option<i64>,
}

/// One that the controller shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Build {
    pub(crate) job: String,
    pub(crate) number: u64,
    pub(crate) queue: i64,
    pub(crate) id: String,
    /// `None`: it runs.
    pub(crate) result: Option<String>,
}

pub(crate) struct Load {
    client: Client,
    folder: PathBuf,
    prefix: String,
    kinds: &'static [&'static Job],
    pub(crate) asked: Vec<Asked>,
    /// What `progressiveText` gave so far, by job and number, and where it goes on.
    served: BTreeMap<(String, u64), (String, u64)>,
}

/// What the oracle and the controller agree on.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Checked {
    pub(crate) builds: usize,
    pub(crate) steps: usize,
    pub(crate) bytes: usize,
}

impl Load {
    /// Creates the jobs.
    pub(crate) fn new(controller: &Controller, prefix: &str) -> Load {
        let folder = controller.root.join("oracle");
        std::fs::create_dir_all(folder.join("out")).unwrap();
        let step = folder.join("step");
        std::fs::write(&step, STEP).unwrap();
        std::fs::set_permissions(&step, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        for job in JOBS {
            let script = job.script.replace("STEP", &step.display().to_string());
            let script = script.replace("FOLDER", &folder.display().to_string());
            match job.freestyle {
                true => controller.create_freestyle(job.name, "local || work", &script),
                false => controller.create_job(job.name, &script),
            }
        }
        let (asked, served) = (Vec::new(), BTreeMap::new());
        Load { client: controller.client(), folder, prefix: prefix.to_owned(), kinds: MIXED, asked, served }
    }

    /// As `new`, of builds with many short steps.
    pub(crate) fn quick(controller: &Controller, prefix: &str) -> Load {
        Load { kinds: &[&QUICK], ..Load::new(controller, prefix) }
    }

    /// Asks for one more build, once.
    pub(crate) fn ask(&mut self, job: &Job) -> Option<i64> {
        let id = format!("{}{}", self.prefix, self.asked.len());
        let reply = self.client.post(&format!("/job/{}/buildWithParameters?ID={id}&delay=0sec", job.name));
        let queue = reply.ok().and_then(|reply| queue_id(&reply));
        self.asked.push(Asked { id, queue });
        queue
    }

    pub(crate) fn ask_any(&mut self) -> Option<i64> {
        self.ask(self.kinds[self.asked.len() % self.kinds.len()])
    }

    pub(crate) fn acknowledged(&self) -> usize {
        self.asked.iter().filter(|a| a.queue.is_some()).count()
    }

    /// All builds that the controller shows.
    pub(crate) fn builds(&self) -> Vec<Build> {
        const TREE: &str = "allBuilds[number,queueId,result,building,actions[parameters[name,value]]]";
        let mut builds = Vec::new();
        for job in JOBS {
            let answer = self.client.json(&format!("/job/{}/api/json?tree={TREE}", job.name));
            builds.extend(answer["allBuilds"].as_array().unwrap().iter().map(|b| build(job.name, b)));
        }
        builds
    }

    /// How many of the acknowledged builds have not ended.
    pub(crate) fn open(&self, builds: &[Build]) -> Vec<&Asked> {
        let ended: BTreeSet<i64> = builds.iter().filter(|b| b.result.is_some()).map(|b| b.queue).collect();
        self.asked.iter().filter(|a| a.queue.is_some_and(|queue| !ended.contains(&queue))).collect()
    }

    /// Keeps `width` builds going until `enough` says so.
    pub(crate) fn keep_going(&mut self, width: usize, mut enough: impl FnMut(usize) -> bool) {
        loop {
            let builds = self.builds();
            let open = self.open(&builds).len();
            if enough(builds.iter().filter(|b| b.result.is_some()).count()) {
                return;
            }
            self.follow(&builds);
            for _ in open..width {
                self.ask_any();
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Reads on in the log of some build that runs, as a browser would.
    fn follow(&mut self, builds: &[Build]) {
        let running = builds.iter().filter(|b| b.result.is_none());
        for build in running.take(2) {
            let (text, offset) = self.served.entry((build.job.clone(), build.number)).or_default();
            let path = format!("/job/{}/{}/logText/progressiveText?start={offset}", build.job, build.number);
            let Ok(reply) = self.client.try_get(&path) else { continue };
            let Some(size) = reply.header("x-text-size").and_then(|size| size.parse().ok()) else { continue };
            if reply.status == 200 && size > *offset {
                text.push_str(&reply.text());
                *offset = size;
            }
        }
    }

    /// Waits until every acknowledged build has ended.
    pub(crate) fn finish(&self, most: Duration) -> Vec<Build> {
        let deadline = Instant::now() + most;
        loop {
            let builds = self.builds();
            let open = self.open(&builds);
            if open.is_empty() && builds.iter().all(|b| b.result.is_some()) {
                return builds;
            }
            if Instant::now() > deadline {
                self.complain(&open, &builds);
                panic!("{} builds have not ended after {most:?}", open.len());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn complain(&self, open: &[&Asked], builds: &[Build]) {
        for asked in open.iter().take(5) {
            let build = builds.iter().find(|b| Some(b.queue) == asked.queue);
            let log = build.map(|b| self.console(b)).unwrap_or_default();
            let tail = log.lines().rev().take(12).collect::<Vec<_>>();
            let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n    ");
            eprintln!("{asked:?}: {build:?}\n    {tail}");
        }
        eprintln!("queue: {}", self.client.json("/queue/api/json"));
        eprintln!("replicas: {}", self.client.json("/replicas/api/json"));
        eprintln!(
            "computers: {}",
            self.client.json("/computer/api/json?tree=computer[displayName,offline,numExecutors]")
        );
    }

    pub(crate) fn console(&self, build: &Build) -> String {
        let reply = self.client.get(&format!("/job/{}/{}/consoleText", build.job, build.number));
        assert_eq!(reply.status, 200, "{build:?}: {}", reply.text());
        reply.text().replace("\r\n", "\n")
    }

    /// Every acknowledged build is there once and has succeeded; each step ran once, and what it printed is in the log,
    /// each byte once and in order.
    pub(crate) fn check(&self, builds: &[Build]) -> Checked {
        let mut checked = Checked::default();
        let ran = counts(&self.folder.join("ids"));
        let doubled: Vec<_> = ran.iter().filter(|(_, count)| **count > 1).collect();
        assert!(doubled.is_empty(), "steps that ran more than once: {doubled:?}");
        for asked in &self.asked {
            let of: Vec<_> = builds.iter().filter(|b| b.id == asked.id).collect();
            match asked.queue {
                Some(queue) => {
                    assert_eq!(of.len(), 1, "builds of {asked:?}: {of:?}");
                    assert_eq!(of[0].queue, queue, "{asked:?}");
                }
                None => assert!(of.len() <= 1, "builds of {asked:?}: {of:?}"),
            }
        }
        for build in builds {
            let log = self.console(build);
            assert_eq!(build.result.as_deref(), Some("SUCCESS"), "{build:?}:\n{log}");
            self.check_build(build, &log, &ran, &mut checked);
        }
        checked
    }

    pub(crate) fn check_one(&self, build: &Build, log: &str, ran: &BTreeMap<String, usize>) {
        self.check_build(build, log, ran, &mut Checked::default());
    }

    fn check_build(&self, build: &Build, log: &str, ran: &BTreeMap<String, usize>, checked: &mut Checked) {
        let job = JOBS.iter().find(|job| job.name == build.job).unwrap();
        checked.builds += 1;
        for step in job.steps {
            let id = format!("{}.{step}", build.id);
            assert_eq!(ran.get(&id), Some(&1), "how often {id} ran; {build:?}:\n{log}");
            checked.steps += 1;
        }
        checked.bytes += self.check_log(build, log, job.steps);
        if let Some((served, _)) = self.served.get(&(build.job.clone(), build.number)) {
            let served = served.replace("\r\n", "\n");
            assert!(log.starts_with(&served), "{build:?}: what was served:\n{served}\nThe log:\n{log}");
        }
        if job.artifact {
            let path = format!("/job/{}/{}/artifact/from/b.txt", build.job, build.number);
            let wanted = std::fs::read(self.folder.join("out").join(format!("{}.g2", build.id))).unwrap();
            assert!(self.client.get(&path).body == wanted, "the artifact of {build:?}");
        }
    }

    /// Compares what each step printed with its lines in the log. Gives the number of bytes.
    pub(crate) fn check_log(&self, build: &Build, log: &str, steps: &[&str]) -> usize {
        let mut bytes = 0;
        for step in steps {
            let id = format!("{}.{step}", build.id);
            let file = self.folder.join("out").join(&id);
            let wanted = std::fs::read_to_string(file).unwrap_or_default();
            let begin = format!("{id} ");
            // A shell writes `+ ` before it writes the command. When the link is cut between both, that is shown after a while as a
            // line that does not end, and what another branch prints follows on it.
            let lines = log.lines().map(|line| line.trim_start_matches("+ "));
            let lines = lines.filter(|line| line.starts_with(&begin));
            let found: String = lines.flat_map(|line| [line, "\n"]).collect();
            assert!(
                found == wanted,
                "{id} has printed:\n{wanted}\nIts lines in the log:\n{found}\nThe log:\n{log}"
            );
            bytes += wanted.len();
        }
        bytes
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

fn build(job: &str, shown: &Value) -> Build {
    let mut actions = shown["actions"].as_array().into_iter().flatten();
    let parameters = actions.find_map(|action| action["parameters"].as_array());
    let id = parameters.into_iter().flatten().find(|p| p["name"] == "ID").and_then(|p| p["value"].as_str());
    Build {
        job: job.to_owned(),
        number: shown["number"].as_u64().unwrap(),
        queue: shown["queueId"].as_i64().unwrap(),
        id: id.unwrap_or_default().to_owned(),
        result: shown["result"].as_str().map(str::to_owned),
    }
}

fn queue_id(reply: &Reply) -> Option<i64> {
    let place = reply.header("location").filter(|_| reply.status == 201)?;
    place.trim_end_matches('/').rsplit('/').next()?.parse().ok()
}

/// How often each line is in a file.
pub(crate) fn counts(file: &Path) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in std::fs::read_to_string(file).unwrap_or_default().lines() {
        *counts.entry(line.to_owned()).or_default() += 1;
    }
    counts
}

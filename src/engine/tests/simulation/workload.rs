//! What the builds of a simulation do, and what their model processes print.
//!
//! A script is `p CHUNKS GAP_MILLIS STATUS SIZE`: so many pieces of that size, one after each gap, then the exit status.
//! `c` instead of `p` prints to standard output that is captured, and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use pipeline::act::Language;
use pipeline::program::Program;

/// Pipelines of the builds. `v1` in them is `v2` in a build of the second behaviour.
pub(crate) const SOURCES: [&str; 16] = [
    "echo 'v1'\nnode('linux') {\n  sh 'p 3 300 0 30'\n  sh 'p 2 700 0 61'\n}\n",
    "echo 'v1'\nparallel a: { node { sh 'p 6 400 0 45' } }, b: { node { sh 'p 4 500 0 31'; sh 'p 1 100 0 10' } }\n",
    "echo 'v1'\nnode {\n  try {\n    timeout(time: 3, unit: 'SECONDS') { sh 'p 60 500 0 20' }\n  } catch (e) { echo 'too long' }\n  sh 'p 2 200 0 25'\n}\n",
    "echo 'v1'\nnode {\n  retry(2) { sh 'p 2 300 1 20' }\n}\n",
    "echo 'v1'\nsleep 4\nnode('linux') { sh 'p 4 600 0 33' }\nsleep 2\n",
    "pipeline {\n  agent any\n  stages {\n    stage('v1') { steps { sh 'p 3 400 0 40' } }\n    stage('two') { steps { sh 'p 3 300 3 40' } }\n  }\n  post {\n    always { sh 'p 1 100 0 17' }\n    failure { echo 'failed' }\n  }\n}\n",
    "echo 'v1'\nnode {\n  sh 'p 1 100 0 12'\n  writeFile file: 'a.txt', text: 'hello'\n  def t = readFile 'a.txt'\n  if (t != 'hello') { error 'read ' + t }\n  if (!fileExists('a.txt')) { error 'no file' }\n  sh 'p 2 500 0 50'\n}\n",
    "echo 'v1'\nnode {\n  sh 'p 4 1500 0 90000'\n  sh 'p 30 5 0 16384'\n}\n",
    "echo 'v1'\nnode {\n  parallel x: { sh 'p 5 300 0 20' }, y: { sh 'p 2 900 0 44' }, z: { sleep 1; sh 'p 1 10 0 5' }\n}\n",
    "echo 'v1'\nnode {\n  def out = sh(script: 'c 3 200 0 15', returnStdout: true)\n  def code = sh(script: 'p 1 100 7 8', returnStatus: true)\n  if (code != 7) { error 'code ' + code }\n  echo out\n}\n",
    "echo 'v1'\nnode {\n  writeFile file: 'b.bin', text: 'artifact'\n  archiveArtifacts artifacts: '**'\n  stash name: 's', includes: '**'\n  sh 'p 2 800 0 30'\n  unstash 's'\n}\nnode { sh 'p 1 50 0 21' }\n",
    "pipeline {\n  agent none\n  options { timeout(time: 40, unit: 'SECONDS') }\n  stages {\n    stage('v1') {\n      parallel {\n        stage('l') { agent { label 'linux' }\n steps { sh 'p 8 700 0 29' } }\n        stage('r') { agent any\n steps { sh 'p 3 200 0 29'; sleep 3 } }\n      }\n    }\n  }\n}\n",
    "echo 'v1'\ntry {\n  node { sh 'p 20 1000 0 26' }\n} finally {\n  node { sh 'p 1 200 0 26' }\n}\n",
    "echo 'v1'\nparallel a: { node { sh 'p 2 300 0 20' } }, b: { for (int i = 0; i < 700; i++) { echo 'n' + i } }\nnode { sh 'p 1 50 0 9' }\n",
    "echo 'v1'\nfor (int i = 0; i < 3; i++) {\n  node { sh 'p 2 150 0 ' + (11 + i) }\n}\n",
    r#"{"timeout":{"time":"30","activity":true,"fails":true},"builders":[{"type":"shell","command":"p 3 400 0 30"},{"type":"shell","command":"p 1 100 7 12","unstable":7},{"type":"shell","command":"p 2 300 1 20"},{"type":"shell","command":"p 1 1 0 1"}],"publishers":[{"type":"trigger","jobs":["v1"],"threshold":"FAILURE"}]}"#,
];

/// A Jenkinsfile never begins with a brace and a quote; what does is a Freestyle job.
fn language(source: &str) -> Language {
    if source.starts_with("{\"") { Language::Freestyle } else { Language::Pipeline }
}

/// Compiled pipelines by hash; compiled once for all seeds.
pub(crate) struct Programs {
    /// By number of the source and behaviour.
    by_number: BTreeMap<(usize, u32), Arc<Program>>,
    by_hash: BTreeMap<(String, u32), Arc<Program>>,
}

impl Programs {
    pub(crate) fn new() -> Programs {
        let (mut by_number, mut by_hash) = (BTreeMap::new(), BTreeMap::new());
        for (number, source) in SOURCES.iter().enumerate() {
            for behaviour in [1, 2] {
                // A machine of the second behaviour does something else at `v1`.
                let text = if behaviour == 2 { source.replace("v1", "v2") } else { (*source).to_owned() };
                let program =
                    Arc::new(Program::compile_in(language(&text), &text).expect("the sources compile"));
                by_number.insert((number, behaviour), Arc::clone(&program));
                let hash = by_number[&(number, 1)].hash().to_owned();
                by_hash.insert((hash, behaviour), program);
            }
        }
        Programs { by_number, by_hash }
    }

    pub(crate) fn hash(&self, number: usize) -> &str {
        self.by_number[&(number, 1)].hash()
    }

    /// As a machine of that behaviour understands the source.
    pub(crate) fn of(&self, hash: &str, behaviour: u32) -> Arc<Program> {
        Arc::clone(&self.by_hash[&(hash.to_owned(), behaviour)])
    }
}

/// What a model process will do.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) chunks: u64,
    pub(crate) gap_millis: u64,
    pub(crate) status: i32,
    size: usize,
    pub(crate) capture: bool,
}

impl Plan {
    pub(crate) fn parse(script: &str) -> Plan {
        let mut words = script.split_whitespace();
        let capture = words.next() == Some("c");
        let mut number = || words.next().and_then(|w| w.parse::<u64>().ok()).unwrap_or(0);
        let (chunks, gap_millis, status, size) = (number(), number(), number(), number());
        let size = usize::try_from(size).unwrap_or(0);
        Plan { chunks, gap_millis, status: i32::try_from(status).unwrap_or(1), size, capture }
    }

    /// The `n`-th piece that a step prints. Odd ones end in the middle of a character.
    pub(crate) fn piece(&self, build: i64, step: &str, n: u64) -> Vec<u8> {
        let head = format!("<{build} {step} {n}>");
        let mut piece = head.into_bytes();
        if !n.is_multiple_of(2) {
            // The second half of what the piece before has begun.
            piece.insert(0, 0xa9);
        }
        while piece.len() + 1 < self.size {
            piece.push(if piece.len() % 97 == 96 { b'\n' } else { b'.' });
        }
        if n.is_multiple_of(2) && n + 1 < self.chunks {
            piece.push(0xc3);
        } else {
            piece.push(b'\n');
        }
        piece
    }
}

//! How a build gets its driver, as `engine::start` does it, and the object store.

use std::collections::BTreeMap;

use bytes::Bytes;
use engine::driver::{Driver, Event as DriverEvent, Facts, ObjectDo, ObjectEvent};
use model::BuildId;
use pipeline::act::{Began, Data, Failure, FailureKind, Language, Outcome, Record};
use store::{Error, Running};

use crate::home::{Ask, Reply, pipeline_of};
use crate::mutation::Mutation;
use crate::replica::{ReplicaDo, Token};
use crate::workload::SOURCES;
use crate::world::{MS, World};

impl World {
    // -- start -------------------------------------------------------------------------------

    pub(crate) fn start_read(
        &mut self,
        at: usize,
        build: BuildId,
        id: u64,
        reply: Result<Box<Reply>, Error>,
    ) {
        let Some(actor) = self.actor(at, build, id) else { return };
        match reply.map(|r| *r) {
            Ok(Reply::Start(Some(row), journal)) => {
                actor.read = Some((row, journal));
                self.ask(at, Token::Raw { build, actor: id }, Ask::Raw(build));
            }
            Ok(_) => {
                self.actor_ends(at, build);
            }
            // Read again; the real one waits for a look, too.
            Err(_) => self.ask(at, Token::Start { build, actor: id }, Ask::Start(build)),
        }
    }

    pub(crate) fn raw_read(&mut self, at: usize, build: BuildId, id: u64, reply: Result<Box<Reply>, Error>) {
        let rules = Mutation::rules(self.mutation);
        let known = self.replicas[at].behaviour;
        let now = self.clocks(at);
        let Some(actor) = self.actor(at, build, id) else { return };
        let raw = match reply.map(|r| *r) {
            Ok(Reply::Raw(raw)) => raw,
            _ => return self.ask(at, Token::Raw { build, actor: id }, Ask::Raw(build)),
        };
        let Some((_, journal)) = actor.read.take() else { return };
        let row = actor.row.clone();
        let facts = Facts {
            build,
            job: row.job.clone(),
            number: row.number,
            owner: row.owner,
            fence: row.fence,
            seq: row.seq,
            log_end: row.log_end,
            journal: 0,
            raw: raw.into_iter().collect(),
            scm: None,
            executor: false,
            rules,
        };
        let pipeline = pipeline_of(&row.job);
        let hash = self.programs.hash(pipeline).to_owned();
        // Whoever does not know the behaviour takes it for its own.
        let program = self.programs.of(&hash, row.behaviour.min(known));
        let mut driver = if journal.is_empty() {
            let began = began(&row, program.language(), &hash, now.wall);
            Driver::begin(facts, &program, began, SOURCES[pipeline].to_owned(), "Started\n", now)
        } else {
            let mut records: Vec<Record> = Vec::new();
            for record in &journal {
                match serde_json::from_slice(record) {
                    Ok(record) => records.push(self.resolved(build, record)),
                    Err(error) => return self.fail(format!("the journal of build {build}: {error}")),
                }
            }
            let Record::Began(began) = records.remove(0) else {
                return self.fail(format!("the journal of build {build} does not begin with its beginning"));
            };
            match Driver::resume(facts, &program, &began, records) {
                Ok(driver) => driver,
                Err(why) => return self.fail(format!("build {build} can't be resumed: {why}")),
            }
        };
        if row.epoch < row.fence.epoch() {
            driver.start_nothing_unknown();
        }
        if let Some(actor) = self.actor(at, build, id) {
            actor.driver = Some(driver);
        }
        self.look_inbox(at, build);
        self.tell_actor(at, build, id, DriverEvent::Tick);
    }

    /// With texts in place of the objects that hold them.
    pub(crate) fn resolved(&self, build: BuildId, record: Record) -> Record {
        let Record::Outcome { step, outcome: Outcome::Done(Data::Object { hash, .. }), at, raw } = record
        else {
            return record;
        };
        let text = self.objects.get(&format!("builds/{build}/text/{hash}"));
        let outcome = match text {
            Some(bytes) => Outcome::Done(Data::Text(String::from_utf8_lossy(bytes).into_owned())),
            None => Outcome::Failed(Failure { kind: FailureKind::Io, message: "the object is gone".into() }),
        };
        Record::Outcome { step, outcome, at, raw }
    }

    // -- objects -----------------------------------------------------------------------------

    pub(crate) fn object(&mut self, at: usize, build: BuildId, id: u64, act: ObjectDo) {
        let Some(actor) = self.actor(at, build, id) else { return };
        let event = match act {
            ObjectDo::Begin { op, key } => {
                actor.uploads.insert(op, Vec::new());
                actor.keys.insert(op, key);
                return;
            }
            ObjectDo::Write { op, bytes } => {
                let Some(upload) = actor.uploads.get_mut(&op) else { return };
                upload.extend_from_slice(&bytes);
                ObjectEvent::Written { op, upto: upload.len() as u64 }
            }
            ObjectDo::Finish { op } => {
                let (Some(bytes), Some(key)) = (actor.uploads.remove(&op), actor.keys.remove(&op)) else {
                    return;
                };
                self.objects.insert(key, Bytes::from(bytes));
                ObjectEvent::Finished { op }
            }
            ObjectDo::Abort { op } => {
                actor.uploads.remove(&op);
                return;
            }
            ObjectDo::Put { op, key, bytes } => {
                self.objects.insert(key, bytes);
                ObjectEvent::Finished { op }
            }
            ObjectDo::FindStash { op, name } => {
                let token = Token::Stash { build, actor: id, op, name: name.clone() };
                return self.ask(at, token, Ask::Stash(build, name));
            }
            ObjectDo::Read { op, key, from } => match self.objects.get(&key) {
                Some(all) => {
                    let from_at = usize::try_from(from).unwrap_or(0).min(all.len());
                    let upto = (from_at + remoting::ops::MAX_PIECE).min(all.len());
                    ObjectEvent::Piece { op, from, bytes: all.slice(from_at..upto) }
                }
                None => ObjectEvent::Failed { op, why: format!("the object {key} is gone") },
            },
        };
        let delay = self.delay(MS, 5 * MS);
        self.soon(at, delay, ReplicaDo::Object { build, actor: id, event });
    }

    pub(crate) fn stash_read(
        &mut self,
        at: usize,
        (build, id): (BuildId, u64),
        (op, name): (u64, String),
        reply: Result<Box<Reply>, Error>,
    ) {
        let event = match reply.map(|r| *r) {
            Ok(Reply::Stash(object)) => ObjectEvent::Stash { op, object },
            Ok(_) => return,
            // Asked again while the store is away.
            Err(_) => {
                let token = Token::Stash { build, actor: id, op, name: name.clone() };
                return self.ask(at, token, Ask::Stash(build, name));
            }
        };
        self.tell_actor(at, build, id, DriverEvent::Object(event));
    }
}

fn began(row: &Running, language: Language, hash: &str, wall: model::Millis) -> Began {
    Began {
        format: 1,
        behaviour: row.behaviour,
        language,
        program: hash.to_owned(),
        job: row.job.to_string(),
        number: row.number,
        params: BTreeMap::new(),
        env: BTreeMap::new(),
        causes: Vec::new(),
        previous: None,
        earlier: Vec::new(),
        older: false,
        has_scm: false,
        at: u64::try_from(wall.0).unwrap_or(0),
    }
}

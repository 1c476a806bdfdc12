//! What the spools at agents must be, where they are still there. Pure: chunks and the journal go in, questions come out;
//! answers go in, defects come out.
//!
//! A spool has all that its step has printed, so it is as long as what the log has of that, or longer. Up to the first bytes
//! that were no UTF-8, which the log has not as they were, the log has the same bytes, which sums tell. A machine that was
//! restarted may have lost the end of a spool: that is no defect of the log.

use std::collections::BTreeMap;

use engine::INSTANCE_ENV;
use model::{BuildId, NodeName};
use pipeline::act::{Data, Outcome, Record};
use remoting::spools::{Held, MAX_SPOOLS, Spool, SpoolAsked, SpoolsAsked, SpoolsTold};
use serde::Serialize;
use sha2::{Digest, Sha256};
use store::Chunk;

use super::check::{Defect, Kind};

/// Bytes that an agent sums for one question, unless one step has more.
const MAX_BYTES: u64 = 256 * 1024 * 1024;
/// What an agent has for an answer: this, and a second for so many bytes.
const MILLIS: u64 = 5_000;
const BYTES_A_SECOND: u64 = 16 * 1024 * 1024;
/// Most agents that are told one by one as not reached.
const MAX_TOLD: usize = 100;
/// Longest reason of an agent, in characters.
const MAX_WHY: usize = 300;

/// Which agents the journal names, which steps each was given, and how much steps have printed.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// Nodes by the id of the work folder.
    nodes: BTreeMap<String, NodeName>,
    /// Ids of work folders by step.
    steps: BTreeMap<String, String>,
    /// Where the output of a step has ended.
    pub(super) ends: BTreeMap<String, u64>,
}

/// An agent, as it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Agent {
    pub(super) node: NodeName,
    pub(super) instance: String,
}

impl Journal {
    /// The next record of the journal.
    pub(super) fn record(&mut self, record: &[u8]) {
        match serde_json::from_slice(record) {
            Ok(Record::Intent { step, agent: Some(agent), .. }) if !agent.is_empty() => {
                self.steps.insert(step.0, agent);
            }
            Ok(Record::Outcome { outcome: Outcome::Done(Data::Granted(mut granted)), .. }) => {
                let instance = granted.env.remove(INSTANCE_ENV).filter(|id| !id.is_empty());
                if let (Some(instance), Ok(node)) = (instance, NodeName::parse(&granted.node)) {
                    self.nodes.insert(instance, node);
                }
            }
            Ok(Record::Outcome { step, raw: Some(raw), .. }) => {
                self.ends.insert(step.0, raw);
            }
            Ok(_) | Err(_) => {}
        }
    }

    pub(super) fn agents(&self) -> Vec<Agent> {
        let agent =
            |(instance, node): (&String, &NodeName)| Agent { node: node.clone(), instance: instance.clone() };
        self.nodes.iter().map(agent).collect()
    }
}

/// What the log has of the output of steps.
#[derive(Debug, Default)]
pub(super) struct Printed {
    steps: BTreeMap<String, Output>,
}

#[derive(Debug)]
struct Output {
    /// Where it begins in the log.
    begins: u64,
    /// The raw offset that it reaches.
    raw: u64,
    /// Of so many first raw bytes, which the log has as they were.
    hash: Sha256,
    summed: u64,
    /// Those are all so far.
    whole: bool,
}

impl Printed {
    /// The next chunk by offset.
    pub(super) fn chunk(&mut self, chunk: &Chunk) {
        if chunk.step.is_empty() {
            return;
        }
        if !self.steps.contains_key(&chunk.step) {
            let begun = Output { begins: chunk.offset, raw: 0, hash: Sha256::new(), summed: 0, whole: true };
            self.steps.insert(chunk.step.clone(), begun);
        }
        let Some(output) = self.steps.get_mut(&chunk.step) else { return };
        let length = chunk.bytes.len() as u64;
        let next = chunk.raw_from == output.raw && chunk.raw_to == output.raw.saturating_add(length);
        output.whole &= next && !may_be_replaced(&chunk.bytes);
        if output.whole {
            output.hash.update(&chunk.bytes);
            output.summed += length;
        }
        output.raw = output.raw.max(chunk.raw_to);
    }

    /// What to ask an agent, in turn. One that was given nothing that has printed is asked whether it keeps the build.
    pub(super) fn questions(&self, build: BuildId, agent: &Agent, journal: &Journal) -> Vec<SpoolsAsked> {
        let given = |step: &&String| journal.steps.get(*step) == Some(&agent.instance);
        let asked = |step: &String| {
            let first = self.steps.get(step).map_or(0, |output| output.summed);
            SpoolAsked { step: step.clone(), first }
        };
        let mut questions = vec![question(build, Vec::new())];
        let mut bytes = 0u64;
        for asked in self.steps.keys().filter(given).map(asked) {
            let Some(last) = questions.last_mut() else { break };
            let full = last.steps.len() >= MAX_SPOOLS || bytes.saturating_add(asked.first) > MAX_BYTES;
            if full && !last.steps.is_empty() {
                bytes = asked.first;
                questions.push(question(build, vec![asked]));
            } else {
                bytes = bytes.saturating_add(asked.first);
                last.steps.push(asked);
            }
        }
        for question in &mut questions {
            let bytes = question.steps.iter().fold(0u64, |sum, asked| sum.saturating_add(asked.first));
            question.millis = MILLIS.saturating_add(bytes.saturating_mul(1000) / BYTES_A_SECOND);
        }
        questions
    }
}

/// Whether an agent keeps a build at all; with steps, what of them.
pub(super) fn question(build: BuildId, steps: Vec<SpoolAsked>) -> SpoolsAsked {
    SpoolsAsked { build, millis: MILLIS, steps }
}

/// Whether some of the text may stand for bytes that were no UTF-8, also for as many as it has.
fn may_be_replaced(text: &[u8]) -> bool {
    let mark = "\u{fffd}".as_bytes();
    // the first byte alone is looked for much faster
    text.contains(&mark[0]) && text.windows(mark.len()).any(|three| three == mark)
}

/// What came of asking.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spools {
    /// Agents that the journal names.
    agents: u64,
    /// Those of them that have answered.
    asked: u64,
    /// Those of these that keep nothing of the build any more: it has ended.
    forgotten: u64,
    /// Steps that have printed something and whose spools are there.
    steps: u64,
    /// Those of them of which the log has the very bytes of the spool.
    compared: u64,
    /// Those of which some bytes were no UTF-8: what is before these was compared, and the lengths.
    lengths: u64,
    /// Those that have lost something in a restart of their machine.
    lost: u64,
    /// How many bytes were compared.
    bytes: u64,
    /// Who did not answer, or not for all: the agent and why.
    unreachable: Vec<String>,
}

impl Spools {
    pub(super) fn of(journal: &Journal) -> Spools {
        Spools { agents: journal.nodes.len() as u64, ..Spools::default() }
    }

    fn unreachable(&mut self, agent: &Agent, why: &str) {
        if self.unreachable.len() < MAX_TOLD {
            let why: String = why.chars().take(MAX_WHY).collect();
            self.unreachable.push(format!("{}: {why}", agent.node));
        }
    }

    /// All that an agent has answered to its questions, up to the first that it did not. `building`: the build still runs.
    /// → defects
    pub(super) fn told(
        &mut self,
        agent: &Agent,
        answers: &[(SpoolsAsked, Result<SpoolsTold, String>)],
        printed: &Printed,
        building: bool,
    ) -> Vec<Defect> {
        let mut defects = Vec::new();
        self.asked += u64::from(answers.iter().any(|(_, told)| told.is_ok()));
        for (asked, told) in answers {
            match told {
                Err(why) | Ok(SpoolsTold::Failed { why }) => self.unreachable(agent, why),
                Ok(SpoolsTold::Nothing) if !building => {
                    self.forgotten += 1;
                    break;
                }
                // it was not needed yet
                Ok(SpoolsTold::Nothing) if asked.steps.is_empty() => {}
                Ok(SpoolsTold::Nothing) => self.unreachable(agent, "it keeps nothing of this build"),
                Ok(SpoolsTold::Kept { rebooted, spools }) if answer(asked, spools) => {
                    for (asked, spool) in asked.steps.iter().zip(spools) {
                        let found = printed.steps.get(&asked.step).map(|output| (asked, output));
                        let Some((asked, output)) = found else { continue };
                        defects.extend(self.one(agent, (asked, output), &spool.held, *rebooted));
                    }
                }
                Ok(SpoolsTold::Kept { .. }) => self.unreachable(agent, "it answers what was not asked"),
            }
        }
        defects
    }

    fn one(
        &mut self,
        agent: &Agent,
        (asked, output): (&SpoolAsked, &Output),
        held: &Held,
        rebooted: bool,
    ) -> Option<Defect> {
        let (node, step, summed) = (&agent.node, &asked.step, output.summed);
        let (end, sha256) = match held {
            Held::Spool { end, sha256 } => (*end, sha256.as_deref()),
            Held::Nothing => (0, None),
            Held::Unreadable { why } => {
                self.unreachable(agent, &format!("the spool of step {step}: {why}"));
                return None;
            }
        };
        self.steps += 1;
        let (kind, message) = if end < output.raw {
            let raw = output.raw;
            let what = format!("the log has {raw} bytes of step {step}, its spool at agent {node} has {end}");
            (Kind::SpoolEnd, what)
        } else if summed > 0 && sha256 != Some(&hex::encode(output.hash.clone().finalize())) {
            let what =
                format!("the first {summed} bytes of step {step} are not those of its spool at agent {node}");
            (Kind::Spool, what)
        } else {
            self.compared += u64::from(output.whole);
            self.lengths += u64::from(!output.whole);
            self.bytes = self.bytes.saturating_add(summed);
            return None;
        };
        if rebooted {
            self.lost += 1;
            return None;
        }
        Some(Defect { kind, offset: output.begins, step: step.clone(), message })
    }
}

/// Whether it is one to the question.
fn answer(asked: &SpoolsAsked, spools: &[Spool]) -> bool {
    let same = |(asked, spool): (&SpoolAsked, &Spool)| asked.step == spool.step;
    asked.steps.len() == spools.len() && asked.steps.iter().zip(spools).all(same)
}

#[cfg(test)]
mod tests;

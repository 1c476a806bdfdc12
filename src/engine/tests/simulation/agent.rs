//! A model agent that follows the rules of the protocol: what is on its disk survives its process, and its machine's
//! processes survive it, too.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use model::{BuildId, Fence, NodeName};
use remoting::ops::{
    Command, Fences, Folder, FromAgent, Report, StepReport, StepState, ToAgent, Verdict, step_state,
};

use crate::files::Op;
use crate::mutation::Mutation;
use crate::replica::ReplicaDo;
use crate::workload::Plan;
use crate::world::{Event, MS, SEC, Time, World};

/// What happens in the agent's process.
#[derive(Debug)]
pub(crate) enum AgentDo {
    Dial {
        dial: u64,
    },
    Welcome {
        link: usize,
        dial: u64,
    },
    LinkGone {
        link: usize,
    },
    Command {
        link: usize,
        message: ToAgent,
        late: bool,
    },
    /// A fence is on disk.
    FenceWritten {
        build: BuildId,
        fence: Fence,
    },
}

/// What happens on its machine.
#[derive(Debug)]
pub(crate) enum HostDo {
    /// The wrapper of a step begins.
    Wrapper {
        key: StepKey,
        plan: Plan,
    },
    Print {
        key: StepKey,
        n: u64,
    },
    Exit {
        key: StepKey,
        status: i32,
    },
    /// The agent's process is started again.
    Agent,
}

pub(crate) type StepKey = (BuildId, String);

/// What the folder of a step holds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Step {
    /// The boot in which it was started.
    pub(crate) started: Option<u64>,
    pub(crate) exit: Option<i32>,
    pub(crate) failed: Option<String>,
    pub(crate) out: Vec<u8>,
    pub(crate) touched: Time,
    pub(crate) capture: bool,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    pub(crate) instance: String,
    /// Highest fence of each build, and the boot in which it was first claimed.
    pub(crate) fences: BTreeMap<BuildId, (Fence, u64)>,
    pub(crate) steps: BTreeMap<StepKey, Step>,
    /// Builds that have ended; their fences stay.
    pub(crate) forgotten: BTreeSet<BuildId>,
    pub(crate) files: BTreeMap<(String, String), Bytes>,
}

/// A process of a step.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) plan: Plan,
    pub(crate) ending: bool,
}

pub(crate) struct Follow {
    pub(crate) fence: Fence,
    pub(crate) sent: u64,
    pub(crate) upto: u64,
}

pub(crate) struct Agent {
    pub(crate) name: NodeName,
    pub(crate) life: u64,
    pub(crate) up: bool,
    pub(crate) boot: u64,
    pub(crate) disk: Disk,
    pub(crate) processes: BTreeMap<StepKey, Process>,
    // what follows is memory
    pub(crate) fences: Fences,
    pub(crate) claiming: BTreeMap<BuildId, (Fence, Option<Fence>)>,
    pub(crate) follows: BTreeMap<StepKey, Follow>,
    pub(crate) launched: BTreeSet<StepKey>,
    pub(crate) ending: BTreeSet<BuildId>,
    pub(crate) ops: BTreeMap<(BuildId, u64), Op>,
    pub(crate) link: Option<usize>,
    pub(crate) dial: u64,
}

impl Agent {
    pub(crate) fn new(name: &str, instance: String) -> Agent {
        Agent {
            name: NodeName::parse(name).expect("a good name"),
            life: 0,
            up: false,
            boot: 1,
            disk: Disk { instance, ..Disk::default() },
            processes: BTreeMap::new(),
            fences: Fences::default(),
            claiming: BTreeMap::new(),
            follows: BTreeMap::new(),
            launched: BTreeSet::new(),
            ending: BTreeSet::new(),
            ops: BTreeMap::new(),
            link: None,
            dial: 0,
        }
    }

    /// The process ends: its memory goes, the disk and the steps stay.
    pub(crate) fn die(&mut self) {
        let (disk, processes) = (std::mem::take(&mut self.disk), std::mem::take(&mut self.processes));
        let (name, life, boot) = (self.name.clone(), self.life, self.boot);
        *self = Agent { name, life, boot, disk, processes, ..Agent::new("agent-0", String::new()) };
    }

    pub(crate) fn state(&self, key: &StepKey) -> StepReport {
        let Some(step) = self.disk.steps.get(key) else {
            return StepReport { step: key.1.clone(), state: StepState::Accepted, end: 0 };
        };
        let alive = self.processes.contains_key(key);
        let mut state = step_state(&Folder { started: step.started.is_some(), exit: step.exit, alive });
        if let StepState::Exited { stdout, .. } = &mut state
            && step.capture
        {
            *stdout = Some(String::from_utf8_lossy(&step.out).into_owned());
        }
        if let (Some(why), true) = (&step.failed, state.ended()) {
            state = StepState::Failed { why: why.clone() };
        }
        let end = if step.capture { 0 } else { step.out.len() as u64 };
        StepReport { step: key.1.clone(), state, end }
    }

    pub(crate) fn break_off(&mut self, build: BuildId) {
        self.follows.retain(|key, _| key.0 != build);
        self.ops.retain(|key, _| key.0 != build);
    }
}

impl World {
    pub(crate) fn agent_starts(&mut self, at: usize) {
        let life = self.count();
        let forgets = self.is(Mutation::FencesForgotten);
        let agent = &mut self.agents[at];
        agent.life = life;
        agent.up = true;
        agent.fences = Fences::default();
        if !forgets {
            agent.disk.fences.iter().for_each(|(build, (fence, _))| agent.fences.hold(*build, *fence));
        }
        self.dial(at, MS);
    }

    pub(crate) fn dial(&mut self, at: usize, delay: Time) {
        self.agents[at].dial += 1;
        let (life, dial) = (self.agents[at].life, self.agents[at].dial);
        self.after(delay, Event::Agent { at, life, what: AgentDo::Dial { dial } });
    }

    pub(crate) fn at_agent(&mut self, at: usize, what: AgentDo) {
        match what {
            AgentDo::Dial { dial } if dial == self.agents[at].dial && self.agents[at].link.is_none() => {
                let to = self.random.index(self.replicas.len());
                let (life, instance) = (self.agents[at].life, self.agents[at].disk.instance.clone());
                if self.replicas[to].me.is_some() {
                    let delay = self.delay(MS, 5 * MS);
                    self.soon(to, delay, ReplicaDo::Hello { agent: at, life, dial: dial + 1, instance });
                }
                let patience =
                    if self.replicas[to].paused { 5 * SEC } else { self.random.between(200 * MS, 2 * SEC) };
                self.dial(at, patience);
            }
            AgentDo::Dial { .. } => {}
            AgentDo::Welcome { link, dial } => {
                if dial != self.agents[at].dial || self.agents[at].link.is_some() {
                    return self.cut(link);
                }
                if !self.is_cut(link) {
                    self.agents[at].link = Some(link);
                }
            }
            AgentDo::LinkGone { link } => {
                if self.agents[at].link == Some(link) {
                    self.unlink(at);
                    let delay = self.random.between(10 * MS, SEC);
                    self.dial(at, delay);
                }
            }
            AgentDo::Command { link, message, late } => match self.late_or_lost(link, late) {
                None => self.command(at, message),
                Some(None) => {}
                Some(Some(delay)) => {
                    let life = self.agents[at].life;
                    self.after(
                        delay,
                        Event::Agent { at, life, what: AgentDo::Command { link, message, late: true } },
                    );
                }
            },
            AgentDo::FenceWritten { build, fence } => self.fence_written(at, build, fence),
        }
    }

    pub(crate) fn unlink(&mut self, at: usize) {
        let agent = &mut self.agents[at];
        agent.link = None;
        agent.follows.clear();
        agent.ops.clear();
    }

    pub(crate) fn report(&mut self, at: usize, build: BuildId, fence: Fence, report: Report) {
        if let Some(link) = self.agents[at].link {
            self.report_over(link, FromAgent { build, fence, report });
        }
    }

    pub(crate) fn report_step(&mut self, at: usize, key: &StepKey, fence: Fence) {
        let report = self.agents[at].state(key);
        self.report(at, key.0, fence, Report::Step(report));
    }

    pub(crate) fn command(&mut self, at: usize, ToAgent { build, fence, command }: ToAgent) {
        self.tell(|| format!("agent-{at} hears {build} {fence} {command:?}"));
        let claim = command == Command::Claim;
        let verdict = match self.agents[at].fences.judge(build, fence, claim) {
            _ if self.is(Mutation::FencesIgnored) && !claim => Verdict::Current,
            // Without fences, or without claims, whoever comes is obeyed.
            Verdict::Unclaimed if self.is(Mutation::NoClaim) => Verdict::Current,
            verdict => verdict,
        };
        match verdict {
            Verdict::Stale { held } => self.report(at, build, fence, Report::Refused { held }),
            Verdict::Unclaimed => {
                let held = self.agents[at].fences.held(build).unwrap_or_default();
                self.report(at, build, fence, Report::Refused { held });
            }
            Verdict::Newer => self.claim(at, build, fence, true),
            Verdict::Current if claim => self.claim(at, build, fence, false),
            Verdict::Current => self.obey(at, build, fence, command),
        }
    }

    pub(crate) fn claim(&mut self, at: usize, build: BuildId, fence: Fence, newer: bool) {
        let agent = &mut self.agents[at];
        if let Some((held, next)) = agent.claiming.get_mut(&build) {
            let held = *held;
            if fence > held {
                *next = (*next).max(Some(fence));
            } else if fence < held {
                self.report(at, build, fence, Report::Refused { held });
            }
            return;
        }
        agent.break_off(build);
        if !newer {
            return self.answer_claim(at, build, fence);
        }
        agent.claiming.insert(build, (fence, None));
        let life = agent.life;
        let delay = self.delay(500, 10 * MS);
        self.after(delay, Event::Agent { at, life, what: AgentDo::FenceWritten { build, fence } });
    }

    pub(crate) fn fence_written(&mut self, at: usize, build: BuildId, fence: Fence) {
        let agent = &mut self.agents[at];
        let Some((_, next)) = agent.claiming.remove(&build) else { return };
        let boot = agent.boot;
        agent.disk.fences.entry(build).or_insert((fence, boot)).0 = fence;
        let former = agent.fences.held(build).filter(|former| *former < fence);
        agent.fences.hold(build, fence);
        agent.break_off(build);
        if let Some(former) = former {
            self.report(at, build, former, Report::Refused { held: fence });
        }
        self.answer_claim(at, build, fence);
        if let Some(next) = next {
            self.claim(at, build, next, true);
        }
    }

    pub(crate) fn answer_claim(&mut self, at: usize, build: BuildId, fence: Fence) {
        self.claimed(at, build, fence);
        let agent = &self.agents[at];
        let first = agent.disk.fences.get(&build).map_or(agent.boot, |(_, boot)| *boot);
        let rebooted = first != agent.boot && !self.is(Mutation::RebootHidden);
        let keys = agent.disk.steps.keys().filter(|key| key.0 == build);
        let steps = keys.map(|key| agent.state(key)).collect();
        self.report(at, build, fence, Report::Claimed { steps, rebooted });
    }

    pub(crate) fn obey(&mut self, at: usize, build: BuildId, fence: Fence, command: Command) {
        self.obeyed(at, build, fence);
        match command {
            Command::Claim => {}
            Command::Start { step, spec } => self.start(at, (build, step), fence, &spec),
            Command::Follow { step, from, upto } => self.follow(at, (build, step), fence, from, upto),
            Command::Kill { step, grace_millis } => self.kill_step(at, &(build, step), fence, grace_millis),
            Command::Op { op, request } => self.op(at, (build, op), fence, *request),
            Command::OpData { op, offset, last, bytes } => {
                self.op_data(at, (build, op), fence, offset, last, &bytes);
            }
            Command::OpCredit { .. } => {}
            Command::OpCancel { op } => {
                self.agents[at].ops.remove(&(build, op));
            }
            Command::Forget => {
                self.agents[at].break_off(build);
                self.agents[at].ending.insert(build);
                self.discard(at, build);
            }
        }
    }
}

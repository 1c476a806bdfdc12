//! The machine of an agent: its processes run whether the agent does or not.

use crate::agent::{Agent, HostDo, Process, StepKey};
use crate::mutation::Mutation;
use crate::workload::Plan;
use crate::world::{Event, MS, SEC, World};

/// What was written less than that ago may not be on disk when the machine stops.
const UNSYNCED: u64 = 30 * SEC;

impl World {
    pub(crate) fn on_host(&mut self, at: usize, what: HostDo) {
        match what {
            HostDo::Wrapper { key, plan } => self.wrapper(at, key, plan),
            HostDo::Print { key, n } => self.print(at, key, n),
            HostDo::Exit { key, status } => self.exits(at, &key, status),
            HostDo::Agent => self.agent_starts(at),
        }
    }

    /// Creates `started` exclusively, then runs the program.
    pub(crate) fn wrapper(&mut self, at: usize, key: StepKey, plan: Plan) {
        let twice = self.is(Mutation::StartedTwice);
        let (boot, now) = (self.agents[at].boot, self.now);
        let Some(step) = self.agents[at].disk.steps.get_mut(&key) else { return };
        if step.started.is_some() && !twice {
            return;
        }
        step.started = Some(boot);
        step.touched = now;
        self.tell(|| format!("agent-{at} runs step {} of build {}", key.1, key.0));
        self.ran(key.0, &key.1, plan.capture);
        let first = plan.gap_millis * MS;
        let what = if plan.chunks == 0 {
            HostDo::Exit { key: key.clone(), status: plan.status }
        } else {
            HostDo::Print { key: key.clone(), n: 0 }
        };
        self.agents[at].processes.insert(key, Process { plan, ending: false });
        self.after(first, Event::Host { at, boot, what });
    }

    pub(crate) fn print(&mut self, at: usize, key: StepKey, n: u64) {
        let (boot, now) = (self.agents[at].boot, self.now);
        let Some(process) = self.agents[at].processes.get(&key).filter(|p| !p.ending) else { return };
        let piece = process.plan.piece(key.0.0, &key.1, n);
        let gap = process.plan.gap_millis * MS;
        let what = if n + 1 < process.plan.chunks {
            HostDo::Print { key: key.clone(), n: n + 1 }
        } else {
            HostDo::Exit { key: key.clone(), status: process.plan.status }
        };
        if let Some(step) = self.agents[at].disk.steps.get_mut(&key) {
            step.out.extend_from_slice(&piece);
            step.touched = now;
        }
        if let Some(printed) = self.oracle.printed.get_mut(&key) {
            printed.bytes.extend_from_slice(&piece);
        }
        self.pump(at, &key);
        self.after(gap, Event::Host { at, boot, what });
    }

    pub(crate) fn exits(&mut self, at: usize, key: &StepKey, status: i32) {
        let now = self.now;
        let Some(process) = self.agents[at].processes.get(key) else { return };
        if process.ending && status != 143 {
            return;
        }
        self.agents[at].processes.remove(key);
        if let Some(step) = self.agents[at].disk.steps.get_mut(key) {
            step.exit = Some(status);
            step.touched = now;
        }
        if let Some(printed) = self.oracle.printed.get_mut(key) {
            printed.status = Some(status);
        }
        self.step_ended(at, key);
    }

    // -- faults ------------------------------------------------------------------------------

    /// The agent's process ends and is started again.
    pub(crate) fn kill_agent(&mut self, at: usize) {
        self.oracle.note("agent kills");
        self.agent_ends(at);
        let boot = self.agents[at].boot;
        let delay = self.random.between(50 * MS, 5 * SEC);
        self.after(delay, Event::Host { at, boot, what: HostDo::Agent });
    }

    pub(crate) fn agent_ends(&mut self, at: usize) {
        let life = self.agents[at].life;
        for link in 0..self.links.len() {
            if self.links[link].agent == at && self.links[link].agent_life == life {
                self.cut(link);
            }
        }
        self.agents[at].die();
    }

    /// The machine is restarted: nothing of it runs, and what was written last may be gone.
    pub(crate) fn reboot(&mut self, at: usize) {
        self.oracle.note("reboots");
        self.agent_ends(at);
        self.agents[at].boot += 1;
        self.agents[at].processes.clear();
        let now = self.now;
        let keys: Vec<StepKey> = self.agents[at].disk.steps.keys().cloned().collect();
        for key in keys {
            if let Some(printed) = self.oracle.printed.get_mut(&key) {
                printed.damaged = true;
            }
            let recent = self.agents[at].disk.steps[&key].touched + UNSYNCED > now;
            if !recent {
                continue;
            }
            if self.random.chance(300) {
                self.agents[at].disk.steps.remove(&key);
                continue;
            }
            let length = self.agents[at].disk.steps[&key].out.len();
            let kept = self.random.index(length + 1);
            let unsynced = self.random.chance(300);
            if let Some(step) = self.agents[at].disk.steps.get_mut(&key) {
                step.out.truncate(kept);
                if unsynced {
                    step.exit = None;
                }
            }
        }
        let boot = self.agents[at].boot;
        let delay = self.random.between(SEC, 20 * SEC);
        self.after(delay, Event::Host { at, boot, what: HostDo::Agent });
    }

    /// Another machine comes under the agent's name, with a work folder of its own.
    pub(crate) fn replace(&mut self, at: usize) {
        self.oracle.note("replaced");
        self.agent_ends(at);
        let instance = format!("instance-{}", self.count());
        let boot = self.agents[at].boot + 1;
        let name = self.agents[at].name.to_string();
        self.agents[at] = Agent::new(&name, instance);
        self.agents[at].boot = boot;
        self.claims_gone(at);
        let delay = self.random.between(SEC, 10 * SEC);
        self.after(delay, Event::Host { at, boot, what: HostDo::Agent });
    }
}

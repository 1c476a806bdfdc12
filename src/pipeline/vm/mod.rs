//! The virtual machine: runs bytecode until every branch waits for a record or the program has ended.
//!
//! No Rust recursion stands for a Groovy call, nothing is async, and all state is plain data. Branches share the
//! heap; each has a stack of its own. Which branch runs next depends on the order of the records and nothing else.

pub(crate) mod arithmetic;
mod branch;
mod build;
mod call;
pub(crate) mod coerce;
pub(crate) mod compare;
mod construct;
mod context;
pub(crate) mod decimal;
mod exec;
mod fault;
mod interrupt;
mod local;
mod member;
mod object;
pub(crate) mod ordered;
pub(crate) mod text;
mod throw;
pub(crate) mod value;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use crate::act::{Act, ActKind, Began, BuildResult, Granted, StepId};
use crate::ast::Pos;
use crate::program::Program;
pub(crate) use branch::{Branch, Ret, State};
pub(crate) use context::{Context, NodeContext};
pub(crate) use fault::{Fault, Raise, class};
pub(crate) use interrupt::{Interrupt, Why};
pub(crate) use object::{number_error, position};
use value::{HEAP_LIMIT, Heap, Value};

/// Instructions between two records. More is taken for a loop that never ends.
const INSTRUCTIONS: u64 = 200_000_000;
/// Instructions that the library may run at once, after a limit was exceeded, to close what is open.
const CLOSING: u64 = 1_000_000;

/// An act with an intent and without an outcome.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Open {
    pub(crate) act: Act,
    pub(crate) branch: u32,
    /// Why its end is wanted.
    pub(crate) cancel: Option<String>,
}

/// What `currentBuild`, `env` and the blocks keep outside of the heap.
#[derive(Debug, Clone, Default)]
pub(crate) struct Globals {
    pub(crate) result: Option<BuildResult>,
    pub(crate) display_name: Option<String>,
    pub(crate) description: Option<String>,
    /// What `env.X = …` has set.
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) params: Option<Value>,
    /// Executors that were granted, by the act that asked.
    pub(crate) grants: BTreeMap<StepId, Arc<Granted>>,
    /// Worst result that a running stage was given.
    pub(crate) stages: BTreeMap<StepId, BuildResult>,
    /// Timers that have fired.
    pub(crate) fired: HashSet<StepId>,
    /// How often the build was told to end.
    pub(crate) aborts: u32,
    pub(crate) aborted_by: Option<String>,
    /// How many values were drawn that must differ from each other.
    pub(crate) drawn: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct Vm {
    pub(crate) program: Arc<Program>,
    pub(crate) began: Arc<Began>,
    pub(crate) heap: Heap,
    pub(crate) binding: BTreeMap<Arc<str>, Value>,
    /// Static fields by class and name.
    pub(crate) statics: BTreeMap<(Arc<str>, Arc<str>), Value>,
    pub(crate) globals: Globals,
    /// The branch that runs, or an ended one when none does.
    pub(crate) cur: Branch,
    pub(crate) branches: BTreeMap<u32, Branch>,
    pub(crate) queue: VecDeque<u32>,
    pub(crate) wanted: Vec<Act>,
    pub(crate) wanted_by: Vec<u32>,
    pub(crate) open: Vec<Open>,
    /// Steps whose outcome was fed, and timers that were cancelled.
    pub(crate) closed: HashSet<StepId>,
    pub(crate) next_branch: u32,
    /// Instructions since the last record, and how many there may be.
    spent: u64,
    limit: u64,
    /// What a limit that was exceeded has thrown. From then on no code of the script runs.
    pub(crate) over: Option<Value>,
    /// The time of the last record.
    pub(crate) now: u64,
    /// How the main branch ended.
    pub(crate) ended: Option<Result<Value, Value>>,
}

impl Vm {
    pub(crate) fn new(program: Arc<Program>, began: &Began) -> Vm {
        let mut vm = Vm {
            began: Arc::new(began.clone()),
            heap: Heap::default(),
            binding: BTreeMap::new(),
            statics: BTreeMap::new(),
            globals: Globals::default(),
            cur: Branch::default(),
            branches: BTreeMap::new(),
            queue: VecDeque::new(),
            wanted: Vec::new(),
            wanted_by: Vec::new(),
            open: Vec::new(),
            closed: HashSet::new(),
            next_branch: 1,
            spent: 0,
            limit: INSTRUCTIONS,
            over: None,
            now: began.at,
            ended: None,
            program,
        };
        vm.cur.state = State::Ended;
        let mut main = Branch::default();
        let context = Arc::new(Context::default());
        let image = &vm.program.image;
        main.enter_plain(image, image.main, Value::Global(value::Global::Script), context.clone());
        for class in image.classes.iter().rev() {
            if let Some(init) = class.static_init {
                main.enter_plain(image, init, Value::Class(class.name.clone()), context.clone());
                main.frames.last_mut().into_iter().for_each(|f| f.ret = Ret::Discard);
            }
        }
        vm.branches.insert(0, main);
        vm.queue.push_back(0);
        vm
    }

    /// Runs until nothing can run or the fuel is used up; says whether everything rests.
    pub(crate) fn run(&mut self, fuel: u64) -> bool {
        let mut fuel = fuel;
        loop {
            if self.cur.state != State::Ready {
                self.park();
                if !self.unpark() {
                    return true;
                }
            }
            while self.cur.state == State::Ready {
                if fuel == 0 {
                    return false;
                }
                fuel = fuel.saturating_sub(self.step());
            }
        }
    }

    /// One instruction; says what it has cost.
    fn step(&mut self) -> u64 {
        let done = match self.exceeded() {
            Some(fault) => Err(fault),
            None => self.execute(),
        };
        if let Err(fault) = done {
            self.throw(fault);
        }
        let cost = 1 + std::mem::take(&mut self.heap.work);
        self.spent += cost;
        cost
    }

    /// A record was fed: instructions are counted from here.
    pub(crate) fn refresh(&mut self) {
        self.spent = 0;
        self.limit = if self.over.is_some() { CLOSING } else { INSTRUCTIONS };
    }

    /// What is thrown in place of the next instruction because a limit was exceeded, now or before. The library is
    /// let go on for a while: it may stand between what begins something and the `finally` that ends it.
    fn exceeded(&mut self) -> Option<Fault> {
        if self.heap.wants_collection() && self.collect() > HEAP_LIMIT && self.over.is_none() {
            let limit = HEAP_LIMIT >> 20;
            self.exceed(class::MEMORY, format!("the variables of this build take more than {limit} MiB"));
        }
        let late = self.spent > self.limit;
        let mut throw = false;
        if late && self.over.is_none() {
            self.exceed(class::ERROR, "a loop without any step ran too long".to_owned());
        } else if late {
            self.limit = self.spent + CLOSING;
            throw = true;
        }
        let over = self.over.as_ref()?;
        let codes = &self.program.image.codes;
        let library = self.cur.frames.last().is_none_or(|f| codes[f.code as usize].prelude);
        (throw || !library).then(|| Fault::Thrown(over.clone()))
    }

    /// Puts the branch that ran back among the others.
    fn park(&mut self) {
        let branch = std::mem::take(&mut self.cur);
        self.cur.state = State::Ended;
        if branch.state != State::Ended {
            self.branches.insert(branch.id, branch);
        }
    }

    /// Takes the next branch that can run.
    fn unpark(&mut self) -> bool {
        while let Some(id) = self.queue.pop_front() {
            let Some(branch) = self.branches.remove(&id) else { continue };
            self.cur = branch;
            self.cur.state = State::Ready;
            if let Some(fault) = self.cur.pending.take() {
                self.throw(fault);
            }
            return true;
        }
        false
    }

    /// Asks for an act; the branch waits for its record. A branch that was interrupted gets its exception instead,
    /// but what gives back and closes is always asked for.
    pub(crate) fn want(&mut self, kind: ActKind) -> Result<(), Fault> {
        let line = self.line();
        self.want_at(kind, line)
    }

    pub(crate) fn want_at(&mut self, kind: ActKind, line: u32) -> Result<(), Fault> {
        if !is_closing(&kind) {
            self.interruptible()?;
        }
        self.want_closing(kind, line)
    }

    /// Throws what has happened to the branch from outside.
    pub(crate) fn interruptible(&mut self) -> Result<(), Fault> {
        if let Some(over) = &self.over {
            return Err(Fault::Thrown(over.clone()));
        }
        let last = self.globals.aborts > 1;
        let killed = || Interrupt {
            why: Why::Abort(self.globals.aborted_by.clone().unwrap_or_default()),
            fatal: true,
        };
        match self.cur.interrupt.take().or_else(|| last.then(killed)) {
            Some(interrupt) => Err(self.interruption(&interrupt)),
            None => Ok(()),
        }
    }

    /// Asks for an act whatever has happened to the branch.
    pub(crate) fn want_closing(&mut self, kind: ActKind, line: u32) -> Result<(), Fault> {
        let step = self.cur.take_step();
        self.cur.state = State::Acting(step.clone());
        let (branch, timers) = (self.cur.names.to_vec(), self.cur.context().timers.clone());
        self.wanted.push(Act { step, branch, line, timers, kind });
        self.wanted_by.push(self.cur.id);
        Ok(())
    }

    /// The branch with this id, running or not.
    pub(crate) fn branch_mut(&mut self, id: u32) -> Option<&mut Branch> {
        if self.cur.id == id && self.cur.state != State::Ended {
            return Some(&mut self.cur);
        }
        self.branches.get_mut(&id)
    }

    /// The line of the Jenkinsfile that runs; 0 when there is none.
    pub(crate) fn line(&self) -> u32 {
        self.pos().line
    }

    /// What runs of the Jenkinsfile; all 0 when nothing does.
    pub(crate) fn pos(&self) -> Pos {
        let codes = &self.program.image.codes;
        let frames = self.cur.frames.iter().rev().map(|f| (&codes[f.code as usize], f.pc));
        let mut own = frames.filter(|(code, _)| !code.prelude);
        own.next()
            .and_then(|(code, pc)| code.places.get((pc as usize).saturating_sub(1)).copied())
            .unwrap_or_default()
    }

    /// Frees what nothing refers to; the bytes that live.
    fn collect(&mut self) -> usize {
        let mut roots: Vec<Value> = self.binding.values().chain(self.statics.values()).cloned().collect();
        roots.extend(self.globals.params.iter().chain(&self.over).cloned());
        for branch in self.branches.values().chain([&self.cur]) {
            branch.roots(&mut roots);
        }
        self.heap.collect(roots)
    }
}

fn is_closing(kind: &ActKind) -> bool {
    matches!(kind, ActKind::BlockEnd { .. } | ActKind::ReleaseNode { .. } | ActKind::CancelTimer { .. })
}

//! Measures the product beside the bare limits of this machine, in one run, and prints a table.
//!
//! `cargo run --release -p majordomo-bench` builds the bench; the product must have been built before with
//! `cargo build --release`. Everything listens on loopback, is bounded in time, and stops by itself.

mod agent;
mod agents;
mod bare;
mod clients;
mod controller;
mod copy;
mod failover;
mod home;
mod kubernetes;
mod limits;
mod load;
mod log;
mod operator;
#[path = "../../support/postgres.rs"]
mod postgres;
#[path = "../../support/random.rs"]
mod random;
mod replicas;
mod rolling;
mod seed;
mod sim;
mod soak;
mod system;
mod table;
mod trigger;
mod trivial;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};

use controller::{Controller, Shape, Store};
use table::Table;

/// Measure Majordomo beside the bare limits of this machine
#[derive(Parser)]
#[command(
    after_help = "Example:\n  cargo build --release && cargo run --release -p majordomo-bench -- --builds 2000"
)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// The binary to measure
    #[arg(long, default_value = "target/release/majordomo")]
    binary: PathBuf,
    /// Only on this store; both when not given, or SQLite for a soak
    #[arg(long, value_parser = ["sqlite", "postgres"])]
    store: Option<String>,
    /// Measure nothing: keep a controller busy so long (90s, 2m, 1h), kill replicas, fill its disk, and look what grows or is lost
    #[arg(long, value_name = "TIME", value_parser = soak::time)]
    soak: Option<Duration>,
    /// Only these rows
    #[arg(long, value_delimiter = ',', value_parser = ROWS, default_values = ROWS)]
    only: Vec<String>,
    /// Trivial builds
    #[arg(long, default_value_t = 2000)]
    builds: usize,
    /// Clients that start trivial builds at once
    #[arg(long, default_value_t = 16)]
    clients: usize,
    /// Builds whose trigger is timed
    #[arg(long, default_value_t = 200)]
    triggers: usize,
    /// Builds that run when their owner is killed
    #[arg(long, default_value_t = 500)]
    running: usize,
    /// Agents that are connected at rest, one measurement for each number
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 5_000, 20_000])]
    agents: Vec<usize>,
    /// Agents that print while replicas go
    #[arg(long, default_value_t = 1_000)]
    printing: usize,
    /// Megabytes that each build prints whose log is timed
    #[arg(long, default_value_t = 512)]
    log: u64,
    /// Jobs of the large home
    #[arg(long, default_value_t = 10_000)]
    jobs: usize,
    /// Builds of the large home, in all
    #[arg(long, default_value_t = 1_000_000)]
    history: usize,
    /// Controllers that the operator looks after, on a cluster of its own
    #[arg(long, default_value_t = 500)]
    controllers: usize,
    /// Replicas of the controllers that are compared
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 3, 5, 7, 9])]
    replicas: Vec<usize>,
}

/// What is measured, in this order.
const ROWS: [&str; 12] = [
    "limits", "trivial", "trigger", "rolling", "failover", "agent", "agents", "load", "log", "home",
    "replicas", "operator",
];

#[derive(Subcommand)]
enum Command {
    /// Prints a numbered line every so many milliseconds while a process lives; what measured steps run
    Print { millis: u64, pid: u32 },
    /// Connects simulated agents to a running controller of this machine until Enter is pressed; for a look with a profiler
    Simulate {
        /// Folder of the controller
        home: PathBuf,
        /// Where it listens
        address: SocketAddr,
        /// How many agents
        count: usize,
    },
    /// Accepts WebSockets and pings them, nothing more: a limit
    #[command(hide = true)]
    Bare,
}

fn main() -> Result<()> {
    let args = Args::parse();
    match args.command {
        Some(Command::Print { millis, pid }) => return print(Duration::from_millis(millis), pid),
        Some(Command::Bare) => return bare::serve(),
        Some(Command::Simulate { home, address, count }) => return agents::simulate(&home, address, count),
        None => {}
    }
    if !args.binary.exists() {
        bail!("{} is not there: run cargo build --release first, or use --binary", args.binary.display());
    }
    if let Some(time) = args.soak {
        return soak(&args, time);
    }
    let wanted = |name: &str| args.only.iter().any(|only| only == name);
    let mut table = Table::default();
    if wanted("limits") {
        limits::measure(&mut table).context("measure the limits")?;
    }
    for store in ["sqlite", "postgres"] {
        if args.store.as_deref().is_some_and(|only| only != store) {
            continue;
        }
        let server = match store {
            "postgres" => match postgres::Server::start_durable() {
                Some(server) => Some(server),
                None => {
                    println!("not run: PostgreSQL server is not installed");
                    continue;
                }
            },
            _ => None,
        };
        if let Some(server) = server.as_ref().filter(|_| wanted("limits")) {
            limits::postgres(server, &mut table).context("measure the limits of PostgreSQL")?;
        }
        let store = Store { name: store, server: server.as_ref() };
        measure(&args, &store, &wanted, &mut table)?;
    }
    if wanted("operator") {
        operator::measure(&args.binary, args.controllers, &mut table).context("look after controllers")?;
    }
    table.print();
    Ok(())
}

/// On SQLite, when nothing else is said.
fn soak(args: &Args, time: Duration) -> Result<()> {
    let server = match args.store.as_deref() {
        Some("postgres") => {
            Some(postgres::Server::start_durable().context("PostgreSQL server is not installed")?)
        }
        _ => None,
    };
    let name = if server.is_some() { "postgres" } else { "sqlite" };
    soak::run(&args.binary, &Store { name, server: server.as_ref() }, time)
}

fn measure(args: &Args, store: &Store<'_>, wanted: &dyn Fn(&str) -> bool, table: &mut Table) -> Result<()> {
    if wanted("trivial") || wanted("trigger") {
        let controller = Controller::start(&args.binary, store, three(64))?;
        if wanted("trigger") {
            trigger::measure(&controller, args.triggers, table).context("time triggers")?;
        }
        if wanted("trivial") {
            trivial::measure(&controller, args.builds, args.clients, table).context("run trivial builds")?;
        }
        controller.stop()?;
    }
    if wanted("rolling") {
        let controller = Controller::start(&args.binary, store, three(16))?;
        rolling::measure(&controller, table).context("restart all replicas")?;
        controller.stop()?;
    }
    if wanted("failover") {
        let executors = args.running.div_ceil(2);
        let controller = Controller::start(&args.binary, store, three(executors))?;
        failover::measure(&controller, args.running, table).context("kill an owner")?;
        controller.stop()?;
    }
    if wanted("agent") {
        let shape = Shape { replicas: 1, agents: 1, executors: 2 };
        let controller = Controller::start(&args.binary, store, shape)?;
        agent::measure(&controller, table).context("look at an agent")?;
        controller.stop()?;
    }
    if wanted("agents") {
        agents::measure(&args.binary, store, &args.agents, table).context("connect agents")?;
    }
    if wanted("load") {
        load::measure(&args.binary, store, args.printing, table).context("let agents print")?;
    }
    if wanted("log") {
        log::measure(&args.binary, store, args.log, table).context("print a long log")?;
    }
    if wanted("home") {
        home::measure(&args.binary, store, (args.jobs, args.history), table)
            .context("start on a large home")?;
    }
    if wanted("replicas") {
        replicas::measure(&args.binary, store, &args.replicas, args.builds, table)
            .context("compare replicas")?;
    }
    Ok(())
}

/// Three replicas and two agents with so many executors each.
fn three(executors: usize) -> Shape {
    Shape { replicas: 3, agents: 2, executors }
}

/// Steps outlive all of the product, as they should; they end with the bench.
fn print(every: Duration, pid: u32) -> Result<()> {
    use std::io::Write;
    let bench = PathBuf::from(format!("/proc/{pid}"));
    let mut out = std::io::stdout();
    for n in 0u64.. {
        if !bench.exists() {
            break;
        }
        writeln!(out, "line {n}")?;
        out.flush()?;
        std::thread::sleep(every);
    }
    Ok(())
}

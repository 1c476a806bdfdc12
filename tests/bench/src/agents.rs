//! Agents at rest on one replica: each signed in, pinged, and each has run a build. What one costs, beside a bare WebSocket.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use security::Keys;

use crate::clients::{float, share};
use crate::controller::{Controller, Kept, Shape, Store};
use crate::sim::{Agents, Node};
use crate::system;
use crate::table::{Table, percentile};

/// Clients that create nodes and start builds.
const CLIENTS: usize = 16;
/// Builds on their way at most: the scheduler is not what is measured here.
const UNDER_WAY: usize = 500;
/// How long the replica is watched at rest: two pings of each agent.
const REST: Duration = Duration::from_secs(30);
/// Files that a replica and the bench have open besides sockets of agents.
const OTHER_FILES: u64 = 100;

/// One replica for each number of agents.
pub(crate) fn measure(binary: &Path, store: &Store<'_>, counts: &[usize], table: &mut Table) -> Result<()> {
    let most = usize::try_from(system::raise_file_limit().saturating_sub(OTHER_FILES))?;
    for count in counts {
        if *count > most {
            println!("{count} agents are more than the limit of open files allows: {most}");
        }
        let count = (*count).min(most);
        limit(count, table).context("measure bare WebSockets")?;
        let controller = Controller::start(binary, store, Shape { replicas: 1, agents: 0, executors: 0 })?;
        row(&controller, count, table)?;
        controller.stop()?;
    }
    Ok(())
}

/// Connects agents to a controller that runs, for whoever looks at it meanwhile.
pub(crate) fn simulate(home: &Path, address: SocketAddr, count: usize) -> Result<()> {
    let controller = Kept::of(home)?.client(address);
    let mut agents = Agents::new(address)?;
    agents.add(nodes(&controller, count, 1)?);
    agents.wait("signed in", Duration::from_secs(300), |seen| &seen.linked)?;
    println!("{count} agents are signed in; Enter lets each run a build");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    let took = builds(&controller, &agents, count)?;
    println!("each has run a build after {:.1} s; Enter ends them", took.as_secs_f64());
    std::io::stdin().read_line(&mut line)?;
    Ok(())
}

/// Nodes, and what an agent of each shows.
pub(crate) fn nodes(controller: &Controller, count: usize, executors: usize) -> Result<Vec<Node>> {
    let create = |n| controller.create_node(&format!("sim-{n}"), executors);
    share(CLIENTS, count, create).context("create nodes")?;
    let keys = Keys::read(&controller.folder().join("secrets/master.key"))?;
    let node = |n| {
        let name = format!("sim-{n}");
        let secret = keys.agent_secret(&name);
        Node { name, secret }
    };
    Ok((0..count).map(node).collect())
}

fn row(controller: &Controller, count: usize, table: &mut Table) -> Result<()> {
    let pid = controller.replicas()?.first().context("there is no replica")?.pid;
    let nodes = nodes(controller, count, 1)?;
    let mut agents = Agents::new(controller.address()?)?;
    let empty = system::memory(pid);
    let (began, worked) = (Instant::now(), system::busy(pid));
    agents.add(nodes);
    agents.wait("signed in", Duration::from_secs(300), |seen| &seen.linked)?;
    let signed_in = began.elapsed();
    let cost = (system::busy(pid) - worked).as_secs_f64() * 1000.0 / float(count);
    agents.wait("pinged", Duration::from_secs(60), |seen| &seen.pinged)?;
    let rest = rest(pid);
    let before = system::memory(pid);
    let pings = pings(&agents);

    let took = builds(controller, &agents, count)?;
    // what builds have used is given back, or kept for the next ones
    std::thread::sleep(Duration::from_secs(5));
    let after = system::memory(pid);
    let lost = agents.seen().lost.load(Ordering::Relaxed);
    let each = |bytes: u64| float(bytes.saturating_sub(empty)) / 1024.0 / float(count);
    let what = format!("{count} agents on one replica, signed in and pinged");
    let value = format!("{:.1} KiB each, {:.0} % of a core at rest", each(before), rest * 100.0);
    table.row(controller.store, &what, value, "goal ≤ 12 KiB, ≤ 20 %");
    let value = format!("{:.0}/s, {cost:.2} ms of a core each", float(count) / signed_in.as_secs_f64());
    table.row(controller.store, "  connected", value, "sign-in page, then the upgrade, as agents do");
    table.row(controller.store, "  an agent's own pings", pings, "-");
    let value = format!(
        "{:.0} builds/s; then {:.1} KiB each ({} MiB in all); {lost} links lost",
        float(count) / took.as_secs_f64(),
        each(after),
        after >> 20
    );
    table.row(controller.store, "  each has run a build", value, "-");
    if lost > 0 {
        eprintln!("links were lost: {}", agents.reasons().join("; "));
    }
    Ok(())
}

/// Share of a core while nothing happens but pings.
fn rest(pid: u32) -> f64 {
    std::thread::sleep(Duration::from_secs(2));
    let (began, before) = (Instant::now(), system::busy(pid));
    std::thread::sleep(REST);
    (system::busy(pid) - before).as_secs_f64() / began.elapsed().as_secs_f64()
}

/// Each agent pings the replica once in ten seconds.
fn pings(agents: &Agents) -> String {
    agents.ask(Some(Duration::from_secs(10)));
    std::thread::sleep(Duration::from_secs(12));
    agents.ask(None);
    let answers = agents.answers();
    let [half, most] = [0.5, 0.99].map(|share| percentile(&answers, share));
    format!("p50 {half:.1} ms, p99 {most:.1} ms ({} pings)", answers.len())
}

/// A build on each agent, by its name.
fn builds(controller: &Controller, agents: &Agents, count: usize) -> Result<Duration> {
    controller.create("everywhere", "node(\"sim-${params.N}\") { sh 'true' }")?;
    let began = Instant::now();
    let deadline = began + Duration::from_secs(900);
    share(CLIENTS, count, |n| {
        while n > agents.seen().worked.load(Ordering::Relaxed) + UNDER_WAY {
            if Instant::now() > deadline {
                bail!("only {} agents have worked", agents.seen().worked.load(Ordering::Relaxed));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        controller.build("everywhere", n)
    })?;
    agents.wait("through with a build", Duration::from_secs(60), |seen| &seen.worked)?;
    let took = began.elapsed();
    controller.until("all builds have ended", Duration::from_secs(60), || {
        Ok(controller.replicas()?.iter().map(|r| r.builds).sum::<usize>() == 0)
    })?;
    let succeeded = crate::trivial::read_back(controller, "everywhere", count)?;
    if succeeded != count {
        bail!("{succeeded} of {count} builds have succeeded");
    }
    Ok(took)
}

/// The same number of bare WebSockets with a process that does no more than ping them.
fn limit(count: usize, table: &mut Table) -> Result<()> {
    let server = Server::start()?;
    let pid = server.child.id();
    let empty = system::memory(pid);
    let mut agents = Agents::new(server.address)?;
    let began = Instant::now();
    agents.add_bare(count);
    agents.wait("connected", Duration::from_secs(120), |seen| &seen.linked)?;
    let rate = float(count) / began.elapsed().as_secs_f64();
    std::thread::sleep(crate::bare::PING);
    let rest = rest(pid);
    let each = float(system::memory(pid).saturating_sub(empty)) / 1024.0 / float(count);
    table.row(
        "-",
        &format!("limit: {count} bare WebSockets, pinged every {} s", crate::bare::PING.as_secs()),
        format!("{each:.1} KiB each, {:.0} % of a core, {rate:.0}/s connected", rest * 100.0),
        "4 KiB read buffers",
    );
    Ok(())
}

/// The process of `bare`.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start() -> Result<Server> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("bare")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let out = child.stdout.take().context("its output")?;
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line)?;
        Ok(Server { child, address: line.trim().parse()? })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

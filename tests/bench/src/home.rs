//! A replica on a home with very many jobs and builds: from start to ready, at rest, and what pages take.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::clients::{float, share};
use crate::controller::{Controller, Shape, Store};
use crate::seed::{ORIGINAL, Rows, copy};
use crate::system;
use crate::table::{Table, percentile};

/// Builds of each job with journal and log.
const LOGS: usize = 5;
/// Starts that are timed.
const STARTS: usize = 5;
/// Times that each page is read.
const READS: usize = 20;
const SCRIPT: &str = "node { echo \"hello\"; sh 'true' }";

pub(crate) fn measure(
    binary: &Path,
    store: &Store<'_>,
    (jobs, builds): (usize, usize),
    table: &mut Table,
) -> Result<()> {
    let each = builds / jobs.max(1);
    let began = Instant::now();
    let controller = Controller::start(binary, store, Shape { replicas: 1, agents: 1, executors: 1 })?;
    fill(&controller, jobs)?;
    let stopped = controller.stop_and_keep()?;
    let home = stopped.folder();
    copy(&Rows::open(&home, store.server, stopped.url.as_deref())?, each, LOGS).context("copy builds")?;
    // A home that has grown is on the disk already; the first commit of a start would wait for hundreds of megabytes.
    rustix::fs::sync();
    println!("{jobs} jobs with {each} builds each are made after {} s", began.elapsed().as_secs());

    let (mut starts, mut busy) = (Vec::new(), Duration::ZERO);
    for _ in 1..STARTS {
        let (replica, took) = Replica::start(binary, &home, stopped.url.as_deref())?;
        starts.push(took);
        busy += system::busy(replica.child.id());
        replica.stop()?;
    }
    let (replica, took) = Replica::start(binary, &home, stopped.url.as_deref())?;
    starts.push(took);
    busy += system::busy(replica.child.id());
    starts.sort_by(f64::total_cmp);
    let value = format!(
        "p50 {:.0} ms, at most {:.0} ms; {:.0} ms of a core",
        percentile(&starts, 0.5),
        percentile(&starts, 1.0),
        busy.as_secs_f64() * 1000.0 / float(STARTS)
    );
    let what = format!("start to ready, {jobs} jobs and {} builds", jobs * each);
    table.row(store.name, &what, value, "goal ≤ 300 ms");
    std::thread::sleep(Duration::from_secs(10));
    let busy = system::busy(replica.child.id());
    std::thread::sleep(Duration::from_secs(5));
    let busy = (system::busy(replica.child.id()) - busy).as_secs_f64() / 5.0;
    let value = format!("{} MiB, {:.1} % of a core", system::memory(replica.child.id()) >> 20, busy * 100.0);
    table.row(store.name, "  at rest", value, "goal ≤ 40 MB");
    equal(&stopped.client(replica.address), each)?;
    pages(&stopped.client(replica.address), replica.child.id(), each, table)?;
    let value = format!("{} MiB", system::memory(replica.child.id()) >> 20);
    table.row(store.name, "  memory after all these pages", value, "-");
    replica.stop()
}

/// Jobs, and the build that is copied.
fn fill(controller: &Controller, jobs: usize) -> Result<()> {
    controller.create(ORIGINAL, SCRIPT)?;
    controller.build(ORIGINAL, 1)?;
    share(16, jobs, |n| controller.create(&format!("job-{n:05}"), SCRIPT)).context("create jobs")?;
    controller.until("the build that is copied ends", Duration::from_secs(30), || {
        let build = controller.get(&format!("/job/{ORIGINAL}/1/api/json?tree=result"));
        Ok(build.is_ok_and(|build| build["result"] == "SUCCESS"))
    })
}

/// What is seen of a copy is what is seen of the original.
fn equal(client: &Controller, each: usize) -> Result<()> {
    for build in [each, each.saturating_sub(LOGS - 1).max(1)] {
        let path = format!("/job/job-00007/{build}");
        let pairs = [
            "/consoleText",
            "/api/json?tree=result,building,duration,displayName,builtOn,keepLog,description,actions[parameters[*],causes[*]]",
        ];
        for page in pairs {
            let copy = client.ask("GET", &format!("{path}{page}"), None)?.1;
            let original = client.ask("GET", &format!("/job/{ORIGINAL}/1{page}"), None)?.1;
            if copy.replace(&format!("#{build}"), "#1") != original {
                bail!("{path}{page} is not as that of the original: {copy}\n{original}");
            }
        }
    }
    Ok(())
}

fn pages(client: &Controller, pid: u32, each: usize, table: &mut Table) -> Result<()> {
    let json = [
        ("all jobs", "/api/json".to_owned()),
        ("names and colours of all jobs", "/api/json?tree=jobs[name,color]".to_owned()),
        ("a job", "/job/job-00042/api/json".to_owned()),
        ("a job's builds", "/job/job-00042/api/json?tree=allBuilds[number,result,timestamp]".to_owned()),
        ("a build", format!("/job/job-00042/{each}/api/json")),
        ("the queue", "/queue/api/json".to_owned()),
        ("the nodes", "/computer/api/json".to_owned()),
    ];
    let html = [
        ("page of all jobs", "/".to_owned()),
        ("page of a job", "/job/job-00042/".to_owned()),
        ("page of a build", format!("/job/job-00042/{each}/")),
        ("log of a build", format!("/job/job-00042/{each}/consoleText")),
        ("page of the queue", "/queue/".to_owned()),
        ("page of the nodes", "/computer/".to_owned()),
        ("sign-in page", "/login".to_owned()),
    ];
    for (what, path) in json.into_iter().chain(html) {
        let (mut millis, mut size) = (Vec::new(), 0);
        let busy = system::busy(pid);
        for _ in 0..READS {
            let began = Instant::now();
            match client.ask("GET", &path, None) {
                Ok((_, body)) => size = body.len(),
                Err(error) => {
                    println!("not measured: {error:#}");
                    break;
                }
            }
            millis.push(began.elapsed().as_secs_f64() * 1000.0);
        }
        if millis.is_empty() {
            continue;
        }
        // that of its neighbours is not in it
        let busy = (system::busy(pid) - busy).as_secs_f64() * 1000.0 / float(millis.len());
        let first = millis[0];
        millis.sort_by(f64::total_cmp);
        let value = format!(
            "first {first:.1} ms, p50 {:.1} ms, {busy:.1} ms of a core, {} KiB",
            percentile(&millis, 0.5),
            size / 1024
        );
        table.row(client.store, &format!("  {what}: {path}"), value, "goal ≤ 50 ms");
    }
    Ok(())
}

/// A replica by itself, as a service manager starts it.
struct Replica {
    child: Child,
    address: SocketAddr,
}

impl Replica {
    /// → milliseconds until it served the sign-in page
    fn start(binary: &Path, home: &Path, url: Option<&str>) -> Result<(Replica, f64)> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = Command::new(binary);
        command.args(["replica", "--name", "bench-0", "--listen", &address.to_string(), "--home"]).arg(home);
        command.stdin(Stdio::null()).env("MAJORDOMO_LOG", "warn");
        if let Some(url) = url {
            command.env("MAJORDOMO_STORE", url);
        }
        let began = Instant::now();
        let mut replica = Replica { child: command.spawn()?, address };
        while !served(address) {
            if began.elapsed() > Duration::from_secs(60) {
                bail!("the replica is not ready after a minute");
            }
            if let Some(status) = replica.child.try_wait()? {
                bail!("the replica has ended: {status}");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok((replica, began.elapsed().as_secs_f64() * 1000.0))
    }

    /// Lets it leave in order: the next one need not wait for its lease.
    fn stop(mut self) -> Result<()> {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn served(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(
            format!("GET /login HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes(),
        )?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer.starts_with(b"HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}

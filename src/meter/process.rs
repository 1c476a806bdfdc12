//! What the process takes of its machine, under the names that all clients of Prometheus use. Read when it is asked for.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use rustix::process::{Resource, getrlimit};

use crate::Name;

const CPU: Name = Name::new("process_cpu_seconds_total", "Processor time of the process, in seconds");
const RESIDENT: Name = Name::new("process_resident_memory_bytes", "Memory that the process has in use");
const VIRTUAL: Name = Name::new("process_virtual_memory_bytes", "Addresses that the process has reserved");
const OPEN: Name = Name::new("process_open_fds", "File descriptors that the process has open");
const MOST: Name = Name::new("process_max_fds", "File descriptors that the process may have open");
const START: Name = Name::new("process_start_time_seconds", "When the process began, in seconds since 1970");
const THREADS: Name = Name::new("process_threads", "Threads of the process");

/// The process itself, from `/proc`. What can't be read there is left out.
#[derive(Debug, Default)]
pub struct Process;

/// What `/proc/self/stat` says.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Stat {
    /// Ticks.
    cpu: u64,
    threads: u64,
    /// Ticks after the boot.
    start: u64,
    bytes: u64,
    pages: u64,
}

/// The fields of `stat`; the name of the program may have any characters in it.
fn stat(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split_whitespace().collect();
    // numbers as in proc(5), which counts from 1; the first of `fields` is 3
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Stat {
        cpu: field(14)? + field(15)?,
        threads: field(20)?,
        start: field(22)?,
        bytes: field(23)?,
        pages: field(24)?,
    })
}

fn boot() -> Option<u64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

/// For exact values below 2^53, as Prometheus has all of them.
fn float(value: u64) -> f64 {
    value as f64
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut gauge = |name: Name, value: f64| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name.name, name.help, None, gauge.metric_type())?)
        };
        let ticks = float(rustix::param::clock_ticks_per_second()).max(1.0);
        let stat = fs::read_to_string("/proc/self/stat").ok().and_then(|text| stat(&text));
        if let Some(stat) = stat {
            gauge(RESIDENT, float(stat.pages * rustix::param::page_size() as u64))?;
            gauge(VIRTUAL, float(stat.bytes))?;
            gauge(THREADS, float(stat.threads))?;
            if let Some(boot) = boot() {
                gauge(START, float(boot) + float(stat.start) / ticks)?;
            }
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            // one of them is the folder itself
            gauge(OPEN, float(open.count().saturating_sub(1) as u64))?;
        }
        gauge(MOST, getrlimit(Resource::Nofile).current.map_or(f64::INFINITY, float))?;
        if let Some(stat) = stat {
            let cpu = ConstCounter::new(float(stat.cpu) / ticks);
            let name = CPU.name.strip_suffix("_total").unwrap_or(CPU.name);
            cpu.encode(encoder.encode_descriptor(name, CPU.help, None, cpu.metric_type())?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_process_is_read_whatever_its_program_is_called() {
        let line = "7 (a) b) (c) R 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 9 0 12345 400000 77 18446744073709551615";
        let wanted = Stat { cpu: 300, threads: 9, start: 12_345, bytes: 400_000, pages: 77 };
        assert_eq!(stat(line), Some(wanted));
        assert_eq!(stat("7 (a"), None);
    }

    #[test]
    fn this_process_is_seen() {
        let mut registry = crate::Registry::default();
        registry.register_collector(Box::new(Process));
        let text = crate::encode(&registry);
        for name in [CPU, RESIDENT, VIRTUAL, OPEN, MOST, START, THREADS] {
            let line = text.lines().find(|line| line.starts_with(&format!("{} ", name.name)));
            let value: f64 = line.unwrap().rsplit_once(' ').unwrap().1.parse().unwrap();
            assert!(value > 0.0 || name == CPU, "{text}");
        }
    }
}

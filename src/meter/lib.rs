//! What is counted and timed, and how it is written down for Prometheus.
//!
//! Each part has its metrics in a `metrics.rs` of its own: names and help texts are constants there ([`Name`]), labels are
//! enums of ours ([`labels!`]), so that nothing that a user writes can make a new series. The values are fields, never
//! globals: several replicas may be in one process. Every value of a label is there from the start, with 0.

mod process;
mod text;

use std::fmt;
use std::hash::Hash;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabel, EncodeLabelSet, LabelSetEncoder};
use prometheus_client::registry::Metric;

pub use process::Process;
pub use prometheus_client::encoding;
pub use prometheus_client::metrics::counter::Counter;
pub use prometheus_client::metrics::family::Family;
pub use prometheus_client::metrics::gauge::Gauge;
pub use prometheus_client::metrics::histogram::Histogram;
pub use prometheus_client::registry::Registry;
pub use text::{Document, Format, Kind, Sample, escaped};

/// A gauge of seconds.
pub type Seconds = Gauge<f64, std::sync::atomic::AtomicU64>;

/// For what should take milliseconds: upper ends of the buckets, in seconds.
pub const QUICK: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// For what waits, or is work of users, in seconds.
pub const LONG: [f64; 16] = [
    0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0,
];
/// For how many there are of something at once.
pub const SIZES: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// The name of a metric and what it means: a constant of the part that fills it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name {
    /// As it is exported: base units, and `_total` at the end of what only grows.
    pub name: &'static str,
    /// One sentence without its full stop.
    pub help: &'static str,
}

impl Name {
    pub const fn new(name: &'static str, help: &'static str) -> Name {
        Name { name, help }
    }
}

/// Puts a metric under its name.
pub fn add(registry: &mut Registry, name: Name, metric: impl Metric) {
    // the library writes `_total` itself
    registry.register(name.name.strip_suffix("_total").unwrap_or(name.name), name.help, metric);
}

/// A histogram of short times.
pub fn quick() -> Histogram {
    Histogram::new(QUICK)
}

/// A histogram of waits and of users' work.
pub fn long() -> Histogram {
    Histogram::new(LONG)
}

/// A label whose values are known. Made by [`labels!`].
pub trait Label: Copy + Eq + Hash + fmt::Debug + Send + Sync + 'static {
    const KEY: &'static str;
    const ALL: &'static [Self];
    fn as_str(self) -> &'static str;
}

/// An enum that is a label: `labels! { pub enum End("reason") { Silent => "silent" } }`.
#[macro_export]
macro_rules! labels {
    ($(#[$about:meta])* $vis:vis enum $name:ident($key:literal) {
        $($(#[$of:meta])* $variant:ident => $text:literal),* $(,)?
    }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        $vis enum $name {
            $($(#[$of])* $variant),*
        }

        impl $crate::Label for $name {
            const KEY: &'static str = $key;
            const ALL: &'static [Self] = &[$($name::$variant),*];

            fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $text),*
                }
            }
        }
    };
}

/// A label set of one label.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Of<L>(L);

impl<L: Label> EncodeLabelSet for Of<L> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        (L::KEY, self.0.as_str()).encode(encoder.encode_label())
    }
}

/// A label set of two labels.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Both<L, M>(L, M);

impl<L: Label, M: Label> EncodeLabelSet for Both<L, M> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        (L::KEY, self.0.as_str()).encode(encoder.encode_label())?;
        (M::KEY, self.1.as_str()).encode(encoder.encode_label())
    }
}

/// Counters, one for each value of a label.
#[derive(Debug, Clone)]
pub struct Counters<L: Label>(Family<Of<L>, Counter>);

impl<L: Label> Default for Counters<L> {
    fn default() -> Counters<L> {
        let family = Family::default();
        L::ALL.iter().for_each(|label| drop(family.get_or_create(&Of(*label))));
        Counters(family)
    }
}

impl<L: Label> Counters<L> {
    pub fn inc(&self, label: L) {
        self.0.get_or_create(&Of(label)).inc();
    }

    pub fn inc_by(&self, label: L, more: u64) {
        self.0.get_or_create(&Of(label)).inc_by(more);
    }

    pub fn get(&self, label: L) -> u64 {
        self.0.get_or_create(&Of(label)).get()
    }

    pub fn add_to(&self, registry: &mut Registry, name: Name) {
        add(registry, name, self.0.clone());
    }
}

/// Counters by two labels. Only those that were counted are there: most pairs never come.
#[derive(Debug, Clone)]
pub struct Pairs<L: Label, M: Label>(Family<Both<L, M>, Counter>);

impl<L: Label, M: Label> Default for Pairs<L, M> {
    fn default() -> Pairs<L, M> {
        Pairs(Family::default())
    }
}

impl<L: Label, M: Label> Pairs<L, M> {
    pub fn inc(&self, one: L, other: M) {
        self.0.get_or_create(&Both(one, other)).inc();
    }

    pub fn add_to(&self, registry: &mut Registry, name: Name) {
        add(registry, name, self.0.clone());
    }
}

/// Gauges, one for each value of a label.
#[derive(Debug, Clone)]
pub struct Gauges<L: Label>(Family<Of<L>, Seconds>);

impl<L: Label> Default for Gauges<L> {
    fn default() -> Gauges<L> {
        let family = Family::default();
        L::ALL.iter().for_each(|label| drop(family.get_or_create(&Of(*label))));
        Gauges(family)
    }
}

impl<L: Label> Gauges<L> {
    pub fn set(&self, label: L, value: f64) {
        self.0.get_or_create(&Of(label)).set(value);
    }

    pub fn set_time(&self, label: L, time: Duration) {
        self.set(label, time.as_secs_f64());
    }

    pub fn add_to(&self, registry: &mut Registry, name: Name) {
        add(registry, name, self.0.clone());
    }
}

/// Histograms, one for each value of a label.
#[derive(Debug, Clone)]
pub struct Histograms<L: Label>(Family<Of<L>, Histogram>);

impl<L: Label> Histograms<L> {
    pub fn new(constructor: fn() -> Histogram) -> Histograms<L> {
        let family = Family::new_with_constructor(constructor);
        L::ALL.iter().for_each(|label| drop(family.get_or_create(&Of(*label))));
        Histograms(family)
    }

    pub fn observe(&self, label: L, time: Duration) {
        self.0.get_or_create(&Of(label)).observe(time.as_secs_f64());
    }

    pub fn add_to(&self, registry: &mut Registry, name: Name) {
        add(registry, name, self.0.clone());
    }
}

/// A registry whose samples all name the replica that they are of.
pub fn registry_of(replica: &str) -> Registry {
    Registry::with_labels([("replica".into(), replica.to_owned().into())].into_iter())
}

/// All that is in the registry now.
pub fn encode(registry: &Registry) -> String {
    let mut text = String::new();
    // a `String` takes everything; a metric that can't be written leaves the rest as it is
    let _ = prometheus_client::encoding::text::encode(&mut text, registry);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    labels! {
        /// For the tests.
        enum Fruit("fruit") {
            Apple => "apple",
            Pear => "pear",
        }
    }

    #[test]
    fn every_value_of_a_label_is_there_before_anything_was_counted() {
        let counters = Counters::default();
        counters.inc(Fruit::Pear);
        counters.inc_by(Fruit::Pear, 2);
        assert_eq!((counters.get(Fruit::Apple), counters.get(Fruit::Pear)), (0, 3));
        let mut registry = registry_of("acme-0");
        counters.add_to(&mut registry, Name::new("fruits_total", "Fruits that were eaten"));
        let mut lines: Vec<_> = encode(&registry).lines().map(str::to_owned).collect();
        lines.sort_unstable();
        assert_eq!(
            lines,
            [
                "# EOF",
                "# HELP fruits Fruits that were eaten.",
                "# TYPE fruits counter",
                "fruits_total{replica=\"acme-0\",fruit=\"apple\"} 0",
                "fruits_total{replica=\"acme-0\",fruit=\"pear\"} 3",
            ]
        );
    }

    #[test]
    fn buckets_rise() {
        for buckets in [QUICK.as_slice(), &LONG, &SIZES] {
            assert!(buckets.is_sorted_by(|a, b| a < b));
        }
    }
}

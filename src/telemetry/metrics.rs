//! What becomes of traces.

use meter::{Counter, Counters, Name, Registry, add, labels};

const EXPORTED: Name =
    Name::new("majordomo_traces_exported_total", "Traces of builds that a collector has taken");
const DROPPED: Name =
    Name::new("majordomo_traces_dropped_total", "Traces of builds that no collector has, by reason");

labels! {
    /// Why a trace was dropped.
    pub(crate) enum Dropped("reason") {
        /// More builds ended than could be sent.
        Full => "full",
        /// The collector can't be reached, or answers with an error.
        Collector => "collector",
        /// The journal of the build can't be read.
        Unreadable => "unreadable",
    }
}

/// Filled by the exporter; read when somebody asks. All is 0 where no collector is named.
#[derive(Debug, Default)]
pub struct Metrics {
    pub(crate) exported: Counter,
    pub(crate) dropped: Counters<Dropped>,
}

impl Metrics {
    pub fn register(&self, to: &mut Registry) {
        add(to, EXPORTED, self.exported.clone());
        self.dropped.add_to(to, DROPPED);
    }
}

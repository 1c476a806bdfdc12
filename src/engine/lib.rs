//! Queue, scheduler, build actors, logs, artifacts.

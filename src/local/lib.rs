//! What up does: starts, probes, kills replicas as processes.

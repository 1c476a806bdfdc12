//! Membership, leases, the startup lock.

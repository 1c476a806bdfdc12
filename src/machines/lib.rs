//! Replicas that no parent looks after: each runs on a machine of its own, a service manager starts it again when it ends,
//! and one of them, the holder of the lease `rollout`, replaces all of them one after the other.
//!
//! The holder decides ([`plan`], pure) and leaves what it has decided in its lease. That is all it does: each replica reads
//! there whether it is the one that goes now, gets its program ready ([`programs`]), hands over what it does, and ends. So a
//! holder may be lost at any moment; the next one finds how far it was. Replicas that `majordomo up` has started are
//! replaced by `up`: nothing of this runs in them.

mod going;
mod notify;
mod plan;
mod programs;
mod roller;

pub use going::{GaveUp, announce, gone};
pub use notify::{Notifier, Tell};
pub use plan::Plan;
pub use programs::{Error, INSTALLED_ENV, Order, Programs, Source};
pub use roller::Roller;

/// Name of the lease whose holder replaces replicas.
pub const ROLLOUT: &str = "rollout";

/// A program, and how often it was restarted: `3.1`. Each program that is installed has a number of its own, also when it
/// is the same file once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Number {
    pub(crate) program: u64,
    pub(crate) restart: u64,
}

impl Number {
    /// `None`: another kind of name, as replicas of `up` have.
    pub(crate) fn parse(text: &str) -> Option<Number> {
        let (program, restart) = text.split_once('.')?;
        let number = |text: &str| text.parse().ok().filter(|n: &u64| n.to_string() == text);
        Some(Number { program: number(program)?, restart: number(restart)? })
    }

    pub(crate) fn of(revision: &rollout::Revision) -> Option<Number> {
        Number::parse(&revision.0)
    }

    pub(crate) fn revision(self) -> rollout::Revision {
        rollout::Revision(format!("{}.{}", self.program, self.restart))
    }
}

#[cfg(test)]
mod tests {
    use super::Number;

    #[test]
    fn revisions_have_two_numbers() {
        assert_eq!(Number::parse("3.1"), Some(Number { program: 3, restart: 1 }));
        for other in ["", "3", "3.", ".1", "3.1.2", "03.1", "a.b", "-1.0"] {
            assert_eq!(Number::parse(other), None, "{other}");
        }
    }
}

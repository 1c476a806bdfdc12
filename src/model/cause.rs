//! Why a build is started.

use serde::{Deserialize, Serialize};

/// Most causes that are kept of one build.
const MAX_CAUSES: usize = 20;
/// Their bytes as JSON: they stand in the first record of the build's journal.
const MAX_BYTES: usize = 8 * 1024;

/// Why a build was started; shown on its page and in `CauseAction`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "type")]
pub enum Cause {
    User {
        id: String,
        name: String,
    },
    Remote {
        address: String,
        note: Option<String>,
    },
    Upstream {
        job: String,
        number: u64,
    },
    /// Those that are not kept one by one.
    More {
        count: u64,
    },
}

impl Cause {
    /// What Jenkins calls it.
    pub fn class(&self) -> &'static str {
        match self {
            Cause::User { .. } => "hudson.model.Cause$UserIdCause",
            Cause::Remote { .. } => "hudson.model.Cause$RemoteCause",
            Cause::Upstream { .. } => "hudson.model.Cause$UpstreamCause",
            // Jenkins has none for it, and keeps all.
            Cause::More { .. } => "hudson.model.Cause",
        }
    }

    pub fn short_description(&self) -> String {
        match self {
            Cause::User { name, .. } => format!("Started by user {name}"),
            Cause::Remote { address, note: Some(note) } => {
                format!("Started by remote host {address} with note: {note}")
            }
            Cause::Remote { address, note: None } => format!("Started by remote host {address}"),
            Cause::Upstream { job, number } => {
                format!("Started by upstream project \"{job}\" build number {number}")
            }
            Cause::More { count: 1 } => "and 1 more cause".to_owned(),
            Cause::More { count } => format!("and {count} more causes"),
        }
    }
}

/// Adds those that are not there yet. Of more than are kept, the first and the newest stay; the others are counted.
pub fn join_causes(causes: &mut Vec<Cause>, new: &[Cause]) {
    for cause in new {
        if !causes.contains(cause) {
            causes.push(cause.clone());
        }
    }
    while causes.len() > MAX_CAUSES || bytes(causes) > MAX_BYTES {
        match causes.get(1) {
            Some(Cause::More { count }) if causes.len() > 3 => {
                let count = count + 1;
                // with the oldest after the first one
                causes.drain(1..3);
                causes.insert(1, Cause::More { count });
            }
            Some(one) if causes.len() > 2 && !matches!(one, Cause::More { .. }) => {
                causes[1] = Cause::More { count: 1 };
            }
            Some(_) | None => return,
        }
    }
}

fn bytes(causes: &[Cause]) -> usize {
    serde_json::to_vec(causes).map_or(usize::MAX, |json| json.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(number: u64) -> Cause {
        Cause::Upstream { job: "lib".to_owned(), number }
    }

    #[test]
    fn the_first_and_the_newest_causes_are_kept_and_the_others_counted() {
        let mut causes = vec![Cause::User { id: "ann".into(), name: "Ann".into() }];
        let first = causes[0].clone();
        for number in 1..=19 {
            join_causes(&mut causes, &[from(number)]);
        }
        assert_eq!(causes.len(), 20);
        assert_eq!(causes[1], from(1));
        for number in 20..=1_000 {
            join_causes(&mut causes, &[from(number)]);
            join_causes(&mut causes, &[from(number)]);
        }
        assert_eq!(causes.len(), 20);
        assert_eq!((&causes[0], &causes[2], &causes[19]), (&first, &from(983), &from(1_000)));
        assert_eq!(causes[1].short_description(), "and 982 more causes");
    }

    #[test]
    fn long_causes_are_bounded_by_their_bytes() {
        let mut causes = Vec::new();
        for number in 0..100 {
            join_causes(&mut causes, &[Cause::Upstream { job: "j".repeat(1_500), number }]);
            assert!(bytes(&causes) <= MAX_BYTES);
        }
        assert_eq!(causes.len(), 6);
        assert_eq!(causes[1], Cause::More { count: 95 });
        let huge = Cause::Upstream { job: "j".repeat(9_000), number: 1 };
        join_causes(&mut causes, std::slice::from_ref(&huge));
        assert_eq!(causes.last(), Some(&huge), "the newest is always told");
    }
}

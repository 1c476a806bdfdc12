//! What a replica says of itself and of the controller.

use jiff::Timestamp;
use model::overview::Overview;

/// What came of asking a replica.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Told {
    /// It serves its peers, and says all of this.
    Overview(Box<Overview>),
    /// It does not yet: what its health port says.
    Waits(String),
}

/// A time as replicas write it, in whole seconds as Kubernetes writes most of them; `None` where there is none.
pub(crate) fn time(text: &str) -> Option<Timestamp> {
    let time: Timestamp = text.parse().ok()?;
    Timestamp::from_second(time.as_second()).ok()
}

/// The same in microseconds.
pub(crate) fn exact(text: &str) -> Option<Timestamp> {
    let time: Timestamp = text.parse().ok()?;
    Timestamp::from_microsecond(time.as_microsecond()).ok()
}

/// The newest process of that name.
pub(crate) fn member<'a>(told: &'a Overview, name: &str) -> Option<&'a model::overview::Seen> {
    told.members.iter().filter(|member| member.name == name).max_by_key(|member| member.incarnation)
}

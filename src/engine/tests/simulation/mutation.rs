//! The rules of the build protocol, each switched off: what the simulation must notice.

use engine::driver::Rules;

/// One rule that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// §4.1: writes of a build are not guarded.
    NoGuard,
    /// §4.1: a build is driven again under the fence of a driver that has ended.
    FenceTwice,
    /// §4.2: a fenced write takes its companions with it, and they are acknowledged.
    CompanionsLost,
    /// §4.3: commands leave before their intent is committed.
    IntentLater,
    /// §4.3: the machine sees results before their commit.
    ResultEarly,
    /// §4.4: the same key delivered twice is two rows.
    KeysNotUnique,
    /// §4.4: a row is not consumed by the write that journals it.
    RowsStay,
    /// §4.4: a row is consumed when it is read.
    RowsReadOnce,
    /// §4.5: agents do not look at fences.
    FencesIgnored,
    /// §4.5: an agent keeps its fences in memory.
    FencesForgotten,
    /// §4.5: owners do not claim first.
    NoClaim,
    /// §4.6: a program may be started again.
    StartedTwice,
    /// §4.6: another machine under the agent's name is taken for the same.
    AnyInstance,
    /// §4.6: an agent does not say that its machine was restarted.
    RebootHidden,
    /// §4.6 and §4.10: an agent forgets that a build was forgotten.
    NoTombstones,
    /// D8: whoever held an agent's link does not ask for it elsewhere when that ends.
    PeersNotAsked,
    /// §4.7: repeatable acts are not done again.
    NotRepeated,
    /// §4.7: waiting acts have no recorded deadline.
    NoDeadlines,
    /// §4.8: output is followed from where memory stood.
    FollowedFromMemory,
    /// §4.8: offsets are committed after the log.
    OffsetsLater,
    /// §4.9: a beat that stood still for two looks is a lapse.
    LapsedEarly,
    /// §4.9: a holder sends although its lease may have lapsed.
    SentOn,
    /// §4.10: the epoch stays when the store was set back.
    EpochStays,
    /// §4.10: owners do not compare what they know to be committed with what the store has.
    MomentForgotten,
    /// §4.11: builds of a newer behaviour are adopted by replicas that do not know it.
    AnyBehaviour,
}

impl Mutation {
    /// The driver's rules under it.
    pub(crate) fn rules(of: Option<Mutation>) -> Rules {
        let off = |mutation| of != Some(mutation);
        Rules {
            intent_first: off(Mutation::IntentLater),
            result_committed: off(Mutation::ResultEarly),
            claim_first: off(Mutation::NoClaim),
            follow_committed: off(Mutation::FollowedFromMemory),
            same_instance: off(Mutation::AnyInstance),
            repeated: off(Mutation::NotRepeated),
            recorded_deadlines: off(Mutation::NoDeadlines),
        }
    }
}

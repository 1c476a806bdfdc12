//! Levels: what a home may contain. A version knows all levels up to its own, and uses what is new in one only when the home
//! is at it, which it is raised to once every live replica knows it and has run for a while (DESIGN §4.11). Until then the
//! version before can be gone back to.

/// Newest level that this version knows. A home at a higher one is refused.
pub const LEVEL: i64 = LEVELS[LEVELS.len() - 1].number;

/// Newest behaviour of the pipeline machine that this version knows.
pub const BEHAVIOUR: u32 = LEVELS[LEVELS.len() - 1].behaviour;

/// What came with a level. Levels are never taken out: homes and journals of each must be read for ever.
struct Level {
    number: i64,
    /// What builds begin with, and keep for life.
    behaviour: u32,
}

const LEVELS: &[Level] = &[
    Level { number: 1, behaviour: 1 },
    #[cfg(feature = "next")]
    Level { number: 2, behaviour: 2 },
];

/// The behaviour with which builds begin in a home at this level.
pub fn behaviour(level: i64) -> u32 {
    let known = LEVELS.iter().rev().find(|known| known.number <= level);
    known.map_or(1, |known| known.behaviour)
}

/// The home is at a level that whoever wants to use it does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the home is at level {home} and this version knows {known} only: use a version at least as new as the one that raised it"
)]
pub struct LevelTooHigh {
    pub home: i64,
    pub known: i64,
}

/// Whether a version that knows `known` may use a home.
pub fn usable(home: i64, known: i64) -> Result<(), LevelTooHigh> {
    if home > known { Err(LevelTooHigh { home, known }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_and_its_behaviour_are_never_lower_than_the_ones_before() {
        assert!(LEVELS.windows(2).all(|l| l[0].number < l[1].number && l[0].behaviour <= l[1].behaviour));
        assert_eq!((behaviour(0), behaviour(1), behaviour(i64::MAX)), (1, 1, BEHAVIOUR));
        assert_eq!(usable(LEVEL, LEVEL), Ok(()));
        assert!(usable(LEVEL + 1, LEVEL).is_err());
    }
}

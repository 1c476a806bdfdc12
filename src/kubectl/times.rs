//! Times for people. Pure: what time it is comes in.

use std::time::Duration;

use jiff::Timestamp;

/// How long ago it was; nothing that is to come, whatever two clocks say.
pub(crate) fn since(now: Timestamp, then: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

/// How long ago, as kubectl writes it.
pub(crate) fn age(now: Timestamp, then: Timestamp) -> String {
    let seconds = since(now, then).as_secs();
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// How long something took.
pub(crate) fn took(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..120 => format!("{seconds} s"),
        _ => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

/// In whole seconds, as Kubernetes writes times.
pub(crate) fn stamp(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_get_coarser() {
        let then = Timestamp::UNIX_EPOCH;
        for (seconds, text) in [
            (-5, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (7_199, "119m"),
            (7_200, "2h"),
            (172_799, "47h"),
            (172_800, "2d"),
        ] {
            assert_eq!(age(Timestamp::from_second(seconds).unwrap(), then), text);
        }
    }

    #[test]
    fn durations_are_told_as_exactly_as_they_are_of_use() {
        for (millis, text) in [(3_240, "3.2 s"), (61_000, "61 s"), (125_000, "2 min 5 s")] {
            assert_eq!(took(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn a_stamp_has_whole_seconds() {
        assert_eq!(stamp("2026-11-26T20:00:00.123Z".parse().unwrap()), "2026-11-26T20:00:00Z");
    }
}

//! Hours in which a rollout may begin. Pure.

use jiff::Timestamp;
use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use resource::{Day, TimeOfDay, Window};

/// Why a window never opens.
pub(crate) fn unknown_zone(window: &Window) -> Option<&str> {
    let name = window.time_zone.as_deref()?;
    TimeZone::get(name).is_err().then_some(name)
}

/// Whether it is open. Days are those on which it opens: one that is open over midnight still is on the next day.
pub(crate) fn open(window: &Window, now: Timestamp) -> bool {
    let Ok(zone) = TimeZone::get(window.time_zone.as_deref().unwrap_or("UTC")) else { return false };
    let here = now.to_zoned(zone);
    let (from, to, time) = (time(window.from), time(window.to), here.time());
    let today = here.weekday();
    let opens_on =
        |day| window.days.as_ref().is_none_or(|days| days.iter().any(|given| weekday(*given) == day));
    if from < to {
        return from <= time && time < to && opens_on(today);
    }
    (time >= from && opens_on(today)) || (time < to && opens_on(today.previous()))
}

fn time(of: TimeOfDay) -> Time {
    let part = |number: u8| i8::try_from(number).unwrap_or_default();
    Time::new(part(of.hour), part(of.minute), 0, 0).unwrap_or(Time::midnight())
}

fn weekday(day: Day) -> Weekday {
    match day {
        Day::Mon => Weekday::Monday,
        Day::Tue => Weekday::Tuesday,
        Day::Wed => Weekday::Wednesday,
        Day::Thu => Weekday::Thursday,
        Day::Fri => Weekday::Friday,
        Day::Sat => Weekday::Saturday,
        Day::Sun => Weekday::Sunday,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(days: Option<Vec<Day>>, from: &str, to: &str, zone: Option<&str>) -> Window {
        let at = |text| TimeOfDay::parse(text).unwrap();
        Window { days, from: at(from), to: at(to), time_zone: zone.map(str::to_owned) }
    }

    /// 2026-11-26 is a Thursday.
    #[test]
    fn a_window_opens_on_its_days_by_its_clock() {
        let night = |days| window(days, "22:00", "04:00", Some("Europe/Berlin"));
        let noon = |days| window(days, "11:00", "13:00", None);
        let table = [
            ("at noon", noon(None), "2026-11-26T12:00:00Z", true),
            ("as it opens", noon(None), "2026-11-26T11:00:00Z", true),
            ("as it closes", noon(None), "2026-11-26T13:00:00Z", false),
            ("on its day", noon(Some(vec![Day::Thu])), "2026-11-26T12:00:00Z", true),
            ("on another day", noon(Some(vec![Day::Fri])), "2026-11-26T12:00:00Z", false),
            ("by its clock", night(None), "2026-11-26T21:30:00Z", true),
            ("not by ours", night(None), "2026-11-26T20:30:00Z", false),
            ("after midnight", night(Some(vec![Day::Thu])), "2026-11-27T02:30:00Z", true),
            ("of the day before", night(Some(vec![Day::Fri])), "2026-11-27T02:30:00Z", false),
            ("in summer", night(None), "2026-07-01T20:30:00Z", true),
        ];
        for (name, window, now, expected) in table {
            assert_eq!(open(&window, now.parse().unwrap()), expected, "{name}");
        }
    }

    #[test]
    fn a_clock_that_nobody_knows_is_told() {
        let unknown = window(None, "01:00", "02:00", Some("Europe/Nowhere"));
        assert_eq!(unknown_zone(&unknown), Some("Europe/Nowhere"));
        assert!(!open(&unknown, Timestamp::now()));
        assert_eq!(unknown_zone(&window(None, "01:00", "02:00", Some("Europe/Berlin"))), None);
    }
}

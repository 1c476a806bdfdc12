//! `new Date()`: an instant in UTC, with `format`. The time comes from a record.

use crate::vm::compare;
use crate::vm::value::{Instance, Object, Value};
use crate::vm::{Vm, ordered::OrderedMap};

pub(crate) const CLASS: &str = "java.util.Date";

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

pub(super) fn new(vm: &mut Vm, millis: i64) -> Value {
    let mut fields = OrderedMap::default();
    fields.put_str("time", Value::Long(millis));
    vm.heap.add(Object::Instance(Instance { class: CLASS.into(), fields, thrown: None }))
}

pub(crate) fn shown(date: &Instance) -> String {
    format(millis(date), "EEE MMM dd HH:mm:ss 'UTC' yyyy")
}

fn millis(date: &Instance) -> i64 {
    date.fields.get_str("time").and_then(compare::whole).unwrap_or(0)
}

pub(super) fn call(vm: &Vm, date: &Instance, name: &str, args: &[Value]) -> Option<Value> {
    Some(match name {
        "getTime" => Value::Long(millis(date)),
        "format" => {
            let pattern = args.first().map_or_else(|| "yyyy-MM-dd".to_owned(), |p| vm.text(p));
            Value::from(format(millis(date), &pattern))
        }
        "toString" => Value::from(shown(date)),
        "toInstant" => Value::from(format(millis(date), "yyyy-MM-dd'T'HH:mm:ss'Z'")),
        _ => return None,
    })
}

/// The letters of `SimpleDateFormat` that dates and times need.
fn format(millis: i64, pattern: &str) -> String {
    let (days, rest) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
    let (year, month, day) = civil(days);
    let seconds = rest / 1000;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut out = String::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\'' {
            out.extend(chars.by_ref().take_while(|c| *c != '\''));
            continue;
        }
        let mut width = 1;
        while c.is_ascii_alphabetic() && chars.next_if_eq(&c).is_some() {
            width += 1;
        }
        let number = match c {
            'y' | 'Y' if width == 2 => year % 100,
            'y' | 'Y' | 'u' => year,
            'M' if width < 3 => month,
            'd' => day,
            'H' => hour,
            'h' => (hour + 11) % 12 + 1,
            'm' => minute,
            's' => second,
            'S' => rest % 1000,
            'M' => {
                out.push_str(MONTHS[usize::try_from(month - 1).unwrap_or(0) % 12]);
                continue;
            }
            'E' => {
                out.push_str(DAYS[usize::try_from(days.rem_euclid(7)).unwrap_or(0)]);
                continue;
            }
            'a' => {
                out.push_str(if hour < 12 { "AM" } else { "PM" });
                continue;
            }
            'z' => {
                out.push_str("UTC");
                continue;
            }
            'Z' => {
                out.push_str("+0000");
                continue;
            }
            'X' => {
                out.push('Z');
                continue;
            }
            other => {
                out.push(other);
                continue;
            }
        };
        out.push_str(&format!("{number:0width$}"));
    }
    out
}

/// Year, month and day of a count of days since 1970, in the Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    #[test]
    fn instants_are_written_in_utc() {
        let at = 1_795_403_011_042;
        assert_eq!(super::format(at, "EEE MMM dd HH:mm:ss 'UTC' yyyy"), "Mon Nov 23 03:03:31 UTC 2026");
        assert_eq!(super::format(at, "yyyyMMdd-HHmm SSS yy h a"), "20261123-0303 042 26 3 AM");
        assert_eq!(super::format(951_782_400_000, "yyyy-MM-dd"), "2000-02-29");
        assert_eq!(super::format(-1, "yyyy-MM-dd HH:mm:ss"), "1969-12-31 23:59:59");
    }
}

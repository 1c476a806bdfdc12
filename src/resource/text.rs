//! Text with a form of its own: lengths of time, times of day, sizes. Each says in the definition what the parser says here.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use model::short;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::json;

const SPAN: &str = "it is no length of time like 90s or 5m";
const TIME_OF_DAY: &str = "it is no time of day like 04:30, from 00:00 to 23:59";
const SIZE: &str = "it is no size like 500Mi or 10Gi, a whole number above 0 with a unit";
/// What objects of Kubernetes are called: a DNS subdomain (RFC 1123), whose labels are told apart by nobody here. What else is in a
/// name would be a part of the path at the API server.
pub(crate) const NAME: &str = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$";
/// Most digits of a number, so that no sum of spans overflows.
const DIGITS: usize = 10;
const UNITS: [&str; 8] = ["Ki", "Mi", "Gi", "Ti", "k", "M", "G", "T"];

/// As [`NAME`] says it.
pub(crate) fn is_name(text: &str) -> bool {
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let ends = text.starts_with(inside) && text.ends_with(inside);
    ends && text.chars().all(|c| inside(c) || c == '-' || c == '.')
}

/// A length of time as people write it: `90s`, `5m`, `1h30m`, `500ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl Span {
    pub fn parse(text: &str) -> Option<Span> {
        let mut rest = text.trim();
        let mut total = Duration::ZERO;
        if rest.is_empty() {
            return None;
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|digits| *digits <= DIGITS)?;
            let (number, after) = rest.split_at_checked(digits)?;
            let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
            let (unit, after) = after.split_at_checked(letters)?;
            let millis: u64 = match unit {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return None,
            };
            let part = number.parse::<u64>().ok()?.checked_mul(millis)?;
            total = total.checked_add(Duration::from_millis(part))?;
            rest = after;
        }
        Some(Span(total))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        match millis % 1_000 {
            0 => write!(f, "{}s", millis / 1_000),
            _ => write!(f, "{millis}ms"),
        }
    }
}

/// A time of day: `22:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeOfDay {
    pub hour: u8,
    pub minute: u8,
}

impl TimeOfDay {
    pub fn parse(text: &str) -> Option<TimeOfDay> {
        let (hour, minute) = text.split_once(':')?;
        let below = |text: &str, limit: u8| {
            let two = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
            text.parse().ok().filter(|number| two && *number < limit)
        };
        Some(TimeOfDay { hour: below(hour, 24)?, minute: below(minute, 60)? })
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.hour, self.minute)
    }
}

/// How large a volume is, as Kubernetes writes it: `10Gi`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Size(String);

impl Size {
    pub fn parse(text: &str) -> Option<Size> {
        let number = UNITS.iter().find_map(|unit| text.strip_suffix(unit))?;
        let whole = (1..=DIGITS).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
        (whole && !number.starts_with('0')).then(|| Size(text.to_owned()))
    }
}

impl Default for Size {
    fn default() -> Size {
        Size("10Gi".to_owned())
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is read from a text, or a sentence with that text in it.
fn read<'de, D: Deserializer<'de>, T>(
    from: D,
    parse: fn(&str) -> Option<T>,
    sentence: &str,
) -> Result<T, D::Error> {
    let text = String::deserialize(from)?;
    let without = sentence.strip_prefix("it ").unwrap_or(sentence);
    parse(&text).ok_or_else(|| D::Error::custom(format!("“{}” {without}", short(&text))))
}

/// How such a text is read, written, and described to Kubernetes.
macro_rules! form {
    ($name:ident, $sentence:expr, longest $longest:literal, $rules:expr) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<$name, D::Error> {
                read(from, $name::parse, $sentence)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let rules = $rules;
                json_schema!({ "type": "string", "maxLength": $longest, "x-kubernetes-validations": rules })
            }
        }
    };
}

form!(
    Span,
    SPAN,
    longest 32,
    json!([{ "rule": format!("self.trim().matches('^([0-9]{{1,{DIGITS}}}(ms|s|m|h|d))+$')"), "message": SPAN }])
);

form!(
    TimeOfDay,
    TIME_OF_DAY,
    longest 5,
    json!([{ "rule": "self.matches('^([01][0-9]|2[0-3]):[0-5][0-9]$')", "message": TIME_OF_DAY }])
);

form!(
    Size,
    SIZE,
    longest 12,
    json!([
        {
            "rule": format!("self.matches('^[1-9][0-9]{{0,{}}}({})$')", DIGITS - 1, UNITS.join("|")),
            "message": SIZE,
        },
        {
            "rule": "!isQuantity(self) || quantity(self).compareTo(quantity(oldSelf)) >= 0",
            "message": "a volume can't be made smaller",
        },
    ])
);

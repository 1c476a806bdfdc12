//! The text formats: what a registry writes, read again, put together with that of other replicas, and written in the format
//! that the client asks for. Only what our own encoder writes has to be read; lines of another form are left out.

use std::collections::HashMap;
use std::fmt::Write as _;

/// The text formats that Prometheus reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `text/plain; version=0.0.4`
    Prometheus,
    /// `application/openmetrics-text; version=1.0.0`
    OpenMetrics,
}

impl Format {
    /// What an `Accept` header asks for. Who says nothing, or nothing that we know, gets the older one.
    pub fn wanted(accept: Option<&str>) -> Format {
        let quality = |kind: &str| -> f32 {
            let of = |part: &str| {
                let mut fields = part.split(';').map(str::trim);
                let named = fields.next().is_some_and(|name| name.eq_ignore_ascii_case(kind));
                let q = fields.find_map(|field| field.strip_prefix("q=")?.parse().ok());
                named.then_some(q.unwrap_or(1.0))
            };
            accept.unwrap_or_default().split(',').filter_map(of).fold(0.0, f32::max)
        };
        let open = quality("application/openmetrics-text");
        if open > 0.0 && open >= quality("text/plain") { Format::OpenMetrics } else { Format::Prometheus }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
    Summary,
    Unknown,
}

impl Kind {
    fn parse(text: &str) -> Kind {
        match text {
            "counter" => Kind::Counter,
            "gauge" | "info" | "stateset" => Kind::Gauge,
            "histogram" => Kind::Histogram,
            "summary" => Kind::Summary,
            _ => Kind::Unknown,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Summary => "summary",
            Kind::Unknown => "unknown",
        }
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// With the suffix, as `_total` or `_bucket`.
    pub name: String,
    /// As they are written, without the braces; empty for none.
    pub labels: String,
    pub value: String,
}

impl Sample {
    /// The value of a label that needs no escaping.
    pub fn label(&self, key: &str) -> Option<&str> {
        let start = format!("{key}=\"");
        let from = self.labels.match_indices(&start).find(|(at, _)| {
            // at the beginning, or after the end of another
            *at == 0 || self.labels.get(..*at).is_some_and(|before| before.ends_with("\","))
        })?;
        self.labels.get(from.0 + start.len()..)?.split('"').next()
    }

    pub fn number(&self) -> f64 {
        self.value.parse().unwrap_or(0.0)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    /// Of a counter without `_total`.
    pub name: String,
    pub kind: Kind,
    pub help: String,
    pub samples: Vec<Sample>,
}

impl Family {
    /// The name under which people know it.
    pub fn known_as(&self) -> String {
        match self.kind {
            Kind::Counter if !self.name.ends_with("_total") => format!("{}_total", self.name),
            Kind::Counter => self.name.clone(),
            Kind::Gauge | Kind::Histogram | Kind::Summary | Kind::Unknown => self.name.clone(),
        }
    }
}

/// Metrics of one or of several replicas.
#[derive(Debug, Clone, Default)]
pub struct Document {
    pub families: Vec<Family>,
    places: HashMap<String, usize>,
}

impl Document {
    /// Reads what a registry has written.
    pub fn parse(text: &str) -> Document {
        let mut document = Document::default();
        let mut current = None;
        for line in text.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                let mut words = comment.splitn(3, ' ');
                let (word, name) = (words.next(), words.next().unwrap_or_default());
                let rest = words.next().unwrap_or_default();
                match word {
                    Some("HELP") => current = Some(document.begin(name, rest)),
                    Some("TYPE") => {
                        if let Some(at) = current {
                            document.is_of_kind(at, Kind::parse(rest));
                        }
                    }
                    _ => {}
                }
            } else if let (Some(at), Some(sample)) = (current, sample(line))
                && let Some(family) = document.families.get_mut(at)
            {
                family.samples.push(sample);
            }
        }
        document
    }

    /// The older format has the `_total` of a counter in its head.
    fn is_of_kind(&mut self, at: usize, kind: Kind) {
        let Some(family) = self.families.get_mut(at) else { return };
        family.kind = kind;
        let Some(short) = family.name.strip_suffix("_total").filter(|_| kind == Kind::Counter) else {
            return;
        };
        if !self.places.contains_key(short) {
            let short = short.to_owned();
            self.places.remove(&family.name);
            self.places.insert(short.clone(), at);
            family.name = short;
        }
    }

    /// The place of a family, which is made when there is none.
    fn begin(&mut self, name: &str, help: &str) -> usize {
        if let Some(at) = self.places.get(name) {
            return *at;
        }
        let family =
            Family { name: name.to_owned(), kind: Kind::Unknown, help: help.to_owned(), samples: Vec::new() };
        self.families.push(family);
        self.places.insert(name.to_owned(), self.families.len() - 1);
        self.families.len() - 1
    }

    /// Samples of another replica join ours. A family that another version has under the name with another type is left
    /// out: one document can't have both.
    pub fn join(&mut self, other: Document) {
        for family in other.families {
            let new = !self.places.contains_key(&family.name);
            let at = self.begin(&family.name, &family.help);
            let Some(ours) = self.families.get_mut(at) else { continue };
            if new {
                ours.kind = family.kind;
            }
            if ours.kind == family.kind {
                ours.samples.extend(family.samples);
            }
        }
    }

    /// Adds samples (labels, value) of a gauge.
    pub fn gauge(&mut self, name: crate::Name, samples: impl IntoIterator<Item = (String, f64)>) {
        let at = self.begin(name.name, &format!("{}.", name.help));
        if let Some(family) = self.families.get_mut(at) {
            family.kind = Kind::Gauge;
            let all = samples.into_iter().map(|(labels, value)| Sample {
                name: name.name.to_owned(),
                labels,
                value: value.to_string(),
            });
            family.samples.extend(all);
        }
    }

    pub fn family(&self, name: &str) -> Option<&Family> {
        let name = name.strip_suffix("_total").unwrap_or(name);
        self.places.get(name).and_then(|at| self.families.get(*at))
    }

    pub fn write(&self, format: Format) -> String {
        let mut text = String::new();
        for family in self.families.iter().filter(|family| !family.samples.is_empty()) {
            let (name, kind) = match (format, family.kind) {
                (Format::Prometheus, Kind::Unknown) => (family.name.clone(), "untyped"),
                (Format::Prometheus, kind) => (family.known_as(), kind.as_str()),
                (Format::OpenMetrics, kind) => (family.name.clone(), kind.as_str()),
            };
            let _infallible = writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", family.help);
            for Sample { name, labels, value } in &family.samples {
                let _infallible = match labels.is_empty() {
                    true => writeln!(text, "{name} {value}"),
                    false => writeln!(text, "{name}{{{labels}}} {value}"),
                };
            }
        }
        if format == Format::OpenMetrics {
            text.push_str("# EOF\n");
        }
        text
    }
}

/// A label's value as it is written.
pub fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// `name{labels} value`, without what may follow.
fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at_checked(end)?;
    let (labels, rest) = match rest.strip_prefix('{') {
        None => ("", rest),
        Some(rest) => {
            let end = end_of_labels(rest)?;
            (rest.get(..end)?, rest.get(end + 1..)?)
        }
    };
    let value = rest.split_whitespace().next()?;
    let known = value.parse::<f64>().is_ok() || matches!(value, "+Inf" | "-Inf" | "NaN");
    let named = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
    (known && named).then(|| Sample {
        name: name.to_owned(),
        labels: labels.to_owned(),
        value: value.to_owned(),
    })
}

/// Where the `}` is that is in no value.
fn end_of_labels(text: &str) -> Option<usize> {
    let (mut quoted, mut after_backslash) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if after_backslash => after_backslash = false,
            b'\\' if quoted => after_backslash = true,
            b'"' => quoted = !quoted,
            b'}' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "# HELP builds Builds.\n# TYPE builds counter\nbuilds_total{replica=\"a\",result=\"}\\\"x\"} 3\n\
        # HELP wait_seconds Waits.\n# TYPE wait_seconds histogram\nwait_seconds_sum{replica=\"a\"} 0.5\n\
        wait_seconds_count{replica=\"a\"} 1\nwait_seconds_bucket{le=\"+Inf\",replica=\"a\"} 1\n# EOF\n";

    #[test]
    fn samples_of_replicas_stand_together_under_one_head() {
        let mut all = Document::parse(OURS);
        all.join(Document::parse(&OURS.replace("\"a\"", "\"b\"")));
        all.join(Document::parse("# HELP builds Other.\n# TYPE builds gauge\nbuilds 9\n"));
        all.gauge(crate::Name::new("jobs", "Jobs"), [(String::new(), 2.0)]);
        assert_eq!(
            all.write(Format::Prometheus),
            "# HELP builds_total Builds.\n# TYPE builds_total counter\n\
             builds_total{replica=\"a\",result=\"}\\\"x\"} 3\nbuilds_total{replica=\"b\",result=\"}\\\"x\"} 3\n\
             # HELP wait_seconds Waits.\n# TYPE wait_seconds histogram\n\
             wait_seconds_sum{replica=\"a\"} 0.5\nwait_seconds_count{replica=\"a\"} 1\nwait_seconds_bucket{le=\"+Inf\",replica=\"a\"} 1\n\
             wait_seconds_sum{replica=\"b\"} 0.5\nwait_seconds_count{replica=\"b\"} 1\nwait_seconds_bucket{le=\"+Inf\",replica=\"b\"} 1\n\
             # HELP jobs Jobs.\n# TYPE jobs gauge\njobs 2\n"
        );
        let open = all.write(Format::OpenMetrics);
        assert!(
            open.starts_with("# HELP builds Builds.\n# TYPE builds counter\n") && open.ends_with("# EOF\n")
        );
        for format in [Format::OpenMetrics, Format::Prometheus] {
            assert_eq!(Document::parse(&all.write(format)).families, all.families);
        }
        let builds = &all.family("builds_total").unwrap().samples;
        assert_eq!((builds[1].label("replica"), builds[1].number()), (Some("b"), 3.0));
        assert_eq!(builds[1].label("plica"), None);
    }

    #[test]
    fn another_parser_reads_what_is_written() {
        // it takes no `}` in a value
        let text = Document::parse(&OURS.replace(r#"}\"x"#, "success")).write(Format::Prometheus);
        let scrape = prometheus_parse::Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).unwrap();
        assert_eq!(scrape.docs["builds_total"], "Builds.");
        let builds = scrape.samples.iter().find(|s| s.metric == "builds_total").unwrap();
        assert_eq!(builds.value, prometheus_parse::Value::Counter(3.0));
        assert_eq!(builds.labels.get("replica"), Some("a"));
        assert!(scrape.samples.iter().any(|s| matches!(s.value, prometheus_parse::Value::Histogram(_))));
    }

    #[test]
    fn rubbish_is_left_out() {
        let head = "# HELP a A.\n# TYPE a gauge\n";
        for line in ["a", "a{", "a{x=\"1} 1", "a one", "{} 1", "é 1", ""] {
            assert!(Document::parse(&format!("{head}{line}\n")).families[0].samples.is_empty(), "{line}");
        }
        assert!(Document::parse("a 1\n").families.is_empty(), "a sample without its head");
    }

    #[test]
    fn the_format_is_the_one_that_is_asked_for() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, wanted) in [
            (None, Format::Prometheus),
            (Some("*/*"), Format::Prometheus),
            (Some("text/plain"), Format::Prometheus),
            (Some(prometheus), Format::OpenMetrics),
            (Some("application/openmetrics-text; version=1.0.0"), Format::OpenMetrics),
            (Some("application/openmetrics-text;q=0.1, text/plain"), Format::Prometheus),
            (Some("application/openmetrics-text;q=0"), Format::Prometheus),
        ] {
            assert_eq!(Format::wanted(accept), wanted, "{accept:?}");
        }
    }
}

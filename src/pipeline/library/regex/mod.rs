//! Regular expressions as Java's `Pattern` writes them.
//!
//! Our own matcher, because a build keeps its behaviour for life: what a pattern matches must not change with a
//! crate's version, and Java's look-around and back references are wanted. It backtracks on an explicit stack and
//! counts its steps, so a hostile pattern ends with an error after the same number of steps on every machine.

mod class;
mod parse;
mod run;

use parse::Node;

/// How often one search may look at a character, and how often a search for all matches.
const STEPS: u64 = 2_000_000;
const ALL_STEPS: u64 = 20_000_000;

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Regex {
    pub(crate) source: String,
    program: Vec<Inst>,
    /// Slots for the ends of groups, two each, then those that guard empty loops.
    slots: usize,
    pub(crate) groups: usize,
    pub(crate) names: Vec<(String, usize)>,
}

/// Where a match and its groups stand, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) groups: Vec<Option<(usize, usize)>>,
}

impl Found {
    pub(crate) fn start(&self) -> usize {
        self.groups.first().copied().flatten().map_or(0, |g| g.0)
    }

    pub(crate) fn end(&self) -> usize {
        self.groups.first().copied().flatten().map_or(0, |g| g.1)
    }
}

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum Error {
    #[error("{what} in the regular expression {pattern:?} near index {at}")]
    Syntax { what: &'static str, pattern: String, at: usize },
    #[error("the regular expression {pattern:?} needs too many steps on this text")]
    TooLong { pattern: String },
}

#[derive(Debug, Clone, PartialEq)]
enum Inst {
    Char {
        c: char,
        fold: bool,
    },
    Any {
        newline: bool,
    },
    Class {
        set: Set,
        fold: bool,
    },
    Start {
        lines: bool,
    },
    End {
        lines: bool,
    },
    /// `\z`
    VeryEnd,
    Border {
        negated: bool,
    },
    Back {
        group: usize,
        fold: bool,
    },
    Save(usize),
    Jump(usize),
    /// Tries the first, later the second.
    Split(usize, usize),
    /// Remembers the position at the begin of a loop's round.
    Mark(usize),
    /// Fails when the round since `Mark` ate nothing.
    Moved(usize),
    Look {
        ahead: bool,
        negated: bool,
        inner: Vec<Inst>,
    },
    /// `(?>…)` and possessive quantifiers.
    Atomic(Vec<Inst>),
    Done,
}

/// A set of characters.
#[derive(Debug, Clone, PartialEq, Default)]
struct Set {
    negated: bool,
    ranges: Vec<(char, char)>,
    inner: Vec<Set>,
    /// `&&`: all of these must hold too.
    and: Vec<Set>,
}

impl Set {
    fn has(&self, c: char) -> bool {
        let plain = self.ranges.iter().any(|(from, to)| *from <= c && c <= *to)
            || self.inner.iter().any(|s| s.has(c));
        (plain && self.and.iter().all(|s| s.has(c))) != self.negated
    }
}

impl Regex {
    pub(crate) fn new(source: &str) -> Result<Regex, Error> {
        let parsed = parse::parse(source)?;
        if weight(&parsed.node) > 20_000 {
            return Err(Error::Syntax { what: "too many repetitions", pattern: source.to_owned(), at: 0 });
        }
        let mut slots = (parsed.groups + 1) * 2;
        let program = program(&parsed.node, &mut slots);
        Ok(Regex { source: source.to_owned(), program, slots, groups: parsed.groups, names: parsed.names })
    }

    /// The first match at or after `from`. What it costs is added to `spent`, as with all others.
    pub(crate) fn find(&self, text: &str, from: usize, spent: &mut u64) -> Result<Option<Found>, Error> {
        let mut slots = vec![None; self.slots];
        let mut steps = STEPS;
        let mut at = from;
        let found = loop {
            match self.at(text, at, None, &mut slots, &mut steps) {
                Ok(None) => {}
                found => break found,
            }
            match text[at..].chars().next() {
                Some(c) => at += c.len_utf8(),
                None => break Ok(None),
            }
        };
        *spent += STEPS - steps;
        found
    }

    /// A match of the whole text.
    pub(crate) fn whole(&self, text: &str, spent: &mut u64) -> Result<Option<Found>, Error> {
        self.once(text, Some(text.len()), spent)
    }

    /// A match that begins where the text begins.
    pub(crate) fn prefix(&self, text: &str, spent: &mut u64) -> Result<Option<Found>, Error> {
        self.once(text, None, spent)
    }

    fn once(&self, text: &str, end: Option<usize>, spent: &mut u64) -> Result<Option<Found>, Error> {
        let mut steps = STEPS;
        let found = self.at(text, 0, end, &mut vec![None; self.slots], &mut steps);
        *spent += STEPS - steps;
        found
    }

    /// All matches from left to right.
    pub(crate) fn all(&self, text: &str, spent: &mut u64) -> Result<Vec<Found>, Error> {
        let mut all = Vec::new();
        let mut at = 0;
        let before = *spent;
        while at <= text.len() {
            if *spent - before > ALL_STEPS {
                return Err(self.too_long());
            }
            let Some(found) = self.find(text, at, spent)? else { break };
            at = next_start(text, &found);
            all.push(found);
        }
        Ok(all)
    }

    fn at(
        &self,
        text: &str,
        at: usize,
        end: Option<usize>,
        slots: &mut [Option<usize>],
        steps: &mut u64,
    ) -> Result<Option<Found>, Error> {
        slots.fill(None);
        *steps = steps.saturating_sub(self.slots as u64 / 8);
        let run = run::Run { text, end };
        let ended = run.run(&self.program, at, slots, steps).map_err(|_| self.too_long())?;
        Ok(ended.map(|ended| {
            let mut groups = vec![Some((at, ended))];
            groups.extend((1..=self.groups).map(|g| Some((slots[g * 2]?, slots[g * 2 + 1]?))));
            Found { groups }
        }))
    }

    fn too_long(&self) -> Error {
        Error::TooLong { pattern: self.source.clone() }
    }
}

/// Where the search for the next match goes on: one further after an empty one.
pub(crate) fn next_start(text: &str, found: &Found) -> usize {
    if found.end() > found.start() {
        return found.end();
    }
    text[found.end()..].chars().next().map_or(text.len() + 1, |c| found.end() + c.len_utf8())
}

/// At least the number of instructions that the node becomes.
fn weight(node: &Node) -> u64 {
    match node {
        Node::Inst(_) => 1,
        Node::Sequence(nodes) | Node::Either(nodes) => {
            nodes.iter().fold(1, |sum: u64, n| sum.saturating_add(weight(n)).saturating_add(2))
        }
        Node::Group(_, inner) | Node::Look { inner, .. } | Node::Atomic(inner) => {
            weight(inner).saturating_add(3)
        }
        Node::Repeat { inner, least, most, .. } => {
            let times = u64::from(most.unwrap_or(*least).max(*least)) + 1;
            weight(inner).saturating_add(4).saturating_mul(times)
        }
    }
}

fn emit(node: &Node, out: &mut Vec<Inst>, slots: &mut usize) {
    match node {
        Node::Inst(inst) => out.push(inst.clone()),
        Node::Sequence(nodes) => nodes.iter().for_each(|n| emit(n, out, slots)),
        Node::Either(nodes) => emit_either(nodes, out, slots),
        Node::Group(number, inner) => {
            out.push(Inst::Save(number * 2));
            emit(inner, out, slots);
            out.push(Inst::Save(number * 2 + 1));
        }
        Node::Look { ahead, negated, inner } => {
            let inner = program(inner, slots);
            out.push(Inst::Look { ahead: *ahead, negated: *negated, inner });
        }
        Node::Atomic(inner) => {
            let inner = program(inner, slots);
            out.push(Inst::Atomic(inner));
        }
        Node::Repeat { inner, least, most, greedy } => {
            for _ in 0..*least {
                emit(inner, out, slots);
            }
            match most {
                None => emit_loop(inner, *greedy, out, slots),
                Some(most) => {
                    for _ in *least..*most {
                        emit_optional(inner, *greedy, out, slots);
                    }
                }
            }
        }
    }
}

fn program(node: &Node, slots: &mut usize) -> Vec<Inst> {
    let mut inner = Vec::new();
    emit(node, &mut inner, slots);
    inner.push(Inst::Done);
    inner
}

fn emit_either(nodes: &[Node], out: &mut Vec<Inst>, slots: &mut usize) {
    let mut ends = Vec::new();
    for (n, node) in nodes.iter().enumerate() {
        if n + 1 == nodes.len() {
            emit(node, out, slots);
            break;
        }
        let split = out.len();
        out.push(Inst::Done);
        emit(node, out, slots);
        ends.push(out.len());
        out.push(Inst::Done);
        out[split] = Inst::Split(split + 1, out.len());
    }
    let end = out.len();
    for at in ends {
        out[at] = Inst::Jump(end);
    }
}

fn emit_loop(inner: &Node, greedy: bool, out: &mut Vec<Inst>, slots: &mut usize) {
    let split = out.len();
    let mark = *slots;
    *slots += 1;
    out.push(Inst::Done);
    out.push(Inst::Mark(mark));
    emit(inner, out, slots);
    out.push(Inst::Moved(mark));
    out.push(Inst::Jump(split));
    let end = out.len();
    out[split] = if greedy { Inst::Split(split + 1, end) } else { Inst::Split(end, split + 1) };
}

fn emit_optional(inner: &Node, greedy: bool, out: &mut Vec<Inst>, slots: &mut usize) {
    let split = out.len();
    out.push(Inst::Done);
    emit(inner, out, slots);
    let end = out.len();
    out[split] = if greedy { Inst::Split(split + 1, end) } else { Inst::Split(end, split + 1) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(pattern: &str, text: &str) -> Option<Vec<String>> {
        let found = Regex::new(pattern).unwrap().find(text, 0, &mut 0).unwrap()?;
        Some(found.groups.iter().map(|g| g.map_or("-".to_owned(), |(a, b)| text[a..b].to_owned())).collect())
    }

    #[test]
    fn patterns_find_what_java_finds() {
        let table: &[(&str, &str, &[&str])] = &[
            (r"(\d+)\.(\d+)", "v1.22.3", &["1.22", "1", "22"]),
            (r"a|bc|d", "xbc", &["bc"]),
            (
                r"^\s*(\w+)\s*=\s*(.*?)\s*$",
                "  key = some value  ",
                &["  key = some value  ", "key", "some value"],
            ),
            (r"(a*)*b", "aaab", &["aaab", "aaa"]),
            (r"[^/]+$", "origin/feature/x", &["x"]),
            (r"(?i)HELLO", "say hello", &["hello"]),
            (r"(?<=v)\d+(?!\d|\.)", "v1.2 v34", &["34"]),
            (r"(\w)\1", "abccd", &["cc", "c"]),
            (r"x{2,3}?", "xxxx", &["xx"]),
            (r"[a-c&&[^b]]+", "bac", &["ac"]),
            (r"\bfoo\b", "a foo.", &["foo"]),
            (r"(?<major>\d+)-(b)?", "7-", &["7-", "7", "-"]),
            (r"\Qa.b\E+", "xa.bbb", &["a.bbb"]),
            (r"(?s)a.b", "a\nb", &["a\nb"]),
            (r"(?m)^b$", "a\nb\nc", &["b"]),
            (r"\p{Upper}+[\p{Digit}_]", "aBC9", &["BC9"]),
            (r"é+", "caféé", &["éé"]),
        ];
        for (pattern, text, wanted) in table {
            let got = groups(pattern, text);
            assert_eq!(
                got.as_deref().map(|g| g.iter().map(String::as_str).collect::<Vec<_>>()),
                Some(wanted.to_vec()),
                "{pattern}"
            );
        }
        assert_eq!(groups("a.b", "a\nb"), None);
        assert_eq!(groups("(?>a+)ab", "aaab"), None);
        assert_eq!(groups("a++ab", "aaab"), None);
        assert!(Regex::new("a+").unwrap().whole("aab", &mut 0).unwrap().is_none());
    }

    #[test]
    fn a_pattern_that_would_run_for_years_ends_with_an_error() {
        let text = "a".repeat(60);
        assert!(matches!(Regex::new("(a|a)*b").unwrap().find(&text, 0, &mut 0), Err(Error::TooLong { .. })));
        assert!(Regex::new("a{1000}{1000}").is_err());
        assert!(Regex::new("(").is_err() && Regex::new("[a").is_err() && Regex::new("*").is_err());
    }
}

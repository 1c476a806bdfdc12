//! What of an object is wanted: `tree=…`, or everything down to `depth=…`.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::Error;

/// Longest `tree`.
const MAX_TREE: usize = 64 * 1024;
/// Most `[` inside each other.
const MAX_NESTING: usize = 64;
/// Deeper is the same as this: nothing of ours is deeper, and an answer must not grow without end.
const MAX_DEPTH: i32 = 10;

/// What is wanted of one object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Select {
    /// What a `tree` names.
    Tree(Arc<Names>),
    /// What is at least this visible.
    Visible(i32),
}

/// The names in one pair of brackets of a `tree`.
#[derive(Debug, PartialEq, Default)]
pub(crate) struct Names {
    names: BTreeMap<String, Arc<Names>>,
    range: Range,
}

/// Which elements of a list are wanted: from the first, up to but without the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Range {
    pub(crate) from: usize,
    pub(crate) to: Option<usize>,
}

impl Range {
    pub(crate) fn cut<T>(self, items: Vec<T>) -> Vec<T> {
        let most = self.to.map_or(usize::MAX, |to| to.saturating_sub(self.from));
        items.into_iter().skip(self.from).take(most).collect()
    }

    /// How many elements have to be looked at.
    pub(crate) fn reach(self) -> usize {
        self.to.unwrap_or(usize::MAX)
    }
}

impl Select {
    /// From the parameters of a request; `tree` overrides `depth`.
    pub(crate) fn parse(tree: Option<&str>, depth: Option<&str>) -> Result<Select, Error> {
        if let Some(tree) = tree {
            return Ok(Select::Tree(Arc::new(parse_tree(tree)?)));
        }
        let Some(depth) = depth else { return Ok(Select::Visible(1)) };
        let digits = depth.strip_prefix('-').unwrap_or(depth);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Error::bad("depth is not a number"));
        }
        let depth = depth.parse::<i32>().unwrap_or(MAX_DEPTH).clamp(0, MAX_DEPTH);
        Ok(Select::Visible(1 - depth))
    }

    pub(super) fn child(&self, name: &str, visibility: i32) -> Option<Select> {
        match self {
            Select::Tree(names) => {
                names.names.get(name).or_else(|| names.names.get("*")).cloned().map(Select::Tree)
            }
            Select::Visible(least) => (visibility >= *least).then_some(Select::Visible(least + 1)),
        }
    }

    pub(super) fn inline(&self, name: &str, visibility: i32) -> Option<Select> {
        match self {
            Select::Tree(_) => self.child(name, visibility),
            Select::Visible(least) => (visibility >= *least).then_some(Select::Visible(*least)),
        }
    }

    pub(crate) fn range(&self) -> Range {
        match self {
            Select::Tree(names) => names.range,
            Select::Visible(_) => Range::default(),
        }
    }

    /// Whether a `tree` was given.
    pub(crate) fn explicit(&self) -> bool {
        matches!(self, Select::Tree(_))
    }
}

fn malformed(at: usize) -> Error {
    Error::bad(format!("Malformed tree expression, see character {}", at + 1))
}

fn parse_tree(text: &str) -> Result<Names, Error> {
    if text.len() > MAX_TREE {
        return Err(Error::bad(format!("tree is longer than {MAX_TREE} bytes")));
    }
    let mut parser = Parser { text, at: 0 };
    let names = parser.list(0)?;
    match parser.peek() {
        None => Ok(Names { names, range: Range::default() }),
        Some(_) => Err(malformed(parser.at)),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let taken = self.peek() == Some(byte);
        self.at += usize::from(taken);
        taken
    }

    fn list(&mut self, nesting: usize) -> Result<BTreeMap<String, Arc<Names>>, Error> {
        if nesting >= MAX_NESTING {
            return Err(Error::bad(format!("tree is nested deeper than {MAX_NESTING} levels")));
        }
        let mut names = BTreeMap::new();
        loop {
            let name = self.name()?;
            let inner = if self.take(b'[') { self.brackets(nesting)? } else { BTreeMap::new() };
            let range = if self.take(b'{') { self.range()? } else { Range::default() };
            names.insert(name, Arc::new(Names { names: inner, range }));
            if !self.take(b',') {
                return Ok(names);
            }
        }
    }

    fn brackets(&mut self, nesting: usize) -> Result<BTreeMap<String, Arc<Names>>, Error> {
        let names = self.list(nesting + 1)?;
        if self.take(b']') { Ok(names) } else { Err(malformed(self.at)) }
    }

    fn name(&mut self) -> Result<String, Error> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let end = rest.find([',', '[', ']', '{', '}']).unwrap_or(rest.len());
        if end == 0 {
            return Err(malformed(self.at));
        }
        self.at += end;
        Ok(rest.get(..end).unwrap_or_default().to_owned())
    }

    /// After the `{`: `,M`, `N`, `N,` or `N,M`.
    fn range(&mut self) -> Result<Range, Error> {
        let from = self.digits()?;
        let comma = self.take(b',');
        let to = if comma { self.digits()? } else { None };
        let range = match (from, comma, to) {
            (Some(only), false, _) => Range { from: only, to: Some(only.saturating_add(1)) },
            (from, true, to) if from.is_some() || to.is_some() => Range { from: from.unwrap_or(0), to },
            _ => return Err(malformed(self.at)),
        };
        if self.take(b'}') { Ok(range) } else { Err(malformed(self.at)) }
    }

    fn digits(&mut self) -> Result<Option<usize>, Error> {
        let begin = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        let digits = self.text.get(begin..self.at).unwrap_or_default();
        if digits.is_empty() {
            return Ok(None);
        }
        digits.parse().map(Some).map_err(|_| malformed(begin))
    }
}

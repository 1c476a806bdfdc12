//! Reads the notation of `java.util.regex.Pattern`.

use super::{Error, Inst, Set};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Inst(Inst),
    Sequence(Vec<Node>),
    Either(Vec<Node>),
    Group(usize, Box<Node>),
    Look { ahead: bool, negated: bool, inner: Box<Node> },
    Atomic(Box<Node>),
    Repeat { inner: Box<Node>, least: u32, most: Option<u32>, greedy: bool },
}

pub(super) struct Parsed {
    pub(super) node: Node,
    pub(super) groups: usize,
    pub(super) names: Vec<(String, usize)>,
}

#[derive(Clone, Copy, Default)]
struct Flags {
    fold: bool,
    lines: bool,
    newline: bool,
    free: bool,
}

pub(super) struct Parser<'p> {
    source: &'p str,
    pub(super) chars: Vec<char>,
    pub(super) at: usize,
    groups: usize,
    names: Vec<(String, usize)>,
    flags: Flags,
    pub(super) depth: u32,
}

const REPEAT_LIMIT: u32 = 1_000;

pub(super) fn parse(source: &str) -> Result<Parsed, Error> {
    let mut parser = Parser {
        source,
        chars: source.chars().collect(),
        at: 0,
        groups: 0,
        names: Vec::new(),
        flags: Flags::default(),
        depth: 0,
    };
    let node = parser.either()?;
    if parser.at < parser.chars.len() {
        return Err(parser.error("unmatched closing ')'"));
    }
    Ok(Parsed { node, groups: parser.groups, names: parser.names })
}

impl Parser<'_> {
    pub(super) fn error(&self, what: &'static str) -> Error {
        Error::Syntax { what, pattern: self.source.to_owned(), at: self.at }
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    pub(super) fn eat(&mut self, text: &str) -> bool {
        let fits = text.chars().enumerate().all(|(n, c)| self.chars.get(self.at + n) == Some(&c));
        if fits {
            self.at += text.chars().count();
        }
        fits
    }

    fn either(&mut self) -> Result<Node, Error> {
        self.depth += 1;
        if self.depth > 100 {
            return Err(self.error("too deep nesting"));
        }
        let mut nodes = vec![self.sequence()?];
        while self.eat("|") {
            nodes.push(self.sequence()?);
        }
        self.depth -= 1;
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::Either(nodes) })
    }

    fn sequence(&mut self) -> Result<Node, Error> {
        let mut nodes = Vec::new();
        while let Some(c) = self.peek() {
            match c {
                '|' | ')' => break,
                c if self.flags.free && c.is_whitespace() => self.at += 1,
                '#' if self.flags.free => while self.next().is_some_and(|c| c != '\n') {},
                '\\' if self.eat("\\Q") => self.quoted(&mut nodes)?,
                _ => {
                    if let Some(atom) = self.atom()? {
                        nodes.push(self.repeated(atom)?);
                    }
                }
            }
        }
        Ok(Node::Sequence(nodes))
    }

    fn quoted(&mut self, nodes: &mut Vec<Node>) -> Result<(), Error> {
        while !self.eat("\\E") {
            let Some(c) = self.next() else { return Ok(()) };
            nodes.push(self.char(c));
        }
        if let Some(last) = nodes.pop() {
            nodes.push(self.repeated(last)?);
        }
        Ok(())
    }

    fn char(&self, c: char) -> Node {
        Node::Inst(Inst::Char { c, fold: self.flags.fold })
    }

    fn set(&self, set: Set) -> Node {
        Node::Inst(Inst::Class { set, fold: self.flags.fold })
    }

    fn atom(&mut self) -> Result<Option<Node>, Error> {
        let Some(c) = self.next() else { return Ok(None) };
        Ok(Some(match c {
            '.' => Node::Inst(Inst::Any { newline: self.flags.newline }),
            '^' => Node::Inst(Inst::Start { lines: self.flags.lines }),
            '$' => Node::Inst(Inst::End { lines: self.flags.lines }),
            '[' => {
                let set = self.class()?;
                self.set(set)
            }
            '(' => return self.group(),
            '\\' => self.escape()?,
            '*' | '+' | '?' => return Err(self.error("dangling quantifier")),
            c => self.char(c),
        }))
    }

    fn repeated(&mut self, atom: Node) -> Result<Node, Error> {
        let mut node = atom;
        loop {
            let (least, most) = match self.peek() {
                Some('*') => (0, None),
                Some('+') => (1, None),
                Some('?') => (0, Some(1)),
                Some('{') => {
                    self.at += 1;
                    let bounds = self.bounds()?;
                    self.at -= 1;
                    bounds
                }
                _ => return Ok(node),
            };
            self.at += 1;
            let (greedy, atomic) = (!self.eat("?"), self.eat("+"));
            if matches!(node, Node::Repeat { .. }) && least > 1 {
                return Err(self.error("too many repetitions"));
            }
            node = Node::Repeat { inner: Box::new(node), least, most, greedy };
            if atomic {
                node = Node::Atomic(Box::new(node));
            }
        }
    }

    /// The numbers of `{n,m}`; the closing brace is left for the caller.
    fn bounds(&mut self) -> Result<(u32, Option<u32>), Error> {
        let least = self.number().ok_or_else(|| self.error("illegal repetition"))?;
        let most = if self.eat(",") { self.number() } else { Some(least) };
        let open = most.is_none();
        if !self.eat("}") || most.is_some_and(|m| m < least) {
            return Err(self.error("illegal repetition range"));
        }
        if least > REPEAT_LIMIT || !open && most > Some(REPEAT_LIMIT) {
            return Err(self.error("too many repetitions"));
        }
        Ok((least, most))
    }

    fn number(&mut self) -> Option<u32> {
        let from = self.at;
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
        }
        self.chars[from..self.at].iter().collect::<String>().parse().ok()
    }

    fn group(&mut self) -> Result<Option<Node>, Error> {
        let before = self.flags;
        let node = if !self.eat("?") {
            self.capture(None)?
        } else if self.eat(":") {
            self.either()?
        } else if self.eat(">") {
            Node::Atomic(Box::new(self.either()?))
        } else if self.eat("=") {
            self.look(true, false)?
        } else if self.eat("!") {
            self.look(true, true)?
        } else if self.eat("<=") {
            self.look(false, false)?
        } else if self.eat("<!") {
            self.look(false, true)?
        } else if self.eat("<") {
            let mut name = String::new();
            while let Some(c) = self.next().filter(|c| *c != '>') {
                name.push(c);
            }
            self.capture(Some(name))?
        } else {
            self.read_flags()?;
            if self.eat(")") {
                return Ok(None);
            }
            if !self.eat(":") {
                return Err(self.error("unknown inline modifier"));
            }
            self.either()?
        };
        if !self.eat(")") {
            return Err(self.error("unclosed group"));
        }
        self.flags = before;
        Ok(Some(node))
    }

    fn capture(&mut self, name: Option<String>) -> Result<Node, Error> {
        self.groups += 1;
        let number = self.groups;
        self.names.extend(name.map(|n| (n, number)));
        Ok(Node::Group(number, Box::new(self.either()?)))
    }

    fn look(&mut self, ahead: bool, negated: bool) -> Result<Node, Error> {
        Ok(Node::Look { ahead, negated, inner: Box::new(self.either()?) })
    }

    fn read_flags(&mut self) -> Result<(), Error> {
        let mut on = true;
        while let Some(c) = self.peek().filter(|c| !matches!(c, ')' | ':')) {
            self.at += 1;
            match c {
                '-' => on = false,
                'i' => self.flags.fold = on,
                'm' => self.flags.lines = on,
                's' => self.flags.newline = on,
                'x' => self.flags.free = on,
                'u' | 'U' | 'd' => {}
                _ => return Err(self.error("unknown inline modifier")),
            }
        }
        Ok(())
    }

    fn escape(&mut self) -> Result<Node, Error> {
        let Some(c) = self.next() else { return Err(self.error("unexpected end")) };
        Ok(match c {
            'b' => Node::Inst(Inst::Border { negated: false }),
            'B' => Node::Inst(Inst::Border { negated: true }),
            'A' => Node::Inst(Inst::Start { lines: false }),
            'z' => Node::Inst(Inst::VeryEnd),
            'Z' => Node::Inst(Inst::End { lines: false }),
            'R' => Node::Either(vec![
                Node::Sequence(vec![self.char('\r'), self.char('\n')]),
                self.set(ranges(&[('\n', '\r'), ('\u{85}', '\u{85}')])),
            ]),
            '1'..='9' => {
                let group = c.to_digit(10).unwrap_or(0) as usize;
                Node::Inst(Inst::Back { group, fold: self.flags.fold })
            }
            'k' => {
                let name: String = std::iter::from_fn(|| self.next().filter(|c| *c != '>')).skip(1).collect();
                let group = self.names.iter().find(|n| n.0 == name).map(|n| n.1);
                let group = group.ok_or_else(|| self.error("unknown group"))?;
                Node::Inst(Inst::Back { group, fold: self.flags.fold })
            }
            c => match self.class_escape(c)? {
                Some(set) => self.set(set),
                None => {
                    let c = self.char_escape(c)?;
                    self.char(c)
                }
            },
        })
    }

    pub(super) fn char_escape(&mut self, c: char) -> Result<char, Error> {
        Ok(match c {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'f' => '\u{c}',
            'a' => '\u{7}',
            'e' => '\u{1b}',
            '0' => '\0',
            'x' | 'u' => {
                let digits = if c == 'x' { 2 } else { 4 };
                let hex: String = (0..digits).filter_map(|_| self.next()).collect();
                let code = u32::from_str_radix(&hex, 16).ok().and_then(char::from_u32);
                code.ok_or_else(|| self.error("illegal hexadecimal escape"))?
            }
            c if c.is_ascii_alphabetic() => return Err(self.error("illegal escape sequence")),
            c => c,
        })
    }
}

pub(super) fn ranges(ranges: &[(char, char)]) -> Set {
    Set { ranges: ranges.to_vec(), ..Set::default() }
}

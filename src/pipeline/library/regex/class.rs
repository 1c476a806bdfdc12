//! Sets of characters: `[a-z&&[^x]]`, `\w`, `\p{Upper}`.

use super::parse::{Parser, ranges};
use super::{Error, Set};

impl Parser<'_> {
    pub(super) fn class_escape(&mut self, c: char) -> Result<Option<Set>, Error> {
        let mut set = match c.to_ascii_lowercase() {
            'd' => ranges(&[('0', '9')]),
            'w' => ranges(&[('a', 'z'), ('A', 'Z'), ('0', '9'), ('_', '_')]),
            's' => ranges(&[(' ', ' '), ('\t', '\r')]),
            'h' => ranges(&[(' ', ' '), ('\t', '\t'), ('\u{a0}', '\u{a0}')]),
            'p' => self.property()?,
            _ => return Ok(None),
        };
        set.negated = c.is_ascii_uppercase();
        Ok(Some(set))
    }

    fn property(&mut self) -> Result<Set, Error> {
        let name = if self.eat("{") {
            std::iter::from_fn(|| self.next().filter(|c| *c != '}')).collect()
        } else {
            self.next().map(String::from).unwrap_or_default()
        };
        Ok(match name.trim_start_matches("Is") {
            "Lower" | "Ll" | "Lowercase" => ranges(&[('a', 'z'), ('ß', 'ö'), ('ø', 'ÿ')]),
            "Upper" | "Lu" | "Uppercase" => ranges(&[('A', 'Z'), ('À', 'Ö'), ('Ø', 'Þ')]),
            "Alpha" => ranges(&[('a', 'z'), ('A', 'Z')]),
            "L" | "Alphabetic" => ranges(&[
                ('a', 'z'),
                ('A', 'Z'),
                ('À', 'Ö'),
                ('Ø', 'ö'),
                ('ø', '\u{24f}'),
                ('\u{370}', '\u{1fff}'),
                ('\u{3040}', '\u{d7ff}'),
            ]),
            "Digit" | "N" | "Nd" => ranges(&[('0', '9')]),
            "Alnum" => ranges(&[('a', 'z'), ('A', 'Z'), ('0', '9')]),
            "Punct" | "P" => ranges(&[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')]),
            "Space" | "Z" => ranges(&[(' ', ' '), ('\t', '\r')]),
            "Blank" => ranges(&[(' ', ' '), ('\t', '\t')]),
            "XDigit" => ranges(&[('0', '9'), ('a', 'f'), ('A', 'F')]),
            "ASCII" => ranges(&[('\0', '\u{7f}')]),
            "Cntrl" => ranges(&[('\0', '\u{1f}'), ('\u{7f}', '\u{7f}')]),
            "Graph" => ranges(&[('!', '~')]),
            "Print" => ranges(&[(' ', '~')]),
            _ => return Err(self.error("unknown character property")),
        })
    }

    /// What stands between `[` and `]`; the opening one is eaten.
    pub(super) fn class(&mut self) -> Result<Set, Error> {
        self.depth += 1;
        if self.depth > 100 {
            return Err(self.error("too deep nesting"));
        }
        let mut set = Set { negated: self.eat("^"), ..Set::default() };
        let mut first = true;
        loop {
            let Some(c) = self.next() else { return Err(self.error("unclosed character class")) };
            match c {
                ']' if !first => break,
                '[' => {
                    let inner = self.class()?;
                    set.inner.push(inner);
                }
                '&' if self.eat("&") => {
                    let mut rest = if self.eat("[") {
                        let inner = self.class()?;
                        Set { inner: vec![inner], ..Set::default() }
                    } else {
                        Set::default()
                    };
                    while let Some(c) = self.peek().filter(|c| !matches!(c, ']' | '&')) {
                        self.at += 1;
                        self.member(c, &mut rest)?;
                    }
                    set.and.push(rest);
                }
                c => self.member(c, &mut set)?,
            }
            first = false;
        }
        self.depth -= 1;
        Ok(set)
    }

    fn member(&mut self, c: char, set: &mut Set) -> Result<(), Error> {
        let from = if c == '\\' {
            let Some(escaped) = self.next() else { return Err(self.error("unclosed character class")) };
            if let Some(inner) = self.class_escape(escaped)? {
                set.inner.push(inner);
                return Ok(());
            }
            self.char_escape(escaped)?
        } else {
            c
        };
        let ranged =
            self.peek() == Some('-') && self.chars.get(self.at + 1).is_some_and(|c| !matches!(c, ']' | '['));
        if !ranged {
            set.ranges.push((from, from));
            return Ok(());
        }
        self.at += 1;
        let to = match self.next() {
            Some('\\') => {
                let escaped = self.next().unwrap_or('\\');
                self.char_escape(escaped)?
            }
            Some(c) => c,
            None => from,
        };
        if to < from {
            return Err(self.error("illegal character range"));
        }
        set.ranges.push((from, to));
        Ok(())
    }
}

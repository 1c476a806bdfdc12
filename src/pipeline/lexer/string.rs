//! String literals: six kinds of quotes, escapes, and the holes of GStrings.

use super::{Lexer, Open, Tok, continues_name, starts_name};
use crate::ast::Pos;
use crate::diagnostic::Diagnostic;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quote {
    Single,
    TripleSingle,
    Double,
    TripleDouble,
    Slashy,
    DollarSlashy,
}

impl Quote {
    fn open(self) -> &'static str {
        match self {
            Quote::DollarSlashy => "$/",
            other => other.close(),
        }
    }

    fn close(self) -> &'static str {
        match self {
            Quote::Single => "'",
            Quote::TripleSingle => "'''",
            Quote::Double => "\"",
            Quote::TripleDouble => "\"\"\"",
            Quote::Slashy => "/",
            Quote::DollarSlashy => "/$",
        }
    }

    fn interpolates(self) -> bool {
        !matches!(self, Quote::Single | Quote::TripleSingle)
    }

    fn one_line(self) -> bool {
        matches!(self, Quote::Single | Quote::Double)
    }

    fn slashed(self) -> bool {
        matches!(self, Quote::Slashy | Quote::DollarSlashy)
    }
}

/// What ends a run of text in a string.
enum Stop {
    Quote,
    /// At a `$` that begins a hole.
    Hole,
}

impl Lexer<'_> {
    /// A string from its opening quote: a `Str`, or a `GStart` with what comes before its first `}`.
    pub(super) fn string(&mut self, quote: Quote) -> Result<(), Diagnostic> {
        let (from, pos) = (self.at, self.pos);
        self.skip(quote.open().len());
        let (text, stop) = self.text(quote, pos)?;
        match stop {
            Stop::Quote => {
                self.push(Tok::Str(text), from, pos);
                Ok(())
            }
            Stop::Hole => {
                self.push(Tok::GStart, from, pos);
                self.hole(text, quote, pos)
            }
        }
    }

    /// What follows the `}` of a hole.
    pub(super) fn string_rest(&mut self, quote: Quote) -> Result<(), Diagnostic> {
        let (from, pos) = (self.at, self.pos);
        let (text, stop) = self.text(quote, pos)?;
        match stop {
            Stop::Quote => {
                self.push(Tok::Text(text), from, pos);
                self.push(Tok::GEnd, from, pos);
                Ok(())
            }
            Stop::Hole => self.hole(text, quote, pos),
        }
    }

    /// `text` and the holes after it, up to the first `${` or the end of the string.
    fn hole(&mut self, mut text: String, quote: Quote, start: Pos) -> Result<(), Diagnostic> {
        loop {
            let (from, pos) = (self.at, self.pos);
            self.push(Tok::Text(std::mem::take(&mut text)), from, pos);
            self.bump();
            self.push(Tok::Hole, from, pos);
            if self.peek() == Some('{') {
                self.bump();
                return self.open(Open::Hole(quote), pos);
            }
            self.hole_name();
            let stop;
            (text, stop) = self.text(quote, start)?;
            if let Stop::Quote = stop {
                let (from, pos) = (self.at, self.pos);
                self.push(Tok::Text(text), from, pos);
                self.push(Tok::GEnd, from, pos);
                return Ok(());
            }
        }
    }

    /// `name.name.name` after a `$`.
    fn hole_name(&mut self) {
        loop {
            let (from, pos) = (self.at, self.pos);
            while self.peek().is_some_and(|c| continues_name(c) && c != '$') {
                self.bump();
            }
            let name = self.source[from..self.at].to_owned();
            self.push(Tok::Name(name), from, pos);
            let (from, pos) = (self.at, self.pos);
            let dotted = self.rest().strip_prefix('.').is_some_and(|rest| rest.starts_with(starts_hole_name));
            if !dotted {
                self.push(Tok::HoleEnd, from, pos);
                return;
            }
            self.bump();
            self.push(Tok::Punct("."), from, pos);
        }
    }

    fn text(&mut self, quote: Quote, start: Pos) -> Result<(String, Stop), Diagnostic> {
        let mut text = String::new();
        loop {
            if self.rest().starts_with(quote.close())
                && !(quote == Quote::TripleDouble && self.quote_run('"'))
                && !(quote == Quote::TripleSingle && self.quote_run('\''))
            {
                self.skip(quote.close().len());
                return Ok((text, Stop::Quote));
            }
            match self.peek() {
                None => {
                    let close = quote.close();
                    return Err(Diagnostic::new(
                        start,
                        format!("the string that begins here has no end: expecting {close}"),
                    ));
                }
                Some('\n' | '\r') if quote.one_line() => {
                    let close = quote.close();
                    return Err(Diagnostic::new(
                        self.pos,
                        format!("the string ends with its line: expecting {close}"),
                    ));
                }
                Some('\n' | '\r') => {
                    self.bump();
                    text.push('\n');
                }
                Some('\\') if quote.slashed() => self.slashy_escape(quote, &mut text)?,
                Some('\\') => self.escape(&mut text)?,
                Some('$') if quote.interpolates() => {
                    if self.dollar(quote, &mut text)? {
                        return Ok((text, Stop::Hole));
                    }
                }
                Some(c) => {
                    self.bump();
                    text.push(c);
                }
            }
        }
    }

    /// Whether four or more quotes stand here: then the first belongs to the text, as in `"""say "no""""`.
    fn quote_run(&self, quote: char) -> bool {
        self.rest().chars().take(4).filter(|c| *c == quote).count() == 4
    }

    /// A `$`: true if it begins a hole, else its text is taken.
    fn dollar(&mut self, quote: Quote, text: &mut String) -> Result<bool, Diagnostic> {
        let next = self.rest().chars().nth(1);
        if next.is_some_and(|c| c == '{' || starts_hole_name(c)) {
            return Ok(true);
        }
        match next {
            Some(c @ ('$' | '/')) if quote == Quote::DollarSlashy => {
                self.skip(2);
                text.push(c);
            }
            _ if quote.slashed() => {
                self.bump();
                text.push('$');
            }
            _ => {
                let message =
                    "illegal character after the dollar sign: write \\$ for a dollar, ${…} for a value";
                return Err(Diagnostic::new(self.pos, message));
            }
        }
        Ok(false)
    }

    /// In slashed strings a backslash is itself, but before `/` and `u`.
    fn slashy_escape(&mut self, quote: Quote, text: &mut String) -> Result<(), Diagnostic> {
        let next = self.rest().chars().nth(1);
        match next {
            Some('/') if quote == Quote::Slashy => {
                self.skip(2);
                text.push('/');
            }
            Some('u') if self.rest()[2..].bytes().take(4).filter(u8::is_ascii_hexdigit).count() == 4 => {
                return self.escape(text);
            }
            _ => {
                self.bump();
                text.push('\\');
            }
        }
        Ok(())
    }

    fn escape(&mut self, text: &mut String) -> Result<(), Diagnostic> {
        let pos = self.pos;
        self.bump();
        let Some(c) = self.peek() else { return Ok(()) };
        let plain = match c {
            'b' => '\u{8}',
            't' => '\t',
            'n' => '\n',
            'f' => '\u{c}',
            'r' => '\r',
            '"' | '\'' | '\\' | '$' => c,
            '\n' | '\r' => {
                self.bump();
                return Ok(());
            }
            '0'..='7' => {
                text.push(self.octal());
                return Ok(());
            }
            'u' => {
                text.push(self.unicode(pos)?);
                return Ok(());
            }
            _ => return Err(Diagnostic::new(pos, format!("unknown escape: '\\{}'", c.escape_default()))),
        };
        self.bump();
        text.push(plain);
        Ok(())
    }

    /// One to three octal digits, at most `377`.
    fn octal(&mut self) -> char {
        let mut value = 0;
        for _ in 0..3 {
            let Some(digit) = self.peek().and_then(|c| c.to_digit(8)) else { break };
            if value * 8 + digit > 0o377 {
                break;
            }
            value = value * 8 + digit;
            self.bump();
        }
        char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER)
    }

    /// From the `u`: one UTF-16 unit, or two that are a pair.
    fn unicode(&mut self, pos: Pos) -> Result<char, Diagnostic> {
        let first = self.unit(pos)?;
        let low = (0xd800..0xdc00).contains(&first).then(|| self.low_surrogate()).flatten();
        let Some(low) = low else {
            return Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
        };
        self.skip(6);
        let value = 0x10000 + ((first - 0xd800) << 10) + (low - 0xdc00);
        Ok(char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn unit(&mut self, pos: Pos) -> Result<u32, Diagnostic> {
        while self.peek() == Some('u') {
            self.bump();
        }
        let mut value = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|c| c.to_digit(16));
            let digit =
                digit.ok_or_else(|| Diagnostic::new(pos, "expecting four hexadecimal digits after \\u"))?;
            value = value * 16 + digit;
            self.bump();
        }
        Ok(value)
    }

    /// `\uDC00` to `\uDFFF`, if that is what follows.
    fn low_surrogate(&self) -> Option<u32> {
        let digits = self.rest().strip_prefix("\\u")?.get(..4)?;
        let value = u32::from_str_radix(digits, 16).ok()?;
        (0xdc00..0xe000).contains(&value).then_some(value)
    }

    fn skip(&mut self, characters: usize) {
        for _ in 0..characters {
            self.bump();
        }
    }
}

fn starts_hole_name(c: char) -> bool {
    starts_name(c) && c != '$'
}

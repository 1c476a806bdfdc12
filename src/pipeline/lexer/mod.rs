//! Text to tokens. Only the parser calls it.
//!
//! One loop, no recursion: a `${` inside a string pushes the string onto the stack of open brackets and its
//! `}` goes on with it. Line ends are tokens except inside `(…)` and `[…]`, as in Groovy 2.4. The lexer goes on
//! to the first thing it cannot read and keeps that error for the end of the tokens, so that an error of the
//! parser before it is reported first.

mod number;
mod string;

use crate::ast::Pos;
use crate::diagnostic::Diagnostic;
use string::Quote;

/// How deep brackets may nest.
pub(crate) const MAX_NESTING: usize = 200;
/// How large a source may be, in bytes.
pub(crate) const MAX_SOURCE: usize = 1 << 20;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tok {
    /// Identifiers and keywords alike: after a dot or before a colon a keyword is a name.
    Name(String),
    Int(i64),
    /// With an `L`.
    Long(i64),
    /// With a `D` or `F`.
    Double(f64),
    Decimal(String),
    Str(String),
    /// `"` of a string with holes; then `Text` and `Hole … HoleEnd`, then `GEnd`.
    GStart,
    Text(String),
    Hole,
    HoleEnd,
    GEnd,
    Punct(&'static str),
    Newline,
    End,
}

#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) tok: Tok,
    pub(crate) pos: Pos,
    /// Bytes `from..to` of the source.
    pub(crate) from: u32,
    pub(crate) to: u32,
}

/// What the lexer made: the tokens always end with `End`, which stands where `error` is, if there is one.
#[derive(Debug)]
pub(crate) struct Lexed {
    pub(crate) tokens: Vec<Token>,
    pub(crate) error: Option<Diagnostic>,
}

/// What a closing bracket must match.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Open {
    Paren,
    Bracket,
    Brace,
    Hole(Quote),
}

struct Lexer<'s> {
    source: &'s str,
    at: usize,
    pos: Pos,
    tokens: Vec<Token>,
    open: Vec<Open>,
}

/// Longest first, so that the first that fits is the right one.
const PUNCTUATION: &[&str] = &[
    ">>>=", "**=", "<<=", ">>=", ">>>", "==~", "<=>", "===", "!==", "..<", "...", "?.", "?:", "?=", "*.",
    ".&", ".@", "->", "==", "!=", "<=", ">=", "=~", "&&", "||", "++", "--", "+=", "-=", "*=", "/=", "%=",
    "&=", "|=", "^=", "<<", ">>", "**", "..", "(", ")", "[", "]", "{", "}", ",", ";", ":", "?", ".", "=",
    "<", ">", "+", "-", "*", "/", "%", "&", "|", "^", "!", "~", "@",
];

/// Keywords that a value never ends with, so that a `/` behind them begins a string.
const BEFORE_VALUE: &[&str] =
    &["return", "in", "case", "assert", "else", "throw", "instanceof", "as", "do", "new", "if", "while"];

/// Splits a source into tokens.
pub(crate) fn lex(source: &str) -> Lexed {
    let mut lexer = Lexer {
        source,
        at: 0,
        pos: Pos { line: 1, column: 1 },
        tokens: Vec::with_capacity(source.len() / 6),
        open: Vec::new(),
    };
    let error = lexer.run().err();
    if let Some(error) = &error {
        lexer.pos = error.pos();
    }
    let (from, pos) = (lexer.at, lexer.pos);
    lexer.push(Tok::End, from, pos);
    Lexed { tokens: lexer.tokens, error }
}

impl<'s> Lexer<'s> {
    fn run(&mut self) -> Result<(), Diagnostic> {
        if self.peek() == Some('\u{feff}') {
            self.at += '\u{feff}'.len_utf8();
        }
        if self.rest().starts_with("#!") {
            self.skip_line();
        }
        while let Some(c) = self.peek() {
            self.token(c)?;
        }
        Ok(())
    }

    fn token(&mut self, c: char) -> Result<(), Diagnostic> {
        let rest = self.rest();
        match c {
            '\n' | '\r' => self.newline(),
            ' ' | '\t' | '\u{c}' | '\u{b}' | '\u{a0}' => self.bump(),
            '\\' if rest[1..].starts_with(['\n', '\r']) => {
                self.bump();
                self.bump();
            }
            '/' if rest.starts_with("//") => self.skip_line(),
            '/' if rest.starts_with("/*") => self.skip_comment()?,
            '\'' | '"' => self.quoted(c)?,
            '/' if self.value_expected() => self.string(Quote::Slashy)?,
            '$' if rest.starts_with("$/") && self.value_expected() => self.string(Quote::DollarSlashy)?,
            '0'..='9' => self.number()?,
            c if starts_name(c) => self.name(),
            _ => self.punctuation(c)?,
        }
        Ok(())
    }

    fn quoted(&mut self, c: char) -> Result<(), Diagnostic> {
        let rest = self.rest();
        let quote = match c {
            '"' if rest.starts_with("\"\"\"") => Quote::TripleDouble,
            '"' => Quote::Double,
            _ if rest.starts_with("'''") => Quote::TripleSingle,
            _ => Quote::Single,
        };
        self.string(quote)
    }

    /// Whether the tokens so far call for a value, so that `/` begins a string and does not divide.
    fn value_expected(&self) -> bool {
        let Some(last) = self.tokens.last() else { return true };
        match &last.tok {
            Tok::Name(name) => {
                let member = self.tokens.iter().nth_back(1).is_some_and(|t| t.tok == Tok::Punct("."));
                !member && BEFORE_VALUE.contains(&name.as_str())
            }
            Tok::Int(_) | Tok::Long(_) | Tok::Double(_) | Tok::Decimal(_) | Tok::Str(_) | Tok::GEnd => false,
            Tok::Punct(p) => !matches!(*p, ")" | "]" | "}" | "++" | "--"),
            _ => true,
        }
    }

    fn name(&mut self) {
        let (from, pos) = (self.at, self.pos);
        while self.peek().is_some_and(continues_name) {
            self.bump();
        }
        let name = self.source[from..self.at].to_owned();
        self.push(Tok::Name(name), from, pos);
    }

    fn punctuation(&mut self, c: char) -> Result<(), Diagnostic> {
        let (from, pos, rest) = (self.at, self.pos, self.rest());
        let Some(found) = PUNCTUATION.iter().find(|p| rest.starts_with(**p)) else {
            return Err(Diagnostic::new(pos, format!("unexpected char: '{}'", c.escape_default())));
        };
        for _ in 0..found.len() {
            self.bump();
        }
        match *found {
            "(" => self.open(Open::Paren, pos)?,
            "[" => self.open(Open::Bracket, pos)?,
            "{" => self.open(Open::Brace, pos)?,
            "}" => match self.open.pop() {
                Some(Open::Hole(quote)) => {
                    self.push(Tok::HoleEnd, from, pos);
                    return self.string_rest(quote);
                }
                // The parser says what is wrong with an unmatched one.
                Some(other @ (Open::Paren | Open::Bracket)) => self.open.push(other),
                Some(Open::Brace) | None => {}
            },
            ")" => self.close(Open::Paren),
            "]" => self.close(Open::Bracket),
            _ => {}
        }
        self.push(Tok::Punct(found), from, pos);
        Ok(())
    }

    fn open(&mut self, open: Open, pos: Pos) -> Result<(), Diagnostic> {
        if self.open.len() >= MAX_NESTING {
            return Err(Diagnostic::new(pos, too_deep()));
        }
        self.open.push(open);
        Ok(())
    }

    fn close(&mut self, open: Open) {
        if self.open.last() == Some(&open) {
            self.open.pop();
        }
    }

    /// A line end is a token where a statement may end, and several in a row are one.
    fn newline(&mut self) {
        let (from, pos) = (self.at, self.pos);
        self.bump();
        let inside = matches!(self.open.last(), Some(Open::Paren | Open::Bracket));
        if !inside && !matches!(self.tokens.last(), Some(Token { tok: Tok::Newline, .. })) {
            self.push(Tok::Newline, from, pos);
        }
    }

    fn skip_line(&mut self) {
        while self.peek().is_some_and(|c| c != '\n' && c != '\r') {
            self.bump();
        }
    }

    fn skip_comment(&mut self) -> Result<(), Diagnostic> {
        let pos = self.pos;
        let Some(length) = self.rest()[2..].find("*/") else {
            return Err(Diagnostic::new(pos, "the comment that begins here has no end: expecting '*/'"));
        };
        let end = self.at + 2 + length + 2;
        while self.at < end {
            self.bump();
        }
        Ok(())
    }

    fn push(&mut self, tok: Tok, from: usize, pos: Pos) {
        // Sources are at most MAX_SOURCE bytes.
        self.tokens.push(Token { tok, pos, from: from as u32, to: self.at as u32 });
    }

    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Goes one character on; `\r\n` is one.
    fn bump(&mut self) {
        let Some(c) = self.peek() else { return };
        self.at += c.len_utf8();
        if c == '\r' && self.rest().starts_with('\n') {
            self.at += 1;
        }
        if c == '\n' || c == '\r' {
            self.pos = Pos { line: self.pos.line + 1, column: 1 };
        } else {
            self.pos.column += 1;
        }
    }
}

pub(crate) fn too_deep() -> String {
    format!("nested deeper than {MAX_NESTING} levels")
}

fn starts_name(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || c == '$' || (!c.is_ascii() && c.is_alphabetic())
}

fn continues_name(c: char) -> bool {
    starts_name(c) || c.is_ascii_digit() || (!c.is_ascii() && c.is_alphanumeric())
}

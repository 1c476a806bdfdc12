//! Tokens to a tree: a recursive descent over the Groovy that people write in Jenkinsfiles.
//!
//! Every recursion goes through [`Parser::enter`], every loop that makes a tree taller through
//! [`Parser::grow`], so that neither this parser nor anything that walks its tree runs out of stack.
//! Nothing is tried and taken back: where Groovy is ambiguous, `scan` looks ahead over tokens and decides.

mod call;
mod class;
mod closure;
mod control;
mod declare;
mod expression;
mod literal;
mod postfix;
mod scan;
mod statement;
#[cfg(test)]
mod tests;

use crate::ast::{Class, Expr, ExprKind, Function, Pos, Script, Stmt};
use crate::diagnostic::Diagnostic;
use crate::lexer::{self, MAX_NESTING, MAX_SOURCE, Tok, Token};

/// How tall the tree of one statement may get: nesting plus the operators and calls chained in it.
pub(crate) const MAX_HEIGHT: u32 = 400;

type Parsed<T> = Result<T, Diagnostic>;

/// Reads a Jenkinsfile. The first error ends it.
pub fn parse(source: &str) -> Result<Script, Diagnostic> {
    let start = Pos { line: 1, column: 1 };
    if source.len() > MAX_SOURCE {
        return Err(Diagnostic::new(start, format!("the source is larger than {MAX_SOURCE} bytes")));
    }
    let lexed = lexer::lex(source);
    let mut parser = Parser {
        source,
        end: lexed.tokens.last().cloned().unwrap_or(Token { tok: Tok::End, pos: start, from: 0, to: 0 }),
        tokens: lexed.tokens,
        at: 0,
        nesting: 0,
        height: 0,
        blocks: 0,
        functions: Vec::new(),
        classes: Vec::new(),
        fields: Vec::new(),
    };
    match parser.script() {
        Ok(script) => lexed.error.map_or(Ok(script), Err),
        // What the lexer could not read is the reason why the parser found the end.
        Err(error) => {
            Err(lexed.error.filter(|e| (e.line, e.column) <= (error.line, error.column)).unwrap_or(error))
        }
    }
}

struct Parser<'s> {
    source: &'s str,
    tokens: Vec<Token>,
    /// A copy of the last token, what is seen beyond the end.
    end: Token,
    at: usize,
    nesting: usize,
    /// Height of the tallest tree built since the current construct began.
    height: u32,
    /// How many blocks and closures are around; functions and classes are allowed in none.
    blocks: u32,
    functions: Vec<Function>,
    classes: Vec<Class>,
    /// Variables with `@Field`, which are set first.
    fields: Vec<Stmt>,
}

/// What a construct leaves to its surroundings; made by `enter`, given back to `leave`.
struct Outer {
    height: u32,
}

impl Parser<'_> {
    fn script(&mut self) -> Parsed<Script> {
        let statements = self.statements(|p| p.at_end())?;
        Ok(Script {
            statements: std::mem::take(&mut self.fields).into_iter().chain(statements).collect(),
            functions: std::mem::take(&mut self.functions),
            classes: std::mem::take(&mut self.classes),
        })
    }

    // -- limits ------------------------------------------------------------------------------

    fn enter(&mut self) -> Parsed<Outer> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return Err(self.error(lexer::too_deep()));
        }
        Ok(Outer { height: std::mem::take(&mut self.height) })
    }

    fn leave(&mut self, outer: Outer) {
        self.nesting -= 1;
        self.height = outer.height.max(self.height + 1);
    }

    /// One more node on top of what the current expression has.
    fn grow(&mut self) -> Parsed<()> {
        self.height += 1;
        if self.height > MAX_HEIGHT {
            return Err(self.error(format!("more than {MAX_HEIGHT} operations chained in one expression")));
        }
        Ok(())
    }

    // -- tokens ------------------------------------------------------------------------------

    fn token(&self, ahead: usize) -> &Token {
        self.tokens.get(self.at + ahead).unwrap_or(&self.end)
    }

    fn peek(&self) -> &Tok {
        &self.token(0).tok
    }

    fn pos(&self) -> Pos {
        self.token(0).pos
    }

    /// Takes the token that stands here; it is not looked at again.
    fn next(&mut self) -> Tok {
        match self.tokens.get_mut(self.at) {
            Some(token) if token.tok != Tok::End => {
                self.at += 1;
                std::mem::replace(&mut token.tok, Tok::Newline)
            }
            _ => Tok::End,
        }
    }

    fn at_end(&self) -> bool {
        *self.peek() == Tok::End
    }

    fn at(&self, punct: &'static str) -> bool {
        *self.peek() == Tok::Punct(punct)
    }

    fn eat(&mut self, punct: &'static str) -> bool {
        let found = self.at(punct);
        if found {
            self.next();
        }
        found
    }

    fn expect(&mut self, punct: &'static str) -> Parsed<()> {
        if self.eat(punct) { Ok(()) } else { Err(self.expecting(&format!("'{punct}'"))) }
    }

    fn word(&self) -> Option<&str> {
        match self.peek() {
            Tok::Name(name) => Some(name),
            _ => None,
        }
    }

    fn at_word(&self, word: &str) -> bool {
        self.word() == Some(word)
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let found = self.at_word(word);
        if found {
            self.next();
        }
        found
    }

    /// A name that is no keyword.
    fn name(&mut self, what: &str) -> Parsed<String> {
        match self.word() {
            Some(word) if !scan::reserved(word) => Ok(self.take_name()),
            _ => Err(self.expecting(what)),
        }
    }

    /// The name or keyword that stands here.
    fn take_name(&mut self) -> String {
        match self.next() {
            Tok::Name(name) => name,
            _ => String::new(),
        }
    }

    fn skip_newlines(&mut self) {
        while *self.peek() == Tok::Newline {
            self.next();
        }
    }

    /// Line ends and semicolons.
    fn skip_separators(&mut self) {
        while matches!(self.peek(), Tok::Newline | Tok::Punct(";")) {
            self.next();
        }
    }

    /// The first token at or after this one that is no line end.
    fn after_newlines(&self) -> &Tok {
        let mut ahead = 0;
        while self.token(ahead).tok == Tok::Newline {
            ahead += 1;
        }
        &self.token(ahead).tok
    }

    // -- errors ------------------------------------------------------------------------------

    fn error(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(self.pos(), message)
    }

    fn unexpected(&self) -> Diagnostic {
        match self.peek() {
            Tok::End => self.error("unexpected end of the file"),
            _ => self.error(format!("unexpected token: {}", self.found())),
        }
    }

    fn expecting(&self, what: &str) -> Diagnostic {
        self.error(format!("expecting {what}, found '{}'", self.found()))
    }

    /// The token that stands here as it is written, shortened.
    fn found(&self) -> String {
        let token = self.token(0);
        match token.tok {
            Tok::Newline => "\\n".to_owned(),
            Tok::End => String::new(),
            _ => {
                let text = self.source.get(token.from as usize..token.to as usize).unwrap_or_default();
                text.lines().next().unwrap_or_default().chars().take(40).collect()
            }
        }
    }
}

fn expr(pos: Pos, kind: ExprKind) -> Expr {
    Expr { pos, kind }
}

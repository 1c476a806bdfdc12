//! Looking ahead: what the tokens that follow can only be. Takes none of them.

use super::Parser;
use crate::lexer::Tok;

const RESERVED: &[&str] = &[
    "as",
    "assert",
    "break",
    "case",
    "catch",
    "class",
    "continue",
    "def",
    "default",
    "do",
    "else",
    "enum",
    "extends",
    "false",
    "finally",
    "for",
    "if",
    "implements",
    "import",
    "in",
    "instanceof",
    "interface",
    "new",
    "null",
    "package",
    "return",
    "super",
    "switch",
    "this",
    "throw",
    "throws",
    "true",
    "try",
    "while",
];

const PRIMITIVES: &[&str] = &["void", "boolean", "byte", "char", "short", "int", "float", "long", "double"];

const MODIFIERS: &[&str] = &[
    "final",
    "static",
    "private",
    "public",
    "protected",
    "abstract",
    "synchronized",
    "transient",
    "volatile",
    "strictfp",
    "native",
];

/// Whether a word cannot be the name of a variable.
pub(super) fn reserved(word: &str) -> bool {
    RESERVED.contains(&word) || primitive(word) || MODIFIERS.contains(&word)
}

pub(super) fn primitive(word: &str) -> bool {
    PRIMITIVES.contains(&word)
}

pub(super) fn modifier(word: &str) -> bool {
    MODIFIERS.contains(&word)
}

/// What [`Parser::scan_type`] found.
pub(super) struct Scanned {
    /// How many tokens ahead the type ends.
    pub(super) end: usize,
    /// A type by its looks: primitive, an initial capital, generics or `[]`.
    pub(super) certain: bool,
    /// Nothing but a primitive, or an array of one.
    pub(super) primitive: bool,
}

impl Parser<'_> {
    fn ahead(&self, ahead: usize) -> &Tok {
        &self.token(ahead).tok
    }

    fn word_ahead(&self, ahead: usize) -> Option<&str> {
        match self.ahead(ahead) {
            Tok::Name(name) => Some(name),
            _ => None,
        }
    }

    fn punct_ahead(&self, ahead: usize, punct: &'static str) -> bool {
        *self.ahead(ahead) == Tok::Punct(punct)
    }

    /// `a.b.Name<…>[]` from `start` tokens ahead.
    pub(super) fn scan_type(&self, start: usize) -> Option<Scanned> {
        let first = self.word_ahead(start)?;
        if reserved(first) && !primitive(first) {
            return None;
        }
        let primitive = primitive(first);
        let mut last = first;
        let mut end = start + 1;
        while !primitive && self.punct_ahead(end, ".") {
            let Some(name) = self.word_ahead(end + 1) else { break };
            last = name;
            end += 2;
        }
        let mut certain = primitive || last.chars().next().is_some_and(char::is_uppercase);
        if self.punct_ahead(end, "<")
            && let Some(after) = self.scan_generics(end)
        {
            end = after;
            certain = true;
        }
        while self.punct_ahead(end, "[") && self.punct_ahead(end + 1, "]") {
            end += 2;
            certain = true;
        }
        Some(Scanned { end, certain, primitive })
    }

    /// From a `<` to behind its `>`, if nothing but types is between them.
    pub(super) fn scan_generics(&self, start: usize) -> Option<usize> {
        let mut depth = 0_i32;
        let mut at = start;
        loop {
            match self.ahead(at) {
                Tok::Punct("<") => depth += 1,
                Tok::Punct(">") => depth -= 1,
                Tok::Punct(">>") => depth -= 2,
                Tok::Punct(">>>") => depth -= 3,
                Tok::Name(_) | Tok::Punct("." | "," | "?" | "&" | "[" | "]") => {}
                _ => return None,
            }
            at += 1;
            match depth {
                0 => return Some(at),
                d if d < 0 => return None,
                _ => {}
            }
        }
    }

    /// Whether a typed declaration without `def` begins here: `String x`, `Map<String, X> m = …`.
    pub(super) fn at_typed_declaration(&self) -> bool {
        let Some(ty) = self.scan_type(0) else { return false };
        let named = self.word_ahead(ty.end).is_some_and(|word| !reserved(word));
        let ends = matches!(
            self.ahead(ty.end + 1),
            Tok::Punct("=" | "," | ";" | "}") | Tok::Newline | Tok::End | Tok::Name(_)
        );
        ty.certain && named && (ends || self.scan_function(ty.end))
    }

    /// Whether `name(…) {` or `name(…) throws` stands `start` tokens ahead.
    pub(super) fn scan_function(&self, start: usize) -> bool {
        if !matches!(self.ahead(start), Tok::Name(_) | Tok::Str(_)) || !self.punct_ahead(start + 1, "(") {
            return false;
        }
        let Some(mut after) = self.scan_brackets(start + 1) else { return false };
        while *self.ahead(after) == Tok::Newline {
            after += 1;
        }
        self.punct_ahead(after, "{") || self.word_ahead(after) == Some("throws")
    }

    /// From an opening bracket to behind the one that closes it.
    pub(super) fn scan_brackets(&self, start: usize) -> Option<usize> {
        let mut depth = 0_usize;
        let mut at = start;
        loop {
            match self.ahead(at) {
                Tok::Punct("(" | "[" | "{") | Tok::Hole => depth += 1,
                Tok::Punct(")" | "]" | "}") | Tok::HoleEnd => depth = depth.checked_sub(1)?,
                Tok::End => return None,
                _ => {}
            }
            at += 1;
            if depth == 0 {
                return Some(at);
            }
        }
    }

    /// Whether the `{` here is followed by parameters or by `->` alone.
    pub(super) fn closure_has_parameters(&self) -> bool {
        let mut at = 1;
        while *self.ahead(at) == Tok::Newline {
            at += 1;
        }
        if !matches!(self.ahead(at), Tok::Name(_) | Tok::Punct("->" | "@")) {
            return false;
        }
        loop {
            match self.ahead(at) {
                Tok::Punct("->") => return true,
                Tok::Punct("(" | "[" | "{") | Tok::Hole => match self.scan_brackets(at) {
                    Some(after) => at = after,
                    None => return false,
                },
                Tok::Newline if !self.newline_between_parameters(at) => return false,
                Tok::Punct(";" | "}" | ")" | "]") | Tok::HoleEnd | Tok::End => return false,
                _ => at += 1,
            }
        }
    }

    /// A line end after a comma or before the arrow does not end the parameters of a closure.
    fn newline_between_parameters(&self, at: usize) -> bool {
        self.punct_ahead(at - 1, ",") || self.punct_ahead(at + 1, "->")
    }

    /// Whether `(a, b) =` stands here, at the `(`.
    pub(super) fn at_tuple_assignment(&self) -> bool {
        let mut at = 1;
        loop {
            if self.word_ahead(at).is_none_or(reserved) {
                return false;
            }
            match self.ahead(at + 1) {
                Tok::Punct(",") => at += 2,
                Tok::Punct(")") => return at > 1 && self.punct_ahead(at + 2, "="),
                _ => return false,
            }
        }
    }

    /// Whether the `(` here begins a cast: a type alone in parentheses with a value behind it.
    pub(super) fn at_cast(&self) -> bool {
        let Some(ty) = self.scan_type(1) else { return false };
        if !ty.certain || !self.punct_ahead(ty.end, ")") {
            return false;
        }
        match self.ahead(ty.end + 1) {
            Tok::Name(word) => !matches!(word.as_str(), "in" | "instanceof" | "as"),
            Tok::Int(_) | Tok::Long(_) | Tok::Double(_) | Tok::Decimal(_) | Tok::Str(_) | Tok::GStart => true,
            Tok::Punct("!") => !self.negated_operator(ty.end + 1),
            Tok::Punct("(" | "[" | "{" | "~") => true,
            Tok::Punct("-" | "+" | "++" | "--") => ty.primitive,
            _ => false,
        }
    }

    /// `!in` or `!instanceof`
    pub(super) fn negated_operator(&self, at: usize) -> bool {
        self.punct_ahead(at, "!")
            && matches!(self.word_ahead(at + 1), Some("in" | "instanceof"))
            && self.token(at).to == self.token(at + 1).from
    }

    /// Whether a `;` stands in the parentheses that begin here: `for (a; b; c)`.
    pub(super) fn at_counting_loop(&self) -> bool {
        let mut at = 1;
        loop {
            match self.ahead(at) {
                Tok::Punct(";") => return true,
                Tok::Punct("(" | "[" | "{") | Tok::Hole => match self.scan_brackets(at) {
                    Some(after) => at = after,
                    None => return false,
                },
                Tok::Punct(")" | "]" | "}") | Tok::HoleEnd | Tok::End => return false,
                _ => at += 1,
            }
        }
    }

    /// Whether `name:` stands here, the key of a named argument or map entry.
    pub(super) fn at_key(&self) -> bool {
        matches!(self.peek(), Tok::Name(_)) && self.punct_ahead(1, ":")
    }

    /// Whether what stands here can be the first argument of a call without parentheses.
    pub(super) fn at_argument(&self) -> bool {
        match self.peek() {
            Tok::Name(word) => match word.as_str() {
                "new" | "this" | "super" | "true" | "false" | "null" => true,
                word => !reserved(word) || (self.at_key() && !matches!(word, "as" | "in" | "instanceof")),
            },
            Tok::Int(_)
            | Tok::Long(_)
            | Tok::Double(_)
            | Tok::Decimal(_)
            | Tok::Str(_)
            | Tok::GStart
            | Tok::Punct("~") => true,
            Tok::Punct("!") => !self.negated_operator(0),
            _ => false,
        }
    }
}

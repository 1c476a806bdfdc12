//! Label expressions: `linux && (docker || podman) && !slow`, `a -> b`, `a <-> b`, quoted names. Pure.

use pipeline::act::MAX_LABEL;

/// Deepest nesting of parentheses and negations.
const MAX_DEPTH: usize = 64;
/// A parsed expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Label {
    Name(String),
    Not(Box<Label>),
    And(Box<Label>, Box<Label>),
    Or(Box<Label>, Box<Label>),
    Implies(Box<Label>, Box<Label>),
    Same(Box<Label>, Box<Label>),
}

/// Why a text is no label expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the label expression “{text}” can't be read: {why}")]
pub struct LabelError {
    pub text: String,
    pub why: &'static str,
}

impl Label {
    pub fn parse(text: &str) -> Result<Label, LabelError> {
        let error = |why| LabelError { text: text.chars().take(200).collect(), why };
        if text.len() > MAX_LABEL {
            return Err(error("it has more than 2000 bytes"));
        }
        let tokens = tokens(text).map_err(error)?;
        let mut parser = Parser { tokens: &tokens, at: 0, depth: 0 };
        let label = parser.level(0).map_err(error)?;
        if parser.at < tokens.len() { Err(error("something is left over at the end")) } else { Ok(label) }
    }

    /// Whether a node with these labels (its own name among them) is meant.
    pub fn matches(&self, has: &dyn Fn(&str) -> bool) -> bool {
        match self {
            Label::Name(name) => has(name),
            Label::Not(inner) => !inner.matches(has),
            Label::And(a, b) => a.matches(has) && b.matches(has),
            Label::Or(a, b) => a.matches(has) || b.matches(has),
            Label::Implies(a, b) => !a.matches(has) || b.matches(has),
            Label::Same(a, b) => a.matches(has) == b.matches(has),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Name(String),
    Open,
    Close,
    Not,
    Binary(usize),
}

/// Loosest first.
const OPERATORS: [&str; 4] = ["<->", "->", "||", "&&"];

fn tokens(text: &str) -> Result<Vec<Token>, &'static str> {
    let mut rest = text.trim_start();
    let mut tokens = Vec::new();
    while let Some(first) = rest.chars().next() {
        if let Some(level) = OPERATORS.iter().position(|op| rest.starts_with(op)) {
            tokens.push(Token::Binary(level));
            rest = &rest[OPERATORS[level].len()..];
        } else if let Some(token) = [('(', Token::Open), (')', Token::Close), ('!', Token::Not)]
            .into_iter()
            .find_map(|(c, token)| (c == first).then_some(token))
        {
            tokens.push(token);
            rest = &rest[1..];
        } else if first == '"' {
            let end = rest[1..].find('"').ok_or("a quote is not closed")?;
            tokens.push(Token::Name(rest[1..=end].to_owned()));
            rest = &rest[end + 2..];
        } else {
            let stop = |(at, c): (usize, char)| {
                c.is_whitespace()
                    || "()!\"".contains(c)
                    || OPERATORS.iter().any(|op| rest[at..].starts_with(op))
            };
            let end = rest.char_indices().find(|c| stop(*c)).map_or(rest.len(), |(at, _)| at);
            if end == 0 {
                return Err("an operator is cut off");
            }
            tokens.push(Token::Name(rest[..end].to_owned()));
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    Ok(tokens)
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn level(&mut self, level: usize) -> Result<Label, &'static str> {
        if level == OPERATORS.len() {
            return self.one();
        }
        let mut left = self.level(level + 1)?;
        while self.tokens.get(self.at) == Some(&Token::Binary(level)) {
            self.at += 1;
            let right = Box::new(self.level(level + 1)?);
            let boxed = Box::new(left);
            left = match level {
                0 => Label::Same(boxed, right),
                1 => Label::Implies(boxed, right),
                2 => Label::Or(boxed, right),
                _ => Label::And(boxed, right),
            };
        }
        Ok(left)
    }

    fn one(&mut self) -> Result<Label, &'static str> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("it is nested too deep");
        }
        let token = self.tokens.get(self.at).ok_or("a name is missing")?;
        self.at += 1;
        let label = match token {
            Token::Name(name) => Label::Name(name.clone()),
            Token::Not => Label::Not(Box::new(self.one()?)),
            Token::Open => {
                let inner = self.level(0)?;
                if self.tokens.get(self.at) != Some(&Token::Close) {
                    return Err("a parenthesis is not closed");
                }
                self.at += 1;
                inner
            }
            Token::Close | Token::Binary(_) => return Err("a name is missing"),
        };
        self.depth -= 1;
        Ok(label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_means_what_jenkins_means() {
        let has = |name: &str| ["linux", "docker", "big box", "x86-64"].contains(&name);
        for (text, wanted) in [
            ("linux", true),
            ("windows", false),
            ("linux && docker", true),
            ("linux&&!docker", false),
            ("windows || docker && linux", true),
            ("(windows || docker) && mac", false),
            ("\"big box\"", true),
            ("x86-64", true),
            ("windows -> mac", true),
            ("linux -> mac", false),
            ("linux <-> docker", true),
            ("!!linux", true),
        ] {
            assert_eq!(Label::parse(text).unwrap().matches(&has), wanted, "{text}");
        }
    }

    #[test]
    fn rubbish_is_refused_with_a_sentence() {
        for text in [
            "",
            "a b",
            "a &&",
            "(a",
            "a)",
            "\"a",
            "&& a",
            "!",
            &"!".repeat(1000),
            &"(".repeat(1000),
            &"a&&".repeat(100_000),
        ] {
            assert!(Label::parse(text).is_err(), "{text}");
        }
    }
}

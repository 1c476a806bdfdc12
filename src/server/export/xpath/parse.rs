//! Reads expressions. Recursion is bounded; an expression is as long as a query may be.

use super::{End, Operand, Path, Step, Test};

/// Most steps in one path.
const MAX_STEPS: usize = 32;
/// Most tests in one expression.
const MAX_TESTS: usize = 32;
/// Deepest nesting of parentheses and `not(…)`.
const MAX_DEPTH: usize = 16;

/// `/a//b[…]/text()`
pub(super) fn absolute(expression: &str) -> Option<Path<'_>> {
    let mut reader = Reader { rest: expression.trim(), tests: 0 };
    let path = reader.path(true)?;
    (reader.rest.is_empty() && !path.steps.is_empty()).then_some(path)
}

struct Reader<'e> {
    rest: &'e str,
    tests: usize,
}

impl<'e> Reader<'e> {
    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// A word that is not the beginning of a longer one.
    fn word(&mut self, word: &str) -> bool {
        let after = self.rest.strip_prefix(word);
        let whole = |rest: &&str| !rest.starts_with(is_of_name);
        match after.filter(whole) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn name(&mut self) -> Option<&'e str> {
        if self.take("*") {
            return Some("*");
        }
        let end = self.rest.find(|c| !is_of_name(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at_checked(end)?;
        let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        self.rest = rest;
        begins.then_some(name)
    }

    /// A path from the root of the document, or from an element.
    fn path(&mut self, absolute: bool) -> Option<Path<'e>> {
        let mut steps: Vec<Step<'e>> = Vec::new();
        let mut begin = !absolute;
        loop {
            let deep = match () {
                // `.` is where we are; nothing, a slash or two may follow
                () if begin && self.take(".") => match (self.take("//"), self.take("/")) {
                    (true, _) => true,
                    (_, true) => false,
                    _ => return Some(Path { steps, end: End::Element }),
                },
                () if begin => false,
                () if self.take("//") => true,
                () if self.take("/") => false,
                () => return Some(Path { steps, end: End::Element }),
            };
            begin = false;
            if !deep && self.take("@") {
                return Some(Path { steps, end: End::Attribute(self.name()?) });
            }
            if !deep && self.take("text()") {
                return Some(Path { steps, end: End::Text });
            }
            let name = self.name()?;
            // a function that is not known
            if self.rest.starts_with('(') || steps.len() >= MAX_STEPS {
                return None;
            }
            let mut predicates = Vec::new();
            while absolute && self.take("[") {
                predicates.push(self.any(0)?);
                self.skip();
                if !self.take("]") {
                    return None;
                }
            }
            steps.push(Step { deep, name, predicates });
        }
    }

    fn any(&mut self, depth: usize) -> Option<Test<'e>> {
        if depth > MAX_DEPTH {
            return None;
        }
        let mut tests = vec![self.all(depth)?];
        loop {
            self.skip();
            if !self.word("or") {
                break;
            }
            tests.push(self.all(depth)?);
        }
        if tests.len() == 1 { tests.pop() } else { Some(Test::Any(tests)) }
    }

    fn all(&mut self, depth: usize) -> Option<Test<'e>> {
        let mut tests = vec![self.one(depth)?];
        loop {
            self.skip();
            if !self.word("and") {
                break;
            }
            tests.push(self.one(depth)?);
        }
        if tests.len() == 1 { tests.pop() } else { Some(Test::All(tests)) }
    }

    fn one(&mut self, depth: usize) -> Option<Test<'e>> {
        self.tests += 1;
        if self.tests > MAX_TESTS {
            return None;
        }
        self.skip();
        let negated = self.take("not(");
        if negated || self.take("(") {
            let inner = self.any(depth + 1)?;
            self.close()?;
            return Some(if negated { Test::Not(Box::new(inner)) } else { inner });
        }
        if self.take("contains(") {
            let (a, b) = self.two()?;
            return Some(Test::Contains(a, b));
        }
        if self.take("starts-with(") {
            let (a, b) = self.two()?;
            return Some(Test::Begins(a, b));
        }
        let left = self.operand()?;
        self.skip();
        if self.take("!=") {
            return Some(Test::Unequal(left, self.operand()?));
        }
        if self.take("=") {
            return Some(Test::Equal(left, self.operand()?));
        }
        Some(match left {
            Operand::Number(position) => Test::At(position),
            left => Test::Is(left),
        })
    }

    fn two(&mut self) -> Option<(Operand<'e>, Operand<'e>)> {
        let left = self.operand()?;
        self.skip();
        if !self.take(",") {
            return None;
        }
        let right = self.operand()?;
        self.close()?;
        Some((left, right))
    }

    fn close(&mut self) -> Option<()> {
        self.skip();
        self.take(")").then_some(())
    }

    fn operand(&mut self) -> Option<Operand<'e>> {
        self.skip();
        for quote in ["'", "\""] {
            if self.take(quote) {
                let (text, rest) = self.rest.split_once(quote)?;
                self.rest = rest;
                return Some(Operand::Literal(text));
            }
        }
        if self.rest.starts_with(|c: char| c.is_ascii_digit()) {
            let number = |c: char| c.is_ascii_digit() || c == '.';
            let end = self.rest.find(|c| !number(c)).unwrap_or(self.rest.len());
            let (digits, rest) = self.rest.split_at_checked(end)?;
            self.rest = rest;
            return digits.parse().ok().map(Operand::Number);
        }
        if self.take("position()") {
            return Some(Operand::Position);
        }
        if self.take("last()") {
            return Some(Operand::Last);
        }
        let path = self.path(false)?;
        Some(Operand::Path(path))
    }
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-.".contains(c)
}

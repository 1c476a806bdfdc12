//! The part of XPath 1.0 that clients use on exports: child and descendant steps with names or `*`, and `text()`.
//!
//! Predicates come with a later issue; whatever is not understood is refused with a sentence.

use super::xml::Element;

/// Most steps in one expression.
const MAX_STEPS: usize = 32;

/// What an expression has found.
#[derive(Debug, PartialEq)]
pub(crate) enum Found<'a> {
    Elements(Vec<&'a Element>),
    /// `text()`: the text of each element.
    Text(Vec<String>),
}

#[derive(Debug, PartialEq)]
enum Step<'a> {
    Child(&'a str),
    Descendant(&'a str),
}

/// `None`: the expression is not understood.
pub(crate) fn find<'a>(root: &'a Element, expression: &str) -> Option<Found<'a>> {
    let (path, text) = match expression.trim().strip_suffix("/text()") {
        Some(path) => (path, true),
        None => (expression.trim(), false),
    };
    let steps = steps(path)?;
    let mut found: Vec<&'a Element> = Vec::new();
    let mut among: Vec<&'a [Element]> = vec![std::slice::from_ref(root)];
    for step in &steps {
        let mut next = Vec::new();
        among.iter().for_each(|elements| step.take(elements, &mut next));
        let mut seen = std::collections::HashSet::new();
        next.retain(|e| seen.insert(std::ptr::from_ref(*e)));
        found = next;
        among = found.iter().map(|e| e.children.as_slice()).collect();
    }
    Some(if text { Found::Text(found.iter().map(|e| e.content()).collect()) } else { Found::Elements(found) })
}

impl Step<'_> {
    fn take<'a>(&self, elements: &'a [Element], into: &mut Vec<&'a Element>) {
        match self {
            Step::Child(name) => into.extend(elements.iter().filter(|e| matches(e, name))),
            Step::Descendant(name) => elements.iter().for_each(|e| descend(e, name, into)),
        }
    }
}

fn matches(element: &Element, name: &str) -> bool {
    name == "*" || element.name == name
}

fn descend<'a>(element: &'a Element, name: &str, into: &mut Vec<&'a Element>) {
    if matches(element, name) {
        into.push(element);
    }
    element.children.iter().for_each(|child| descend(child, name, into));
}

fn steps(path: &str) -> Option<Vec<Step<'_>>> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        let descendant = rest.starts_with("//");
        rest = rest.strip_prefix("//").or_else(|| rest.strip_prefix('/'))?;
        let end = rest.find('/').unwrap_or(rest.len());
        let (name, tail) = rest.split_at_checked(end)?;
        let legal = name == "*" || name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
        if name.is_empty() || !legal || steps.len() >= MAX_STEPS {
            return None;
        }
        steps.push(if descendant { Step::Descendant(name) } else { Step::Child(name) });
        rest = tail;
    }
    (!steps.is_empty()).then_some(steps)
}

//! The part of XPath 1.0 that clients use on exports: child and descendant steps with names or `*`, predicates, and
//! `text()`. What is not understood is refused with a sentence.

mod parse;

use std::collections::HashSet;

use super::xml::Element;

/// What an expression has found.
#[derive(Debug, PartialEq)]
pub(crate) enum Found<'a> {
    Elements(Vec<&'a Element>),
    /// `text()`: the text of each element.
    Text(Vec<String>),
}

/// A location path.
#[derive(Debug, PartialEq)]
struct Path<'e> {
    steps: Vec<Step<'e>>,
    end: End<'e>,
}

#[derive(Debug, PartialEq)]
struct Step<'e> {
    /// `//`, not `/`.
    deep: bool,
    /// A name, or `*`.
    name: &'e str,
    predicates: Vec<Test<'e>>,
}

/// What of the elements at the end of a path is meant.
#[derive(Debug, PartialEq, Clone, Copy)]
enum End<'e> {
    Element,
    Text,
    Attribute(&'e str),
}

/// What stands in `[…]`.
#[derive(Debug, PartialEq)]
enum Test<'e> {
    Any(Vec<Test<'e>>),
    All(Vec<Test<'e>>),
    Not(Box<Test<'e>>),
    /// A bare number: the position.
    At(f64),
    Equal(Operand<'e>, Operand<'e>),
    Unequal(Operand<'e>, Operand<'e>),
    Contains(Operand<'e>, Operand<'e>),
    Begins(Operand<'e>, Operand<'e>),
    /// There is such an element, text or attribute; or the text is not empty.
    Is(Operand<'e>),
}

#[derive(Debug, PartialEq)]
enum Operand<'e> {
    Literal(&'e str),
    Number(f64),
    Position,
    Last,
    /// From the element itself. Its steps have no predicates.
    Path(Path<'e>),
}

/// An element among those that a step has found in one parent.
struct Place<'a> {
    element: &'a Element,
    /// From 1.
    position: usize,
    last: usize,
}

/// `None`: the expression is not understood.
pub(crate) fn find<'a>(root: &'a Element, expression: &str) -> Option<Found<'a>> {
    let path = parse::absolute(expression)?;
    let found = walk(std::slice::from_ref(root), &path.steps);
    Some(match path.end {
        End::Element => Found::Elements(found),
        End::Text => Found::Text(found.iter().map(|e| e.content()).collect()),
        End::Attribute(name) => Found::Text(found.iter().filter_map(|e| attribute(e, name)).collect()),
    })
}

/// The document without what an expression finds. `None`: the expression is not understood.
pub(crate) fn exclude(root: Element, expression: &str) -> Option<Element> {
    let gone: HashSet<*const Element> = match find(&root, expression)? {
        Found::Elements(found) => found.into_iter().map(std::ptr::from_ref).collect(),
        Found::Text(_) => return None,
    };
    let kept = without(&root, &gone);
    Some(kept.unwrap_or(Element { children: Vec::new(), text: String::new(), ..root }))
}

fn without(element: &Element, gone: &HashSet<*const Element>) -> Option<Element> {
    if gone.contains(&std::ptr::from_ref(element)) {
        return None;
    }
    let children = element.children.iter().filter_map(|child| without(child, gone)).collect();
    let Element { name, class, text, children: _ } = element;
    Some(Element { name: name.clone(), class: *class, text: text.clone(), children })
}

/// Where the steps lead from a parent of `elements`, each once and in the order of the document.
fn walk<'a>(elements: &'a [Element], steps: &[Step<'_>]) -> Vec<&'a Element> {
    let mut among: Vec<&'a [Element]> = vec![elements];
    let mut found = Vec::new();
    for step in steps {
        if step.deep {
            let mut below = Vec::new();
            let mut seen = HashSet::new();
            among.iter().for_each(|elements| descend(elements, &mut seen, &mut below));
            among = below;
        }
        found = among.iter().flat_map(|elements| step.choose(elements)).collect();
        among = found.iter().map(|e| e.children.as_slice()).collect();
    }
    found
}

/// The lists of children in and below `elements`.
fn descend<'a>(elements: &'a [Element], seen: &mut HashSet<*const Element>, into: &mut Vec<&'a [Element]>) {
    if elements.is_empty() || !seen.insert(elements.as_ptr()) {
        return;
    }
    into.push(elements);
    elements.iter().for_each(|element| descend(&element.children, seen, into));
}

impl Step<'_> {
    fn choose<'a>(&self, elements: &'a [Element]) -> Vec<&'a Element> {
        let named = |e: &&Element| self.name == "*" || e.name == self.name;
        let mut chosen: Vec<&Element> = elements.iter().filter(named).collect();
        for test in &self.predicates {
            let last = chosen.len();
            let place = |(at, element)| Place { element, position: at + 1, last };
            let held = chosen.into_iter().enumerate().map(place).filter(|place| test.holds(place));
            chosen = held.map(|place| place.element).collect();
        }
        chosen
    }
}

impl Test<'_> {
    fn holds(&self, place: &Place<'_>) -> bool {
        match self {
            Test::Any(tests) => tests.iter().any(|test| test.holds(place)),
            Test::All(tests) => tests.iter().all(|test| test.holds(place)),
            Test::Not(test) => !test.holds(place),
            Test::At(position) => place.position as f64 == *position,
            Test::Equal(a, b) => pairs(a, b, place, same),
            Test::Unequal(a, b) => pairs(a, b, place, |a, b| !same(a, b)),
            Test::Contains(a, b) => first(a, place).contains(&first(b, place)),
            Test::Begins(a, b) => first(a, place).starts_with(&first(b, place)),
            Test::Is(Operand::Last) => place.position == place.last,
            Test::Is(Operand::Position) => true,
            Test::Is(Operand::Number(number)) => *number != 0.0,
            Test::Is(Operand::Literal(text)) => !text.is_empty(),
            Test::Is(operand @ Operand::Path(_)) => !operand.values(place).is_empty(),
        }
    }
}

impl Operand<'_> {
    fn values(&self, place: &Place<'_>) -> Vec<String> {
        match self {
            Operand::Literal(text) => vec![(*text).to_owned()],
            Operand::Number(number) => vec![number.to_string()],
            Operand::Position => vec![place.position.to_string()],
            Operand::Last => vec![place.last.to_string()],
            Operand::Path(Path { steps, end }) => {
                let found = match steps.as_slice() {
                    [] => vec![place.element],
                    steps => walk(&place.element.children, steps),
                };
                match end {
                    End::Element => found.iter().map(|e| e.content()).collect(),
                    End::Text => found.iter().map(|e| e.text.clone()).filter(|t| !t.is_empty()).collect(),
                    End::Attribute(name) => found.iter().filter_map(|e| attribute(e, name)).collect(),
                }
            }
        }
    }
}

/// As XPath compares lists: one pair is enough.
fn pairs(a: &Operand<'_>, b: &Operand<'_>, place: &Place<'_>, holds: fn(&str, &str) -> bool) -> bool {
    let right = b.values(place);
    a.values(place).iter().any(|a| right.iter().any(|b| holds(a, b)))
}

fn same(a: &str, b: &str) -> bool {
    a == b || matches!((a.parse::<f64>(), b.parse::<f64>()), (Ok(a), Ok(b)) if a == b)
}

fn first(operand: &Operand<'_>, place: &Place<'_>) -> String {
    operand.values(place).into_iter().next().unwrap_or_default()
}

fn attribute(element: &Element, name: &str) -> Option<String> {
    element.class.filter(|_| name == "_class" || name == "*").map(str::to_owned)
}

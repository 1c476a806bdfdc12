//! A small document tree of a `config.xml`, with the place of each element in the text.
//!
//! What Jenkins writes is accepted: XML 1.0 and 1.1 prologs, references to control characters, CDATA. What could harm
//! is refused with a sentence: document types, entities, more than [`MAX_BYTES`], deep nesting, huge element counts.

use std::ops::Range;

use model::short;
use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::events::{BytesRef, BytesStart, Event};

use crate::ConfigError;

/// Largest document.
pub(crate) const MAX_BYTES: usize = 4 * 1024 * 1024;
/// Deepest nesting of elements.
pub(crate) const MAX_DEPTH: usize = 100;
/// Most elements of one document.
pub(crate) const MAX_ELEMENTS: usize = 100_000;
const BYTE_ORDER_MARK: char = '\u{feff}';
/// Most attributes of one element.
pub(crate) const MAX_ATTRIBUTES: usize = 64;

/// One element. Its text is that of all its text nodes together, references resolved.
#[derive(Debug, Default)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) children: Vec<Element>,
    pub(crate) text: String,
    /// The whole element in the document, tags included.
    pub(crate) span: Range<usize>,
    /// What is between its tags; `None` for `<name/>`.
    pub(crate) inner: Option<Range<usize>>,
}

impl Element {
    /// The first child of that name.
    pub(crate) fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|c| c.name == name)
    }

    /// The element at the end of a path of first children.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&Element> {
        path.iter().try_fold(self, |element, name| element.child(name))
    }

    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Text of the child, `None` when there is no such child or it is empty.
    pub(crate) fn text_of(&self, name: &str) -> Option<String> {
        self.child(name).map(|c| c.text.clone()).filter(|text| !text.is_empty())
    }

    /// As `text_of`, without white space around it.
    pub(crate) fn word_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|c| c.text.trim()).filter(|text| !text.is_empty())
    }

    /// `true` as XStream reads it; `None` when there is no such child.
    pub(crate) fn flag_of(&self, name: &str) -> Option<bool> {
        self.child(name).map(|c| c.text.trim().eq_ignore_ascii_case("true"))
    }

    /// A whole number; `None` when there is no such child or it is empty.
    pub(crate) fn number_of(&self, name: &str) -> Result<Option<i64>, ConfigError> {
        let Some(word) = self.word_of(name) else { return Ok(None) };
        match word.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(ConfigError(format!("<{name}> is not a whole number: “{}”", short(word)))),
        }
    }

    /// Texts of all elements of that name below, in order.
    pub(crate) fn all_texts(&self, name: &str) -> Vec<String> {
        let mut found = Vec::new();
        for child in &self.children {
            if child.name == name {
                found.push(child.text.clone());
            } else {
                found.extend(child.all_texts(name));
            }
        }
        found
    }
}

/// Reads a document; the answer is its root.
pub(crate) fn parse(text: &str) -> Result<Element, ConfigError> {
    if text.len() > MAX_BYTES {
        let mib = MAX_BYTES / (1024 * 1024);
        return Err(ConfigError(format!("the configuration is larger than {mib} MiB")));
    }
    if text.trim_start_matches(BYTE_ORDER_MARK).trim().is_empty() {
        return Err(ConfigError::new("the configuration is empty"));
    }
    if let Some(at) = text.find('\0') {
        return Err(at_line(text, at, "a NUL character is not allowed"));
    }
    Parser::new(text).run()
}

fn at_line(text: &str, at: usize, what: &str) -> ConfigError {
    let before = text.as_bytes().get(..at.min(text.len())).unwrap_or_default();
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    ConfigError(format!("the XML is malformed at line {line}: {what}"))
}

struct Parser<'a> {
    text: &'a str,
    reader: Reader<&'a [u8]>,
    open: Vec<Element>,
    root: Option<Element>,
    elements: usize,
    /// Where the event at hand begins.
    from: usize,
    /// Bytes before what the reader sees: it does not count a byte order mark.
    skipped: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Parser<'a> {
        let seen = text.trim_start_matches(BYTE_ORDER_MARK);
        let skipped = text.len() - seen.len();
        let reader = Reader::from_str(seen);
        Parser { text, reader, open: Vec::new(), root: None, elements: 0, from: 0, skipped }
    }

    fn run(mut self) -> Result<Element, ConfigError> {
        loop {
            self.from = self.position();
            let event = match self.reader.read_event() {
                Ok(event) => event,
                Err(error) => {
                    let at = usize::try_from(self.reader.error_position()).unwrap_or(0);
                    return Err(at_line(self.text, self.skipped + at, &error.to_string()));
                }
            };
            match event {
                Event::Start(tag) => self.start(&tag)?,
                Event::Empty(tag) => {
                    self.start(&tag)?;
                    self.end(None)?;
                }
                Event::End(_) => self.end(Some(self.from))?,
                Event::Text(text) => self.append(&text.xml10_content())?,
                Event::CData(text) => self.append(&text.xml10_content())?,
                Event::GeneralRef(reference) => self.reference(&reference)?,
                Event::DocType(_) => {
                    return Err(self.refuse("a document type (DOCTYPE) and entities are not allowed"));
                }
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
                Event::Eof => return self.finish(),
            }
        }
    }

    fn position(&self) -> usize {
        self.skipped + usize::try_from(self.reader.buffer_position()).unwrap_or(0)
    }

    fn refuse(&self, what: &str) -> ConfigError {
        at_line(self.text, self.from, what)
    }

    fn start(&mut self, tag: &BytesStart<'_>) -> Result<(), ConfigError> {
        if self.root.is_some() {
            return Err(self.refuse("there is a second root element"));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(self.refuse(&format!("elements are nested deeper than {MAX_DEPTH}")));
        }
        self.elements += 1;
        if self.elements > MAX_ELEMENTS {
            return Err(self.refuse(&format!("there are more than {MAX_ELEMENTS} elements")));
        }
        let name = tag.name().as_ref().to_owned();
        if name.is_empty() {
            return Err(self.refuse("an element has no name"));
        }
        let mut element = Element { name, span: self.from..self.from, ..Element::default() };
        element.inner = Some(self.position()..self.position());
        for attribute in tag.attributes() {
            let attribute = attribute.map_err(|e| self.refuse(&e.to_string()))?;
            if element.attributes.len() >= MAX_ATTRIBUTES {
                return Err(self.refuse(&format!("an element has more than {MAX_ATTRIBUTES} attributes")));
            }
            let value = attribute
                .normalized_value(XmlVersion::Implicit1_0)
                .map_err(|e| self.refuse(&e.to_string()))?
                .into_owned();
            element.attributes.push((attribute.key.as_ref().to_owned(), value));
        }
        self.open.push(element);
        Ok(())
    }

    /// `close`: where the end tag begins; `None` for `<name/>`.
    fn end(&mut self, close: Option<usize>) -> Result<(), ConfigError> {
        let Some(mut element) = self.open.pop() else {
            return Err(self.refuse("an end tag has no start tag"));
        };
        element.span.end = self.position();
        element.inner = match (element.inner, close) {
            (Some(inner), Some(close)) => Some(inner.start..close),
            _ => None,
        };
        match self.open.last_mut() {
            Some(parent) => parent.children.push(element),
            None => self.root = Some(element),
        }
        Ok(())
    }

    fn append(&mut self, text: &str) -> Result<(), ConfigError> {
        match self.open.last_mut() {
            Some(element) => element.text.push_str(text),
            None if text.trim_start_matches(BYTE_ORDER_MARK).trim().is_empty() => {}
            None => return Err(self.refuse("there is text outside the root element")),
        }
        Ok(())
    }

    fn reference(&mut self, reference: &BytesRef<'_>) -> Result<(), ConfigError> {
        let name: &str = reference;
        let resolved = match reference.resolve_char_ref() {
            Ok(Some(c)) => c.to_string(),
            Ok(None) => match quick_xml::escape::resolve_xml_entity(name) {
                Some(text) => text.to_owned(),
                None => return Err(self.refuse(&format!("the entity &{}; is not known", short(name)))),
            },
            Err(_) => return Err(self.refuse(&format!("&{}; is not a character", short(name)))),
        };
        self.append(&resolved)
    }

    fn finish(self) -> Result<Element, ConfigError> {
        if let Some(open) = self.open.last() {
            let what = format!("<{}> is not closed", short(&open.name));
            return Err(at_line(self.text, open.span.start, &what));
        }
        match self.root {
            Some(root) => Ok(root),
            None => Err(at_line(self.text, self.from, "there is no element")),
        }
    }
}

/// `text` as element content: what a parser would not give back as it was is written as a reference.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            '\0' => out.push('\u{fffd}'),
            c if c.is_control() || c == '\u{2028}' => out.push_str(&format!("&#x{:x};", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn what_jenkins_writes_is_read() {
        let root = parse(
            "<?xml version='1.1' encoding='UTF-8'?>\n<!-- c --><a plugin=\"x@1.2\"><b>1 &lt;&#x1;&#65;</b><c/>\
             <b><![CDATA[<&>]]>\r\nend</b></a>\n",
        )
        .unwrap();
        assert_eq!(root.attribute("plugin"), Some("x@1.2"));
        assert_eq!(root.child("b").unwrap().text, "1 <\u{1}A");
        assert_eq!(root.children[2].text, "<&>\nend");
        assert!(root.child("c").unwrap().inner.is_none());
    }

    #[test]
    fn places_are_those_of_the_text() {
        let text = "\u{feff}<a>\n <b x='1'>é&amp;</b><c /></a>";
        let root = parse(text).unwrap();
        let b = root.child("b").unwrap();
        assert_eq!(&text[b.span.clone()], "<b x='1'>é&amp;</b>");
        assert_eq!(&text[b.inner.clone().unwrap()], "é&amp;");
        assert_eq!(&text[root.child("c").unwrap().span.clone()], "<c />");
    }

    #[test]
    fn malformed_xml_is_refused_with_its_line() {
        for (text, why) in [
            ("", "the configuration is empty"),
            (" \n", "the configuration is empty"),
            ("<a>\n<b>\n</a>", "line 3"),
            ("<a>\n<b>", "line 2: <b> is not closed"),
            ("<a/><b/>", "second root"),
            ("<a/>x", "text outside"),
            ("x<a/>", "text outside"),
            ("</a>", "line 1"),
            ("<a x=1/>", "line 1"),
            ("<a x='1' x='2'/>", "line 1"),
            ("<a>&nope;</a>", "the entity &nope; is not known"),
            ("<a>&#0;</a>", "&#0; is not a character"),
            ("<a>&#xd800;</a>", "is not a character"),
            ("<a>& b</a>", "line 1"),
            ("<a>\0</a>", "NUL"),
            ("<!-- only -->", "there is no element"),
            ("just text", "text outside"),
            ("<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>", "DOCTYPE"),
            ("<", "line 1"),
            ("< />", "line 1"),
        ] {
            let said = refusal(text);
            assert!(said.contains(why), "{text:?}: {said}");
        }
    }

    #[test]
    fn bombs_are_refused() {
        let deep = "<a>".repeat(10_000);
        assert!(refusal(&deep).contains("nested deeper than 100"));
        let wide = format!("<a>{}</a>", "<b/>".repeat(MAX_ELEMENTS));
        assert!(refusal(&wide).contains("more than 100000 elements"));
        let many: String = (0..65).map(|n| format!(" a{n}='1'")).collect();
        assert!(refusal(&format!("<a{many}/>")).contains("attributes"));
        let big = format!("<a>{}</a>", "x".repeat(MAX_BYTES));
        assert!(refusal(&big).contains("4 MiB"));
    }

    #[test]
    fn escaped_text_is_read_as_it_was() {
        let text = "a<b>&\"'\r\n\t\u{1}\u{85}\u{7f}é]]>\u{2028}";
        let root = parse(&format!("<a>{}</a>", escape(text))).unwrap();
        assert_eq!(root.text, text);
    }
}

//! Takes secrets out of what leaves the cluster: what is known to be one, and what looks like one. Pure. Rather too much goes than
//! too little: whoever reads a report can ask for a line, but nobody can take a password back.

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use regex::{Captures, Regex};
use serde_json::Value;

/// What stands in the place of a secret.
pub(crate) const HIDDEN: &str = "***";
/// Shorter values are in too many words to be looked for.
const SHORTEST: usize = 6;
/// A line of several is looked for only if it can't be a word of a file's form.
const SHORTEST_LINE: usize = 16;
/// What an annotation keeps of the object as somebody has written it, secrets and all.
const APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Keys of Secrets whose values are no secrets and are everywhere.
const OPEN: [&str; 12] = [
    "username",
    "user",
    "host",
    "port",
    "database",
    "dbname",
    "namespace",
    "type",
    "ca.crt",
    "tls.crt",
    "server",
    "name",
];

/// Part of names whose values are secrets.
const WORDS: &str = "passw(?:or)?d|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|account[_-]?key|private[_-]?key|\
                     master[_-]?key|agent[_-]?key|peer[_.-]?keys?|encryption[_.-]?keys?|credential|authorization|cookie";

pub(crate) struct Scrubber {
    known: Option<AhoCorasick>,
    word: Regex,
    block: Regex,
    pairs: Regex,
    hex: Regex,
    /// Each with what it becomes.
    looks: Vec<(Regex, &'static str)>,
}

impl Scrubber {
    /// `values` are key and value of Secrets.
    pub(crate) fn new(values: &[(String, Vec<u8>)]) -> Scrubber {
        let mut known: Vec<String> = values.iter().flat_map(|(key, value)| spellings(key, value)).collect();
        known.sort_unstable();
        known.dedup();
        let mut builder = AhoCorasick::builder();
        let search = builder.match_kind(MatchKind::LeftmostLongest).build(&known);
        let value = r#"(?:\\"(?:[^"\\]|\\[^"])*\\"|"(?:[^"\\]|\\.)*"|'[^']*'|(?:(?:bearer|basic) +)?[^\s,;&"'\\}\])]+)"#;
        Scrubber {
            // all that is not found by it is still found by its looks
            known: search.ok().filter(|_| !known.is_empty()),
            word: made(&format!("(?i){WORDS}")),
            block: made(&format!(
                r#"(?i)^([ \t]*)(?:- +)?["']?[A-Za-z0-9_.\-]*(?:{WORDS})[A-Za-z0-9_.\-]*["']?[ \t]*:[ \t]*[|>][0-9+\-]*[ \t]*\r?$"#
            )),
            pairs: made(&format!(
                r#"(?i)([A-Za-z0-9_.\-]*(?:{WORDS})[A-Za-z0-9_.\-]*\\?["']?[ \t]*[:=][ \t]*){value}"#
            )),
            hex: made(r"(sha256[:/-])?\b[0-9a-fA-F]{64}\b"),
            looks: vec![
                (
                    made(r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)"),
                    HIDDEN,
                ),
                // up to the last @ of the word: nobody has encoded the one in the password
                (made(r#"(?i)\b([a-z][a-z0-9+.\-]*://[^\s:/@"'<>]*):[^\s"]*@"#), "$1:***@"),
                (made(r#"(?i)\b([a-z][a-z0-9+.\-]*://)[^\s:/@"'<>]{16,}@"#), "$1***@"),
                (made(r"(?i)\b(bearer|basic)( +)[a-z0-9._~+/=\-]{8,}"), "$1$2***"),
                (made(r"\beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]+(?:\.[A-Za-z0-9_\-]*)?"), HIDDEN),
                // tokens of users
                (made(r"\b11[0-9a-f]{32}\b"), HIDDEN),
            ],
        }
    }

    pub(crate) fn text(&self, text: &str) -> String {
        let mut text = match &self.known {
            Some(known) => {
                let mut out = String::with_capacity(text.len());
                known.replace_all_with(text, &mut out, |_, _, out| {
                    out.push_str(HIDDEN);
                    true
                });
                out
            }
            None => text.to_owned(),
        };
        text = self.without_blocks(&text);
        for (look, instead) in &self.looks {
            text = look.replace_all(&text, *instead).into_owned();
        }
        text = self.pairs.replace_all(&text, "${1}***").into_owned();
        // the digest of an image is none
        let hex = self.hex.replace_all(&text, |found: &Captures<'_>| match found.get(1) {
            Some(_) => found[0].to_owned(),
            None => HIDDEN.to_owned(),
        });
        hex.into_owned()
    }

    /// YAML writes long values below their name, deeper indented.
    fn without_blocks(&self, text: &str) -> String {
        let mut kept = String::with_capacity(text.len());
        let mut below: Option<usize> = None;
        for line in text.split_inclusive('\n') {
            let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
            if below.is_some_and(|depth| indent > depth || line.trim().is_empty()) {
                continue;
            }
            below = None;
            if let Some(found) = self.block.captures(line.trim_end_matches('\n')) {
                below = found.get(1).map(|indent| indent.len());
                kept.push_str(line.split_once(':').map_or(line, |(name, _)| name));
                kept.push_str(": ***\n");
                continue;
            }
            kept.push_str(line);
        }
        kept
    }

    /// An object of Kubernetes.
    pub(crate) fn value(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.remove("managedFields");
                fields.remove(APPLIED);
                let named =
                    fields.get("name").and_then(Value::as_str).is_some_and(|name| self.word.is_match(name));
                for (name, value) in fields.iter_mut() {
                    let hides =
                        self.word.is_match(name) && name != "secretName" || (named && name == "value");
                    match value {
                        Value::String(text) if hides && !text.is_empty() => HIDDEN.clone_into(text),
                        Value::Number(_) if hides && name.to_lowercase().contains("pass") => {
                            *value = Value::from(HIDDEN);
                        }
                        Value::Array(items) if hides => {
                            for item in items {
                                match item {
                                    Value::String(text) => HIDDEN.clone_into(text),
                                    other => self.value(other),
                                }
                            }
                        }
                        other => self.value(other),
                    }
                }
            }
            Value::Array(items) => {
                let mut hides = false;
                for item in items {
                    let flag = item.as_str().is_some_and(|text| self.flag(text));
                    match item {
                        Value::String(text) if hides => HIDDEN.clone_into(text),
                        other => self.value(other),
                    }
                    hides = flag;
                }
            }
            Value::String(text) => *text = self.text(text),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// `--password`, whose value is the next argument.
    fn flag(&self, text: &str) -> bool {
        text.starts_with('-') && !text.contains(['=', ' ']) && self.word.is_match(text)
    }
}

fn made(pattern: &str) -> Regex {
    Regex::new(pattern).expect("patterns are constants, and each is used by a test")
}

/// The forms in which a value of a Secret may be met.
fn spellings(key: &str, value: &[u8]) -> Vec<String> {
    if OPEN.contains(&key.to_lowercase().as_str()) {
        return Vec::new();
    }
    let mut all = vec![STANDARD.encode(value), STANDARD_NO_PAD.encode(value)];
    let Ok(text) = std::str::from_utf8(value) else { return all };
    if let Ok(parsed) = serde_json::from_str(text) {
        within(&parsed, false, &mut all);
    }
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    for line in &lines {
        // `password: x`, in a file of such lines
        let word = line.rsplit_once([':', '=', ' ']).filter(|_| lines.len() > 1);
        let alone = lines.len() == 1 || (!line.contains(char::is_whitespace) && line.len() >= SHORTEST_LINE);
        all.extend(alone.then(|| (*line).to_owned()));
        if let Some((name, said)) = word
            && secret(name)
        {
            all.push(said.trim().trim_matches(['"', '\'']).to_owned());
        }
        let place = line.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@'));
        if let Some((_, password)) = place.and_then(|(user, _)| user.split_once(':')) {
            all.push(password.to_owned());
        }
    }
    let encoded: Vec<String> = all.iter().map(|text| percent_encoded(text)).collect();
    all.extend(encoded);
    all.push(text.trim().to_owned());
    all.retain(|text| text.len() >= SHORTEST);
    all
}

/// Whether what stands below such a name is one, in a file that is a Secret as a whole.
fn secret(name: &str) -> bool {
    let name = name.to_lowercase();
    ["pass", "token", "secret", "key", "auth"].iter().any(|word| name.contains(word))
}

/// The texts with such names in a file of JSON: credentials of registries and clouds.
fn within(value: &Value, named: bool, all: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| within(value, secret(name), all)),
        Value::Array(items) => items.iter().for_each(|item| within(item, named, all)),
        Value::String(text) if named => {
            let lines = text.lines().filter(|line| line.len() >= SHORTEST_LINE && !line.contains(' '));
            all.extend(lines.map(str::to_owned));
            all.push(text.clone());
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// As it stands in an address.
fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

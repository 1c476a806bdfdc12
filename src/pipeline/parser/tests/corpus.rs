//! Whole files: they are read, and what is left when they are cut or damaged makes nothing panic.

use crate::declarative;
use crate::parser::parse;

const CORPUS: [&str; 2] =
    [include_str!("corpus/declarative.jenkinsfile"), include_str!("corpus/scripted.jenkinsfile")];

/// A source goes through all of the front end; an error has to stand in it.
fn survive(source: &str) {
    let lines = source.split(['\n', '\r']).count() as u32;
    let errors = match parse(source) {
        Ok(script) => declarative::check(&script).err().unwrap_or_default(),
        Err(error) => vec![error],
    };
    for error in errors {
        assert!(error.line >= 1 && error.line <= lines && error.column >= 1, "{error} in\n{source}");
    }
}

/// Numbers that look random and are the same in every run.
struct Lcg(u64);

impl Lcg {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit.max(1)
    }
}

/// Bytes to text, as whoever fetched the file would do it.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn whole_files_are_read() {
    for source in CORPUS {
        let script = parse(source).unwrap_or_else(|error| panic!("{error}"));
        declarative::check(&script).unwrap_or_else(|errors| panic!("{errors:?}"));
    }
}

#[test]
fn every_prefix_and_suffix_is_survived() {
    for source in CORPUS {
        for (at, _) in source.char_indices() {
            survive(&source[..at]);
            if at % 7 == 0 {
                survive(&source[at..]);
            }
        }
    }
}

#[test]
fn damaged_files_are_survived() {
    const BITS: [&str; 28] = [
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        "\"",
        "'",
        "'''",
        "\"\"\"",
        "/",
        "$/",
        "/$",
        "${",
        "$x",
        "\\",
        "\n",
        "->",
        "?",
        ":",
        "*",
        ".",
        "@",
        "in",
        "def ",
        "1",
        "\\u00",
        "\u{1f600}",
    ];
    let mut random = Lcg(0x6d61_6a6f);
    for round in 0..3_000 {
        let mut bytes = CORPUS[round % CORPUS.len()].as_bytes().to_vec();
        let from = random.below(bytes.len());
        bytes = bytes[from..(from + 600).min(bytes.len())].to_vec();
        for _ in 0..=random.below(6) {
            let at = random.below(bytes.len());
            match random.below(4) {
                0 => bytes[at] = random.below(256) as u8,
                1 => drop(bytes.drain(at..(at + random.below(40)).min(bytes.len()))),
                2 => drop(bytes.splice(at..at, BITS[random.below(BITS.len())].bytes())),
                _ => {
                    let part = bytes[at..(at + random.below(80)).min(bytes.len())].to_vec();
                    let to = random.below(bytes.len());
                    drop(bytes.splice(to..to, part));
                }
            }
            if bytes.is_empty() {
                break;
            }
        }
        survive(&text(&bytes));
    }
}

#[test]
fn noise_is_survived() {
    let mut random = Lcg(7);
    for _ in 0..3_000 {
        let length = random.below(60);
        let bytes: Vec<u8> = (0..length)
            .map(|_| {
                if random.below(3) == 0 {
                    random.below(256) as u8
                } else {
                    b"{}()[]'\"/$\\.,:;?*->=!~@ab1 \n"[random.below(28)]
                }
            })
            .collect();
        survive(&text(&bytes));
    }
}

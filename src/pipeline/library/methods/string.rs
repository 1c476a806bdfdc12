//! Methods of texts. Positions count characters.

use std::sync::Arc;

use super::{Native, int, text};
use crate::library::regex::{Found, Regex};
use crate::vm::value::Value;
use crate::vm::{Fault, Vm, class, coerce, number_error};

/// What a call by plain name inside `with { }` may mean.
pub(super) const NAMES: &[&str] = &[
    "capitalize",
    "contains",
    "endsWith",
    "indexOf",
    "isEmpty",
    "length",
    "matches",
    "replace",
    "replaceAll",
    "reverse",
    "size",
    "split",
    "startsWith",
    "substring",
    "toInteger",
    "toLowerCase",
    "toUpperCase",
    "tokenize",
    "trim",
];

pub(super) fn call(vm: &mut Vm, me: &Arc<str>, name: &str, args: &[Value]) -> Native {
    vm.heap.work += me.len() as u64 / 64;
    if let Some(value) = plain(vm, me, name, args)? {
        return Ok(Some(value));
    }
    if let Some(value) = parts(vm, me, name, args)? {
        return Ok(Some(value));
    }
    if let Some(value) = matching(vm, me, name, args)? {
        return Ok(Some(value));
    }
    numbers(vm, me, name)
}

fn plain(vm: &mut Vm, me: &str, name: &str, args: &[Value]) -> Native {
    let arg = |at: usize| text(vm, args, at);
    Ok(Some(match name {
        "length" | "size" => Value::from(me.chars().count()),
        "isEmpty" => Value::Bool(me.is_empty()),
        "isBlank" | "isAllWhitespace" => Value::Bool(me.trim().is_empty()),
        "toUpperCase" => Value::from(me.to_uppercase()),
        "toLowerCase" => Value::from(me.to_lowercase()),
        "trim" | "strip" => Value::str(me.trim()),
        "stripLeading" => Value::str(me.trim_start()),
        "stripTrailing" => Value::str(me.trim_end()),
        "startsWith" => Value::Bool(me.starts_with(&arg(0))),
        "endsWith" => Value::Bool(me.ends_with(&arg(0))),
        "contains" => Value::Bool(me.contains(&arg(0))),
        "containsIgnoreCase" => Value::Bool(me.to_lowercase().contains(&arg(0).to_lowercase())),
        "equalsIgnoreCase" => Value::Bool(me.to_lowercase() == arg(0).to_lowercase()),
        "startsWithIgnoreCase" => Value::Bool(me.to_lowercase().starts_with(&arg(0).to_lowercase())),
        "compareTo" => Value::Int(distance(me, &arg(0))),
        "compareToIgnoreCase" => Value::Int(distance(&me.to_lowercase(), &arg(0).to_lowercase())),
        "concat" | "plus" => Value::from(format!("{me}{}", arg(0))),
        "minus" => Value::from(me.replacen(&arg(0), "", 1)),
        "multiply" => {
            let times = usize::try_from(int(args, 0, 0)).unwrap_or(0);
            vm.limit_text(me.len().saturating_mul(times))?;
            vm.heap.charge(me.len() * times);
            Value::from(me.repeat(times))
        }
        "repeat" => return plain(vm, me, "multiply", args),
        "replace" => {
            let (old, new) = (arg(0), arg(1));
            let grown = me.matches(old.as_str()).count().saturating_mul(new.len());
            vm.limit_text(me.len() + grown)?;
            vm.heap.charge(me.len() + grown);
            Value::from(me.replace(&old, &new))
        }
        "reverse" => Value::from(me.chars().rev().collect::<String>()),
        "capitalize" => Value::from(first(me, |c| c.to_uppercase().collect())),
        "uncapitalize" => Value::from(first(me, |c| c.to_lowercase().collect())),
        "hashCode" => {
            let hash = me.encode_utf16().fold(0i32, |h, c| h.wrapping_mul(31).wrapping_add(i32::from(c)));
            Value::Int(hash)
        }
        "count" => Value::from(me.matches(&arg(0)).count()),
        "padLeft" | "padRight" | "center" => return pad(vm, me, name, args),
        "toString" | "intern" | "toGString" => Value::str(me),
        "stripIndent" => Value::from(strip_indent(me)),
        "stripMargin" => {
            let lines = me.split('\n').map(|l| l.trim_start().strip_prefix('|').unwrap_or(l));
            Value::from(lines.collect::<Vec<_>>().join("\n"))
        }
        "normalize" | "denormalize" => Value::from(me.replace("\r\n", "\n").replace('\r', "\n")),
        "expand" => Value::from(me.replace('\t', "        ")),
        "getBytes" | "bytes" => {
            let bytes = me.bytes().map(|b| Value::Int(i32::from(b.cast_signed()))).collect();
            vm.heap.list(bytes)
        }
        "encodeBase64" => Value::from(base64(me.as_bytes())),
        "execute" => return Err(crate::library::classes::refused("String.execute()")),
        "format" | "formatted" => {
            let all: Vec<Value> = std::iter::once(Value::str(me)).chain(args.iter().cloned()).collect();
            return super::format(vm, &all).map(Some);
        }
        _ => return Ok(None),
    }))
}

/// What Java gives for a comparison: how far the first two letters that differ are apart, or the lengths.
fn distance(left: &str, right: &str) -> i32 {
    let pairs = left.encode_utf16().zip(right.encode_utf16());
    let letters = pairs.map(|(l, r)| i32::from(l) - i32::from(r)).find(|apart| *apart != 0);
    let length = |text: &str| i32::try_from(text.encode_utf16().count()).unwrap_or(i32::MAX);
    letters.unwrap_or_else(|| length(left) - length(right))
}

fn first(text: &str, change: impl Fn(char) -> String) -> String {
    let mut chars = text.chars();
    chars.next().map(|c| change(c) + chars.as_str()).unwrap_or_default()
}

fn pad(vm: &mut Vm, me: &str, name: &str, args: &[Value]) -> Native {
    let width = usize::try_from(int(args, 0, 0)).unwrap_or(0);
    let fill = args.get(1).map_or(" ".to_owned(), |v| vm.text(v));
    let len = me.chars().count();
    vm.limit_text(width.saturating_mul(4))?;
    vm.heap.charge(width);
    let missing = width.saturating_sub(len);
    let filled = |n: usize| fill.chars().cycle().take(n).collect::<String>();
    Ok(Some(Value::from(match name {
        "padLeft" => filled(missing) + me,
        "padRight" => me.to_owned() + &filled(missing),
        _ => filled(missing / 2) + me + &filled(missing - missing / 2),
    })))
}

fn strip_indent(text: &str) -> String {
    let filled = text.lines().filter(|l| !l.trim().is_empty());
    let least = filled.map(|l| l.len() - l.trim_start().len()).min().unwrap_or(0);
    let lines = text.split('\n').map(|l| l.get(least..).unwrap_or(l.trim_start()));
    lines.collect::<Vec<_>>().join("\n")
}

fn parts(vm: &mut Vm, me: &str, name: &str, args: &[Value]) -> Native {
    let len = i64::try_from(me.chars().count()).unwrap_or(0);
    let cut = |from: i64, to: i64| -> Value {
        let (from, to) = (usize::try_from(from.max(0)).unwrap_or(0), usize::try_from(to.max(0)).unwrap_or(0));
        Value::from(me.chars().skip(from).take(to.saturating_sub(from)).collect::<String>())
    };
    let found = |at: Option<usize>| at.map_or(Value::Int(-1), |at| Value::from(me[..at].chars().count()));
    let n = int(args, 0, 0);
    Ok(Some(match name {
        "substring" | "subSequence" => {
            let to = int(args, 1, len);
            if n < 0 || to > len || n > to {
                let message = format!("begin {n}, end {to}, length {len}");
                return Err(Fault::new(class::STRING_BOUNDS, message));
            }
            cut(n, to)
        }
        "take" => cut(0, n),
        "drop" => cut(n, len),
        "takeRight" => cut(len - n, len),
        "dropRight" => cut(0, len - n),
        "charAt" | "getAt" => {
            return vm.get_index(&Value::str(me), args.first().unwrap_or(&Value::Int(0))).map(Some);
        }
        "indexOf" => {
            let from = me
                .char_indices()
                .nth(usize::try_from(int(args, 1, 0)).unwrap_or(0))
                .map_or(me.len(), |c| c.0);
            found(me[from..].find(&text(vm, args, 0)).map(|at| at + from))
        }
        "lastIndexOf" => {
            let what = text(vm, args, 0);
            let last = usize::try_from(int(args, 1, len)).ok();
            let to =
                last.map_or(0, |last| me.char_indices().nth(last).map_or(me.len(), |c| c.0 + what.len()));
            let to = (to.min(me.len())..=me.len()).find(|to| me.is_char_boundary(*to)).unwrap_or(me.len());
            found(last.and_then(|_| me[..to].rfind(&what)))
        }
        "takeBefore" | "takeAfter" => {
            let split = me.split_once(&text(vm, args, 0));
            Value::str(split.map_or("", |s| if name == "takeBefore" { s.0 } else { s.1 }))
        }
        "removePrefix" | "removeStart" => {
            let prefix = text(vm, args, 0);
            Value::str(me.strip_prefix(prefix.as_str()).unwrap_or(me))
        }
        "removeSuffix" | "removeEnd" => {
            let suffix = text(vm, args, 0);
            Value::str(me.strip_suffix(suffix.as_str()).unwrap_or(me))
        }
        "toList" | "toCharArray" | "chars" | "getChars" | "toSet" => {
            let chars = vm.items(&Value::str(me))?;
            if name == "toSet" { vm.set_of(chars) } else { vm.heap.list(chars) }
        }
        "readLines" | "lines" => texts(vm, me.lines()),
        "tokenize" => {
            let separators = args.first().map_or(" \t\n\r\u{c}".to_owned(), |v| vm.text(v));
            texts(vm, me.split(|c| separators.contains(c)).filter(|t| !t.is_empty()))
        }
        "split" => return split(vm, me, args),
        _ => return Ok(None),
    }))
}

fn texts<'t>(vm: &mut Vm, parts: impl Iterator<Item = &'t str>) -> Value {
    let items: Vec<Value> = parts.map(Value::str).collect();
    vm.heap.charge(items.len() * 24);
    vm.heap.list(items)
}

fn split(vm: &mut Vm, me: &str, args: &[Value]) -> Native {
    let Some(pattern) = args.first() else {
        return Ok(Some(texts(vm, me.split_whitespace())));
    };
    let regex = vm.regex(pattern)?;
    let limit = int(args, 1, 0);
    let mut parts = Vec::new();
    let mut last = 0;
    for found in regex.all(me, &mut vm.heap.work)? {
        if limit > 0 && parts.len() + 1 >= usize::try_from(limit).unwrap_or(usize::MAX) {
            break;
        }
        if found.end() == 0 || found.end() == found.start() && found.start() >= me.len() {
            continue;
        }
        parts.push(&me[last..found.start()]);
        last = found.end();
    }
    parts.push(&me[last..]);
    if limit == 0 {
        while parts.len() > 1 && parts.last().is_some_and(|p| p.is_empty()) {
            parts.pop();
        }
    }
    Ok(Some(texts(vm, parts.into_iter())))
}

fn matching(vm: &mut Vm, me: &Arc<str>, name: &str, args: &[Value]) -> Native {
    if !matches!(name, "matches" | "replaceAll" | "replaceFirst" | "find" | "findAll" | "eachMatch")
        || args.is_empty()
    {
        return Ok(None);
    }
    let regex = vm.regex(&args[0])?;
    Ok(Some(match name {
        "matches" => Value::Bool(regex.whole(me, &mut vm.heap.work)?.is_some()),
        "replaceAll" | "replaceFirst" => {
            let with = text(vm, args, 1);
            let mut all = regex.all(me, &mut vm.heap.work)?;
            if name == "replaceFirst" {
                all.truncate(1);
            }
            let replaced = replace(vm, &regex, me, &all, &with)?;
            vm.heap.charge(replaced.len());
            Value::from(replaced)
        }
        "find" => match regex.find(me, 0, &mut vm.heap.work)? {
            Some(found) => Value::str(&me[found.start()..found.end()]),
            None => Value::Null,
        },
        _ => {
            let found = regex.all(me, &mut vm.heap.work)?;
            let items = found.iter().map(|f| Value::str(&me[f.start()..f.end()])).collect();
            vm.heap.list(items)
        }
    }))
}

pub(super) fn replace(
    vm: &Vm,
    regex: &Regex,
    text: &str,
    all: &[Found],
    with: &str,
) -> Result<String, Fault> {
    let mut out = String::new();
    let mut last = 0;
    for found in all {
        out.push_str(&text[last..found.start()]);
        insert(regex, text, found, with, &mut out)?;
        last = found.end();
        vm.limit_text(out.len())?;
    }
    out.push_str(&text[last..]);
    Ok(out)
}

/// `$1`, `${name}` and `\` in what is put in.
fn insert(regex: &Regex, text: &str, found: &Found, with: &str, out: &mut String) -> Result<(), Fault> {
    let mut chars = with.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            '$' => {
                let group = if chars.peek() == Some(&'{') {
                    chars.next();
                    let name: String = chars.by_ref().take_while(|c| *c != '}').collect();
                    regex.names.iter().find(|n| n.0 == name).map(|n| n.1)
                } else {
                    let mut group = None;
                    while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
                        let next = group.unwrap_or(0) * 10 + digit as usize;
                        if group.is_some() && next > regex.groups {
                            break;
                        }
                        group = Some(next);
                        chars.next();
                    }
                    group
                };
                let group = group.and_then(|g| found.groups.get(g));
                let Some(group) = group else {
                    return Err(Fault::argument("Illegal group reference"));
                };
                out.push_str(group.map_or("", |(from, to)| &text[from..to]));
            }
            c => out.push(c),
        }
    }
    Ok(())
}

fn numbers(vm: &mut Vm, me: &str, name: &str) -> Native {
    let bare = me.trim();
    Ok(Some(match name {
        "isInteger" => Value::Bool(coerce::parsed(me, 10, "int").is_ok()),
        "isLong" => Value::Bool(coerce::parsed(me, 10, "long").is_ok()),
        "isBigInteger" => Value::Bool(coerce::parsed(me, 10, "BigInteger").is_ok()),
        "isNumber" | "isDouble" | "isFloat" | "isBigDecimal" => {
            Value::Bool(bare.parse::<f64>().is_ok_and(f64::is_finite))
        }
        "toInteger" => coerce::parsed(me, 10, "int")?,
        "toLong" => coerce::parsed(me, 10, "long")?,
        "toBigInteger" => coerce::parsed(me, 10, "BigInteger")?,
        "toShort" => coerce::parsed(me, 10, "short")?,
        "toDouble" | "toFloat" => Value::Double(bare.parse().map_err(|_| number_error(me))?),
        "toBigDecimal" => return vm.cast(Value::str(me), "BigDecimal").map(Some),
        "toBoolean" => Value::Bool(matches!(bare.to_lowercase().as_str(), "true" | "y" | "1")),
        "asBoolean" => Value::Bool(!me.is_empty()),
        "next" | "previous" => {
            let by = if name == "next" { 1 } else { u32::MAX };
            let mut chars: Vec<char> = me.chars().collect();
            if let Some(last) = chars.last_mut() {
                *last = char::from_u32((*last as u32).wrapping_add(by)).unwrap_or(*last);
            }
            Value::from(chars.into_iter().collect::<String>())
        }
        "codePointAt" => Value::Int(me.chars().next().map_or(0, |c| (c as u32).cast_signed())),
        "eachLine" => Value::Null,
        "decodeBase64" => match decode(me) {
            Some(text) => Value::from(text),
            None => return Err(Fault::argument("the text is not Base64")),
        },
        "toURL" | "toURI" | "toFile" => {
            return Err(crate::library::classes::refused(&format!("String.{name}()")));
        }
        _ => return Ok(None),
    }))
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub(super) fn base64(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |w, b| w << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let digit = (word >> (18 - 6 * at)) & 63;
            out.push(if at <= chunk.len() { char::from(ALPHABET[digit as usize]) } else { '=' });
        }
    }
    out
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let (mut word, mut bits) = (0u32, 0);
    for c in text.bytes().filter(|b| !b.is_ascii_whitespace() && *b != b'=') {
        word = word << 6 | u32::try_from(ALPHABET.iter().position(|a| *a == c)?).ok()?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((word >> bits) & 255).ok()?);
        }
        word &= (1 << bits) - 1;
    }
    String::from_utf8(bytes).ok()
}

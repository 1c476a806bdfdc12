//! What Kubernetes takes for names and values of labels.

/// `example.com/name`, or without what is before the slash.
pub(super) fn name(text: &str) -> bool {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    !name.is_empty() && value(name) && prefix.is_none_or(domain)
}

pub(super) fn value(text: &str) -> bool {
    let end = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && end(bytes.first())
        && end(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

fn domain(text: &str) -> bool {
    let part = |part: &str| {
        let small = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = part.as_bytes();
        bytes.first().is_some_and(small)
            && bytes.last().is_some_and(small)
            && bytes.iter().all(|byte| small(byte) || *byte == b'-')
    };
    text.len() <= 253 && text.split('.').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_of_labels_are_as_kubernetes_takes_them() {
        for text in ["a", "A.b_c-9", "example.com/a", "a-b.example.com/x"] {
            assert!(name(text), "{text}");
        }
        let long = "a".repeat(64);
        for text in ["", "-a", "a.", "a b", "/a", "Example.com/a", "a/b/c", "example..com/a", "ä", &long] {
            assert!(!name(text), "{text}");
        }
        assert!(value("") && value("1.2") && value(&long[..63]));
        assert!(!value(&long) && !value("a/b") && !value("_"));
    }
}

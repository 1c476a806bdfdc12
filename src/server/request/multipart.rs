//! Text fields of `multipart/form-data`. Files are skipped: no parameter of ours takes one.

use super::Params;
use crate::error::Error;

/// The fields of a body with this `Content-Type`.
pub(super) fn parse(content_type: &str, body: &[u8]) -> Result<Params, Error> {
    let broken = || Error::bad("the multipart form can't be read");
    let boundary = attribute(content_type, "boundary").ok_or_else(broken)?;
    if boundary.is_empty() || boundary.len() > 200 {
        return Err(broken());
    }
    let delimiter = format!("--{boundary}");
    let mut params = Params::default();
    let mut rest = after(body, delimiter.as_bytes()).ok_or_else(broken)?;
    let next = format!("\r\n{delimiter}");
    while !rest.starts_with(b"--") {
        let end = find(rest, next.as_bytes()).ok_or_else(broken)?;
        let (part, tail) = rest.split_at_checked(end).ok_or_else(broken)?;
        if let Some((name, value)) = field(part)? {
            params.push(name, value)?;
        }
        rest = tail.get(next.len()..).ok_or_else(broken)?;
    }
    Ok(params)
}

/// Name and text of a part, unless it is a file.
fn field(part: &[u8]) -> Result<Option<(String, String)>, Error> {
    let foreign = |_| Error::bad("a parameter is not in UTF-8");
    let Some((head, content)) = find(part, b"\r\n\r\n").and_then(|end| part.split_at_checked(end)) else {
        return Ok(None);
    };
    // the name of a file may be in any encoding: files are skipped
    let lossy = String::from_utf8_lossy(head);
    let is_disposition = |line: &&str| line.to_ascii_lowercase().starts_with("content-disposition:");
    let Some(disposition) = lossy.lines().find(is_disposition) else { return Ok(None) };
    if attribute(disposition, "filename").is_some() {
        return Ok(None);
    }
    let Some(name) = attribute(disposition, "name") else { return Ok(None) };
    std::str::from_utf8(head).map_err(foreign)?;
    let value = std::str::from_utf8(content.get(4..).unwrap_or_default()).map_err(foreign)?;
    Ok(Some((name, value.to_owned())))
}

/// `key="value"` or `key=value` after a `;`.
fn attribute(text: &str, key: &str) -> Option<String> {
    text.split(';').skip(1).find_map(|piece| {
        let (name, value) = piece.trim().split_once('=')?;
        name.trim().eq_ignore_ascii_case(key).then(|| value.trim().trim_matches('"').to_owned())
    })
}

fn after<'a>(bytes: &'a [u8], what: &[u8]) -> Option<&'a [u8]> {
    bytes.get(find(bytes, what)? + what.len()..)
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|w| w == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=\"xx\"";

    #[test]
    fn text_fields_are_read_and_files_skipped() {
        let body = "--xx\r\nContent-Disposition: form-data; name=\"A\"\r\n\r\n1\r\n2\r\n\
                    --xx\r\ncontent-disposition: form-data; name=f; filename=\"f\"\r\n\r\nbytes\r\n\
                    --xx\r\nContent-Disposition: form-data; name=B\r\nContent-Type: text/plain\r\n\r\n\r\n--xx--\r\n";
        let params = parse(TYPE, body.as_bytes()).unwrap();
        assert_eq!(params.iter().collect::<Vec<_>>(), [("A", "1\r\n2"), ("B", "")]);
    }

    #[test]
    fn a_broken_form_is_refused() {
        for body in
            ["", "--xx", "--xx\r\n\r\n", "--yy--", "--xx\r\nContent-Disposition: form-data; name=A\r\n\r\n1"]
        {
            assert!(parse(TYPE, body.as_bytes()).is_err(), "{body}");
        }
        assert!(parse("multipart/form-data", b"--xx--").is_err());
        let foreign = b"--xx\r\nContent-Disposition: form-data; name=A\r\n\r\n\xff\r\n--xx--";
        assert_eq!(parse(TYPE, foreign).unwrap_err().to_string(), "a parameter is not in UTF-8");
    }
}

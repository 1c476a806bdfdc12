//! Logs of builds, by offset. What was served once never changes, from any replica.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{TryStreamExt, stream};
use http::{HeaderName, HeaderValue, header};
use model::{BuildId, JobName};
use store::{LogSlice, Store, Which};

use crate::act::builds::found;
use crate::error::Error;
use crate::look::Look;
use crate::patience::again;
use crate::reply::{self, Reply};
use crate::request::Asked;

/// Bytes of one read.
const PIECE: usize = 256 * 1024;

/// `consoleText`: all that is committed now, byte for byte.
pub(crate) async fn console_text(look: &Look<'_>, name: &JobName, which: Which) -> Reply {
    let build = found(look, name, which).await?;
    let end = slice(look.store().as_ref(), build.id, 0, 0).await?.end;
    let mut response = reply::text(body(look, build.id, 0, end, Bytes::from));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(end));
    Ok(response)
}

/// `logText/progressiveText` and `…Html`: what comes after `start`. Lines end as Jenkins sends them there, with CR LF;
/// offsets count the bytes of the log itself.
pub(crate) async fn progressive(
    look: &Look<'_>,
    asked: &Asked,
    name: &JobName,
    which: Which,
    html: bool,
) -> Reply {
    let build = found(look, name, which).await?;
    let start = match asked.param("start") {
        None | Some("") => 0,
        Some(text) => text.parse::<i64>().map_err(|_| Error::bad("start is not a number"))?.max(0) as u64,
    };
    let now = slice(look.store().as_ref(), build.id, 0, 0).await?;
    let start = if start > now.end { 0 } else { start };
    let mut after_return = false;
    let change = move |bytes: Vec<u8>| {
        let text = crlf(&bytes, &mut after_return);
        Bytes::from(if html { escaped(&text) } else { text })
    };
    let body = body(look, build.id, start, now.end, change);
    let mut response = if html { reply::typed(body, "text/html;charset=utf-8") } else { reply::text(body) };
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("x-text-size"), HeaderValue::from(now.end));
    if now.building {
        headers.insert(HeaderName::from_static("x-more-data"), HeaderValue::from_static("true"));
    }
    Ok(response)
}

async fn slice(store: &dyn Store, build: BuildId, from: u64, max: usize) -> Result<LogSlice, Error> {
    let slice = store.log(build, from, max).await?;
    slice.ok_or_else(|| Error::missing("the build was deleted"))
}

/// Streams the log's bytes from `from` to `end`, changed piece by piece.
fn body(
    look: &Look<'_>,
    build: BuildId,
    from: u64,
    end: u64,
    change: impl FnMut(Vec<u8>) -> Bytes + Send + 'static,
) -> Body {
    // an answer to HEAD never reads this, and an empty one would claim that its length is known to be 0
    if from >= end {
        return Body::empty();
    }
    let store = Arc::clone(look.store());
    let (patience, counted) = (look.app.settings.patience, Arc::clone(&look.app.counted));
    let pieces = stream::try_unfold(from, move |at| {
        let (store, counted) = (Arc::clone(&store), Arc::clone(&counted));
        async move {
            if at >= end {
                return Ok(None);
            }
            let max = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
            let slice = again(patience, || slice(store.as_ref(), build, at, max)).await?;
            if slice.bytes.is_empty() {
                return Err(Error::missing("the log ends before its end"));
            }
            counted.served.inc_by(slice.bytes.len() as u64);
            let next = at + slice.bytes.len() as u64;
            Ok(Some((slice.bytes, next)))
        }
    });
    Body::from_stream(pieces.map_ok(change))
}

/// Line ends become CR LF; `after_return` says whether the byte before was a CR.
fn crlf(bytes: &[u8], after_return: &mut bool) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len() + bytes.len() / 16);
    for byte in bytes {
        if *byte == b'\n' && !*after_return {
            text.push(b'\r');
        }
        text.push(*byte);
        *after_return = *byte == b'\r';
    }
    text
}

fn escaped(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'<' => text.extend_from_slice(b"&lt;"),
            b'>' => text.extend_from_slice(b"&gt;"),
            b'&' => text.extend_from_slice(b"&amp;"),
            byte => text.push(*byte),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_are_changed_across_pieces() {
        let mut after = false;
        let mut text = crlf(b"a\nb\r", &mut after);
        text.extend(crlf(b"\nc\n\n", &mut after));
        assert_eq!(text, b"a\r\nb\r\nc\r\n\r\n");
        assert_eq!(escaped(b"<a&b>"), b"&lt;a&amp;b&gt;");
    }
}

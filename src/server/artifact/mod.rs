//! Files that builds have archived, and the lists of them.

pub(crate) mod archive;

use std::sync::Arc;

use axum::body::Body;
use futures_util::stream;
use http::{HeaderName, HeaderValue, Method, header};
use model::JobName;
use store::{Artifact, Which};

use crate::act::builds::found;
use crate::error::Error;
use crate::look::Look;
use crate::pages;
use crate::reply::{self, Reply};
use crate::request::Asked;

/// Bytes of one read.
const PIECE: usize = 256 * 1024;
/// Most files of one list.
const LISTED: u32 = 1_000;
/// Files come from builds, which are not trusted: a browser runs nothing in them and knows nobody there.
const CSP: &str = "sandbox; default-src 'none'; img-src 'self'; style-src 'self'";

pub(crate) async fn serve(look: &Look<'_>, asked: &Asked, name: &JobName, which: Which, path: &str) -> Reply {
    let build = found(look, name, which).await?;
    if let Some(artifact) = look.store().artifact(build.id, path).await? {
        return Ok(file(look, asked, artifact));
    }
    let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
    let after = Some(prefix.as_str()).filter(|p| !p.is_empty());
    let mut files = look.store().artifacts(build.id, after, LISTED).await?;
    files.retain(|f| f.path.starts_with(&prefix));
    if files.is_empty() && !path.is_empty() {
        return Err(Error::missing(format!("{name} #{} has no artifact {path}", build.number)));
    }
    Ok(reply::html(pages::artifacts(look, &build, path, &files)))
}

fn file(look: &Look<'_>, asked: &Asked, artifact: Artifact) -> http::Response<Body> {
    let size = artifact.size;
    let body = if asked.method == Method::HEAD { Body::empty() } else { content(look, &artifact) };
    let mut response = reply::typed(body, content_type(&artifact.path));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    headers.insert(HeaderName::from_static("content-security-policy"), HeaderValue::from_static(CSP));
    response
}

fn content(look: &Look<'_>, artifact: &Artifact) -> Body {
    let objects = look.store().objects();
    let (key, size) = (artifact.object.clone(), artifact.size);
    Body::from_stream(stream::try_unfold(0, move |at| {
        let (objects, key) = (Arc::clone(&objects), key.clone());
        async move {
            if at >= size {
                return Ok(None);
            }
            let max = usize::try_from(size - at).unwrap_or(PIECE).min(PIECE);
            let gone = || Error::missing("the file ends before its end");
            let bytes = objects.get(&key, at, max).await?.ok_or_else(gone)?;
            if bytes.is_empty() {
                return Err(gone());
            }
            let next = at + bytes.len() as u64;
            Ok(Some((bytes, next)))
        }
    }))
}

fn content_type(path: &str) -> &'static str {
    let end = path.rsplit_once('.').map(|(_, end)| end.to_ascii_lowercase());
    match end.as_deref().unwrap_or_default() {
        "txt" | "log" | "md" | "csv" | "yaml" | "yml" | "sh" => "text/plain;charset=utf-8",
        "html" | "htm" => "text/html;charset=utf-8",
        "json" => "application/json",
        "xml" => "application/xml",
        "css" => "text/css",
        "js" => "text/javascript",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "svg" => "image/svg+xml",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "gz" | "tgz" => "application/gzip",
        "jar" => "application/java-archive",
        _ => "application/octet-stream",
    }
}

//! Pieces of pages. Whatever comes from outside goes through [`escape`].

use std::fmt::Write;

use http::StatusCode;

/// Text as it may stand in an element or in a quoted attribute.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() && c != '\n' && c != '\t' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// `<a href=…>text</a>`, both escaped.
pub(crate) fn link(href: &str, text: &str) -> String {
    format!("<a href=\"{}\">{}</a>", escape(href), escape(text))
}

/// A button that posts to `action`.
pub(crate) fn button(action: &str, text: &str) -> String {
    format!("<form method=\"post\" action=\"{}\"><button>{}</button></form>", escape(action), escape(text))
}

/// A table; cells are HTML, heads are text.
pub(crate) fn table(id: &str, heads: &[&str], rows: &[Vec<String>], none: &str) -> String {
    let mut out = format!("<div class=\"scroll\"><table id=\"{id}\"><thead><tr>");
    for head in heads {
        let _ = write!(out, "<th scope=\"col\">{}</th>", escape(head));
    }
    out.push_str("</tr></thead><tbody>");
    for row in rows {
        out.push_str("<tr>");
        for cell in row {
            let _ = write!(out, "<td>{cell}</td>");
        }
        out.push_str("</tr>");
    }
    if rows.is_empty() {
        let _ = write!(out, "<tr><td colspan=\"{}\">{}</td></tr>", heads.len(), escape(none));
    }
    out.push_str("</tbody></table></div>");
    out
}

/// A colored mark with its word: color alone tells nobody who can't see it.
pub(crate) fn mark(kind: &str, word: &str) -> String {
    format!("<span class=\"mark {}\">{}</span>", escape(kind), escape(word))
}

/// A whole page. `base` is the path of the controller's root; `trail` the way to the page as (address, text).
pub(crate) fn page(base: &str, title: &str, trail: &[(String, String)], content: &str) -> String {
    let base = escape(base);
    let title = escape(title);
    let mut way = format!("<a href=\"{base}\">Majordomo</a>");
    for (address, text) in trail {
        let _ = write!(way, " <span aria-hidden=\"true\">›</span> {}", link(address, text));
    }
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>{title} – Majordomo</title>\
         <link rel=\"icon\" href=\"{base}static/favicon.svg\">\
         <link rel=\"stylesheet\" href=\"{base}static/main.css\">\
         <script src=\"{base}static/main.js\" defer></script></head>\
         <body data-base=\"{base}\"><header><nav aria-label=\"Where you are\">{way}</nav>\
         <nav aria-label=\"Controller\"><a href=\"{base}computer/\">Nodes</a> <a href=\"{base}queue/\">Queue</a> \
         <a href=\"{base}replicas/\">Replicas</a></nav></header><main><h1>{title}</h1>{content}</main></body></html>"
    )
}

/// The page of an error. Stands alone: it may be shown to anybody.
pub(crate) fn error_page(status: StatusCode, sentence: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{0}</title></head>\
         <body><h1>{0}</h1><p>{1}</p></body></html>",
        escape(&status.to_string()),
        escape(sentence)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_becomes_markup() {
        let evil = "\"><script>alert('x')</script>\u{1b}";
        for html in [link(evil, evil), button(evil, evil), mark(evil, evil), error_page(StatusCode::OK, evil)]
        {
            assert!(!html.contains("<script>alert"), "{html}");
            assert!(!html.contains("\"><s"), "{html}");
            assert!(!html.contains('\u{1b}'));
        }
    }
}

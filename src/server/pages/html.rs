//! Pieces of pages. Whatever comes from outside goes through [`escape`].

use std::fmt::Write;

use http::StatusCode;
use security::Identity;

use crate::request::segment;
use crate::session::CRUMB_FIELD;

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

/// What the pages for one request have in common: where the controller is, who looks, and what proves that a form is ours.
#[derive(Clone)]
pub(crate) struct Frame {
    /// Path of the controller's root.
    base: String,
    /// Address and full name of who has signed in.
    user: Option<(String, String)>,
    /// Who asks is an administrator.
    pub(crate) admin: bool,
    crumb: Option<String>,
    /// Why no build begins.
    pub(crate) quiet: Option<String>,
}

impl Frame {
    pub(crate) fn new(base: &str, user: Option<&Identity>, crumb: Option<String>) -> Frame {
        let of = |user: &Identity| (format!("{base}user/{}/", segment(&user.id)), user.full_name.clone());
        let admin = user.is_some_and(|user| user.admin);
        Frame { base: base.to_owned(), user: user.map(of), admin, crumb, quiet: None }
    }

    /// Whether the one who looks has signed in: only then something can be done.
    pub(crate) fn signed_in(&self) -> bool {
        self.user.is_some()
    }

    /// The hidden field of a form.
    pub(crate) fn crumb(&self) -> String {
        match &self.crumb {
            Some(crumb) => {
                format!("<input type=\"hidden\" name=\"{CRUMB_FIELD}\" value=\"{}\">", escape(crumb))
            }
            None => String::new(),
        }
    }

    /// A form that posts its fields (HTML) to `action`.
    pub(crate) fn form(&self, action: &str, fields: &str, button: &str) -> String {
        format!(
            "<form class=\"parameters\" method=\"post\" action=\"{}\">{}{fields}<button>{}</button></form>",
            escape(action),
            self.crumb(),
            escape(button)
        )
    }

    /// A button that posts to `action`; nothing for who may not.
    pub(crate) fn button(&self, action: &str, text: &str) -> String {
        self.button_with(action, text, &[])
    }

    /// As `button`, with hidden fields.
    pub(crate) fn button_with(&self, action: &str, text: &str, fields: &[(&str, &str)]) -> String {
        if !self.signed_in() {
            return String::new();
        }
        let hidden = |(name, value): &(&str, &str)| {
            format!("<input type=\"hidden\" name=\"{}\" value=\"{}\">", escape(name), escape(value))
        };
        format!(
            "<form method=\"post\" action=\"{}\">{}{}<button>{}</button></form>",
            escape(action),
            self.crumb(),
            fields.iter().map(hidden).collect::<String>(),
            escape(text)
        )
    }

    /// That no build begins, and what ends that.
    fn banner(&self) -> String {
        let Some(reason) = &self.quiet else { return String::new() };
        let end = if self.admin {
            self.button(&format!("{}cancelQuietDown", self.base), "Let builds begin")
        } else {
            String::new()
        };
        format!("<aside><p>No build begins in the quiet period: {}</p>{end}</aside>", escape(reason))
    }

    /// Who looks, and the way in or out.
    fn who(&self) -> String {
        let base = escape(&self.base);
        match &self.user {
            Some((address, name)) => {
                let manage = if self.admin {
                    format!("<a href=\"{base}securityRealm/\">Users</a> ")
                } else {
                    String::new()
                };
                format!("{manage}{} <a href=\"{base}logout\">Sign out</a>", link(address, name))
            }
            None => format!("<a href=\"{base}login\">Sign in</a>"),
        }
    }
}

/// A field of a form with its label. `kind` is that of the input.
pub(crate) fn field(kind: &str, name: &str, label: &str, value: &str, more: &str) -> String {
    let (name, value) = (escape(name), escape(value));
    format!(
        "<div><label for=\"f-{name}\">{}</label>\
         <input type=\"{kind}\" id=\"f-{name}\" name=\"{name}\" value=\"{value}\" {more}></div>",
        escape(label)
    )
}

/// A box to tick.
pub(crate) fn tick(name: &str, label: &str, ticked: bool) -> String {
    let checked = if ticked { " checked" } else { "" };
    format!(
        "<div><label><input type=\"checkbox\" name=\"{}\" value=\"true\"{checked}> {}</label></div>",
        escape(name),
        escape(label)
    )
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

/// A whole page. `trail` is the way to it as (address, text).
pub(crate) fn page(frame: &Frame, title: &str, trail: &[(String, String)], content: &str) -> String {
    let base = escape(&frame.base);
    let (who, banner) = (frame.who(), frame.banner());
    let title = escape(title);
    let mut way = format!("<a href=\"{base}\">Majordomo</a>");
    for (address, text) in trail {
        let _ = write!(way, " <span aria-hidden=\"true\">›</span> {}", link(address, text));
    }
    let head = head(&base, &title);
    format!(
        "{head}<script src=\"{base}static/main.js\" defer></script></head>\
         <body data-base=\"{base}\"><header><nav aria-label=\"Where you are\">{way}</nav>\
         <nav aria-label=\"Controller\"><a href=\"{base}computer/\">Nodes</a> <a href=\"{base}queue/\">Queue</a> \
         <a href=\"{base}replicas/\">Replicas</a> <a href=\"{base}people/\">People</a> {who}</nav></header>{banner}<main><h1>{title}</h1>{content}</main></body></html>"
    )
}

/// A page that leads nowhere but where its content does: there is nothing else to be seen yet.
pub(crate) fn bare(base: &str, title: &str, content: &str) -> String {
    let (base, title) = (escape(base), escape(title));
    let head = head(&base, &title);
    format!(
        "{head}</head><body><header>Majordomo</header><main class=\"narrow\"><h1>{title}</h1>{content}\
         </main></body></html>"
    )
}

/// Both escaped.
fn head(base: &str, title: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>{title} – Majordomo</title>\
         <link rel=\"icon\" href=\"{base}static/favicon.svg\">\
         <link rel=\"stylesheet\" href=\"{base}static/main.css\">"
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
        let who = Identity { id: evil.to_owned(), full_name: evil.to_owned(), admin: true };
        let frame = Frame::new("/", Some(&who), Some("c".to_owned()));
        let frame = Frame { quiet: Some(evil.to_owned()), ..frame };
        for html in [
            link(evil, evil),
            frame.button_with(evil, evil, &[(evil, evil)]),
            field("text", evil, evil, evil, ""),
            tick(evil, evil, true),
            page(&frame, evil, &[], ""),
            mark(evil, evil),
            error_page(StatusCode::OK, evil),
        ] {
            assert!(!html.contains("<script>alert"), "{html}");
            assert!(!html.contains("\"><s") || html.contains("<!doctype"), "{html}");
            assert!(!html.contains('\u{1b}'));
        }
    }
}

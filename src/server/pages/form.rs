//! The form with which a person builds a parameterised job.

use model::{ParameterDefinition, ParameterKind};

use super::html::{Frame, escape};

/// Posts to `action`. A field that is left as it is gives the default: an empty password does, too, as its default is
/// shown to nobody.
pub(super) fn form(frame: &Frame, action: &str, parameters: &[ParameterDefinition]) -> String {
    let fields: String = parameters.iter().enumerate().map(|(number, p)| field(number, p)).collect();
    frame.form(action, &fields, "Build")
}

fn field(number: usize, parameter: &ParameterDefinition) -> String {
    let id = format!("p{number}");
    let name = escape(&parameter.name);
    let named = format!("id=\"{id}\" name=\"{name}\"");
    let mut label = format!("<label for=\"{id}\">{name}</label>");
    let input = match &parameter.kind {
        ParameterKind::String { default, .. } => {
            format!("<input type=\"text\" {named} value=\"{}\">", escape(default))
        }
        // a browser drops the first line end
        ParameterKind::Text { default } => {
            format!("<textarea {named} rows=\"4\">\n{}</textarea>", escape(default))
        }
        ParameterKind::Choice { choices } => {
            let option = |choice: &String| format!("<option>{}</option>", escape(choice));
            format!("<select {named}>{}</select>", choices.iter().map(option).collect::<String>())
        }
        ParameterKind::Password { .. } => {
            label.push_str(" <small>left empty, it is the default</small>");
            format!("<input type=\"password\" {named} autocomplete=\"off\">")
        }
        // a box that is not ticked sends nothing: then the hidden field counts, which comes second
        ParameterKind::Boolean { default } => {
            let checked = if *default { " checked" } else { "" };
            format!(
                "<input type=\"checkbox\" {named} value=\"true\"{checked}>\
                 <input type=\"hidden\" name=\"{name}\" value=\"false\">"
            )
        }
    };
    let description = match &parameter.description {
        Some(text) => format!("<p class=\"text\">{}</p>", escape(text)),
        None => String::new(),
    };
    format!("<div>{label}{description}{input}</div>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_field_with_its_default() {
        let evil = "\"><script>x";
        let parameter = |name: &str, kind| ParameterDefinition {
            name: name.to_owned(),
            description: Some(evil.to_owned()),
            kind,
        };
        let html = form(
            &Frame::new("/", None, None),
            "/job/a/buildWithParameters",
            &[
                parameter("S", ParameterKind::String { default: evil.to_owned(), trim: false }),
                parameter("T", ParameterKind::Text { default: "\nlines".to_owned() }),
                parameter("B", ParameterKind::Boolean { default: true }),
                parameter("C", ParameterKind::Choice { choices: vec!["one".to_owned(), evil.to_owned()] }),
                parameter("P", ParameterKind::Password { default: "hush".to_owned() }),
                parameter(evil, ParameterKind::Boolean { default: false }),
            ],
        );
        for wanted in [
            "<input type=\"text\" id=\"p0\" name=\"S\" value=\"&quot;&gt;&lt;script&gt;x\">",
            "<textarea id=\"p1\" name=\"T\" rows=\"4\">\n\nlines</textarea>",
            "name=\"B\" value=\"true\" checked><input type=\"hidden\" name=\"B\" value=\"false\">",
            "<select id=\"p3\" name=\"C\"><option>one</option>",
            "<input type=\"password\" id=\"p4\" name=\"P\" autocomplete=\"off\">",
        ] {
            assert!(html.contains(wanted), "{wanted}: {html}");
        }
        assert!(!html.contains("hush") && !html.contains("<script"), "{html}");
    }
}

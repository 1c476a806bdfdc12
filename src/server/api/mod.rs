//! `api/json`, `api/python` and `api/xml` of everything that has them.

mod build;
mod computer;
mod item;
mod people;
mod queue;
mod replicas;
mod root;

use axum::body::Body;
use http::{HeaderValue, Response, header};

use crate::error::Error;
use crate::export::{Element, Format, Found, Select, Value, document, exclude, find_xpath, write_json};
use crate::look::Look;
use crate::path::Thing;
use crate::request::Asked;

pub(crate) use computer::{BUILT_IN_NAMES, node_named};
pub(crate) use item::color;
pub(crate) use people::found as user_named;
pub(crate) use queue::{QueueCounts, queue_counts, waiting_step, why_waits};

/// Each goes through the whole document.
const MAX_EXCLUDES: usize = 20;

/// The answer to `…/api/FORMAT`.
pub(crate) async fn export(
    look: &Look<'_>,
    asked: &Asked,
    thing: &Thing,
    format: Format,
) -> Result<Response<Body>, Error> {
    if asked.param("jsonp").is_some() {
        return Err(Error::Forbidden("jsonp is not served".to_owned()));
    }
    let select = Select::parse(asked.param("tree"), asked.param("depth"))?;
    let value = value(look, asked, thing, &select).await?;
    match format {
        Format::Json | Format::Python => {
            let text = write_json(&value, format, asked.param("pretty").is_some());
            Ok(answer(text, format.content_type()))
        }
        Format::Xml => xml(asked, thing, &value),
    }
}

async fn value(look: &Look<'_>, asked: &Asked, thing: &Thing, select: &Select) -> Result<Value, Error> {
    match thing {
        Thing::Root => root::root(look, select).await,
        Thing::View(folder) => root::view(look, folder.as_ref(), select).await,
        Thing::Item(name) => item::item(look, name, select).await,
        Thing::Build(name, which) => {
            let found = look.store().build(name, *which).await?;
            let build = found.ok_or_else(|| Error::missing(format!("there is no such build of {name}")))?;
            build::build(look, &build, select).await
        }
        Thing::Queue => queue::queue(look, select).await,
        Thing::QueueItem(id) => queue::by_id(look, *id, select).await,
        Thing::Computers => computer::all(look, select).await,
        Thing::Computer(name) => computer::one(look, name, select).await,
        Thing::CrumbIssuer => people::crumb_issuer(look, asked, select),
        Thing::WhoAmI => people::who_am_i(look, asked, select),
        Thing::Me => people::user(look, asked, asked.by(), select).await,
        Thing::User(id) => people::user(look, asked, id, select).await,
        Thing::People => people::people(look, select, "hudson.model.View$People").await,
        Thing::AsynchPeople => people::people(look, select, "hudson.model.View$AsynchPeople$People").await,
        Thing::Realm => people::realm(look, select).await,
        Thing::Plugins => Ok(root::plugins(select)),
        Thing::Replicas => replicas::replicas(look, select).await,
    }
}

fn answer(text: String, kind: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn xml(asked: &Asked, thing: &Thing, value: &Value) -> Result<Response<Body>, Error> {
    let mut root = document(value);
    let asks = asked.query.iter().chain(asked.form.iter());
    for (number, (_, expression)) in asks.filter(|(name, _)| *name == "exclude").enumerate() {
        let not_understood = || {
            let what = "paths of elements with predicates are";
            Error::bad(format!("exclude number {} is not understood: {what}", number + 1))
        };
        if number >= MAX_EXCLUDES {
            return Err(Error::bad(format!("more than {MAX_EXCLUDES} times exclude is not taken")));
        }
        root = exclude(root, expression).ok_or_else(not_understood)?;
    }
    let Some(expression) = asked.param("xpath") else { return Ok(document_answer(&root)) };
    let wrapper = asked.param("wrapper");
    if wrapper.is_some_and(|w| !is_name(w)) {
        return Err(Error::bad("wrapper is not the name of an element"));
    }
    if let (Thing::CrumbIssuer, Some(text)) = (thing, crumb_text(&root, expression)) {
        return Ok(answer(text, "text/plain;charset=UTF-8"));
    }
    match find_xpath(&root, expression) {
        None => Err(Error::bad("this xpath is not understood: steps of names, * and // with predicates are")),
        Some(Found::Text(_)) => Err(Error::Forbidden("primitive XPath result sets forbidden".to_owned())),
        Some(Found::Elements(found)) => match (wrapper, found.as_slice()) {
            (Some(wrapper), found) => Ok(document_answer(&wrapped(wrapper, found))),
            (None, []) => Err(Error::missing("XPath didn't match")),
            (None, [only]) => Ok(document_answer(only)),
            (None, many) => {
                Err(Error::bad(format!("XPath matched {} elements; name a wrapper for them", many.len())))
            }
        },
    }
}

fn wrapped(name: &str, found: &[&Element]) -> Element {
    let children = found.iter().map(|e| (*e).clone()).collect();
    Element { name: name.to_owned(), children, ..Element::default() }
}

fn document_answer(root: &Element) -> Response<Body> {
    let mut text = String::new();
    root.write(&mut text);
    answer(text, Format::Xml.content_type())
}

fn is_name(text: &str) -> bool {
    let mut letters = text.chars();
    letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && letters.all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
}

/// The four expressions with which clients ask for a crumb as plain text.
fn crumb_text(root: &Element, expression: &str) -> Option<String> {
    let text = |name: &str| root.children.iter().find(|c| c.name == name).map(Element::content);
    let (field, crumb) = (text("crumbRequestField")?, text("crumb")?);
    match expression {
        "/*/crumbRequestField/text()" => Some(field),
        "/*/crumb/text()" => Some(crumb),
        "concat(//crumbRequestField,\":\",//crumb)" => Some(format!("{field}:{crumb}")),
        "concat(//crumbRequestField,'=',//crumb)" => Some(format!("{field}={crumb}")),
        _ => None,
    }
}

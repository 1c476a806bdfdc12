//! Users, and what the sender of a request is to us.

use crate::error::Error;
use crate::export::{ALWAYS, PLAIN, Select, Shape, Value};
use crate::look::Look;
use crate::request::{Asked, segment};
use crate::session;

pub(super) fn crumb_issuer(look: &Look<'_>, asked: &Asked, select: &Select) -> Result<Value, Error> {
    let mut shape = Shape::new("hudson.security.csrf.DefaultCrumbIssuer", select);
    let session = asked.session.as_deref().unwrap_or_default();
    shape.put("crumb", PLAIN, look.app.secrets.crumb(asked.by(), session));
    shape.put("crumbRequestField", PLAIN, session::CRUMB_FIELD);
    look.done(shape)
}

pub(super) fn who_am_i(look: &Look<'_>, asked: &Asked, select: &Select) -> Result<Value, Error> {
    let mut shape = Shape::new("hudson.security.WhoAmI", select);
    shape.put("anonymous", PLAIN, asked.user.is_none());
    shape.put("authenticated", PLAIN, asked.user.is_some());
    shape.put("authorities", PLAIN, vec![Value::from("authenticated")]);
    shape.put("details", PLAIN, Value::Null);
    shape.put("name", PLAIN, asked.by().to_owned());
    shape.put("toString", PLAIN, Value::Null);
    look.done(shape)
}

pub(super) fn me(look: &Look<'_>, asked: &Asked, select: &Select) -> Result<Value, Error> {
    let user = asked.user.as_ref().ok_or_else(|| Error::missing("nobody is signed in"))?;
    shown(look, &user.id, &user.full_name, select)
}

pub(super) async fn user(look: &Look<'_>, id: &str, select: &Select) -> Result<Value, Error> {
    let found = look.store().user(id).await?;
    let user = found.ok_or_else(|| Error::missing(format!("there is no user {id}")))?;
    shown(look, &user.id, &user.full_name, select)
}

fn shown(look: &Look<'_>, id: &str, full_name: &str, select: &Select) -> Result<Value, Error> {
    let mut shape = Shape::new("hudson.model.User", select);
    shape.put("absoluteUrl", ALWAYS, format!("{}user/{}", look.base.root(), segment(id)));
    shape.put("description", PLAIN, Value::Null);
    shape.put("fullName", ALWAYS, full_name.to_owned());
    shape.put("id", PLAIN, id.to_owned());
    shape.put("property", PLAIN, Vec::new());
    look.done(shape)
}

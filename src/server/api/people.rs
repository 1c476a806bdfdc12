//! Users, and what the sender of a request is to us.

use store::{ApiToken, MAX_USERS, User};

use crate::error::Error;
use crate::export::{ALWAYS, PLAIN, Select, Shape, Value};
use crate::look::Look;
use crate::request::{Asked, segment};
use crate::session;

/// Shown in the list itself, too.
const OF_PERSON: i32 = 2;
/// All that there can be.
const MAX_PEOPLE: u32 = MAX_USERS as u32;

pub(super) fn crumb_issuer(look: &Look<'_>, asked: &Asked, select: &Select) -> Result<Value, Error> {
    let mut shape = Shape::new("hudson.security.csrf.DefaultCrumbIssuer", select);
    let session = asked.session.as_deref().unwrap_or_default();
    shape.put("crumb", PLAIN, look.app.secrets.crumb(asked.by(), session));
    shape.put("crumbRequestField", PLAIN, session::CRUMB_FIELD);
    look.done(shape)
}

pub(super) fn who_am_i(look: &Look<'_>, asked: &Asked, select: &Select) -> Result<Value, Error> {
    let mut shape = Shape::new("hudson.security.WhoAmI", select);
    let authorities = vec![Value::from(if asked.user.is_some() { "authenticated" } else { "anonymous" })];
    shape.put("anonymous", PLAIN, asked.user.is_none());
    shape.put("authenticated", PLAIN, asked.user.is_some());
    shape.put("authorities", PLAIN, authorities);
    shape.put("details", PLAIN, Value::Null);
    shape.put("name", PLAIN, asked.by().to_owned());
    shape.put("toString", PLAIN, Value::Null);
    look.done(shape)
}

/// A user; his tokens, without their secrets, for himself and administrators.
pub(super) async fn user(look: &Look<'_>, asked: &Asked, id: &str, select: &Select) -> Result<Value, Error> {
    let user = found(look, id).await?;
    let mut shape = shown(look, &user, select);
    if let Some(inner) = shape.wants_inline("property", PLAIN) {
        let mut properties = Vec::new();
        if asked.is(&user.id) || asked.administers() {
            let mut property = Shape::new("jenkins.security.ApiTokenProperty", &inner);
            if let Some(inner) = property.wants_inline("tokenList", PLAIN) {
                let tokens = look.store().tokens(&user.id).await?;
                property.set("tokenList", tokens.iter().map(|t| token(t, &inner)).collect::<Vec<_>>());
            }
            properties.push(look.done(property)?);
        }
        if !user.email.is_empty() {
            let mut property = Shape::new("hudson.tasks.Mailer$UserProperty", &inner);
            property.put("address", PLAIN, user.email.clone());
            properties.push(look.done(property)?);
        }
        shape.set("property", properties);
    }
    look.done(shape)
}

/// The user of that id; 404 when there is none.
pub(crate) async fn found(look: &Look<'_>, id: &str) -> Result<User, Error> {
    let found = look.store().user(id).await?;
    found.ok_or_else(|| Error::missing(format!("there is no user {id}")))
}

fn shown<'a>(look: &Look<'_>, user: &User, select: &'a Select) -> Shape<'a> {
    let mut shape = Shape::new("hudson.model.User", select);
    shape.put("absoluteUrl", ALWAYS, format!("{}user/{}", look.base.root(), segment(&user.id)));
    shape.put("description", PLAIN, Value::Null);
    shape.put("fullName", ALWAYS, user.full_name.clone());
    shape.put("id", PLAIN, user.id.clone());
    shape
}

fn token(token: &ApiToken, select: &Select) -> Value {
    let mut shape = Shape::plain(select);
    shape.put("creationDate", PLAIN, token.created_at.0);
    shape.put("lastUseDate", PLAIN, token.used_at.map(|at| at.0));
    shape.put("name", PLAIN, token.name.clone());
    shape.put("useCounter", PLAIN, token.uses);
    shape.put("uuid", PLAIN, token.id.clone());
    shape.done()
}

/// All users. Who has changed something in a repository without being a user is not known here.
pub(super) async fn people(look: &Look<'_>, select: &Select, class: &'static str) -> Result<Value, Error> {
    let mut people = Shape::new(class, select);
    if let Some(inner) = people.wants("users", PLAIN) {
        let mut all = Vec::new();
        for user in look.store().users(None, MAX_PEOPLE).await? {
            let mut info = Shape::plain(&inner);
            info.put("lastChange", OF_PERSON, Value::Null);
            info.put("project", OF_PERSON, Value::Null);
            if let Some(inner) = info.wants("user", OF_PERSON) {
                info.set("user", look.done(shown(look, &user, &inner))?);
            }
            all.push(look.done(info)?);
        }
        people.set("users", all);
    }
    look.done(people)
}

/// What administrators have decided about users.
pub(super) async fn realm(look: &Look<'_>, select: &Select) -> Result<Value, Error> {
    let mut realm = Shape::new("hudson.security.HudsonPrivateSecurityRealm", select);
    realm.put("anonymousRead", PLAIN, look.store().anonymous_read().await?);
    look.done(realm)
}

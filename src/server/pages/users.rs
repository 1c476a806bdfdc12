//! Signing in, users, their tokens.

use store::{ApiToken, User};

use super::html::{Frame, escape, field, link, page, table, tick};
use super::{home, moment};
use crate::api::user_named;
use crate::error::Error;
use crate::look::Look;
use crate::request::{Asked, segment};

/// Where a browser signs in. `from` is the page it wanted.
pub(crate) fn sign_in(frame: &Frame, base: &str, from: &str, failed: bool) -> String {
    let mut fields = String::new();
    if failed {
        fields.push_str("<p role=\"alert\" class=\"bad\">Invalid user name or password</p>");
    }
    fields.push_str(&field(
        "text",
        "j_username",
        "User name",
        "",
        "autocomplete=\"username\" required autofocus",
    ));
    fields.push_str(&field(
        "password",
        "j_password",
        "Password",
        "",
        "autocomplete=\"current-password\" required",
    ));
    fields.push_str(&tick("remember_me", "Keep me signed in", false));
    fields.push_str(&format!("<input type=\"hidden\" name=\"from\" value=\"{}\">", escape(from)));
    let form = frame.form(&format!("{base}j_spring_security_check"), &fields, "Sign in");
    page(frame, "Sign in", &[], &form)
}

pub(super) fn who_am_i(look: &Look<'_>, asked: &Asked) -> String {
    let content = match &asked.user {
        Some(user) => {
            let what = if user.admin { "an administrator" } else { "a user" };
            format!("<p>{} (<code>{}</code>), {what}.</p>", escape(&user.full_name), escape(&user.id))
        }
        None => "<p>Nobody has signed in.</p>".to_owned(),
    };
    page(&look.frame, "Who am I", &[], &content)
}

fn path(look: &Look<'_>, id: &str) -> String {
    format!("{}user/{}/", look.base.path(), segment(id))
}

async fn users(look: &Look<'_>) -> Result<String, Error> {
    let users = look.store().users(None, home::ROWS).await?;
    let row = |user: &User| {
        let role = if user.admin { "administrator" } else { "user" };
        let name = link(&path(look, &user.id), &user.full_name);
        vec![escape(&user.id), name, role.to_owned(), escape(&user.email)]
    };
    let rows: Vec<Vec<String>> = users.iter().map(row).collect();
    let table = table("people", &["User name", "Name", "Role", "E-mail"], &rows, "There are no users.");
    let more = if rows.len() == home::ROWS as usize {
        format!("<p>The first {} are shown.</p>", home::ROWS)
    } else {
        String::new()
    };
    Ok(table + &more)
}

pub(super) async fn people(look: &Look<'_>) -> Result<String, Error> {
    Ok(page(&look.frame, "People", &[], &users(look).await?))
}

/// For administrators: users, a new one, and what may be seen without signing in.
pub(super) async fn realm(look: &Look<'_>) -> Result<String, Error> {
    let base = look.base.path();
    let fields = [
        field("text", "username", "User name", "", "required autocomplete=\"off\""),
        passwords("required"),
        field("text", "fullname", "Full name", "", ""),
        field("email", "email", "E-mail", "", ""),
        tick("admin", "Administrator", false),
    ];
    let create = look.frame.form(
        &format!("{base}securityRealm/createAccountByAdmin"),
        &fields.concat(),
        "Create user",
    );
    let allowed = look.store().anonymous_read().await?;
    let (now, next, text) = if allowed {
        ("Who has not signed in may look at jobs, builds, the queue and nodes.", "false", "Forbid it")
    } else {
        ("Who has not signed in may see nothing.", "true", "Allow to look")
    };
    let action = format!("{base}securityRealm/anonymousRead");
    let toggle = look.frame.button_with(&action, text, &[("allowed", next)]);
    let content = format!(
        "{}<h2>New user</h2>{create}<h2>Without signing in</h2><p>{now}</p><div class=\"actions\">{toggle}</div>",
        users(look).await?
    );
    Ok(page(&look.frame, "Users", &[], &content))
}

fn passwords(more: &str) -> String {
    let more = format!("autocomplete=\"new-password\" {more}");
    field("password", "password1", "Password", "", &more)
        + &field("password", "password2", "Once more", "", &more)
}

/// Of one user. What only he and administrators may see comes last.
pub(super) async fn user(look: &Look<'_>, asked: &Asked, id: &str) -> Result<String, Error> {
    let user = user_named(look, id).await?;
    let role = if user.admin { "an administrator" } else { "a user" };
    let mut content = format!("<p><code>{}</code> is {role} of this controller.</p>", escape(&user.id));
    if !user.email.is_empty() {
        content.push_str(&format!("<p>{}</p>", escape(&user.email)));
    }
    let (own, admin) = (asked.is(&user.id), asked.administers());
    if own || admin {
        content.push_str(&tokens(look, &user, own).await?);
        let fields = [
            field("text", "fullName", "Full name", &user.full_name, ""),
            field("email", "email", "E-mail", &user.email, ""),
            "<p>A password that is left empty stays. A new one ends all sessions of the user.</p>".to_owned(),
            passwords(""),
        ];
        let form =
            look.frame.form(&format!("{}configSubmit", path(look, &user.id)), &fields.concat(), "Save");
        content.push_str(&format!("<h2>Account</h2>{form}"));
    }
    if admin && !own {
        let (text, value) =
            if user.admin { ("Make a plain user", "false") } else { ("Make an administrator", "true") };
        let action = format!("{}configSubmit", path(look, &user.id));
        let role = look.frame.button_with(&action, text, &[("admin", value)]);
        let delete = look.frame.button(&format!("{}doDelete", path(look, &user.id)), "Delete user");
        content.push_str(&format!("<div class=\"actions\">{role}{delete}</div>"));
    }
    Ok(page(&look.frame, &user.full_name, &way(look), &content))
}

fn way(look: &Look<'_>) -> [(String, String); 1] {
    [(format!("{}people/", look.base.path()), "People".to_owned())]
}

async fn tokens(look: &Look<'_>, user: &User, own: bool) -> Result<String, Error> {
    let at = format!("{}descriptorByName/jenkins.security.ApiTokenProperty/", path(look, &user.id));
    let row = |token: &ApiToken| {
        let revoke = look.frame.button_with(&format!("{at}revoke"), "Revoke", &[("tokenUuid", &token.id)]);
        let name = format!(
            "<input type=\"hidden\" name=\"tokenUuid\" value=\"{}\"><input type=\"text\" name=\"newName\" value=\"{}\" \
             aria-label=\"Name\" maxlength=\"200\" required> ",
            escape(&token.id),
            escape(&token.name)
        );
        let name = look.frame.form(&format!("{at}rename"), &name, "Rename");
        let used = token.used_at.map_or("never".to_owned(), moment);
        vec![name, moment(token.created_at), used, token.uses.to_string(), revoke]
    };
    let rows: Vec<Vec<String>> = look.store().tokens(&user.id).await?.iter().map(row).collect();
    let heads = ["Name", "Created", "Last used", "Uses", ""];
    let mut out = format!("<h2>API tokens</h2>{}", table("tokens", &heads, &rows, "There are no tokens."));
    if own {
        let name = field("text", "newTokenName", "Name", "", "maxlength=\"200\"");
        out.push_str(&look.frame.form(&format!("{at}generateNewToken"), &name, "Generate token"));
    }
    Ok(out)
}

/// The only page that shows a token.
pub(crate) fn new_token(look: &Look<'_>, user: &User, token: &ApiToken, secret: &str) -> String {
    let content = format!(
        "<p>The new token {}. Copy it now: it can't be shown again.</p><pre>{}</pre><p>{}</p>",
        escape(&token.name),
        escape(secret),
        link(&path(look, &user.id), "Back")
    );
    page(&look.frame, "New API token", &way(look), &content)
}

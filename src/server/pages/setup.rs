//! The pages of the setup wizard. They stand alone: nothing else of the controller can be looked at yet.

use super::html::{Frame, bare, escape, field};
use crate::path::Step;

/// The steps that a person sees, in their order.
const STEPS: [(Step, &str); 3] =
    [(Step::Unlock, "Unlock"), (Step::User, "First admin user"), (Step::Instance, "Instance configuration")];

/// Where a step is, below the root.
pub(crate) fn address(step: Step) -> &'static str {
    match step {
        Step::Unlock => "setupWizard/",
        Step::User => "setupWizard/createAdminUser",
        Step::Instance => "setupWizard/configureInstance",
    }
}

/// What a person has typed before; never a password.
pub(crate) struct Given<'a> {
    pub(crate) username: &'a str,
    pub(crate) fullname: &'a str,
    pub(crate) email: &'a str,
}

/// What the pages for one request have in common.
pub(crate) struct Page<'a> {
    /// Path of the controller's root.
    pub(crate) base: &'a str,
    pub(crate) crumb: Option<String>,
}

impl Page<'_> {
    /// `replica`: whose page it is; `place`: where the password is.
    pub(crate) fn unlock(&self, replica: &str, place: &str, wrong: Option<&str>) -> String {
        let fields = format!(
            "{}{}",
            alert(wrong),
            field(
                "password",
                "password",
                "Administrator password",
                "",
                "autocomplete=\"off\" required autofocus"
            )
        );
        let text = format!(
            "<p>This controller is new. So that nobody but its administrator sets it up, it asks for the initial \
             administrator password first. Copy that from where replica <code>{}</code> has it:</p>\
             <pre>{}</pre>",
            escape(replica),
            escape(place)
        );
        self.step(Step::Unlock, "Unlock Majordomo", &(text + &self.form(Step::Unlock, &fields, "Continue")))
    }

    pub(crate) fn user(&self, given: &Given<'_>, wrong: Option<&str>) -> String {
        let password = "autocomplete=\"new-password\" required";
        let fields = [
            alert(wrong),
            field(
                "text",
                "username",
                "Username",
                given.username,
                "autocomplete=\"username\" required autofocus",
            ),
            field("password", "password1", "Password", "", password),
            field("password", "password2", "Confirm password", "", password),
            field("text", "fullname", "Full name", given.fullname, "autocomplete=\"name\""),
            field("email", "email", "E-mail address", given.email, "autocomplete=\"email\""),
        ];
        let text = "<p>This user administers the controller, and can create others.</p>";
        let form = self.form(Step::User, &fields.concat(), "Save and Continue");
        self.step(Step::User, "Create First Admin User", &(text.to_owned() + &form))
    }

    /// `configured`: the URL was given to the controller, and is not only what this client has used.
    pub(crate) fn instance(&self, user: &str, url: &str, configured: bool) -> String {
        let whence = if configured {
            "It was given to the controller from outside: by its <code>HAController</code> (the host of \
             <code>ingress</code>, <code>gateway</code> or <code>route</code>) or with <code>--url</code> of its \
             replicas. It is changed there."
        } else {
            "It is the address that you use. None was given to the controller, so each client is answered under the \
             address that it uses itself. To have one for all, give it with <code>--url</code> of the replicas."
        };
        let text = format!(
            "<p>Majordomo URL</p><pre>{}</pre><p>{whence} Links in builds and answers begin with it.</p>\
             <p>The user <code>{}</code> is created with the next step, which ends the setup.</p>",
            escape(url),
            escape(user)
        );
        let back = format!("<p><a href=\"{}{}\">Back</a></p>", escape(self.base), address(Step::User));
        let form = self.form(Step::Instance, "", "Save and Finish");
        self.step(Step::Instance, "Instance Configuration", &(text + &form + &back))
    }

    pub(crate) fn ready(&self) -> String {
        let base = escape(self.base);
        let text = format!(
            "<p>The setup is complete. The other replicas start now, one after the other.</p>\
             <p><a class=\"button\" href=\"{base}\">Start using Majordomo</a></p>"
        );
        bare(self.base, "Majordomo is ready!", &text)
    }

    /// Somebody else was first.
    pub(crate) fn over(&self) -> String {
        let base = escape(self.base);
        let text = format!(
            "<p>Somebody has ended the setup wizard already, perhaps in another browser. What you have typed here was \
             not used, and no user was created of it. If it was you, sign in as the user that you have created.</p>\
             <p><a class=\"button\" href=\"{base}login\">Sign in</a></p>"
        );
        bare(self.base, "The setup is complete already", &text)
    }

    fn form(&self, step: Step, fields: &str, button: &str) -> String {
        let action = format!("{}{}", self.base, address(step));
        Frame::new(self.base, None, self.crumb.clone()).form(&action, fields, button)
    }

    fn step(&self, now: Step, title: &str, content: &str) -> String {
        let step = |(step, text): &(Step, &str)| {
            let current = if *step == now { " aria-current=\"step\"" } else { "" };
            format!("<li{current}>{text}</li>")
        };
        let steps: String = STEPS.iter().map(step).collect();
        bare(
            self.base,
            title,
            &format!("<ol class=\"steps\" aria-label=\"Getting started\">{steps}</ol>{content}"),
        )
    }
}

fn alert(wrong: Option<&str>) -> String {
    let alert = |why: &str| format!("<p role=\"alert\" class=\"bad\">{}</p>", escape(why));
    wrong.map(alert).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_becomes_markup() {
        let evil = "\"><script>alert('x')</script>";
        let page = Page { base: "/", crumb: Some(evil.to_owned()) };
        let given = Given { username: evil, fullname: evil, email: evil };
        for html in [
            page.unlock(evil, evil, Some(evil)),
            page.user(&given, Some(evil)),
            page.instance(evil, evil, true),
            page.ready(),
            page.over(),
        ] {
            assert!(html.starts_with("<!doctype html>") && !html.contains("<script>alert"), "{html}");
        }
    }
}

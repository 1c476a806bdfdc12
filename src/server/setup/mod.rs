//! The setup wizard of a first start: unlock, the first user, the address, done. While it is shown, it is all that users
//! are served, by the one replica that has the startup lock.
//!
//! Nothing is written before the last step, and that is one write, which only the first user of a controller passes.

mod wizard;

use axum::body::Body;
use futures_util::TryFutureExt;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use model::ReplicaState;
use security::{Denied, FirstUser, NewPassword, NewUser, Password, UserError};
use tokio::time::timeout;

use crate::caller::address;
use crate::error::Error;
use crate::pages::setup as pages;
use crate::path::Step;
use crate::patience::again;
use crate::ports::App;
use crate::reply::{self, Reply};
use crate::request::{Base, Params, Remote, read_body};
use crate::session;

pub use wizard::{Unlock, Wizard};

/// Largest form.
const MAX_FORM: usize = 16 * 1024;
/// In whose name the wizard's forms carry crumbs. No user is called so.
const CRUMBS: &str = "setup wizard";

/// The answer to everything else: a person is sent to the wizard, a program comes again.
pub(crate) fn instead(base: &Base, looks: bool) -> Reply {
    if looks {
        return reply::found(&at(base, Step::Unlock));
    }
    Err(Error::Later(format!(
        "this controller is new, and waits for a person to end the setup wizard at {}",
        at(base, Step::Unlock)
    )))
}

pub(crate) async fn serve(app: &App, step: Step, base: &Base, request: Request<Body>) -> Reply {
    let (head, mut body) = request.into_parts();
    let cookie = format!("setup.{}", session::digits(app.secrets.as_ref(), "setup wizard"));
    let name = session::shown(&head.headers, &cookie);
    let visit = Visit { app, base, cookie: &cookie, name: name.as_deref() };
    let post = head.method == Method::POST;
    let mut response = match app.replica.state() {
        ReplicaState::Waiting | ReplicaState::Starting => {
            Err(Error::Later("this replica is getting ready to work".to_owned()))
        }
        ReplicaState::Draining | ReplicaState::Stopped if app.wizard.waits() => Err(Error::Later(
            "this replica goes, and the next one shows the setup wizard in a moment".to_owned(),
        )),
        ReplicaState::Setup if !app.wizard.made() => {
            if post {
                let body = read_body(&head.headers, &mut body, MAX_FORM, &app.settings).await?;
                visit.post(step, &head, &Params::parse(&body)?).await
            } else {
                visit.get(step)
            }
        }
        ReplicaState::Setup | ReplicaState::Ready | ReplicaState::Draining | ReplicaState::Stopped => {
            if post || app.replica.state() == ReplicaState::Setup {
                visit.over()
            } else {
                reply::found(base.root())
            }
        }
    }?;
    if let Ok(name) = HeaderValue::from_str(app.replica.name().as_str()) {
        response.headers_mut().insert(HeaderName::from_static("x-majordomo-replica"), name);
    }
    Ok(response)
}

fn at(base: &Base, step: Step) -> String {
    format!("{}{}", base.root(), pages::address(step))
}

/// After a form.
fn onward(base: &Base, step: Step) -> Reply {
    reply::to(StatusCode::SEE_OTHER, &at(base, step))
}

fn page(status: StatusCode, text: String) -> Response<Body> {
    let mut response = reply::html(text);
    *response.status_mut() = status;
    response
}

/// A request of one browser.
struct Visit<'a> {
    app: &'a App,
    base: &'a Base,
    cookie: &'a str,
    /// What the cookie says.
    name: Option<&'a str>,
}

impl Visit<'_> {
    /// Name and wish of a browser that has unlocked the wizard.
    fn unlocked(&self) -> Option<(&str, Option<FirstUser>)> {
        let name = self.name?;
        Some((name, self.app.wizard.visit(name)?))
    }

    fn page(&self, name: &str) -> pages::Page<'_> {
        pages::Page { base: self.base.path(), crumb: Some(self.app.secrets.crumb(CRUMBS, name)) }
    }

    fn get(&self, step: Step) -> Reply {
        let place = self.app.wizard.unlock()?.place;
        let Some((name, first)) = self.unlocked() else {
            return match step {
                Step::Unlock => Ok(reply::html(self.locked(&place, None))),
                Step::User | Step::Instance => reply::found(&at(self.base, Step::Unlock)),
            };
        };
        match (step, first) {
            (Step::Unlock, None) | (Step::Instance, None) => reply::found(&at(self.base, Step::User)),
            (Step::Unlock, Some(_)) => reply::found(&at(self.base, Step::Instance)),
            (Step::User, first) => {
                let first = first.as_ref();
                let given = pages::Given {
                    username: first.map_or("", FirstUser::id),
                    fullname: first.map_or("", FirstUser::full_name),
                    email: first.map_or("", FirstUser::email),
                };
                Ok(reply::html(self.page(name).user(&given, None)))
            }
            (Step::Instance, Some(first)) => {
                let url = self.app.settings.root_url.as_deref();
                Ok(reply::html(self.page(name).instance(first.id(), self.base.root(), url.is_some())))
            }
        }
    }

    async fn post(&self, step: Step, head: &Parts, form: &Params) -> Reply {
        if session::foreign(&head.headers, self.base) {
            return Err(Error::Forbidden("another site may not set up this controller".to_owned()));
        }
        if step == Step::Unlock {
            return self.unlock(head, form).await;
        }
        // who has been idle for too long, or has come from a replica that was lost, begins anew
        let Some((name, first)) = self.unlocked() else { return onward(self.base, Step::Unlock) };
        let crumb = form.get(session::CRUMB_FIELD).unwrap_or_default();
        if !self.app.secrets.verify_crumb(CRUMBS, name, crumb) {
            return Err(Error::Forbidden("No valid crumb was included in the request".to_owned()));
        }
        match (step, first) {
            (Step::Instance, Some(first)) => self.finish(name, &first).await,
            (Step::Instance, None) => onward(self.base, Step::User),
            (Step::User | Step::Unlock, _) => self.user(name, form).await,
        }
    }

    fn locked(&self, place: &str, wrong: Option<&str>) -> String {
        let replica = self.app.replica.name();
        pages::Page { base: self.base.path(), crumb: None }.unlock(replica.as_str(), place, wrong)
    }

    async fn unlock(&self, head: &Parts, form: &Params) -> Reply {
        let unlock = self.app.wizard.unlock()?;
        // what is copied from a file or a terminal has a line end, as a rule
        let given = Password::new(form.get("password").unwrap_or_default().trim_end_matches(['\r', '\n']));
        let remote = head.extensions.get::<Remote>().map(|remote| remote.0);
        let client = address(&head.headers, remote, &self.app.settings.proxies);
        match self.app.accounts.unlock(&unlock.key, &given, client).await {
            Ok(()) => {}
            Err(Denied::Wrong) => {
                let why = "This is not the initial administrator password.";
                return Ok(page(StatusCode::UNAUTHORIZED, self.locked(&unlock.place, Some(why))));
            }
            Err(Denied::Busy(wait)) => {
                let seconds = wait.as_secs().max(1);
                let why = format!("Too many wrong passwords were given: try again in {seconds} s.");
                let mut response =
                    page(StatusCode::TOO_MANY_REQUESTS, self.locked(&unlock.place, Some(&why)));
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
                return Ok(response);
            }
            Err(error) => return Err(error.into()),
        }
        let name = self.app.wizard.enter()?;
        tracing::info!(client = client.map(tracing::field::display), "the setup wizard was unlocked");
        with_cookie(onward(self.base, Step::User)?, session::cookie(self.cookie, &name, self.base, None))
    }

    async fn user(&self, name: &str, form: &Params) -> Reply {
        let text = |field: &str| form.get(field).unwrap_or_default();
        let given = pages::Given {
            username: text("username").trim(),
            fullname: text("fullname"),
            email: text("email"),
        };
        let refused = |why: &str| Ok(page(StatusCode::BAD_REQUEST, self.page(name).user(&given, Some(why))));
        if text("password1").is_empty() {
            return refused("Password is required");
        }
        if text("password1") != text("password2") {
            return refused("Password didn't match");
        }
        let new = NewUser {
            id: given.username.to_owned(),
            full_name: given.fullname.to_owned(),
            email: given.email.to_owned(),
            password: NewPassword::Clear(Password::new(text("password1"))),
            admin: true,
        };
        match self.app.accounts.first_user(new).await {
            Ok(first) => self.app.wizard.want(name, first),
            Err(UserError::Invalid(why)) => return refused(&why),
            Err(error) => return Err(error.into()),
        }
        onward(self.base, Step::Instance)
    }

    /// The only write.
    async fn finish(&self, name: &str, first: &FirstUser) -> Reply {
        let (app, token) = (self.app, self.app.wizard.unlock()?.token);
        let create = || {
            let created = app.accounts.create_first_user(first, token.clone());
            // asked again it says how it was, so an answer that was lost is asked for once more
            created.map_err(|error| match error {
                UserError::Store(error) if error.passing() => Error::Away(error.to_string()),
                error => Error::from(error),
            })
        };
        if !again(app.settings.patience, create).await? {
            return Ok(page(StatusCode::CONFLICT, self.plain().over()));
        }
        tracing::info!(user = first.id(), "the setup wizard has ended: the first user was created");
        app.wizard.end(name);
        // what the page leads to is served by then
        let _late = timeout(app.settings.patience, app.wizard.closed()).await;
        let response = reply::html(self.plain().ready());
        match app.accounts.sign_in_first(first).await {
            Ok(session) => {
                let cookie = session::cookie_name(app.secrets.as_ref());
                with_cookie(response, session::cookie(&cookie, session.expose(), self.base, None))
            }
            // he can sign in himself
            Err(error) => {
                tracing::debug!(%error, "sign in the first user");
                Ok(response)
            }
        }
    }

    fn plain(&self) -> pages::Page<'_> {
        pages::Page { base: self.base.path(), crumb: None }
    }

    /// The setup has ended: by this browser, or by another one.
    fn over(&self) -> Reply {
        if self.name.is_some_and(|name| self.app.wizard.made_by(name)) {
            return Ok(reply::html(self.plain().ready()));
        }
        Ok(page(StatusCode::CONFLICT, self.plain().over()))
    }
}

fn with_cookie(mut response: Response<Body>, cookie: Option<HeaderValue>) -> Reply {
    let cookie = cookie.ok_or_else(|| Error::Internal("the cookie fits no header".to_owned()))?;
    response.headers_mut().append(header::SET_COOKIE, cookie);
    Ok(response)
}

//! Starting and ending builds; the queue.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::Buildable;
use http::StatusCode;
use model::{JobName, ParameterDefinition, ParameterKind, QueueId};
use serde_json::Value;
use store::{Build, ItemKind, Which};

use crate::error::Error;
use crate::look::Look;
use crate::remote;
use crate::reply::{self, Reply};
use crate::request::Asked;

/// Longest delay of a build.
const MAX_DELAY: Duration = Duration::from_secs(366 * 24 * 3600);

/// `build`: 201 and the queue item. What a job without parameters is sent is ignored.
pub(crate) async fn build(look: &Look<'_>, asked: &Asked, name: &JobName) -> Reply {
    let job = look.app.commands.buildable(name).await?;
    let parameterized = !job.parameters.is_empty();
    let given = match asked.form.get("json").or_else(|| asked.query.get("json")) {
        _ if !parameterized => None,
        Some(json) => Some(submitted(json)?),
        None => return Err(Error::bad("Nothing is submitted; this job has parameters")),
    };
    enqueue(look, asked, name, job, given.as_ref(), StatusCode::CREATED).await
}

/// `buildWithParameters`: 201, or 303 when an equal item waits already.
pub(crate) async fn with_parameters(look: &Look<'_>, asked: &Asked, name: &JobName) -> Reply {
    let job = look.app.commands.buildable(name).await?;
    if job.parameters.is_empty() {
        return Err(Error::bad(format!("{name} is not parameterized")));
    }
    let mut given = BTreeMap::new();
    for (key, value) in asked.query.iter().chain(asked.form.iter()) {
        given.entry(key.to_owned()).or_insert_with(|| value.to_owned());
    }
    if asked.navigates() {
        as_typed(&job.parameters, &mut given);
    }
    enqueue(look, asked, name, job, Some(&given), StatusCode::SEE_OTHER).await
}

async fn enqueue(
    look: &Look<'_>,
    asked: &Asked,
    name: &JobName,
    job: Buildable,
    given: Option<&BTreeMap<String, String>>,
    existing: StatusCode,
) -> Reply {
    let delay = asked.param("delay").map(delay).transpose()?;
    let cause = remote::cause(asked, job.auth_token.as_deref(), &look.app.settings.proxies)?;
    let queued = look.app.commands.build(job, given, cause, delay).await?;
    if asked.navigates() {
        // Browsers don't go where a 201 points to.
        return reply::to(StatusCode::SEE_OTHER, &look.base.item(name));
    }
    let status = if queued.existing { existing } else { StatusCode::CREATED };
    reply::to(status, &format!("{}queue/item/{}/", look.base.root(), queued.id.0))
}

/// What a browser makes of fields: lines end with CR LF, and a password that nobody has typed is empty.
fn as_typed(parameters: &[ParameterDefinition], given: &mut BTreeMap<String, String>) {
    for parameter in parameters {
        match &parameter.kind {
            ParameterKind::Password { .. } if given.get(&parameter.name).is_some_and(String::is_empty) => {
                given.remove(&parameter.name);
            }
            ParameterKind::Text { .. } => {
                if let Some(text) = given.get_mut(&parameter.name) {
                    *text = text.replace("\r\n", "\n");
                }
            }
            ParameterKind::Password { .. }
            | ParameterKind::String { .. }
            | ParameterKind::Boolean { .. }
            | ParameterKind::Choice { .. } => {}
        }
    }
}

/// `{"parameter": [{name, value}]}`, or one object instead of the list.
fn submitted(json: &str) -> Result<BTreeMap<String, String>, Error> {
    let broken = || Error::bad("the parameter 'json' can't be read");
    let json: Value = serde_json::from_str(json).map_err(|_| broken())?;
    let list = match json.get("parameter") {
        Some(Value::Array(list)) => list.as_slice(),
        Some(one @ Value::Object(_)) => std::slice::from_ref(one),
        None => &[],
        Some(_) => return Err(broken()),
    };
    let mut given = BTreeMap::new();
    for parameter in list {
        let name = parameter.get("name").and_then(Value::as_str).ok_or_else(broken)?;
        let value = match parameter.get("value") {
            Some(Value::String(text)) => text.clone(),
            Some(other @ (Value::Bool(_) | Value::Number(_))) => other.to_string(),
            Some(_) | None => continue,
        };
        given.insert(name.to_owned(), value);
    }
    Ok(given)
}

/// `5`, `5sec`, `2min`, `100ms`.
fn delay(text: &str) -> Result<Duration, Error> {
    let refused = || Error::bad("delay is a number and sec, min, hour or day");
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits).ok_or_else(refused)?;
    let number: u64 = number.parse().map_err(|_| refused())?;
    let millis = match unit.trim() {
        "ms" => 1,
        "" | "s" | "sec" | "secs" | "second" | "seconds" => 1_000,
        "m" | "min" | "mins" | "minute" | "minutes" => 60_000,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3_600_000,
        "d" | "day" | "days" => 86_400_000,
        _ => return Err(refused()),
    };
    Ok(Duration::from_millis(number.saturating_mul(millis)).min(MAX_DELAY))
}

/// The build that a path names; 404 when there is none.
pub(crate) async fn found(look: &Look<'_>, name: &JobName, which: Which) -> Result<Build, Error> {
    let build = look.store().build(name, which).await?;
    build.ok_or_else(|| Error::missing(format!("there is no such build of {name}")))
}

pub(crate) async fn stop(look: &Look<'_>, asked: &Asked, name: &JobName, which: Which) -> Reply {
    let build = found(look, name, which).await?;
    look.app.commands.stop(name, build.number, asked.by()).await?;
    reply::found(&look.base.build(name, build.number))
}

/// `term` and `kill`: asked twice to stop, a build waits for nothing more. 200 and nothing, as Pipelines answer there. Builds
/// of Freestyle jobs have no such address in Jenkins, and clients know that.
pub(crate) async fn end(look: &Look<'_>, asked: &Asked, name: &JobName, which: Which, times: usize) -> Reply {
    let build = found(look, name, which).await?;
    if look.kind(name).await? == ItemKind::Freestyle {
        return Err(Error::missing(format!("builds of the Freestyle job {name} can only be stopped")));
    }
    for _ in 0..times {
        look.app.commands.stop(name, build.number, asked.by()).await?;
    }
    Ok(reply::empty(StatusCode::OK))
}

pub(crate) async fn delete(look: &Look<'_>, name: &JobName, which: Which) -> Reply {
    let build = found(look, name, which).await?;
    look.app.commands.delete_build(name, build.number).await?;
    reply::found(&look.base.item(name))
}

pub(crate) async fn keep(look: &Look<'_>, name: &JobName, which: Which) -> Reply {
    let build = found(look, name, which).await?;
    look.app.commands.keep_build(name, build.number, !build.keep).await?;
    reply::found(&look.base.build(name, build.number))
}

pub(crate) async fn number(look: &Look<'_>, name: &JobName, which: Which) -> Reply {
    Ok(reply::text(found(look, name, which).await?.number.to_string()))
}

/// `queue/cancelItem?id=N`
pub(crate) async fn cancel(look: &Look<'_>, asked: &Asked) -> Reply {
    let id = asked.param("id").ok_or_else(|| Error::bad("parameter 'id' is required"))?;
    let id = id.parse().map_err(|_| Error::bad("parameter 'id' is not a number"))?;
    cancel_item(look, asked, QueueId(id)).await
}

/// A build that waits leaves the queue; the build of a step that waits is stopped.
pub(crate) async fn cancel_item(look: &Look<'_>, asked: &Asked, id: QueueId) -> Reply {
    if let Some(wait) = crate::api::waiting_step(look, id).await? {
        look.app.commands.stop(&wait.job, wait.number, asked.by()).await?;
        return Ok(reply::empty(StatusCode::NO_CONTENT));
    }
    match look.app.commands.cancel_queued(id).await? {
        true if asked.navigates() => reply::to(StatusCode::SEE_OTHER, &format!("{}queue/", look.base.root())),
        true => Ok(reply::empty(StatusCode::NO_CONTENT)),
        false => Err(Error::missing(format!("queue item {} does not wait", id.0))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_has_a_unit_or_means_seconds() {
        for (text, millis) in
            [("0sec", 0), ("5", 5_000), ("2 min", 120_000), ("10ms", 10), ("1day", 86_400_000)]
        {
            assert_eq!(delay(text).unwrap().as_millis(), millis, "{text}");
        }
        assert_eq!(delay("99999999999999999days").unwrap(), MAX_DELAY);
        for text in ["", "sec", "-1", "1x", "999999999999999999999"] {
            assert!(delay(text).is_err(), "{text}");
        }
    }

    #[test]
    fn submitted_parameters_come_as_a_list_or_as_one() {
        let one = submitted(r#"{"parameter":{"name":"A","value":"1"}}"#).unwrap();
        assert_eq!(one["A"], "1");
        let many = submitted(r#"{"parameter":[{"name":"A","value":true},{"name":"F","file":"x"}]}"#).unwrap();
        assert_eq!(many.len(), 1);
        assert_eq!(many["A"], "true");
        assert!(submitted("{}").unwrap().is_empty());
        for bad in ["", "{", r#"{"parameter":1}"#, r#"{"parameter":[{"value":"x"}]}"#] {
            assert!(submitted(bad).is_err(), "{bad}");
        }
        assert!(submitted(&"[".repeat(100_000)).is_err());
    }
}

//! Addresses of jobs, folders, their views and builds.

use model::JobName;
use store::Which;

use super::{Action, Route, Thing, number, thing};

/// Most folders in one address.
const MAX_NESTING: usize = 64;

/// From the top: any number of `job/NAME` and `view/all`, then what is asked of the last one.
pub(super) fn parse(parts: &[&str]) -> Route {
    let mut at: Option<JobName> = None;
    let mut rest = parts;
    let mut view = false;
    for _ in 0..MAX_NESTING {
        rest = match rest {
            ["job", name, rest @ ..] => {
                view = false;
                at = match JobName::child(at.as_ref(), name) {
                    Ok(name) => Some(name),
                    Err(_) => return Route::NotFound,
                };
                rest
            }
            ["view", name, rest @ ..] if name.eq_ignore_ascii_case("all") => {
                view = true;
                rest
            }
            rest => {
                return match at {
                    _ if view => of_view(at, rest),
                    None => of_top(rest),
                    Some(name) => of_item(name, rest),
                };
            }
        };
    }
    Route::NotFound
}

fn of_top(rest: &[&str]) -> Route {
    match rest {
        ["createItem", ..] => Route::Do(Action::CreateItem(None)),
        _ => Route::NotFound,
    }
}

fn of_view(folder: Option<JobName>, rest: &[&str]) -> Route {
    match rest {
        ["createItem", ..] => Route::Do(Action::CreateItem(folder)),
        rest => thing(Thing::View(folder), rest),
    }
}

fn of_item(name: JobName, rest: &[&str]) -> Route {
    match rest {
        ["createItem", ..] => Route::Do(Action::CreateItem(Some(name))),
        ["config.xml", ..] => Route::Do(Action::ItemConfig(name)),
        ["doDelete", ..] => Route::Do(Action::ItemDelete(name)),
        ["confirmRename" | "doRename", ..] => Route::Do(Action::ItemRename(name)),
        ["enable", ..] => Route::Do(Action::ItemEnable(name)),
        ["disable", ..] => Route::Do(Action::ItemDisable(name)),
        ["build", ..] => Route::Do(Action::Build(name)),
        ["buildWithParameters", ..] => Route::Do(Action::BuildWithParameters(name)),
        ["configure", ..] => Route::Page(Thing::Item(name)),
        [build, rest @ ..] => match which(build) {
            Some(which) => of_build(name, which, rest),
            None => thing(Thing::Item(name), &[&[*build], rest].concat()),
        },
        [] => Route::Page(Thing::Item(name)),
    }
}

/// A build number or permalink.
fn which(text: &str) -> Option<Which> {
    Some(match text {
        "lastBuild" => Which::Last,
        "firstBuild" => Which::First,
        "lastCompletedBuild" => Which::LastCompleted,
        "lastStableBuild" => Which::LastStable,
        "lastSuccessfulBuild" => Which::LastSuccessful,
        "lastUnstableBuild" => Which::LastUnstable,
        "lastFailedBuild" => Which::LastFailed,
        "lastUnsuccessfulBuild" => Which::LastUnsuccessful,
        _ => Which::Number(number(text)?),
    })
}

fn of_build(name: JobName, which: Which, rest: &[&str]) -> Route {
    Route::Do(match rest {
        ["stop", ..] => Action::BuildStop(name, which),
        ["term", ..] => Action::BuildTerm(name, which),
        ["kill", ..] => Action::BuildKill(name, which),
        ["doDelete", ..] => Action::BuildDelete(name, which),
        ["toggleLogKeep", ..] => Action::BuildKeep(name, which),
        ["consoleText", ..] => Action::ConsoleText(name, which),
        ["console" | "consoleFull", ..] => Action::Console(name, which),
        ["logText", "progressiveText", ..] => Action::ProgressiveText(name, which),
        ["logText", "progressiveHtml", ..] => Action::ProgressiveHtml(name, which),
        ["verifyLog", "api", "json"] => Action::VerifyLog(name, which),
        ["buildNumber", ..] => Action::BuildNumber(name, which),
        ["artifact", path @ ..] => return artifact(name, which, path),
        ["testReport", ..] => return Route::NotFound,
        rest => return thing(Thing::Build(name, which), rest),
    })
}

fn artifact(name: JobName, which: Which, path: &[&str]) -> Route {
    // what comes after `*zip*` is the name that the client gives the file
    let zip = path.iter().position(|s| *s == "*zip*");
    let path = zip.and_then(|at| path.get(..at)).unwrap_or(path);
    if path.iter().any(|s| s.len() > 1 && s.starts_with('*') && s.ends_with('*')) {
        return Route::NotServed("of such views of artifacts there is only *zip*");
    }
    if path.iter().any(|s| *s == "." || *s == ".." || s.contains(['/', '\\', '\0'])) {
        return Route::NotFound;
    }
    let path = path.join("/");
    Route::Do(match zip {
        Some(_) => Action::ArtifactZip(name, which, path),
        None => Action::Artifact(name, which, path),
    })
}

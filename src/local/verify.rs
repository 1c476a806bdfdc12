//! `majordomo verify-log`: a replica reads a build's whole log and tells what is wrong with it.

use std::time::Duration;

use hyper::Method;
use model::JobName;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::Error;
use crate::table::{columns, plain, send_within};
use crate::whom::Whom;

/// A little more than a replica takes for one check.
const CHECK: Duration = Duration::from_secs(31 * 60);
/// Longest text of a defect.
const MAX_TEXT: usize = 300;
/// Most agents that are told one by one as not reached.
const MAX_AGENTS: usize = 10;

/// What came of a check or a test; also the exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Right,
    Defects,
    /// It could not be checked.
    Unknown,
}

impl Verdict {
    pub fn status(self) -> u8 {
        match self {
            Verdict::Right => 0,
            Verdict::Defects => 1,
            Verdict::Unknown => 2,
        }
    }
}

/// As `verifyLog/api/json` tells it. Numbers are missing when the check did not come to its end.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Checked {
    job: String,
    number: u64,
    pub(crate) building: bool,
    pub(crate) result: Option<String>,
    checked: bool,
    why: Option<String>,
    gone: bool,
    compared: bool,
    object: Option<String>,
    spools: Option<Spools>,
    pub(crate) bytes: u64,
    chunks: u64,
    pub(crate) sha256: String,
    /// Of so many first bytes as was asked for, if the log has them.
    pub(crate) first_sha256: Option<String>,
    steps: u64,
    raw_bytes: u64,
    records: u64,
    pub(crate) defect_count: u64,
    pub(crate) defects: Vec<Defect>,
}

/// What came of comparing the log with the spools of agents.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spools {
    /// Those that the journal names.
    agents: u64,
    /// Those of them that have answered.
    asked: u64,
    /// Those that hold nothing of the build any more.
    forgotten: u64,
    /// Steps whose spools are there.
    steps: u64,
    compared: u64,
    /// Steps of which only a part could be compared, and the lengths.
    lengths: u64,
    /// Steps whose spools a restart of the machine has damaged.
    lost: u64,
    bytes: u64,
    /// Who did not answer, and why.
    unreachable: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Defect {
    kind: String,
    offset: u64,
    pub(crate) message: String,
}

/// Why a log was not checked.
#[derive(Debug)]
pub(crate) enum Unchecked {
    /// There is no such build (any more).
    Gone,
    /// It may work in a moment.
    Busy,
    Failed(Error),
}

impl From<Error> for Unchecked {
    fn from(error: Error) -> Unchecked {
        Unchecked::Failed(error)
    }
}

/// Has a log checked; gives what is to be told about it.
pub async fn verify_log(whom: &Whom, job: &str, number: &str) -> Result<(String, Verdict), Error> {
    let job = JobName::parse(job).map_err(|e| Error::Refused(format!("the job {job:?}: {e}")))?;
    if number.is_empty() || !number.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Err(Error::Refused("say a build by its number, or as lastBuild and its like".to_owned()));
    }
    match check(whom, &job, number, None).await {
        Ok(checked) => Ok((told(&checked), verdict(&checked))),
        Err(Unchecked::Gone) => Err(Error::Refused(format!("{job} has no build {number}"))),
        Err(Unchecked::Busy) => {
            let url = &whom.url;
            Err(Error::Refused(format!("{url} is busy or its store is away; try again in a moment")))
        }
        Err(Unchecked::Failed(error)) => Err(error),
    }
}

/// The address of a build.
pub(crate) fn build_path(job: &JobName, number: &str) -> String {
    let segments = job.as_str().split('/').map(|s| utf8_percent_encode(s, NON_ALPHANUMERIC));
    let job: String = segments.map(|segment| format!("/job/{segment}")).collect();
    format!("{job}/{number}")
}

/// `first`: the sum of so many first bytes is wanted as well.
pub(crate) async fn check(
    whom: &Whom,
    job: &JobName,
    number: &str,
    first: Option<u64>,
) -> Result<Checked, Unchecked> {
    let first = first.map(|bytes| format!("?first={bytes}")).unwrap_or_default();
    let path = build_path(job, number) + "/verifyLog/api/json" + &first;
    let answer = send_within(whom, Method::GET, &path, CHECK).await?;
    match answer.status {
        200 => {}
        404 => return Err(Unchecked::Gone),
        503 => return Err(Unchecked::Busy),
        status => {
            return Err(Error::Refused(format!("{} answers with status {status}", whom.url)).into());
        }
    }
    let checked: Checked = serde_json::from_slice(&answer.body)
        .map_err(|e| Error::Refused(format!("the answer is not that of a Majordomo controller: {e}")))?;
    if checked.checked {
        return Ok(checked);
    }
    if checked.gone {
        return Err(Unchecked::Gone);
    }
    let why = plain(checked.why.as_deref().unwrap_or("it does not say why"), MAX_TEXT);
    Err(Error::Refused(format!("the log of {job} #{number} was not checked: {why}")).into())
}

fn verdict(checked: &Checked) -> Verdict {
    if checked.defect_count == 0 { Verdict::Right } else { Verdict::Defects }
}

fn told(checked: &Checked) -> String {
    let state = match (&checked.result, checked.building) {
        (_, true) => "runs",
        (Some(result), false) => result,
        (None, false) => "has ended",
    };
    let compared = match (checked.compared, checked.building) {
        (true, true) => "as committed",
        (true, false) => "as journaled",
        (false, _) => "it ended meanwhile, so not compared with what was committed",
    };
    let defects = match checked.defect_count {
        0 => "none".to_owned(),
        count => count.to_string(),
    };
    let place =
        checked.object.as_ref().map_or(String::new(), |key| format!(", object {}", plain(key, MAX_TEXT)));
    let Checked { bytes, chunks, sha256, steps, raw_bytes, records, spools, .. } = checked;
    let mut rows = vec![
        ("build", format!("{} #{}, {}", plain(&checked.job, MAX_TEXT), checked.number, plain(state, 20))),
        ("log", format!("{bytes} bytes in {chunks} chunks{place}")),
        ("sha256", plain(sha256, 64)),
        ("steps", format!("{steps} have printed {raw_bytes} raw bytes ({compared})")),
        ("journal", format!("{records} records")),
        ("spools", spools.as_ref().map_or("not looked at".to_owned(), compared_spools)),
    ];
    let unreachable = spools.as_ref().map(|spools| spools.unreachable.as_slice()).unwrap_or_default();
    rows.extend(unreachable.iter().take(MAX_AGENTS).map(|why| ("", plain(why, MAX_TEXT))));
    if unreachable.len() > MAX_AGENTS {
        rows.push(("", format!("and {} more", unreachable.len() - MAX_AGENTS)));
    }
    rows.push(("defects", defects));
    let rows: Vec<_> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    let mut text = columns(&rows);
    for defect in &checked.defects {
        text.push_str(&format!("\n{}", line(defect)));
    }
    let told = checked.defects.len() as u64;
    if checked.defect_count > told {
        text.push_str(&format!("\nand {} more", checked.defect_count - told));
    }
    text
}

fn compared_spools(spools: &Spools) -> String {
    let Spools { agents, asked, forgotten, steps, compared, lengths, lost, bytes, unreachable: _ } = spools;
    if *agents == 0 {
        return "the journal names no agent".to_owned();
    }
    let mut text = match (asked, forgotten) {
        (0, _) => format!("none of {} has answered", counted(*agents, "agent")),
        (asked, 0) => format!("{asked} of {} asked", counted(*agents, "agent")),
        (asked, forgotten) if asked == forgotten && asked == agents => "agents hold none any more".to_owned(),
        (asked, forgotten) => {
            let agents = counted(*agents, "agent");
            format!("{asked} of {agents} asked, of which {forgotten} hold none any more")
        }
    };
    if *steps > 0 {
        let steps = counted(*steps, "step");
        text.push_str(&format!("; the log has {compared} of {steps} as printed ({bytes} bytes compared)"));
    }
    if *lengths > 0 {
        text.push_str(&format!(", {lengths} up to bytes that are no UTF-8, and by length"));
    }
    if *lost > 0 {
        text.push_str(&format!(", {lost} spools were damaged by a restart of their machine"));
    }
    text
}

fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("{count} {what}") } else { format!("{count} {what}s") }
}

/// A defect in one line.
pub(crate) fn line(defect: &Defect) -> String {
    format!("{} at {}: {}", plain(&defect.kind, 20), defect.offset, plain(&defect.message, MAX_TEXT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_told_in_lines() {
        let json = r#"

            {"job":"a/b","number":7,"building":false,"result":"FAILURE","checked":true,"why":null,"compared":true,
            "object":"logs/9/4.gz",
            "spools":{"agents":2,"asked":1,"forgotten":0,"steps":2,"compared":1,"lengths":0,"lost":0,"bytes":4,
            "unreachable":["mac: no\u001b connection"]},"bytes":14,"chunks":4,"sha256":"ab12","steps":2,"rawBytes":6,"records":5,
            "defectCount":3,"defects":[{"kind":"gap","offset":6,"step":"","message":"3 bytes are missing before 9"},
            {"kind":"end","offset":14,"step":"","message":"the\u001b log"}]}"#;
        let checked: Checked = serde_json::from_str(json).unwrap();
        let wanted = "build    a/b #7, FAILURE\n\
                      log      14 bytes in 4 chunks, object logs/9/4.gz\n\
                      sha256   ab12\n\
                      steps    2 have printed 6 raw bytes (as journaled)\n\
                      journal  5 records\n\
                      spools   1 of 2 agents asked; the log has 1 of 2 steps as printed (4 bytes compared)\n\
                      \u{20}        mac: no? connection\n\
                      defects  3\n\
                      gap at 6: 3 bytes are missing before 9\n\
                      end at 14: the? log\n\
                      and 1 more";
        assert_eq!(told(&checked), wanted);
        assert_eq!(verdict(&checked).status(), 1);
        let whole = Checked { defect_count: 0, defects: vec![], building: true, compared: true, ..checked };
        let text = told(&whole);
        assert!(text.contains("#7, runs") && text.contains("(as committed)"), "{text}");
        assert!(text.ends_with("defects  none"), "{text}");
        assert_eq!(verdict(&whole).status(), 0);
        assert_eq!(Verdict::Unknown.status(), 2);
    }

    #[test]
    fn spools_are_told_in_a_line() {
        let text = |spools: Spools| compared_spools(&Spools { agents: 2, ..spools });
        let spools = Spools::default;
        assert_eq!(compared_spools(&spools()), "the journal names no agent");
        assert_eq!(text(spools()), "none of 2 agents has answered");
        assert_eq!(text(Spools { asked: 2, forgotten: 2, ..spools() }), "agents hold none any more");
        let away = text(Spools { asked: 1, forgotten: 1, ..spools() });
        assert_eq!(away, "1 of 2 agents asked, of which 1 hold none any more");
        assert_eq!(
            text(Spools { asked: 2, forgotten: 1, steps: 1, compared: 1, bytes: 7, ..spools() }),
            "2 of 2 agents asked, of which 1 hold none any more; the log has 1 of 1 step as printed (7 bytes compared)"
        );
        assert_eq!(
            text(Spools { asked: 2, steps: 3, compared: 1, lengths: 1, lost: 1, bytes: 7, ..spools() }),
            "2 of 2 agents asked; the log has 1 of 3 steps as printed (7 bytes compared), 1 up to bytes that are no \
             UTF-8, and by length, 1 spools were damaged by a restart of their machine"
        );
        let old = Checked { spools: None, ..Checked::default() };
        assert!(told(&old).contains("spools   not looked at\n"));
        let unreachable = vec!["mac: no connection".to_owned(); 12];
        let many = Checked { spools: Some(Spools { unreachable, ..spools() }), ..Checked::default() };
        assert!(told(&many).contains("\n         mac: no connection\n         and 2 more\ndefects"));
    }

    #[test]
    fn every_name_fits_an_address() {
        let path = |job| build_path(&JobName::parse(job).unwrap(), "lastBuild");
        assert_eq!(path("app"), "/job/app/lastBuild");
        assert_eq!(path("a b/ž"), "/job/a%20b/job/%C5%BE/lastBuild");
    }
}

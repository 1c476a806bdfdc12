//! How a build gets its driver: begun from its job's definition, or resumed from its journal.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use config::Definition;
use model::level::BEHAVIOUR;
use model::{BuildId, BuildResult, JobName, Millis};
use pipeline::act::{Began, Earlier, Language, Outcome, Record};
use store::{Build, Chunk, Effect, Executor, Progress, Running, Write};

use crate::archive;
use crate::definition;
use crate::driver::{Driver, Facts, Now, Rules};
use crate::elastic::learned;
use crate::service::Shared;
use crate::texts;

/// Format of the records that new journals get.
const FORMAT: u32 = 1;

/// Lines of a log about what is otherwise than in Jenkins.
const MAX_REMARKS: usize = 100;
/// Earlier builds that a script may look at.
const EARLIER: u32 = 50;
/// Their bytes as JSON.
const EARLIER_BYTES: usize = 8 * 1024;

/// Why there is no driver.
#[derive(Debug)]
pub(crate) enum NoDriver {
    /// The build can't run; it has ended with this text in its log, or will.
    Failed(String),
    /// Try again later.
    Store(store::Error),
}

impl From<store::Error> for NoDriver {
    fn from(error: store::Error) -> NoDriver {
        NoDriver::Store(error)
    }
}

/// A build with its driver.
pub(crate) struct Started {
    pub(crate) driver: Driver,
    /// When it left the queue.
    pub(crate) since: Millis,
}

pub(crate) async fn driver(shared: &Shared, running: &Running) -> Result<Started, NoDriver> {
    let build = shared
        .store
        .build_by_id(running.build)
        .await?
        .ok_or_else(|| NoDriver::Failed("the row of the build is gone".to_owned()))?;
    if running.behaviour > BEHAVIOUR {
        return Err(NoDriver::Failed(format!(
            "it runs with behaviour {}, which is newer than ours",
            running.behaviour
        )));
    }
    let since = build.started_at;
    if running.seq == 0 {
        return Ok(Started { driver: begin(shared, running, &build).await?, since });
    }
    let (mut records, bytes) = journal(shared, running.build, Gone::Fails).await?;
    let first = (!records.is_empty()).then(|| records.remove(0));
    let Some(Record::Began(began)) = first else {
        return Err(NoDriver::Failed("its journal does not begin with its beginning".to_owned()));
    };
    let source = shared.store.source(&began.program).await?;
    let source = source.ok_or_else(|| NoDriver::Failed("the source of its program is gone".to_owned()))?;
    let program = shared.programs.compile(began.language, &source).await;
    let program = program.map_err(|d| NoDriver::Failed(diagnostics(&d)))?;
    let executor = has_executor(shared, running, began.language).await?;
    let facts = Facts { journal: bytes, executor, ..facts(shared, running, scm_of(&began)).await? };
    // Replaying computes for as long as the build did: not on a thread that others wait for.
    let replay = tokio::task::spawn_blocking(move || Driver::resume(facts, &program, &began, records));
    let mut driver = replay
        .await
        .map_err(|_| NoDriver::Failed("replaying its journal crashed".to_owned()))?
        .map_err(NoDriver::Failed)?;
    if set_back(running) {
        driver.start_nothing_unknown();
    }
    Ok(Started { driver, since })
}

/// What stands for a text of a journal that is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gone {
    /// Nothing does: whatever took its place would not be what the machine was fed.
    Fails,
    /// An empty one, for who only looks: texts go when their build ends.
    Empty,
}

/// The whole journal, with texts in place of the objects that hold them, and the bytes of both.
pub(crate) async fn journal(
    shared: &Shared,
    build: BuildId,
    gone: Gone,
) -> Result<(Vec<Record>, u64), NoDriver> {
    let (mut records, mut size) = (Vec::new(), 0);
    loop {
        let from = i64::try_from(records.len()).unwrap_or(i64::MAX);
        let page = shared.store.journal(build, from).await?;
        if page.is_empty() {
            return Ok((records, size));
        }
        for bytes in page {
            size += bytes.len() as u64;
            let record: Record = serde_json::from_slice(&bytes).map_err(|e| {
                NoDriver::Failed(format!("record {} of its journal can't be read: {e}", records.len()))
            })?;
            let (record, text) = resolved(shared, build, record, gone).await?;
            size += text;
            records.push(record);
        }
    }
}

/// The record with its text, and the bytes of that.
async fn resolved(
    shared: &Shared,
    build: BuildId,
    record: Record,
    gone: Gone,
) -> Result<(Record, u64), NoDriver> {
    let Record::Outcome { step, outcome: Outcome::Done(data), at, raw } = record else {
        return Ok((record, 0));
    };
    let Some((hash, size)) = texts::object_of(&data) else {
        return Ok((Record::Outcome { step, outcome: Outcome::Done(data), at, raw }, 0));
    };
    let key = texts::text_key(build, hash);
    let most = usize::try_from(size).unwrap_or(usize::MAX);
    let bytes = shared.objects.get(&key, 0, most).await?;
    let bytes = match (bytes, gone) {
        (Some(bytes), _) => bytes,
        (None, Gone::Empty) => Bytes::new(),
        (None, Gone::Fails) => {
            return Err(NoDriver::Failed(format!("the object {key} of its journal is gone")));
        }
    };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok((Record::Outcome { step, outcome: texts::with_text(&data, text), at, raw }, size))
}

async fn facts(shared: &Shared, running: &Running, scm: Option<crate::GitSource>) -> Result<Facts, NoDriver> {
    let raw: BTreeMap<String, u64> = match running.seq {
        0 => BTreeMap::new(),
        _ => shared.store.raw_offsets(running.build).await?.into_iter().collect(),
    };
    Ok(Facts {
        build: running.build,
        job: running.job.clone(),
        number: running.number,
        owner: running.owner,
        fence: running.fence,
        seq: running.seq,
        log_end: running.log_end,
        journal: 0,
        raw,
        scm,
        executor: false,
        rules: Rules::default(),
    })
}

async fn begin(shared: &Shared, running: &Running, build: &Build) -> Result<Driver, NoDriver> {
    // Its name may be newer than that of `running`. It is not deleted while the build runs: only a rename hides it.
    let item = shared.store.item(&build.job).await?;
    let item = item.ok_or_else(|| store::Error::NotFound(format!("the job {}", build.job)))?;
    let mut config = definition::job_config(&item.config).map_err(NoDriver::Failed)?;
    let texts = build.params.iter().map(|(name, value)| (name.clone(), value.to_string())).collect();
    if let Definition::Freestyle(job) = &mut config.definition {
        **job = learned(&*shared.store, std::mem::take(&mut **job), build, &texts).await?;
    }
    let source =
        definition::source(&config, &texts).await.map_err(|e| NoDriver::Failed(format!("ERROR: {e}")))?;
    let program = match shared.programs.compile(source.language, &source.text).await {
        Ok(program) => program,
        Err(errors) => return Err(NoDriver::Failed(diagnostics(&errors))),
    };
    let now = Now { wall: shared.clock.now(), elapsed: shared.clock.elapsed() };
    let mut env = environment(&build.job, build, shared.url.as_deref());
    if let Some(scm) = &source.scm {
        env.insert(SCM_URL.to_owned(), scm.url.clone());
        env.insert(SCM_COMMIT.to_owned(), scm.branch.clone());
        env.extend(scm.name.clone().map(|name| (SCM_BRANCH.to_owned(), name)));
    }
    // `previousBuild`, `getPreviousBuild()` and their kin: other Jenkinsfiles don't pay for the read and the record.
    let speaks = source.language == Language::Pipeline && source.text.contains("revious");
    let (earlier, older) = if speaks { earlier(shared, build).await? } else { (Vec::new(), false) };
    let began = Began {
        format: FORMAT,
        behaviour: running.behaviour,
        language: source.language,
        program: program.hash().to_owned(),
        job: build.job.to_string(),
        number: running.number,
        params: build.params.clone(),
        env,
        causes: build.causes.clone(),
        previous: item.summary.last_result,
        earlier,
        older,
        has_scm: source.scm.is_some(),
        at: u64::try_from(now.wall.0).unwrap_or(0),
    };
    let head = build.causes.iter().map(|c| c.short_description() + "\n");
    let remarks = config.remarks.iter().take(MAX_REMARKS).map(|remark| format!("WARNING: {remark}\n"));
    let head: String = head.chain([source.note]).chain(remarks).collect();
    let facts = Facts {
        executor: has_executor(shared, running, source.language).await?,
        ..facts(shared, running, source.scm).await?
    };
    let mut driver = Driver::begin(facts, &program, began, source.text, &head, now);
    if set_back(running) {
        driver.start_nothing_unknown();
    }
    Ok(driver)
}

/// Whether an executor, with which the build left the queue, waits in the inbox for the step that wants it. The job may have
/// been configured anew since, so a Freestyle build may be without one.
async fn has_executor(shared: &Shared, running: &Running, language: Language) -> Result<bool, store::Error> {
    if language != Language::Freestyle {
        return Ok(false);
    }
    let key = format!("granted:{}", Executor::STEP);
    Ok(shared.store.inbox(running.build).await?.iter().any(|row| row.key == key))
}

/// The builds before this one, and whether there are more: a name is as long as its user likes, and a record is not.
async fn earlier(shared: &Shared, build: &Build) -> Result<(Vec<Earlier>, bool), store::Error> {
    let builds = shared.store.builds(&build.job, Some(build.number), EARLIER + 1).await?;
    let mut room = EARLIER_BYTES;
    let fitting = builds.iter().take(EARLIER as usize).map(as_earlier).take_while(|build| {
        let size = serde_json::to_vec(build).map_or(usize::MAX, |json| json.len());
        room.checked_sub(size).inspect(|left| room = *left).is_some()
    });
    let earlier: Vec<Earlier> = fitting.collect();
    let older = earlier.len() < builds.len();
    Ok((earlier, older))
}

fn as_earlier(build: &Build) -> Earlier {
    let duration = build.ended_at.map_or(0, |end| end.since(build.started_at).as_millis());
    Earlier {
        number: build.number,
        result: build.result,
        running: build.building(),
        display_name: build.display_name.clone(),
        at: u64::try_from(build.started_at.0).unwrap_or(0),
        duration: u64::try_from(duration).unwrap_or(u64::MAX),
    }
}

/// The store was set back in time since the build left the queue, even if nothing of it is journaled: in the time that is
/// lost, agents may have run its steps.
fn set_back(running: &Running) -> bool {
    running.epoch < running.fence.epoch()
}

const SCM_URL: &str = "MAJORDOMO_SCM_URL";
const SCM_COMMIT: &str = "MAJORDOMO_SCM_COMMIT";
const SCM_BRANCH: &str = "MAJORDOMO_SCM_BRANCH";

/// What `checkout scm` fetches, as the first record has it.
fn scm_of(began: &Began) -> Option<crate::GitSource> {
    let url = began.env.get(SCM_URL)?.clone();
    let branch = began.env.get(SCM_COMMIT)?.clone();
    let name = began.env.get(SCM_BRANCH).cloned();
    let shallow = began.language == Language::Pipeline;
    Some(crate::GitSource { url, branch, name, shallow })
}

/// What every build sees in `env`, as Jenkins names it.
fn environment(job: &JobName, build: &Build, url: Option<&str>) -> BTreeMap<String, String> {
    let number = build.number.to_string();
    let mut env = BTreeMap::from([
        ("BUILD_NUMBER".to_owned(), number.clone()),
        ("BUILD_ID".to_owned(), number.clone()),
        ("BUILD_DISPLAY_NAME".to_owned(), format!("#{number}")),
        ("BUILD_TAG".to_owned(), format!("jenkins-{}-{number}", job.as_str().replace('/', "-"))),
        ("JOB_NAME".to_owned(), job.to_string()),
        ("JOB_BASE_NAME".to_owned(), job.short().to_owned()),
        ("CI".to_owned(), "true".to_owned()),
    ]);
    if let Some(url) = url {
        let path = job_path(job);
        env.insert("JENKINS_URL".to_owned(), url.to_owned());
        env.insert("JOB_URL".to_owned(), format!("{url}{path}"));
        env.insert("BUILD_URL".to_owned(), format!("{url}{path}{number}/"));
    }
    env
}

/// Where a job is, below the address of the controller.
pub(crate) fn job_path(job: &JobName) -> String {
    job.as_str().split('/').map(|s| format!("job/{}/", percent(s))).collect()
}

fn percent(segment: &str) -> String {
    segment.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            use std::fmt::Write;
            let _infallible = write!(text, "%{byte:02X}");
        }
        text
    })
}

fn diagnostics(errors: &[pipeline::diagnostic::Diagnostic]) -> String {
    let lines = errors.iter().map(|e| format!("{e}\n")).collect::<String>();
    let count = errors.len();
    let noun = if count == 1 { "error" } else { "errors" };
    format!(
        "org.codehaus.groovy.control.MultipleCompilationErrorsException: startup failed:\n{lines}{count} {noun}"
    )
}

/// Ends a build that can't run, with the reason in its log; gives how long it took from leaving the queue.
pub(crate) async fn fail(
    shared: &Arc<Shared>,
    running: &Running,
    why: &str,
) -> Result<Duration, store::Error> {
    let build = shared.store.build_by_id(running.build).await?;
    let since = build.as_ref().map(|build| build.started_at);
    let causes = build.filter(|_| running.log_end == 0).map(|b| b.causes).unwrap_or_default();
    let head = causes.iter().map(|c| c.short_description() + "\n").collect::<String>();
    let text = Bytes::from(format!("{head}{}\nFinished: FAILURE\n", why.trim_end()));
    let at = shared.clock.now();
    let log_end = running.log_end + text.len() as u64;
    let chunk = Chunk::new(running.log_end, String::new(), (0, 0), at, text);
    let first_record = i64::try_from(count(shared, running).await?).unwrap_or(i64::MAX);
    let progress = Progress {
        build: running.build,
        owner: running.owner,
        fence: running.fence,
        seq: running.seq,
        first_record,
        records: Vec::new(),
        chunks: vec![chunk],
        log_end,
        effects: vec![Effect::Finish { result: BuildResult::Failure, at, archive: log_end > archive::STAYS }],
    };
    shared.store.write(Write::Progress(Box::new(progress))).await?;
    shared.links.over(running.build, running.fence);
    Ok(since.map_or(Duration::ZERO, |since| at.since(since)))
}

async fn count(shared: &Shared, running: &Running) -> Result<usize, store::Error> {
    let mut count = 0;
    loop {
        let page = shared.store.journal(running.build, i64::try_from(count).unwrap_or(i64::MAX)).await?;
        if page.is_empty() {
            return Ok(count);
        }
        count += page.len();
    }
}

#[cfg(test)]
mod tests {
    use model::{BuildId, Cause, Millis, ParamValue, QueueId, join_causes};

    use super::*;
    use crate::commands::defaults;
    use crate::definition::fits;

    /// A build of which everything is as long as it may be.
    fn largest() -> Build {
        // The most that a name becomes in an address: segments of one character that is written as three.
        let job = JobName::parse(&vec!["\""; 1_000].join("/")).unwrap();
        let mut causes = Vec::new();
        for number in 0..100 {
            join_causes(&mut causes, &[Cause::Upstream { job: job.to_string(), number }]);
        }
        Build {
            id: BuildId(1),
            job,
            number: u64::MAX,
            queue_id: QueueId(1),
            causes,
            params: [("P".to_owned(), ParamValue::Text("\u{1}".repeat(2_700)))].into(),
            queued_at: Millis(0),
            started_at: Millis(0),
            ended_at: None,
            result: None,
            display_name: None,
            description: None,
            keep: false,
            log_end: 0,
            behaviour: 1,
            built_on: None,
        }
    }

    #[test]
    fn the_first_record_of_a_build_fits_whatever_was_let_into_the_queue() {
        let build = largest();
        let definition = |text: String| model::ParameterDefinition {
            name: "P".to_owned(),
            description: None,
            kind: model::ParameterKind::Text { default: text },
        };
        assert!(defaults(&[definition("\u{1}".repeat(2_700))]).is_ok());
        let why = defaults(&[definition("\u{1}".repeat(2_800))]).unwrap_err().to_string();
        assert!(
            why.starts_with("the parameters have 16") && why.ends_with("over the limit of 16384"),
            "{why}"
        );
        let scm = |branch: &str| config::GitScm { branch: branch.to_owned(), ..config::GitScm::default() };
        let text = |size| [("P".to_owned(), ParamValue::Text("x".repeat(size)))].into();
        fits(Some(&scm("${P}${P}")), &text(2_000)).unwrap();
        let why = fits(Some(&scm("${P}${P}")), &text(2_100)).unwrap_err();
        assert!(why.starts_with("the URL and the branch of the repository have 42"), "{why}");

        let mut env = environment(&build.job, &build, Some("https://ci.example.org/jenkins/"));
        env.insert(SCM_URL.to_owned(), "x".repeat(1_000));
        env.insert(SCM_COMMIT.to_owned(), "c".repeat(40));
        env.insert(SCM_BRANCH.to_owned(), "x".repeat(3_000));
        let older = Build { display_name: Some("x".repeat(100)), ..largest() };
        let mut began = Began {
            format: FORMAT,
            behaviour: 1,
            language: Language::Pipeline,
            program: "0".repeat(64),
            job: build.job.to_string(),
            number: build.number,
            params: build.params.clone(),
            env,
            causes: build.causes.clone(),
            previous: Some(BuildResult::Failure),
            earlier: Vec::new(),
            older: true,
            has_scm: true,
            at: u64::MAX,
        };
        let record = |began: &Began| serde_json::to_vec(&Record::Began(began.clone())).unwrap().len();
        let without = record(&began);
        while record(&began) - without < EARLIER_BYTES {
            began.earlier.push(as_earlier(&older));
        }
        let size = record(&began);
        assert!(size <= store::MAX_RECORD, "{size} bytes");
        assert!(size > store::MAX_RECORD * 3 / 4, "{size} bytes: the limits could be higher");
    }
}

//! A build's trace as OTLP has it in JSON. Attributes have the names of Jenkins' OpenTelemetry plugin where it has one.

use engine::{BuildTrace, Span, SpanKind};
use model::{BuildResult, Millis};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// `SPAN_KIND_INTERNAL`, `SPAN_KIND_SERVER`
const INTERNAL: u8 = 1;
const SERVER: u8 = 2;
/// `STATUS_CODE_OK`, `STATUS_CODE_ERROR`
const OK: u8 = 1;
const ERROR: u8 = 2;

/// Bytes of a name or message, which users may make as long as they like.
const LONGEST: usize = 1_024;

/// The beginning of what is too long.
fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(LONGEST)).unwrap_or(text)
}

fn hash(parts: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}

/// The same for a build whoever works it out: 32 hexadecimal digits.
pub fn trace_id(controller: &str, build: model::BuildId) -> String {
    let hash = hash(&["trace", controller, &build.0.to_string()]);
    hex::encode(hash.get(..16).unwrap_or_default())
}

/// Of a span of a build; the empty one is the build itself. 16 hexadecimal digits.
pub fn span_id(controller: &str, build: model::BuildId, span: &str) -> String {
    let hash = hash(&["span", controller, &build.0.to_string(), span]);
    hex::encode(hash.get(..8).unwrap_or_default())
}

fn nanos(at: Millis) -> String {
    // 64-bit numbers are strings in JSON
    format!("{}000000", at.0.max(0))
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn number(key: &str, value: u64) -> Value {
    json!({ "key": key, "value": { "intValue": value.to_string() } })
}

fn status(failed: Option<&str>) -> Value {
    match failed {
        None => json!({ "code": OK }),
        Some(why) => json!({ "code": ERROR, "message": cut(why) }),
    }
}

/// The body of a request: traces of builds that ended at this replica.
pub(crate) fn request(service: &str, replica: &str, traces: &[BuildTrace]) -> Value {
    let spans: Vec<Value> = traces.iter().flat_map(spans).collect();
    json!({
        "resourceSpans": [{
            "resource": { "attributes": [
                text("service.name", service),
                text("service.version", env!("CARGO_PKG_VERSION")),
                text("service.instance.id", replica),
            ] },
            "scopeSpans": [{ "scope": { "name": "majordomo" }, "spans": spans }],
        }],
    })
}

fn spans(trace: &BuildTrace) -> Vec<Value> {
    let mut spans = vec![root(trace), queue(trace)];
    spans.extend(trace.spans.iter().map(|part| span(trace, part)));
    spans
}

fn base(
    trace: &BuildTrace,
    id: &str,
    name: &str,
    kind: u8,
    (from, to): (Millis, Millis),
    attributes: Vec<Value>,
) -> Value {
    json!({
        "traceId": trace_id(&trace.controller, trace.build),
        "spanId": span_id(&trace.controller, trace.build, id),
        "name": cut(name),
        "kind": kind,
        "startTimeUnixNano": nanos(from),
        "endTimeUnixNano": nanos(to.max(from)),
        "attributes": attributes,
    })
}

fn root(trace: &BuildTrace) -> Value {
    let lasted = trace.ended_at.since(trace.started_at).as_millis();
    let mut attributes = vec![
        text("ci.pipeline.id", trace.job.as_str()),
        text("ci.pipeline.name", trace.job.short()),
        text("ci.pipeline.type", trace.language),
        number("ci.pipeline.run.number", trace.number),
        text("ci.pipeline.run.result", trace.result.as_str()),
        json!({ "key": "ci.pipeline.run.completed", "value": { "boolValue": true } }),
        number("ci.pipeline.run.durationMillis", u64::try_from(lasted).unwrap_or(u64::MAX)),
        number("majordomo.build.id", u64::try_from(trace.build.0).unwrap_or(0)),
    ];
    attributes.extend(trace.url.as_deref().map(|url| text("ci.pipeline.run.url", url)));
    if trace.left_out > 0 {
        attributes.push(number("majordomo.spans.left_out", trace.left_out as u64));
    }
    let failed = match trace.result {
        BuildResult::Success | BuildResult::Unstable | BuildResult::NotBuilt => None,
        BuildResult::Failure | BuildResult::Aborted => Some(trace.result.as_str()),
    };
    let name = format!("BUILD {}", trace.job);
    let mut root = base(trace, "", &name, SERVER, (trace.queued_at, trace.ended_at), attributes);
    if let Some(root) = root.as_object_mut() {
        root.insert("status".to_owned(), status(failed));
    }
    root
}

fn queue(trace: &BuildTrace) -> Value {
    let mut queue = base(trace, "queue", "Queue", INTERNAL, (trace.queued_at, trace.started_at), Vec::new());
    if let Some(queue) = queue.as_object_mut() {
        queue.insert("parentSpanId".to_owned(), json!(span_id(&trace.controller, trace.build, "")));
    }
    queue
}

fn span(trace: &BuildTrace, span: &Span) -> Value {
    let name = match span.kind {
        SpanKind::Stage => format!("Stage: {}", span.name),
        SpanKind::Branch => format!("Parallel branch: {}", span.name),
        SpanKind::Allocation => "Agent Allocation".to_owned(),
        SpanKind::Node => format!("Agent: {}", span.name),
        SpanKind::Step => span.name.clone(),
    };
    let mut attributes = vec![text("jenkins.pipeline.step.id", &span.step)];
    attributes.push(match span.kind {
        SpanKind::Stage | SpanKind::Branch => text("jenkins.pipeline.step.name", cut(&span.name)),
        SpanKind::Allocation => text("jenkins.pipeline.step.agent.label", cut(&span.name)),
        SpanKind::Node => text("jenkins.pipeline.step.type", "node"),
        SpanKind::Step => text("jenkins.pipeline.step.type", cut(&span.name)),
    });
    attributes.extend(span.node.as_deref().map(|node| text("jenkins.computer.name", node)));
    let times = (span.began, span.ended);
    let mut value = base(trace, &span.id, &name, INTERNAL, times, attributes);
    if let Some(value) = value.as_object_mut() {
        let parent = span.parent.as_deref().unwrap_or_default();
        value.insert("parentSpanId".to_owned(), json!(span_id(&trace.controller, trace.build, parent)));
        value.insert("status".to_owned(), status(span.failed.as_deref()));
    }
    value
}

#[cfg(test)]
mod tests {
    use model::{BuildId, JobName};

    use super::*;

    #[test]
    fn a_build_is_one_trace_whose_ids_follow_from_what_it_is() {
        let step = Span {
            id: "3".into(),
            parent: Some("1".into()),
            kind: SpanKind::Step,
            name: "sh".into(),
            step: "3".into(),
            node: Some("n1".into()),
            began: Millis(1_200),
            ended: Millis(1_300),
            failed: Some("exit status 1".into()),
        };
        let stage = Span {
            id: "1".into(),
            parent: None,
            kind: SpanKind::Stage,
            name: "Build".into(),
            failed: None,
            node: None,
            ..step.clone()
        };
        let trace = BuildTrace {
            controller: "acme".into(),
            build: BuildId(7),
            job: JobName::parse("team/web").unwrap(),
            number: 3,
            result: BuildResult::Failure,
            language: "pipeline",
            url: None,
            queued_at: Millis(1_000),
            started_at: Millis(1_100),
            ended_at: Millis(1_500),
            spans: vec![stage, step],
            left_out: 0,
        };
        let body = request("majordomo", "acme-0", &[trace]);
        let spans = body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
        let [root, queue, stage, step] = spans.as_slice() else { panic!("{spans:?}") };
        assert_eq!(root["traceId"], trace_id("acme", BuildId(7)));
        assert_ne!(root["traceId"], trace_id("acme", BuildId(8)));
        assert_eq!(root["traceId"].as_str().unwrap().len(), 32);
        assert!(root.get("parentSpanId").is_none());
        assert_eq!(
            (&root["name"], &root["startTimeUnixNano"]),
            (&json!("BUILD team/web"), &json!("1000000000"))
        );
        let has = |span: &Value, wanted: Value| {
            assert!(span["attributes"].as_array().unwrap().contains(&wanted), "{span}")
        };
        has(root, text("ci.pipeline.id", "team/web"));
        has(root, text("ci.pipeline.run.result", "FAILURE"));
        has(root, number("ci.pipeline.run.number", 3));
        has(root, number("ci.pipeline.run.durationMillis", 400));
        assert_eq!(root["status"]["code"], 2);
        assert_eq!(queue["parentSpanId"], root["spanId"]);
        assert_eq!((&stage["parentSpanId"], &step["parentSpanId"]), (&root["spanId"], &stage["spanId"]));
        assert_eq!(
            (&step["status"]["message"], &stage["status"]["code"]),
            (&json!("exit status 1"), &json!(1))
        );
        has(step, text("jenkins.computer.name", "n1"));
        assert!(
            spans
                .iter()
                .all(|s| s["traceId"] == root["traceId"] && s["spanId"].as_str().unwrap().len() == 16)
        );
    }

    #[test]
    fn long_names_and_messages_are_cut_between_characters() {
        let long = "ä".repeat(LONGEST);
        assert_eq!((cut(&long).len(), cut("sh")), (LONGEST, "sh"));
        assert_eq!(cut(&format!("a{long}")).len(), LONGEST - 1);
        assert_eq!(status(Some(&long))["message"].as_str().unwrap().len(), LONGEST);
    }
}

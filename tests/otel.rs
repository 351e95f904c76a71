//! Spans that reach a collector over real HTTP, and a collector that does not
//! take them. What exports is the package `traces`, what posts is the program's
//! own client.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    io::{self, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bowline::{
    notify::{Access, Collector},
    telemetry::{EARLIER, LogFormat, LogOptions, SPANS, TOOK, subscriber, subscriber_with_spans},
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{Span, status::StatusCode},
};
use prost::Message as _;
use rig::{Authority, Receiver};
use tokio::{runtime::Handle, task::spawn_blocking};
use traces::{About, Exporter};
use tracing::{Dispatch, info, info_span, instrument::WithSubscriber as _};

/// How long an exporter may take to come to its end where its collector answers.
const END: Duration = Duration::from_secs(20);

/// Lines of a log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn dispatch(&self) -> Dispatch {
        let log = self.clone();
        Dispatch::new(subscriber(&text(), move || log.clone()).unwrap())
    }

    fn lines(&self) -> Vec<String> {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap().lines().map(ToOwned::to_owned).collect()
    }
}

fn text() -> LogOptions {
    LogOptions { format: LogFormat::Text, filter: Some("info".into()), ..LogOptions::default() }
}

fn exporter(url: &str, access: Access, log: &Log) -> Exporter {
    let about = About {
        service: "bowline",
        version: "1.2.3",
        instance: "bowline-0-abcd".into(),
        namespace: Some("bowline-system".into()),
        pod: Some("bowline-0".into()),
        target: SPANS,
        earlier: EARLIER,
        took: TOOK,
    };
    let (collector, log) = (Arc::new(Collector::new(url.parse().unwrap(), access)), log.dispatch());
    let post = move |request| {
        let (collector, log) = (collector.clone(), log.clone());
        async move { collector.post(request).with_subscriber(log).await.map_err(Into::into) }
    };
    Exporter::start(&about, &|_| None, url, Handle::current(), post).unwrap()
}

/// Works while an exporter takes up the spans.
fn traced(exporter: &Exporter, work: impl FnOnce()) {
    tracing::subscriber::with_default(subscriber_with_spans(&text(), exporter.layer(), io::sink).unwrap(), work);
}

/// Ends an exporter; whether in time, and how long it took.
async fn end(exporter: Exporter, within: Duration) -> (bool, Duration) {
    let began = Instant::now();
    (spawn_blocking(move || exporter.end(within)).await.unwrap(), began.elapsed())
}

/// What a receiver was posted.
fn received(receiver: &Receiver) -> (Resource, Vec<Span>) {
    let requests = receiver.posted();
    let mut resources = Vec::new();
    let mut spans = Vec::new();
    for request in requests {
        assert_eq!((request.path.as_str(), request.header("content-type")), ("/v1/traces", "application/x-protobuf"));
        for of_resource in ExportTraceServiceRequest::decode(request.body.as_slice()).unwrap().resource_spans {
            resources.extend(of_resource.resource);
            spans.extend(of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
    }
    (resources.remove(0), spans)
}

fn attribute(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{name} is {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_receives_the_spans_of_the_work_and_nothing_else() {
    let receiver = Receiver::start().unwrap();
    let (log, began) = (Log::default(), Instant::now());
    let exporter = exporter(&receiver.url("/v1/traces"), Access::default(), &log);
    traced(&exporter, || {
        let _application = info_span!("application", name = "shop").entered();
        let deploy = info_span!(target: SPANS, "deploy", "bowline.release.number" = 3_i64, "otel.name" = "rollback");
        info_span!(target: SPANS, parent: &deploy, "fetch", "bowline.earlier" = 5_000_000_i64, "bowline.took" = 2_000_000_i64);
        let plan = info_span!(target: SPANS, parent: &deploy, "plan", "error.type" = "Forbidden",
            "otel.status_description" = tracing::field::Empty);
        plan.in_scope(|| {
            info!("an event");
            info_span!(target: SPANS, "write", "bowline.kind" = "ConfigMap").in_scope(|| {});
        });
        plan.record("otel.status_description", "ConfigMap a/env is forbidden");
    });
    let (ended, _) = end(exporter, END).await;
    assert!(ended, "{:?}", log.lines());

    let (resource, spans) = received(&receiver);
    for (name, value) in [
        ("service.name", "bowline"),
        ("service.version", "1.2.3"),
        ("service.instance.id", "bowline-0-abcd"),
        ("k8s.namespace.name", "bowline-system"),
        ("k8s.pod.name", "bowline-0"),
    ] {
        assert_eq!(attribute(&resource.attributes, name).as_deref(), Some(value));
    }
    let mut names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["fetch", "plan", "rollback", "write"]);
    let span = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    let (root, fetch, plan, write) = (span("rollback"), span("fetch"), span("plan"), span("write"));
    assert!(spans.iter().all(|span| span.trace_id == root.trace_id), "they are one trace");
    assert_eq!(root.parent_span_id, Vec::<u8>::new());
    assert_eq!((&fetch.parent_span_id, &plan.parent_span_id), (&root.span_id, &root.span_id));
    assert_eq!(write.parent_span_id, plan.span_id);
    assert_eq!(attribute(&root.attributes, "bowline.release.number").as_deref(), Some("3"));
    assert_eq!(attribute(&plan.attributes, "error.type").as_deref(), Some("Forbidden"));
    let status = plan.status.as_ref().unwrap();
    assert_eq!((status.code(), status.message.as_str()), (StatusCode::Error, "ConfigMap a/env is forbidden"));
    assert_eq!(root.status.as_ref().map_or(StatusCode::Unset, |status| status.code()), StatusCode::Unset);

    // The fetch was over three seconds before it was told of.
    let nanoseconds = |seconds: u64| seconds * 1_000_000_000;
    assert_eq!(fetch.end_time_unix_nano - fetch.start_time_unix_nano, nanoseconds(2));
    let before = root.start_time_unix_nano - fetch.start_time_unix_nano;
    assert!(nanoseconds(5).saturating_sub(before) < u64::try_from(began.elapsed().as_nanos()).unwrap(), "{before}");
    assert_eq!((attribute(&fetch.attributes, EARLIER), attribute(&fetch.attributes, TOOK)), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_with_a_certificate_of_ones_own_authority_is_trusted() {
    let authority = Authority::new("of the company").unwrap();
    let receiver = Receiver::start_tls(&authority).unwrap();
    let access = Access::default().with_authorities(authority.certificate_pem().as_bytes()).unwrap();
    let log = Log::default();
    let exporter = exporter(&receiver.url("/v1/traces"), access, &log);
    traced(&exporter, || drop(info_span!(target: SPANS, "deploy")));
    assert!(end(exporter, END).await.0);
    assert_eq!(received(&receiver).1.len(), 1, "{:?}", log.lines());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_holds_nobody_up_and_is_told_of_once() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1/traces", closed.local_addr().unwrap());
    drop(closed);
    let log = Log::default();
    let exporter = exporter(&url, Access::default(), &log);
    // More than the queue holds, and each request is tried several times.
    let began = Instant::now();
    traced(&exporter, || (0..10_000).for_each(|_| drop(info_span!(target: SPANS, "plan"))));
    assert!(began.elapsed() < Duration::from_secs(5));
    let (_, took) = end(exporter, Duration::from_secs(2)).await;
    assert!(took < Duration::from_secs(7), "{took:?}");
    let lines = log.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("spans cannot be handed over") && lines[0].contains("Connection refused"), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_never_answers_holds_neither_the_work_nor_the_end_up() {
    // It is connected to, and nobody reads.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1/traces", silent.local_addr().unwrap());
    let exporter = exporter(&url, Access::default(), &Log::default());
    let began = Instant::now();
    traced(&exporter, || (0..10_000).for_each(|_| drop(info_span!(target: SPANS, "plan"))));
    assert!(began.elapsed() < Duration::from_secs(5), "the queue is bounded, and what it cannot take is dropped");
    let (ended, took) = end(exporter, Duration::from_millis(200)).await;
    assert!(!ended && took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_comes_back_is_told_of() {
    let receiver = Receiver::start().unwrap();
    receiver.answer_with(400);
    let log = Log::default();
    let collector = Collector::new(receiver.url("/v1/traces").parse().unwrap(), Access::default());
    let post = || async {
        let request = traces::Request::post("http://elsewhere/").body(traces::Bytes::from_static(b"x")).unwrap();
        collector.post(request).with_subscriber(log.dispatch()).await.unwrap().as_u16()
    };
    assert_eq!((post().await, post().await), (400, 400));
    receiver.answer_with(200);
    assert_eq!((post().await, post().await), (200, 200));
    let lines = log.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("400 Bad Request") && lines[1].contains("handed over again"), "{lines:?}");
}

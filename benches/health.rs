//! How long 10,000 objects take to judge, which should stay under 50 ms, and
//! how long the costliest check of an Application's own may take on one object.
#![allow(missing_docs, clippy::panic)]

use std::time::Duration;

use bowline::health::checks::{Check, CompiledChecks};
use bowline::health::{Evidence, HealthStatus, assess};
use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};

fn objects() -> Vec<Value> {
    let status = |conditions: Value| json!({"observedGeneration": 1, "conditions": conditions});
    let of = |api_version: &str, kind: &str, status: Value| {
        json!({
            "apiVersion": api_version, "kind": kind, "status": status,
            "metadata": {"name": "a", "namespace": "b", "generation": 1, "uid": "u", "labels": {"app": "a"}},
            "spec": {"replicas": 3}
        })
    };
    let ready = json!([{"type": "Ready", "status": "False", "reason": "SecretSyncedError", "message": "no such key"}]);
    let rolling = json!([
        {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"},
        {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"}
    ]);
    let kinds = [
        of("apps/v1", "Deployment", status(rolling.clone())),
        of("v1", "ConfigMap", Value::Null),
        of("v1", "Pod", json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]})),
        of("cert-manager.io/v1", "Certificate", status(ready.clone())),
        of("external-secrets.io/v1", "ExternalSecret", status(ready.clone())),
        of("postgresql.cnpg.io/v1", "Cluster", json!({"phase": "Setting up primary"})),
        of("s3.aws.upbound.io/v1beta1", "Bucket", status(ready.clone())),
        of("example.com/v1", "Widget", status(rolling)),
        of("example.com/v1", "Gadget", status(ready)),
        of("example.com/v1", "Gizmo", json!({"phase": "Provisioning", "message": "waiting for a disk"})),
    ];
    kinds.iter().cycle().take(10_000).cloned().collect()
}

fn judge(criterion: &mut Criterion) {
    let objects = objects();
    criterion.bench_function("judge 10,000 objects", |bencher| {
        bencher.iter(|| objects.iter().map(|object| assess(object).reason.len()).sum::<usize>());
    });
}

/// A check that looks at each pair of a list, on the longest list that it is
/// run on: one more, and it could take more steps than it may.
fn costliest() -> (CompiledChecks, Value) {
    let check = Check {
        group: "example.com".to_owned(),
        kind: "Widget".to_owned(),
        healthy: Some("object.status.l.all(x, object.status.l.all(y, x + y >= 0))".to_owned()),
        ..Check::default()
    };
    let checks = CompiledChecks::compile(&[check]).unwrap_or_else(|errors| panic!("{errors:?}"));
    let object = |length: usize| {
        let list: Vec<usize> = (0..length).collect();
        json!({"apiVersion": "example.com/v1", "kind": "Widget", "status": {"l": list}})
    };
    let runs = |length: &usize| checks.assess(&object(*length), &Evidence::default()).status == HealthStatus::Healthy;
    let longest = (1..1000).take_while(runs).last().unwrap_or(1);
    (checks, object(longest))
}

fn judge_by_own_checks(criterion: &mut Criterion) {
    let (checks, object) = costliest();
    criterion.bench_function("the costliest check of one object", |bencher| {
        bencher.iter(|| checks.assess(&object, &Evidence::default()));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = judge, judge_by_own_checks
}
criterion_main!(benches);

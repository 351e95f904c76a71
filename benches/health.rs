//! How long 10,000 objects take to judge; it should stay under 50 ms.
#![allow(missing_docs)]

use std::time::Duration;

use bowline::health::assess;
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

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = judge
}
criterion_main!(benches);

//! How long the pure parts take: reading YAML, proposing, hashing what is
//! owned, laying out bundles.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bowline::{
    history::bundles::{KnownChunks, pack, pack_beside, unpack},
    manifest::{
        BundleDigest, Digest, Fingerprint, Manifest, Scope, bundle_digest,
        yaml::{Limits, read_documents},
    },
    plan::{
        ConflictPolicy, DryRun, Membership, Observation, Owned, OwnedObjects, Policy, body, conclude,
        ownership::fingerprint, propose,
    },
};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use serde_json::{Value, json};

const MANAGER: &str = "bowline/team-a/shop";

fn hands() -> BTreeSet<String> {
    Policy::HAND_MANAGERS.iter().map(ToString::to_string).collect()
}

fn policy() -> Policy {
    let membership = Membership { set: "set".into(), application: "team-a/shop".into(), manager: MANAGER.into() };
    Policy {
        membership: membership.into(),
        prune: true,
        preflight: true,
        conflicts: ConflictPolicy::Take,
        ignore: Vec::new(),
        hand_managers: hands(),
        max_prune_percent: 50,
        allow_prune: None,
        rollback: None,
        create_namespace: None,
        hooks: None,
        elsewhere: Default::default(),
        given_up: Default::default(),
    }
}

fn deployment(number: usize) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": format!("web-{number}"), "namespace": "team-a", "labels": {"app": "web"}},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{
                    "name": "web", "image": format!("registry.example.com/web:1.{number}"),
                    "env": [{"name": "NUMBER", "value": number.to_string()}],
                    "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
                    "ports": [{"containerPort": 8080, "name": "http"}]
                }]}
            }
        }
    })
}

fn manifests(count: usize) -> Vec<Arc<Manifest>> {
    let manifest = |number| Manifest::from_value(deployment(number), None, Scope::Namespaced, None).unwrap();
    (0..count).map(|number| Arc::new(manifest(number))).collect()
}

fn digest_of(manifests: &[Arc<Manifest>]) -> BundleDigest {
    let all: Vec<&Manifest> = manifests.iter().map(AsRef::as_ref).collect();
    bundle_digest(&all)
}

fn propose_one_change(criterion: &mut Criterion) {
    let before = manifests(10_000);
    let owned: OwnedObjects = before
        .iter()
        .map(|manifest| {
            let owned = Owned {
                gvk: manifest.gvk.clone(),
                uid: Some("uid".into()),
                manifest: Some(manifest.digest.clone()),
                fingerprint: Some(Fingerprint(Digest::of(b"applied"))),
                done: false,
                hook: false,
            };
            (manifest.id.clone(), owned)
        })
        .collect();
    let mut after = before;
    let mut changed = deployment(5_000);
    changed["spec"]["replicas"] = json!(4);
    after[5_000] = Arc::new(Manifest::from_value(changed, None, Scope::Namespaced, None).unwrap());
    let digest = digest_of(&after);
    let (policy, none) = (policy(), BTreeSet::new());
    let proposal = propose(&after, &digest, &owned, &none, &none, &policy);
    assert_eq!((proposal.candidates.len(), proposal.unchanged), (1, 9_999));
    criterion.bench_function("propose: 1 of 10,000 manifests changed", |bencher| {
        bencher.iter(|| propose(&after, &digest, &owned, &none, &none, &policy));
    });

    let changed = &after[5_000];
    let live = |manifest: &Manifest| {
        let mut live = body(manifest, None, &policy);
        live["metadata"]["uid"] = json!("uid");
        live["metadata"]["resourceVersion"] = json!("7");
        Box::new(live)
    };
    let before = Manifest::from_value(deployment(5_000), None, Scope::Namespaced, None).unwrap();
    let seen = Observation::Live { object: live(&before), dry_run: DryRun::Would(live(changed)) };
    let observations = [(changed.id.clone(), seen)].into();
    assert!(conclude(&proposal, &observations, &policy).refusals.is_empty());
    criterion.bench_function("propose and conclude: 1 of 10,000 manifests changed", |bencher| {
        bencher.iter(|| conclude(&propose(&after, &digest, &owned, &none, &none, &policy), &observations, &policy));
    });
}

fn lay_out_one_change(criterion: &mut Criterion) {
    let mut manifests = manifests(10_000);
    let known = pack("shop", &manifests, &digest_of(&manifests)).unwrap().known;
    let mut changed = deployment(5_000);
    changed["spec"]["replicas"] = json!(4);
    manifests[5_000] = Arc::new(Manifest::from_value(changed, None, Scope::Namespaced, None).unwrap());
    let digest = digest_of(&manifests);
    let beside = |known: &KnownChunks| pack_beside("shop", &manifests, &digest, known).unwrap();
    assert_eq!(beside(&known).chunks.len(), 1);
    criterion.bench_function("bundle: pack 10,000 manifests, 1 of them changed", |bencher| {
        bencher.iter(|| beside(&known));
    });
}

fn fingerprint_a_deployment(criterion: &mut Criterion) {
    let live: Value = serde_json::from_str(include_str!("../tests/fixtures/live/deployment.json")).unwrap();
    let hands = hands();
    assert!(fingerprint(&live, MANAGER, &[], &hands).is_some());
    criterion.bench_function("fingerprint: a Deployment", |bencher| {
        bencher.iter(|| fingerprint(&live, MANAGER, &[], &hands));
    });
}

fn read_yaml(criterion: &mut Criterion) {
    let mut text = String::new();
    for number in 0.. {
        if text.len() >= 1 << 20 {
            break;
        }
        text.push_str("---\n");
        text.push_str(&bowline::manifest::writer::to_yaml(&deployment(number)));
    }
    let limits = Limits::default();
    let (documents, problems) = read_documents("all.yaml", text.as_bytes(), &limits);
    assert!(problems.is_empty() && documents.len() > 1_000);
    let mut group = criterion.benchmark_group("yaml");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("read 1 MiB", |bencher| {
        bencher.iter(|| read_documents("all.yaml", text.as_bytes(), &limits));
    });
    group.finish();
}

fn lay_out(criterion: &mut Criterion) {
    let manifests = manifests(1_000);
    let digest = digest_of(&manifests);
    let packed = pack("shop", &manifests, &digest).unwrap();
    let chunks: BTreeMap<&str, &[u8]> =
        packed.chunks.iter().map(|chunk| (chunk.reference.name.as_str(), chunk.content.as_slice())).collect();
    criterion.bench_function("bundle: pack 1,000 manifests", |bencher| {
        bencher.iter_batched(
            || manifests.clone(),
            |manifests| pack("shop", &manifests, &digest).unwrap(),
            BatchSize::SmallInput,
        );
    });
    criterion.bench_function("bundle: unpack 1,000 manifests", |bencher| {
        bencher.iter(|| {
            unpack(&packed.spec, |reference| chunks.get(reference.name.as_str()).map(|content| Cow::Borrowed(*content)))
                .unwrap()
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = propose_one_change, fingerprint_a_deployment, read_yaml, lay_out, lay_out_one_change
}
criterion_main!(benches);

//! What a history costs in the cluster's store.

use std::sync::Arc;

use bowline::{
    api::{Phase, ReleaseCounts},
    history::{History, bundles::pack},
    manifest::{BundleDigest, Manifest, Scope, bundle_digest, yaml},
};
use jiff::Timestamp;
use serde_json::Value;

use crate::world::{World, outcome, release};

/// What the whole history of the large sample may take.
const BUDGET: usize = 1 << 20;
const RELEASES: u64 = 20;
const OBJECTS: usize = 1_000;
const CHANGED: usize = 5;

/// Twenty releases of a thousand objects, of which each changes five, are kept
/// in less than a mebibyte: as the API server hands them out, with all of their
/// metadata, which is what it stores of them.
#[tokio::test]
async fn a_history_of_a_thousand_objects_stays_within_its_budget() {
    let world = World::new().await;
    let mut history = History::default();
    let mut added = 0;
    for number in 1..=RELEASES {
        let manifests = sample(&world.namespace, number);
        let digest = digest_of(&manifests);
        let packed = pack("shop", &manifests, &digest).unwrap();
        added += world.shop.store_bundle(&packed).await.unwrap();
        let mut spec = release(number);
        spec.bundle = digest;
        spec.previous = history.tip();
        spec.counts = ReleaseCounts { objects: 1_000, changed: 5, removed: 0 };
        spec.created_at = Timestamp::now();
        let created = world.shop.create_release(spec).await.unwrap();
        history.put(world.shop.set_outcome(&created, outcome(Phase::Healthy)).await.unwrap());
    }

    let mut total = 0;
    let mut by_kind = Vec::new();
    for kind in ["bundlechunks", "bundles", "releases"] {
        let path = format!("/apis/bowline.dev/v1alpha1/namespaces/{}/{kind}", world.namespace);
        let (count, bytes) = stored(&world, &path);
        by_kind.push(format!("{count} {kind} {} KiB", bytes >> 10));
        total += bytes;
    }
    assert!(total < BUDGET, "{total} bytes: {}", by_kind.join(", "));

    // What was counted is what is counted again, and most of the chunks' size.
    let kept = world.shop.kept_content().await.unwrap();
    assert_eq!(kept.bytes, added);
    let kept = usize::try_from(kept.bytes).unwrap();
    assert!(kept < total && kept > total / 5, "{kept} of {total} bytes are content");

    // What is measured is whole: the first and the last are read back.
    for number in [1, RELEASES] {
        let expected = sample(&world.namespace, number);
        assert_eq!(world.shop.load_bundle(&digest_of(&expected)).await.unwrap(), expected);
    }
}

/// How many objects a list has, and the bytes of their JSON.
fn stored(world: &World, path: &str) -> (usize, usize) {
    let text = world.access.kubectl(&["get", "--raw", path]).unwrap();
    let list: Value = serde_json::from_str(&text).unwrap();
    let items = list["items"].as_array().unwrap();
    (items.len(), items.iter().map(|item| item.to_string().len()).sum())
}

/// The example application made large, as it is at a release: Deployments,
/// Services and ConfigMaps, some of them changed by each release, and all of
/// them with the places where they were read.
fn sample(namespace: &str, release: u64) -> Vec<Arc<Manifest>> {
    let mut manifests: Vec<Arc<Manifest>> = (0..OBJECTS)
        .map(|number| {
            let changed = (1..=release).rev().find(|release| {
                let first = usize::try_from(*release).unwrap() * 97;
                (0..CHANGED).any(|index| (first + index * 211) % OBJECTS == number)
            });
            let text = text(number, changed.unwrap_or(0));
            let file = format!("deploy/{}/{}.yaml", number % 40, number / 40);
            let (documents, problems) = yaml::read_documents(&file, text.as_bytes(), &yaml::Limits::default());
            assert!(problems.is_empty(), "{problems:?}");
            let document = documents.into_iter().next().unwrap();
            let origin = Some(bowline::manifest::Origin::new(file, Some(document.position)));
            let read =
                Manifest::read(document.value, Some(namespace), Scope::Namespaced, origin, Some(&document.positions));
            Arc::new(read.unwrap())
        })
        .collect();
    manifests.sort_by(|one, other| one.id.cmp(&other.id));
    manifests
}

fn text(number: usize, version: u64) -> String {
    let name = format!("part-{number}");
    let labels = format!("labels: {{app.kubernetes.io/name: {name}, app.kubernetes.io/part-of: shop}}");
    match number % 3 {
        0 => format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\n  {labels}\nspec:\n  replicas: {}\n  selector:\n    matchLabels: {{app.kubernetes.io/name: {name}}}\n  template:\n    metadata:\n      {labels}\n    spec:\n      containers:\n      - name: web\n        image: registry.example/shop/{name}:1.{version}.0\n        ports:\n        - containerPort: 8080\n        resources:\n          requests: {{cpu: 50m, memory: 64Mi}}\n          limits: {{memory: 128Mi}}\n        readinessProbe:\n          httpGet: {{path: /healthz, port: 8080}}\n",
            number % 4 + 1
        ),
        1 => format!(
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n  {labels}\n  annotations: {{example.com/version: \"{version}\"}}\nspec:\n  selector: {{app.kubernetes.io/name: {name}}}\n  ports:\n  - name: http\n    port: 80\n    targetPort: 8080\n"
        ),
        _ => format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  {labels}\ndata:\n  VERSION: \"{version}\"\n  settings.yaml: |\n    endpoint: https://{name}.shop.example/api\n    timeout: 30s\n    batch: {number}\n"
        ),
    }
}

fn digest_of(manifests: &[Arc<Manifest>]) -> BundleDigest {
    bundle_digest(&manifests.iter().map(|manifest| (**manifest).clone()).collect::<Vec<_>>())
}

//! Replay equality: after a rollback the objects are what they were after the
//! release that it goes back to, but for what Kubernetes itself stamps.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Value, json};

use crate::world::{Team, eventually};

const RESOURCES: &str = "configmaps,secrets,services,serviceaccounts,persistentvolumeclaims,deployments.apps,\
    statefulsets.apps,jobs.batch,cronjobs.batch,horizontalpodautoscalers.autoscaling,poddisruptionbudgets.policy,\
    ingresses.networking.k8s.io,networkpolicies.networking.k8s.io,deliveryzones.shop.example.com";

/// The files of the sample, as the repository has them.
fn sample() -> Vec<(String, String)> {
    fn read(directory: &Path, beneath: &str, files: &mut Vec<(String, String)>) {
        let mut entries: Vec<_> = fs::read_dir(directory).unwrap().map(Result::unwrap).collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = format!("{beneath}/{}", entry.file_name().to_str().unwrap());
            if entry.path().is_dir() {
                read(&entry.path(), &path, files);
            } else {
                files.push((path, fs::read_to_string(entry.path()).unwrap()));
            }
        }
    }
    let mut files = Vec::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/shop"), "deploy", &mut files);
    assert!(files.len() > 8, "the sample is not read rightly: {files:?}");
    files
}

fn push(team: &Team<'_>, subject: &str, files: &[(String, String)]) -> String {
    let files: Vec<(&str, String)> = files.iter().map(|(path, text)| (path.as_str(), text.clone())).collect();
    team.push(subject, &files)
}

/// All objects of the application, without what Kubernetes stamps.
fn objects(team: &Team<'_>) -> BTreeMap<String, Value> {
    let list: Value =
        serde_json::from_str(&team.kubectl(&["get", RESOURCES, "-l", "bowline.dev/set", "-o", "json"])).unwrap();
    let mut objects = BTreeMap::new();
    for mut object in list["items"].as_array().unwrap().clone() {
        let name = format!("{} {}", object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
        object.as_object_mut().unwrap().remove("status");
        let metadata = object["metadata"].as_object_mut().unwrap();
        for stamped in ["uid", "resourceVersion", "generation", "creationTimestamp"] {
            metadata.remove(stamped);
        }
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove("deployment.kubernetes.io/revision");
        }
        // Which fields are ours is part of the state; when they were written, and
        // what others own of the status, is not.
        let fields = metadata.remove("managedFields").unwrap_or_default();
        let ours = fields.as_array().cloned().unwrap_or_default().into_iter();
        let ours =
            ours.filter(|entry| entry["manager"].as_str().is_some_and(|manager| manager.starts_with("bowline/")));
        let ours: Vec<Value> = ours.map(|entry| entry["fieldsV1"].clone()).collect();
        metadata.insert("ours".into(), json!(ours));
        if name == "Deployment web" {
            // The autoscaler's.
            object["spec"].as_object_mut().unwrap().remove("replicas");
        }
        objects.insert(name, object);
    }
    objects
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rollback_the_sample_is_what_it_was_after_the_release_that_it_goes_back_to() {
    let team = Team::new("replay").await;
    let account = format!("--serviceaccount={}:bowline-deployer", team.namespace);
    team.kubectl(&["create", "clusterrolebinding", &team.namespace, "--clusterrole=cluster-admin", &account]);
    let files = sample();
    let first = push(&team, "A", &files);
    team.deploy_shop(json!({"sync": {"timeout": "3m"}}));
    team.until_synced("shop", &first).await;
    let before = objects(&team);
    assert!(before.len() > 15, "{:?}", before.keys());

    // B changes objects, adds fields and objects, and drops others.
    let mut changed = files.clone();
    changed.retain(|(path, _)| !path.ends_with("web/scaling.yaml"));
    team.repo.remove("deploy/web/scaling.yaml").unwrap();
    for (path, text) in &mut changed {
        if path.ends_with("migrate.yaml") || path.ends_with("definition.yaml") {
            continue;
        }
        *text = text
            .replace("1.4.0", "1.5.0")
            .replace("postgres:18.1", "postgres:18.2")
            .replace("30 2 * * *", "45 3 * * *")
            .replace("allowPrivilegeEscalation: false", "allowPrivilegeEscalation: false\n          privileged: false");
        // A rollback leaves claims as they are.
        if !text.contains("kind: PersistentVolumeClaim") {
            *text =
                text.replace("metadata:\n  name: ", "metadata:\n  annotations:\n    example.com/release: b\n  name: ");
        }
    }
    changed.push(("deploy/new.yaml".into(), crate::world::config_map("new", "b").to_string()));
    let second = push(&team, "B", &changed);
    assert_eq!(team.until_synced("shop", &second).await, 2);
    let between = objects(&team);
    let differing = before.iter().filter(|(name, object)| between.get(*name) != Some(object)).count();
    assert!(differing > 8 && between.contains_key("ConfigMap new"), "B is not different enough: {differing}");

    let answer = team.roll_back(2, &json!({})).await;
    assert_eq!(answer["phase"], "Succeeded", "{answer:#}");
    eventually("all is as it was", async || {
        let after = objects(&team);
        let names = before.keys().chain(after.keys());
        let differing = names.filter(|name| before.get(*name) != after.get(*name));
        let differing: Vec<String> = differing
            .map(|name| format!("{name}\nbefore {:#}\nafter {:#}", json!(before.get(name)), json!(after.get(name))))
            .collect();
        if differing.is_empty() { Ok(()) } else { Err(differing.join("\n")) }
    })
    .await;
}

//! What a rollback does, and what it leaves. The tests whose names begin with
//! `trap` are the counter-examples that other tools gave, by their number in
//! the list of them.

use serde_json::{Value, json};

use crate::world::{
    Application, Site, Start, Team, config_map, deployment, eventually, many_config_maps, rollback_request, yaml,
};

fn one(value: &str) -> (&'static str, String) {
    ("deploy/one.yaml", config_map("one", value).to_string())
}

fn migrate(annotations: Value) -> Value {
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "migrate", "annotations": annotations},
        "spec": {"template": {"spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "main", "image": "registry.example/job:1"}],
        }}},
    })
}

async fn uid(team: &Team<'_>, resource: &str, name: &str) -> String {
    let object = team.get(resource, name).await.unwrap_or_default();
    object["metadata"]["uid"].as_str().unwrap_or_default().to_owned()
}

async fn data(team: &Team<'_>, name: &str) -> Value {
    team.get("configmaps", name).await.unwrap_or_default()["data"]["key"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_1_a_rollback_goes_ahead_with_sync_on_and_git_down_shows_its_plan_prunes_and_runs_hooks_when_told() {
    let mut team = Team::new("trap-1").await;
    let hook = migrate(json!({"bowline.dev/hook": "PreSync"}));
    let files = |objects: &[Value]| [("deploy/all.yaml", yaml(&[std::slice::from_ref(&hook), objects].concat()))];
    let old = [config_map("one", "old"), config_map("only-old", "old")];
    let new = [config_map("one", "new"), config_map("only-new", "new")];
    let first = team.push("Old", &files(&old));
    team.deploy_shop(json!({"sync": {"mode": "Automatic", "timeout": "2m"}}));
    team.until_synced("shop", &first).await;
    let second = team.push("New", &files(&new));
    assert_eq!(team.until_synced("shop", &second).await, 2);
    assert!(team.get("configmaps", "only-old").await.is_none());

    team.git.stop();
    // The plan is shown before, and nothing is done for it.
    let seen = team.roll_back(2, &json!({"dryRun": true})).await;
    let actions: Vec<String> = seen["plan"]["actions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|action| format!("{} {}", action["verb"].as_str().unwrap(), action["name"].as_str().unwrap()))
        .collect();
    assert_eq!(actions, ["Update one", "Create only-old", "Delete only-new"], "{seen:#}");
    assert_eq!(seen["plan"]["toRelease"], 1);
    assert_eq!(data(&team, "one").await, "new");

    // Without pruning and without hooks, as somebody chooses.
    let ran = uid(&team, "batch/v1/jobs", "migrate").await;
    let answer = team.roll_back(2, &json!({"prune": false, "reason": "queue backs up"})).await;
    assert_eq!((&answer["phase"], &answer["release"]), (&json!("Succeeded"), &json!(3)), "{answer:#}");
    assert_eq!((data(&team, "one").await, data(&team, "only-old").await), (json!("old"), json!("old")));
    assert_eq!(data(&team, "only-new").await, "new", "it was told not to prune");
    assert_eq!(uid(&team, "batch/v1/jobs", "migrate").await, ran, "hooks are not run unless told to");

    // And with both.
    let answer = team.roll_back(3, &json!({"toRelease": 2, "include": ["Hooks"]})).await;
    assert_eq!(answer["phase"], "Succeeded", "{answer:#}");
    assert!(team.get("configmaps", "only-old").await.is_none(), "what the target does not have is pruned");
    assert_ne!(uid(&team, "batch/v1/jobs", "migrate").await, ran, "the hook ran again");

    // The history says what each was, how it ended, who asked and why.
    let history = "1 Push Healthy\n2 Push Healthy\n3 Rollback to 1 Healthy\n4 Rollback to 2 Healthy";
    assert_eq!(team.history("shop").await, history);
    let release = &team.releases("shop").await[2];
    assert_eq!((release.spec.reason.as_str(), release.spec.requested_by.as_str()), ("queue backs up", "rig:admin"));
    assert!(team.releases("shop").await[1].status.as_ref().unwrap().after.as_ref().unwrap().rolled_back_by == Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_2_the_default_target_is_never_a_release_that_failed_whatever_came_after_it() {
    let team = Team::new("trap-2").await;
    let content =
        |image: &str, value: &str| [("deploy/all.yaml", yaml(&[deployment("web", image), config_map("one", value)]))];
    let first = team.push("Good", &content("registry.example/web:1", "good"));
    team.deploy_shop(json!({"sync": {"timeout": "3s"}, "rollback": {"automatic": false}}));
    team.until_synced("shop", &first).await;
    let failed = |number: u64| {
        move |status: &Value| status["release"]["number"] == number && status["release"]["phase"] == "Failed"
    };
    team.push("Bad", &content("registry.example/web:missing", "bad"));
    team.until("shop", "release 2 failed", failed(2)).await;
    let note = team.status("shop").await["note"].as_str().unwrap().to_owned();
    assert!(note.contains("left to a person: bowline rollback shop"), "{note}");
    // A rollback that fails leaves the release that failed what it was.
    let answer = team.roll_back(2, &json!({"toRelease": 2})).await;
    assert_eq!(answer["phase"], "Refused", "it is the current one: {answer:#}");
    team.push("Also bad", &content("registry.example/other:missing", "also bad"));
    team.until("shop", "release 3 failed", failed(3)).await;
    let answer = team.roll_back(3, &json!({"toRelease": 2})).await;
    assert_eq!((&answer["phase"], &answer["release"]), (&json!("Failed"), &json!(4)), "{answer:#}");
    let seen = team.roll_back(4, &json!({"dryRun": true})).await;
    assert_eq!(seen["plan"]["toRelease"], 1, "neither 2 nor 3, which came before it: {seen:#}");
    let answer = team.roll_back(4, &json!({})).await;
    assert_eq!(answer["phase"], "Succeeded", "{answer:#}");
    let history = "1 Push Healthy\n2 Push Failed\n3 Push Failed\n4 Rollback to 2 Failed\n5 Rollback to 1 Healthy";
    assert_eq!(team.history("shop").await, history);
    assert_eq!(data(&team, "one").await, "good");
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_3_what_somebody_added_by_hand_goes_and_what_controllers_set_stays() {
    let team = Team::new("trap-3").await;
    let content = |image: &str| [("deploy/web.yaml", deployment("web", image).to_string())];
    let first = team.push("One", &content("registry.example/web:1"));
    // Drift is only told, so that what goes goes by the rollback.
    team.deploy_shop(json!({"sync": {"drift": "Report"}}));
    team.until_synced("shop", &first).await;
    let mut two = deployment("web", "registry.example/web:2");
    two["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{"name": "ADDED", "value": "by release 2"}]);
    let second = team.push("Two", &[("deploy/web.yaml", two.to_string())]);
    team.until_synced("shop", &second).await;

    let sidecar = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "main", "image": "registry.example/web:2", "env": [{"name": "ADDED", "value": "by release 2"}]},
        {"name": "debug", "image": "registry.example/debug:1"},
    ]}}}});
    team.patch("apps/v1/deployments", "web", "kubectl-edit", &sidecar).await;
    let of_a_controller = json!({"metadata": {"annotations": {"mesh.example.com/revision": "7"}}});
    team.patch("apps/v1/deployments", "web", "mesh-controller", &of_a_controller).await;

    let answer = team.roll_back(2, &json!({})).await;
    assert_eq!(answer["phase"], "Succeeded", "{answer:#}");
    let web = team.get("apps/v1/deployments", "web").await.unwrap();
    let containers = web["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 1, "the container that was added by hand is gone: {containers:#?}");
    assert_eq!(containers[0]["image"], "registry.example/web:1");
    assert!(containers[0]["env"].is_null(), "and so is the field that release 2 added");
    assert_eq!(web["metadata"]["annotations"]["mesh.example.com/revision"], "7", "a controller's field stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_4_an_object_that_is_being_deleted_is_waited_for_and_made_anew() {
    let team = Team::new("trap-4").await;
    let first = team.push("Both", &[one("kept"), ("deploy/two.yaml", config_map("two", "here").to_string())]);
    team.deploy_shop(json!({"sync": {"timeout": "1m"}}));
    team.until_synced("shop", &first).await;
    let holds = json!({"metadata": {"finalizers": ["example.com/holds"]}});
    team.patch("configmaps", "two", "someones-controller", &holds).await;
    team.repo.remove("deploy/two.yaml").unwrap();
    team.push("One", &[one("changed")]);
    // The object that waits for its finalizer is shown as Progressing.
    team.until("shop", "release 2 is done", |status| {
        status["release"]["number"] == 2 && status["release"]["phase"] == "Healthy"
    })
    .await;
    let dying = team.get("configmaps", "two").await.unwrap();
    assert!(dying["metadata"]["deletionTimestamp"].is_string(), "{dying:#}");

    team.create(&rollback_request("back", 2, &json!({"toRelease": 1})));
    team.until("shop", "waits for it to be gone", |status| {
        let note = status["note"].as_str().unwrap_or_default();
        status["release"]["number"] == 3 && note.contains("two to be gone")
    })
    .await;
    team.patch("configmaps", "two", "someones-controller", &json!({"metadata": {"finalizers": null}})).await;
    let answer = team.until_answered("rollbackrequests", "back").await;
    assert_eq!(answer["phase"], "Succeeded", "{answer:#}");
    let anew = team.get("configmaps", "two").await.unwrap();
    assert_ne!(anew["metadata"]["uid"], dying["metadata"]["uid"]);
    assert_eq!((&anew["data"]["key"], data(&team, "one").await), (&json!("here"), json!("kept")));
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_5_a_commit_elsewhere_in_the_repository_ends_no_hold_and_a_rollback_touches_no_other_application() {
    let team = Team::new("trap-5").await;
    let other = |value: &str| ("other/two.yaml", config_map("two", value).to_string());
    let first = team.push("Good", &[one("good"), other("1")]);
    team.deploy_shop(json!({}));
    team.deploy(&Application { name: "other", path: "other", spec: json!({}) });
    team.until_synced("shop", &first).await;
    team.until_synced("other", &first).await;
    let bad = team.push("Bad", &[one("bad"), other("2")]);
    team.until_synced("shop", &bad).await;
    team.until_synced("other", &bad).await;
    let before = team.get("configmaps", "two").await.unwrap();

    assert_eq!(team.roll_back(2, &json!({})).await["phase"], "Succeeded");
    let elsewhere = team.push("Elsewhere", &[other("3"), ("README.md", "words".into())]);
    let status = team
        .until("shop", "Held at another commit", |status| {
            status["sync"] == "Held" && status["head"]["commit"] == elsewhere
        })
        .await;
    assert_eq!(status["hold"]["rejectedRelease"], 2);
    assert_eq!(data(&team, "one").await, "good");
    team.until_synced("other", &elsewhere).await;
    assert_eq!(team.history("other").await, "1 Push Healthy\n2 Push Healthy\n3 Push Healthy");
    let after = team.get("configmaps", "two").await.unwrap();
    assert_eq!((&after["data"]["key"], &before["data"]["key"]), (&json!("3"), &json!("2")));
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_outlives_a_restart_and_the_application_applied_again_and_is_seen_everywhere() {
    let site = Site::new();
    let mut controller = site.start(&Start::default());
    let team = Team::at(&site, "held").await;
    let good = team.push("Good", &[one("good")]);
    team.deploy_shop(json!({}));
    team.until_synced("shop", &good).await;
    let bad = team.push("Bad", &[one("bad")]);
    team.until_synced("shop", &bad).await;
    assert_eq!(team.roll_back(2, &json!({"reason": "queue backs up"})).await["phase"], "Succeeded");
    let held = |status: &Value| status["sync"] == "Held";
    team.until("shop", "Held", held).await;

    let words = format!("{} was rolled back by rig:admin: \"queue backs up\"", &bad[..7]);
    let (code, text, _) = team.bowline(&["get"]);
    assert!(code == 0 && text.contains("Held") && text.contains(&words), "{text}");
    let (_, text, _) = team.bowline(&["status", "shop"]);
    assert!(text.contains("was rolled back by rig:admin") && text.contains("\"queue backs up\""), "{text}");
    assert!(text.contains("bowline sync shop --accept"), "{text}");
    eventually("an Event tells of it", async || {
        let events = team.events("shop").await;
        let said = events.iter().any(|event| event.starts_with("Held: ") && event.contains(&words));
        if said { Ok(()) } else { Err(events.join("\n")) }
    })
    .await;
    let counted = controller.metric("bowline_applications{sync=\"Held\"");
    assert_eq!(counted, ["bowline_applications{sync=\"Held\",health=\"Healthy\"} 1"]);

    controller.start_at_once(&site);
    // Git applies the Application itself again, and changes it on the way.
    let edit = json!({"spec": {"sync": {"timeout": "33s"}}, "metadata": {"annotations": {"applied": "again"}}});
    team.patch("applications", "shop", "gitops", &edit).await;
    let generation = team.get("applications", "shop").await.unwrap()["metadata"]["generation"].clone();
    team.until("shop", "Held still", |status| held(status) && status["observedGeneration"] == generation).await;
    team.polls(5).await;
    assert_eq!(team.history("shop").await, "1 Push Healthy\n2 Push Healthy\n3 Rollback to 1 Healthy");
    assert_eq!(data(&team, "one").await, "good");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_of_a_rollback_goes_forward_again_and_rejects_what_it_leaves() {
    let team = Team::new("back-and-forth").await;
    let first = team.push("One", &[one("one")]);
    team.deploy_shop(json!({}));
    team.until_synced("shop", &first).await;
    let second = team.push("Two", &[one("two")]);
    team.until_synced("shop", &second).await;
    assert_eq!(team.roll_back(2, &json!({})).await["phase"], "Succeeded");
    assert_eq!(data(&team, "one").await, "one");
    // What was rejected is no target by default: who wants it names it.
    let answer = team.roll_back(3, &json!({})).await;
    assert_eq!(answer["phase"], "Refused", "{answer:#}");
    let answer = team.roll_back(3, &json!({"toRelease": 2})).await;
    assert_eq!(answer["phase"], "Succeeded", "{answer:#}");
    assert_eq!(data(&team, "one").await, "two");
    team.until_synced("shop", &second).await;
    let revert = team.push("Revert", &[one("one")]);
    let status =
        team.until("shop", "Held", |status| status["sync"] == "Held" && status["head"]["commit"] == revert).await;
    assert_eq!(status["hold"]["rejectedRelease"], 3);
    let history = "1 Push Healthy\n2 Push Healthy\n3 Rollback to 1 Healthy\n4 Rollback to 2 Healthy";
    assert_eq!(team.history("shop").await, history);
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_claims_namespaces_and_definitions_are_left_unless_told_and_what_is_lasting_is_said_before() {
    let team = Team::new("lasting").await;
    let account = format!("--serviceaccount={}:bowline-deployer", team.namespace);
    let space = format!("{}-extra", team.namespace);
    team.kubectl(&["create", "clusterrolebinding", &space, "--clusterrole=cluster-admin", &account]);
    let class = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": space},
        "provisioner": "kubernetes.io/no-provisioner", "allowVolumeExpansion": true,
    });
    let volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": space},
        "spec": {
            "storageClassName": space, "capacity": {"storage": "10Gi"}, "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": "/var/none"},
        },
    });
    team.create(&class);
    team.create(&volume);
    let group = format!("{}.example.com", team.namespace);
    let content = |number: u32| {
        let version = |name: &str, storage: bool| json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": {"type": "object"}}});
        let versions =
            if number == 1 { vec![version("v1", true)] } else { vec![version("v1", false), version("v2", true)] };
        let mut job = migrate(json!({}));
        job["metadata"]["labels"] = json!({"number": number.to_string()});
        yaml(&[
            config_map("one", &number.to_string()),
            job,
            json!({
                "apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": space, "labels": {"number": number.to_string()}},
            }),
            json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
                "spec": {
                    "storageClassName": space, "accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": format!("{number}Gi")}},
                },
            }),
            json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": format!("widgets.{group}")},
                "spec": {
                    "group": group, "scope": "Namespaced", "versions": versions,
                    "names": {"kind": "Widget", "plural": "widgets", "singular": "widget"},
                },
            }),
        ])
    };
    let first = team.push("One", &[("deploy/all.yaml", content(1))]);
    team.deploy_shop(json!({"sync": {"timeout": "2m"}}));
    team.until_synced("shop", &first).await;
    let ran = uid(&team, "batch/v1/jobs", "migrate").await;
    let second = team.push("Two", &[("deploy/all.yaml", content(2))]);
    team.until_synced("shop", &second).await;

    let seen = team.roll_back(2, &json!({"dryRun": true})).await;
    let said: Vec<String> = seen["plan"]["actions"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|action| action["verb"] == "Leave")
        .map(|action| format!("{}: {}", action["kind"].as_str().unwrap(), action["reason"].as_str().unwrap()))
        .collect();
    for words in [
        "Job: a rollback runs no Job again (--include jobs)",
        "Namespace: a rollback leaves namespaces as they are (--include namespaces)",
        "PersistentVolumeClaim: a rollback leaves claims as they are (--include claims); its storage grew from 1Gi to \
         2Gi, which cannot be taken back",
        "CustomResourceDefinition: a rollback leaves definitions as they are (--include crds); objects were stored as \
         v2, which the target does not have: that cannot be taken back before they are stored in another version",
    ] {
        assert!(said.iter().any(|said| said == words), "{words}\nin {said:#?}");
    }
    let answer = team.roll_back(2, &json!({})).await;
    assert_eq!(answer["phase"], "Succeeded", "{answer:#}");
    assert_eq!(data(&team, "one").await, "1");
    let cluster = |path: &str| team.kubectl(&["get", path, "-o", "jsonpath={.metadata.labels.number}"]);
    assert_eq!(cluster(&format!("namespace/{space}")), "2");
    assert_eq!(uid(&team, "batch/v1/jobs", "migrate").await, ran, "the Job did not run again");
    let claim = team.get("persistentvolumeclaims", "data").await.unwrap();
    assert_eq!(claim["spec"]["resources"]["requests"]["storage"], "2Gi");

    // What is told to be taken back and cannot be is refused before anything is done.
    let answer = team.roll_back(3, &json!({"toRelease": 2})).await;
    assert_eq!(answer["phase"], "Succeeded", "{answer:#}");
    let seen = team.roll_back(4, &json!({"toRelease": 1, "dryRun": true, "include": ["Claims", "CRDs"]})).await;
    let refusals = seen["plan"]["refusals"].to_string();
    assert!(refusals.contains("PersistentVolumeClaim") && refusals.contains("CustomResourceDefinition"), "{seen:#}");
    let answer = team.roll_back(4, &json!({"toRelease": 1, "include": ["Namespaces"]})).await;
    assert_eq!(answer["phase"], "Succeeded", "{answer:#}");
    assert_eq!(cluster(&format!("namespace/{space}")), "1", "told to, it is taken back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_that_was_shown_is_tried_once_more_and_carried_out_by_what_that_told() {
    let site = Site::new();
    let _controller = site.start(&Start::default());
    let team = Team::at(&site, "twice").await;
    let first = team.push("One", &[("deploy/all.yaml", many_config_maps(20, "one"))]);
    team.deploy_shop(json!({}));
    team.until_synced("shop", &first).await;
    let second = team.push("Two", &[("deploy/all.yaml", many_config_maps(20, "two"))]);
    team.until_synced("shop", &second).await;
    let log = site.cluster.audit_log();
    let tried = |mark: u64| {
        let requests = log.by_user_agent(mark, "bowline-controller").unwrap();
        requests
            .iter()
            .filter(|request| request.uri.contains("/configmaps/") && request.uri.contains("dryRun="))
            .count()
    };
    let mark = log.mark().unwrap();
    let seen = team.roll_back(2, &json!({"dryRun": true})).await;
    assert_eq!(tried(mark), 20, "to show it");
    let mark = log.mark().unwrap();
    let answer = team.roll_back(2, &json!({"toRelease": 1, "planDigest": seen["plan"]["digest"]})).await;
    assert_eq!(answer["phase"], "Succeeded", "{answer:#}");
    assert_eq!(tried(mark), 20, "to see that it is still what was shown");
    assert_eq!(data(&team, "item-0").await, "one");
}

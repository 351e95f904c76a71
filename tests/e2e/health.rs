//! The health that people read of real workloads: what the controllers of
//! Kubernetes, a scheduler and kwok make of a Deployment, a StatefulSet and
//! Jobs, judged, and told by `bowline status`.

use bowline::health::assess;
use serde_json::{Value, json};

use crate::world::{Team, eventually, yaml};

/// The pods of a workload; `rig.bowline.dev/pod` says how they end: see the
/// stages of the rig.
fn pods(name: &str, image: &str, pod: &str, container: &Value) -> Value {
    let mut container = container.clone();
    container["name"] = json!("main");
    container["image"] = json!(image);
    json!({
        "metadata": {"labels": {"app": name}, "annotations": {"rig.bowline.dev/pod": pod}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
    })
}

fn workload(kind: &str, name: &str, template: &Value, spec: &Value) -> String {
    let mut object = json!({
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": name}}, "template": template},
    });
    for (field, value) in spec.as_object().unwrap() {
        object["spec"][field] = value.clone();
    }
    object.to_string()
}

fn job(name: &str, pod: &str, spec: &Value) -> Value {
    let mut template = pods(name, "registry.example/job:1", pod, &json!({}));
    template["spec"]["restartPolicy"] = json!("Never");
    let mut job = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": template},
    });
    for (field, value) in spec.as_object().unwrap() {
        job["spec"][field] = value.clone();
    }
    job
}

/// The random part of the names of pods, as a word.
fn masked(text: &str, workload: &str) -> String {
    let is_part = |character: char| character.is_ascii_alphanumeric() || character == '-';
    let prefix = format!("{workload}-");
    let mut words: Vec<&str> = text.split(|character| !is_part(character)).collect();
    words.retain(|word| word.starts_with(&prefix));
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    words.into_iter().fold(text.to_owned(), |text, word| text.replace(word, &format!("{prefix}POD")))
}

impl Team<'_> {
    /// Waits until the verdict on an object begins so; the verdict.
    async fn until_judged(&self, resource: &str, name: &str, begins: &str) -> String {
        eventually(&format!("{resource} {name} in {} is {begins}", self.namespace), async || {
            let health = assess(&self.get(resource, name).await.unwrap_or_default());
            let colon = if health.reason.is_empty() { "" } else { ": " };
            let verdict = format!("{}{colon}{}", health.status, health.reason);
            if verdict.starts_with(begins) { Ok(verdict) } else { Err(verdict) }
        })
        .await
    }

    /// What `bowline status` says of the objects that are not as they should
    /// be.
    fn problems(&self) -> String {
        let (_, text, _) = self.bowline(&["status", "shop"]);
        let titles = ["  Waiting for", "  Not as it should be"];
        let below = text.lines().skip_while(|line| !titles.contains(line)).skip(1);
        // What follows are the deadline, and what could not be read.
        below.take_while(|line| line.starts_with("    ")).fold(String::new(), |told, line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            told + &words.join(" ").replace(&self.namespace, "NS") + "\n"
        })
    }

    /// Waits until the verdict begins so, and the words are told by `bowline
    /// status`: both.
    async fn until_told(&self, resource: &str, name: &str, begins: &str, words: &[&str]) -> String {
        eventually(&format!("{resource} {name} in {}: {words:?}", self.namespace), async || {
            let verdict = self.until_judged(resource, name, begins).await;
            let told = format!("{verdict}\n{}", self.problems());
            if words.iter().all(|word| told.contains(word)) { Ok(told) } else { Err(told) }
        })
        .await
    }

    /// Deletes an object that something holds, reads what is told of it, and
    /// lets it go.
    async fn deleted_and_held(&self, resource: &str, name: &str) -> String {
        let finalizers = |list: Value| json!({"metadata": {"finalizers": list}});
        self.patch(resource, name, "person", &finalizers(json!(["example.com/hold"]))).await;
        // The way kubectl does it, in the background.
        let kind = resource.rsplit('/').next().unwrap();
        self.kubectl(&["delete", kind, name, "--wait=false"]);
        let verdict = self.until_judged(resource, name, "Progressing: is being deleted").await;
        self.until("shop", "Progressing", |status| status["health"] == "Progressing").await;
        self.patch(resource, name, "person", &finalizers(Value::Null)).await;
        verdict
    }
}

/// Failures are to be looked at, not taken back.
fn patient() -> Value {
    json!({"sync": {"timeout": "30m"}, "rollback": {"automatic": false}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_is_told_through_all_its_states() {
    const WEB: &str = "apps/v1/deployments";
    const WAITS: &str = "Progressing: 1 of 2 replicas updated, 2 available";
    let team = Team::new("deployment-health").await;
    let push = |subject: &str, template: &Value, spec: &Value| {
        team.push(subject, &[("deploy/web.yaml", workload("Deployment", "web", template, spec))])
    };
    let none = json!({});
    let good = |image: &str| pods("web", image, "runs", &none);
    let told = async |begins: &str, words: &[&str]| masked(&team.until_told(WEB, "web", begins, words).await, "web");

    let first = push("Two replicas", &good("web:1"), &none);
    team.deploy_shop(patient());
    team.until_synced("shop", &first).await;
    insta::assert_snapshot!(told("Healthy", &[]).await, @"Healthy");

    push("A pod that does not start", &pods("web", "web:2", "hangs", &none), &none);
    insta::assert_snapshot!(told(WAITS, &["NS/web 1 of 2", "is pending"]).await, @"
    Progressing: 1 of 2 replicas updated, 2 available
    Deployment NS/web 1 of 2 replicas updated, 2 available
    Pod web-POD is pending
    ");

    let large = json!({"resources": {"requests": {"cpu": "1000"}}});
    push("More than any node has", &pods("web", "web:3", "runs", &large), &none);
    insta::assert_snapshot!(told(WAITS, &["NS/web 1 of 2", "Insufficient cpu"]).await, @"
    Progressing: 1 of 2 replicas updated, 2 available
    Deployment NS/web 1 of 2 replicas updated, 2 available
    Pod web-POD cannot be scheduled: Unschedulable: 0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available: 3 Preemption is not helpful for schedulin…
    ");

    push("A container that crashes", &pods("web", "web:4", "crashes", &none), &none);
    insta::assert_snapshot!(told(WAITS, &["NS/web 1 of 2", "CrashLoopBackOff"]).await, @"
    Progressing: 1 of 2 replicas updated, 2 available
    Deployment NS/web 1 of 2 replicas updated, 2 available
    Pod web-POD container main: CrashLoopBackOff, exit code 2
    ");

    push(
        "An image that is not there",
        &pods("web", "web:missing", "image-missing", &none),
        &json!({"progressDeadlineSeconds": 1}),
    );
    insta::assert_snapshot!(told("Degraded: 1 of 2", &["NS/web Degraded: 1 of 2", "ImagePullBackOff"]).await, @r#"
    Degraded: 1 of 2 replicas updated, 2 available; the progress deadline is exceeded
    Deployment NS/web Degraded: 1 of 2 replicas updated, 2 available; the progress deadline is exceeded
    Pod web-POD container main: ImagePullBackOff: Back-off pulling image "web:missing": not found
    "#);

    let paused = push("Paused", &good("web:6"), &json!({"paused": true}));
    team.until("shop", "Suspended", |status| status["health"] == "Suspended").await;
    team.until_synced("shop", &paused).await;
    insta::assert_snapshot!(told("Suspended", &[]).await, @"Suspended: is paused");

    let zero = push("Scaled to zero", &good("web:7"), &json!({"replicas": 0}));
    team.until_synced("shop", &zero).await;
    insta::assert_snapshot!(told("Healthy", &[]).await, @"Healthy");

    team.kubectl(&["create", "quota", "none", "--hard=pods=0"]);
    push("No room for pods", &good("web:8"), &none);
    insta::assert_snapshot!(told("Degraded: 0 of 2", &["NS/web Degraded: 0 of 2", "exceeded quota"]).await, @r#"
    Degraded: 0 of 2 replicas updated, 0 available; FailedCreate: pods "web-POD" is forbidden: exceeded quota: none, requested: pods=1, used: pods=0, limited: pods=0
    Deployment NS/web Degraded: 0 of 2 replicas updated, 0 available; FailedCreate: pods "web-POD" is forbidden: exceeded quota: none, requested: pods=1, used: pods=0, limited: pods=0
    "#);
    team.kubectl(&["delete", "quota", "none"]);

    let last = push("As it should be", &good("web:9"), &none);
    team.until_synced("shop", &last).await;
    insta::assert_snapshot!(team.deleted_and_held(WEB, "web").await, @"Progressing: is being deleted; waits for the finalizer example.com/hold");
    team.until_synced("shop", &last).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stateful_set_is_told_through_all_its_states() {
    const INDEX: &str = "apps/v1/statefulsets";
    let team = Team::new("stateful-health").await;
    let push = |subject: &str, template: &Value, spec: &Value| {
        team.push(subject, &[("deploy/index.yaml", workload("StatefulSet", "index", template, spec))])
    };
    let none = json!({});
    let good = |image: &str| pods("index", image, "runs", &none);
    let told = async |begins: &str, words: &[&str]| team.until_told(INDEX, "index", begins, words).await;

    push("A pod that does not start", &pods("index", "index:1", "hangs", &none), &none);
    team.deploy_shop(patient());
    insta::assert_snapshot!(told("Progressing: 0 of 2", &["NS/index 0 of 2", "is pending"]).await, @"
    Progressing: 0 of 2 replicas ready
    StatefulSet NS/index 0 of 2 replicas ready
    Pod index-0 is pending
    ");

    // Its controller waits for the pod, which never gets ready: a person deletes it.
    let second = push("Two replicas", &good("index:2"), &none);
    team.until("shop", "applied", |status| status["head"]["commit"] == second).await;
    eventually("the pod is of the new revision", async || {
        let pod = team.get("pods", "index-0").await.unwrap_or_default();
        if pod["spec"]["containers"][0]["image"] == "index:2" {
            return Ok(());
        }
        team.kubectl(&["delete", "pod", "index-0", "--ignore-not-found", "--wait=false"]);
        Err(format!("{:#}", pod["status"]))
    })
    .await;
    team.until_synced("shop", &second).await;
    insta::assert_snapshot!(told("Healthy", &[]).await, @"Healthy");

    push("A container that crashes", &pods("index", "index:3", "crashes", &none), &none);
    insta::assert_snapshot!(told("Progressing: 1 of 2", &["NS/index 1 of 2", "CrashLoopBackOff"]).await, @"
    Progressing: 1 of 2 replicas ready
    StatefulSet NS/index 1 of 2 replicas ready
    Pod index-1 container main: CrashLoopBackOff, exit code 2
    ");

    let partition = json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}});
    let fourth = push("Half of it", &good("index:4"), &partition);
    eventually("the pod is of the new revision", async || {
        let pod = team.get("pods", "index-1").await.unwrap_or_default();
        if pod["spec"]["containers"][0]["image"] == "index:4" {
            return Ok(());
        }
        let set = team.get(INDEX, "index").await.unwrap_or_default();
        if set["spec"]["template"]["spec"]["containers"][0]["image"] == "index:4" {
            team.kubectl(&["delete", "pod", "index-1", "--ignore-not-found", "--wait=false"]);
        }
        Err(format!("{:#}", pod["status"]))
    })
    .await;
    team.until_synced("shop", &fourth).await;
    insta::assert_snapshot!(told("Healthy", &[]).await, @"Healthy");
    let old = team.get("pods", "index-0").await.unwrap();
    assert_eq!(old["spec"]["containers"][0]["image"], "index:2", "below the partition");

    let by_hand = json!({"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}});
    let fifth = push("Updated by hand", &good("index:5"), &by_hand);
    team.until_synced("shop", &fifth).await;
    insta::assert_snapshot!(told("Healthy: 2 pods", &[]).await, @"Healthy: 2 pods of an earlier revision, updated when deleted (OnDelete)");

    let mut zero = by_hand.clone();
    zero["replicas"] = json!(0);
    let sixth = push("Scaled to zero", &good("index:5"), &zero);
    team.until_synced("shop", &sixth).await;
    insta::assert_snapshot!(told("Healthy", &[]).await, @"Healthy");

    insta::assert_snapshot!(team.deleted_and_held(INDEX, "index").await, @"Progressing: is being deleted; waits for the finalizer example.com/hold");
    team.until_synced("shop", &sixth).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_told_in_all_their_states() {
    const JOBS: &str = "batch/v1/jobs";
    let team = Team::new("job-health").await;
    let none = json!({});
    let jobs = [
        job("asleep", "runs", &json!({"suspend": true})),
        job("breaks", "fails", &none),
        job("done", "runs", &none),
        job("late", "hangs", &json!({"activeDeadlineSeconds": 1})),
        job("runs", "hangs", &json!({"completions": 3, "parallelism": 1})),
        job("tries", "fails", &json!({"backoffLimit": 6})),
    ];
    team.push("Six Jobs", &[("deploy/jobs.yaml", yaml(&jobs))]);
    team.deploy_shop(patient());
    let settled = async |name: &str, begins: &str| {
        let verdict = team.until_judged(JOBS, name, begins).await;
        format!("{name} is {verdict}\n")
    };
    // How often it was tried, and whether it is tried just now, goes on.
    eventually("a Job is tried again", async || {
        let verdict = team.until_judged(JOBS, "tries", "Progressing: 0 of 1 pod done").await;
        if verdict.ends_with("failed (backoff limit 6)") { Ok(()) } else { Err(verdict) }
    })
    .await;
    let told = [
        settled("asleep", "Suspended").await,
        settled("breaks", "Degraded: failed: BackoffLimitExceeded").await,
        settled("done", "Healthy").await,
        settled("late", "Degraded: failed: DeadlineExceeded").await,
        settled("runs", "Progressing: 0 of 3 pods done, 1 active").await,
    ];
    insta::assert_snapshot!(told.concat(), @"
    asleep is Suspended: is suspended
    breaks is Degraded: failed: BackoffLimitExceeded: Job has reached the specified backoff limit
    done is Healthy
    late is Degraded: failed: DeadlineExceeded: Job was active longer than specified deadline
    runs is Progressing: 0 of 3 pods done, 1 active
    ");

    let all = eventually("the pods behind the Jobs are told", async || {
        let told = team.problems();
        // The pods of a Job that is late are being deleted.
        let settled = !told.contains("Pod late-") && told.contains("Job NS/late Degraded");
        let pods = ["Pod breaks-", "NS/runs 0 of 3 pods done, 1 active\nPod runs-"];
        if settled && pods.iter().all(|pod| told.contains(pod)) { Ok(told) } else { Err(told) }
    })
    .await;
    let lines = all.lines().filter(|line| !line.contains("tries"));
    let all = lines.fold(String::new(), |text, line| text + line + "\n");
    let all = ["breaks", "late", "runs"].iter().fold(all, |text, name| masked(&text, name));
    insta::assert_snapshot!(all, @"
    Job NS/breaks Degraded: failed: BackoffLimitExceeded: Job has reached the specified backoff limit
    Pod breaks-POD container main: exit code 1
    Job NS/late Degraded: failed: DeadlineExceeded: Job was active longer than specified deadline
    Job NS/runs 0 of 3 pods done, 1 active
    Pod runs-POD is pending
    ");
    let status = team.status("shop").await;
    assert_eq!((&status["sync"], &status["health"]), (&json!("Syncing"), &json!("Degraded")), "{status:#}");

    // What was asleep is woken, and the others are gone.
    let woken =
        team.push("One Job", &[("deploy/jobs.yaml", yaml(&[job("asleep", "runs", &json!({"suspend": false}))]))]);
    team.until_synced("shop", &woken).await;
    insta::assert_snapshot!(settled("asleep", "Healthy").await, @"asleep is Healthy");

    insta::assert_snapshot!(team.deleted_and_held(JOBS, "asleep").await, @"Progressing: is being deleted; waits for the finalizer example.com/hold");
    team.until_synced("shop", &woken).await;
}

//! Charts and kustomizations, from a push to the cluster, by the real programs.

use serde_json::{Value, json};

use crate::world::{Application, Controller, Site, Start, Team, eventually, rollback_request};

const CHART: &str = "apiVersion: v2\nname: web\nversion: 0.1.0\n";

fn chart(templates: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut files = vec![("charts/web/Chart.yaml".to_owned(), CHART.to_owned())];
    files.extend(templates.iter().map(|(name, text)| (format!("charts/web/{name}"), (*text).to_owned())));
    files
}

fn push(team: &Team<'_>, subject: &str, files: &[(String, String)]) -> String {
    let files: Vec<(&str, String)> = files.iter().map(|(path, text)| (path.as_str(), text.clone())).collect();
    team.push(subject, &files)
}

fn deploy_chart(team: &Team<'_>, helm: Value) {
    let spec = json!({"render": {"helm": helm}});
    team.deploy(&Application { name: "shop", path: "charts/web", spec });
}

/// How often the controller started a program to render.
fn renders(controller: &Controller) -> usize {
    controller.says("rendered: ")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chart_is_deployed_with_values_from_git_from_a_secret_and_from_the_application() {
    let team = Team::new("chart").await;
    let template = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}-seen}\ndata:\n  \
                    a: {{ .Values.a | quote }}\n  b: {{ .Values.b | quote }}\n  c: {{ .Values.c | quote }}\n  \
                    namespace: {{ .Release.Namespace }}\n  \
                    policies: {{ .Capabilities.APIVersions.Has \"bowline.dev/v1alpha1/Application\" | quote }}\n";
    let mut files = chart(&[("templates/a.yaml", template), ("values.yaml", "a: chart\nb: chart\nc: chart\n")]);
    files.push(("env/prod.yaml".to_owned(), "b: file\nc: file\n".to_owned()));
    push(&team, "A chart", &files);
    let helm = json!({
        "valueFiles": ["../../env/prod.yaml"],
        "valuesFrom": [{"kind": "Secret", "name": "web-values"}, {"kind": "ConfigMap", "name": "none", "optional": true}],
        "values": {"c": "given"},
    });
    deploy_chart(&team, helm);
    let missing = format!("Secret {}/web-values, which render.helm.valuesFrom names, does not exist", team.namespace);
    let status = team.until("shop", "the missing Secret", |status| status["note"] == missing).await;
    assert_eq!(status["sync"], "Unknown");
    team.kubectl(&["create", "secret", "generic", "web-values", "--from-literal=values.yaml=b: secret"]);
    // What is missing is looked for again by itself.
    team.until("shop", "Healthy", |status| status["health"] == "Healthy" && status["sync"] == "Synced").await;
    let seen = team.get("configmaps", "shop-seen").await.unwrap();
    let expected = json!({"a": "chart", "b": "secret", "c": "given", "namespace": team.namespace, "policies": "true"});
    assert_eq!(seen["data"], expected);
    let release = &team.releases("shop").await[0];
    assert!(release.spec.renderer.starts_with("Helm v4."), "{}", release.spec.renderer);

    // A value file is not below the path, and counts.
    let commit = push(&team, "Another value", &[("env/prod.yaml".to_owned(), "a: file\n".to_owned())]);
    team.until_synced("shop", &commit).await;
    assert_eq!(team.get("configmaps", "shop-seen").await.unwrap()["data"]["a"], "file");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kustomization_is_deployed_with_its_bases_and_a_commit_elsewhere_renders_nothing() {
    let site = Site::new();
    let controller = site.start(&Start { arguments: vec!["--allow-bases", "127.0.0.1"], ..Start::default() });
    let team = Team::at(&site, "kustomize").await;
    let map =
        |value: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: seen}}\ndata: {{a: {value}}}\n");
    let files = [
        ("overlays/prod/kustomization.yaml", "namePrefix: prod-\nresources: [../../base]\n".to_owned()),
        ("base/kustomization.yaml", "resources: [a.yaml]\n".to_owned()),
        ("base/a.yaml", map("one")),
    ];
    let first = team.push("An overlay", &files);
    team.deploy(&Application { name: "shop", path: "overlays/prod", spec: json!({}) });
    team.until_synced("shop", &first).await;
    assert_eq!(team.get("configmaps", "prod-seen").await.unwrap()["data"]["a"], "one");
    let before = renders(&controller);
    assert_eq!(before, 1);

    let elsewhere =
        team.push("Elsewhere", &[("README.md", "words\n".to_owned()), ("base/notes.txt", "x\n".to_owned())]);
    team.until("shop", "the commit elsewhere", |status| status["head"]["commit"] == elsewhere.as_str()).await;
    assert_eq!(renders(&controller), before, "a commit elsewhere renders nothing");

    let second = team.push("The base", &[("base/a.yaml", map("two"))]);
    team.until_synced("shop", &second).await;
    assert_eq!(team.get("configmaps", "prod-seen").await.unwrap()["data"]["a"], "two");
    assert_eq!(team.history("shop").await, "1 Push Healthy\n2 Push Healthy");

    // A base of another repository, whose branch moves on by itself.
    let platform = team.git.create_repo("platform").unwrap();
    platform.write("base/kustomization.yaml", "resources: [b.yaml]\n").unwrap();
    platform.write("base/b.yaml", &map("three").replace("seen", "platform")).unwrap();
    platform.commit_and_push("A base").unwrap();
    let base = format!("{}//base?ref=main", team.git.url("platform"));
    let overlay = format!("namePrefix: prod-\nresources: [../../base, \"{base}\"]\n");
    let third = team.push("Another base", &[("overlays/prod/kustomization.yaml", overlay)]);
    team.until_synced("shop", &third).await;
    assert_eq!(team.get("configmaps", "prod-platform").await.unwrap()["data"]["a"], "three");
    team.kubectl(&[
        "patch",
        "application",
        "shop",
        "--type=merge",
        "-p",
        r#"{"spec":{"render":{"kustomize":{"interval":"1s"}}}}"#,
    ]);
    platform.write("base/b.yaml", &map("four").replace("seen", "platform")).unwrap();
    platform.commit_and_push("A newer base").unwrap();
    eventually("the newer base", async || {
        let map = team.get("configmaps", "prod-platform").await.unwrap();
        if map["data"]["a"] == "four" { Ok(()) } else { Err(map["data"].to_string()) }
    })
    .await;
    let newest = team.releases("shop").await.pop().unwrap();
    assert_eq!((newest.spec.number, newest.spec.commit.id.as_str()), (4, third.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chart_with_a_random_password_keeps_the_one_that_runs() {
    let site = Site::new();
    let mut controller = site.start(&Start::default());
    let team = Team::at(&site, "random").await;
    let secret =
        "apiVersion: v1\nkind: Secret\nmetadata: {name: password}\nstringData: {password: {{ randAlphaNum 20 }}}\n";
    let commit = push(&team, "A random password", &chart(&[("templates/a.yaml", secret)]));
    deploy_chart(&team, json!({}));
    team.until_synced("shop", &commit).await;
    let password = team.get("secrets", "password").await.unwrap()["data"]["password"].clone();
    let events = team.events("shop").await;
    let told = events.iter().any(|event| event.contains("NotDeterministic") && event.contains("/data/password"));
    assert!(told, "{events:#?}");

    // Whoever starts anew finds the content of these inputs in the cluster.
    controller.start_at_once(&site);
    controller.wait_for_log("these inputs were rendered before");
    let elsewhere = team.push("Elsewhere", &[("README.md", "words\n".to_owned())]);
    team.until("shop", "the commit elsewhere", |status| status["head"]["commit"] == elsewhere.as_str()).await;
    assert_eq!(team.get("secrets", "password").await.unwrap()["data"]["password"], password);
    assert_eq!(team.history("shop").await, "1 Push Healthy");

    // Another commit of the chart makes another one: that is what it says.
    let commit = push(
        &team,
        "A label",
        &chart(&[("templates/a.yaml", &secret.replace("{name: password}", "{name: password, labels: {a: b}}"))]),
    );
    team.until_synced("shop", &commit).await;
    assert_ne!(team.get("secrets", "password").await.unwrap()["data"]["password"], password);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_render_is_told_and_what_runs_is_left_alone() {
    let team = Team::new("broken-chart").await;
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: seen}\ndata: {a: {{ .Values.a | quote }}}\n";
    let good = push(&team, "A chart", &chart(&[("templates/a.yaml", map), ("values.yaml", "a: 1\n")]));
    deploy_chart(&team, json!({}));
    team.until_synced("shop", &good).await;
    let bad = push(
        &team,
        "A mistake",
        &chart(&[("templates/b.yaml", "{{ required \"an image is needed\" .Values.image }}\n")]),
    );
    let note = format!("commit {} cannot be rendered: charts/web/templates/b.yaml:1:4: an image is needed", &bad[..7]);
    team.until("shop", "why it does not render", |status| status["note"] == note.as_str()).await;
    assert!(team.get("configmaps", "seen").await.is_some());
    // Hooks of charts run as Helm would have them run.
    let hook = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: ran\n  annotations: {helm.sh/hook: \"pre-install,pre-upgrade\"}\n";
    let mended = push(&team, "Mended", &chart(&[("templates/b.yaml", hook)]));
    team.until_synced("shop", &mended).await;
    assert!(team.get("configmaps", "ran").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chart_of_a_registry_is_deployed_with_the_account_of_a_secret_and_touched() {
    let site = Site::new();
    let _controller = site.start(&Start { arguments: vec!["--outgoing-hosts", "127.0.0.1"], ..Start::default() });
    let team = Team::at(&site, "registry").await;
    let account = ("ada", "correct horse");
    let registry = rig::Registry::start(Some(account), None).unwrap();
    let config = publish(&registry, account, &["1.0.0", "1.1.0"]);
    let first = team.push("Values", &[("prod.yaml", "word: prod\n".to_owned())]);
    let url = format!("oci://{}/charts", registry.host());
    let spec = json!({"render": {
        "helm": {
            "chart": {"repository": url, "name": "web", "version": "^1.0"},
            "valueFiles": ["prod.yaml"],
            "valuesFrom": [{"kind": "ConfigMap", "name": "site", "optional": true}],
            "interval": "2s",
            "repositories": [{"url": url, "plainHTTP": true, "secretRef": {"name": "registry"}}],
        },
        "labels": {"team": "shop"},
        "patches": [{
            "target": {"kind": "ConfigMap"},
            "patch": "- {op: add, path: /data/patched, value: \"yes\"}",
        }],
    }});
    team.deploy(&Application { name: "shop", path: ".", spec });
    let missing = format!("Secret {}/registry for {url} does not exist", team.namespace);
    let status = team.until("shop", "the missing Secret", |status| status["note"] == missing).await;
    assert_eq!(status["sync"], "Unknown");
    let wrong = ["--from-literal=username=ada", "--from-literal=password=wrong horse"];
    team.kubectl(&[&["create", "secret", "generic", "registry"], &wrong[..]].concat());
    let refused = |status: &Value| status["note"].as_str().is_some_and(|note| note.contains("401"));
    let status = team.until("shop", "the wrong password", refused).await;
    assert!(!status.to_string().contains("wrong horse"), "{status}");
    let right = r#"{"stringData": {"password": "correct horse"}}"#;
    team.kubectl(&["patch", "secret", "registry", "--type=merge", "-p", right]);
    team.until_synced("shop", &first).await;
    let seen = team.get("configmaps", "shop-web").await.unwrap();
    assert_eq!(seen["data"], json!({"version": "1.1.0", "word": "prod", "patched": "yes"}));
    assert_eq!(seen["metadata"]["labels"]["team"], "shop");
    let release = &team.releases("shop").await[0];
    assert!(release.spec.renderer.contains(", Kustomize v5"), "{}", release.spec.renderer);

    // A newer version of the range, and another value, need no commit.
    let is = async |key: &str, value: &str| {
        eventually(&format!("{key} is {value}"), async || {
            let object = team.get("configmaps", "shop-web").await.unwrap_or_default();
            if object["data"][key] == value { Ok(()) } else { Err(object.to_string()) }
        })
        .await;
    };
    let newer = publish(&registry, account, &["1.2.0"]);
    is("version", "1.2.0").await;
    team.kubectl(&["create", "configmap", "site", "--from-literal=values.yaml=word: site"]);
    is("word", "site").await;
    team.until_synced("shop", &first).await;
    let commits: Vec<String> = team.releases("shop").await.iter().map(|it| it.spec.commit.id.clone()).collect();
    assert_eq!(commits, [first.clone(), first.clone(), first.clone()]);

    // What cannot be looked at leaves what runs alone, and is told once.
    let wrong = r#"{"stringData": {"password": "wrong horse"}}"#;
    team.kubectl(&["patch", "secret", "registry", "--type=merge", "-p", wrong]);
    let told = async || {
        let told = team.events("shop").await;
        told.into_iter().filter(|event| event.contains("what was rendered before stays")).collect::<Vec<_>>()
    };
    eventually("the registry refuses", async || {
        let told = told().await;
        if told.is_empty() { Err("nobody told") } else { Ok(()) }
    })
    .await;
    team.polls(8).await;
    assert_eq!(told().await.len(), 1, "{:?}", told().await);
    let status = team.status("shop").await;
    assert_eq!((status["sync"].as_str(), status["health"].as_str()), (Some("Synced"), Some("Healthy")), "{status:#}");
    team.kubectl(&["patch", "secret", "registry", "--type=merge", "-p", right]);

    // Another version is the Application's word, and the way back needs no registry.
    let version = json!({"spec": {"render": {"helm": {"chart": {"version": "1.0.0"}}}}});
    team.patch("applications", "shop", "ada", &version).await;
    is("version", "1.0.0").await;
    drop((registry, config, newer));
    team.create(&rollback_request("back", 4, &json!({"toRelease": 1})));
    is("version", "1.1.0").await;
}

/// Pushes a chart of one ConfigMap; Helm's own directory of accounts stays.
fn publish(registry: &rig::Registry, account: (&str, &str), versions: &[&str]) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let helm = |arguments: &[&str]| {
        let mut command = std::process::Command::new(rig::tools::path("helm").unwrap());
        let output = command.args(arguments).env("HOME", home.path()).current_dir(home.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let host = registry.host();
    helm(&["registry", "login", &host, "--username", account.0, "--password", account.1, "--plain-http"]);
    std::fs::create_dir_all(home.path().join("web/templates")).unwrap();
    let template = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: \"{{ .Release.Name }}-web\"}\n\
                    data: {version: {{ .Chart.Version | quote }}, word: {{ .Values.word | quote }}}\n";
    std::fs::write(home.path().join("web/templates/a.yaml"), template).unwrap();
    for version in versions {
        let chart = format!("apiVersion: v2\nname: web\nversion: {version}\n");
        std::fs::write(home.path().join("web/Chart.yaml"), chart).unwrap();
        helm(&["package", "web"]);
        helm(&["push", &format!("web-{version}.tgz"), &format!("oci://{host}/charts"), "--plain-http"]);
    }
    home
}

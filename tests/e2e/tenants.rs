//! What a team tries in order to reach beyond its namespace, and what comes of
//! it: each line is run, and the page of the documents has the answers.
//!
//! The team writes Applications and pushes to their repositories; its deployer
//! is `admin` of its namespace. `BOWLINE_GENERATE=1` writes the page anew.

use std::{env, fmt::Write as _, fs, path::Path};

use serde_json::{Value, json};

use crate::world::{Site, Start, Team, config_map};

/// An attempt: what it is, files of the repository, and the Application's spec.
struct Attempt {
    what: &'static str,
    files: Vec<(&'static str, String)>,
    link: Option<(&'static str, &'static str)>,
    spec: Value,
}

fn attempt(what: &'static str, files: &[(&'static str, String)], spec: Value) -> Attempt {
    Attempt { what, files: files.to_vec(), link: None, spec }
}

fn manifest(what: &'static str, object: Value) -> Attempt {
    attempt(what, &[("all.yaml", object.to_string())], json!({}))
}

fn chart(what: &'static str, template: &str) -> Attempt {
    let files = [
        ("Chart.yaml", "apiVersion: v2\nname: web\nversion: 0.1.0\n".to_owned()),
        ("templates/all.yaml", template.to_owned()),
    ];
    attempt(what, &files, json!({}))
}

fn harmless() -> (&'static str, String) {
    ("all.yaml", config_map("harmless", "x").to_string())
}

fn in_namespace(mut object: Value, namespace: &str) -> Value {
    object["metadata"]["namespace"] = json!(namespace);
    object
}

fn binding(kind: &str, own: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": "more"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "bowline-deployer", "namespace": own}],
    })
}

fn attempts(own: &str, other: &str) -> Vec<Attempt> {
    let cross = config_map("theirs", "changed");
    let mut taken = in_namespace(cross.clone(), other);
    taken["metadata"]["annotations"] = json!({"bowline.dev/take-over": "true"});
    let mut link = attempt("a link in the repository to the controller's token", &[harmless()], json!({}));
    link.link = Some(("token.yaml", "/var/run/secrets/kubernetes.io/serviceaccount/token"));
    vec![
        manifest("a manifest for another team's namespace", in_namespace(cross, other)),
        manifest("the same, annotated to take the object over", taken),
        attempt(
            "another team's namespace as the destination",
            &[harmless()],
            json!({"destination": {"namespace": other}}),
        ),
        attempt(
            "another team's deployer",
            &[harmless()],
            json!({"destination": {"serviceAccountName": format!("{other}:bowline-deployer")}}),
        ),
        attempt(
            "the controller's own account, by its name",
            &[harmless()],
            json!({"destination": {"serviceAccountName": "bowline-controller"}}),
        ),
        manifest("a ClusterRoleBinding that makes its deployer administrator", binding("ClusterRoleBinding", own)),
        manifest("a RoleBinding to a role that has more than its deployer", binding("RoleBinding", own)),
        manifest(
            "a Role that may impersonate",
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "others"},
                "rules": [{"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"]}],
            }),
        ),
        manifest(
            "an Application in another team's namespace",
            json!({
                "apiVersion": "bowline.dev/v1alpha1", "kind": "Application",
                "metadata": {"name": "shop", "namespace": other},
                "spec": {"source": {"repoURL": "https://git.example/shop"}},
            }),
        ),
        manifest(
            "a forged release of its own",
            json!({
                "apiVersion": "bowline.dev/v1alpha1", "kind": "BundleChunk",
                "metadata": {"name": "forged"}, "spec": {"data": "AAAA"},
            }),
        ),
        manifest("a new namespace", json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "mine"}})),
        attempt(
            "another team's credentials for a repository, by a path",
            &[harmless()],
            json!({"source": {"secretRef": {"name": format!("../{other}/credentials")}}}),
        ),
        attempt(
            "another team's Secret as values, by a path",
            &[("Chart.yaml", "apiVersion: v2\nname: web\nversion: 0.1.0\n".to_owned())],
            json!({"render": {"helm": {"valuesFrom": [{"kind": "Secret", "name": format!("../{other}/credentials")}]}}}),
        ),
        chart(
            "a chart that looks another team's Secret up",
            &format!(
                "{{{{ $s := lookup \"v1\" \"Secret\" \"{other}\" \"credentials\" }}}}\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: seen}}\ndata: {{x: {{{{ $s.data.password }}}}}}\n"
            ),
        ),
        chart(
            "a chart that reads the controller's environment",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: seen}\ndata: {x: {{ env \"KUBERNETES_SERVICE_HOST\" }}}\n",
        ),
        link,
        attempt(
            "a chart of the address where clouds keep credentials",
            &[harmless()],
            json!({"render": {"helm": {"chart": {
                "repository": "http://169.254.169.254/latest", "name": "credentials", "version": "1.0.0",
            }}}}),
        ),
        attempt(
            "waiting for another team's Application",
            &[harmless()],
            json!({"dependsOn": [format!("{other}/shop")]}),
        ),
    ]
}

/// Makes the Application and says what came of it, as its writer reads it.
async fn answer(team: &Team<'_>, number: usize, attempt: &Attempt) -> String {
    let directory = format!("try-{number}");
    for (path, text) in &attempt.files {
        team.repo.write(&format!("{directory}/{path}"), text).unwrap();
    }
    if let Some((path, target)) = attempt.link {
        std::os::unix::fs::symlink(target, team.repo.work_path().join(&directory).join(path)).unwrap();
    }
    team.repo.commit_and_push(attempt.what).unwrap();
    let mut object = json!({
        "apiVersion": "bowline.dev/v1alpha1", "kind": "Application", "metadata": {"name": directory},
        "spec": {"source": {"repoURL": team.git.url("shop"), "path": directory, "interval": "1s"}},
    });
    json_patch::merge(&mut object["spec"], &attempt.spec);
    if let Err(refused) = team.try_create(&object) {
        let words = refused.lines().last().unwrap_or_default();
        let words = words.split_once("is invalid: ").map_or(words, |(_, words)| words);
        return format!("the API server: {words}");
    }
    let told = |status: &Value| {
        let note = status["note"].as_str().unwrap_or_default();
        let passing = ["the repository has not been read yet", "applying", "asking"];
        !note.is_empty() && status["sync"] != "Syncing" && !passing.iter().any(|words| note.starts_with(words))
    };
    let status = team.until(&directory, "it is told", told).await;
    assert_ne!(status["sync"], "Synced", "{}: {status:#}", attempt.what);
    format!("{}: {}", status["sync"].as_str().unwrap(), status["note"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_attempt_of_a_team_reaches_beyond_its_namespace() {
    let site = Site::new();
    let _controller = site.start(&Start::default());
    let (own, other) = (Team::at(&site, "tenant").await, Team::at(&site, "other").await);
    let theirs = other.create(&config_map("theirs", "theirs"));
    other.kubectl(&["create", "secret", "generic", "credentials", "--from-literal=password=hunter2"]);
    let rights = site.cluster.kubectl(&["get", "clusterrolebindings,clusterroles", "-o", "name"]).unwrap();

    let mut rows = String::new();
    for (number, attempt) in attempts(&own.namespace, &other.namespace).iter().enumerate() {
        let answer = answer(&own, number, attempt).await;
        assert!(!answer.contains("hunter2"), "{answer}");
        let answer = answer.replace(&own.namespace, "team-a").replace(&other.namespace, "team-b");
        let answer = answer.replace(&own.git.url("shop"), "https://git.example/shop");
        // What an expression has is no link.
        let answer = answer.replace('|', "\\|").replace("](", "]\\(").replace(['\n', '\t'], " ");
        writeln!(rows, "| {} | {} |", attempt.what, without_commit(&answer)).unwrap();
    }

    // Nothing of the other team is another, or more than before.
    assert_eq!(other.get("configmaps", "theirs").await.unwrap()["metadata"]["uid"], theirs["metadata"]["uid"]);
    assert_eq!(other.get("configmaps", "theirs").await.unwrap()["data"], theirs["data"]);
    assert!(other.get("configmaps", "harmless").await.is_none());
    assert!(other.releases("shop").await.is_empty());
    assert!(own.get("configmaps", "seen").await.is_none());
    let after = site.cluster.kubectl(&["get", "clusterrolebindings,clusterroles", "-o", "name"]).unwrap();
    assert_eq!(after, rights);

    let page = format!(
        "<!-- Made from what the program said by `BOWLINE_GENERATE=1 cargo test --test e2e tenants::`: do not edit. -->\n\n\
         # What a team cannot reach\n\n\
         A team of `team-a` writes Applications and pushes to their repositories. Its deployer is `admin` of its namespace.\n\
         Each line is an attempt of a test (`tests/e2e/tenants.rs`) to reach `team-b`, the cluster or the controller, and what the\n\
         Application's status says of it, or the API server, which refuses the Application itself. See\n\
         [Security](security.md) for whose rights are used, and [what hostile repositories try](hostile-repositories.md).\n\n\
         | attempt | answer |\n| --- | --- |\n{rows}"
    );
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/tenants.md");
    if env::var_os("BOWLINE_GENERATE").is_some() {
        fs::write(&file, &page).unwrap();
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(found, page, "docs/tenants.md is not what the program says: BOWLINE_GENERATE=1 writes it anew");
}

/// Commits differ from run to run.
fn without_commit(text: &str) -> String {
    let mut words = text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    for index in 1..words.len() {
        let is_id = words[index].len() == 7 && words[index].bytes().all(|byte| byte.is_ascii_hexdigit());
        if words[index - 1] == "commit" && is_id {
            words[index] = "COMMIT".to_owned();
        }
    }
    words.join(" ")
}

//! What `bowline rollback` does after each of twelve kinds of damage: the
//! program is run, and the page of the documents has what it said.
//!
//! `BOWLINE_GENERATE=1` writes the page anew.

use std::{collections::BTreeMap, env, fmt::Write as _, fs, path::Path};

use rig::{Fault, FaultProxy, Seen};
use serde_json::{Value, json};

use crate::world::{Controller, Site, Start, Team, config_map, deployment, eventually, rollback_request, yaml};

/// A row of the page.
struct Row {
    damage: &'static str,
    done: &'static str,
    said: String,
    after: String,
}

/// An application with a good release and one after it.
struct Patient<'a> {
    team: Team<'a>,
    commits: BTreeMap<String, &'static str>,
}

impl<'a> Patient<'a> {
    async fn new(site: &'a Site, name: &str, spec: Value) -> Self {
        let team = Team::at(site, name).await;
        let account = format!("--serviceaccount={}:bowline-deployer", team.namespace);
        team.kubectl(&["create", "clusterrolebinding", &team.namespace, "--clusterrole=cluster-admin", &account]);
        let mut patient = Self { team, commits: BTreeMap::new() };
        let good = patient.push("GOOD", "registry.example/web:1", "good", &[]);
        patient.team.deploy_shop(spec);
        patient.team.until_synced("shop", &good).await;
        patient
    }

    /// Pushes content under a name that the page has in place of the commit.
    fn push(&mut self, name: &'static str, image: &str, value: &str, more: &[Value]) -> String {
        let objects = [&[deployment("web", image), config_map("settings", value)], more].concat();
        let commit = self.team.push(name, &[("deploy/all.yaml", yaml(&objects))]);
        self.commits.insert(commit[..7].to_owned(), name);
        commit
    }

    /// And a second release that is healthy.
    async fn second(&mut self, value: &str, more: &[Value]) {
        let commit = self.push("BAD", "registry.example/web:2", value, more);
        self.team.until_synced("shop", &commit).await;
    }

    /// What the program says, without what differs from run to run.
    fn say(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.team.bowline(&[&["rollback", "shop"], arguments].concat());
        let text = out + &err;
        // Progress is shown as it is seen, which differs from run to run.
        let wanted = |line: &&str| {
            let line = line.trim();
            line.starts_with("Rollback of") || line.starts_with("error:") || line.contains(" created by ")
        };
        let mut lines: Vec<String> = text.lines().filter(wanted).map(|line| self.plain(line)).collect();
        assert!(!lines.is_empty(), "{text}");
        lines.dedup();
        format!("{} (exit code {code})", lines.join("; "))
    }

    fn plain(&self, line: &str) -> String {
        let mut line = line.trim().replace("NS", "team-a");
        for (commit, name) in &self.commits {
            line = line.replace(commit, name);
        }
        let words = line.split_whitespace().filter(|word| !is_time(word)).map(|word| {
            let hex = word.trim_end_matches(['…', ':', ',', ')']);
            if hex.len() >= 8 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                word.replace(hex, "DIGEST")
            } else {
                word.to_owned()
            }
        });
        words.collect::<Vec<_>>().join(" ")
    }

    async fn value(&self) -> String {
        let object = self.team.get("configmaps", "settings").await.unwrap_or_default();
        object["data"]["key"].as_str().unwrap_or("gone").to_owned()
    }

    /// The image that the Deployment has, and whether the newest release runs.
    async fn middle(&self) -> (String, bool) {
        let web = self.team.get("apps/v1/deployments", "web").await.unwrap();
        let image = web["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned();
        (image, self.team.history("shop").await.ends_with("3 Rollback to 1 running"))
    }

    /// The newest release, how the application stands, and what is in the cluster.
    async fn after(&self) -> String {
        let history = self.team.history("shop").await;
        let newest = history.lines().last().unwrap_or_default().to_owned();
        let number: u64 = newest.split(' ').next().unwrap_or_default().parse().unwrap();
        let rests = |status: &Value| status["release"]["number"] == number && status["sync"] != "Syncing";
        let status = self.team.until("shop", "comes to rest", rests).await;
        let sync = status["sync"].as_str().unwrap_or_default().to_owned();
        format!("release {newest}; {sync}; the ConfigMap says `{}`", self.value().await)
    }
}

/// `0.3s`, `12s`: how long it took is not the page's.
fn is_time(word: &str) -> bool {
    let number = word.strip_suffix('s').map(|word| word.strip_suffix('m').unwrap_or(word));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
}

const GO: &[&str] = &["--yes", "--wait", "--reason", "queue backs up"];

fn definition(team: &Team<'_>, column: &str) -> Value {
    let group = format!("{}.example.com", team.namespace);
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("widgets.{group}"), "labels": {"column": column}},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"kind": "Widget", "plural": "widgets", "singular": "widget"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}],
        },
    })
}

async fn git_down(site: &Site) -> Row {
    let mut patient = Patient::new(site, "git-down", json!({})).await;
    patient.second("bad", &[]).await;
    patient.team.git.stop();
    let said = patient.say(GO);
    Row { damage: "Git is down", done: "the server is stopped", said, after: patient.after().await }
}

async fn commit_broken(site: &Site) -> Row {
    let mut patient = Patient::new(site, "commit-broken", json!({})).await;
    patient.second("bad", &[]).await;
    patient.team.push("Broken", &[("deploy/all.yaml", "kind: [".to_owned())]);
    patient.team.until("shop", "Failed", |status| status["sync"] == "Failed").await;
    let said = patient.say(GO);
    Row { damage: "the commit is broken", done: "a file that is no YAML is pushed", said, after: patient.after().await }
}

async fn image_bad(site: &Site) -> Row {
    let spec = json!({"sync": {"timeout": "15s"}, "rollback": {"automatic": false}});
    let mut patient = Patient::new(site, "image-bad", spec).await;
    patient.push("BAD", "registry.example/web:missing", "bad", &[]);
    patient.team.until("shop", "failed", |status| status["release"]["phase"] == "Failed").await;
    let said = patient.say(GO);
    let done = "an image that cannot be pulled is pushed, with `rollback.automatic: false`";
    Row { damage: "the image is bad", done, said, after: patient.after().await }
}

async fn object_deleted(site: &Site) -> Row {
    let mut patient = Patient::new(site, "object-deleted", json!({"sync": {"drift": "Report"}})).await;
    patient.second("bad", &[]).await;
    patient.team.delete("configmaps", "settings").await;
    patient.team.until("shop", "sees it", |status| status["objects"]["drifted"] == 1).await;
    let said = patient.say(GO);
    let done = "the ConfigMap is deleted, with `sync.drift: Report`";
    Row { damage: "an object was deleted", done, said, after: patient.after().await }
}

async fn edited_by_hand(site: &Site) -> Row {
    let mut patient = Patient::new(site, "edited-by-hand", json!({"sync": {"drift": "Report"}})).await;
    patient.second("bad", &[]).await;
    let edit = json!({"data": {"key": "by hand", "more": "by hand"}});
    patient.team.patch("configmaps", "settings", "kubectl-edit", &edit).await;
    patient.team.until("shop", "sees it", |status| status["objects"]["drifted"] == 1).await;
    let said = patient.say(GO);
    let data = patient.team.get("configmaps", "settings").await.unwrap()["data"].clone();
    let after = format!("{}; its data is `{data}`", patient.after().await);
    let done = "`kubectl edit` changes a value and adds another, with `sync.drift: Report`";
    Row { damage: "an object was edited by hand", done, said, after }
}

async fn edited_by_a_controller(site: &Site) -> Row {
    let mut patient = Patient::new(site, "edited-by-controller", json!({"sync": {"drift": "Report"}})).await;
    patient.second("bad", &[]).await;
    let edit = json!({"data": {"key": "by a controller", "more": "by a controller"}});
    patient.team.patch("configmaps", "settings", "some-controller", &edit).await;
    patient.team.until("shop", "sees it", |status| status["objects"]["drifted"] == 1).await;
    let said = patient.say(GO);
    let data = patient.team.get("configmaps", "settings").await.unwrap()["data"].clone();
    let after = format!("{}; its data is `{data}`", patient.after().await);
    let done = "another field manager changes a value and adds another, with `sync.drift: Report`";
    Row { damage: "an object was edited by another controller", done, said, after }
}

async fn definition_changed(site: &Site) -> Row {
    let mut patient = Patient::new(site, "crd-changed", json!({})).await;
    let one = definition(&patient.team, "one");
    patient.second("middle", &[one]).await;
    let two = definition(&patient.team, "two");
    let worse = patient.push("WORSE", "registry.example/web:3", "worse", &[two]);
    patient.team.until_synced("shop", &worse).await;
    let said = patient.say(GO);
    let name = format!("crd/widgets.{}.example.com", patient.team.namespace);
    let label = patient.team.kubectl(&["get", &name, "-o", "jsonpath={.metadata.labels.column}"]);
    let after = format!("{}; the definition is left: its label says `{label}`", patient.after().await);
    let done = "release 2 brings a definition, release 3 changes it";
    Row { damage: "a CRD was changed", done, said, after }
}

/// A controller whose way to the API server holds back one write: it is killed
/// when the ConfigMap is back and the Deployment is not.
async fn controller_killed(site: &Site, controller: &mut Controller) -> Row {
    let mut patient = Patient::new(site, "killed", json!({})).await;
    patient.second("bad", &[]).await;
    controller.kill();
    site.free_lease();
    let proxy = FaultProxy::start(&site.cluster).unwrap();
    let kubeconfig = Some(proxy.kubeconfig_path().to_owned());
    let mut victim = site.start(&Start { kubeconfig, ..Start::default() });
    victim.wait_for_log("leading");
    let of_web =
        |seen: &Seen| seen.is_write() && seen.path.ends_with("/deployments/web") && !seen.query.contains("dryRun");
    proxy.strike(of_web, Fault::Silence);
    let patient = &patient;
    let said = std::thread::scope(|scope| {
        let asking = scope.spawn(|| patient.say(GO));
        let middle = eventually("the rollback is in its middle", async || {
            let value = patient.value().await;
            let held = proxy.struck();
            if value == "good" && held == 1 { Ok(()) } else { Err(format!("{value}, {held} writes are held")) }
        });
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(middle));
        victim.kill();
        // It had not ended, and its last write never came to the server.
        let (image, running) =
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(patient.middle()));
        assert_eq!((image.as_str(), running), ("registry.example/web:2", true));
        controller.start_at_once(site);
        asking.join().unwrap()
    });
    let done = "the controller is killed when the ConfigMap is back and the Deployment is not, and another is started";
    Row { damage: "the controller was killed in the middle of a rollback", done, said, after: patient.after().await }
}

async fn chunk_deleted(site: &Site, controller: &mut Controller) -> Row {
    let mut patient = Patient::new(site, "chunk-deleted", json!({})).await;
    patient.second("bad", &[]).await;
    let bundle = patient.team.releases("shop").await[0].spec.bundle.to_string();
    let bundles = patient.team.list("bundles").await;
    let of_first = bundles.iter().find(|found| found["spec"]["digest"] == bundle).unwrap();
    let others = bundles.iter().filter(|found| found["spec"]["digest"] != bundle);
    let kept: Vec<&Value> = others.flat_map(|found| found["spec"]["chunks"].as_array().unwrap()).collect();
    let chunks = of_first["spec"]["chunks"].as_array().unwrap();
    let lost = chunks.iter().find(|chunk| !kept.contains(chunk)).unwrap()["name"].as_str().unwrap().to_owned();
    patient.team.delete("bundlechunks", &lost).await;
    controller.start_at_once(site);
    patient.team.until("shop", "Synced", |status| status["sync"] == "Synced").await;
    let said = patient.say(GO).replace(&lost, "CHUNK");
    let done = "a BundleChunk of release 1 is deleted";
    Row { damage: "a chunk was deleted", done, said, after: patient.after().await }
}

async fn release_edited(site: &Site) -> Row {
    let mut patient = Patient::new(site, "release-edited", json!({})).await;
    patient.second("bad", &[]).await;
    let forged = patient.team.releases("shop").await[1].spec.bundle.to_string();
    let edit = json!({"spec": {"bundle": forged}}).to_string();
    let edited = patient.team.try_kubectl(&["patch", "brel", "shop-1", "--type=merge", "-p", &edit]);
    let refused = edited.unwrap_err();
    assert!(refused.contains("the spec of a Release never changes"), "{refused}");
    let said = patient.say(GO);
    let done = "somebody puts another content into release 1: the API server refuses it (\"the spec of a Release never changes\")";
    Row { damage: "a release was edited", done, said, after: patient.after().await }
}

async fn two_at_once(site: &Site) -> Row {
    let mut patient = Patient::new(site, "two-at-once", json!({})).await;
    patient.second("bad", &[]).await;
    // Both are there before the controller looks at either.
    let requests =
        yaml(&[rollback_request("ada", 2, &json!({})), rollback_request("grace", 2, &json!({"toRelease": 1}))]);
    let namespace = patient.team.namespace.clone();
    site.cluster.kubectl_with_input(&["create", "-n", &namespace, "-f", "-"], &requests).unwrap();
    let mut answers = Vec::new();
    for name in ["ada", "grace"] {
        let answer = patient.team.until_answered("rollbackrequests", name).await;
        let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
        answers.push(format!("{}: {}", text("phase"), text("message")));
    }
    answers.sort();
    let done = "two RollbackRequests from release 2 are created together";
    Row { damage: "two rollbacks at once", done, said: answers.join("; "), after: patient.after().await }
}

async fn made_again(site: &Site) -> Row {
    let mut patient = Patient::new(site, "made-again", json!({})).await;
    patient.second("bad", &[]).await;
    patient.team.kubectl(&["delete", "bapp", "shop", "--wait=true"]);
    patient.team.deploy_shop(json!({}));
    patient
        .team
        .until("shop", "taken up", |status| status["sync"] == "Synced" && status["release"]["number"] == 3)
        .await;
    let said = patient.say(&[&["1"], GO].concat());
    let done = "the Application is deleted (its objects stay) and created again; its first release is number 3";
    Row { damage: "the Application was deleted and created again", done, said, after: patient.after().await }
}

fn page(rows: &[Row]) -> String {
    let mut page = String::from(
        "<!-- Made from what the program said by `BOWLINE_GENERATE=1 cargo test --test e2e damage::`: do not edit. -->\n\n\
         # After damage\n\n\
         What `bowline rollback shop --yes --wait` does after each of these, as the program said it on a real API \
         server. Release 1 is good (its ConfigMap says `good`), release 2 came after it. Names of commits and digests \
         are replaced.\n\n\
         | damage | done | said | after it |\n| --- | --- | --- | --- |\n",
    );
    for row in rows {
        let Row { damage, done, said, after } = row;
        let said = said.replace('|', "\\|");
        writeln!(page, "| {damage} | {done} | {said} | {after} |").unwrap();
    }
    page
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_rollback_does_after_each_damage_is_what_the_page_says() {
    let site = Site::new();
    let mut controller = site.start(&Start::default());
    let rows = [
        git_down(&site).await,
        commit_broken(&site).await,
        image_bad(&site).await,
        object_deleted(&site).await,
        edited_by_hand(&site).await,
        edited_by_a_controller(&site).await,
        definition_changed(&site).await,
        controller_killed(&site, &mut controller).await,
        chunk_deleted(&site, &mut controller).await,
        release_edited(&site).await,
        two_at_once(&site).await,
        made_again(&site).await,
    ];
    let (page, path) = (page(&rows), Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/damage.md"));
    if env::var_os("BOWLINE_GENERATE").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, page, "docs/damage.md is not what the program does: BOWLINE_GENERATE=1 writes it anew");
}

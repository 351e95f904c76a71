//! A release that a query judges while it is watched, by a real Prometheus.

use rig::{Authority, Exporter, Gate, Prometheus};
use serde_json::{Value, json};

use crate::world::{Application, Site, Start, Team, config_map, eventually};

fn one(value: &str) -> [(&'static str, String); 1] {
    [("deploy/one.yaml", config_map("one", value).to_string())]
}

fn analysis(server: &str) -> Value {
    json!({
        "query": "max(shop_errors_ratio)", "condition": "result[0].value < 0.05", "interval": "1s", "failureLimit": 3,
        "url": server,
    })
}

fn start() -> Start {
    Start { arguments: vec!["--outgoing-hosts", "127.0.0.1"], ..Start::default() }
}

async fn until_event(team: &Team<'_>, words: &str) {
    eventually(&format!("an Event says {words:?}"), async || {
        let events = team.events("shop").await;
        if events.iter().any(|event| event.contains(words)) { Ok(()) } else { Err(events.join("\n")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_whose_query_fails_again_and_again_goes_back_and_one_that_cannot_be_asked_about_does_not() {
    let site = Site::new();
    let controller = site.start(&start());
    let exporter = Exporter::start().unwrap();
    exporter.tell("shop_errors_ratio 0.01\n");
    let mut prometheus = Prometheus::start(&[&exporter]).unwrap();
    let team = Team::at(&site, "analysed").await;
    let good = team.push("Good", &one("good"));
    team.deploy_shop(json!({"rollback": {"analysis": analysis(&prometheus.url())}}));
    team.until_synced("shop", &good).await;
    prometheus.check().unwrap();

    // All objects are healthy, and people get errors.
    let bad = team.push("Bad", &one("bad"));
    assert_eq!(team.until_synced("shop", &bad).await, 2);
    exporter.tell("shop_errors_ratio 0.31\n");
    team.until("shop", "Held after the rollback", |status| {
        status["sync"] == "Held" && status["release"]["phase"] == "Healthy"
    })
    .await;
    assert_eq!(team.history("shop").await, "1 Push Healthy\n2 Push Healthy\n3 AutomaticRollback to 1 Healthy");
    assert_eq!(team.get("configmaps", "one").await.unwrap()["data"]["key"], "good");
    let reason = &team.releases("shop").await[2].spec.reason;
    let expected = "degraded after it had been healthy: the condition of the analysis does not hold (value 0.31), 3 \
                    times in a row";
    assert_eq!(reason, expected);
    until_event(&team, "AnalysisFailed: release 2: the condition of the analysis does not hold (value 0.31), 1 of 3")
        .await;

    // Without a value, and without a server, nobody can tell, and nothing goes back.
    exporter.tell("other 1\n");
    let fixed = team.push("Fixed", &one("fixed"));
    assert_eq!(team.until_synced("shop", &fixed).await, 4);
    until_event(&team, "AnalysisUnknown: release 4: the analysis tells nothing: the condition names an item").await;
    prometheus.stop();
    until_event(&team, "cannot be connected to").await;
    team.until("shop", "says so", |status| {
        status["note"].as_str().is_some_and(|note| note.starts_with("the analysis tells nothing: http://127.0.0.1"))
    })
    .await;
    team.polls(10).await;
    assert_eq!(team.status("shop").await["sync"], "Synced");
    assert_eq!(team.releases("shop").await.len(), 4);
    assert!(controller.says("the analysis tells nothing") > 3, "it was asked again and again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_that_is_no_condition_is_told_and_takes_nothing_back() {
    let site = Site::new();
    let controller = site.start(&start());
    let team = Team::at(&site, "no-condition").await;
    let good = team.push("Good", &one("good"));
    let mut analysis = analysis("http://prometheus.invalid:9090");
    analysis["condition"] = json!("errors < 0.05");
    team.deploy_shop(json!({"rollback": {"analysis": analysis}}));
    team.until_synced("shop", &good).await;
    let next = team.push("Next", &one("next"));
    assert_eq!(team.until_synced("shop", &next).await, 2);
    until_event(&team, "release 2: the analysis tells nothing: the condition there is no `errors`; what the query gave is called `result`").await;
    eventually("it is tried more often than may fail", async || {
        let said = controller.says("the analysis tells nothing");
        if said > 8 { Ok(()) } else { Err(format!("{said} times")) }
    })
    .await;
    assert_eq!(team.history("shop").await, "1 Push Healthy\n2 Push Healthy");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_behind_tls_and_a_token_is_asked_with_those_of_the_application_or_of_the_operator() {
    let site = Site::new();
    let exporter = Exporter::start().unwrap();
    exporter.tell("shop_errors_ratio 0.01\n");
    let mut prometheus = Prometheus::start(&[&exporter]).unwrap();
    let authority = Authority::new("of the company").unwrap();
    let (of_team, of_operator) = (random_token(), random_token());
    let teams = Gate::start(&authority, &of_team, prometheus.port()).unwrap();
    let operators = Gate::start(&authority, &of_operator, prometheus.port()).unwrap();
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| -> &'static str {
        let path = files.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned().leak()
    };
    let arguments = vec![
        "--outgoing-hosts",
        "127.0.0.1",
        "--prometheus-url",
        operators.url().leak(),
        "--prometheus-token-file",
        file("token", &of_operator),
        "--prometheus-ca-file",
        file("ca.crt", authority.certificate_pem()),
    ];
    let _controller = site.start(&Start { arguments, ..Start::default() });
    let team = Team::at(&site, "token").await;
    let secret = |token: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "prometheus"},
            "stringData": {"bearerToken": token, "ca.crt": authority.certificate_pem()},
        })
    };
    team.create(&secret("another"));
    let with = |mut analysis: Value, secret: Option<&str>| {
        match secret {
            Some(name) => analysis["secretRef"] = json!({"name": name}),
            None => drop(analysis.as_object_mut().unwrap().remove("url")),
        }
        json!({"rollback": {"analysis": analysis}})
    };
    let mut nobodys = with(analysis(&teams.url()), Some("prometheus"));
    nobodys["rollback"]["analysis"].as_object_mut().unwrap().remove("url");
    nobodys["source"] = json!({"repoURL": team.git.url("shop")});
    let refused = team.try_create(&json!({
        "apiVersion": "bowline.dev/v1alpha1", "kind": "Application", "metadata": {"name": "nobodys"}, "spec": nobodys,
    }));
    assert!(refused.as_ref().is_err_and(|error| error.contains("secretRef is for the server of url")), "{refused:?}");

    let good = team.push("Good", &one("good"));
    team.deploy_shop(with(analysis(&teams.url()), Some("prometheus")));
    let spec = with(analysis(""), None);
    team.deploy(&Application { name: "operators", path: "deploy-too", spec });
    let too = |value: &str| [("deploy-too/two.yaml", config_map("two", value).to_string())];
    let both = team.push("Both", &too("good"));
    team.until_synced("operators", &both).await;
    team.until("shop", "live", |status| status["head"]["commit"] == both && status["release"]["phase"] == "Healthy")
        .await;
    assert_ne!(good, both);

    // The release is watched, and the gate does not let the wrong token pass.
    team.push("Bad", &[&one("bad")[..], &too("bad")].concat());
    until_event(&team, "https://127.0.0.1:").await;
    until_event(&team, "answered 401 Unauthorized").await;
    team.delete("secrets", "prometheus").await;
    team.create(&secret(&of_team));
    exporter.tell("shop_errors_ratio 0.31\n");
    for name in ["shop", "operators"] {
        team.until(name, "Held after the rollback", |status| {
            status["sync"] == "Held" && status["release"]["phase"] == "Healthy"
        })
        .await;
        let newest = team.releases(name).await.pop().unwrap();
        assert!(newest.spec.reason.contains("does not hold (value 0.31)"), "{name}: {}", newest.spec.reason);
    }
    prometheus.check().unwrap();
    let said = team.events("shop").await.join("\n");
    assert!(!said.contains(&of_team) && !said.contains(&of_operator), "{said}");
}

fn random_token() -> String {
    format!("{:032x}", rand::random::<u128>())
}

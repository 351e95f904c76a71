//! What is kept of the history, for how long, and how large it may be.

use serde_json::{Value, json};

use crate::world::{Site, Start, Team, config_map, eventually, yaml};

#[tokio::test(flavor = "multi_thread")]
async fn releases_that_are_too_old_are_forgotten_though_nothing_happens_and_what_is_needed_stays() {
    let site = Site::new();
    let controller = site.start(&Start::default());
    let team = Team::at(&site, "age").await;
    for number in 1..=4 {
        let content = yaml(&[config_map("settings", &number.to_string())]);
        let commit = team.push(&format!("Change {number}"), &[("deploy/all.yaml", content)]);
        if number == 1 {
            team.deploy_shop(json!({"rollback": {"historyAge": "1h"}}));
        }
        assert_eq!(team.until_synced("shop", &commit).await, number);
    }
    assert_eq!(team.releases("shop").await.len(), 4, "none is an hour old");
    let bytes = |line: &str| line.rsplit(' ').next().and_then(|number| number.parse::<u64>().ok());
    let kept: Vec<String> = controller.metric("bowline_history_bytes");
    assert!(kept.first().and_then(|line| bytes(line)).is_some_and(|bytes| bytes > 200), "{kept:?}");

    let patch = json!({"spec": {"rollback": {"historyAge": "2s"}}});
    team.patch("applications", "shop", "person", &patch).await;
    // The newest and the target of a rollback from it are never too old.
    eventually("the old releases are gone", async || {
        let numbers: Vec<u64> = team.releases("shop").await.iter().map(|release| release.spec.number).collect();
        if numbers == [3, 4] { Ok(()) } else { Err(format!("{numbers:?}")) }
    })
    .await;
    team.polls(5).await;
    assert_eq!(team.releases("shop").await.len(), 2);
    let (code, out, err) = team.bowline(&["history", "shop", "--verify"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.ends_with("The chain is whole from release 3 (older ones are trimmed).\n"), "{out}");
}

/// Others' histories hold ten entries without outcome, reason or mark of a
/// rollback, and refuse a rollback while they sync by themselves.
#[tokio::test(flavor = "multi_thread")]
async fn trap_1_each_of_more_than_ten_releases_has_its_outcome_and_a_rollback_its_mark_and_reason() {
    let team = Team::new("trap-1").await;
    for number in 1..=12 {
        let content = yaml(&[config_map("settings", &number.to_string())]);
        let commit = team.push(&format!("Change {number}"), &[("deploy/all.yaml", content)]);
        if number == 1 {
            team.deploy_shop(json!({"rollback": {"historyLimit": 50}}));
        }
        assert_eq!(team.until_synced("shop", &commit).await, number);
    }
    // Syncing by itself stays on, and what was left stays out.
    let (code, _, err) = team.bowline(&["rollback", "shop", "3", "--yes", "--wait", "--reason", "it was better then"]);
    assert_eq!(code, 0, "{err}");
    team.polls(3).await;
    assert_eq!(team.get("configmaps", "settings").await.unwrap()["data"]["key"], "3");

    let (_, out, _) = team.bowline(&["history", "shop", "-o", "json"]);
    let data: Value = serde_json::from_str(&out).unwrap();
    let releases = data["releases"].as_array().unwrap();
    assert_eq!(releases.len(), 13);
    assert!(releases.iter().all(|release| release["outcome"]["phase"] == "Healthy"), "{data:#}");
    // The newest commit is not that of the newest release, which brought an old one back.
    let (_, out, _) = team.bowline(&["history", "shop", "HEAD", "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["release"], 12);
    let newest = &releases[0];
    assert_eq!((&newest["cause"], &newest["rollbackTo"]), (&json!("Rollback"), &json!(3)));
    assert_eq!((&newest["reason"], &newest["verified"]), (&json!("it was better then"), &json!(true)));
    assert_eq!(newest["rejects"], json!([12, 11, 10, 9, 8, 7, 6, 5, 4]));
    assert_eq!(releases[1]["after"]["rolledBackBy"], 13);
}

/// Others keep digests and no manifests, or all of a release in one object of
/// at most a mebibyte.
#[tokio::test(flavor = "multi_thread")]
async fn trap_2_a_release_larger_than_one_object_is_kept_whole_and_read_without_git() {
    let team = Team::new("trap-2").await;
    let large = |seed: &str| -> String {
        let objects: Vec<Value> = (0..4)
            .map(|number| {
                let mut noise = String::new();
                while noise.len() < 500_000 {
                    let digest = bowline::manifest::Digest::of(format!("{seed} {number} {}", noise.len()).as_bytes());
                    noise.push_str(&digest.hex());
                }
                config_map(&format!("large-{number}"), &noise)
            })
            .collect();
        yaml(&objects)
    };
    let first = team.push("Large", &[("deploy/all.yaml", large("first"))]);
    team.deploy_shop(json!({"sync": {"timeout": "60s"}}));
    team.until_synced("shop", &first).await;
    let second = team.push("Large again", &[("deploy/all.yaml", large("second"))]);
    team.until_synced("shop", &second).await;
    std::fs::rename(team.repo.bare_path(), team.repo.bare_path().with_extension("gone")).unwrap();

    let (code, out, err) = team.bowline(&["export", "shop", "--release", "1"]);
    assert!(code == 0 && out.len() > 2_000_000, "{} bytes: {err}", out.len());
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("all.yaml"), out.replace("NS", &team.namespace)).unwrap();
    let tree = bowline::source::working::WorkingTree::open(directory.path()).unwrap();
    let options = bowline::render::DirectoryOptions::default();
    let render = bowline::render::directory(&tree, &options, &bowline::render::BuiltIn).unwrap();
    assert_eq!(render.bundle, team.releases("shop").await[0].spec.bundle);
    let (code, out, _) = team.bowline(&["diff", "shop", "--from", "1", "--to", "2", "-o", "json"]);
    let data: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, data["objects"].as_array().unwrap().len()), (1, 4));
}

/// The evidence of a hold outlives its age, also over a restart, when nobody
/// knows yet what the head renders.
#[tokio::test(flavor = "multi_thread")]
async fn why_content_stays_out_is_never_too_old_to_be_known_not_even_after_a_restart() {
    let site = Site::new();
    let mut controller = site.start(&Start::default());
    let team = Team::at(&site, "evidence").await;
    let push = |value: &str| team.push(value, &[("deploy/all.yaml", yaml(&[config_map("settings", value)]))]);
    let first = push("good");
    team.deploy_shop(json!({}));
    team.until_synced("shop", &first).await;
    team.until_synced("shop", &push("bad")).await;
    let (code, _, err) = team.bowline(&["rollback", "shop", "--yes", "--wait", "--reason", "it is bad"]);
    assert_eq!(code, 0, "{err}");
    for value in ["better", "best"] {
        team.until_synced("shop", &push(value)).await;
    }
    push("bad");
    let held = |status: &Value| status["sync"] == "Held" && status["hold"]["rejectedRelease"] == 2;
    team.until("shop", "Held, since release 3 rejects it", held).await;

    let patch = json!({"spec": {"rollback": {"historyAge": "1s"}}});
    team.patch("applications", "shop", "person", &patch).await;
    let numbers =
        async || -> Vec<u64> { team.releases("shop").await.iter().map(|release| release.spec.number).collect() };
    eventually("all is gone that nobody needs", async || {
        let numbers = numbers().await;
        if numbers == [3, 4, 5] { Ok(()) } else { Err(format!("{numbers:?}")) }
    })
    .await;
    // While it starts, and the repository is away, it does not know the head.
    let away = team.repo.bare_path().with_extension("away");
    controller.kill();
    std::fs::rename(team.repo.bare_path(), &away).unwrap();
    controller.start_again();
    eventually("it tried the repository", async || {
        if team.events("shop").await.iter().any(|event| event.contains("NotFound") || event.contains("Unreachable")) {
            Ok(())
        } else {
            Err(format!("{:?}", team.events("shop").await))
        }
    })
    .await;
    assert_eq!(numbers().await, [3, 4, 5]);
    std::fs::rename(&away, team.repo.bare_path()).unwrap();
    team.polls(5).await;
    team.until("shop", "still Held", held).await;
    assert_eq!(numbers().await, [3, 4, 5]);
    assert_eq!(team.get("configmaps", "settings").await.unwrap()["data"]["key"], "best");
}

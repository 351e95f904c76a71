//! Whether the history is what was written: an edited, a removed, a reordered
//! release and a damaged chunk are named, and nothing is made of them.

use serde_json::{Value, json};

use crate::world::{Site, Start, Team, config_map, eventually, yaml};

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_a_removed_and_a_reordered_release_and_a_damaged_chunk_are_named() {
    let site = Site::new();
    let mut controller = site.start(&Start::default());
    let team = Team::at(&site, "verify").await;
    for number in 1..=5 {
        let content = yaml(&[config_map("settings", &number.to_string())]);
        let commit = team.push(&format!("Change {number}"), &[("deploy/all.yaml", content)]);
        if number == 1 {
            team.deploy_shop(json!({"rollback": {"historyLimit": 4}}));
        }
        assert_eq!(team.until_synced("shop", &commit).await, number);
    }
    eventually("the first release is trimmed", async || match team.get("releases", "shop-1").await {
        None => Ok(()),
        Some(_) => Err("it is there"),
    })
    .await;
    let verify = || team.bowline(&["history", "shop", "--verify"]);
    let (code, out, err) = verify();
    assert_eq!((code, err.as_str()), (0, "the content of 4 releases is whole\n"));
    assert!(out.ends_with("The chain is whole from release 2 (older ones are trimmed).\n"), "{out}");
    // The end of the chain is in the status and in the log as well.
    let end = team.status("shop").await["chain"].as_str().unwrap().to_owned();
    let newest = bowline::history::release_digest(&team.releases("shop").await[3]).unwrap();
    assert_eq!(end, newest.to_string());
    assert!(controller.says(&newest.short(40)) > 0, "the log has {newest}");
    controller.kill();

    // A release's spec cannot be changed in place: it is deleted and made again.
    let replace = |name: &str, object: &Value, change: &dyn Fn(&mut Value)| {
        let mut changed = object.clone();
        changed["metadata"] = json!({"name": name});
        change(&mut changed);
        let status = json!({"status": changed["status"]}).to_string();
        if team.try_kubectl(&["get", "release.bowline.dev", name]).is_ok() {
            team.kubectl(&["delete", "release.bowline.dev", name]);
        }
        team.create(&changed);
        team.kubectl(&["patch", "release.bowline.dev", name, "--subresource=status", "--type=merge", "-p", &status]);
    };
    let third = team.get("releases", "shop-3").await.unwrap();
    let fourth = team.get("releases", "shop-4").await.unwrap();

    replace("shop-3", &third, &|release| release["spec"]["reason"] = json!("nothing to see"));
    let (code, _, err) = verify();
    assert!(code == 1 && err.contains("release 3 was edited after the next one was made"), "{err}");

    team.kubectl(&["delete", "release.bowline.dev", "shop-3"]);
    let (code, _, err) = verify();
    assert!(code == 1 && err.contains("release 3 was removed"), "{err}");

    replace("shop-3", &fourth, &|release| release["spec"]["number"] = json!(3));
    replace("shop-4", &third, &|release| release["spec"]["number"] = json!(4));
    let (code, _, err) = verify();
    assert!(code == 1 && err.contains("was made after release"), "{err}");

    replace("shop-3", &third, &|_| {});
    replace("shop-4", &fourth, &|_| {});
    assert_eq!(verify().0, 0);
    let bundle = team
        .list("bundles")
        .await
        .into_iter()
        .find(|bundle| bundle["spec"]["digest"] == third["spec"]["bundle"])
        .unwrap();
    let chunk = bundle["spec"]["chunks"][0]["name"].as_str().unwrap();
    team.kubectl(&["delete", "bundlechunk.bowline.dev", chunk]);
    let (code, _, err) = verify();
    let expected = format!("error: the content of release 3 cannot be read: chunk {chunk} of the bundle is missing\n");
    assert!(code == 1 && err.contains(&expected), "{err}");

    // Nothing is made of it: a rollback to it is refused by name, and nothing is written.
    controller.start_again();
    let before = team.get("configmaps", "settings").await.unwrap();
    let answer = team.roll_back(5, &json!({"toRelease": 3})).await;
    assert_eq!(answer["phase"], "Refused", "{answer:#}");
    assert!(
        answer["message"].as_str().unwrap().contains(&format!("chunk {chunk} of the bundle is missing")),
        "{answer:#}"
    );
    assert_eq!(team.get("configmaps", "settings").await.unwrap(), before);
    let told = |words: &str| {
        let words = words.to_owned();
        move |status: &Value| {
            status["problems"].as_array().is_some_and(|problems| {
                problems.iter().any(|problem| {
                    problem["object"] == "Release shop-3" && problem["message"].as_str().unwrap().contains(&words)
                })
            })
        }
    };
    team.until("shop", "names the chunk that is missing", told(&format!("chunk {chunk} of the bundle is missing")))
        .await;
    let (_, out, _) = team.bowline(&["status", "shop"]);
    assert!(out.contains("Release shop-3") && out.contains(chunk), "{out}");

    // A chunk that holds something else is found by its digest, and not applied either.
    let mut forged = team.list("bundlechunks").await.into_iter().next().unwrap();
    forged["metadata"] = json!({"name": chunk});
    team.create(&forged);
    let (code, _, err) = verify();
    assert!(code == 1 && err.contains(&format!("chunk {chunk} of the bundle is corrupt")), "{err}");
    assert!(err.contains(&format!("hint: nothing is made of content that is not whole; delete {chunk}")), "{err}");
    let answer = team.roll_back(5, &json!({"toRelease": 3})).await;
    assert!(answer["phase"] == "Refused" && answer["message"].as_str().unwrap().contains("is corrupt"), "{answer:#}");
    assert_eq!(team.get("configmaps", "settings").await.unwrap(), before);
    team.until("shop", "names the chunk that is corrupt", told("is corrupt")).await;
}

//! Many applications of one repository, some of which never get healthy.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::world::{Application, Site, Start, Team, config_map, deployment, eventually, yaml};

const APPLICATIONS: usize = 30;
/// These hang.
const HANGING: usize = 5;

fn name(number: usize) -> String {
    format!("app-{number:02}")
}

fn objects(number: usize, image: &str) -> String {
    let name = name(number);
    let configs = (0..3).map(|part| config_map(&format!("{name}-{part}"), image));
    yaml(&configs.chain([deployment(&name, &format!("registry.example/web:{image}"))]).collect::<Vec<Value>>())
}

#[tokio::test(flavor = "multi_thread")]
async fn applications_that_hang_hold_up_nobody_and_a_fix_goes_past_what_hangs() {
    let site = Site::new();
    let controller = site.start(&Start::default());
    let team = Team::at(&site, "many").await;
    let files: Vec<(String, String)> = (0..APPLICATIONS)
        .map(|number| {
            let image = if number < HANGING { "missing" } else { "one" };
            (format!("{}/all.yaml", name(number)), objects(number, image))
        })
        .collect();
    let files: Vec<(&str, String)> = files.iter().map(|(path, text)| (path.as_str(), text.clone())).collect();
    let commit = team.push("All", &files);
    let began = Instant::now();
    for number in 0..APPLICATIONS {
        let spec = json!({"source": {"interval": "1s"}, "sync": {"timeout": "10m"}});
        team.deploy(&Application { name: &name(number), path: &name(number), spec });
    }
    for number in HANGING..APPLICATIONS {
        team.until_synced(&name(number), &commit).await;
    }
    let healthy = began.elapsed();
    for number in 0..HANGING {
        let status = team.until(&name(number), "waits", |status| status["release"]["phase"] == "Waiting").await;
        assert_eq!(status["release"]["number"], 1, "it waits all the while: {status:#}");
    }
    eprintln!(
        "figure: {} of {APPLICATIONS} applications healthy after {:.1} s, {HANGING} hang",
        APPLICATIONS - HANGING,
        healthy.as_secs_f64()
    );

    // One conversation with the repository for all of them: a poll asks once.
    let before = team.git.requests();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let polls = team.git.requests() - before;
    assert!((1..=12).contains(&polls), "{polls} requests in 5 s for {APPLICATIONS} applications polled each second");

    // A fix goes past the release that hangs, and touches nobody else.
    let releases = team.list("releases").await.len();
    let fix = team.push("Fix", &[("app-00/all.yaml", objects(0, "two"))]);
    let pushed = Instant::now();
    eventually("the fix is live", async || {
        let web = team.get("apps/v1/deployments", "app-00").await.unwrap();
        let image = &web["spec"]["template"]["spec"]["containers"][0]["image"];
        if image == "registry.example/web:two" { Ok(()) } else { Err(image.to_string()) }
    })
    .await;
    let live = pushed.elapsed();
    team.until_synced("app-00", &fix).await;
    assert_eq!(team.history("app-00").await, "1 Push Superseded\n2 Push Healthy");
    assert_eq!(team.list("releases").await.len(), releases + 1, "a commit in one path is one release");
    // All know of it, and nobody waits to hear from each that is Synced that it
    // changed nothing there.
    let known = || {
        let log = controller.log();
        log.lines().filter(|line| line.contains("the head is known") && line.contains(&fix)).count()
    };
    eventually("all know of the commit", async || if known() == APPLICATIONS { Ok(()) } else { Err(known()) }).await;
    team.polls(2).await;
    let heads = team.list("applications").await;
    let at = |commit: &str| heads.iter().filter(|one| one["status"]["head"]["commit"] == commit).count();
    assert_eq!((at(&fix), at(&commit)), (HANGING, APPLICATIONS - HANGING));
    eprintln!(
        "figure: a fix behind a release that hangs: live {:.2} s after the push, polled each second",
        live.as_secs_f64()
    );
    assert!(live < Duration::from_secs(20), "it does not wait for a time-out: {live:?}");
}

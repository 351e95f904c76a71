//! The story: what happens, what a user types, what is seen.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::host::Order;
use super::stage::{NAMESPACE, Stage};
use super::terminal::Terminal;
use crate::{Outcome, workspace};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const LIMIT: Duration = Duration::from_secs(60);
/// How long a release of the demo may take until it is healthy.
const RELEASE_LIMIT: &str = "12s";

pub(super) fn tell(terminal: &Terminal, stage: &mut Stage) -> Outcome {
    deploy(terminal, stage)?;
    push(terminal, stage)?;
    break_by_hand(terminal, stage)?;
    push_bad(terminal, stage)?;
    push_fix(terminal, stage)?;
    roll_back(terminal, stage)?;
    terminal
        .step("That is all", "A rollback that holds, a history that says why, and a cluster that stays what Git says.");
    Ok(())
}

fn deploy(terminal: &Terminal, stage: &mut Stage) -> Outcome {
    terminal.step(
        "An administrator makes room, and an Application says what to deploy",
        "Bowline applies as the ServiceAccount bowline-deployer of the namespace, with its rights and no others.",
    );
    let setup = fs::read_to_string(workspace().join("examples/setup.yaml"))?;
    terminal.command("kubectl apply -f examples/setup.yaml");
    terminal.output(&stage.apply(&setup)?);
    let application = application(&stage.url)?;
    terminal.command("kubectl apply -f application.yaml");
    terminal.output(&application);
    stage.apply(&application)?;
    let head = stage.repo.head()?;
    let took = stage.wait_until("the first release is healthy", LIMIT, |status| healthy_at(status, &head))?;
    terminal.note(&format!("everything runs, {} after the Application was created", seconds(took)));
    show(terminal, stage, &["status", "shop", "-n", NAMESPACE])?;
    terminal.pause();
    Ok(())
}

fn push(terminal: &Terminal, stage: &mut Stage) -> Outcome {
    terminal.step(
        "A commit goes live",
        "Git is asked every second here; a webhook would make it immediate. Only what changed is applied.",
    );
    stage.replace("web/settings.yaml", "CHECKOUT: classic", "CHECKOUT: express")?;
    terminal.command("git commit -am 'Turn the express checkout on' && git push");
    let took = stage.push_and_see(
        "Turn the express checkout on",
        &["wait", "--for=jsonpath={.data.CHECKOUT}=express", "configmap/web-settings"],
    )?;
    terminal.note(&format!("the ConfigMap is live {} after git push", seconds(took)));
    let head = stage.repo.head()?;
    stage.wait_until("the release is healthy", LIMIT, |status| healthy_at(status, &head))?;
    if let Some(milliseconds) = stage.own_share() {
        terminal.note(&format!(
            "of that, {milliseconds} ms from the end of the fetch to the last write; the rest is the poll"
        ));
    }
    show(terminal, stage, &["get", "-n", NAMESPACE])?;
    terminal.pause();
    Ok(())
}

fn break_by_hand(terminal: &Terminal, stage: &mut Stage) -> Outcome {
    terminal.step("Somebody breaks it by hand", "Drift is seen by watch, without polling, and repaired.");
    terminal.command("kubectl scale deployment worker --replicas=0");
    stage.kubectl(&["scale", "deployment", "worker", "--replicas=0", "-n", NAMESPACE])?;
    let start = Instant::now();
    stage.kubectl(&[
        "wait",
        "--for=jsonpath={.spec.replicas}=2",
        "deployment/worker",
        "-n",
        NAMESPACE,
        "--timeout=60s",
    ])?;
    terminal.note(&format!("2 replicas again, {} later", seconds(start.elapsed())));
    terminal.command("kubectl delete service web");
    stage.kubectl(&["delete", "service", "web", "-n", NAMESPACE])?;
    let start = Instant::now();
    stage.kubectl(&["wait", "--for=create", "service/web", "-n", NAMESPACE, "--timeout=60s"])?;
    terminal.note(&format!("the Service is back, {} later", seconds(start.elapsed())));
    terminal.pause();
    Ok(())
}

fn push_bad(terminal: &Terminal, stage: &mut Stage) -> Outcome {
    terminal.step(
        "A bad commit is taken back",
        &format!(
            "The new image does not exist. A release of this demo has {RELEASE_LIMIT} to get healthy; then the
             last healthy one returns, and the bad content stays out."
        ),
    );
    stage.replace("web/deployment.yaml", "shop/web:1.4.0", "shop/web:1.5.0-missing")?;
    terminal.command("git commit -am 'New checkout page' && git push");
    stage.repo.commit_and_push("New checkout page")?;
    let bad = stage.repo.head()?;
    stage.wait_until("the bad release is tried", LIMIT, |status| status["release"]["commit"] == bad.as_str())?;
    terminal.note("the release is applied, and its pods cannot start");
    show(terminal, stage, &["status", "shop", "-n", NAMESPACE])?;
    let took = stage.wait_until("the bad release is taken back", LIMIT, held)?;
    terminal.note(&format!("taken back by itself after {}", seconds(took)));
    show(terminal, stage, &["status", "shop", "-n", NAMESPACE])?;
    show(terminal, stage, &["history", "shop", "-n", NAMESPACE])?;
    terminal.pause();
    Ok(())
}

fn push_fix(terminal: &Terminal, stage: &mut Stage) -> Outcome {
    terminal.step(
        "The fix goes ahead by itself",
        "The hold is about content: different content from Git ends it, and nobody has to switch anything on again.",
    );
    stage.replace("web/deployment.yaml", "shop/web:1.5.0-missing", "shop/web:1.5.1")?;
    terminal.command("git commit -am 'Use the image that exists' && git push");
    stage.repo.commit_and_push("Use the image that exists")?;
    let head = stage.repo.head()?;
    let took = stage.wait_until("the fix is healthy", LIMIT, |status| healthy_at(status, &head))?;
    terminal.note(&format!("healthy {} after git push", seconds(took)));
    terminal.pause();
    Ok(())
}

fn roll_back(terminal: &Terminal, stage: &mut Stage) -> Outcome {
    terminal.step(
        "A person takes a release back, with the Git server down",
        "The content of earlier releases is in the cluster. Automatic sync stays on, and the rollback holds.",
    );
    stage.order(Order::StopGit)?;
    let rollback = ["rollback", "shop", "-n", NAMESPACE, "--reason", "queue backs up", "--yes", "--wait"];
    terminal.command("bowline rollback shop -n shop --reason \"queue backs up\" --yes");
    let start = Instant::now();
    terminal.output(&stage.bowline(&rollback)?);
    stage.wait_until("the rollback is done", LIMIT, held)?;
    terminal.note(&format!("rolled back in {}", seconds(start.elapsed())));
    stage.order(Order::StartGit)?;
    terminal.note("the Git server is back; the content that was rolled back stays out");
    std::thread::sleep(Duration::from_secs(3));
    show(terminal, stage, &["get", "-n", NAMESPACE])?;
    show(terminal, stage, &["history", "shop", "-n", NAMESPACE])?;
    terminal.pause();
    Ok(())
}

impl Stage {
    fn replace(&self, file: &str, from: &str, to: &str) -> Outcome {
        let file = format!("shop/{file}");
        let text = self.repo.read(&file)?;
        if !text.contains(from) {
            return Err(format!("{file} of the sample does not contain {from:?}").into());
        }
        Ok(self.repo.write(&file, &text.replace(from, to))?)
    }

    /// Pushes, and returns how long it took until kubectl's wait saw the change.
    fn push_and_see(&self, message: &str, wait: &[&str]) -> Result<Duration> {
        self.repo.commit(message)?;
        std::thread::scope(|scope| {
            let mut arguments = wait.to_vec();
            arguments.extend(["-n", NAMESPACE, "--timeout=60s"]);
            // The watch is open before the push, so that its start does not count.
            let seen = scope
                .spawn(move || self.kubectl(&arguments).map(|_| Instant::now()).map_err(|error| error.to_string()));
            std::thread::sleep(Duration::from_millis(500));
            let start = Instant::now();
            self.repo.push()?;
            let seen = seen.join().map_err(|_| "the watching thread ended")??;
            Ok(seen.saturating_duration_since(start))
        })
    }
}

fn show(terminal: &Terminal, stage: &Stage, arguments: &[&str]) -> Outcome {
    terminal.command(&format!("bowline {}", arguments.join(" ")));
    terminal.output(&stage.bowline(arguments)?);
    Ok(())
}

/// The sample's Application, with the demo's repository and less patience.
fn application(url: &str) -> Result<String> {
    let mut text = fs::read_to_string(workspace().join("examples/application.yaml"))?;
    for (from, to) in [
        ("https://git.example.com/shop.git", url),
        ("interval: 1m", "interval: 1s"),
        ("timeout: 5m", &format!("timeout: {RELEASE_LIMIT}")),
    ] {
        if !text.contains(from) {
            return Err(format!("examples/application.yaml does not contain {from:?}").into());
        }
        text = text.replace(from, to);
    }
    Ok(text)
}

fn healthy_at(status: &Value, commit: &str) -> bool {
    status["release"]["commit"] == commit && status["release"]["phase"] == "Healthy" && status["sync"] == "Synced"
}

fn held(status: &Value) -> bool {
    status["sync"] == "Held" && status["release"]["phase"] == "Healthy"
}

fn seconds(duration: Duration) -> String {
    match duration.as_millis() {
        milliseconds @ 0..1000 => format!("{milliseconds} ms"),
        _ => format!("{:.1} s", duration.as_secs_f64()),
    }
}

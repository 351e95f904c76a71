//! Seeing changes as they come: a watch by kubectl, read by a thread.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rig::Access;

use super::Result;

/// How long something is waited for before the benchmark gives up.
const LIMIT: Duration = Duration::from_secs(30);

/// A ConfigMap as an event of the watch has it. A deletion is an event with
/// the last state of the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) at: Instant,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) value: String,
}

/// A watch of the ConfigMaps of a namespace; it ends with the value.
pub(super) struct Watch {
    child: Child,
    events: Receiver<Seen>,
}

impl Watch {
    /// Begins to watch; returns when the first object was seen.
    pub(super) fn start(access: &Access, namespace: &str) -> Result<Self> {
        let template = "{.metadata.name}{\" \"}{.metadata.uid}{\" \"}{.data.value}{\"\\n\"}";
        let mut child = Command::new(rig::tools::path("kubectl")?)
            .args([
                "get",
                "configmaps",
                "-n",
                namespace,
                "--watch",
                "--chunk-size=0",
                "-o",
                &format!("jsonpath={template}"),
            ])
            .env("KUBECONFIG", access.kubeconfig_path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().ok_or("kubectl has no output")?;
        let (tell, events) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(std::result::Result::ok) {
                let at = Instant::now();
                let mut words = line.splitn(3, ' ').map(str::to_owned);
                let (Some(name), Some(uid)) = (words.next(), words.next()) else { continue };
                if tell.send(Seen { at, name, uid, value: words.next().unwrap_or_default() }).is_err() {
                    return;
                }
            }
        });
        let watch = Watch { child, events };
        watch.until("the first ConfigMap", |_| true)?;
        Ok(watch)
    }

    /// The next event that is as wanted; those before it are passed over.
    pub(super) fn until(&self, what: &str, wanted: impl Fn(&Seen) -> bool) -> Result<Seen> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(seen) if wanted(&seen) => return Ok(seen),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("{what} was not seen within {}s", LIMIT.as_secs()).into());
                }
                // The server closes a watch whose reader does not keep up.
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(format!("the watch by kubectl ended before {what} was seen: run it again").into());
                }
            }
        }
    }

    /// Passes over what has come so far, until nothing comes for a moment.
    pub(super) fn drain(&self) {
        while self.events.recv_timeout(Duration::from_millis(200)).is_ok() {}
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! Seeing changes as they come: a watch by kubectl, read by a thread.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rig::Access;
use serde_json::Value;

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
    reader: Arc<Mutex<Reader>>,
    events: Receiver<Seen>,
}

/// The program that reads now.
enum Reader {
    None,
    Runs(Child),
    Over,
}

impl Watch {
    /// Begins to watch; returns when the first object was seen.
    pub(super) fn start(access: &Access, namespace: &str) -> Result<Self> {
        let reader = Arc::new(Mutex::new(Reader::None));
        let (tell, events) = channel();
        let source = Source {
            kubectl: rig::tools::path("kubectl")?,
            kubeconfig: access.kubeconfig_path().to_owned(),
            path: format!("/api/v1/namespaces/{namespace}/configmaps?watch=true"),
            version: String::new(),
        };
        let watch = Watch { reader: reader.clone(), events };
        std::thread::spawn(move || source.follow(&reader, &tell));
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
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(format!("kubectl could not watch any more before {what} was seen").into());
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
        stop(&self.reader);
    }
}

fn lock(reader: &Mutex<Reader>) -> MutexGuard<'_, Reader> {
    reader.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is watched, and how far it was seen.
struct Source {
    kubectl: PathBuf,
    kubeconfig: PathBuf,
    path: String,
    version: String,
}

impl Source {
    /// Reads until nobody wants to know any more. A server closes a watch whose
    /// reader does not keep up, and after a while any: it goes on where it was.
    fn follow(mut self, reader: &Mutex<Reader>, tell: &Sender<Seen>) {
        loop {
            let Ok(mut child) = self.begin() else { return };
            let Some(output) = child.stdout.take() else { return };
            match std::mem::replace(&mut *lock(reader), Reader::Runs(child)) {
                Reader::Runs(mut ended) => drop(ended.wait()),
                Reader::None => {}
                Reader::Over => return stop(reader),
            }
            for line in BufReader::new(output).lines().map_while(std::result::Result::ok) {
                let Some(seen) = self.read(&line) else { continue };
                if tell.send(seen).is_err() {
                    return;
                }
            }
            if matches!(*lock(reader), Reader::Over) {
                return;
            }
        }
    }

    fn begin(&self) -> std::io::Result<Child> {
        let from = if self.version.is_empty() { String::new() } else { format!("&resourceVersion={}", self.version) };
        Command::new(&self.kubectl)
            .args(["get", "--raw", &format!("{}{from}", self.path)])
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
    }

    /// An event, unless it says that the version is too old: then all is seen anew.
    fn read(&mut self, line: &str) -> Option<Seen> {
        let at = Instant::now();
        let event: Value = serde_json::from_str(line).ok()?;
        if event["type"] == "ERROR" {
            self.version.clear();
            return None;
        }
        let metadata = &event["object"]["metadata"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.version = text(&metadata["resourceVersion"]);
        let value = text(&event["object"]["data"]["value"]);
        Some(Seen { at, name: text(&metadata["name"]), uid: text(&metadata["uid"]), value })
    }
}

/// Ends the program that reads, and lets none follow.
fn stop(reader: &Mutex<Reader>) {
    if let Reader::Runs(mut child) = std::mem::replace(&mut *lock(reader), Reader::Over) {
        let _ = child.kill();
        let _ = child.wait();
    }
}

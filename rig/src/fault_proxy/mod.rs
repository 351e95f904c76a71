//! What goes wrong between a client and the API server, on demand.
//!
//! A proxy on a port of 127.0.0.1 passes each request on to the real API server
//! and streams the answer back. Faults are switched on and off while it runs:
//! they strike the requests that they are meant for, by what the proxy sees of
//! them. Clients reach it by [`FaultProxy::kubeconfig_path`] over plain HTTP, and it goes on
//! as the administrator, by TLS with a certificate of the cluster's authority.
//!
//! ```text
//! client ──HTTP──> FaultProxy ──TLS──> API server
//!                      └── faults: refuse, answer, cut, be silent, be slow, forget a watch
//! ```

mod body;
mod faults;
mod forward;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub use faults::{Fault, Seen};

use crate::cluster::Access;
use crate::error::{At, Error, Result};
use crate::http::Client;
use crate::pki::Authority;
use crate::ports::Port;
use faults::Faults;

/// A way to the API server on which faults strike. It ends with the value.
#[derive(Debug)]
pub struct FaultProxy {
    faults: Arc<Faults>,
    kubeconfig: PathBuf,
    listens: watch::Sender<Listens>,
    thread: Option<JoinHandle<()>>,
    _port: Port,
}

/// What the proxy does with connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listens {
    Yes,
    /// Nobody is there: connections are refused, and those that are open were cut.
    No,
    Ended,
}

impl FaultProxy {
    /// A proxy before the cluster's API server, without any fault.
    pub fn start(access: &Access) -> Result<Self> {
        let authority = Authority::read(crate::cluster::AUTHORITY, &access.directory().join("pki"))?;
        let client = Client::new(
            (Ipv4Addr::LOCALHOST, api_port(access)?).into(),
            &authority,
            &authority.client("rig:admin", &["system:masters"])?,
        )?;
        let port = Port::claim()?;
        let kubeconfig = access.directory().join(format!("proxy-{}.kubeconfig", port.number()));
        write_kubeconfig(&kubeconfig, port.number())?;
        let faults = Arc::new(Faults::default());
        let (listens, listening) = watch::channel(Listens::Yes);
        let (report, started) = mpsc::channel();
        let thread = {
            let (faults, port) = (faults.clone(), port.number());
            std::thread::spawn(move || match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => {
                    runtime.block_on(serve(port, listening, &faults, &client, report));
                    runtime.shutdown_background();
                }
                Err(source) => drop(report.send(Err(source))),
            })
        };
        started
            .recv()
            .unwrap_or_else(|_| Err(std::io::Error::other("the proxy's thread ended")))
            .map_err(|source| Error::Listen { at: (Ipv4Addr::LOCALHOST, port.number()).into(), source })?;
        Ok(FaultProxy { faults, kubeconfig, listens, thread: Some(thread), _port: port })
    }

    /// The kubeconfig of clients that go through the proxy.
    pub fn kubeconfig_path(&self) -> &Path {
        &self.kubeconfig
    }

    /// From now on strikes the requests for which `which` holds. Of several
    /// faults for one request the first strikes.
    pub fn strike(&self, which: impl Fn(&Seen) -> bool + Send + Sync + 'static, fault: Fault) {
        self.faults.add(Box::new(which), fault);
    }

    /// Refuses connections and cuts those that are open, as where the process
    /// behind the port has ended.
    pub fn refuse(&self) {
        self.listens.send_replace(Listens::No);
    }

    /// Watches that are open and for which `which` holds tell nothing from now
    /// on, and do not end: as where something on the way has forgotten the
    /// connection. Those that are begun later work. How many there are.
    pub fn forget_watches(&self, which: impl Fn(&Seen) -> bool) -> usize {
        self.faults.forget_watches(which)
    }

    /// Cuts watches that are open and for which `which` holds. How many.
    pub fn cut_watches(&self, which: impl Fn(&Seen) -> bool) -> usize {
        self.faults.cut_watches(which)
    }

    /// How often the faults that are on have struck.
    pub fn struck(&self) -> usize {
        self.faults.struck()
    }

    /// Ends all faults, but for watches that were forgotten. How often they struck.
    pub fn end(&self) -> usize {
        self.listens.send_replace(Listens::Yes);
        self.faults.end()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.listens.send_replace(Listens::Ended);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Listens while it is to; connections end with each change.
async fn serve(
    port: u16,
    mut listening: watch::Receiver<Listens>,
    faults: &Arc<Faults>,
    client: &Client,
    report: mpsc::Sender<std::io::Result<()>>,
) {
    loop {
        let now = *listening.borrow_and_update();
        match now {
            Listens::Ended => return,
            Listens::No => {
                if listening.changed().await.is_err() {
                    return;
                }
            }
            Listens::Yes => {
                let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
                    Ok(listener) => listener,
                    Err(error) => {
                        // Before the first time it is an error; later the port is ours.
                        let _ = report.send(Err(error));
                        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                        continue;
                    }
                };
                let _ = report.send(Ok(()));
                let mut connections = tokio::task::JoinSet::new();
                loop {
                    tokio::select! {
                        changed = listening.wait_for(|now| *now != Listens::Yes) => {
                            if changed.is_err() {
                                return;
                            }
                            break;
                        }
                        Some(_) = connections.join_next() => {}
                        accepted = listener.accept() => match accepted {
                            Ok((stream, _)) => {
                                connections.spawn(forward::connection(stream, client.clone(), faults.clone()));
                            }
                            // Too many open files, for example: the next connection may do better.
                            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
                        },
                    }
                }
            }
        }
    }
}

fn api_port(access: &Access) -> Result<u16> {
    let server = access.server()?;
    server.rsplit(':').next().and_then(|port| port.parse().ok()).ok_or_else(|| Error::Content {
        path: access.kubeconfig_path().to_owned(),
        reason: format!("{server} has no port"),
    })
}

fn write_kubeconfig(path: &Path, port: u16) -> Result<()> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "proxy", "cluster": { "server": format!("http://127.0.0.1:{port}") } }],
        "users": [{ "name": "proxied", "user": {} }],
        "contexts": [{ "name": "proxy", "context": { "cluster": "proxy", "user": "proxied" } }],
        "current-context": "proxy",
    });
    std::fs::write(path, format!("{config:#}\n")).at("write", path)
}

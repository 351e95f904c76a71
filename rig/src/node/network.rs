//! The addresses of a node, and its link to the host.

use std::{fs::File, net::Ipv4Addr, process::Command};

use super::groups;
use crate::{
    directory::{cache_dir, create_private},
    error::{At as _, Error, Result},
    process,
};

/// How many nodes can run at a time on one machine.
const NUMBERS: std::ops::Range<u8> = 1..250;

/// A number that nobody else has; the claim ends with the value or the process.
#[derive(Debug)]
pub(crate) struct Network {
    number: u8,
    _claim: File,
}

impl Network {
    /// Takes a free number, and removes what a killed node of that number left.
    pub(crate) fn claim() -> Result<Self> {
        let directory = cache_dir().join("networks");
        create_private(&directory)?;
        let routes = process::output(Command::new("ip").args(["-4", "route", "show"]), None)?;
        let routes = String::from_utf8_lossy(&routes).into_owned();
        for number in NUMBERS {
            let path = directory.join(number.to_string());
            let claim = File::create(&path).at("create", &path)?;
            let network = Self { number, _claim: claim };
            // Somebody with another cache may have it, whose claim is not seen.
            let taken = routes.contains(&network.pods()) || routes.contains(&format!("10.214.{number}."));
            if !taken && network._claim.try_lock().is_ok() {
                groups::remove(&network.node_name());
                return Ok(network);
            }
        }
        Err(Error::NoNode("the addresses of 249 nodes are taken".into()))
    }

    /// Removes what killed nodes left: the kernel ended all that ran, but keeps
    /// their control groups.
    pub(crate) fn sweep() {
        for name in groups::names() {
            let number = name.strip_prefix("bowline-").and_then(|number| number.parse().ok());
            let Some(number) = number else { continue };
            let path = cache_dir().join("networks").join(name.trim_start_matches("bowline-"));
            // A group of somebody with another cache has no claim here, and is left alone.
            if let Ok(claim) = File::open(path)
                && claim.try_lock().is_ok()
            {
                drop(Self { number, _claim: claim });
            }
        }
    }

    pub(crate) fn node_name(&self) -> String {
        format!("bowline-{}", self.number)
    }

    /// The host's end of the link.
    pub(crate) fn host(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 214, self.number, 1)
    }

    /// The node's end of the link.
    fn link(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 214, self.number, 2)
    }

    /// The node's address, on the bridge of the pods.
    pub(crate) fn node(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 213, self.number, 1)
    }

    /// The addresses of the pods.
    pub(crate) fn pods(&self) -> String {
        format!("10.213.{}.0/24", self.number)
    }

    /// The name of the host's end.
    fn interface(&self) -> String {
        format!("bowline-{}", self.number)
    }

    /// Links the network namespace of a process to the host.
    pub(super) fn link_to(&self, process: u32) -> Result<()> {
        let interface = self.interface();
        let process = process.to_string();
        let (host, link) = (self.host().to_string(), self.link().to_string());
        ip(&["link", "add", &interface, "type", "veth", "peer", "name", "up0", "netns", &process])?;
        ip(&["addr", "add", &format!("{host}/30"), "dev", &interface])?;
        ip(&["link", "set", &interface, "up"])?;
        ip(&["route", "replace", &self.pods(), "via", &link])
    }

    /// What the node itself does for its network, as a script.
    pub(super) fn script(&self) -> String {
        let (host, link, node) = (self.host(), self.link(), self.node());
        format!(
            "ip addr add {link}/30 dev up0
ip link set up0 up
ip route add default via {host}
ip link add pods type bridge
ip addr add {node}/24 dev pods
ip link set pods up
echo 1 > /proc/sys/net/ipv4/ip_forward
if [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ]; then echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables; fi
"
        )
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // The link went with the namespace of the node.
        groups::remove(&self.node_name());
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    process::output(Command::new("ip").args(arguments), None).map(drop)
}

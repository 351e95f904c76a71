//! Where an application may have something sent to.
//!
//! Who writes an Application chooses a URL, and the controller stands where
//! that person perhaps may not reach. So addresses of the machine itself and
//! of its link, where clouds keep their credentials, are refused unless the
//! operator named the host, and the operator may name all hosts there are.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use url::{Host, Position, Url};

/// The longest URL.
const LONGEST: usize = 2_048;

/// A server to speak to: an `http` or `https` URL without credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target(Url);

/// Why a text is no target. It never says the text: a URL may hold a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotATarget {
    /// It cannot be read.
    #[error("the URL cannot be read: {0}")]
    Unreadable(String),
    /// It is no HTTP.
    #[error("the URL must begin with https:// or http://")]
    NotHttp,
    /// It holds a name or a password.
    #[error("the URL must not hold credentials")]
    Credentials,
    /// It is longer than anybody needs.
    #[error("the URL is longer than {LONGEST} bytes")]
    TooLong,
}

impl FromStr for Target {
    type Err = NotATarget;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > LONGEST {
            return Err(NotATarget::TooLong);
        }
        let mut url = Url::parse(text.trim()).map_err(|error| NotATarget::Unreadable(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(NotATarget::NotHttp);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(NotATarget::Credentials);
        }
        url.set_fragment(None);
        Ok(Self(url))
    }
}

impl Target {
    /// The URL.
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// The same server, at a path below its own, with a query.
    pub(super) fn with_query(&self, path: &str, pairs: &[(&str, &str)]) -> Self {
        let mut url = self.0.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/{path}"));
        url.query_pairs_mut().extend_pairs(pairs);
        Self(url)
    }

    /// The host, without the brackets of an IPv6 address.
    pub(super) fn host(&self) -> String {
        match self.0.host() {
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(host) => host.to_string(),
            None => String::new(),
        }
    }

    /// The host, with the port where it is not the usual one.
    pub(super) fn authority(&self) -> &str {
        &self.0[Position::BeforeHost..Position::AfterPort]
    }

    pub(super) fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or(443)
    }

    /// The address, where the URL has one instead of a name.
    pub(super) fn address(&self) -> Option<IpAddr> {
        match self.0.host()? {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(address.into()),
            Host::Ipv6(address) => Some(address.into()),
        }
    }
}

impl fmt::Display for Target {
    /// The host alone: a path may hold a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0[..Position::AfterPort])
    }
}

/// The servers that may be spoken to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Reach {
    /// Any: the operator named it.
    Anywhere,
    /// Any but addresses of this machine and its link.
    #[default]
    Public,
    /// These hosts; `*.example.com` stands for all below `example.com`.
    Hosts(Vec<String>),
}

/// Why a server is not spoken to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotReachable {
    /// The operator did not name it.
    #[error("the host {0} is not among those that the operator allows (--outgoing-hosts)")]
    Host(String),
    /// It is this machine, or its link.
    #[error("{0} is an address of this machine or its link, which only the operator can allow (--outgoing-hosts)")]
    Address(IpAddr),
}

impl Reach {
    /// Whether a host may be named at all.
    pub fn check_host(&self, target: &Target) -> Result<(), NotReachable> {
        let host = target.host().to_ascii_lowercase();
        let fits = |pattern: &String| {
            let pattern = pattern.to_ascii_lowercase();
            match pattern.strip_prefix("*.") {
                Some(parent) => host.strip_suffix(parent).is_some_and(|below| below.len() > 1 && below.ends_with('.')),
                None => host == pattern,
            }
        };
        match self {
            Self::Hosts(hosts) if !hosts.iter().any(fits) => Err(NotReachable::Host(host)),
            _ => Ok(()),
        }
    }

    /// Whether an address that a host has may be spoken to. It is asked of each
    /// address that is connected to, so that a name that changes what it means
    /// gains nothing.
    pub fn check_address(&self, address: IpAddr) -> Result<(), NotReachable> {
        match self {
            Self::Public if is_near(address) => Err(NotReachable::Address(address)),
            _ => Ok(()),
        }
    }
}

/// Whether an address is this machine's, its link's, or that of nobody.
fn is_near(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let nobody = address.is_unspecified() || address.is_multicast() || address.octets()[0] == 0;
            address.is_loopback() || address.is_link_local() || address.is_broadcast() || nobody
        }
        IpAddr::V6(address) => {
            let near = address.is_loopback() || address.is_unspecified() || address.is_multicast();
            // Where clouds keep credentials on IPv6.
            const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
            let near = near || address.is_unicast_link_local() || address == METADATA;
            let embedded = address.to_ipv4_mapped().or_else(|| translated(address));
            near || embedded.is_some_and(|address| is_near(address.into()))
        }
    }
}

/// The IPv4 address that a translator of the well-known prefix leads to.
fn translated(address: Ipv6Addr) -> Option<std::net::Ipv4Addr> {
    let segments = address.segments();
    let octets = address.octets();
    (segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0])
        .then(|| std::net::Ipv4Addr::new(octets[12], octets[13], octets[14], octets[15]))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("https://hooks.example.com/abc?x=1", Ok("https://hooks.example.com"))]
    #[case("http://receiver.team-a.svc:8080/", Ok("http://receiver.team-a.svc:8080"))]
    #[case("http://[::1]:9/x", Ok("http://[::1]:9"))]
    #[case("ftp://example.com/", Err(NotATarget::NotHttp))]
    #[case("file:///etc/passwd", Err(NotATarget::NotHttp))]
    #[case("https://ada:secret@example.com/", Err(NotATarget::Credentials))]
    #[case("nonsense", Err(NotATarget::Unreadable("relative URL without a base".into())))]
    fn a_target_is_an_http_url_and_shows_its_host_alone(
        #[case] text: &str,
        #[case] expected: Result<&str, NotATarget>,
    ) {
        let read = text.parse::<Target>().map(|target| target.to_string());
        assert_eq!(read, expected.map(str::to_owned));
    }

    #[rstest]
    #[case::loopback("127.0.0.1", false)]
    #[case::all_of_loopback("127.8.9.10", false)]
    #[case::loopback_6("::1", false)]
    #[case::mapped("::ffff:127.0.0.1", false)]
    #[case::translated("64:ff9b::a9fe:a9fe", false)]
    #[case::metadata("169.254.169.254", false)]
    #[case::metadata_6("fd00:ec2::254", false)]
    #[case::link("fe80::1", false)]
    #[case::nobody("0.0.0.0", false)]
    #[case::this_network("0.1.2.3", false)]
    #[case::many("224.0.0.1", false)]
    #[case::in_the_cluster("10.96.0.1", true)]
    #[case::public("203.0.113.7", true)]
    #[case::public_6("2001:db8::1", true)]
    fn addresses_of_the_machine_and_its_link_are_refused(#[case] address: IpAddr, #[case] allowed: bool) {
        assert_eq!(Reach::Public.check_address(address).is_ok(), allowed);
        assert!(Reach::Anywhere.check_address(address).is_ok(), "what the operator named is not judged");
        assert!(Reach::Hosts(vec!["any".into()]).check_address(address).is_ok());
    }

    #[rstest]
    #[case("https://hooks.example.com/x", true)]
    #[case("https://HOOKS.example.com/x", true)]
    #[case("https://a.teams.example.com/", true)]
    #[case("https://teams.example.com/", false)]
    #[case("https://evil-teams.example.com/", false)]
    #[case("https://hooks.example.com.evil.test/", false)]
    #[case("http://127.0.0.1:8080/", true)]
    #[case("http://127.0.0.2/", false)]
    fn hosts_are_bounded_by_their_names(#[case] url: &str, #[case] allowed: bool) {
        let hosts = ["hooks.example.com", "*.teams.example.com", "127.0.0.1"].map(str::to_owned).to_vec();
        let target: Target = url.parse().expect("it is a target");
        assert_eq!(Reach::Hosts(hosts).check_host(&target).is_ok(), allowed);
        assert!(Reach::Public.check_host(&target).is_ok());
    }
}

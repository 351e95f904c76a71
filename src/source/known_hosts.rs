//! The keys of SSH servers that are trusted: a `known_hosts` file, as sshd(8)
//! describes it under "SSH_KNOWN_HOSTS FILE FORMAT".

use std::fmt;

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD as BASE64, BASE64_STANDARD_NO_PAD},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// The port of SSH.
const PORT: u16 = 22;

/// The keys that are trusted.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct KnownHosts {
    text: String,
    lines: Vec<Line>,
}

#[derive(Clone, PartialEq, Eq)]
struct Line {
    hosts: Hosts,
    revoked: bool,
    kind: String,
    key: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq)]
enum Hosts {
    /// Names and patterns, some of them negated.
    Patterns(Vec<String>),
    /// One name, hashed with a salt.
    Hashed { salt: Vec<u8>, digest: Vec<u8> },
}

impl KnownHosts {
    /// Reads a file.
    ///
    /// # Errors
    /// In words, with the line: it holds no key, or one that cannot be read.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut lines = Vec::new();
        for (line, number) in text.lines().zip(1..) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let line = Line::parse(line).map_err(|reason| format!("line {number} {reason}"))?;
            lines.extend(line);
        }
        if lines.is_empty() {
            return Err("holds no key of a host; `ssh-keyscan HOST` writes them, to be compared with what the host's \
                        operator publishes"
                .to_owned());
        }
        Ok(Self { text: text.to_owned(), lines })
    }

    /// The file as it was given.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether the key that a host showed is one that is trusted for it.
    ///
    /// # Errors
    /// In words: the host is not known, shows another key, or one that was
    /// revoked.
    pub(super) fn check(&self, host: &str, port: u16, kind: &str, key: &[u8]) -> Result<(), String> {
        let name = if port == PORT { host.to_owned() } else { format!("[{host}]:{port}") };
        let shown = format!("{kind} {}", fingerprint(key));
        let of_host: Vec<&Line> = self.lines.iter().filter(|line| line.hosts.has(&name)).collect();
        if of_host.iter().any(|line| line.revoked && line.key == key) {
            return Err(format!("the key of {name} ({shown}) is revoked by known_hosts"));
        }
        if of_host.iter().any(|line| !line.revoked && line.key == key) {
            return Ok(());
        }
        let known: Vec<String> = of_host
            .iter()
            .filter(|line| !line.revoked)
            .map(|line| format!("{} {}", line.kind, fingerprint(&line.key)))
            .collect();
        let same_kind = of_host.iter().any(|line| !line.revoked && line.kind == kind);
        Err(match (known.as_slice(), same_kind) {
            ([], _) => format!(
                "{name} is not in the Secret's known_hosts; it shows {shown}: compare that with what its operator \
                 publishes, and add its line (`ssh-keyscan` writes it)"
            ),
            (known, true) => format!(
                "{name} shows another key than the Secret's known_hosts has: {shown}, not {}; somebody may stand \
                 between, or the host has a new key: ask its operator",
                known.join(", ")
            ),
            (known, false) => format!(
                "{name} shows a key of a kind that the Secret's known_hosts does not have for it: {shown}, not {}; \
                 add all of its keys (`ssh-keyscan` writes them)",
                known.join(", ")
            ),
        })
    }
}

impl Line {
    /// None of a line that says what is not used here.
    fn parse(line: &str) -> Result<Option<Self>, String> {
        let mut words = line.split_whitespace();
        let mut first = words.next().unwrap_or_default();
        let mut revoked = false;
        match first {
            // Certificates of hosts are not used, so that their authorities say nothing.
            "@cert-authority" => return Ok(None),
            "@revoked" => {
                revoked = true;
                first = words.next().unwrap_or_default();
            }
            _ if first.starts_with('@') => return Err(format!("has the marker {first}, which is not known")),
            _ => {}
        }
        let (Some(kind), Some(key)) = (words.next(), words.next()) else {
            return Err("is not `host type key`".to_owned());
        };
        let bad = |what: &str| format!("has {what} that is not base64");
        let key = BASE64.decode(key).map_err(|_| bad("a key"))?;
        let hosts = match first.strip_prefix("|1|") {
            None => Hosts::Patterns(first.split(',').map(str::to_ascii_lowercase).collect()),
            Some(hashed) => {
                let (salt, digest) = hashed.split_once('|').ok_or("has a hashed name without a salt")?;
                let read = |text: &str| BASE64.decode(text).map_err(|_| bad("a hashed name"));
                Hosts::Hashed { salt: read(salt)?, digest: read(digest)? }
            }
        };
        Ok(Some(Self { hosts, revoked, kind: kind.to_owned(), key }))
    }
}

impl Hosts {
    fn has(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        match self {
            Self::Hashed { salt, digest } => {
                let Ok(mut hmac) = Hmac::<Sha1>::new_from_slice(salt) else { return false };
                hmac.update(name.as_bytes());
                hmac.verify_slice(digest).is_ok()
            }
            Self::Patterns(patterns) => {
                let negated = |pattern: &String| pattern.strip_prefix('!').is_some_and(|it| matches(it, &name));
                !patterns.iter().any(negated) && patterns.iter().any(|pattern| matches(pattern, &name))
            }
        }
    }
}

/// Whether a name matches a pattern with `*` and `?`.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut of) = (0, 0);
    let mut star = None;
    while of < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, of));
                at += 1;
            }
            Some(wanted) if *wanted == '?' || *wanted == name[of] => (at, of) = (at + 1, of + 1),
            _ => match star {
                Some((begin, taken)) => {
                    (at, of) = (begin + 1, taken + 1);
                    star = Some((begin, taken + 1));
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}

/// As `ssh-keygen -l` shows it.
fn fingerprint(key: &[u8]) -> String {
    format!("SHA256:{}", BASE64_STANDARD_NO_PAD.encode(Sha256::digest(key)))
}

impl fmt::Debug for KnownHosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KnownHosts({} keys)", self.lines.len())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rstest::rstest;

    use super::*;

    const KEY: &[u8] = b"key of the host";

    fn line(hosts: &str) -> String {
        format!("{hosts} ssh-ed25519 {} a comment\n", BASE64.encode(KEY))
    }

    #[rstest]
    #[case("git.example.com", 22, true)]
    #[case("other.example.com,git.example.com", 22, true)]
    #[case("Git.Example.Com", 22, true)]
    #[case("*.example.com", 22, true)]
    #[case("git.?xample.com", 22, true)]
    #[case("*.example.com,!git.example.com", 22, false)]
    #[case("git.example.org", 22, false)]
    #[case("git.example.com", 2222, false)]
    #[case("[git.example.com]:2222", 2222, true)]
    #[case("[git.example.com]:2222", 22, false)]
    fn a_host_is_known_by_name_pattern_and_port(#[case] hosts: &str, #[case] port: u16, #[case] known: bool) {
        let hosts = KnownHosts::parse(&line(hosts)).unwrap();
        assert_eq!(hosts.check("git.example.com", port, "ssh-ed25519", KEY).is_ok(), known);
    }

    #[test]
    fn a_hashed_name_is_known() {
        let mut hmac = Hmac::<Sha1>::new_from_slice(b"salt").unwrap();
        hmac.update(b"git.example.com");
        let digest = hmac.finalize().into_bytes();
        let hosts = format!("|1|{}|{}", BASE64.encode("salt"), BASE64.encode(digest));
        let hosts = KnownHosts::parse(&line(&hosts)).unwrap();
        assert!(hosts.check("git.example.com", 22, "ssh-ed25519", KEY).is_ok());
        assert!(hosts.check("git.example.org", 22, "ssh-ed25519", KEY).is_err());
    }

    #[rstest]
    #[case(line("git.example.com"), "ssh-ed25519", &b"another"[..], "shows another key than")]
    #[case(line("git.example.com"), "ecdsa-sha2-nistp256", &b"another"[..], "of a kind that")]
    #[case(line("example.org"), "ssh-ed25519", KEY, "is not in the Secret's known_hosts; it shows ssh-ed25519 SHA256:")]
    #[case(format!("{}@revoked {}", line("git.example.com"), line("*")), "ssh-ed25519", KEY, "is revoked")]
    fn a_key_is_refused_with_the_reason(
        #[case] text: String,
        #[case] kind: &str,
        #[case] key: &[u8],
        #[case] because: &str,
    ) {
        let error = KnownHosts::parse(&text).unwrap().check("git.example.com", 22, kind, key).unwrap_err();
        assert!(error.contains(because), "{error}");
    }

    #[rstest]
    #[case("", "holds no key")]
    #[case("# only a comment\n@cert-authority * ssh-rsa AAAA\n", "holds no key")]
    #[case("git.example.com ssh-rsa\n", "line 1 is not")]
    #[case("\ngit.example.com ssh-rsa %%%\n", "line 2 has a key that is not base64")]
    #[case("@new git.example.com ssh-rsa AAAA\n", "has the marker @new")]
    fn a_file_that_cannot_be_used_is_refused(#[case] text: &str, #[case] because: &str) {
        let error = KnownHosts::parse(text).unwrap_err();
        assert!(error.contains(because), "{error}");
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,64}", name in "[a-z*?.!]{0,12}") {
            let _ = KnownHosts::parse(&text);
            let _ = matches(&text, &name);
        }
    }
}

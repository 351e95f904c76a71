//! Signatures by SSH keys, and the list of those that are trusted: the format
//! of both is in ssh-keygen(1), the latter under "ALLOWED SIGNERS".

use jiff::{Timestamp, civil, tz::TimeZone};
use ssh_key::{HashAlg, PublicKey, SshSig, public::KeyData};

use super::{Problem, policy};
use crate::source::{known_hosts::matches, url::visible};

/// What Git signs for.
const NAMESPACE: &str = "git";

/// The most characters of principals that are said.
const PRINCIPALS: usize = 200;

/// The keys that are trusted, each line one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct AllowedSigners {
    lines: Vec<Line>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    principals: String,
    key: KeyData,
    /// What it may sign; everything if there are none.
    namespaces: Vec<String>,
    after: Option<Timestamp>,
    before: Option<Timestamp>,
}

impl AllowedSigners {
    /// Reads a file of allowed signers.
    ///
    /// # Errors
    /// In words, with the line: it holds no key, or something that cannot be
    /// read or honoured.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut lines = Vec::new();
        for (line, number) in text.lines().zip(1..) {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                lines.push(Line::parse(line).map_err(|reason| format!("line {number} {reason}"))?);
            }
        }
        if lines.is_empty() {
            return Err("holds no key".to_owned());
        }
        Ok(Self { lines })
    }

    /// Trusts these too.
    pub(super) fn add(&mut self, more: Self) {
        self.lines.extend(more.lines);
    }

    /// Whose signature this is, in words, if it is one of those that are
    /// trusted. `said` is when the signer says to have signed.
    pub(super) fn verify(
        &self,
        payload: &[u8],
        signature: &[u8],
        said: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<String, Problem> {
        let signature = read(signature)?;
        let key = signature.public_key();
        let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
        let lines: Vec<&Line> = self.lines.iter().filter(|line| line.key == *key).collect();
        let Some(first) = lines.first() else {
            return Err(Problem::Stranger(format!("SSH {fingerprint}")));
        };
        let signer = |line: &Line| format!("SSH {fingerprint} ({})", line.principals);
        let refused = |because: String| Problem::Refused { signer: signer(first), because };
        if signature.namespace() != NAMESPACE {
            return Err(refused(format!(
                "the signature is for `{}` and not for Git",
                visible(signature.namespace()).chars().take(64).collect::<String>()
            )));
        }
        if let KeyData::Rsa(key) = key {
            let bits = key.n.as_positive_bytes().map_or(0, |bytes| bytes.len() * 8);
            policy::rsa(bits).map_err(refused)?;
        }
        if matches!(key, KeyData::Dsa(_) | KeyData::Other(_)) {
            return Err(refused("keys of its kind are not accepted; use ed25519, ECDSA or RSA".to_owned()));
        }
        let algorithm = signature.algorithm();
        if matches!(algorithm, ssh_key::Algorithm::Rsa { hash: None }) {
            return Err(refused("the signature is by SHA-1, which is broken".to_owned()));
        }
        if PublicKey::from(key.clone()).verify(NAMESPACE, payload, &signature).is_err() {
            return Err(Problem::Altered(signer(first)));
        }
        let mut because = None;
        for line in lines {
            match line.accepts(said, now) {
                Ok(()) => return Ok(signer(line)),
                Err(reason) => because = because.or(Some(reason)),
            }
        }
        Err(refused(because.unwrap_or_default()))
    }
}

fn read(signature: &[u8]) -> Result<SshSig, Problem> {
    let unreadable = |reason: String| Problem::Unreadable(reason);
    let text = signature.trim_ascii();
    SshSig::from_pem(text).map_err(|error| {
        let reason = match error {
            ssh_key::Error::AlgorithmUnknown | ssh_key::Error::AlgorithmUnsupported { .. } => {
                "it is by a kind of key that is not read".to_owned()
            }
            error => format!("it is no SSH signature ({})", visible(&error.to_string())),
        };
        unreadable(reason)
    })
}

impl Line {
    fn parse(line: &str) -> Result<Self, String> {
        let (principals, rest) = match line.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or("has a quote that does not end")?,
            None => line.split_once([' ', '\t']).unwrap_or((line, "")),
        };
        let rest = rest.trim_start();
        if is_kind(principals) {
            return Err(format!(
                "begins with a key; write whose it is before it, such as `ann@example.com {} …`",
                visible(principals)
            ));
        }
        let (options, key) = match rest.split([' ', '\t']).next() {
            Some(first) if is_kind(first) => ("", rest),
            _ => rest.split_at(end_of_options(rest)),
        };
        let mut words = key.split_whitespace();
        let (Some(kind), Some(encoded)) = (words.next(), words.next()) else {
            return Err("has no key: a line is `principals [options] kind key`".to_owned());
        };
        if kind.contains("-cert-v01@") {
            return Err("has a certificate; write the signer's own key".to_owned());
        }
        let key = PublicKey::from_openssh(&format!("{kind} {encoded}"));
        let key = key.map_err(|error| format!("has a key that cannot be read ({})", visible(&error.to_string())))?;
        let principals = visible(principals).chars().take(PRINCIPALS).collect();
        let key = key.key_data().clone();
        let mut line = Self { principals, key, namespaces: Vec::new(), after: None, before: None };
        for option in split(options) {
            line.option(option)?;
        }
        Ok(line)
    }

    fn option(&mut self, option: &str) -> Result<(), String> {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        match name.to_ascii_lowercase().as_str() {
            "cert-authority" => Err("trusts an authority (`cert-authority`), and certificates are not read; write \
                                     the signers' own keys"
                .to_owned()),
            "namespaces" => {
                self.namespaces = value.split(',').map(|pattern| pattern.trim().to_owned()).collect();
                Ok(())
            }
            "valid-after" => time(value).map(|at| self.after = Some(at)),
            "valid-before" => time(value).map(|at| self.before = Some(at)),
            _ => Err(format!("has the option `{}`, which is not known", visible(name))),
        }
    }

    /// Whether the key may sign for Git at a time. The time that an object
    /// says is the signer's own word, so that a key that has ended could sign
    /// with an old one: now counts too.
    fn accepts(&self, said: Option<Timestamp>, now: Timestamp) -> Result<(), String> {
        let negated = |pattern: &String| pattern.strip_prefix('!').is_some_and(|it| matches(it, NAMESPACE));
        let listed = self.namespaces.is_empty() || self.namespaces.iter().any(|pattern| matches(pattern, NAMESPACE));
        if !listed || self.namespaces.iter().any(negated) {
            return Err(format!("the key may sign for `{}` only, not for Git", visible(&self.namespaces.join(","))));
        }
        for at in said.into_iter().chain([now]) {
            if let Some(after) = self.after.filter(|after| at < *after) {
                return Err(format!("the key counts only after {}", policy::moment(after)));
            }
            if let Some(before) = self.before.filter(|before| at > *before) {
                return Err(format!("the key expired on {}", policy::moment(before)));
            }
        }
        Ok(())
    }
}

/// Whether a word is the kind of a key, and so neither principals nor options.
fn is_kind(word: &str) -> bool {
    const KINDS: [&str; 8] = [
        "ssh-ed25519",
        "ssh-rsa",
        "ssh-dss",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    ];
    KINDS.contains(&word) || word.ends_with("-cert-v01@openssh.com")
}

/// Where the options at the beginning of a text end: at a blank that is not
/// within quotes.
fn end_of_options(text: &str) -> usize {
    let mut quoted = false;
    for (at, character) in text.char_indices() {
        match character {
            '"' => quoted = !quoted,
            ' ' | '\t' if !quoted => return at,
            _ => {}
        }
    }
    text.len()
}

/// Options, which commas outside quotes part.
fn split(options: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let parts = options.split(move |character| {
        quoted ^= character == '"';
        character == ',' && !quoted
    });
    parts.filter(|part| !part.is_empty())
}

/// A time: `YYYYMMDD`, `YYYYMMDDHHMM` or `YYYYMMDDHHMMSS`, with or without a
/// `Z`. Without it ssh-keygen means the zone of its machine, and this UTC.
fn time(text: &str) -> Result<Timestamp, String> {
    let wrong = || format!("has the time `{}`; write it as YYYYMMDD or YYYYMMDDHHMMSS, in UTC", visible(text));
    let digits = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    if !matches!(digits.len(), 8 | 12 | 14) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let number = |from: usize, to: usize| digits.get(from..to).unwrap_or("0").parse::<i16>().map_err(|_| wrong());
    let small = |from: usize, to: usize| i8::try_from(number(from, to)?).map_err(|_| wrong());
    let at = civil::DateTime::new(
        number(0, 4)?,
        small(4, 6)?,
        small(6, 8)?,
        small(8, 10)?,
        small(10, 12)?,
        small(12, 14)?,
        0,
    );
    let zoned = at.and_then(|at| at.to_zoned(TimeZone::UTC)).map_err(|_| wrong())?;
    Ok(zoned.timestamp())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rstest::rstest;

    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJKRL0sY9WfGJrX9CMWGLIWQ9HpvBgJHJ3jlzIZAjWZN";

    #[rstest]
    #[case::plain("ann@example.com KEY", "ann@example.com")]
    #[case::a_comment("ann@example.com KEY ann's laptop", "ann@example.com")]
    #[case::several_principals("ann@example.com,*@ops.example.com KEY", "ann@example.com,*@ops.example.com")]
    #[case::quoted("\"Ann, of the team\" KEY", "Ann, of the team")]
    #[case::options("a namespaces=\"file,git\",valid-after=\"20260101\" KEY", "a")]
    #[case::a_blank_in_an_option("a namespaces=\"file, git\" KEY", "a")]
    #[case::after_comments("# ours\n\n  a KEY", "a")]
    fn a_signer_is_read(#[case] text: &str, #[case] principals: &str) {
        let signers = AllowedSigners::parse(&text.replace("KEY", KEY)).unwrap();
        let line = &signers.lines[0];
        assert_eq!(line.principals, principals);
        assert_eq!(line.accepts(None, "2026-06-01T00:00:00Z".parse().unwrap()), Ok(()));
    }

    #[rstest]
    #[case::nothing("", "holds no key")]
    #[case::comments("# none\n", "holds no key")]
    #[case::a_key_alone("KEY", "line 1 begins with a key; write whose it is before it")]
    #[case::a_name_alone("ann", "line 1 has no key")]
    #[case::a_second_line("a KEY\nb ssh-ed25519 AAAA", "line 2 has a key that cannot be read")]
    #[case::an_authority("a cert-authority KEY", "line 1 trusts an authority")]
    #[case::a_certificate("a ssh-ed25519-cert-v01@openssh.com AAAA", "line 1 has a certificate")]
    #[case::an_unknown_option("a no-touch-required KEY", "line 1 has the option `no-touch-required`")]
    #[case::no_time("a valid-before=\"tomorrow\" KEY", "line 1 has the time `tomorrow`")]
    #[case::no_such_day("a valid-before=20260231 KEY", "line 1 has the time `20260231`")]
    #[case::an_open_quote("\"a KEY", "line 1 has a quote that does not end")]
    fn a_file_that_cannot_be_honoured_is_refused(#[case] text: &str, #[case] because: &str) {
        let message = AllowedSigners::parse(&text.replace("KEY", KEY)).unwrap_err();
        assert!(message.starts_with(because), "{message}");
    }

    #[rstest]
    #[case::before_it_begins(
        "valid-after=20260601",
        "2026-05-31T23:59:59Z",
        "counts only after 2026-06-01 00:00:00 UTC"
    )]
    #[case::after_it_ended(
        "valid-before=\"202606011200Z\"",
        "2026-06-01T12:00:01Z",
        "expired on 2026-06-01 12:00:00 UTC"
    )]
    #[case::for_files_only("namespaces=\"file\"", "2026-06-01T00:00:00Z", "may sign for `file` only")]
    #[case::all_but_git("namespaces=\"*,!git\"", "2026-06-01T00:00:00Z", "not for Git")]
    fn a_key_counts_within_its_time_and_use(#[case] option: &str, #[case] at: &str, #[case] because: &str) {
        let signers = AllowedSigners::parse(&format!("a {option} {KEY}")).unwrap();
        let at: Timestamp = at.parse().unwrap();
        let message = signers.lines[0].accepts(None, at).unwrap_err();
        assert!(message.contains(because), "{message}");
    }

    #[test]
    fn neither_an_old_date_nor_an_old_key_helps() {
        let signers = AllowedSigners::parse(&format!("a valid-after=20260101,valid-before=20260201 {KEY}")).unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let (within, after) = (at("2026-01-15T00:00:00Z"), at("2026-03-01T00:00:00Z"));
        let line = &signers.lines[0];
        assert!(line.accepts(Some(within), within).is_ok());
        assert!(line.accepts(Some(within), after).is_err(), "the key has ended, whatever the commit says");
        assert!(line.accepts(Some(after), within).is_err(), "the commit says a time that the key has not");
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "(ssh-ed25519 |ann |\"|,|=|valid-before=|2026|cert-authority|\n|\\PC){0,16}") {
            let _ = AllowedSigners::parse(&text);
        }
    }
}

//! What SOPS writes about a file: its field `sops`.

use super::{cipher::BEGIN, refusal::Refusal, rule::Rule};
use crate::manifest::yaml::{Content, Written};

/// The field with the metadata.
pub(super) const FIELD: &str = "sops";

/// How many recipients are tried at most, and how large what is encrypted for
/// one may be.
const RECIPIENTS: usize = 256;
const RECIPIENT_BYTES: usize = 16 << 10;

/// Master keys other than age's, by field, in words.
const OTHERS: &[(&str, &str)] = &[
    ("pgp", "PGP"),
    ("kms", "AWS KMS"),
    ("gcp_kms", "Google Cloud KMS"),
    ("azure_kv", "Azure Key Vault"),
    ("hc_vault", "HashiCorp Vault"),
    ("hckms", "Huawei Cloud KMS"),
];

/// Fields that such metadata have, beside keys. Files for other uses may have
/// a field `sops` too.
const MARKS: &[&str] = &["mac", "lastmodified"];

/// What SOPS writes about a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Metadata {
    /// What the file's own key is encrypted for.
    pub(super) age: Vec<ForAge>,
    /// Which values are encrypted.
    pub(super) rule: Rule,
    /// Whether the code is over encrypted values only.
    pub(super) mac_only_encrypted: bool,
    /// The code over all values, encrypted.
    pub(super) mac: String,
    /// When the file was encrypted, in the form that the code is bound to.
    pub(super) last_modified: String,
}

/// The file's own key, encrypted for a recipient of age.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ForAge {
    pub(super) recipient: String,
    /// An age file in armor.
    pub(super) encrypted: String,
}

/// Whether a value is such metadata, or what is left of one: one of its fields
/// is enough.
pub(super) fn is_metadata(value: &Written) -> bool {
    let mut keys = OTHERS.iter().map(|(field, _)| *field).chain(["age"]);
    MARKS.iter().any(|mark| value.field(mark).is_some())
        || keys.any(|field| items(value, field).any(|key| key.field("enc").is_some()))
}

impl Metadata {
    /// Reads them.
    ///
    /// # Errors
    /// They are for other keys than age's, or not as SOPS writes them.
    pub(super) fn read(sops: &Written) -> Result<Self, Refusal> {
        if items(sops, "key_groups").next().is_some() {
            return Err(Refusal::KeyGroups);
        }
        let age = items(sops, "age").enumerate().map(|(index, entry)| for_age(index, entry));
        let age: Vec<ForAge> = age.take(RECIPIENTS + 1).collect::<Result<_, _>>()?;
        if age.len() > RECIPIENTS {
            return Err(wrong("age", format!("has more than {RECIPIENTS} entries")));
        }
        if age.is_empty() {
            let others: Vec<&str> = OTHERS
                .iter()
                .filter(|(field, _)| items(sops, field).next().is_some())
                .map(|(_, words)| *words)
                .collect();
            return Err(match others.as_slice() {
                [] => wrong("age", "has no recipient, so nobody can decrypt the file"),
                others => Refusal::NotForAge(others.join(", ")),
            });
        }
        let mac = sops.field("mac").and_then(Written::text).unwrap_or_default();
        if !mac.starts_with(BEGIN) {
            return Err(Refusal::NoMac);
        }
        let last_modified = sops.field("lastmodified").and_then(Written::text);
        let last_modified = last_modified.ok_or_else(|| wrong("lastmodified", "is missing"))?;
        Ok(Self {
            age,
            rule: Rule::read(sops)?,
            mac_only_encrypted: is_true(sops.field("mac_only_encrypted")),
            mac: mac.to_owned(),
            last_modified: to_the_second(last_modified),
        })
    }
}

fn for_age(index: usize, entry: &Written) -> Result<ForAge, Refusal> {
    let text = |field: &str| {
        let found = entry.field(field).and_then(Written::text);
        found.ok_or_else(|| wrong(&format!("age[{index}].{field}"), "is missing"))
    };
    let (recipient, encrypted) = (text("recipient")?.trim(), text("enc")?);
    if !recipient.chars().all(|character| character.is_ascii_graphic() || character == ' ') || recipient.len() > 4096 {
        return Err(wrong(&format!("age[{index}].recipient"), "is no recipient of age"));
    }
    if encrypted.len() > RECIPIENT_BYTES {
        return Err(wrong(&format!("age[{index}].enc"), format!("is larger than {RECIPIENT_BYTES} bytes")));
    }
    Ok(ForAge { recipient: recipient.to_owned(), encrypted: encrypted.to_owned() })
}

pub(super) fn wrong(field: &str, wrong: impl Into<String>) -> Refusal {
    Refusal::Metadata { field: format!("sops.{field}"), wrong: wrong.into() }
}

fn items<'a>(sops: &'a Written, field: &str) -> impl Iterator<Item = &'a Written> {
    match sops.field(field).map(|value| &value.content) {
        Some(Content::List(items)) => items.as_slice(),
        _ => &[],
    }
    .iter()
}

/// A dotenv file has only texts.
fn is_true(value: Option<&Written>) -> bool {
    match value.map(|value| &value.content) {
        Some(Content::Bool(boolean)) => *boolean,
        Some(Content::Text(text)) => text.eq_ignore_ascii_case("true"),
        _ => false,
    }
}

/// The code is bound to the time as RFC 3339 has it, without fractions, and
/// with `Z` where there is no offset.
fn to_the_second(time: &str) -> String {
    let zone = time.rfind(['Z', '+']).or_else(|| time.rfind('-').filter(|at| *at > 10));
    let (clock, zone) = time.split_at(zone.unwrap_or(time.len()));
    let clock = clock.split_once('.').map_or(clock, |(clock, _)| clock);
    format!("{clock}{}", if zone == "+00:00" { "Z" } else { zone })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::manifest::yaml::{Limits, read_if_has};

    const WHOLE: &str = "sops:\n  age:\n  - {recipient: age1abc, enc: xyz}\n  lastmodified: \"2024-05-06T07:08:09Z\"\n  \
                         mac: ENC[AES256_GCM,data:x]\n  version: 3.10.2\n";

    fn read(text: &str) -> Result<Metadata, String> {
        let documents = read_if_has("f", text.as_bytes(), &Limits::default(), FIELD, |_| true).unwrap().unwrap();
        Metadata::read(documents[0].field(FIELD).unwrap()).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn they_are_read() {
        let metadata = read(WHOLE).unwrap();
        assert_eq!(metadata.age, [ForAge { recipient: "age1abc".into(), encrypted: "xyz".into() }]);
        assert_eq!(metadata.last_modified, "2024-05-06T07:08:09Z");
        assert!(!metadata.mac_only_encrypted);
        assert!(read(&format!("{WHOLE}  mac_only_encrypted: true\n")).unwrap().mac_only_encrypted);
    }

    #[rstest]
    #[case(
        "  mac: ENC[AES256_GCM,data:x]\n",
        "",
        "has no message authentication code of SOPS (sops.mac), so nothing tells whether it was changed"
    )]
    #[case(
        "mac: ENC[AES256_GCM,data:x]",
        "mac: ''",
        "has no message authentication code of SOPS (sops.mac), so nothing tells whether it was changed"
    )]
    #[case("lastmodified", "modified", "sops.lastmodified of its SOPS metadata is missing")]
    #[case(", enc: xyz", "", "sops.age[0].enc of its SOPS metadata is missing")]
    #[case(
        "  age:\n  - {recipient: age1abc, enc: xyz}\n",
        "  pgp: [{fp: X}]\n  kms: [{arn: Y}]\n",
        "is encrypted by SOPS for PGP, AWS KMS only; files are decrypted by age keys"
    )]
    #[case(
        "  age:\n  - {recipient: age1abc, enc: xyz}\n",
        "",
        "sops.age of its SOPS metadata has no recipient, so nobody can decrypt the file"
    )]
    #[case(
        "sops:\n",
        "sops:\n  key_groups: [{}]\n",
        "is encrypted by SOPS for key groups (Shamir's secret sharing), which is not supported"
    )]
    #[case(
        "sops:\n",
        "sops:\n  encrypted_regex: '['\n",
        "sops.encrypted_regex of its SOPS metadata is no regular expression"
    )]
    #[case(
        "sops:\n",
        "sops:\n  encrypted_regex: a\n  encrypted_suffix: b\n",
        "sops.encrypted_regex of its SOPS metadata stands beside sops.encrypted_suffix, and one rule only can count"
    )]
    fn what_is_wrong_with_them_is_told(#[case] from: &str, #[case] to: &str, #[case] expected: &str) {
        assert_eq!(read(&WHOLE.replace(from, to)).unwrap_err(), expected);
    }

    #[rstest]
    #[case("2024-05-06T07:08:09Z", "2024-05-06T07:08:09Z")]
    #[case("2024-05-06T07:08:09.123Z", "2024-05-06T07:08:09Z")]
    #[case("2024-05-06T07:08:09+00:00", "2024-05-06T07:08:09Z")]
    #[case("2024-05-06T07:08:09.5-02:00", "2024-05-06T07:08:09-02:00")]
    #[case("nonsense", "nonsense")]
    #[case("", "")]
    fn the_time_is_taken_in_the_form_that_counts(#[case] time: &str, #[case] expected: &str) {
        assert_eq!(to_the_second(time), expected);
    }

    #[rstest]
    #[case("sops: {mac: x}", true)]
    #[case("sops: {lastmodified: x}", true)]
    #[case("sops: {pgp: [{enc: x}]}", true)]
    #[case("sops: {enabled: true, version: 3.10.2, age: {}, pgp: [x]}", false)]
    #[case("sops: [mac]", false)]
    #[case("sops: mac", false)]
    fn another_field_of_the_name_is_none_of_it(#[case] text: &str, #[case] expected: bool) {
        let documents = read_if_has("f", text.as_bytes(), &Limits::default(), FIELD, |_| true).unwrap().unwrap();
        assert_eq!(is_metadata(documents[0].field(FIELD).unwrap()), expected);
    }
}

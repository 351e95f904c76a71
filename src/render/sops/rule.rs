//! Which values of a file are encrypted.

use regex::{Regex, RegexBuilder};

use super::{cipher::BEGIN, metadata::wrong, refusal::Refusal};
use crate::manifest::yaml::Written;

/// What a rule of the file may take as a program.
const REGEX_BYTES: usize = 1 << 20;

/// The rule that counts where a file has none.
const SUFFIX: &str = "_unencrypted";

/// The rules that a file may have one of.
const FIELDS: &[&str] = &[
    "unencrypted_suffix",
    "encrypted_suffix",
    "unencrypted_regex",
    "encrypted_regex",
    "unencrypted_comment_regex",
    "encrypted_comment_regex",
];

/// Which values of a file are encrypted, by the keys on the way to each.
#[derive(Debug, Clone)]
pub(super) enum Rule {
    /// All but those below a key that ends so.
    AllBut(String),
    /// Those below a key that ends so.
    Only(String),
    /// All but those below a key that matches.
    AllButMatching(Regex),
    /// Those below a key that matches.
    OnlyMatching(Regex),
    /// Comments decide, which are not read here: each value says itself what
    /// it is. The code over all values holds that down.
    ByForm,
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::AllBut(one), Self::AllBut(other)) | (Self::Only(one), Self::Only(other)) => one == other,
            (Self::AllButMatching(one), Self::AllButMatching(other))
            | (Self::OnlyMatching(one), Self::OnlyMatching(other)) => one.as_str() == other.as_str(),
            (Self::ByForm, Self::ByForm) => true,
            _ => false,
        }
    }
}

impl Rule {
    /// Reads the rule of a file's metadata.
    ///
    /// # Errors
    /// There are several, it is no regular expression, or nothing would hold
    /// down which values are encrypted.
    pub(super) fn read(sops: &Written) -> Result<Self, Refusal> {
        let given = |field: &&&str| sops.field(field).and_then(Written::text).is_some_and(|text| !text.is_empty());
        let given: Vec<&str> = FIELDS.iter().filter(given).copied().collect();
        let (first, second) = (given.first().copied(), given.get(1));
        let Some(field) = first else { return Ok(Self::AllBut(SUFFIX.to_owned())) };
        if let Some(second) = second {
            // In the order of the alphabet, so that it does not depend on ours.
            let (one, other) = (field.min(second), field.max(second));
            return Err(wrong(one, format!("stands beside sops.{other}, and one rule only can count")));
        }
        let text = sops.field(field).and_then(Written::text).unwrap_or_default();
        let regex = || {
            let built = RegexBuilder::new(text).size_limit(REGEX_BYTES).dfa_size_limit(REGEX_BYTES).build();
            built.map_err(|_| wrong(field, "is no regular expression"))
        };
        Ok(match field {
            "unencrypted_suffix" => Self::AllBut(text.to_owned()),
            "encrypted_suffix" => Self::Only(text.to_owned()),
            "unencrypted_regex" => Self::AllButMatching(regex()?),
            "encrypted_regex" => Self::OnlyMatching(regex()?),
            field if sops.field("mac_only_encrypted").is_some() => {
                let message = "cannot stand beside sops.mac_only_encrypted here: nothing would tell which values are \
                               to be encrypted";
                return Err(wrong(field, message));
            }
            _ => Self::ByForm,
        })
    }

    /// Whether a value is encrypted, or has to be.
    pub(super) fn encrypts(&self, path: &[String], text: Option<&str>) -> bool {
        match self {
            Self::AllBut(suffix) => !path.iter().any(|key| key.ends_with(suffix.as_str())),
            Self::Only(suffix) => path.iter().any(|key| key.ends_with(suffix.as_str())),
            Self::AllButMatching(regex) => !path.iter().any(|key| regex.is_match(key)),
            Self::OnlyMatching(regex) => path.iter().any(|key| regex.is_match(key)),
            Self::ByForm => text.is_some_and(|text| text.starts_with(BEGIN)),
        }
    }
}

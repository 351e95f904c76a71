//! Why a file is not decrypted.

use crate::manifest::{Position, Problem};

/// Why a file is not decrypted. No variant holds a value of the file or of a
/// key: paths, names of fields and recipients are public in such a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error(
        "is encrypted by SOPS, and no key is given: name a Secret with it in render.decryption.secretRef (a command \
         takes a file of keys by --age-key-file)"
    )]
    NoKeys,
    #[error("is encrypted by SOPS, and its key is not at hand: {0}")]
    KeysUnavailable(String),
    #[error("is encrypted by SOPS for {0} only; files are decrypted by age keys")]
    NotForAge(String),
    #[error("is encrypted by SOPS for {recipients}, and no age key of {keys} is one of these")]
    NoKeyFits { recipients: String, keys: String },
    #[error("has a key of SOPS for {recipient} that cannot be read: it is damaged")]
    DamagedKey { recipient: String },
    #[error("is encrypted by SOPS for key groups (Shamir's secret sharing), which is not supported")]
    KeyGroups,
    #[error("{field} of its SOPS metadata {wrong}")]
    Metadata { field: String, wrong: String },
    #[error("has no message authentication code of SOPS (sops.mac), so nothing tells whether it was changed")]
    NoMac,
    #[error("was changed after it was encrypted: the message authentication code of SOPS does not fit")]
    Changed,
    #[error("{0} cannot be decrypted: it was changed or moved after it was encrypted")]
    Value(String),
    #[error(
        "{0} is not encrypted, as the SOPS metadata of the file say that it is: it was added after the file was encrypted"
    )]
    NotEncrypted(String),
    #[error("{0} is encrypted by SOPS and is not text, which no manifest can hold")]
    NotText(String),
    #[error("document {0} of it is not encrypted with the others: it has not the SOPS metadata of the first")]
    OtherDocument(usize),
    #[error("is no mapping, as each document that SOPS encrypts is")]
    NoMapping,
    #[error("is an INI file that SOPS encrypted, which is not supported")]
    Ini,
    #[error("line {0} is no assignment, as each line of a dotenv file is")]
    NoAssignment(usize),
}

impl Refusal {
    fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NotForAge(_) => "add an age recipient (`sops rotate -i --add-age RECIPIENT FILE`)",
            Self::NoKeyFits { .. } => {
                "add the key of one of these recipients, or encrypt the file for a key that is there \
                 (`sops rotate -i --add-age RECIPIENT FILE`)"
            }
            Self::KeyGroups => "encrypt the file with one key group",
            Self::NoMac | Self::Changed | Self::Value(_) | Self::NotEncrypted(_) | Self::DamagedKey { .. } => {
                "change encrypted files with `sops edit` or `sops set` only; take the last good one from Git"
            }
            Self::OtherDocument(_) => "encrypt the file as a whole, or put the documents into files of their own",
            Self::Ini => "encrypt it as a binary file (`sops encrypt --input-type binary`)",
            _ => return None,
        })
    }

    /// As a problem of a file.
    pub(super) fn of(self, file: &str, at: Option<Position>) -> Problem {
        let mut problem = Problem::in_file(file, self.to_string());
        problem.position = at;
        match self.hint() {
            Some(hint) => problem.hint(hint),
            None => problem,
        }
    }
}

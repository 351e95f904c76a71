//! Names of Git objects.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Why a text is not the name of a Git object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a Git object name: it takes 40 hex digits (or 64 in a SHA-256 repository)", .0.escape_debug())]
pub struct NotAnId(String);

macro_rules! git_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// All hex digits, in lower case.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The first 12 digits, for people.
            pub fn short(&self) -> &str {
                &self.0[..12]
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let hex = matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
                if hex { Ok(Self(text.to_ascii_lowercase())) } else { Err(NotAnId(text.to_owned())) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = NotAnId;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl From<git2::Oid> for $name {
            fn from(id: git2::Oid) -> Self {
                Self(id.to_string())
            }
        }
    };
}

git_id! {
    /// The name of a commit: 40 hex digits (SHA-1) or 64 (SHA-256).
    CommitId
}
git_id! {
    /// The name of a tree. Two commits whose trees at a path have one name have
    /// the same content there, so a push elsewhere is no change.
    TreeId
}

git_id! {
    /// The name of an annotated tag, which is an object of its own.
    TagId
}

impl TagId {
    /// The name as the Git library takes it.
    pub(super) fn oid(&self) -> Result<git2::Oid, git2::Error> {
        git2::Oid::from_str(&self.0)
    }
}

impl From<CommitId> for TagId {
    /// What a reference names is called a commit until it turns out to be a tag.
    fn from(id: CommitId) -> Self {
        Self(id.0)
    }
}

impl CommitId {
    /// The name as the Git library takes it; `None` for a SHA-256 name, which
    /// its SHA-1 object store cannot hold.
    pub(super) fn oid(&self) -> Option<git2::Oid> {
        if self.0.len() == 40 { git2::Oid::from_str(&self.0).ok() } else { None }
    }
}

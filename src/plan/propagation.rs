//! What becomes of what a deleted object owns.

use serde_json::Value;

use super::claim::annotation;

/// The annotation by which a live object says how it is deleted.
const PROPAGATION: &str = "bowline.dev/deletion-propagation";

/// What becomes of the objects that a deleted object owns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Propagation {
    /// They are deleted after it.
    #[default]
    Background,
    /// They are deleted before it.
    Foreground,
    /// They stay.
    Orphan,
}

impl Propagation {
    /// The word of the API server.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Background => "Background",
            Self::Foreground => "Foreground",
            Self::Orphan => "Orphan",
        }
    }
}

/// How a live object wants to be deleted, or why nobody knows.
pub(super) fn propagation(object: &Value) -> Result<Propagation, String> {
    let Some(word) = annotation(object, PROPAGATION) else { return Ok(Propagation::default()) };
    let all = [Propagation::Background, Propagation::Foreground, Propagation::Orphan];
    all.into_iter().find(|propagation| propagation.as_str() == word).ok_or_else(|| {
        format!("is annotated {PROPAGATION}: {word:?}, which is none of Background, Foreground and Orphan")
    })
}

//! What is pushed, and how the cluster takes to it.

use std::{fmt, sync::OnceLock};

use super::super::{
    ContentId,
    world::{bundle, content},
};
use crate::manifest::BundleDigest;

/// How many different contents there are.
pub(super) const CONTENTS: u8 = 8;
/// The content that changes something which cannot be taken back.
const IRREVERSIBLE: u8 = 4;

const NAMES: [&str; CONTENTS as usize] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// The content of a number. `g` is another bundle of the inputs of `a`, as a
/// chart with random values makes it; `h` is the bundle of `b` from other
/// inputs, as a change of a comment makes it.
pub(super) fn of(number: u8) -> &'static ContentId {
    static ALL: OnceLock<Vec<ContentId>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let mut all: Vec<ContentId> = NAMES.iter().map(|name| content(name)).collect();
        all[6].inputs = all[0].inputs.clone();
        all[7].bundle = all[1].bundle.clone();
        all
    });
    &all[usize::from(number % CONTENTS)]
}

pub(super) fn name(number: u8) -> &'static str {
    NAMES[usize::from(number % CONTENTS)]
}

/// The number of the bundle.
pub(super) fn number_of(bundle: &BundleDigest) -> u8 {
    (0..CONTENTS).find(|number| of(*number).bundle == *bundle).unwrap_or_default()
}

/// Why bringing this content cannot be taken back by itself, if it cannot.
pub(super) fn irreversible(of_bundle: &BundleDigest) -> Option<String> {
    static CLAIM: OnceLock<BundleDigest> = OnceLock::new();
    let claim = CLAIM.get_or_init(|| bundle(NAMES[usize::from(IRREVERSIBLE)]));
    (claim == of_bundle).then(|| "it changed a claim".to_owned())
}

/// How the cluster takes to some content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is healthy as soon as it is applied.
    Healthy,
    /// It gets healthy after so many seconds.
    Slow(u16),
    /// It never gets healthy.
    Hangs,
    /// The server refuses it before anything is written.
    Refused,
    /// The server refuses it so often, and then somebody grants the right.
    RefusedUntilTry(u8),
    /// It fails half-way.
    Breaks,
    /// The server does not answer so often, and then does.
    Unanswered(u8),
    /// It is healthy, and degrades after so many seconds.
    Degrades(u16),
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Healthy => f.write_str("gets healthy"),
            Self::Slow(seconds) => write!(f, "gets healthy after {seconds} s"),
            Self::Hangs => f.write_str("hangs"),
            Self::Refused => f.write_str("is refused"),
            Self::RefusedUntilTry(tries) => write!(f, "is refused {tries} times"),
            Self::Breaks => f.write_str("breaks half-way"),
            Self::Unanswered(u8::MAX) => f.write_str("is never answered"),
            Self::Unanswered(tries) => write!(f, "is answered after {tries} tries"),
            Self::Degrades(seconds) => write!(f, "degrades after {seconds} s"),
        }
    }
}

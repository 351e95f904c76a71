//! Content that was refused is looked at again: what it was refused for may be
//! put right outside of Git, and of most of that no event tells. A right is
//! granted, a quota raised, a namespace made.
//!
//! Nothing is written and no release begins before the plan goes through.

use jiff::{SignedDuration, Timestamp};
use tracing::{debug, info};

use super::{Actor, StepError};
use crate::{
    controller::{decide::Content as From, settings::Occasion},
    manifest::BundleDigest,
};

/// The first pause before content that was refused is looked at again.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(30);
/// The longest: what such an application costs at rest.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(15);
/// How soon at most it is looked at again when an object of the application
/// changes.
const LEAST_PAUSE: SignedDuration = SignedDuration::from_secs(30);

/// Another try of content that was refused.
#[derive(Debug, Default)]
pub(super) struct Again {
    /// When it is due, if the content was refused.
    pub(super) due: Option<Timestamp>,
    /// Content that was refused and would go through by now.
    pub(super) lifted: Option<BundleDigest>,
    tried_at: Option<Timestamp>,
    tries: u32,
    content: Option<BundleDigest>,
}

impl Again {
    /// Puts the next try off, longer each time for the same content; `chance`
    /// is between 0 and 1.
    pub(super) fn put_off(&mut self, content: Option<&BundleDigest>, now: Timestamp, chance: f64) {
        if self.content.as_ref() != content {
            self.content = content.cloned();
            self.tries = 0;
        }
        let doubled = FIRST_PAUSE.saturating_mul(1 << self.tries.min(10)).min(LONGEST_PAUSE);
        self.tries += 1;
        self.lifted = None;
        self.due = Some(now + doubled.mul_f64(0.8 + 0.4 * chance));
    }

    /// An object of the application changed: that may be what was waited for.
    pub(super) fn hurry(&mut self, now: Timestamp) {
        let earliest = self.tried_at.map_or(now, |tried| now.max(tried + LEAST_PAUSE));
        self.due = self.due.map(|due| due.min(earliest));
    }
}

impl Actor {
    /// Puts off the next try of what Git asks for.
    pub(super) fn put_off_another_try(&mut self, now: Timestamp) {
        let content = self.known.history.current().map(|release| release.spec.bundle.clone());
        self.known.again.put_off(content.as_ref(), now, rand::random_range(0.0..1.0));
    }

    /// Plans content that was refused, and lets it in if the server would take
    /// it by now.
    pub(super) async fn try_again(&mut self) -> Result<(), StepError> {
        let now = Timestamp::now();
        self.known.again.tried_at = Some(now);
        let content = self.content_of(From::Head).await?;
        self.watch_kinds(&content.manifests).await;
        // Whatever the Application says of preflight: a release that begins
        // only to be refused again helps nobody.
        let occasion = Occasion { preflight: true, ..Occasion::default() };
        let (plan, _) = self.plan(&content, &occasion).await;
        self.put_off_another_try(now);
        match plan.refusals.first() {
            Some(refusal) => debug!(%refusal, "what was refused would be refused again"),
            None => {
                info!(commit = content.id.commit.short, "what was refused would go through by now");
                self.event(
                    "RefusalOver",
                    &format!("commit {} would go through by now", content.id.commit.short),
                    false,
                );
                self.known.again.lifted = Some(content.id.bundle);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Digest;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
    }

    fn bundle(name: &str) -> BundleDigest {
        BundleDigest(Digest::of(name.as_bytes()))
    }

    #[test]
    fn the_pause_doubles_up_to_a_quarter_of_an_hour_and_begins_anew_with_other_content() {
        let mut again = Again::default();
        let mut pause = |name: &str| {
            again.put_off(Some(&bundle(name)), at(0), 0.5);
            again.due.map(|due| due.as_second())
        };
        let pauses: Vec<_> = (0..7).map(|_| pause("a")).collect();
        assert_eq!(pauses, [30, 60, 120, 240, 480, 900, 900].map(Some));
        assert_eq!(pause("b"), Some(30));
    }

    #[test]
    fn a_change_of_an_object_brings_the_next_try_forward_but_not_again_and_again() {
        let mut again = Again::default();
        again.put_off(Some(&bundle("a")), at(0), 0.5);
        again.hurry(at(5));
        assert_eq!(again.due, Some(at(5)));
        again.tried_at = Some(at(5));
        again.put_off(Some(&bundle("a")), at(5), 0.5);
        again.hurry(at(6));
        assert_eq!(again.due, Some(at(35)), "within half a minute of the last");
    }
}

//! One look at the content that is kept of all applications, when a replica
//! begins to lead: without it each application would send lists of its own.

use std::collections::{BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;
use tracing::warn;

use crate::cluster::{
    OwnerKey,
    store::{KeptContent, Store},
};

/// How long it is good for: who comes later looks by itself.
const GOOD_FOR: SignedDuration = SignedDuration::from_mins(5);
/// What is younger than this when it is taken may have been on its way to the
/// cluster.
const ON_ITS_WAY: SignedDuration = SignedDuration::from_mins(1);

/// The look of a term of leadership.
#[derive(Debug, Default)]
pub(super) struct FirstLook(Mutex<Look>);

#[derive(Debug, Default)]
enum Look {
    /// Nobody needed it yet.
    #[default]
    Due,
    Taken {
        at: Timestamp,
        kept: HashMap<(String, String), KeptContent>,
    },
    Over,
}

impl FirstLook {
    /// A term begins.
    pub(super) async fn begin(&self) {
        *self.0.lock().await = Look::Due;
    }

    /// What was seen of an application, once; none if it is to look by itself.
    /// The first to ask takes the look for all. `newest` is when its newest
    /// release was made.
    pub(super) async fn of(
        &self,
        owner: &OwnerKey,
        newest: Option<Timestamp>,
        store: &Store,
        namespaces: &BTreeSet<String>,
    ) -> Option<KeptContent> {
        let mut look = self.0.lock().await;
        if matches!(*look, Look::Due) {
            let at = Timestamp::now();
            *look = match store.kept_content(namespaces).await {
                Ok(kept) => Look::Taken { at, kept },
                Err(error) => {
                    warn!(%error, "the content of all applications could not be looked at: each looks by itself");
                    Look::Over
                }
            };
        }
        look.take(owner, newest, Timestamp::now())
    }
}

impl Look {
    fn take(&mut self, owner: &OwnerKey, newest: Option<Timestamp>, now: Timestamp) -> Option<KeptContent> {
        let Self::Taken { at, kept } = self else { return None };
        if now.duration_since(*at) > GOOD_FOR {
            *self = Self::Over;
            return None;
        }
        let seen = kept.remove(&(owner.namespace().to_owned(), owner.name().to_owned()));
        let Some(newest) = newest else { return Some(seen.unwrap_or_default()) };
        seen.filter(|_| newest + ON_ITS_WAY < *at)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
    }

    /// A look that was taken after 1,000 seconds.
    fn taken() -> Look {
        let kept = KeptContent { bytes: 7, ..KeptContent::default() };
        Look::Taken { at: at(1_000), kept: HashMap::from([(("team-a".to_owned(), "shop".to_owned()), kept)]) }
    }

    #[rstest]
    #[case::seen("shop", Some(900), 1_010, Some(7))]
    #[case::its_newest_release_may_have_been_on_its_way("shop", Some(945), 1_010, None)]
    #[case::its_newest_release_came_after_it("shop", Some(1_005), 1_010, None)]
    #[case::without_a_release_and_without_content("new", None, 1_010, Some(0))]
    #[case::releases_without_content_are_looked_at_again("other", Some(900), 1_010, None)]
    #[case::too_late("shop", Some(900), 1_301, None)]
    fn it_serves_those_that_had_come_to_a_rest(
        #[case] name: &str,
        #[case] newest: Option<i64>,
        #[case] now: i64,
        #[case] bytes: Option<u64>,
    ) {
        let mut look = taken();
        let seen = look.take(&OwnerKey::new("team-a", name), newest.map(at), at(now));
        assert_eq!(seen.map(|seen| seen.bytes), bytes);
    }

    #[test]
    fn it_serves_each_once() {
        let mut look = taken();
        let mut take = || look.take(&OwnerKey::new("team-a", "shop"), Some(at(0)), at(1_010)).map(|seen| seen.bytes);
        assert_eq!((take(), take()), (Some(7), None));
    }
}

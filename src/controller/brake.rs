//! The brake on automatic rollbacks: when many applications break at once, the
//! cluster is the cause, and none goes back by itself.
//!
//! What breaks is told before it is decided whether it goes back, and then the
//! brake listens for a moment: of many that break together none goes back
//! because it was the first.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::decide::BrakeView;

/// Within which time rollbacks count together.
const WINDOW: SignedDuration = SignedDuration::from_mins(10);
/// More than this many, and
const MORE_THAN: usize = 3;
/// more than this share of all applications, in percent, pull the brake.
const MORE_THAN_PERCENT: usize = 20;
/// How long it listens for others that break.
const MOMENT: SignedDuration = SignedDuration::from_secs(2);
/// How long at most, while others that are on their way may still pull it.
const LONGEST_MOMENT: SignedDuration = SignedDuration::from_secs(10);
/// How often it is looked at meanwhile. It is all in memory.
const LOOKS: SignedDuration = SignedDuration::from_millis(500);
/// What went on its way longer ago than this did not break together with what
/// breaks now.
const TOGETHER: SignedDuration = SignedDuration::from_mins(1);

/// The applications that broke lately, and those that may.
#[derive(Debug, Default)]
pub struct Brake {
    broke: BTreeMap<String, Broke>,
    /// Applications with a release that runs, and since when.
    under_way: BTreeMap<String, Timestamp>,
}

/// When an application was told to break, first and last.
#[derive(Debug, Clone, Copy)]
struct Broke {
    first: Timestamp,
    last: Timestamp,
}

impl Brake {
    /// Notes that an application's release breaks, or may be about to.
    pub fn note(&mut self, application: &str, now: Timestamp) {
        self.forget_old(now);
        self.broke.entry(application.to_owned()).or_insert(Broke { first: now, last: now }).last = now;
    }

    /// Notes that an application is healthy again.
    pub fn release(&mut self, application: &str) {
        self.broke.remove(application);
    }

    /// Notes whether a release of an application runs.
    pub fn runs(&mut self, application: &str, runs: bool, now: Timestamp) {
        match runs {
            true if self.under_way.contains_key(application) => {}
            true => drop(self.under_way.insert(application.to_owned(), now)),
            false => drop(self.under_way.remove(application)),
        }
    }

    /// What it says to one of `applications` in all.
    pub fn look(&mut self, application: &str, applications: usize, now: Timestamp) -> BrakeView {
        self.forget_old(now);
        let is_pulled_by = |count: usize| count > MORE_THAN && count * 100 > applications * MORE_THAN_PERCENT;
        let others = self.broke.keys().filter(|name| *name != application).count();
        if is_pulled_by(others + 1) {
            return BrakeView::Pulled;
        }
        if !is_pulled_by(applications) {
            return BrakeView::Off;
        }
        let Some(broke) = self.broke.get(application) else { return BrakeView::Untold };
        let (soon, at_last) = (broke.first + MOMENT, broke.first + LONGEST_MOMENT);
        if now < soon {
            return BrakeView::Listens(soon);
        }
        let together = |since: &Timestamp| now.duration_since(*since) < TOGETHER;
        let may_break = self
            .under_way
            .iter()
            .filter(|(name, since)| *name != application && !self.broke.contains_key(*name) && together(since));
        match now < at_last && is_pulled_by(others + 1 + may_break.count()) {
            true => BrakeView::Listens(at_last.min(now + LOOKS)),
            false => BrakeView::Off,
        }
    }

    fn forget_old(&mut self, now: Timestamp) {
        self.broke.retain(|_, broke| now.duration_since(broke.last) <= WINDOW);
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
    }

    /// So many applications broke at this second.
    fn broke(count: usize, second: i64) -> Brake {
        let mut brake = Brake::default();
        (0..count).for_each(|number| brake.note(&format!("app-{number}"), at(second)));
        brake
    }

    #[rstest]
    #[case::three_are_not_many(2, 3, BrakeView::Off)]
    #[case::four_of_ten_are(3, 10, BrakeView::Pulled)]
    #[case::four_of_twenty_are_not_a_fifth(3, 20, BrakeView::Untold)]
    #[case::five_of_twenty_are_more_than_a_fifth(4, 20, BrakeView::Pulled)]
    #[case::there_are_not_enough_to_be_many(0, 3, BrakeView::Off)]
    fn it_is_pulled_by_number_and_share(#[case] others: usize, #[case] applications: usize, #[case] says: BrakeView) {
        assert_eq!(broke(others, 0).look("shop", applications, at(1)), says);
    }

    #[test]
    fn what_broke_long_ago_does_not_count() {
        let mut brake = broke(9, 0);
        assert_eq!(brake.look("shop", 10, at(600)), BrakeView::Pulled);
        assert_eq!(brake.look("shop", 10, at(601)), BrakeView::Untold);
    }

    #[test]
    fn an_application_that_breaks_again_counts_once_and_health_clears_it() {
        let mut brake = broke(3, 0);
        (0..3).for_each(|number| brake.note(&format!("app-{number}"), at(1)));
        assert_eq!(brake.look("shop", 4, at(2)), BrakeView::Pulled);
        brake.release("app-0");
        assert_eq!(brake.look("shop", 4, at(2)), BrakeView::Untold);
    }

    /// Five applications whose writes are refused in one moment: the first is
    /// decided on when the others were heard.
    #[test]
    fn of_many_that_break_in_the_same_moment_the_first_does_not_go_back() {
        let mut brake = Brake::default();
        brake.note("app-0", at(10));
        assert_eq!(brake.look("app-0", 5, at(10)), BrakeView::Listens(at(12)));
        (1..5).for_each(|number| brake.note(&format!("app-{number}"), at(11)));
        for number in 0..5 {
            assert_eq!(brake.look(&format!("app-{number}"), 5, at(12)), BrakeView::Pulled);
        }
    }

    #[test]
    fn one_that_breaks_alone_goes_back_after_a_moment() {
        let mut brake = broke(1, 10);
        assert_eq!(brake.look("app-0", 5, at(11)), BrakeView::Listens(at(12)));
        assert_eq!(brake.look("app-0", 5, at(12)), BrakeView::Off);
        assert_eq!(broke(1, 10).look("app-0", 3, at(10)), BrakeView::Off, "three are never many");
    }

    #[test]
    fn it_listens_longer_while_others_that_went_together_may_break_too() {
        let mut brake = broke(1, 10);
        (1..4).for_each(|number| brake.runs(&format!("app-{number}"), true, at(9)));
        let look = |brake: &mut Brake, second| brake.look("app-0", 5, at(second));
        assert_eq!(look(&mut brake, 12), BrakeView::Listens(at(12) + LOOKS));
        assert_eq!(look(&mut brake, 20), BrakeView::Off, "but not for ever");
        brake.runs("app-3", false, at(13));
        assert_eq!(look(&mut brake, 13), BrakeView::Off, "three are not many");
        brake.runs("app-3", true, at(14));
        (1..4).for_each(|number| brake.note(&format!("app-{number}"), at(15)));
        assert_eq!(look(&mut brake, 16), BrakeView::Pulled);
    }

    #[test]
    fn what_has_been_waiting_for_long_is_not_listened_for() {
        let mut brake = broke(1, 100);
        (1..5).for_each(|number| brake.runs(&format!("app-{number}"), true, at(40)));
        assert_eq!(brake.look("app-0", 5, at(102)), BrakeView::Off);
    }
}

//! The brake on automatic rollbacks: when many applications break at once, the
//! cluster is the cause, and none goes back by itself.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

/// Within which time rollbacks count together.
const WINDOW: SignedDuration = SignedDuration::from_mins(10);
/// More than this many, and
const MORE_THAN: usize = 3;
/// more than this share of all applications, in percent, pull the brake.
const MORE_THAN_PERCENT: usize = 20;

/// The applications that broke lately.
#[derive(Debug, Default)]
pub struct Brake {
    broke: VecDeque<(Timestamp, String)>,
}

impl Brake {
    /// Notes that an application's release broke, or would be taken back.
    pub fn note(&mut self, application: &str, now: Timestamp) {
        self.forget_old(now);
        self.broke.retain(|(_, name)| name != application);
        self.broke.push_back((now, application.to_owned()));
    }

    /// Notes that an application is healthy again.
    pub fn release(&mut self, application: &str) {
        self.broke.retain(|(_, name)| name != application);
    }

    /// Whether it is pulled for one more application of `applications` in all.
    pub fn is_pulled(&mut self, application: &str, applications: usize, now: Timestamp) -> bool {
        self.forget_old(now);
        let others = self.broke.iter().filter(|(_, name)| name != application).count();
        let count = others + 1;
        count > MORE_THAN && count * 100 > applications * MORE_THAN_PERCENT
    }

    fn forget_old(&mut self, now: Timestamp) {
        while self.broke.front().is_some_and(|(time, _)| now.duration_since(*time) > WINDOW) {
            self.broke.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
    }

    #[rstest]
    #[case::three_are_not_many(2, 3, false)]
    #[case::four_of_ten_are(3, 10, true)]
    #[case::four_of_twenty_are_not_a_fifth(3, 20, false)]
    #[case::five_of_twenty_are_more_than_a_fifth(4, 20, true)]
    fn it_is_pulled_by_number_and_share(#[case] others: usize, #[case] applications: usize, #[case] pulled: bool) {
        let mut brake = Brake::default();
        for number in 0..others {
            brake.note(&format!("app-{number}"), at(0));
        }
        assert_eq!(brake.is_pulled("shop", applications, at(1)), pulled);
    }

    #[test]
    fn what_broke_long_ago_does_not_count() {
        let mut brake = Brake::default();
        for number in 0..9 {
            brake.note(&format!("app-{number}"), at(0));
        }
        assert!(brake.is_pulled("shop", 10, at(600)));
        assert!(!brake.is_pulled("shop", 10, at(601)));
    }

    #[test]
    fn an_application_that_breaks_again_counts_once_and_health_clears_it() {
        let mut brake = Brake::default();
        for number in 0..3 {
            brake.note(&format!("app-{number}"), at(0));
            brake.note(&format!("app-{number}"), at(1));
        }
        assert!(brake.is_pulled("shop", 4, at(2)));
        brake.release("app-0");
        assert!(!brake.is_pulled("shop", 4, at(2)));
    }
}

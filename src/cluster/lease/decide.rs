//! Who leads, as a pure function of what was read and when.
//!
//! Why there are never two leaders. Let a leader's last successful write leave
//! at `s`. It calls itself leader until `s` + renew deadline. The server took
//! the write at some moment after `s`, and a candidate cannot have seen it
//! before that; it waits a whole lease from when it saw it, and every write has
//! the version that was read as its precondition. So nobody else wins before
//! `s` + lease, and the renew deadline is shorter than the lease.

use std::time::Duration;

/// How long things take. The renew deadline must be shorter than the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How long a candidate waits for a sign of life before it takes over.
    pub lease: Duration,
    /// How long after its last sign of life a leader may write.
    pub renew_deadline: Duration,
    /// How often a leader renews and a candidate looks.
    pub retry: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        // A follower learns of each renewal by a watch, so it leads `lease`
        // after the last one: well within 15 s after a leader was killed.
        Self { lease: Duration::from_secs(10), renew_deadline: Duration::from_secs(7), retry: Duration::from_secs(2) }
    }
}

/// What of a Lease matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseView {
    /// Its resourceVersion.
    pub version: String,
    /// Who holds it; none where it was released.
    pub holder: Option<String>,
    /// How long its holder asks the others to wait.
    pub duration: Duration,
    /// How often it changed hands.
    pub transitions: i32,
}

/// What is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Whether it changes hands by this: the time of acquisition is then new.
    pub takes_over: bool,
    /// How often it has changed hands then.
    pub transitions: i32,
}

/// The next thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// There is no Lease: make it.
    Create(Claim),
    /// Replace it, if it still has this version.
    Replace {
        /// The version.
        version: String,
        /// What to write.
        claim: Claim,
    },
    /// Somebody else holds it.
    Wait,
}

/// One candidate's knowledge. Times are of one monotonic clock of its own.
#[derive(Debug, Clone)]
pub struct Election {
    identity: String,
    timing: Timing,
    /// The last version that was seen, and when it was first seen.
    seen: Option<(LeaseView, Duration)>,
    /// Until when this candidate leads.
    until: Option<Duration>,
}

impl Election {
    /// A candidate that knows nothing. No other process may have the identity
    /// while this one lives: who finds a Lease of its own identity, as after a
    /// crash, takes it up at once.
    pub fn new(identity: impl Into<String>, timing: Timing) -> Self {
        Self { identity: identity.into(), timing, seen: None, until: None }
    }

    /// Takes what was read at a moment, and says what to do.
    pub fn observe(&mut self, lease: Option<LeaseView>, now: Duration) -> Step {
        let Some(lease) = lease else {
            // Somebody deleted it: anybody may have made it anew by now.
            self.seen = None;
            self.until = None;
            return Step::Create(Claim { takes_over: true, transitions: 0 });
        };
        if lease.holder.as_deref() != Some(self.identity.as_str()) {
            self.until = None;
        }
        let since = match &self.seen {
            Some((seen, since)) if seen.version == lease.version => *since,
            _ => now,
        };
        let step = match lease.holder.as_deref() {
            Some(holder) if holder == self.identity => Step::Replace {
                version: lease.version.clone(),
                claim: Claim { takes_over: false, transitions: lease.transitions },
            },
            Some(_) if now.saturating_sub(since) < lease.duration.max(self.timing.lease) => Step::Wait,
            _ => Step::Replace {
                version: lease.version.clone(),
                claim: Claim { takes_over: true, transitions: lease.transitions.saturating_add(1) },
            },
        };
        self.seen = Some((lease, since));
        step
    }

    /// The renewal that a leader can do without reading first; `None` where it
    /// has to read.
    pub fn renewal(&self, now: Duration) -> Option<Step> {
        let (lease, _) = self.seen.as_ref().filter(|_| self.leads(now))?;
        (lease.holder.as_deref() == Some(self.identity.as_str())).then(|| Step::Replace {
            version: lease.version.clone(),
            claim: Claim { takes_over: false, transitions: lease.transitions },
        })
    }

    /// The server took a write of ours that left at `sent`.
    pub fn won(&mut self, written: LeaseView, sent: Duration) {
        let until = sent + self.timing.renew_deadline;
        self.until = Some(self.until.map_or(until, |known| known.max(until)));
        self.seen = Some((written, sent));
    }

    /// The server refused a write of ours because another came first. That may
    /// be one of our own whose answer was lost: it has to be read who holds the
    /// Lease. Until the deadline it can be nobody else by any election.
    pub fn lost_race(&mut self) {
        self.seen = None;
    }

    /// Gives leadership up. The version to replace by a Lease without holder,
    /// if this candidate has held it.
    pub fn resign(&mut self) -> Option<(String, i32)> {
        self.until = None;
        let (lease, _) = self.seen.take()?;
        (lease.holder.as_deref() == Some(self.identity.as_str())).then_some((lease.version, lease.transitions))
    }

    /// Whether this candidate may act as the leader.
    pub fn leads(&self, now: Duration) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Until when this candidate may act as the leader.
    pub fn until(&self) -> Option<Duration> {
        self.until
    }

    /// When the Lease of another runs out, if it is not renewed; none where it
    /// is free, our own, or not known.
    pub fn runs_out(&self) -> Option<Duration> {
        let (lease, since) = self.seen.as_ref()?;
        lease.holder.as_ref().filter(|holder| **holder != self.identity)?;
        Some(*since + lease.duration.max(self.timing.lease))
    }

    /// The version of the Lease that was seen last.
    pub fn version(&self) -> Option<&str> {
        self.seen.as_ref().map(|(lease, _)| lease.version.as_str())
    }

    /// Who held the Lease when it was last seen.
    pub fn holder(&self) -> Option<&str> {
        self.seen.as_ref().and_then(|(lease, _)| lease.holder.as_deref())
    }

    /// Who this candidate is.
    pub fn identity(&self) -> &str {
        &self.identity
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn held_by(holder: &str, version: &str) -> LeaseView {
        LeaseView { version: version.into(), holder: Some(holder.into()), duration: seconds(15), transitions: 3 }
    }

    const TIMING: Timing = Timing {
        lease: Duration::from_secs(15),
        renew_deadline: Duration::from_secs(10),
        retry: Duration::from_secs(2),
    };

    fn candidate() -> Election {
        Election::new("b", TIMING)
    }

    #[test]
    fn a_leader_that_is_killed_is_followed_within_fifteen_seconds() {
        let Timing { lease, renew_deadline, retry } = Timing::default();
        assert!(renew_deadline + retry < lease, "it stops well before another begins");
        // Without a watch its last renewal is seen one look later.
        assert!(lease + retry + retry < seconds(15));
    }

    #[test]
    fn the_lease_of_another_runs_out_a_lease_after_it_was_seen() {
        let mut election = candidate();
        assert_eq!(election.runs_out(), None);
        election.observe(Some(held_by("a", "7")), seconds(100));
        election.observe(Some(held_by("a", "7")), seconds(105));
        assert_eq!((election.runs_out(), election.version()), (Some(seconds(115)), Some("7")));
        election.won(held_by("b", "8"), seconds(120));
        assert_eq!(election.runs_out(), None, "its own is not waited for");
    }

    #[test]
    fn who_comes_back_under_its_own_identity_waits_for_nobody() {
        let claim = Claim { takes_over: false, transitions: 3 };
        let found = candidate().observe(Some(held_by("b", "7")), seconds(0));
        assert_eq!(found, Step::Replace { version: "7".into(), claim });
    }

    #[test]
    fn a_lease_that_does_not_exist_is_made() {
        assert_eq!(candidate().observe(None, seconds(0)), Step::Create(Claim { takes_over: true, transitions: 0 }));
    }

    #[test]
    fn a_lease_of_somebody_else_is_waited_for_from_when_it_was_seen() {
        let mut election = candidate();
        assert_eq!(election.observe(Some(held_by("a", "7")), seconds(1000)), Step::Wait);
        assert_eq!(election.observe(Some(held_by("a", "7")), seconds(1014)), Step::Wait);
        let claim = Claim { takes_over: true, transitions: 4 };
        assert_eq!(
            election.observe(Some(held_by("a", "7")), seconds(1015)),
            Step::Replace { version: "7".into(), claim }
        );
    }

    #[test]
    fn each_sign_of_life_begins_the_wait_anew() {
        let mut election = candidate();
        election.observe(Some(held_by("a", "7")), seconds(0));
        assert_eq!(election.observe(Some(held_by("a", "8")), seconds(14)), Step::Wait);
        assert_eq!(election.observe(Some(held_by("a", "8")), seconds(28)), Step::Wait);
    }

    #[test]
    fn a_holder_that_asks_for_a_longer_wait_gets_it() {
        let mut election = candidate();
        let lease = LeaseView { duration: seconds(60), ..held_by("a", "7") };
        election.observe(Some(lease.clone()), seconds(0));
        assert_eq!(election.observe(Some(lease), seconds(59)), Step::Wait);
    }

    #[test]
    fn a_released_lease_is_taken_at_once() {
        let released = LeaseView { holder: None, ..held_by("a", "7") };
        let claim = Claim { takes_over: true, transitions: 4 };
        assert_eq!(candidate().observe(Some(released), seconds(0)), Step::Replace { version: "7".into(), claim });
    }

    #[test]
    fn leadership_counts_from_when_the_write_left() {
        let mut election = candidate();
        election.won(held_by("b", "8"), seconds(100));
        assert!(election.leads(seconds(109)));
        assert!(!election.leads(seconds(110)));
        assert_eq!(election.renewal(seconds(110)), None, "who has lost it reads first");
    }

    #[test]
    fn a_leader_renews_without_reading() {
        let mut election = candidate();
        election.won(held_by("b", "8"), seconds(100));
        let claim = Claim { takes_over: false, transitions: 3 };
        assert_eq!(election.renewal(seconds(102)), Some(Step::Replace { version: "8".into(), claim }));
    }

    #[test]
    fn after_a_lost_race_it_is_read_who_leads() {
        let mut election = candidate();
        election.won(held_by("b", "8"), seconds(100));
        election.lost_race();
        assert_eq!(election.renewal(seconds(101)), None);
        let claim = Claim { takes_over: false, transitions: 3 };
        assert_eq!(
            election.observe(Some(held_by("b", "9")), seconds(101)),
            Step::Replace { version: "9".into(), claim },
            "the earlier write was ours, and its answer was lost"
        );
        assert!(election.leads(seconds(101)));
        election.lost_race();
        assert_eq!(election.observe(Some(held_by("a", "10")), seconds(102)), Step::Wait);
        assert!(!election.leads(seconds(102)), "a person gave it to another");
    }

    #[test]
    fn a_deleted_lease_ends_leadership_until_it_is_made_anew() {
        let mut election = candidate();
        election.won(held_by("b", "8"), seconds(100));
        election.observe(None, seconds(101));
        assert!(!election.leads(seconds(101)));
    }

    #[test]
    fn only_who_holds_the_lease_releases_it() {
        let mut election = candidate();
        election.observe(Some(held_by("a", "7")), seconds(0));
        assert_eq!(election.resign(), None);
        election.won(held_by("b", "8"), seconds(1));
        assert_eq!(election.resign(), Some(("8".into(), 3)));
        assert!(!election.leads(seconds(1)));
    }

    /// The server: one Lease, compare-and-swap by version.
    #[derive(Default)]
    struct Server {
        lease: Option<LeaseView>,
        version: u64,
    }

    impl Server {
        fn write(&mut self, expected: Option<&str>, holder: &str, transitions: i32) -> Option<LeaseView> {
            if self.lease.as_ref().map(|lease| lease.version.as_str()) != expected {
                return None;
            }
            self.version += 1;
            let lease = LeaseView { transitions, ..held_by(holder, &self.version.to_string()) };
            self.lease = Some(lease.clone());
            Some(lease)
        }
    }

    /// A write on its way: when it leaves, reaches the server, and is answered,
    /// if the answer is not lost.
    struct Flight {
        replica: usize,
        step: Step,
        sent: u64,
        arrives: u64,
        answered: Option<u64>,
        result: Option<Option<LeaseView>>,
    }

    #[derive(Debug, Clone)]
    struct Turn {
        replica: usize,
        after: u64,
        paused: u64,
        out: u64,
        back: Option<u64>,
    }

    fn turn() -> impl Strategy<Value = Turn> {
        let delay = prop_oneof![4 => 0u64..300, 1 => 0u64..25_000];
        (0usize..3, 0u64..4_000, delay.clone(), delay.clone(), prop::option::weighted(0.8, delay))
            .prop_map(|(replica, after, paused, out, back)| Turn { replica, after, paused, out, back })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

        /// Replicas whose clocks began at different times, processes that are
        /// paused between reading and writing, writes that arrive late, answers
        /// that are late or lost.
        #[test]
        fn there_are_never_two_leaders(
            turns in prop::collection::vec(turn(), 1..80),
            starts in prop::array::uniform3(0u64..1_000_000),
        ) {
            let mut server = Server::default();
            let mut elections: Vec<Election> =
                ["a", "b", "c"].iter().map(|name| Election::new(*name, TIMING)).collect();
            let local = |replica: usize, time: u64| Duration::from_millis(starts[replica] + time);
            let mut flights: Vec<Flight> = Vec::new();
            let mut now = 0u64;
            let mut turns = turns.into_iter();
            let mut next_turn = turns.next();
            let mut turn_at = next_turn.as_ref().map(|turn| turn.after);
            loop {
                // The earliest of: the next turn, a write that arrives, an answer.
                let next_flight = flights
                    .iter()
                    .enumerate()
                    .map(|(index, flight)| {
                        let due = if flight.result.is_none() { flight.arrives } else { flight.answered.unwrap() };
                        (due, index)
                    })
                    .min();
                match (turn_at, next_flight) {
                    (None, None) => break,
                    (Some(at), flight) if flight.is_none_or(|(due, _)| at <= due) => {
                        now = now.max(at);
                        let turn = next_turn.take().unwrap();
                        let busy = flights.iter().any(|flight| flight.replica == turn.replica);
                        if !busy {
                            let election = &mut elections[turn.replica];
                            let clock = local(turn.replica, now);
                            let step = election
                                .renewal(clock)
                                .unwrap_or_else(|| election.observe(server.lease.clone(), clock));
                            if step != Step::Wait {
                                // The clock is read when the request leaves, after any pause.
                                let sent = now + turn.paused;
                                flights.push(Flight {
                                    replica: turn.replica,
                                    step,
                                    sent,
                                    arrives: sent + turn.out,
                                    answered: turn.back.map(|back| sent + turn.out + back),
                                    result: None,
                                });
                            }
                        }
                        next_turn = turns.next();
                        turn_at = next_turn.as_ref().map(|turn| now + turn.after);
                    }
                    (_, Some((due, index))) => {
                        now = now.max(due);
                        if flights[index].result.is_none() {
                            let (expected, claim) = match flights[index].step.clone() {
                                Step::Create(claim) => (None, claim),
                                Step::Replace { version, claim } => (Some(version), claim),
                                Step::Wait => unreachable!(),
                            };
                            let name = elections[flights[index].replica].identity().to_owned();
                            let result = server.write(expected.as_deref(), &name, claim.transitions);
                            flights[index].result = Some(result);
                            if flights[index].answered.is_none() {
                                flights.remove(index);
                            }
                        } else {
                            let flight = flights.remove(index);
                            let sent = local(flight.replica, flight.sent);
                            match flight.result.unwrap() {
                                Some(lease) => elections[flight.replica].won(lease, sent),
                                None => elections[flight.replica].lost_race(),
                            }
                            let leaders: Vec<usize> =
                                (0..3).filter(|&replica| elections[replica].leads(local(replica, now))).collect();
                            prop_assert!(leaders.len() < 2, "at {now} ms the leaders are {leaders:?}");
                        }
                    }
                    (Some(_), None) => unreachable!(),
                }
            }
        }

        /// A leader that dies is followed within a lease and two looks.
        #[test]
        fn a_dead_leader_is_followed(offset in 0u64..2_000, died_at in 0u64..60_000) {
            let mut server = Server::default();
            let (mut first, mut second) = (Election::new("a", TIMING), Election::new("b", TIMING));
            let mut followed = None;
            for tick in 0..100u64 {
                let now = tick * 2_000;
                let clock = Duration::from_millis(now);
                if now <= died_at {
                    let step = first.renewal(clock).unwrap_or_else(|| first.observe(server.lease.clone(), clock));
                    let (expected, claim) = match step {
                        Step::Create(claim) => (None, claim),
                        Step::Replace { version, claim } => (Some(version), claim),
                        Step::Wait => unreachable!(),
                    };
                    let lease = server.write(expected.as_deref(), "a", claim.transitions).unwrap();
                    first.won(lease, clock);
                }
                let clock = Duration::from_millis(now + offset);
                if let Step::Replace { version, claim } = second.observe(server.lease.clone(), clock) {
                    let lease = server.write(Some(&version), "b", claim.transitions).unwrap();
                    second.won(lease, clock);
                    followed = Some(now + offset);
                    break;
                }
            }
            let followed = followed.unwrap();
            prop_assert!(followed <= died_at + 15_000 + 2 * 2_000, "died at {died_at}, followed at {followed}");
        }
    }
}

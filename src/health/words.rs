//! The words that controllers use for a phase, a state, a reason or the type
//! of a condition, and what each says.
//!
//! A word is read token by token (`CrashLoopBackOff`, `crash-loop back off`),
//! so that a word nobody listed is still understood by its parts.

/// What a word says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// It does what it is for.
    Good,
    /// It is on its way.
    Waiting,
    /// It is stopped on purpose.
    Asleep,
    /// It failed.
    Bad,
}

/// What a phase or state says; `None` for a word that says nothing.
pub(super) fn phase(text: &str) -> Option<Tone> {
    read(text).tone()
}

/// What the reason of a condition that does not hold says: `Bad`, `Waiting`,
/// `Asleep`, or nothing. A good word says nothing there.
pub(super) fn reason(text: &str) -> Option<Tone> {
    let seen = read(text);
    // `PodsNotReady` waits for the pods; `NotReady` only repeats the condition.
    let only_repeats = seen.tokens <= 2 && seen.not_ready && !seen.waiting || seen.tokens == 1 && seen.unavailable;
    match seen.tone() {
        Some(Tone::Good) => None,
        _ if only_repeats => None,
        Some(Tone::Bad) if seen.unavailable && !seen.bad => Some(Tone::Waiting),
        tone => tone,
    }
}

/// What a sentence says, as far as single words of it can tell.
pub(super) fn message(text: &str) -> Option<Tone> {
    let seen = read(text);
    if seen.bad || seen.not_found {
        Some(Tone::Bad)
    } else if seen.under_way || seen.not_ready {
        Some(Tone::Waiting)
    } else {
        None
    }
}

/// What the last token of a condition's type says of the condition where it
/// holds: `ReplicaFailure` is bad, `SecretsReady` is good.
pub(super) fn condition_type(kind: &str) -> Option<Tone> {
    let mut last = None;
    let mut negated = false;
    let mut not = false;
    for token in Tokens::of(kind) {
        negated = not;
        let lower = Lower::of(token);
        not = matches!(lower.as_str(), "not" | "no");
        last = of_token(lower.as_str());
    }
    match last {
        Some(Tone::Bad) if negated => Some(Tone::Good),
        Some(Tone::Good) if negated => Some(Tone::Bad),
        tone => tone,
    }
}

#[derive(Default)]
struct Seen {
    tokens: usize,
    bad: bool,
    waiting: bool,
    /// By a word that says so in a sentence too.
    under_way: bool,
    asleep: bool,
    good: bool,
    not_ready: bool,
    not_found: bool,
    unavailable: bool,
}

impl Seen {
    fn tone(&self) -> Option<Tone> {
        if self.bad || self.not_found {
            Some(Tone::Bad)
        } else if self.asleep {
            Some(Tone::Asleep)
        } else if self.waiting || self.not_ready {
            Some(Tone::Waiting)
        } else if self.unavailable {
            Some(Tone::Bad)
        } else if self.good {
            Some(Tone::Good)
        } else {
            None
        }
    }
}

fn read(text: &str) -> Seen {
    let mut seen = Seen::default();
    let mut not = false;
    // Of the token before, where it makes a pair with the next.
    let mut before = "";
    for token in Tokens::of(text) {
        seen.tokens += 1;
        let lower = Lower::of(token);
        let word = lower.as_str();
        if matches!(word, "not" | "no" | "non" | "never" | "without" | "isn" | "0") {
            not = true;
            continue;
        }
        let pair = match (before, word) {
            ("back", "off") | ("rolled", "back") => Some(Tone::Bad),
            ("to", "zero") | ("on", "hold") => Some(Tone::Asleep),
            ("out", "sync") => Some(Tone::Waiting),
            _ => None,
        };
        before = match word {
            "back" => "back",
            "rolled" => "rolled",
            "to" => "to",
            "on" => "on",
            "out" => "out",
            // `out of sync`
            "of" => before,
            _ => "",
        };
        match (pair.or_else(|| of_token(word)), not) {
            (Some(Tone::Bad), false) => seen.bad = true,
            (Some(Tone::Bad), true) => seen.good = true,
            (Some(Tone::Good), false) => seen.good = true,
            (Some(Tone::Good), true) if matches!(word, "healthy" | "valid" | "ok" | "accepted" | "found") => {
                seen.bad = true;
            }
            (Some(Tone::Good), true) => seen.not_ready = true,
            (Some(Tone::Waiting), _) => {
                seen.waiting = true;
                seen.under_way |=
                    matches!(word, "pending" | "wait" | "waits" | "progress" | "queued") || is_gerund(word);
            }
            (Some(Tone::Asleep), false) => seen.asleep = true,
            (Some(Tone::Asleep), true) => {}
            (None, true) if matches!(word, "found" | "exist" | "exists" | "supported" | "allowed" | "permitted") => {
                seen.not_found = true;
            }
            (None, _) if word == "yet" => (seen.waiting, seen.under_way) = (true, true),
            (None, _) if matches!(word, "unavailable" | "offline" | "down") => seen.unavailable = true,
            (None, _) if matches!(word, "unready" | "notready" | "unknown") => seen.not_ready = true,
            (None, _) => {
                if is_gerund(word) && !(seen.tokens > 1 && is_noun(word)) {
                    (seen.waiting, seen.under_way) = (true, true);
                }
            }
        }
        not = false;
    }
    seen
}

fn is_gerund(word: &str) -> bool {
    word.len() > 4 && word.ends_with("ing")
}

/// Words that end like a verb and are none where they stand beside others.
fn is_noun(word: &str) -> bool {
    matches!(
        word,
        "string"
            | "thing"
            | "nothing"
            | "anything"
            | "something"
            | "during"
            | "routing"
            | "networking"
            | "billing"
            | "binding"
            | "mapping"
            | "monitoring"
            | "logging"
            | "autoscaling"
            | "setting"
            | "existing"
            | "using"
            | "following"
            | "matching"
            | "being"
            | "meeting"
            | "warning"
            | "underlying"
            | "remaining"
            | "listening"
            | "peering"
            | "tracing"
    )
}

fn of_token(word: &str) -> Option<Tone> {
    match word {
        "failed" | "fail" | "fails" | "failure" | "failures" | "failing" | "error" | "errors" | "errored" | "err"
        | "invalid" | "denied" | "rejected" | "refused" | "unauthorized" | "forbidden" | "conflict" | "conflicts"
        | "conflicted" | "conflicting" | "crash" | "crashed" | "crashing" | "crashloop" | "crashloopbackoff"
        | "lost" | "exceeded" | "missing" | "unsupported" | "unreachable" | "illegal" | "incompatible"
        | "misconfigured" | "misconfiguration" | "degraded" | "unhealthy" | "stalled" | "bad" | "broken"
        | "corrupt" | "corrupted" | "dead" | "expired" | "timeout" | "timedout" | "timed" | "aborted" | "cancelled"
        | "canceled" | "killed" | "oomkilled" | "panic" | "panicked" | "fatal" | "unrecoverable" | "unresolved"
        | "cannot" | "couldn" | "unable" | "impossible" | "insufficient" | "disconnected" | "fault" | "faulted"
        | "faulty" | "inconsistent" | "mismatch" | "mismatched" | "evicted" | "unsuccessful" | "notfound"
        | "undefined" | "unrecognized" | "malformed" | "blocked" | "red" | "critical" | "revoked" | "violated"
        | "violation" | "violations" | "backoff" | "irreconcilable" | "rollback" | "rolledback" | "exhausted"
        | "abnormal" | "unexpected" | "unprocessable" | "unstable" => Some(Tone::Bad),
        "suspended" | "suspend" | "paused" | "stopped" | "hibernated" | "hibernating" | "hibernation" | "halted"
        | "disabled" | "shutdown" | "onhold" | "dormant" | "poweredoff" | "hibernate" | "sleeping" | "asleep"
        | "cordoned" | "inactive" | "deactivated" | "parked" | "frozen" => Some(Tone::Asleep),
        "pending" | "creating" | "provisioning" | "initializing" | "initialising" | "updating" | "upgrading"
        | "deploying" | "deleting" | "terminating" | "scaling" | "reconciling" | "progressing" | "inprogress"
        | "progress" | "queued" | "enqueued" | "inqueue" | "starting" | "waiting" | "wait" | "waits" | "new"
        | "init" | "requested" | "scheduled" | "submitted" | "unbound" | "outofsync" | "partial" | "partially"
        | "yellow" | "rollingout" | "retry" | "requeue" | "requeued" | "uninitialized" | "await" | "awaits"
        | "unscheduled" | "rollout" | "outdated" | "stale" | "reconcile" | "bootstrap" | "install" | "installation"
        | "initialization" | "initialisation" | "initialize" | "provision" | "deploy" | "deployment" | "upgrade"
        | "creation" | "deletion" | "migration" | "recovery" | "failover" | "switchover" | "restart" | "reboot"
        | "rebalance" => Some(Tone::Waiting),
        "running" | "ready" | "active" | "bound" | "available" | "succeeded" | "success" | "successful"
        | "successfully" | "complete" | "completed" | "online" | "healthy" | "deployed" | "installed" | "synced"
        | "sync" | "insync" | "synchronized" | "established" | "ok" | "up" | "valid" | "provisioned" | "reconciled"
        | "applied" | "finished" | "done" | "enabled" | "connected" | "registered" | "normal" | "green"
        | "operational" | "configured" | "accepted" | "attached" | "issued" | "approved" | "published" | "stable"
        | "started" | "initialized" | "created" | "steady" | "uptodate" | "serving" | "programmed" | "joined"
        | "passed" | "updated" | "resolved" | "live" | "fulfilled" | "processed" | "working" | "streaming"
        | "admitted" | "optimal" | "good" | "validated" | "verified" | "scheduleable" | "alive" | "loaded" | "met"
        | "allocated" | "assigned" => Some(Tone::Good),
        _ => None,
    }
}

/// The tokens of a word: runs of letters and digits, also split where a
/// capital begins a new part.
struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    fn of(text: &'a str) -> Self {
        Self { rest: text }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.rest = self.rest.trim_start_matches(|c: char| !c.is_alphanumeric());
        let bytes = self.rest.as_bytes();
        if bytes.is_empty() {
            return None;
        }
        let mut end = 1;
        while end < bytes.len() {
            let (before, here) = (bytes[end - 1], bytes[end]);
            if !here.is_ascii_alphanumeric() && here.is_ascii() {
                break;
            }
            let camel = here.is_ascii_uppercase() && !before.is_ascii_uppercase();
            let acronym_ends = here.is_ascii_uppercase()
                && before.is_ascii_uppercase()
                && bytes.get(end + 1).is_some_and(u8::is_ascii_lowercase);
            if camel || acronym_ends {
                break;
            }
            end += 1;
        }
        while !self.rest.is_char_boundary(end) {
            end += 1;
        }
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(token)
    }
}

/// A token in lower case, without an allocation. A longer token than any
/// known word is cut, and so matches none.
struct Lower {
    bytes: [u8; Lower::LONGEST],
    length: usize,
}

impl Lower {
    const LONGEST: usize = 24;

    fn of(token: &str) -> Self {
        let mut bytes = [0; Self::LONGEST];
        let mut length = 0;
        for (place, byte) in bytes.iter_mut().zip(token.bytes()) {
            *place = byte.to_ascii_lowercase();
            length += 1;
        }
        Self { bytes, length }
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or("")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("Running", Some(Tone::Good))]
    #[case("READY", Some(Tone::Good))]
    #[case("Cluster in healthy state", Some(Tone::Good))]
    #[case("UpToDate", Some(Tone::Good))]
    #[case("HEALTH_OK", Some(Tone::Good))]
    #[case("HEALTH_ERR", Some(Tone::Bad))]
    #[case("InProgress", Some(Tone::Waiting))]
    #[case("in-progress", Some(Tone::Waiting))]
    #[case("Not Ready", Some(Tone::Waiting))]
    #[case("Unknown", Some(Tone::Waiting))]
    #[case("RollingUpdating", Some(Tone::Waiting))]
    #[case("Defragmenting", Some(Tone::Waiting))]
    #[case("Monitoring", Some(Tone::Waiting))]
    #[case("PartiallyFailed", Some(Tone::Bad))]
    #[case("Unhealthy", Some(Tone::Bad))]
    #[case("NotHealthy", Some(Tone::Bad))]
    #[case("Offline", Some(Tone::Bad))]
    #[case("CrashLoop", Some(Tone::Bad))]
    #[case("NoErrors", Some(Tone::Good))]
    #[case("Paused", Some(Tone::Asleep))]
    #[case("hibernated", Some(Tone::Asleep))]
    #[case("Foo", None)]
    #[case("", None)]
    #[case("Größe", None)]
    fn a_phase_is_read_by_its_words(#[case] text: &str, #[case] tone: Option<Tone>) {
        assert_eq!(phase(text), tone);
    }

    #[rstest]
    #[case("SecretSyncedError", Some(Tone::Bad))]
    #[case("NotFound", Some(Tone::Bad))]
    #[case("DependencyNotFound", Some(Tone::Bad))]
    #[case("InvalidProviderConfig", Some(Tone::Bad))]
    #[case("Progressing", Some(Tone::Waiting))]
    #[case("InProgress", Some(Tone::Waiting))]
    #[case("DependencyNotReady", Some(Tone::Waiting))]
    #[case("MinimumReplicasUnavailable", Some(Tone::Waiting))]
    #[case("WaitingForInfrastructure", Some(Tone::Waiting))]
    #[case("Creating", Some(Tone::Waiting))]
    #[case("NotReady", None)]
    #[case("Unavailable", None)]
    #[case("Paused", Some(Tone::Asleep))]
    #[case("Available", None)]
    #[case("", None)]
    fn a_reason_is_read_by_its_words(#[case] text: &str, #[case] tone: Option<Tone>) {
        assert_eq!(reason(text), tone);
    }

    #[rstest]
    #[case("ReplicaFailure", Some(Tone::Bad))]
    #[case("ReconcileError", Some(Tone::Bad))]
    #[case("DeadLetterSinkResolved", Some(Tone::Good))]
    #[case("AllReplicasReady", Some(Tone::Good))]
    #[case("NotReady", Some(Tone::Bad))]
    #[case("NoErrors", Some(Tone::Good))]
    #[case("Upgradeable", None)]
    fn a_condition_type_is_read_by_its_last_word(#[case] kind: &str, #[case] tone: Option<Tone>) {
        assert_eq!(condition_type(kind), tone);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text: String) {
            let tokens: String = Tokens::of(&text).collect();
            prop_assert!(tokens.len() <= text.len());
            let _ = (phase(&text), reason(&text), condition_type(&text));
        }
    }
}

//! What may happen to an application and to those who look after it, by
//! chance, and in words.

use std::fmt;

use super::{
    chance::Chance,
    content::{CONTENTS, Fate, name},
};

/// One of the two controllers.
pub(super) type Who = usize;

/// What goes wrong with a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trap {
    /// The process dies, and the write never left.
    DiesBefore,
    /// The process dies when the write has landed.
    DiesAfter,
    /// The server is not reached.
    NotReached,
    /// The write lands, and its answer is lost.
    AnswerLost,
}

/// Which content a person accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accept {
    Nothing,
    Head,
    Content(u8),
}

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Happening {
    /// A commit, which the controllers hear of at once, or at the next poll.
    Push {
        content: u8,
        fate: Fate,
        late: bool,
    },
    /// A commit that cannot be rendered.
    PushBroken,
    /// A commit that a guard refuses.
    PushGuarded {
        content: u8,
    },
    /// The controllers hear of the head.
    Poll,
    /// How the cluster takes to some content changes.
    Fate {
        content: u8,
        fate: Fate,
    },
    /// Time passes.
    Pass {
        seconds: u32,
    },
    /// The clock is set.
    Jump {
        seconds: i32,
    },
    /// A process dies and comes back.
    Restart(Who),
    /// The write after so many others goes wrong.
    Trap {
        who: Who,
        writes: u8,
        trap: Trap,
    },
    /// The lease goes to the other; so many things that the old leader had
    /// begun still reach the server.
    LeaseMoves {
        in_flight: u8,
    },
    /// A person asks for a sync.
    Sync {
        accept: Accept,
        allow_prune: bool,
        dry_run: bool,
        unreadable: bool,
    },
    /// A person asks for a rollback, to the release so many before the newest.
    Rollback {
        back: Option<u8>,
        stale: bool,
        dry_run: bool,
    },
    /// A request that may not be carried out whatever the state.
    Inadmissible,
    Suspend(bool),
    Manual(bool),
    Brake(bool),
    AutomaticRollback(bool),
    ReportDrift(bool),
    /// The Application's spec is edited.
    Edit,
    /// The Application is deleted and made again under its name.
    MadeAgain,
    /// Somebody changes an object.
    Drift,
    /// Somebody deletes an object.
    Gone,
    /// An object that no release changes is unhealthy, or healthy again.
    Neighbour {
        sick: bool,
    },
    /// What is live degrades.
    Degrades,
    /// What is live gets healthy.
    Heals,
    /// A controller's watches are not in sync, or are again.
    Watches {
        who: Who,
        settled: bool,
    },
    /// Events reach a controller late, or all at once again.
    Deaf {
        who: Who,
        deaf: bool,
    },
    /// The content of the release so many before the newest cannot be read any
    /// more.
    ContentLost {
        back: u8,
    },
}

/// Something that happens, and how many things each controller then does
/// before the next happens; none is as many as it takes to come to rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) happening: Happening,
    pub(super) pace: Option<u8>,
}

/// A history by chance.
pub(super) fn history(chance: &mut Chance) -> Vec<Moment> {
    let length = 3 + chance.below(40);
    (0..length)
        .map(|_| {
            let happening = happening(chance);
            let pace = if chance.one_in(3) { Some(chance.small(4)) } else { None };
            Moment { happening, pace }
        })
        .collect()
}

fn happening(chance: &mut Chance) -> Happening {
    let who = usize::from(chance.small(2));
    let content = chance.small(CONTENTS);
    let yes = chance.one_in(2);
    match chance.below(64) {
        0..=14 => Happening::Push { content, fate: fate(chance), late: chance.one_in(5) },
        15 => Happening::PushBroken,
        16 => Happening::PushGuarded { content },
        17 | 18 => Happening::Poll,
        19 | 20 => Happening::Fate { content, fate: fate(chance) },
        21..=28 => Happening::Pass { seconds: chance.pick(&[1, 3, 20, 61, 299, 301, 400, 700, 3_600, 90_000]) },
        29 => Happening::Jump { seconds: chance.pick(&[-7_200, -301, -5, 5, 301, 7_200]) },
        30 | 31 => Happening::Restart(who),
        32..=35 => {
            let trap = chance.pick(&[Trap::DiesBefore, Trap::DiesAfter, Trap::NotReached, Trap::AnswerLost]);
            Happening::Trap { who, writes: chance.small(6), trap }
        }
        36 | 37 => Happening::LeaseMoves { in_flight: chance.small(3) },
        38..=41 => Happening::Sync {
            accept: chance.pick(&[Accept::Nothing, Accept::Nothing, Accept::Head, Accept::Content(content)]),
            allow_prune: chance.one_in(6),
            dry_run: chance.one_in(6),
            unreadable: chance.one_in(10),
        },
        42..=45 => Happening::Rollback {
            back: if yes { None } else { Some(chance.small(6)) },
            stale: chance.one_in(8),
            dry_run: chance.one_in(6),
        },
        46 => Happening::Inadmissible,
        47 | 48 => Happening::Suspend(yes),
        49 => Happening::Manual(yes),
        50 => Happening::Brake(yes),
        51 => Happening::AutomaticRollback(!chance.one_in(4)),
        52 => Happening::ReportDrift(chance.one_in(3)),
        53 => Happening::Edit,
        54 => {
            if chance.one_in(3) {
                Happening::MadeAgain
            } else {
                Happening::Edit
            }
        }
        55 | 56 => Happening::Drift,
        57 => Happening::Gone,
        58 => Happening::Neighbour { sick: yes },
        59 => Happening::Degrades,
        60 => Happening::Heals,
        61 => Happening::Watches { who, settled: yes },
        62 => Happening::Deaf { who, deaf: yes },
        _ => Happening::ContentLost { back: chance.small(5) },
    }
}

fn fate(chance: &mut Chance) -> Fate {
    match chance.below(16) {
        0..=5 => Fate::Healthy,
        6 | 7 => Fate::Slow(chance.pick(&[2, 100, 290, 600])),
        8..=10 => Fate::Hangs,
        11 => Fate::Refused,
        12 => Fate::Breaks,
        13 => Fate::Unanswered(chance.pick(&[1, 2, 4, u8::MAX])),
        14 => Fate::RefusedUntilTry(chance.pick(&[1, 2, 5])),
        _ => Fate::Degrades(chance.pick(&[5, 200, 400])),
    }
}

fn controller(who: Who) -> &'static str {
    if who == 0 { "the first controller" } else { "the second controller" }
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let back = |back: u8| match back {
            0 => "the newest release".to_owned(),
            back => format!("the release {back} before the newest"),
        };
        match *self {
            Self::Push { content, fate, late } => {
                let late = if late { ", heard of late" } else { "" };
                write!(f, "push {} ({fate}{late})", name(content))
            }
            Self::PushBroken => f.write_str("push something that cannot be rendered"),
            Self::PushGuarded { content } => write!(f, "push {} (a guard refuses it)", name(content)),
            Self::Poll => f.write_str("poll"),
            Self::Fate { content, fate } => write!(f, "from now on {} {fate}", name(content)),
            Self::Pass { seconds } => write!(f, "{seconds} s pass"),
            Self::Jump { seconds } if seconds < 0 => write!(f, "the clock is set back by {} s", -seconds),
            Self::Jump { seconds } => write!(f, "the clock is set forward by {seconds} s"),
            Self::Restart(who) => write!(f, "restart of {}", controller(who)),
            Self::Trap { who, writes, trap } => {
                let what = match trap {
                    Trap::DiesBefore => "it dies before",
                    Trap::DiesAfter => "it dies right after",
                    Trap::NotReached => "the server is not reached by",
                    Trap::AnswerLost => "there is no answer to",
                };
                write!(f, "{}: {what} write {} from here", controller(who), writes + 1)
            }
            Self::LeaseMoves { in_flight } => {
                write!(f, "the lease goes to the other, with {in_flight} things of the old leader in flight")
            }
            Self::Sync { accept, allow_prune, dry_run, unreadable } => {
                f.write_str(if dry_run { "a dry run of a sync" } else { "a sync is asked for" })?;
                match accept {
                    Accept::Nothing => {}
                    Accept::Head => f.write_str(", accepting the head")?,
                    Accept::Content(content) => write!(f, ", accepting {}", name(content))?,
                }
                f.write_str(if allow_prune { ", allowing the pruning" } else { "" })?;
                f.write_str(if unreadable { ", and the repository cannot be read" } else { "" })
            }
            Self::Rollback { back: to, stale, dry_run } => {
                f.write_str(if dry_run { "a dry run of a rollback" } else { "a rollback is asked for" })?;
                if let Some(to) = to {
                    write!(f, " to {}", back(to))?;
                }
                f.write_str(if stale { ", by somebody who looked before the newest release" } else { "" })
            }
            Self::Inadmissible => f.write_str("a sync is asked for by somebody who may not"),
            Self::Suspend(suspended) => f.write_str(if suspended { "suspend" } else { "resume" }),
            Self::Manual(manual) => write!(f, "sync.mode is {}", if manual { "Manual" } else { "Automatic" }),
            Self::Brake(pulled) => {
                write!(f, "{}", if pulled { "many other applications break" } else { "the others are healthy again" })
            }
            Self::AutomaticRollback(on) => write!(f, "rollback.automatic is {on}"),
            Self::ReportDrift(report) => write!(f, "sync.drift is {}", if report { "Report" } else { "Repair" }),
            Self::Edit => f.write_str("the spec is edited"),
            Self::MadeAgain => f.write_str("the Application is deleted and made again"),
            Self::Drift => f.write_str("an object is changed by hand"),
            Self::Gone => f.write_str("an object is deleted by hand"),
            Self::Neighbour { sick } => {
                write!(f, "an object that nothing changes is {}", if sick { "unhealthy" } else { "healthy" })
            }
            Self::Degrades => f.write_str("what is live degrades"),
            Self::Heals => f.write_str("what is live gets healthy"),
            Self::Watches { who, settled } => {
                write!(f, "the watches of {} are {}", controller(who), if settled { "in sync" } else { "not in sync" })
            }
            Self::Deaf { who, deaf } => {
                let how = if deaf { "come late from now on" } else { "are there, all at once" };
                write!(f, "the events of {} {how}", controller(who))
            }
            Self::ContentLost { back: of } => write!(f, "the content of {} cannot be read any more", back(of)),
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.happening.fmt(f)?;
        match self.pace {
            None => Ok(()),
            Some(0) => f.write_str("; and at once"),
            Some(1) => f.write_str("; and after one more thing was done"),
            Some(pace) => write!(f, "; and after {pace} more things were done"),
        }
    }
}

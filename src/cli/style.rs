//! Colour, as decoration only: everything reads the same without it.

use anstyle::{AnsiColor, Style};

use crate::{
    api::{Phase, SyncStatus},
    health::HealthStatus,
    plan::Verb,
};

fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

const fn color(color: AnsiColor) -> Style {
    Style::new().fg_color(Some(anstyle::Color::Ansi(color)))
}

/// What the eye should find first.
pub fn bold(text: &str) -> String {
    paint(Style::new().bold(), text)
}

/// What can be passed over.
pub fn dim(text: &str) -> String {
    paint(Style::new().dimmed(), text)
}

/// As it should be.
pub fn good(text: &str) -> String {
    paint(color(AnsiColor::Green), text)
}

/// On its way, or in need of a look.
pub fn warn(text: &str) -> String {
    paint(color(AnsiColor::Yellow), text)
}

/// Broken.
pub fn bad(text: &str) -> String {
    paint(color(AnsiColor::Red).bold(), text)
}

/// A word that leads a line.
pub fn accent(text: &str) -> String {
    paint(color(AnsiColor::Cyan), text)
}

/// A way to decorate a text.
pub type Paint = fn(&str) -> String;

/// A text as it is.
pub fn plain(text: &str) -> String {
    text.to_owned()
}

/// The colour of a sync status.
pub fn of_sync(sync: SyncStatus) -> Paint {
    match sync {
        SyncStatus::Synced => good,
        SyncStatus::Failed => bad,
        SyncStatus::Syncing | SyncStatus::OutOfSync | SyncStatus::Held | SyncStatus::Suspended => warn,
        SyncStatus::Unknown => dim,
    }
}

/// The colour of a health.
pub fn of_health(health: HealthStatus) -> Paint {
    match health {
        HealthStatus::Healthy => good,
        HealthStatus::Progressing | HealthStatus::Suspended => warn,
        HealthStatus::Degraded | HealthStatus::Missing => bad,
        HealthStatus::Unknown => dim,
    }
}

/// The colour of a phase.
pub fn of_phase(phase: Phase) -> Paint {
    match phase {
        Phase::Healthy => good,
        Phase::Failed => bad,
        Phase::Superseded => dim,
        Phase::Pending | Phase::Applying | Phase::Waiting => warn,
    }
}

/// The colour of an action.
pub fn of_verb(verb: Verb) -> Paint {
    match verb {
        Verb::Create => good,
        Verb::Update | Verb::Adopt | Verb::Replace => warn,
        Verb::Delete | Verb::Refuse => bad,
        Verb::Leave => dim,
    }
}

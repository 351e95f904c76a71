//! What an application waits for, in words.

use super::decide::{Dependency, Unready};

/// How many of those that are waited for are named.
const NAMED: usize = 3;

/// `database (Syncing, Progressing) and cache (does not exist)`.
pub(super) fn waiting_words(waiting: &[Dependency]) -> String {
    let mut words: Vec<String> = waiting.iter().take(NAMED).map(dependency_words).collect();
    let more = waiting.len().saturating_sub(NAMED);
    if more > 0 {
        words.push(format!("{more} more"));
    }
    let last = words.pop().unwrap_or_default();
    if words.is_empty() { last } else { format!("{} and {last}", words.join(", ")) }
}

fn dependency_words(dependency: &Dependency) -> String {
    let why = match &dependency.why {
        Unready::Missing => "does not exist".to_owned(),
        Unready::Leaving => "is being deleted".to_owned(),
        Unready::NotLookedAt => "has not been looked at yet".to_owned(),
        Unready::Behind { commit } => format!("has not looked at {commit} yet"),
        Unready::NotReady { sync, health } => format!("{sync}, {health}"),
    };
    format!("{} ({why})", dependency.name)
}

/// `dependsOn leads in a circle: shop → database → shop`.
pub(super) fn circle_words(path: &[String]) -> String {
    format!("dependsOn leads in a circle: {}", path.join(" → "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api::SyncStatus, health::HealthStatus};

    #[test]
    fn what_is_waited_for_is_named_with_why() {
        let unready = [
            Unready::NotReady { sync: SyncStatus::Syncing, health: HealthStatus::Progressing },
            Unready::Missing,
            Unready::Behind { commit: "4f1c2d9".into() },
            Unready::NotLookedAt,
            Unready::Leaving,
        ];
        let names = ["database", "cache", "queue", "mail", "search"];
        let all: Vec<Dependency> =
            names.iter().zip(unready).map(|(name, why)| Dependency { name: (*name).to_owned(), why }).collect();
        let words: Vec<String> = [&all[..1], &all[1..3], &all[2..], &all].into_iter().map(waiting_words).collect();
        insta::assert_snapshot!(words.join("\n"), @r"
        database (Syncing, Progressing)
        cache (does not exist) and queue (has not looked at 4f1c2d9 yet)
        queue (has not looked at 4f1c2d9 yet), mail (has not been looked at yet) and search (is being deleted)
        database (Syncing, Progressing), cache (does not exist), queue (has not looked at 4f1c2d9 yet) and 2 more
        ");
        let path: Vec<String> = ["shop", "database", "shop"].map(str::to_owned).to_vec();
        insta::assert_snapshot!(circle_words(&path), @"dependsOn leads in a circle: shop → database → shop");
    }
}

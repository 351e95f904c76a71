//! What an application waits for: the others that it names in `dependsOn`.

use crate::{api::SyncStatus, health::HealthStatus};

/// How the applications stand that this one depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Dependencies {
    /// It depends on none, or each is Synced and Healthy at its own head.
    #[default]
    Met,
    /// These are not ready yet.
    Waiting(Vec<Dependency>),
    /// It depends on itself, by this path: `a`, `b`, `a`.
    Circle(Vec<String>),
}

impl Dependencies {
    /// Whether new content may go ahead by itself.
    pub fn are_met(&self) -> bool {
        *self == Self::Met
    }
}

/// An application that is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// Its name.
    pub name: String,
    /// Why it is waited for.
    pub why: Unready,
}

/// Why an application is not ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unready {
    /// There is no Application of this name.
    Missing,
    /// It is being deleted.
    Leaving,
    /// No controller has looked at it, or not since its spec was changed.
    NotLookedAt,
    /// It follows the same branch and has not looked at this commit yet, so
    /// that what is said of it is about an older one.
    Behind {
        /// The commit, in short.
        commit: String,
    },
    /// It is not Synced, or not Healthy.
    NotReady {
        /// How it stands to what Git says.
        sync: SyncStatus,
        /// Its health.
        health: HealthStatus,
    },
}

/// The path by which an application depends on itself, if it does: the first
/// one that is found in the order in which dependencies are named. An
/// application that only leads to a circle is not part of it.
pub fn circle(name: &str, depends_on: impl Fn(&str) -> Vec<String>) -> Option<Vec<String>> {
    // Each application is looked at once, so that it ends on any graph; the
    // path is kept beside what is still to be looked at, so that no depth of
    // dependencies needs a stack.
    let mut seen = std::collections::BTreeSet::from([name.to_owned()]);
    let mut path = vec![name.to_owned()];
    let mut ahead = vec![depends_on(name).into_iter()];
    while let Some(next) = ahead.last_mut() {
        match next.next() {
            None => {
                ahead.pop();
                path.pop();
            }
            Some(next) if next == name => {
                path.push(next);
                return Some(path);
            }
            Some(next) => {
                if seen.insert(next.clone()) {
                    ahead.push(depends_on(&next).into_iter());
                    path.push(next);
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    /// `a: b c; b: a` as a function.
    fn graph(text: &str) -> impl Fn(&str) -> Vec<String> {
        let edges: std::collections::BTreeMap<String, Vec<String>> = text
            .split(';')
            .filter_map(|line| line.split_once(':'))
            .map(|(name, names)| (name.trim().to_owned(), names.split_whitespace().map(str::to_owned).collect()))
            .collect();
        move |name| edges.get(name).cloned().unwrap_or_default()
    }

    #[rstest]
    #[case::alone("", None)]
    #[case::a_line("a: b; b: c", None)]
    #[case::a_diamond("a: b c; b: d; c: d", None)]
    #[case::of_itself("a: a", Some("a a"))]
    #[case::of_two("a: b; b: a", Some("a b a"))]
    #[case::behind_a_dead_end("a: b c; b: d; c: a", Some("a c a"))]
    #[case::of_three("a: b; b: c; c: a", Some("a b c a"))]
    #[case::a_circle_elsewhere_is_not_its_own("a: b; b: c; c: b", None)]
    #[case::through_one_that_is_on_another("a: b; b: c; c: b a", Some("a b c a"))]
    fn a_circle_is_found_with_its_path(#[case] edges: &str, #[case] expected: Option<&str>) {
        assert_eq!(circle("a", graph(edges)).map(|path| path.join(" ")).as_deref(), expected);
    }

    #[test]
    fn a_deep_line_needs_no_stack() {
        let next = |name: &str| {
            let number: u32 = name.parse().unwrap_or_default();
            if number < 100_000 { vec![(number + 1).to_string()] } else { Vec::new() }
        };
        assert_eq!(circle("0", next), None);
    }

    proptest! {
        #[test]
        fn what_is_found_is_a_circle_and_none_is_missed(edges in prop::collection::vec((0..6_u8, 0..6_u8), 0..12)) {
            let next = |name: &str| -> Vec<String> {
                let of = edges.iter().filter(|(from, _)| from.to_string() == name);
                of.map(|(_, to)| to.to_string()).collect()
            };
            // Whether 0 is reached from 0, by growing the set of what is reached.
            let mut reached: std::collections::BTreeSet<String> = next("0").into_iter().collect();
            for _ in 0..6 {
                reached = reached.iter().flat_map(|name| next(name)).chain(reached.iter().cloned()).collect();
            }
            let found = circle("0", next);
            prop_assert_eq!(found.is_some(), reached.contains("0"));
            if let Some(path) = found {
                prop_assert!(path.windows(2).all(|step| next(&step[0]).contains(&step[1])), "{:?}", path);
                prop_assert!(path.first().map(String::as_str) == Some("0") && path.last() == path.first());
            }
        }
    }
}

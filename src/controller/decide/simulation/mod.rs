//! `decide` in a thousand lives: random histories of commits, failures, people
//! and broken machines, with laws that hold at every step.
//!
//! ```text
//! seed ──happening──> Vec<Moment> ──play──> two controllers, each with its own memory ──> cluster
//!                         ^                        laws at every decision and write ──> Broken
//!                         └──────────────shrink─────────────────────────────────────────┘
//! ```
//!
//! The controllers do what is decided as the actor does it, write by write, so
//! that a process may die, or be left without an answer, between any two. Two
//! of them share the cluster. One holds the lease; what the other has begun
//! while it led may still arrive, as far as the server's own preconditions let
//! it: a release is made once by its name, and a status is changed only as it
//! was read. Writes to objects need the lease.
//!
//! `cargo xtask simulate --histories 1000000` plays more of them; the same
//! seed always gives the same history.

mod chance;
mod cluster;
mod content;
mod controller;
mod deeds;
mod happening;
mod laws;
mod play;
mod shrink;

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use self::{chance::Chance, happening::Moment};

/// How many histories the ordinary test plays.
const HISTORIES: u64 = 5_000;
/// After how many histories those who wait are told.
const TOLD_EVERY: u64 = 50_000;

fn history(seed: u64) -> Vec<Moment> {
    happening::history(&mut Chance::new(seed))
}

/// The shortest story that breaks the law which the history of a seed breaks.
fn story(seed: u64) -> Option<String> {
    let moments = history(seed);
    let first = shrink::attempt(&moments)?;
    let shortest = shrink::shrink(&moments, first.law);
    let broken = shrink::attempt(&shortest).unwrap_or(first);
    let mut story = format!("the law \"{}\" is broken: {}\n", broken.law, broken.how);
    if broken.law != "nothing panics" {
        for line in play::play(&shortest, true).1 {
            let _ = writeln!(story, "  {line}");
        }
    }
    let _ = write!(story, "again: cargo xtask simulate --histories 1 --seed {seed}");
    Some(story)
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn the_laws_hold_in_all_histories() {
    let histories = number_from("BOWLINE_HISTORIES").unwrap_or(HISTORIES);
    let first = number_from("BOWLINE_SEED").unwrap_or_default();
    let (next, failed) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
    let stop = AtomicBool::new(false);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= histories {
                        return;
                    }
                    if number > 0 && number % TOLD_EVERY == 0 {
                        #[expect(clippy::print_stdout, reason = "a run of millions tells how far it is")]
                        {
                            println!("{number} of {histories} histories");
                        }
                    }
                    let seed = first.wrapping_add(number);
                    if shrink::attempt(&history(seed)).is_some() {
                        failed.fetch_min(seed, Ordering::Relaxed);
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let seed = failed.into_inner();
    assert!(seed == u64::MAX, "{}", story(seed).unwrap_or_default());
    assert!(next.into_inner() >= histories);
}

#[test]
fn the_same_seed_is_the_same_history() {
    assert_eq!(history(7), history(7));
    assert_ne!(history(7), history(8));
}

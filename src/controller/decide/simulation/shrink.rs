//! From a history that breaks a law to the shortest one that still does.

use super::{
    happening::{Happening, Moment},
    laws::Broken,
    play::play,
};

/// Leaves out all that can be left out.
pub(super) fn shrink(moments: &[Moment], law: &'static str) -> Vec<Moment> {
    let breaks = |moments: &[Moment]| attempt(moments).is_some_and(|broken| broken.law == law);
    let mut shortest = moments.to_vec();
    let mut width = shortest.len() / 2;
    while width > 0 {
        let mut at = 0;
        while at < shortest.len() {
            let mut shorter = shortest.clone();
            shorter.drain(at..(at + width).min(shorter.len()));
            if breaks(&shorter) {
                shortest = shorter;
            } else {
                at += width;
            }
        }
        width = if width == 1 && shortest.len() < moments.len() { 0 } else { width / 2 };
    }
    // Once more one by one, since what was needed before may not be now.
    for at in (0..shortest.len()).rev() {
        let mut shorter = shortest.clone();
        shorter.remove(at);
        if breaks(&shorter) {
            shortest = shorter;
        }
    }
    for at in 0..shortest.len() {
        for simpler in simpler(shortest[at]) {
            let mut changed = shortest.clone();
            changed[at] = simpler;
            if breaks(&changed) {
                shortest = changed;
                break;
            }
        }
    }
    shortest
}

/// Plays a history; a panic is a law broken too.
pub(super) fn attempt(moments: &[Moment]) -> Option<Broken> {
    let played = std::panic::catch_unwind(|| play(moments, false).0);
    match played {
        Ok(result) => result.err(),
        Err(_) => Some(Broken { law: "nothing panics", how: "see the panic above".into() }),
    }
}

fn simpler(moment: Moment) -> Vec<Moment> {
    let mut all = Vec::new();
    if moment.pace.is_some() {
        all.push(Moment { pace: None, ..moment });
    }
    if let Happening::Push { content, fate, late: true } = moment.happening {
        all.push(Moment { happening: Happening::Push { content, fate, late: false }, ..moment });
    }
    all
}

//! Small phrases for people: ages, lines, names that are nearly right.

use std::time::Duration;

use jiff::Timestamp;

pub use crate::controller::words::{count, duration};
use crate::manifest::escape_control;

/// How long ago, in its largest unit: `12s`, `3m`, `2h`, `6d`. What lies in
/// the future, by a clock that differs, is now.
pub fn age(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(then.as_second()).max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// The time between two moments, in its one or two largest units.
pub fn between(from: Timestamp, to: Timestamp) -> String {
    let milliseconds = to.as_millisecond().saturating_sub(from.as_millisecond()).max(0);
    let elapsed = Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0));
    // Below a minute a tenth of a second matters, above it does not.
    if elapsed < Duration::from_secs(10) && milliseconds % 1_000 != 0 {
        format!("{:.1}s", elapsed.as_secs_f64())
    } else {
        duration(Duration::from_secs(elapsed.as_secs())).replace("0ms", "0s")
    }
}

/// How long it is until a moment, rounded up, in whole seconds and from about
/// an hour on in whole minutes: what was asked for two hours ahead a moment ago
/// is two hours ahead.
pub fn left(now: Timestamp, until: Timestamp) -> String {
    let milliseconds = until.as_millisecond().saturating_sub(now.as_millisecond()).max(0);
    let seconds = u64::try_from(milliseconds.saturating_add(999) / 1_000).unwrap_or(0);
    let unit = if seconds > 3_540 { 60 } else { 1 };
    let seconds = seconds.div_ceil(unit) * unit;
    if seconds == 0 { "0s".to_owned() } else { duration(Duration::from_secs(seconds)) }
}

/// Foreign text as one line that cannot steer a terminal.
pub fn line(text: &str) -> String {
    let joined =
        text.split(['\n', '\r', '\t']).map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    escape_control(&joined).into_owned()
}

/// The same, cut short: at most so many characters.
pub fn short_line(text: &str, most: usize) -> String {
    let text = line(text);
    if text.chars().count() <= most {
        return text;
    }
    let mut cut: String = text.chars().take(most.saturating_sub(1)).collect();
    cut.truncate(cut.trim_end().len());
    cut + "…"
}

/// The names that are nearly like a word, the nearest first.
pub fn near<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let names: Vec<&str> = names.into_iter().collect();
    similar::get_close_matches(word, &names, 3, 0.6)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(-5, "0s")]
    #[case(12, "12s")]
    #[case(59, "59s")]
    #[case(185, "3m")]
    #[case(7_300, "2h")]
    #[case(86_399, "23h")]
    #[case(520_000, "6d")]
    fn an_age_is_one_number_with_its_unit(#[case] seconds: i64, #[case] expected: &str) {
        let now = Timestamp::constant(1_000_000_000, 0);
        let then = Timestamp::constant(1_000_000_000 - seconds, 0);
        assert_eq!(age(then, now), expected);
    }

    #[rstest]
    #[case(-1, "0s")]
    #[case(1, "1s")]
    #[case(59_001, "1m")]
    #[case(3_540_000, "59m")]
    #[case(3_599_000, "1h")]
    #[case(7_140_001, "2h")]
    #[case(7_200_000, "2h")]
    fn what_is_left_is_what_was_asked_for_a_moment_ago(#[case] milliseconds: i64, #[case] expected: &str) {
        let until = Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::MAX);
        assert_eq!(left(Timestamp::UNIX_EPOCH, until), expected);
    }

    #[rstest]
    #[case(0, "0s")]
    #[case(200, "0.2s")]
    #[case(4_100, "4.1s")]
    #[case(6_000, "6s")]
    #[case(12_400, "12s")]
    #[case(288_000, "4m48s")]
    fn a_span_is_as_exact_as_it_matters(#[case] milliseconds: i64, #[case] expected: &str) {
        let from = Timestamp::UNIX_EPOCH;
        let to = Timestamp::from_millisecond(milliseconds).unwrap_or(from);
        assert_eq!(between(from, to), expected);
    }

    #[rstest]
    #[case("a\nb\tc\r\n", "a b c")]
    #[case("\u{1b}[31mred", "\\u{1b}[31mred")]
    fn foreign_text_is_one_harmless_line(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(line(text), expected);
    }

    #[test]
    fn a_long_line_is_cut_at_a_character() {
        assert_eq!(short_line("ääää bbbb", 6), "ääää…");
        assert_eq!(short_line("short", 5), "short");
    }

    #[test]
    fn a_mistyped_name_finds_its_neighbours() {
        assert_eq!(near("shpo", ["billing", "shop", "shop-eu"]), ["shop"]);
        assert!(near("zzz", ["billing", "shop"]).is_empty());
    }
}

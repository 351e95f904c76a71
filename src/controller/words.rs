//! Small phrases for people: durations, counts.

use std::time::Duration;

/// A duration in its one or two largest units: `4m48s`, `2h`, `300ms`.
pub fn duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    if milliseconds < 1_000 {
        return format!("{milliseconds}ms");
    }
    let seconds = duration.as_secs();
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let mut text = String::new();
    let mut rest = seconds;
    let mut parts = 0;
    for (size, unit) in units {
        let number = rest / size;
        rest %= size;
        if number > 0 && parts < 2 {
            text.push_str(&format!("{number}{unit}"));
            parts += 1;
        } else if parts > 0 {
            // Only neighbouring units are joined: 2d3h, never 2d5s.
            break;
        }
    }
    text
}

/// `1 object`, `2 objects`.
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(0, "0ms")]
    #[case(300, "300ms")]
    #[case(1_000, "1s")]
    #[case(288_000, "4m48s")]
    #[case(300_000, "5m")]
    #[case(7_200_000, "2h")]
    #[case(7_205_000, "2h")]
    #[case(90_000_000, "1d1h")]
    fn durations_are_short(#[case] milliseconds: u64, #[case] text: &str) {
        assert_eq!(duration(Duration::from_millis(milliseconds)), text);
    }
}

//! Durations as people write them: `30s`, `5m`, `1h30m`.

use std::{borrow::Cow, fmt, str::FromStr, time};

use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A length of time, written with units: `500ms`, `30s`, `5m`, `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Duration(time::Duration);

/// Why a text is not a duration.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a duration such as 30s, 5m or 1h30m")]
pub struct NotADuration(String);

/// The longest duration that is counted with.
const LONGEST: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);

impl Duration {
    /// A duration of whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(time::Duration::from_secs(seconds))
    }

    /// A measured length of time, in whole milliseconds.
    pub fn measured(duration: time::Duration) -> Self {
        Self(time::Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// As the standard library's type.
    pub const fn get(self) -> time::Duration {
        self.0
    }

    /// As jiff's type, for arithmetic with timestamps.
    /// Ten years at most: beyond that no time of a calendar is left to add to.
    pub fn signed(self) -> SignedDuration {
        SignedDuration::try_from(self.0).unwrap_or(LONGEST).min(LONGEST)
    }
}

impl FromStr for Duration {
    type Err = NotADuration;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || NotADuration(text.to_owned());
        let mut rest = text;
        let mut total = time::Duration::ZERO;
        if rest.is_empty() {
            return Err(refuse());
        }
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let units = rest[digits..].bytes().take_while(u8::is_ascii_lowercase).count();
            let number: u64 = rest[..digits].parse().map_err(|_| refuse())?;
            let milliseconds = match &rest[digits..digits + units] {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                _ => return Err(refuse()),
            };
            let part = number.checked_mul(milliseconds).ok_or_else(refuse)?;
            total = total.checked_add(time::Duration::from_millis(part)).ok_or_else(refuse)?;
            rest = &rest[digits + units..];
        }
        Ok(Self(total))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.0.as_millis();
        let parts = [
            (milliseconds / 3_600_000, "h"),
            (milliseconds / 60_000 % 60, "m"),
            (milliseconds / 1_000 % 60, "s"),
            (milliseconds % 1_000, "ms"),
        ];
        if milliseconds == 0 {
            return f.write_str("0s");
        }
        parts.iter().filter(|(number, _)| *number > 0).try_for_each(|(number, unit)| write!(f, "{number}{unit}"))
    }
}

impl TryFrom<String> for Duration {
    type Error = NotADuration;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Duration> for String {
    fn from(duration: Duration) -> Self {
        duration.to_string()
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^([0-9]{1,9}(ms|s|m|h))+$", "maxLength": 32 })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("30s", Some(30_000))]
    #[case("1h30m", Some(5_400_000))]
    #[case("250ms", Some(250))]
    #[case("0s", Some(0))]
    #[case("", None)]
    #[case("5", None)]
    #[case("s", None)]
    #[case("-5s", None)]
    #[case("5 m", None)]
    #[case("1d", None)]
    #[case("99999999999999999999h", None)]
    #[case("5ä", None)]
    fn durations_are_read_or_refused(#[case] text: &str, #[case] milliseconds: Option<u128>) {
        let read = text.parse::<Duration>().ok();
        assert_eq!(read.map(|duration| duration.get().as_millis()), milliseconds);
        if let Some(duration) = read {
            assert_eq!(duration.to_string().parse::<Duration>().ok(), Some(duration));
        }
    }
}

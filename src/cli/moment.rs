//! Moments that a person names: a duration from now, a time, or a date.

use jiff::Timestamp;

/// A moment that has been: `2h` ago, a time as RFC 3339 has it, or the
/// beginning of a day in UTC.
pub fn past(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let at = match text.parse::<crate::api::Duration>() {
        Ok(ago) => now.checked_sub(ago.signed()).map_err(|error| error.to_string())?,
        Err(_) => time_or_date(text)?,
    };
    if at > now { Err(format!("{text} is in the future")) } else { Ok(at) }
}

/// A moment to come: `2h` from now, a time as RFC 3339 has it, or the beginning
/// of a day in UTC.
pub fn ahead(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let at = match text.parse::<crate::api::Duration>() {
        Ok(left) => now.checked_add(left.signed()).map_err(|error| error.to_string())?,
        Err(_) => time_or_date(text)?,
    };
    if at <= now { Err(format!("{text} is in the past")) } else { Ok(at) }
}

/// [`past`] for the command line.
pub fn parse_past(text: &str) -> Result<Timestamp, String> {
    past(text, Timestamp::now())
}

/// [`ahead`] for the command line.
pub fn parse_ahead(text: &str) -> Result<Timestamp, String> {
    ahead(text, Timestamp::now())
}

fn time_or_date(text: &str) -> Result<Timestamp, String> {
    let date = || format!("{text}T00:00:00Z").parse();
    text.parse::<Timestamp>().or_else(|_| date()).map_err(|_| {
        format!("`{text}` is neither a duration such as 2h nor a time such as 2027-01-31T18:00:00Z or 2027-01-31")
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const NO_TIME: &str =
        "`soon` is neither a duration such as 2h nor a time such as 2027-01-31T18:00:00Z or 2027-01-31";

    #[rstest]
    #[case("2h", Ok(-7_200), Ok(7_200))]
    #[case("1970-01-01T00:00:00Z", Ok(0), Err("1970-01-01T00:00:00Z is in the past"))]
    #[case("1969-12-31", Ok(-86_400), Err("1969-12-31 is in the past"))]
    #[case("1970-01-01T01:00:00Z", Err("1970-01-01T01:00:00Z is in the future"), Ok(3_600))]
    #[case("1970-01-02", Err("1970-01-02 is in the future"), Ok(86_400))]
    #[case("soon", Err(NO_TIME), Err(NO_TIME))]
    fn a_moment_is_a_duration_a_time_or_a_date(
        #[case] text: &str,
        #[case] been: Result<i64, &str>,
        #[case] to_come: Result<i64, &str>,
    ) {
        let seconds = |at: Result<Timestamp, String>| at.map(|at| at.as_second());
        assert_eq!(seconds(past(text, Timestamp::UNIX_EPOCH)), been.map_err(str::to_owned));
        assert_eq!(seconds(ahead(text, Timestamp::UNIX_EPOCH)), to_come.map_err(str::to_owned));
    }
}

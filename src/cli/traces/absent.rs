//! A build without the feature `otel`: it says so where traces are asked for.

use crate::telemetry::SpanLayer;

/// There is none.
pub(super) enum Exporter {}

pub(super) fn exporter(_identity: &str, _pod: Option<(String, String)>) -> Result<Option<Exporter>, String> {
    let Some(name) = asked_for(&|name| std::env::var(name).ok()) else { return Ok(None) };
    Err(format!(
        "{name} is set, and this build cannot; `cargo build --release --features otel` makes a program that can, and \
         `cargo xtask image --features otel` its image"
    ))
}

/// The variable that names a collector, unless traces are turned off.
fn asked_for(environment: &dyn Fn(&str) -> Option<String>) -> Option<&'static str> {
    let is = |name: &str, value: &str| environment(name).is_some_and(|found| found.trim().eq_ignore_ascii_case(value));
    let off = is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none");
    let names = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
    names.into_iter().find(|name| !off && environment(name).is_some_and(|value| !value.trim().is_empty()))
}

pub(super) fn layer(exporter: &Exporter) -> SpanLayer {
    match *exporter {}
}

pub(super) async fn end(exporter: Exporter) {
    match exporter {}
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const ALL: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");

    #[rstest]
    #[case(&[], None)]
    #[case(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")], None)]
    #[case(&[ALL], Some("OTEL_EXPORTER_OTLP_ENDPOINT"))]
    #[case(&[ALL, ("OTEL_TRACES_EXPORTER", "none")], None)]
    #[case(&[ALL, ("OTEL_SDK_DISABLED", "true")], None)]
    fn a_build_without_traces_knows_when_they_are_asked_for(
        #[case] variables: &[(&str, &str)],
        #[case] expected: Option<&str>,
    ) {
        let value = |name: &str| variables.iter().find(|(known, _)| *known == name);
        assert_eq!(asked_for(&|name| value(name).map(|(_, value)| (*value).to_owned())), expected);
    }
}

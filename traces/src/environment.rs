//! What OpenTelemetry's environment variables ask for. The SDK reads further
//! ones itself: headers, time-outs, the sampler, the size of the queue.

/// Reads an environment variable.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Where the traces of an exporter without a path of its own go.
const TRACES_PATH: &str = "/v1/traces";

/// Why nothing is exported although the environment asks for it.
#[derive(Debug, thiserror::Error)]
pub enum NotExported {
    /// Another exporter is named.
    #[error("OTEL_TRACES_EXPORTER is `{0}`, and `otlp` is the only exporter here")]
    Exporter(String),
    /// Another protocol is named.
    #[error("{name} is `{value}`, and `http/protobuf` is the only protocol here (port 4318 of most collectors)")]
    Protocol {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
    },
    /// The exporter cannot be set up as the variables say.
    #[error("the exporter of traces cannot be set up: {0}")]
    SetUp(String),
}

/// The URL that traces are posted to, if the environment names a collector and
/// does not turn traces off.
///
/// # Errors
/// Another exporter or protocol is asked for.
pub fn endpoint(environment: Environment<'_>) -> Result<Option<String>, NotExported> {
    let of = |name: &str| environment(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
    let endpoint = match (of("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), of("OTEL_EXPORTER_OTLP_ENDPOINT")) {
        (Some(traces), _) => traces,
        (None, Some(all)) => format!("{}{TRACES_PATH}", all.trim_end_matches('/')),
        (None, None) => return Ok(None),
    };
    if of("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Ok(None);
    }
    match of("OTEL_TRACES_EXPORTER").as_deref() {
        None | Some("otlp") => {}
        Some("none") => return Ok(None),
        Some(other) => return Err(NotExported::Exporter(other.to_owned())),
    }
    let named = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
    match named.into_iter().find_map(|name| Some((name, of(name)?))) {
        Some((name, value)) if value != "http/protobuf" => Err(NotExported::Protocol { name, value }),
        _ => Ok(Some(endpoint)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rstest::rstest;

    use super::*;

    const ALL: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");

    fn found(variables: &[(&str, &str)]) -> Result<Option<String>, NotExported> {
        let value = |name: &str| variables.iter().find(|(known, _)| *known == name);
        endpoint(&|name| value(name).map(|(_, value)| (*value).to_owned()))
    }

    #[rstest]
    #[case::nothing(&[], None)]
    #[case::empty(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")], None)]
    #[case::all_signals(&[ALL], Some("http://collector:4318/v1/traces"))]
    #[case::a_path(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://x/otlp")], Some("https://x/otlp/v1/traces"))]
    #[case::traces_as_they_are(&[ALL, ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t/x")], Some("http://t/x"))]
    #[case::off(&[ALL, ("OTEL_SDK_DISABLED", "TRUE")], None)]
    #[case::no_exporter(&[ALL, ("OTEL_TRACES_EXPORTER", "none")], None)]
    #[case::by_name(&[ALL, ("OTEL_TRACES_EXPORTER", "otlp"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")],
        Some("http://collector:4318/v1/traces"))]
    #[case::others_are_no_trouble_without_an_endpoint(&[("OTEL_TRACES_EXPORTER", "console")], None)]
    fn traces_go_where_an_endpoint_is_named(#[case] variables: &[(&str, &str)], #[case] expected: Option<&str>) {
        assert_eq!(found(variables).unwrap().as_deref(), expected);
    }

    #[rstest]
    #[case(("OTEL_TRACES_EXPORTER", "console"), "OTEL_TRACES_EXPORTER is `console`, and `otlp` is the only exporter here")]
    #[case(("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        "OTEL_EXPORTER_OTLP_PROTOCOL is `grpc`, and `http/protobuf` is the only protocol here (port 4318 of most collectors)")]
    fn what_cannot_be_done_is_said(#[case] variable: (&str, &str), #[case] message: &str) {
        assert_eq!(found(&[ALL, variable]).unwrap_err().to_string(), message);
    }

    #[test]
    fn the_protocol_of_traces_goes_before_that_of_all_signals() {
        let variables =
            [ALL, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf")];
        assert!(found(&variables).unwrap().is_some());
    }
}

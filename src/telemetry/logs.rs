//! Logs: JSON for machines, text for people; never a control character.

use std::io::{self, Write};

use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt as _, ParseError, filter_fn},
    fmt,
    fmt::MakeWriter,
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

use super::{SPANS, SpanLayer};

/// What is logged without a filter: ourselves, and only the troubles of others.
const DEFAULT_FILTER: &str = "warn,bowline=info";

/// The form of the logs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// JSON in a cluster, text elsewhere.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// One line a message, for people.
    Text,
}

impl LogFormat {
    /// Decides between JSON and text.
    pub fn is_json(self, terminal: bool, in_cluster: bool) -> bool {
        match self {
            Self::Auto => in_cluster && !terminal,
            Self::Json => true,
            Self::Text => false,
        }
    }
}

/// What is logged, and how.
#[derive(Debug, Clone, Default)]
pub struct LogOptions {
    /// The form.
    pub format: LogFormat,
    /// What is logged, as directives: `info`, `bowline=debug,kube=warn`.
    pub filter: Option<String>,
    /// Whether the writer is a terminal.
    pub terminal: bool,
    /// Whether the process runs in a cluster.
    pub in_cluster: bool,
}

/// Why logs could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not understood.
    #[error("log filter `{filter}` is not understood")]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong.
        #[source]
        source: ParseError,
    },
    /// Logs were set up before.
    #[error("logs are set up already")]
    Twice,
}

/// Sets the logs of the process up, and what takes up its spans, if anything
/// does. Logs go to the writer, a line in one write.
///
/// # Errors
/// The filter is not understood, or logs were set up before.
pub fn init<W>(options: &LogOptions, spans: Option<SpanLayer>, writer: W) -> Result<(), TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let set_up = match spans {
        None => subscriber(options, writer)?.try_init(),
        Some(spans) => subscriber_with_spans(options, spans, writer)?.try_init(),
    };
    set_up.map_err(|_| TelemetryError::Twice)
}

/// The logs alone, for a part of a process.
///
/// # Errors
/// The filter is not understood.
pub fn subscriber<W>(options: &LogOptions, writer: W) -> Result<impl Subscriber + Send + Sync + 'static, TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    Ok(tracing_subscriber::registry().with(layer(options, writer)?))
}

/// The logs, and what takes up spans, for a part of a process.
///
/// # Errors
/// The filter is not understood.
pub fn subscriber_with_spans<W>(
    options: &LogOptions,
    spans: SpanLayer,
    writer: W,
) -> Result<impl Subscriber + Send + Sync + 'static, TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    Ok(tracing_subscriber::registry().with(spans).with(layer(options, writer)?))
}

fn layer<S, W>(options: &LogOptions, writer: W) -> Result<Box<dyn Layer<S> + Send + Sync>, TelemetryError>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let directives = options.filter.as_deref().map(str::trim).filter(|filter| !filter.is_empty());
    let directives = directives.unwrap_or(DEFAULT_FILTER);
    let filter = EnvFilter::builder()
        .parse(directives)
        .map_err(|source| TelemetryError::Filter { filter: directives.to_owned(), source })?;
    let lines = fmt::layer().with_ansi(false).with_writer(OneLine(writer));
    let lines: Box<dyn Layer<S> + Send + Sync> = match options.format.is_json(options.terminal, options.in_cluster) {
        true => lines.json().flatten_event(true).boxed(),
        false => lines.with_target(false).boxed(),
    };
    // Spans of traces would lengthen each line by what it says itself.
    Ok(lines.with_filter(filter.and(filter_fn(|metadata| metadata.target() != SPANS))).boxed())
}

/// Writes each message as one line: control characters of what a user wrote
/// would steer a terminal, and a line feed would forge a message. The library
/// escapes those of colour codes and leaves the rest.
struct OneLine<W>(W);

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for OneLine<W> {
    type Writer = OneLineWriter<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        OneLineWriter(self.0.make_writer())
    }

    fn make_writer_for(&'a self, metadata: &tracing::Metadata<'_>) -> Self::Writer {
        OneLineWriter(self.0.make_writer_for(metadata))
    }
}

struct OneLineWriter<W>(W);

impl<W: Write> Write for OneLineWriter<W> {
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        self.0.write_all(escaped(&String::from_utf8_lossy(message)).as_bytes())?;
        Ok(message.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn escaped(message: &str) -> String {
    let (message, end) = match message.strip_suffix('\n') {
        Some(message) => (message, "\n"),
        None => (message, ""),
    };
    let mut line = String::with_capacity(message.len() + 1);
    for character in message.chars() {
        if is_unsafe(character) {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line.push_str(end);
    line
}

/// Control characters, and those that turn the direction of text around.
fn is_unsafe(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::{Arc, Mutex};

    use rstest::rstest;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Sink {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(options: &LogOptions, log: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = subscriber(options, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, log);
        sink.text()
    }

    fn options(format: LogFormat) -> LogOptions {
        LogOptions { format, filter: Some("info".into()), ..LogOptions::default() }
    }

    #[rstest]
    #[case(LogFormat::Auto, true, false, false)]
    #[case(LogFormat::Auto, true, true, false)]
    #[case(LogFormat::Auto, false, true, true)]
    #[case(LogFormat::Auto, false, false, false)]
    #[case(LogFormat::Json, true, false, true)]
    #[case(LogFormat::Text, false, true, false)]
    fn the_form_follows_the_place(
        #[case] format: LogFormat,
        #[case] terminal: bool,
        #[case] in_cluster: bool,
        #[case] json: bool,
    ) {
        assert_eq!(format.is_json(terminal, in_cluster), json);
    }

    #[rstest]
    #[case(LogFormat::Text)]
    #[case(LogFormat::Json)]
    fn nothing_of_a_users_text_reaches_a_terminal_raw(#[case] format: LogFormat) {
        let hostile = "\u{1b}[2J\u{7}\u{9b}31m\r\nINFO forged \u{202e}txt\u{0}";
        let out = logged(&options(format), || {
            tracing::info!(subject = hostile, shown = %hostile, debugged = ?hostile, "{hostile}");
        });
        assert_eq!(out.matches('\n').count(), 1, "{out:?}");
        assert!(out.ends_with('\n'));
        assert!(!out.trim_end_matches('\n').chars().any(is_unsafe), "{out:?}");
        assert!(out.contains("forged"));
    }

    #[test]
    fn json_is_one_object_a_line() {
        let out = logged(&options(LogFormat::Json), || tracing::warn!(application = "team-a/shop", "cannot \"read\""));
        let value: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(value["application"], "team-a/shop");
        assert_eq!(value["message"], "cannot \"read\"");
        assert_eq!(value["level"], "WARN");
    }

    #[rstest]
    #[case(LogFormat::Text)]
    #[case(LogFormat::Json)]
    fn spans_of_traces_are_in_no_log_whoever_takes_them_up(#[case] format: LogFormat) {
        let loud = LogOptions { filter: Some("trace".into()), ..options(format) };
        let within = |spans: bool| {
            let sink = Sink::default();
            let writer = sink.clone();
            // Takes up all spans there are.
            let layer: SpanLayer = Box::new(tracing_subscriber::layer::Identity::new());
            let subscriber = subscriber_with_spans(&loud, layer, move || writer.clone()).unwrap();
            tracing::subscriber::with_default(subscriber, || {
                let _application = tracing::info_span!("application", name = "shop").entered();
                let _plan = spans.then(|| tracing::info_span!(target: SPANS, "plan", secret = "x").entered());
                tracing::info!("planned");
            });
            let text = sink.text();
            // All but the time.
            text.split_once('Z').map(|(_, rest)| rest.to_owned()).unwrap()
        };
        assert_eq!(within(true), within(false));
        assert!(within(true).contains("application"), "other spans are");
    }

    #[test]
    fn ordinary_text_is_left_alone() {
        assert_eq!(escaped("Grüße, 世界 \"x\" \\ ok\n"), "Grüße, 世界 \"x\" \\ ok\n");
    }

    #[test]
    fn without_a_filter_others_are_heard_only_in_trouble() {
        let quiet = LogOptions { filter: None, ..options(LogFormat::Text) };
        let out = logged(&quiet, || {
            tracing::info!(target: "hyper", "chatter");
            tracing::info!(target: "bowline", "ours");
            tracing::warn!(target: "hyper", "trouble");
        });
        assert!(!out.contains("chatter") && out.contains("ours") && out.contains("trouble"), "{out}");
    }

    #[test]
    fn a_filter_that_is_not_understood_is_an_error_that_names_it() {
        let wrong = LogOptions { filter: Some("bowline=loud".into()), ..LogOptions::default() };
        let error = subscriber(&wrong, io::sink).err().unwrap();
        assert_eq!(error.to_string(), "log filter `bowline=loud` is not understood");
    }
}

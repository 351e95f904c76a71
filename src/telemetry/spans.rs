//! Spans of the work, of which traces are made where they are exported.

use tracing_subscriber::{Layer, Registry};

/// Target of the spans that traces are made of. They are of the level INFO and
/// in no log: an event looks there as if it were not in them. Where nobody
/// exports them, one costs as much as looking at a number.
pub const SPANS: &str = "bowline::spans";

/// Attribute of a span that is made when its work is over: how many
/// microseconds before that it began. Whoever exports spans puts its beginning
/// back.
pub const EARLIER: &str = "bowline.earlier";

/// Attribute of such a span whose work was over earlier still: how many
/// microseconds that took.
pub const TOOK: &str = "bowline.took";

/// What takes up the spans of [`SPANS`], under the logs.
pub type SpanLayer = Box<dyn Layer<Registry> + Send + Sync>;

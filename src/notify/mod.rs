//! What leaves to the outside: word of what happened, to a server of people's
//! choice, questions to a Prometheus-compatible one, and spans to a collector
//! of OpenTelemetry.
//!
//! ```text
//! Letter ──sign──> one POST, again with back-off ──> Delivery
//! ```
//!
//! What comes here never speaks to an API server, a Git repository or an
//! application's objects. It is told what to say, by whom and where to, and
//! chooses nothing: what is worth saying is worked out by the controller. A
//! failure here never holds up a release. Which servers an application may
//! name is bounded by [`Reach`]; of their answers only the values of a query are
//! ever shown.

mod access;
mod collector;
mod courier;
mod exchange;
mod letter;
mod prometheus;
mod reach;
mod signature;

pub use access::{Access, NotUsable};
pub use collector::Collector;
pub use courier::{Courier, Delivery, KeyRing, Place};
pub use exchange::ExchangeError;
pub use letter::{About, Letter};
pub use prometheus::{Inquirer, QueryError, Series, as_result};
pub use reach::{NotATarget, NotReachable, Reach, Target};
pub use signature::{Key, NotAKey};

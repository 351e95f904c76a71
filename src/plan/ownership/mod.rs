//! Who owns which field of a live object, read from its `managedFields`.
//!
//! A server-side apply leaves an entry that lists the fields it set. What this
//! module makes of the entries: the fields that an application owns and their
//! values ([`owned_values`]), a hash of them that a watch event is compared by
//! ([`fingerprint`]), and what people added beside them ([`added_by_hand`]).
//!
//! Entries that are malformed are read as far as they can be; nothing here
//! asks a server or fails.

mod by_hand;
mod entry;
mod field_set;
mod fingerprint;
mod hand_over;
mod migrate;
mod path;
#[cfg(test)]
mod recorded;
mod server_set;
mod taken;
#[cfg(test)]
mod tests;

pub(crate) use by_hand::{APPLICATIONS, KUBECTL_APPLY, is_person};
pub use by_hand::{ByHand, added_by_hand};
pub(crate) use entry::{Entry, entries, same_place};
pub use entry::{
    LostField, ManagedValues, OwnedValue, entry_api_version, entry_of, lost_fields, managed_values, managers_at,
    owned_values, same_place_of,
};
pub use field_set::{Element, FieldSet};
pub(crate) use fingerprint::by_hand_counting;
pub use fingerprint::fingerprint;
pub use hand_over::handed_over;
pub use migrate::{former_managers, without_entries};
pub(crate) use path::{PeoplePath, pointer_of, tokens_of};
pub use taken::{TakenField, taken_fields};

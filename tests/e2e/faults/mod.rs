//! What goes wrong between the controller and the API server, and how long it
//! takes until the cluster is right again.
//!
//! Each story is the same but for the fault: while it is on, commits are
//! pushed, a person asks for a rollback, an object is edited by hand and
//! another is deleted. Then the fault ends, and what is to be seen in the end
//! is what would be seen had there been none.

mod stories;
mod story;

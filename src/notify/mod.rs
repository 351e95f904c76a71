//! What leaves to the outside: webhooks, commit statuses, chat.
//!
//! Nothing leaves yet, and the module is empty: the API has no field that asks
//! for it. What comes here speaks to servers of people's choice and never to an
//! API server, a Git repository or an application's objects; it learns what
//! happened from the events and resources of `api`, and a failure here never
//! holds up a release.

//! Propose, conclude: what an apply will do, as data.

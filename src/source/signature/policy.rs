//! What is asked of keys of all kinds, and how their times are said.

use jiff::{Timestamp, tz::TimeZone};

/// The smallest RSA key that counts, in bits: NIST SP 800-131A rev. 2 allows
/// no shorter one for signatures.
pub(super) const RSA_BITS: usize = 2048;

/// The largest RSA key that is read, in bits: checking takes the longer, the
/// longer the key is.
pub(super) const RSA_BITS_READ: usize = 4096;

/// Why an RSA key of some length does not count.
pub(super) fn rsa(bits: usize) -> Result<(), String> {
    if bits < RSA_BITS {
        Err(format!("it is an RSA key of {bits} bits, and keys of less than {RSA_BITS} bits are too weak"))
    } else if bits > RSA_BITS_READ {
        Err(format!("it is an RSA key of {bits} bits, and keys of more than {RSA_BITS_READ} bits are not read"))
    } else {
        Ok(())
    }
}

/// A time as people read it: `2026-01-31 12:00:00 UTC`.
pub(super) fn moment(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

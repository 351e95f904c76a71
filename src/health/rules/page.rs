//! The reference of all rules, for `docs/health.md`.

use super::RuleError;

/// TODO
pub fn reference_page() -> Result<String, RuleError> {
    Ok(String::new())
}

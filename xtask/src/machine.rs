//! Making a machine that is thrown away afterwards quick for the tests.

use std::path::Path;

/// Whether programs get huge pages without asking for them.
const HUGE_PAGES: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// Gives all programs huge pages. In a virtual machine within another, walking
/// the tables of small pages can take most of the time of etcd and of the API
/// server, which do not ask for huge ones.
pub(crate) fn make_quick() {
    match give_huge_pages(Path::new(HUGE_PAGES)) {
        Ok(None) => {}
        Ok(Some(before)) => eprintln!("transparent huge pages: {before} -> always, until the machine is started again"),
        Err(why) => eprintln!("transparent huge pages stay as they are: {why}"),
    }
}

/// The setting before, where it was another.
fn give_huge_pages(file: &Path) -> std::io::Result<Option<String>> {
    let settings = std::fs::read_to_string(file)?;
    let before = settings.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'));
    if before == Some("always") {
        return Ok(None);
    }
    std::fs::write(file, "always")?;
    Ok(Some(before.unwrap_or("unknown").to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::give_huge_pages;

    #[test]
    fn what_is_set_already_is_left_and_what_was_set_is_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[always] madvise never\n").unwrap();
        assert_eq!(give_huge_pages(file.path()).unwrap(), None);
        std::fs::write(file.path(), "always [madvise] never\n").unwrap();
        assert_eq!(give_huge_pages(file.path()).unwrap().as_deref(), Some("madvise"));
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "always");
        assert!(give_huge_pages(&file.path().join("nowhere")).is_err());
    }
}

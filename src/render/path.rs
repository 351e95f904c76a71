//! Paths within a repository: relative to its root, separated by `/`, clean.

/// The directory as a clean path: `.` for the root, else without `./`, empty
/// parts and a slash at the end. `None` where it leaves the repository.
pub(super) fn normalise(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => return None,
            part => parts.push(part),
        }
    }
    if path.starts_with('/') {
        return None;
    }
    Some(if parts.is_empty() { ".".to_owned() } else { parts.join("/") })
}

/// The path relative to a directory, if it is below it.
pub(super) fn below<'a>(directory: &str, path: &'a str) -> Option<&'a str> {
    if directory == "." { Some(path) } else { path.strip_prefix(directory)?.strip_prefix('/') }
}

/// A directory and a path below it as one; either may be empty.
pub(super) fn join(directory: &str, path: &str) -> String {
    match (directory, path) {
        ("", path) => path.to_owned(),
        (directory, "") => directory.to_owned(),
        (directory, path) => format!("{directory}/{path}"),
    }
}

/// A path that is written in a file of a directory, from the root of the
/// repository; none where it leaves it.
pub(super) fn relative_to(directory: &str, path: &str) -> Option<String> {
    if path.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = directory.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The path that a link at a path leads to; none where it leaves the repository.
pub(super) fn resolve(link: &str, target: &str) -> Option<String> {
    relative_to(link.rsplit_once('/').map_or("", |(directory, _)| directory), target)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("", Some("."))]
    #[case(".", Some("."))]
    #[case("./deploy//web/", Some("deploy/web"))]
    #[case("a/../b", None)]
    #[case("/etc", None)]
    fn a_path_is_cleaned_and_stays_within(#[case] path: &str, #[case] expected: Option<&str>) {
        assert_eq!(normalise(path).as_deref(), expected);
    }

    #[rstest]
    #[case("a/link.yaml", "../b.yaml", Some("b.yaml"))]
    #[case("a/link.yaml", "c/./d.yaml", Some("a/c/d.yaml"))]
    #[case("link.yaml", "../out.yaml", None)]
    #[case("link.yaml", "/etc/passwd", None)]
    fn a_link_is_resolved_within_the_repository(
        #[case] link: &str,
        #[case] target: &str,
        #[case] expected: Option<&str>,
    ) {
        assert_eq!(resolve(link, target).as_deref(), expected);
    }

    #[rstest]
    #[case("overlays/prod", "../../base", Some("base"))]
    #[case("", "./a.yaml", Some("a.yaml"))]
    #[case("a", "../..", None)]
    #[case("a", "/etc/passwd", None)]
    fn a_written_path_is_relative_to_its_directory(
        #[case] directory: &str,
        #[case] path: &str,
        #[case] expected: Option<&str>,
    ) {
        assert_eq!(relative_to(directory, path).as_deref(), expected);
    }
}

//! Which application an object says that it belongs to.

use std::{fmt, sync::Arc};

/// The key of an application: its namespace and name. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OwnerKey(Arc<str>);

impl OwnerKey {
    /// Makes a key.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self(format!("{namespace}/{name}").into())
    }

    /// Reads `<namespace>/<name>`, the form of the annotation
    /// `bowline.dev/application`; `None` where it has another form.
    pub fn parse(text: &str) -> Option<Self> {
        let (namespace, name) = text.split_once('/')?;
        (!namespace.is_empty() && !name.is_empty() && !name.contains('/')).then(|| Self(text.into()))
    }

    /// Namespace of the Application.
    pub fn namespace(&self) -> &str {
        self.0.split_once('/').map_or("", |(namespace, _)| namespace)
    }

    /// Name of the Application.
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, name)| name)
    }

    /// `<namespace>/<name>`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OwnerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for OwnerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("team-a/shop", Some(("team-a", "shop")))]
    #[case("shop", None)]
    #[case("/shop", None)]
    #[case("team-a/", None)]
    #[case("a/b/c", None)]
    #[case("", None)]
    fn the_annotation_is_read_or_refused(#[case] text: &str, #[case] expected: Option<(&str, &str)>) {
        let key = OwnerKey::parse(text);
        assert_eq!(key.as_ref().map(|key| (key.namespace(), key.name())), expected);
    }
}

//! Images of containers, by their names.
//!
//! Where images are follows Kustomize's image transformer: the containers of
//! any object that has a list of them, whatever its kind, but not the schema
//! of a definition.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

/// Fields whose items run an image.
const CONTAINERS: &[&str] = &["containers", "initContainers", "ephemeralContainers"];

/// Another name, tag or digest for an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageOverride {
    /// The image as the files name it, without tag and digest.
    pub name: String,
    /// The name in its place; the same if it is not given.
    pub new_name: Option<String>,
    /// The tag in its place; it takes a digest away.
    pub new_tag: Option<String>,
    /// The digest in its place; it takes a tag away.
    pub digest: Option<String>,
}

impl ImageOverride {
    /// What becomes of an image, if it is the one that is meant.
    fn of(&self, image: &str) -> Option<String> {
        let rest = image.strip_prefix(self.name.as_str())?;
        if !(rest.is_empty() || is_tag_or_digest(rest)) {
            return None;
        }
        let name = self.new_name.as_deref().unwrap_or(&self.name);
        Some(match (&self.digest, &self.new_tag) {
            (Some(digest), _) => format!("{name}@{digest}"),
            (None, Some(tag)) => format!("{name}:{tag}"),
            (None, None) => format!("{name}{rest}"),
        })
    }
}

/// `:1.2`, `@sha256:…` or both: what follows a name that has ended. A colon
/// before a slash is that of a port.
fn is_tag_or_digest(rest: &str) -> bool {
    !rest.contains('/') && rest.starts_with([':', '@'])
}

/// Replaces the images of an object, and notes which were met.
pub(super) fn replace(object: &mut Value, images: &[ImageOverride], met: &mut BTreeSet<usize>) {
    let is_definition = object.get("kind").and_then(Value::as_str) == Some("CustomResourceDefinition");
    if !images.is_empty() && !is_definition {
        walk(object, images, met);
    }
}

fn walk(value: &mut Value, images: &[ImageOverride], met: &mut BTreeSet<usize>) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, images, met)),
        Value::Object(fields) => {
            for (name, field) in fields {
                match (name.as_str(), field) {
                    (name, Value::Array(items)) if CONTAINERS.contains(&name) => {
                        items.iter_mut().filter_map(|item| item.get_mut("image")).for_each(|at| set(at, images, met));
                        items.iter_mut().for_each(|item| walk(item, images, met));
                    }
                    ("volumes", Value::Array(items)) => {
                        let mounted = items.iter_mut().filter_map(|item| item.pointer_mut("/image/reference"));
                        mounted.for_each(|at| set(at, images, met));
                    }
                    (_, field) => walk(field, images, met),
                }
            }
        }
        _ => {}
    }
}

fn set(at: &mut Value, images: &[ImageOverride], met: &mut BTreeSet<usize>) {
    let Value::String(image) = at else { return };
    for (index, wanted) in images.iter().enumerate() {
        if let Some(replaced) = wanted.of(image) {
            *image = replaced;
            met.insert(index);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn wanted(new_name: Option<&str>, new_tag: Option<&str>, digest: Option<&str>) -> ImageOverride {
        let text = |text: Option<&str>| text.map(str::to_owned);
        ImageOverride {
            name: "shop/web".into(),
            new_name: text(new_name),
            new_tag: text(new_tag),
            digest: text(digest),
        }
    }

    #[rstest]
    #[case::tag("shop/web:1", wanted(None, Some("2"), None), Some("shop/web:2"))]
    #[case::no_tag_yet("shop/web", wanted(None, Some("2"), None), Some("shop/web:2"))]
    #[case::a_tag_takes_the_digest("shop/web:1@sha256:ab", wanted(None, Some("2"), None), Some("shop/web:2"))]
    #[case::a_digest_takes_the_tag("shop/web:1", wanted(None, None, Some("sha256:cd")), Some("shop/web@sha256:cd"))]
    #[case::a_name_keeps_the_tag(
        "shop/web:1",
        wanted(Some("mirror.example:5000/web"), None, None),
        Some("mirror.example:5000/web:1")
    )]
    #[case::a_name_keeps_the_digest("shop/web@sha256:ab", wanted(Some("w"), None, None), Some("w@sha256:ab"))]
    #[case::name_and_tag("shop/web:1", wanted(Some("w"), Some("2"), None), Some("w:2"))]
    #[case::longer_name("shop/web-admin:1", wanted(None, Some("2"), None), None)]
    #[case::below_it("shop/web/admin:1", wanted(None, Some("2"), None), None)]
    #[case::a_host_with_a_port("shop/web:5000/x:1", wanted(None, Some("2"), None), None)]
    #[case::elsewhere("example.com/shop/web:1", wanted(None, Some("2"), None), None)]
    #[case::nothing("", wanted(None, Some("2"), None), None)]
    fn an_image_is_known_by_its_whole_name(
        #[case] image: &str,
        #[case] wanted: ImageOverride,
        #[case] expected: Option<&str>,
    ) {
        assert_eq!(wanted.of(image).as_deref(), expected);
    }

    #[test]
    fn images_are_replaced_wherever_containers_are_and_nowhere_else() {
        let mut object = json!({
            "kind": "Rollout",
            "data": {"image": "shop/web:1"},
            "spec": {"template": {"spec": {
                "initContainers": [{"image": "shop/web:1"}],
                "containers": [{"image": "other:1"}, {"image": "shop/web"}, {"name": "none"}, {"image": 7}],
                "ephemeralContainers": [{"image": "shop/web:1"}],
                "volumes": [{"name": "v", "image": {"reference": "shop/web:1"}}],
            }}},
        });
        let mut met = BTreeSet::new();
        let unmet = ImageOverride { name: "nowhere".into(), ..ImageOverride::default() };
        replace(&mut object, &[unmet, wanted(None, Some("2"), None)], &mut met);
        assert_eq!(
            object,
            json!({
                "kind": "Rollout",
                "data": {"image": "shop/web:1"},
                "spec": {"template": {"spec": {
                    "initContainers": [{"image": "shop/web:2"}],
                    "containers": [{"image": "other:1"}, {"image": "shop/web:2"}, {"name": "none"}, {"image": 7}],
                    "ephemeralContainers": [{"image": "shop/web:2"}],
                    "volumes": [{"name": "v", "image": {"reference": "shop/web:2"}}],
                }}},
            })
        );
        assert_eq!(met, [1].into());
    }

    #[test]
    fn the_schema_of_a_definition_has_no_images() {
        let schema = json!({"kind": "CustomResourceDefinition", "spec": {"containers": [{"image": "shop/web:1"}]}});
        let mut object = schema.clone();
        replace(&mut object, &[wanted(None, Some("2"), None)], &mut BTreeSet::new());
        assert_eq!(object, schema);
    }
}

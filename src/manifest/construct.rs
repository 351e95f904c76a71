//! A value into a manifest: what every object must have, with all that is
//! wrong.

use serde_json::{Map, Value};

use super::{
    FieldLines, GroupVersionKind, Manifest, ObjectId, Origin, Problem,
    canonical::{canonical_with_faults, manifest_digest, named, segment},
    yaml::Positions,
};

/// Whether objects of a kind live in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// One for the whole cluster.
    Cluster,
    /// In a namespace.
    Namespaced,
}

impl Manifest {
    /// Makes a manifest of a value, with the canonical form and its digest. An
    /// object of a namespaced kind that names no namespace gets the default
    /// one, or stays without where there is none.
    ///
    /// # Errors
    /// The first problem of the object; [`Manifest::read`] gives all.
    pub fn from_value(
        value: Value,
        default_namespace: Option<&str>,
        scope: Scope,
        origin: Option<Origin>,
    ) -> Result<Self, Problem> {
        let file = origin.as_ref().map(|origin| origin.file.clone()).unwrap_or_default();
        Self::read(value, default_namespace, scope, origin, None).map_err(|problems| {
            problems.into_iter().next().unwrap_or_else(|| Problem::in_file(file, "is not a Kubernetes object"))
        })
    }

    /// As [`Manifest::from_value`], with all problems, at the positions of the
    /// values that they are about.
    ///
    /// # Errors
    /// All problems of the object.
    pub fn read(
        value: Value,
        default_namespace: Option<&str>,
        scope: Scope,
        origin: Option<Origin>,
        positions: Option<&Positions>,
    ) -> Result<Self, Vec<Problem>> {
        let (manifest, faults) = Self::read_with_faults(value, default_namespace, scope, origin, positions)?;
        if faults.is_empty() { Ok(manifest) } else { Err(faults) }
    }

    /// As [`Manifest::read`], but what leaves a manifest all the same (values of
    /// the data of a Secret or ConfigMap that the API server would refuse, a
    /// namespace that it would drop) comes beside it: for commands that show
    /// what a file says.
    ///
    /// # Errors
    /// All problems of the object, if there is one that leaves no manifest.
    pub fn read_with_faults(
        value: Value,
        default_namespace: Option<&str>,
        scope: Scope,
        origin: Option<Origin>,
        positions: Option<&Positions>,
    ) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let mut check = Check { origin: origin.as_ref(), positions, problems: Vec::new(), faults: Vec::new() };
        if let Some(message) = foreign(&value) {
            let hint = "exclude the file (render.exclude, --exclude), or move it out of the directory";
            check.problem("", message.to_owned(), Some(hint));
            return Err(check.problems);
        }
        let gvk = check.gvk(&value);
        let identity = check.metadata(&value, gvk.as_ref(), default_namespace, scope);
        let fatal = check.problems.len();
        check.problems.append(&mut check.faults);
        let canonical = gvk.as_ref().and_then(|gvk| canonical_with_faults(value, gvk).ok());
        for fault in canonical.iter().flat_map(|(_, faults)| faults) {
            // What is wrong with the metadata is known already.
            if fault.pointer() != "/metadata" {
                check.problem(fault.pointer(), fault.to_string(), fault.hint());
            }
        }
        let problems = check.problems;
        match (gvk, identity, canonical) {
            (Some(gvk), Some((namespace, name)), Some((mut value, _))) if fatal == 0 => {
                set_namespace(&mut value, namespace.as_deref());
                let origin = origin.map(|origin| with_lines(origin, &value, positions));
                let digest = manifest_digest(&value);
                let id = ObjectId::new(gvk.group_kind(), namespace, name);
                Ok((Self { id, gvk, value: value.into(), digest, origin }, problems))
            }
            _ => Err(problems),
        }
    }
}

/// The origin, with the lines of the fields where they are known.
fn with_lines(mut origin: Origin, value: &Value, positions: Option<&Positions>) -> Origin {
    if let (Some(positions), Some(begin)) = (positions, origin.position) {
        origin.lines = FieldLines::new(value, positions, begin);
    }
    origin
}

/// The type of an object, where it has a valid one. For everything that is
/// wrong with it, see [`Manifest::read`].
pub fn gvk_of(value: &Value) -> Option<GroupVersionKind> {
    GroupVersionKind::from_api_version(value.get("apiVersion")?.as_str()?, value.get("kind")?.as_str()?)
}

/// What a mapping is that nobody meant as an object of the cluster: a file of
/// values or settings, a part of a kustomization.
fn foreign(value: &Value) -> Option<&'static str> {
    let fields = value.as_object()?;
    if ["apiVersion", "kind", "metadata"].iter().all(|field| !fields.contains_key(*field)) {
        return Some("is not a Kubernetes object: it has no apiVersion, kind and metadata");
    }
    let group = fields.get("apiVersion")?.as_str()?.split_once('/')?.0;
    (group == "kustomize.config.k8s.io").then_some("is a part of a kustomization, and no object of a cluster")
}

struct Check<'a> {
    origin: Option<&'a Origin>,
    positions: Option<&'a Positions>,
    problems: Vec<Problem>,
    /// What leaves a manifest all the same.
    faults: Vec<Problem>,
}

/// Namespace and name.
type Identity = (Option<String>, String);

impl Check<'_> {
    fn gvk(&mut self, value: &Value) -> Option<GroupVersionKind> {
        if !value.is_object() {
            self.problem("", "is not a Kubernetes object: it must be a mapping".to_owned(), None);
            return None;
        }
        let api_version = self.text(value.get("apiVersion"), "/apiVersion");
        let kind = self.text(value.get("kind"), "/kind");
        let (api_version, kind) = (api_version?, kind?);
        let gvk = GroupVersionKind::from_api_version(&api_version, &kind);
        let is_word = |text: &str| !text.contains(|letter: char| letter.is_whitespace() || letter.is_control());
        if !is_word(&kind) {
            self.problem("/kind", format!("kind {kind:?} is not valid"), None);
            return None;
        }
        if gvk.is_none() || !is_word(&api_version) {
            let hint = "it is a version (v1) or a group and a version (apps/v1)";
            self.problem("/apiVersion", format!("apiVersion {api_version:?} is not valid"), Some(hint));
            return None;
        }
        gvk
    }

    fn metadata(
        &mut self,
        value: &Value,
        gvk: Option<&GroupVersionKind>,
        default_namespace: Option<&str>,
        scope: Scope,
    ) -> Option<Identity> {
        let metadata = match value.get("metadata") {
            Some(Value::Object(metadata)) => metadata,
            _ if !value.is_object() => return None,
            None | Some(Value::Null) => {
                self.problem("/metadata", "metadata is missing".to_owned(), Some("give the object a metadata.name"));
                return None;
            }
            Some(_) => {
                self.problem("/metadata", "metadata must be a mapping".to_owned(), None);
                return None;
            }
        };
        self.texts(metadata, "labels", label_fault);
        self.texts(metadata, "annotations", |_| None);
        let name = self.name(metadata, gvk);
        let namespace = self.namespace(metadata, gvk, default_namespace, scope);
        Some((namespace?, name?))
    }

    fn name(&mut self, metadata: &Map<String, Value>, gvk: Option<&GroupVersionKind>) -> Option<String> {
        let pointer = "/metadata/name";
        let absent = matches!(metadata.get("name"), None | Some(Value::Null));
        if absent && metadata.get("generateName").is_some_and(|name| !name.is_null()) {
            let hint = "each apply would make another object; give it a metadata.name";
            self.problem("/metadata/generateName", "metadata.generateName is not supported".to_owned(), Some(hint));
            return None;
        }
        let name = self.text(metadata.get("name"), pointer)?;
        match name_fault(&name, gvk) {
            None => Some(name),
            Some(fault) => {
                self.problem(pointer, format!("metadata.name {name:?} is not valid"), Some(fault));
                None
            }
        }
    }

    /// The effective namespace; `None` after a problem.
    fn namespace(
        &mut self,
        metadata: &Map<String, Value>,
        gvk: Option<&GroupVersionKind>,
        default_namespace: Option<&str>,
        scope: Scope,
    ) -> Option<Option<String>> {
        let pointer = "/metadata/namespace";
        let own = match metadata.get("namespace") {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if text.is_empty() => None,
            value => Some(self.text(value, pointer)?),
        };
        match (scope, own) {
            (Scope::Cluster, None) => Some(None),
            (Scope::Cluster, Some(_)) => {
                let kind = gvk.map_or_else(|| "an object".to_owned(), |gvk| gvk.kind.clone());
                let message = format!("{kind} is not namespaced and cannot have metadata.namespace");
                // The API server drops it, as the canonical form does.
                self.problem(pointer, message, Some("remove metadata.namespace"));
                self.faults.extend(self.problems.pop());
                Some(None)
            }
            (Scope::Namespaced, None) => Some(default_namespace.map(str::to_owned)),
            (Scope::Namespaced, Some(namespace)) if is_dns_label(&namespace) => Some(Some(namespace)),
            (Scope::Namespaced, Some(namespace)) => {
                let hint = "at most 63 lower-case letters, digits and `-`, with a letter or digit first and last";
                self.problem(pointer, format!("metadata.namespace {namespace:?} is not valid"), Some(hint));
                None
            }
        }
    }

    /// Labels or annotations: a mapping of texts.
    fn texts(&mut self, metadata: &Map<String, Value>, field: &str, fault: impl Fn(&str) -> Option<&'static str>) {
        let pointer = format!("/metadata/{field}");
        let values = match metadata.get(field) {
            None | Some(Value::Null) => return,
            Some(Value::Object(values)) => values,
            Some(_) => return self.problem(&pointer, format!("metadata.{field} must be a mapping"), None),
        };
        for (key, value) in values {
            let pointer = format!("{pointer}{}", segment(key));
            match value {
                Value::String(text) => {
                    if let Some(hint) = fault(text) {
                        self.problem(
                            &pointer,
                            format!("the value of metadata.{field}[{key:?}] is not valid"),
                            Some(hint),
                        );
                    }
                }
                _ => {
                    let found = kind_of(value);
                    let hint =
                        if value.is_null() { "write \"\" for an empty value" } else { "quote it to make it text" };
                    self.problem(&pointer, format!("metadata.{field}[{key:?}] must be text, not {found}"), Some(hint));
                }
            }
        }
    }

    /// A text that must be there.
    fn text(&mut self, value: Option<&Value>, pointer: &str) -> Option<String> {
        match value {
            Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
            None | Some(Value::Null | Value::String(_)) => {
                self.problem(pointer, format!("{} is missing", named(pointer)), None);
                None
            }
            Some(value) => {
                let message = format!("{} must be text, not {}", named(pointer), kind_of(value));
                self.problem(pointer, message, Some("quote it to make it text"));
                None
            }
        }
    }

    fn problem(&mut self, pointer: &str, message: String, hint: Option<&str>) {
        let file = self.origin.map(|origin| origin.file.clone()).unwrap_or_default();
        let mut problem = Problem::in_file(file, message);
        problem.position = match self.positions {
            Some(positions) => Some(positions.nearest(pointer)),
            None => self.origin.and_then(|origin| origin.position),
        };
        problem.hint = hint.map(str::to_owned);
        self.problems.push(problem);
    }
}

fn set_namespace(value: &mut Value, namespace: Option<&str>) {
    if let Some(Value::Object(metadata)) = value.get_mut("metadata") {
        match namespace {
            Some(namespace) => metadata.insert("namespace".to_owned(), Value::String(namespace.to_owned())),
            None => metadata.remove("namespace"),
        };
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

/// What a name must be, if it is not. Most kinds want a DNS subdomain, namespaces
/// and services a label of one; access rules and certificate requests anything
/// that can stand in a path.
fn name_fault(name: &str, gvk: Option<&GroupVersionKind>) -> Option<&'static str> {
    let path_segment = gvk.is_some_and(|gvk| {
        matches!(
            gvk.group.as_str(),
            "rbac.authorization.k8s.io"
                | "certificates.k8s.io"
                | "apiregistration.k8s.io"
                | "internal.apiserver.k8s.io"
        )
    });
    if path_segment {
        let fits = !matches!(name, "." | "..") && !name.contains(['/', '%']);
        return (!fits).then_some("it cannot be `.` or `..`, and has no `/` and no `%`");
    }
    if gvk.is_some_and(|gvk| gvk.group.is_empty() && matches!(gvk.kind.as_str(), "Namespace" | "Service")) {
        let hint = "at most 63 lower-case letters, digits and `-`, with a letter or digit first and last";
        return (!is_dns_label(name)).then_some(hint);
    }
    let fits = name.len() <= 253 && name.split('.').all(is_label_of_any_length);
    (!fits).then_some("at most 253 lower-case letters, digits, `-` and `.`, with a letter or digit first and last")
}

/// Whether a text can name a namespace.
pub(crate) fn is_dns_label(text: &str) -> bool {
    text.len() <= 63 && is_label_of_any_length(text)
}

fn is_label_of_any_length(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// What a label's value must be, if it is not.
fn label_fault(text: &str) -> Option<&'static str> {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let edge = |byte: Option<u8>| byte.is_none_or(|byte| byte.is_ascii_alphanumeric());
    let fits = text.len() <= 63 && text.bytes().all(inner) && edge(text.bytes().next()) && edge(text.bytes().last());
    (!fits).then_some("at most 63 letters, digits, `-`, `_` and `.`, with a letter or digit first and last")
}

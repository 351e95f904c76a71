//! The requests by which objects are written: one apply, one delete, one patch
//! that drops, each with what must still hold.

use http::Method;
use serde_json::{Value, json};

use crate::{
    cluster::{
        Identity, RequestError,
        client::{Call, path},
        discovery::ServedKind,
    },
    manifest::ObjectId,
    plan::{Precondition, Propagation},
};

const APPLY: &str = "application/apply-patch+yaml";
const JSON_PATCH: &str = "application/json-patch+json";
const JSON: &str = "application/json";

/// A resourceVersion that no stored object has: the first revision of a store
/// is spent before it holds an object. An apply with it creates the object, or
/// is refused with a conflict where there is one. Without it an apply would
/// change what is there before its status 200 tells.
const CREATE_ONLY: &str = "1";

/// How much of a name is kept for a trial: a label's length with room for more.
const TRIAL_NAME: usize = 40;

/// Whether a request changes the cluster, or only asks what it would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cluster) enum Mode {
    Write,
    DryRun,
}

/// Where an object is, and on whose behalf it is asked for.
#[derive(Debug, Clone, Copy)]
pub(in crate::cluster) struct Target<'a> {
    pub(in crate::cluster) id: &'a ObjectId,
    pub(in crate::cluster) served: &'a ServedKind,
    pub(in crate::cluster) identity: &'a Identity,
}

impl<'a> Target<'a> {
    fn path(&self) -> Result<String, RequestError> {
        let namespace = match (self.served.namespaced, &self.id.namespace) {
            (true, Some(namespace)) => Some(namespace.as_str()),
            (false, None) => None,
            (true, None) => {
                return Err(RequestError::unsendable(format!("{} lives in a namespace, and none is given", self.id)));
            }
            (false, Some(_)) => {
                return Err(RequestError::unsendable(format!(
                    "{} does not live in a namespace: leave it out",
                    self.id
                )));
            }
        };
        path::object(&self.served.resource, namespace, &self.id.name)
    }

    fn is_secret(&self) -> bool {
        self.id.group.is_empty() && self.id.kind == "Secret"
    }

    /// Reads the object.
    pub(in crate::cluster) fn get(&self) -> Result<Call<'a>, RequestError> {
        Ok(Call::get(self.path()?, self.identity).secret(self.is_secret()))
    }

    /// Applies `body`. Without a uid in `precondition` it creates, and only
    /// creates.
    pub(in crate::cluster) fn apply(
        &self,
        manager: &str,
        body: &Value,
        precondition: &Precondition,
        force: bool,
        mode: Mode,
    ) -> Result<Call<'a>, RequestError> {
        let mut body = body.clone();
        let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) else {
            return Err(RequestError::unsendable(format!("{} has no metadata", self.id)));
        };
        match precondition {
            Precondition { uid: Some(uid), resource_version: Some(version) } => {
                metadata.insert("uid".into(), json!(uid));
                metadata.insert("resourceVersion".into(), json!(version));
            }
            Precondition { uid: None, resource_version: None } => {
                metadata.remove("uid");
                metadata.insert("resourceVersion".into(), json!(CREATE_ONLY));
            }
            // A uid alone does not tell of a change, a version alone creates
            // what is gone: either would be half a precondition.
            _ => return Err(RequestError::unsendable(format!("the plan for {} has half a precondition", self.id))),
        }
        let mut query = vec![("fieldManager", manager), ("fieldValidation", "Strict")];
        query.push(("force", if force { "true" } else { "false" }));
        if mode == Mode::DryRun {
            query.push(("dryRun", "All"));
        }
        let path = path::with_query(&self.path()?, &query);
        Ok(Call::write(Method::PATCH, path, self.identity, APPLY, &body).secret(self.is_secret()))
    }

    /// Asks what would come of making the object anew, under a name that is
    /// free: its own is taken by the object that is to be deleted first.
    pub(in crate::cluster) fn try_under_another_name(
        &self,
        manager: &str,
        body: &Value,
    ) -> Result<Call<'a>, RequestError> {
        let mut body = body.clone();
        let kept: String = self.id.name.chars().take(TRIAL_NAME).collect();
        let name = format!("{}-trial", kept.trim_end_matches(['-', '.']));
        if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("name".into(), json!(name));
        }
        let namespace = self.id.namespace.as_deref().filter(|_| self.served.namespaced);
        let path = path::collection(&self.served.resource, namespace)?;
        let query = [("fieldManager", manager), ("fieldValidation", "Strict"), ("dryRun", "All")];
        let path = path::with_query(&path, &query);
        Ok(Call::write(Method::POST, path, self.identity, JSON, &body).secret(self.is_secret()))
    }

    /// Deletes the object of that uid, and what it owns as `propagation` says.
    pub(in crate::cluster) fn delete(
        &self,
        precondition: &Precondition,
        propagation: Propagation,
        mode: Mode,
    ) -> Result<Call<'a>, RequestError> {
        let Some(uid) = &precondition.uid else {
            return Err(RequestError::unsendable(format!("the plan deletes {} without a uid", self.id)));
        };
        let mut preconditions = json!({ "uid": uid });
        if let Some(version) = &precondition.resource_version {
            preconditions["resourceVersion"] = json!(version);
        }
        let mut options = json!({
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "preconditions": preconditions,
            // Said always: the default of Jobs leaves their pods behind.
            "propagationPolicy": propagation.as_str(),
        });
        if mode == Mode::DryRun {
            options["dryRun"] = json!(["All"]);
        }
        Ok(Call::write(Method::DELETE, self.path()?, self.identity, JSON, &options).secret(self.is_secret()))
    }

    /// Writes who owns which field, and nothing else, if the object is still at
    /// `version`.
    pub(in crate::cluster) fn set_managed_fields(
        &self,
        manager: &str,
        managed_fields: &Value,
        version: &str,
    ) -> Result<Call<'a>, RequestError> {
        let operations = json!([
            { "op": "replace", "path": "/metadata/resourceVersion", "value": version },
            { "op": "replace", "path": "/metadata/managedFields", "value": managed_fields },
        ]);
        let path = path::with_query(&self.path()?, &[("fieldManager", manager), ("fieldValidation", "Strict")]);
        Ok(Call::write(Method::PATCH, path, self.identity, JSON_PATCH, &operations).secret(self.is_secret()))
    }

    /// Removes fields, and leaves just these managed fields where there are
    /// some, in one write, if the object is still at `version`.
    pub(in crate::cluster) fn drop_fields(
        &self,
        manager: &str,
        pointers: &[String],
        managed_fields: Option<&[Value]>,
        version: &str,
    ) -> Result<Call<'a>, RequestError> {
        // A `replace` of the version makes a change in between a plain 409,
        // where `test` would give an unspecific 422.
        let mut operations = vec![json!({ "op": "replace", "path": "/metadata/resourceVersion", "value": version })];
        operations.extend(
            managed_fields.map(|kept| json!({ "op": "replace", "path": "/metadata/managedFields", "value": kept })),
        );
        let removals = removal_order(pointers);
        operations.extend(removals.into_iter().map(|path| json!({ "op": "remove", "path": path })));
        let path = path::with_query(&self.path()?, &[("fieldManager", manager), ("fieldValidation", "Strict")]);
        Ok(Call::write(Method::PATCH, path, self.identity, JSON_PATCH, &Value::Array(operations))
            .secret(self.is_secret()))
    }
}

/// Pointers in an order in which no removal moves a later one: what stands
/// last in a list goes first, and children go before their parents. A pointer
/// below another one is left out, since it goes with it.
fn removal_order(pointers: &[String]) -> Vec<String> {
    let mut parsed: Vec<(Vec<Step<'_>>, &String)> =
        pointers.iter().map(|pointer| (pointer.split('/').skip(1).map(Step::of).collect(), pointer)).collect();
    parsed.sort();
    parsed.dedup();
    let mut kept: Vec<(Vec<Step<'_>>, &String)> = Vec::new();
    for (steps, pointer) in parsed {
        // Sorted, a parent comes right before what is below it.
        if kept.last().is_none_or(|(parent, _)| !steps.starts_with(parent)) {
            kept.push((steps, pointer));
        }
    }
    kept.into_iter().rev().map(|(_, pointer)| pointer.clone()).collect()
}

/// One step of a pointer; numbers are ordered as numbers.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Step<'a> {
    Index(u64),
    Name(&'a str),
}

impl<'a> Step<'a> {
    fn of(text: &'a str) -> Self {
        text.parse().map_or(Self::Name(text), Self::Index)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use kube::discovery::ApiResource;

    use super::*;

    fn config_maps() -> ServedKind {
        ServedKind {
            resource: ApiResource {
                group: String::new(),
                version: "v1".into(),
                api_version: "v1".into(),
                kind: "ConfigMap".into(),
                plural: "configmaps".into(),
            },
            namespaced: true,
            verbs: Vec::new(),
            has_status: false,
        }
    }

    fn with_target<T>(test: impl FnOnce(Target<'_>) -> T) -> T {
        let id = ObjectId::new(crate::manifest::GroupKind::new("", "ConfigMap"), Some("a".into()), "b");
        let served = config_maps();
        test(Target { id: &id, served: &served, identity: &Identity::Own })
    }

    fn sent(call: &Call<'_>) -> Value {
        serde_json::from_slice(&call.body.as_ref().unwrap().1).unwrap()
    }

    #[test]
    fn a_create_carries_a_version_that_no_object_has() {
        with_target(|target| {
            let body = json!({"metadata": {"name": "b"}});
            let call = target.apply("bowline/a/b", &body, &Precondition::default(), true, Mode::Write).unwrap();
            assert_eq!(sent(&call), json!({"metadata": {"name": "b", "resourceVersion": "1"}}));
            assert_eq!(
                call.path,
                "/api/v1/namespaces/a/configmaps/b?fieldManager=bowline%2Fa%2Fb&fieldValidation=Strict&force=true"
            );
        });
    }

    #[test]
    fn an_update_carries_uid_and_version_and_never_only_one() {
        with_target(|target| {
            let body = json!({"metadata": {"name": "b"}});
            let both = Precondition { uid: Some("u".into()), resource_version: Some("7".into()) };
            let call = target.apply("m", &body, &both, true, Mode::DryRun).unwrap();
            assert_eq!(sent(&call), json!({"metadata": {"name": "b", "uid": "u", "resourceVersion": "7"}}));
            assert!(call.path.ends_with("&dryRun=All"));
            let half = Precondition { uid: Some("u".into()), resource_version: None };
            assert!(target.apply("m", &body, &half, true, Mode::Write).is_err());
            let half = Precondition { uid: None, resource_version: Some("7".into()) };
            assert!(target.apply("m", &body, &half, true, Mode::Write).is_err());
        });
    }

    #[test]
    fn a_delete_without_a_uid_is_not_sent() {
        with_target(|target| {
            assert!(target.delete(&Precondition::default(), Propagation::Background, Mode::Write).is_err());
            let precondition = Precondition { uid: Some("u".into()), resource_version: None };
            let call = target.delete(&precondition, Propagation::Foreground, Mode::Write).unwrap();
            assert_eq!(sent(&call)["preconditions"], json!({"uid": "u"}));
            assert_eq!(sent(&call)["propagationPolicy"], "Foreground");
        });
    }

    #[test]
    fn fields_are_dropped_from_the_end_and_children_go_with_their_parents() {
        let pointers: Vec<String> = [
            "/spec/containers/0/env/2",
            "/spec/containers/0/env/10",
            "/spec/containers/1",
            "/spec/containers/1/image",
            "/metadata/annotations/a~1b",
            "/spec/containers/0/env/2",
        ]
        .map(String::from)
        .to_vec();
        assert_eq!(
            removal_order(&pointers),
            [
                "/spec/containers/1",
                "/spec/containers/0/env/10",
                "/spec/containers/0/env/2",
                "/metadata/annotations/a~1b"
            ]
        );
    }
}

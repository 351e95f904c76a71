//! Patches, carried out by the real Kustomize on the objects that they are for.

use std::{collections::HashMap, ffi::OsStr};

use serde::Serialize;
use serde_json::{Value, json};

use super::target::{Matcher, Target, identity};
use crate::{
    manifest::{
        Problem,
        yaml::{self, read_documents},
    },
    render::{RenderType, flatten::Object, programs::Programs, workspace::Workspace},
};

/// Where an object was before, on its way through the program.
const PLACE: &str = "internal.bowline.dev/place";
/// The objects on their way to the program.
const OBJECTS: &str = "objects.yaml";

/// A strategic merge patch, or a list of JSON 6902 operations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Patch {
    /// The patch as YAML or JSON.
    pub patch: String,
    /// The objects that it is for; without it, those that the patch names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
}

/// Changes objects by patches.
///
/// # Errors
/// All patches that cannot be read or are for nothing; else what Kustomize
/// complains of.
pub(in crate::render) fn patch(
    objects: &mut Vec<Object>,
    patches: &[Patch],
    programs: &Programs,
    limits: &yaml::Limits,
) -> Result<(), Vec<Problem>> {
    if patches.is_empty() {
        return Ok(());
    }
    let mut problems = Vec::new();
    let mut chosen = vec![false; objects.len()];
    let identities: Vec<[&str; 5]> = objects.iter().map(|object| identity(&object.value)).collect();
    for (index, patch) in patches.iter().enumerate() {
        let problem = |message: String| Problem::in_file(place_of(index), message);
        match patch.matchers(index, limits) {
            Err(problem) => problems.push(problem),
            Ok(wanted) => {
                for (matcher, words) in wanted {
                    let mut any = false;
                    for (chosen, identity) in chosen.iter_mut().zip(&identities) {
                        let selected = is_whole(identity) && matcher.selects(identity);
                        *chosen |= selected;
                        any |= selected;
                    }
                    if !any {
                        let words = if words.is_empty() { "it is for".to_owned() } else { words };
                        let hint = "the target is compared with the objects as the files have them";
                        problems.push(problem(format!("there is no object to patch: {words}")).hint(hint));
                    }
                }
            }
        }
    }
    // What is there twice is told of when the objects are put together.
    let mut seen = HashMap::new();
    let twice = identities.iter().any(|identity| is_whole(identity) && seen.insert(identity, ()).is_some());
    if !problems.is_empty() {
        return Err(problems);
    }
    if twice {
        return Ok(());
    }
    let chosen = chosen.iter().enumerate().filter(|(_, chosen)| **chosen).map(|(place, _)| place).collect::<Vec<_>>();
    carry_out(objects, &chosen, patches, programs, limits)
}

/// Whether an object has a name to be patched by.
fn is_whole(identity: &[&str; 5]) -> bool {
    let [_, version, kind, name, _] = identity;
    ![version, kind, name].iter().any(|text| text.is_empty())
}

fn place_of(index: usize) -> String {
    format!("spec.render.patches[{index}]")
}

impl Patch {
    /// What the patch is for, with words for each.
    fn matchers(&self, index: usize, limits: &yaml::Limits) -> Result<Vec<(Matcher, String)>, Problem> {
        let problem = |message: String| Problem::in_file(place_of(index), message);
        let (documents, problems) = read_documents(&place_of(index), self.patch.as_bytes(), limits);
        if let Some(problem) = problems.into_iter().next() {
            return Err(problem);
        }
        if documents.is_empty() {
            return Err(problem("the patch is empty".to_owned()));
        }
        let named = |value: &Value| value.is_array() || is_whole(&identity(value));
        if !documents.iter().all(|document| named(&document.value)) {
            let message = "a patch that is no list of operations needs apiVersion, kind and metadata.name";
            let hint = "Kustomize reads it as an object of that kind, whatever the target is";
            return Err(problem(message.to_owned()).hint(hint));
        }
        if let Some(target) = &self.target {
            return Ok(vec![(target.matcher().map_err(problem)?, target.words())]);
        }
        let of_document = |document: &yaml::Document| {
            let named = identity(&document.value);
            if document.value.is_array() {
                return Err(problem("a list of JSON 6902 operations needs a target".to_owned()));
            }
            let [group, _, kind, name, namespace] = named.map(regex::escape);
            let given = |text: String| Some(text).filter(|text| !text.is_empty());
            let target = Target {
                group: given(group),
                kind: given(kind),
                name: given(name),
                namespace: given(namespace),
                ..Target::default()
            };
            let words = Target { group: None, ..target.clone() }.words().replace('\\', "");
            Ok((target.matcher().map_err(problem)?, words))
        };
        documents.iter().map(of_document).collect()
    }
}

/// Has Kustomize patch the objects of some places.
fn carry_out(
    objects: &mut Vec<Object>,
    chosen: &[usize],
    patches: &[Patch],
    programs: &Programs,
    limits: &yaml::Limits,
) -> Result<(), Vec<Problem>> {
    const ALL: &str = "spec.render.patches";
    let one = |message: String| vec![Problem::in_file(ALL, message)];
    let failed = |error: std::io::Error| one(format!("no private directory to patch in: {error}"));
    let workspace = Workspace::new().map_err(failed)?;
    // JSON is YAML that means the same to everybody.
    let mut text = String::new();
    for place in chosen {
        let Some(object) = objects.get(*place) else { continue };
        let mut value = object.value.clone();
        super::metadata::add(&mut value, "annotations", &[(PLACE.to_owned(), place.to_string())].into());
        text.push_str(&format!("---\n{value}\n"));
    }
    workspace.put(OBJECTS, text.as_bytes()).map_err(failed)?;
    let mut entries = Vec::new();
    for (index, Patch { patch, target }) in patches.iter().enumerate() {
        // As it was read here, with the meaning that words have in Kubernetes.
        let (documents, _) = read_documents(&place_of(index), patch.as_bytes(), limits);
        let documents: Vec<String> = documents.iter().map(|document| document.value.to_string()).collect();
        workspace.put(&place_of(index), documents.join("\n---\n").as_bytes()).map_err(failed)?;
        let mut entry = json!({ "path": place_of(index) });
        if let Some(target) = target {
            entry["target"] = json!(target);
        }
        entries.push(entry);
    }
    let kustomization = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
        "resources": [OBJECTS], "patches": entries,
    });
    workspace.put("kustomization.yaml", kustomization.to_string().as_bytes()).map_err(failed)?;
    let arguments = ["build", "."].map(OsStr::new);
    let finished = programs.run(RenderType::Kustomize, &arguments, &workspace, ALL).map_err(|problem| vec![problem])?;
    if !finished.succeeded {
        let complaint = workspace.without_its_name(finished.complaints.trim());
        let complaint = complaint.strip_prefix("Error: ").unwrap_or(&complaint);
        return Err(one(format!("kustomize: {}", complaint.lines().collect::<Vec<_>>().join("; "))));
    }
    let limits = yaml::Limits { file_bytes: usize::MAX, documents: usize::MAX, ..limits.clone() };
    let (documents, problems) = read_documents(ALL, &finished.output, &limits);
    if let Some(problem) = problems.into_iter().next() {
        return Err(one(format!("what they make of the objects: {}", problem.message)));
    }
    put_back(objects, chosen, documents.into_iter().map(|document| document.value));
    Ok(())
}

/// Puts what was patched where it was. What did not come back was deleted by
/// its patch.
fn put_back(objects: &mut Vec<Object>, chosen: &[usize], patched: impl Iterator<Item = Value>) {
    let mut by_place: HashMap<usize, Value> = HashMap::new();
    let mut elsewhere = Vec::new();
    for mut value in patched {
        // A patch may take all annotations away: the name tells then.
        match take_place(&mut value).or_else(|| place_by_name(objects, chosen, &value)) {
            Some(place) => {
                by_place.insert(place, value);
            }
            None => elsewhere.push(value),
        }
    }
    for place in chosen.iter().rev() {
        match by_place.remove(place) {
            None => {
                objects.remove(*place);
            }
            Some(value) => {
                let Some(object) = objects.get_mut(*place) else { continue };
                if object.value != value {
                    // Its fields are not on the lines any more where they were.
                    object.value = value;
                    object.positions = None;
                }
            }
        }
    }
    let origin = crate::manifest::Origin::new("spec.render.patches", None);
    objects.extend(elsewhere.into_iter().map(|value| Object { value, origin: origin.clone(), positions: None }));
}

fn take_place(value: &mut Value) -> Option<usize> {
    let metadata = value.get_mut("metadata")?.as_object_mut()?;
    let annotations = metadata.get_mut("annotations")?.as_object_mut()?;
    let place = annotations.remove(PLACE)?;
    if annotations.is_empty() {
        metadata.remove("annotations");
    }
    place.as_str()?.parse().ok()
}

fn place_by_name(objects: &[Object], chosen: &[usize], value: &Value) -> Option<usize> {
    let wanted = identity(value);
    let same = |place: &&usize| objects.get(**place).is_some_and(|object| identity(&object.value) == wanted);
    chosen.iter().find(same).copied()
}

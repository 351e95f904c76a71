//! Patches, carried out by the real Kustomize on the objects that they are for.

use std::{
    collections::{BTreeSet, HashMap},
    ffi::OsStr,
};

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
    let mut read = Vec::new();
    for (index, patch) in patches.iter().enumerate() {
        match patch.read(&place_of(index), limits) {
            Ok(patch) => read.push(patch),
            Err(problem) => problems.push(problem),
        }
    }
    let identities: Vec<[&str; 5]> = objects.iter().map(|object| identity(&object.value)).collect();
    let mut chosen = BTreeSet::new();
    for (place, (matcher, words)) in
        read.iter().flat_map(|patch| patch.wanted.iter().map(|wanted| (&patch.place, wanted)))
    {
        let selected = |identity: &[&str; 5]| is_whole(identity) && matcher.selects(identity);
        let found: Vec<usize> = (0..).zip(&identities).filter(|(_, it)| selected(it)).map(|(at, _)| at).collect();
        if found.is_empty() {
            let message = format!("there is no object to patch{words}");
            let hint = "the target is compared with the objects as the files have them";
            problems.push(Problem::in_file(place, message).hint(hint));
        }
        chosen.extend(found);
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    // What is there twice is told of when the objects are put together.
    let whole: Vec<&[&str; 5]> = identities.iter().filter(|identity| is_whole(identity)).collect();
    if whole.iter().collect::<BTreeSet<_>>().len() < whole.len() {
        return Ok(());
    }
    carry_out(objects, &chosen, &read, programs, limits)
}

/// Whether an object has a name to be patched by.
fn is_whole(identity: &[&str; 5]) -> bool {
    let [_, version, kind, name, _] = identity;
    ![version, kind, name].iter().any(|text| text.is_empty())
}

fn place_of(index: usize) -> String {
    format!("spec.render.patches[{index}]")
}

/// A patch that was read.
struct ReadPatch<'a> {
    /// Where it stands in the Application.
    place: String,
    documents: Vec<Value>,
    target: Option<&'a Target>,
    /// What it is for, with words for each.
    wanted: Vec<(Matcher, String)>,
}

impl Patch {
    fn read(&self, place: &str, limits: &yaml::Limits) -> Result<ReadPatch<'_>, Problem> {
        let problem = |message: &str| Problem::in_file(place, message);
        let (documents, problems) = read_documents(place, self.patch.as_bytes(), limits);
        if let Some(problem) = problems.into_iter().next() {
            return Err(problem);
        }
        if documents.is_empty() {
            return Err(problem("the patch is empty"));
        }
        let documents: Vec<Value> = documents.into_iter().map(|document| document.value).collect();
        if !documents.iter().all(|value| value.is_array() || is_whole(&identity(value))) {
            let message = "a patch that is no list of operations needs apiVersion, kind and metadata.name";
            let hint = "Kustomize reads it as an object of that kind, whatever the target is";
            return Err(problem(message).hint(hint));
        }
        let matched = |target: &Target, words: String| {
            let matcher = target.matcher().map_err(|message| problem(&message))?;
            Ok((matcher, if words.is_empty() { words } else { format!(": {words}") }))
        };
        let wanted = match &self.target {
            Some(target) => vec![matched(target, target.words())?],
            None if documents.iter().any(Value::is_array) => {
                return Err(problem("a list of JSON 6902 operations needs a target"));
            }
            None => {
                let named =
                    |value: &Value| matched(&named_by(value, regex::escape), named_by(value, str::to_owned).words());
                documents.iter().map(named).collect::<Result<_, _>>()?
            }
        };
        Ok(ReadPatch { place: place.to_owned(), documents, target: self.target.as_ref(), wanted })
    }
}

/// What a patch without a target is for: the object that it names, in whatever
/// version.
fn named_by(patch: &Value, text: impl Fn(&str) -> String) -> Target {
    let [group, _, kind, name, namespace] = identity(patch).map(|it| Some(text(it)).filter(|text| !text.is_empty()));
    Target { group, kind, name, namespace, ..Target::default() }
}

/// Has Kustomize patch the objects of some places.
fn carry_out(
    objects: &mut Vec<Object>,
    chosen: &BTreeSet<usize>,
    patches: &[ReadPatch<'_>],
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
    for ReadPatch { place, documents, target, .. } in patches {
        // As it was read here, with the meaning that words have in Kubernetes.
        let text = documents.iter().map(Value::to_string).collect::<Vec<_>>().join("\n---\n");
        workspace.put(place, text.as_bytes()).map_err(failed)?;
        let mut entry = json!({ "path": place });
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
fn put_back(objects: &mut Vec<Object>, chosen: &BTreeSet<usize>, patched: impl Iterator<Item = Value>) {
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

fn place_by_name(objects: &[Object], chosen: &BTreeSet<usize>, value: &Value) -> Option<usize> {
    let wanted = identity(value);
    let same = |place: &&usize| objects.get(**place).is_some_and(|object| identity(&object.value) == wanted);
    chosen.iter().find(same).copied()
}

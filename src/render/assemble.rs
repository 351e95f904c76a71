//! Objects into manifests: whether each kind is namespaced, default
//! namespaces, and that nothing is there twice.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    sync::Arc,
};

use super::{ScopeLookup, Scopes, Touches, UnknownKind, flatten::Object, sops::left_encrypted, well_known};
use crate::manifest::{Manifest, ObjectId, Origin, Problem, Scope, gvk_of};

/// A bundle under construction. Manifests are made as their objects come, so
/// that not all objects are held at once.
pub(super) struct Assembly<'a> {
    scopes: &'a dyn ScopeLookup,
    /// The namespace of namespaced objects that name none.
    namespace: Option<&'a str>,
    /// What only the API server would refuse is a warning.
    lenient: bool,
    /// What is changed of each object.
    touches: &'a Touches,
    /// Which of the images that are replaced were met.
    pub(super) images_met: BTreeSet<usize>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
    manifests: Vec<Arc<Manifest>>,
    /// Where among them an object is.
    places: HashMap<ObjectId, usize>,
    /// The manifests that were made since somebody took them from here.
    pub(super) newest: Vec<(Scope, Arc<Manifest>)>,
    /// Kinds that CRDs of the input define.
    defined: Scopes,
    /// Objects of kinds that only a CRD of the input can define.
    pub(super) deferred: Vec<Object>,
}

impl<'a> Assembly<'a> {
    pub(super) fn new(
        scopes: &'a dyn ScopeLookup,
        namespace: Option<&'a str>,
        lenient: bool,
        touches: &'a Touches,
    ) -> Self {
        Self {
            scopes,
            namespace,
            lenient,
            touches,
            images_met: BTreeSet::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
            manifests: Vec::new(),
            places: HashMap::new(),
            newest: Vec::new(),
            defined: Scopes::default(),
            deferred: Vec::new(),
        }
    }

    /// Takes an object in.
    pub(super) fn place(&mut self, mut object: Object) {
        if let Some((pointer, words)) = left_encrypted(&object.value) {
            let mut problem = Problem::in_file(&object.origin.file, words);
            problem.position = object.positions.map(|positions| positions.nearest(&pointer));
            return self.problems.push(problem);
        }
        self.touches.touch(&mut object.value, &mut self.images_met);
        self.defined.learn(&object.value);
        match gvk_of(&object.value).map(|gvk| self.scopes.scope(&gvk.group_kind())) {
            Some(Some(scope)) => self.manifest(object, scope),
            Some(None) => self.deferred.push(object),
            // What is wrong with the type is found with the rest of the object.
            None => self.manifest(object, Scope::Namespaced),
        }
    }

    /// Takes a manifest in that is known from before.
    pub(super) fn add(&mut self, manifest: Arc<Manifest>) {
        match self.places.entry(manifest.id.clone()) {
            Entry::Occupied(first) => self.problems.push(duplicate(&self.manifests[*first.get()], &manifest)),
            Entry::Vacant(place) => {
                place.insert(self.manifests.len());
                self.manifests.push(manifest);
            }
        }
    }

    /// All manifests, sorted by identity.
    pub(super) fn finish(&mut self) -> Vec<Arc<Manifest>> {
        self.place_deferred();
        // What cannot be read may have had the image.
        if self.problems.is_empty() {
            self.problems = self.touches.unmet(&self.images_met);
        }
        // Files are mostly in the order of their objects, which costs little then.
        let mut manifests = std::mem::take(&mut self.manifests);
        manifests.sort_by(|one, other| one.id.cmp(&other.id));
        manifests
    }

    fn place_deferred(&mut self) {
        for object in std::mem::take(&mut self.deferred) {
            let Some(kind) = gvk_of(&object.value).map(|gvk| gvk.group_kind()) else { continue };
            match (self.defined.scope(&kind), self.scopes.unknown_kind()) {
                (Some(scope), _) => self.manifest(object, scope),
                (None, UnknownKind::WellKnown) => self.manifest(object, well_known::scope(&kind)),
                (None, UnknownKind::Refuse) => {
                    let message =
                        format!("kind {kind} is not served by the cluster and no CRD of this application defines it");
                    let mut problem = Problem::in_file(&object.origin.file, message)
                        .hint("install its CRD first, or add it to this application");
                    problem.position = object.positions.map(|positions| positions.nearest("/kind"));
                    self.problems.push(problem);
                }
            }
        }
    }

    fn manifest(&mut self, object: Object, scope: Scope) {
        let Object { value, origin, positions } = object;
        match Manifest::read_with_faults(value, self.namespace, scope, Some(origin), positions.as_ref()) {
            Err(problems) => self.problems.extend(problems),
            Ok((manifest, faults)) => {
                if self.lenient { &mut self.warnings } else { &mut self.problems }.extend(faults);
                let manifest = Arc::new(manifest);
                self.newest.push((scope, Arc::clone(&manifest)));
                self.add(manifest);
            }
        }
    }
}

fn duplicate(first: &Manifest, second: &Manifest) -> Problem {
    let place = |origin: &Option<Origin>| match origin {
        Some(Origin { file, position: Some(position), .. }) => format!("{file}:{}:{}", position.line, position.column),
        Some(Origin { file, position: None, .. }) => file.clone(),
        None => "elsewhere".to_owned(),
    };
    let file = second.origin.as_ref().map(|origin| origin.file.clone()).unwrap_or_default();
    let mut problem = Problem::in_file(file, format!("{} is defined twice", second.id))
        .hint(format!("it is defined at {} too; keep one of them", place(&first.origin)));
    problem.position = second.origin.as_ref().and_then(|origin| origin.position);
    problem
}

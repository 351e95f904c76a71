//! Where each value of a document was written.

use std::{collections::BTreeMap, sync::Arc};

use super::Position;

/// Index of an entry.
pub(super) type EntryId = usize;

/// A side table from the path of a value to its position.
#[derive(Debug, Clone)]
pub struct Positions {
    entries: Arc<Vec<Entry>>,
    root: EntryId,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Where the value begins.
    pub(super) position: Position,
    pub(super) children: Children,
}

#[derive(Debug, Clone)]
pub(super) enum Children {
    None,
    Items(Vec<EntryId>),
    /// By key, with the position of the key.
    Fields(BTreeMap<String, (Position, EntryId)>),
}

impl Positions {
    pub(super) fn new(entries: Vec<Entry>, root: EntryId) -> Self {
        Self { entries: Arc::new(entries), root }
    }

    /// The position of the value at a JSON pointer (`/spec/replicas`, empty
    /// for the document): of its key where it is a field, of its content where
    /// it is an item of a list. `None` where the document has no such value.
    pub fn of(&self, pointer: &str) -> Option<Position> {
        let (found, whole) = self.walk(pointer);
        whole.then_some(found)
    }

    /// As [`Positions::of`], or the position of the nearest value above it.
    pub fn nearest(&self, pointer: &str) -> Position {
        self.walk(pointer).0
    }

    /// The same table seen from the value at a JSON pointer, for example an
    /// item of a list.
    pub fn below(&self, pointer: &str) -> Option<Positions> {
        let mut current = self.root;
        for segment in segments(pointer) {
            current = self.child(current, &segment)?.1;
        }
        Some(Self { entries: Arc::clone(&self.entries), root: current })
    }

    /// The document itself, to walk down from.
    pub(in crate::manifest) fn root(&self) -> Place<'_> {
        let position = self.entries.get(self.root).map_or(Position { line: 1, column: 1 }, |entry| entry.position);
        Place { positions: self, position, entry: self.root }
    }

    fn walk(&self, pointer: &str) -> (Position, bool) {
        let mut current = self.root;
        let mut position = self.entries.get(current).map_or(Position { line: 1, column: 1 }, |entry| entry.position);
        for segment in segments(pointer) {
            match self.child(current, &segment) {
                Some((found, child)) => (position, current) = (found, child),
                None => return (position, false),
            }
        }
        (position, true)
    }

    fn child(&self, entry: EntryId, segment: &str) -> Option<(Position, EntryId)> {
        match &self.entries.get(entry)?.children {
            Children::None => None,
            Children::Items(items) => {
                let child = *items.get(segment.parse::<usize>().ok()?)?;
                Some((self.entries.get(child)?.position, child))
            }
            Children::Fields(fields) => fields.get(segment).copied(),
        }
    }
}

/// A value of a document and where it was written.
#[derive(Clone, Copy)]
pub(in crate::manifest) struct Place<'a> {
    positions: &'a Positions,
    position: Position,
    entry: EntryId,
}

impl Place<'_> {
    /// Where its key was written, or its content where it is an item of a list.
    pub(in crate::manifest) fn position(&self) -> Position {
        self.position
    }

    /// The value of a field, or of an item by its index.
    pub(in crate::manifest) fn child(&self, segment: &str) -> Option<Self> {
        let (position, entry) = self.positions.child(self.entry, segment)?;
        Some(Self { positions: self.positions, position, entry })
    }
}

fn segments(pointer: &str) -> impl Iterator<Item = String> + '_ {
    pointer.split('/').skip(1).map(|segment| segment.replace("~1", "/").replace("~0", "~"))
}

//! Nodes into a value: tags resolved, aliases expanded, merges done, keys made
//! text.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Number, Value};

use super::{
    Limits, Position, Positions, Problem, RepeatedKeys,
    node::{Kind, Node, NodeId, Scalar, Tree},
    positions::{Children, Entry, EntryId},
    resolve::{MERGE, Resolved, resolve},
};

/// Decodes a document.
///
/// # Errors
/// All problems of the document, or the first where going on makes no sense.
pub(super) fn decode(file: &str, tree: &Tree, limits: &Limits) -> Result<(Value, Positions), Vec<Problem>> {
    let mut decoder = Decoder {
        file,
        tree,
        limits,
        problems: Vec::new(),
        entries: Vec::new(),
        expanding: HashSet::new(),
        outermost_alias: None,
        alias_depth: 0,
        alias_bytes: 0,
        decoded: 1,
        decoded_by_alias: 0,
    };
    match decoder.value(tree.root, 0) {
        Ok((value, root)) if decoder.problems.is_empty() => Ok((value, Positions::new(decoder.entries, root))),
        Ok(_) | Err(Stop) => Err(decoder.problems),
    }
}

/// The document is given up; the reason is among the problems.
struct Stop;

struct Decoder<'a> {
    file: &'a str,
    tree: &'a Tree,
    limits: &'a Limits,
    problems: Vec<Problem>,
    entries: Vec<Entry>,
    /// Alias nodes that are being expanded.
    expanding: HashSet<NodeId>,
    /// Where the alias stands whose expansion is at hand, for limits.
    outermost_alias: Option<Position>,
    alias_depth: usize,
    alias_bytes: usize,
    /// Nodes decoded so far, and how many of them by an alias.
    decoded: usize,
    decoded_by_alias: usize,
}

/// The fields of a mapping under construction.
#[derive(Default)]
struct Fields {
    values: Map<String, Value>,
    entries: BTreeMap<String, (Position, EntryId)>,
}

impl<'a> Decoder<'a> {
    fn value(&mut self, id: NodeId, depth: usize) -> Result<(Value, EntryId), Stop> {
        let node = self.enter(id, depth)?;
        match &node.kind {
            Kind::Alias(target) => self.expand(id, *target, |decoder| decoder.value(*target, depth)),
            Kind::Json(value) => Ok((value.clone(), self.entry(node.position, Children::None))),
            Kind::Scalar(scalar) => {
                let value = self.scalar(node.position, scalar)?;
                Ok((value, self.entry(node.position, Children::None)))
            }
            Kind::Sequence(items) => {
                let mut values = Vec::with_capacity(items.len());
                let mut entries = Vec::with_capacity(items.len());
                for item in items {
                    let (value, entry) = self.value(*item, depth + 1)?;
                    values.push(value);
                    entries.push(entry);
                }
                Ok((Value::Array(values), self.entry(node.position, Children::Items(entries))))
            }
            Kind::Mapping(pairs) => {
                let mut fields = Fields::default();
                self.mapping(pairs, depth, &mut fields)?;
                let entry = self.entry(node.position, Children::Fields(fields.entries));
                Ok((Value::Object(fields.values), entry))
            }
        }
    }

    /// Sets the fields of a mapping in the order of the file: a later merge
    /// overrides an earlier field, as it does in Kubernetes.
    fn mapping(&mut self, pairs: &'a [(NodeId, NodeId)], depth: usize, fields: &mut Fields) -> Result<(), Stop> {
        let mut written: BTreeMap<String, Position> = BTreeMap::new();
        for (key, value) in pairs {
            let Some(key_node) = self.tree.nodes.get(*key) else { continue };
            if is_merge(key_node) {
                self.merge(*value, depth, fields)?;
                continue;
            }
            let key = self.key(*key, depth + 1)?;
            let (value, entry) = self.value(*value, depth + 1)?;
            let Some(key) = key else { continue };
            let refuse = self.limits.repeated_keys == RepeatedKeys::Refuse;
            if let Some(first) = written.get(&key).filter(|_| refuse) {
                let hint = format!("it is set at {}:{} too; keep one of them", first.line, first.column);
                self.problem(key_node.position, format!("duplicate key {key:?}"), Some(hint));
                continue;
            }
            written.insert(key.clone(), key_node.position);
            fields.values.insert(key.clone(), value);
            fields.entries.insert(key, (key_node.position, entry));
        }
        Ok(())
    }

    fn merge(&mut self, id: NodeId, depth: usize, fields: &mut Fields) -> Result<(), Stop> {
        let Some(node) = self.tree.nodes.get(id) else { return Ok(()) };
        match &node.kind {
            // Of several the first has precedence, so it is set last.
            Kind::Sequence(items) => items.iter().rev().try_for_each(|item| self.merge_one(*item, depth, fields)),
            _ => self.merge_one(id, depth, fields),
        }
    }

    fn merge_one(&mut self, id: NodeId, depth: usize, fields: &mut Fields) -> Result<(), Stop> {
        let node = self.enter(id, depth)?;
        let wrong = "only a mapping or a list of mappings can be merged with <<";
        match &node.kind {
            Kind::Mapping(pairs) => self.mapping(pairs, depth, fields),
            Kind::Alias(target) => match self.tree.nodes.get(*target).map(|node| &node.kind) {
                Some(Kind::Mapping(pairs)) => self.expand(id, *target, |decoder| {
                    decoder.enter(*target, depth)?;
                    decoder.mapping(pairs, depth, fields)
                }),
                _ => Err(self.stop(node.position, wrong.to_owned(), None)),
            },
            _ => Err(self.stop(node.position, wrong.to_owned(), None)),
        }
    }

    /// The text that JSON has for a key: whole numbers, booleans and floats
    /// are written out. `None` after a problem.
    fn key(&mut self, id: NodeId, depth: usize) -> Result<Option<String>, Stop> {
        let node = self.enter(id, depth)?;
        let refused = match &node.kind {
            Kind::Alias(target) => return self.expand(id, *target, |decoder| decoder.key(*target, depth)),
            Kind::Mapping(_) | Kind::Sequence(_) => "a mapping or list",
            Kind::Json(_) => "a value",
            Kind::Scalar(scalar) => match self.resolved(node.position, scalar)? {
                Resolved::Text(text) => return Ok(Some(text)),
                Resolved::Int(integer) => return Ok(Some(integer.to_string())),
                Resolved::Bool(boolean) => return Ok(Some(boolean.to_string())),
                Resolved::Float(float) => return Ok(Some(float_key(float))),
                Resolved::Null => "null",
                Resolved::Uint(_) => "a whole number this large",
            },
        };
        let hint = if matches!(node.kind, Kind::Mapping(_)) {
            "quote it to make it text; the `{{ }}` of a template must be rendered before"
        } else {
            "quote it to make it text"
        };
        self.problem(node.position, format!("{refused} cannot be a key"), Some(hint.to_owned()));
        Ok(None)
    }

    fn scalar(&mut self, position: Position, scalar: &Scalar) -> Result<Value, Stop> {
        Ok(match self.resolved(position, scalar)? {
            Resolved::Null => Value::Null,
            Resolved::Bool(boolean) => Value::Bool(boolean),
            Resolved::Int(integer) => Value::Number(integer.into()),
            Resolved::Uint(integer) => Value::Number(integer.into()),
            Resolved::Text(text) => Value::String(text),
            Resolved::Float(float) => match json_number(float) {
                Some(number) => Value::Number(number),
                None => {
                    let hint =
                        "Kubernetes' objects are JSON, which has no infinity and no NaN; quote it to make it text";
                    self.problem(position, "is not a finite number".to_owned(), Some(hint.to_owned()));
                    Value::Null
                }
            },
        })
    }

    fn resolved(&mut self, position: Position, scalar: &Scalar) -> Result<Resolved, Stop> {
        if self.alias_depth > 0 {
            self.alias_bytes = self.alias_bytes.saturating_add(scalar.text.len());
            if self.alias_bytes > self.limits.alias_bytes {
                let message = format!("aliases repeat more than {} bytes of text", self.limits.alias_bytes);
                return Err(self.over_limit(position, message));
            }
        }
        if scalar.tag.is_none() && !scalar.implicit {
            return Ok(Resolved::Text(scalar.text.clone()));
        }
        match resolve(scalar.tag.as_deref(), &scalar.text) {
            Ok(resolved) => Ok(resolved),
            Err(error) => {
                self.problem(position, error.to_string(), None);
                // A text leads to no second problem at the same place.
                Ok(Resolved::Text(String::new()))
            }
        }
    }

    fn expand<T>(
        &mut self,
        alias: NodeId,
        target: NodeId,
        decode: impl FnOnce(&mut Self) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        if !self.expanding.insert(alias) {
            let position = self.tree.nodes.get(target).map_or_else(|| self.tree.position(), |node| node.position);
            return Err(self.stop(position, "the value of an anchor contains itself".to_owned(), None));
        }
        if self.alias_depth == 0 {
            self.outermost_alias = self.tree.nodes.get(alias).map(|node| node.position);
        }
        self.alias_depth += 1;
        let decoded = decode(self);
        self.alias_depth -= 1;
        if self.alias_depth == 0 {
            self.outermost_alias = None;
        }
        self.expanding.remove(&alias);
        decoded
    }

    /// Counts a node and holds the limits of depth and of alias expansion.
    fn enter(&mut self, id: NodeId, depth: usize) -> Result<&'a Node, Stop> {
        let tree = self.tree;
        let Some(node) = tree.nodes.get(id) else { return Err(Stop) };
        self.decoded += 1;
        if self.alias_depth > 0 {
            self.decoded_by_alias += 1;
        }
        if is_bomb(self.decoded, self.decoded_by_alias) {
            return Err(self.over_limit(node.position, "aliases expand to too many values".to_owned()));
        }
        if depth > self.limits.depth {
            let message = format!("is nested deeper than {} levels", self.limits.depth);
            return Err(self.over_limit(node.position, message));
        }
        Ok(node)
    }

    fn entry(&mut self, position: Position, children: Children) -> EntryId {
        self.entries.push(Entry { position, children });
        self.entries.len() - 1
    }

    fn problem(&mut self, position: Position, message: String, hint: Option<String>) {
        let problem = Problem::in_file(self.file, message).at(position);
        self.problems.push(match hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        });
    }

    /// A limit is passed at the alias that leads to it.
    fn over_limit(&mut self, position: Position, message: String) -> Stop {
        self.stop(self.outermost_alias.unwrap_or(position), message, None)
    }

    fn stop(&mut self, position: Position, message: String, hint: Option<String>) -> Stop {
        self.problem(position, message, hint);
        Stop
    }
}

fn is_merge(node: &Node) -> bool {
    match &node.kind {
        Kind::Scalar(Scalar { text, tag, implicit }) => text == "<<" && (*implicit || tag.as_deref() == Some(MERGE)),
        _ => false,
    }
}

/// The library's own rule: small documents may consist of aliases almost
/// wholly, large ones hardly.
fn is_bomb(decoded: usize, by_alias: usize) -> bool {
    const LOW: f64 = 400_000.0;
    const HIGH: f64 = 4_000_000.0;
    let total = decoded as f64;
    let allowed = if total <= LOW {
        0.99
    } else if total >= HIGH {
        0.10
    } else {
        0.99 - 0.89 * ((total - LOW) / (HIGH - LOW))
    };
    by_alias > 100 && decoded > 1000 && by_alias as f64 / total > allowed
}

/// A float as it comes out of Kubernetes' way over JSON text: a whole number
/// within the range of 64 bits is an integer. `None` for what JSON cannot hold.
pub(super) fn json_number(float: f64) -> Option<Number> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if float.fract() == 0.0 && (-LIMIT..LIMIT).contains(&float) {
        return Some(Number::from(float as i64));
    }
    Number::from_f64(float)
}

/// A float as a key: the shortest text for 32 bits, as the library writes it.
fn float_key(float: f64) -> String {
    let narrow = float as f32;
    if narrow.is_nan() {
        return ".nan".to_owned();
    }
    if narrow.is_infinite() {
        return if narrow > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    let scientific = format!("{narrow:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    // Go's %g writes an exponent from the seventh digit on.
    if (-4..6).contains(&exponent) {
        return format!("{narrow}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

//! YAML and JSON as Kubernetes reads them.
//!
//! Kubernetes reads manifests with a YAML 1.1 library: `0644` is 420, `on` and
//! `yes` are booleans, `<<` merges, dates stay strings. This module resolves
//! the same way, splits files into documents by lines as `kubectl` does, and knows the
//! position of every value. It differs in that it refuses what would be lost
//! in silence: duplicate keys, content after the end of a document, binary
//! that is not text.
//!
//! ```text
//! bytes ──split──> chunks ──scan, parse (or json)──> nodes ──decode──> value + positions
//! ```
//!
//! It never panics on input, and every problem has its file, line and column.

mod cursor;
mod decode;
mod json;
mod node;
mod parse;
mod positions;
mod resolve;
mod scan;
mod scan_text;
mod split;
#[cfg(test)]
mod tests;
mod written;

use serde_json::Value;

pub(super) use positions::Place;
pub use positions::Positions;
pub(crate) use resolve::is_plain_string;
pub(crate) use written::{Content, Field, Written, read_if_has};

use super::{Position, Problem};

/// What a file may cost at most. Passing a limit is a problem with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one file.
    pub file_bytes: usize,
    /// How deep values may nest, aliases expanded.
    pub depth: usize,
    /// Documents of one file.
    pub documents: usize,
    /// Bytes of text that aliases of one document may repeat.
    pub alias_bytes: usize,
    /// What a key that a mapping has twice means.
    pub repeated_keys: RepeatedKeys,
}

/// What a key that a mapping has twice means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepeatedKeys {
    /// A mistake of whoever wrote the file: one of the values would be lost in
    /// silence.
    Refuse,
    /// The last value, as Kubernetes' own library and Helm read it: for text
    /// that a program wrote from somebody else's templates.
    LastWins,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: 32 << 20,
            depth: 100,
            documents: 20_000,
            alias_bytes: 4 << 20,
            repeated_keys: RepeatedKeys::Refuse,
        }
    }
}

/// One document that is not empty.
#[derive(Debug, Clone)]
pub struct Document {
    /// The value as Kubernetes would see it. A number is an integer where its
    /// value is one, whatever its notation.
    pub value: Value,
    /// Where the content begins.
    pub position: Position,
    /// Where each value was written.
    pub positions: Positions,
}

/// Reads all documents of a file. Documents that are empty, null or only
/// comments are left out. After a problem the reader goes on with the next
/// document, so that all problems are reported; problems come in the order of
/// the file.
pub fn read_documents(file: &str, bytes: &[u8], limits: &Limits) -> (Vec<Document>, Vec<Problem>) {
    let mut documents = Vec::new();
    let mut problems = Vec::new();
    if bytes.len() > limits.file_bytes {
        let message = format!("is {} bytes, more than the limit of {} for one file", bytes.len(), limits.file_bytes);
        return (documents, vec![Problem::in_file(file, message)]);
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => return (documents, vec![not_utf8(file, bytes, error.valid_up_to())]),
    };
    let chunks = split::split(file, text, &mut problems);
    for chunk in chunks {
        if documents.len() >= limits.documents {
            let message = format!("has more than {} documents", limits.documents);
            problems.push(Problem::in_file(file, message).at(Position { line: chunk.first_line, column: 1 }));
            break;
        }
        read_chunk(file, &chunk, limits, &mut documents, &mut problems);
    }
    problems.sort_by_key(|problem| problem.position);
    problems.dedup();
    (documents, problems)
}

fn read_chunk(
    file: &str,
    chunk: &split::Chunk<'_>,
    limits: &Limits,
    documents: &mut Vec<Document>,
    problems: &mut Vec<Problem>,
) {
    let trees = match trees(file, chunk, limits) {
        Ok(trees) => trees,
        Err(problem) => return problems.push(*problem),
    };
    for tree in trees {
        match decode::decode(file, &tree, limits) {
            Ok((Value::Null, _)) => {}
            Ok((value, positions)) => documents.push(Document { value, position: tree.position(), positions }),
            Err(found) => problems.extend(found),
        }
    }
}

/// The documents of a chunk: as a stream of JSON values where it is one, as
/// YAML otherwise, the order in which `kubectl` tries.
fn trees(file: &str, chunk: &split::Chunk<'_>, limits: &Limits) -> Result<Vec<node::Tree>, Box<Problem>> {
    if !chunk.text.trim_start().starts_with('{') {
        return Ok(parse::parse(file, chunk, limits)?.into_iter().collect());
    }
    match json::parse_stream(file, chunk, limits) {
        Ok(trees) => Ok(trees),
        Err(not_json) => match parse::parse(file, chunk, limits) {
            Ok(tree) => Ok(tree.into_iter().collect()),
            Err(_) if file.ends_with(".json") => Err(not_json),
            Err(not_yaml) => Err(not_yaml),
        },
    }
}

fn not_utf8(file: &str, bytes: &[u8], valid_up_to: usize) -> Problem {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Problem::in_file(file, "is UTF-16, not UTF-8").hint("save the file as UTF-8");
    }
    let valid = String::from_utf8_lossy(&bytes[..valid_up_to]);
    let line = valid.matches('\n').count() + 1;
    let column = valid.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Problem::in_file(file, "is not UTF-8")
        .at(position(line, column))
        .hint("save the file as UTF-8; binary content belongs into binaryData or data, in base64")
}

fn position(line: usize, column: usize) -> Position {
    Position { line: u32::try_from(line).unwrap_or(u32::MAX), column: u32::try_from(column).unwrap_or(u32::MAX) }
}

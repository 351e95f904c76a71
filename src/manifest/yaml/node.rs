//! The nodes of one document, before tags are resolved and aliases expanded.

use serde_json::Value;

use super::Position;

/// Index of a node in its tree.
pub(super) type NodeId = usize;

/// One document as a list of nodes; the last to be finished is not always the
/// root, so it is named.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
    pub(super) root: NodeId,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) position: Position,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// A scalar whose tag is to be resolved.
    Scalar(Scalar),
    /// A number, boolean or null of JSON, which needs no resolving.
    Json(Value),
    Sequence(Vec<NodeId>),
    Mapping(Vec<(NodeId, NodeId)>),
    /// Stands for the node of its anchor.
    Alias(NodeId),
}

#[derive(Debug)]
pub(super) struct Scalar {
    pub(super) text: String,
    /// The tag in its long form, for example `tag:yaml.org,2002:str`.
    pub(super) tag: Option<String>,
    /// Whether a scalar without a tag is resolved: it is plain, or has the
    /// non-specific tag `!`.
    pub(super) implicit: bool,
}

impl Tree {
    pub(super) fn position(&self) -> Position {
        self.nodes.get(self.root).map_or(Position { line: 1, column: 1 }, |node| node.position)
    }
}

//! The parser's events into the nodes of one document.

use std::collections::HashMap;

use libyaml_safer::{Event, EventData, Mark, Parser};

use super::{
    Limits, Position, Problem,
    node::{Kind, Node, NodeId, Scalar, Tree},
    position,
    split::Chunk,
};

/// Reads the one document of a chunk; `None` where it holds only comments.
pub(super) fn compose(file: &str, chunk: &Chunk<'_>, limits: &Limits) -> Result<Option<Tree>, Box<Problem>> {
    if let Some(problem) = forbidden_character(file, chunk) {
        return Err(Box::new(problem));
    }
    let mut parser = Parser::new();
    let mut input = chunk.text.as_bytes();
    parser.set_input_string(&mut input);
    let mut composer = Composer { file, chunk, limits, nodes: Vec::new(), anchors: HashMap::new(), open: Vec::new() };
    let mut root = None;
    let mut ended = false;
    loop {
        let event = match parser.parse() {
            Ok(event) => event,
            Err(error) if ended => return Err(Box::new(composer.after_the_end(error.problem_mark()))),
            Err(error) => return Err(Box::new(composer.syntax(&error))),
        };
        match event.data {
            EventData::StreamEnd => return Ok(root.map(|root| Tree { nodes: composer.nodes, root })),
            EventData::DocumentStart { .. } if ended => {
                return Err(Box::new(composer.after_the_end(Some(event.start_mark))));
            }
            EventData::DocumentEnd { .. } => ended = true,
            EventData::StreamStart { .. } | EventData::DocumentStart { .. } => {}
            _ => {
                if let Some(finished) = composer.event(event)? {
                    root = Some(finished);
                }
            }
        }
    }
}

struct Composer<'a> {
    file: &'a str,
    chunk: &'a Chunk<'a>,
    limits: &'a Limits,
    nodes: Vec<Node>,
    anchors: HashMap<String, NodeId>,
    /// Collections that are not closed yet, outermost first.
    open: Vec<Open>,
}

struct Open {
    node: NodeId,
    /// The key of a mapping that waits for its value.
    key: Option<NodeId>,
}

impl Composer<'_> {
    /// Takes an event of the document's content; gives the root when it is
    /// finished.
    fn event(&mut self, event: Event) -> Result<Option<NodeId>, Box<Problem>> {
        let position = self.place(event.start_mark);
        match event.data {
            EventData::Scalar { anchor, tag, value, plain_implicit, .. } => {
                let scalar = Scalar { text: value, tag: tag.filter(|tag| !tag.is_empty()), implicit: plain_implicit };
                let node = self.add(position, Kind::Scalar(scalar), anchor);
                Ok(self.attach(node))
            }
            EventData::Alias { anchor } => {
                let Some(&target) = self.anchors.get(&anchor) else {
                    return Err(Box::new(
                        Problem::in_file(self.file, format!("alias *{anchor} has no anchor &{anchor} before it"))
                            .at(position)
                            .hint("anchors do not reach over a document separator; quote a text that begins with *"),
                    ));
                };
                let node = self.add(position, Kind::Alias { name: anchor, target }, None);
                Ok(self.attach(node))
            }
            EventData::SequenceStart { anchor, .. } => self.begin(position, Kind::Sequence(Vec::new()), anchor),
            EventData::MappingStart { anchor, .. } => self.begin(position, Kind::Mapping(Vec::new()), anchor),
            EventData::SequenceEnd | EventData::MappingEnd => {
                let finished = self.open.pop().map(|open| open.node);
                Ok(finished.and_then(|node| self.attach(node)))
            }
            _ => Ok(None),
        }
    }

    fn begin(&mut self, position: Position, kind: Kind, anchor: Option<String>) -> Result<Option<NodeId>, Box<Problem>> {
        if self.open.len() >= self.limits.depth {
            let message = format!("is nested deeper than {} levels", self.limits.depth);
            return Err(Box::new(Problem::in_file(self.file, message).at(position)));
        }
        let node = self.add(position, kind, anchor);
        self.open.push(Open { node, key: None });
        Ok(None)
    }

    fn add(&mut self, position: Position, kind: Kind, anchor: Option<String>) -> NodeId {
        let id = self.nodes.len();
        self.nodes.push(Node { position, kind });
        // An anchor that is used again names the later node from here on.
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor, id);
        }
        id
    }

    /// Puts a finished node into the collection around it, or returns it where
    /// it is the root.
    fn attach(&mut self, node: NodeId) -> Option<NodeId> {
        let Some(open) = self.open.last_mut() else { return Some(node) };
        match self.nodes.get_mut(open.node).map(|parent| &mut parent.kind) {
            Some(Kind::Sequence(items)) => items.push(node),
            Some(Kind::Mapping(pairs)) => match open.key.take() {
                None => open.key = Some(node),
                Some(key) => pairs.push((key, node)),
            },
            _ => {}
        }
        None
    }

    fn place(&self, mark: Mark) -> Position {
        let line = u32::try_from(mark.line).unwrap_or(u32::MAX);
        let column = u32::try_from(mark.column).unwrap_or(u32::MAX);
        Position { line: self.chunk.first_line.saturating_add(line), column: column.saturating_add(1) }
    }

    fn syntax(&self, error: &libyaml_safer::Error) -> Problem {
        let message = match error.context() {
            Some(context) => format!("is not YAML: {context}, {}", error.problem()),
            None => format!("is not YAML: {}", error.problem()),
        };
        let mut problem = Problem::in_file(self.file, message);
        if let Some(mark) = error.problem_mark() {
            problem = problem.at(self.place(mark));
        }
        match hint(error.problem()) {
            Some(hint) => problem.hint(hint),
            None => problem,
        }
    }

    fn after_the_end(&self, mark: Option<Mark>) -> Problem {
        let problem = Problem::in_file(self.file, "has content after the end of a document, which Kubernetes ignores")
            .hint("begin the next document with a line `---`");
        match mark {
            Some(mark) => problem.at(self.place(mark)),
            None => problem,
        }
    }
}

/// What usually causes an error of the parser.
fn hint(problem: &str) -> Option<&'static str> {
    match problem {
        "found character that cannot start any token" => {
            Some("indent with spaces, not tabs; quote a text that begins with @, ` or %")
        }
        "mapping values are not allowed in this context" => Some("quote a text that contains `: `"),
        "did not find expected key" | "could not find expected ':'" => {
            Some("look at the indentation and for a missing colon or quote")
        }
        _ => None,
    }
}

/// Control characters, which YAML does not allow even within quotes.
fn forbidden_character(file: &str, chunk: &Chunk<'_>) -> Option<Problem> {
    let (mut line, mut column) = (chunk.first_line, 1);
    for character in chunk.text.chars() {
        let allowed = matches!(character, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..);
        if !allowed {
            let name = if character == '\0' { "NUL".to_owned() } else { format!("U+{:04X}", u32::from(character)) };
            let found = position(line as usize, column);
            return Some(
                Problem::in_file(file, format!("has the control character {name}"))
                    .at(found)
                    .hint("YAML allows no control characters; write it as an escape within double quotes"),
            );
        }
        if character == '\n' {
            (line, column) = (line.saturating_add(1), 1);
        } else {
            column += 1;
        }
    }
    None
}

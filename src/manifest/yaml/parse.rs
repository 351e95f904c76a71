//! Tokens into the nodes of one document.

use std::collections::HashMap;

use super::{
    Limits, Position, Problem,
    cursor::Mark,
    node::{Kind, Node, NodeId, Scalar, Tree},
    position,
    scan::{Scanner, SyntaxError, TokenKind},
    split::Chunk,
};

/// Reads the one document of a chunk; `None` where it holds only comments.
pub(super) fn parse(file: &str, chunk: &Chunk<'_>, limits: &Limits) -> Result<Option<Tree>, Box<Problem>> {
    if let Some(problem) = forbidden_character(file, chunk) {
        return Err(Box::new(problem));
    }
    let mut parser = Parser {
        chunk,
        limits,
        scanner: Scanner::new(&chunk.text),
        tag_prefixes: HashMap::new(),
        nodes: Vec::new(),
        anchors: HashMap::new(),
        depth: 0,
    };
    match parser.document() {
        Ok(root) => Ok(root.map(|root| Tree { nodes: parser.nodes, root })),
        Err(error) => Err(Box::new(error.into_problem(file, chunk))),
    }
}

/// Why a document cannot be read.
enum Refusal {
    Syntax(SyntaxError),
    AfterTheEnd(Mark),
    TooDeep(Mark, usize),
    UnknownAnchor(Mark),
}

impl From<SyntaxError> for Refusal {
    fn from(error: SyntaxError) -> Self {
        Self::Syntax(error)
    }
}

struct Parser<'a> {
    chunk: &'a Chunk<'a>,
    limits: &'a Limits,
    scanner: Scanner<'a>,
    tag_prefixes: HashMap<String, String>,
    nodes: Vec<Node>,
    anchors: HashMap<String, NodeId>,
    depth: usize,
}

/// What may stand before the content of a node.
#[derive(Default)]
struct Properties {
    anchor: Option<String>,
    tag: Option<String>,
}

impl Parser<'_> {
    fn document(&mut self) -> Result<Option<NodeId>, Refusal> {
        let explicit = self.prologue()?;
        let root = match self.peek()? {
            TokenKind::StreamEnd if !explicit => return Ok(None),
            TokenKind::StreamEnd
            | TokenKind::DocumentStart
            | TokenKind::DocumentEnd
            | TokenKind::Version { .. }
            | TokenKind::TagPrefix { .. }
                if explicit =>
            {
                self.empty_here()?
            }
            _ => self.node(true, false)?,
        };
        while *self.peek()? == TokenKind::DocumentEnd {
            self.take()?;
        }
        let end = self.scanner.cursor.mark;
        match self.scanner.peek() {
            Ok(token) if token.kind == TokenKind::StreamEnd => Ok(Some(root)),
            Ok(token) => Err(Refusal::AfterTheEnd(token.mark)),
            Err(_) => Err(Refusal::AfterTheEnd(end)),
        }
    }

    /// Directives and the mark of the document's start; whether there was one.
    fn prologue(&mut self) -> Result<bool, Refusal> {
        let mut version = false;
        let mut directives = false;
        loop {
            let mark = self.scanner.peek()?.mark;
            match self.peek()?.clone() {
                TokenKind::Version { .. } if version => return syntax("found duplicate %YAML directive", mark),
                TokenKind::Version { major: 1, minor: 1 } => version = true,
                TokenKind::Version { .. } => return syntax("found incompatible YAML document", mark),
                TokenKind::TagPrefix { handle, prefix } => {
                    if self.tag_prefixes.insert(handle, prefix).is_some() {
                        return syntax("found duplicate %TAG directive", mark);
                    }
                }
                TokenKind::DocumentStart => {
                    self.take()?;
                    return Ok(true);
                }
                _ if directives => return syntax("did not find expected <document start>", mark),
                _ => return Ok(false),
            }
            directives = true;
            self.take()?;
        }
    }

    fn node(&mut self, block: bool, indentless: bool) -> Result<NodeId, Refusal> {
        let start = self.scanner.peek()?.mark;
        if let TokenKind::Alias(name) = self.peek()? {
            let name = name.clone();
            self.take()?;
            let Some(target) = self.anchors.get(&name) else { return Err(Refusal::UnknownAnchor(start)) };
            let kind = Kind::Alias(*target);
            return Ok(self.add(start, kind, None));
        }
        let Properties { anchor, tag } = self.properties()?;
        let content = self.scanner.peek()?.mark;
        match self.peek()? {
            TokenKind::BlockEntry if indentless => self.collection(content, anchor, Self::indentless_sequence),
            TokenKind::Scalar { .. } => {
                let TokenKind::Scalar { text, plain } = self.take()? else { return self.empty_here() };
                let implicit = tag.as_deref().map_or(plain, |tag| tag == "!");
                Ok(self.add(content, Kind::Scalar(Scalar { text, tag, implicit }), anchor))
            }
            TokenKind::FlowSequenceStart => self.collection(content, anchor, Self::flow_sequence),
            TokenKind::FlowMappingStart => self.collection(content, anchor, Self::flow_mapping),
            TokenKind::BlockSequenceStart if block => self.collection(content, anchor, Self::block_sequence),
            TokenKind::BlockMappingStart if block => self.collection(content, anchor, Self::block_mapping),
            _ if anchor.is_some() || tag.is_some() => {
                let implicit = tag.is_none();
                Ok(self.add(start, Kind::Scalar(Scalar { text: String::new(), tag, implicit }), anchor))
            }
            _ => syntax("did not find expected node content", content),
        }
    }

    /// An anchor and a tag, in either order.
    fn properties(&mut self) -> Result<Properties, Refusal> {
        let mut properties = Properties::default();
        for _ in 0..2 {
            let mark = self.scanner.peek()?.mark;
            let wanted = match self.peek()? {
                TokenKind::Anchor(_) => properties.anchor.is_none(),
                TokenKind::Tag { .. } => properties.tag.is_none(),
                _ => false,
            };
            if !wanted {
                break;
            }
            match self.take()? {
                TokenKind::Anchor(name) => properties.anchor = Some(name),
                TokenKind::Tag { handle, suffix } => properties.tag = Some(self.resolve_tag(&handle, suffix, mark)?),
                _ => break,
            }
        }
        Ok(properties)
    }

    fn resolve_tag(&self, handle: &str, suffix: String, mark: Mark) -> Result<String, Refusal> {
        let prefix = match self.tag_prefixes.get(handle) {
            Some(prefix) => prefix.as_str(),
            None => match handle {
                "" => "",
                "!" => "!",
                "!!" => "tag:yaml.org,2002:",
                _ => return syntax("found undefined tag handle", mark),
            },
        };
        Ok(format!("{prefix}{suffix}"))
    }

    /// A collection, which its anchor names from its beginning on.
    fn collection(
        &mut self,
        mark: Mark,
        anchor: Option<String>,
        content: impl FnOnce(&mut Self) -> Result<Kind, Refusal>,
    ) -> Result<NodeId, Refusal> {
        if self.depth >= self.limits.depth {
            return Err(Refusal::TooDeep(mark, self.limits.depth));
        }
        let id = self.add(mark, Kind::Sequence(Vec::new()), anchor);
        let opened_by = self.peek()?.clone();
        self.depth += 1;
        let kind = content(self).map_err(|refusal| match self.peek() {
            // The end of the document is where it shows, not where it is wrong.
            Ok(TokenKind::StreamEnd) => unclosed(&opened_by, mark).unwrap_or(refusal),
            _ => refusal,
        })?;
        self.depth -= 1;
        if let Some(node) = self.nodes.get_mut(id) {
            node.kind = kind;
        }
        Ok(id)
    }

    fn block_sequence(&mut self) -> Result<Kind, Refusal> {
        self.take()?;
        let mut items = Vec::new();
        loop {
            let mark = self.scanner.peek()?.mark;
            match self.take()? {
                TokenKind::BlockEntry => items.push(match self.peek()? {
                    TokenKind::BlockEntry | TokenKind::BlockEnd => self.empty(mark),
                    _ => self.node(true, false)?,
                }),
                TokenKind::BlockEnd => return Ok(Kind::Sequence(items)),
                _ => return syntax("did not find expected '-' indicator", mark),
            }
        }
    }

    /// A sequence in a mapping whose entries are not indented.
    fn indentless_sequence(&mut self) -> Result<Kind, Refusal> {
        let mut items = Vec::new();
        while *self.peek()? == TokenKind::BlockEntry {
            let mark = self.scanner.peek()?.mark;
            self.take()?;
            items.push(match self.peek()? {
                TokenKind::BlockEntry | TokenKind::Key | TokenKind::Value | TokenKind::BlockEnd => self.empty(mark),
                _ => self.node(true, false)?,
            });
        }
        Ok(Kind::Sequence(items))
    }

    fn block_mapping(&mut self) -> Result<Kind, Refusal> {
        self.take()?;
        let mut pairs = Vec::new();
        loop {
            let mark = self.scanner.peek()?.mark;
            match self.take()? {
                TokenKind::Key => {
                    let key = self.block_part(mark)?;
                    let mark = self.scanner.peek()?.mark;
                    let value = if *self.peek()? == TokenKind::Value {
                        self.take()?;
                        self.block_part(mark)?
                    } else {
                        self.empty(mark)
                    };
                    pairs.push((key, value));
                }
                TokenKind::BlockEnd => return Ok(Kind::Mapping(pairs)),
                _ => return syntax("did not find expected key", mark),
            }
        }
    }

    /// The key or the value of a block mapping, which may be empty.
    fn block_part(&mut self, mark: Mark) -> Result<NodeId, Refusal> {
        match self.peek()? {
            TokenKind::Key | TokenKind::Value | TokenKind::BlockEnd => Ok(self.empty(mark)),
            _ => self.node(true, true),
        }
    }

    fn flow_sequence(&mut self) -> Result<Kind, Refusal> {
        self.take()?;
        let mut items = Vec::new();
        loop {
            if !items.is_empty() && *self.peek()? != TokenKind::FlowSequenceEnd {
                self.flow_separator("did not find expected ',' or ']'")?;
            }
            let mark = self.scanner.peek()?.mark;
            match self.peek()? {
                TokenKind::FlowSequenceEnd => {
                    self.take()?;
                    return Ok(Kind::Sequence(items));
                }
                TokenKind::Key => items.push(self.collection(mark, None, |parser| {
                    let pair = parser.flow_pair(&TokenKind::FlowSequenceEnd)?;
                    Ok(Kind::Mapping(vec![pair]))
                })?),
                _ => items.push(self.node(false, false)?),
            }
        }
    }

    fn flow_mapping(&mut self) -> Result<Kind, Refusal> {
        self.take()?;
        let mut pairs = Vec::new();
        loop {
            if !pairs.is_empty() && *self.peek()? != TokenKind::FlowMappingEnd {
                self.flow_separator("did not find expected ',' or '}'")?;
            }
            match self.peek()? {
                TokenKind::FlowMappingEnd => {
                    self.take()?;
                    return Ok(Kind::Mapping(pairs));
                }
                TokenKind::Key => pairs.push(self.flow_pair(&TokenKind::FlowMappingEnd)?),
                _ => {
                    let key = self.node(false, false)?;
                    let value = self.empty_here()?;
                    pairs.push((key, value));
                }
            }
        }
    }

    fn flow_separator(&mut self, otherwise: &'static str) -> Result<(), Refusal> {
        let mark = self.scanner.peek()?.mark;
        match self.take()? {
            TokenKind::FlowEntry => Ok(()),
            _ => syntax(otherwise, mark),
        }
    }

    /// A key and its value, either of which may be empty.
    fn flow_pair(&mut self, end: &TokenKind) -> Result<(NodeId, NodeId), Refusal> {
        self.take()?;
        let key = match self.peek()? {
            TokenKind::Value | TokenKind::FlowEntry => self.empty_here()?,
            token if token == end => self.empty_here()?,
            _ => self.node(false, false)?,
        };
        if *self.peek()? != TokenKind::Value {
            return Ok((key, self.empty_here()?));
        }
        self.take()?;
        let value = match self.peek()? {
            TokenKind::FlowEntry => self.empty_here()?,
            token if token == end => self.empty_here()?,
            _ => self.node(false, false)?,
        };
        Ok((key, value))
    }

    fn peek(&mut self) -> Result<&TokenKind, SyntaxError> {
        self.scanner.peek().map(|token| &token.kind)
    }

    fn take(&mut self) -> Result<TokenKind, SyntaxError> {
        self.scanner.next().map(|token| token.kind)
    }

    fn empty_here(&mut self) -> Result<NodeId, Refusal> {
        let mark = self.scanner.peek()?.mark;
        Ok(self.empty(mark))
    }

    fn empty(&mut self, mark: Mark) -> NodeId {
        self.add(mark, Kind::Scalar(Scalar { text: String::new(), tag: None, implicit: true }), None)
    }

    /// Adds a node. An anchor that is used again names the later node from
    /// here on.
    fn add(&mut self, mark: Mark, kind: Kind, anchor: Option<String>) -> NodeId {
        let id = self.nodes.len();
        self.nodes.push(Node { position: place(self.chunk, mark), kind });
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor, id);
        }
        id
    }
}

/// What is wrong where the document ends within a flow collection.
fn unclosed(opened_by: &TokenKind, mark: Mark) -> Option<Refusal> {
    let message = match opened_by {
        TokenKind::FlowSequenceStart => "a list in brackets has no end",
        TokenKind::FlowMappingStart => "a mapping in braces has no end",
        _ => return None,
    };
    Some(Refusal::Syntax(SyntaxError { message, mark }))
}

fn syntax<T>(message: &'static str, mark: Mark) -> Result<T, Refusal> {
    Err(Refusal::Syntax(SyntaxError { message, mark }))
}

fn place(chunk: &Chunk<'_>, mark: Mark) -> Position {
    position(mark.line + chunk.first_line as usize, mark.column + 1)
}

impl Refusal {
    fn into_problem(self, file: &str, chunk: &Chunk<'_>) -> Problem {
        let at = |message: String, mark: Mark| Problem::in_file(file, message).at(place(chunk, mark));
        match self {
            Self::Syntax(SyntaxError { message, mark }) => {
                let problem = at(format!("is not YAML: {message}"), mark);
                match hint(message) {
                    Some(hint) => problem.hint(hint),
                    None => problem,
                }
            }
            Self::AfterTheEnd(mark) => {
                at("has content after the end of a document, which Kubernetes ignores".to_owned(), mark)
                    .hint("begin the next document with a line `---`")
            }
            Self::TooDeep(mark, depth) => at(format!("is nested deeper than {depth} levels"), mark),
            // The name may be a value that was meant as text, even a secret one.
            Self::UnknownAnchor(mark) => at("an alias has no anchor of its name before it".to_owned(), mark)
                .hint("anchors do not reach over a document separator; quote a text that begins with *"),
        }
    }
}

/// What usually causes an error.
fn hint(message: &str) -> Option<&'static str> {
    match message {
        "found character that cannot start any token" => {
            Some("indent with spaces, not tabs; quote a text that begins with @, ` or %")
        }
        "mapping values are not allowed in this context" => Some("quote a text that contains `: `"),
        "did not find expected key" | "could not find expected ':'" => {
            Some("look at the indentation, and for a missing colon or quote")
        }
        "found incompatible YAML document" => Some("Kubernetes reads YAML 1.1; remove the %YAML directive"),
        "found unknown escape character" => Some("use single quotes for a text with backslashes"),
        _ => None,
    }
}

/// Control characters, which YAML does not allow even within quotes.
fn forbidden_character(file: &str, chunk: &Chunk<'_>) -> Option<Problem> {
    let (mut line, mut column) = (chunk.first_line as usize, 1);
    for character in chunk.text.chars() {
        let allowed =
            matches!(character, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..);
        if !allowed {
            let name = if character == '\0' { "NUL".to_owned() } else { format!("U+{:04X}", u32::from(character)) };
            return Some(
                Problem::in_file(file, format!("has the control character {name}"))
                    .at(position(line, column))
                    .hint("YAML allows no control characters; write it as an escape within double quotes"),
            );
        }
        if character == '\n' {
            (line, column) = (line + 1, 1);
        } else {
            column += 1;
        }
    }
    None
}

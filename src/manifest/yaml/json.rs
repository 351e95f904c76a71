//! JSON with positions: `kubectl` reads content that begins with `{` as a
//! stream of JSON values before it tries YAML.

use serde_json::Value;

use super::{
    Limits, Position, Problem,
    decode::json_number,
    node::{Kind, Node, NodeId, Scalar, Tree},
    position,
    split::Chunk,
};

/// Reads all JSON values of a chunk, separated by nothing but white space.
pub(super) fn parse_stream(file: &str, chunk: &Chunk<'_>, limits: &Limits) -> Result<Vec<Tree>, Box<Problem>> {
    let mut reader = Reader {
        file,
        limits,
        bytes: chunk.text.as_bytes(),
        at: 0,
        line: chunk.first_line as usize,
        column: 1,
        counted: 0,
        nodes: Vec::new(),
    };
    let mut trees = Vec::new();
    loop {
        reader.white_space();
        if reader.peek().is_none() {
            return Ok(trees);
        }
        let root = reader.value(0)?;
        trees.push(Tree { nodes: std::mem::take(&mut reader.nodes), root });
    }
}

struct Reader<'a> {
    file: &'a str,
    limits: &'a Limits,
    bytes: &'a [u8],
    at: usize,
    line: usize,
    /// The column of the byte at `counted`; counted on demand, once a byte.
    column: usize,
    counted: usize,
    nodes: Vec<Node>,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Result<NodeId, Box<Problem>> {
        let place = self.place();
        let kind = match self.peek() {
            Some(b'{' | b'[') if depth >= self.limits.depth => {
                return Err(self.wrong(&format!("is nested deeper than {} levels", self.limits.depth)));
            }
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.array(depth)?,
            Some(b'"') => Kind::Scalar(Scalar { text: self.string()?, tag: None, implicit: false }),
            Some(b'-' | b'0'..=b'9') => Kind::Json(self.number()?),
            Some(b't') => self.literal("true", Value::Bool(true))?,
            Some(b'f') => self.literal("false", Value::Bool(false))?,
            Some(b'n') => self.literal("null", Value::Null)?,
            _ => return Err(self.wrong("is not JSON: expected a value")),
        };
        Ok(self.add(place, kind))
    }

    fn object(&mut self, depth: usize) -> Result<Kind, Box<Problem>> {
        let mut pairs = Vec::new();
        self.at += 1;
        self.white_space();
        if self.take(b'}') {
            return Ok(Kind::Mapping(pairs));
        }
        loop {
            self.white_space();
            let place = self.place();
            if self.peek() != Some(b'"') {
                return Err(self.wrong("is not JSON: expected a key in double quotes"));
            }
            let text = self.string()?;
            let key = self.add(place, Kind::Scalar(Scalar { text, tag: None, implicit: false }));
            self.white_space();
            if !self.take(b':') {
                return Err(self.wrong("is not JSON: expected `:` after a key"));
            }
            self.white_space();
            pairs.push((key, self.value(depth + 1)?));
            self.white_space();
            if self.take(b'}') {
                return Ok(Kind::Mapping(pairs));
            }
            if !self.take(b',') {
                return Err(self.wrong("is not JSON: expected `,` or `}`"));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Kind, Box<Problem>> {
        let mut items = Vec::new();
        self.at += 1;
        self.white_space();
        if self.take(b']') {
            return Ok(Kind::Sequence(items));
        }
        loop {
            self.white_space();
            items.push(self.value(depth + 1)?);
            self.white_space();
            if self.take(b']') {
                return Ok(Kind::Sequence(items));
            }
            if !self.take(b',') {
                return Err(self.wrong("is not JSON: expected `,` or `]`"));
            }
        }
    }

    fn string(&mut self) -> Result<String, Box<Problem>> {
        self.at += 1;
        let mut text = Vec::new();
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    // The input is UTF-8 and only whole characters were taken.
                    return Ok(String::from_utf8_lossy(&text).into_owned());
                }
                Some(b'\\') => {
                    let character = self.escape()?;
                    text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
                Some(byte) if byte >= b' ' => {
                    text.push(byte);
                    self.at += 1;
                }
                Some(_) => return Err(self.wrong("is not JSON: a control character within a text")),
                None => return Err(self.wrong("is not JSON: a text has no end")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Box<Problem>> {
        let escaped = self.bytes.get(self.at + 1).copied();
        let character = match escaped {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            _ => return Err(self.wrong("is not JSON: an unknown escape within a text")),
        };
        self.at += 2;
        Ok(character)
    }

    /// `\uXXXX`, of which two may form one character. Half of a pair becomes
    /// the replacement character, as in Go.
    fn unicode_escape(&mut self) -> Result<char, Box<Problem>> {
        let Some(first) = self.hex(self.at) else {
            return Err(self.wrong("is not JSON: an unknown escape within a text"));
        };
        self.at += 6;
        if (0xd800..0xdc00).contains(&first)
            && let Some(second) = self.hex(self.at).filter(|second| (0xdc00..0xe000).contains(second))
        {
            self.at += 6;
            let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    /// The number of a `\uXXXX` that begins at an index.
    fn hex(&self, at: usize) -> Option<u32> {
        let digits = self.bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    }

    fn number(&mut self) -> Result<Value, Box<Problem>> {
        let start = self.at;
        while matches!(self.peek(), Some(b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')) {
            self.at += 1;
        }
        let text = self.bytes.get(start..self.at).unwrap_or_default();
        // serde_json knows the grammar; its floats are not always the nearest.
        let number = match serde_json::from_slice::<Value>(text) {
            Ok(Value::Number(number)) if number.is_f64() => {
                std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).and_then(json_number)
            }
            Ok(Value::Number(number)) => Some(number),
            _ => None,
        };
        match number {
            Some(number) => Ok(Value::Number(number)),
            None => Err(self.wrong("is not JSON: not a number, or too large for one")),
        }
    }

    fn literal(&mut self, text: &str, value: Value) -> Result<Kind, Box<Problem>> {
        if !self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(text.as_bytes())) {
            return Err(self.wrong("is not JSON: expected a value"));
        }
        self.at += text.len();
        Ok(Kind::Json(value))
    }

    fn white_space(&mut self) {
        while let Some(byte @ (b' ' | b'\t' | b'\r' | b'\n')) = self.peek() {
            self.at += 1;
            if byte == b'\n' {
                self.line += 1;
                (self.column, self.counted) = (1, self.at);
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, expected: u8) -> bool {
        let found = self.peek() == Some(expected);
        if found {
            self.at += 1;
        }
        found
    }

    fn add(&mut self, position: Position, kind: Kind) -> NodeId {
        self.nodes.push(Node { position, kind });
        self.nodes.len() - 1
    }

    fn place(&mut self) -> Position {
        let passed = self.bytes.get(self.counted..self.at).unwrap_or_default();
        // The first byte of each character counts.
        self.column += passed.iter().filter(|byte| (**byte & 0xc0) != 0x80).count();
        self.counted = self.at;
        position(self.line, self.column)
    }

    fn wrong(&mut self, message: &str) -> Box<Problem> {
        Box::new(Problem::in_file(self.file, message).at(self.place()))
    }
}

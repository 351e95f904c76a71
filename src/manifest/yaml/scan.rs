//! Text into tokens, after the grammar of YAML 1.1 as libyaml and its Go
//! descendants scan it.
//!
//! The YAML 1.2 parsers at hand differ from Kubernetes on tabs, flow
//! collections, escapes and line breaks, and the ports of libyaml panic on
//! some input; so the scanner is ours, held against Kubernetes' own library by
//! `tests/yaml_golden.rs`.

use std::collections::VecDeque;

use super::cursor::{Cursor, Mark};

/// What is wrong with the text, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SyntaxError {
    pub(super) message: &'static str,
    pub(super) mark: Mark,
}

impl SyntaxError {
    pub(super) fn new<T>(message: &'static str, mark: Mark) -> Result<T, Self> {
        Err(Self { message, mark })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) mark: Mark,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TokenKind {
    StreamEnd,
    Version { major: u32, minor: u32 },
    TagPrefix { handle: String, prefix: String },
    DocumentStart,
    DocumentEnd,
    BlockSequenceStart,
    BlockMappingStart,
    BlockEnd,
    FlowSequenceStart,
    FlowSequenceEnd,
    FlowMappingStart,
    FlowMappingEnd,
    BlockEntry,
    FlowEntry,
    Key,
    Value,
    Alias(String),
    Anchor(String),
    Tag { handle: String, suffix: String },
    Scalar { text: String, plain: bool },
}

/// A token that becomes a key if a `:` follows on its line.
#[derive(Debug, Clone, Copy)]
struct SimpleKey {
    /// Nothing else than a key can be at this place.
    required: bool,
    token_number: usize,
    mark: Mark,
}

/// A key without `?` has its `:` within so many characters.
const SIMPLE_KEY_LENGTH: usize = 1024;

pub(super) struct Scanner<'a> {
    pub(super) cursor: Cursor<'a>,
    tokens: VecDeque<Token>,
    tokens_taken: usize,
    ended: bool,
    pub(super) flow_level: usize,
    /// Column of the innermost block collection, -1 outside of any.
    pub(super) indent: isize,
    indents: Vec<isize>,
    pub(super) simple_key_allowed: bool,
    /// The possible key of each flow level, the block level first.
    simple_keys: Vec<Option<SimpleKey>>,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            cursor: Cursor::new(text),
            tokens: VecDeque::new(),
            tokens_taken: 0,
            ended: false,
            flow_level: 0,
            indent: -1,
            indents: Vec::new(),
            simple_key_allowed: true,
            simple_keys: vec![None],
        }
    }

    /// The next token, which stays.
    pub(super) fn peek(&mut self) -> Result<&Token, SyntaxError> {
        self.fill()?;
        // After the end of the stream there is always one more end.
        if self.tokens.is_empty() {
            let mark = self.cursor.mark;
            self.tokens.push_back(Token { kind: TokenKind::StreamEnd, mark });
        }
        Ok(&self.tokens[0])
    }

    /// Takes the next token.
    pub(super) fn next(&mut self) -> Result<Token, SyntaxError> {
        self.fill()?;
        let end = Token { kind: TokenKind::StreamEnd, mark: self.cursor.mark };
        self.tokens_taken += 1;
        Ok(self.tokens.pop_front().unwrap_or(end))
    }

    /// Scans until the first token is known for certain: until then a `:` may
    /// still put a key before it.
    fn fill(&mut self) -> Result<(), SyntaxError> {
        loop {
            if !self.tokens.is_empty() {
                let head = self.tokens_taken;
                let level = self.simple_keys.iter().position(|key| key.is_some_and(|key| key.token_number == head));
                let Some(level) = level else { return Ok(()) };
                if self.valid_simple_key(level)?.is_none() {
                    return Ok(());
                }
            }
            if self.ended {
                return Ok(());
            }
            self.fetch()?;
        }
    }

    fn fetch(&mut self) -> Result<(), SyntaxError> {
        self.skip_to_token();
        self.unroll_indent(self.cursor.column());
        let flow = self.flow_level > 0;
        let at_margin = self.cursor.mark.column == 0;
        let blank_follows = self.cursor.is_blank_or_end_at(1);
        match self.cursor.byte(0) {
            0 => self.fetch_stream_end(),
            b'%' if at_margin => self.fetch_directive(),
            b'-' if at_margin && self.cursor.is_document_mark(b"---") => {
                self.fetch_document_mark(TokenKind::DocumentStart)
            }
            b'.' if at_margin && self.cursor.is_document_mark(b"...") => {
                self.fetch_document_mark(TokenKind::DocumentEnd)
            }
            b'[' => self.fetch_flow_start(TokenKind::FlowSequenceStart),
            b'{' => self.fetch_flow_start(TokenKind::FlowMappingStart),
            b']' => self.fetch_flow_end(TokenKind::FlowSequenceEnd),
            b'}' => self.fetch_flow_end(TokenKind::FlowMappingEnd),
            b',' => self.fetch_flow_entry(),
            b'-' if blank_follows => self.fetch_block_entry(),
            b'?' if flow || blank_follows => self.fetch_key(),
            b':' if flow || blank_follows => self.fetch_value(),
            b'*' => self.fetch_named(Self::scan_alias),
            b'&' => self.fetch_named(Self::scan_anchor),
            b'!' => self.fetch_named(Self::scan_tag),
            b'|' if !flow => self.fetch_block_scalar(true),
            b'>' if !flow => self.fetch_block_scalar(false),
            b'\'' => self.fetch_named(|scanner| scanner.scan_quoted(b'\'')),
            b'"' => self.fetch_named(|scanner| scanner.scan_quoted(b'"')),
            b'-' | b'?' | b':' => self.fetch_named(Self::scan_plain),
            b'#' | b'|' | b'>' | b'%' | b'@' | b'`' | b'\t' => {
                SyntaxError::new("found character that cannot start any token", self.cursor.mark)
            }
            _ => self.fetch_named(Self::scan_plain),
        }
    }

    /// Skips white space, comments and line breaks. A tab is no white space
    /// where a block key may begin.
    fn skip_to_token(&mut self) {
        loop {
            while self.cursor.byte(0) == b' '
                || (self.cursor.byte(0) == b'\t' && (self.flow_level > 0 || !self.simple_key_allowed))
            {
                self.cursor.skip();
            }
            self.cursor.skip_comment();
            if !self.cursor.is_break_at(0) {
                return;
            }
            self.cursor.skip_line();
            if self.flow_level == 0 {
                self.simple_key_allowed = true;
            }
        }
    }

    fn fetch_stream_end(&mut self) -> Result<(), SyntaxError> {
        self.unroll_indent(-1);
        self.remove_simple_key()?;
        self.simple_key_allowed = false;
        self.ended = true;
        self.push(TokenKind::StreamEnd, self.cursor.mark);
        Ok(())
    }

    fn fetch_directive(&mut self) -> Result<(), SyntaxError> {
        self.unroll_indent(-1);
        self.remove_simple_key()?;
        self.simple_key_allowed = false;
        let token = self.scan_directive()?;
        self.tokens.push_back(token);
        Ok(())
    }

    fn fetch_document_mark(&mut self, kind: TokenKind) -> Result<(), SyntaxError> {
        self.unroll_indent(-1);
        self.remove_simple_key()?;
        self.simple_key_allowed = false;
        self.push(kind, self.cursor.mark);
        for _ in 0..3 {
            self.cursor.skip();
        }
        Ok(())
    }

    fn fetch_flow_start(&mut self, kind: TokenKind) -> Result<(), SyntaxError> {
        self.save_simple_key()?;
        self.simple_keys.push(None);
        self.flow_level += 1;
        self.simple_key_allowed = true;
        self.indicator(kind);
        Ok(())
    }

    fn fetch_flow_end(&mut self, kind: TokenKind) -> Result<(), SyntaxError> {
        self.remove_simple_key()?;
        if self.flow_level > 0 {
            self.flow_level -= 1;
            self.simple_keys.pop();
        }
        self.simple_key_allowed = false;
        self.indicator(kind);
        Ok(())
    }

    fn fetch_flow_entry(&mut self) -> Result<(), SyntaxError> {
        self.remove_simple_key()?;
        self.simple_key_allowed = true;
        self.indicator(TokenKind::FlowEntry);
        Ok(())
    }

    fn fetch_block_entry(&mut self) -> Result<(), SyntaxError> {
        if self.flow_level == 0 {
            if !self.simple_key_allowed {
                return SyntaxError::new("block sequence entries are not allowed in this context", self.cursor.mark);
            }
            self.roll_indent(self.cursor.mark, None, TokenKind::BlockSequenceStart);
        }
        self.remove_simple_key()?;
        self.simple_key_allowed = true;
        self.indicator(TokenKind::BlockEntry);
        Ok(())
    }

    fn fetch_key(&mut self) -> Result<(), SyntaxError> {
        if self.flow_level == 0 {
            if !self.simple_key_allowed {
                return SyntaxError::new("mapping keys are not allowed in this context", self.cursor.mark);
            }
            self.roll_indent(self.cursor.mark, None, TokenKind::BlockMappingStart);
        }
        self.remove_simple_key()?;
        self.simple_key_allowed = self.flow_level == 0;
        self.indicator(TokenKind::Key);
        Ok(())
    }

    fn fetch_value(&mut self) -> Result<(), SyntaxError> {
        let level = self.simple_keys.len().saturating_sub(1);
        if let Some(key) = self.valid_simple_key(level)? {
            let index = key.token_number.saturating_sub(self.tokens_taken).min(self.tokens.len());
            self.tokens.insert(index, Token { kind: TokenKind::Key, mark: key.mark });
            self.roll_indent(key.mark, Some(index), TokenKind::BlockMappingStart);
            self.set_simple_key(None);
            self.simple_key_allowed = false;
        } else {
            if self.flow_level == 0 {
                if !self.simple_key_allowed {
                    return SyntaxError::new("mapping values are not allowed in this context", self.cursor.mark);
                }
                self.roll_indent(self.cursor.mark, None, TokenKind::BlockMappingStart);
            }
            self.simple_key_allowed = self.flow_level == 0;
        }
        self.indicator(TokenKind::Value);
        Ok(())
    }

    /// A token that may be a key and that no key follows on its line.
    fn fetch_named(&mut self, scan: impl FnOnce(&mut Self) -> Result<Token, SyntaxError>) -> Result<(), SyntaxError> {
        self.save_simple_key()?;
        self.simple_key_allowed = false;
        let token = scan(self)?;
        self.tokens.push_back(token);
        Ok(())
    }

    fn fetch_block_scalar(&mut self, literal: bool) -> Result<(), SyntaxError> {
        self.remove_simple_key()?;
        self.simple_key_allowed = true;
        let token = self.scan_block_scalar(literal)?;
        self.tokens.push_back(token);
        Ok(())
    }

    fn indicator(&mut self, kind: TokenKind) {
        self.push(kind, self.cursor.mark);
        self.cursor.skip();
    }

    fn push(&mut self, kind: TokenKind, mark: Mark) {
        self.tokens.push_back(Token { kind, mark });
    }

    /// Opens a block collection at a column that is deeper than the one
    /// around it.
    fn roll_indent(&mut self, at: Mark, index: Option<usize>, kind: TokenKind) {
        let column = isize::try_from(at.column).unwrap_or(isize::MAX);
        if self.flow_level > 0 || self.indent >= column {
            return;
        }
        self.indents.push(self.indent);
        self.indent = column;
        let token = Token { kind, mark: at };
        match index {
            Some(index) => self.tokens.insert(index, token),
            None => self.tokens.push_back(token),
        }
    }

    fn unroll_indent(&mut self, column: isize) {
        while self.flow_level == 0 && self.indent > column {
            self.push(TokenKind::BlockEnd, self.cursor.mark);
            self.indent = self.indents.pop().unwrap_or(-1);
        }
    }

    fn save_simple_key(&mut self) -> Result<(), SyntaxError> {
        if self.simple_key_allowed {
            let key = SimpleKey {
                required: self.flow_level == 0 && self.indent == self.cursor.column(),
                token_number: self.tokens_taken + self.tokens.len(),
                mark: self.cursor.mark,
            };
            self.remove_simple_key()?;
            self.set_simple_key(Some(key));
        }
        Ok(())
    }

    fn remove_simple_key(&mut self) -> Result<(), SyntaxError> {
        if let Some(Some(key)) = self.simple_keys.last().copied()
            && key.required
        {
            return SyntaxError::new("could not find expected ':'", key.mark);
        }
        self.set_simple_key(None);
        Ok(())
    }

    fn set_simple_key(&mut self, key: Option<SimpleKey>) {
        if let Some(last) = self.simple_keys.last_mut() {
            *last = key;
        }
    }

    /// The possible key of a flow level, unless the text has gone past where
    /// its `:` would have to be.
    fn valid_simple_key(&mut self, level: usize) -> Result<Option<SimpleKey>, SyntaxError> {
        let Some(Some(key)) = self.simple_keys.get(level).copied() else { return Ok(None) };
        let here = self.cursor.mark;
        if key.mark.line == here.line && key.mark.index + SIMPLE_KEY_LENGTH >= here.index {
            return Ok(Some(key));
        }
        if key.required {
            return SyntaxError::new("could not find expected ':'", key.mark);
        }
        self.simple_keys[level] = None;
        Ok(None)
    }
}

//! The tokens that carry text: scalars, anchors, tags, directives.

use super::{
    cursor::Mark,
    scan::{Scanner, SyntaxError, Token, TokenKind},
};

impl Scanner<'_> {
    pub(super) fn scan_alias(&mut self) -> Result<Token, SyntaxError> {
        let (name, mark) = self.scan_name()?;
        Ok(Token { kind: TokenKind::Alias(name), mark })
    }

    pub(super) fn scan_anchor(&mut self) -> Result<Token, SyntaxError> {
        let (name, mark) = self.scan_name()?;
        Ok(Token { kind: TokenKind::Anchor(name), mark })
    }

    fn scan_name(&mut self) -> Result<(String, Mark), SyntaxError> {
        let mark = self.cursor.mark;
        self.cursor.skip();
        let name = self.word();
        let ends = self.cursor.is_blank_or_end_at(0)
            || matches!(self.cursor.byte(0), b'?' | b':' | b',' | b']' | b'}' | b'%' | b'@' | b'`');
        if name.is_empty() || !ends {
            return SyntaxError::new("the name of an anchor or alias consists of letters, digits, - and _", mark);
        }
        Ok((name, mark))
    }

    fn word(&mut self) -> String {
        let mut word = String::new();
        while self.cursor.is_word() {
            self.cursor.read(&mut word);
        }
        word
    }

    pub(super) fn scan_tag(&mut self) -> Result<Token, SyntaxError> {
        let mark = self.cursor.mark;
        let (handle, suffix) = if self.cursor.byte(1) == b'<' {
            self.cursor.skip();
            self.cursor.skip();
            let uri = self.tag_uri("", mark)?;
            if self.cursor.byte(0) != b'>' {
                return SyntaxError::new("a tag in angle brackets has no end", mark);
            }
            self.cursor.skip();
            (String::new(), uri)
        } else {
            self.shorthand_tag(mark)?
        };
        if !self.cursor.is_blank_or_end_at(0) {
            return SyntaxError::new("a tag must be followed by white space", mark);
        }
        Ok(Token { kind: TokenKind::Tag { handle, suffix }, mark })
    }

    /// `!!str`, `!handle!suffix`, `!suffix` or `!`.
    fn shorthand_tag(&mut self, mark: Mark) -> Result<(String, String), SyntaxError> {
        let handle = self.tag_handle();
        if handle.len() > 1 && handle.ends_with('!') {
            return Ok((handle, self.tag_uri("", mark)?));
        }
        let suffix = self.tag_uri(&handle, mark)?;
        Ok(if suffix.is_empty() { (String::new(), "!".to_owned()) } else { ("!".to_owned(), suffix) })
    }

    fn tag_handle(&mut self) -> String {
        let mut handle = String::new();
        self.cursor.read(&mut handle);
        handle.push_str(&self.word());
        if self.cursor.byte(0) == b'!' {
            self.cursor.read(&mut handle);
        }
        handle
    }

    /// The characters of a tag after its handle; what was read as a handle
    /// without a closing `!` belongs to them.
    fn tag_uri(&mut self, head: &str, mark: Mark) -> Result<String, SyntaxError> {
        let mut uri = head.get(1..).unwrap_or_default().to_owned();
        let mut found = !head.is_empty();
        let marks = b";/?:@&=+$,.!~*'()[]%";
        while self.cursor.is_word() || marks.contains(&self.cursor.byte(0)) {
            found = true;
            if self.cursor.byte(0) == b'%' {
                self.uri_escape(&mut uri, mark)?;
            } else {
                self.cursor.read(&mut uri);
            }
        }
        if found { Ok(uri) } else { SyntaxError::new("a tag has no name", mark) }
    }

    /// One character written as `%XX` for each of its bytes.
    fn uri_escape(&mut self, uri: &mut String, mark: Mark) -> Result<(), SyntaxError> {
        let mut bytes = Vec::new();
        let mut width = 1;
        while bytes.len() < width {
            let (high, low) = (hex_digit(self.cursor.byte(1)), hex_digit(self.cursor.byte(2)));
            let (b'%', Some(high), Some(low)) = (self.cursor.byte(0), high, low) else {
                return SyntaxError::new("a tag has a broken %-escape", mark);
            };
            let byte = u8::try_from(high * 16 + low).unwrap_or_default();
            if bytes.is_empty() {
                width = match byte {
                    0xf0.. => 4,
                    0xe0.. => 3,
                    0xc0.. => 2,
                    _ => 1,
                };
            }
            bytes.push(byte);
            for _ in 0..3 {
                self.cursor.skip();
            }
        }
        match std::str::from_utf8(&bytes) {
            Ok(character) => uri.push_str(character),
            Err(_) => return SyntaxError::new("a tag has a broken %-escape", mark),
        }
        Ok(())
    }

    pub(super) fn scan_directive(&mut self) -> Result<Token, SyntaxError> {
        let mark = self.cursor.mark;
        self.cursor.skip();
        let name = self.word();
        if !self.cursor.is_blank_or_end_at(0) {
            return SyntaxError::new("found unknown directive name", mark);
        }
        self.cursor.skip_blanks();
        let kind = match name.as_str() {
            "YAML" => self.version(mark)?,
            "TAG" => self.tag_prefix(mark)?,
            _ => return SyntaxError::new("found unknown directive name", mark),
        };
        self.cursor.skip_blanks();
        self.cursor.skip_comment();
        if !self.cursor.is_end() && !self.cursor.is_break_at(0) {
            return SyntaxError::new("did not find expected comment or line break", mark);
        }
        if self.cursor.is_break_at(0) {
            self.cursor.skip_line();
        }
        Ok(Token { kind, mark })
    }

    fn version(&mut self, mark: Mark) -> Result<TokenKind, SyntaxError> {
        let major = self.version_number(mark)?;
        if self.cursor.byte(0) != b'.' {
            return SyntaxError::new("did not find expected version number", mark);
        }
        self.cursor.skip();
        let minor = self.version_number(mark)?;
        Ok(TokenKind::Version { major, minor })
    }

    fn version_number(&mut self, mark: Mark) -> Result<u32, SyntaxError> {
        let mut digits = String::new();
        while self.cursor.byte(0).is_ascii_digit() && digits.len() < 3 {
            self.cursor.read(&mut digits);
        }
        match digits.parse() {
            Ok(number) if digits.len() < 3 => Ok(number),
            _ => SyntaxError::new("did not find expected version number", mark),
        }
    }

    fn tag_prefix(&mut self, mark: Mark) -> Result<TokenKind, SyntaxError> {
        if self.cursor.byte(0) != b'!' {
            return SyntaxError::new("did not find expected '!'", mark);
        }
        let handle = self.tag_handle();
        if handle != "!" && !(handle.len() > 1 && handle.ends_with('!')) {
            return SyntaxError::new("did not find expected '!'", mark);
        }
        if !self.cursor.is_blank() {
            return SyntaxError::new("did not find expected whitespace", mark);
        }
        self.cursor.skip_blanks();
        let prefix = self.tag_uri("", mark)?;
        if !self.cursor.is_blank_or_end_at(0) {
            return SyntaxError::new("did not find expected whitespace or line break", mark);
        }
        Ok(TokenKind::TagPrefix { handle, prefix })
    }

    pub(super) fn scan_block_scalar(&mut self, literal: bool) -> Result<Token, SyntaxError> {
        let mark = self.cursor.mark;
        self.cursor.skip();
        let (chomping, increment) = self.block_header(mark)?;
        let mut indent = match increment {
            Some(increment) => usize::try_from(self.indent.max(0)).unwrap_or_default() + increment,
            None => 0,
        };
        let (mut text, mut leading, mut trailing) = (String::new(), String::new(), String::new());
        self.block_breaks(&mut indent, &mut trailing)?;
        let mut after_blank = false;
        while self.cursor.mark.column == indent && !self.cursor.is_end() {
            let blank = self.cursor.is_blank();
            if !literal && leading.starts_with('\n') && !after_blank && !blank {
                // Folding: a single line break between two lines is a space.
                if trailing.is_empty() {
                    text.push(' ');
                }
                leading.clear();
            } else {
                text.push_str(&std::mem::take(&mut leading));
            }
            text.push_str(&std::mem::take(&mut trailing));
            after_blank = blank;
            while !self.cursor.is_end() && !self.cursor.is_break_at(0) {
                self.cursor.read(&mut text);
            }
            if self.cursor.is_break_at(0) {
                self.cursor.read_line(&mut leading);
            }
            self.block_breaks(&mut indent, &mut trailing)?;
        }
        if chomping != Chomping::Strip {
            text.push_str(&leading);
        }
        if chomping == Chomping::Keep {
            text.push_str(&trailing);
        }
        Ok(Token { kind: TokenKind::Scalar { text, plain: false }, mark })
    }

    /// What follows `|` or `>` on its line: how to chomp and how far the text
    /// is indented, in either order.
    fn block_header(&mut self, mark: Mark) -> Result<(Chomping, Option<usize>), SyntaxError> {
        let (mut chomping, mut increment) = (None, None);
        for _ in 0..2 {
            match self.cursor.byte(0) {
                sign @ (b'+' | b'-') if chomping.is_none() => {
                    chomping = Some(if sign == b'+' { Chomping::Keep } else { Chomping::Strip });
                    self.cursor.skip();
                }
                b'0' if increment.is_none() => {
                    return SyntaxError::new("found an indentation indicator equal to 0", mark);
                }
                digit @ b'1'..=b'9' if increment.is_none() => {
                    increment = Some(usize::from(digit - b'0'));
                    self.cursor.skip();
                }
                _ => {}
            }
        }
        self.cursor.skip_blanks();
        self.cursor.skip_comment();
        if !self.cursor.is_end() && !self.cursor.is_break_at(0) {
            return SyntaxError::new("did not find expected comment or line break after | or >", mark);
        }
        if self.cursor.is_break_at(0) {
            self.cursor.skip_line();
        }
        Ok((chomping.unwrap_or(Chomping::Clip), increment))
    }

    /// Takes the indentation and empty lines before the next line of a block
    /// scalar; an indentation of 0 is found out.
    fn block_breaks(&mut self, indent: &mut usize, breaks: &mut String) -> Result<(), SyntaxError> {
        let mut deepest = 0;
        loop {
            let within = |column: usize| *indent == 0 || column < *indent;
            while within(self.cursor.mark.column) && self.cursor.byte(0) == b' ' {
                self.cursor.skip();
            }
            deepest = deepest.max(self.cursor.mark.column);
            if within(self.cursor.mark.column) && self.cursor.byte(0) == b'\t' {
                return SyntaxError::new(
                    "found a tab character where an indentation space is expected",
                    self.cursor.mark,
                );
            }
            if !self.cursor.is_break_at(0) {
                break;
            }
            self.cursor.read_line(breaks);
        }
        if *indent == 0 {
            *indent = deepest.max(usize::try_from(self.indent + 1).unwrap_or_default()).max(1);
        }
        Ok(())
    }

    pub(super) fn scan_quoted(&mut self, quote: u8) -> Result<Token, SyntaxError> {
        let mark = self.cursor.mark;
        self.cursor.skip();
        let mut text = String::new();
        let mut fold = Fold::default();
        loop {
            let at_margin = self.cursor.mark.column == 0;
            if at_margin && (self.cursor.is_document_mark(b"---") || self.cursor.is_document_mark(b"...")) {
                return SyntaxError::new("found a document separator within a quoted text", mark);
            }
            if self.cursor.is_end() {
                return SyntaxError::new("a quoted text has no end", mark);
            }
            while !self.cursor.is_blank_or_end_at(0) {
                match self.cursor.byte(0) {
                    b'\'' if quote == b'\'' && self.cursor.byte(1) == b'\'' => {
                        text.push('\'');
                        self.cursor.skip();
                        self.cursor.skip();
                    }
                    byte if byte == quote => break,
                    b'\\' if quote == b'"' && self.cursor.is_break_at(1) => {
                        self.cursor.skip();
                        self.cursor.skip_line();
                        fold.escaped_break = true;
                        break;
                    }
                    b'\\' if quote == b'"' => self.escape(&mut text)?,
                    _ => self.cursor.read(&mut text),
                }
            }
            if self.cursor.byte(0) == quote {
                break;
            }
            self.take_white_space(&mut fold, None)?;
            fold.apply(&mut text);
        }
        self.cursor.skip();
        Ok(Token { kind: TokenKind::Scalar { text, plain: false }, mark })
    }

    fn escape(&mut self, text: &mut String) -> Result<(), SyntaxError> {
        let mark = self.cursor.mark;
        let (character, digits) = match self.cursor.byte(1) {
            b'0' => ('\0', 0),
            b'a' => ('\u{7}', 0),
            b'b' => ('\u{8}', 0),
            b't' | b'\t' => ('\t', 0),
            b'n' => ('\n', 0),
            b'v' => ('\u{b}', 0),
            b'f' => ('\u{c}', 0),
            b'r' => ('\r', 0),
            b'e' => ('\u{1b}', 0),
            b' ' => (' ', 0),
            b'"' => ('"', 0),
            b'\'' => ('\'', 0),
            b'\\' => ('\\', 0),
            b'N' => ('\u{85}', 0),
            b'_' => ('\u{a0}', 0),
            b'L' => ('\u{2028}', 0),
            b'P' => ('\u{2029}', 0),
            b'x' => ('\0', 2),
            b'u' => ('\0', 4),
            b'U' => ('\0', 8),
            _ => return SyntaxError::new("found unknown escape character", mark),
        };
        self.cursor.skip();
        self.cursor.skip();
        if digits == 0 {
            text.push(character);
            return Ok(());
        }
        let mut code: u32 = 0;
        for _ in 0..digits {
            let Some(digit) = hex_digit(self.cursor.byte(0)) else {
                return SyntaxError::new("did not find expected hexadecimal number", mark);
            };
            code = code.wrapping_shl(4) | digit;
            self.cursor.skip();
        }
        match char::from_u32(code) {
            Some(character) => text.push(character),
            None => return SyntaxError::new("found invalid Unicode character escape code", mark),
        }
        Ok(())
    }

    pub(super) fn scan_plain(&mut self) -> Result<Token, SyntaxError> {
        let mark = self.cursor.mark;
        let indent = usize::try_from(self.indent + 1).unwrap_or_default();
        let mut text = String::new();
        let mut fold = Fold::default();
        loop {
            let at_margin = self.cursor.mark.column == 0;
            let ends = at_margin && (self.cursor.is_document_mark(b"---") || self.cursor.is_document_mark(b"..."));
            if ends || self.cursor.byte(0) == b'#' {
                break;
            }
            while !self.cursor.is_blank_or_end_at(0) && !self.ends_plain() {
                fold.apply(&mut text);
                self.cursor.read(&mut text);
            }
            if !self.cursor.is_blank() && !self.cursor.is_break_at(0) {
                break;
            }
            self.take_white_space(&mut fold, Some(indent))?;
            if self.flow_level == 0 && self.cursor.mark.column < indent {
                break;
            }
        }
        // White space at the end belongs to no scalar.
        if fold.broken {
            self.simple_key_allowed = true;
        }
        Ok(Token { kind: TokenKind::Scalar { text, plain: true }, mark })
    }

    fn ends_plain(&self) -> bool {
        match self.cursor.byte(0) {
            b':' => self.cursor.is_blank_or_end_at(1),
            b',' | b'?' | b'[' | b']' | b'{' | b'}' => self.flow_level > 0,
            _ => false,
        }
    }

    /// Takes the white space within a scalar. In a plain one, which has an
    /// indentation, tabs may not stand for it.
    fn take_white_space(&mut self, fold: &mut Fold, plain: Option<usize>) -> Result<(), SyntaxError> {
        while self.cursor.is_blank() || self.cursor.is_break_at(0) {
            let broken = fold.broken || fold.escaped_break;
            if self.cursor.is_break_at(0) {
                if broken {
                    self.cursor.read_line(&mut fold.trailing);
                } else {
                    fold.blanks.clear();
                    self.cursor.read_line(&mut fold.leading);
                    fold.broken = true;
                }
            } else if broken {
                if plain.is_some_and(|indent| self.cursor.byte(0) == b'\t' && self.cursor.mark.column < indent) {
                    return SyntaxError::new("found a tab character that violates indentation", self.cursor.mark);
                }
                self.cursor.skip();
            } else {
                self.cursor.read(&mut fold.blanks);
            }
        }
        Ok(())
    }
}

/// White space within a scalar that is not yet part of its text.
#[derive(Default)]
struct Fold {
    /// A line break was passed, so that further blanks are indentation.
    broken: bool,
    /// The line break was escaped (`\` at the end of a line).
    escaped_break: bool,
    blanks: String,
    leading: String,
    trailing: String,
}

impl Fold {
    /// Appends what the white space means: one line break is a space, of more
    /// the first is dropped.
    fn apply(&mut self, text: &mut String) {
        if !self.broken && !self.escaped_break && self.blanks.is_empty() {
            return;
        }
        if self.broken || self.escaped_break {
            if self.leading.starts_with('\n') {
                text.push_str(if self.trailing.is_empty() { " " } else { &self.trailing });
            } else {
                text.push_str(&self.leading);
                text.push_str(&self.trailing);
            }
        } else {
            text.push_str(&self.blanks);
        }
        *self = Self::default();
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Chomping {
    Strip,
    Clip,
    Keep,
}

fn hex_digit(byte: u8) -> Option<u32> {
    char::from(byte).to_digit(16)
}

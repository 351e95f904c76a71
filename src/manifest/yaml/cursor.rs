//! A place in a text, and the character classes of YAML.

/// A place: all counted from 0, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Mark {
    pub(super) index: usize,
    pub(super) line: usize,
    pub(super) column: usize,
}

/// Walks a text that holds no NUL: a NUL stands for its end.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    pub(super) mark: Mark,
}

impl<'a> Cursor<'a> {
    /// Begins after a byte order mark. Within a text one is a character like
    /// any other.
    pub(super) fn new(text: &'a str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self { bytes: text.as_bytes(), at: 0, mark: Mark::default() }
    }

    /// The byte so many bytes ahead, 0 beyond the end.
    pub(super) fn byte(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    pub(super) fn column(&self) -> isize {
        isize::try_from(self.mark.column).unwrap_or(isize::MAX)
    }

    pub(super) fn is_end(&self) -> bool {
        self.byte(0) == 0
    }

    pub(super) fn is_blank(&self) -> bool {
        matches!(self.byte(0), b' ' | b'\t')
    }

    pub(super) fn is_break_at(&self, ahead: usize) -> bool {
        self.break_width(ahead) > 0
    }

    pub(super) fn is_blank_or_end_at(&self, ahead: usize) -> bool {
        matches!(self.byte(ahead), b' ' | b'\t' | 0) || self.is_break_at(ahead)
    }

    /// A letter, digit, `_` or `-`: what names of anchors and tags consist of.
    pub(super) fn is_word(&self) -> bool {
        matches!(self.byte(0), b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'_' | b'-')
    }

    /// Whether a document mark (`---` or `...`) stands here, alone.
    pub(super) fn is_document_mark(&self, mark: &[u8; 3]) -> bool {
        (0..3).all(|index| self.byte(index) == mark[index]) && self.is_blank_or_end_at(3)
    }

    /// Line feed, carriage return, both, next line, line and paragraph
    /// separator: the bytes of a line break, 0 where there is none.
    fn break_width(&self, ahead: usize) -> usize {
        match (self.byte(ahead), self.byte(ahead + 1), self.byte(ahead + 2)) {
            (b'\r', b'\n', _) => 2,
            (b'\r' | b'\n', _, _) => 1,
            (0xc2, 0x85, _) => 2,
            (0xe2, 0x80, 0xa8 | 0xa9) => 3,
            _ => 0,
        }
    }

    /// Goes one character on, which is no line break.
    pub(super) fn skip(&mut self) {
        self.at += self.width();
        self.mark.index += 1;
        self.mark.column += 1;
    }

    /// Goes past a line break.
    pub(super) fn skip_line(&mut self) {
        // A carriage return with its line feed counts as two characters.
        self.mark.index += if self.byte(0) == b'\r' && self.byte(1) == b'\n' { 2 } else { 1 };
        self.at += self.break_width(0);
        self.mark.line += 1;
        self.mark.column = 0;
    }

    pub(super) fn skip_blanks(&mut self) {
        while self.is_blank() {
            self.skip();
        }
    }

    pub(super) fn skip_comment(&mut self) {
        if self.byte(0) == b'#' {
            while !self.is_end() && !self.is_break_at(0) {
                self.skip();
            }
        }
    }

    /// Moves one character into a text.
    pub(super) fn read(&mut self, text: &mut String) {
        let width = self.width();
        if width == 1 {
            text.push(char::from(self.byte(0)));
            return self.skip();
        }
        match self.bytes.get(self.at..self.at + width).map(std::str::from_utf8) {
            Some(Ok(character)) => text.push_str(character),
            // The cursor stands between characters of a valid text.
            _ => text.push(char::REPLACEMENT_CHARACTER),
        }
        self.skip();
    }

    /// Moves a line break into a text: as a line feed, but the line and the
    /// paragraph separator as they are.
    pub(super) fn read_line(&mut self, text: &mut String) {
        match (self.byte(0), self.byte(2)) {
            (0xe2, 0xa8) => text.push('\u{2028}'),
            (0xe2, 0xa9) => text.push('\u{2029}'),
            _ => text.push('\n'),
        }
        self.skip_line();
    }

    fn width(&self) -> usize {
        match self.byte(0) {
            0..=0x7f => 1,
            0x80..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0.. => 4,
        }
    }
}

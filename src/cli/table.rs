//! Tables for people: columns as wide as they must be, no lines, no trailing
//! spaces.

use unicode_width::UnicodeWidthStr as _;

use super::{style::Paint, words::line};

/// A cell: what it says, and how it is decorated.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    paint: Paint,
}

impl Cell {
    /// A cell of foreign text.
    pub fn new(text: &str) -> Self {
        Self { text: line(text), paint: super::style::plain }
    }

    /// The same, decorated.
    pub fn painted(text: &str, paint: Paint) -> Self {
        Self { text: line(text), paint }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

/// Rows under headings.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table with these headings; none for no heading.
    pub fn new<'a>(headings: impl IntoIterator<Item = &'a str>) -> Self {
        let headings: Vec<Cell> =
            headings.into_iter().map(|heading| Cell::painted(heading, super::style::bold)).collect();
        Self { rows: if headings.is_empty() { Vec::new() } else { vec![headings] } }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// The text, each line ended.
    pub fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.text.width()).max().unwrap_or(0)
            })
            .collect();
        self.rows.iter().map(|row| render_row(row, &widths)).collect()
    }
}

fn render_row(row: &[Cell], widths: &[usize]) -> String {
    let last = row.iter().rposition(|cell| !cell.text.is_empty());
    let mut text = String::new();
    for (column, cell) in row.iter().enumerate() {
        let Some(last) = last.filter(|last| column <= *last) else { break };
        text.push_str(&if cell.text.is_empty() { String::new() } else { (cell.paint)(&cell.text) });
        if column < last {
            let padding = widths.get(column).copied().unwrap_or(0).saturating_sub(cell.text.width()) + 2;
            text.push_str(&" ".repeat(padding));
        }
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_for_wide_characters_and_without_colour() {
        let mut table = Table::new(["NAME", "NOTE"]);
        table.row(vec!["日本".into(), Cell::painted("a", super::super::style::good)]);
        table.row(vec!["x".into(), "b".into()]);
        table.row(vec!["only".into(), "".into()]);
        let text = anstream::adapter::strip_str(&table.render()).to_string();
        assert_eq!(text, "NAME  NOTE\n日本  a\nx     b\nonly\n");
    }
}

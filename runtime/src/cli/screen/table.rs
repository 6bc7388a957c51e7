//! Aligned columns and proportional bars, in plain ASCII.
//!
//! Invariant: width counts characters as printed, so colours are applied to whole cells after alignment.
//! Absent: wrapping; a cell is as wide as its text.

use std::fmt::Write as _;

/// How a column's cells stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows under headings.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Table {
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

// === impl Table ===

impl Table {
    /// An empty table with these headings.
    pub(in crate::cli) fn new(columns: &[(&str, Align)]) -> Self {
        Self {
            columns: columns.iter().map(|(name, align)| ((*name).to_owned(), *align)).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; cells that are missing are empty, cells too many are a fault of ours.
    pub(in crate::cli) fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        let row: Vec<String> = cells.into_iter().map(Into::into).collect();
        debug_assert!(row.len() <= self.columns.len(), "a row has at most a cell per column");
        self.rows.push(row);
    }

    /// The lines, headings first.
    pub(in crate::cli) fn lines(&self) -> Vec<String> {
        let widths: Vec<usize> = (0..self.columns.len()).map(|column| self.width(column)).collect();
        let headings: Vec<String> = self.columns.iter().map(|(name, _)| name.clone()).collect();
        std::iter::once(&headings).chain(&self.rows).map(|row| self.line(row, &widths)).collect()
    }

    fn width(&self, column: usize) -> usize {
        let heading = self.columns.get(column).map_or(0, |(name, _)| name.chars().count());
        let cells =
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.fold(heading, usize::max)
    }

    fn line(&self, row: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for (index, ((_, align), width)) in self.columns.iter().zip(widths).enumerate() {
            let cell = row.get(index).map_or("", String::as_str);
            let gap = if index == 0 { "" } else { "  " };
            // Writing to a String cannot fail.
            let _ = match align {
                Align::Left => write!(line, "{gap}{cell:<width$}"),
                Align::Right => write!(line, "{gap}{cell:>width$}"),
            };
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// A bar of at most `width` marks for `part` of `whole`; anything above nothing shows at least one mark.
pub(in crate::cli) fn bar(part: u64, whole: u64, width: u32) -> String {
    if whole == 0 || part == 0 {
        return String::new();
    }
    let marks = u128::from(part).saturating_mul(u128::from(width)) / u128::from(whole);
    let marks = usize::try_from(marks).unwrap_or(usize::MAX).clamp(1, width as usize);
    "#".repeat(marks)
}

/// A number with its thousands set apart: `1_234_567` reads as `1,234,567`.
pub(in crate::cli) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_lines_have_no_trailing_space() {
        let mut table = Table::new(&[("name", Align::Left), ("fuel", Align::Right)]);
        table.row(["a", "7"]);
        table.row(["longer", "12345"]);
        table.row(["alone"]);
        assert_eq!(table.lines(), ["name     fuel", "a           7", "longer  12345", "alone"]);
    }

    #[test]
    fn bars_are_proportional_and_never_hide_a_part() {
        assert_eq!(bar(0, 10, 20), "");
        assert_eq!(bar(5, 0, 20), "");
        assert_eq!(bar(1, 1_000_000, 20), "#");
        assert_eq!(bar(10, 10, 20).len(), 20);
        assert_eq!(bar(5, 10, 20).len(), 10);
        assert_eq!(bar(u64::MAX, u64::MAX, 20).len(), 20);
    }

    #[test]
    fn thousands_are_set_apart() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}

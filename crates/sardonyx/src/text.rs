//! Numbers and tables as people read them, for the text forms of reports.

use std::fmt;

use comfy_table::{CellAlignment, ContentArrangement, presets};

/// A table without frames: columns of numbers to the right, the others to the left.
#[derive(Debug)]
pub(crate) struct Table {
    table: comfy_table::Table,
    is_number: Vec<bool>,
}

impl Table {
    /// A table with these column names; those of columns of numbers start with `>`. A table whose
    /// names are all empty has no head.
    pub(crate) fn new(columns: &[&str]) -> Table {
        let mut table = comfy_table::Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled);
        if columns.iter().any(|name| !name.is_empty()) {
            table.set_header(columns.iter().map(|name| name.trim_start_matches('>')));
        }
        Table {
            table,
            is_number: columns.iter().map(|name| name.starts_with('>')).collect(),
        }
    }

    pub(crate) fn row<S: ToString>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.table
            .add_row(cells.into_iter().map(|cell| clean(&cell.to_string())));
    }

    pub(crate) fn text(mut self) -> String {
        for (index, is_number) in self.is_number.iter().enumerate() {
            let Some(column) = self.table.column_mut(index) else {
                continue;
            };
            column.set_padding((0, 2));
            if *is_number {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let lines = self.table.lines();
        lines
            .map(|line| {
                format!(
                    "{}
",
                    line.trim_end()
                )
            })
            .collect()
    }
}

/// Longest text of a cell, in characters.
const MAX_CELL: usize = 120;

/// Names in a model or a data set may be anything: what could steer a terminal is replaced, what
/// would fill it is cut off.
fn clean(text: &str) -> String {
    let safe = |char: char| if char.is_control() { '\u{fffd}' } else { char };
    let mut cell: String = text.chars().take(MAX_CELL).map(safe).collect();
    if text.chars().nth(MAX_CELL).is_some() {
        cell.push_str("...");
    }
    cell
}

/// Names with values, below each other; what has no value is left out.
#[derive(Debug)]
pub(crate) struct Facts(Table);

impl Facts {
    pub(crate) fn new() -> Facts {
        Facts(Table::new(&["", ""]))
    }

    pub(crate) fn row(&mut self, name: &str, value: impl fmt::Display) {
        let value = value.to_string();
        if !value.is_empty() {
            self.0.row([name, &value]);
        }
    }

    pub(crate) fn text(self) -> String {
        self.0.text()
    }
}

/// Texts of all items, with commas.
pub(crate) fn list<T>(items: impl IntoIterator<Item = T>, text: impl FnMut(T) -> String) -> String {
    let texts: Vec<String> = items.into_iter().map(text).collect();
    texts.join(", ")
}

/// A count with its thousands apart: `1,234,567`.
pub(crate) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in the largest unit (of 1024) that leaves a number of 1 or more: `1.5 MiB`.
pub(crate) fn bytes(value: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if value < 1024 {
        return format!("{value} B");
    }
    let mut scaled = value as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next().unwrap_or(&"");
    while scaled >= 1024.0 {
        let Some(next) = units.next() else { break };
        scaled /= 1024.0;
        unit = next;
    }
    format!("{scaled:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up_and_keep_to_themselves() {
        let mut table = Table::new(&["name", ">count"]);
        table.row(["a".to_owned(), count(12_345)]);
        table.row(["\u{1b}[31mred\n".to_owned(), "x".repeat(121)]);
        let long = format!("{}...", "x".repeat(120));
        let pad = " ".repeat(long.len() - 6);
        let head = pad.trim_end_matches(' ').to_owned() + &" ".repeat(long.len() - 5);
        let expect = format!(
            "name       {head}count\na          {pad}12,345\n\u{fffd}[31mred\u{fffd}  {long}\n"
        );
        assert_eq!(table.text(), expect);
        let mut facts = Facts::new();
        facts.row("long name", 1);
        facts.row("empty", "");
        facts.row("b", "c");
        assert_eq!(facts.text(), "long name  1\nb          c\n");
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(count),
            ["0", "999", "1,000", "1,234,567"]
        );
        let sizes = [0, 1023, 1024, 1536, 1 << 30, u64::MAX].map(bytes);
        assert_eq!(
            sizes,
            [
                "0 B",
                "1023 B",
                "1.0 KiB",
                "1.5 KiB",
                "1.0 GiB",
                "16384.0 PiB"
            ]
        );
    }
}

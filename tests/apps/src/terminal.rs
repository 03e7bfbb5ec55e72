//! The grid as a table on a terminal.

use std::fmt::Write as _;

use crate::grid::{Cell, Column, Row};

/// Renders the table; colours only where they are wanted.
pub(crate) fn table(rows: &[Row], colours: bool) -> String {
    let name = rows.iter().map(|row| row.program.name.chars().count()).max().unwrap_or(0).max(7);
    let width = 16;
    let mut text = String::new();
    let line = |text: &mut String, name_text: &str, how: &str, cells: &[(String, Colour)]| {
        write!(text, "{name_text:name$}  {how:7}").ok();
        for (word, colour) in cells {
            let padded = format!("  {word:width$}");
            text.push_str(&if colours { colour.paint(&padded) } else { padded });
        }
        *text = format!("{}\n", text.trim_end());
    };
    let mut head = String::new();
    let titles: Vec<_> = Column::ALL.iter().map(|column| (column.title().to_owned(), Colour::Bold)).collect();
    line(&mut head, "program", "Intact", &titles);
    text.push_str(&head);
    for row in rows {
        for (with, how) in [(false, "without"), (true, "with")] {
            let cells: Vec<_> = Column::ALL
                .iter()
                .map(|column| {
                    let cell = row.cell(*column, with);
                    (cell.word(), Colour::of(&cell))
                })
                .collect();
            let mut one = String::new();
            line(&mut one, if with { "" } else { row.program.name }, how, &cells);
            text.push_str(&one);
        }
    }
    text
}

#[derive(Clone, Copy)]
enum Colour {
    Bold,
    Red,
    Green,
    Blue,
}

impl Colour {
    fn of(cell: &Cell<'_>) -> Colour {
        match (cell.losses(), cell.word().as_str()) {
            (0, "new") => Colour::Green,
            (0, _) => Colour::Blue,
            _ => Colour::Red,
        }
    }

    fn paint(self, text: &str) -> String {
        let code = match self {
            Colour::Bold => "1",
            Colour::Red => "1;31",
            Colour::Green => "32",
            Colour::Blue => "34",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::tests::row;

    #[test]
    fn every_cell_is_there_and_plain_text_has_no_escapes() {
        let rows = [row(["new", "damaged", "damaged", "old"], ["new", "old", "old", "new"])];
        let text = table(&rows, false);
        assert_eq!(text.lines().count(), 3);
        assert!(text.contains("power cut") && text.contains("damaged"), "{text}");
        assert!(!text.contains('\x1b'));
        assert!(table(&rows, true).contains("\x1b[1;31m"));
    }
}

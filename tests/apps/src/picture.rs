//! The grid as an SVG picture: per cell, one strip for each point at which the fault struck, showing which
//! bytes of the file are of the old version, of the new one, of both or of neither.

use std::fmt::Write as _;

use lab::run::report::{File, Trial};

use crate::grid::{Cell, Column, Row};

const LABEL: u32 = 236;
const STRIP: u32 = 104;
const STRIP_HEIGHT: u32 = 8;
const STRIP_PITCH: u32 = 11;
const PAIR_GAP: u32 = 10;
const COLUMN_GAP: u32 = 26;
const HEAD: u32 = 52;
const VERDICT: u32 = 18;
const ROW_GAP: u32 = 22;

/// The whole grid.
pub(crate) fn grid(rows: &[Row]) -> String {
    let column_width = 2 * STRIP + PAIR_GAP + COLUMN_GAP;
    let width = LABEL + 4 * column_width - COLUMN_GAP + 8;
    let mut body = String::new();
    head(&mut body, column_width);
    let mut y = HEAD;
    for row in rows {
        let strips = Column::ALL
            .iter()
            .flat_map(|column| [row.cell(*column, false), row.cell(*column, true)])
            .map(|cell| cell.trials.len() as u32)
            .max()
            .unwrap_or(1);
        let height = VERDICT + strips * STRIP_PITCH;
        write!(
            body,
            "<line class='rule' x1='0' x2='{width}' y1='{line}' y2='{line}'/><text class='name' x='0' y='{name}'>{}</text>",
            escape(row.program.name),
            line = y - ROW_GAP / 2,
            name = y + 13,
        )
        .ok();
        for (index, line) in wrap(row.program.way, 34).iter().enumerate() {
            let at = y + 31 + 15 * index as u32;
            write!(body, "<text class='way' x='0' y='{at}'>{}</text>", escape(line)).ok();
        }
        for (index, column) in Column::ALL.iter().enumerate() {
            let left = LABEL + index as u32 * column_width;
            for (with, x) in [(false, left), (true, left + STRIP + PAIR_GAP)] {
                cell(&mut body, &row.cell(*column, with), x, y);
            }
        }
        y += height.max(62) + ROW_GAP;
    }
    format!(
        "<svg class='grid' viewBox='0 0 {width} {y}' role='img' aria-label='What became of each file'>\
         <defs><pattern id='gone' width='5' height='5' patternUnits='userSpaceOnUse' patternTransform='rotate(45)'>\
         <rect class='gone-ground' width='5' height='5'/><rect class='gone-line' width='1.6' height='5'/></pattern></defs>\
         {body}</svg>"
    )
}

fn head(body: &mut String, column_width: u32) {
    for (index, column) in Column::ALL.iter().enumerate() {
        let left = LABEL + index as u32 * column_width;
        write!(body, "<text class='column' x='{left}' y='14'>{}</text>", column.title()).ok();
        for (how, x) in [("without", left), ("with Intact", left + STRIP + PAIR_GAP)] {
            write!(body, "<text class='how' x='{x}' y='32'>{how}</text>").ok();
        }
    }
}

fn cell(body: &mut String, cell: &Cell<'_>, x: u32, y: u32) {
    let word = cell.word();
    let class = if cell.losses() > 0 { "bad" } else { "good" };
    write!(body, "<text class='verdict {class}' x='{x}' y='{}'>{}</text>", y + 11, escape(&word)).ok();
    let mut at = y + VERDICT;
    for trial in &cell.trials {
        let title = describe(cell, trial);
        write!(body, "<g><title>{}</title>", escape(&title)).ok();
        match cell.document(trial) {
            Some(file) => strip(body, file, x, at),
            None => rect(body, "absent", x, at, STRIP),
        }
        body.push_str("</g>");
        at += STRIP_PITCH;
    }
}

fn describe(cell: &Cell<'_>, trial: &Trial) -> String {
    let what = cell.document(trial).map_or("missing".to_owned(), |file| {
        format!("{} is {} ({} bytes)", file.name, file.state, file.found.unwrap_or(0))
    });
    let struck = if trial.struck || cell.column == Column::Finishes { "" } else { " (done before)" };
    format!("{}{struck}: {what}", trial.fault)
}

/// One file as a bar. Each pixel column shows the worst of what lies under it, so that a single wrong sector
/// is seen.
fn strip(body: &mut String, file: &File, x: u32, y: u32) {
    let total = file.ranges.last().map_or(0, |range| range.end);
    if total == 0 {
        rect(body, "absent", x, y, STRIP);
        return;
    }
    let worst = |pixel: u32| -> &str {
        let (start, end) =
            (u64::from(pixel) * total / u64::from(STRIP), u64::from(pixel + 1) * total / u64::from(STRIP));
        let under = file.ranges.iter().filter(|range| range.start < end.max(start + 1) && range.end > start);
        let rank = |origin: &str| {
            ["both", "new", "old", "absent", "foreign"].iter().position(|known| *known == origin)
        };
        under.map(|range| range.origin.as_str()).max_by_key(|origin| rank(origin)).unwrap_or("absent")
    };
    // A whole old file that is shorter than the new one lacks nothing.
    let class = |origin| if origin == "absent" && !file.is_loss() { "rest" } else { origin };
    let mut pixel = 0;
    while pixel < STRIP {
        let origin = worst(pixel);
        let end = (pixel + 1..STRIP).find(|next| worst(next.to_owned()) != origin).unwrap_or(STRIP);
        rect(body, class(origin), x + pixel, y, end - pixel);
        pixel = end;
    }
}

fn rect(body: &mut String, class: &str, x: u32, y: u32, width: u32) {
    write!(body, "<rect class='{class}' x='{x}' y='{y}' width='{width}' height='{STRIP_HEIGHT}'/>").ok();
}

/// Text for between tags and in quotes.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('\'', "&#39;")
        .replace('"', "&quot;")
}

fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + 1 + word.len() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::tests::row;
    use lab::run::report::Range;

    fn bars(ranges: &[(u64, u64, &str)]) -> String {
        let ranges = ranges
            .iter()
            .map(|(start, end, origin)| Range { start: *start, end: *end, origin: (*origin).into() })
            .collect();
        let file =
            File { name: "a".into(), state: "damaged".into(), old: None, new: None, found: None, ranges };
        let mut body = String::new();
        strip(&mut body, &file, 0, 0);
        body
    }

    #[test]
    fn a_single_foreign_sector_is_seen_in_a_large_file() {
        let svg = bars(&[(0, 500_000, "new"), (500_000, 500_512, "foreign"), (500_512, 10_000_000, "new")]);
        assert!(svg.contains("class='foreign'"), "{svg}");
    }

    #[test]
    fn a_bar_is_as_wide_as_its_file() {
        let svg = bars(&[(0, 512, "old"), (512, 1024, "absent")]);
        assert!(svg.contains("class='old' x='0' y='0' width='52'"), "{svg}");
        assert!(svg.contains("class='absent' x='52' y='0' width='52'"), "{svg}");
    }

    #[test]
    fn a_whole_file_that_is_shorter_than_the_other_version_lacks_nothing() {
        let ranges = [(0, 512, "old"), (512, 1024, "absent")];
        let ranges = ranges.map(|(start, end, origin)| Range { start, end, origin: origin.into() }).to_vec();
        let file = File { name: "a".into(), state: "old".into(), old: None, new: None, found: None, ranges };
        let mut body = String::new();
        strip(&mut body, &file, 0, 0);
        assert!(!body.contains("absent"), "{body}");
    }

    #[test]
    fn an_empty_file_is_drawn_too() {
        assert!(bars(&[]).contains("class='absent'"));
    }

    #[test]
    fn the_picture_holds_every_trial() {
        let svg = grid(&[row(["new", "damaged", "new", "old"], ["new", "old", "old", "new"])]);
        assert_eq!(svg.matches("<title>").count(), 8);
    }
}

//! The page: one file, nothing loaded from anywhere.

use std::fmt::Write as _;

use lab::run::report::{Report, Trial};

use crate::grid::{Column, Row};
use crate::picture::{self, escape};

const STYLE: &str = include_str!("page.css");

/// The whole page.
pub(crate) fn page(rows: &[Row], complaints: &[String], seconds: f32) -> String {
    let count = |with: bool| -> (usize, usize) {
        let cells = rows.iter().flat_map(|row| Column::ALL.map(|column| row.cell(column, with)));
        cells.fold((0, 0), |(losses, all), cell| (losses + cell.losses(), all + cell.trials.len()))
    };
    let ((lost_without, all_without), (lost_with, all_with)) = (count(false), count(true));
    let mut text = String::new();
    write!(
        text,
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>\
         <meta name='viewport' content='width=device-width, initial-scale=1'>\
         <title>Intact: real programs, every fault</title><style>{STYLE}</style></head><body><main>\
         <h1>Intact <span>real programs, every fault</span></h1>\
         <p class='lead'>{} unmodified Debian programs save a file in place. Each is left alone, killed, given a \
         full disk, and loses its power, at points spread over the save; once on a bare volume, and once with \
         the driver <code>intact.sys</code> in front of it.</p>",
        rows.len()
    )
    .ok();
    write!(
        text,
        "<div class='score'><div class='{}'><b>{lost_without}<small> of {all_without}</small></b>runs left a damaged \
         file <em>without</em> Intact</div><div class='{}'><b>{lost_with}<small> of {all_with}</small></b>runs left a \
         damaged file <em>with</em> Intact</div></div>",
        if lost_without > 0 { "bad" } else { "good" },
        if lost_with > 0 { "bad" } else { "good" },
    )
    .ok();
    if !complaints.is_empty() {
        text.push_str("<div class='complaints'><h2>This run is not good</h2><ul>");
        for complaint in complaints {
            write!(text, "<li>{}</li>", escape(complaint)).ok();
        }
        text.push_str("</ul></div>");
    }
    text.push_str(LEGEND);
    write!(text, "<div class='scroll'>{}</div>", picture::grid(rows)).ok();
    text.push_str("<h2>Every run</h2>");
    for row in rows {
        details(&mut text, row);
    }
    writeln!(text, "{NOTES}<p class='foot'>Made in {seconds:.0} s by <code>cargo xtask demo</code>.</p></main></body></html>")
        .ok();
    text
}

const LEGEND: &str = "<ul class='legend'>\
    <li><i class='both'></i>the same in both versions</li><li><i class='old'></i>old version</li>\
    <li><i class='new'></i>new version</li><li><i class='foreign'></i>neither</li>\
    <li><i class='absent'></i>cut off</li></ul>\
    <p class='hint'>A strip is the file from its first byte to its last, as found after one fault; a cell has one \
    for each point at which the fault struck. A whole file is all old and grey, or all new and grey. Damage is a \
    mixture, or bytes of neither version, or an end that is cut off.</p>";

const NOTES: &str = "<h2>What this shows, and what not</h2>\
    <p>The code that decides is the <code>intact.sys</code> that Windows would load, the same bytes, running in a \
    small model of the Windows kernel: the lab. The programs run unmodified on a volume of the lab, mounted \
    through FUSE; each is mirrored by a lab process with its exit status. A power cut leaves a seeded choice of \
    the states that the model allows after that disk effect, and recovery runs with the driver attached again. \
    Nothing of this has run on Windows yet.</p>";

fn details(text: &mut String, row: &Row) {
    write!(
        text,
        "<details><summary>{}<code>{}</code></summary>",
        escape(row.program.name),
        escape(&command(&row.without))
    )
    .ok();
    let reference = &row.without.reference;
    write!(
        text,
        "<p>Undisturbed: {} write requests, {} disk effects, {} bytes written.</p><table><thead><tr><th>fault</th>\
         <th>without Intact</th><th>with Intact</th><th>what Intact reported</th></tr></thead><tbody>",
        reference.writes, reference.effects, reference.bytes
    )
    .ok();
    for column in Column::ALL {
        let (without, with) = (row.cell(column, false), row.cell(column, true));
        for index in 0..without.trials.len().max(with.trials.len()) {
            let (bare, guarded) = (without.trials.get(index), with.trials.get(index));
            let fault = guarded.or(bare).map(|trial| trial.fault.to_string()).unwrap_or_default();
            write!(text, "<tr><td>{}</td>", escape(&fault)).ok();
            for trial in [bare, guarded] {
                outcome(text, trial.copied());
            }
            events(text, guarded.copied());
            text.push_str("</tr>");
        }
    }
    text.push_str("</tbody></table></details>");
}

/// The command line without its folder names, long arguments shortened.
fn command(report: &Report) -> String {
    let short = |argument: &String| {
        let last = argument.strip_prefix("/usr/bin/").unwrap_or(argument).replace('\n', " ");
        if last.chars().count() > 60 {
            format!("{}…", last.chars().take(60).collect::<String>())
        } else {
            last
        }
    };
    report.program.iter().map(short).collect::<Vec<_>>().join(" ")
}

fn outcome(text: &mut String, trial: Option<&Trial>) {
    let Some(trial) = trial else {
        text.push_str("<td></td>");
        return;
    };
    let class = if trial.is_loss() { "bad" } else { "good" };
    write!(text, "<td class='{class}'>").ok();
    for file in trial.files.iter().filter(|file| file.state != "same") {
        write!(text, "{} <b>{}</b><br>", escape(&file.name), escape(&file.state)).ok();
    }
    write!(text, "<small>program {}</small></td>", trial.exit).ok();
}

fn events(text: &mut String, trial: Option<&Trial>) {
    text.push_str("<td class='events'>");
    let Some(trial) = trial else {
        text.push_str("</td>");
        return;
    };
    for event in &trial.events {
        let fields: Vec<_> = event.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        write!(text, "<b>{}</b> {}<br>", escape(&event.name), escape(&fields.join(" "))).ok();
    }
    for trouble in &trial.trouble {
        write!(text, "<span class='bad'>{}</span><br>", escape(trouble)).ok();
    }
    text.push_str("</td>");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::tests::row;

    fn example() -> String {
        let mut row = row(["new", "damaged", "new", "old"], ["new", "old", "old", "new"]);
        row.with.trials[0].trouble.push("<script>".into());
        page(&[row], &["a <b> complaint".into()], 1.0)
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        let page = example();
        for outside in ["http://", "https://", "src=", "@import", "url(h"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn what_programs_and_drivers_say_is_text() {
        let page = example();
        assert!(page.contains("&lt;script&gt;") && !page.contains("<script>"));
        assert!(page.contains("a &lt;b&gt; complaint"));
    }
}

//! The page: one file, nothing loaded from anywhere, in the style of the demo's.

use std::fmt::Write as _;

use crate::Results;
use crate::campaign::{Cell, Crashes, Failure, Fault, Share, Strip};
use crate::crash::Counts;
use crate::oracle::Limit;

const STYLE: &str = include_str!("../../apps/src/page.css");
const OWN_STYLE: &str = "svg.strip{display:block;width:220px;height:14px}table.cells td{white-space:nowrap}\
    table.cells td:first-child{font-weight:600}.none{color:var(--soft)}pre{white-space:pre-wrap;font-size:13px;\
    background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:10px 14px}\
    .score div{flex-basis:220px}";
const FAULTS: [(Fault, &str); 7] = [
    (Fault::PowerCut, "power cut"),
    (Fault::SecondCut, "again in recovery"),
    (Fault::Killed, "killed"),
    (Fault::Aborted, "transaction aborted"),
    (Fault::DiskFull, "disk full"),
    (Fault::HighestIrql, "highest IRQL"),
    (Fault::LyingDisk, "disk ignores flushes"),
];
/// The width of a strip, in units of its picture.
const WIDTH: usize = 220;

/// Text for between tags and in quotes.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('\'', "&#39;")
        .replace('"', "&quot;")
}

fn thousands(number: u64) -> String {
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

/// The whole page.
pub fn page(results: &Results) -> String {
    let mut text = String::new();
    write!(
        text,
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>\
         <meta name='viewport' content='width=device-width, initial-scale=1'>\
         <title>Intact: file-corruption fault tests</title><style>{STYLE}{OWN_STYLE}</style></head><body><main>\
         <h1>Intact <span>file-corruption fault tests</span></h1>\
         <p class='lead'>Every short program that saves a file, every moment at which the power may go, every call that \
         may fail, many orders in which threads may meet; with the driver <code>intact.sys</code>, and without it.</p>"
    )
    .ok();
    score(&mut text, results);
    let complaints = results.complaints();
    if !complaints.is_empty() {
        text.push_str("<div class='complaints'><h2>This run is not good</h2><ul>");
        for complaint in &complaints {
            write!(text, "<li>{}</li>", escape(complaint)).ok();
        }
        text.push_str("</ul></div>");
    }
    for failure in results.failures() {
        show(&mut text, failure);
    }
    if let Some(schedules) = &results.schedules {
        for (again, what) in &schedules.failures {
            write!(text, "<h2 class='bad'>{}</h2><pre>{}</pre>", escape(what), escape(again),).ok();
        }
    }
    if let Some(crashes) = &results.crashes {
        grid(&mut text, crashes);
        states(&mut text, crashes);
    }
    calls(&mut text, results);
    order(&mut text, results);
    writeln!(
        text,
        "{NOTES}<p class='foot'>Assumed of Windows besides the defaults: {}. Seed {}, trace {:016x}, {:.0} s. Made by <code>cargo xtask faults --report</code>.</p>\
         </main></body></html>",
        escape(&results.assumed),
        results.seed,
        results.trace(),
        results.seconds
    )
    .ok();
    text
}

fn tile(text: &mut String, good: bool, number: &str, of: &str, what: &str) {
    let class = if good { "good" } else { "bad" };
    write!(text, "<div class='{class}'><b>{number}<small> {of}</small></b>{what}</div>").ok();
}

fn score(text: &mut String, results: &Results) {
    text.push_str("<div class='score'>");
    if let Some(crashes) = &results.crashes {
        let (with, without) = (&crashes.with, &crashes.without);
        let of = |counts: &Counts| format!("of {} disks", thousands(counts.disks));
        let what = "different disks after a power cut damaged <em>without</em> Intact";
        tile(text, without.damaged == 0, &thousands(without.damaged), &of(without), what);
        let what = "different disks after a power cut damaged <em>with</em> Intact";
        tile(text, with.damaged == 0, &thousands(with.damaged), &of(with), what);
        let all = with.states + without.states + crashes.lying.states;
        let points = format!("at {} points", thousands(with.points + without.points + crashes.lying.points));
        tile(text, true, &thousands(all), &points, "crash states");
    }
    if let Some(sites) = &results.sites {
        let runs = format!("in {} runs", thousands(sites.single + sites.pairs));
        let what = "runs with failing calls were not good";
        tile(text, sites.share.damaged == 0, &thousands(sites.share.damaged), &runs, what);
    }
    if let Some(schedules) = &results.schedules {
        let of = format!("of {} schedules", thousands(schedules.ran));
        let what = "schedules of threads were not good";
        tile(text, schedules.failures.is_empty(), &thousands(schedules.failures.len() as u64), &of, what);
    }
    text.push_str("</div>");
}

fn show(text: &mut String, failure: &Failure) {
    write!(
        text,
        "<h2 class='bad'>{}: {}</h2><p>The shortest program that shows it: <code>{}</code></p><p>{}</p>",
        escape(failure.part),
        escape(&failure.what),
        escape(&failure.workload.to_string()),
        escape(&failure.fault),
    )
    .ok();
    for file in &failure.files {
        write!(text, "<p><code>{}</code></p>{}", escape(&file.name), strip(file)).ok();
    }
    write!(text, "<pre>{}</pre>", escape(&failure.reproduce)).ok();
}

/// A file as a bar: which bytes are old, new, torn or missing.
fn strip(file: &Strip) -> String {
    let total = file.ranges.last().map_or(1, |(end, _)| *end).max(1);
    let mut body = String::new();
    let mut start = 0;
    for (end, origin) in &file.ranges {
        let (x, until) = (start * WIDTH / total, end * WIDTH / total);
        write!(body, "<rect class='{origin}' x='{x}' y='0' width='{}' height='14'/>", (until - x).max(1))
            .ok();
        start = *end;
    }
    format!(
        "<svg class='strip' viewBox='0 0 {WIDTH} 14' role='img' aria-label='{}'><defs><pattern id='gone' width='5' \
         height='5' patternUnits='userSpaceOnUse' patternTransform='rotate(45)'><rect class='gone-ground' width='5' \
         height='5'/><rect class='gone-line' width='1.6' height='5'/></pattern></defs>{body}</svg>",
        escape(&file.name)
    )
}

fn share(text: &mut String, share: &Share) {
    let class = match share {
        Share { all: 0, .. } => return text.push_str("<td class='none'>-</td>"),
        Share { damaged: 0, .. } => "good",
        _ => "bad",
    };
    write!(
        text,
        "<td class='{class}'><b>{}</b> <small>of {}</small></td>",
        thousands(share.damaged),
        thousands(share.all)
    )
    .ok();
}

fn grid(text: &mut String, crashes: &Crashes) {
    text.push_str(
        "<h2>Damaged, by what the program does first and by what happens to it</h2>\
         <ul class='legend'><li><i class='both'></i>the same in both versions</li><li><i class='old'></i>old version</li>\
         <li><i class='new'></i>new version</li><li><i class='foreign'></i>torn, or neither</li>\
         <li><i class='absent'></i>cut off</li></ul><div class='scroll'><table class='cells'><thead><tr><th></th>",
    );
    for (fault, name) in FAULTS {
        let columns = if one_sided(fault) { 1 } else { 2 };
        write!(text, "<th colspan='{columns}'>{name}</th>").ok();
    }
    text.push_str("<th>a file without Intact</th></tr><tr><th></th>");
    for (fault, _) in FAULTS {
        text.push_str(if one_sided(fault) { "<th>with</th>" } else { "<th>without</th><th>with</th>" });
    }
    text.push_str("<th></th></tr></thead><tbody>");
    for (row, cells) in &crashes.grid {
        write!(text, "<tr><td>{}</td>", escape(row)).ok();
        for (fault, _) in FAULTS {
            let cell = cells.get(&fault).copied().unwrap_or(Cell::default());
            if !one_sided(fault) {
                share(text, &cell.without);
            }
            share(text, &cell.with);
        }
        let example = crashes.examples.get(row).map(strip).unwrap_or_default();
        write!(text, "<td>{example}</td></tr>").ok();
    }
    text.push_str(
        "</tbody></table></div><p class='hint'>Power cuts count different disks without Intact and crash states with it. \
         Disk full counts runs in which a write failed and the program took no notice. At the highest IRQL each callback of \
         the driver is entered at the highest level that its documentation admits, and the program is told the same. \
         A disk that ignores flushes can lose what any software was told is safe: no software can save these files.</p>",
    );
}

/// Faults that only a driver with transactions can meet, or that are shown with it only.
fn one_sided(fault: Fault) -> bool {
    matches!(fault, Fault::SecondCut | Fault::Aborted | Fault::HighestIrql | Fault::LyingDisk)
}

fn states(text: &mut String, crashes: &Crashes) {
    text.push_str(
        "<h2>Crash states</h2><table><thead><tr><th></th><th>programs</th><th>crash points</th><th>states</th>\
         <th>of them in recovery</th><th>different disks</th><th>old</th><th>new</th><th>documented limit</th>\
         <th>damaged</th></tr></thead><tbody>",
    );
    let rows = [
        ("with Intact", crashes.with),
        ("without", crashes.without),
        ("with Intact, the disk ignores flushes", crashes.lying),
    ];
    for (name, counts) in rows {
        write!(text, "<tr><td>{name}</td>").ok();
        for number in [
            counts.workloads,
            counts.points,
            counts.states,
            counts.nested,
            counts.disks,
            counts.old,
            counts.new,
            counts.limited,
            counts.damaged,
        ] {
            write!(text, "<td>{}</td>", thousands(number)).ok();
        }
        text.push_str("</tr>");
    }
    write!(text, "</tbody></table><p class='hint'>Documented limit: {}.</p>", Limit::EmptyPlaceholder.text())
        .ok();
    text.push_str(
        "<h2>Speed, by length of the program</h2><table><thead><tr><th>actions</th><th>programs</th><th>crash states per \
         program</th><th>driver calls per program</th><th>crash states per second of a core</th><th>driver calls per second \
         of a core</th></tr></thead><tbody>",
    );
    for (actions, growth) in &crashes.growth {
        let per = |count: u64, of: f64| count as f64 / of.max(1e-9);
        write!(
            text,
            "<tr><td>{actions}</td><td>{}</td><td>{:.0}</td><td>{:.0}</td><td>{:.0}</td><td>{:.0}</td></tr>",
            thousands(growth.workloads),
            per(growth.states, growth.workloads as f64),
            per(growth.calls, growth.workloads as f64),
            per(growth.states, growth.recovering),
            per(growth.calls, growth.running),
        )
        .ok();
    }
    text.push_str("</tbody></table>");
    if !crashes.differences.is_empty() {
        text.push_str("<h2>Told otherwise than without Intact</h2><ul>");
        for (difference, count) in &crashes.differences {
            write!(text, "<li>{} <small>({count} programs)</small></li>", escape(difference)).ok();
        }
        text.push_str("</ul>");
    }
}

fn calls(text: &mut String, results: &Results) {
    let Some(sites) = &results.sites else { return };
    write!(
        text,
        "<h2>Failing calls</h2><p>{} call stacks of {} kernel routines; each failed with every documented status at its \
         first calls and its last: {} runs. Pairs of failures around the end of a save and the unload: {} runs.</p>\
         <table><thead><tr><th>routine</th><th>call stacks</th><th>direct calls in the image, reached</th></tr></thead><tbody>",
        sites.stacks,
        sites.imports.len(),
        thousands(sites.single),
        thousands(sites.pairs),
    )
    .ok();
    for (import, stacks) in &sites.imports {
        let places = sites.places.get(*import);
        let places = places.map_or("-".into(), |(reached, all)| format!("{reached} of {all}"));
        write!(text, "<tr><td><code>{import}</code></td><td>{stacks}</td><td>{places}</td></tr>").ok();
    }
    text.push_str("</tbody></table>");
    for place in &sites.unreached {
        let reason = place.reason.unwrap_or("no reason is known");
        let functions = escape(&place.functions);
        write!(text, "<p>Not reached: <code>{}</code> in {functions}: {reason}</p>", place.import).ok();
    }
    text.push_str("<table><thead><tr><th>program</th><th>not good</th></tr></thead><tbody>");
    for (program, cell) in &sites.by_program {
        write!(text, "<tr><td><code>{}</code></td>", escape(program)).ok();
        share(text, cell);
        text.push_str("</tr>");
    }
    text.push_str("</tbody></table>");
}

fn order(text: &mut String, results: &Results) {
    let Some(schedules) = &results.schedules else { return };
    let ways: Vec<String> =
        schedules.by_strategy.iter().map(|(name, count)| format!("{} {name}", thousands(*count))).collect();
    write!(
        text,
        "<h2>Schedules</h2><p>{} schedules ({}), {} of them different, with up to {} places at which several threads could \
         go on. Threads of one process open, write, read and close, against nothing, an unload, a detach, a change of \
         the policy, an abort, a kill, a close while a write is on its way, a flush, and a program that is suspended. {} waits were let time out; {} \
         times a call failed that is made only where threads meet.</p>\
         <h2>Order of locks</h2><ul>",
        thousands(schedules.ran),
        ways.join(", "),
        thousands(schedules.different),
        schedules.longest,
        schedules.timeouts,
        schedules.failing,
    )
    .ok();
    for (held, taken) in &schedules.lock_order {
        write!(text, "<li>{} → {}</li>", escape(held), escape(taken)).ok();
    }
    text.push_str("</ul>");
}

const NOTES: &str = "<h2>What this shows, and what not</h2>\
    <p>The code that decides is the <code>intact.sys</code> that Windows would load, the same bytes, running in a small \
    model of the Windows kernel: the lab. A crash state is one of those that the lab's model of a disk allows: log records \
    persist as a prefix, sectors in any subset and version since the last flush, and may tear. Few sectors are tried in \
    every combination; of many the corners, and a seeded sample. Every disk is recovered; to every different volume the \
    driver is attached again, and a program saves. Nothing of this has run on Windows yet.</p>";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::{Cell, Frame};

    fn example() -> Results {
        let mut crashes = Crashes::default();
        let cell = Cell { without: Share { damaged: 3, all: 9 }, with: Share { damaged: 0, all: 1234 } };
        crashes.grid.entry("write@0+2200".into()).or_default().insert(Fault::PowerCut, cell);
        let files = vec![Strip { name: "a<b".into(), ranges: vec![(512, "old"), (1024, "foreign")] }];
        crashes.failures.push(Failure {
            part: "crash",
            workload: Frame::all(1)[0].workload(crate::workload::Ending::Close),
            fault: "<script>".into(),
            what: "neither".into(),
            reproduce: "cargo xtask faults -- --workload 'x'".into(),
            files,
        });
        Results {
            assumed: crate::assumed::Assumed::NOTHING.to_string(),
            seed: 1,
            seconds: 1.0,
            enumerated: true,
            enumerated_actions: 1,
            crashes: Some(crashes),
            sites: None,
            schedules: None,
            slice: true,
        }
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere_and_what_it_shows_is_text() {
        let page = page(&example());
        for outside in ["http://", "https://", "src=", "@import", "<script>"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("&lt;script&gt;") && page.contains("a&lt;b"));
    }

    #[test]
    fn a_failure_is_shown_with_its_picture_and_its_command() {
        let page = page(&example());
        assert!(
            page.contains("class='foreign' x='110'") && page.contains("cargo xtask faults -- --workload")
        );
        assert!(page.contains("1,234") && page.contains("This run is not good"));
    }
}

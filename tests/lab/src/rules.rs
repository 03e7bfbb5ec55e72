//! Rules, the code that models them, and the tests that prove it: `lab fidelity --rules`.
//!
//! Code and tests cite the collected facts by section (`txf-ktm §4.2`, `minifilter-rules §2.4`). A section without the name
//! of its document is one of the document named last in the same file. What is read is the source tree that this program
//! was built from.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The documents, by the names that are cited.
const DOCUMENTS: [(&str, &str); 2] = [
    ("minifilter-rules", include_str!("../facts/minifilter-rules.md")),
    ("txf-ktm", include_str!("../facts/txf-ktm.md")),
];

/// Sections that code cites and that are no behaviour of Windows which a test could show, and why.
pub const WITHOUT_A_TEST: &[(&str, &str)] = &[
    ("minifilter-rules §1.3", "file objects of a filter's own: refused, see §1.4"),
    ("minifilter-rules §2.1", "codes, asserted against other headers by the layout tests"),
];

/// A section of the facts, and who cites it.
#[derive(Default)]
pub struct Cited {
    /// Its title.
    pub title: String,
    /// Files of the lab that cite it.
    pub code: Vec<String>,
    /// Tests that cite it: file and function.
    pub tests: Vec<String>,
}

/// Where something is cited.
struct Citation {
    section: String,
    line: usize,
}

fn is_section(c: char) -> bool {
    c.is_ascii_digit() || c == '.'
}

/// The citations in a text, in order.
fn citations(text: &str) -> Vec<Citation> {
    let mut found = Vec::new();
    let mut document = None;
    for (line, content) in text.lines().enumerate() {
        let mut marks: Vec<(usize, Option<&str>)> = Vec::new();
        for (name, _) in DOCUMENTS {
            marks.extend(content.match_indices(name).map(|(at, _)| (at, Some(name))));
        }
        marks.extend(content.match_indices('§').map(|(at, _)| (at, None)));
        marks.sort_unstable_by_key(|(at, _)| *at);
        for (at, name) in marks {
            if name.is_some() {
                document = name;
                continue;
            }
            let number: String =
                content[at + '§'.len_utf8()..].chars().take_while(|c| is_section(*c)).collect();
            let number = number.trim_end_matches('.');
            if let Some(document) = document.filter(|_| !number.is_empty()) {
                found.push(Citation { section: format!("{document} §{number}"), line });
            }
        }
    }
    found
}

/// The test that a line of a text belongs to: the function that follows a documentation comment, else the one around.
fn test_at(text: &str, line: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let name = |content: &str| {
        let rest = content
            .trim_start()
            .strip_prefix("fn ")
            .or_else(|| content.trim_start().strip_prefix("pub fn "))?;
        rest.split('(').next().map(str::to_owned)
    };
    let content = lines[line].trim_start();
    if content.starts_with("//!") {
        return "the file".into();
    }
    let after = lines[line..].iter().find_map(|content| name(content));
    let before = lines[..=line].iter().rev().find_map(|content| name(content));
    let found = if content.starts_with("///") { after } else { before };
    found.unwrap_or_else(|| "the file".into())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() && entry.file_name() != "target" {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Every section that is cited, by document and number.
///
/// # Errors
/// If the source tree is not where it was.
pub fn cited() -> Result<BTreeMap<String, Cited>, String> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = tests.parent().unwrap_or(tests);
    let mut files = Vec::new();
    collect(root, &mut files);
    files.sort();
    if files.is_empty() {
        return Err(format!(
            "the cross-reference is made from the source tree, which is not at {}",
            root.display()
        ));
    }
    let mut all: BTreeMap<String, Cited> = BTreeMap::new();
    for path in files {
        let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        if shown.ends_with("src/rules.rs") || shown.contains("/drivers/") {
            continue;
        }
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{shown}: {error}"))?;
        let is_code =
            ["lab/src", "lab/executive/src", "lab/volume/src"].iter().any(|own| shown.starts_with(own));
        let first_test = text.lines().position(|line| line.contains("#[cfg(test)]")).unwrap_or(usize::MAX);
        for Citation { section, line } in citations(&text) {
            let entry = all.entry(section).or_default();
            if is_code && line < first_test {
                entry.code.push(shown.clone());
            } else if !is_code || line >= first_test {
                entry.tests.push(format!("{shown}: {}", test_at(&text, line)));
            }
        }
    }
    for (section, cited) in &mut all {
        cited.title = title(section);
        for list in [&mut cited.code, &mut cited.tests] {
            list.sort();
            list.dedup();
        }
    }
    Ok(all)
}

/// The major functions that the lab sends to filters, and those that it never does: those that the code of its I/O manager
/// names, and the rest.
///
/// # Errors
/// As [`cited`].
pub fn operations() -> Result<[Vec<&'static str>; 2], String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/io");
    let mut files = Vec::new();
    collect(&folder, &mut files);
    if files.is_empty() {
        return Err(format!("the list is made from the source tree, which is not at {}", folder.display()));
    }
    let texts: Vec<String> = files.iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect();
    let names = (0..=u8::MAX).map(crate::flt::registration::major_name).filter(|name| !name.is_empty());
    let named = |name: &str| {
        let whole = |text: &String| {
            text.match_indices(name).any(|(at, _)| {
                let next = text[at + name.len()..].chars().next();
                !next.is_some_and(|c| c == '_' || c.is_ascii_alphanumeric())
            })
        };
        texts.iter().any(whole)
    };
    let (sent, never) = names.partition(|name| named(name));
    Ok([sent, never])
}

/// The title of a section; empty if the document has none of that number.
fn title(section: &str) -> String {
    let Some((document, number)) = section.split_once(" §") else { return String::new() };
    let text = DOCUMENTS.iter().find(|(name, _)| *name == document).map_or("", |(_, text)| text);
    let mut headings = text.lines().filter_map(|line| {
        let heading = line.strip_prefix('#')?.trim_start_matches('#').trim();
        let (own, title) = heading.split_once(' ')?;
        (own.trim_end_matches('.') == number).then(|| title.split(" [").next().unwrap_or(title).to_owned())
    });
    headings.next_back().unwrap_or_default()
}

/// The sections that the lab models, each with its code and tests, as text.
///
/// # Errors
/// As [`cited`].
pub fn table() -> Result<String, String> {
    let mut text = String::new();
    let all = cited()?;
    let modelled = all.iter().filter(|(_, cited)| !cited.code.is_empty());
    for (section, cited) in modelled {
        let _ = writeln!(text, "{section}: {}", cited.title);
        let _ = writeln!(text, "  code: {}", cited.code.join(", "));
        let why = WITHOUT_A_TEST.iter().find(|(own, _)| own == section);
        match why {
            Some((_, why)) if cited.tests.is_empty() => {
                let _ = writeln!(text, "  no test: {why}");
            }
            _ => cited.tests.iter().for_each(|test| {
                let _ = writeln!(text, "  test: {test}");
            }),
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_one_of_the_document_named_last() {
        let text = "// txf-ktm §4.2, `§9` rule 1; minifilter-rules §2.4.\n/// §1.1 (open), no §\nfn a() {}";
        let found: Vec<_> = citations(text).into_iter().map(|c| (c.section, c.line)).collect();
        let section = |name: &str, line| (name.to_owned(), line);
        assert_eq!(
            found,
            [
                section("txf-ktm §4.2", 0),
                section("txf-ktm §9", 0),
                section("minifilter-rules §2.4", 0),
                section("minifilter-rules §1.1", 1)
            ]
        );
        assert!(citations("§4.2 of nothing").is_empty());
    }

    #[test]
    fn a_comment_belongs_to_the_function_after_it_and_a_line_to_the_one_around() {
        let text = "/// x\nfn first() {\n    // y\n}\n/// z\nfn second() {}";
        assert_eq!(test_at(text, 0), "first");
        assert_eq!(test_at(text, 2), "first");
        assert_eq!(test_at(text, 4), "second");
    }

    #[test]
    fn every_cited_section_is_one_of_the_documents() {
        let all = cited().unwrap();
        let wrong: Vec<_> = all.iter().filter(|(_, cited)| cited.title.is_empty()).collect();
        let shown: Vec<_> = wrong
            .iter()
            .map(|(section, cited)| format!("{section} in {:?} {:?}", cited.code, cited.tests))
            .collect();
        assert!(shown.is_empty(), "{}", shown.join("\n"));
    }

    /// What the lab models by a section of the facts, a test shows by the same section.
    #[test]
    fn every_section_that_the_lab_models_has_a_test_that_cites_it() {
        let all = cited().unwrap();
        assert!(all.len() > 40, "{} sections", all.len());
        let excused = |section: &str| WITHOUT_A_TEST.iter().any(|(own, _)| *own == section);
        let missing: Vec<_> = all
            .iter()
            .filter(|(section, cited)| !cited.code.is_empty() && cited.tests.is_empty() && !excused(section))
            .map(|(section, cited)| {
                format!("{section} ({}), modelled in {}", cited.title, cited.code.join(", "))
            })
            .collect();
        assert!(missing.is_empty(), "no test cites\n{}", missing.join("\n"));
        for (section, _) in WITHOUT_A_TEST {
            assert!(
                all.get(*section).is_some_and(|cited| !cited.code.is_empty()),
                "{section} is not modelled any more"
            );
        }
    }
}

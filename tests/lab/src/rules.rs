//! Rules, the code that models them, and the tests that prove it: `lab fidelity --rules`. Which rules there are is in
//! [`index`](crate::index); this reads where they are cited.
//!
//! Code and tests cite the collected facts by section (`txf-ktm §4.2`, `minifilter-rules §2.4`). A section without the name
//! of its document is one of the document named last in the same file. What is read is the source tree that this program
//! was built from.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::facts::{DOCUMENTS, statements, title};
use crate::index::{self, Rule};

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

/// The sources below `tests`: path from there, and text.
fn sources() -> Result<Vec<(String, String)>, String> {
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
    let mut sources = Vec::new();
    for path in files {
        let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{shown}: {error}"))?;
        sources.push((shown, text));
    }
    Ok(sources)
}

/// The files that list rules, and so cite everything.
const LISTS: [&str; 4] = ["lab/src/rules.rs", "lab/src/facts.rs", "lab/src/index.rs", "lab/src/index/"];

/// Every section that is cited, by document and number.
///
/// # Errors
/// If the source tree is not where it was.
pub fn cited() -> Result<BTreeMap<String, Cited>, String> {
    let mut all: BTreeMap<String, Cited> = BTreeMap::new();
    for (shown, text) in sources()? {
        if LISTS.iter().any(|list| shown.starts_with(list)) || shown.contains("/drivers/") {
            continue;
        }
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

/// A test of the lab.
pub struct Test {
    /// Its file, below `tests`.
    pub file: String,
    /// Its function.
    pub function: String,
}

/// The tests of the lab's crates.
///
/// # Errors
/// As [`cited`].
pub fn tests() -> Result<Vec<Test>, String> {
    let mut tests = Vec::new();
    for (file, text) in sources()? {
        if !file.starts_with("lab/") || file.contains("/drivers/") {
            continue;
        }
        let mut lines = text.lines().map(str::trim);
        while lines.any(|line| line == "#[test]") {
            let name = lines.by_ref().find_map(|line| line.strip_prefix("fn ")?.split('(').next());
            tests.extend(name.map(|name| Test { file: file.clone(), function: name.into() }));
        }
    }
    Ok(tests)
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

/// The index as text: each section with the code that models it, and each rule with its confidence and its tests.
///
/// # Errors
/// As [`cited`].
pub fn table() -> Result<String, String> {
    let mut text = String::new();
    let all = cited()?;
    let tests = tests()?;
    let statements = statements();
    let (mut modelled, mut absent) = (0, 0);
    for (section, rules) in index::by_section() {
        let _ = writeln!(text, "{section}: {}", title(section));
        if let Some(cited) = all.get(section).filter(|cited| !cited.code.is_empty()) {
            let _ = writeln!(text, "  code: {}", cited.code.join(", "));
        }
        for rule in rules {
            let confidence = index::statement(rule, &statements).map_or("", |found| &found.confidence);
            let _ = writeln!(text, "  {}", line(rule, confidence, &tests));
            modelled += usize::from(rule.is_modelled());
            absent += usize::from(!rule.is_modelled());
        }
    }
    let _ = writeln!(
        text,
        "{modelled} rules are modelled, each with a test; {absent} lines say what is not modelled, and why"
    );
    let _ =
        writeln!(text, "D documented, O observed, I inferred, U unknown, H from a header, S from a sample");
    Ok(text)
}

fn line(rule: &Rule, confidence: &str, tests: &[Test]) -> String {
    let words = if rule.words.is_empty() {
        "the rest".into()
    } else {
        format!("\"{}\"", rule.words.replace("**", ""))
    };
    if !rule.is_modelled() {
        return format!("not modelled: {words}: {}", rule.why_not);
    }
    let tag = if confidence.is_empty() { String::new() } else { format!("[{confidence}] ") };
    let places: Vec<_> = rule
        .tests
        .iter()
        .map(|name| {
            let file = tests.iter().find(|test| test.function == *name).map_or("?", |test| &test.file);
            format!("{file}: {name}")
        })
        .collect();
    format!("{tag}{words}\n    test: {}", places.join("\n    test: "))
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
}

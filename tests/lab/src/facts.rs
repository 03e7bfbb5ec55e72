//! The collected facts, statement by statement.
//!
//! A statement is what the documents mark as one: a row of a table, an item of a list, a paragraph. What stands before the
//! first numbered heading is about the documents and is none.

/// The documents, by the names that are cited.
pub const DOCUMENTS: [(&str, &str); 2] = [
    ("minifilter-rules", include_str!("../facts/minifilter-rules.md")),
    ("txf-ktm", include_str!("../facts/txf-ktm.md")),
];

/// How sure a statement is, by the letters of its tags.
const TAGS: &str = "DOIUHS";

/// A statement of the facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Document and section, as they are cited: `txf-ktm §4.2`.
    pub section: String,
    /// As it is written, in one line.
    pub text: String,
    /// The letters of its tags, or of its section's heading: D documented, O observed, I inferred, U unknown, H from a
    /// header, S from a sample. Empty if neither has one.
    pub confidence: String,
}

/// The number and the title of a heading.
fn heading(line: &str) -> Option<(&str, &str)> {
    let heading = line.strip_prefix('#')?.trim_start_matches('#').trim();
    let (number, title) = heading.split_once(' ')?;
    Some((number.trim_end_matches('.'), title))
}

/// The title of a section; empty if the document has none of that number.
pub fn title(section: &str) -> String {
    let Some((document, number)) = section.split_once(" §") else { return String::new() };
    let text = DOCUMENTS.iter().find(|(name, _)| *name == document).map_or("", |(_, text)| text);
    let mut found = text.lines().filter_map(heading).filter(|(own, _)| *own == number);
    found
        .next_back()
        .map_or_else(String::new, |(_, title)| title.split(" [").next().unwrap_or(title).to_owned())
}

/// The letters of the tags in a text, each once: `[D+I: …]` has D and I.
fn tags(text: &str) -> String {
    let mut found = String::new();
    for bracket in text.split('[').skip(1) {
        let inside = bracket.split(']').next().unwrap_or_default();
        for part in inside.split(['+', '/', ';', ',']) {
            let mut chars = part.trim_start().chars();
            let tag = chars.next().filter(|tag| TAGS.contains(*tag));
            let alone = chars.next().is_none_or(|next| !next.is_alphanumeric());
            if let Some(tag) = tag.filter(|tag| alone && !found.contains(*tag)) {
                found.push(tag);
            }
        }
    }
    found
}

fn is_ruler(line: &str) -> bool {
    line.chars().all(|c| "-=|: ".contains(c))
}

fn is_item(line: &str) -> bool {
    let number = line.trim_start_matches(|c: char| c.is_ascii_digit());
    line.starts_with("- ") || (number.len() < line.len() && number.starts_with(". "))
}

/// The statements of a document, in order.
pub fn statements_of(document: &str, text: &str) -> Vec<Statement> {
    let mut found: Vec<Statement> = Vec::new();
    let (mut section, mut of_heading) = (String::new(), String::new());
    // Whether the line before belongs to a paragraph, and whether it belongs to a table.
    let (mut paragraph, mut table) = (false, false);
    for line in text.lines().map(str::trim) {
        if line.starts_with('#') {
            let number = heading(line).map(|(number, _)| number);
            let number = number.filter(|number| number.starts_with(|c: char| c.is_ascii_digit()));
            section = number.map_or_else(String::new, |number| format!("{document} §{number}"));
            of_heading = tags(line);
            (paragraph, table) = (false, false);
        } else if line.is_empty() || is_ruler(line) {
            // The ruler of a table is part of it.
            table &= line.starts_with('|');
            paragraph = false;
        } else if line.starts_with('|') {
            paragraph = false;
            // The first line of a table names its columns.
            if std::mem::replace(&mut table, true) {
                found.push(Statement {
                    section: section.clone(),
                    text: line.into(),
                    confidence: String::new(),
                });
            }
        } else {
            table = false;
            let last = found.last_mut().filter(|last| paragraph && !is_item(line) && last.section == section);
            match last {
                Some(last) => last.text = format!("{} {line}", last.text),
                None => {
                    let (section, text) = (section.clone(), line.to_owned());
                    found.push(Statement { section, text, confidence: String::new() });
                }
            }
            paragraph = !is_item(line);
        }
        if let Some(last) = found.last_mut() {
            let own = tags(&last.text);
            last.confidence = if own.is_empty() { of_heading.clone() } else { own };
        }
    }
    found.retain(|statement| !statement.section.is_empty());
    found
}

/// The statements of all documents.
pub fn statements() -> Vec<Statement> {
    DOCUMENTS.iter().flat_map(|(name, text)| statements_of(name, text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Facts\nBefore.\n\n## 1. First [D: page]\n\nOne\nline. [U]\n| a | b |\n|---|---|\n| 1 | [D/I] x |\n\
                        - item [in] one\n- item two [O; D: y]\n---\n### 1.1 Second\n1. numbered [S]\nAfter.\n";

    #[test]
    fn a_statement_is_a_row_an_item_or_a_paragraph() {
        let found = statements_of("doc", TEXT);
        let shown: Vec<_> =
            found.iter().map(|s| (s.section.as_str(), s.text.as_str(), s.confidence.as_str())).collect();
        assert_eq!(
            shown,
            [
                ("doc §1", "One line. [U]", "U"),
                ("doc §1", "| 1 | [D/I] x |", "DI"),
                ("doc §1", "- item [in] one", "D"),
                ("doc §1", "- item two [O; D: y]", "OD"),
                ("doc §1.1", "1. numbered [S]", "S"),
                ("doc §1.1", "After.", ""),
            ]
        );
    }

    #[test]
    fn the_documents_have_hundreds_of_statements_in_sections_with_titles() {
        let all = statements();
        assert!(all.len() > 500, "{} statements", all.len());
        for statement in &all {
            assert!(!title(&statement.section).is_empty(), "{}", statement.section);
        }
    }

    #[test]
    fn a_title_ends_before_the_tags() {
        assert_eq!(title("minifilter-rules §2.1"), "Codes");
        assert_eq!(title("txf-ktm §4.2"), "Lock matrix (transactional locking)");
        assert_eq!(title("txf-ktm §99"), "");
    }
}

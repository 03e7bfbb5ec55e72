//! `minifilter/mutants.md`: why no test notices some changes.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::copy::Mutant;

/// Where the explanations are.
pub(super) const FILE: &str = "minifilter/mutants.md";
/// In a column: whatever is there.
const ANY: &str = "*";

/// A row of the table: changes, and why no test notices them.
pub(super) struct Explanation {
    pub(super) file: String,
    pub(super) function: String,
    change: String,
    text: String,
}

impl Explanation {
    /// Whether it is about this change.
    pub(super) fn is_about(&self, mutant: &Mutant) -> bool {
        let same = |said: &str, is: &str| said == ANY || said == is;
        mutant.file == self.file
            && mutant.change.function == self.function
            && same(&self.change, &mutant.change.what)
            && same(&self.text, &mutant.change.text)
    }
}

/// The explanations of this workspace.
pub(super) fn read(root: &Path) -> Result<Vec<Explanation>> {
    parse(&fs::read_to_string(root.join(FILE)).with_context(|| format!("reading {FILE}"))?)
}

fn parse(text: &str) -> Result<Vec<Explanation>> {
    let mut explanations = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if !line.starts_with("| `") {
            continue;
        }
        let columns = columns(line);
        let [file, function, change, text, why] = columns.as_slice() else {
            bail!(
                "{FILE}:{}: {} columns where five are needed: file, function, change, text, why",
                index + 1,
                columns.len()
            );
        };
        if why.is_empty() {
            bail!("{FILE}:{}: no reason is given", index + 1);
        }
        let plain = |column: &String| column.trim_matches('`').trim().to_owned();
        explanations.push(Explanation {
            file: plain(file),
            function: plain(function),
            change: plain(change),
            text: plain(text),
        });
    }
    Ok(explanations)
}

/// The columns of a row; a bar in one is written `\|`.
fn columns(line: &str) -> Vec<String> {
    let mut columns = vec![String::new()];
    let mut characters = line.trim().trim_matches('|').chars().peekable();
    while let Some(character) = characters.next() {
        match (character, columns.last_mut()) {
            ('\\', Some(column)) if characters.peek() == Some(&'|') => {
                characters.next();
                column.push('|');
            }
            ('|', _) => columns.push(String::new()),
            (_, Some(column)) => column.push(character),
            (_, None) => {}
        }
    }
    columns.iter().map(|column| column.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::copy;
    use super::*;
    use crate::workspace;

    #[test]
    fn every_explanation_is_about_a_change_that_is_there() {
        let root = workspace::root();
        let mutants = copy::mutants(&copy::sources(root).unwrap());
        for explanation in read(root).unwrap() {
            let is_there = mutants.iter().any(|mutant| explanation.is_about(mutant));
            let Explanation { file, function, change, text } = explanation;
            assert!(is_there, "{FILE} explains {change} of {text} in {function}, {file}, where that is not");
        }
    }

    #[test]
    fn bars_are_written_with_a_backslash() {
        let row = r"| `a.rs` | `T::f` | replace \| with ^ | `a \| b` | no bit in common |";
        let [explanation] = &parse(row).unwrap()[..] else { panic!("one row") };
        assert_eq!(explanation.change, "replace | with ^");
        assert_eq!(explanation.text, "a | b");
    }

    #[test]
    fn a_row_without_a_reason_is_an_error() {
        assert!(parse("| `a.rs` | `f` | * | * | |").is_err());
        assert!(parse("| `a.rs` | `f` | * | because |").is_err());
    }
}

//! The index of rules: what of the collected facts the lab models, and which test shows each: `lab fidelity --rules`.
//!
//! A rule is named by its section and by words of it that stand in one statement of that section only. Every statement of
//! the documents is here: with the tests that show it, or with the reason why the lab has nothing of it. A line without
//! words speaks for what is left of its section.
//!
//! The tests of this module hold the index against the documents, against the tests, and against the citations in the
//! lab's code; so a rule cannot be modelled, tested or forgotten without a line here that is true.

mod design;
mod filter_manager;
mod ktm;
mod operations;
mod txf;

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::Statement;

/// A line of the index.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Document and section, as they are cited.
    pub section: &'static str,
    /// Words of one statement; empty for what is left of the section.
    pub words: &'static str,
    /// The functions that show it.
    pub tests: &'static [&'static str],
    /// Why there is no test: the lab does not model it.
    pub why_not: &'static str,
}

impl Rule {
    /// Whether the lab models it.
    pub fn is_modelled(&self) -> bool {
        !self.tests.is_empty()
    }
}

macro_rules! list {
    ($($section:literal { $($words:literal $(=> $($test:ident),+)? $(no $why:literal)?;)+ })+) => {
        pub(super) const RULES: &[super::Rule] = &[$($(super::Rule {
            section: $section,
            words: $words,
            tests: &[$($(stringify!($test)),+)?],
            why_not: concat!($($why)?),
        },)+)+];
    };
}
use list;

/// Every line, document by document, in the order of the sections.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    [ktm::RULES, txf::RULES, design::RULES, operations::RULES, filter_manager::RULES].into_iter().flatten()
}

/// The statement that a line is about; `None` if its words stand nowhere in its section, or in more than one place, or if
/// it has none.
pub fn statement<'a>(rule: &Rule, statements: &'a [Statement]) -> Option<&'a Statement> {
    if rule.words.is_empty() {
        return None;
    }
    let mut found = statements
        .iter()
        .filter(|statement| statement.section == rule.section && statement.text.contains(rule.words));
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// The sections of which the lab models something.
pub fn modelled_sections() -> BTreeSet<&'static str> {
    rules().filter(|rule| rule.is_modelled()).map(|rule| rule.section).collect()
}

/// The lines by section.
pub fn by_section() -> BTreeMap<&'static str, Vec<&'static Rule>> {
    let mut sections: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for rule in rules() {
        sections.entry(rule.section).or_default().push(rule);
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::statements;
    use crate::rules::{cited, tests};

    fn shown(lines: &[String]) -> String {
        format!("{} line(s):\n{}", lines.len(), lines.join("\n"))
    }

    /// Every line names one statement, once, and has tests or a reason.
    #[test]
    fn every_line_is_about_one_statement() {
        let statements = statements();
        let mut wrong = Vec::new();
        let mut seen = BTreeSet::new();
        for rule in rules() {
            let line = format!("{}: \"{}\"", rule.section, rule.words);
            if !seen.insert((rule.section, rule.words)) {
                wrong.push(format!("{line} stands twice"));
            }
            if rule.is_modelled() != rule.why_not.is_empty() {
                wrong.push(format!("{line} needs tests or a reason, and not both"));
            }
            if !rule.words.is_empty() && statement(rule, &statements).is_none() {
                let places =
                    statements.iter().filter(|s| s.section == rule.section && s.text.contains(rule.words));
                wrong.push(format!("{line} stands in {} statements", places.count()));
            }
        }
        assert!(wrong.is_empty(), "{}", shown(&wrong));
    }

    /// Nothing that the documents say is left out.
    #[test]
    fn every_statement_has_a_line() {
        let all: Vec<_> = rules().collect();
        let missing: Vec<_> = statements()
            .into_iter()
            .filter(|statement| {
                !all.iter()
                    .any(|rule| rule.section == statement.section && statement.text.contains(rule.words))
            })
            .map(|statement| format!("{}: {}", statement.section, statement.text))
            .collect();
        assert!(missing.is_empty(), "{}", shown(&missing));
    }

    /// Every test that is named exists, once, and names the section as its source.
    #[test]
    fn every_rule_has_a_test_that_names_its_source() {
        let tests = tests().unwrap();
        let cited = cited().unwrap();
        let mut wrong = BTreeSet::new();
        for rule in rules() {
            for name in rule.tests {
                let places: Vec<_> = tests.iter().filter(|test| test.function == *name).collect();
                match places.as_slice() {
                    [] => {
                        wrong.insert(format!("{name} is no test ({}: \"{}\")", rule.section, rule.words));
                    }
                    [test] => {
                        let own = format!("{}: {name}", test.file);
                        if !cited.get(rule.section).is_some_and(|cited| cited.tests.contains(&own)) {
                            wrong.insert(format!("{own} does not name {} as its source", rule.section));
                        }
                    }
                    _ => {
                        wrong.insert(format!("{name} is the name of {} tests", places.len()));
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{}", shown(&wrong.into_iter().collect::<Vec<_>>()));
    }

    /// What code cites is a rule here; what is a rule here, code cites.
    #[test]
    fn code_and_index_agree_about_what_is_modelled() {
        let in_code: BTreeSet<String> = cited()
            .unwrap()
            .into_iter()
            .filter(|(_, cited)| !cited.code.is_empty())
            .map(|(section, _)| section)
            .collect();
        let parts_only = |section: &str| {
            // A whole chapter, cited for everything below it.
            modelled_sections().iter().any(|own| own.starts_with(&format!("{section}.")))
        };
        let unknown: Vec<_> = in_code
            .iter()
            .filter(|section| !modelled_sections().contains(section.as_str()) && !parts_only(section))
            .map(|section| format!("{section} is cited by code, and no rule of it is modelled"))
            .collect();
        let uncited: Vec<_> = modelled_sections()
            .into_iter()
            .filter(|section| !in_code.contains(*section))
            .map(|section| format!("rules of {section} are modelled, and no code cites it"))
            .collect();
        assert!(unknown.is_empty() && uncited.is_empty(), "{}\n{}", shown(&unknown), shown(&uncited));
    }
}

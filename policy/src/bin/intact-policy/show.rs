//! The policy that is in force.

use std::fmt::Write as _;

use intact_policy::tools::{Data, Document, Section};
use intact_policy::{HostUpcase, Key, Kind, Upcase, Value};

use crate::machine::Machine;
use crate::policy_file::PolicyFile;

/// Rules in the order in which they are asked, each value with the key that it is from.
pub(crate) fn show(file: &PolicyFile, mut machine: Machine) -> Result<String, String> {
    let policy = file.compile(&mut machine).map_err(|_| {
        format!(
            "the policy has errors, so Intact would keep the one that it has:\n{}",
            file.check(&mut machine).problems.join("\n")
        )
    })?;
    let (document, _) = Document::from_reg(&file.reg);
    let mut out = String::new();
    file.notes.iter().for_each(|note| _ = writeln!(out, "note: {note}"));
    let roots = || document.sections.iter().filter(|section| section.rule.is_none());
    for row in Value::ALL.iter().filter(|row| row.at_root) {
        let found = roots().find_map(|section| Some((section, data(section, row.value)?)));
        let _ = match (found, row.kind) {
            (Some((section, data)), _) => {
                writeln!(out, "{} = {}    ({})", row.name, plain(data), section.key.path())
            }
            (None, Kind::Number { default, .. }) => writeln!(out, "{} = {default}    (default)", row.name),
            _ => Ok(()),
        };
    }
    for id in policy.rules() {
        let Some(rule) = policy.rule(id) else { continue };
        let name = String::from_utf16_lossy(rule.name);
        let _ = writeln!(out, "\nrule \"{name}\"    ({})", rule.key.path());
        let section = document.sections.iter().find(|section| is(section, rule.key, &name));
        for row in Value::ALL.iter().filter(|row| !row.at_root) {
            match (section.and_then(|section| data(section, row.value)), row.kind) {
                (Some(Data::List(elements)), _) => {
                    let _ = writeln!(out, "  {}:", row.name);
                    elements.iter().for_each(|element| _ = writeln!(out, "    {element}"));
                }
                (Some(data), _) => _ = writeln!(out, "  {} = {}", row.name, plain(data)),
                (None, Kind::Word(words)) => _ = writeln!(out, "  {} = {}    (default)", row.name, words[0]),
                (None, Kind::Number { default, .. }) => {
                    _ = writeln!(out, "  {} = {default}    (default)", row.name);
                }
                (None, Kind::Patterns) => {}
            }
        }
    }
    for section in document.sections.iter().filter(|section| section.key == Key::Parameters) {
        let Some(name) = &section.rule else { continue };
        let hidden =
            document.sections.iter().any(|other| !other.values.is_empty() && is(other, Key::Policies, name));
        if hidden && !section.values.is_empty() {
            let _ = writeln!(
                out,
                "\nrule \"{name}\" of {} is hidden by the rule of the same name above",
                section.key.path()
            );
        }
    }
    let problems = file.check(&mut machine).problems;
    if !problems.is_empty() {
        let _ = writeln!(out, "\n{}", problems.join("\n"));
    }
    Ok(out)
}

/// Whether a section is the rule of this name in this key.
fn is(section: &Section, key: Key, name: &str) -> bool {
    let upper = |text: &str| text.encode_utf16().map(|unit| HostUpcase.upcase(unit)).collect::<Vec<_>>();
    section.key == key && section.rule.as_deref().is_some_and(|rule| upper(rule) == upper(name))
}

fn data(section: &Section, value: Value) -> Option<&Data> {
    section.values.iter().find(|(known, _)| *known == value).map(|(_, data)| data)
}

fn plain(data: &Data) -> String {
    match data {
        Data::Number(number) => number.to_string(),
        Data::Word(word) => word.clone(),
        Data::List(elements) => elements.join(" | "),
    }
}

//! What administrators read says what the schema and the matcher do.

mod common;

use common::{DISK_1, Registry, matches, paths};
use intact_policy::{Kind, MAX_RULES, Value};

const README: &str = include_str!("../README.md");

#[test]
fn the_table_of_values_is_the_schema() {
    for row in Value::ALL {
        let (kind, default) = match row.kind {
            Kind::Patterns if row.value == Value::Paths => ("REG_MULTI_SZ", "required".to_owned()),
            Kind::Patterns => ("REG_MULTI_SZ", "none".to_owned()),
            Kind::Word(words) => {
                ("REG_SZ", words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "))
            }
            Kind::Number { default, .. } => ("REG_DWORD", default.to_string()),
        };
        let line = format!("| `{}` | {kind} | {default} | {} |", row.name, row.meaning);
        assert!(README.lines().any(|found| found == line), "{line}");
    }
    let told = README.lines().filter(|line| line.contains("| REG_")).count();
    assert_eq!(told, Value::ALL.len(), "and nothing else");
    assert!(README.contains(&MAX_RULES.to_string()));
}

/// Lines of `text` between the table head that begins with `head` and the next empty line, as cells.
fn table(head: &str) -> Vec<Vec<String>> {
    let lines = README.lines().skip_while(|line| !line.starts_with(head)).skip(2);
    lines
        .take_while(|line| !line.is_empty())
        .map(|line| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

#[test]
fn every_pattern_of_the_examples_does_what_is_said() {
    let rows = table("| pattern | covers |");
    assert!(rows.len() >= 12, "{rows:?}");
    let names = |cell: &str| -> Vec<String> {
        cell.split("<br>")
            .map(|name| name.trim().trim_matches('`').to_owned())
            .filter(|name| !name.is_empty())
            .collect()
    };
    for row in rows {
        let [pattern, covered, other] = row.as_slice() else { panic!("{row:?}") };
        let pattern = pattern.trim_matches('`');
        let on_disk = |name: &str| match name.strip_prefix("C:") {
            Some(rest) => format!("{DISK_1}{rest}"),
            None => name.replacen("D:", common::DISK_2, 1),
        };
        for name in names(covered) {
            assert!(matches(pattern, &on_disk(&name)), "{pattern} should cover {name}");
        }
        for name in names(other) {
            assert!(!matches(pattern, &on_disk(&name)), "{pattern} should not cover {name}");
        }
    }
}

#[test]
fn every_refused_pattern_is_refused_for_the_reason_that_is_told() {
    let rows = table("| refused |");
    assert!(rows.len() >= 8, "{rows:?}");
    for row in rows {
        let [pattern, reason] = row.as_slice() else { panic!("{row:?}") };
        let messages = paths(&[pattern.trim_matches('`')]).messages();
        assert!(messages.iter().any(|message| message.ends_with(reason.as_str())), "{pattern}: {messages:?}");
        assert!(!paths(&[pattern.trim_matches('`')]).is_valid());
    }
}

#[test]
fn the_message_that_is_shown_is_the_message() {
    let registry = Registry::new().rule("Reports").list(Value::Paths, &[r"D:\a", "D:\\Data/x"]);
    assert!(README.contains(&registry.messages()[0]), "{:?}", registry.messages());
}

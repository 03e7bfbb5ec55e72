//! The commands of the lab's README do what it says.

mod common;

use std::path::Path;
use std::process::{Command, Output};

const README: &str = include_str!("../README.md");

fn commands() -> Vec<Vec<&'static str>> {
    let prefix = "$ cargo xtask lab -- ";
    README
        .lines()
        .filter_map(|line| line.strip_prefix(prefix))
        .map(|rest| rest.split(' ').collect())
        .collect()
}

fn lab(arguments: &[&str]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    Command::new(env!("CARGO_BIN_EXE_lab")).current_dir(root).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn every_command_that_needs_no_mount_succeeds_and_says_what_it_should() {
    let expected = [
        ("load", "FileMonitor"),
        ("--verifier", "Special pool"),
        ("--rules", "minifilter-rules §1.1"),
        ("--switches", "supersede_changes_id"),
        ("--page", "# How true the lab is to Windows"),
        ("fidelity", "FltRegisterFilter"),
    ];
    let mut run = 0;
    for command in commands().iter().filter(|command| command[0] != "run") {
        let output = lab(command);
        let said = text(&output);
        assert!(output.status.success(), "{command:?}: {said}");
        let part = expected.iter().find(|(word, _)| command.contains(word)).map(|(_, part)| *part);
        let part = if command[0] == "load" { "nothing left behind" } else { part.unwrap() };
        assert!(said.contains(part), "{command:?} does not say {part:?}: {said}");
        run += 1;
    }
    assert_eq!(run, 6, "the README lost or gained a command");
}

/// Loading prints what the example registered.
#[test]
fn load_prints_what_the_monitor_registers() {
    let driver = common::driver("monitor");
    let said = text(&lab(&["load", driver.to_str().unwrap()]));
    for line in [
        "IRP_MJ_SET_INFORMATION",
        "TransactionNotification",
        "transaction context",
        "stream context",
        "IoCreateDevice",
        "flags: DO_NOT_SUPPORT_SERVICE_STOP",
        "nothing left behind",
    ] {
        assert!(said.contains(line), "{line} is missing in {said}");
    }
}

#[test]
fn the_command_for_programs_is_one_that_the_lab_knows() {
    let command = commands().into_iter().find(|command| command[0] == "run").unwrap();
    let help = text(&lab(&["run", "--help"]));
    for option in command.iter().take_while(|word| **word != "--").filter(|word| word.starts_with("--")) {
        assert!(help.contains(option), "{option} is no option of `lab run`");
    }
}

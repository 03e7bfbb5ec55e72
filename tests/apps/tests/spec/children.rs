//! `IncludeChildren`: what an unmodified shell script and the programs that it starts save is one save.

use std::fs;
use std::path::Path;

use crate::saves::{Desk, intact, shell, states};
use crate::support::{no_ends, no_fuse};
use lab::run::report::{Exit, Report};

/// Everything on the volume that these programs save, all that a process saves being one save, with these values besides.
/// Saves do not settle while a test runs: what is committed, an end has committed.
fn policy(programs: &str, values: &str) -> String {
    let everything =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("everything.reg")).unwrap();
    let programs = format!("{programs}\0\0");
    let wide = programs.encode_utf16().flat_map(u16::to_le_bytes);
    let wide: Vec<String> = wide.map(|byte| format!("{byte:02x}")).collect();
    format!(
        "{everything}\"Processes\"=hex(7):{}\n\"Scope\"=\"Process\"\n\"SettleMilliseconds\"=dword:0000ea60\n{values}",
        wide.join(",")
    )
}

/// Only the shell is named.
fn one_unit() -> String {
    policy("dash.exe", "\"IncludeChildren\"=dword:00000001\n")
}

fn run(desk: &Desk, policy: &str, options: &[&str], program: &[&str]) -> Report {
    let (driver, file) = (intact(), desk.0.join("policy.reg"));
    fs::write(&file, policy).unwrap();
    let with = ["--driver", driver.to_str().unwrap(), "--policy", file.to_str().unwrap()];
    let report = desk.run(&[&with, options].concat(), program);
    for trial in &report.trials {
        assert!(trial.trouble.is_empty(), "{report}");
    }
    report
}

const DOCUMENTS: [&str; 5] = ["report", "numbers", "notes", "settings", "history"];

/// Five documents and the script that brings all of them to their next version, each in another way. It has one of them open
/// from its beginning to its end, its log: so it takes part itself.
fn release() -> Desk {
    let script = "set -e
        exec >> history
        cp draft report
        sort -n -o numbers numbers
        sed -i s/draft/final/ notes
        mv settings.next settings
        echo released";
    Desk::with(&[
        ("release.sh", script.as_bytes()),
        ("draft", b"what the report says from now on"),
        ("report", b"what the report says"),
        ("numbers", b"3\n1\n2\n"),
        ("notes", b"this is a draft\n"),
        ("settings.next", b"colour = red"),
        ("settings", b"colour = blue"),
        ("history", b"begun\n"),
    ])
}

const FILES: [&str; 16] = [
    "--files",
    "release.sh",
    "--files",
    "draft",
    "--files",
    "report",
    "--files",
    "numbers",
    "--files",
    "notes",
    "--files",
    "settings.next",
    "--files",
    "settings",
    "--files",
    "history",
];

const SCRIPT: [&str; 2] = ["/bin/sh", "release.sh"];

/// The states of all documents, for each trial.
fn documents(report: &Report) -> Vec<Vec<&str>> {
    let of: Vec<_> = DOCUMENTS.iter().map(|name| states(report, name)).collect();
    (0..report.trials.len()).map(|trial| of.iter().map(|states| states[trial]).collect()).collect()
}

#[test]
fn a_script_that_finishes_has_saved_all_its_documents() {
    if no_fuse() {
        return;
    }
    let report = run(&release(), &one_unit(), &FILES, &SCRIPT);
    assert_eq!(report.trials[0].exit, Exit::Code(0), "{report}");
    assert_eq!(documents(&report), [["new"; 5]], "{report}");
    assert_eq!(
        states(&report, "settings.next"),
        states(&release().run(&[&["--without"], &FILES[..]].concat(), &SCRIPT), "settings.next")
    );
}

#[test]
fn a_script_that_is_killed_has_saved_none_of_its_documents_whichever_it_has_come_to() {
    if no_fuse() {
        return;
    }
    let options = [&FILES[..], &["--kill-after-writes", "1,2,3,100%"]].concat();
    let report = run(&release(), &one_unit(), &options, &SCRIPT);
    assert!(report.trials.iter().all(|trial| trial.struck && trial.exit == Exit::Signal(libc::SIGKILL)));
    assert_eq!(documents(&report), [["old"; 5]; 4], "{report}");
    assert_eq!(states(&report, "settings.next"), ["old"; 4], "{report}");
    eprintln!("{report}");
}

#[test]
fn without_the_value_each_program_of_the_script_has_a_save_of_its_own() {
    if no_fuse() {
        return;
    }
    let options = [&FILES[..], &["--kill-after-writes", "1,100%"]].concat();
    let report = run(&release(), &policy("*", ""), &options, &SCRIPT);
    assert_eq!(documents(&report), [["old"; 5], ["new", "new", "new", "new", "old"]], "{report}");
}

#[test]
fn a_child_that_has_failed_takes_back_what_the_others_have_saved() {
    if no_fuse() || no_ends() {
        return;
    }
    // It has closed all before it fails, so that only its end says so; the script goes on and ends well.
    let script = "exec >> history; cp draft report; /bin/sh -c 'echo 1 > numbers; exit 3' > /dev/null; echo done; exit 0";
    let report = run(&release(), &one_unit(), &FILES, &shell(script));
    assert_eq!(report.trials[0].exit, Exit::Code(0), "{report}");
    assert_eq!(documents(&report), [["old", "old", "same", "same", "old"]], "{report}");
}

#[test]
fn whoever_has_waited_for_the_script_finds_all_that_it_has_saved() {
    if no_fuse() || no_ends() {
        return;
    }
    let script = "for my $turn (1..10) {
        system('/bin/sh', '-c', \"/bin/echo $turn > report; /bin/echo $turn > notes; true\") == 0 or exit(8);
        `/bin/cat report` eq \"$turn\\n\" && `/bin/cat notes` eq \"$turn\\n\" or exit(9);
    }";
    let report = run(&release(), &one_unit(), &FILES, &["/usr/bin/perl", "-e", script]);
    assert_eq!(report.trials[0].exit, Exit::Code(0), "{report}");
}

#[test]
fn a_script_that_modifies_nothing_itself_holds_no_save_open_between_its_programs() {
    if no_fuse() || no_ends() {
        return;
    }
    // Those who took part have ended when the first program has.
    let script = "cp draft report; sleep 0.5; sort -n -o numbers numbers; exit 0";
    let options = [&FILES[..], &["--kill-after-writes", "100%"]].concat();
    let report = run(&release(), &one_unit(), &options, &shell(script));
    assert_eq!(documents(&report), [["new", "old", "same", "same", "same"]], "{report}");
}

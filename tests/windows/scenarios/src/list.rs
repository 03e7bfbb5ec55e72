//! The scenarios.

use crate::step::{Access, Action, Actor, Disposition, End, SHARE_ALL, SHARE_READ, Step};
use crate::{File, New, Outcome, Scenario};

const STATUS_SHARING_VIOLATION: u32 = 0xC000_0043;
/// FILE_WRITE_THROUGH.
const WRITE_THROUGH: u32 = 0x2;

/// One server of Wine's opens the files of all its programs, so that they are one process for whoever is below.
const ONE_PROCESS: Option<&str> = Some("one server of Wine's opens the files of all its programs");
/// Who dies with a file counts for a lab volume as soon as it has used the file itself.
const UNUSED: Option<&str> = Some("a handle that its program has not used is only held by Wine's server");
/// Measured under load: the last thread of a terminated or crashed program was seen to end with status 0, and so
/// both old and new are found there; with lab processes, always old.
const UNSETTLED: Option<&str> = Some(
    "which thread ends last is not settled under Wine, and a thread that it terminates ends with success",
);
const NO_LOCKS: Option<&str> = Some("Wine does not implement all of NtLockFile");
/// Termination from outside is a signal there, whatever status it gives.
const SIGNAL: Option<&str> = Some("Wine terminates by a signal, which is never a success");

const fn file(name: &'static str, old: u64, new: New, with_intact: Outcome, without: Outcome) -> File {
    File { name, old: Some(old), new, with_intact, without }
}

const fn new_file(name: &'static str, size: u64, with_intact: Outcome, without: Outcome) -> File {
    File { name, old: None, new: New::Replaced(size), with_intact, without }
}

/// The file of most scenarios.
const fn report(with_intact: Outcome, without: Outcome) -> [File; 1] {
    [file("report.txt", 4096, New::Replaced(6000), with_intact, without)]
}

const fn program(action: Action) -> Step {
    Step { by: Actor::Program, action, status: 0 }
}

const fn other(action: Action) -> Step {
    Step { by: Actor::Other, action, status: 0 }
}

const fn open_in(slot: usize, file: usize, access: Access, disposition: Disposition) -> Step {
    program(Action::Open { slot, file, access, share: SHARE_ALL, disposition, options: 0 })
}

const fn open(access: Access, disposition: Disposition) -> Step {
    open_in(0, 0, access, disposition)
}

const fn write(offset: u64, length: u64) -> Step {
    program(Action::Write { slot: 0, file: 0, offset, length })
}

const CLOSE: Step = program(Action::Close { slot: 0 });
const OPEN: Step = open(Access::ReadWrite, Disposition::Open);
/// Half of the new report.
const HALF: Step = write(0, 3000);
const REST: Step = write(3000, 3000);

const fn scenario(
    name: &'static str,
    about: &'static str,
    files: &'static [File],
    steps: &'static [Step],
    end: End,
) -> Scenario {
    let not_under_wine = if matches!(end, End::Killed(_) | End::Crashes) { UNSETTLED } else { None };
    Scenario { name, about, files, steps, end, not_under_wine }
}

const fn not_under_wine(reason: Option<&'static str>, scenario: Scenario) -> Scenario {
    Scenario { not_under_wine: reason, ..scenario }
}

use Outcome::{Damaged, New as IsNew, Old, Whole};

/// Every scenario that ends with the program.
pub const SCENARIOS: &[Scenario] = &[
    scenario(
        "finishes",
        "A program overwrites a file in place and closes it.",
        &report(IsNew, IsNew),
        &[OPEN, HALF, REST, CLOSE],
        End::Exits(0),
    ),
    scenario(
        "finishes-shorter",
        "The new version is shorter, and the file is cut to its size.",
        &[file("report.txt", 4096, New::Replaced(1000), IsNew, IsNew)],
        &[OPEN, write(0, 1000), program(Action::SetSize { slot: 0, size: 1000 }), CLOSE],
        End::Exits(0),
    ),
    scenario(
        "finishes-flushed",
        "A program flushes what it wrote, then closes.",
        &report(IsNew, IsNew),
        &[OPEN, HALF, REST, program(Action::Flush { slot: 0 }), CLOSE],
        End::Exits(0),
    ),
    scenario(
        "finishes-write-through",
        "A program writes through all caches, then closes.",
        &report(IsNew, IsNew),
        &[
            program(Action::Open {
                slot: 0,
                file: 0,
                access: Access::Write,
                share: SHARE_READ,
                disposition: Disposition::OverwriteIf,
                options: WRITE_THROUGH,
            }),
            HALF,
            REST,
            CLOSE,
        ],
        End::Exits(0),
    ),
    not_under_wine(
        NO_LOCKS,
        scenario(
            "finishes-locked",
            "A program locks what it writes, unlocks it and closes.",
            &report(IsNew, IsNew),
            &[
                OPEN,
                program(Action::Lock { slot: 0, offset: 0, length: 6000 }),
                HALF,
                REST,
                program(Action::Unlock { slot: 0, offset: 0, length: 6000 }),
                CLOSE,
            ],
            End::Exits(0),
        ),
    ),
    scenario(
        "finishes-superseding",
        "A program supersedes the file and closes it.",
        &report(IsNew, IsNew),
        &[open(Access::Write, Disposition::Supersede), HALF, REST, CLOSE],
        End::Exits(0),
    ),
    scenario(
        "reads-its-own-writes",
        "A program reads what it has written so far, through the same handle and through another one.",
        &report(IsNew, IsNew),
        &[
            OPEN,
            HALF,
            program(Action::ReadsNew { slot: 0, file: 0, offset: 100, length: 2000 }),
            open_in(1, 0, Access::Read, Disposition::Open),
            program(Action::ReadsNew { slot: 1, file: 0, offset: 100, length: 2000 }),
            program(Action::Close { slot: 1 }),
            REST,
            CLOSE,
        ],
        End::Exits(0),
    ),
    not_under_wine(
        ONE_PROCESS,
        scenario(
            "others-read-the-old-version",
            "Another program reads the old version while the file is being saved, and the new one afterwards.",
            &report(IsNew, IsNew),
            // Without Intact it finds parts of both meanwhile: that look is wrong there.
            &[
                OPEN,
                HALF,
                other(Action::FindsOld { file: 0 }),
                REST,
                CLOSE,
                other(Action::FindsNew { file: 0 }),
            ],
            End::Exits(0),
        ),
    ),
    scenario(
        "others-are-kept-out",
        "Another program that may not write by the share mode is told of a sharing violation.",
        &report(IsNew, IsNew),
        &[
            program(Action::Open {
                slot: 0,
                file: 0,
                access: Access::ReadWrite,
                share: SHARE_READ,
                disposition: Disposition::Open,
                options: 0,
            }),
            HALF,
            Step {
                by: Actor::Other,
                action: Action::Open {
                    slot: 0,
                    file: 0,
                    access: Access::Write,
                    share: SHARE_ALL,
                    disposition: Disposition::Open,
                    options: 0,
                },
                status: STATUS_SHARING_VIOLATION,
            },
            REST,
            CLOSE,
        ],
        End::Exits(0),
    ),
    scenario(
        "killed-half-way",
        "A program is terminated from outside with half of the new version written.",
        &report(Old, Damaged),
        &[OPEN, HALF],
        End::Killed(1),
    ),
    not_under_wine(
        UNUSED,
        scenario(
            "killed-after-truncation",
            "A program empties the file as it opens it, and is terminated before it writes.",
            &report(Old, Damaged),
            &[open(Access::Write, Disposition::OverwriteIf)],
            End::Killed(1),
        ),
    ),
    scenario(
        "killed-after-superseding",
        "A program supersedes the file, writes half, and is terminated.",
        &report(Old, Damaged),
        &[open(Access::Write, Disposition::Supersede), HALF],
        End::Killed(1),
    ),
    not_under_wine(
        UNSETTLED,
        scenario(
            "killed-before-closing",
            "Everything is written, and the program is terminated before it closes the file.",
            &report(Old, IsNew),
            &[OPEN, HALF, REST],
            End::Killed(1),
        ),
    ),
    scenario(
        "killed-after-flushing",
        "Everything is written and flushed, and the program is terminated before it closes the file.",
        &report(Whole, IsNew),
        &[OPEN, HALF, REST, program(Action::Flush { slot: 0 })],
        End::Killed(1),
    ),
    scenario(
        "killed-after-closing",
        "The file was closed before the program is terminated.",
        &report(IsNew, IsNew),
        &[OPEN, HALF, REST, CLOSE],
        End::Killed(1),
    ),
    scenario(
        "killed-while-appending",
        "A program that only appends is terminated before all is there.",
        &[file("journal.log", 5000, New::Appended(3000), Old, Damaged)],
        &[open(Access::Append, Disposition::Open), write(5000, 1000)],
        End::Killed(1),
    ),
    not_under_wine(
        UNUSED,
        scenario(
            "killed-with-a-second-handle",
            "One of two handles was closed after everything was written; the program dies with the other open.",
            &report(Old, IsNew),
            &[OPEN, HALF, REST, open_in(1, 0, Access::ReadWrite, Disposition::Open), CLOSE],
            End::Killed(1),
        ),
    ),
    scenario(
        "killed-at-the-second-file",
        "Of two files saved one after the other, the first was closed.",
        &[
            file("first.txt", 3000, New::Replaced(3000), IsNew, IsNew),
            file("second.txt", 3000, New::Replaced(5000), Old, Damaged),
        ],
        &[
            OPEN,
            write(0, 3000),
            CLOSE,
            open_in(1, 1, Access::ReadWrite, Disposition::Open),
            program(Action::Write { slot: 1, file: 1, offset: 0, length: 2000 }),
        ],
        End::Killed(1),
    ),
    scenario(
        "killed-in-a-large-file",
        "A program is terminated in the middle of two megabytes.",
        &[file("large.bin", 2_000_000, New::Replaced(2_000_000), Old, Damaged)],
        &[OPEN, write(0, 600_000), write(600_000, 400_000), write(1_500_000, 1000)],
        End::Killed(1),
    ),
    not_under_wine(
        SIGNAL,
        scenario(
            "killed-with-success",
            "Terminated with status 0, which cannot be told from an end (a limit, see OnExit).",
            &report(Damaged, Damaged),
            &[OPEN, HALF],
            End::Killed(0),
        ),
    ),
    scenario(
        "crashes",
        "A program crashes with half of the new version written.",
        &report(Old, Damaged),
        &[OPEN, HALF],
        End::Crashes,
    ),
    scenario(
        "ends-with-an-error",
        "A program gives up with exit status 3 and the file open.",
        &report(Old, Damaged),
        &[OPEN, HALF],
        End::Exits(3),
    ),
    scenario(
        "ends-with-success",
        "A program ends with exit status 0 and leaves closing to the system.",
        &report(IsNew, IsNew),
        &[OPEN, HALF, REST],
        End::Exits(0),
    ),
    scenario(
        "new-file",
        "A program creates a file, writes it and closes it.",
        &[new_file("fresh.txt", 5000, IsNew, IsNew)],
        &[open(Access::Write, Disposition::Create), write(0, 5000), CLOSE],
        End::Exits(0),
    ),
    scenario(
        "new-file-killed",
        "A program is terminated while it writes a file that it created.",
        &[new_file("fresh.txt", 5000, Old, Damaged)],
        &[open(Access::Write, Disposition::OpenIf), write(0, 2000)],
        End::Killed(1),
    ),
    scenario(
        "saved-beside-and-renamed",
        "A program writes a new file beside the old one and renames it over the old one.",
        RENAMED,
        &[
            open_in(0, 1, Access::Write, Disposition::Create),
            write(0, 6000),
            CLOSE,
            program(Action::Rename { from: 1, to: 0 }),
        ],
        End::Exits(0),
    ),
    scenario(
        "saved-beside-and-killed",
        "The same, terminated while it writes the new file: the old one was never touched.",
        &[
            file("report.txt", 4096, New::Replaced(6000), Old, Old),
            File { name: "report.tmp", old: None, new: New::Gone, with_intact: IsNew, without: Damaged },
        ],
        &[open_in(0, 1, Access::Write, Disposition::Create), HALF],
        End::Killed(1),
    ),
    scenario(
        "only-reads",
        "A program that only reads changes nothing, however it ends.",
        &report(Old, Old),
        &[open(Access::Read, Disposition::Open), other(Action::FindsOld { file: 0 })],
        End::Killed(1),
    ),
];

const RENAMED: &[File] = &[
    file("report.txt", 4096, New::Replaced(6000), IsNew, IsNew),
    File { name: "report.tmp", old: None, new: New::Gone, with_intact: IsNew, without: IsNew },
];

/// What is under way when the machine is reset.
pub const RESETS: &[Scenario] = &[
    scenario(
        "reset-half-way",
        "The machine is reset with half of the new version written.",
        &report(Old, Outcome::Anything),
        &[OPEN, HALF],
        End::Reset,
    ),
    scenario(
        "reset-in-a-large-file",
        "The machine is reset in the middle of two megabytes.",
        &[file("large.bin", 2_000_000, New::Replaced(2_000_000), Old, Outcome::Anything)],
        &[OPEN, write(0, 1_000_000), write(1_500_000, 100_000)],
        End::Reset,
    ),
    scenario(
        "reset-after-truncation",
        "The machine is reset after a program has emptied the file.",
        &report(Old, Outcome::Anything),
        &[open(Access::Write, Disposition::OverwriteIf)],
        End::Reset,
    ),
    scenario(
        "reset-after-closing",
        "The machine is reset after the file was closed.",
        &report(IsNew, Outcome::Anything),
        &[OPEN, HALF, REST, CLOSE],
        End::Reset,
    ),
    scenario(
        "reset-while-appending",
        "The machine is reset while a program appends.",
        &[file("journal.log", 5000, New::Appended(3000), Old, Outcome::Anything)],
        &[open(Access::Append, Disposition::Open), write(5000, 1000)],
        End::Reset,
    ),
    scenario(
        "reset-in-a-new-file",
        "The machine is reset while a program writes a file that it created (a limit: it may stay, empty).",
        &[new_file("fresh.txt", 5000, Outcome::NothingOrEmpty, Outcome::Anything)],
        &[open(Access::Write, Disposition::Create), write(0, 2000)],
        End::Reset,
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_fit_a_folder() {
        let all: Vec<&str> = SCENARIOS.iter().chain(RESETS).map(|scenario| scenario.name).collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        let fits = |name: &&str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        assert!(all.iter().all(fits), "{all:?}");
    }

    #[test]
    fn only_a_reset_leaves_a_file_to_luck_without_intact_and_nothing_does_with_it() {
        for scenario in SCENARIOS {
            assert!(scenario.files.iter().all(|file| file.without != Outcome::Anything), "{}", scenario.name);
            assert!(scenario.end != End::Reset, "{}", scenario.name);
        }
        for scenario in SCENARIOS.iter().chain(RESETS) {
            let promised = scenario.files.iter().all(|file| file.with_intact != Outcome::Anything);
            assert!(promised, "{}", scenario.name);
        }
        assert!(RESETS.iter().all(|scenario| scenario.end == End::Reset));
    }

    #[test]
    fn what_differs_without_intact_is_what_the_scenarios_are_for() {
        let differs = |scenario: &&Scenario| {
            scenario
                .files
                .iter()
                .any(|file| file.with_intact != Outcome::Whole && file.with_intact != file.without)
        };
        assert!(SCENARIOS.iter().filter(differs).count() >= 10);
    }
}

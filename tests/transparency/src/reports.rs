//! What somebody is told who watches the programs' folders: on the machine with Intact, what a save changes is told when the
//! save ends, and once. Everything else is told alike, in the same order.

use std::collections::{BTreeMap, BTreeSet};

use lab::{Changes, Handle, Pending, Process, Status};
use lab_volume::notify;

/// Kinds of change that a second watcher of a program asks for: another one of these for each program. Names always: who
/// is not told that a file is gone cannot tell why he was not told of what was written to it before.
pub const FILTERS: [u32; 6] = [
    notify::FILE_NAME | notify::DIR_NAME,
    notify::FILE_NAME | notify::LAST_WRITE,
    notify::FILE_NAME | notify::SIZE,
    notify::FILE_NAME | notify::ATTRIBUTES | notify::EA | notify::SECURITY,
    notify::FILE_NAME | notify::CREATION | notify::STREAM_NAME,
    notify::FILE_NAME | notify::STREAM_NAME | notify::STREAM_SIZE | notify::STREAM_WRITE,
];

const ADDED: u32 = 1;
const REMOVED: u32 = 2;
const MODIFIED: u32 = 3;
const RENAMED_FROM: u32 = 4;
const RENAMED_TO: u32 = 5;
const REMOVED_STREAM: u32 = 7;
const MODIFIED_STREAM: u32 = 8;

/// Files that saves of a program have met, by name in lower case.
#[derive(Debug, Default)]
pub struct Met {
    /// All, and folders in which they may have changed names.
    pub saved: BTreeSet<String>,
    /// Those that a save has made to be read-only.
    pub read_only: BTreeSet<String>,
    /// Those that have, or had, more than one name: what is changed is told under one of them.
    pub linked: BTreeSet<String>,
    /// What each file was called, by its number.
    pub names: BTreeMap<usize, BTreeSet<String>>,
}

impl Met {
    /// No program has run yet.
    pub fn clear(&mut self) {
        *self = Met::default();
    }
}

/// A record: what happened, and to which name.
pub type Record = (u32, String);

/// Somebody who watches a folder and all below.
pub struct Watcher {
    process: Process,
    handle: Handle,
    filter: u32,
    request: Pending<Result<Changes, Status>>,
    /// What he was told.
    pub told: Vec<Record>,
}

/// More than any program changes.
const BUFFER: usize = 64 * 1024;

fn ask(process: &Process, handle: Handle, filter: u32) -> Pending<Result<Changes, Status>> {
    process.submit(move |caller| caller.notify_changes(handle, filter, true, BUFFER))
}

impl Watcher {
    /// Begins to watch what `handle` stands for.
    pub fn new(process: Process, handle: Handle, filter: u32) -> Watcher {
        let request = ask(&process, handle, filter);
        Watcher { process, handle, filter, request, told: Vec::new() }
    }

    /// Takes what he was told, and asks for more. False if there was nothing.
    ///
    /// # Panics
    /// If he is told something else than what changed.
    pub fn listen(&mut self) -> bool {
        if !self.request.is_done() {
            return false;
        }
        let next = ask(&self.process, self.handle, self.filter);
        let ended = std::mem::replace(&mut self.request, next).wait();
        match ended {
            Ok(Ok(Changes { status: Status::SUCCESS, changes })) => {
                self.told.extend(changes.into_iter().map(|change| (change.action, change.name)));
                true
            }
            other => panic!("a watcher was told {other:?}"),
        }
    }

    /// Whoever has to close it.
    pub fn end(self) -> (Process, Handle) {
        (self.process, self.handle)
    }
}

/// A name without the stream.
fn file_of(name: &str) -> &str {
    name.split(':').next().unwrap_or_default()
}

/// The file that a record is about, in the case in which names are compared.
fn file(record: &Record) -> String {
    file_of(&record.1).to_ascii_lowercase()
}

fn last(name: &str) -> &str {
    name.rsplit('\\').next().unwrap_or(name)
}

/// Whether only what is told of files that saves have met differs, whatever folder they are called from.
pub fn is_about_saves(bare: &[Record], intact: &[Record], met: &Met) -> bool {
    let saved = |record: &Record| met.saved.iter().any(|name| last(name) == last(&file(record)));
    let others = |records: &[Record]| -> Vec<Record> {
        records.iter().filter(|record| !saved(record)).cloned().collect()
    };
    // A request that a save has ended without Intact has waited for something else with it; and one that a save has ended with
    // it for something else without, which the next request is told of.
    let ended = !bare.is_empty() && bare.iter().all(saved);
    let ended_later = !intact.is_empty() && intact.iter().all(saved) && !bare.iter().any(saved);
    ended || ended_later || others(bare) == others(intact)
}

/// Whether nothing is told more but that read-only files which saves have made were changed.
pub fn is_more_of_read_only(bare: &[Record], intact: &[Record], met: &Met) -> bool {
    let made = |record: &Record| met.read_only.iter().any(|name| last(name) == last(&file(record)));
    let (more, rest): (Vec<Record>, Vec<Record>) =
        intact.iter().cloned().partition(|record| record.0 == MODIFIED && made(record));
    !more.is_empty() && rest.iter().all(|record| bare.contains(record))
}

/// A difference.
#[derive(Debug, PartialEq, Eq)]
pub struct Unlike {
    /// Of which kind it is: what happened, to whatever files.
    pub kind: String,
    /// For people.
    pub what: String,
}

impl Unlike {
    fn new(of: &str, bare: &[Record], intact: &[Record]) -> Unlike {
        let actions =
            |records: &[Record]| records.iter().map(|(action, _)| action.to_string()).collect::<String>();
        Unlike {
            kind: format!("{} {}", actions(bare), actions(intact)),
            what: format!("{of}\n{}", shown(bare, intact)),
        }
    }
}

/// How the reports of the two machines differ, if not by what a save forces. `over`: no save lives.
pub fn unlike(bare: &[Record], intact: &[Record], met: &Met, over: bool) -> Option<Unlike> {
    let others = |records: &[Record]| -> Vec<Record> {
        records.iter().filter(|record| !met.saved.contains(&file(record))).cloned().collect()
    };
    let (bare_others, intact_others) = (others(bare), others(intact));
    if bare_others != intact_others {
        return Some(Unlike::new("of files that are in no save", &bare_others, &intact_others));
    }
    if !over {
        return None;
    }
    let names: BTreeSet<String> =
        bare.iter().chain(intact).map(|record| record.1.to_ascii_lowercase()).collect();
    names.iter().filter(|name| met.saved.contains(file_of(name))).find_map(|name| {
        let reordered = met.linked.contains(file_of(name)) && comings(bare, name) == comings(intact, name);
        let (bare, intact) = (met.merged(bare, name), met.merged(intact, name));
        (bare != intact && !reordered).then(|| Unlike::new(&format!("of {name}"), &bare, &intact))
    })
}

/// Whether a name has come, and whether it has gone: what a save gives is told when it ends, and what is made beside it at once.
fn comings(records: &[Record], name: &str) -> [bool; 2] {
    let told = |actions: [u32; 2]| {
        records.iter().any(|record| actions.contains(&record.0) && record.1.eq_ignore_ascii_case(name))
    };
    [told([ADDED, RENAMED_TO]), told([REMOVED, RENAMED_FROM])]
}

impl Met {
    /// What is told of a file or stream: changes once between two records that are about names; none before it is gone, its
    /// file or itself, nor, of a read-only file, after it was made, nor of one that has or had several names; one name given
    /// once; and nothing of one that came and went.
    fn merged(&self, records: &[Record], name: &str) -> Vec<Record> {
        let changes = |record: &Record| matches!(record.0, MODIFIED | MODIFIED_STREAM);
        let (read_only, linked) = (self.read_only.contains(name), self.linked.contains(file_of(name)));
        let mut merged: Vec<Record> = Vec::new();
        for record in records {
            let is_it = record.1.eq_ignore_ascii_case(name);
            // What it is renamed to may be another one of its names, and go as well.
            let action = if linked && record.0 == RENAMED_FROM { REMOVED } else { record.0 };
            let goes = match action {
                REMOVED => file(record) == file_of(name),
                REMOVED_STREAM => is_it,
                _ => false,
            };
            if goes {
                merged.pop_if(|last| changes(last));
                if is_it && merged.pop_if(|last| last.0 == ADDED).is_some() {
                    continue;
                }
            }
            let made = merged.last().is_none_or(|last| last.0 == ADDED);
            let known = linked || merged.last().is_some_and(changes) || read_only && made;
            // A name of the file that another one of its names is renamed to.
            let given =
                matches!(record.0, ADDED | RENAMED_TO) && merged.last().is_some_and(|last| last.0 == ADDED);
            if is_it && !(changes(record) && known) && !given {
                merged.push((action, name.to_owned()));
            }
        }
        merged
    }
}

fn shown(bare: &[Record], intact: &[Record]) -> String {
    let lines = |records: &[Record]| {
        records.iter().map(|(action, name)| format!(" {action}:{name}")).collect::<String>()
    };
    format!("  bare:  {}\n  intact:{}", lines(bare), lines(intact))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(records: &[(u32, &str)]) -> Vec<Record> {
        records.iter().map(|(action, name)| (*action, (*name).to_owned())).collect()
    }

    fn met() -> Met {
        Met { saved: BTreeSet::from(["saved".to_owned()]), ..Met::default() }
    }

    #[test]
    fn what_no_save_has_met_is_told_alike_and_at_once() {
        let saved = met();
        let bare = told(&[(1, "a"), (3, "saved"), (3, "b")]);
        assert_eq!(unlike(&bare, &told(&[(1, "a"), (3, "b")]), &saved, false), None);
        assert!(unlike(&bare, &told(&[(3, "b"), (1, "a")]), &saved, false).is_some(), "another order");
        assert!(unlike(&bare, &told(&[(1, "a")]), &saved, false).is_some());
        assert!(unlike(&bare, &told(&[(1, "a"), (3, "b"), (3, "b")]), &saved, false).is_some());
    }

    #[test]
    fn what_a_save_has_met_is_told_by_its_end_if_only_once() {
        let saved = met();
        let bare = told(&[(1, "Saved"), (3, "Saved"), (3, "Saved")]);
        let once = told(&[(1, "Saved"), (3, "Saved")]);
        assert_eq!(unlike(&bare, &once, &saved, true), None);
        assert_eq!(unlike(&bare, &[], &saved, false), None);
        assert!(unlike(&bare, &once[..1], &saved, true).is_some(), "never told that it was written");
        assert!(unlike(&bare, &told(&[(3, "Saved")]), &saved, true).is_some(), "nor that it was made");
        let gone = told(&[(3, "saved"), (2, "saved")]);
        assert_eq!(unlike(&gone, &gone[1..], &saved, true), None, "what was written to what is gone");
        assert!(unlike(&gone, &gone[..1], &saved, true).is_some());
    }

    #[test]
    fn a_new_read_only_file_is_changed_once_more_after_it_was_made() {
        let mut met = met();
        let (bare, intact) = (told(&[(1, "saved")]), told(&[(1, "saved"), (3, "saved")]));
        assert!(unlike(&bare, &intact, &met, true).is_some());
        met.read_only.insert("saved".into());
        assert_eq!(unlike(&bare, &intact, &met, true), None);
        assert!(is_more_of_read_only(&[], &intact[1..], &met));
        let renamed = [(4, "saved"), (5, "saved")];
        let again = told(&[renamed[0], renamed[1], (3, "saved")]);
        assert!(unlike(&told(&renamed), &again, &met, true).is_some());
    }

    #[test]
    fn what_came_and_went_in_a_save_is_told_or_not() {
        let mut met = met();
        let passing = told(&[(1, "saved"), (3, "saved"), (2, "saved")]);
        assert_eq!(unlike(&passing, &[], &met, true), None);
        assert!(unlike(&passing[..2], &[], &met, true).is_some());
        assert!(unlike(&passing, &[], &Met::default(), true).is_some());
        let changed = told(&[(3, "saved")]);
        assert!(unlike(&changed, &[], &met, true).is_some());
        met.linked.insert("saved".into());
        assert_eq!(unlike(&changed, &[], &met, true), None, "it may be told under another name");
        for again in [1, 5] {
            let twice = told(&[(2, "saved"), (1, "saved"), (again, "saved"), (2, "saved")]);
            assert_eq!(
                unlike(&twice, &twice[..1], &met, true),
                None,
                "a link, and another name renamed to it"
            );
            assert!(unlike(&twice[..3], &twice[..1], &met, true).is_some());
        }
        let made_amid = told(&[(5, "saved"), (4, "saved"), (1, "saved")]);
        let told_after = told(&[(1, "saved"), (5, "saved"), (4, "saved")]);
        assert_eq!(unlike(&made_amid, &told_after, &met, true), None);
        assert!(unlike(&made_amid, &told_after[..2], &met, true).is_some(), "that it was not there either");
        let away = told(&[(4, "saved"), (2, "saved")]);
        assert_eq!(unlike(&away[..1], &away[1..], &met, true), None, "to another one of its names");
        assert!(unlike(&away[..1], &[], &met, true).is_some());
        let renamed = told(&[(5, "saved"), (2, "saved")]);
        assert!(unlike(&renamed, &[], &met, true).is_some(), "it came with a name of before");
    }

    #[test]
    fn a_step_is_told_otherwise_of_what_saves_have_met() {
        let (met, bare) = (met(), told(&[(3, "saved"), (1, "a")]));
        assert!(is_about_saves(&bare, &bare[1..], &met));
        assert!(!is_about_saves(&bare, &bare[..1], &met), "nor of anything else");
        assert!(is_about_saves(&bare[..1], &bare[1..], &met), "whose request has waited for that");
        assert!(is_about_saves(&bare[1..], &bare[..1], &met), "nor whose request a save has ended first");
        assert!(!is_about_saves(&[], &bare[1..], &met), "what no save has met, and was not told of");
    }
}

//! Who is told of changes in a directory, of which, and when (`minifilter-rules §2.8`, `txf-ktm §4.1`).

use crate::support::*;
use lab_volume::*;

/// Names without a folder are in the root directory.
fn watch(lab: &mut Lab, path: &str, filter: u32, tree: bool) -> OpenId {
    let open = lab.open(path, READ).unwrap();
    ask(lab, open, filter, tree);
    open
}

fn asking(filter: u32, tree: bool, length: usize) -> Watching {
    Watching { filter, tree, length }
}

fn ask(lab: &mut Lab, open: OpenId, filter: u32, tree: bool) -> NotifyId {
    lab.volume.notify_changes(open, asking(filter, tree, 4096)).unwrap()
}

/// What a directory's watch has been told since, in a form that is short to compare.
fn told(lab: &mut Lab, open: OpenId) -> Vec<String> {
    let request = ask(lab, open, 0, false);
    match lab.volume.notified(request) {
        Some(told) if told.status == Status::SUCCESS => shown(&told),
        Some(told) => vec![format!("{:?}", told.status)],
        None => {
            lab.volume.cancel_notify(request);
            assert_eq!(lab.volume.notified(request).unwrap().status, Status::CANCELLED);
            Vec::new()
        }
    }
}

fn shown(told: &Notified) -> Vec<String> {
    told.records.iter().map(|record| format!("{:?} {}", record.action, record.name)).collect()
}

/// A watch whose first request has ended, so that what comes is kept.
fn keep(lab: &mut Lab, path: &str, filter: u32, tree: bool) -> OpenId {
    let open = lab.open(path, READ).unwrap();
    let first = ask(lab, open, filter, tree);
    lab.volume.cancel_notify(first);
    lab.volume.notified(first).unwrap();
    open
}

/// minifilter-rules §2.8: a request waits, and the first change ends it.
#[test]
fn a_request_waits_for_a_change_and_the_next_gets_what_came_between() {
    let mut lab = lab();
    let root = lab.open(r"\", READ).unwrap();
    let first = ask(&mut lab, root, notify::ALL, false);
    assert_eq!(lab.volume.notified(first), None);
    let new = lab.make("new").unwrap();
    let ended = lab.volume.notified(first).unwrap();
    assert_eq!((ended.status, shown(&ended)), (Status::SUCCESS, vec!["Added new".into()]));
    assert_eq!(lab.volume.notified(first), None, "told once");
    lab.write(new, 0, b"bytes").unwrap();
    lab.close(new);
    lab.make("other").unwrap();
    assert_eq!(told(&mut lab, root), ["Modified new", "Added other"]);
    assert_eq!(told(&mut lab, root), [""; 0]);
}

/// minifilter-rules §2.8: requests on one handle end one after the other, the oldest first.
#[test]
fn requests_of_one_handle_end_in_the_order_in_which_they_came() {
    let mut lab = lab();
    let root = lab.open(r"\", READ).unwrap();
    let requests = [(); 2].map(|()| ask(&mut lab, root, notify::ALL, false));
    lab.make("one").unwrap();
    assert_eq!(shown(&lab.volume.notified(requests[0]).unwrap()), ["Added one"]);
    assert_eq!(lab.volume.notified(requests[1]), None);
    lab.make("two").unwrap();
    assert_eq!(shown(&lab.volume.notified(requests[1]).unwrap()), ["Added two"]);
}

/// minifilter-rules §2.8: only what the first request of the handle asks for is reported, whatever later ones say.
#[test]
fn the_first_request_says_what_is_watched() {
    let mut lab = lab();
    let root = keep(&mut lab, r"\", notify::DIR_NAME, false);
    let names = keep(&mut lab, r"\", notify::FILE_NAME, false);
    lab.make("file").unwrap();
    let directory = CreateRequest::path("folder").access(READ).disposition(Disposition::Create);
    lab.create(directory.options(Options::DIRECTORY_FILE)).unwrap();
    let request = ask(&mut lab, root, notify::ALL, true);
    assert_eq!(shown(&lab.volume.notified(request).unwrap()), ["Added folder"]);
    assert_eq!(told(&mut lab, names), ["Added file"]);
}

/// minifilter-rules §2.8: each kind of change under its own bit of the filter.
#[test]
fn each_kind_of_change_has_its_bit() {
    type Change<'a> = &'a dyn Fn(&mut Lab, OpenId);
    let set = |update: BasicUpdate| move |lab: &mut Lab, open| lab.volume.set_basic(open, update).unwrap();
    let changes: &[(u32, Change<'_>)] = &[
        (notify::ATTRIBUTES, &set(BasicUpdate { attributes: Some(2), ..Default::default() })),
        (notify::CREATION, &set(BasicUpdate { creation: Some(5), ..Default::default() })),
        (notify::LAST_ACCESS, &set(BasicUpdate { access: Some(5), ..Default::default() })),
        (notify::LAST_WRITE, &set(BasicUpdate { write: Some(5), ..Default::default() })),
        (notify::SIZE, &|lab, open| lab.volume.set_end_of_file(open, 100).unwrap()),
        (notify::LAST_WRITE, &|lab, open| lab.write(open, 0, b"x").unwrap()),
        (notify::EA, &|lab, open| {
            let ea = Ea { flags: 0, name: b"A".to_vec(), value: b"v".to_vec() };
            lab.volume.set_ea(open, &[ea]).unwrap();
        }),
        (notify::SECURITY, &|lab, open| {
            let same = lab.volume.security(open).unwrap();
            lab.volume.set_security(open, &same).unwrap();
        }),
    ];
    for (bit, change) in changes {
        let mut lab = lab();
        let with = keep(&mut lab, r"\", *bit, false);
        let without = keep(&mut lab, r"\", notify::ALL & !bit & !notify::SIZE & !notify::LAST_WRITE, false);
        let open = lab.open("f", WRITE | 0x10_0000).unwrap();
        change(&mut lab, open);
        lab.close(open);
        assert_eq!(told(&mut lab, with), ["Modified f"], "{bit:#x}");
        assert_eq!(told(&mut lab, without), [""; 0], "{bit:#x}");
    }
}

/// minifilter-rules §2.8: below the directory only with the tree, by the path from there; the directory itself never.
#[test]
fn a_tree_is_watched_by_the_paths_from_its_top() {
    let mut lab = lab();
    let tree = keep(&mut lab, r"\", notify::ALL, true);
    let flat = keep(&mut lab, r"\", notify::ALL, false);
    let inside = keep(&mut lab, r"\d", notify::ALL, true);
    lab.make(r"d\new").unwrap();
    assert_eq!(told(&mut lab, tree), [r"Added d\new", "Modified d"]);
    assert_eq!(told(&mut lab, flat), ["Modified d"]);
    assert_eq!(told(&mut lab, inside), ["Added new"]);
}

/// minifilter-rules §2.8: whether a directory is reported whose entries change.
#[test]
fn a_directory_whose_entries_change_is_reported_by_switch() {
    for (switch, expected) in [(true, vec!["Modified d"]), (false, vec![])] {
        let mut lab = lab();
        lab.volume.switches.directory_changes_are_reported = switch;
        let root = keep(&mut lab, r"\", notify::ALL, false);
        lab.make(r"d\new").unwrap();
        assert_eq!(told(&mut lab, root), expected);
    }
}

/// minifilter-rules §2.8: writes and sizes are told of when the file is flushed or a handle of it cleaned up.
#[test]
fn writes_are_reported_with_a_flush_or_a_cleanup_or_at_once_by_switch() {
    for at_once in [false, true] {
        let mut lab = lab();
        lab.volume.switches.writes_are_reported_at_once = at_once;
        let root = keep(&mut lab, r"\", notify::ALL, false);
        let writer = lab.open("f", WRITE).unwrap();
        lab.write(writer, 0, b"new").unwrap();
        let when_written = told(&mut lab, root);
        assert_eq!(when_written.len(), usize::from(at_once));
        lab.volume.flush(writer).unwrap();
        assert_eq!(told(&mut lab, root).len(), usize::from(!at_once));
        lab.write(writer, 0, b"NEW").unwrap();
        lab.close(writer);
        assert_eq!(told(&mut lab, root), ["Modified f"]);
    }
}

/// minifilter-rules §2.8: whether it may be another handle.
#[test]
fn another_handle_reports_what_was_written_by_switch() {
    for any in [false, true] {
        let mut lab = lab();
        lab.volume.switches.any_cleanup_reports_writes = any;
        let root = keep(&mut lab, r"\", notify::ALL, false);
        let writer = lab.open("f", WRITE).unwrap();
        let other = lab.open("f", READ).unwrap();
        lab.write(writer, 0, b"new").unwrap();
        lab.close(other);
        assert_eq!(told(&mut lab, root).len(), usize::from(any));
        lab.close(writer);
        assert_eq!(told(&mut lab, root).len(), usize::from(!any));
    }
}

/// minifilter-rules §2.8, MS-FSCC 2.7.1.
#[test]
fn a_rename_is_one_change_within_a_directory_and_two_between_two() {
    let mut lab = lab();
    let root = lab.open(r"\", READ).unwrap();
    let request = ask(&mut lab, root, notify::FILE_NAME, true);
    let open = lab.open("f", WRITE | DELETE).unwrap();
    lab.volume.rename(open, &NameTarget::named("h"), NameFlags::empty()).unwrap();
    let ended = lab.volume.notified(request).unwrap();
    assert_eq!(shown(&ended), ["RenamedOldName f", "RenamedNewName h"], "both in one report");
    lab.volume.rename(open, &NameTarget::named(r"\d\h"), NameFlags::empty()).unwrap();
    assert_eq!(told(&mut lab, root), ["Removed h", r"Added d\h"]);
    let over = NameTarget::named(r"\d\g");
    lab.volume.rename(open, &over, NameFlags::REPLACE).unwrap();
    let expected = [r"Removed d\g", r"RenamedOldName d\h", r"RenamedNewName d\g"];
    assert_eq!(told(&mut lab, root), expected);
}

/// minifilter-rules §2.8.
#[test]
fn links_streams_and_deletions_are_reported() {
    let mut lab = lab();
    let root = keep(&mut lab, r"\", notify::ALL, false);
    let open = lab.open("f", WRITE | DELETE).unwrap();
    lab.volume.link(open, &NameTarget::named("linked"), NameFlags::empty()).unwrap();
    assert_eq!(told(&mut lab, root), ["Added linked"]);
    lab.volume.link(open, &NameTarget::named("linked"), NameFlags::empty()).unwrap();
    lab.volume.rename(open, &NameTarget::named("f"), NameFlags::empty()).unwrap();
    assert_eq!(told(&mut lab, root), [""; 0], "a name that it has already");
    let stream = lab.make("f:s").unwrap();
    lab.write(stream, 0, b"x").unwrap();
    lab.volume.rename(stream, &NameTarget::named(":t"), NameFlags::empty()).unwrap();
    lab.delete(stream).unwrap();
    lab.close(stream);
    let expected = ["AddedStream f:s", "RemovedStream f:s", "AddedStream f:t", "RemovedStream f:t"];
    assert_eq!(told(&mut lab, root), expected, "what was written to a stream that is gone is nobody's");
    lab.write(open, 0, b"x").unwrap();
    lab.delete(open).unwrap();
    assert_eq!(told(&mut lab, root), [""; 0], "the deletion is one when the last handle goes");
    lab.close(open);
    assert_eq!(told(&mut lab, root), ["Removed f", "Modified linked"]);
    let emptied = CreateRequest::path("linked").access(WRITE).disposition(Disposition::Overwrite);
    let open = lab.create(emptied).unwrap().open;
    assert_eq!(told(&mut lab, root), ["Modified linked"], "emptying is reported at once");
    lab.close(open);
    assert_eq!(told(&mut lab, root), [""; 0]);
}

/// minifilter-rules §2.8: what does not fit is discarded, all of it.
#[test]
fn what_the_buffer_does_not_hold_is_for_the_reader_to_find_out() {
    let mut lab = lab();
    let root = lab.open(r"\", READ).unwrap();
    let small = |lab: &mut Lab, length| {
        let request = lab.volume.notify_changes(root, asking(notify::ALL, false, length)).unwrap();
        lab.volume.notified(request)
    };
    assert_eq!(small(&mut lab, 30), None);
    lab.make("one").unwrap();
    lab.make("two").unwrap();
    lab.make("three").unwrap();
    lab.make("four").unwrap();
    let overflowed = Notified { status: Status::NOTIFY_ENUM_DIR, records: Vec::new() };
    assert_eq!(small(&mut lab, 4096), Some(overflowed.clone()), "by the buffer of the first request");
    assert_eq!(small(&mut lab, 0), None, "and then it is told of what comes next");
    lab.make("five").unwrap();
    lab.make("six").unwrap();
    assert_eq!(small(&mut lab, 10), Some(overflowed), "six does not fit into this request's buffer");
    lab.make("seven").unwrap();
    assert_eq!(shown(&small(&mut lab, 30).unwrap()), ["Added seven"]);
}

/// minifilter-rules §2.8: how a request ends without a change.
#[test]
fn a_request_ends_with_its_handle_its_directory_or_by_request() {
    let mut lab = lab();
    let root = lab.open(r"\", READ).unwrap();
    let request = ask(&mut lab, root, notify::ALL, false);
    lab.volume.cancel_notify(request);
    assert_eq!(lab.volume.notified(request).unwrap().status, Status::CANCELLED);
    let request = ask(&mut lab, root, notify::ALL, false);
    lab.volume.cleanup(root, 0).unwrap();
    assert_eq!(lab.volume.notified(request).unwrap().status, Status::NOTIFY_CLEANUP);
    let request = ask(&mut lab, root, notify::ALL, false);
    assert_eq!(lab.volume.notified(request).unwrap().status, Status::NOTIFY_CLEANUP, "after the cleanup");

    let file = lab.open("f", READ).unwrap();
    let refused = lab.volume.notify_changes(file, asking(notify::ALL, false, 100));
    assert_eq!(refused, Err(Status::INVALID_PARAMETER));

    let directory = CreateRequest::path("folder").access(READ | DELETE).disposition(Disposition::Create);
    let folder = lab.create(directory.options(Options::DIRECTORY_FILE)).unwrap().open;
    let watched = watch(&mut lab, "folder", notify::ALL, false);
    let request = ask(&mut lab, watched, notify::ALL, false);
    lab.delete(folder).unwrap();
    assert_eq!(lab.volume.notified(request).unwrap().status, Status::DELETE_PENDING);
    let refused = lab.volume.notify_changes(watched, asking(notify::ALL, false, 100));
    assert_eq!(refused, Err(Status::DELETE_PENDING));
}

/// minifilter-rules §2.8, §2.7.
#[test]
fn a_dismount_ends_every_request_for_changes() {
    let mut lab = lab();
    let root = lab.open(r"\d", READ).unwrap();
    let request = ask(&mut lab, root, notify::ALL, false);
    let volume = lab.open("", 0).unwrap();
    lab.volume.dismount_volume(volume).unwrap();
    assert_eq!(lab.volume.notified(request).unwrap().status, Status::NOTIFY_CLEANUP);
}

/// txf-ktm §4.1, minifilter-rules §2.8: nobody outside hears of what a transaction does before it commits.
#[test]
fn a_transaction_is_reported_outside_when_it_commits() {
    for each in [false, true] {
        let mut lab = lab();
        lab.volume.switches.commit_reports_each_change = each;
        let root = keep(&mut lab, r"\", notify::ALL, false);
        let tx = lab.begin();
        let emptied = CreateRequest::path("f").access(WRITE).disposition(Disposition::Overwrite).inside(tx);
        let twin = lab.create(emptied).unwrap().open;
        lab.write(twin, 0, b"new").unwrap();
        lab.close(twin);
        let new = lab.make_in(tx, "new").unwrap();
        lab.write(new, 0, b"new").unwrap();
        lab.close(new);
        let passing = lab.make_in(tx, "passing").unwrap();
        lab.delete(passing).unwrap();
        lab.close(passing);
        assert_eq!(told(&mut lab, root), [""; 0]);
        lab.commit(tx).unwrap();
        let told = told(&mut lab, root);
        if each {
            let twice = ["Modified f", "Modified f", "Added new", "Modified new"];
            assert_eq!(told[..4], twice);
            assert_eq!(told[4..], ["Added passing", "Removed passing"]);
        } else {
            assert_eq!(told, ["Modified f", "Added new", "Modified new"]);
        }
    }
}

/// minifilter-rules §2.8: what is told once is what was changed under one name.
#[test]
fn a_commit_reports_a_file_again_that_had_another_name_meanwhile() {
    let mut lab = lab();
    let root = keep(&mut lab, r"\", notify::ALL, false);
    let tx = lab.begin();
    let twin = lab.open_in(tx, "f", WRITE | DELETE).unwrap();
    for name in ["g", "f"] {
        lab.write(twin, 0, b"new").unwrap();
        lab.write(twin, 1, b"new").unwrap();
        lab.volume.flush(twin).unwrap();
        lab.volume.flush(twin).unwrap();
        lab.volume.rename(twin, &NameTarget::named(name), NameFlags::empty()).unwrap();
    }
    lab.write(twin, 0, b"new").unwrap();
    lab.close(twin);
    lab.commit(tx).unwrap();
    let there = ["Modified f", "RenamedOldName f", "RenamedNewName g"];
    let back = ["Modified g", "RenamedOldName g", "RenamedNewName f", "Modified f"];
    assert_eq!(told(&mut lab, root), [&there[..], &back[..]].concat());
}

/// minifilter-rules §2.8: a name that came and went is not told, but that the file has lost the one of before.
#[test]
fn a_commit_reports_that_a_file_is_gone_which_was_renamed_to_another_of_its_names() {
    let mut lab = lab();
    let root = keep(&mut lab, r"\", notify::ALL, false);
    let tx = lab.begin();
    let twin = lab.open_in(tx, "f", WRITE | DELETE).unwrap();
    let passing = NameTarget::named("passing");
    lab.volume.link(twin, &passing, NameFlags::empty()).unwrap();
    lab.volume.rename(twin, &passing, NameFlags::REPLACE).unwrap();
    lab.delete(twin).unwrap();
    lab.close(twin);
    lab.commit(tx).unwrap();
    assert_eq!(told(&mut lab, root), ["Removed f"]);
}

/// txf-ktm §4.1, minifilter-rules §2.8.
#[test]
fn what_a_transaction_did_not_commit_is_never_reported() {
    let mut lab = lab();
    let root = keep(&mut lab, r"\", notify::ALL, true);
    let tx = lab.begin();
    let twin = lab.open_in(tx, "f", WRITE).unwrap();
    lab.write(twin, 0, b"new").unwrap();
    lab.make_in(tx, r"d\new").unwrap();
    lab.rollback(tx).unwrap();
    lab.close(twin);
    assert_eq!(told(&mut lab, root), [""; 0]);
}

/// minifilter-rules §2.8: what was written in a transaction is reported with it although its handle is still open.
#[test]
fn a_commit_reports_what_is_not_closed_and_what_was_asked_for_meanwhile() {
    let mut lab = lab();
    let tx = lab.begin();
    let twin = lab.open_in(tx, "f", WRITE).unwrap();
    lab.write(twin, 0, b"new").unwrap();
    let root = keep(&mut lab, r"\", notify::ALL, false);
    lab.commit(tx).unwrap();
    assert_eq!(told(&mut lab, root), ["Modified f"]);
    lab.close(twin);
    assert_eq!(told(&mut lab, root), [""; 0]);
}

/// minifilter-rules §2.8: a directory handle of a transaction sees its transaction's changes at once, and outside ones; it ends
/// with the transaction.
#[test]
fn a_watch_inside_a_transaction_is_told_at_once_and_ends_with_it() {
    let mut lab = lab();
    let tx = lab.begin();
    let root = lab.open_in(tx, r"\", READ).unwrap();
    let first = ask(&mut lab, root, notify::FILE_NAME, false);
    lab.make_in(tx, "inside").unwrap();
    assert_eq!(shown(&lab.volume.notified(first).unwrap()), ["Added inside"]);
    lab.make("outside").unwrap();
    assert_eq!(told(&mut lab, root), ["Added outside"]);
    let waiting = ask(&mut lab, root, notify::FILE_NAME, false);
    lab.commit(tx).unwrap();
    assert_eq!(lab.volume.notified(waiting).unwrap().status, Status::HANDLE_NO_LONGER_VALID);
}

/// minifilter-rules §2.8: a directory that a transaction has deleted is watched until the commit.
#[test]
fn a_directory_that_a_transaction_deletes_is_watched_until_the_commit() {
    let mut lab = lab();
    let directory = CreateRequest::path("folder").access(READ).disposition(Disposition::Create);
    let folder = lab.create(directory.options(Options::DIRECTORY_FILE)).unwrap().open;
    lab.close(folder);
    let root = keep(&mut lab, r"\", notify::ALL, false);
    let watched = lab.open("folder", READ).unwrap();
    let request = ask(&mut lab, watched, notify::ALL, false);
    let tx = lab.begin();
    let inside = lab.open_in(tx, "folder", READ | DELETE).unwrap();
    lab.delete(inside).unwrap();
    lab.close(inside);
    assert_eq!(told(&mut lab, root), [""; 0]);
    lab.commit(tx).unwrap();
    assert_eq!(told(&mut lab, root), ["Removed folder"]);
    assert_eq!(lab.volume.notified(request).unwrap().status, Status::DELETE_PENDING);
}

//! Names inside a transaction (`txf-ktm §4.3`, `§9` rules 6 and 7).

use crate::support::*;
use lab_volume::*;

/// txf-ktm §4.3: a created file is invisible outside and its name is reserved.
#[test]
fn a_created_file_is_invisible_and_its_name_reserved() {
    let mut lab = lab();
    let tx = lab.begin();
    let made = lab.make_in(tx, "new").unwrap();
    lab.write(made, 0, b"content").unwrap();
    assert_eq!(lab.open("new", READ), Err(Status::OBJECT_NAME_NOT_FOUND));
    assert_eq!(lab.make("NEW"), Err(Status::TRANSACTIONAL_CONFLICT));
    let outside = lab.open(r"d\g", DELETE).unwrap();
    let taken = NameTarget::named(r"\new");
    assert_eq!(lab.volume.rename(outside, &taken, NameFlags::REPLACE), Err(Status::TRANSACTIONAL_CONFLICT));
    assert_eq!(lab.volume.link(outside, &taken, NameFlags::REPLACE), Err(Status::TRANSACTIONAL_CONFLICT));
    lab.close(outside);
    let other = lab.begin();
    assert_eq!(lab.make_in(other, "new"), Err(Status::TRANSACTIONAL_CONFLICT));
    lab.open_in(tx, "new", READ).unwrap();
    lab.close(made);
    lab.commit(tx).unwrap();
    assert_eq!(lab.contents("new").unwrap(), "content");
}

#[test]
fn a_rolled_back_create_leaves_nothing_and_frees_the_name() {
    let mut lab = lab();
    let free = lab.volume.information().free_clusters;
    let tx = lab.begin();
    let made = lab.make_in(tx, "new").unwrap();
    lab.write(made, 0, &[1; 50_000]).unwrap();
    lab.rollback(tx).unwrap();
    assert_eq!(lab.contents("new"), None);
    assert_eq!(lab.volume.information().free_clusters, free);
    let again = lab.make("new").unwrap();
    let identities = [made, again].map(|open| lab.volume.stream_identity(open).unwrap());
    assert_ne!(identities[0], identities[1], "the dead open is not an open of the new file");
    lab.close(made);
    assert_eq!(lab.read(again), Err(Status::END_OF_FILE));
}

/// A name that a transaction created and took away again is nobody's.
#[test]
fn a_name_created_and_deleted_inside_is_free_for_outsiders_and_stays_theirs() {
    let mut lab = lab();
    let tx = lab.begin();
    let made = lab.make_in(tx, "brief").unwrap();
    lab.delete(made).unwrap();
    lab.close(made);
    let outside = lab.make("brief").unwrap();
    lab.write(outside, 0, b"theirs").unwrap();
    lab.close(outside);
    lab.commit(tx).unwrap();
    assert_eq!(lab.contents("brief").unwrap(), "theirs");
}

/// txf-ktm §4.3: a deleted file stays visible and readable outside until commit.
#[test]
fn a_deleted_file_stays_readable_outside_until_the_commit() {
    let mut lab = lab();
    let tx = lab.begin();
    let twin = lab.open_in(tx, "f", DELETE).unwrap();
    lab.delete(twin).unwrap();
    lab.close(twin);
    assert_eq!(lab.open_in(tx, "f", READ), Err(Status::OBJECT_NAME_NOT_FOUND));
    let reader = lab.open("f", READ).unwrap();
    assert_eq!(lab.read(reader).unwrap(), b"old");
    assert_eq!(lab.open("f", WRITE), Err(Status::SHARING_VIOLATION));
    lab.commit(tx).unwrap();
    assert_eq!(lab.open("f", READ), Err(Status::OBJECT_NAME_NOT_FOUND));
    assert_eq!(lab.read(reader).unwrap(), b"old", "who has it open may go on reading");
    lab.close(reader);
}

/// txf-ktm §4.3, §9 rule 6: deletion counts only if the last transacted writer closes in time.
#[test]
fn a_deletion_counts_only_if_the_last_transacted_writer_is_closed_before_the_commit() {
    for (closes, remains) in [(true, None), (false, Some("old".to_owned()))] {
        let mut lab = lab();
        let tx = lab.begin();
        let twin = lab.open_in(tx, "f", DELETE).unwrap();
        let second = lab.open_in(tx, "f", READ).unwrap();
        lab.delete(twin).unwrap();
        lab.close(second);
        if closes {
            lab.close(twin);
        }
        lab.commit(tx).unwrap();
        assert_eq!(lab.contents("f"), remains, "closes: {closes}");
    }
}

/// txf-ktm §4.3: delete-on-close likewise.
#[test]
fn delete_on_close_counts_only_if_closed_before_the_commit() {
    for closes in [true, false] {
        let mut lab = lab();
        let tx = lab.begin();
        let request = CreateRequest::path("f").access(DELETE).options(Options::DELETE_ON_CLOSE).inside(tx);
        let twin = lab.create(request).unwrap().open;
        if closes {
            lab.close(twin);
        }
        lab.commit(tx).unwrap();
        assert_eq!(lab.contents("f").is_none(), closes);
        if !closes {
            lab.close(twin);
            assert_eq!(lab.contents("f").unwrap(), "old", "closing after the end deletes nothing");
        }
    }
}

#[test]
fn an_outside_reader_does_not_hold_up_a_transacted_deletion() {
    let mut lab = lab();
    let reader = lab.open("f", READ).unwrap();
    let tx = lab.begin();
    let twin = lab.open_in(tx, "f", DELETE).unwrap();
    lab.delete(twin).unwrap();
    lab.close(twin);
    lab.commit(tx).unwrap();
    assert_eq!(lab.contents("f"), None);
    assert_eq!(lab.read(reader).unwrap(), b"old");
    let free = lab.volume.information().free_clusters;
    lab.close(reader);
    assert_eq!(lab.volume.information().free_clusters, free + 1, "the last close frees it");
}

/// txf-ktm §4.3: outside, a rename inside shows the old name; the target is reserved.
/// txf-ktm §4.9.
#[test]
fn a_rename_inside_shows_the_old_name_outside_and_reserves_the_new_one() {
    let mut lab = lab();
    let tx = lab.begin();
    let twin = lab.open_in(tx, "f", DELETE | READ).unwrap();
    lab.volume.rename(twin, &NameTarget::named("moved"), NameFlags::empty()).unwrap();
    assert_eq!(lab.names(Some(tx)), ["d", "moved"]);
    assert_eq!(lab.names(None), ["d", "f"]);
    assert_eq!(lab.volume.name(twin).unwrap().to_text(), r"\moved");
    assert_eq!(lab.make("moved"), Err(Status::TRANSACTIONAL_CONFLICT));
    let outside = lab.open("f", READ).unwrap();
    lab.close(twin);
    lab.commit(tx).unwrap();
    assert_eq!(lab.names(None), ["d", "moved"]);
    assert_eq!(lab.volume.name(outside).unwrap().to_text(), r"\moved");
}

#[test]
fn a_rename_over_a_file_inside_is_undone_with_both_files() {
    let mut lab = lab();
    lab.volume.put_file("temp", b"fresh").unwrap();
    let before = lab.volume.tree();
    let tx = lab.begin();
    let twin = lab.open_in(tx, "temp", DELETE).unwrap();
    let f = NameTarget::named("f");
    assert_eq!(lab.volume.rename(twin, &f, NameFlags::empty()), Err(Status::OBJECT_NAME_COLLISION));
    lab.volume.rename(twin, &f, NameFlags::REPLACE).unwrap();
    lab.close(twin);
    let mut undone = lab.clone();
    undone.rollback(tx).unwrap();
    assert_eq!(undone.volume.tree(), before);
    lab.commit(tx).unwrap();
    assert_eq!(lab.contents("f").unwrap(), "fresh");
    assert_eq!(lab.contents("temp"), None);
}

/// A file that a transaction locked is not replaced by somebody else, handles or not.
#[test]
fn nobody_renames_over_a_file_that_a_transaction_modified() {
    let mut lab = lab();
    let tx = lab.begin();
    let twin = lab.open_in(tx, "f", WRITE).unwrap();
    lab.write(twin, 0, b"new").unwrap();
    lab.close(twin);
    let outside = lab.open(r"d\g", DELETE).unwrap();
    let over = lab.volume.rename(outside, &NameTarget::named(r"\f"), NameFlags::REPLACE);
    assert_eq!(over, Err(Status::TRANSACTIONAL_CONFLICT));
    lab.commit(tx).unwrap();
    assert_eq!(lab.contents("f").unwrap(), "new");
}

/// txf-ktm §4.3: the same for an ancestor that the file was moved into or out of.
#[test]
fn both_ends_of_a_move_are_pinned() {
    let mut lab = lab();
    lab.volume.put_file(r"from\x\file", b"m").unwrap();
    lab.volume.put_directory(r"to\y").unwrap();
    let tx = lab.begin();
    let twin = lab.open_in(tx, r"from\x\file", DELETE).unwrap();
    lab.volume.rename(twin, &NameTarget::named(r"\to\y\file"), NameFlags::empty()).unwrap();
    lab.close(twin);
    for directory in ["from", "to"] {
        let open = lab.open(directory, DELETE).unwrap();
        let renamed = lab.volume.rename(open, &NameTarget::named("z"), NameFlags::empty());
        assert_eq!(renamed, Err(Status::CANT_BREAK_TRANSACTIONAL_DEPENDENCY), "{directory}");
    }
}

/// txf-ktm §4.3, §9 rule 7: ancestors of a modified file are pinned against rename.
#[test]
fn the_ancestors_of_a_modified_file_cannot_be_renamed() {
    let mut lab = lab();
    lab.volume.put_file(r"a\b\c", b"deep").unwrap();
    let tx = lab.begin();
    let twin = lab.open_in(tx, r"a\b\c", WRITE).unwrap();
    lab.write(twin, 0, b"x").unwrap();
    lab.close(twin);
    for directory in ["a", r"a\b"] {
        let open = lab.open(directory, DELETE).unwrap();
        let renamed = lab.volume.rename(open, &NameTarget::named("z"), NameFlags::empty());
        assert_eq!(renamed, Err(Status::CANT_BREAK_TRANSACTIONAL_DEPENDENCY), "{directory}");
        lab.close(open);
    }
    lab.commit(tx).unwrap();
    let open = lab.open("a", DELETE).unwrap();
    lab.volume.rename(open, &NameTarget::named("z"), NameFlags::empty()).unwrap();
    assert_eq!(lab.contents(r"z\b\c").unwrap(), "xeep");
}

#[test]
fn a_directory_with_a_file_created_inside_cannot_be_deleted_outside() {
    let mut lab = lab();
    lab.volume.put_directory("empty").unwrap();
    let tx = lab.begin();
    lab.make_in(tx, r"empty\new").unwrap();
    let outside = lab.open("empty", DELETE).unwrap();
    assert_eq!(lab.delete(outside), Err(Status::CANT_BREAK_TRANSACTIONAL_DEPENDENCY));
}

#[test]
fn nobody_creates_in_a_directory_that_a_transaction_deleted() {
    let mut lab = lab();
    lab.volume.put_directory("empty").unwrap();
    let tx = lab.begin();
    let twin = lab.open_in(tx, "empty", DELETE).unwrap();
    lab.delete(twin).unwrap();
    lab.close(twin);
    assert_eq!(lab.make(r"empty\new"), Err(Status::TRANSACTIONAL_CONFLICT));
    lab.commit(tx).unwrap();
    assert_eq!(lab.make(r"empty\new"), Err(Status::OBJECT_PATH_NOT_FOUND));
}

/// txf-ktm §4.10: hard links are transacted.
/// txf-ktm §4.3.
#[test]
fn a_hard_link_made_inside_appears_at_commit() {
    let mut lab = lab();
    let tx = lab.begin();
    let twin = lab.open_in(tx, "f", WRITE).unwrap();
    lab.volume.link(twin, &NameTarget::named(r"\d\again"), NameFlags::empty()).unwrap();
    assert_eq!(lab.contents(r"d\again"), None);
    assert_eq!(lab.volume.standard(twin).unwrap().links, 2);
    lab.close(twin);
    lab.commit(tx).unwrap();
    assert_eq!(lab.contents(r"d\again").unwrap(), "old");
    assert_eq!(lab.volume.tree()["f"].id, lab.volume.tree()[r"d\again"].id);
}

/// txf-ktm §4.3: no rename of named streams inside a transaction.
/// txf-ktm §4.9.
#[test]
fn a_named_stream_cannot_be_renamed_inside_a_transaction() {
    let mut lab = lab();
    lab.volume.put_file("f:one", b"1").unwrap();
    let tx = lab.begin();
    let twin = lab.open_in(tx, "f:one", DELETE).unwrap();
    let renamed = lab.volume.rename(twin, &NameTarget::named(":two"), NameFlags::empty());
    assert_eq!(renamed, Err(Status::OPERATION_NOT_SUPPORTED_IN_TRANSACTION));
    lab.rollback(tx).unwrap();
    let plain = lab.open("f:one", DELETE).unwrap();
    lab.volume.rename(plain, &NameTarget::named(":two"), NameFlags::empty()).unwrap();
    assert_eq!(lab.contents("f:two").unwrap(), "1");
}

/// txf-ktm §9 open question (d).
/// txf-ktm §4.9.
#[test]
fn posix_rename_and_delete_inside_a_transaction_go_by_switch() {
    let mut lab = lab();
    lab.volume.switches.posix_in_transaction = Status::OPERATION_NOT_SUPPORTED_IN_TRANSACTION;
    let tx = lab.begin();
    let twin = lab.open_in(tx, "f", DELETE).unwrap();
    let refused = Err(Status::OPERATION_NOT_SUPPORTED_IN_TRANSACTION);
    let posix = DispositionFlags::DELETE | DispositionFlags::POSIX;
    assert_eq!(lab.volume.rename(twin, &NameTarget::named("z"), NameFlags::POSIX), refused);
    assert_eq!(lab.volume.set_disposition(twin, posix), refused);
    lab.volume.switches.posix_in_transaction = Status::SUCCESS;
    lab.volume.rename(twin, &NameTarget::named("z"), NameFlags::POSIX).unwrap();
    lab.volume.set_disposition(twin, posix).unwrap();
    lab.close(twin);
    lab.commit(tx).unwrap();
    assert_eq!(lab.names(None), ["d"]);
}

/// minifilter-rules §7 question 3: a handle outside the transaction may be in the way of the names.
#[test]
fn names_change_beside_a_plain_handle_by_switch() {
    let mut lab = lab();
    let outside = lab.open("f", access::READ_ATTRIBUTES).unwrap();
    let tx = lab.begin();
    let twin = lab.open_in(tx, "f", DELETE).unwrap();
    lab.volume.switches.names_beside_plain_open = Status::ACCESS_DENIED;
    let moved = NameTarget::named("moved");
    assert_eq!(lab.volume.rename(twin, &moved, NameFlags::empty()), Err(Status::ACCESS_DENIED));
    assert_eq!(lab.volume.link(twin, &moved, NameFlags::empty()), Err(Status::ACCESS_DENIED));
    assert_eq!(lab.delete(twin), Err(Status::ACCESS_DENIED));
    lab.close(outside);
    lab.volume.rename(twin, &moved, NameFlags::empty()).unwrap();
    lab.close(twin);
    lab.commit(tx).unwrap();
    assert_eq!(lab.names(None), ["d", "moved"]);
}

/// txf-ktm §4.3: the open of a rename's target folder is a writer of that folder, or not, by switch.
#[test]
fn a_target_folder_keeps_a_transaction_out_by_switch() {
    for writer in [false, true] {
        let mut lab = lab();
        lab.volume.switches.target_directory_is_writer = writer;
        let mut request = CreateRequest::path(r"d\new").access(access::WRITE_DATA);
        request.open_target_directory = true;
        lab.create(request.clone()).unwrap();
        let tx = lab.begin();
        let inside = lab.create(request.inside(tx)).map(|created| created.action);
        let expected = if writer { Err(Status::TRANSACTIONAL_CONFLICT) } else { Ok(Action::DoesNotExist) };
        assert_eq!(inside, expected);
    }
}

/// txf-ktm §4.3, §4.6: names are published by the commit record alone, whatever else of it reached the disk.
#[test]
fn names_changed_inside_survive_a_crash_only_with_the_commit_record() {
    let mut lab = lab();
    lab.volume.put_file("temp", b"fresh").unwrap();
    let before = lab.volume.tree();
    let from = lab.volume.disk.effect_count();
    let tx = lab.begin();
    let twin = lab.open_in(tx, "temp", DELETE | WRITE).unwrap();
    lab.write(twin, 0, b"FRESH").unwrap();
    lab.volume.rename(twin, &NameTarget::named("f"), NameFlags::REPLACE).unwrap();
    lab.volume.link(twin, &NameTarget::named(r"\d\again"), NameFlags::empty()).unwrap();
    let gone = lab.open_in(tx, r"d\g", DELETE).unwrap();
    lab.delete(gone).unwrap();
    lab.close(gone);
    lab.close(twin);
    lab.commit(tx).unwrap();
    let after = lab.volume.tree();
    let mut found = [0, 0];
    for effect in from..=lab.volume.disk.effect_count() {
        let states = lab.volume.disk.crash_states(effect);
        for seed in 0..16 {
            let recovered = Volume::mount(states.base(Fate::seeded(seed))).unwrap().tree();
            assert!(recovered == before || recovered == after, "effect {effect}, seed {seed}: {recovered:?}");
            found[usize::from(recovered == after)] += 1;
        }
    }
    assert!(found[0] > 0 && found[1] > 0, "{found:?}");
}

/// txf-ktm §9 open question (g).
/// txf-ktm §4.10.
#[test]
fn supersede_keeps_the_file_id_by_switch() {
    for changes in [false, true] {
        let mut lab = lab();
        lab.volume.switches.supersede_changes_id = changes;
        let before = lab.volume.tree()["f"].id;
        let tx = lab.begin();
        let request = CreateRequest::path("f").access(WRITE).disposition(Disposition::Supersede).inside(tx);
        let created = lab.create(request).unwrap();
        assert_eq!(created.action, Action::Superseded);
        lab.write(created.open, 0, b"next").unwrap();
        lab.close(created.open);
        lab.commit(tx).unwrap();
        assert_eq!(lab.contents("f").unwrap(), "next");
        assert_eq!(lab.volume.tree()["f"].id != before, changes);
    }
}

/// txf-ktm §3: what Microsoft's delete sample relies on.
#[test]
fn a_deleted_file_is_asked_for_by_its_id() {
    let mut lab = lab();
    let id = lab.volume.tree()["f"].id;
    let tx = lab.begin();
    let twin = lab.open_in(tx, "f", DELETE).unwrap();
    let ask = |lab: &mut Lab| {
        let request = CreateRequest::new(Target::Id(id)).access(READ).inside(tx);
        lab.create(request).map(|created| lab.close(created.open))
    };
    assert_eq!(ask(&mut lab), Ok(()));
    lab.delete(twin).unwrap();
    assert_eq!(ask(&mut lab), Err(Status::DELETE_PENDING), "still there");
    lab.close(twin);
    assert_eq!(ask(&mut lab), Err(Status::INVALID_PARAMETER), "gone");
    lab.rollback(tx).unwrap();
    lab.create(CreateRequest::new(Target::Id(id)).access(READ)).unwrap();
}

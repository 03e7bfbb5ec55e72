//! TxF's lock matrix and the share modes under it (`txf-ktm §4.2`, `§9` rule 1).

use crate::support::*;
use lab_volume::*;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Who {
    TxReader,
    TxWriter,
    PlainReader,
    PlainWriter,
}

use Who::*;

fn open_as(lab: &mut Lab, who: Who) -> Result<OpenId, Status> {
    match who {
        PlainReader => lab.open("f", READ),
        PlainWriter => lab.open("f", WRITE),
        TxReader | TxWriter => {
            let tx = lab.begin();
            lab.open_in(tx, "f", if who == TxReader { READ } else { WRITE })
        }
    }
}

/// txf-ktm §4.2, the table, cell by cell; every open shares everything.
/// txf-ktm §4.1, §9.
#[test]
fn the_lock_matrix_is_the_documented_one() {
    let sharing = Err(Status::SHARING_VIOLATION);
    let conflict = Err(Status::TRANSACTIONAL_CONFLICT);
    for (first, second, expected) in [
        (TxReader, TxReader, Ok(())),
        (TxReader, TxWriter, Ok(())),
        (TxReader, PlainReader, Ok(())),
        (TxReader, PlainWriter, sharing),
        (TxWriter, TxReader, Ok(())),
        (TxWriter, TxWriter, sharing),
        (TxWriter, PlainReader, Ok(())),
        (TxWriter, PlainWriter, sharing),
        (PlainReader, TxReader, Ok(())),
        (PlainReader, TxWriter, Ok(())),
        (PlainReader, PlainReader, Ok(())),
        (PlainReader, PlainWriter, Ok(())),
        (PlainWriter, TxReader, conflict),
        (PlainWriter, TxWriter, conflict),
        (PlainWriter, PlainReader, Ok(())),
        (PlainWriter, PlainWriter, Ok(())),
    ] {
        let mut lab = lab();
        open_as(&mut lab, first).unwrap();
        assert_eq!(open_as(&mut lab, second).map(drop), expected, "{first:?} then {second:?}");
    }
}

/// txf-ktm §3: the access set that makes an open a writer.
/// txf-ktm §4.2.
#[test]
fn every_right_of_the_writer_mask_makes_a_writer() {
    for right in [
        access::WRITE_DATA,
        access::APPEND_DATA,
        access::DELETE,
        access::WRITE_ATTRIBUTES,
        access::WRITE_EA,
        access::WRITE_DAC,
        access::WRITE_OWNER,
        access::ACCESS_SYSTEM_SECURITY,
    ] {
        let mut lab = lab();
        let plain = lab.open("f", right).unwrap();
        let tx = lab.begin();
        assert_eq!(lab.open_in(tx, "f", READ), Err(Status::TRANSACTIONAL_CONFLICT), "{right:#x}");
        lab.close(plain);
        lab.open_in(tx, "f", right).unwrap();
        assert_eq!(lab.open("f", right), Err(Status::SHARING_VIOLATION), "{right:#x}");
    }
}

/// txf-ktm §4.2: attribute-only opens are readers.
#[test]
fn opens_for_attributes_alone_conflict_with_nobody() {
    let mut lab = lab();
    let tx = lab.begin();
    lab.open_in(tx, "f", WRITE).unwrap();
    lab.open("f", access::READ_ATTRIBUTES | access::SYNCHRONIZE).unwrap();
    lab.open("f", 0).unwrap();
}

/// txf-ktm §9 open question (j).
/// txf-ktm §4.2.
#[test]
fn write_attributes_alone_counts_as_a_writer_or_not_by_switch() {
    for (counts, expected) in [(true, Err(Status::TRANSACTIONAL_CONFLICT)), (false, Ok(()))] {
        let mut lab = lab();
        lab.volume.switches.write_attributes_alone_is_writer = counts;
        lab.open("f", access::WRITE_ATTRIBUTES).unwrap();
        let tx = lab.begin();
        assert_eq!(lab.open_in(tx, "f", WRITE).map(drop), expected);
    }
}

/// txf-ktm §4.2: normal share modes apply in addition.
#[test]
fn share_modes_still_apply_between_a_transaction_and_the_outside() {
    let mut lab = lab();
    let tx = lab.begin();
    let alone = CreateRequest::path("f").access(WRITE).share(Share::empty()).inside(tx);
    let twin = lab.create(alone).unwrap().open;
    assert_eq!(lab.open("f", READ), Err(Status::SHARING_VIOLATION));
    lab.open("f", access::READ_ATTRIBUTES).unwrap();
    lab.close(twin);
    lab.open("f", READ).unwrap();
}

/// txf-ktm §4.2: handles within the same transaction, any number, subject to share modes.
#[test]
fn opens_of_one_transaction_are_exempt_from_its_locks_but_not_from_share_modes() {
    let mut lab = lab();
    let tx = lab.begin();
    lab.open_in(tx, "f", READ).unwrap();
    lab.open_in(tx, "f", WRITE).unwrap();
    lab.open_in(tx, "f", WRITE).unwrap();
    let greedy = CreateRequest::path("f").access(WRITE).share(Share::READ).inside(tx);
    assert_eq!(lab.create(greedy).unwrap_err(), Status::SHARING_VIOLATION);
}

/// minifilter-rules §1.8.
#[test]
fn share_modes_count_only_opens_with_data_or_delete_access() {
    let mut lab = lab();
    let nothing = CreateRequest::path("f").access(access::READ_ATTRIBUTES).share(Share::empty());
    lab.create(nothing).unwrap();
    let only = CreateRequest::path("f").access(WRITE).share(Share::READ);
    lab.create(only).unwrap();
    assert_eq!(lab.open("f", WRITE), Err(Status::SHARING_VIOLATION));
    assert_eq!(lab.open("f", DELETE), Err(Status::SHARING_VIOLATION));
    lab.open("f", access::WRITE_ATTRIBUTES).unwrap();
    let nothing = CreateRequest::path("f").access(access::READ_ATTRIBUTES).share(Share::empty());
    lab.create(nothing).unwrap();
    lab.open("f", READ).unwrap();
}

/// minifilter-rules §1.8.
#[test]
fn share_modes_are_of_a_stream_and_execution_and_appending_count_as_data() {
    let mut lab = lab();
    let stream = CreateRequest::path("f:s").access(WRITE).disposition(Disposition::OpenIf);
    lab.create(stream.share(Share::empty())).unwrap();
    lab.open("f", WRITE).unwrap();
    for (access, needed) in [(access::EXECUTE, Share::READ), (access::APPEND_DATA, Share::WRITE)] {
        let mut lab = self::lab();
        let open = |share| CreateRequest::path("f").access(access).share(share);
        let first = lab.create(open(Share::all())).unwrap().open;
        let narrow = CreateRequest::path("f").access(access::READ_DATA).share(Share::all() - needed);
        assert_eq!(lab.create(narrow.clone()).map(drop), Err(Status::SHARING_VIOLATION), "{access:#x}");
        lab.close(first);
        lab.create(narrow).unwrap();
        assert_eq!(lab.create(open(Share::all())).map(drop), Err(Status::SHARING_VIOLATION), "{access:#x}");
    }
}

/// What a disposition asks for counts like what is asked for: superseding deletes, overwriting writes.
#[test]
fn share_modes_count_what_a_disposition_implies() {
    for (share, superseded, overwritten) in [
        (Share::READ, Err(Status::SHARING_VIOLATION), Err(Status::SHARING_VIOLATION)),
        (Share::READ | Share::WRITE, Err(Status::SHARING_VIOLATION), Ok(())),
        (Share::all(), Ok(()), Ok(())),
    ] {
        let mut lab = lab();
        lab.create(CreateRequest::path("f").access(READ).share(share)).unwrap();
        for (disposition, expected) in
            [(Disposition::Supersede, superseded), (Disposition::Overwrite, overwritten)]
        {
            let request = CreateRequest::path("f").access(READ).disposition(disposition);
            let told = lab.create(request).map(|created| lab.close(created.open));
            assert_eq!(told, expected, "{disposition:?} {share:?}");
        }
    }
}

/// txf-ktm §2: IO_IGNORE_SHARE_ACCESS_CHECK neither checks nor records.
#[test]
fn an_open_that_ignores_share_modes_is_not_seen_by_them() {
    let mut lab = lab();
    let alone = CreateRequest::path("f").access(WRITE).share(Share::empty());
    let first = lab.create(alone.clone()).unwrap().open;
    let ignoring = CreateRequest { ignore_share: true, ..alone.clone() };
    lab.create(ignoring).unwrap();
    lab.close(first);
    lab.create(alone).unwrap();
}

/// txf-ktm §4.2: locking is per file, not per stream.
/// txf-ktm §4.10.
#[test]
fn a_transacted_writer_of_one_stream_locks_every_stream() {
    let mut lab = lab();
    lab.volume.put_file("f:notes", b"note").unwrap();
    let tx = lab.begin();
    lab.open_in(tx, "f:notes", WRITE).unwrap();
    assert_eq!(lab.open("f", WRITE), Err(Status::SHARING_VIOLATION));
    lab.open("f", READ).unwrap();
}

/// txf-ktm §4.2: execute access while a transaction modifies the file, `§9` rule 1.
#[test]
fn only_a_transacted_reader_may_execute_a_file_that_is_being_modified() {
    let mut lab = lab();
    let writer = lab.begin();
    lab.open_in(writer, "f", WRITE).unwrap();
    let execute = access::FILE_EXECUTE;
    assert_eq!(lab.open("f", execute), Err(Status::CANNOT_EXECUTE_FILE_IN_TRANSACTION));
    assert_eq!(lab.open("f", access::GENERIC_ALL), Err(Status::CANNOT_EXECUTE_FILE_IN_TRANSACTION));
    let reader = lab.begin();
    lab.open_in(reader, "f", execute).unwrap();
}

/// The same rule read literally for the modifying transaction itself; a switch, as the page leaves it open.
/// txf-ktm §4.2.
#[test]
fn the_modifying_transaction_may_execute_by_switch_only() {
    for (allowed, expected) in [(false, Err(Status::CANNOT_EXECUTE_FILE_IN_TRANSACTION)), (true, Ok(()))] {
        let mut lab = lab();
        lab.volume.switches.execute_in_modifying_transaction = allowed;
        let tx = lab.begin();
        lab.open_in(tx, "f", access::GENERIC_ALL).unwrap();
        assert_eq!(lab.open_in(tx, "f", access::GENERIC_ALL).map(drop), expected);
    }
}

/// txf-ktm §4.2: MAXIMUM_ALLOWED yields less access.
#[test]
fn maximum_allowed_leaves_out_execute_while_a_transaction_modifies_the_file() {
    let mut lab = lab();
    let tx = lab.begin();
    lab.open_in(tx, "f", access::WRITE_ATTRIBUTES).unwrap();
    let reader = lab.begin();
    let maximum = CreateRequest::path("d").access(access::MAXIMUM_ALLOWED).inside(reader);
    assert_eq!(lab.create(maximum).unwrap().granted & access::EXECUTE, access::EXECUTE);
    let maximum = CreateRequest::path("f").access(access::MAXIMUM_ALLOWED).inside(tx);
    let granted = lab.create(maximum).unwrap().granted;
    assert_eq!(granted, access::ALL & !access::EXECUTE);
}

#[test]
fn the_lock_of_an_unmodified_file_outlives_its_handle_by_switch() {
    for (outlives, expected) in [(true, Err(Status::SHARING_VIOLATION)), (false, Ok(()))] {
        let mut lab = lab();
        lab.volume.switches.lock_outlives_unmodified_handle = outlives;
        let tx = lab.begin();
        let twin = lab.open_in(tx, "f", WRITE).unwrap();
        lab.close(twin);
        assert_eq!(lab.open("f", WRITE).map(drop), expected);
    }
}

#[test]
fn the_lock_of_a_modified_file_lives_as_long_as_its_transaction() {
    let mut lab = lab();
    lab.volume.switches.lock_outlives_unmodified_handle = false;
    let tx = lab.begin();
    let twin = lab.open_in(tx, "f", WRITE).unwrap();
    lab.write(twin, 0, b"new").unwrap();
    lab.close(twin);
    assert_eq!(lab.open("f", WRITE), Err(Status::SHARING_VIOLATION));
    lab.rollback(tx).unwrap();
    lab.open("f", WRITE).unwrap();
}

#[test]
fn a_create_that_fails_leaves_no_lock() {
    let mut lab = lab();
    lab.volume.set_free_space(Some(0));
    let tx = lab.begin();
    let request = CreateRequest {
        allocation: 1 << 20,
        ..CreateRequest::path("f").access(WRITE).disposition(Disposition::Overwrite).inside(tx)
    };
    assert_eq!(lab.create(request).unwrap_err(), Status::DISK_FULL);
    lab.open("f", WRITE).unwrap();
}

/// txf-ktm §4.13: who holds a file.
/// txf-ktm §1.6.
#[test]
fn the_volume_tells_which_transaction_holds_a_file() {
    let mut lab = lab();
    let tx = lab.begin();
    let plain = lab.open("f", READ).unwrap();
    assert_eq!(lab.volume.locking_transaction(plain), Ok(None));
    let twin = lab.open_in(tx, "f", WRITE).unwrap();
    assert_eq!(lab.volume.locking_transaction(plain), Ok(Some(tx)));
    assert_eq!(lab.volume.locked_files(tx), [lab.volume.id(twin).unwrap()]);
    assert_eq!(lab.volume.resource_manager().transactions, 1);
}

/// txf-ktm §4.3: a transacted open of a directory with FILE_ADD_FILE leads to sharing violations.
#[test]
fn a_transacted_open_of_a_directory_that_may_add_files_locks_it() {
    let mut lab = lab();
    let (one, two) = (lab.begin(), lab.begin());
    lab.open_in(one, "d", access::WRITE_DATA).unwrap();
    assert_eq!(lab.open_in(two, "d", access::WRITE_DATA), Err(Status::SHARING_VIOLATION));
    assert_eq!(lab.open("d", access::WRITE_ATTRIBUTES), Err(Status::SHARING_VIOLATION));
    lab.open("d", READ).unwrap();
    lab.make(r"d\new").unwrap();
}

/// txf-ktm §4.3.
#[test]
fn a_target_directory_open_locks_the_directory_by_switch() {
    for (locks, expected) in [(false, Ok(())), (true, Err(Status::SHARING_VIOLATION))] {
        let mut lab = lab();
        lab.volume.switches.target_directory_is_writer = locks;
        let (one, two) = (lab.begin(), lab.begin());
        let target = |tx| CreateRequest {
            open_target_directory: true,
            ..CreateRequest::path(r"d\n").access(access::WRITE_DATA | access::SYNCHRONIZE).inside(tx)
        };
        lab.create(target(one)).unwrap();
        assert_eq!(lab.create(target(two)).map(drop), expected);
    }
}

/// txf-ktm §4.3: only its writers hold a deletion up.
#[test]
fn a_transacted_reader_does_not_hold_a_deletion_up() {
    let mut lab = lab();
    let tx = lab.begin();
    lab.open_in(tx, "f", READ).unwrap();
    let writer = lab.open_in(tx, "f", DELETE).unwrap();
    lab.delete(writer).unwrap();
    lab.close(writer);
    lab.commit(tx).unwrap();
    assert_eq!(lab.contents("f"), None);
}

/// txf-ktm §4.2.
#[test]
fn the_lock_of_a_transaction_stays_as_long_as_it_has_a_writer() {
    let mut lab = lab();
    lab.volume.switches.lock_outlives_unmodified_handle = false;
    let (tx, other) = (lab.begin(), lab.begin());
    let (first, last) = (lab.open_in(tx, "f", WRITE).unwrap(), lab.open_in(tx, "f", WRITE).unwrap());
    lab.close(first);
    assert_eq!(lab.open_in(other, "f", WRITE), Err(Status::SHARING_VIOLATION));
    lab.close(last);
    lab.open_in(other, "f", WRITE).unwrap();
}

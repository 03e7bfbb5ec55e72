//! How a transaction ends, and what is left of its handles (`txf-ktm §4.4`, `§4.5`, `§9` rules 3 to 5 and 9).

use crate::support::*;
use lab_volume::*;

/// txf-ktm §4.4, §9 rule 5: every operation but cleanup and close.
#[test]
fn after_the_end_only_cleanup_and_close_succeed() {
    for commits in [true, false] {
        let mut lab = lab();
        let tx = lab.begin();
        let twin = lab.open_in(tx, "f", WRITE | DELETE).unwrap();
        let root = lab.open_in(tx, "d", READ).unwrap();
        if commits {
            lab.commit(tx).unwrap()
        } else {
            lab.rollback(tx).unwrap()
        }
        let owner = LockOwner { process: 0, key: 0 };
        let v = &mut lab.volume;
        let new_name = NameTarget::named("z");
        let results = [
            v.read(twin, 0, 1, Io::default()).map(drop),
            v.read(twin, 0, 1, Io { paging: true, ..Io::default() }).map(drop),
            v.write(twin, WriteAt::End, b"x", Io::default()).map(drop),
            v.query(twin).map(drop),
            v.set_basic(twin, BasicUpdate::default()),
            v.set_end_of_file(twin, 0),
            v.set_allocation(twin, 0),
            v.set_disposition(twin, DispositionFlags::DELETE),
            v.rename(twin, &new_name, NameFlags::empty()),
            v.link(twin, &new_name, NameFlags::empty()),
            v.flush(twin),
            v.lock(twin, owner, 0, 1, true),
            v.unlock(twin, owner, 0, 1),
            v.eas(twin).map(drop),
            v.set_ea(twin, &[]),
            v.security(twin).map(drop),
            v.set_security(twin, &everyone_all()),
            v.streams(twin).map(drop),
            v.allocated_ranges(twin, 0, 1).map(drop),
            v.directory(root, None).map(drop),
        ];
        for (index, result) in results.into_iter().enumerate() {
            assert_eq!(result, Err(Status::HANDLE_NO_LONGER_VALID), "operation {index}, commits: {commits}");
        }
        lab.close(twin);
        lab.close(root);
    }
}

/// txf-ktm §4.4: new transacted opens after the end.
#[test]
fn a_new_open_in_an_ended_transaction_is_refused() {
    let mut lab = lab();
    for commits in [true, false] {
        let tx = lab.begin();
        if commits {
            lab.commit(tx).unwrap()
        } else {
            lab.rollback(tx).unwrap()
        }
        assert_eq!(lab.open_in(tx, "f", READ), Err(Status::TRANSACTION_NOT_ACTIVE));
    }
}

/// txf-ktm §4.11, §4.12, §9 rule 2: no TxF, and no resource manager.
/// txf-ktm §4.9.
#[test]
fn a_volume_without_transactions_refuses_transacted_opens() {
    let mut lab = lab();
    lab.volume.switches.transactions = false;
    let tx = lab.begin();
    assert_eq!(lab.open_in(tx, "f", READ), Err(Status::RM_NOT_ACTIVE));
    assert_eq!(lab.volume.information().attributes & SUPPORTS_TRANSACTIONS, 0);
    lab.volume.switches.no_transactions = Status::NOT_SUPPORTED;
    assert_eq!(lab.open_in(tx, "f", READ), Err(Status::NOT_SUPPORTED));
    lab.volume.switches.transactions = true;
    assert_ne!(lab.volume.information().attributes & SUPPORTS_TRANSACTIONS, 0);
    lab.volume.switches.resource_manager_active = false;
    assert_eq!(lab.open_in(tx, "f", READ), Err(Status::RM_NOT_ACTIVE));
    lab.open("f", WRITE).unwrap();
}

/// txf-ktm §4.5, §9 rule 9: writable views at commit, three ways.
#[test]
fn a_writable_view_at_commit_aborts_or_is_ignored_or_is_waited_for_by_switch() {
    let prepared = |switch| {
        let mut lab = lab();
        lab.volume.switches.writable_view_at_commit = switch;
        let tx = lab.begin();
        let twin = lab.open_in(tx, "f", WRITE).unwrap();
        lab.write(twin, 0, b"new").unwrap();
        let id = lab.volume.id(twin).unwrap();
        lab.volume.set_writable_view(id, true);
        (lab, tx, id)
    };
    let (mut lab, tx, _) = prepared(WritableView::Abort);
    assert_eq!(lab.commit(tx), Err(Status::TRANSACTION_ALREADY_ABORTED));
    assert_eq!(lab.contents("f").unwrap(), "old");

    let (mut lab, tx, _) = prepared(WritableView::Partial);
    lab.commit(tx).unwrap();
    assert_eq!(lab.contents("f").unwrap(), "new");

    let (mut lab, tx, id) = prepared(WritableView::Wait);
    lab.ktm.commit(tx).unwrap();
    let mut waiting = None;
    while let Some(delivery) = lab.ktm.next_delivery() {
        let answer = lab.volume.notify(delivery);
        if answer == Answer::Pending {
            waiting = Some(delivery);
        }
        lab.ktm.answer(delivery, answer);
    }
    let delivery = waiting.expect("prepare waits");
    assert_eq!(lab.ktm.phase(tx), Ok(Phase::Preparing));
    lab.volume.set_writable_view(id, false);
    let answer = lab.volume.notify(delivery);
    lab.ktm.answer(delivery, answer);
    lab.settle();
    assert_eq!(lab.contents("f").unwrap(), "new");
}

/// txf-ktm §1.5, §9 rule 4: KTM may abort at any operation boundary.
#[test]
fn an_abort_at_any_operation_boundary_leaves_the_old_file() {
    let script = |lab: &mut Lab, tx| -> Result<(), Status> {
        let twin = lab.open_in(tx, "f", WRITE)?;
        lab.write(twin, 0, b"first")?;
        lab.volume.flush(twin)?;
        lab.write(twin, 5, b"second")?;
        lab.volume.set_end_of_file(twin, 8)?;
        lab.make_in(tx, "side")?;
        Ok(())
    };
    let mut whole = lab();
    let tx = whole.begin();
    script(&mut whole, tx).unwrap();
    let boundaries = whole.volume.transacted_operations();
    assert!(boundaries >= 6);
    for boundary in 0..boundaries {
        let mut lab = lab();
        let before = lab.volume.tree();
        let tx = lab.begin();
        lab.volume.abort_after_operations(boundary);
        let status = script(&mut lab, tx).unwrap_err();
        assert!(
            [Status::HANDLE_NO_LONGER_VALID, Status::TRANSACTION_NOT_ACTIVE].contains(&status),
            "{boundary}: {status}"
        );
        lab.settle();
        assert_eq!(lab.ktm.phase(tx), Ok(Phase::Aborted));
        assert_eq!(lab.volume.tree(), before, "boundary {boundary}");
        assert_eq!(lab.commit(tx), Err(Status::TRANSACTION_ALREADY_ABORTED));
    }
}

/// txf-ktm §4.6: log full.
#[test]
fn a_full_log_aborts_the_transaction() {
    let mut lab = lab();
    let old = version(1, 8192);
    lab.volume.put_file("big", &old).unwrap();
    lab.volume.switches.log_capacity = 4096;
    let tx = lab.begin();
    let twin = lab.open_in(tx, "big", WRITE).unwrap();
    lab.write(twin, 0, &version(2, 8192)).unwrap();
    assert_eq!(lab.volume.flush(twin), Err(Status::LOG_FULL));
    assert_eq!(lab.read(twin), Err(Status::HANDLE_NO_LONGER_VALID));
    assert_eq!(lab.commit(tx), Err(Status::TRANSACTION_ALREADY_ABORTED));
    assert_eq!(lab.volume.contents("big").unwrap(), old);
}

#[test]
fn a_disk_error_while_committing_leaves_the_old_file() {
    let run = |fault: Option<u64>| {
        let mut lab = lab();
        let old = version(1, 8192);
        lab.volume.put_file("big", &old).unwrap();
        let tx = lab.begin();
        let twin = lab.open_in(tx, "big", WRITE).unwrap();
        lab.write(twin, 0, &version(2, 8192)).unwrap();
        lab.close(twin);
        let before = lab.volume.disk.effect_count();
        lab.volume.disk.faults.failing_effects = fault.map(|fault| before + fault).into_iter().collect();
        let result = lab.commit(tx);
        let effects = lab.volume.disk.effect_count() - before;
        (lab, result, effects)
    };
    let (_, result, effects) = run(None);
    result.unwrap();
    // The last effect is the flush of the commit record: one failure there is tried again.
    for fault in 1..effects {
        let (lab, result, _) = run(Some(fault));
        assert_eq!(result, Err(Status::TRANSACTION_ALREADY_ABORTED), "effect {fault}");
        assert_eq!(lab.volume.contents("big").unwrap(), version(1, 8192), "effect {fault}");
        let mounted = Volume::mount(lab.volume.disk.crash_after(u64::MAX, fault)).unwrap();
        assert_eq!(mounted.contents("big").unwrap(), version(1, 8192), "effect {fault}, after a crash");
    }
    let (lab, result, _) = run(Some(effects));
    result.unwrap();
    assert_eq!(lab.volume.contents("big").unwrap(), version(2, 8192));
}

/// txf-ktm §8.1: cleanup and close never fail, whatever has happened.
#[test]
fn cleanup_and_close_succeed_when_the_power_is_gone() {
    let mut lab = lab();
    let tx = lab.begin();
    let twin = lab.open_in(tx, "f", WRITE | DELETE).unwrap();
    let plain = lab.open(r"d\g", WRITE | DELETE).unwrap();
    lab.delete(twin).unwrap();
    lab.delete(plain).unwrap();
    lab.volume.disk.cut_power();
    assert_eq!(lab.read(plain), Err(Status::DEVICE_POWER_FAILURE));
    lab.close(twin);
    lab.close(plain);
    lab.ktm.last_handle_closed(tx);
    lab.settle();
    assert_eq!(lab.ktm.phase(tx), Ok(Phase::Aborted));
}

/// txf-ktm §1.6: PREPARE stops serving; what comes later is not part of the commit.
#[test]
fn a_prepared_transaction_takes_no_more_changes() {
    let mut lab = lab();
    let tx = lab.begin();
    let twin = lab.open_in(tx, "f", WRITE | DELETE).unwrap();
    lab.write(twin, 0, b"new").unwrap();
    lab.delete(twin).unwrap();
    lab.ktm.enlist(tx, Participant::Other(1), Mask::RESOURCE_MANAGER).unwrap();
    lab.ktm.commit(tx).unwrap();
    while let Some(delivery) = lab.ktm.next_delivery() {
        let answer = match delivery.participant {
            Participant::Volume(_) => lab.volume.notify(delivery),
            Participant::Other(_) => Answer::Complete,
        };
        if delivery.participant == Participant::Volume(0) && delivery.notification == Mask::PREPARE {
            assert_eq!(lab.write(twin, 0, b"late"), Err(Status::TRANSACTION_NOT_ACTIVE));
            assert_eq!(lab.volume.set_end_of_file(twin, 0), Err(Status::TRANSACTION_NOT_ACTIVE));
            assert_eq!(lab.read(twin).unwrap(), b"new");
            lab.close(twin);
        }
        lab.ktm.answer(delivery, answer);
    }
    assert_eq!(lab.ktm.phase(tx), Ok(Phase::Committed));
    assert_eq!(lab.contents("f").unwrap(), "new", "the late close deletes nothing");
}

/// txf-ktm §4.4: the resource manager was restarted underneath.
#[test]
fn opens_that_outlive_a_restart_of_the_resource_manager_are_expired() {
    let mut lab = lab();
    let tx = lab.begin();
    let twin = lab.open_in(tx, "f", WRITE).unwrap();
    lab.write(twin, 0, b"new").unwrap();
    lab.volume.restart_resource_manager();
    assert_eq!(lab.read(twin), Err(Status::EXPIRED_HANDLE));
    assert_eq!(lab.open_in(tx, "f", READ), Err(Status::TRANSACTION_NOT_ACTIVE));
    assert_eq!(lab.commit(tx), Err(Status::TRANSACTION_ALREADY_ABORTED));
    lab.close(twin);
    assert_eq!(lab.contents("f").unwrap(), "old");
    let next = lab.begin();
    lab.open_in(next, "f", WRITE).unwrap();
}

/// txf-ktm §4.12, §2: transient refusals.
#[test]
fn transacted_opens_are_refused_with_a_planned_status() {
    for status in [Status::CANNOT_ACCEPT_TRANSACTED_WORK, Status::FILE_LOCK_CONFLICT] {
        let mut lab = lab();
        lab.volume.switches.transacted_open = status;
        let tx = lab.begin();
        assert_eq!(lab.open_in(tx, "f", WRITE), Err(status));
        lab.open("f", WRITE).unwrap();
    }
}

#[test]
fn a_planned_failure_of_a_write_writes_nothing_and_happens_once() {
    let mut lab = lab();
    let tx = lab.begin();
    let twin = lab.open_in(tx, "f", WRITE).unwrap();
    lab.volume.fail_write(1, Status::IO_DEVICE_ERROR);
    lab.write(twin, 0, b"1").unwrap();
    assert_eq!(lab.write(twin, 1, b"2"), Err(Status::IO_DEVICE_ERROR));
    lab.write(twin, 2, b"3").unwrap();
    assert_eq!(lab.read(twin).unwrap(), b"1l3");
}

//! Transactions as drivers use them: KTM's routines, transacted opens, notifications.

use std::rc::Rc;

use crate::inside::*;
use crate::made::{Data, Made, Related, filter, note, notes};
use fltkernel::*;
use lab::flt::imports::contexts::*;
use lab::flt::imports::requests::*;
use lab::io::imports::IoGetTransactionParameterBlock;
use lab::ktm::imports::*;
use lab::{CreateOptions, GENERIC_READ, GENERIC_WRITE, Lab, Status};
use lab_nt::TXN_PARAMETER_BLOCK;

/// minifilter-rules §1.5, §1.7; txf-ktm §1.3, §2.
#[test]
fn what_a_transaction_wrote_is_seen_when_it_has_committed() {
    let scene = Scene::new();
    scene.inside(|related| {
        let transaction = create();
        let (status, handle, file) = open_transacted(related, object(transaction));
        assert_eq!(status, 0);
        // SAFETY: a live file object.
        let block = unsafe { IoGetTransactionParameterBlock(file) };
        // SAFETY: the block lives as long as the file object.
        let parameters = unsafe { block.cast::<TXN_PARAMETER_BLOCK>().read_unaligned() };
        assert_eq!(parameters.TransactionObject, object(transaction));
        done_with(handle, file);
        assert_eq!(outcome(transaction), 1);
        // SAFETY: a transaction handle.
        assert_eq!(unsafe { ZwCommitTransaction(transaction, 1) }, 0);
        assert_eq!(outcome(transaction), 2);
        // SAFETY: as above.
        let again = unsafe { ZwCommitTransaction(transaction, 1) };
        assert_eq!(again, Status::TRANSACTION_ALREADY_COMMITTED.0.cast_signed());
        close(transaction);
    });
    assert_eq!(scene.program.contents(r"C:\a").unwrap(), b"DIRTYtted");
    scene.clean();
}

/// txf-ktm §1.5, §2.
#[test]
fn the_last_handle_closed_rolls_back_whatever_references_are_left() {
    let scene = Scene::new();
    scene.inside(|related| {
        let transaction = create();
        let (_, handle, file) = open_transacted(related, object(transaction));
        close(transaction);
        let mut length = 0u32;
        let mut buffer = [0u8; 24];
        // SAFETY: a live file object and a buffer of the length given.
        let status = unsafe {
            FltQueryInformationFile(
                related.Instance,
                file,
                buffer.as_mut_ptr().cast(),
                24,
                5,
                &raw mut length,
            )
        };
        assert_eq!(status, Status::HANDLE_NO_LONGER_VALID.0.cast_signed());
        done_with(handle, file);
    });
    assert_eq!(scene.program.contents(r"C:\a").unwrap(), b"committed");
    scene.clean();
}

#[test]
fn outsiders_are_kept_from_writing_and_see_the_committed_file() {
    let scene = Scene::new();
    scene.inside(|related| {
        let transaction = create();
        let (_, handle, file) = open_transacted(related, object(transaction));
        note(format!("{}", handle.addr()));
        note(format!("{}", file.expose_provenance()));
        note(format!("{transaction}"));
    });
    let kept: Vec<usize> = notes().iter().map(|line| line.parse().unwrap()).collect();
    assert_eq!(scene.program.contents(r"C:\a").unwrap(), b"committed");
    let writer = scene.program.create_file(CreateOptions::open(r"C:\a", GENERIC_READ | GENERIC_WRITE));
    assert_eq!(writer, Err(Status::SHARING_VIOLATION));
    assert_eq!(scene.lab.transactions().len(), 1);
    scene.inside(move |_| {
        done_with(
            std::ptr::with_exposed_provenance_mut(kept[0]),
            std::ptr::with_exposed_provenance_mut(kept[1]),
        );
        // SAFETY: a transaction handle.
        assert_eq!(unsafe { ZwRollbackTransaction(kept[2], 1) }, 0);
        close(kept[2]);
    });
    assert_eq!(scene.program.contents(r"C:\a").unwrap(), b"committed");
    scene.clean();
}

#[test]
fn an_outside_writer_keeps_a_transaction_out() {
    let scene = Scene::new();
    let open = scene.program.create_file(CreateOptions::open(r"C:\a", GENERIC_WRITE)).unwrap();
    scene.inside(|related| {
        let transaction = create();
        let (status, ..) = open_transacted(related, object(transaction));
        assert_eq!(status, Status::TRANSACTIONAL_CONFLICT.0.cast_signed());
        close(transaction);
    });
    scene.program.close(open).unwrap();
    scene.clean();
}

/// txf-ktm §1.7, §3.
#[test]
fn an_enlisted_filter_is_told_how_it_ended() {
    let scene = Scene::new();
    for commit in [true, false] {
        scene.inside(move |related| {
            let transaction = create();
            let mut context = std::ptr::null_mut();
            // SAFETY: live objects; one release for the allocation.
            unsafe {
                assert_eq!(
                    FltAllocateContext(filter(0), FLT_TRANSACTION_CONTEXT, 16, 512, &raw mut context),
                    0
                );
                let set = FltSetTransactionContext(
                    related.Instance,
                    object(transaction),
                    FLT_SET_CONTEXT_KEEP_IF_EXISTS,
                    context,
                    std::ptr::null_mut(),
                );
                assert_eq!(set, 0);
                // COMMIT_FINALIZE and ROLLBACK, as Microsoft's samples do.
                let mask = 0x4000_0008;
                assert_eq!(FltEnlistInTransaction(related.Instance, object(transaction), context, mask), 0);
                let again = FltEnlistInTransaction(related.Instance, object(transaction), context, mask);
                assert_eq!(again, STATUS_FLT_ALREADY_ENLISTED);
                FltReleaseContext(context);
            }
            let (status, handle, file) = open_transacted(related, object(transaction));
            assert_eq!(status, 0);
            done_with(handle, file);
            // SAFETY: a transaction handle.
            let ended = unsafe {
                if commit {
                    ZwCommitTransaction(transaction, 1)
                } else {
                    ZwRollbackTransaction(transaction, 1)
                }
            };
            assert_eq!(ended, 0);
            close(transaction);
        });
        assert_eq!(notes(), [if commit { "told 0x40000000" } else { "told 0x8" }]);
    }
    scene.clean();
}

unsafe extern "win64" fn note_transaction(_: Data, related: Related, _: *mut PVOID) -> i32 {
    // SAFETY: related objects are valid during the callback.
    note(if unsafe { (*related).Transaction }.is_null() { "plain" } else { "transacted" });
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

/// txf-ktm §2, §3.
#[test]
fn a_programs_own_transaction_shows_in_the_related_objects() {
    let lab = Lab::builder().build().unwrap();
    lab.with_volume(|volume| volume.put_file("a", b"committed").unwrap());
    let made = Made::new().on(IRP_MJ_CREATE, Some(note_transaction), None).on(
        IRP_MJ_WRITE,
        Some(note_transaction),
        None,
    );
    made.load::<0>(&lab, "225000").unwrap();
    let program = lab.process("program.exe");
    program.call(|caller| {
        let transaction = caller.create_transaction().unwrap();
        let open = CreateOptions::open(r"C:\a", GENERIC_READ | GENERIC_WRITE).inside(transaction);
        let handle = caller.create_file(&open).unwrap().handle;
        caller.write(handle, lab::Offset::At(0), b"own").unwrap();
        caller.close(handle).unwrap();
        assert_eq!(caller.contents(r"C:\a").unwrap(), b"committed");
        caller.commit_transaction(transaction).unwrap();
        caller.close(transaction).unwrap();
        assert_eq!(caller.contents(r"C:\a").unwrap(), b"ownmitted");
    });
    assert_eq!(notes(), ["transacted", "transacted", "plain", "plain"]);
    program.exit(0);
    let report = lab.unload();
    assert!(report.is_clean(), "{report}");
}

/// txf-ktm §1.3, §1.4.
#[test]
fn a_timeout_rolls_back() {
    let scene = Scene::new();
    let transaction = Rc::new(std::cell::Cell::new(0));
    let slot = transaction.clone();
    scene.inside(move |_| {
        let (status, handle) = create_with(KERNEL_HANDLE, 0x1F_003F, -10_000_000);
        assert_eq!(status, 0);
        slot.set(handle);
    });
    scene.lab.executive().advance(20_000_000).unwrap();
    let handle = transaction.get();
    scene.inside(move |_| {
        assert_eq!(outcome(handle), 3);
        // SAFETY: a transaction handle.
        let late = unsafe { ZwCommitTransaction(handle, 1) };
        assert_eq!(late, Status::TRANSACTION_ALREADY_ABORTED.0.cast_signed());
        close(handle);
    });
    scene.clean();
}

/// txf-ktm §1.1, §1.2.
#[test]
fn arguments_of_a_new_transaction_are_checked() {
    let scene = Scene::new();
    scene.inside(|_| {
        assert_eq!(create_with(KERNEL_HANDLE, 0, 0).0, lab_executive::status::INVALID_PARAMETER);
    });
    assert_eq!(scene.try_inside(|_| assert_eq!(create_with(0, 0x1F_003F, 0).0, 0)), "kernel-handle");
}

#[test]
fn a_transaction_that_is_left_behind_is_named() {
    let scene = Scene::new();
    scene.inside(|_| {
        create();
    });
    scene.program.exit(0);
    let report = scene.lab.unload();
    assert!(report.to_string().contains("transaction 1, neither committed nor rolled back"), "{report}");
}

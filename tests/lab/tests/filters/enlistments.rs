//! Transactions in detail: what their routines tell, take and refuse; filters that follow them.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::inside::*;
use crate::made::{Made, Related, filter, note, notes};
use fltkernel::*;
use lab::flt::imports::contexts::*;
use lab::ktm::imports::*;
use lab::{Lab, Status};
use lab_executive::irql::{self, Irql};
use lab_executive::{Mode, status, with_lab};

const FACTS: &str = include_str!("../../facts/txf-ktm.md");
const ALL_ACCESS: u32 = 0x1F_003F;

fn code(status: Status) -> i32 {
    status.0.cast_signed()
}

/// txf-ktm §1.1: the table, read from the document, against the ceilings that the imports declare.
#[test]
fn the_levels_of_transaction_routines_are_those_of_the_facts() {
    let ceilings: BTreeMap<&str, Irql> =
        lab::loading::tables().into_iter().flatten().map(|import| (import.name, import.ceiling)).collect();
    let section = FACTS.split("### 1.1").nth(1).unwrap().split("### 1.2").next().unwrap();
    let mut compared = 0;
    for row in section.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let level = match cells[3].trim_matches('*') {
            "PASSIVE" => irql::PASSIVE_LEVEL,
            "any" => irql::HIGH_LEVEL,
            "<= DISPATCH" => irql::DISPATCH_LEVEL,
            _ => continue,
        };
        for routine in cells[1].split(", ").map(|name| name.split('(').next().unwrap_or(name)) {
            let Some(own) = ceilings.get(routine) else { continue };
            assert_eq!(irql::name(*own), irql::name(level), "{routine}");
            compared += 1;
        }
    }
    assert!(compared >= 10, "{compared} routines of the table were found");
}

/// txf-ktm §1.1.
#[test]
fn who_does_not_wait_for_the_end_is_told_that_it_is_pending() {
    let scene = Scene::new();
    scene.inside(|_| {
        let ends: [unsafe extern "win64" fn(usize, u8) -> i32; 2] =
            [ZwCommitTransaction, ZwRollbackTransaction];
        for (end, expected) in ends.into_iter().zip([2, 3]) {
            let transaction = create();
            // SAFETY: a transaction handle.
            assert_eq!(unsafe { end(transaction, 0) }, status::PENDING);
            assert_eq!(outcome(transaction), expected);
            close(transaction);
        }
    });
    scene.clean();
}

fn query(handle: usize, class: u32, length: usize) -> (i32, Vec<u8>, u32) {
    let mut buffer = vec![0xEE; length];
    let mut returned = 0;
    // SAFETY: the buffer has the length given.
    let status = unsafe {
        ZwQueryInformationTransaction(handle, class, buffer.as_mut_ptr(), length as u32, &raw mut returned)
    };
    (status, buffer, returned)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// txf-ktm §1.1, §1.2, §1.3: basic and properties, their layouts, and what is refused.
#[test]
fn a_transaction_tells_and_takes_what_its_classes_hold() {
    let scene = Scene::new();
    scene.inside(|_| {
        let transaction = create();
        let mut uow = [0u8; 16];
        // SAFETY: a live transaction object and room for a GUID.
        unsafe { TmGetTransactionId(object(transaction), uow.as_mut_ptr().cast()) };
        let (told, basic, returned) = query(transaction, 0, 24);
        assert_eq!((told, returned), (0, 24));
        assert_eq!(basic[..16], uow);
        assert_eq!((word(&basic, 16), word(&basic, 20)), (1, 1), "Normal, Undetermined");

        // Isolation level and flags, timeout, outcome, length of the description, description.
        let mut properties = vec![0u8; 8];
        properties.extend_from_slice(&(-70_000_000_i64).to_le_bytes());
        properties.extend_from_slice(&0u32.to_le_bytes());
        properties.extend_from_slice(&6u32.to_le_bytes());
        properties.extend("why".encode_utf16().flat_map(u16::to_le_bytes));
        let set = |class: u32, length: usize| {
            // SAFETY: the buffer has at least the length given.
            unsafe { ZwSetInformationTransaction(transaction, class, properties.as_ptr(), length as u32) }
        };
        assert_eq!(set(1, properties.len()), 0);
        assert_eq!(set(0, properties.len()), status::INVALID_INFO_CLASS);
        assert_eq!(set(1, 23), status::INFO_LENGTH_MISMATCH);
        assert_eq!(set(1, 28), status::INVALID_PARAMETER, "a description longer than the buffer");
        let mut odd = properties.clone();
        odd[20] = 5;
        // SAFETY: as above.
        let told = unsafe { ZwSetInformationTransaction(transaction, 1, odd.as_ptr(), odd.len() as u32) };
        assert_eq!(told, status::INVALID_PARAMETER, "half a unit");
        let (told, answer, returned) = query(transaction, 1, 64);
        assert_eq!((told, returned), (0, 30));
        assert_eq!(answer[..16], properties[..16]);
        assert_eq!((word(&answer, 16), word(&answer, 20)), (1, 6));
        assert_eq!(answer[24..30], properties[24..]);
        let (told, cut, returned) = query(transaction, 1, 26);
        assert_eq!((told, returned), (status::BUFFER_OVERFLOW, 30));
        assert_eq!(cut[..26], answer[..26]);
        assert_eq!(query(transaction, 1, 23).0, status::INFO_LENGTH_MISMATCH);
        assert_eq!(query(transaction, 9, 64).0, status::INVALID_INFO_CLASS);
        close(transaction);
    });
    scene.clean();
}

fn open_again(transaction: usize) -> usize {
    let mut uow = [0u8; 16];
    let mut handle = 0;
    let attributes = attributes(std::ptr::null(), KERNEL_HANDLE);
    // SAFETY: pointers to locals of the right types.
    let opened = unsafe {
        TmGetTransactionId(object(transaction), uow.as_mut_ptr().cast());
        let at = &raw const attributes;
        ZwOpenTransaction(&raw mut handle, ALL_ACCESS, at, uow.as_ptr().cast(), 0)
    };
    assert_eq!(opened, 0);
    handle
}

/// txf-ktm §1.1, §1.5, §4.12: any handle ends it, an administrator's as well; the object goes with the last.
#[test]
fn a_transaction_is_ended_through_any_handle_and_by_pointer() {
    let scene = Scene::new();
    scene.inside(|_| {
        for commits in [true, false] {
            for by_pointer in [true, false] {
                let transaction = create();
                let other = open_again(transaction);
                close(transaction);
                // SAFETY: a live handle and its object.
                assert_eq!(unsafe { TmIsTransactionActive(object(other)) }, 1);
                // SAFETY: as above.
                let ended = unsafe {
                    match (commits, by_pointer) {
                        (true, true) => TmCommitTransaction(object(other), 1),
                        (true, false) => ZwCommitTransaction(other, 1),
                        (false, true) => TmRollbackTransaction(object(other), 1),
                        (false, false) => ZwRollbackTransaction(other, 1),
                    }
                };
                assert_eq!(ended, 0);
                assert_eq!(outcome(other), if commits { 2 } else { 3 });
                // SAFETY: as above.
                assert_eq!(unsafe { TmIsTransactionActive(object(other)) }, 0);
                close(other);
            }
        }
    });
    assert!(scene.lab.transactions().is_empty(), "the objects are gone");
    scene.clean();
}

/// txf-ktm §1.2.
#[test]
fn a_new_transaction_is_refused_a_bad_mask_and_a_bad_descriptor() {
    let scene = Scene::new();
    scene.inside(|_| {
        assert_eq!(create_with(KERNEL_HANDLE, 0x0020_0000, 0).0, status::ACCESS_DENIED);
        let mut bad = attributes(std::ptr::null(), KERNEL_HANDLE);
        let descriptor = [7u8; 20];
        bad.SecurityDescriptor = descriptor.as_ptr().cast_mut().cast();
        let mut handle = 0;
        let nothing = std::ptr::null();
        // SAFETY: pointers to locals of the right types, the rest null as documented.
        let refused = unsafe {
            let at = &raw const bad;
            ZwCreateTransaction(
                &raw mut handle,
                ALL_ACCESS,
                at,
                nothing,
                0,
                0,
                0,
                0,
                std::ptr::null(),
                std::ptr::null(),
            )
        };
        assert_eq!(refused, status::INVALID_ACL);
    });
    scene.clean();
}

/// txf-ktm §1.2.
#[test]
fn a_handle_that_is_no_transaction_is_refused() {
    let scene = Scene::new();
    scene.inside(|related| {
        let (_, handle, file) = OwnOpen::new(related, r"\a").open(related);
        // SAFETY: a live handle of another type.
        assert_eq!(unsafe { ZwCommitTransaction(handle.addr(), 1) }, status::OBJECT_TYPE_MISMATCH);
        done_with(handle, file);
        let at = attributes(std::ptr::null(), KERNEL_HANDLE);
        let uow = [9u8; 16];
        let mut opened = 0;
        let mut open = |access: u32, uow: *const u8| {
            // SAFETY: pointers to locals of the right types.
            unsafe { ZwOpenTransaction(&raw mut opened, access, &raw const at, uow.cast(), 0) }
        };
        assert_eq!(open(0, uow.as_ptr()), status::INVALID_PARAMETER);
        assert_eq!(open(ALL_ACCESS, std::ptr::null()), status::INVALID_PARAMETER);
        assert_eq!(open(ALL_ACCESS, uow.as_ptr()), code(Status::TRANSACTION_NOT_FOUND));
    });
    scene.clean();
}

/// txf-ktm §1.3: what the handle of each generic right may do.
#[test]
fn generic_rights_of_transactions_are_mapped() {
    let scene = Scene::new();
    scene.inside(|_| {
        for (asked, granted) in [
            (0x8000_0000, 0x12_0001),
            (0x4000_0000, 0x12_003E),
            (0x2000_0000, 0x12_0018),
            (0x1000_0000, 0x1F_003F),
            (0x8, 0x8),
        ] {
            let (status, handle) = create_with(KERNEL_HANDLE, asked, 0);
            assert_eq!(status, 0);
            let entry = with_lab(|lab| lab.handle(handle, Mode::Kernel)).unwrap();
            assert_eq!(entry.granted, granted, "{asked:#x}");
            close(handle);
        }
    });
    scene.clean();
}

fn context() -> PFLT_CONTEXT {
    let mut context = std::ptr::null_mut();
    // SAFETY: the filter is registered with this type.
    unsafe {
        assert_eq!(FltAllocateContext(filter(0), FLT_TRANSACTION_CONTEXT, 16, 512, &raw mut context), 0)
    };
    context
}

fn set(related: &FLT_RELATED_OBJECTS, transaction: usize, context: PFLT_CONTEXT) -> i32 {
    let keep = FLT_SET_CONTEXT_KEEP_IF_EXISTS;
    let object = object(transaction);
    // SAFETY: live objects.
    unsafe { FltSetTransactionContext(related.Instance, object, keep, context, std::ptr::null_mut()) }
}

/// txf-ktm §3.
#[test]
fn a_transaction_has_one_context_for_each_instance() {
    let scene = Scene::new();
    scene.inside(|related| {
        let (transaction, other) = (create(), create());
        let mut found = std::ptr::null_mut();
        // SAFETY: live objects; what is got is released once.
        let mut get = || unsafe {
            let status = FltGetTransactionContext(related.Instance, object(transaction), &raw mut found);
            (status, found)
        };
        assert_eq!(get(), (status::NOT_FOUND, std::ptr::null_mut()));
        let (first, second) = (context(), context());
        assert_eq!(set(related, transaction, first), 0);
        assert_eq!(set(related, transaction, second), STATUS_FLT_CONTEXT_ALREADY_DEFINED);
        assert_eq!(set(related, other, first), STATUS_FLT_CONTEXT_ALREADY_LINKED);
        assert_eq!(get(), (0, first));
        // SAFETY: as above.
        unsafe {
            FltReleaseContext(first);
            let delete =
                || FltDeleteTransactionContext(related.Instance, object(transaction), std::ptr::null_mut());
            assert_eq!(delete(), 0);
            assert_eq!(delete(), status::NOT_FOUND);
            FltReleaseContext(first);
            FltReleaseContext(second);
        }
        close(transaction);
        close(other);
    });
    scene.clean();
}

fn enlist(related: &FLT_RELATED_OBJECTS, transaction: usize, context: PFLT_CONTEXT, mask: u32) -> i32 {
    // SAFETY: live objects.
    unsafe { FltEnlistInTransaction(related.Instance, object(transaction), context, mask) }
}

/// txf-ktm §3.
#[test]
fn enlisting_is_refused_with_the_documented_statuses() {
    const INVALID_PARAMETER_4: i32 = 0xC000_00F2_u32.cast_signed();
    let scene = Scene::new();
    scene.inside(|related| {
        let transaction = create();
        let own = context();
        assert_eq!(enlist(related, transaction, own, 0x8), status::NOT_FOUND, "not set");
        assert_eq!(set(related, transaction, own), 0);
        for mask in [0, 0x10, 0x4000_0108] {
            assert_eq!(enlist(related, transaction, own, mask), INVALID_PARAMETER_4, "{mask:#x}");
        }
        assert_eq!(enlist(related, transaction, own, 0x4000_000F), 0);
        // SAFETY: a reference of the allocation.
        unsafe { FltReleaseContext(own) };
        close(transaction);
    });
    assert_eq!(notes(), ["told 0x8"]);
    scene.clean();
    let silent = Scene::of(Lab::builder(), |mut made| {
        made.registration.TransactionNotificationCallback = None;
        made
    });
    silent.inside(|related| {
        let transaction = create();
        let own = context();
        assert_eq!(set(related, transaction, own), 0);
        assert_eq!(enlist(related, transaction, own, 0x8), status::INVALID_PARAMETER);
        // SAFETY: as above.
        unsafe { FltReleaseContext(own) };
        close(transaction);
    });
    silent.clean();
}

fn enlisted(related: &FLT_RELATED_OBJECTS, mask: u32) -> (usize, PFLT_CONTEXT) {
    let transaction = create();
    let own = context();
    assert_eq!(set(related, transaction, own), 0);
    assert_eq!(enlist(related, transaction, own, mask), 0);
    (transaction, own)
}

/// txf-ktm §3.
#[test]
fn an_enlistment_rolls_back_its_transaction_while_that_is_possible() {
    let scene = Scene::new();
    scene.inside(|related| {
        let roll_back = |transaction: usize, context: PFLT_CONTEXT| {
            // SAFETY: live objects.
            unsafe { FltRollbackEnlistment(related.Instance, object(transaction), context) }
        };
        let plain = create();
        assert_eq!(roll_back(plain, std::ptr::null_mut()), status::NOT_FOUND);
        close(plain);
        let (transaction, own) = enlisted(related, 0x8);
        assert_eq!(roll_back(transaction, own), 0);
        assert_eq!(outcome(transaction), 3);
        // SAFETY: a reference of the allocation.
        unsafe { FltReleaseContext(own) };
        close(transaction);
    });
    assert_eq!(notes(), ["told 0x8"]);
    scene.clean();
}

thread_local! {
    static PENDED: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

unsafe extern "win64" fn later(related: Related, _: PFLT_CONTEXT, what: u32) -> NTSTATUS {
    note(format!("told {what:#x}"));
    // SAFETY: related objects are valid during the callback.
    let (instance, transaction) = unsafe { ((*related).Instance, (*related).Transaction) };
    PENDED.set((instance.expose_provenance(), transaction.expose_provenance()));
    status::PENDING
}

/// txf-ktm §3: PENDING holds the commit or the rollback until FltCommitComplete or FltRollbackComplete.
#[test]
fn a_notification_that_pends_holds_up_the_end_until_it_is_completed() {
    for (mask, commits) in [(0x4, true), (0x8, false)] {
        let scene = Scene::of(Lab::builder(), |mut made: Made| {
            made.registration.TransactionNotificationCallback = Some(later);
            made
        });
        let kept = Rc::new(Cell::new(0));
        let slot = kept.clone();
        scene.inside(move |related| {
            let (transaction, own) = enlisted(related, mask);
            // SAFETY: a reference of the allocation; a transaction handle.
            unsafe {
                FltReleaseContext(own);
                let end = if commits { ZwCommitTransaction } else { ZwRollbackTransaction };
                assert_eq!(end(transaction, 0), status::PENDING);
            }
            assert_eq!(outcome(transaction), if commits { 2 } else { 3 });
            slot.set(transaction);
        });
        assert_eq!(notes(), [format!("told {mask:#x}")]);
        let phase = |scene: &Scene| scene.lab.transactions()[0].phase.unwrap();
        assert!(!phase(&scene).is_over(), "{:?}", phase(&scene));
        let handle = kept.get();
        scene.inside(move |_| {
            let (instance, transaction) = PENDED.get();
            let instance = std::ptr::with_exposed_provenance_mut(instance);
            let transaction = std::ptr::with_exposed_provenance_mut(transaction);
            let (right, wrong) = if commits { (0, 1) } else { (1, 0) };
            let answers: [unsafe extern "win64" fn(PFLT_INSTANCE, PKTRANSACTION, PFLT_CONTEXT) -> i32; 2] =
                [FltCommitComplete, FltRollbackComplete];
            let _ = wrong;
            // SAFETY: the instance is attached and the transaction has a handle.
            unsafe { assert_eq!(answers[right](instance, transaction, std::ptr::null_mut()), 0) };
            close(handle);
        });
        assert!(scene.lab.transactions().is_empty());
        scene.clean();
    }
}

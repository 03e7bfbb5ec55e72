//! The transaction routines of `ntoskrnl.exe`.

use core::ffi::c_void;

use lab_executive::import::{Failure, Fidelity, Import, Target};
use lab_executive::imports;
use lab_executive::irql::PASSIVE_LEVEL;
use lab_executive::{Lab, Mode, status};
use lab_nt::{GUID, OBJECT_ATTRIBUTES};
use lab_volume::{CreateTransaction, Guid, Wide};

use super::{arm_timer, commit, rollback, transaction_at, transaction_of_handle, with_ktm};
use crate::memory;
use crate::rooms::Rooms;

const OBJ_KERNEL_HANDLE: u32 = 0x200;
const BASIC: u32 = 0;
const PROPERTIES: u32 = 1;
/// Bits of an access mask that no right has.
const TRANSACTION_RESERVED_RIGHTS: u32 = 0x0CE0_0000;

fn guid_at(at: *const GUID) -> Option<Guid> {
    (!at.is_null()).then(|| {
        let bytes = memory::bytes(at.cast(), 16);
        Guid(std::array::from_fn(|index| bytes[index]))
    })
}

/// Checks that a handle made in a program's context is a kernel handle (txf-ktm §1.1).
fn attributes_of(lab: &Lab, attributes: *const OBJECT_ATTRIBUTES) -> Option<OBJECT_ATTRIBUTES> {
    let value = (!attributes.is_null()).then(|| memory::read(attributes));
    let kernel = value.is_some_and(|value| value.Attributes & OBJ_KERNEL_HANDLE != 0);
    let in_system = lab.thread().process().is_some_and(|process| process.id == 4);
    if !kernel && !in_system {
        lab.report(
            "kernel-handle",
            "txf-ktm §1.1: outside system threads OBJ_KERNEL_HANDLE must be set",
            "opens a transaction handle that the running program could use",
        );
    }
    value
}

fn timeout_at(at: *const i64) -> i64 {
    if at.is_null() { 0 } else { memory::read(at) }
}

fn describe(lab: &Lab, id: lab_volume::TxId, class: u32) -> Result<Vec<u8>, i32> {
    let failed = |status: lab_volume::Status| status.0.cast_signed();
    with_ktm(lab, |ktm| match class {
        BASIC => {
            let (state, outcome) = ktm.basic(id).map_err(failed)?;
            let mut bytes = ktm.uow(id).map_err(failed)?.0.to_vec();
            bytes.extend_from_slice(&(state as u32).to_le_bytes());
            bytes.extend_from_slice(&(outcome as u32).to_le_bytes());
            Ok(bytes)
        }
        PROPERTIES => {
            let own = ktm.properties(id).map_err(failed)?;
            let mut bytes = vec![0; 8];
            bytes.extend_from_slice(&own.timeout.to_le_bytes());
            bytes.extend_from_slice(&(own.outcome as u32).to_le_bytes());
            bytes.extend_from_slice(&((own.description.0.len() * 2) as u32).to_le_bytes());
            bytes.extend(own.description.0.iter().flat_map(|unit| unit.to_le_bytes()));
            Ok(bytes)
        }
        _ => Err(status::INVALID_INFO_CLASS),
    })
}

imports! {
    /// KTM's routines.
    pub static KTM in "ntoskrnl.exe";

    /// Makes a transaction and a handle to it.
    [ceiling: PASSIVE_LEVEL, Approximated("no transaction managers but the volume's own; without a descriptor none is taken from the token"), fails: Status(0xC000_009A, 0xC000_0022, 0xC019_0021), source: "txf-ktm §1.1, §1.2"]
    fn ZwCreateTransaction(
        lab; handle: *mut usize, access: u32, attributes: *const OBJECT_ATTRIBUTES, uow: *const GUID, tm: usize,
        options: u32, isolation_level: u32, isolation_flags: u32, timeout: *const i64,
        description: *const fltkernel::UNICODE_STRING,
    ) -> i32 {
        let attributes = attributes_of(lab, attributes);
        if access == 0 || tm != 0 {
            return status::INVALID_PARAMETER;
        }
        if access & TRANSACTION_RESERVED_RIGHTS != 0 {
            return status::ACCESS_DENIED;
        }
        let descriptor = attributes.map_or(std::ptr::null(), |value| value.SecurityDescriptor.cast_const());
        let security = if descriptor.is_null() {
            None
        } else {
            match crate::io::file_system::self_relative(descriptor.cast()) {
                Some(security) if lab_volume::is_descriptor(&security) => Some(security),
                _ => return status::INVALID_ACL,
            }
        };
        let request = CreateTransaction {
            uow: guid_at(uow),
            options,
            isolation_level,
            isolation_flags,
            timeout: timeout_at(timeout),
            description: Wide(memory::units_at(description)),
        };
        match super::create(lab, request, security) {
            Ok(body) => {
                let granted = lab.ktm().kind().map_generic(access);
                let kernel = attributes.is_some_and(|value| value.Attributes & OBJ_KERNEL_HANDLE != 0);
                let process = lab.thread().process();
                let opened = lab.open_handle(if kernel { None } else { process.as_ref() }, body, granted, false);
                lab.objects.dereference(lab, body);
                memory::write(handle, opened);
                status::SUCCESS
            }
            Err(status) => status.0.cast_signed(),
        }
    }

    /// Opens a transaction by its unit of work.
    [ceiling: PASSIVE_LEVEL, Modelled, fails: Status, source: "txf-ktm §1.1, §1.2"]
    fn ZwOpenTransaction(
        lab; handle: *mut usize, access: u32, attributes: *const OBJECT_ATTRIBUTES, uow: *const GUID, tm: usize,
    ) -> i32 {
        let attributes = attributes_of(lab, attributes);
        let Some(uow) = guid_at(uow) else { return status::INVALID_PARAMETER };
        if access == 0 || tm != 0 {
            return status::INVALID_PARAMETER;
        }
        let id = match with_ktm(lab, |ktm| ktm.open(uow)) {
            Ok(id) => id,
            Err(status) => return status.0.cast_signed(),
        };
        let Some(body) = lab.ktm().body(id) else {
            return lab_volume::Status::TRANSACTION_NOT_FOUND.0.cast_signed();
        };
        let granted = lab.ktm().kind().map_generic(access);
        let kernel = attributes.is_some_and(|value| value.Attributes & OBJ_KERNEL_HANDLE != 0);
        let process = lab.thread().process();
        memory::write(handle, lab.open_handle(if kernel { None } else { process.as_ref() }, body, granted, false));
        status::SUCCESS
    }

    /// Commits.
    [ceiling: PASSIVE_LEVEL, Approximated("Wait = FALSE delivers in the caller's thread before it returns"), fails: Status(0xC019_0003, 0xC019_0015, 0xC000_0022), source: "txf-ktm §1.1, §1.2"]
    fn ZwCommitTransaction(lab; handle: usize, wait: u8) -> i32 {
        match transaction_of_handle(lab, handle, Mode::Kernel) {
            Ok(transaction) => commit(lab, transaction.id, wait != 0),
            Err(status) => status,
        }
    }

    /// Rolls back.
    [ceiling: PASSIVE_LEVEL, Switch("KtmSwitches::rollback_after_abort"), fails: Status(0xC019_0003, 0xC019_0014, 0xC000_0022), source: "txf-ktm §1.1, §1.2"]
    fn ZwRollbackTransaction(lab; handle: usize, wait: u8) -> i32 {
        match transaction_of_handle(lab, handle, Mode::Kernel) {
            Ok(transaction) => rollback(lab, transaction.id, wait != 0),
            Err(status) => status,
        }
    }

    /// Basic and Properties.
    [ceiling: PASSIVE_LEVEL, Approximated("the Enlistment class is refused"), fails: Status(0xC000_0022, 0xC000_000D), source: "txf-ktm §1.1, §1.3"]
    fn ZwQueryInformationTransaction(lab; handle: usize, class: u32, buffer: *mut u8, length: u32, returned: *mut u32) -> i32 {
        let transaction = match transaction_of_handle(lab, handle, Mode::Kernel) {
            Ok(transaction) => transaction,
            Err(status) => return status,
        };
        let answer = match describe(lab, transaction.id, class) {
            Ok(answer) => answer,
            Err(status) => return status,
        };
        if (length as usize) < 24 {
            return status::INFO_LENGTH_MISMATCH;
        }
        memory::write_optional(returned, answer.len() as u32);
        let fits = answer.len().min(length as usize);
        memory::fill(buffer, &answer[..fits]);
        if fits < answer.len() { status::BUFFER_OVERFLOW } else { status::SUCCESS }
    }

    /// Properties: timeout and description.
    [ceiling: PASSIVE_LEVEL, Modelled, fails: Status, source: "txf-ktm §1.1"]
    fn ZwSetInformationTransaction(lab; handle: usize, class: u32, buffer: *const u8, length: u32) -> i32 {
        let transaction = match transaction_of_handle(lab, handle, Mode::Kernel) {
            Ok(transaction) => transaction,
            Err(status) => return status,
        };
        if class != PROPERTIES {
            return status::INVALID_INFO_CLASS;
        }
        if length < 24 {
            return status::INFO_LENGTH_MISMATCH;
        }
        let timeout: i64 = memory::read(buffer.wrapping_add(8).cast());
        let bytes: u32 = memory::read(buffer.wrapping_add(20).cast());
        if bytes > length - 24 || !bytes.is_multiple_of(2) {
            return status::INVALID_PARAMETER;
        }
        let description = memory::bytes(buffer.wrapping_add(24), bytes as usize);
        let units = description.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        match with_ktm(lab, |ktm| ktm.set_properties(transaction.id, timeout, Wide(units))) {
            Ok(()) => {
                arm_timer(lab);
                status::SUCCESS
            }
            Err(status) => status.0.cast_signed(),
        }
    }

    /// As ZwCommitTransaction, by pointer.
    [ceiling: PASSIVE_LEVEL, Modelled, fails: Status, source: "txf-ktm §1.1"]
    fn TmCommitTransaction(lab; transaction: *mut c_void, wait: u8) -> i32 {
        commit(lab, transaction_at(lab, transaction).id, wait != 0)
    }

    /// As ZwRollbackTransaction, by pointer.
    [ceiling: PASSIVE_LEVEL, Switch("KtmSwitches::rollback_after_abort"), fails: Status, source: "txf-ktm §1.1"]
    fn TmRollbackTransaction(lab; transaction: *mut c_void, wait: u8) -> i32 {
        rollback(lab, transaction_at(lab, transaction).id, wait != 0)
    }

    /// The unit of work.
    [ceiling: HIGH_LEVEL, Modelled, source: "txf-ktm §1.1"]
    fn TmGetTransactionId(lab; transaction: *mut c_void, uow: *mut GUID) -> () {
        let transaction = transaction_at(lab, transaction);
        if let Ok(own) = with_ktm(lab, |ktm| ktm.uow(transaction.id)) {
            memory::fill(uow.cast(), &own.0);
        }
    }

    /// Created and not yet in pre-prepare.
    [ceiling: HIGH_LEVEL, Modelled, source: "txf-ktm §1.1"]
    fn TmIsTransactionActive(lab; transaction: *mut c_void) -> u8 {
        let transaction = transaction_at(lab, transaction);
        u8::from(with_ktm(lab, |ktm| ktm.is_active(transaction.id)))
    }
}

/// `TmTransactionObjectType`: a variable that holds the type's address.
pub static TRANSACTION_TYPE: Import = Import {
    module: "ntoskrnl.exe",
    name: "TmTransactionObjectType",
    target: Target::Data(|lab| lab.ktm().kind().variable.cast()),
    floor: PASSIVE_LEVEL,
    ceiling: lab_executive::irql::HIGH_LEVEL,
    fidelity: Fidelity::Modelled,
    failure: Failure::Never,
    failures: &[],
    source: "txf-ktm §1.1",
};

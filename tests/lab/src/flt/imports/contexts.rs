//! Contexts and transaction enlistments.

use std::rc::Rc;

use fltkernel::*;
use lab_executive::imports;
use lab_executive::{Lab, status};

use crate::flt::contexts::Key;
use crate::flt::transactions;
use crate::io::file::File;
use crate::memory;
use crate::rooms::Rooms;

/// The open file object that contexts can hang on; `None` if it is not opened, or closed.
fn open_file(lab: &Lab, file: PFILE_OBJECT) -> Option<Rc<File>> {
    let file = lab.io().file(lab, file);
    let supports = file.open.get().is_some() && file.fcb.borrow().is_some();
    supports.then_some(file)
}

fn handle_key(lab: &Lab, instance: PFLT_INSTANCE, file: PFILE_OBJECT) -> Option<Key> {
    let instance = lab.flt().instance(lab, instance).address;
    open_file(lab, file).map(|file| Key::StreamHandle { open: file.number, instance })
}

fn stream_key(lab: &Lab, instance: PFLT_INSTANCE, file: PFILE_OBJECT) -> Option<Key> {
    let instance = lab.flt().instance(lab, instance).address;
    let file = open_file(lab, file)?;
    let stream = file.fcb.borrow().as_ref().map(|fcb| fcb.number)?;
    Some(Key::Stream { stream, instance })
}

fn file_key(lab: &Lab, instance: PFLT_INSTANCE, file: PFILE_OBJECT) -> Option<Key> {
    let instance = lab.flt().instance(lab, instance).address;
    let file = open_file(lab, file)?;
    file.id.get().map(|id| Key::File { file: id.0, instance })
}

fn instance_key(lab: &Lab, instance: PFLT_INSTANCE) -> Key {
    Key::Instance { instance: lab.flt().instance(lab, instance).address }
}

fn transaction_key(lab: &Lab, instance: PFLT_INSTANCE, transaction: PKTRANSACTION) -> Key {
    let instance = lab.flt().instance(lab, instance).address;
    Key::Transaction { transaction: crate::ktm::transaction_at(lab, transaction).id.0, instance }
}

type Operation = FLT_SET_CONTEXT_OPERATION;

fn set(lab: &Lab, key: Option<Key>, operation: Operation, new: PFLT_CONTEXT, old: *mut PFLT_CONTEXT) -> i32 {
    match key {
        Some(key) => lab.flt().contexts.set(lab, key, operation, new.addr(), old),
        None => status::NOT_SUPPORTED,
    }
}

fn get(lab: &Lab, key: Option<Key>, out: *mut PFLT_CONTEXT) -> i32 {
    match key {
        Some(key) => lab.flt().contexts.get(key, out),
        None => {
            memory::write(out, std::ptr::null_mut());
            status::NOT_SUPPORTED
        }
    }
}

fn delete(lab: &Lab, key: Option<Key>, old: *mut PFLT_CONTEXT) -> i32 {
    match key {
        Some(key) => lab.flt().contexts.delete(lab, key, old),
        None => status::NOT_SUPPORTED,
    }
}

fn supports(lab: &Lab, file: PFILE_OBJECT) -> BOOLEAN {
    u8::from(
        lab.io().try_file(file).is_some_and(|file| file.open.get().is_some() && file.fcb.borrow().is_some()),
    )
}

imports! {
    /// Contexts and transaction enlistments.
    pub static CONTEXTS in "FLTMGR.SYS";

    /// Allocates a context of a registered type and size; one reference.
    [ceiling: APC_LEVEL, Modelled, fails: Status(0xC000_009A, 0xC01C_000B), source: "minifilter-rules §3.1"]
    fn FltAllocateContext(lab; Filter: PFLT_FILTER, ContextType: u16, ContextSize: usize, PoolType: i32, ReturnedContext: *mut PFLT_CONTEXT) -> NTSTATUS {
        let flt = lab.flt();
        let filter = flt.filter(lab, Filter);
        memory::write(ReturnedContext, std::ptr::null_mut());
        match flt.contexts.allocate(lab, &filter, ContextType, ContextSize, PoolType) {
            Ok(address) => {
                memory::write(ReturnedContext, std::ptr::with_exposed_provenance_mut(address));
                status::SUCCESS
            }
            Err(status) => status,
        }
    }

    /// Adds a reference.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "minifilter-rules §2.6, §3.1"]
    fn FltReferenceContext(lab; Context: PFLT_CONTEXT) { lab.flt().contexts.reference(lab, Context.addr()) }

    /// Gives a reference back; the last one frees.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "minifilter-rules §2.6, §3.1"]
    fn FltReleaseContext(lab; Context: PFLT_CONTEXT) { lab.flt().contexts.release(lab, Context.addr()) }

    /// Takes a context off its object.
    [ceiling: APC_LEVEL, Modelled, source: "minifilter-rules §3.1"]
    fn FltDeleteContext(lab; Context: PFLT_CONTEXT) { lab.flt().contexts.delete_this(lab, Context.addr()) }

    /// Sets the context of an instance.
    [ceiling: APC_LEVEL, Modelled, fails: Status(0xC01C_0002, 0xC01C_000B), source: "minifilter-rules §3.1"]
    fn FltSetInstanceContext(lab; Instance: PFLT_INSTANCE, Operation: FLT_SET_CONTEXT_OPERATION, NewContext: PFLT_CONTEXT, OldContext: *mut PFLT_CONTEXT) -> NTSTATUS {
        set(lab, Some(instance_key(lab, Instance)), Operation, NewContext, OldContext)
    }

    /// Gets it, referenced.
    [ceiling: APC_LEVEL, Modelled, source: "minifilter-rules §3.1"]
    fn FltGetInstanceContext(lab; Instance: PFLT_INSTANCE, Context: *mut PFLT_CONTEXT) -> NTSTATUS {
        get(lab, Some(instance_key(lab, Instance)), Context)
    }

    /// Takes it off.
    [ceiling: APC_LEVEL, Modelled, source: "minifilter-rules §3.1"]
    fn FltDeleteInstanceContext(lab; Instance: PFLT_INSTANCE, OldContext: *mut PFLT_CONTEXT) -> NTSTATUS {
        delete(lab, Some(instance_key(lab, Instance)), OldContext)
    }

    /// Sets a filter's context of the volume.
    [ceiling: APC_LEVEL, Modelled, fails: Status, source: "minifilter-rules §3.1"]
    fn FltSetVolumeContext(lab; Volume: PFLT_VOLUME, Operation: FLT_SET_CONTEXT_OPERATION, NewContext: PFLT_CONTEXT, OldContext: *mut PFLT_CONTEXT) -> NTSTATUS {
        let flt = lab.flt();
        let mount = flt.mount(lab, Volume);
        let filter = flt.contexts.filter_of(lab, NewContext.addr());
        set(lab, Some(Key::Volume { filter, mount }), Operation, NewContext, OldContext)
    }

    /// Gets it, referenced.
    [ceiling: APC_LEVEL, Modelled, source: "minifilter-rules §3.1"]
    fn FltGetVolumeContext(lab; Filter: PFLT_FILTER, Volume: PFLT_VOLUME, Context: *mut PFLT_CONTEXT) -> NTSTATUS {
        let flt = lab.flt();
        let (filter, mount) = (flt.filter(lab, Filter).address, flt.mount(lab, Volume));
        get(lab, Some(Key::Volume { filter, mount }), Context)
    }

    /// Takes it off.
    [ceiling: APC_LEVEL, Modelled, source: "minifilter-rules §3.1"]
    fn FltDeleteVolumeContext(lab; Filter: PFLT_FILTER, Volume: PFLT_VOLUME, OldContext: *mut PFLT_CONTEXT) -> NTSTATUS {
        let flt = lab.flt();
        let (filter, mount) = (flt.filter(lab, Filter).address, flt.mount(lab, Volume));
        delete(lab, Some(Key::Volume { filter, mount }), OldContext)
    }

    /// Sets the context of a file.
    [ceiling: APC_LEVEL, Modelled, fails: Status, source: "minifilter-rules §3.1"]
    fn FltSetFileContext(lab; Instance: PFLT_INSTANCE, FileObject: PFILE_OBJECT, Operation: FLT_SET_CONTEXT_OPERATION, NewContext: PFLT_CONTEXT, OldContext: *mut PFLT_CONTEXT) -> NTSTATUS {
        set(lab, file_key(lab, Instance, FileObject), Operation, NewContext, OldContext)
    }

    /// Gets it, referenced.
    [ceiling: APC_LEVEL, Modelled, source: "minifilter-rules §3.1"]
    fn FltGetFileContext(lab; Instance: PFLT_INSTANCE, FileObject: PFILE_OBJECT, Context: *mut PFLT_CONTEXT) -> NTSTATUS {
        get(lab, file_key(lab, Instance, FileObject), Context)
    }

    /// Takes it off.
    [ceiling: APC_LEVEL, Modelled, source: "minifilter-rules §3.1"]
    fn FltDeleteFileContext(lab; Instance: PFLT_INSTANCE, FileObject: PFILE_OBJECT, OldContext: *mut PFLT_CONTEXT) -> NTSTATUS {
        delete(lab, file_key(lab, Instance, FileObject), OldContext)
    }

    /// Sets the context of a stream.
    [ceiling: APC_LEVEL, Approximated("a transaction's view of a stream has contexts of its own"), fails: Status, source: "minifilter-rules §3.1"]
    fn FltSetStreamContext(lab; Instance: PFLT_INSTANCE, FileObject: PFILE_OBJECT, Operation: FLT_SET_CONTEXT_OPERATION, NewContext: PFLT_CONTEXT, OldContext: *mut PFLT_CONTEXT) -> NTSTATUS {
        set(lab, stream_key(lab, Instance, FileObject), Operation, NewContext, OldContext)
    }

    /// Gets it, referenced.
    [ceiling: APC_LEVEL, Approximated("a transaction's view of a stream has contexts of its own"), source: "minifilter-rules §3.1"]
    fn FltGetStreamContext(lab; Instance: PFLT_INSTANCE, FileObject: PFILE_OBJECT, Context: *mut PFLT_CONTEXT) -> NTSTATUS {
        get(lab, stream_key(lab, Instance, FileObject), Context)
    }

    /// Takes it off.
    [ceiling: APC_LEVEL, Approximated("a transaction's view of a stream has contexts of its own"), source: "minifilter-rules §3.1"]
    fn FltDeleteStreamContext(lab; Instance: PFLT_INSTANCE, FileObject: PFILE_OBJECT, OldContext: *mut PFLT_CONTEXT) -> NTSTATUS {
        delete(lab, stream_key(lab, Instance, FileObject), OldContext)
    }

    /// Sets the context of an open.
    [ceiling: APC_LEVEL, Modelled, fails: Status(0xC01C_0002, 0xC01C_000B, 0xC000_00BB), source: "minifilter-rules §3.1"]
    fn FltSetStreamHandleContext(lab; Instance: PFLT_INSTANCE, FileObject: PFILE_OBJECT, Operation: FLT_SET_CONTEXT_OPERATION, NewContext: PFLT_CONTEXT, OldContext: *mut PFLT_CONTEXT) -> NTSTATUS {
        set(lab, handle_key(lab, Instance, FileObject), Operation, NewContext, OldContext)
    }

    /// Gets it, referenced.
    [ceiling: APC_LEVEL, Modelled, source: "minifilter-rules §3.1"]
    fn FltGetStreamHandleContext(lab; Instance: PFLT_INSTANCE, FileObject: PFILE_OBJECT, Context: *mut PFLT_CONTEXT) -> NTSTATUS {
        get(lab, handle_key(lab, Instance, FileObject), Context)
    }

    /// Takes it off.
    [ceiling: APC_LEVEL, Modelled, source: "minifilter-rules §3.1"]
    fn FltDeleteStreamHandleContext(lab; Instance: PFLT_INSTANCE, FileObject: PFILE_OBJECT, OldContext: *mut PFLT_CONTEXT) -> NTSTATUS {
        delete(lab, handle_key(lab, Instance, FileObject), OldContext)
    }

    /// Sets the context of a transaction.
    [ceiling: APC_LEVEL, Modelled, fails: Status, source: "txf-ktm §3"]
    fn FltSetTransactionContext(lab; Instance: PFLT_INSTANCE, Transaction: PKTRANSACTION, Operation: FLT_SET_CONTEXT_OPERATION, NewContext: PFLT_CONTEXT, OldContext: *mut PFLT_CONTEXT) -> NTSTATUS {
        set(lab, Some(transaction_key(lab, Instance, Transaction)), Operation, NewContext, OldContext)
    }

    /// Gets it, referenced.
    [ceiling: APC_LEVEL, Modelled, source: "txf-ktm §3"]
    fn FltGetTransactionContext(lab; Instance: PFLT_INSTANCE, Transaction: PKTRANSACTION, Context: *mut PFLT_CONTEXT) -> NTSTATUS {
        get(lab, Some(transaction_key(lab, Instance, Transaction)), Context)
    }

    /// Takes it off.
    [ceiling: APC_LEVEL, Modelled, source: "txf-ktm §3"]
    fn FltDeleteTransactionContext(lab; Instance: PFLT_INSTANCE, Transaction: PKTRANSACTION, OldContext: *mut PFLT_CONTEXT) -> NTSTATUS {
        delete(lab, Some(transaction_key(lab, Instance, Transaction)), OldContext)
    }

    /// Asks to be told of a transaction's phases.
    [ceiling: APC_LEVEL, Modelled, fails: Status, source: "txf-ktm §1.7, §3"]
    fn FltEnlistInTransaction(lab; Instance: PFLT_INSTANCE, Transaction: PKTRANSACTION, TransactionContext: PFLT_CONTEXT, NotificationMask: u32) -> NTSTATUS {
        let instance = lab.flt().instance(lab, Instance);
        transactions::enlist(lab, &instance, Transaction, TransactionContext, NotificationMask)
    }

    /// Rolls the transaction back.
    [ceiling: APC_LEVEL, Modelled, fails: Status, source: "txf-ktm §3"]
    fn FltRollbackEnlistment(lab; Instance: PFLT_INSTANCE, Transaction: PKTRANSACTION, TransactionContext: PFLT_CONTEXT) -> NTSTATUS {
        let _ = TransactionContext;
        let instance = lab.flt().instance(lab, Instance);
        transactions::rollback(lab, &instance, Transaction)
    }

    /// Answers a pended COMMIT.
    [ceiling: PASSIVE_LEVEL, Modelled, fails: Status, source: "txf-ktm §3"]
    fn FltCommitComplete(lab; Instance: PFLT_INSTANCE, Transaction: PKTRANSACTION, TransactionContext: PFLT_CONTEXT) -> NTSTATUS {
        let _ = TransactionContext;
        let instance = lab.flt().instance(lab, Instance);
        transactions::complete(lab, &instance, Transaction, lab_volume::Mask::COMMIT)
    }

    /// Answers a pended ROLLBACK.
    [ceiling: PASSIVE_LEVEL, Modelled, fails: Status, source: "txf-ktm §3"]
    fn FltRollbackComplete(lab; Instance: PFLT_INSTANCE, Transaction: PKTRANSACTION, TransactionContext: PFLT_CONTEXT) -> NTSTATUS {
        let _ = TransactionContext;
        let instance = lab.flt().instance(lab, Instance);
        transactions::complete(lab, &instance, Transaction, lab_volume::Mask::ROLLBACK)
    }

    /// Whether a file object can have a stream handle context now.
    [ceiling: APC_LEVEL, Modelled, source: "minifilter-rules §3.1"]
    fn FltSupportsStreamHandleContexts(lab; FileObject: PFILE_OBJECT) -> BOOLEAN { supports(lab, FileObject) }

    /// Whether its stream can have a context now.
    [ceiling: APC_LEVEL, Modelled, source: "minifilter-rules §3.1"]
    fn FltSupportsStreamContexts(lab; FileObject: PFILE_OBJECT) -> BOOLEAN { supports(lab, FileObject) }

    /// Whether its file can have a context now.
    [ceiling: APC_LEVEL, Modelled, source: "minifilter-rules §3.1"]
    fn FltSupportsFileContexts(lab; FileObject: PFILE_OBJECT) -> BOOLEAN { supports(lab, FileObject) }
}

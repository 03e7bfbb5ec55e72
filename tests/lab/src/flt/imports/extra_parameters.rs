//! Extra create parameters.

use std::rc::Rc;

use fltkernel::*;
use lab_executive::{Lab, imports, status};

use crate::flt::extra_parameters::{CHARGE_QUOTA, NONPAGED_POOL, Parameter, type_at};
use crate::flt::request::Form;
use crate::io::create::CreatePacket;
use crate::memory;
use crate::rooms::Rooms;

/// What belongs to the create behind callback data, if it is one. What opens a file without an IRP is none.
fn create_of(lab: &Lab, data: *const FLT_CALLBACK_DATA) -> Option<Rc<CreatePacket>> {
    let request = lab.flt().request_of(lab, data);
    request.create.clone().filter(|_| request.form == Form::Irp)
}

fn check_flags(lab: &Lab, flags: u32, known: u32) {
    if flags & !known != 0 {
        lab.report("bad-parameter", "minifilter-rules §1.10", format!("there are no flags {flags:#x}"));
    }
}

/// Tells what was found, or that there is none.
fn tell(found: Option<&Parameter>, context: *mut PVOID, size: *mut u32) -> i32 {
    let address = found.map_or(0, |found| found.address);
    memory::write_optional(context, std::ptr::with_exposed_provenance_mut(address));
    memory::write_optional(size, found.map_or(0, |found| found.size));
    if found.is_some() { status::SUCCESS } else { status::NOT_FOUND }
}

imports! {
    /// Extra create parameters.
    pub static EXTRA_PARAMETERS in "FLTMGR.SYS";

    /// The create's list, or null.
    [ceiling: APC_LEVEL, Approximated("the system adds no ECPs of its own"), source: "minifilter-rules §1.3, §1.10, §2.6"]
    fn FltGetEcpListFromCallbackData(lab; Filter: PFLT_FILTER, CallbackData: *mut FLT_CALLBACK_DATA, EcpList: *mut PECP_LIST) -> NTSTATUS {
        lab.flt().filter(lab, Filter);
        memory::write(EcpList, std::ptr::null_mut());
        match create_of(lab, CallbackData) {
            Some(packet) => {
                memory::write(EcpList, packet.extra.list());
                status::SUCCESS
            }
            None => status::INVALID_PARAMETER,
        }
    }

    /// Gives a list to a create that has none; it goes with the create.
    [ceiling: APC_LEVEL, Modelled, source: "minifilter-rules §1.10, §2.6"]
    fn FltSetEcpListIntoCallbackData(lab; Filter: PFLT_FILTER, CallbackData: *mut FLT_CALLBACK_DATA, EcpList: PECP_LIST) -> NTSTATUS {
        let flt = lab.flt();
        flt.filter(lab, Filter);
        match create_of(lab, CallbackData) {
            Some(packet) => flt.extra_parameters.set(lab, &packet.extra, EcpList),
            None => status::INVALID_PARAMETER_2,
        }
    }

    /// Makes an empty list.
    [ceiling: APC_LEVEL, Modelled, fails: Status, source: "minifilter-rules §1.10, §2.6"]
    fn FltAllocateExtraCreateParameterList(lab; Filter: PFLT_FILTER, Flags: u32, EcpList: *mut PECP_LIST) -> NTSTATUS {
        let flt = lab.flt();
        let filter = flt.filter(lab, Filter);
        check_flags(lab, Flags, CHARGE_QUOTA);
        memory::write(EcpList, flt.extra_parameters.allocate_list(lab, &filter));
        status::SUCCESS
    }

    /// Frees a list and what is in it.
    [ceiling: APC_LEVEL, Modelled, source: "minifilter-rules §1.10, §2.6"]
    fn FltFreeExtraCreateParameterList(lab; Filter: PFLT_FILTER, EcpList: PECP_LIST) {
        let flt = lab.flt();
        flt.filter(lab, Filter);
        flt.extra_parameters.free_list(lab, EcpList)
    }

    /// Makes a parameter, in no list.
    [ceiling: APC_LEVEL, Modelled, fails: Status, source: "minifilter-rules §1.10, §2.6"]
    fn FltAllocateExtraCreateParameter(lab; Filter: PFLT_FILTER, EcpType: LPCGUID, SizeOfContext: u32, Flags: u32, CleanupCallback: PFSRTL_EXTRA_CREATE_PARAMETER_CLEANUP_CALLBACK, PoolTag: u32, EcpContext: *mut PVOID) -> NTSTATUS {
        let flt = lab.flt();
        let filter = flt.filter(lab, Filter);
        check_flags(lab, Flags, CHARGE_QUOTA | NONPAGED_POOL);
        let (what, nonpaged) = ((type_at(EcpType), SizeOfContext), Flags & NONPAGED_POOL != 0);
        let made = flt.extra_parameters.allocate(lab, &filter, what, nonpaged, PoolTag, CleanupCallback);
        memory::write(EcpContext, made);
        status::SUCCESS
    }

    /// Frees a parameter that is in no list.
    [ceiling: APC_LEVEL, Modelled, source: "minifilter-rules §1.10, §2.6"]
    fn FltFreeExtraCreateParameter(lab; Filter: PFLT_FILTER, EcpContext: PVOID) {
        let flt = lab.flt();
        flt.filter(lab, Filter);
        flt.extra_parameters.free(lab, EcpContext)
    }

    /// Puts a parameter into a list, which has no other of its type.
    [ceiling: APC_LEVEL, Modelled, source: "minifilter-rules §1.10, §2.6"]
    fn FltInsertExtraCreateParameter(lab; Filter: PFLT_FILTER, EcpList: PECP_LIST, EcpContext: PVOID) -> NTSTATUS {
        let flt = lab.flt();
        flt.filter(lab, Filter);
        flt.extra_parameters.insert(lab, EcpList, EcpContext)
    }

    /// Takes the parameter of a type out of a list.
    [ceiling: APC_LEVEL, Modelled, source: "minifilter-rules §1.10, §2.6"]
    fn FltRemoveExtraCreateParameter(lab; Filter: PFLT_FILTER, EcpList: PECP_LIST, EcpType: LPCGUID, EcpContext: *mut PVOID, EcpContextSize: *mut u32) -> NTSTATUS {
        let flt = lab.flt();
        flt.filter(lab, Filter);
        tell(flt.extra_parameters.remove(lab, EcpList, type_at(EcpType)).as_deref(), EcpContext, EcpContextSize)
    }

    /// The parameter of a type in a list.
    [ceiling: APC_LEVEL, Modelled, source: "minifilter-rules §1.10, §2.6"]
    fn FltFindExtraCreateParameter(lab; Filter: PFLT_FILTER, EcpList: PECP_LIST, EcpType: LPCGUID, EcpContext: *mut PVOID, EcpContextSize: *mut u32) -> NTSTATUS {
        let flt = lab.flt();
        flt.filter(lab, Filter);
        tell(flt.extra_parameters.find(lab, EcpList, type_at(EcpType)).as_deref(), EcpContext, EcpContextSize)
    }

    /// The first parameter of a list, or the one after another.
    [ceiling: APC_LEVEL, Approximated("in the order in which they were inserted"), source: "minifilter-rules §1.10, §2.6"]
    fn FltGetNextExtraCreateParameter(lab; Filter: PFLT_FILTER, EcpList: PECP_LIST, CurrentEcpContext: PVOID, NextEcpType: LPGUID, NextEcpContext: *mut PVOID, NextEcpContextSize: *mut u32) -> NTSTATUS {
        let flt = lab.flt();
        flt.filter(lab, Filter);
        if EcpList.is_null() {
            return status::INVALID_PARAMETER;
        }
        let found = flt.extra_parameters.after(lab, EcpList, CurrentEcpContext);
        if let Some(found) = &found {
            memory::write_optional(NextEcpType.cast(), found.kind);
        }
        tell(found.as_deref(), NextEcpContext, NextEcpContextSize)
    }

    /// Marks a parameter for whoever asks whether somebody has heeded it.
    [ceiling: APC_LEVEL, Modelled, source: "minifilter-rules §1.10, §2.6"]
    fn FltAcknowledgeEcp(lab; Filter: PFLT_FILTER, EcpContext: PVOID) {
        let flt = lab.flt();
        flt.filter(lab, Filter);
        flt.extra_parameters.parameter(lab, EcpContext).acknowledged.set(true)
    }

    /// Whether it is marked.
    [ceiling: APC_LEVEL, Modelled, source: "minifilter-rules §1.10, §2.6"]
    fn FltIsEcpAcknowledged(lab; Filter: PFLT_FILTER, EcpContext: PVOID) -> BOOLEAN {
        let flt = lab.flt();
        flt.filter(lab, Filter);
        u8::from(flt.extra_parameters.parameter(lab, EcpContext).acknowledged.get())
    }

    /// Whether a program has passed it.
    [ceiling: APC_LEVEL, Approximated("never: programs of the lab pass none"), source: "minifilter-rules §1.10, §2.6"]
    fn FltIsEcpFromUserMode(lab; Filter: PFLT_FILTER, EcpContext: PVOID) -> BOOLEAN {
        let flt = lab.flt();
        flt.filter(lab, Filter);
        let _ = flt.extra_parameters.parameter(lab, EcpContext);
        0
    }
}

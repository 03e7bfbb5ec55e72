//! Operations that a filter makes itself: FltAllocateCallbackData and its family.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use fltkernel::*;
use lab_executive::status;

use super::instance::Instance;
use super::passage;
use super::request::{Operation, status_block};
use crate::Executive;
use crate::memory;
use crate::rooms::Rooms;

struct Own {
    instance: Rc<Instance>,
    owner: Option<usize>,
    serial: u64,
}

/// The callback data that filters have allocated.
#[derive(Default)]
pub(crate) struct OwnData {
    live: RefCell<BTreeMap<usize, Rc<Own>>>,
    serial: Cell<u64>,
}

const DATA: usize = size_of::<FLT_CALLBACK_DATA>().next_multiple_of(16);

impl OwnData {
    /// Callback data of an operation on an open file, to be filled in and sent below the instance.
    pub(crate) fn allocate(
        &self,
        lab: &Executive,
        instance: Rc<Instance>,
        file: PFILE_OBJECT,
    ) -> *mut FLT_CALLBACK_DATA {
        let block = lab.allocate_own(DATA + size_of::<FLT_IO_PARAMETER_BLOCK>(), b"FmOd");
        let iopb: *mut FLT_IO_PARAMETER_BLOCK = block.wrapping_add(DATA).cast();
        let mut parameters: FLT_IO_PARAMETER_BLOCK = memory::read(iopb);
        parameters.TargetFileObject = file;
        parameters.TargetInstance = std::ptr::with_exposed_provenance_mut(instance.address);
        memory::write(iopb, parameters);
        let mut data: FLT_CALLBACK_DATA = memory::read(block.cast());
        data.Flags = FLTFL_CALLBACK_DATA_IRP_OPERATION | FLTFL_CALLBACK_DATA_GENERATED_IO;
        data.Thread = lab.thread().ethread.cast();
        data.Iopb = iopb;
        memory::write(block.cast(), data);
        self.serial.set(self.serial.get() + 1);
        let own = Own { instance, owner: lab.caller(), serial: self.serial.get() };
        self.live.borrow_mut().insert(block.addr(), Rc::new(own));
        block.cast()
    }

    fn find(&self, lab: &Executive, data: *const FLT_CALLBACK_DATA) -> Rc<Own> {
        self.live.borrow().get(&data.addr()).cloned().unwrap_or_else(|| {
            lab.violate(
                "callback-data",
                "fltkernel/FltAllocateCallbackData",
                "not callback data that a filter has allocated",
            )
        })
    }

    /// Sends it and waits. Lock control only; anything else stops the run.
    pub(crate) fn perform(&self, lab: &Executive, data: *mut FLT_CALLBACK_DATA) {
        let own = self.find(lab, data);
        let mut filled = memory::read(data);
        let iopb: FLT_IO_PARAMETER_BLOCK = memory::read(filled.Iopb);
        if iopb.MajorFunction != IRP_MJ_LOCK_CONTROL {
            let what = super::registration::major_name(iopb.MajorFunction);
            lab.report("unserved", "fltkernel/FltPerformSynchronousIo", format!("{what} is not modelled"));
        }
        let file = lab.io().file(lab, iopb.TargetFileObject);
        if file.open.get().is_none() {
            filled.IoStatus = status_block(status::INVALID_PARAMETER, 0);
        } else {
            let mut operation = Operation::irp(iopb.MajorFunction, iopb.TargetFileObject);
            operation.minor = iopb.MinorFunction;
            operation.operation_flags = iopb.OperationFlags;
            operation.parameters = iopb.Parameters;
            operation.generated = true;
            filled.IoStatus = passage::issue(lab, operation, Some(&own.instance.altitude));
        }
        memory::write(data, filled);
    }

    /// Gives it back.
    pub(crate) fn free(&self, lab: &Executive, data: *mut FLT_CALLBACK_DATA) {
        self.find(lab, data);
        self.live.borrow_mut().remove(&data.addr());
        lab.free_own(data.cast());
    }

    /// Callback data that an image allocated and did not free.
    pub(crate) fn left_by(&self, image: Option<usize>) -> Vec<String> {
        let live = self.live.borrow();
        let mut own: Vec<_> = live.values().filter(|own| own.owner == image).map(|own| own.serial).collect();
        own.sort_unstable();
        own.into_iter().map(|serial| format!("callback data #{serial}")).collect()
    }
}

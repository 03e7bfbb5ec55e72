//! What a callback does with its operation.

use fltkernel::*;
use lab_executive::imports;
use lab_executive::irql::{APC_LEVEL, PASSIVE_LEVEL};

use crate::flt::request::Form;
use crate::flt::{contract, passage};
use crate::memory;
use crate::rooms::Rooms;

imports! {
    /// What a callback does with its operation.
    pub static OPERATIONS in "FLTMGR.SYS";

    /// Makes changed parameters count.
    [ceiling: HIGH_LEVEL, Modelled, source: "minifilter-rules §1.1, §2.6"]
    fn FltSetCallbackDataDirty(lab; Data: *mut FLT_CALLBACK_DATA) {
        lab.flt().request_of(lab, Data).update(|data| data.Flags |= FLTFL_CALLBACK_DATA_DIRTY)
    }

    /// Makes changed parameters not count.
    [ceiling: HIGH_LEVEL, Modelled, source: "minifilter-rules §1.1, §2.6"]
    fn FltClearCallbackDataDirty(lab; Data: *mut FLT_CALLBACK_DATA) {
        lab.flt().request_of(lab, Data).update(|data| data.Flags &= !FLTFL_CALLBACK_DATA_DIRTY)
    }

    /// Whether changed parameters count.
    [ceiling: HIGH_LEVEL, Modelled, source: "minifilter-rules §1.1, §2.6"]
    fn FltIsCallbackDataDirty(lab; Data: *mut FLT_CALLBACK_DATA) -> BOOLEAN {
        u8::from(lab.flt().request_of(lab, Data).data().Flags & FLTFL_CALLBACK_DATA_DIRTY != 0)
    }

    /// The process that the requesting thread is attached to.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "txf-ktm §8.3; minifilter-rules §2.6"]
    fn FltGetRequestorProcess(lab; CallbackData: *mut FLT_CALLBACK_DATA) -> PEPROCESS {
        lab.flt().request_of(lab, CallbackData).process.eprocess.cast()
    }

    /// Its id.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "txf-ktm §8.3"]
    fn FltGetRequestorProcessId(lab; CallbackData: *mut FLT_CALLBACK_DATA) -> u32 {
        lab.flt().request_of(lab, CallbackData).process.id
    }

    /// Whether the operation was sent to be waited for.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "fltkernel/FltIsOperationSynchronous"]
    fn FltIsOperationSynchronous(lab; CallbackData: *mut FLT_CALLBACK_DATA) -> BOOLEAN {
        u8::from(!lab.flt().request_of(lab, CallbackData).asynchronous)
    }

    /// Answers a pended pre-operation; the operation goes on in this thread.
    [ceiling: APC_LEVEL, Modelled, source: "minifilter-rules §2.4"]
    fn FltCompletePendedPreOperation(lab; CallbackData: *mut FLT_CALLBACK_DATA, CallbackStatus: FLT_PREOP_CALLBACK_STATUS, Context: PVOID) {
        contract::complete_pended(lab, CallbackData, CallbackStatus, Context)
    }

    /// Ends a post-operation that wanted more time.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "minifilter-rules §2.6"]
    fn FltCompletePendedPostOperation(lab; CallbackData: *mut FLT_CALLBACK_DATA) {
        let request = lab.flt().request_of(lab, CallbackData);
        passage::resume_post(lab, &request)
    }

    /// Runs a post-operation's second half where waiting is possible: here at PASSIVE_LEVEL, else in a worker.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "minifilter-rules §2.5; fltkernel/FltDoCompletionProcessingWhenSafe"]
    fn FltDoCompletionProcessingWhenSafe(lab; Data: *mut FLT_CALLBACK_DATA, FltObjects: *const FLT_RELATED_OBJECTS, CompletionContext: PVOID, Flags: u32, SafePostCallback: PFLT_POST_OPERATION_CALLBACK, RetPostOperationStatus: *mut FLT_POSTOP_CALLBACK_STATUS) -> BOOLEAN {
        // What a draining callback gets is a copy, and no operation under way.
        if Flags & FLTFL_POST_OPERATION_DRAINING != 0 {
            lab.report("safe-post-draining", "minifilter-rules §2.5: not while draining", "defers a draining callback");
        }
        let request = lab.flt().request_of(lab, Data);
        let Some(callback) = SafePostCallback else {
            lab.violate("safe-post-callback", "fltkernel/FltDoCompletionProcessingWhenSafe", "SafePostCallback is null")
        };
        memory::write(RetPostOperationStatus, FLT_POSTOP_FINISHED_PROCESSING);
        if lab.thread().irql.get() <= APC_LEVEL {
            let result = crate::flt::call(lab, "a safe post-operation callback", || {
                // SAFETY: the callback given, called as its type says, with what the caller got itself.
                unsafe { callback(Data, FltObjects, CompletionContext, Flags) }
            });
            memory::write(RetPostOperationStatus, result);
            return 1;
        }
        let paging = request.iopb().IrpFlags & 0x42 != 0;
        if request.form != Form::Irp || paging {
            return 0;
        }
        memory::write(RetPostOperationStatus, FLT_POSTOP_MORE_PROCESSING_REQUIRED);
        lab.spawn_worker("safe completion", move |lab| {
            debug_assert_eq!(lab.thread().irql.get(), PASSIVE_LEVEL);
            let result = crate::flt::call(lab, "a safe post-operation callback", || {
                // SAFETY: as above; the operation is held until this has ended.
                unsafe { callback(Data, FltObjects, CompletionContext, Flags) }
            });
            if result != FLT_POSTOP_MORE_PROCESSING_REQUIRED {
                passage::resume_post(lab, &request);
            }
        });
        1
    }
}

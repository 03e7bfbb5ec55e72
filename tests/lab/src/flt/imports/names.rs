//! File names.

use fltkernel::*;
use lab_executive::imports;
use lab_executive::status;

use crate::flt::names;
use crate::memory;
use crate::rooms::Rooms;

imports! {
    /// File names.
    pub static NAMES in "FLTMGR.SYS";

    /// The name of an operation's file.
    [ceiling: APC_LEVEL, Approximated("lower filters do not see the queries behind a normalized name; names are not cached"), fails: Status(0xC000_009A, 0xC01C_0005), source: "minifilter-rules §3.5"]
    fn FltGetFileNameInformation(lab; CallbackData: *mut FLT_CALLBACK_DATA, NameOptions: u32, FileNameInformation: *mut *mut FLT_FILE_NAME_INFORMATION) -> NTSTATUS {
        memory::write(FileNameInformation, std::ptr::null_mut());
        let request = lab.flt().request_of(lab, CallbackData);
        let data = memory::read(CallbackData);
        match names::get(lab, &request, &data, NameOptions) {
            Ok(name) => {
                memory::write(FileNameInformation, name);
                status::SUCCESS
            }
            Err(status) => status,
        }
    }

    /// The name of an open file object.
    [ceiling: APC_LEVEL, Approximated("as FltGetFileNameInformation"), fails: Status, source: "minifilter-rules §3.5"]
    fn FltGetFileNameInformationUnsafe(lab; FileObject: PFILE_OBJECT, Instance: PFLT_INSTANCE, NameOptions: u32, FileNameInformation: *mut *mut FLT_FILE_NAME_INFORMATION) -> NTSTATUS {
        let _ = Instance;
        memory::write(FileNameInformation, std::ptr::null_mut());
        match names::get_unsafe(lab, FileObject, NameOptions) {
            Ok(name) => {
                memory::write(FileNameInformation, name);
                status::SUCCESS
            }
            Err(status) => status,
        }
    }

    /// Gives a name back.
    [ceiling: APC_LEVEL, Modelled, source: "minifilter-rules §3.5"]
    fn FltReleaseFileNameInformation(lab; FileNameInformation: *mut FLT_FILE_NAME_INFORMATION) {
        lab.flt().names.release(lab, FileNameInformation)
    }

    /// Adds a reference to a name.
    [ceiling: APC_LEVEL, Modelled, source: "minifilter-rules §3.5"]
    fn FltReferenceFileNameInformation(lab; FileNameInformation: *mut FLT_FILE_NAME_INFORMATION) {
        lab.flt().names.reference(lab, FileNameInformation)
    }

    /// Fills parent directory, final component, extension and stream.
    [ceiling: APC_LEVEL, Modelled, source: "minifilter-rules §3.5; fltkernel/FltParseFileNameInformation"]
    fn FltParseFileNameInformation(lab; FileNameInformation: *mut FLT_FILE_NAME_INFORMATION) -> NTSTATUS {
        lab.flt().names.parse(lab, FileNameInformation)
    }
}

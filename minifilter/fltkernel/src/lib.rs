//! Filter Manager declarations: structures, constants and functions of `fltKernel.h`.
//!
//! No published crate has these right on 64-bit (facts: minifilter-rules §4.2), so they are written here, once,
//! for the driver's `kernel` crate and for the lab. Because an error here would be invisible to both, every
//! offset is asserted at compile time below and compared in the tests with independent headers.
//!
//! The crate is neutral: what it does not define itself (file objects, threads, security descriptors) is an
//! untyped pointer alias, so that each side can use its own generated bindings for the rest. Names and spelling
//! are Microsoft's.
//!
//! - [`structures`]: registration, callback data, parameter blocks.
//! - [`constants`]: major codes, flags, statuses.
//! - [`callbacks`]: the function pointer types of a registration.
//! - [`for_each_function!`]: every imported function with its signature.
#![no_std]
#![allow(non_camel_case_types, non_snake_case, non_upper_case_globals)]

pub mod callbacks;
pub mod constants;
mod functions;
pub mod structures;

pub use callbacks::*;
pub use constants::*;
pub use structures::*;

use core::ffi::c_void;

/// An NT status: negative is an error.
pub type NTSTATUS = i32;
/// Untyped pointer.
pub type PVOID = *mut c_void;
/// Object handle.
pub type HANDLE = *mut c_void;
/// One byte, zero is false.
pub type BOOLEAN = u8;
/// Opaque filter object.
pub type PFLT_FILTER = *mut c_void;
/// Opaque volume object of the Filter Manager.
pub type PFLT_VOLUME = *mut c_void;
/// Opaque instance object.
pub type PFLT_INSTANCE = *mut c_void;
/// Opaque communication port.
pub type PFLT_PORT = *mut c_void;
/// A context as the filter sees it: the memory after the Filter Manager's header.
pub type PFLT_CONTEXT = *mut c_void;
/// Opaque generic work item.
pub type PFLT_GENERIC_WORKITEM = *mut c_void;
/// Opaque deferred I/O work item.
pub type PFLT_DEFERRED_IO_WORKITEM = *mut c_void;
/// `DRIVER_OBJECT` of the caller's bindings.
pub type PDRIVER_OBJECT = *mut c_void;
/// `DEVICE_OBJECT` of the caller's bindings.
pub type PDEVICE_OBJECT = *mut c_void;
/// `FILE_OBJECT` of the caller's bindings.
pub type PFILE_OBJECT = *mut c_void;
/// `ETHREAD`.
pub type PETHREAD = *mut c_void;
/// `EPROCESS`.
pub type PEPROCESS = *mut c_void;
/// `KTRANSACTION`.
pub type PKTRANSACTION = *mut c_void;
/// `OBJECT_ATTRIBUTES` of the caller's bindings.
pub type POBJECT_ATTRIBUTES = *mut c_void;
/// `IO_STATUS_BLOCK` of the caller's bindings (layout equal to [`IO_STATUS_BLOCK`]).
pub type PIO_STATUS_BLOCK = *mut IO_STATUS_BLOCK;
/// `IO_DRIVER_CREATE_CONTEXT` of the caller's bindings.
pub type PIO_DRIVER_CREATE_CONTEXT = *mut c_void;
/// `ECP_LIST`.
pub type PECP_LIST = *mut c_void;
/// `GUID` of the caller's bindings, read only.
pub type LPCGUID = *const c_void;
/// `GUID` of the caller's bindings.
pub type LPGUID = *mut c_void;
/// `SECURITY_DESCRIPTOR`.
pub type PSECURITY_DESCRIPTOR = *mut c_void;
/// `IO_SECURITY_CONTEXT` of the caller's bindings.
pub type PIO_SECURITY_CONTEXT = *mut c_void;
/// `MDL`.
pub type PMDL = *mut c_void;

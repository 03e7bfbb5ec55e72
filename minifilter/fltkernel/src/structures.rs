//! Structures, x64 (equal on arm64). Layouts: facts minifilter-rules §4.1 and §4.2.
#![allow(missing_docs, reason = "field names are Microsoft's and documented there")]

use crate::callbacks::*;
use crate::*;
use core::mem::{offset_of, size_of};

/// Counted UTF-16 string; lengths in bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UNICODE_STRING {
    pub Length: u16,
    pub MaximumLength: u16,
    pub Buffer: *mut u16,
}

/// Result of a request.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct IO_STATUS_BLOCK {
    /// Status in the low 32 bits of a pointer-sized union.
    pub Status: NTSTATUS,
    pub StatusPadding: u32,
    pub Information: usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct FLT_OPERATION_REGISTRATION {
    pub MajorFunction: u8,
    pub Flags: u32,
    pub PreOperation: PFLT_PRE_OPERATION_CALLBACK,
    pub PostOperation: PFLT_POST_OPERATION_CALLBACK,
    pub Reserved1: PVOID,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct FLT_CONTEXT_REGISTRATION {
    pub ContextType: u16,
    pub Flags: u16,
    pub ContextCleanupCallback: PFLT_CONTEXT_CLEANUP_CALLBACK,
    pub Size: usize,
    pub PoolTag: u32,
    pub ContextAllocateCallback: PFLT_CONTEXT_ALLOCATE_CALLBACK,
    pub ContextFreeCallback: PFLT_CONTEXT_FREE_CALLBACK,
    pub Reserved1: PVOID,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct FLT_REGISTRATION {
    pub Size: u16,
    pub Version: u16,
    pub Flags: u32,
    pub ContextRegistration: *const FLT_CONTEXT_REGISTRATION,
    pub OperationRegistration: *const FLT_OPERATION_REGISTRATION,
    pub FilterUnloadCallback: PFLT_FILTER_UNLOAD_CALLBACK,
    pub InstanceSetupCallback: PFLT_INSTANCE_SETUP_CALLBACK,
    pub InstanceQueryTeardownCallback: PFLT_INSTANCE_QUERY_TEARDOWN_CALLBACK,
    pub InstanceTeardownStartCallback: PFLT_INSTANCE_TEARDOWN_CALLBACK,
    pub InstanceTeardownCompleteCallback: PFLT_INSTANCE_TEARDOWN_CALLBACK,
    pub GenerateFileNameCallback: PVOID,
    pub NormalizeNameComponentCallback: PVOID,
    pub NormalizeContextCleanupCallback: PVOID,
    pub TransactionNotificationCallback: PFLT_TRANSACTION_NOTIFICATION_CALLBACK,
    pub NormalizeNameComponentExCallback: PVOID,
    pub SectionNotificationCallback: PVOID,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct FLT_CALLBACK_DATA {
    pub Flags: u32,
    pub Thread: PETHREAD,
    pub Iopb: *mut FLT_IO_PARAMETER_BLOCK,
    pub IoStatus: IO_STATUS_BLOCK,
    pub TagData: PVOID,
    /// `QueueLinks` and `QueueContext`, or `FilterContext[4]`.
    pub FilterContext: [PVOID; 4],
    /// `KPROCESSOR_MODE`: 0 kernel, 1 user.
    pub RequestorMode: i8,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct FLT_IO_PARAMETER_BLOCK {
    pub IrpFlags: u32,
    pub MajorFunction: u8,
    pub MinorFunction: u8,
    /// `SL_*` flags of the stack location.
    pub OperationFlags: u8,
    pub Reserved: u8,
    pub TargetFileObject: PFILE_OBJECT,
    pub TargetInstance: PFLT_INSTANCE,
    pub Parameters: FLT_PARAMETERS,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct FLT_RELATED_OBJECTS {
    pub Size: u16,
    pub TransactionContext: u16,
    pub Filter: PFLT_FILTER,
    pub Volume: PFLT_VOLUME,
    pub Instance: PFLT_INSTANCE,
    pub FileObject: PFILE_OBJECT,
    pub Transaction: PKTRANSACTION,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct FLT_FILE_NAME_INFORMATION {
    pub Size: u16,
    /// `FLTFL_FILE_NAME_PARSED_*`.
    pub NamesParsed: u16,
    pub Format: u32,
    pub Name: UNICODE_STRING,
    pub Volume: UNICODE_STRING,
    pub Share: UNICODE_STRING,
    pub Extension: UNICODE_STRING,
    pub Stream: UNICODE_STRING,
    pub FinalComponent: UNICODE_STRING,
    pub ParentDir: UNICODE_STRING,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct FLT_VOLUME_PROPERTIES {
    pub DeviceType: u32,
    pub DeviceCharacteristics: u32,
    pub DeviceObjectFlags: u32,
    pub AlignmentRequirement: u32,
    pub SectorSize: u16,
    pub Reserved0: u16,
    pub FileSystemDriverName: UNICODE_STRING,
    pub FileSystemDeviceName: UNICODE_STRING,
    pub RealDeviceName: UNICODE_STRING,
}

/// Parameters of each operation. Members that nobody needs are left out; [`FLT_PARAMETERS::Others`] gives raw
/// access to the 48 bytes.
#[repr(C)]
#[derive(Clone, Copy)]
pub union FLT_PARAMETERS {
    pub Create: CREATE,
    pub Read: READ_WRITE,
    pub Write: READ_WRITE,
    pub QueryFileInformation: QUERY_FILE_INFORMATION,
    pub SetFileInformation: SET_FILE_INFORMATION,
    pub QueryEa: QUERY_EA,
    pub SetEa: SET_EA,
    pub QueryVolumeInformation: VOLUME_INFORMATION,
    pub SetVolumeInformation: VOLUME_INFORMATION,
    pub DirectoryControl: QUERY_DIRECTORY,
    pub NotifyDirectory: NOTIFY_DIRECTORY,
    pub FileSystemControl: CONTROL,
    pub DeviceIoControl: CONTROL,
    pub LockControl: LOCK_CONTROL,
    pub QuerySecurity: QUERY_SECURITY,
    pub SetSecurity: SET_SECURITY,
    pub AcquireForSectionSynchronization: SECTION_SYNCHRONIZATION,
    pub AcquireForModifiedPageWriter: ACQUIRE_FOR_MOD_WRITE,
    pub FastIoCheckIfPossible: FAST_IO_CHECK,
    pub NetworkQueryOpen: NETWORK_QUERY_OPEN,
    pub QueryOpen: QUERY_OPEN,
    pub MdlRead: MDL_IO,
    pub Others: [u64; 6],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct CREATE {
    pub SecurityContext: PIO_SECURITY_CONTEXT,
    /// Create options in the low 24 bits, disposition in the high 8.
    pub Options: u32,
    pub Padding1: u32,
    pub FileAttributes: u16,
    pub ShareAccess: u16,
    pub Padding2: u32,
    pub EaLength: u32,
    pub Padding3: u32,
    pub EaBuffer: PVOID,
    pub AllocationSize: i64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct READ_WRITE {
    pub Length: u32,
    pub Padding1: u32,
    pub Key: u32,
    pub Padding2: u32,
    pub ByteOffset: i64,
    pub Buffer: PVOID,
    pub MdlAddress: PMDL,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct QUERY_FILE_INFORMATION {
    pub Length: u32,
    pub Padding1: u32,
    pub FileInformationClass: u32,
    pub Padding2: u32,
    pub InfoBuffer: PVOID,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct SET_FILE_INFORMATION {
    pub Length: u32,
    pub Padding1: u32,
    pub FileInformationClass: u32,
    pub Padding2: u32,
    pub ParentOfTarget: PFILE_OBJECT,
    pub ReplaceIfExists: BOOLEAN,
    pub AdvanceOnly: BOOLEAN,
    pub Padding3: [u8; 6],
    pub InfoBuffer: PVOID,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct QUERY_EA {
    pub Length: u32,
    pub Padding1: u32,
    pub EaList: PVOID,
    pub EaListLength: u32,
    pub Padding2: u32,
    pub EaIndex: u32,
    pub Padding3: u32,
    pub EaBuffer: PVOID,
    pub MdlAddress: PMDL,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct SET_EA {
    pub Length: u32,
    pub Padding1: u32,
    pub EaBuffer: PVOID,
    pub MdlAddress: PMDL,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct VOLUME_INFORMATION {
    pub Length: u32,
    pub Padding1: u32,
    pub FsInformationClass: u32,
    pub Padding2: u32,
    pub VolumeBuffer: PVOID,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct QUERY_DIRECTORY {
    pub Length: u32,
    pub Padding1: u32,
    pub FileName: *mut UNICODE_STRING,
    pub FileInformationClass: u32,
    pub Padding2: u32,
    pub FileIndex: u32,
    pub Padding3: u32,
    pub DirectoryBuffer: PVOID,
    pub MdlAddress: PMDL,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct NOTIFY_DIRECTORY {
    pub Length: u32,
    pub Padding1: u32,
    pub CompletionFilter: u32,
    pub Padding2: u32,
    pub Spare1: u32,
    pub Padding3: u32,
    pub Spare2: u32,
    pub Padding4: u32,
    pub DirectoryBuffer: PVOID,
    pub MdlAddress: PMDL,
}

/// `Common`, `Buffered` and `Neither` of file-system and device controls.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CONTROL {
    pub OutputBufferLength: u32,
    pub Padding1: u32,
    pub InputBufferLength: u32,
    pub Padding2: u32,
    pub ControlCode: u32,
    pub Padding3: u32,
    /// `Buffered.SystemBuffer`, `Neither.InputBuffer`, `Direct.InputSystemBuffer`.
    pub InputBuffer: PVOID,
    /// `Neither.OutputBuffer`, `Direct.OutputBuffer`.
    pub OutputBuffer: PVOID,
    pub MdlAddress: PMDL,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct LOCK_CONTROL {
    pub Length: *mut i64,
    pub Key: u32,
    pub Padding1: u32,
    pub ByteOffset: i64,
    pub ProcessId: PEPROCESS,
    pub FailImmediately: BOOLEAN,
    pub ExclusiveLock: BOOLEAN,
    pub Padding2: [u8; 6],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct QUERY_SECURITY {
    pub SecurityInformation: u32,
    pub Padding1: u32,
    pub Length: u32,
    pub Padding2: u32,
    pub SecurityBuffer: PVOID,
    pub MdlAddress: PMDL,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct SET_SECURITY {
    pub SecurityInformation: u32,
    pub Padding1: u32,
    pub SecurityDescriptor: PSECURITY_DESCRIPTOR,
}

/// `FS_FILTER_SECTION_SYNC_TYPE`: other work on the section.
pub const SyncTypeOther: i32 = 0;
/// `FS_FILTER_SECTION_SYNC_TYPE`: a section is being created; may be failed.
pub const SyncTypeCreateSection: i32 = 1;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct SECTION_SYNCHRONIZATION {
    pub SyncType: i32,
    /// `PAGE_*` protection of the section.
    pub PageProtection: u32,
    pub OutputInformation: PVOID,
    pub Flags: u32,
    pub AllocationAttributes: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct ACQUIRE_FOR_MOD_WRITE {
    pub EndingOffset: *mut i64,
    pub ResourceToRelease: *mut PVOID,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct FAST_IO_CHECK {
    pub FileOffset: i64,
    pub Length: u32,
    pub Padding1: u32,
    pub LockKey: u32,
    pub Padding2: u32,
    pub CheckForReadOperation: BOOLEAN,
    pub Padding3: [u8; 7],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct NETWORK_QUERY_OPEN {
    pub Irp: PVOID,
    pub NetworkInformation: PVOID,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct QUERY_OPEN {
    pub Irp: PVOID,
    pub FileInformation: PVOID,
    pub Length: *mut u32,
    pub FileInformationClass: u32,
    pub Padding1: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct MDL_IO {
    pub FileOffset: i64,
    pub Length: u32,
    pub Padding1: u32,
    pub Key: u32,
    pub Padding2: u32,
    pub MdlChain: *mut PMDL,
}

macro_rules! layout {
    ($($structure:ident = $size:literal { $($field:ident $offset:literal),* $(,)? })*) => {
        $(
            const _: () = assert!(size_of::<$structure>() == $size);
            $(const _: () = assert!(offset_of!($structure, $field) == $offset);)*
        )*
    };
}

layout! {
    UNICODE_STRING = 16 { Length 0, MaximumLength 2, Buffer 8 }
    IO_STATUS_BLOCK = 16 { Status 0, Information 8 }
    FLT_REGISTRATION = 112 {
        Size 0, Version 2, Flags 4, ContextRegistration 8, OperationRegistration 16, FilterUnloadCallback 24,
        InstanceSetupCallback 32, InstanceQueryTeardownCallback 40, InstanceTeardownStartCallback 48,
        InstanceTeardownCompleteCallback 56, GenerateFileNameCallback 64, NormalizeNameComponentCallback 72,
        NormalizeContextCleanupCallback 80, TransactionNotificationCallback 88,
        NormalizeNameComponentExCallback 96, SectionNotificationCallback 104,
    }
    FLT_OPERATION_REGISTRATION = 32 { MajorFunction 0, Flags 4, PreOperation 8, PostOperation 16, Reserved1 24 }
    FLT_CONTEXT_REGISTRATION = 56 {
        ContextType 0, Flags 2, ContextCleanupCallback 8, Size 16, PoolTag 24, ContextAllocateCallback 32,
        ContextFreeCallback 40, Reserved1 48,
    }
    FLT_CALLBACK_DATA = 88 {
        Flags 0, Thread 8, Iopb 16, IoStatus 24, TagData 40, FilterContext 48, RequestorMode 80,
    }
    FLT_IO_PARAMETER_BLOCK = 72 {
        IrpFlags 0, MajorFunction 4, MinorFunction 5, OperationFlags 6, Reserved 7, TargetFileObject 8,
        TargetInstance 16, Parameters 24,
    }
    FLT_RELATED_OBJECTS = 48 {
        Size 0, TransactionContext 2, Filter 8, Volume 16, Instance 24, FileObject 32, Transaction 40,
    }
    FLT_FILE_NAME_INFORMATION = 120 {
        Size 0, NamesParsed 2, Format 4, Name 8, Volume 24, Share 40, Extension 56, Stream 72,
        FinalComponent 88, ParentDir 104,
    }
    FLT_VOLUME_PROPERTIES = 72 {
        DeviceType 0, DeviceCharacteristics 4, DeviceObjectFlags 8, AlignmentRequirement 12, SectorSize 16,
        FileSystemDriverName 24, FileSystemDeviceName 40, RealDeviceName 56,
    }
    FLT_PARAMETERS = 48 {}
    CREATE = 48 {
        SecurityContext 0, Options 8, FileAttributes 16, ShareAccess 18, EaLength 24, EaBuffer 32, AllocationSize 40,
    }
    READ_WRITE = 40 { Length 0, Key 8, ByteOffset 16, Buffer 24, MdlAddress 32 }
    QUERY_FILE_INFORMATION = 24 { Length 0, FileInformationClass 8, InfoBuffer 16 }
    SET_FILE_INFORMATION = 40 {
        Length 0, FileInformationClass 8, ParentOfTarget 16, ReplaceIfExists 24, AdvanceOnly 25, InfoBuffer 32,
    }
    QUERY_EA = 48 { Length 0, EaList 8, EaListLength 16, EaIndex 24, EaBuffer 32, MdlAddress 40 }
    SET_EA = 24 { Length 0, EaBuffer 8, MdlAddress 16 }
    VOLUME_INFORMATION = 24 { Length 0, FsInformationClass 8, VolumeBuffer 16 }
    QUERY_DIRECTORY = 48 {
        Length 0, FileName 8, FileInformationClass 16, FileIndex 24, DirectoryBuffer 32, MdlAddress 40,
    }
    NOTIFY_DIRECTORY = 48 { Length 0, CompletionFilter 8, DirectoryBuffer 32, MdlAddress 40 }
    CONTROL = 48 {
        OutputBufferLength 0, InputBufferLength 8, ControlCode 16, InputBuffer 24, OutputBuffer 32, MdlAddress 40,
    }
    LOCK_CONTROL = 40 { Length 0, Key 8, ByteOffset 16, ProcessId 24, FailImmediately 32, ExclusiveLock 33 }
    QUERY_SECURITY = 32 { SecurityInformation 0, Length 8, SecurityBuffer 16, MdlAddress 24 }
    SET_SECURITY = 16 { SecurityInformation 0, SecurityDescriptor 8 }
    SECTION_SYNCHRONIZATION = 24 {
        SyncType 0, PageProtection 4, OutputInformation 8, Flags 16, AllocationAttributes 20,
    }
    ACQUIRE_FOR_MOD_WRITE = 16 { EndingOffset 0, ResourceToRelease 8 }
    FAST_IO_CHECK = 32 { FileOffset 0, Length 8, LockKey 16, CheckForReadOperation 24 }
    NETWORK_QUERY_OPEN = 16 { Irp 0, NetworkInformation 8 }
    QUERY_OPEN = 32 { Irp 0, FileInformation 8, Length 16, FileInformationClass 24 }
    MDL_IO = 32 { FileOffset 0, Length 8, Key 16, MdlChain 24 }
}

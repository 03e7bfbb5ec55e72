//! Against `windows-sys`: sizes, alignments and offsets, compared as Rust sees them. That crate's pointers and
//! integers have the same widths on every 64-bit system.

use std::mem::{align_of, offset_of, size_of};

use windows_sys::Wdk::Foundation as wdk;
use windows_sys::Wdk::Storage::FileSystem as fs;
use windows_sys::Wdk::Storage::FileSystem::Minifilters as flt;
use windows_sys::Wdk::System::SystemServices as services;

/// Compares a structure of `$ours` with the one of the same name in `$theirs`.
macro_rules! same {
    ($ours:ident, $theirs:ident: $($name:ident { $($field:ident),* $(,)? })*) => {
        $(
            assert_eq!(size_of::<$ours::$name>(), size_of::<$theirs::$name>(), concat!("size of ", stringify!($name)));
            $(assert_eq!(
                offset_of!($ours::$name, $field),
                offset_of!($theirs::$name, $field),
                concat!(stringify!($name), ".", stringify!($field)),
            );)*
        )*
    };
}

#[test]
fn the_structures_of_a_filter_are_those_of_windows_sys() {
    same!(fltkernel, flt:
        FLT_REGISTRATION {
            Size, Version, Flags, ContextRegistration, OperationRegistration, FilterUnloadCallback,
            InstanceSetupCallback, InstanceQueryTeardownCallback, InstanceTeardownStartCallback,
            InstanceTeardownCompleteCallback, GenerateFileNameCallback, NormalizeNameComponentCallback,
            NormalizeContextCleanupCallback, TransactionNotificationCallback, NormalizeNameComponentExCallback,
            SectionNotificationCallback,
        }
        FLT_OPERATION_REGISTRATION { MajorFunction, Flags, PreOperation, PostOperation, Reserved1 }
        FLT_CONTEXT_REGISTRATION {
            ContextType, Flags, ContextCleanupCallback, Size, PoolTag, ContextAllocateCallback,
            ContextFreeCallback, Reserved1,
        }
        FLT_RELATED_OBJECTS { Size, TransactionContext, Filter, Volume, Instance, FileObject, Transaction }
        FLT_FILE_NAME_INFORMATION {
            Size, NamesParsed, Format, Name, Volume, Share, Extension, Stream, FinalComponent, ParentDir,
        }
        FLT_VOLUME_PROPERTIES {
            DeviceType, DeviceCharacteristics, DeviceObjectFlags, AlignmentRequirement, SectorSize,
            FileSystemDriverName, FileSystemDeviceName, RealDeviceName,
        }
    );
}

/// If this fails, `windows-sys` was corrected: then compare its parameters too.
#[test]
fn the_parameters_of_windows_sys_are_still_wrong_on_64_bits() {
    assert_ne!(size_of::<fltkernel::READ_WRITE>(), size_of::<flt::FLT_PARAMETERS_3>());
}

#[test]
fn the_kernels_objects_are_those_of_windows_sys() {
    use lab_nt as nt;
    same!(nt, wdk:
        FILE_OBJECT {
            Type, Size, DeviceObject, Vpb, FsContext, FsContext2, SectionObjectPointer, PrivateCacheMap,
            FinalStatus, RelatedFileObject, LockOperation, DeletePending, ReadAccess, WriteAccess, DeleteAccess,
            SharedRead, SharedWrite, SharedDelete, Flags, FileName, CurrentByteOffset, Waiters, Busy, LastLock,
            Lock, Event, CompletionContext, IrpListLock, IrpList, FileObjectExtension,
        }
        DRIVER_OBJECT { Type, Size, DeviceObject, Flags, DriverName, DriverInit, DriverUnload, MajorFunction }
        IRP { Type, Size, MdlAddress, Flags, IoStatus, RequestorMode, UserBuffer }
        IO_STACK_LOCATION { MajorFunction, MinorFunction, Flags, Control, Parameters, DeviceObject, FileObject }
        ACCESS_STATE {
            OperationID, SecurityEvaluated, Flags, RemainingDesiredAccess, PreviouslyGrantedAccess,
            OriginalDesiredAccess, SubjectSecurityContext, SecurityDescriptor, AuxData,
        }
        IO_SECURITY_CONTEXT { SecurityQos, AccessState, DesiredAccess, FullCreateOptions }
        KEVENT {}
        FAST_MUTEX {}
        MDL { Next, Size, MdlFlags, ByteCount, ByteOffset }
        VPB { Type, Size, Flags, DeviceObject, RealDevice, SerialNumber, ReferenceCount, VolumeLabel }
        SECTION_OBJECT_POINTERS { DataSectionObject, SharedCacheMap, ImageSectionObject }
    );
    same!(nt, services: IO_DRIVER_CREATE_CONTEXT { Size, ExtraCreateParameter, DeviceObjectHint, TxnParameters, SiloContext });
    same!(nt, fs:
        FSRTL_ADVANCED_FCB_HEADER {}
        FILE_ALL_INFORMATION {}
        FILE_BASIC_INFORMATION { CreationTime, LastAccessTime, LastWriteTime, ChangeTime, FileAttributes }
        FILE_STANDARD_INFORMATION { AllocationSize, EndOfFile, NumberOfLinks, DeletePending, Directory }
        FILE_RENAME_INFORMATION { RootDirectory, FileNameLength, FileName }
        FILE_STAT_INFORMATION { FileId, EndOfFile, FileAttributes, EffectiveAccess }
    );
}

/// `windows-sys` leaves the alignment out, and so the padding at the end.
#[test]
fn a_device_object_is_that_of_windows_sys_and_aligned_for_any_use() {
    use lab_nt::DEVICE_OBJECT;
    assert_eq!(align_of::<DEVICE_OBJECT>(), 16);
    assert_eq!(size_of::<DEVICE_OBJECT>(), size_of::<wdk::DEVICE_OBJECT>().next_multiple_of(16));
    assert_eq!(offset_of!(DEVICE_OBJECT, DeviceExtension), offset_of!(wdk::DEVICE_OBJECT, DeviceExtension));
    assert_eq!(offset_of!(DEVICE_OBJECT, Dpc), offset_of!(wdk::DEVICE_OBJECT, Dpc));
    assert_eq!(offset_of!(DEVICE_OBJECT, Reserved), offset_of!(wdk::DEVICE_OBJECT, Reserved));
}

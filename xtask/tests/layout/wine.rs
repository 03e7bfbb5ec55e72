//! Against Wine's header: each size and offset becomes a static assertion of a C program that is only compiled.

use std::fmt::Write as _;
use std::mem::{offset_of, size_of};
use std::process::Command;

use fltkernel::*;

/// The C program, as it grows.
struct Program {
    text: String,
    assertions: usize,
}

impl Program {
    fn new() -> Self {
        let text = "#include <stddef.h>\n#include <stdarg.h>\n#include <ntstatus.h>\n#define WIN32_NO_STATUS\n\
                    #include <windef.h>\n#include <winternl.h>\n#include <ddk/fltkernel.h>\n";
        Self { text: text.to_owned(), assertions: 0 }
    }

    fn assert(&mut self, left: &str, right: usize) {
        writeln!(self.text, "_Static_assert({left} == {right}, \"{left}\");").unwrap();
        self.assertions += 1;
    }

    fn assert_constant(&mut self, name: &str, value: i64) {
        writeln!(self.text, "_Static_assert({name} == {value}, \"{name}\");").unwrap();
        self.assertions += 1;
    }

    /// Compiles it for 64-bit Windows and returns what the compiler says.
    fn compile(&self) -> Result<(), String> {
        let clang = std::env::var_os("INTACT_CLANG").unwrap_or_else(|| "clang-19".into());
        let headers =
            std::env::var("INTACT_WINE_HEADERS").unwrap_or_else(|_| "/usr/include/wine/wine/windows".into());
        let file =
            std::env::temp_dir().join(format!("intact-layout-{}-{}.c", std::process::id(), self.text.len()));
        std::fs::write(&file, &self.text).unwrap();
        let output = Command::new(clang)
            .args(["--target=x86_64-w64-windows-gnu", "-fms-extensions", "-fsyntax-only", "-ferror-limit=0"])
            .args(["-isystem", &headers, "-isystem", &headers.replace("windows", "msvcrt")])
            .arg(&file)
            .output()
            .expect("clang: run `cargo xtask test layout`, which installs it");
        std::fs::remove_file(&file).unwrap();
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}

/// The size of a field, from a function that reaches it.
fn size_of_field<S, F>(_: fn(&S) -> &F) -> usize {
    size_of::<F>()
}

/// Adds assertions for fields of a structure. `at` is the C type, `path` what comes before the field's name in C;
/// a field whose C name differs is written `name = c_name`.
macro_rules! compare {
    (@c $field:ident) => { stringify!($field) };
    (@c $field:ident $c:literal) => { $c };
    ($program:ident: $structure:ty, at $c_type:literal, path $path:literal { $($field:ident $(= $c:literal)?),* $(,)? }) => {
        $({
            let name = format!("{}{}", $path, compare!(@c $field $($c)?));
            $program.assert(&format!("offsetof({}, {name})", $c_type), offset_of!($structure, $field));
            $program.assert(
                &format!("sizeof((({}*)0)->{name})", $c_type),
                size_of_field(|structure: &$structure| &structure.$field),
            );
        })*
    };
}

fn structures() -> Program {
    let mut program = Program::new();
    macro_rules! whole {
        ($structure:ident { $($fields:tt)* }) => {
            program.assert(concat!("sizeof(", stringify!($structure), ")"), size_of::<$structure>());
            compare!(program: $structure, at "FLT_X", path "" {});
            whole!(@fields $structure, stringify!($structure), $($fields)*);
        };
        (@fields $structure:ident, $name:expr, $($field:ident $(= $c:literal)?),* $(,)?) => {
            $({
                let field = compare!(@c $field $($c)?);
                program.assert(&format!("offsetof({}, {field})", $name), offset_of!($structure, $field));
                program.assert(
                    &format!("sizeof((({}*)0)->{field})", $name),
                    size_of_field(|structure: &$structure| &structure.$field),
                );
            })*
        };
    }
    whole!(FLT_REGISTRATION {
        Size,
        Version,
        Flags,
        ContextRegistration,
        OperationRegistration,
        FilterUnloadCallback,
        InstanceSetupCallback,
        InstanceQueryTeardownCallback,
        InstanceTeardownStartCallback,
        InstanceTeardownCompleteCallback,
        GenerateFileNameCallback,
        NormalizeNameComponentCallback,
        NormalizeContextCleanupCallback,
        TransactionNotificationCallback,
        NormalizeNameComponentExCallback,
        SectionNotificationCallback,
    });
    whole!(FLT_OPERATION_REGISTRATION { MajorFunction, Flags, PreOperation, PostOperation, Reserved1 });
    whole!(FLT_CONTEXT_REGISTRATION {
        ContextType,
        Flags,
        ContextCleanupCallback,
        Size,
        PoolTag,
        ContextAllocateCallback,
        ContextFreeCallback,
        Reserved1,
    });
    whole!(FLT_CALLBACK_DATA { Flags, Thread, Iopb, IoStatus, TagData, FilterContext, RequestorMode });
    whole!(FLT_IO_PARAMETER_BLOCK {
        IrpFlags,
        MajorFunction,
        MinorFunction,
        OperationFlags,
        Reserved,
        TargetFileObject,
        TargetInstance,
        Parameters,
    });
    program.assert("sizeof(FLT_PARAMETERS)", size_of::<FLT_PARAMETERS>());
    program
}

/// The members of the union of parameters.
fn parameters() -> Program {
    let mut program = Program::new();
    macro_rules! member {
        ($structure:ident as $path:literal { $($fields:tt)* }) => {
            compare!(program: $structure, at "FLT_PARAMETERS", path $path { $($fields)* });
        };
    }
    member!(CREATE as "Create." {
        SecurityContext, Options, FileAttributes, ShareAccess, EaLength, EaBuffer, AllocationSize,
    });
    member!(READ_WRITE as "Read." { Length, Key, ByteOffset, Buffer = "ReadBuffer", MdlAddress });
    member!(READ_WRITE as "Write." { Length, Key, ByteOffset, Buffer = "WriteBuffer", MdlAddress });
    member!(QUERY_FILE_INFORMATION as "QueryFileInformation." { Length, FileInformationClass, InfoBuffer });
    member!(SET_FILE_INFORMATION as "SetFileInformation." {
        Length, FileInformationClass, ParentOfTarget, ReplaceIfExists, AdvanceOnly, InfoBuffer,
    });
    member!(QUERY_EA as "QueryEa." { Length, EaList, EaListLength, EaIndex, EaBuffer, MdlAddress });
    member!(SET_EA as "SetEa." { Length, EaBuffer, MdlAddress });
    member!(VOLUME_INFORMATION as "QueryVolumeInformation." { Length, FsInformationClass, VolumeBuffer });
    member!(VOLUME_INFORMATION as "SetVolumeInformation." { Length, FsInformationClass, VolumeBuffer });
    member!(QUERY_DIRECTORY as "DirectoryControl.QueryDirectory." {
        Length, FileName, FileInformationClass, FileIndex, DirectoryBuffer, MdlAddress,
    });
    member!(NOTIFY_DIRECTORY as "DirectoryControl.NotifyDirectory." {
        Length, CompletionFilter, Spare1, Spare2, DirectoryBuffer, MdlAddress,
    });
    member!(CONTROL as "FileSystemControl.Neither." {
        OutputBufferLength, InputBufferLength, ControlCode = "FsControlCode", InputBuffer, OutputBuffer,
        MdlAddress = "OutputMdlAddress",
    });
    member!(CONTROL as "DeviceIoControl.Neither." {
        OutputBufferLength, InputBufferLength, ControlCode = "IoControlCode", InputBuffer, OutputBuffer,
        MdlAddress = "OutputMdlAddress",
    });
    member!(LOCK_CONTROL as "LockControl." {
        Length, Key, ByteOffset, ProcessId, FailImmediately, ExclusiveLock,
    });
    member!(QUERY_SECURITY as "QuerySecurity." { SecurityInformation, Length, SecurityBuffer, MdlAddress });
    member!(SET_SECURITY as "SetSecurity." { SecurityInformation, SecurityDescriptor });
    member!(ACQUIRE_FOR_MOD_WRITE as "AcquireForModifiedPageWriter." { EndingOffset, ResourceToRelease });
    member!(FAST_IO_CHECK as "FastIoCheckIfPossible." { FileOffset, Length, LockKey, CheckForReadOperation });
    member!(NETWORK_QUERY_OPEN as "NetworkQueryOpen." { Irp, NetworkInformation });
    member!(MDL_IO as "MdlRead." { FileOffset, Length, Key, MdlChain });
    program
}

fn constants() -> Program {
    let mut program = Program::new();
    macro_rules! constants {
        ($($name:ident)*) => { $(program.assert_constant(stringify!($name), i64::from($name));)* };
    }
    constants! {
        FLT_VOLUME_CONTEXT FLT_INSTANCE_CONTEXT FLT_FILE_CONTEXT FLT_STREAM_CONTEXT FLT_STREAMHANDLE_CONTEXT
        FLT_TRANSACTION_CONTEXT FLTFL_OPERATION_REGISTRATION_SKIP_PAGING_IO
        FLTFL_OPERATION_REGISTRATION_SKIP_CACHED_IO FLTFL_OPERATION_REGISTRATION_SKIP_NON_DASD_IO
        FLTFL_INSTANCE_TEARDOWN_MANUAL FLTFL_INSTANCE_TEARDOWN_FILTER_UNLOAD
        FLTFL_INSTANCE_TEARDOWN_MANDATORY_FILTER_UNLOAD FLTFL_INSTANCE_TEARDOWN_VOLUME_DISMOUNT
        FLTFL_INSTANCE_TEARDOWN_INTERNAL_ERROR FLT_FSTYPE_UNKNOWN FLT_FSTYPE_RAW FLT_FSTYPE_NTFS FLT_FSTYPE_FAT
        FLT_PREOP_SUCCESS_WITH_CALLBACK FLT_PREOP_SUCCESS_NO_CALLBACK FLT_PREOP_PENDING
        FLT_PREOP_DISALLOW_FASTIO FLT_PREOP_COMPLETE FLT_PREOP_SYNCHRONIZE FLT_PREOP_DISALLOW_FSFILTER_IO
        FLT_POSTOP_FINISHED_PROCESSING FLT_POSTOP_MORE_PROCESSING_REQUIRED FLT_POSTOP_DISALLOW_FSFILTER_IO
        IRP_MJ_CREATE IRP_MJ_CLOSE IRP_MJ_READ IRP_MJ_WRITE IRP_MJ_QUERY_INFORMATION IRP_MJ_SET_INFORMATION
        IRP_MJ_QUERY_EA IRP_MJ_SET_EA IRP_MJ_FLUSH_BUFFERS IRP_MJ_QUERY_VOLUME_INFORMATION
        IRP_MJ_SET_VOLUME_INFORMATION IRP_MJ_DIRECTORY_CONTROL IRP_MJ_FILE_SYSTEM_CONTROL IRP_MJ_DEVICE_CONTROL
        IRP_MJ_SHUTDOWN IRP_MJ_LOCK_CONTROL IRP_MJ_CLEANUP IRP_MJ_QUERY_SECURITY IRP_MJ_SET_SECURITY
        IRP_MJ_QUERY_QUOTA IRP_MJ_SET_QUOTA IRP_MJ_PNP
    }
    program
}

#[test]
#[ignore = "needs Wine's headers: `cargo xtask test layout`"]
fn registration_and_callback_data_are_laid_out_as_in_wines_header() {
    let program = structures();
    assert!(program.assertions > 60);
    program.compile().unwrap();
}

#[test]
#[ignore = "needs Wine's headers: `cargo xtask test layout`"]
fn the_parameters_of_every_operation_are_laid_out_as_in_wines_header() {
    let program = parameters();
    assert!(program.assertions > 120);
    program.compile().unwrap();
}

#[test]
#[ignore = "needs Wine's headers: `cargo xtask test layout`"]
fn constants_have_the_values_of_wines_header() {
    constants().compile().unwrap();
}

#[test]
#[ignore = "needs Wine's headers: `cargo xtask test layout`"]
fn a_wrong_offset_would_be_noticed() {
    let mut program = structures();
    program.assert("offsetof(FLT_PARAMETERS, Create.EaBuffer)", 28);
    let error = program.compile().unwrap_err();
    assert!(error.contains("offsetof(FLT_PARAMETERS, Create.EaBuffer)"), "{error}");
}

//! The Windows declarations, made from Debian's mingw-w64 DDK headers.
//!
//! Two sets come out: one for the driver, in the three files that the crate `wdk-sys` includes, and one for
//! the lab on the host, whose C types have Windows widths and whose function pointers have the Windows ABI.
//! On Windows the crate `wdk-sys` makes its own from the WDK, and only the lab's set is made here.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use bindgen::{CodegenConfig, EnumVariation, Formatter};

use crate::run::{self, Step};
use crate::stamp::Stamp;
use crate::tools::Tools;
use crate::workspace;

const INPUT: &str = include_str!("../headers/input.h");
const SUPPLEMENT: &str = include_str!("../headers/supplement.h");

/// A place where the headers of mingw-w64 differ from Windows, and what Windows has there.
struct Correction {
    header: &'static str,
    wrong: &'static str,
    right: &'static str,
}

/// Applied to a private copy of the headers. Each must be found exactly once: headers that were corrected
/// by their authors meanwhile should be noticed, not corrected twice.
const CORRECTIONS: &[Correction] = &[
    // Aligned to MEMORY_ALLOCATION_ALIGNMENT on Windows: 336 bytes, not 328.
    Correction {
        header: "wdm.h",
        wrong: "typedef struct _DEVICE_OBJECT {",
        right: "typedef struct DECLSPEC_ALIGN(MEMORY_ALLOCATION_ALIGNMENT) _DEVICE_OBJECT {",
    },
    // Windows 10 added the silo: 40 bytes, not 32.
    Correction {
        header: "ntddk.h",
        wrong: "  PTXN_PARAMETER_BLOCK TxnParameters;\n} IO_DRIVER_CREATE_CONTEXT",
        right: "  PTXN_PARAMETER_BLOCK TxnParameters;\n  struct _EJOB *SiloContext;\n} IO_DRIVER_CREATE_CONTEXT",
    },
    // A type on Windows, so that it has a name of its own in the bindings.
    Correction {
        header: "ntifs.h",
        wrong: "#define EX_PUSH_LOCK ULONG_PTR\n#define PEX_PUSH_LOCK PULONG_PTR\n",
        right: "typedef ULONG_PTR EX_PUSH_LOCK, *PEX_PUSH_LOCK;\n",
    },
    // Windows 8, 8.1 and 11 added a field each: 112 bytes, not 88 (minifilter-rules §1.3.1).
    Correction {
        header: "ntifs.h",
        wrong: "  PVOID *FileContextSupportPointer;\n#endif\n} FSRTL_ADVANCED_FCB_HEADER",
        right: "  PVOID *FileContextSupportPointer;\n#endif\n  union { PVOID Oplock; PVOID ReservedForRemote; };\n  \
                EX_PUSH_LOCK AePushLock;\n  ULONG BypassIoOpenCount;\n} FSRTL_ADVANCED_FCB_HEADER",
    },
];

/// Types of the lab's set: what file system requests, transactions and the objects behind them need.
/// What these refer to comes along.
const LAB_TYPES: &[&str] = &[
    "_?(FILE|DRIVER|DEVICE)_OBJECT",
    "_?(IRP|IO_STACK_LOCATION|IO_STATUS_BLOCK|IO_SECURITY_CONTEXT|ACCESS_STATE|OBJECT_ATTRIBUTES|VPB|MDL)",
    "_?(UNICODE|ANSI)_STRING",
    "_?(KEVENT|KTIMER|KDPC|KMUTANT|KSEMAPHORE|KSPIN_LOCK|FAST_MUTEX|ERESOURCE|EX_RUNDOWN_REF|WORK_QUEUE_ITEM)",
    "_?(LARGE_INTEGER|LIST_ENTRY|SINGLE_LIST_ENTRY|SLIST_.*|GUID|LUID|DISPATCHER_HEADER)",
    "_?(GENERAL|NPAGED|PAGED)_LOOKASIDE_LIST|_?GENERAL_LOOKASIDE|_?LOOKASIDE_LIST_EX",
    "_?(FILE|KEY|TRANSACTION|ENLISTMENT|RESOURCEMANAGER|TRANSACTIONMANAGER)_.*",
    "_?(TXN_PARAMETER_BLOCK|IO_DRIVER_CREATE_CONTEXT|ECP_.*|SECTION_OBJECT_POINTERS|CC_FILE_SIZES)",
    "_?(FSRTL_COMMON_FCB_HEADER|FSRTL_ADVANCED_FCB_HEADER|SHARE_ACCESS|OPLOCK.*|REQUEST_OPLOCK.*)",
    "_?(SECURITY_.*|ACL|ACE_.*|ACCESS_(ALLOWED|DENIED)_ACE|SID.*|PRIVILEGE_SET|LUID_AND_ATTRIBUTES|TOKEN_.*)",
    "_?(SE_IMPERSONATION_STATE|GENERIC_MAPPING|OBJECT_(HANDLE|NAME)_INFORMATION|OBJECT_TYPE)",
    "_?(EVENT_(DESCRIPTOR|DATA_DESCRIPTOR|FILTER_DESCRIPTOR)|REGHANDLE|PREGHANDLE|PETWENABLECALLBACK)",
    "_?(FAST_IO_DISPATCH|IO_COMPLETION_CONTEXT|NAMED_PIPE_CREATE_PARAMETERS|MAILSLOT_CREATE_PARAMETERS)",
    "_?(FS_FILTER_.*|KPROCESSOR_MODE|MODE|POOL_TYPE|POOL_FLAGS|KWAIT_REASON|WAIT_TYPE|EVENT_TYPE|TIMER_TYPE)",
    "_?(PS_CREATE_NOTIFY_INFO|PROCESS_BASIC_INFORMATION|KAPC|KAPC_STATE|DEVOBJ_EXTENSION|IO_PRIORITY_HINT)",
    "_?(FSINFOCLASS|FS_INFORMATION_CLASS|OSVERSIONINFO.*|KBUGCHECK_.*|DRIVER_(INITIALIZE|UNLOAD|DISPATCH).*)",
    "P?(EPROCESS|ETHREAD|KTHREAD|KPROCESS|ACCESS_TOKEN|HANDLE|NTSTATUS|KIRQL|ACCESS_MASK|BOOLEAN|EX_PUSH_LOCK)",
    "_?(REPARSE_.*|PREFETCH_OPEN_ECP_CONTEXT|QUERY_.*_ECP.*|SRV_.*ECP.*)",
];

/// Constants of the lab's set.
const LAB_CONSTANTS: &[&str] = &[
    "(STATUS|FILE|OBJ|IRP|IO|SL|FO|FSCTL|IOCTL|KEY|REG|TRANSACTION|RESOURCEMANAGER|ENLISTMENT)_.*",
    "(SECURITY|ACL|ACE|ACCESS|SID|SE|TOKEN|GENERIC|STANDARD_RIGHTS|SPECIFIC_RIGHTS|PRIVILEGE)_.*",
    "(DELETE|READ_CONTROL|WRITE_DAC|WRITE_OWNER|SYNCHRONIZE|MAXIMUM_ALLOWED|SYSTEM_SECURITY)|.*_ALLOWED_ACE_TYPE",
    "(PASSIVE|APC|DISPATCH|HIGH|DEVICE)_LEVEL|DEVICE_TYPE|DO_.*|VPB_.*|MDL_.*|FSRTL_.*|OPLOCK_.*|REQUEST_OPLOCK.*",
    "(EVENT|SYMBOLIC|DIRECTORY|PROCESS|THREAD|SECTION|PAGE|SEC|MEM|VOLUME|DPFLTR|DRVO|ECP|TXN|FS)_.*|PAGE_SIZE",
    "(POOL|EX|TIME|METHOD|MAXIMUM|PRIVILEGE|SUPPORTED|CCF|FILE_DEVICE)_.*|[A-Z]+_ACCESS_ALLOWED|.*_BUGCHECK",
];

/// Functions that a driver must not take from the system although the headers declare them: the compiler's
/// own library has them, and intrinsics are no functions.
const NOT_IMPORTED: &[&str] = &["_.*", "mem.*", "str.*", "wcs.*", "__.*", "[a-z].*"];

/// Where the generated files are.
pub(crate) struct Bindings {
    pub(crate) root: PathBuf,
}

impl Bindings {
    /// The folder that holds `types.rs`, `constants.rs`, `ntddk.rs` and the import library.
    pub(crate) fn driver(&self) -> PathBuf {
        self.root.join("driver")
    }
}

/// Makes what is missing or older than its inputs.
pub(crate) fn ensure(tools: &Tools) -> Result<Bindings> {
    let bindings = Bindings { root: workspace::root().join("target/bindings") };
    let headers = tools.ddk_headers()?;
    let stamp = Stamp::new(&bindings.root.join(".stamp"))
        .text(INPUT)
        .text(SUPPLEMENT)
        .text(include_str!("bindings.rs"))
        .file(&headers.join("ddk/wdm.h"))?
        .file(&headers.join("ddk/ntifs.h"))?
        .file(&headers.join("ddk/ntddk.h"))?;
    if stamp.is_current() {
        return Ok(bindings);
    }
    generate(&bindings, &headers, tools)?;
    stamp.write()?;
    Ok(bindings)
}

fn generate(bindings: &Bindings, headers: &Path, tools: &Tools) -> Result<()> {
    let include = bindings.root.join("include");
    fs::create_dir_all(&include)?;
    fs::create_dir_all(bindings.driver())?;
    correct_headers(headers, &include)?;
    fs::write(include.join("supplement.h"), SUPPLEMENT)?;
    fs::write(include.join("input.h"), INPUT)?;
    if let Some(library) = tools.libclang() {
        // SAFETY: single-threaded so far; clang-sys reads it when bindgen loads the library.
        unsafe { std::env::set_var("LIBCLANG_PATH", library) };
    }
    let resource = tools.clang_resource_dir();
    let builder = || {
        let mut arguments = vec![
            "--target=x86_64-w64-windows-gnu".into(),
            "-fms-extensions".into(),
            "-fno-builtin".into(),
            // What clang thinks of these headers is nobody's concern here; errors still end it.
            "-w".into(),
            "-D_WIN32_WINNT=0x0A00".into(),
            "-DNTDDI_VERSION=0x0A000000".into(),
            "-D_AMD64_".into(),
            "-D__INTRINSIC_DEFINED__".into(),
            "-nostdinc".into(),
            format!("-isystem{}", include.display()),
        ];
        if let Some(resource) = &resource {
            arguments.push(format!("-isystem{}", resource.join("include").display()));
        }
        arguments.push(format!("-isystem{}", headers.join("ddk").display()));
        arguments.push(format!("-isystem{}", headers.display()));
        bindgen::Builder::default()
            .header(include.join("input.h").display().to_string())
            .clang_args(arguments)
            .detect_include_paths(false)
            .use_core()
            .derive_default(true)
            .generate_cstr(true)
            .default_enum_style(EnumVariation::ModuleConsts)
            .must_use_type("NTSTATUS")
            .opaque_type("_KGDTENTRY64")
            .opaque_type("_KIDTENTRY64")
            .blocklist_type(".*tile.*")
            .blocklist_type("__m.*")
            .rust_target(bindgen::RustTarget::stable(91, 0).expect("a version that bindgen knows"))
            .rust_edition(bindgen::RustEdition::Edition2024)
            .formatter(Formatter::Prettyplease)
    };
    let not_imported = |mut builder: bindgen::Builder| {
        for name in NOT_IMPORTED {
            builder = builder.blocklist_function(name);
        }
        builder
    };

    let driver = bindings.driver();
    let step = Step::start("driver bindings: types");
    let types = builder().with_codegen_config(CodegenConfig::TYPES).generate()?.to_string();
    fs::write(driver.join("types.rs"), types)?;
    step.done();
    let step = Step::start("driver bindings: constants");
    let constants = builder().with_codegen_config(CodegenConfig::VARS).generate()?.to_string();
    fs::write(driver.join("constants.rs"), &constants)?;
    step.done();
    let step = Step::start("driver bindings: functions");
    let others = (CodegenConfig::TYPES | CodegenConfig::VARS).complement();
    let functions = not_imported(builder()).with_codegen_config(others).generate()?.to_string();
    fs::write(driver.join("ntddk.rs"), &functions)?;
    step.done();

    let step = Step::start("lab bindings");
    let mut lab = builder()
        .with_codegen_config(CodegenConfig::TYPES | CodegenConfig::VARS)
        .ctypes_prefix("crate::ctypes")
        .derive_debug(false);
    for pattern in LAB_TYPES {
        lab = lab.allowlist_type(pattern);
    }
    for pattern in LAB_CONSTANTS {
        lab = lab.allowlist_var(pattern);
    }
    let mut lab =
        without_statics(&lab.generate()?.to_string()).replace("extern \"C\" fn", "extern \"win64\" fn");
    ensure!(!lab.contains("extern \"C\""), "the lab's set must not name functions or statics of the host");
    add_cast_constants(&mut lab, headers)?;
    fs::write(bindings.root.join("lab.rs"), lab)?;
    step.done();

    import_library(&driver, &functions, &constants, tools)
}

/// Drops what names a variable of the Windows kernel.
fn without_statics(generated: &str) -> String {
    let mut text = String::with_capacity(generated.len());
    let mut inside = false;
    for line in generated.lines() {
        inside |= line == "unsafe extern \"C\" {";
        if !inside {
            text.push_str(line);
            text.push('\n');
        }
        inside &= line != "}";
    }
    text
}

/// A private copy of the headers that need correcting, found before the system's.
fn correct_headers(headers: &Path, include: &Path) -> Result<()> {
    let wanted: BTreeSet<_> = CORRECTIONS.iter().map(|correction| correction.header).collect();
    for header in wanted {
        let from = headers.join("ddk").join(header);
        let mut text = fs::read_to_string(&from).with_context(|| format!("reading {}", from.display()))?;
        for correction in CORRECTIONS.iter().filter(|correction| correction.header == header) {
            ensure!(
                text.matches(correction.wrong).count() == 1,
                "{}: expected once, to correct it: {:?}; these headers are not the ones that xtask knows",
                from.display(),
                correction.wrong,
            );
            text = text.replace(correction.wrong, correction.right);
        }
        fs::write(include.join(header), text)?;
    }
    Ok(())
}

/// Adds the constants whose C form is a cast or a macro call, which bindgen does not evaluate:
/// `STATUS_*` and `FSCTL_*`. (`wdk-sys` carries `STATUS_*` itself.)
fn add_cast_constants(lab: &mut String, headers: &Path) -> Result<()> {
    let mut seen = BTreeSet::new();
    for header in ["ntstatus.h", "ddk/ntifs.h", "ddk/wdm.h", "winioctl.h"] {
        let path = headers.join(header);
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        for line in text.lines() {
            let Some((name, value)) = cast_constant(line) else { continue };
            if seen.insert(name.to_owned()) && !lab.contains(&format!("pub const {name}:")) {
                writeln!(lab, "pub const {name}: {value};")?;
            }
        }
    }
    ensure!(seen.len() > 1000, "only {} status and control codes found in the headers", seen.len());
    Ok(())
}

/// The name and the Rust type and value of one such line.
fn cast_constant(line: &str) -> Option<(&str, String)> {
    let (name, value) = line.strip_prefix("#define ")?.trim().split_once(char::is_whitespace)?;
    let value = value.trim();
    if name.starts_with("STATUS_") {
        let digits = value.strip_prefix("((NTSTATUS)0x")?;
        let digits = digits.trim_end_matches(')').trim_end_matches(['L', 'l']);
        let number = u32::from_str_radix(digits, 16).ok()?;
        return Some((name, format!("NTSTATUS = {}", number as i32)));
    }
    if name.starts_with("FSCTL_") {
        let inner = value.strip_prefix("CTL_CODE(")?.split_once(')')?.0;
        let mut parts = inner.split(',').map(str::trim);
        let (device, function, method, access) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let device: u32 = match device {
            "FILE_DEVICE_FILE_SYSTEM" => 9,
            _ => return None,
        };
        let function: u32 = function.parse().ok()?;
        let method: u32 = match method {
            "METHOD_BUFFERED" => 0,
            "METHOD_IN_DIRECT" => 1,
            "METHOD_OUT_DIRECT" => 2,
            "METHOD_NEITHER" => 3,
            _ => return None,
        };
        let access = access.split('|').map(str::trim).try_fold(0u32, |all, one| {
            Some(
                all | match one {
                    "FILE_ANY_ACCESS" | "FILE_SPECIAL_ACCESS" => 0,
                    "FILE_READ_DATA" | "FILE_READ_ACCESS" => 1,
                    "FILE_WRITE_DATA" | "FILE_WRITE_ACCESS" => 2,
                    _ => return None,
                },
            )
        })?;
        let code = device << 16 | access << 14 | function << 2 | method;
        return Some((name, format!("u32 = {code:#x}")));
    }
    None
}

/// `ntoskrnl.lib`: `wdk-sys` declares its functions as plain `extern`, for the WDK's library of that name.
fn import_library(folder: &Path, functions: &str, constants: &str, tools: &Tools) -> Result<()> {
    let step = Step::start("import library ntoskrnl.lib");
    let names = declared(functions, "pub fn ");
    // A driver that reads a variable through a code thunk would read code: DATA has no thunk.
    let mut variables = declared(constants, "pub static mut ");
    variables.extend(declared(constants, "pub static "));
    variables.remove("mut");
    if names.len() < 1000 {
        bail!("only {} functions were found in the headers", names.len());
    }
    let mut definition = String::from("LIBRARY ntoskrnl.exe\nEXPORTS\n");
    for name in &names {
        writeln!(definition, "{name}")?;
    }
    for name in &variables {
        writeln!(definition, "{name} DATA")?;
    }
    let def = folder.join("ntoskrnl.def");
    fs::write(&def, definition)?;
    run::quiet(
        std::process::Command::new(tools.dlltool()?)
            .args(["-m", "i386:x86-64", "-d"])
            .arg(&def)
            .arg("-l")
            .arg(folder.join("ntoskrnl.lib")),
    )?;
    step.done();
    Ok(())
}

/// The names that follow `keyword` in a generated file.
fn declared<'a>(text: &'a str, keyword: &str) -> BTreeSet<&'a str> {
    text.lines()
        .filter_map(|line| line.trim_start().strip_prefix(keyword))
        .filter_map(|rest| rest.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_keeps_its_bits() {
        assert_eq!(
            cast_constant("#define STATUS_ACCESS_DENIED ((NTSTATUS)0xC0000022)"),
            Some(("STATUS_ACCESS_DENIED", "NTSTATUS = -1073741790".to_owned()))
        );
    }

    #[test]
    fn a_control_code_is_put_together_as_ctl_code_does() {
        let line = "#define FSCTL_SET_ZERO_DATA  CTL_CODE(FILE_DEVICE_FILE_SYSTEM, 50, METHOD_BUFFERED, FILE_WRITE_DATA)";
        assert_eq!(cast_constant(line), Some(("FSCTL_SET_ZERO_DATA", "u32 = 0x980c8".to_owned())));
    }

    #[test]
    fn other_lines_are_left_alone() {
        assert_eq!(cast_constant("#define STATUS_OTHER SOMETHING_ELSE"), None);
        assert_eq!(cast_constant("typedef int STATUS_X;"), None);
    }
}

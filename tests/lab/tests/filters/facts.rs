//! Rules of the collected facts that are tables of their own: levels of routines, registration flags, what a cleanup can
//! tell.

use std::collections::BTreeMap;

use fltkernel::*;
use lab::flt::imports::filters::{FltBuildDefaultSecurityDescriptor, FltFreeSecurityDescriptor};
use lab::flt::imports::operations::{FltGetRequestorProcess, FltGetRequestorProcessId};
use lab::{CreateOptions, SHARE_ALL};
use lab_executive::imports::processes::{PsGetProcessExitStatus, PsGetProcessId};
use lab_executive::irql::{self, Irql};

use crate::made::{Data, Made, Related, iopb, note, notes};
use crate::scene::{ALL, clean, lab_with};

const FACTS: &str = include_str!("../../facts/minifilter-rules.md");

/// minifilter-rules §2.6: the table, read from the document, against the ceilings that the imports declare.
/// minifilter-rules §1.9.
#[test]
fn the_ceilings_of_routines_are_those_of_the_facts() {
    let ceilings: BTreeMap<&str, Irql> =
        lab::loading::tables().into_iter().flatten().map(|import| (import.name, import.ceiling)).collect();
    let table = FACTS.split("### 2.6").nth(1).unwrap().split("\n\n").next().unwrap();
    let mut compared = 0;
    for (level, ceiling) in
        [("PASSIVE", irql::PASSIVE_LEVEL), ("APC", irql::APC_LEVEL), ("DISPATCH", irql::DISPATCH_LEVEL)]
    {
        let row = table.lines().find_map(|line| line.strip_prefix(&format!("| {level} |"))).unwrap();
        for routine in row.split([',', '|']).map(str::trim) {
            let Some(own) = ceilings.get(routine) else { continue };
            assert_eq!(irql::name(*own), irql::name(ceiling), "{routine}");
            compared += 1;
        }
    }
    assert!(compared >= 10, "{compared} routines of the table were found");
}

/// minifilter-rules §2.1: the codes, read from the document.
#[test]
fn the_major_functions_are_those_of_the_facts() {
    let section = FACTS.split("### 2.1").nth(1).unwrap().split("### 2.2").next().unwrap();
    // "QUERY_VOLUME 0xA", "ACQUIRE_FOR_SECTION_SYNC 0xFF": the names are cut; "MOD_WRITE 0xFD/0xFC": acquire, release.
    let mut compared = 0;
    for part in section.split([',', ';', ':', '\n']).map(|part| part.trim().trim_end_matches('.')) {
        let Some((name, code)) = part.rsplit_once(' ') else { continue };
        let number = |code: &str| match code.strip_prefix("0x") {
            Some(hex) => u8::from_str_radix(hex, 16).ok(),
            None => code.parse().ok(),
        };
        let codes: Vec<u8> = code.split('/').filter_map(number).collect();
        let own: Vec<_> = codes.iter().map(|code| lab::flt::registration::major_name(*code)).collect();
        match codes.as_slice() {
            [_] if name == "OPERATION_END" => assert_eq!(own, [""]),
            [_] if name == "RELEASE" => assert_eq!(own, ["IRP_MJ_RELEASE_FOR_SECTION_SYNCHRONIZATION"]),
            [_] => assert!(own[0].starts_with(&format!("IRP_MJ_{name}")), "{part}: {own:?}"),
            [_, _] => {
                assert_eq!(own, [format!("IRP_MJ_ACQUIRE_FOR_{name}"), format!("IRP_MJ_RELEASE_FOR_{name}")]);
            }
            _ => continue,
        }
        compared += codes.len();
    }
    assert_eq!(compared, 28 + 16, "codes of the document");
    let named = (0..=u8::MAX).filter(|code| !lab::flt::registration::major_name(*code).is_empty());
    assert_eq!(named.count(), 28 + 15, "and no other but the end of the table");
}

unsafe extern "win64" fn seen(data: Data, _: Related, _: *mut PVOID) -> i32 {
    note(format!("{}", iopb(data).MajorFunction));
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

/// minifilter-rules §2.3: which reads and writes the flags keep from a filter.
#[test]
fn a_filter_does_not_see_the_transfers_that_it_skips() {
    const NO_INTERMEDIATE_BUFFERING: u32 = 0x8;
    let writes_seen = |flags: u32, options: u32| {
        let (lab, program) = lab_with(1);
        let made = Made::new().on(IRP_MJ_WRITE, Some(seen), None).skipping(flags);
        made.load::<0>(&lab, "385100").unwrap();
        let open = CreateOptions::open(r"C:\a", ALL).options(options);
        let handle = program.create_file(open).unwrap();
        notes();
        program.write(handle, 0, &[0; 512]).unwrap();
        program.close(handle).unwrap();
        let count = notes().len();
        clean(&lab, &program);
        count
    };
    let cached = |flags| writes_seen(flags, 0);
    let uncached = |flags| writes_seen(flags, NO_INTERMEDIATE_BUFFERING);
    assert_eq!((cached(0), uncached(0)), (1, 1));
    let skip_cached = FLTFL_OPERATION_REGISTRATION_SKIP_CACHED_IO;
    assert_eq!((cached(skip_cached), uncached(skip_cached)), (0, 1));
    let skip_uncached = FLTFL_OPERATION_REGISTRATION_SKIP_NON_CACHED_NON_PAGING_IO;
    assert_eq!((cached(skip_uncached), uncached(skip_uncached)), (1, 0));
    let skip_paging = FLTFL_OPERATION_REGISTRATION_SKIP_PAGING_IO;
    assert_eq!((cached(skip_paging), uncached(skip_paging)), (1, 1));
    let skip_all = FLTFL_OPERATION_REGISTRATION_SKIP_NON_DASD_IO;
    assert_eq!((cached(skip_all), uncached(skip_all)), (0, 0));
    let paged = |flags: u32| {
        let (lab, program) = lab_with(1);
        Made::new().on(IRP_MJ_WRITE, Some(seen), None).skipping(flags).load::<0>(&lab, "385100").unwrap();
        program.call(|caller| {
            let handle = caller.create_file(&CreateOptions::open(r"C:\a", ALL)).unwrap().handle;
            let view = caller.create_section(handle, true).unwrap();
            caller.write_mapped(&view, 0, b"x").unwrap();
            caller.flush_mapped(&view).unwrap();
            caller.close_section(view);
            caller.close(handle).unwrap();
        });
        let count = notes().len();
        clean(&lab, &program);
        count
    };
    assert_eq!([0, skip_cached, skip_uncached, skip_paging].map(paged), [1, 1, 1, 0]);
}

unsafe extern "win64" fn header(_: Data, related: Related, _: PVOID, _: u32) -> i32 {
    // SAFETY: related objects and the file object that has just been opened.
    unsafe {
        let file = (*related).FileObject.cast::<lab_nt::FILE_OBJECT>();
        let header = (*file).FsContext.cast::<lab_nt::FSRTL_ADVANCED_FCB_HEADER>();
        if !header.is_null() && !(*file).FsContext2.is_null() {
            note(format!("{:#x} {:#x}", (*header).Flags, (*header).Flags2));
        }
    }
    FLT_POSTOP_FINISHED_PROCESSING
}

/// minifilter-rules §1.3, §1.3.1: FsContext is an advanced header that says that filters may hang contexts on it, and FsContext2
/// tells a handle's file object from a stream's.
#[test]
fn an_opened_file_object_has_an_advanced_header() {
    let (lab, program) = lab_with(1);
    Made::new().on(IRP_MJ_CREATE, None, Some(header)).load::<0>(&lab, "385100").unwrap();
    let handle = program.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
    let noted = notes();
    let numbers: Vec<u32> =
        noted[0].split(' ').map(|n| u32::from_str_radix(n.trim_start_matches("0x"), 16).unwrap()).collect();
    assert_eq!(
        (numbers[0] & 0x40, numbers[1] & 0x2),
        (0x40, 0x2),
        "ADVANCED_HEADER, SUPPORTS_FILTER_CONTEXTS"
    );
    program.close(handle).unwrap();
    clean(&lab, &program);
}

/// minifilter-rules §3.6: SYSTEM and Administrators, nobody else, with the access asked for.
#[test]
fn the_default_descriptor_lets_system_and_administrators_in() {
    const FLT_PORT_ALL_ACCESS: u32 = 0x1F_0001;
    let (lab, program) = lab_with(1);
    let sids = lab
        .executive()
        .run(|_| {
            let mut descriptor = std::ptr::null_mut();
            // SAFETY: an out pointer; then a self-relative descriptor of the routine, whose DACL is read and freed.
            unsafe {
                assert_eq!(FltBuildDefaultSecurityDescriptor(&raw mut descriptor, FLT_PORT_ALL_ACCESS), 0);
                let base = descriptor.cast::<u8>();
                let dacl = base.add(base.add(16).cast::<u32>().read_unaligned() as usize);
                let count = dacl.add(4).cast::<u16>().read_unaligned();
                let mut at = dacl.add(8);
                let mut sids = Vec::new();
                for _ in 0..count {
                    let size = at.add(2).cast::<u16>().read_unaligned() as usize;
                    assert_eq!(
                        (at.read(), at.add(4).cast::<u32>().read_unaligned()),
                        (0, FLT_PORT_ALL_ACCESS)
                    );
                    sids.push(std::slice::from_raw_parts(at.add(8), size - 8).to_vec());
                    at = at.add(size);
                }
                FltFreeSecurityDescriptor(descriptor);
                sids
            }
        })
        .unwrap();
    let administrators = vec![1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 32, 2, 0, 0];
    assert_eq!(sids, [lab_executive::process::LOCAL_SYSTEM.to_vec(), administrators]);
    clean(&lab, &program);
}

unsafe extern "win64" fn tell(data: Data, _: Related, _: *mut PVOID) -> i32 {
    // SAFETY: callback data is valid during the callback, and so is the process that asked.
    unsafe {
        let process = FltGetRequestorProcess(data);
        assert_eq!(PsGetProcessId(process.cast()) as u32, FltGetRequestorProcessId(data));
        note(format!("{} {:#x}", FltGetRequestorProcessId(data), PsGetProcessExitStatus(process.cast())));
    }
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

/// txf-ktm §8.3: what a cleanup tells of its process: alive at an ordinary close, its exit status when it is swept, and
/// the closer, not the opener, of a duplicated handle.
/// minifilter-rules §2.2; txf-ktm §8.1, §8.2.
#[test]
fn a_cleanup_tells_whose_it_is_and_how_the_process_ended() {
    let (lab, program) = lab_with(1);
    Made::new().on(IRP_MJ_CLEANUP, Some(tell), None).load::<0>(&lab, "385100").unwrap();
    let open = || CreateOptions::open(r"C:\a", ALL).share(SHARE_ALL);
    let handle = program.create_file(open()).unwrap();
    program.close(handle).unwrap();
    assert_eq!(notes(), [format!("{} 0x103", program.id())]);
    let other = lab.process("other.exe");
    let handle = program.create_file(open()).unwrap();
    let duplicate = program.duplicate(handle, &other).unwrap();
    program.close(handle).unwrap();
    assert!(notes().is_empty(), "another handle is left");
    other.close(duplicate).unwrap();
    assert_eq!(notes(), [format!("{} 0x103", other.id())]);
    other.create_file(open()).unwrap();
    other.exit(0);
    assert_eq!(notes(), [format!("{} 0x0", other.id())]);
    let dying = lab.process("dying.exe");
    dying.create_file(open()).unwrap();
    dying.kill(1);
    assert_eq!(notes(), [format!("{} 0x1", dying.id())]);
    clean(&lab, &program);
}

//! Mapped files on a bare volume.

use lab::{CreateOptions, DELETE, GENERIC_READ, GENERIC_WRITE, Handle, Lab, Process, Status};

const BOTH: u32 = GENERIC_READ | GENERIC_WRITE;
const FILE: &str = r"C:\a";

fn scene(contents: &[u8]) -> (std::rc::Rc<Lab>, Process, Handle) {
    let lab = Lab::builder().build().unwrap();
    let program = lab.process("program.exe");
    program.put(FILE, contents).unwrap();
    let handle = program.create_file(CreateOptions::open(FILE, BOTH)).unwrap();
    (lab, program, handle)
}

fn end(lab: &Lab, program: &Process) {
    program.exit(0);
    let report = lab.unload();
    assert!(report.is_clean(), "{report}");
}

/// minifilter-rules §1.5: paging I/O goes to the file object that the first section was made over.
/// txf-ktm §8.1.
#[test]
fn a_section_keeps_the_file_object_that_backs_it() {
    let (lab, program, handle) = scene(b"0123456789");
    program.call(move |caller| {
        let section = caller.create_section(handle, true).unwrap();
        caller.close(handle).unwrap();
        caller.write_mapped(&section, 2, b"AB").unwrap();
        caller.close_section(section);
    });
    assert_eq!(program.contents(FILE).unwrap(), b"01AB456789");
    end(&lab, &program);
}

#[test]
fn views_and_cached_reads_and_writes_see_each_other() {
    let (lab, program, handle) = scene(&[b'.'; 5000]);
    program.call(move |caller| {
        let section = caller.create_section(handle, true).unwrap();
        caller.write_mapped(&section, 4094, b"view").unwrap();
        assert_eq!(caller.read(handle, Some(4092), 8).unwrap(), b"..view..");
        caller.write(handle, lab::Offset::At(4096), b"FILE").unwrap();
        assert_eq!(caller.read_mapped(&section, 4092, 10).unwrap(), b"..viFILE..");
        caller.close_section(section);
        assert_eq!(caller.read(handle, Some(4092), 10).unwrap(), b"..viFILE..");
    });
    end(&lab, &program);
}

#[test]
fn a_view_reaches_the_file_when_it_is_flushed_or_the_page_writer_comes() {
    let (lab, program, handle) = scene(b"0123456789");
    program.call(move |caller| {
        let section = caller.create_section(handle, true).unwrap();
        // Past the cache, so that what views have modified is written first.
        let unbuffered = caller.create_file(&CreateOptions::open(FILE, BOTH).options(0x8)).unwrap().handle;
        caller.write_mapped(&section, 0, b"a").unwrap();
        caller.flush_mapped(&section).unwrap();
        assert_eq!(caller.read(unbuffered, Some(0), 512).unwrap(), b"a123456789");
        caller.write_mapped(&section, 1, b"b").unwrap();
        caller.mapped_page_writer();
        assert_eq!(caller.read(unbuffered, Some(0), 512).unwrap(), b"ab23456789");
        caller.write_mapped(&section, 2, b"c").unwrap();
        assert_eq!(caller.read(unbuffered, Some(0), 512).unwrap(), b"abc3456789");
        caller.close_section(section);
    });
    end(&lab, &program);
}

/// ntifs/MmCanFileBeTruncated, ntifs/MmFlushImageSection.
#[test]
fn a_mapped_file_is_not_cut_emptied_or_deleted() {
    let (lab, program, handle) = scene(b"0123456789");
    program.call(move |caller| {
        let section = caller.create_section(handle, false).unwrap();
        assert_eq!(caller.set_end_of_file(handle, 3), Err(Status::USER_MAPPED_FILE));
        caller.set_end_of_file(handle, 20).unwrap();
        let emptied = caller.create_file(&CreateOptions::overwrite_if(FILE, BOTH)).map(|_| ());
        assert_eq!(emptied, Err(Status::USER_MAPPED_FILE));

        assert_eq!(caller.delete(FILE), Err(Status::CANNOT_DELETE));
        caller.close_section(section);
        caller.set_end_of_file(handle, 3).unwrap();
        caller.delete(FILE).unwrap();
    });
    end(&lab, &program);
}

#[test]
fn a_section_has_the_files_size_or_extends_it() {
    let (lab, program, handle) = scene(b"");
    program.call(move |caller| {
        let size_zero = Status(0xC000_011E);
        assert_eq!(caller.create_section(handle, true).err(), Some(size_zero));
        let too_big = Status(0xC000_0040);
        assert_eq!(caller.create_section_of(handle, false, Some(10)).err(), Some(too_big));
        let section = caller.create_section_of(handle, true, Some(10)).unwrap();
        assert_eq!(caller.mapped_size(&section), Ok(10));
        caller.write_mapped(&section, 8, b"xy").unwrap();
        assert_eq!(caller.write_mapped(&section, 4095, b"xy"), Err(Status::ACCESS_VIOLATION));
        caller.close_section(section);
        assert_eq!(caller.read(handle, Some(0), 20).unwrap(), b"\0\0\0\0\0\0\0\0xy");
    });
    end(&lab, &program);
}

/// txf-ktm §8.2: views go after the handles, when the address space does.
#[test]
fn views_of_a_process_end_with_it_and_what_they_modified_stays() {
    let (lab, program, handle) = scene(b"0123456789");
    program.call(move |caller| {
        let section = caller.create_section(handle, true).unwrap();
        caller.write_mapped(&section, 0, b"late").unwrap();
    });
    program.kill(1);
    let other = lab.process("other.exe");
    assert_eq!(other.contents(FILE).unwrap(), b"late456789");
    end(&lab, &other);
}

#[test]
fn a_read_only_view_is_not_written_and_a_closed_one_is_gone() {
    let (lab, program, handle) = scene(b"0123456789");
    program.call(move |caller| {
        let section = caller.create_section(handle, false).unwrap();
        assert_eq!(caller.write_mapped(&section, 0, b"x"), Err(Status::ACCESS_VIOLATION));
        caller.close_section(section.clone());
        assert_eq!(caller.read_mapped(&section, 0, 1), Err(Status::ACCESS_VIOLATION));
    });
    end(&lab, &program);
}

const PROGRAM: &[u8] = b"MZ, and what follows";

/// minifilter-rules §2.10.
#[test]
fn an_image_is_made_of_a_program_only_and_shows_it() {
    let (lab, program, handle) = scene(PROGRAM);
    program.call(move |caller| {
        let image = caller.create_image_section(handle).unwrap();
        assert_eq!(caller.read_mapped(&image, 0, 5).unwrap(), b"MZ, a");
        assert_eq!(caller.write_mapped(&image, 0, b"x"), Err(Status::ACCESS_VIOLATION));
        let data = caller.create_section(handle, true).unwrap();
        caller.close_section(image);
        caller.write_mapped(&data, 0, b"NE").unwrap();
        caller.close_section(data);
        assert_eq!(
            caller.create_image_section(handle).err(),
            Some(Status(0xC000_012F)),
            "no program any more"
        );
        caller.set_end_of_file(handle, 0).unwrap();
        assert_eq!(caller.create_image_section(handle).err(), Some(Status(0xC000_0020)), "nothing");
    });
    end(&lab, &program);
}

/// minifilter-rules §2.10: by whom, and what for, the file may be opened and changed while it is mapped as an image.
#[test]
fn an_image_is_not_opened_to_write_nor_deleted_cut_or_replaced() {
    let (lab, program, handle) = scene(PROGRAM);
    program.call(move |caller| {
        let image = caller.create_image_section(handle).unwrap();
        let open =
            |options: CreateOptions| caller.create_file(&options).map(|created| caller.close(created.handle));
        assert_eq!(open(CreateOptions::open(FILE, GENERIC_WRITE)).err(), Some(Status::SHARING_VIOLATION));
        let append = 0x4;
        assert_eq!(open(CreateOptions::open(FILE, append)).err(), None);
        assert_eq!(open(CreateOptions::overwrite_if(FILE, 0)).err(), Some(Status::USER_MAPPED_FILE));
        let on_close = CreateOptions::open(FILE, DELETE).options(0x1000);
        assert_eq!(open(on_close).err(), Some(Status::CANNOT_DELETE));
        assert_eq!(caller.delete(FILE), Err(Status::CANNOT_DELETE));
        // Who had it open writes, but cuts nothing.
        caller.write(handle, lab::Offset::At(0), b"MZ! ").unwrap();
        assert_eq!(caller.set_end_of_file(handle, 3), Err(Status::USER_MAPPED_FILE));
        let other = caller.create_file(&CreateOptions::create(r"C:\b", DELETE)).unwrap().handle;
        caller.close(handle).unwrap();
        assert_eq!(
            caller.rename(other, FILE, true),
            Err(Status::ACCESS_DENIED),
            "although nobody has it open"
        );
        caller.rename_path(FILE, r"C:\c", false).unwrap();
        caller.rename(other, FILE, true).unwrap();
        caller.close_section(image);
        caller.close(other).unwrap();
        assert_eq!(open(CreateOptions::open(r"C:\c", BOTH | DELETE)).err(), None);
    });
    end(&lab, &program);
}

/// minifilter-rules §2.10.
#[test]
fn an_image_keeps_transactions_out_by_switch() {
    for keeps in [true, false] {
        let lab = Lab::builder().switches(|s| s.image_keeps_transactions_out = keeps).build().unwrap();
        let program = lab.process("program.exe");
        program.put(FILE, PROGRAM).unwrap();
        let handle = program.create_file(CreateOptions::open(FILE, GENERIC_READ)).unwrap();
        program.call(move |caller| {
            let image = caller.create_image_section(handle).unwrap();
            caller.close(handle).unwrap();
            let transaction = caller.create_transaction().unwrap();
            let open = CreateOptions::open(FILE, GENERIC_WRITE).inside(transaction);
            let opened = caller.create_file(&open);
            assert_eq!(opened.is_err(), keeps, "{opened:?}");
            if let Ok(opened) = opened {
                caller.close(opened.handle).unwrap();
            }
            caller.rollback_transaction(transaction).unwrap();
            caller.close(transaction).unwrap();
            caller.close_section(image);
        });
        end(&lab, &program);
    }
}

//! Renames, hard links and deletions of files in a save: published with the data, or undone with it.

use intact_saves::{FILE, Happened, NEW, OLD, Rule, Scene, seen};
use lab::{Caller, CreateOptions, DELETE, GENERIC_READ, GENERIC_WRITE, Handle, Process, Status};
use lab_executive::import::FaultKind;

const ALL: u32 = GENERIC_READ | GENERIC_WRITE | DELETE;
const MOVED: &str = r"C:\Saved\moved.txt";
const ELSEWHERE: &str = r"C:\Saved\Sub\moved.txt";
const FRESH: &str = r"C:\Saved\fresh.txt";
const OTHER: &str = r"C:\Saved\other.txt";
const OTHERS: &[u8] = b"what the other file holds";

const LINK: u32 = 11;
const DISPOSITION_EX: u32 = 64;
const RENAME_EX: u32 = 65;
const LINK_EX: u32 = 72;
const REPLACE: u32 = 1;
const POSIX: u32 = 2;

/// FILE_RENAME_INFORMATION_EX and FILE_LINK_INFORMATION_EX for a name in the same folder or a whole path.
fn name(flags: u32, to: &str) -> Vec<u8> {
    let to = if to.contains(':') && !to.starts_with(':') { format!(r"\??\{to}") } else { to.to_owned() };
    let units: Vec<u8> = to.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut data = flags.to_le_bytes().to_vec();
    data.extend([0; 12]);
    data.extend((units.len() as u32).to_le_bytes());
    data.extend(units);
    data
}

fn scene() -> Scene {
    Scene::builder().file(r"Saved\other.txt", OTHERS).file(r"Saved\Sub\inner.txt", b"inner").build()
}

/// Opens with every right, and writes the new version.
fn write(program: &Process, path: &str) -> Handle {
    let handle = program.create_file(CreateOptions::open_if(path, ALL)).unwrap();
    program.write(handle, 0, NEW).unwrap();
    handle
}

fn rename(program: &Process, handle: Handle, to: &'static str, replace: bool) -> Result<(), Status> {
    program.call(move |caller| caller.rename(handle, to, replace))
}

fn set(program: &Process, handle: Handle, class: u32, data: Vec<u8>) -> Result<(), Status> {
    program.call(move |caller| caller.set_information(handle, class, &data))
}

fn delete(program: &Process, handle: Handle) -> Result<(), Status> {
    program.call(move |caller| caller.set_delete(handle, true))
}

fn try_open(program: &Process, path: &'static str, access: u32) -> Result<(), Status> {
    program.call(move |caller: &Caller<'_>| {
        let handle = caller.create_file(&CreateOptions::open(path, access))?.handle;
        caller.close(handle)
    })
}

/// Every way to give the file another name: the same folder, another folder, in both forms.
type Way = (&'static str, &'static str, fn(&Process, Handle, &'static str) -> Result<(), Status>);
const WAYS: [Way; 4] = [
    ("in the same folder", MOVED, |program, handle, _| rename(program, handle, "moved.txt", false)),
    ("by a whole path", MOVED, |program, handle, to| rename(program, handle, to, false)),
    ("into another folder", ELSEWHERE, |program, handle, to| rename(program, handle, to, false)),
    ("with POSIX semantics", ELSEWHERE, |program, handle, to| {
        set(program, handle, RENAME_EX, name(POSIX, to))
    }),
];

#[test]
fn a_rename_in_a_save_is_published_with_the_data() {
    for (what, target, way) in WAYS {
        let scene = scene();
        let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
        let handle = write(&writer, FILE);
        way(&writer, handle, target).unwrap_or_else(|status| panic!("{what}: {status}"));
        // Outside nothing has happened yet.
        scene.assert_committed(FILE, OLD);
        assert_eq!(scene.committed(target), None, "{what}");
        assert_eq!(other.contents(FILE), Ok(OLD.to_vec()), "{what}");
        writer.write(handle, 0, NEW).unwrap();
        writer.close(handle).unwrap();
        scene.assert_committed(target, NEW);
        assert_eq!(scene.committed(FILE), None, "{what}");
        scene.assert_one_commit();
        scene.end();
    }
}

#[test]
fn a_killed_writer_leaves_the_old_name_with_the_old_data() {
    for (what, target, way) in WAYS {
        let scene = scene();
        let writer = scene.program("writer.exe");
        let before = scene.lab.with_volume(|volume| volume.tree());
        let handle = write(&writer, FILE);
        way(&writer, handle, target).unwrap();
        writer.kill(1);
        let after = scene.lab.with_volume(|volume| volume.tree());
        assert!(before == after, "{what}");
        scene.assert_rolled_back("the process died with the file open");
        scene.end();
    }
}

#[test]
fn a_rename_alone_is_a_modification() {
    let scene = scene();
    let writer = scene.program("writer.exe");
    let handle = writer.create_file(CreateOptions::open(FILE, ALL)).unwrap();
    rename(&writer, handle, MOVED, false).unwrap();
    writer.close(handle).unwrap();
    scene.assert_committed(MOVED, OLD);
    scene.assert_one_commit();
    scene.end();
}

#[test]
fn the_id_stays_with_a_file_that_is_renamed_in_a_save() {
    let scene = scene();
    let id = |path: &str| scene.lab.with_volume(|volume| volume.tree()[path].id);
    let before = id(r"Saved\report.txt");
    let writer = scene.program("writer.exe");
    let handle = write(&writer, FILE);
    rename(&writer, handle, ELSEWHERE, false).unwrap();
    let told = writer.call(move |caller| caller.information(handle).unwrap().id);
    writer.close(handle).unwrap();
    assert_eq!(id(r"Saved\Sub\moved.txt"), before);
    assert_eq!(told, before.0);
    scene.end();
}

#[test]
fn a_rename_over_another_file_replaces_it_if_asked_to_and_is_undone_with_both() {
    for killed in [false, true] {
        let scene = scene();
        let writer = scene.program("writer.exe");
        let before = scene.lab.with_volume(|volume| volume.tree());
        let handle = write(&writer, FILE);
        assert_eq!(rename(&writer, handle, OTHER, false), Err(Status::OBJECT_NAME_COLLISION));
        rename(&writer, handle, OTHER, true).unwrap();
        scene.assert_committed(OTHER, OTHERS);
        if killed {
            writer.kill(1);
            assert!(scene.lab.with_volume(|volume| volume.tree()) == before);
        } else {
            writer.close(handle).unwrap();
            scene.assert_committed(OTHER, NEW);
            assert_eq!(scene.committed(FILE), None);
            scene.assert_one_commit();
        }
        scene.end();
    }
}

/// As on the bare volume: a file that somebody has open is not replaced, unless with POSIX semantics.
#[test]
fn a_rename_over_a_file_that_somebody_has_open_is_refused_as_without_intact() {
    let scene = scene();
    let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
    let reading = other.create_file(CreateOptions::open(OTHER, GENERIC_READ)).unwrap();
    let handle = write(&writer, FILE);
    assert_eq!(rename(&writer, handle, OTHER, true), Err(Status::ACCESS_DENIED));
    set(&writer, handle, RENAME_EX, name(REPLACE | POSIX, OTHER)).unwrap();
    assert_eq!(other.read(reading, 0, 100), Ok(OTHERS.to_vec()));
    writer.close(handle).unwrap();
    scene.assert_committed(OTHER, NEW);
    assert_eq!(other.read(reading, 0, 100), Ok(OTHERS.to_vec()), "who has it open keeps it");
    scene.assert_one_commit();
    scene.end();
}

#[test]
fn a_rename_over_a_file_in_somebody_elses_save_is_refused_and_wounds_nothing() {
    for flags in [REPLACE, REPLACE | POSIX] {
        let scene = scene();
        let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
        let theirs = write(&other, OTHER);
        let handle = write(&writer, FILE);
        let refused = set(&writer, handle, RENAME_EX, name(flags, OTHER));
        assert!(matches!(refused, Err(Status::ACCESS_DENIED | Status::SHARING_VIOLATION)), "{refused:?}");
        writer.close(handle).unwrap();
        other.close(theirs).unwrap();
        scene.assert_committed(FILE, NEW);
        scene.assert_committed(OTHER, NEW);
        scene.end();
    }
}

#[test]
fn a_hard_link_made_in_a_save_appears_with_the_data_or_not_at_all() {
    for (class, killed) in [(LINK, false), (LINK_EX, false), (LINK, true)] {
        let scene = scene();
        let writer = scene.program("writer.exe");
        let handle = write(&writer, FILE);
        set(&writer, handle, class, name(0, ELSEWHERE)).unwrap();
        assert_eq!(scene.committed(ELSEWHERE), None);
        if killed {
            writer.kill(1);
            scene.assert_committed(FILE, OLD);
            assert_eq!(scene.committed(ELSEWHERE), None);
        } else {
            writer.close(handle).unwrap();
            scene.assert_committed(FILE, NEW);
            scene.assert_committed(ELSEWHERE, NEW);
            let links = scene.lab.with_volume(|volume| {
                let tree = volume.tree();
                tree[r"Saved\report.txt"].id == tree[r"Saved\Sub\moved.txt"].id
            });
            assert!(links);
        }
        scene.end();
    }
}

/// FILE_DISPOSITION_DELETE in both forms, also with POSIX semantics.
type Deletion = fn(&Process, Handle) -> Result<(), Status>;

const DELETIONS: [Deletion; 3] = [
    delete,
    |program, handle| set(program, handle, DISPOSITION_EX, vec![1, 0, 0, 0]),
    |program, handle| set(program, handle, DISPOSITION_EX, vec![3, 0, 0, 0]),
];

#[test]
fn a_file_that_is_deleted_in_a_save_goes_at_the_clean_close() {
    for (number, way) in DELETIONS.into_iter().enumerate() {
        let scene = scene();
        let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
        let handle = write(&writer, FILE);
        way(&writer, handle).unwrap();
        assert_eq!(other.contents(FILE), Ok(OLD.to_vec()), "{number}");
        writer.close(handle).unwrap();
        assert_eq!(scene.committed(FILE), None, "{number}");
        assert_eq!(try_open(&other, FILE, GENERIC_READ), Err(Status::OBJECT_NAME_NOT_FOUND));
        scene.assert_one_commit();
        scene.end();
    }
}

#[test]
fn a_file_that_a_killed_process_had_deleted_is_still_there() {
    for way in DELETIONS {
        let scene = scene();
        let writer = scene.program("writer.exe");
        let before = scene.lab.with_volume(|volume| volume.tree());
        let handle = write(&writer, FILE);
        way(&writer, handle).unwrap();
        writer.kill(1);
        assert!(scene.lab.with_volume(|volume| volume.tree()) == before);
        scene.end();
    }
}

#[test]
fn a_deletion_that_is_taken_back_deletes_nothing() {
    let scene = scene();
    let writer = scene.program("writer.exe");
    let handle = write(&writer, FILE);
    delete(&writer, handle).unwrap();
    let pending = writer.call(move |caller| caller.information(handle).unwrap().delete_pending);
    assert!(pending, "its own program sees it");
    writer.call(move |caller| caller.set_delete(handle, false)).unwrap();
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, NEW);
    scene.end();
}

#[test]
fn a_deletion_waits_for_the_last_handle_of_the_save() {
    let scene = scene();
    let writer = scene.program("writer.exe");
    let (first, second) = (write(&writer, FILE), write(&writer, FILE));
    delete(&writer, first).unwrap();
    writer.close(first).unwrap();
    scene.assert_committed(FILE, OLD);
    assert_eq!(writer.read(second, 0, 100), Ok(NEW.to_vec()));
    writer.close(second).unwrap();
    assert_eq!(scene.committed(FILE), None);
    scene.assert_happened(&[Happened::Begun, Happened::Joined("writer".into()), Happened::Committed]);
    scene.end();
}

#[test]
fn a_read_only_file_is_not_deleted() {
    let scene = scene();
    let writer = scene.program("writer.exe");
    let handle = writer.create_file(CreateOptions::open(FILE, ALL | 0x100)).unwrap();
    writer.write(handle, 0, NEW).unwrap();
    writer.call(move |caller| caller.set_basic(handle, [None; 4], 1)).unwrap();
    assert_eq!(delete(&writer, handle), Err(Status::CANNOT_DELETE));
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, NEW);
    scene.end();
}

#[test]
fn a_new_file_is_renamed_before_its_first_close() {
    for killed in [false, true] {
        let scene = scene();
        let writer = scene.program("writer.exe");
        let handle = write(&writer, FRESH);
        rename(&writer, handle, ELSEWHERE, false).unwrap();
        if killed {
            writer.kill(1);
            assert_eq!(scene.committed(ELSEWHERE), None);
        } else {
            writer.close(handle).unwrap();
            scene.assert_committed(ELSEWHERE, NEW);
        }
        assert_eq!(scene.committed(FRESH), None, "the placeholder is gone, killed: {killed}");
        scene.end();
    }
}

#[test]
fn a_new_file_that_replaces_another_at_its_first_close_is_a_safe_save() {
    for killed in [false, true] {
        let scene = scene();
        let writer = scene.program("writer.exe");
        let handle = write(&writer, FRESH);
        rename(&writer, handle, FILE, true).unwrap();
        scene.assert_committed(FILE, OLD);
        if killed {
            writer.kill(1);
            scene.assert_committed(FILE, OLD);
        } else {
            writer.close(handle).unwrap();
            scene.assert_committed(FILE, NEW);
        }
        assert_eq!(scene.committed(FRESH), None, "killed: {killed}");
        scene.end();
    }
}

#[test]
fn a_new_file_is_deleted_before_its_first_close() {
    for killed in [false, true] {
        let scene = scene();
        let writer = scene.program("writer.exe");
        let handle = write(&writer, FRESH);
        delete(&writer, handle).unwrap();
        if killed {
            writer.kill(1)
        } else {
            writer.close(handle).unwrap()
        }
        assert_eq!(scene.committed(FRESH), None, "killed: {killed}");
        scene.end();
    }
}

#[test]
fn the_process_finds_its_file_by_the_new_name_only() {
    let scene = scene();
    let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
    let handle = write(&writer, FILE);
    rename(&writer, handle, ELSEWHERE, false).unwrap();
    assert_eq!(writer.contents(ELSEWHERE), Ok(NEW.to_vec()));
    assert_eq!(try_open(&writer, FILE, GENERIC_READ), Err(Status::OBJECT_NAME_NOT_FOUND));
    assert_eq!(try_open(&writer, FILE, GENERIC_WRITE), Err(Status::OBJECT_NAME_NOT_FOUND));
    let size = writer.call(|caller| caller.query_attributes_by_path(ELSEWHERE).map(|found| found.size));
    assert_eq!(size, Ok(NEW.len() as u64));
    let stat = writer.call(|caller| caller.query_stat_by_path(FILE).map(drop));
    assert_eq!(stat, Err(Status::OBJECT_NAME_NOT_FOUND));
    // A second writer by the new name is in the same save.
    let second = writer.create_file(CreateOptions::open(ELSEWHERE, ALL)).unwrap();
    writer.write(second, 2, b"XYZ").unwrap();
    assert_eq!(&writer.read(handle, 0, 5).unwrap()[2..], b"XYZ");
    let made = writer.create_file(CreateOptions::create(ELSEWHERE, ALL));
    assert_eq!(made, Err(Status::OBJECT_NAME_COLLISION));
    // Others see what is committed.
    assert_eq!(other.contents(FILE), Ok(OLD.to_vec()));
    assert_eq!(try_open(&other, ELSEWHERE, GENERIC_READ), Err(Status::OBJECT_NAME_NOT_FOUND));
    writer.close(second).unwrap();
    scene.assert_committed(FILE, OLD);
    writer.close(handle).unwrap();
    assert_eq!(&scene.committed(ELSEWHERE).unwrap()[..5], b"a XYZ");
    scene.end();
}

#[test]
fn the_process_finds_its_own_file_where_it_replaced_another() {
    let scene = scene();
    let writer = scene.program("writer.exe");
    let handle = write(&writer, FILE);
    rename(&writer, handle, OTHER, true).unwrap();
    assert_eq!(writer.contents(OTHER), Ok(NEW.to_vec()));
    let emptied = writer.create_file(CreateOptions::overwrite_if(OTHER, ALL)).unwrap();
    assert_eq!(writer.read(handle, 0, 10), Err(Status::END_OF_FILE));
    writer.close(emptied).unwrap();
    writer.close(handle).unwrap();
    scene.assert_committed(OTHER, b"");
    assert_eq!(scene.committed(FILE), None);
    scene.end();
}

#[test]
fn a_deleted_file_cannot_be_opened_by_its_own_process() {
    let scene = scene();
    let writer = scene.program("writer.exe");
    let handle = write(&writer, FILE);
    delete(&writer, handle).unwrap();
    for access in [GENERIC_READ, GENERIC_WRITE, DELETE, 0x80] {
        assert_eq!(try_open(&writer, FILE, access), Err(Status::DELETE_PENDING), "{access:#x}");
    }
    writer.close(handle).unwrap();
    assert_eq!(try_open(&writer, FILE, GENERIC_READ), Err(Status::OBJECT_NAME_NOT_FOUND));
    scene.end();
}

/// What TxF cannot give: the old name is committed, so the same process cannot make another file of that name before the
/// save ends.
#[test]
fn a_name_that_was_renamed_away_is_free_after_the_save() {
    let scene = scene();
    let writer = scene.program("writer.exe");
    let handle = write(&writer, FILE);
    rename(&writer, handle, MOVED, false).unwrap();
    for options in [CreateOptions::create(FILE, ALL), CreateOptions::overwrite_if(FILE, ALL)] {
        assert_eq!(writer.create_file(options), Err(Status::DELETE_PENDING));
    }
    writer.close(handle).unwrap();
    writer.put(FILE, b"again").unwrap();
    scene.assert_committed(FILE, b"again");
    scene.assert_committed(MOVED, NEW);
    scene.end();
}

#[test]
fn a_name_that_a_save_has_given_is_taken_for_others() {
    let scene = scene();
    let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
    let handle = write(&writer, FILE);
    rename(&writer, handle, MOVED, false).unwrap();
    let create = other.create_file(CreateOptions::create(MOVED, GENERIC_WRITE));
    assert_eq!(create, Err(Status::OBJECT_NAME_COLLISION));
    let replace = other.create_file(CreateOptions::overwrite_if(MOVED, GENERIC_WRITE));
    assert_eq!(replace, Err(Status::SHARING_VIOLATION));
    let renamed = other.call(|caller| caller.rename_path(OTHER, MOVED, false));
    assert_eq!(renamed, Err(Status::OBJECT_NAME_COLLISION));
    writer.close(handle).unwrap();
    scene.assert_committed(MOVED, NEW);
    scene.end();
}

#[test]
fn a_folder_of_a_save_is_not_renamed_by_others_as_without_intact() {
    let scene = scene();
    let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
    let handle = write(&writer, FILE);
    let renamed = other.call(|caller| caller.rename_path(r"C:\Saved", r"C:\Else", false));
    assert_eq!(renamed, Err(Status::ACCESS_DENIED));
    writer.close(handle).unwrap();
    scene.end();
}

#[test]
fn names_change_by_a_second_handle_of_the_process_too() {
    let scene = scene();
    let writer = scene.program("writer.exe");
    let handle = write(&writer, FILE);
    writer.call(|caller| caller.rename_path(FILE, MOVED, false)).unwrap();
    scene.assert_committed(FILE, OLD);
    writer.call(|caller| caller.delete(MOVED)).unwrap();
    scene.assert_committed(FILE, OLD);
    writer.close(handle).unwrap();
    assert_eq!(scene.committed(FILE), None);
    assert_eq!(scene.committed(MOVED), None);
    scene.end();
}

/// txf-ktm §9 open question (d): a refusal is told as by a volume that does not know POSIX semantics.
#[test]
fn posix_semantics_that_txf_refuses_are_told_as_not_supported() {
    let refused = Status::OPERATION_NOT_SUPPORTED_IN_TRANSACTION;
    let scene = Scene::builder().lab(move |lab| lab.switches(|s| s.posix_in_transaction = refused)).build();
    let writer = scene.program("writer.exe");
    let handle = write(&writer, FILE);
    for (class, data) in
        [(RENAME_EX, name(POSIX, MOVED)), (LINK_EX, name(POSIX, MOVED)), (DISPOSITION_EX, vec![3, 0, 0, 0])]
    {
        assert_eq!(set(&writer, handle, class, data), Err(Status::NOT_SUPPORTED), "{class}");
    }
    // Without them it works, in the new form too.
    set(&writer, handle, RENAME_EX, name(0, MOVED)).unwrap();
    writer.close(handle).unwrap();
    scene.assert_committed(MOVED, NEW);
    scene.end();
}

/// Not documented: whether NTFS changes names in a transaction while the application's own handle is open beside it.
#[test]
fn names_that_cannot_change_beside_another_handle_cost_nothing_but_the_change() {
    for status in [Status::ACCESS_DENIED, Status::TRANSACTIONAL_CONFLICT, Status::SHARING_VIOLATION] {
        let scene =
            Scene::builder().lab(move |lab| lab.switches(|s| s.names_beside_plain_open = status)).build();
        let writer = scene.program("writer.exe");
        let handle = write(&writer, FILE);
        for refused in [rename(&writer, handle, MOVED, false), delete(&writer, handle)] {
            assert!(refused.is_err_and(|status| status.0 >> 16 != 0xC019), "{refused:?}");
        }
        writer.close(handle).unwrap();
        scene.assert_committed(FILE, NEW);
        assert_eq!(scene.committed(MOVED), None);
        scene.end();
    }
}

/// txf-ktm §4.3: opening a folder as the target of a rename may count as writing it.
#[test]
fn a_folder_that_cannot_be_a_target_costs_nothing_but_the_change() {
    let scene = Scene::builder()
        .file(r"Saved\Sub\inner.txt", b"inner")
        .lab(|lab| lab.switches(|s| s.target_directory_is_writer = true))
        .build();
    let writer = scene.program("writer.exe");
    let handle = write(&writer, FILE);
    let refused = rename(&writer, handle, ELSEWHERE, false);
    assert!(refused.is_err_and(|status| status.0 >> 16 != 0xC019), "{refused:?}");
    // In its own folder, which nobody has to open, it gets another name.
    rename(&writer, handle, "moved.txt", false).unwrap();
    writer.close(handle).unwrap();
    scene.assert_committed(MOVED, NEW);
    scene.end();
}

#[test]
fn a_full_disk_at_a_rename_wounds_the_save_until_one_succeeds() {
    for healed in [false, true] {
        let scene = scene();
        let writer = scene.program("writer.exe");
        let handle = write(&writer, FILE);
        scene.lab.with_volume(|volume| volume.fail_name_changes(Some(Status::DISK_FULL)));
        assert_eq!(rename(&writer, handle, MOVED, false), Err(Status::DISK_FULL));
        scene.lab.with_volume(|volume| volume.fail_name_changes(None));
        if healed {
            rename(&writer, handle, ELSEWHERE, false).unwrap();
        }
        writer.close(handle).unwrap();
        if healed {
            scene.assert_committed(ELSEWHERE, NEW)
        } else {
            scene.assert_committed(FILE, OLD)
        }
        scene.end();
    }
}

#[test]
fn a_transaction_that_goes_away_takes_the_names_with_it() {
    let scene = scene();
    let writer = scene.program("writer.exe");
    let before = scene.lab.with_volume(|volume| volume.tree());
    let handle = write(&writer, FILE);
    rename(&writer, handle, MOVED, false).unwrap();
    scene.lab.with_volume(lab_volume::Volume::restart_resource_manager);
    assert_eq!(rename(&writer, handle, ELSEWHERE, false), Err(Status(0xC000_00E9)));
    writer.close(handle).unwrap();
    let events = seen(&scene.lab);
    let event = events.iter().find(|event| event.name() == "SaveRolledBack").unwrap();
    assert_eq!(event.text("Reason"), "the transaction had already ended");
    assert_eq!(event.number("Status") >> 16, 0xC019, "what it was told itself");
    assert!(scene.lab.with_volume(|volume| volume.tree()) == before);
    scene.end();
}

#[test]
fn a_name_that_is_none_wounds_nothing() {
    let scene = scene();
    let writer = scene.program("writer.exe");
    let handle = write(&writer, FILE);
    for bad in ["a*b", "", r"C:\Saved\", r"C:\Nowhere\x", ":stream"] {
        assert!(set(&writer, handle, RENAME_EX, name(0, bad)).is_err(), "{bad}");
    }
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, NEW);
    scene.end();
}

#[test]
fn a_name_that_was_given_inside_is_there_for_who_would_make_it() {
    let scene = scene();
    let writer = scene.program("writer.exe");
    let handle = write(&writer, FILE);
    rename(&writer, handle, MOVED, false).unwrap();
    let made = writer.create_file(CreateOptions::create(MOVED, GENERIC_WRITE));
    assert_eq!(made, Err(Status::OBJECT_NAME_COLLISION));
    writer.close(handle).unwrap();
    scene.assert_committed(MOVED, NEW);
    scene.end();
}

/// Where the open by a name inside cannot be prepared it fails: outside, the name is another file's.
#[test]
fn an_open_by_a_name_inside_never_opens_what_has_that_name_outside() {
    for skip in 0..8 {
        for import in
            ["ExAllocatePool2", "FltCreateFileEx2", "FltGetFileNameInformation", "FltQueryInformationFile"]
        {
            let scene = scene();
            let writer = scene.program("writer.exe");
            let handle = write(&writer, FILE);
            rename(&writer, handle, OTHER, true).unwrap();
            let kind = if import == "ExAllocatePool2" {
                FaultKind::Null
            } else {
                FaultKind::Status(Status::INSUFFICIENT_RESOURCES.0.cast_signed())
            };
            scene.lab.executive().calls.surprise(import, skip, kind);
            for access in [GENERIC_READ, GENERIC_READ | GENERIC_WRITE] {
                if let Ok(second) = writer.create_file(CreateOptions::open(OTHER, access)) {
                    // Without memory, a handle that only reads may see the last committed version of its own file.
                    let found = writer.read(second, 0, 64).unwrap();
                    assert_ne!(found, OTHERS, "{import} {skip} {access:#x}");
                    writer.close(second).unwrap();
                }
            }
            writer.close(handle).unwrap();
            scene.end();
        }
    }
}

/// Without memory to lead it to the file by the name that it has outside, it is not led to whatever has its own name there.
#[test]
fn an_open_by_a_name_inside_for_which_there_is_no_memory_fails_and_an_event_says_why() {
    let scene = scene();
    let writer = scene.program("writer.exe");
    let handle = write(&writer, FILE);
    rename(&writer, handle, MOVED, false).unwrap();
    let kind = FaultKind::Status(Status::INSUFFICIENT_RESOURCES.0.cast_signed());
    scene.lab.executive().calls.surprise("IoReplaceFileObjectName", 0, kind);
    assert_eq!(try_open(&writer, MOVED, ALL), Err(Status(0xC000_00E9)));
    assert_eq!(scene.lab.executive().calls.surprises_left(), 0);
    let passed = scene.happened().iter().any(|event| matches!(event, Happened::PassedThrough(_)));
    assert!(passed, "{:?}", scene.happened());
    writer.kill(1);
    scene.assert_committed(FILE, OLD);
    scene.end();
}

/// A stream of a file is found by the name that the file has inside, in the file itself.
#[test]
fn a_stream_is_opened_by_the_name_that_its_file_has_inside() {
    const STREAM: &str = r"C:\Saved\moved.txt:notes";
    let scene = Scene::builder().file(r"Saved\report.txt:notes", OLD).build();
    let writer = scene.program("writer.exe");
    let handle = write(&writer, FILE);
    rename(&writer, handle, MOVED, false).unwrap();
    let stream = writer.create_file(CreateOptions::open(STREAM, ALL)).unwrap();
    assert_eq!(writer.write(stream, 0, NEW), Ok(NEW.len()));
    [stream, handle].into_iter().for_each(|handle| writer.close(handle).unwrap());
    scene.assert_committed(STREAM, NEW);
    scene.assert_committed(MOVED, NEW);
    scene.assert_happened(&[Happened::Begun, Happened::Joined("writer".into()), Happened::Committed]);
    scene.end();
}

/// By its id a file is looked for under its old name, which another one has inside: that one is left alone.
#[test]
fn a_file_opened_by_its_id_is_not_taken_for_the_one_that_has_its_name_now() {
    const OVERWRITE: u32 = 4;
    let unit = |rule: Rule| rule.text("Scope", "Process");
    let scene = Scene::builder().file(r"Saved\other.txt", OTHERS).rule(unit).build();
    let id = scene.lab.with_volume(|volume| volume.tree()[r"Saved\report.txt"].id.0);
    let writer = scene.program("writer.exe");
    let old = write(&writer, FILE);
    rename(&writer, old, MOVED, false).unwrap();
    let fresh = write(&writer, OTHER);
    rename(&writer, fresh, FILE, false).unwrap();
    let by_id = CreateOptions::new(lab::Name::Id(id), GENERIC_WRITE, OVERWRITE);
    assert_eq!(writer.create_file(by_id), Err(Status::SHARING_VIOLATION));
    writer.close(fresh).unwrap();
    writer.close(old).unwrap();
    writer.exit(0);
    scene.pass(2_100);
    scene.assert_committed(FILE, NEW);
    scene.assert_committed(MOVED, NEW);
    assert_eq!(scene.committed(OTHER), None);
    scene.end();
}

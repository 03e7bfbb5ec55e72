//! Programs that map what they or others save as an image (minifilter-rules §2.10).

use intact_saves::{FILE, Happened, Rule, Scene, SceneBuilder};
use lab::{CreateOptions, GENERIC_READ, GENERIC_WRITE, Handle, MappedFile, Process, Status};

const OLD_PROGRAM: &[u8] = b"MZ, the old version of the program";
const NEW_PROGRAM: &[u8] = b"MZ, the new version of the program";
const NO_SECTION: Status = Status::INSUFFICIENT_RESOURCES;
const NOT_IN_A_TRANSACTION: &str = "its program asked for something that is not possible in a transaction";

fn scene() -> SceneBuilder {
    Scene::builder().file(r"Saved\report.txt", OLD_PROGRAM)
}

fn map(program: &Process, handle: Handle) -> Result<MappedFile, Status> {
    program.call(move |caller| caller.create_image_section(handle))
}

fn unmap(program: &Process, image: MappedFile) {
    program.call(move |caller| caller.close_section(image));
}

fn shown(program: &Process, image: &MappedFile) -> Vec<u8> {
    let image = image.clone();
    program.call(move |caller| caller.read_mapped(&image, 0, OLD_PROGRAM.len()).unwrap())
}

fn was_demoted(scene: &Scene) -> bool {
    scene.happened().contains(&Happened::Demoted(NOT_IN_A_TRANSACTION.into()))
}

/// The program looks at what it has open before it changes it.
#[test]
fn a_file_is_mapped_as_an_image_through_the_handle_that_saves_it_and_the_save_begins_after_that() {
    let scene = scene().build();
    let writer = scene.program("writer.exe");
    let handle = scene.open_file(&writer);
    let image = map(&writer, handle).unwrap();
    assert_eq!(shown(&writer, &image), OLD_PROGRAM);
    assert!(was_demoted(&scene));
    unmap(&writer, image);
    writer.write(handle, 0, NEW_PROGRAM).unwrap();
    scene.assert_committed(FILE, OLD_PROGRAM);
    writer.kill(1);
    scene.assert_committed(FILE, OLD_PROGRAM);
    scene.end();
}

/// While it is mapped no transaction can have the file (minifilter-rules §2.10), and the handle stays.
#[test]
fn what_is_written_while_the_handles_own_image_is_mapped_is_written_as_without_intact() {
    let scene = scene().build();
    let writer = scene.program("writer.exe");
    let handle = scene.open_file(&writer);
    let image = map(&writer, handle).unwrap();
    writer.write(handle, 0, NEW_PROGRAM).unwrap();
    assert_eq!(writer.read(handle, 0, 100), Ok(NEW_PROGRAM.to_vec()));
    scene.assert_committed(FILE, NEW_PROGRAM);
    unmap(&writer, image);
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, NEW_PROGRAM);
    scene.end();
}

#[test]
fn what_was_written_before_is_published_for_the_image() {
    let scene = scene().build();
    let writer = scene.program("writer.exe");
    let handle = scene.open_file(&writer);
    writer.write(handle, 0, NEW_PROGRAM).unwrap();
    let image = map(&writer, handle).unwrap();
    assert_eq!(shown(&writer, &image), NEW_PROGRAM);
    scene.assert_committed(FILE, NEW_PROGRAM);
    unmap(&writer, image);
    writer.close(handle).unwrap();
    scene.end();
}

/// A limit that the README names.
#[test]
fn where_the_save_cannot_do_without_its_transaction_no_image_is_made() {
    let denies = |rule: Rule| rule.text("OnUnavailable", "Deny");
    for (name, scene) in [("Deny", scene().rule(denies).build()), ("a name", scene().build())] {
        let writer = scene.program("writer.exe");
        let both = GENERIC_READ | GENERIC_WRITE | lab::DELETE;
        let handle = writer.create_file(CreateOptions::open(FILE, both)).unwrap();
        writer.call(move |caller| caller.rename(handle, r"C:\Saved\other.txt", false)).unwrap();
        assert_eq!(map(&writer, handle).err(), Some(NO_SECTION), "{name}");
        writer.call(move |caller| caller.rename(handle, FILE, false)).unwrap();
        writer.write(handle, 0, NEW_PROGRAM).unwrap();
        writer.close(handle).unwrap();
        scene.assert_committed(FILE, NEW_PROGRAM);
        scene.end();
    }
}

/// A handle that only reads has the last committed version, in its own process too.
#[test]
fn who_only_reads_maps_an_image_of_what_is_committed() {
    let scene = scene().build();
    let writer = scene.program("writer.exe");
    let handle = scene.open_file(&writer);
    writer.write(handle, 0, NEW_PROGRAM).unwrap();
    let reads = writer.create_file(CreateOptions::open(FILE, GENERIC_READ)).unwrap();
    let image = map(&writer, reads).unwrap();
    assert_eq!(shown(&writer, &image), OLD_PROGRAM);
    unmap(&writer, image);
    writer.close(reads).unwrap();
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, NEW_PROGRAM);
    scene.end();
}

/// The file could not be opened to write again: the save goes on as it is, and keeps its handle.
#[test]
fn a_save_of_what_others_have_mapped_as_an_image_keeps_its_handle() {
    for keeps in [true, false] {
        let scene = scene().lab(|lab| lab.switches(|s| s.image_keeps_transactions_out = keeps)).build();
        let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
        let handle = scene.open_file(&writer);
        writer.write(handle, 0, NEW_PROGRAM).unwrap();
        let reads = other.create_file(CreateOptions::open(FILE, GENERIC_READ)).unwrap();
        let image = map(&other, reads).unwrap();
        writer.call(move |caller| caller.flush(handle)).unwrap();
        scene.assert_committed(FILE, OLD_PROGRAM);
        // Somebody who would be let in by share modes is kept out by the image as well.
        let writes = CreateOptions::open(FILE, GENERIC_WRITE);
        assert_eq!(other.create_file(writes).err(), Some(Status::SHARING_VIOLATION));
        assert_eq!(writer.read(handle, 0, 100), Ok(NEW_PROGRAM.to_vec()));
        writer.close(handle).unwrap();
        scene.assert_committed(FILE, NEW_PROGRAM);
        unmap(&other, image);
        scene.end();
    }
}

/// As without Intact; or, if an image is in no transaction's way, the open gets in.
#[test]
fn what_is_mapped_as_an_image_is_opened_to_write_only_if_a_transaction_may() {
    for keeps in [true, false] {
        let scene = scene().lab(|lab| lab.switches(|s| s.image_keeps_transactions_out = keeps)).build();
        let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
        let reads = other.create_file(CreateOptions::open(FILE, GENERIC_READ)).unwrap();
        let image = map(&other, reads).unwrap();
        let opened = writer.create_file(CreateOptions::open(FILE, GENERIC_WRITE));
        assert_eq!(opened.err(), keeps.then_some(Status::SHARING_VIOLATION));
        if let Ok(handle) = opened {
            writer.write(handle, 0, NEW_PROGRAM).unwrap();
            writer.call(move |caller| caller.flush(handle)).unwrap();
            writer.close(handle).unwrap();
            scene.assert_committed(FILE, NEW_PROGRAM);
        }
        unmap(&other, image);
        scene.end();
    }
}

/// It goes to the disk as part of the save, and is told if that fails.
#[test]
fn a_flush_that_fails_is_told_also_while_somebody_has_mapped_the_file_as_an_image() {
    let scene = scene().build();
    let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
    let handle = scene.open_file(&writer);
    writer.write(handle, 0, NEW_PROGRAM).unwrap();
    let reads = other.create_file(CreateOptions::open(FILE, GENERIC_READ)).unwrap();
    let image = map(&other, reads).unwrap();
    scene.lab.with_volume(|volume| volume.disk.faults.failing_effects = (1..100_000).collect());
    assert!(writer.flush(handle).is_err());
    scene.lab.with_volume(|volume| volume.disk.faults.failing_effects.clear());
    unmap(&other, image);
    writer.close(handle).unwrap();
    scene.end();
}

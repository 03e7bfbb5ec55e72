//! Sparse files: those that were sparse before, and programs that ask for what TxF does not take (txf-ktm §4.9).

use intact_saves::{FILE, Happened, NEW, OLD, Scene};
use lab::{Handle, Process, Status};

const SET_SPARSE: u32 = 0x9_00C4;
const SET_ZERO_DATA: u32 = 0x9_80C8;
const QUERY_ALLOCATED_RANGES: u32 = 0x9_40CF;
/// FilePositionInformation.
const POSITION: u32 = 14;
const SPARSE_FILE: u32 = 0x200;
const NOT_IN_A_TRANSACTION: &str = "its program asked for something that is not possible in a transaction";

fn control(program: &Process, handle: Handle, code: u32, numbers: [u64; 2]) -> Result<Vec<u8>, Status> {
    let input = numbers.map(u64::to_le_bytes).concat();
    program.call(move |caller| caller.fs_control(handle, code, &input, 256))
}

fn make_sparse(program: &Process, handle: Handle) -> Result<(), Status> {
    program.call(move |caller| caller.fs_control(handle, SET_SPARSE, &[], 0)).map(drop)
}

fn zero(program: &Process, handle: Handle, from: u64, to: u64) -> Result<(), Status> {
    control(program, handle, SET_ZERO_DATA, [from, to]).map(drop)
}

fn is_sparse(scene: &Scene) -> bool {
    scene.lab.with_volume(|volume| volume.tree()[r"Saved\report.txt"].attributes) & SPARSE_FILE != 0
}

fn demotions(scene: &Scene) -> usize {
    let demoted = Happened::Demoted(NOT_IN_A_TRANSACTION.into());
    scene.happened().iter().filter(|event| **event == demoted).count()
}

#[test]
fn a_file_becomes_sparse_at_once_and_what_is_written_then_is_a_save() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.open_file(&writer);
    assert_eq!(make_sparse(&writer, handle), Ok(()));
    assert!(is_sparse(&scene), "as without Intact");
    assert_eq!(demotions(&scene), 1);
    writer.write(handle, 0, NEW).unwrap();
    writer.kill(1);
    scene.assert_committed(FILE, OLD);
    assert!(is_sparse(&scene));
    scene.end();
}

#[test]
fn what_was_written_before_is_published_and_the_rest_goes_on_as_without_intact() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.open_file(&writer);
    writer.write(handle, 0, NEW).unwrap();
    assert_eq!(zero(&writer, handle, 1, 3), Ok(()));
    let zeroed = [&NEW[..1], &[0, 0], &NEW[3..]].concat();
    let now = scene.committed(FILE).unwrap();
    assert_eq!(now[..NEW.len()], zeroed, "published, and zeroed after that");
    assert_eq!(demotions(&scene), 1);
    assert_eq!(writer.read(handle, 0, NEW.len()), Ok(zeroed));
    writer.write(handle, 0, b"!").unwrap();
    writer.kill(1);
    assert_eq!(scene.committed(FILE).unwrap()[0], b'!', "its handles have no transaction any more");
    scene.end();
}

/// Its transaction ends, and the handles that wait in it are closed with it (txf-ktm §4.4).
#[test]
fn who_waits_for_a_lock_of_a_file_that_becomes_sparse_is_told_that_it_was_not_granted() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let options = || lab::CreateOptions::open(FILE, lab::GENERIC_READ | lab::GENERIC_WRITE).share(7);
    let first = writer.create_file(options()).unwrap();
    let second = writer.create_file(options()).unwrap();
    writer.call(move |caller| caller.lock(first, 0, 4, true, true)).unwrap();
    let waiting = writer.submit(move |caller| caller.lock(second, 0, 4, true, true));
    assert_eq!(writer.read(first, 0, 4).unwrap(), OLD[..4]);
    assert!(!waiting.is_done());
    assert_eq!(make_sparse(&writer, first), Ok(()));
    assert_eq!(waiting.wait().unwrap(), Err(Status::LOCK_NOT_GRANTED));
    let taken = writer.call(move |caller| caller.lock(second, 0, 4, true, false));
    assert_eq!(taken, Err(Status::LOCK_NOT_GRANTED), "who had it has it still");
    writer.call(move |caller| caller.unlock(first, 0, 4)).unwrap();
    assert_eq!(writer.call(move |caller| caller.lock(second, 0, 4, true, false)), Ok(()));
    writer.kill(1);
    scene.end();
}

#[test]
fn the_position_stays_where_it_is_when_the_control_is_refused() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    // Superseding makes a save of it, and the handle may not write.
    let options = lab::CreateOptions::new(lab::Name::Path(FILE.into()), lab::GENERIC_READ, 0).share(7);
    let handle = writer.create_file(options.options(0x20)).unwrap();
    writer.call(move |caller| caller.set_information(handle, POSITION, &3_u64.to_le_bytes())).unwrap();
    assert_eq!(make_sparse(&writer, handle), Err(Status::ACCESS_DENIED));
    let position = writer.call(move |caller| caller.query_information(handle, POSITION, 8)).unwrap();
    assert_eq!(position, 3_u64.to_le_bytes());
    writer.close(handle).unwrap();
    scene.end();
}

/// A rule that lets nothing pass without a transaction; a save with a wound, with a new name, with its file mapped.
#[test]
fn where_the_save_cannot_do_without_its_transaction_it_is_told_as_by_a_volume_that_does_not_know_it() {
    let refused = |scene: &Scene, writer: &Process, handle: Handle, why: &str| {
        assert_eq!(make_sparse(writer, handle), Err(Status::INVALID_DEVICE_REQUEST), "{why}");
        assert_eq!(zero(writer, handle, 0, 3), Err(Status::INVALID_DEVICE_REQUEST), "{why}");
        assert!(!is_sparse(scene) && demotions(scene) == 0, "{why}");
    };
    let scene = Scene::builder().rule(|rule| rule.text("OnUnavailable", "Deny")).build();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    refused(&scene, &writer, handle, "nothing passes without a transaction");
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, NEW);
    scene.assert_one_commit();
    scene.end();

    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.open_file(&writer);
    scene.lab.with_volume(|volume| volume.set_free_space(Some(0)));
    assert!(writer.write(handle, 1 << 20, &[7; 4096]).is_err());
    scene.lab.with_volume(|volume| volume.set_free_space(None));
    assert_eq!(make_sparse(&writer, handle), Err(Status::INVALID_DEVICE_REQUEST), "a write failed");
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, OLD);
    scene.end();

    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    let view = writer.call(move |caller| caller.create_section_of(handle, true, None)).unwrap();
    refused(&scene, &writer, handle, "mapped");
    writer.call(move |caller| caller.close_section(view));
    writer.close(handle).unwrap();
    scene.pass(2_000);
    scene.assert_committed(FILE, NEW);
    scene.end();
}

#[test]
fn a_file_that_was_sparse_is_saved_with_its_holes() {
    let scene = Scene::new();
    let maker = scene.program("maker.exe");
    let handle = scene.open_file(&maker);
    make_sparse(&maker, handle).unwrap();
    let end = |program: &Process, handle: Handle| {
        let size = (1_u64 << 20).to_le_bytes();
        program.call(move |caller| caller.set_information(handle, 20, &size)).unwrap();
    };
    end(&maker, handle);
    maker.close(handle).unwrap();
    let (writer, reader) = (scene.program("writer.exe"), scene.program("reader.exe"));
    let handle = scene.open_file(&writer);
    writer.write(handle, 1 << 19, NEW).unwrap();
    let ranges = |program: &Process, handle: Handle| -> Vec<u64> {
        let found = control(program, handle, QUERY_ALLOCATED_RANGES, [0, 1 << 20]).unwrap();
        found.chunks_exact(8).map(|number| u64::from_le_bytes(number.try_into().unwrap())).collect()
    };
    assert_eq!(ranges(&writer, handle), [0, 4096, 1 << 19, 4096], "the version in the making");
    let options = lab::CreateOptions::open(FILE, lab::GENERIC_READ);
    let reading = reader.create_file(options.clone()).unwrap();
    assert_eq!(ranges(&reader, reading), [0, 4096], "what is committed");
    reader.close(reading).unwrap();
    writer.close(handle).unwrap();
    let reading = reader.create_file(options).unwrap();
    assert_eq!(ranges(&reader, reading), [0, 4096, 1 << 19, 4096]);
    assert!(is_sparse(&scene));
    scene.end();
}

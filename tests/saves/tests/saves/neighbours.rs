//! Filters above and below: both keep working, and see what they should. Above is a scanner, which reads at create and at
//! cleanup, by handle and by name; below is a recorder, which notes file objects, transactions and byte ranges.

use std::rc::Rc;

use intact_saves::{FILE, Happened, NEW, OLD, Scene, test_driver};
use lab::{CreateOptions, GENERIC_READ, GENERIC_WRITE, Handle, Lab, Process};
use lab_executive::process::LOCAL_SYSTEM;
use monitor::format::{Event, Read};
use scanner::format::{Finding, Reading};

/// In the anti-virus group, above Intact.
const ABOVE: &str = "328010";
/// In the encryption group, below Intact.
const BELOW: &str = "145010";
const ALL: u32 = GENERIC_READ | GENERIC_WRITE;
/// The volume's file of [`FILE`], as filters name it.
const NAME: &str = r"\Device\HarddiskVolume1\Saved\report.txt";

fn scene(seed: u64) -> Scene {
    Scene::builder()
        .seed(seed)
        .driver("scanner", test_driver("scanner"), ABOVE)
        .driver("monitor", test_driver("monitor"), BELOW)
        .build()
}

/// Somebody who may ask both filters. The handles are closed again, so that the filters can unload.
fn ask(lab: &Rc<Lab>, device: &str, code: u32) -> Vec<u8> {
    let asking = lab.process_of("asking.exe", LOCAL_SYSTEM.to_vec());
    let handle = asking.create_file(CreateOptions::open(device, GENERIC_READ)).unwrap();
    let mut all = Vec::new();
    loop {
        let bytes = asking.device_control(handle, code, b"", 1 << 16).unwrap();
        if bytes.is_empty() {
            break;
        }
        all.extend(bytes);
    }
    asking.close(handle).unwrap();
    asking.exit(0);
    all
}

/// What the scanner read when this program opened and closed.
fn findings(scene: &Scene, program: &Process) -> Vec<(Reading, Result<Vec<u8>, u32>)> {
    let all = scanner::format::read(&ask(&scene.lab, r"\\.\Scanner", scanner::format::READ));
    let own = all.into_iter().filter(|finding: &Finding| finding.process == program.id());
    own.map(|finding| (finding.reading, finding.contents)).collect()
}

/// What the recorder noted.
fn notes(scene: &Scene) -> Vec<Read> {
    let bytes = ask(&scene.lab, r"\\.\FileMonitor", monitor::format::READ);
    monitor::format::read(&bytes).expect("what the recorder wrote is of its own form")
}

fn save(scene: &Scene, program: &Process) -> Handle {
    let handle = scene.open_file(program);
    assert_eq!(program.write(handle, 0, NEW), Ok(NEW.len()));
    handle
}

/// At cleanup the scanner sees by the program's own handle what the program wrote, and by name, as everybody else, what is
/// committed.
#[test]
fn a_scanner_above_sees_the_programs_view_by_handle_and_the_committed_one_by_name() {
    for seed in 0..12 {
        let scene = scene(seed);
        let writer = scene.program("writer.exe");
        let handle = save(&scene, &writer);
        writer.close(handle).unwrap();
        assert_eq!(
            findings(&scene, &writer),
            [
                (Reading::Create, Ok(OLD.to_vec())),
                (Reading::CleanupByHandle, Ok(NEW.to_vec())),
                (Reading::CleanupByName, Ok(OLD.to_vec())),
            ],
            "seed {seed}"
        );
        scene.assert_committed(FILE, NEW);
        scene.assert_one_commit();
        let reader = scene.program("reader.exe");
        assert_eq!(reader.contents(FILE).unwrap(), NEW);
        assert_eq!(findings(&scene, &reader)[0], (Reading::Create, Ok(NEW.to_vec())));
        scene.end();
    }
}

/// Nobody else's handles may stand in the way of a save that shares nothing, and the scanner's does not.
#[test]
fn a_scanner_reads_a_file_that_its_program_shares_with_nobody() {
    let scene = scene(3);
    let writer = scene.program("writer.exe");
    let handle = writer.create_file(CreateOptions::open(FILE, ALL).share(0)).unwrap();
    writer.write(handle, 0, NEW).unwrap();
    writer.close(handle).unwrap();
    let read: Vec<_> = findings(&scene, &writer).into_iter().map(|(_, contents)| contents).collect();
    assert_eq!(read, [Ok(OLD.to_vec()), Ok(NEW.to_vec()), Ok(OLD.to_vec())]);
    scene.assert_committed(FILE, NEW);
    scene.end();
}

/// A killed program's handles are swept: the scanner reads amid it, and the old version stays.
#[test]
fn a_scanner_that_reads_while_a_killed_program_is_swept_does_not_save_it() {
    for seed in 0..6 {
        let scene = scene(seed);
        let writer = scene.program("writer.exe");
        save(&scene, &writer);
        writer.kill(1);
        let read = findings(&scene, &writer);
        assert_eq!(read[1], (Reading::CleanupByHandle, Ok(NEW.to_vec())), "seed {seed}");
        assert_eq!(read[2], (Reading::CleanupByName, Ok(OLD.to_vec())));
        scene.assert_committed(FILE, OLD);
        scene.end();
    }
}

/// A new file, which the scanner sees empty by name before the save is done.
#[test]
fn a_scanner_sees_a_new_file_by_its_handle_first() {
    let scene = scene(5);
    let writer = scene.program("writer.exe");
    let path = r"C:\Saved\fresh.txt";
    let handle = writer.create_file(CreateOptions::create(path, ALL)).unwrap();
    writer.write(handle, 0, NEW).unwrap();
    writer.close(handle).unwrap();
    let read = findings(&scene, &writer);
    assert_eq!(read[0], (Reading::Create, Ok(Vec::new())));
    assert_eq!(read[1], (Reading::CleanupByHandle, Ok(NEW.to_vec())));
    assert_eq!(read[2], (Reading::CleanupByName, Ok(Vec::new())));
    scene.assert_committed(path, NEW);
    scene.end();
}

/// The recorder sees the program's own open as one that writes nothing, outside any transaction, and every write on
/// another open of the same file, inside one transaction, which ends after the writes.
#[test]
fn a_recorder_below_sees_writes_only_on_the_twin_and_in_the_transaction() {
    for (ends_well, end) in [(true, Event::Committed), (false, Event::RolledBack)] {
        let scene = scene(9);
        let writer = scene.program("writer.exe");
        let handle = save(&scene, &writer);
        writer.write(handle, 5, b"!").unwrap();
        if ends_well {
            writer.close(handle).unwrap()
        } else {
            writer.kill(1)
        }
        let notes = notes(&scene);
        let opens: Vec<&Read> =
            notes.iter().filter(|note| note.event == Event::Opened && note.name == NAME).collect();
        let wrote: Vec<&Read> = notes.iter().filter(|note| note.event == Event::Wrote).collect();
        let ranges: Vec<_> = wrote.iter().map(|note| (note.offset, note.length, note.status)).collect();
        assert_eq!(ranges, [(0, NEW.len() as u32, 0), (5, 1, 0)]);
        let twin = opens.iter().find(|open| open.open == wrote[0].open).expect("the twin's open was noted");
        assert_ne!(twin.transaction, 0);
        assert!(wrote.iter().all(|note| (note.open, note.transaction) == (twin.open, twin.transaction)));
        assert!(
            opens.iter().any(|open| open.transaction == 0 && open.status == 0 && open.process == writer.id()),
            "the program's own open goes down outside the transaction: {opens:?}"
        );
        let ended: Vec<_> =
            notes.iter().filter(|note| matches!(note.event, Event::Committed | Event::RolledBack)).collect();
        let of_it: Vec<_> = ended.iter().filter(|note| note.transaction == twin.transaction).collect();
        assert_eq!(of_it.len(), 1, "{ended:?}");
        assert_eq!(of_it[0].event, end);
        assert!(of_it[0].number > wrote[1].number);
        let expected = if ends_well { with_mark() } else { OLD.to_vec() };
        scene.assert_committed(FILE, &expected);
        scene.end();
    }
}

fn with_mark() -> Vec<u8> {
    let mut expected = NEW.to_vec();
    expected[5] = b'!';
    expected
}

/// What no save covers goes down as it came.
#[test]
fn a_recorder_below_sees_files_outside_the_policy_untouched() {
    let scene = Scene::builder()
        .file(r"Other\plain.txt", OLD)
        .driver("monitor", test_driver("monitor"), BELOW)
        .build();
    let writer = scene.program("writer.exe");
    writer.put(r"C:\Other\plain.txt", NEW).unwrap();
    let notes = notes(&scene);
    let wrote: Vec<_> = notes.iter().filter(|note| note.event == Event::Wrote).collect();
    assert_eq!(wrote.len(), 1);
    assert_eq!((wrote[0].transaction, wrote[0].process), (0, writer.id()));
    let opened = notes.iter().find(|note| note.open == wrote[0].open && note.event == Event::Opened).unwrap();
    assert_eq!((opened.transaction, opened.process), (0, writer.id()));
    assert_eq!(scene.happened(), []);
    scene.end();
}

/// Two programs save while a third reads, with a scanner that opens at each cleanup: nothing waits for ever, whatever the
/// order. A deadlock would stop the run with its report.
#[test]
fn nothing_waits_for_ever_between_a_scanner_and_saves() {
    for seed in 0..24 {
        let scene = Scene::builder()
            .seed(seed)
            .lab(|lab| lab.config(|config| config.preempt_per_mille = 300))
            .file(r"Saved\other.txt", OLD)
            .driver("scanner", test_driver("scanner"), ABOVE)
            .driver("monitor", test_driver("monitor"), BELOW)
            .build();
        let paths = [FILE, r"C:\Saved\other.txt", FILE];
        let programs = ["one.exe", "two.exe", "three.exe"].map(|name| scene.program(name));
        let calls = programs.iter().zip(paths).enumerate().map(|(index, (program, path))| {
            program.submit(move |caller| {
                let access = if index == 2 { GENERIC_READ } else { ALL };
                let Ok(created) = caller.create_file(&CreateOptions::open(path, access)) else {
                    return false;
                };
                if index != 2 {
                    let _ = caller.write(created.handle, lab::Offset::At(0), NEW);
                }
                caller.close(created.handle).is_ok()
            })
        });
        let calls: Vec<_> = calls.collect();
        for (index, call) in calls.into_iter().enumerate() {
            let done = call.wait().unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
            assert!(done || index == 2, "seed {seed}: program {index} could not open");
        }
        scene.assert_committed(FILE, NEW);
        scene.assert_committed(r"C:\Saved\other.txt", NEW);
        assert_eq!(scene.happened().iter().filter(|event| **event == Happened::Committed).count(), 2);
        scene.end();
    }
}

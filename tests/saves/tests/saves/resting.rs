//! What was modified is published past `MaxIdleSeconds`, and its save rests until something is modified again.

use intact_saves::{FILE, Happened, NEW, OLD, Rule, Scene, SceneBuilder, failing_calls, seen};
use lab::{Caller, CreateOptions, DELETE, GENERIC_READ, GENERIC_WRITE, Handle, Offset, Process, Status};

const ALL: u32 = GENERIC_READ | GENERIC_WRITE | DELETE | 0x4_0000;
const NOT_RESUMED: &str = "when it was modified again no transaction could be had";
/// Longer than the rule of these scenes allows.
const IDLE_TIME: i64 = 6_000;

fn idle() -> SceneBuilder {
    Scene::builder().rule(|rule| rule.number("MaxIdleSeconds", 5).strings("Processes", &["writer.exe"]))
}

fn open(program: &Process) -> Handle {
    program.create_file(CreateOptions::open(FILE, ALL)).unwrap()
}

fn demoted(why: &str) -> Happened {
    Happened::Demoted(why.into())
}

/// A save that has written the new version, and rests.
fn rested() -> (Scene, Process, Handle) {
    let scene = idle().build();
    let writer = scene.program("writer.exe");
    let handle = open(&writer);
    writer.write(handle, 0, NEW).unwrap();
    scene.pass(IDLE_TIME);
    scene.assert_committed(FILE, NEW);
    (scene, writer, handle)
}

#[test]
fn the_next_modification_is_in_a_transaction_again() {
    let committed = [Happened::Begun, Happened::Committed];
    for killed in [true, false] {
        let (scene, writer, handle) = rested();
        writer.write(handle, 0, b"MORE").unwrap();
        scene.assert_committed(FILE, NEW);
        assert_eq!(writer.read(handle, 0, 4).unwrap(), b"MORE");
        if killed {
            writer.kill(1);
            scene.assert_committed(FILE, NEW);
        } else {
            writer.close(handle).unwrap();
            assert_eq!(&scene.committed(FILE).unwrap()[..4], b"MORE");
            let happened = scene.happened();
            assert_eq!(happened.iter().filter(|event| committed.contains(event)).count(), 4, "{happened:?}");
        }
        scene.end();
    }
}

#[test]
fn it_rests_as_often_as_it_is_idle() {
    let (scene, writer, handle) = rested();
    for round in 0..5_u8 {
        writer.write(handle, 0, &[b'1' + round]).unwrap();
        assert_ne!(scene.committed(FILE).unwrap()[0], b'1' + round);
        scene.pass(IDLE_TIME);
        assert_eq!(scene.committed(FILE).unwrap()[0], b'1' + round);
    }
    writer.close(handle).unwrap();
    scene.end();
}

#[test]
fn reading_and_querying_is_no_modification() {
    let (scene, writer, handle) = rested();
    writer.read(handle, 0, 4).unwrap();
    writer.call(move |caller| caller.information(handle)).unwrap();
    let begun = scene.happened().iter().filter(|event| **event == Happened::Begun).count();
    assert_eq!(begun, 1);
    writer.close(handle).unwrap();
    scene.end();
}

#[test]
fn every_modification_ends_the_rest() {
    type Change = fn(&Caller<'_>, Handle) -> Result<(), Status>;
    let changes: [(&str, Change); 8] = [
        ("write", |caller, handle| caller.write(handle, Offset::At(0), b"x").map(|_| ())),
        ("append", |caller, handle| caller.write(handle, Offset::Append, b"x").map(|_| ())),
        ("size", |caller, handle| caller.set_end_of_file(handle, 3)),
        ("allocation", |caller, handle| caller.set_allocation(handle, 0)),
        ("attributes", |caller, handle| caller.set_basic(handle, [None; 4], 0x22)),
        ("security", |caller, handle| caller.set_security(handle, 4, &lab_volume::everyone_all())),
        ("rename", |caller, handle| caller.rename(handle, "moved.txt", false)),
        ("delete", |caller, handle| caller.set_delete(handle, true)),
    ];
    for (name, change) in changes {
        let (scene, writer, handle) = rested();
        let before = scene.lab.with_volume(|volume| volume.tree());
        writer.call(move |caller| change(caller, handle)).unwrap_or_else(|status| panic!("{name}: {status}"));
        assert!(scene.lab.with_volume(|volume| volume.tree()) == before, "{name}");
        writer.kill(1);
        assert!(scene.lab.with_volume(|volume| volume.tree()) == before, "{name}");
        scene.end();
    }
}

#[test]
fn locks_the_position_and_other_handles_outlive_it() {
    let scene = idle().build();
    let writer = scene.program("writer.exe");
    let (handle, second) = (open(&writer), open(&writer));
    let lock = move |caller: &Caller<'_>, handle| caller.lock(handle, 0, 4, true, true);
    writer.call(move |caller| lock(caller, handle)).unwrap();
    writer.write(handle, 10, b"x").unwrap();
    scene.pass(IDLE_TIME);
    writer.write(handle, 11, b"y").unwrap();
    assert_eq!(writer.write(second, 0, b"z"), Err(Status::FILE_LOCK_CONFLICT), "the lock is held");
    assert_eq!(writer.write(second, 12, b"z"), Ok(1));
    writer.close(handle).unwrap();
    assert_eq!(writer.write(second, 0, b"T"), Ok(1));
    writer.close(second).unwrap();
    assert_eq!(scene.committed(FILE).unwrap(), b"The old vexyzon");
    scene.end();
}

#[test]
fn where_no_transaction_can_be_had_again_the_program_goes_on_without_one() {
    let (scene, writer, handle) = rested();
    let other = scene.program("other.exe");
    // A writer outside of any transaction keeps the file out of one (txf-ktm §4.2).
    let theirs = other.create_file(CreateOptions::open(FILE, GENERIC_WRITE)).unwrap();
    assert_eq!(writer.write(handle, 0, b"MORE"), Ok(4));
    assert_eq!(scene.happened().last(), Some(&demoted(NOT_RESUMED)));
    other.close(theirs).unwrap();
    assert_eq!(writer.write(handle, 4, b"more"), Ok(4));
    writer.close(handle).unwrap();
    assert_eq!(&scene.committed(FILE).unwrap()[..8], b"MOREmore");
    assert_eq!(seen(&scene.lab).iter().filter(|event| event.name() == "SaveBegun").count(), 1);
    scene.end();
}

#[test]
fn threads_that_modify_at_once_resume_it_once() {
    for seed in 1..=20 {
        let scene = idle().seed(seed).build();
        let writer = scene.program("writer.exe");
        let handles: Vec<Handle> = (0..4).map(|_| open(&writer)).collect();
        scene.pass(IDLE_TIME);
        let calls: Vec<_> = handles
            .into_iter()
            .zip(0_u8..)
            .map(|(handle, thread)| {
                writer.submit(move |caller| {
                    caller.write(handle, Offset::At(u64::from(thread)), &[b'A' + thread])?;
                    caller.close(handle)
                })
            })
            .collect();
        for call in calls {
            assert_eq!(call.wait().unwrap(), Ok(()), "seed {seed}");
        }
        assert_eq!(&scene.committed(FILE).unwrap()[..4], b"ABCD", "seed {seed}: {:?}", scene.happened());
        scene.end();
    }
}

/// Whatever fails while it gets its transaction again, the program is told the truth, and nothing is left.
#[test]
fn whichever_import_fails_the_file_is_whole() {
    let run = |builder: SceneBuilder, resumes: bool| {
        let scene = builder.build();
        let writer = scene.program("writer.exe");
        let handle = open(&writer);
        writer.write(handle, 0, NEW).unwrap();
        scene.pass(IDLE_TIME);
        let told = resumes.then(|| writer.write(handle, 0, b"MORE"));
        writer.close(handle).unwrap();
        (scene, told)
    };
    let sites = |resumes| run(idle(), resumes).0.lab.executive().calls.sites();
    for (site, fault) in failing_calls(&sites(false), sites(true)) {
        let (scene, told) = run(idle().lab(|lab| lab.fault(fault)), true);
        let found = scene.committed(FILE).unwrap();
        let what = format!("{} from {:?}: {told:?} {:?}", site.import, site.frames, scene.happened());
        let more = &found[..4] == b"MORE";
        assert!(more || found == NEW, "{what}");
        let failed = |event: &Happened| matches!(event, Happened::CommitFailed | Happened::RolledBack(_));
        let failed = scene.happened().iter().any(failed);
        assert!(more || told != Some(Ok(4)) || failed, "{what}");
        scene.end();
    }
}

/// It is looked for by what it is called now, and not by what its save began with.
#[test]
fn what_was_renamed_meanwhile_is_found_again() {
    const MOVED: &str = r"C:\Saved\moved.txt";
    for replaced in [false, true] {
        let (scene, writer, handle) = rested();
        let other = scene.program("other.exe");
        other.call(|caller| caller.rename_path(FILE, MOVED, false)).unwrap();
        if replaced {
            other.put(FILE, OLD).unwrap();
        }
        assert_eq!(writer.write(handle, 0, b"MORE"), Ok(4), "{replaced}");
        scene.assert_committed(MOVED, NEW);
        writer.close(handle).unwrap();
        scene.assert_committed(MOVED, &[b"MORE", &NEW[4..]].concat());
        assert_eq!(scene.committed(FILE), replaced.then(|| OLD.to_vec()));
        scene.end();
    }
}

/// What was before the rest counts for the save that was, and not for the next one.
#[test]
fn each_of_its_saves_says_how_much_and_how_long_it_was() {
    let (scene, writer, handle) = rested();
    scene.pass(60_000);
    writer.write(handle, 0, b"MORE").unwrap();
    scene.pass(100);
    writer.close(handle).unwrap();
    let events = seen(&scene.lab);
    let committed: Vec<_> = events.iter().filter(|event| event.name() == "SaveCommitted").collect();
    let [first, second] = committed[..] else { panic!("{events:?}") };
    assert_eq!((first.number("Bytes"), second.number("Bytes")), (NEW.len() as u64, 4));
    let taken = second.number("Milliseconds");
    assert!((100..150).contains(&taken), "{taken}");
    scene.end();
}

/// One of its handles is mapped: it rests no more until it is closed, whichever handle is written.
#[test]
fn a_save_of_which_one_handle_is_mapped_is_left_as_it_is() {
    let scene = idle().build();
    let writer = scene.program("writer.exe");
    let (first, second) = (open(&writer), open(&writer));
    writer.write(first, 0, NEW).unwrap();
    let view = writer.call(move |caller| caller.create_section(second, true)).unwrap();
    scene.pass(2 * IDLE_TIME);
    scene.assert_committed(FILE, OLD);
    writer.call(move |caller| caller.close_section(view));
    writer.kill(1);
    scene.assert_committed(FILE, OLD);
    scene.end();
}

#[test]
fn what_was_modified_is_published_although_somebody_waits_for_a_lock() {
    let scene = idle().build();
    let writer = scene.program("writer.exe");
    let (first, second) = (open(&writer), open(&writer));
    writer.write(first, 0, NEW).unwrap();
    let lock = move |caller: &Caller<'_>, handle| caller.lock(handle, 0, 4, true, true);
    writer.call(move |caller| lock(caller, first)).unwrap();
    let waiting = writer.submit(move |caller| lock(caller, second));
    scene.pass(IDLE_TIME);
    assert_eq!(waiting.wait().unwrap(), Err(Status::LOCK_NOT_GRANTED));
    scene.assert_committed(FILE, NEW);
    scene.end();
}

fn not_resumed(scene: &Scene) -> usize {
    scene.happened().iter().filter(|event| **event == demoted(NOT_RESUMED)).count()
}

/// What somebody deletes meanwhile cannot be opened again; and what was not resumed once is not later.
#[test]
fn a_file_that_is_being_deleted_is_written_without_a_transaction_and_stays_so() {
    let (scene, writer, handle) = rested();
    let other = scene.program("other.exe");
    let theirs = other.create_file(CreateOptions::open(FILE, DELETE)).unwrap();
    other.call(move |caller| caller.set_delete(theirs, true)).unwrap();
    assert_eq!(writer.write(handle, 0, b"MORE"), Ok(4));
    other.call(move |caller| caller.set_delete(theirs, false)).unwrap();
    other.close(theirs).unwrap();
    assert_eq!(writer.write(handle, 4, b"more"), Ok(4));
    scene.assert_committed(FILE, &[b"MOREmore", &NEW[8..]].concat());
    writer.close(handle).unwrap();
    assert_eq!(not_resumed(&scene), 1);
    scene.end();
}

const OTHER: &str = r"C:\Saved\other.txt";

/// Of all that a process modifies, idle.
fn two_files() -> Scene {
    let rule = |rule: Rule| {
        rule.number("MaxIdleSeconds", 5).text("Scope", "Process").strings("Processes", &["writer.exe"])
    };
    Scene::builder().file(r"Saved\other.txt", OLD).rule(rule).build()
}

/// Both files, written, in one save that rests.
fn rested_two(scene: &Scene, writer: &Process) -> [Handle; 2] {
    let handles = [FILE, OTHER].map(|path| writer.create_file(CreateOptions::open(path, ALL)).unwrap());
    handles.iter().for_each(|handle| assert_eq!(writer.write(*handle, 0, NEW), Ok(NEW.len())));
    scene.pass(IDLE_TIME);
    handles
}

/// Two of its files, of which somebody deletes one: neither handle is lost.
#[test]
fn of_two_files_of_which_one_is_being_deleted_both_are_written_on() {
    for deleted in [FILE, OTHER] {
        let scene = two_files();
        let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
        let handles = rested_two(&scene, &writer);
        let theirs = other.create_file(CreateOptions::open(deleted, DELETE)).unwrap();
        other.call(move |caller| caller.set_delete(theirs, true)).unwrap();
        handles.iter().for_each(|handle| assert_eq!(writer.write(*handle, 0, b"MORE"), Ok(4), "{deleted}"));
        other.call(move |caller| caller.set_delete(theirs, false)).unwrap();
        other.close(theirs).unwrap();
        handles.iter().for_each(|handle| writer.close(*handle).unwrap());
        [FILE, OTHER].iter().for_each(|path| scene.assert_committed(path, &[b"MORE", &NEW[4..]].concat()));
        assert_eq!(not_resumed(&scene), 1, "{deleted}");
        scene.end();
    }
}

/// However many find out at once that no transaction is to be had, it is said once.
#[test]
fn threads_that_modify_at_once_and_find_no_transaction_are_one_event() {
    for seed in 1..=20 {
        let scene = idle().seed(seed).lab(|lab| lab.config(|config| config.preempt_per_mille = 400)).build();
        let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
        let handles: Vec<Handle> = (0..4).map(|_| open(&writer)).collect();
        writer.write(handles[0], 0, NEW).unwrap();
        scene.pass(IDLE_TIME);
        let theirs = other.create_file(CreateOptions::open(FILE, DELETE)).unwrap();
        other.call(move |caller| caller.set_delete(theirs, true)).unwrap();
        let calls: Vec<_> = handles
            .iter()
            .copied()
            .map(|handle| writer.submit(move |caller| caller.write(handle, Offset::At(0), b"MORE")))
            .collect();
        calls.into_iter().for_each(|call| assert_eq!(call.wait().unwrap(), Ok(4), "seed {seed}"));
        other.call(move |caller| caller.set_delete(theirs, false)).unwrap();
        assert_eq!(not_resumed(&scene), 1, "seed {seed}");
        scene.end();
    }
}

/// While it rests a reading handle has a twin beside its own file object, whatever that shares, and sees what is written next.
#[test]
fn a_reading_handle_that_shares_no_reading_sees_what_is_written_after_the_rest() {
    const SHARE_WRITE: u32 = 2;
    let scene = idle().build();
    let writer = scene.program("writer.exe");
    let handle = writer.create_file(CreateOptions::open(FILE, GENERIC_WRITE)).unwrap();
    let reading = writer.create_file(CreateOptions::open(FILE, GENERIC_READ).share(SHARE_WRITE)).unwrap();
    writer.write(handle, 0, NEW).unwrap();
    assert_eq!(writer.read(reading, 0, 64).unwrap(), NEW);
    scene.pass(IDLE_TIME);
    scene.assert_committed(FILE, NEW);
    writer.write(handle, 0, b"MORE").unwrap();
    scene.assert_committed(FILE, NEW);
    assert_eq!(writer.read(reading, 0, 4).unwrap(), b"MORE");
    writer.kill(1);
    scene.assert_committed(FILE, NEW);
    scene.end();
}

/// The pages of a file without a transaction are everybody's: as long as anybody has it mapped, it is not taken into one.
#[test]
fn a_file_that_somebody_has_mapped_is_written_without_a_transaction() {
    for mapped in [FILE, OTHER] {
        let scene = two_files();
        let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
        let handles = rested_two(&scene, &writer);
        let view = other.call(move |caller| {
            let reading = caller.create_file(&CreateOptions::open(mapped, GENERIC_READ)).unwrap().handle;
            let view = caller.create_section(reading, false).unwrap();
            caller.close(reading).unwrap();
            view
        });
        handles.iter().for_each(|handle| assert_eq!(writer.write(*handle, 0, b"MORE"), Ok(4), "{mapped}"));
        other.call(move |caller| {
            assert_eq!(caller.read_mapped(&view, 0, 4).unwrap(), b"MORE");
            caller.close_section(view);
        });
        handles.iter().for_each(|handle| writer.close(*handle).unwrap());
        [FILE, OTHER].iter().for_each(|path| scene.assert_committed(path, &[b"MORE", &NEW[4..]].concat()));
        assert_eq!(not_resumed(&scene), 1, "{mapped}");
        scene.end();
    }
}

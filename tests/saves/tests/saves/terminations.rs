//! Programs that are ended from outside: by a debugger, by somebody who closes their handles, while their requests are under
//! way (txf-ktm §8.2).

use intact_saves::{FILE, Happened, NEW, OLD, Rule, Scene, SceneBuilder};
use lab::flt::Completions;
use lab::{Caller, CreateOptions, GENERIC_READ, GENERIC_WRITE, Offset, Status};

const ALL: u32 = GENERIC_READ | GENERIC_WRITE;
const DIED: &str = "the process died with the file open";
const FRESH: &str = r"C:\Saved\fresh.txt";

/// Programs whose name begins with "writer" save; others do not.
fn writers(change: impl FnOnce(Rule) -> Rule) -> SceneBuilder {
    Scene::builder().rule(|rule| change(rule.strings("Processes", &["writer*.exe"])))
}

/// Whether the exit status is known when the handles are swept or not: no half of a save is published.
#[test]
fn a_debugger_that_ends_a_program_leaves_the_old_file() {
    for known in [false, true] {
        for status in [1, 0xC000_0005_u32.cast_signed()] {
            let scene =
                writers(|rule| rule).lab(|lab| lab.config(|c| c.exit_status_when_swept = known)).build();
            let (writer, debugger) = (scene.program("writer.exe"), scene.program("debugger.exe"));
            scene.write_new(&writer);
            let fresh = writer.create_file(CreateOptions::create(FRESH, ALL)).unwrap();
            writer.write(fresh, 0, NEW).unwrap();
            writer.kill_debugged(&debugger, status);
            scene.assert_committed(FILE, OLD);
            assert_eq!(scene.committed(FRESH), None);
            let ended = Happened::RolledBack(DIED.into());
            scene.assert_happened(&[Happened::Begun, Happened::Begun, ended.clone(), ended]);
            scene.end();
        }
    }
}

/// With an exit status of zero that is not known yet, nobody can say that the program has finished.
#[test]
fn on_exit_decides_about_handles_that_a_debugger_closes() {
    let cases = [
        ("ByStatus", 0, false, OLD),
        ("ByStatus", 0, true, NEW),
        ("Commit", 1, false, NEW),
        ("Commit", 1, true, NEW),
        ("Rollback", 0, false, OLD),
        ("Rollback", 0, true, OLD),
    ];
    for (on_exit, status, known, expected) in cases {
        let scene = writers(|rule| rule.text("OnExit", on_exit))
            .lab(|lab| lab.config(|config| config.exit_status_when_swept = known))
            .build();
        let (writer, debugger) = (scene.program("writer.exe"), scene.program("debugger.exe"));
        scene.write_new(&writer);
        writer.kill_debugged(&debugger, status);
        scene.assert_committed(FILE, expected);
        scene.end();
    }
}

/// A tool that closes other programs' handles does not know what is in the middle of being written.
#[test]
fn a_handle_that_somebody_else_closes_has_not_been_closed_by_its_program() {
    let scene = writers(|rule| rule).build();
    let (writer, tool) = (scene.program("writer.exe"), scene.program("tool.exe"));
    let handle = scene.write_new(&writer);
    assert_eq!(writer.close_from(&tool, handle), Ok(()));
    scene.assert_committed(FILE, OLD);
    scene.assert_rolled_back(DIED);
    assert_eq!(writer.write(handle, 0, b"x"), Err(Status::INVALID_HANDLE));
    scene.end();
}

/// What a program does that has several requests under way.
fn busy(caller: &Caller<'_>, part: u64) -> Option<()> {
    let options = CreateOptions::open(FILE, ALL).asynchronous();
    let handle = caller.create_file(&options).ok()?.handle;
    for round in 0..3 {
        caller.write(handle, Offset::At(part * 70_000 + round * 20_000), &[7; 20_000]).ok()?;
        caller.lock(handle, part, 10, true, round != 1).ok()?;
        caller.flush(handle).ok()?;
    }
    None
}

/// Nothing of it is closed by the program, so nothing of it may be there; and each of its threads comes to its end.
#[test]
fn a_program_that_is_ended_with_requests_under_way_leaves_the_old_file() {
    for seed in 1..=40 {
        let late = if seed % 2 == 0 { Completions::Late } else { Completions::Seeded };
        let scene = writers(|rule| rule.text("OnFlush", "Defer"))
            .seed(seed)
            .lab(|lab| lab.completions(late).config(|c| c.exit_status_when_swept = seed % 3 == 0))
            .build();
        let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
        // Somebody else's lock makes the writer's wait.
        let held = other.create_file(CreateOptions::open(FILE, GENERIC_READ)).unwrap();
        let work: Vec<_> = (0..4).map(|part| writer.submit(move |caller| busy(caller, part))).collect();
        if seed % 4 != 0 {
            scene.pass(seed.cast_signed());
        }
        if seed % 5 == 0 {
            writer.kill_debugged(&other, 1);
        } else {
            writer.kill(1);
        }
        scene.pass(100);
        assert!(work.iter().all(lab::Pending::is_done), "seed {seed}");
        scene.assert_committed(FILE, OLD);
        other.close(held).unwrap();
        assert!(!scene.happened().contains(&Happened::Committed), "seed {seed}: {:?}", scene.happened());
        scene.end();
    }
}

/// The file is held by a lock that is never given back but by the end.
#[test]
fn a_program_that_is_ended_while_it_waits_for_a_lock_ends() {
    for debugged in [false, true] {
        let scene = writers(|rule| rule).build();
        let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
        let handle = scene.write_new(&writer);
        let second = scene.open_file(&writer);
        writer.call(move |caller| caller.lock(handle, 0, 10, true, true)).unwrap();
        let waits = writer.submit(move |caller| caller.lock(second, 5, 10, true, true));
        scene.pass(10);
        assert!(!waits.is_done());
        if debugged {
            writer.kill_debugged(&other, 1);
        } else {
            writer.kill(1);
        }
        assert!(waits.is_done());
        scene.assert_committed(FILE, OLD);
        scene.assert_happened(&[
            Happened::Begun,
            Happened::Joined("writer".into()),
            Happened::RolledBack(DIED.into()),
        ]);
        scene.end();
    }
}

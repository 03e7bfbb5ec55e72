//! A thread that is suspended in the middle of something, by a debugger or by who freezes a process, keeps nobody waiting
//! for long.

use intact_saves::{FILE, NEW, OLD, Scene};
use lab::{Caller, CreateOptions, GENERIC_READ, GENERIC_WRITE, Handle, Offset, Process, Status};

const OTHER: &str = r"C:\Saved\other.txt";
/// Longer than anybody waits for others.
const LONG: i64 = 35_000;

type Told = Result<(), Status>;
type Act = fn(&Caller<'_>, Handle) -> Told;

/// What the thread does that is suspended at every one of its steps.
struct Case {
    name: &'static str,
    /// Longer than the save is transacted in which nothing was modified.
    rested: bool,
    act: Act,
    /// What its file may hold at the end.
    new: &'static [u8],
}

const WRITES: Act = |caller, handle| caller.write(handle, Offset::At(0), NEW).map(|_| ());

const CASES: [Case; 4] = [
    Case { name: "close", rested: false, act: |caller, handle| caller.close(handle), new: NEW },
    Case { name: "flush", rested: false, act: |caller, handle| caller.flush(handle), new: NEW },
    Case { name: "write after a rest", rested: true, act: WRITES, new: NEW },
    Case {
        name: "opens again",
        rested: false,
        act: |caller, _| caller.create_file(&CreateOptions::open(FILE, GENERIC_READ)).map(|_| ()),
        new: NEW,
    },
];

/// Runs a call up to one of its steps. False if it ends before.
fn runs_to(scene: &Scene, call: &lab::Pending<Told>, step: u64) -> bool {
    let lab = scene.lab.executive();
    let at = lab.scheduler.switches() + step;
    lab.run_until(|lab| call.is_done() || lab.scheduler.switches() >= at).unwrap();
    !call.is_done()
}

/// Whether a call ends by itself, before long.
fn ends<R: 'static>(
    scene: &Scene,
    process: &Process,
    body: impl FnOnce(&Caller<'_>) -> R + 'static,
) -> Option<R> {
    let call = process.submit(body);
    scene.pass(LONG);
    call.is_done().then(|| call.wait().unwrap())
}

fn opens(access: u32) -> impl Fn(&Caller<'_>) -> Told {
    move |caller| {
        let opened = caller.create_file(&CreateOptions::open(FILE, access))?;
        caller.close(opened.handle)
    }
}

/// Everybody else goes on: who reads the file, who wants to write it, and another save that time ends.
fn others_go_on(scene: &Scene, what: &str) {
    let (reader, outsider) = (scene.program("reader.exe"), scene.program("outsider.exe"));
    let read = ends(scene, &reader, opens(GENERIC_READ));
    assert!(matches!(read, Some(Ok(()) | Err(Status::SHARING_VIOLATION))), "{what}: a reader: {read:?}");
    let wrote = ends(scene, &outsider, opens(GENERIC_WRITE));
    assert!(matches!(wrote, Some(Ok(()) | Err(Status::SHARING_VIOLATION))), "{what}: an outsider: {wrote:?}");
    // A hollow close: a thread of the driver ends its save.
    let neighbour = scene.program("writer.exe");
    let emptied = ends(scene, &neighbour, |caller| {
        let opened = caller.create_file(&CreateOptions::overwrite_if(OTHER, GENERIC_WRITE))?;
        caller.close(opened.handle)
    });
    assert_eq!(emptied, Some(Ok(())), "{what}: another program");
    assert_eq!(scene.committed(OTHER).as_deref(), Some(&b""[..]), "{what}: the driver's thread");
}

fn scene() -> Scene {
    Scene::builder()
        .file(r"Saved\other.txt", OLD)
        .rule(|rule| rule.strings("Processes", &["writer.exe"]))
        .lab(|lab| lab.config(|config| config.preempt_per_mille = 1_000))
        .build()
}

fn suspended_at(case: &Case, step: u64) -> bool {
    let what = format!("{} suspended at step {step}", case.name);
    let scene = scene();
    let writer = scene.program("writer.exe");
    let handle = match case.rested {
        true => scene.open_file(&writer),
        false => scene.write_new(&writer),
    };
    if case.rested {
        scene.pass(6_000);
    }
    let act = case.act;
    let call = writer.submit(move |caller| act(caller, handle));
    let suspended = runs_to(&scene, &call, step);
    if suspended {
        writer.suspend();
        others_go_on(&scene, &what);
        writer.resume();
    }
    let told = call.wait().unwrap();
    writer.exit(0);
    scene.pass(LONG);
    let found = scene.committed(FILE).unwrap();
    assert!(found == OLD || found == case.new, "{what}: {}", String::from_utf8_lossy(&found));
    assert!(
        told.is_err() || found == case.new,
        "{what}: told {told:?}, and {}",
        String::from_utf8_lossy(&found)
    );
    scene.end();
    suspended
}

#[test]
fn at_every_step_of_a_program_others_go_on() {
    for case in &CASES {
        let steps = (0..).take_while(|step| suspended_at(case, *step)).count();
        assert!(steps > 10, "{}: {steps} steps", case.name);
    }
}

/// One thread of the program closes the file, while another one that only reads it stands still.
#[test]
fn a_thread_that_reads_keeps_no_other_from_closing() {
    let reads: [(&str, Act); 2] = [
        ("reads", |caller, handle| caller.read(handle, Some(0), 4).map(|_| ())),
        ("opens", |caller, _| {
            let opened = caller.create_file(&CreateOptions::open(FILE, GENERIC_READ))?;
            caller.close(opened.handle)
        }),
    ];
    for (name, act) in reads {
        let suspended_at = |step: u64| {
            let what = format!("{name}, suspended at step {step}");
            let scene = scene();
            let writer = scene.program("writer.exe");
            let handle = scene.write_new(&writer);
            let reads = CreateOptions::open(FILE, GENERIC_READ).asynchronous();
            let reads = writer.create_file(reads).unwrap();
            let call = writer.submit(move |caller| act(caller, reads));
            let suspended = runs_to(&scene, &call, step);
            if suspended {
                writer.suspend();
                let closed = ends(&scene, &writer, move |caller| caller.close(handle));
                assert_eq!(closed, Some(Ok(())), "{what}");
                scene.assert_committed(FILE, NEW);
                others_go_on(&scene, &what);
                let closed = ends(&scene, &writer, move |caller| caller.close(reads));
                assert_eq!(closed, Some(Ok(())), "{what}");
                writer.resume();
            }
            let _ = call.wait().unwrap();
            scene.end();
            suspended
        };
        assert!((0..).take_while(|step| suspended_at(*step)).count() > 10, "{name}");
    }
}

/// An outsider who ends a save by opening its file works on another program's handles.
#[test]
fn an_outsider_who_is_suspended_keeps_no_program_from_its_file() {
    let suspended_at = |step: u64| {
        let what = format!("suspended at step {step}");
        let scene = scene();
        let writer = scene.program("writer.exe");
        let handle = scene.write_new(&writer);
        let outsider = scene.program("outsider.exe");
        let call = outsider.submit(opens(GENERIC_WRITE));
        let suspended = runs_to(&scene, &call, step);
        if suspended {
            outsider.suspend();
            let wrote = ends(&scene, &writer, move |caller| {
                caller.write(handle, Offset::At(0), b"A")?;
                caller.read(handle, Some(0), 1)?;
                caller.close(handle)
            });
            assert_eq!(wrote, Some(Ok(())), "{what}");
            others_go_on(&scene, &what);
            outsider.resume();
        }
        call.wait().unwrap().ok();
        scene.end();
        suspended
    };
    assert!((0..).take_while(|step| suspended_at(*step)).count() > 10);
}

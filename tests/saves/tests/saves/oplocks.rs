//! Programs that hold oplocks on a file which another program saves: both are told what they are told without Intact, and the
//! driver waits for nobody's acknowledgement in an open of its own.

use intact_saves::{FILE, Happened, NEW, OLD, Rule, Scene, SceneBuilder};
use lab::switches::SWITCHES;
use lab::{
    Acknowledgement, Builder, CreateOptions, Created, DELETE, GENERIC_READ, GENERIC_WRITE, Handle, Name,
    Offset, Oplock, OplockBreak, Pending, Process, SHARE_ALL, Status,
};

const ALL: u32 = GENERIC_READ | GENERIC_WRITE;
const SHARE_READ: u32 = 1;
const SUPERSEDE: u32 = 0;
const OPEN: u32 = 1;
const OPEN_IF: u32 = 3;
const OVERWRITE_IF: u32 = 5;
const COMPLETE_IF_OPLOCKED: u32 = 0x100;
const REQUIRING_OPLOCK: u32 = 0x1_0000;
const RESERVE_OPFILTER: u32 = 0x10_0000;

type Request = Pending<Result<OplockBreak, Status>>;

/// Only the writer is saved: the holder has its handles and its oplocks from the file system.
fn builder() -> SceneBuilder {
    Scene::builder().rule(|rule: Rule| rule.strings("Processes", &["writer.exe"]))
}

fn settle(scene: &Scene) {
    scene.lab.executive().run_until_idle().unwrap();
}

fn open(program: &Process, access: u32, share: u32) -> Handle {
    program.create_file(CreateOptions::open(FILE, access).share(share).asynchronous()).unwrap()
}

fn request(scene: &Scene, program: &Process, handle: Handle, kind: Oplock) -> Request {
    let request = program.submit(move |caller| caller.request_oplock(handle, kind));
    settle(scene);
    request
}

/// What somebody waits for in an open that a driver makes.
fn waits_in_a_drivers_open(scene: &Scene) -> Vec<String> {
    let threads = scene.lab.executive().scheduler.threads();
    let waits = threads.iter().filter_map(|thread| thread.waits_for());
    let creates = |what: &String| what.contains("IRP_MJ_CREATE") && what.contains("made by a filter");
    waits.filter(|what| what.contains("oplock") && creates(what)).collect()
}

/// What the holder does when its oplock is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Closes,
    Accepts,
    /// Keeps whoever waits waiting until it is gone.
    Dies,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    kind: Oplock,
    held: u32,
    shared: u32,
    access: u32,
    share: u32,
    disposition: u32,
    options: u32,
    answer: Answer,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let openings = [
        (GENERIC_WRITE, SHARE_ALL, OPEN),
        (ALL, SHARE_READ, OPEN_IF),
        (ALL, SHARE_ALL, OVERWRITE_IF),
        (GENERIC_WRITE | DELETE, SHARE_ALL, SUPERSEDE),
        (GENERIC_WRITE, 0, OVERWRITE_IF),
        (DELETE, SHARE_ALL, OPEN),
    ];
    for kind in Oplock::ALL {
        for (held, shared) in [(GENERIC_READ, SHARE_ALL), (GENERIC_READ, SHARE_READ), (ALL, SHARE_ALL)] {
            for (access, share, disposition) in openings {
                for options in [0, COMPLETE_IF_OPLOCKED, REQUIRING_OPLOCK, RESERVE_OPFILTER] {
                    // How the holder answers changes from case to case; each comes with every kind and every option.
                    let number = cases.len() + cases.len() / 4;
                    let answer = [Answer::Closes, Answer::Accepts, Answer::Dies][number % 3];
                    cases.push(Case { kind, held, shared, access, share, disposition, options, answer });
                }
            }
        }
    }
    cases
}

/// What both are told.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    /// Whether the open was over before the holder answered.
    at_once: bool,
    broken: Option<Result<OplockBreak, Status>>,
    acknowledged: Option<Result<OplockBreak, Status>>,
    opened: Result<(Status, u32), (Status, u32)>,
    written: Option<Result<usize, Status>>,
    committed: Option<Vec<u8>>,
}

fn run(scene: &Scene, case: Case) -> Told {
    let (holder, writer) = (scene.program("holder.exe"), scene.program("writer.exe"));
    let handle = open(&holder, case.held, case.shared);
    let oplock = request(scene, &holder, handle, case.kind);
    assert!(!oplock.is_done(), "{case:?}: granted");
    let options = CreateOptions::new(Name::Path(FILE.into()), case.access, case.disposition);
    let options = options.share(case.share).options(case.options);
    let opening = writer.submit(move |caller| caller.create_file_or_information(&options));
    settle(scene);
    assert_eq!(waits_in_a_drivers_open(scene), [""; 0], "{case:?}");
    let at_once = opening.is_done();
    let broken = oplock.is_done().then(|| oplock.wait().unwrap());
    let mut acknowledgement = None;
    match (case.answer, &broken) {
        (_, None) => {}
        (Answer::Closes, _) => holder.close(handle).unwrap(),
        (Answer::Dies, _) => holder.kill(1),
        (Answer::Accepts, Some(how)) => {
            let keeps = how.as_ref().ok().and_then(|how| how.to);
            let how = match case.kind.level() {
                Some(_) => Acknowledgement::Keep(keeps),
                None => Acknowledgement::Accept,
            };
            acknowledgement = Some(holder.submit(move |caller| caller.acknowledge_oplock(handle, how)));
        }
    }
    settle(scene);
    let opened = opening.wait().unwrap();
    let written = opened.ok().map(|created: Created| {
        let handle = created.handle;
        let written = writer.submit(move |caller| caller.write(handle, Offset::At(0), NEW));
        settle(scene);
        // Who was not waited for with the open is waited for with the write.
        let written = if written.is_done() {
            written.wait().unwrap()
        } else {
            holder.kill(1);
            written.wait().unwrap()
        };
        writer.close(handle).unwrap();
        written
    });
    settle(scene);
    let acknowledged = acknowledgement.filter(Pending::is_done).map(|done| done.wait().unwrap());
    scene.exit_all();
    Told {
        at_once,
        broken,
        acknowledged,
        opened: opened.map(|created| (created.status, created.information)),
        written,
        committed: scene.committed(FILE),
    }
}

/// The same, whatever Windows does where its documentation leaves it open.
fn told_alike(cases: impl Iterator<Item = Case>, setting: impl Fn(Builder) -> Builder) -> usize {
    let mut saved = 0;
    for case in cases {
        let scene = builder().lab(&setting).build();
        let with = run(&scene, case);
        let without = run(&builder().lab(&setting).bare().build(), case);
        assert_eq!(with, without, "{case:?}\n{:?}", scene.happened());
        saved += usize::from(scene.happened().contains(&Happened::Committed));
        scene.end();
    }
    saved
}

#[test]
fn who_holds_an_oplock_and_who_saves_are_told_what_they_are_told_without_intact() {
    let saved = told_alike(cases().into_iter(), |lab| lab);
    assert!(saved > 20, "{saved} of the opens were saves all the same");
}

#[test]
fn they_are_told_so_whichever_way_windows_breaks_oplocks() {
    let switches: Vec<_> =
        SWITCHES.iter().filter(|switch| switch.source == "minifilter-rules §2.9").collect();
    assert!(switches.len() >= 5);
    for (number, switch) in switches.iter().enumerate() {
        for setting in &switch.settings[1..] {
            // Told of a break, one passes through: then the save is not one, and its open is told the same.
            told_alike(cases().into_iter().skip(number).step_by(5), setting.apply);
        }
    }
}

/// Kinds that one has alone, and others that a sharing violation breaks.
#[test]
fn an_open_that_would_have_to_wait_goes_on_without_a_transaction_and_says_so() {
    for kind in [Oplock::Level1, Oplock::Batch, Oplock::ReadWrite, Oplock::ReadWriteHandle, Oplock::Filter] {
        let scene = builder().build();
        let (holder, writer) = (scene.program("holder.exe"), scene.program("writer.exe"));
        let handle = open(&holder, GENERIC_READ, SHARE_ALL);
        let oplock = request(&scene, &holder, handle, kind);
        let opening = writer.submit(|caller| caller.create_file(&CreateOptions::open(FILE, ALL)));
        settle(&scene);
        assert!(
            oplock.is_done() && !opening.is_done(),
            "{kind:?}: told, and waited for by the program's own open"
        );
        scene.assert_happened(&[Happened::PassedThrough("an oplock is being broken".into())]);
        assert_eq!(waits_in_a_drivers_open(&scene), [""; 0]);
        holder.close(handle).unwrap();
        let handle = opening.wait().unwrap().unwrap().handle;
        writer.write(handle, 0, NEW).unwrap();
        writer.kill(1);
        scene.assert_committed(FILE, NEW);
        // The next one is a save again.
        let next = scene.program("writer.exe");
        let handle = next.create_file(CreateOptions::overwrite_if(FILE, ALL)).unwrap();
        next.write(handle, 0, b"half").unwrap();
        next.kill(1);
        scene.assert_committed(FILE, NEW);
        scene.end();
    }
}

#[test]
fn who_lets_nothing_pass_is_denied_until_the_oplock_is_out_of_the_way() {
    let rule = |rule: Rule| rule.strings("Processes", &["writer.exe"]).text("OnUnavailable", "Deny");
    let scene = Scene::builder().rule(rule).build();
    let (holder, writer) = (scene.program("holder.exe"), scene.program("writer.exe"));
    let handle = open(&holder, GENERIC_READ, SHARE_ALL);
    let oplock = request(&scene, &holder, handle, Oplock::Batch);
    let options = CreateOptions::open(FILE, ALL);
    assert_eq!(writer.create_file(options.clone()), Err(Status::SHARING_VIOLATION));
    settle(&scene);
    assert!(oplock.is_done(), "the holder is told");
    assert_eq!(writer.create_file(options.clone()), Err(Status::SHARING_VIOLATION));
    let acknowledged =
        holder.submit(move |caller| caller.acknowledge_oplock(handle, Acknowledgement::Accept));
    settle(&scene);
    assert!(!acknowledged.is_done(), "it has a level 2 oplock now");
    let handle = writer.create_file(options).unwrap();
    writer.write(handle, 0, NEW).unwrap();
    settle(&scene);
    assert!(acknowledged.is_done(), "which the write breaks");
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, NEW);
    scene.end();
}

/// txf-ktm §4.8.
#[test]
fn an_oplock_is_refused_during_a_save_and_granted_after_it() {
    for kind in Oplock::ALL {
        let scene = builder().build();
        let (outsider, writer) = (scene.program("outsider.exe"), scene.program("writer.exe"));
        let handle = open(&writer, ALL, SHARE_ALL);
        writer.write(handle, 0, NEW).unwrap();
        let reader = open(&outsider, GENERIC_READ, SHARE_ALL);
        for (program, handle) in [(&writer, handle), (&outsider, reader)] {
            let refused = request(&scene, program, handle, kind);
            assert!(refused.is_done(), "{kind:?} is refused");
            assert_eq!(refused.wait().unwrap(), Err(Status::OPLOCK_NOT_GRANTED), "{kind:?}");
        }
        writer.close(handle).unwrap();
        scene.assert_committed(FILE, NEW);
        let granted = request(&scene, &outsider, reader, kind);
        assert!(!granted.is_done(), "{kind:?} is granted after it");
        scene.end();
    }
}

#[test]
fn who_has_a_shared_oplock_is_told_when_a_save_writes_and_reads_the_old_version_until_it_ends() {
    for kind in [Oplock::Level2, Oplock::Read, Oplock::ReadHandle] {
        let scene = builder().build();
        let (holder, writer) = (scene.program("holder.exe"), scene.program("writer.exe"));
        let handle = open(&holder, GENERIC_READ, SHARE_ALL);
        let oplock = request(&scene, &holder, handle, kind);
        let saving = scene.open_file(&writer);
        settle(&scene);
        assert!(!oplock.is_done(), "{kind:?}: the open breaks nothing");
        writer.write(saving, 0, NEW).unwrap();
        settle(&scene);
        assert_eq!(oplock.wait().unwrap().unwrap().to, None, "{kind:?}");
        assert_eq!(holder.read(handle, 0, 100).unwrap(), OLD, "{kind:?}");
        writer.close(saving).unwrap();
        assert_eq!(holder.read(handle, 0, 100).unwrap(), NEW, "{kind:?}");
        scene.assert_one_commit();
        scene.end();
    }
}

/// A second open of the file that is being saved belongs to the save, whatever it is told about oplocks.
#[test]
fn an_open_of_a_save_under_way_stays_in_it_when_it_is_told_of_a_break() {
    for told in [false, true] {
        let setting = |lab: Builder| lab.switches(|s| s.unwaited_break_is_told = told);
        for kind in [Oplock::Level2, Oplock::Read, Oplock::ReadHandle] {
            let scene = builder().lab(setting).build();
            let (holder, writer) = (scene.program("holder.exe"), scene.program("writer.exe"));
            let handle = open(&holder, GENERIC_READ, SHARE_ALL);
            let oplock = request(&scene, &holder, handle, kind);
            let first = scene.open_file(&writer);
            let second = writer.create_file(CreateOptions::overwrite_if(FILE, ALL)).unwrap();
            settle(&scene);
            assert!(oplock.is_done(), "{kind:?}");
            writer.write(second, 0, NEW).unwrap();
            assert_eq!(writer.read(first, 0, 100).unwrap(), NEW, "{kind:?} {told}");
            writer.close(second).unwrap();
            scene.assert_committed(FILE, OLD);
            writer.close(first).unwrap();
            scene.assert_committed(FILE, NEW);
            scene.end();
        }
    }
}

/// Programs that save by renaming a new file over the old one.
#[test]
fn a_rename_over_a_file_with_an_oplock_is_told_what_it_is_told_without_intact() {
    const FRESH: &str = r"C:\Saved\fresh.txt";
    let run = |scene: &Scene, kind: Oplock, closes: bool| {
        let (holder, writer) = (scene.program("holder.exe"), scene.program("writer.exe"));
        writer.put(FRESH, NEW).unwrap();
        let handle = open(&holder, GENERIC_READ, SHARE_ALL);
        let oplock = request(scene, &holder, handle, kind);
        let renaming = writer.submit(|caller| caller.rename_path(FRESH, FILE, true));
        settle(scene);
        let at_once = renaming.is_done();
        // Whoever else comes is not kept waiting with it.
        let outsider = scene.program("outsider.exe");
        let reading = outsider.submit(|caller| caller.contents(FRESH));
        settle(scene);
        let read = reading.is_done();
        let broken = oplock.is_done().then(|| oplock.wait().unwrap());
        if closes {
            holder.close(handle).unwrap();
        } else {
            holder.kill(1);
        }
        let renamed = renaming.wait().unwrap();
        scene.exit_all();
        // A process's save is committed a little after its end.
        scene.pass(3000);
        (at_once, broken, read, renamed, scene.committed(FILE), scene.committed(FRESH))
    };
    for scope in ["Handle", "Process"] {
        for kind in Oplock::ALL {
            for closes in [true, false] {
                let rule = |rule: Rule| rule.strings("Processes", &["writer.exe"]).text("Scope", scope);
                let scene = Scene::builder().rule(rule).build();
                let with = run(&scene, kind, closes);
                let without = run(&Scene::builder().bare().build(), kind, closes);
                assert_eq!(with, without, "{scope} {kind:?} {closes}: {:?}", scene.happened());
                scene.end();
            }
        }
    }
}

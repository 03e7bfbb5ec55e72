//! Programs that hold oplocks on a file which another program saves: both are told what they are told without Intact, and the
//! driver waits for nobody's acknowledgement in an open of its own.

use intact_saves::{FILE, Happened, NEW, Rule, Scene, SceneBuilder};
use lab::{
    Acknowledgement, CreateOptions, Created, DELETE, GENERIC_READ, GENERIC_WRITE, Handle, Name, Offset,
    Oplock, OplockBreak, Pending, Process, SHARE_ALL, Status,
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
    waits.filter(|what| what.contains("oplock") && what.contains("made by a filter")).collect()
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

#[test]
fn who_holds_an_oplock_and_who_saves_are_told_what_they_are_told_without_intact() {
    let mut saved = 0;
    for case in cases() {
        let scene = builder().build();
        let with = run(&scene, case);
        let without = run(&builder().bare().build(), case);
        assert_eq!(with, without, "{case:?}\n{:?}", scene.happened());
        saved += usize::from(scene.happened().contains(&Happened::Committed));
        scene.end();
    }
    assert!(saved > 20, "{saved} of the opens were saves all the same");
}

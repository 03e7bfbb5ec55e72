//! Threads of one process that make one file at the same moment, in chosen orders of their steps.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use intact_saves::{Happened, Scene};
use lab::{Caller, CreateOptions, GENERIC_READ, GENERIC_WRITE, Handle, Offset, Process, Status};
use lab_executive::import::FaultKind;
use lab_executive::scheduler::MILLISECOND;
use lab_executive::thread::Thread;

const FRESH: &str = r"C:\Saved\fresh.txt";
const DECOY: &str = r"C:\Saved\decoy.txt";
const ALL: u32 = GENERIC_READ | GENERIC_WRITE;

type Told = Result<Handle, Status>;

/// How far a thread is that makes a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// It has begun a transaction of its own.
    Begun,
    /// There is no file yet, and its create is about to go down to make one.
    Missed,
    /// Its create has come back.
    Made,
    /// It has opened the twin, which its save does not know yet.
    Opened,
    /// It has its handle, and has written.
    Done,
}

use Step::{Begun, Done, Made, Missed, Opened};

impl Step {
    const ALL: [Step; 5] = [Begun, Missed, Made, Opened, Done];

    /// The call of the driver's that the thread makes first then, and which one of them.
    fn call(self) -> Option<(&'static str, u64)> {
        match self {
            Begun => Some(("ZwCreateTransaction", 1)),
            Missed => Some(("FltSetCallbackDataDirty", 1)),
            // Asked for by the attempt to open an existing file, and for the twin of the new one.
            Made => Some(("FltGetEcpListFromCallbackData", 2)),
            Opened => Some(("FltQueryInformationFile", 1)),
            Done => None,
        }
    }
}

/// A thread that runs only when it is told to.
struct Maker<'s> {
    scene: &'s Scene,
    thread: Rc<Thread>,
    told: Rc<RefCell<Option<Told>>>,
    /// How often it has made the call of each step.
    calls: [Cell<u64>; 4],
}

impl<'s> Maker<'s> {
    /// Makes a file, writes a letter at a place of its own, and keeps the handle.
    fn new(scene: &'s Scene, process: &Process, options: CreateOptions, at: u64) -> Self {
        let lab = scene.lab.executive();
        let told = Rc::new(RefCell::new(None));
        let tells = told.clone();
        let thread = lab.spawn(process.inner(), "maker", move |lab| {
            let caller = Caller::new(lab);
            let value = caller.create_file(&options).map(|made| made.handle);
            let value = value.and_then(|handle| caller.write(handle, Offset::At(at), b"x").map(|_| handle));
            *tells.borrow_mut() = Some(value);
        });
        lab.suspend_thread(&thread);
        Maker { scene, thread, told, calls: Default::default() }
    }

    /// Goes on to a step, while all others stand still. False if it waits for one of them before.
    fn goes_to(&self, step: Step) -> bool {
        let lab = self.scene.lab.executive();
        let count = |step: Step| step.call().map_or(0, |(name, _)| lab.calls.count(name));
        let before = Step::ALL.map(count);
        let reached = |_: &lab::Executive| {
            let is_there = step.call().is_some_and(|(_, number)| {
                let index = step as usize;
                self.calls[index].get() + count(step) - before[index] >= number
            });
            is_there || self.told.borrow().is_some()
        };
        lab.resume_thread(&self.thread);
        let reached = lab.run_until_idle_or(reached).unwrap_or_else(|violation| panic!("{violation}"));
        lab.suspend_thread(&self.thread);
        for (index, calls) in self.calls.iter().enumerate() {
            calls.set(calls.get() + count(Step::ALL[index]) - before[index]);
        }
        reached
    }
}

fn scene() -> Scene {
    Scene::builder().lab(|lab| lab.config(|config| config.preempt_per_mille = 1_000)).build()
}

/// Makes the file if nobody has.
fn open_if(path: &str) -> CreateOptions {
    CreateOptions::open_if(path, ALL)
}

/// All have come back from their creates, of which one has made the file.
fn have_all_made_it(makers: &[Maker<'_>]) {
    for step in [Begun, Missed, Made] {
        assert!(makers.iter().all(|maker| maker.goes_to(step)), "{step:?}");
    }
}

/// All go on to the end, as far as they do not wait for each other.
fn finish(makers: &[Maker<'_>]) {
    for _ in makers {
        for maker in makers {
            maker.goes_to(Done);
        }
    }
}

/// Everybody has his handle of one save, and nobody has waited until his time was over.
fn are_in_one_save(scene: &Scene, makers: &[Maker<'_>], begun: i64, what: &str) {
    for maker in makers {
        assert!(
            matches!(*maker.told.borrow(), Some(Ok(_))),
            "{what}: {:?} {:?}",
            maker.told,
            scene.happened()
        );
    }
    let happened = scene.happened();
    let (first, rest) = happened.split_first().unwrap();
    assert_eq!(*first, Happened::Begun, "{what}");
    assert_eq!(rest.len(), makers.len() - 1, "{what}: {happened:?}");
    assert!(rest.iter().all(|event| matches!(event, Happened::Joined(_))), "{what}: {happened:?}");
    let now = scene.lab.executive().scheduler.now();
    assert!(now - begun < 1_000 * MILLISECOND, "{what}");
    scene.assert_committed(FRESH, b"");
}

/// All orders in which so many threads can go through the steps that they have left.
fn orders(left: &mut [usize], so_far: &mut Vec<usize>, found: &mut Vec<Vec<usize>>) {
    if left.iter().all(|left| *left == 0) {
        return found.push(so_far.clone());
    }
    for thread in 0..left.len() {
        if left[thread] > 0 {
            left[thread] -= 1;
            so_far.push(thread);
            orders(left, so_far, found);
            so_far.pop();
            left[thread] += 1;
        }
    }
}

#[test]
fn two_threads_that_make_one_file_are_in_one_save_in_every_order_of_their_steps() {
    let mut found = Vec::new();
    let (first, steps) = Step::ALL.split_first().unwrap();
    orders(&mut [steps.len(); 2], &mut Vec::new(), &mut found);
    assert_eq!(found.len(), 70);
    for order in found {
        let scene = scene();
        let begun = scene.lab.executive().scheduler.now();
        let writer = scene.program("writer.exe");
        let makers = [0, 1].map(|at| Maker::new(&scene, &writer, open_if(FRESH), at));
        // From then on neither knows of the other.
        assert!(makers.iter().all(|maker| maker.goes_to(*first)));
        let mut next = [0; 2];
        for thread in &order {
            makers[*thread].goes_to(steps[next[*thread]]);
            next[*thread] += 1;
        }
        finish(&makers);
        are_in_one_save(&scene, &makers, begun, &format!("{order:?}"));
        // The other one keeps it open.
        writer.close(makers[0].told.borrow().unwrap().unwrap()).unwrap();
        scene.assert_committed(FRESH, b"");
        writer.kill(1);
        assert_eq!(scene.committed(FRESH), None, "{order:?}");
        scene.end();
    }
}

/// Nobody waits for a thread that is on the way to another file, nor for another program; those who have lost wait for who
/// has won, and not for each other.
#[test]
fn threads_that_make_one_file_wait_for_who_has_it_and_for_nobody_else() {
    let scene = scene();
    let begun = scene.lab.executive().scheduler.now();
    let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
    // What they have begun comes before what the others begin.
    let elsewhere = Maker::new(&scene, &writer, open_if(DECOY), 0);
    let outsider = Maker::new(&scene, &other, open_if(FRESH), 0);
    assert!([Begun, Missed].into_iter().all(|step| elsewhere.goes_to(step) && outsider.goes_to(step)));
    let makers = [0, 1, 2].map(|at| Maker::new(&scene, &writer, open_if(FRESH), at));
    let [one, two, wins] = &makers;
    have_all_made_it(&makers);
    assert!(wins.goes_to(Opened));
    assert!(!one.goes_to(Done), "it waits");
    assert!(!two.goes_to(Done), "it waits");
    assert!(wins.goes_to(Done));
    assert!(one.goes_to(Done) && two.goes_to(Done));
    are_in_one_save(&scene, &makers, begun, "three threads");
    assert!(elsewhere.goes_to(Done));
    assert!(matches!(*elsewhere.told.borrow(), Some(Ok(_))));
    other.kill(1);
    writer.kill(1);
    assert_eq!(scene.committed(FRESH), None);
    assert_eq!(scene.committed(DECOY), None);
    scene.end();
}

/// Who has won has no memory for his save: his file stays, and he writes it without one.
#[test]
fn a_thread_that_waits_for_another_one_goes_on_when_that_one_gives_up() {
    let scene = scene();
    let begun = scene.lab.executive().scheduler.now();
    let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
    let outsider = Maker::new(&scene, &other, open_if(DECOY), 0);
    assert!(outsider.goes_to(Begun) && outsider.goes_to(Missed));
    let makers = [0, 1].map(|at| Maker::new(&scene, &writer, open_if(FRESH), at));
    let [loses, wins] = &makers;
    have_all_made_it(&makers);
    assert!(wins.goes_to(Opened));
    assert!(!loses.goes_to(Done), "it waits");
    let calls = &scene.lab.executive().calls;
    calls.surprise("ExAllocatePool2", 0, FaultKind::Null);
    assert!(wins.goes_to(Done));
    assert_eq!(calls.surprises_left(), 0);
    assert!(loses.goes_to(Done));
    assert!(matches!(*wins.told.borrow(), Some(Ok(_))));
    scene.assert_happened(&[Happened::PassedThrough(
        "a new file could not be opened in a transaction".into(),
    )]);
    // As if the other one shared its file with nobody.
    assert_eq!(*loses.told.borrow(), Some(Err(Status::SHARING_VIOLATION)));
    assert!(scene.lab.executive().scheduler.now() - begun < 1_000 * MILLISECOND);
    other.kill(1);
    writer.kill(1);
    scene.end();
}

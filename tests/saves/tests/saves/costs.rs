//! What operations cost: which calls of the kernel the driver makes for them, above all for those that have nothing to do
//! with a save. Whoever makes one of them cheaper writes the new sum here.

use std::collections::BTreeMap;

use intact_saves::{FILE, Scene, SceneBuilder};
use lab::{Caller, CreateOptions, DELETE, GENERIC_READ, GENERIC_WRITE, Handle, Offset, Process};

const ALL: u32 = GENERIC_READ | GENERIC_WRITE;
const THEIRS: &str = r"C:\Elsewhere\theirs.txt";
const FRESH: &str = r"C:\Elsewhere\fresh.txt";

/// Calls by their names.
type Calls = BTreeMap<&'static str, u64>;

/// Programs whose name begins with "writer" save; others do not.
fn scene() -> SceneBuilder {
    Scene::builder()
        .file(r"Elsewhere\theirs.txt", b"theirs")
        .rule(|rule| rule.strings("Processes", &["writer*.exe"]))
}

/// The calls of the driver while a program does something.
fn calls(scene: &Scene, program: &Process, act: impl FnOnce(&Caller<'_>) + 'static) -> Calls {
    let before = scene.lab.executive().calls.counts();
    program.call(act);
    let after = scene.lab.executive().calls.counts();
    let more = |(name, count): (&'static str, u64)| (name, count - before.get(name).copied().unwrap_or(0));
    after.into_iter().map(more).filter(|(_, count)| *count != 0).collect()
}

/// Calls that are worth counting, and a word for each: what asks the Filter Manager, the file system or the pool, and locks
/// that others may hold.
const COUNTED: [(&str, &str); 9] = [
    ("FltGetStreamHandleContext", "handle"),
    ("FltGetInstanceContext", "volume"),
    ("FltGetRequestorProcess", "process"),
    ("FltGetFileNameInformation", "name"),
    ("ZwCreateTransaction", "transaction"),
    ("FltCreateFileEx2", "open"),
    ("FltQueryInformationFile", "query"),
    ("ExAllocatePool2", "memory"),
    ("ExAcquirePushLockSharedEx", "lock"),
];

fn told(calls: &Calls) -> String {
    let counted = COUNTED.iter().filter_map(|(name, word)| {
        let count = calls.get(name)?;
        Some(if *count == 1 { (*word).to_owned() } else { format!("{word} {count}") })
    });
    counted.collect::<Vec<_>>().join(", ")
}

/// What a program does with a file that nobody saves.
type Act = fn(&Caller<'_>, Handle);

fn opens(caller: &Caller<'_>, access: u32) {
    let handle = caller.create_file(&CreateOptions::open(THEIRS, access)).unwrap().handle;
    caller.close(handle).unwrap();
}

const ACTS: [(&str, Act); 12] = [
    ("read", |caller, theirs| assert_eq!(caller.read(theirs, Some(0), 2).unwrap(), b"th")),
    ("write", |caller, theirs| assert_eq!(caller.write(theirs, Offset::At(0), b"t"), Ok(1))),
    ("query", |caller, theirs| assert_eq!(caller.size(theirs), Ok(6))),
    ("set", |caller, theirs| caller.set_end_of_file(theirs, 6).unwrap()),
    ("lock", |caller, theirs| caller.lock(theirs, 0, 1, true, true).unwrap()),
    ("flush", |caller, theirs| caller.flush(theirs).unwrap()),
    ("security", |caller, theirs| assert!(caller.security(theirs).is_ok())),
    ("attributes by name", |caller, _| assert!(caller.query_attributes_by_path(THEIRS).is_ok())),
    ("open to read", |caller, _| opens(caller, GENERIC_READ)),
    ("open to change attributes", |caller, _| opens(caller, 0x100)),
    ("open to write", |caller, _| opens(caller, ALL)),
    ("make", |caller, _| caller.put(FRESH, b"fresh").unwrap()),
];

/// Asserts what each of [`ACTS`] costs, done by the program that saves (`own`) or by another one, after `begin`.
#[track_caller]
fn assert_costs(begin: fn(&Scene, &Process), own: bool, expected: [&str; ACTS.len()]) {
    for ((name, act), expected) in ACTS.into_iter().zip(expected) {
        let scene = scene().build();
        let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
        let program = if own { &writer } else { &other };
        let theirs = program.create_file(CreateOptions::open(THEIRS, ALL)).unwrap();
        begin(&scene, &writer);
        // What a thread of the driver does by and by is no part of it.
        scene.pass(60);
        let calls = calls(&scene, program, move |caller| act(caller, theirs));
        assert_eq!(told(&calls), expected, "{name}");
        scene.end();
    }
}

fn nobody_saves(_: &Scene, _: &Process) {}

fn a_save_lives(scene: &Scene, writer: &Process) {
    scene.write_new(writer);
}

fn a_save_waits(_: &Scene, writer: &Process) {
    let handle = writer.create_file(CreateOptions::overwrite_if(FILE, ALL)).unwrap();
    writer.close(handle).unwrap();
}

fn a_save_has_given_a_name(_: &Scene, writer: &Process) {
    let handle = writer.create_file(CreateOptions::open(FILE, ALL | DELETE)).unwrap();
    writer.call(move |caller| caller.rename(handle, "moved.txt", false)).unwrap();
}

#[test]
fn while_nobody_saves_only_who_opens_to_write_is_asked_for_his_name() {
    let expected = ["", "", "", "", "", "", "", "", "", ""];
    let others = ["volume, process, lock", "volume, process, lock"];
    assert_costs(nobody_saves, false, array(expected, others));
    let own = ["volume, process, name, lock", "volume, process, name, lock"];
    assert_costs(nobody_saves, true, array(expected, own));
}

#[test]
fn while_a_save_lives_others_are_asked_whether_theirs_is_it() {
    let by_name = [
        "volume, process, lock",
        "handle 2, volume, process, lock",
        "handle 2, volume 2, process 2, name, open, query, lock 6",
        "handle 2, volume 2, process 2, name, open, query, lock 7",
        "handle 3, volume 2, process 2, name, open, lock 6",
    ];
    assert_costs(a_save_lives, false, array(["handle"; 7], by_name));
}

#[test]
fn while_a_save_lives_what_its_program_opens_is_looked_for_in_it() {
    let by_name = [
        "handle 3, volume 3, process 3, query, memory, lock 4",
        "handle 2, volume 2, process 2, query, memory, lock 3",
        "handle 2, volume 2, process 2, name, open, query, memory, lock 7",
        "handle 2, volume 2, process 2, name, open, query, memory, lock 8",
        "handle 3, volume 2, process 2, name, open, memory, lock 6",
    ];
    assert_costs(a_save_lives, true, array(["handle"; 7], by_name));
}

#[test]
fn while_a_save_waits_others_are_asked_whether_theirs_is_it() {
    let by_name = [
        "handle 3, volume 2, process 2, lock 3",
        "handle 2, volume 2, process 2, lock 3",
        "handle 2, volume 2, process 2, name, open, query, lock 4",
        "handle 2, volume 2, process 2, name, open, query, lock 5",
        "handle 3, volume 2, process 2, name, open, lock 4",
    ];
    assert_costs(a_save_waits, false, array(["handle"; 7], by_name));
}

#[test]
fn while_a_save_waits_what_its_program_opens_is_looked_for_in_it() {
    let by_name = [
        "handle 3, volume 3, process 3, query, memory, lock 4",
        "handle 2, volume 3, process 3, query, memory, lock 4",
        "handle 2, volume 2, process 2, name, open, query, memory, lock 7",
        "handle 2, volume 2, process 2, name, open, query, memory, lock 8",
        "handle 3, volume 2, process 2, name, open, memory, lock 6",
    ];
    assert_costs(a_save_waits, true, array(["handle"; 7], by_name));
}

#[test]
fn while_a_save_has_given_a_name_only_its_program_is_asked_for_names() {
    let others = [
        "volume, process, lock",
        "handle 2, volume 2, process 2, lock 2",
        "handle 2, volume 3, process 3, lock 3",
        "handle 2, volume 3, process 3, lock 4",
        "handle 3, volume 3, process 3, lock 4",
    ];
    assert_costs(a_save_has_given_a_name, false, array(["handle"; 7], others));
    let own = [
        "handle 3, volume 4, process 4, name, open 2, query 2, memory, lock 8",
        "handle 2, volume 3, process 3, name, open 2, query 2, memory, lock 7",
        "handle 2, volume 3, process 3, name 2, open 3, query 2, memory, lock 11",
        "handle 2, volume 3, process 3, name 2, open 3, query 2, memory, lock 12",
        "handle 3, volume 3, process 3, name 2, open 3, memory, lock 10",
    ];
    assert_costs(a_save_has_given_a_name, true, array(["handle"; 7], own));
}

/// One after the other.
fn array<'t, const A: usize, const B: usize, const C: usize>(
    first: [&'t str; A],
    then: [&'t str; B],
) -> [&'t str; C] {
    let all: Vec<&str> = first.into_iter().chain(then).collect();
    all.try_into().unwrap()
}

fn write(caller: &Caller<'_>, handle: Handle, offset: Offset) {
    assert_eq!(caller.write(handle, offset, b"t"), Ok(1));
}

fn opens_and_closes(caller: &Caller<'_>, access: u32) {
    let handle = caller.create_file(&CreateOptions::open(FILE, access)).unwrap().handle;
    caller.close(handle).unwrap();
}

/// What the operations of a save itself cost. Who writes where he says allocates nothing.
#[test]
fn operations_on_redirected_handles_ask_for_nothing_but_their_twin() {
    let acts: [(&str, Act, &str); 14] = [
        ("read", |caller, handle| assert!(caller.read(handle, Some(0), 3).is_ok()), "handle"),
        ("write", |caller, handle| write(caller, handle, Offset::At(0)), "handle"),
        ("append", |caller, handle| write(caller, handle, Offset::Append), "handle, memory"),
        ("write at the position", |caller, handle| write(caller, handle, Offset::Current), "handle"),
        ("query", |caller, handle| assert!(caller.size(handle).is_ok()), "handle 2"),
        ("set", |caller, handle| caller.set_end_of_file(handle, 6).unwrap(), "handle"),
        (
            "lock",
            |caller, handle| caller.lock(handle, 0, 1, true, true).unwrap(),
            "handle 2, process, memory 2",
        ),
        ("flush what is not modified", |caller, handle| caller.flush(handle).unwrap(), "handle, lock"),
        (
            "write and flush",
            |caller, handle| {
                write(caller, handle, Offset::At(0));
                caller.flush(handle).unwrap();
            },
            "handle 2, transaction, open 2, query, memory 2, lock 5",
        ),
        ("close", |caller, handle| caller.close(handle).unwrap(), "handle 2, process, lock 2"),
        (
            "write and close",
            |caller, handle| {
                write(caller, handle, Offset::At(0));
                caller.close(handle).unwrap();
            },
            "handle 3, process, lock 3",
        ),
        (
            "open and close another handle",
            |caller, _| opens_and_closes(caller, ALL),
            "handle 2, volume 2, process 3, name 2, open 2, query 4, memory 4, lock 12",
        ),
        (
            "open and close a handle to read",
            |caller, _| opens_and_closes(caller, GENERIC_READ),
            "handle 2, volume 2, process 2, name, open, query 4, memory 4, lock 4",
        ),
        ("rename", |caller, handle| caller.rename(handle, "moved.txt", false).unwrap(), "handle, memory 2"),
    ];
    for (name, act, expected) in acts {
        let scene = scene().build();
        let writer = scene.program("writer.exe");
        let handle = writer.create_file(CreateOptions::open(FILE, ALL | DELETE)).unwrap();
        let calls = calls(&scene, &writer, move |caller| act(caller, handle));
        assert_eq!(told(&calls), expected, "{name}");
        scene.end();
    }
}

/// Somebody else's open file is given up at once; where the process has a save of its own, which may have been in the way,
/// once more.
#[test]
fn a_file_that_somebody_else_holds_is_tried_once_or_twice() {
    for (saves_another, expected) in [(false, 1), (true, 2)] {
        let scene = scene().file(r"Saved\other.txt", b"other").build();
        let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
        let held = other.create_file(CreateOptions::open(FILE, GENERIC_WRITE)).unwrap();
        if saves_another {
            writer.create_file(CreateOptions::open(r"C:\Saved\other.txt", ALL)).unwrap();
        }
        let calls = calls(&scene, &writer, |caller| opens_and_closes(caller, ALL));
        assert_eq!(calls.get("ZwCreateTransaction"), Some(&expected), "{calls:?}");
        other.close(held).unwrap();
        scene.end();
    }
}

/// Who is let in by no handle is not asked for his name.
#[test]
fn while_a_save_shares_nothing_others_are_told_so_without_being_asked() {
    fn shares_nothing(_: &Scene, writer: &Process) {
        let handle = writer.create_file(CreateOptions::open(FILE, ALL).share(0)).unwrap();
        writer.write(handle, 0, b"new").unwrap();
    }
    let by_name = [
        "volume, process, lock",
        "handle 2, volume, process, lock",
        // Who only changes attributes is in no share mode's way.
        "handle 2, volume 2, process 2, name, open, query, lock 6",
        "handle 2, volume 2, process 2, lock 5",
        "handle 3, volume 2, process 2, lock 5",
    ];
    assert_costs(shares_nothing, false, array(["handle"; 7], by_name));
}

/// The first handle of a save, and a new file's.
#[test]
fn what_begins_a_save_costs_one_transaction_and_hardly_more_than_its_twin() {
    type Begins = fn(&Caller<'_>);
    let begins: [(&str, Begins, &str); 3] = [
        (
            "open",
            |caller| opens_and_closes(caller, ALL),
            "handle 2, volume, process 2, name 2, transaction, open, query 3, memory 13, lock 9",
        ),
        (
            "overwrite",
            |caller| {
                let handle = caller.create_file(&CreateOptions::overwrite_if(FILE, ALL)).unwrap().handle;
                caller.close(handle).unwrap();
            },
            "handle 2, volume, process 2, name 2, transaction, open, query 4, memory 14, lock 10",
        ),
        (
            "make",
            |caller| caller.put(r"C:\Saved\fresh.txt", b"fresh").unwrap(),
            "handle 3, volume, process 3, name, transaction, open 2, query 4, memory 16, lock 11",
        ),
    ];
    for (name, act, expected) in begins {
        let scene = scene().build();
        let writer = scene.program("writer.exe");
        // The first one on a volume brings the lower instance.
        writer.call(|caller| opens_and_closes(caller, ALL));
        scene.pass(600);
        let calls = calls(&scene, &writer, act);
        assert_eq!(told(&calls), expected, "{name}");
        scene.end();
    }
}

/// Others pay nothing for families, whether their saves live or wait.
#[test]
fn who_is_of_no_family_makes_no_call_more() {
    let cost = |children: u32, closes: bool, (_, act): (&str, Act)| {
        let rule = |rule: intact_saves::Rule| {
            rule.text("Scope", "Process")
                .number("IncludeChildren", children)
                .strings("Processes", &["writer*.exe"])
        };
        let scene = scene().rule(rule).build();
        let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
        let child = if children == 1 { writer.start("cc.exe") } else { writer.clone() };
        let theirs = other.create_file(CreateOptions::open(THEIRS, ALL)).unwrap();
        for program in [&writer, &child] {
            let handle = scene.write_new(program);
            if closes {
                program.close(handle).unwrap();
            }
        }
        scene.pass(60);
        let calls = calls(&scene, &other, move |caller| act(caller, theirs));
        scene.end();
        calls
    };
    for (act, closes) in ACTS.into_iter().flat_map(|act| [(act, false), (act, true)]) {
        let (with, without) = (cost(1, closes, act), cost(0, closes, act));
        let no_more = |(name, count): (&&str, &u64)| *count <= without.get(*name).copied().unwrap_or(0);
        assert!(with.iter().all(no_more), "{} {closes}: {with:?} {without:?}", act.0);
    }
}

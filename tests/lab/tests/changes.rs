//! Programs that wait for changes in a directory, and requests that are cancelled (minifilter-rules §2.8).

use std::rc::Rc;

use lab::{
    Change, Changes, CreateOptions, DELETE, GENERIC_READ, GENERIC_WRITE, Handle, Lab, Pending, Process,
    Status,
};
use lab_volume::notify;

const ALL: u32 = notify::ALL;

fn folder(program: &Process) -> Handle {
    let options = CreateOptions::open_if(r"C:\folder", GENERIC_READ).options(1).asynchronous();
    program.create_file(options).unwrap()
}

fn ask(program: &Process, handle: Handle, filter: u32) -> Pending<Result<Changes, Status>> {
    program.submit(move |caller| caller.notify_changes(handle, filter, true, 1024))
}

fn settled(lab: &Rc<Lab>) {
    lab.executive().run_until_idle().unwrap();
}

fn change(action: u32, name: &str) -> Change {
    Change { action, name: name.into() }
}

/// minifilter-rules §2.8.
#[test]
fn a_program_is_told_of_changes_and_asks_again() {
    let lab = Lab::builder().build().unwrap();
    let (watcher, writer) = (lab.process("watcher.exe"), lab.process("writer.exe"));
    let handle = folder(&watcher);
    let first = ask(&watcher, handle, ALL);
    settled(&lab);
    assert!(!first.is_done(), "it waits");
    let file = writer.create_file(CreateOptions::create(r"C:\folder\new", GENERIC_WRITE)).unwrap();
    let told = first.wait().unwrap().unwrap();
    assert_eq!(told, Changes { status: Status::SUCCESS, changes: vec![change(1, "new")] });
    writer.write(file, 0, b"bytes").unwrap();
    writer.close(file).unwrap();
    writer.call(|caller| caller.rename_path(r"C:\folder\new", "renamed", false)).unwrap();
    let second = ask(&watcher, handle, ALL).wait().unwrap().unwrap();
    assert_eq!(second.changes, [change(3, "new"), change(4, "new"), change(5, "renamed")]);
    watcher.close(handle).unwrap();
    watcher.exit(0);
    writer.exit(0);
    assert!(lab.unload().is_clean());
}

/// minifilter-rules §2.8.
#[test]
fn what_is_no_request_for_changes_is_refused() {
    let lab = Lab::builder().build().unwrap();
    let program = lab.process("program.exe");
    let handle = folder(&program);
    let ask = |handle, filter| ask(&program, handle, filter).wait().unwrap();
    for filter in [0, 0x1000, ALL | 0x8000_0000] {
        assert_eq!(ask(handle, filter), Err(Status::INVALID_PARAMETER), "{filter:#x}");
    }
    let blind = CreateOptions::open(r"C:\folder", DELETE).options(1).asynchronous();
    let blind = program.create_file(blind).unwrap();
    assert_eq!(ask(blind, ALL), Err(Status::ACCESS_DENIED));
    program.put(r"C:\file", b"").unwrap();
    let file = program.create_file(CreateOptions::open(r"C:\file", GENERIC_READ)).unwrap();
    assert_eq!(ask(file, ALL), Err(Status::INVALID_PARAMETER));
}

/// minifilter-rules §2.8.
#[test]
fn a_request_for_changes_ends_with_its_handle_its_thread_or_by_request() {
    let lab = Lab::builder().build().unwrap();
    let watcher = lab.process("watcher.exe");
    let handle = folder(&watcher);
    let closed = ask(&watcher, handle, ALL);
    settled(&lab);
    watcher.close(handle).unwrap();
    let nothing = Changes { status: Status::NOTIFY_CLEANUP, changes: Vec::new() };
    assert_eq!(closed.wait().unwrap(), Ok(nothing));

    let handle = folder(&watcher);
    assert_eq!(watcher.call(move |caller| caller.cancel_io(handle)), Err(Status::NOT_FOUND));
    let cancelled = ask(&watcher, handle, ALL);
    settled(&lab);
    let other = lab.process("other.exe");
    let theirs = watcher.duplicate(handle, &other).unwrap();
    let not_its_own = other.call(move |caller| caller.cancel_io(theirs));
    assert_eq!(not_its_own, Err(Status::NOT_FOUND), "a process cancels what it has asked for itself");
    watcher.call(move |caller| caller.cancel_io(handle)).unwrap();
    assert_eq!(cancelled.wait().unwrap(), Err(Status::CANCELLED));

    let swept = ask(&watcher, handle, ALL);
    settled(&lab);
    watcher.kill(1);
    assert_eq!(swept.wait().unwrap(), Err(Status::CANCELLED));
    other.exit(0);
    assert!(lab.unload().is_clean());
}

/// fileapi/CancelIoEx: whoever waits for a byte-range lock, too.
#[test]
fn a_wait_for_a_lock_is_cancelled_by_request() {
    let lab = Lab::builder().build().unwrap();
    let program = lab.process("program.exe");
    program.put(r"C:\file", b"bytes").unwrap();
    let open = || {
        let options = CreateOptions::open(r"C:\file", GENERIC_READ | GENERIC_WRITE).asynchronous();
        program.create_file(options).unwrap()
    };
    let (first, second) = (open(), open());
    program.call(move |caller| caller.lock(first, 0, 5, true, false)).unwrap();
    let waits = program.submit(move |caller| caller.lock(second, 0, 5, true, true));
    settled(&lab);
    assert!(!waits.is_done());
    program.call(move |caller| caller.cancel_io(second)).unwrap();
    assert_eq!(waits.wait().unwrap(), Err(Status::CANCELLED));
    program.call(move |caller| caller.unlock(first, 0, 5)).unwrap();
    let free = program.call(move |caller| caller.lock(first, 0, 5, true, false));
    assert_eq!(free, Ok(()), "nobody waits for it any more");
}

//! What other operations do to others' oplocks (minifilter-rules §2.9).

use lab::{Caller, CreateOptions, DELETE, GENERIC_READ, Handle, Offset, Oplock, READ_ATTRIBUTES, Status};

use crate::scene::{ALL, FILE, Scene, acceptance, broken};

type Operation = fn(&Caller<'_>, Handle) -> Result<(), Status>;

/// Somebody else, whose handle was there before, does something beside a shared oplock.
fn check(kind: Oplock, expected: Option<(Option<Oplock>, bool)>, access: u32, operation: Operation) {
    let scene = Scene::new();
    let other = scene.other.create_file(CreateOptions::open(FILE, access)).unwrap();
    let (handle, request) = scene.hold(kind);
    let done = scene.other.submit(move |caller| operation(caller, other));
    scene.settle();
    let Some((to, waits)) = expected else {
        assert!(done.is_done() && !request.is_done(), "{kind:?}");
        done.wait().unwrap().unwrap();
        return;
    };
    assert_eq!(request.wait().unwrap(), Ok(broken(kind, to)), "{kind:?}");
    assert_eq!(done.is_done(), !waits, "{kind:?}");
    if waits {
        scene.acknowledge(handle, acceptance(kind, to));
    }
    done.wait().unwrap().unwrap();
}

/// minifilter-rules §2.9.
#[test]
fn a_read_breaks_those_who_may_have_written() {
    for kind in [Oplock::Level2, Oplock::Read, Oplock::ReadHandle] {
        check(kind, None, GENERIC_READ, |caller, handle| caller.read(handle, Some(0), 5).map(|_| ()));
    }
    let rows = [
        (Oplock::Level1, Some(Oplock::Level2)),
        (Oplock::Batch, Some(Oplock::Level2)),
        (Oplock::ReadWrite, Some(Oplock::Read)),
        (Oplock::ReadWriteHandle, Some(Oplock::ReadHandle)),
    ];
    for (kind, to) in rows {
        // A reader that did not wait with its open waits with its first read.
        let scene = Scene::new();
        let (handle, request) = scene.hold(kind);
        let quiet = CreateOptions::open(FILE, GENERIC_READ).options(crate::scene::COMPLETE_IF_OPLOCKED);
        let other = scene.opens(quiet).wait().unwrap().unwrap().handle;
        assert_eq!(request.wait().unwrap(), Ok(broken(kind, to)));
        let read = scene.other.submit(move |caller| caller.read(other, Some(0), 5));
        scene.settle();
        assert!(!read.is_done(), "{kind:?}");
        scene.acknowledge(handle, acceptance(kind, to));
        assert_eq!(read.wait().unwrap().unwrap(), b"bytes");
    }
    let scene = Scene::new();
    let (_, request) = scene.hold_on(scene.open(READ_ATTRIBUTES, 7), Oplock::Filter);
    assert_eq!(scene.other.contents(FILE).unwrap(), b"bytes");
    assert!(!request.is_done(), "a filter oplock lets others read");
}

/// minifilter-rules §2.9.
#[test]
fn a_write_a_size_and_a_lock_break_by_the_table() {
    let operations: [Operation; 4] = [
        |caller, handle| caller.write(handle, Offset::At(0), b"new").map(|_| ()),
        |caller, handle| caller.set_end_of_file(handle, 2),
        |caller, handle| caller.lock(handle, 0, 1, true, false),
        |caller, handle| caller.fs_control(handle, 0x9_80C8, &[0; 16], 0).map(|_| ()),
    ];
    for operation in operations {
        for kind in [Oplock::Level2, Oplock::Read, Oplock::ReadHandle] {
            check(kind, Some((None, false)), ALL, operation);
        }
    }
    // Who holds one alone: another handle of the file is there by an open that did not wait.
    for kind in [Oplock::Level1, Oplock::Batch, Oplock::ReadWrite, Oplock::ReadWriteHandle] {
        for operation in operations {
            let scene = Scene::new();
            let (handle, request) = scene.hold(kind);
            let quiet = CreateOptions::open(FILE, ALL).options(crate::scene::COMPLETE_IF_OPLOCKED);
            let other = scene.opens(quiet).wait().unwrap().unwrap().handle;
            request.wait().unwrap().unwrap();
            let done = scene.other.submit(move |caller| operation(caller, other));
            scene.settle();
            assert!(!done.is_done(), "{kind:?}");
            scene.holder.close(handle).unwrap();
            done.wait().unwrap().unwrap();
        }
    }
    // Its own do not break what its holder has alone; but a level 2 oplock.
    for kind in Oplock::ALL {
        for operation in &operations[..2] {
            let scene = Scene::new();
            let (handle, request) = scene.hold(kind);
            let operation = *operation;
            scene.holder.submit(move |caller| operation(caller, handle)).wait().unwrap().unwrap();
            scene.settle();
            assert_eq!(request.is_done(), kind == Oplock::Level2, "{kind:?}");
        }
    }
}

/// minifilter-rules §2.9.
#[test]
fn a_rename_and_a_deletion_break_who_caches_the_handle() {
    let rename: Operation = |caller, handle| caller.rename(handle, r"C:\renamed", false);
    let delete: Operation = |caller, handle| caller.set_delete(handle, true);
    for kind in [Oplock::Level2, Oplock::Read] {
        check(kind, None, DELETE, rename);
        check(kind, None, DELETE, delete);
    }
    let kept = Some((Some(Oplock::Read), true));
    check(Oplock::ReadHandle, kept, DELETE, rename);
    check(Oplock::ReadHandle, kept, DELETE, delete);
    // A folder above, and the file that a rename replaces.
    let scene = Scene::new();
    scene.holder.call(|caller| {
        caller.create_file(&CreateOptions::create(r"C:\folder", GENERIC_READ).options(1)).map(drop).unwrap();
        caller.put(r"C:\folder\below", b"x").unwrap();
        caller.put(r"C:\new", b"new").unwrap();
    });
    let open = |path: &str| {
        let options = CreateOptions::open(path, GENERIC_READ).asynchronous();
        scene.holder.create_file(options).unwrap()
    };
    for (held, from, to) in [(r"C:\folder\below", r"C:\folder", "moved"), (FILE, r"C:\new", r"C:\file")] {
        let (handle, request) = scene.hold_on(open(held), Oplock::ReadHandle);
        let rename = scene.other.submit(move |caller| caller.rename_path(from, to, true));
        scene.settle();
        assert_eq!(request.wait().unwrap(), Ok(broken(Oplock::ReadHandle, Some(Oplock::Read))), "{held}");
        assert!(!rename.is_done());
        scene.holder.close(handle).unwrap();
        let _ = rename.wait().unwrap();
    }
    assert_eq!(scene.other.contents(FILE).unwrap(), b"new");
}

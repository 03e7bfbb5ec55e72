//! What other operations do to others' oplocks (minifilter-rules §2.9).

use lab::{
    Acknowledgement, Caller, CreateOptions, DELETE, GENERIC_READ, Handle, Offset, Oplock, READ_ATTRIBUTES,
    Status,
};

use crate::scene::{ALL, FILE, Scene, acceptance, broken};

type Operation = fn(&Caller<'_>, Handle) -> Result<(), Status>;
type Way = fn(&Caller<'_>) -> Result<(), Status>;

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
        let kept = scene.acknowledge(handle, acceptance(kind, to));
        assert_eq!(read.wait().unwrap().unwrap(), b"bytes");
        assert!(!kept.is_done(), "{kind:?}: a read leaves {to:?}");
    }
    let scene = Scene::new();
    let (_, request) = scene.hold_on(scene.open(READ_ATTRIBUTES, 7), Oplock::Filter);
    assert_eq!(scene.other.contents(FILE).unwrap(), b"bytes");
    assert!(!request.is_done(), "a filter oplock lets others read");
}

/// What an open to read leaves of an oplock that one has alone, and whether it waits.
fn caches(kind: Oplock) -> (Option<Oplock>, bool) {
    match kind {
        Oplock::Level1 | Oplock::Batch => (Some(Oplock::Level2), true),
        Oplock::ReadWrite => (Some(Oplock::Read), true),
        Oplock::ReadWriteHandle => (Some(Oplock::ReadHandle), true),
        kind => (Some(kind), false),
    }
}

/// Who writes beside a filter oplock, on the volume where sharing to read is enough for that.
fn beside_a_filter_oplock(access: u32) -> (Scene, Handle, crate::scene::Request, Handle) {
    let scene = Scene::of(lab::Lab::builder().switches(|s| s.filter_oplock_needs_shared_reading = false));
    let (handle, request) = scene.hold_on(scene.open(READ_ATTRIBUTES, 7), Oplock::Filter);
    let other = scene.opens(CreateOptions::open(FILE, access)).wait().unwrap().unwrap().handle;
    assert!(!request.is_done());
    (scene, handle, request, other)
}

/// minifilter-rules §2.9.
#[test]
fn a_filter_oplock_is_broken_by_a_write_and_a_size_but_not_by_a_lock_nor_a_deletion() {
    let writes: [Operation; 5] = [
        |caller, handle| caller.write(handle, Offset::At(0), b"new").map(|_| ()),
        |caller, handle| caller.set_end_of_file(handle, 2),
        |caller, handle| caller.set_allocation(handle, 0),
        |caller, handle| caller.set_information(handle, 39, &5_u64.to_le_bytes()),
        |caller, handle| caller.fs_control(handle, 0x9_80C8, &[0; 16], 0).map(|_| ()),
    ];
    for operation in writes {
        let (scene, handle, request, other) = beside_a_filter_oplock(ALL);
        let done = scene.other.submit(move |caller| operation(caller, other));
        scene.settle();
        assert_eq!(request.wait().unwrap(), Ok(broken(Oplock::Filter, None)));
        assert!(!done.is_done());
        scene.acknowledge(handle, Acknowledgement::Accept).wait().unwrap().unwrap();
        done.wait().unwrap().unwrap();
    }
    let others: [Operation; 2] = [
        |caller, handle| caller.lock(handle, 0, 1, true, false),
        |caller, handle| caller.set_delete(handle, true),
    ];
    for operation in others {
        let (scene, _, request, other) = beside_a_filter_oplock(ALL | DELETE);
        scene.other.submit(move |caller| operation(caller, other)).wait().unwrap().unwrap();
        scene.settle();
        assert!(!request.is_done());
    }
}

/// minifilter-rules §2.9.
#[test]
fn a_write_a_size_and_a_lock_break_by_the_table() {
    let operations: [Operation; 6] = [
        |caller, handle| caller.write(handle, Offset::At(0), b"new").map(|_| ()),
        |caller, handle| caller.set_end_of_file(handle, 2),
        |caller, handle| caller.lock(handle, 0, 1, true, false),
        |caller, handle| caller.set_allocation(handle, 0),
        |caller, handle| caller.set_information(handle, 39, &5_u64.to_le_bytes()),
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
            // Who waits for it may be gone when it is acknowledged: what it was to be stays lowered.
            scene.other.kill(1);
            assert_eq!(done.wait().unwrap(), Err(Status::CANCELLED));
            let (to, _) = caches(kind);
            let kept = scene.acknowledge(handle, acceptance(kind, to));
            assert!(kept.is_done(), "{kind:?}: nothing of {to:?} is left");
            assert_eq!(kept.wait().unwrap().unwrap().to, None, "{kind:?}");
        }
    }
    // Its own do not break what its holder has alone; but a level 2 oplock.
    for kind in Oplock::ALL {
        for operation in operations {
            let scene = Scene::new();
            let (handle, request) = scene.hold(kind);
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
    // One that is had alone has been broken by the open of who deletes: the deletion takes what it breaks of what is left.
    for (kind, left) in [
        (Oplock::Level1, Some(Oplock::Level2)),
        (Oplock::Batch, Some(Oplock::Level2)),
        (Oplock::ReadWrite, Some(Oplock::Read)),
        (Oplock::ReadWriteHandle, Some(Oplock::Read)),
    ] {
        let scene = Scene::new();
        let (handle, request) = scene.hold(kind);
        let quiet = CreateOptions::open(FILE, DELETE).options(crate::scene::COMPLETE_IF_OPLOCKED);
        let other = scene.opens(quiet).wait().unwrap().unwrap().handle;
        assert_eq!(request.wait().unwrap(), Ok(broken(kind, caches(kind).0)));
        let done = scene.other.submit(move |caller| delete(caller, other));
        scene.settle();
        assert_eq!(done.is_done(), kind != Oplock::ReadWriteHandle, "{kind:?}");
        let kept = scene.acknowledge(handle, acceptance(kind, left));
        assert!(!kept.is_done(), "{kind:?} is kept as {left:?}");
        done.wait().unwrap().unwrap();
    }
}

/// Of a folder above, of the file that it replaces, and of the file that a link replaces. minifilter-rules §2.9.
#[test]
fn a_name_that_changes_breaks_the_oplocks_of_the_files_that_it_is_about() {
    const BELOW: &str = r"C:\folder\below";
    let rows = [
        (Oplock::Level1, None),
        (Oplock::Level2, None),
        (Oplock::Batch, Some(None)),
        (Oplock::Filter, Some(None)),
        (Oplock::Read, None),
        (Oplock::ReadHandle, Some(Some(Oplock::Read))),
        (Oplock::ReadWrite, None),
        (Oplock::ReadWriteHandle, Some(Some(Oplock::ReadWrite))),
    ];
    let ways: [(&str, Way); 3] = [
        (BELOW, |caller| caller.rename_path(r"C:\folder", "moved", true)),
        (FILE, |caller| caller.rename_path(r"C:\new", FILE, true)),
        (FILE, |caller| {
            let new = caller.create_file(&CreateOptions::open(r"C:\new", GENERIC_READ))?.handle;
            let linked = caller.link(new, FILE, true);
            caller.close(new)?;
            linked
        }),
    ];
    for (held, way) in ways {
        for (kind, expected) in rows {
            let scene = Scene::new();
            scene.holder.call(|caller| {
                let folder = CreateOptions::create(r"C:\folder", GENERIC_READ).options(1);
                let folder = caller.create_file(&folder).unwrap().handle;
                caller.close(folder).unwrap();
                caller.put(BELOW, b"x").unwrap();
                caller.put(r"C:\new", b"new").unwrap();
            });
            let open = |path: &str| {
                let options = CreateOptions::open(path, GENERIC_READ).asynchronous();
                scene.holder.create_file(options).unwrap()
            };
            let (handle, request) = scene.hold_on(open(held), kind);
            let other = if held == FILE { BELOW } else { FILE };
            let (_, beside) = scene.hold_on(open(other), Oplock::Batch);
            let done = scene.other.submit(way);
            scene.settle();
            assert_eq!(
                (request.is_done(), done.is_done()),
                (expected.is_some(), expected.is_none()),
                "{kind:?}"
            );
            assert!(!beside.is_done(), "what the name is not about is not broken");
            let Some(to) = expected else {
                assert!(done.wait().unwrap().is_err(), "{held} is open");
                continue;
            };
            assert_eq!(request.wait().unwrap(), Ok(broken(kind, to)), "{held}");
            scene.holder.close(handle).unwrap();
            assert_eq!(done.wait().unwrap(), Ok(()), "{held} {kind:?}");
            if held == FILE {
                assert_eq!(scene.other.contents(FILE).unwrap(), b"new");
            }
        }
    }
}

/// minifilter-rules §2.9.
#[test]
fn what_is_about_something_else_breaks_nothing() {
    const STREAM: &str = r"C:\file:stream";
    let quiet: [(&str, Operation); 3] = [
        (STREAM, |caller, handle| caller.write(handle, Offset::At(0), b"new").map(|_| ())),
        (r"C:\other", |caller, handle| caller.write(handle, Offset::At(0), b"new").map(|_| ())),
        (STREAM, |caller, handle| caller.set_end_of_file(handle, 0)),
    ];
    for (path, operation) in quiet {
        let scene = Scene::new();
        let other = scene.other.create_file(CreateOptions::open_if(path, ALL)).unwrap();
        let (_, request) = scene.hold(Oplock::Batch);
        scene.other.submit(move |caller| operation(caller, other)).wait().unwrap().unwrap();
        scene.settle();
        assert!(!request.is_done(), "{path}");
    }
    // That a file is not deleted after all, and a link where it is already.
    check(Oplock::ReadHandle, None, DELETE, |caller, handle| caller.set_delete(handle, false));
    check(Oplock::ReadHandle, None, GENERIC_READ, |caller, handle| caller.link(handle, FILE, true));
}

/// minifilter-rules §2.9: neither paging I/O nor a transacted reader.
#[test]
fn a_view_and_a_transacted_reader_break_nothing_by_reading_and_writing() {
    let scene = Scene::new();
    let view = scene.other.call(|caller| {
        let handle = caller.create_file(&CreateOptions::open(FILE, ALL)).unwrap().handle;
        let view = caller.create_section(handle, true).unwrap();
        caller.close(handle).unwrap();
        view
    });
    let (_, request) = scene.hold(Oplock::Batch);
    scene.other.call(move |caller| {
        assert_eq!(caller.read_mapped(&view, 0, 5).unwrap(), b"bytes");
        caller.write_mapped(&view, 0, b"B").unwrap();
        caller.flush_mapped(&view).unwrap();
    });
    scene.settle();
    assert!(!request.is_done());

    let scene = Scene::new();
    let (_, request) = scene.hold_on(scene.open(GENERIC_READ, 7), Oplock::Batch);
    let read = scene.other.submit(|caller| {
        let transaction = caller.create_transaction().unwrap();
        let inside = CreateOptions::open(FILE, GENERIC_READ).inside(transaction);
        let inside = caller.create_file(&inside.options(crate::scene::COMPLETE_IF_OPLOCKED))?.handle;
        caller.read(inside, Some(0), 5)
    });
    scene.settle();
    assert_eq!(request.wait().unwrap(), Ok(broken(Oplock::Batch, Some(Oplock::Level2))), "by the open");
    assert!(read.is_done(), "the break has not been acknowledged");
    assert_eq!(read.wait().unwrap().unwrap(), b"bytes");
}

/// minifilter-rules §2.9.
#[test]
fn who_has_waited_asks_again() {
    let scene = Scene::new();
    let (handle, request) = scene.hold(Oplock::Level1);
    let quiet = CreateOptions::open(FILE, ALL).options(crate::scene::COMPLETE_IF_OPLOCKED);
    let other = scene.opens(quiet).wait().unwrap().unwrap().handle;
    request.wait().unwrap().unwrap();
    let done = scene.other.submit(move |caller| caller.write(other, Offset::At(0), b"new"));
    scene.settle();
    let again = scene.holder.submit(move |caller| {
        caller.acknowledge_oplock(handle, Acknowledgement::NoLevel2)?;
        caller.request_oplock(handle, Oplock::Level2)
    });
    scene.settle();
    assert_eq!(again.wait().unwrap(), Ok(broken(Oplock::Level2, None)), "the one that came meanwhile");
    assert_eq!(done.wait().unwrap(), Ok(3));
}

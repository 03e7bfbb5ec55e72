//! What an open does to others' oplocks (minifilter-rules §2.9).

use lab::{CreateOptions, DELETE, GENERIC_READ, GENERIC_WRITE, Lab, Oplock, READ_ATTRIBUTES, Status};

use crate::scene::{ALL, COMPLETE_IF_OPLOCKED, FILE, Scene, acceptance, broken};

const REQUIRING_OPLOCK: u32 = 0x1_0000;
const RESERVE_OPFILTER: u32 = 0x10_0000;
const READ: u32 = 1;

/// Each kind: what is left of it when somebody opens to read, and when somebody overwrites; who must be waited for.
type Row = (Oplock, Option<(Option<Oplock>, bool)>, (Option<Oplock>, bool));

const OPENS: [Row; 8] = [
    (Oplock::Level1, Some((Some(Oplock::Level2), true)), (None, true)),
    (Oplock::Level2, None, (None, false)),
    (Oplock::Batch, Some((Some(Oplock::Level2), true)), (None, true)),
    (Oplock::Filter, None, (None, true)),
    (Oplock::Read, None, (None, false)),
    (Oplock::ReadHandle, None, (None, false)),
    (Oplock::ReadWrite, Some((Some(Oplock::Read), true)), (None, true)),
    (Oplock::ReadWriteHandle, Some((Some(Oplock::ReadHandle), true)), (None, true)),
];

/// minifilter-rules §2.9.
#[test]
fn an_open_breaks_what_it_breaks_and_waits_where_it_must() {
    for (kind, reading, replacing) in OPENS {
        let read = (CreateOptions::open(FILE, GENERIC_READ), reading);
        let replace = (CreateOptions::overwrite_if(FILE, GENERIC_WRITE), Some(replacing));
        for (options, expected) in [read, replace] {
            let scene = Scene::new();
            let (handle, request) = scene.hold(kind);
            let open = scene.opens(options);
            let Some((to, waits)) = expected else {
                assert!(open.is_done() && !request.is_done(), "{kind:?} is not broken");
                continue;
            };
            assert_eq!(request.wait().unwrap(), Ok(broken(kind, to)), "{kind:?}");
            assert_eq!(open.is_done(), !waits, "{kind:?}");
            let contents = scene.lab.with_volume(|volume| volume.tree()["file"].clone());
            if waits {
                assert_eq!(contents.data, b"bytes", "nothing is done before the acknowledgement");
                let kept = scene.acknowledge(handle, acceptance(kind, to));
                assert_eq!(kept.is_done(), to.is_none(), "{kind:?} is kept as {to:?}");
            }
            assert_eq!(open.wait().unwrap().unwrap().status, Status::SUCCESS);
        }
    }
}

/// minifilter-rules §2.9.
#[test]
fn an_open_for_attributes_breaks_nothing() {
    for kind in Oplock::ALL {
        let scene = Scene::new();
        let (_, request) = scene.hold(kind);
        let open = scene.opens(CreateOptions::open(FILE, READ_ATTRIBUTES | 0x100));
        assert!(open.is_done() && !request.is_done(), "{kind:?}");
    }
    // READ_CONTROL and FILE_READ_EA are more than that.
    for access in [0x2_0000, 0x8] {
        let scene = Scene::new();
        let (_, request) = scene.hold(Oplock::Batch);
        let open = scene.opens(CreateOptions::open(FILE, READ_ATTRIBUTES | access));
        assert_eq!(request.wait().unwrap(), Ok(broken(Oplock::Batch, Some(Oplock::Level2))), "{access:#x}");
        assert!(!open.is_done());
    }
}

/// minifilter-rules §2.9.
#[test]
fn who_waits_for_an_acknowledgement_goes_on_when_the_volume_goes() {
    const DISMOUNT: u32 = 0x9_0020;
    let scene = Scene::new();
    let (_, request) = scene.hold(Oplock::Batch);
    let open = scene.opens(CreateOptions::open(FILE, GENERIC_READ));
    request.wait().unwrap().unwrap();
    let (_, asked) = scene.hold_on(scene.holder.create_file(scene.beside()).unwrap(), Oplock::Level1);
    scene.holder.call(|caller| {
        let volume = caller.create_file(&CreateOptions::open(r"\??\C:", ALL)).unwrap().handle;
        caller.fs_control(volume, DISMOUNT, &[], 0).unwrap();
    });
    scene.settle();
    assert_eq!(open.wait().unwrap(), Err((Status::VOLUME_DISMOUNTED, 0)));
    assert_eq!(asked.wait().unwrap(), Err(Status::VOLUME_DISMOUNTED));
}

/// minifilter-rules §2.9.
#[test]
fn who_waits_for_an_acknowledgement_can_be_cancelled() {
    let scene = Scene::new();
    let (handle, request) = scene.hold(Oplock::Batch);
    let open = scene.opens(CreateOptions::open(FILE, GENERIC_READ));
    request.wait().unwrap().unwrap();
    scene.other.kill(1);
    assert_eq!(open.wait().unwrap().unwrap_err().0, Status::CANCELLED);
    scene.holder.close(handle).unwrap();
    scene.holder.exit(0);
    assert!(scene.lab.unload().is_clean());
}

/// minifilter-rules §2.9.
#[test]
fn a_sharing_violation_is_held_back_until_a_handle_is_closed() {
    let rows = [
        (Oplock::Batch, Some(Oplock::Level2)),
        (Oplock::Filter, None),
        (Oplock::ReadHandle, Some(Oplock::Read)),
        (Oplock::ReadWriteHandle, Some(Oplock::ReadWrite)),
    ];
    for (kind, to) in rows {
        for closes in [true, false] {
            let scene = Scene::new();
            let (handle, request) = scene.hold_on(scene.open(GENERIC_READ, READ), kind);
            let open = scene.opens(CreateOptions::open(FILE, GENERIC_WRITE));
            assert!(!open.is_done(), "{kind:?}");
            assert_eq!(request.wait().unwrap(), Ok(broken(kind, to)));
            if closes {
                scene.holder.close(handle).unwrap();
                open.wait().unwrap().unwrap();
            } else {
                scene.acknowledge(handle, acceptance(kind, to));
                assert_eq!(open.wait().unwrap(), Err((Status::SHARING_VIOLATION, 0)), "{kind:?}");
            }
        }
    }
    for kind in [Oplock::Level1, Oplock::Level2, Oplock::Read, Oplock::ReadWrite] {
        for options in [0, REQUIRING_OPLOCK] {
            let scene = Scene::new();
            let (_, request) = scene.hold_on(scene.open(GENERIC_READ, READ), kind);
            let open = scene.opens(CreateOptions::open(FILE, GENERIC_WRITE).options(options));
            assert_eq!(open.wait().unwrap(), Err((Status::SHARING_VIOLATION, 0)), "{kind:?}");
            assert!(!request.is_done(), "{kind:?}");
        }
    }
    // What replaces leaves nothing, and waits for the same.
    for kind in [Oplock::ReadHandle, Oplock::ReadWriteHandle] {
        let scene = Scene::new();
        let (handle, request) = scene.hold_on(scene.open(GENERIC_READ, READ), kind);
        let open = scene.opens(CreateOptions::overwrite_if(FILE, GENERIC_WRITE));
        assert!(!open.is_done(), "{kind:?}");
        assert_eq!(request.wait().unwrap(), Ok(broken(kind, None)));
        scene.acknowledge(handle, acceptance(kind, None)).wait().unwrap().unwrap();
        assert_eq!(open.wait().unwrap(), Err((Status::SHARING_VIOLATION, 0)), "{kind:?}");
    }
}

/// minifilter-rules §2.9.
#[test]
fn what_breaks_a_filter_oplock_goes_by_switch() {
    for either in [true, false] {
        for (access, share, breaks) in [
            (GENERIC_READ, 7, false),
            (READ_ATTRIBUTES | 0x1 | 0x8 | 0x20 | 0x100 | 0x2_0000, 7, false),
            (READ_ATTRIBUTES | 0x4, 7, either),
            (GENERIC_WRITE, 7, either),
            (DELETE, 7, either),
            (READ_ATTRIBUTES | 1, 6, either),
            (GENERIC_WRITE, 6, true),
        ] {
            let builder = Lab::builder().switches(|s| s.filter_oplock_needs_shared_reading = either);
            let scene = Scene::of(builder);
            let (_, request) = scene.hold_on(scene.open(READ_ATTRIBUTES, 7), Oplock::Filter);
            let open = scene.opens(CreateOptions::open(FILE, access).share(share));
            assert_eq!(
                (request.is_done(), open.is_done()),
                (breaks, !breaks),
                "{access:#x} {share} {either}"
            );
        }
        let scene = Scene::of(Lab::builder().switches(|s| s.filter_oplock_needs_shared_reading = either));
        let (_, request) = scene.hold_on(scene.open(READ_ATTRIBUTES, 7), Oplock::Filter);
        let open = scene.opens(CreateOptions::overwrite_if(FILE, GENERIC_READ));
        assert!(open.is_done() && !request.is_done(), "an open that replaces does not by that alone");
    }
}

/// minifilter-rules §2.9.
#[test]
fn a_transactions_conflict_comes_before_or_after_a_break_by_switch() {
    for breaks in [true, false] {
        let switch = |s: &mut lab_volume::Switches| s.oplock_breaks_before_transactional_check = breaks;
        let scene = Scene::of(Lab::builder().switches(switch));
        let (_, request) = scene.hold(Oplock::Batch);
        let conflict = scene.other.call(|caller| {
            let transaction = caller.create_transaction().unwrap();
            let inside = CreateOptions::open(FILE, ALL).inside(transaction).options(COMPLETE_IF_OPLOCKED);
            caller.create_file_or_information(&inside)
        });
        scene.settle();
        let information = if breaks { 9 } else { 0 };
        assert_eq!(conflict, Err((Status::TRANSACTIONAL_CONFLICT, information)));
        assert_eq!(request.is_done(), breaks);
    }
}

/// minifilter-rules §2.9.
#[test]
fn an_open_that_does_not_wait_is_told_of_the_break() {
    for told in [false, true] {
        for (kind, reading, replacing) in OPENS {
            let read = (CreateOptions::open(FILE, GENERIC_READ), reading, 1);
            let replace = (CreateOptions::overwrite_if(FILE, GENERIC_WRITE), Some(replacing), 3);
            for (options, expected, action) in [read, replace] {
                let builder = Lab::builder().switches(|s| s.unwaited_break_is_told = told);
                let scene = Scene::of(builder);
                let (_, request) = scene.hold(kind);
                let open = scene.opens(options.options(COMPLETE_IF_OPLOCKED)).wait().unwrap().unwrap();
                let in_progress = expected.is_some_and(|(_, waits)| waits || told);
                let status = if in_progress { Status::OPLOCK_BREAK_IN_PROGRESS } else { Status::SUCCESS };
                assert_eq!((open.status, open.information), (status, action), "{kind:?} {told}");
                assert_eq!(request.is_done(), expected.is_some(), "{kind:?}");
            }
        }
    }
    for kind in [Oplock::Batch, Oplock::Filter] {
        let scene = Scene::new();
        let (_, request) = scene.hold_on(scene.open(GENERIC_READ, READ), kind);
        let options = CreateOptions::open(FILE, GENERIC_WRITE).options(COMPLETE_IF_OPLOCKED);
        assert_eq!(scene.opens(options).wait().unwrap(), Err((Status::SHARING_VIOLATION, 9)), "{kind:?}");
        assert!(request.is_done());
    }
}

/// minifilter-rules §2.9.
#[test]
fn an_open_that_does_not_wait_breaks_a_cached_handle_by_switch() {
    for breaks in [false, true] {
        let builder = Lab::builder().switches(|s| s.handle_oplock_breaks_unwaited = breaks);
        let scene = Scene::of(builder);
        let (_, request) = scene.hold_on(scene.open(GENERIC_READ, READ), Oplock::ReadHandle);
        let options = CreateOptions::open(FILE, GENERIC_WRITE).options(COMPLETE_IF_OPLOCKED);
        assert_eq!(scene.opens(options).wait().unwrap(), Err((Status::SHARING_VIOLATION, 0)));
        assert_eq!(request.is_done(), breaks);
    }
}

/// minifilter-rules §2.9.
#[test]
fn an_open_that_requires_an_oplock_breaks_none() {
    for (kind, reading, _) in OPENS {
        let scene = Scene::new();
        let (_, request) = scene.hold(kind);
        let options = CreateOptions::open(FILE, GENERIC_READ).options(REQUIRING_OPLOCK);
        let opened = scene.opens(options).wait().unwrap().map(|created| created.status);
        let refused = Err((Status::CANNOT_BREAK_OPLOCK, 0));
        assert_eq!(opened, if reading.is_some() { refused } else { Ok(Status::SUCCESS) }, "{kind:?}");
        assert!(!request.is_done(), "{kind:?}");
    }
    let scene = Scene::new();
    scene.other.put(r"C:\beside", b"x").unwrap();
    let options = CreateOptions::open(FILE, ALL).options(REQUIRING_OPLOCK).asynchronous();
    let handle = scene.holder.create_file(options).unwrap();
    assert_eq!(scene.other.contents(r"C:\beside").unwrap(), b"x");
    let meanwhile = scene.other.try_call(|caller| caller.contents(FILE));
    assert_eq!(meanwhile.unwrap_err().rule, "not-modelled");
    // Once that handle is closed nobody is about to have one.
    let scene = Scene::new();
    let options = CreateOptions::open(FILE, ALL).options(REQUIRING_OPLOCK).asynchronous();
    let closed = scene.holder.create_file(options).unwrap();
    scene.holder.close(closed).unwrap();
    assert_eq!(scene.other.contents(FILE).unwrap(), b"bytes");
    let scene = Scene::new();
    let options = CreateOptions::open(FILE, ALL).options(REQUIRING_OPLOCK).asynchronous();
    assert_eq!(scene.holder.create_file(options), Ok(handle));
    let (_, request) = scene.hold_on(handle, Oplock::ReadWriteHandle);
    let open = scene.opens(CreateOptions::open(FILE, GENERIC_READ));
    assert!(request.is_done() && !open.is_done());
}

/// minifilter-rules §2.9.
#[test]
fn an_open_that_reserves_a_filter_oplock_is_the_only_one() {
    for first in [false, true] {
        let scene = Scene::of(Lab::builder().switches(|s| s.reserve_opfilter_breaks_first = first));
        let options = CreateOptions::open(FILE, READ_ATTRIBUTES).options(RESERVE_OPFILTER);
        let (handle, request) = scene.hold(Oplock::Batch);
        let open = scene.opens(options.clone());
        assert_eq!((request.is_done(), open.is_done()), (first, !first));
        if first {
            assert_eq!(request.wait().unwrap(), Ok(broken(Oplock::Batch, None)));
            scene.acknowledge(handle, lab::Acknowledgement::Accept);
        }
        assert_eq!(open.wait().unwrap(), Err((Status::OPLOCK_NOT_GRANTED, 0)));
        scene.holder.close(handle).unwrap();
        // Another stream is another thing to have open.
        let stream = CreateOptions::open_if(r"C:\file:stream", GENERIC_READ);
        scene.holder.create_file(stream).unwrap();
        let reserved = scene.opens(options.asynchronous()).wait().unwrap().unwrap().handle;
        let request = scene.other.submit(move |caller| caller.request_oplock(reserved, Oplock::Filter));
        scene.settle();
        assert!(!request.is_done());
    }
}

/// minifilter-rules §2.9.
#[test]
fn an_open_that_reserves_a_filter_oplock_breaks_others_to_none_by_switch() {
    for (kind, _, (_, waits)) in OPENS {
        let scene = Scene::of(Lab::builder().switches(|s| s.reserve_opfilter_breaks_first = true));
        let options = CreateOptions::open(FILE, READ_ATTRIBUTES).options(RESERVE_OPFILTER);
        let (handle, request) = scene.hold(kind);
        let open = scene.opens(options);
        assert_eq!(request.wait().unwrap(), Ok(broken(kind, None)), "{kind:?}");
        assert_eq!(open.is_done(), !waits, "{kind:?}");
        if waits {
            scene.acknowledge(handle, acceptance(kind, None)).wait().unwrap().unwrap();
        }
        assert_eq!(open.wait().unwrap(), Err((Status::OPLOCK_NOT_GRANTED, 0)), "{kind:?}");
    }
}

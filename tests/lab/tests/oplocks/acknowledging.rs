//! What the holder of a broken oplock says, and how an oplock ends (minifilter-rules §2.9).

use lab::{Acknowledgement, CreateOptions, GENERIC_READ, GENERIC_WRITE, Oplock, Status};

use crate::scene::{ALL, COMPLETE_IF_OPLOCKED, FILE, Scene, broken};

/// minifilter-rules §2.9.
#[test]
fn each_acknowledgement_does_what_it_says() {
    // Whether the open goes on, and whether what is kept is a request that is pending.
    for (kind, how, goes_on, keeps) in [
        (Oplock::Level1, Acknowledgement::Accept, true, true),
        (Oplock::Level1, Acknowledgement::NoLevel2, true, false),
        (Oplock::Level1, Acknowledgement::ClosePending, true, false),
        (Oplock::Batch, Acknowledgement::Accept, true, true),
        (Oplock::Batch, Acknowledgement::NoLevel2, true, false),
        (Oplock::Batch, Acknowledgement::ClosePending, false, false),
        (Oplock::ReadWriteHandle, Acknowledgement::Keep(Some(Oplock::ReadHandle)), true, true),
        (Oplock::ReadWriteHandle, Acknowledgement::Keep(Some(Oplock::Read)), true, true),
        (Oplock::ReadWriteHandle, Acknowledgement::Keep(None), true, false),
        (Oplock::ReadWriteHandle, Acknowledgement::OnClose, false, false),
    ] {
        let scene = Scene::new();
        let (handle, request) = scene.hold(kind);
        let open = scene.opens(CreateOptions::open(FILE, ALL));
        request.wait().unwrap().unwrap();
        let wrong =
            if kind.level().is_some() { Acknowledgement::Accept } else { Acknowledgement::Keep(None) };
        let refused = scene.acknowledge(handle, wrong).wait().unwrap();
        assert_eq!(refused, Err(Status::INVALID_OPLOCK_PROTOCOL), "{kind:?}");
        let kept = scene.acknowledge(handle, how);
        assert_eq!((open.is_done(), kept.is_done()), (goes_on, !keeps), "{kind:?} {how:?}");
        if keeps {
            let other = open.wait().unwrap().unwrap().handle;
            scene.other.write(other, 0, b"x").unwrap();
            scene.settle();
            assert_eq!(kept.wait().unwrap().unwrap().to, None, "{kind:?}: what is kept is broken, too");
        } else {
            assert_eq!(kept.wait().unwrap().unwrap().information, 0, "{kind:?} {how:?}");
            scene.holder.close(handle).unwrap();
            open.wait().unwrap().unwrap();
        }
    }
    let scene = Scene::new();
    let (handle, request) = scene.hold(Oplock::ReadWrite);
    let _open = scene.opens(CreateOptions::open(FILE, GENERIC_READ));
    request.wait().unwrap().unwrap();
    let more = Acknowledgement::Keep(Some(Oplock::ReadWrite));
    let more = scene.holder.try_call(move |caller| caller.acknowledge_oplock(handle, more));
    assert_eq!(more.unwrap_err().rule, "not-modelled");
    let scene = Scene::new();
    let (handle, request) = scene.hold(Oplock::ReadWrite);
    let _open = scene.opens(CreateOptions::overwrite_if(FILE, GENERIC_WRITE));
    assert_eq!(request.wait().unwrap().unwrap().to, None);
    let some = Acknowledgement::Keep(Some(Oplock::Read));
    let some = scene.holder.try_call(move |caller| caller.acknowledge_oplock(handle, some));
    assert_eq!(some.unwrap_err().rule, "not-modelled", "where nothing is left");
}

/// minifilter-rules §2.9.
#[test]
fn only_the_handle_that_has_the_oplock_acknowledges() {
    let scene = Scene::new();
    let (_, request) = scene.hold(Oplock::Batch);
    let open = scene.opens(CreateOptions::open(FILE, GENERIC_READ));
    request.wait().unwrap().unwrap();
    let another = scene.open(lab::READ_ATTRIBUTES, 7);
    let refused = scene.acknowledge(another, Acknowledgement::Accept).wait().unwrap();
    assert_eq!(refused, Err(Status::INVALID_OPLOCK_PROTOCOL));
    assert!(!open.is_done());
}

/// minifilter-rules §2.9.
#[test]
fn who_waits_for_a_close_waits_for_no_other_acknowledgement() {
    for (kind, how) in
        [(Oplock::Batch, Acknowledgement::ClosePending), (Oplock::ReadWriteHandle, Acknowledgement::OnClose)]
    {
        let scene = Scene::new();
        let (handle, request) = scene.hold(kind);
        let first = scene.opens(CreateOptions::open(FILE, GENERIC_READ));
        request.wait().unwrap().unwrap();
        scene.acknowledge(handle, how).wait().unwrap().unwrap();
        let second = scene.opens(CreateOptions::overwrite_if(FILE, GENERIC_WRITE));
        assert!(!first.is_done() && !second.is_done(), "{kind:?}");
        let again =
            if kind == Oplock::Batch { Acknowledgement::NoLevel2 } else { Acknowledgement::Keep(None) };
        let refused = scene.acknowledge(handle, again).wait().unwrap();
        assert_eq!(refused, Err(Status::INVALID_OPLOCK_PROTOCOL), "{kind:?}");
        assert!(!first.is_done() && !second.is_done(), "{kind:?}");
        scene.holder.close(handle).unwrap();
        first.wait().unwrap().unwrap();
        second.wait().unwrap().unwrap();
    }
}

/// minifilter-rules §2.9.
#[test]
fn who_waits_for_one_stream_does_not_wait_for_another() {
    let scene = Scene::new();
    let (handle, _) = scene.hold(Oplock::Batch);
    let (_, beside) = scene.hold_on(scene.holder.create_file(scene.beside()).unwrap(), Oplock::Batch);
    let third = scene.lab.process("third.exe");
    let path = r"C:\beside";
    let waits = third.submit(move |caller| caller.create_file(&CreateOptions::open(path, GENERIC_READ)));
    let open = scene.opens(CreateOptions::open(FILE, GENERIC_READ));
    assert!(beside.is_done() && !waits.is_done() && !open.is_done());
    scene.acknowledge(handle, Acknowledgement::NoLevel2).wait().unwrap().unwrap();
    open.wait().unwrap().unwrap();
    assert!(!waits.is_done());
}

/// minifilter-rules §2.9.
#[test]
fn what_comes_before_the_acknowledgement_lowers_what_is_kept() {
    for (kind, how) in [
        (Oplock::Batch, Acknowledgement::Accept),
        (Oplock::ReadWrite, Acknowledgement::Keep(Some(Oplock::Read))),
    ] {
        let scene = Scene::new();
        let (handle, request) = scene.hold(kind);
        let first = scene.opens(CreateOptions::open(FILE, GENERIC_READ));
        assert!(request.wait().unwrap().unwrap().to.is_some());
        let second = scene.opens(CreateOptions::overwrite_if(FILE, GENERIC_WRITE));
        let kept = scene.acknowledge(handle, how).wait().unwrap().unwrap();
        let (information, must) = if kind == Oplock::Batch { (8, None) } else { (24, Some(false)) };
        assert_eq!((kept.to, kept.information, kept.must_acknowledge), (None, information, must), "{kind:?}");
        first.wait().unwrap().unwrap();
        second.wait().unwrap().unwrap();
    }
    // What the break had left when it was told is not left any more.
    let scene = Scene::new();
    let (handle, request) = scene.hold(Oplock::ReadWriteHandle);
    let quiet = CreateOptions::open(FILE, lab::DELETE).options(COMPLETE_IF_OPLOCKED);
    let other = scene.opens(quiet).wait().unwrap().unwrap().handle;
    assert_eq!(request.wait().unwrap().unwrap().to, Some(Oplock::ReadHandle));
    let _deleting = scene.other.submit(move |caller| caller.set_delete(other, true));
    scene.settle();
    let told = Acknowledgement::Keep(Some(Oplock::ReadHandle));
    let told = scene.holder.try_call(move |caller| caller.acknowledge_oplock(handle, told));
    assert_eq!(told.unwrap_err().rule, "not-modelled");
}

/// minifilter-rules §2.9.
#[test]
fn who_wants_to_know_is_told_when_no_break_is_under_way() {
    const NOTIFY: u32 = 0x9_0014;
    let scene = Scene::new();
    let (handle, request) = scene.hold(Oplock::Batch);
    let quiet = CreateOptions::open(FILE, GENERIC_READ).options(COMPLETE_IF_OPLOCKED);
    let other = scene.opens(quiet).wait().unwrap().unwrap().handle;
    request.wait().unwrap().unwrap();
    let told = scene.other.submit(move |caller| caller.fs_control(other, NOTIFY, &[], 0));
    scene.settle();
    assert!(!told.is_done());
    scene.acknowledge(handle, Acknowledgement::NoLevel2).wait().unwrap().unwrap();
    told.wait().unwrap().unwrap();
    let held = scene.request(handle, Oplock::Level2);
    scene.other.call(move |caller| caller.fs_control(other, NOTIFY, &[], 0)).unwrap();
    assert!(!held.is_done(), "an oplock that is not being broken is nothing to wait for");
}

/// minifilter-rules §2.9.
#[test]
fn an_oplock_ends_with_its_handle_or_its_request() {
    for kind in Oplock::ALL {
        let older = kind.level().is_none();
        let scene = Scene::new();
        let (handle, request) = scene.hold(kind);
        scene.holder.close(handle).unwrap();
        let ended = request.wait().unwrap().unwrap();
        let status = if older { Status::SUCCESS } else { Status::OPLOCK_HANDLE_CLOSED };
        assert_eq!((ended.status, ended.to), (status, None), "{kind:?}");

        let (handle, request) = scene.hold(kind);
        scene.holder.call(move |caller| caller.cancel_io(handle)).unwrap();
        assert_eq!(request.wait().unwrap(), Err(Status::CANCELLED), "{kind:?}");
        let open = scene.opens(CreateOptions::overwrite_if(FILE, GENERIC_WRITE));
        assert!(open.is_done(), "{kind:?} is gone");
        let other = open.wait().unwrap().unwrap().handle;
        scene.other.close(other).unwrap();
        scene.holder.close(handle).unwrap();

        let (_, request) = scene.hold(kind);
        scene.holder.kill(1);
        assert_eq!(request.wait().unwrap(), Err(Status::CANCELLED), "{kind:?}");
        scene.other.put(FILE, b"bytes").unwrap();
        scene.other.exit(0);
        assert!(scene.lab.unload().is_clean());
    }
    // What a break has said stays said, although the handle is closed before anybody has heard it.
    for kind in [Oplock::Batch, Oplock::ReadWrite] {
        let scene = Scene::new();
        let (handle, request) = scene.hold(kind);
        scene.holder.call(move |caller| {
            let quiet = CreateOptions::open(FILE, GENERIC_READ).options(COMPLETE_IF_OPLOCKED);
            caller.create_file(&quiet).unwrap();
            caller.close(handle).unwrap();
        });
        let to = if kind == Oplock::Batch { Oplock::Level2 } else { Oplock::Read };
        assert_eq!(request.wait().unwrap(), Ok(broken(kind, Some(to))));
    }
    // Who waits goes on when the handle is closed.
    let scene = Scene::new();
    let (handle, request) = scene.hold(Oplock::Level1);
    let open = scene.opens(CreateOptions::overwrite_if(FILE, GENERIC_WRITE));
    assert_eq!(request.wait().unwrap(), Ok(broken(Oplock::Level1, None)));
    scene.holder.close(handle).unwrap();
    open.wait().unwrap().unwrap();
}

//! Who is granted an oplock (minifilter-rules §2.9).

use lab::{Acknowledgement, CreateOptions, GENERIC_READ, Oplock, Status};

use crate::scene::{ALL, FILE, Scene};

/// minifilter-rules §2.9.
#[test]
fn an_oplock_is_asked_for_on_an_asynchronous_handle_of_a_file() {
    for kind in Oplock::ALL {
        let scene = Scene::new();
        let synchronous = scene.holder.create_file(CreateOptions::open(FILE, ALL)).unwrap();
        assert_eq!(scene.request(synchronous, kind).wait().unwrap(), Err(Status::OPLOCK_NOT_GRANTED));
        scene.holder.close(synchronous).unwrap();
        let (handle, request) = scene.hold(kind);
        scene.holder.close(handle).unwrap();
        request.wait().unwrap().unwrap();
        scene.holder.exit(0);
        scene.other.exit(0);
        assert!(scene.lab.unload().is_clean());
    }
    let scene = Scene::new();
    let folder = CreateOptions::open_if(r"C:\folder", GENERIC_READ).options(1).asynchronous();
    let folder = scene.holder.create_file(folder).unwrap();
    for kind in [Oplock::Level1, Oplock::Level2, Oplock::Batch, Oplock::Filter, Oplock::ReadWrite] {
        let refused = scene.request(folder, kind).wait().unwrap();
        assert_eq!(refused, Err(Status::INVALID_PARAMETER), "{kind:?}");
    }
    let volume = scene.holder.create_file(CreateOptions::open(r"\??\C:", ALL).asynchronous()).unwrap();
    assert_eq!(scene.request(volume, Oplock::Batch).wait().unwrap(), Err(Status::INVALID_PARAMETER));
    for kind in [Oplock::Read, Oplock::ReadHandle] {
        let scene = Scene::new();
        let folder = CreateOptions::open_if(r"C:\folder", GENERIC_READ).options(1).asynchronous();
        let folder = scene.holder.create_file(folder).unwrap();
        let unknown = scene.holder.try_call(move |caller| caller.request_oplock(folder, kind));
        assert_eq!(unknown.unwrap_err().rule, "not-modelled", "{kind:?}");
    }
}

/// minifilter-rules §2.9.
#[test]
fn a_request_that_says_what_no_oplock_is_is_refused() {
    let scene = Scene::new();
    let handle = scene.open(ALL, 7);
    let request = |version: u16, length: u16, level: u32, flags: u32, output: usize| {
        let input =
            [&version.to_le_bytes()[..], &length.to_le_bytes(), &level.to_le_bytes(), &flags.to_le_bytes()];
        let input = input.concat();
        scene.holder.call(move |caller| caller.fs_control(handle, 0x9_0240, &input, output))
    };
    for level in [0, 2, 4, 6, 8] {
        assert_eq!(request(1, 12, level, 1, 24), Err(Status::INVALID_PARAMETER), "{level}");
    }
    for (version, length, flags, output) in [(2, 12, 1, 24), (1, 8, 1, 24), (1, 12, 3, 24), (1, 12, 1, 23)] {
        assert_eq!(request(version, length, 1, flags, output), Err(Status::INVALID_PARAMETER));
    }
    assert_eq!(request(1, 12, 1, 2, 24), Err(Status::INVALID_OPLOCK_PROTOCOL));
    for how in [Acknowledgement::Accept, Acknowledgement::NoLevel2, Acknowledgement::ClosePending] {
        let refused = scene.acknowledge(handle, how).wait().unwrap();
        assert_eq!(refused, Err(Status::INVALID_OPLOCK_PROTOCOL), "{how:?}");
    }
}

/// minifilter-rules §2.9.
#[test]
fn an_oplock_needs_a_stream_that_nobody_else_has_open_or_locked() {
    let shared = [Oplock::Level2, Oplock::Read, Oplock::ReadHandle];
    for kind in Oplock::ALL {
        let scene = Scene::new();
        let handle = scene.open(ALL, 7);
        let elsewhere = CreateOptions::open_if(r"C:\file:stream", ALL);
        scene.other.create_file(elsewhere).unwrap();
        let second = scene.other.create_file(CreateOptions::open(FILE, ALL)).unwrap();
        let request = scene.request(handle, kind);
        assert_eq!(request.is_done(), !shared.contains(&kind), "{kind:?} beside another open");
        if request.is_done() {
            assert_eq!(request.wait().unwrap(), Err(Status::OPLOCK_NOT_GRANTED));
        } else {
            scene.holder.call(move |caller| caller.cancel_io(handle)).unwrap();
            assert_eq!(request.wait().unwrap(), Err(Status::CANCELLED));
        }
        scene.other.call(move |caller| caller.lock(second, 0, 1, true, false)).unwrap();
        let refused = scene.request(handle, kind).wait().unwrap();
        assert_eq!(refused, Err(Status::OPLOCK_NOT_GRANTED), "{kind:?} beside a lock");
        scene.other.close(second).unwrap();
        scene.holder.call(move |caller| caller.lock(handle, 0, 1, true, false)).unwrap();
        let request = scene.request(handle, kind);
        assert_eq!(request.is_done(), shared.contains(&kind), "{kind:?} with a lock of one's own");
        if request.is_done() {
            scene.holder.call(move |caller| caller.unlock(handle, 0, 1)).unwrap();
            assert!(!scene.request(handle, kind).is_done(), "{kind:?} when it is unlocked");
        }
    }
}

/// minifilter-rules §2.9, txf-ktm §4.8.
#[test]
fn no_oplock_is_granted_beside_a_transaction() {
    for kind in Oplock::ALL {
        let scene = Scene::new();
        let handle = scene.open(GENERIC_READ, 7);
        let (transaction, inside) = scene.other.call(|caller| {
            let transaction = caller.create_transaction().unwrap();
            let inside = CreateOptions::open(FILE, ALL).inside(transaction);
            (transaction, caller.create_file(&inside).unwrap().handle)
        });
        let refused = scene.request(handle, kind).wait().unwrap();
        assert_eq!(refused, Err(Status::OPLOCK_NOT_GRANTED), "{kind:?}");
        scene.other.call(move |caller| {
            caller.close(inside).unwrap();
            caller.commit_transaction(transaction).unwrap();
        });
        assert!(!scene.request(handle, kind).is_done(), "{kind:?} after it");
    }
    // A writer that has closed its handles has the file until the end, a reader as long as it has it open and is not over.
    for writes in [true, false] {
        let scene = Scene::new();
        let handle = scene.open(GENERIC_READ, 7);
        let (transaction, inside) = scene.other.call(move |caller| {
            let transaction = caller.create_transaction().unwrap();
            let access = if writes { ALL } else { GENERIC_READ };
            let inside = CreateOptions::open(FILE, access).inside(transaction);
            let inside = caller.create_file(&inside).unwrap().handle;
            if writes {
                caller.write(inside, lab::Offset::At(0), b"new").unwrap();
                caller.close(inside).unwrap();
            }
            (transaction, inside)
        });
        let refused = scene.request(handle, Oplock::Read).wait().unwrap();
        assert_eq!(refused, Err(Status::OPLOCK_NOT_GRANTED), "writes: {writes}");
        scene.other.call(move |caller| caller.commit_transaction(transaction)).unwrap();
        assert!(!scene.request(handle, Oplock::Read).is_done(), "after it; writes: {writes}");
        if !writes {
            scene.other.close(inside).unwrap();
        }
    }
}

/// minifilter-rules §2.9.
#[test]
fn none_is_granted_while_a_break_waits_for_its_acknowledgement() {
    let scene = Scene::new();
    let (handle, request) = scene.hold(Oplock::ReadWriteHandle);
    let _open = scene.opens(CreateOptions::open(FILE, GENERIC_READ));
    request.wait().unwrap().unwrap();
    for kind in [Oplock::Read, Oplock::ReadWriteHandle] {
        let refused = scene.request(handle, kind).wait().unwrap();
        assert_eq!(refused, Err(Status::OPLOCK_NOT_GRANTED), "{kind:?}");
    }
}

/// minifilter-rules §2.9.
#[test]
fn an_oplock_that_is_broken_or_replaced_is_in_nobodys_way() {
    // A shared one, broken by somebody's write.
    for kind in [Oplock::Level2, Oplock::Read] {
        let scene = Scene::new();
        let (handle, request) = scene.hold(kind);
        scene.other.put(FILE, b"other").unwrap();
        assert_eq!(request.wait().unwrap().unwrap().to, None);
        let how = if kind == Oplock::Read { Acknowledgement::Keep(None) } else { Acknowledgement::Accept };
        let refused = scene.acknowledge(handle, how).wait().unwrap();
        assert_eq!(refused, Err(Status::INVALID_OPLOCK_PROTOCOL), "{kind:?} needs no acknowledgement");
        assert!(!scene.request(handle, Oplock::Filter).is_done(), "{kind:?}");
    }
    // One that was replaced.
    let scene = Scene::new();
    let (handle, first) = scene.hold(Oplock::Read);
    let second = scene.request(handle, Oplock::ReadWrite);
    assert!(first.is_done() && !second.is_done());
    scene.holder.call(move |caller| caller.cancel_io(handle)).unwrap();
    assert_eq!(second.wait().unwrap(), Err(Status::CANCELLED));
    assert!(!scene.request(handle, Oplock::Batch).is_done());
}

/// minifilter-rules §2.9: REQUEST_OPLOCK_OUTPUT_BUFFER.
#[test]
fn the_answer_to_a_request_says_what_was_broken_to_what() {
    let scene = Scene::new();
    let handle = scene.open(ALL, 7);
    let request = scene.holder.submit(move |caller| {
        caller.fs_control(handle, 0x9_0240, &[1, 0, 12, 0, 7, 0, 0, 0, 1, 0, 0, 0], 24)
    });
    scene.settle();
    let _open = scene.opens(CreateOptions::open(FILE, GENERIC_READ));
    let words = [1, 0, 24, 0, 7, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(request.wait().unwrap().unwrap(), words);
    let none = [1, 0, 12, 0, 2, 0, 0, 0, 2, 0, 0, 0];
    let refused = scene.holder.call(move |caller| caller.fs_control(handle, 0x9_0240, &none, 24));
    assert_eq!(refused, Err(Status::INVALID_PARAMETER), "nothing is kept that no oplock is");
}

/// What is granted beside what, on another handle and on the same one. minifilter-rules §2.9.
#[test]
fn oplocks_are_granted_beside_others_by_the_table() {
    use Oplock::{Level1, Level2, Read, ReadHandle, ReadWrite, ReadWriteHandle};
    let beside = [(Level2, Level2), (Level2, Read), (Read, Level2), (Read, Read), (Read, ReadHandle)];
    let beside = [&beside[..], &[(ReadHandle, Read), (ReadHandle, ReadHandle)]].concat();
    let replacing = [(Read, Read), (Read, ReadHandle), (ReadHandle, ReadHandle), (Read, ReadWrite)];
    let upgrades = [(ReadWrite, ReadWrite), (Read, ReadWriteHandle), (ReadHandle, ReadWriteHandle)];
    let upgrades = [&upgrades[..], &[(ReadWrite, ReadWriteHandle), (ReadWriteHandle, ReadWriteHandle)]];
    let replacing = [&replacing[..], &upgrades.concat()].concat();
    for held in Oplock::ALL {
        for wanted in Oplock::ALL {
            let what = format!("{wanted:?} beside {held:?}");
            let scene = Scene::new();
            let (handle, first) = scene.hold(held);
            let second = scene.request(handle, wanted);
            let replaced = replacing.contains(&(held, wanted));
            let broken = held == Level2 && matches!(wanted, Level1 | Oplock::Batch | Oplock::Filter);
            let stays = matches!((held, wanted), (Level2, Level2 | Read) | (Read, Level2));
            assert_eq!(first.is_done(), replaced || broken, "{what}, on the same handle");
            assert_eq!(second.is_done(), !(replaced || broken || stays), "{what}, on the same handle");
            if first.is_done() {
                let status = if broken { Status::SUCCESS } else { Status::OPLOCK_SWITCHED_TO_NEW_HANDLE };
                let ended = first.wait().unwrap().unwrap();
                assert_eq!((ended.status, ended.to), (status, None), "{what}");
                assert_ne!(ended.must_acknowledge, Some(true), "{what}");
            }
            if !matches!(held, Level2 | Read | ReadHandle) {
                continue;
            }
            let scene = Scene::new();
            let (_, first) = scene.hold(held);
            let other = scene.open(ALL, 7);
            let second = scene.request(other, wanted);
            let granted = beside.contains(&(held, wanted));
            assert_eq!((first.is_done(), second.is_done()), (false, !granted), "{what}");
        }
    }
}

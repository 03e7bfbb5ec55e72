//! Volumes that are locked, dismounted with files open, or removed (minifilter-rules §2.7).

use crate::support::*;
use lab_volume::*;

fn volume(lab: &mut Lab) -> OpenId {
    lab.open("", READ).unwrap()
}

/// minifilter-rules §2.7.
#[test]
fn a_volume_is_locked_only_without_other_opens_and_then_nobody_opens_anything() {
    let mut lab = lab();
    let (open, own) = (lab.open("f", READ).unwrap(), volume(&mut lab));
    assert_eq!(lab.volume.lock_volume(open), Err(Status::INVALID_PARAMETER));
    assert_eq!(lab.volume.lock_volume(own), Err(Status::ACCESS_DENIED));
    // Cleaned up, but somebody refers to it.
    lab.volume.cleanup(open, 0).unwrap();
    assert_eq!(lab.volume.lock_volume(own), Err(Status::ACCESS_DENIED));
    lab.volume.close(open).unwrap();
    assert_eq!(lab.volume.lock_volume(own), Ok(()));
    assert_eq!(lab.volume.lock_volume(own), Err(Status::ACCESS_DENIED), "twice");
    assert_eq!(lab.open("f", READ), Err(Status::ACCESS_DENIED));
    assert_eq!(lab.open("", READ), Err(Status::ACCESS_DENIED));
    assert_eq!(lab.volume.unlock_volume(own), Ok(()));
    assert_eq!(lab.volume.unlock_volume(own), Err(Status::ACCESS_DENIED), "twice");
    lab.open("f", READ).unwrap();
}

/// minifilter-rules §2.7.
#[test]
fn a_lock_of_the_volume_ends_with_its_handle() {
    let mut lab = lab();
    let own = volume(&mut lab);
    lab.volume.lock_volume(own).unwrap();
    lab.volume.cleanup(own, 0).unwrap();
    lab.open("f", READ).unwrap();
}

/// minifilter-rules §2.7.
#[test]
fn transactions_without_a_handle_keep_the_lock_out_or_are_undone() {
    for beside in [false, true] {
        let mut lab = lab();
        lab.volume.switches.lock_beside_transactions = beside;
        let tx = lab.begin();
        let twin = lab.open_in(tx, "f", WRITE).unwrap();
        lab.write(twin, 0, b"new").unwrap();
        lab.close(twin);
        let own = volume(&mut lab);
        let locked = lab.volume.lock_volume(own);
        lab.settle();
        assert_eq!(locked, if beside { Ok(()) } else { Err(Status::ACCESS_DENIED) });
        let phase = if beside { Phase::Aborted } else { Phase::Active };
        assert_eq!(lab.ktm.phase(tx), Ok(phase));
        assert_eq!(lab.contents("f").unwrap(), "old");
    }
}

/// minifilter-rules §2.7.
#[test]
fn after_a_dismount_opens_are_dead_and_transactions_undone_and_the_volume_is_as_after_a_mount() {
    for status in [Status::VOLUME_DISMOUNTED, Status::HANDLE_NO_LONGER_VALID] {
        let mut lab = lab();
        lab.volume.switches.transacted_open_at_dismount = status;
        let tx = lab.begin();
        let twin = lab.open_in(tx, "f", WRITE).unwrap();
        lab.write(twin, 0, b"new").unwrap();
        lab.volume.flush(twin).unwrap();
        let plain = lab.open(r"d\g", WRITE | DELETE).unwrap();
        lab.write(plain, 0, b"INNER").unwrap();
        let orphan = lab.make("orphan").unwrap();
        let doomed = lab.make("doomed").unwrap();
        lab.delete(doomed).unwrap();
        lab.volume.set_disposition(orphan, DispositionFlags::DELETE | DispositionFlags::POSIX).unwrap();
        lab.volume.cleanup(orphan, 0).unwrap();
        let own = volume(&mut lab);
        lab.volume.dismount_volume(own).unwrap();
        lab.settle();
        assert_eq!(lab.ktm.phase(tx), Ok(Phase::Aborted));
        assert_eq!(lab.read(twin), Err(status));
        assert_eq!(lab.write(plain, 0, b"x"), Err(Status::VOLUME_DISMOUNTED));
        assert_eq!(lab.volume.flush(plain), Err(Status::VOLUME_DISMOUNTED));
        let relative = CreateRequest::new(Target::Relative(own, "f".into()));
        assert_eq!(lab.create(relative).map(|created| created.open), Err(Status::VOLUME_DISMOUNTED));
        // Nobody is in anybody's way, and what was to be deleted at the last close is there.
        let next = lab.begin();
        let again = lab.open_in(next, "f", WRITE).unwrap();
        assert_eq!(lab.read(again).unwrap(), b"old");
        assert_eq!(lab.contents(r"d\g").unwrap(), "INNER");
        assert_eq!((lab.contents("orphan"), lab.contents("doomed")), (None, Some(String::new())));
        // Cleanup and close never fail, and do nothing to what is open now.
        for dead in [twin, plain, orphan, doomed, own] {
            lab.close(dead);
        }
        assert_eq!(lab.volume.close(twin), Err(Status::INVALID_HANDLE), "once");
        lab.write(again, 0, b"NEW").unwrap();
        lab.close(again);
        lab.commit(next).unwrap();
        assert_eq!(lab.contents("f").unwrap(), "NEW");
        lab.volume.check().unwrap();
        let mounted = Volume::mount(lab.volume.disk.crash_after(u64::MAX, 1)).unwrap();
        assert_eq!(mounted.tree(), lab.volume.tree());
    }
}

/// minifilter-rules §2.7.
#[test]
fn who_has_locked_the_volume_may_dismount_it_and_keeps_it_until_it_is_unlocked() {
    let mut lab = lab();
    let (own, other) = (volume(&mut lab), volume(&mut lab));
    lab.close(other);
    lab.volume.lock_volume(own).unwrap();
    assert_eq!(lab.open("", READ), Err(Status::ACCESS_DENIED));
    lab.volume.dismount_volume(own).unwrap();
    assert_eq!(lab.volume.flush(own), Err(Status::VOLUME_DISMOUNTED));
    assert_eq!(lab.open("f", READ), Err(Status::ACCESS_DENIED));
    lab.volume.unlock_volume(own).unwrap();
    lab.open("f", READ).unwrap();
    lab.close(own);
    let removal = volume(&mut lab);
    lab.close(removal);
}

/// minifilter-rules §2.7.
#[test]
fn only_who_has_the_lock_dismounts_a_locked_volume() {
    let mut lab = lab();
    let open = lab.open("f", READ).unwrap();
    assert_eq!(lab.volume.dismount_volume(open), Err(Status::INVALID_PARAMETER));
    lab.close(open);
    let own = volume(&mut lab);
    lab.close(own);
    lab.volume.query_removal().unwrap();
    assert_eq!(lab.open("", READ), Err(Status::ACCESS_DENIED));
    lab.volume.cancel_removal();
    let own = volume(&mut lab);
    assert_eq!(lab.volume.query_removal(), Err(Status::ACCESS_DENIED));
    lab.volume.lock_volume(own).unwrap();
    lab.volume.cancel_removal();
    assert!(lab.volume.is_locked(), "somebody else's");
}

/// minifilter-rules §2.7; txf-ktm §4.6: presumed abort.
#[test]
fn a_device_that_is_pulled_out_holds_what_was_durable() {
    let mut lab = lab();
    let old = version(1, 200_000);
    lab.volume.put_file("big", &old).unwrap();
    let tx = lab.begin();
    let twin = lab.open_in(tx, "big", WRITE).unwrap();
    lab.write(twin, 0, &version(2, 200_000)).unwrap();
    lab.volume.flush(twin).unwrap();
    lab.volume.surprise_removal();
    lab.settle();
    assert_eq!(lab.ktm.phase(tx), Ok(Phase::Aborted));
    assert_eq!(lab.open("big", READ), Err(Status::DEVICE_POWER_FAILURE));
    lab.close(twin);
    for seed in 0..10 {
        let mounted = Volume::mount(lab.volume.disk.crash_after(u64::MAX, seed)).unwrap();
        assert_eq!(mounted.contents("big").unwrap(), old, "seed {seed}");
    }
}

/// minifilter-rules §2.7.
#[test]
fn shutdown_makes_what_was_written_durable_and_ends_no_transaction() {
    let mut lab = lab();
    let plain = lab.open("f", WRITE).unwrap();
    lab.write(plain, 0, b"NEW").unwrap();
    let tx = lab.begin();
    let twin = lab.open_in(tx, r"d\g", WRITE).unwrap();
    lab.write(twin, 0, b"INNER").unwrap();
    lab.volume.shut_down().unwrap();
    assert_eq!(lab.ktm.phase(tx), Ok(Phase::Active));
    for seed in 0..10 {
        let mounted = Volume::mount(lab.volume.disk.crash_after(u64::MAX, seed)).unwrap();
        let found = |path: &str| String::from_utf8(mounted.contents(path).unwrap()).unwrap();
        assert_eq!((found("f"), found(r"d\g")), ("NEW".into(), "inner".into()), "seed {seed}");
    }
}

/// txf-ktm §4.12: `fsutil resource stop`.
#[test]
fn a_resource_manager_that_is_stopped_serves_nobody_until_it_is_started() {
    for status in [Status::RM_NOT_ACTIVE, Status::HANDLE_NO_LONGER_VALID, Status::EXPIRED_HANDLE] {
        let mut lab = lab();
        lab.volume.switches.open_of_stopped_manager = status;
        let tx = lab.begin();
        let twin = lab.open_in(tx, "f", WRITE).unwrap();
        lab.write(twin, 0, b"new").unwrap();
        lab.volume.stop_resource_manager();
        assert_eq!(lab.read(twin), Err(status));
        lab.close(twin);
        assert_eq!(lab.commit(tx), Err(Status::TRANSACTION_ALREADY_ABORTED));
        assert_eq!(lab.contents("f").unwrap(), "old");
        let next = lab.begin();
        assert_eq!(lab.open_in(next, "f", READ), Err(Status::RM_NOT_ACTIVE));
        lab.open("f", WRITE).unwrap();
        lab.volume.restart_resource_manager();
        let next = lab.begin();
        assert_eq!(lab.open_in(next, "d", READ).map(drop), Ok(()));
    }
}

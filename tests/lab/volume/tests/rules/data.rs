//! Ordinary NTFS: contents, sizes, space, byte-range locks, disk errors.

use crate::support::*;
use lab_volume::*;

#[test]
fn reads_end_at_the_end_and_writes_beyond_it_leave_zeros() {
    let mut lab = lab();
    let open = lab.make("n").unwrap();
    lab.write(open, 5_000, b"far").unwrap();
    let mut expected = vec![0; 5_000];
    expected.extend(b"far");
    assert_eq!(lab.read(open).unwrap(), expected);
    assert_eq!(lab.volume.read(open, 5_003, 1, Io::default()), Err(Status::END_OF_FILE));
    assert_eq!(lab.volume.read(open, 9_000, 0, Io::default()), Ok(Vec::new()));
    assert_eq!(lab.volume.read(open, 5_001, 100, Io::default()).unwrap(), b"ar");
    let end = lab.volume.write(open, WriteAt::End, b"!", Io::default()).unwrap();
    assert_eq!(end, 5_004);
    let all = lab.volume.query(open).unwrap();
    assert_eq!((all.standard.size, all.standard.allocation, all.valid_data_length), (5_004, 8_192, 5_004));
}

#[test]
fn what_was_cut_off_does_not_come_back() {
    let mut lab = lab();
    let open = lab.make("n").unwrap();
    lab.write(open, 0, &[0xAA; 9_000]).unwrap();
    lab.volume.set_end_of_file(open, 100).unwrap();
    lab.volume.set_end_of_file(open, 9_000).unwrap();
    let found = lab.read(open).unwrap();
    assert!(found[..100].iter().all(|&byte| byte == 0xAA) && found[100..].iter().all(|&byte| byte == 0));
    lab.volume.set_allocation(open, 4_096).unwrap();
    assert_eq!(lab.volume.standard(open).unwrap().size, 4_096);
    lab.volume.set_allocation(open, 40_960).unwrap();
    let standard = lab.volume.standard(open).unwrap();
    assert_eq!((standard.size, standard.allocation), (4_096, 40_960));
}

#[test]
fn what_an_overwrite_emptied_does_not_come_back() {
    let mut lab = lab();
    let open = lab.make("n").unwrap();
    lab.write(open, 0, &[0xAA; 9_000]).unwrap();
    lab.volume.flush(open).unwrap();
    lab.write(open, 9_000, &[0xAA; 9_000]).unwrap();
    lab.close(open);
    let overwrite = CreateRequest::path("n").access(WRITE).disposition(Disposition::Overwrite);
    let open = lab.create(overwrite).unwrap().open;
    lab.volume.set_end_of_file(open, 18_000).unwrap();
    assert_eq!(lab.read(open).unwrap(), [0; 18_000]);
    assert_eq!(lab.volume.query(open).unwrap().valid_data_length, 0);
}

/// The same where the transaction cuts and the outside had written without a flush.
#[test]
fn what_a_transaction_cut_off_does_not_come_back_outside() {
    let mut lab = lab();
    let open = lab.make("n").unwrap();
    lab.write(open, 0, &[0xAA; 9_000]).unwrap();
    lab.close(open);
    let tx = lab.begin();
    let twin = lab.open_in(tx, "n", WRITE).unwrap();
    assert_eq!(lab.read(twin).unwrap(), [0xAA; 9_000], "unflushed data is part of what it sees");
    lab.volume.set_end_of_file(twin, 100).unwrap();
    lab.close(twin);
    lab.commit(tx).unwrap();
    let open = lab.open("n", WRITE).unwrap();
    lab.volume.set_end_of_file(open, 9_000).unwrap();
    let found = lab.read(open).unwrap();
    assert!(found[..100].iter().all(|&byte| byte == 0xAA) && found[100..].iter().all(|&byte| byte == 0));
}

/// What was known of the old one is not true of the new one.
#[test]
fn a_stream_that_went_with_an_overwrite_and_is_made_again_holds_what_is_written_then() {
    let mut lab = lab();
    let replace = |path| CreateRequest::path(path).access(WRITE).disposition(Disposition::Supersede);
    for byte in [b'1', b'2'] {
        let stream = lab.create(replace("f:s")).unwrap().open;
        lab.write(stream, 0, &[byte]).unwrap();
        lab.close(stream);
        assert_eq!(lab.contents("f:s").unwrap().as_bytes(), [byte]);
        let file = lab.create(replace("f")).unwrap().open;
        lab.close(file);
    }
}

/// A cluster that a transaction gave back belongs to whoever gets it next.
#[test]
fn a_transaction_writes_nothing_into_clusters_that_it_gave_back() {
    let mut lab = lab();
    let tx = lab.begin();
    let made = lab.make_in(tx, "made").unwrap();
    lab.write(made, 0, &[0xAA; 4_096]).unwrap();
    lab.volume.set_end_of_file(made, 0).unwrap();
    let other = lab.make("other").unwrap();
    lab.write(other, 0, &[0xBB; 4_096]).unwrap();
    lab.close(made);
    lab.commit(tx).unwrap();
    assert_eq!(lab.read(other).unwrap(), [0xBB; 4_096]);
}

/// txf-ktm §8.1.
#[test]
fn paging_writes_end_at_the_end_of_the_file_and_work_after_cleanup() {
    let mut lab = lab();
    let open = lab.open("f", WRITE).unwrap();
    lab.volume.cleanup(open, 0).unwrap();
    let paging = Io { paging: true, ..Io::default() };
    lab.volume.write(open, WriteAt::Offset(0), &[b'x'; 4_096], paging).unwrap();
    assert_eq!(lab.contents("f").unwrap(), "xxx");
}

#[test]
fn a_sparse_file_has_holes_and_an_ordinary_one_only_zeros() {
    let mut lab = lab();
    let stale = lab.make("stale").unwrap();
    lab.write(stale, 0, &[0xAA; 40_960]).unwrap();
    lab.volume.flush(stale).unwrap();
    lab.delete(stale).unwrap();
    lab.close(stale);
    let open = lab.make("s").unwrap();
    lab.volume.flush(open).unwrap();
    lab.volume.set_sparse(open, true).unwrap();
    lab.write(open, 40_000, b"end").unwrap();
    lab.write(open, 8_200, b"mid").unwrap();
    assert_eq!(lab.volume.allocated_ranges(open, 0, 1 << 20).unwrap(), [(8_192, 4_096), (36_864, 3_139)]);
    let mut expected = vec![0; 40_003];
    expected[8_200..8_203].copy_from_slice(b"mid");
    expected[40_000..].copy_from_slice(b"end");
    assert_eq!(lab.read(open).unwrap(), expected, "a filled hole shows no stale data");
    lab.volume.zero_data(open, 8_000, 12_300).unwrap();
    expected[8_200..8_203].fill(0);
    assert_eq!(lab.read(open).unwrap(), expected);
    assert_eq!(lab.volume.allocated_ranges(open, 0, 1 << 20).unwrap(), [(36_864, 3_139)]);
    let plain = lab.open("f", WRITE).unwrap();
    lab.volume.zero_data(plain, 1, 9).unwrap();
    assert_eq!(lab.read(plain).unwrap(), b"o\0\0");
    lab.volume.check().unwrap();
}

#[test]
fn a_full_disk_fails_what_needs_room_and_nothing_else() {
    let mut lab = lab();
    lab.volume.set_free_space(Some(8_192));
    let open = lab.open("f", WRITE).unwrap();
    assert_eq!(lab.write(open, 0, &[1; 20_000]), Err(Status::DISK_FULL));
    assert_eq!(lab.read(open).unwrap(), b"old", "nothing of it was written");
    lab.write(open, 0, b"NEW").unwrap();
    lab.write(open, 3, &[2; 10_000]).unwrap();
    assert_eq!(lab.volume.information().free_clusters, 0);
    assert_eq!(lab.volume.set_end_of_file(open, 100_000), Err(Status::DISK_FULL));
    lab.volume.set_end_of_file(open, 1).unwrap();
    assert_eq!(lab.volume.information().free_clusters, 2);
    let tx = lab.begin();
    lab.close(open);
    let twin = lab.open_in(tx, "f", WRITE).unwrap();
    assert_eq!(lab.write(twin, 0, &[1; 20_000]), Err(Status::DISK_FULL));
    lab.volume.check().unwrap();
}

/// Otherwise a crash could leave the old file with the new file's data.
#[test]
fn freed_clusters_of_a_full_disk_are_given_out_after_a_flush() {
    let whole = 4 * CLUSTER;
    let free: [fn(&mut Lab, OpenId); 2] =
        [|lab, open| lab.delete(open).unwrap(), |lab, open| lab.volume.set_end_of_file(open, 0).unwrap()];
    for free in free {
        let mut volume = Volume::mount(Base::formatted(4, "C")).unwrap();
        volume.put_file("f", &version(1, whole)).unwrap();
        let mut lab = Lab::of(volume);
        let open = lab.open("f", WRITE | DELETE).unwrap();
        free(&mut lab, open);
        lab.close(open);
        let new = lab.make("new").unwrap();
        let before = lab.volume.disk.effect_count();
        lab.write(new, 0, &version(2, whole)).unwrap();
        for number in before..=lab.volume.disk.effect_count() {
            for base in lab.volume.disk.crash_states(number).enumerate(4, 4) {
                let volume = Volume::mount(base).unwrap();
                let old = volume.contents("f");
                let kept = old.is_none_or(|old| old.is_empty() || old == version(1, whole));
                assert!(kept, "after effect {number}");
            }
        }
    }
}

/// txf-ktm §4.8.
#[test]
fn byte_range_locks_keep_others_out() {
    let mut lab = lab();
    let (one, two) = (lab.open("f", WRITE).unwrap(), lab.open("f", WRITE).unwrap());
    let owner = LockOwner { process: 1, key: 0 };
    let io = Io { process: 1, ..Io::default() };
    let v = &mut lab.volume;
    v.lock(one, owner, 0, 2, true).unwrap();
    assert_eq!(v.lock(two, owner, 1, 1, false), Err(Status::LOCK_NOT_GRANTED));
    assert_eq!(v.read(two, 0, 1, io), Err(Status::FILE_LOCK_CONFLICT));
    assert_eq!(v.write(two, WriteAt::Offset(1), b"x", io), Err(Status::FILE_LOCK_CONFLICT));
    v.write(two, WriteAt::Offset(2), b"x", io).unwrap();
    v.write(one, WriteAt::Offset(0), b"x", io).unwrap();
    v.read(two, 0, 1, Io { paging: true, ..io }).unwrap();
    assert_eq!(v.locks_of(one), [(owner, 0, 2, true)]);
    assert_eq!(v.unlock(one, owner, 0, 1), Err(Status::RANGE_NOT_LOCKED));
    v.unlock(one, owner, 0, 2).unwrap();
    v.lock(one, owner, 0, 2, false).unwrap();
    assert_eq!(
        v.write(one, WriteAt::Offset(0), b"x", io),
        Err(Status::FILE_LOCK_CONFLICT),
        "its own, shared"
    );
    v.lock(two, owner, 0, 2, false).unwrap();
    v.cleanup(two, 1).unwrap();
    v.unlock_all(one, 1, None).unwrap();
    v.write(one, WriteAt::Offset(0), b"x", io).unwrap();
    assert_eq!(v.lock(one, owner, u64::MAX, 2, true), Err(Status::INVALID_LOCK_RANGE));
}

/// txf-ktm §4.8: what is unlocked is what one process has locked through one file object, of one key or of all.
#[test]
fn all_locks_of_a_key_or_of_a_process_are_given_back_together() {
    let mut lab = lab();
    let (one, two) = (lab.open("f", WRITE).unwrap(), lab.open("f", WRITE).unwrap());
    let owner = |process, key| LockOwner { process, key };
    let v = &mut lab.volume;
    let places = [(one, owner(1, 0)), (one, owner(1, 7)), (one, owner(2, 7)), (two, owner(1, 7))];
    for (at, (open, owner)) in (0..).zip(places) {
        v.lock(open, owner, at, 1, true).unwrap();
    }
    let held =
        |v: &Volume| [one, two].map(|open| v.locks_of(open).iter().map(|lock| lock.1).collect::<Vec<_>>());
    v.unlock_all(one, 1, Some(7)).unwrap();
    assert_eq!(held(v), [vec![0, 2], vec![3]]);
    v.unlock_all(one, 1, None).unwrap();
    assert_eq!(held(v), [vec![2], vec![3]]);
}

/// txf-ktm §4.8.
#[test]
fn cleanup_releases_only_the_locks_of_the_closing_process() {
    let mut lab = lab();
    let (one, two) = (lab.open("f", WRITE).unwrap(), lab.open("f", WRITE).unwrap());
    lab.volume.lock(one, LockOwner { process: 1, key: 0 }, 0, 1, true).unwrap();
    lab.volume.cleanup(one, 2).unwrap();
    let other = LockOwner { process: 3, key: 0 };
    assert_eq!(lab.volume.lock(two, other, 0, 1, true), Err(Status::LOCK_NOT_GRANTED));
    lab.volume.cleanup(one, 1).unwrap();
    lab.volume.lock(two, other, 0, 1, true).unwrap();
    lab.volume.cleanup(two, 2).unwrap();
    for open in [one, two] {
        lab.volume.close(open).unwrap();
    }
    let next = lab.open("f", WRITE).unwrap();
    lab.volume.lock(next, other, 0, 1, true).unwrap();
}

#[test]
fn a_planned_read_error_reaches_the_reader() {
    let mut lab = lab();
    let open = lab.open("f", READ).unwrap();
    lab.volume.disk.faults.failing_reads = vec![1];
    assert_eq!(lab.read(open), Err(Status::IO_DEVICE_ERROR));
    assert_eq!(lab.read(open).unwrap(), b"old");
}

#[test]
fn a_planned_write_error_fails_the_write_and_leaves_the_volume_consistent() {
    let effects = |lab: &mut Lab, open| {
        let before = lab.volume.disk.effect_count();
        let result = lab.write(open, 2, &[7; 10_000]);
        (result, lab.volume.disk.effect_count() - before)
    };
    let mut whole = lab();
    let open = whole.open("f", WRITE).unwrap();
    let (result, count) = effects(&mut whole, open);
    result.unwrap();
    for fault in 1..=count {
        let mut lab = lab();
        let open = lab.open("f", WRITE).unwrap();
        let attempts = lab.volume.disk.effect_count();
        lab.volume.disk.faults.failing_effects = vec![attempts + fault];
        assert_eq!(effects(&mut lab, open).0, Err(Status::IO_DEVICE_ERROR), "effect {fault}");
        lab.volume.check().unwrap();
        assert_eq!(lab.volume.standard(open).unwrap().size, 3);
    }
}

/// The holes below the end stay holes: new clusters there would show what they held.
#[test]
fn the_holes_of_a_sparse_file_outlive_its_allocation() {
    let mut lab = lab();
    let stale = lab.make("stale").unwrap();
    lab.write(stale, 0, &[0xAA; 40_960]).unwrap();
    lab.volume.flush(stale).unwrap();
    lab.delete(stale).unwrap();
    lab.close(stale);
    let open = lab.make("s").unwrap();
    lab.volume.flush(open).unwrap();
    lab.volume.set_sparse(open, true).unwrap();
    lab.write(open, 9_000, b"data").unwrap();
    lab.volume.set_allocation(open, 512).unwrap();
    assert_eq!(lab.volume.allocated_ranges(open, 0, 1 << 20).unwrap(), []);
    lab.write(open, 5, b"data").unwrap();
    assert_eq!(lab.volume.read(open, 0, 9, Io::default()).unwrap(), b"\0\0\0\0\0data");
    lab.volume.check().unwrap();
}

/// Whatever becomes of its sizes and holes, nobody reads what free clusters held.
#[test]
fn a_sparse_file_never_shows_what_its_clusters_held_before() {
    for seed in 0..400_u64 {
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut below = |bound: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % bound
        };
        let mut lab = lab();
        let stale = lab.make("stale").unwrap();
        lab.write(stale, 0, &[0xAA; 200_000]).unwrap();
        lab.volume.flush(stale).unwrap();
        lab.delete(stale).unwrap();
        lab.close(stale);
        let mut open = lab.make("s").unwrap();
        lab.volume.set_sparse(open, true).unwrap();
        let mut told = Vec::new();
        let mut expected: Vec<u8> = Vec::new();
        for _ in 0..12 {
            let at = [0, 1, 512, 4_095, 4_096, 9_000, 20_000][below(7) as usize];
            let length = [1, 24, 600, 4_096, 9_000][below(5) as usize];
            match below(7) {
                0 | 1 => {
                    lab.write(open, at, &vec![0x11; length]).unwrap();
                    let end = at as usize + length;
                    expected.resize(expected.len().max(end), 0);
                    expected[at as usize..end].fill(0x11);
                    told.push(format!("write {at} {length}"));
                }
                2 => {
                    lab.volume.set_end_of_file(open, at).unwrap();
                    expected.resize(at as usize, 0);
                    told.push(format!("end {at}"));
                }
                3 => {
                    lab.volume.set_allocation(open, at).unwrap();
                    expected.truncate((at as usize).div_ceil(4_096) * 4_096);
                    let kept = expected.len().min(at as usize);
                    expected.truncate(kept);
                    told.push(format!("allocation {at}"));
                }
                4 => {
                    lab.volume.zero_data(open, at, at + length as u64).unwrap();
                    let end = expected.len().min(at as usize + length);
                    if (at as usize) < end {
                        expected[at as usize..end].fill(0);
                    }
                    told.push(format!("zero {at} {length}"));
                }
                5 => {
                    lab.volume.flush(open).unwrap();
                    told.push("flush".into());
                }
                _ => {
                    lab.close(open);
                    open = lab.open("s", WRITE).unwrap();
                    told.push("again".into());
                }
            }
            assert!(lab.read(open).unwrap_or_default() == expected, "seed {seed}: {told:?}");
        }
        lab.volume.check().unwrap();
    }
}

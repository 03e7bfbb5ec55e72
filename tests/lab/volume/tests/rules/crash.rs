//! What a crash leaves (`txf-ktm §4.6`, `§9` rule 8): old or new with a transaction, anything without.

use std::collections::BTreeSet;

use crate::support::*;
use lab_volume::*;

const LENGTH: usize = 20_000;
const SEEDS: u64 = 6;

fn prepared() -> Lab {
    let mut volume = Volume::mount(Base::formatted(256, "C")).unwrap();
    volume.put_file("f", &version(1, LENGTH)).unwrap();
    // A base at rest, so that the effects that follow are those of the test.
    Lab::of(Volume::mount(volume.dismount()).unwrap())
}

/// Overwrites `\f` in pieces, in a transaction if given.
fn overwrite(lab: &mut Lab, tx: Option<TxId>) -> OpenId {
    let request = CreateRequest { transaction: tx, ..CreateRequest::path("f").access(WRITE) };
    let open = lab.create(request).unwrap().open;
    let new = version(2, LENGTH);
    for at in (0..LENGTH).step_by(3000) {
        let end = (at + 3000).min(LENGTH);
        lab.write(open, at as u64, &new[at..end]).unwrap();
    }
    open
}

/// What `\f` is after a crash: 1 old, 2 new, 0 something else.
fn verdict(base: Base) -> u8 {
    let volume = Volume::mount(base).unwrap();
    volume.check().unwrap();
    let found = volume.contents("f").unwrap();
    [1, 2].into_iter().find(|&number| found == version(number, LENGTH)).unwrap_or(0)
}

/// Every verdict of every effect number from `from` on, with some seeds each.
fn verdicts(disk: &Disk, from: u64, to: u64) -> Vec<BTreeSet<u8>> {
    (from..=to)
        .map(|number| {
            let states = disk.crash_states(number);
            states.enumerate(4, SEEDS).map(verdict).collect()
        })
        .collect()
}

/// txf-ktm §1.6, §4.6, §9.
#[test]
fn a_transacted_overwrite_is_old_or_new_at_every_crash_point() {
    for write_out in [1, 8, 1000] {
        let mut lab = prepared();
        lab.volume.switches.write_out_sectors = write_out;
        let tx = lab.begin();
        let twin = overwrite(&mut lab, Some(tx));
        lab.volume.flush(twin).unwrap();
        lab.close(twin);
        let before = lab.volume.disk.effect_count();
        lab.commit(tx).unwrap();
        let after = lab.volume.disk.effect_count();
        let seen = verdicts(&lab.volume.disk, 0, after);
        let (only_old, only_new) = (BTreeSet::from([1]), BTreeSet::from([2]));
        assert!(seen[..=before as usize].iter().all(|set| *set == only_old), "{seen:?}");
        assert!(seen.iter().all(|set| !set.contains(&0)), "{seen:?}");
        assert_eq!(*seen.last().unwrap(), only_new, "a commit that has returned is durable");
    }
}

/// txf-ktm §4.6.
#[test]
fn an_aborted_overwrite_is_old_at_every_crash_point() {
    let mut lab = prepared();
    lab.volume.switches.write_out_sectors = 4;
    let tx = lab.begin();
    overwrite(&mut lab, Some(tx));
    lab.rollback(tx).unwrap();
    let end = lab.volume.disk.effect_count();
    assert!(end > 10, "it had reached the disk");
    assert!(verdicts(&lab.volume.disk, 0, end).into_iter().flatten().all(|verdict| verdict == 1));
}

/// The oracle can fail: the same program without a transaction is damaged somewhere.
/// txf-ktm §4.6.
#[test]
fn a_plain_overwrite_is_damaged_in_some_crash_state() {
    let mut lab = prepared();
    overwrite(&mut lab, None);
    let end = lab.volume.disk.effect_count();
    assert!(verdicts(&lab.volume.disk, 0, end).into_iter().flatten().any(|verdict| verdict == 0));
}

/// txf-ktm §4.6, T19: a disk that ignores flushes damages even a transacted file.
#[test]
fn a_lying_disk_damages_even_a_transacted_overwrite() {
    let mut lab = prepared();
    lab.volume.switches.write_out_sectors = 4;
    lab.volume.disk.set_lying(true);
    let tx = lab.begin();
    let twin = overwrite(&mut lab, Some(tx));
    lab.close(twin);
    lab.commit(tx).unwrap();
    let end = lab.volume.disk.effect_count();
    assert!(verdicts(&lab.volume.disk, 0, end).into_iter().flatten().any(|verdict| verdict == 0));
}

/// txf-ktm §4.6.
#[test]
fn recovery_may_crash_too() {
    let mut lab = prepared();
    lab.volume.switches.write_out_sectors = 4;
    let tx = lab.begin();
    overwrite(&mut lab, Some(tx));
    let end = lab.volume.disk.effect_count();
    let mut recoveries = 0;
    for number in (0..=end).step_by(3) {
        let recovering = Volume::mount(lab.volume.disk.crash_after(number, number)).unwrap();
        let effects = recovering.disk.effect_count();
        recoveries += u64::from(effects > 0);
        for again in 0..=effects {
            for base in recovering.disk.crash_states(again).enumerate(3, 2) {
                assert_eq!(verdict(base), 1, "crash after {number}, again after {again}");
            }
        }
    }
    assert!(recoveries > 3);
}

#[test]
fn a_planned_power_cut_equals_a_crash_after_that_effect() {
    let run = |cut| {
        let mut lab = prepared();
        lab.volume.switches.write_out_sectors = 4;
        lab.volume.disk.faults.power_cut_after = cut;
        let tx = lab.begin();
        let twin = lab.open_in(tx, "f", WRITE).unwrap();
        let written = lab.write(twin, 0, &version(2, LENGTH));
        lab.close(twin);
        let committed = lab.commit(tx);
        (lab, written.and(committed))
    };
    let (whole, result) = run(None);
    result.unwrap();
    let end = whole.volume.disk.effect_count();
    for cut in 0..end {
        let (lab, result) = run(Some(cut));
        assert!(result.is_err());
        assert_eq!(lab.volume.disk.effect_count(), cut);
        for seed in 0..3 {
            let base = lab.volume.disk.crash_after(cut, seed);
            assert_eq!(base, whole.volume.disk.crash_after(cut, seed));
            assert_ne!(verdict(base), 0);
        }
    }
}

#[test]
fn what_a_plain_flush_covers_survives_every_crash() {
    let mut lab = prepared();
    let open = overwrite(&mut lab, None);
    lab.write(open, LENGTH as u64, b"more").unwrap();
    lab.volume.flush(open).unwrap();
    let now = lab.volume.disk.effect_count();
    let expected = lab.volume.contents("f").unwrap();
    for base in lab.volume.disk.crash_states(now).enumerate(4, SEEDS) {
        assert_eq!(Volume::mount(base).unwrap().contents("f").unwrap(), expected);
    }
}

/// Why programs lose the tail of a file: its size is in the log, its data is not on the disk.
#[test]
fn an_unflushed_append_may_be_zeros_but_never_somebody_elses_data() {
    let mut lab = prepared();
    let secret = lab.open("f", DELETE).unwrap();
    lab.delete(secret).unwrap();
    lab.close(secret);
    lab.volume.put_file("tiny", b"t").unwrap();
    let start = lab.volume.disk.effect_count();
    // The freed clusters of the deleted file are the first that the new one gets.
    let new = lab.make("new").unwrap();
    lab.write(new, 0, &[0xEE; 9000]).unwrap();
    lab.close(new);
    let mut zeros = false;
    for base in (start..=lab.volume.disk.effect_count())
        .flat_map(|number| lab.volume.disk.crash_states(number).enumerate(4, SEEDS).collect::<Vec<_>>())
    {
        let volume = Volume::mount(base).unwrap();
        volume.check().unwrap();
        let Some(found) = volume.contents("new") else { continue };
        zeros |= found.contains(&0);
        assert!(found.iter().all(|byte| [0, 0xEE].contains(byte)), "stale data in a new file");
    }
    assert!(zeros);
}

/// A hole below the valid data length that is being filled, on clusters that held something else.
#[test]
fn a_filled_hole_never_shows_stale_data_after_a_crash() {
    let mut lab = prepared();
    let stale = lab.open("f", DELETE).unwrap();
    lab.delete(stale).unwrap();
    lab.close(stale);
    let open = lab.make("sparse").unwrap();
    lab.volume.set_sparse(open, true).unwrap();
    lab.write(open, 60_000, &[0xEE]).unwrap();
    lab.volume.flush(open).unwrap();
    let start = lab.volume.disk.effect_count();
    lab.write(open, 10_000, &[0xEE; 3000]).unwrap();
    let held = lab.volume.disk.peek_cluster(0).is_some();
    assert!(held, "the new clusters are not blank");
    for number in start..=lab.volume.disk.effect_count() {
        for base in lab.volume.disk.crash_states(number).enumerate(4, SEEDS) {
            let found = Volume::mount(base).unwrap().contents("sparse").unwrap();
            assert!(found.iter().all(|byte| [0, 0xEE].contains(byte)), "after effect {number}");
        }
    }
}

#[test]
fn several_files_and_names_change_together_or_not_at_all() {
    let mut lab = lab();
    lab.volume.put_file("gone", &version(3, 5000)).unwrap();
    let mut lab = Lab::of(Volume::mount(lab.volume.dismount()).unwrap());
    lab.volume.switches.write_out_sectors = 2;
    let before = lab.volume.tree();
    let tx = lab.begin();
    let made = lab.make_in(tx, r"d\made").unwrap();
    lab.write(made, 0, &version(4, 6000)).unwrap();
    let twin = lab.open_in(tx, "f", WRITE | DELETE).unwrap();
    lab.write(twin, 1, b"xyz").unwrap();
    lab.volume.rename(twin, &NameTarget::named(r"\d\renamed"), NameFlags::empty()).unwrap();
    let gone = lab.open_in(tx, "gone", DELETE).unwrap();
    lab.delete(gone).unwrap();
    for open in [made, twin, gone] {
        lab.close(open);
    }
    lab.commit(tx).unwrap();
    let after = lab.volume.tree();
    assert_ne!(before, after);
    for number in 0..=lab.volume.disk.effect_count() {
        for base in lab.volume.disk.crash_states(number).enumerate(4, SEEDS) {
            let volume = Volume::mount(base).unwrap();
            volume.check().unwrap();
            let tree = volume.tree();
            assert!(tree == before || tree == after, "after effect {number}");
        }
    }
}

#[test]
fn an_image_of_a_crashed_disk_mounts_like_the_disk() {
    let mut lab = prepared();
    let tx = lab.begin();
    overwrite(&mut lab, Some(tx));
    let base = lab.volume.disk.crash_after(u64::MAX, 3);
    let path = std::env::temp_dir().join(format!("lab-volume-{}.image", std::process::id()));
    base.save(&path).unwrap();
    let loaded = Base::load(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(loaded, base);
    assert_eq!(verdict(loaded), 1);
}

#[test]
fn a_blank_or_damaged_disk_is_refused_by_name() {
    assert_eq!(Volume::mount(Base::blank(8)).unwrap_err(), MountError::NotFormatted);
    let mut disk = Disk::new(Base::formatted(8, "C"));
    disk.append(vec![0xFF; 9]).unwrap();
    assert_eq!(Volume::mount(disk.orderly()).unwrap_err(), MountError::LogDamaged(1));
}

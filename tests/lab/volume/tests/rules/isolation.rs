//! Who sees which version (`txf-ktm §4.1`).

use crate::support::*;
use lab_volume::*;

/// txf-ktm §4.1: read committed.
#[test]
fn outsiders_see_the_committed_version_until_the_commit_and_the_new_one_after() {
    let mut lab = lab();
    let reader = lab.open("f", READ).unwrap();
    let tx = lab.begin();
    let twin = lab.open_in(tx, "f", WRITE).unwrap();
    lab.write(twin, 0, b"longer than before").unwrap();
    assert_eq!(lab.read(twin).unwrap(), b"longer than before");
    assert_eq!(lab.read(reader).unwrap(), b"old");
    assert_eq!(lab.volume.standard(reader).unwrap().size, 3);
    lab.close(twin);
    lab.commit(tx).unwrap();
    assert_eq!(lab.read(reader).unwrap(), b"longer than before", "the open handle switches at commit");
    assert_eq!(lab.volume.standard(reader).unwrap().size, 18);
}

/// txf-ktm §4.1: in-place sectors that are on the disk already are still invisible outside.
/// txf-ktm §4.6.
#[test]
fn writing_out_early_changes_nothing_that_outsiders_see() {
    let mut lab = lab();
    let old = version(1, 40_000);
    lab.volume.put_file("big", &old).unwrap();
    lab.volume.switches.write_out_sectors = 4;
    let other = lab.begin();
    let tx = lab.begin();
    let twin = lab.open_in(tx, "big", WRITE).unwrap();
    let new = version(2, 40_000);
    for at in (0..40_000).step_by(1000) {
        lab.write(twin, at as u64, &new[at..at + 1000]).unwrap();
    }
    lab.volume.flush(twin).unwrap();
    let plain = lab.open("big", READ).unwrap();
    let foreign = lab.open_in(other, "big", READ).unwrap();
    assert_eq!(lab.read(plain).unwrap(), old);
    assert_eq!(lab.read(foreign).unwrap(), old);
    assert_eq!(lab.read(twin).unwrap(), new);
    lab.rollback(tx).unwrap();
    assert_eq!(lab.read(plain).unwrap(), old);
}

/// txf-ktm §4.1: a transacted reader keeps the view as of its open, for the life of that handle.
#[test]
fn a_transacted_reader_keeps_the_version_that_it_opened() {
    let mut lab = lab();
    let reading = lab.begin();
    let reader = lab.open_in(reading, "f", READ).unwrap();
    let tx = lab.begin();
    let twin = lab.open_in(tx, "f", WRITE).unwrap();
    lab.write(twin, 0, b"newer").unwrap();
    lab.close(twin);
    lab.commit(tx).unwrap();
    assert_eq!(lab.read(reader).unwrap(), b"old");
    assert_eq!(lab.volume.standard(reader).unwrap().size, 3);
    let again = lab.open_in(reading, "f", READ).unwrap();
    assert_eq!(lab.read(again).unwrap(), b"newer", "a later open sees what is committed then");
    assert_eq!(lab.read(reader).unwrap(), b"old");
}

/// txf-ktm §4.1: later opens in the modifying transaction count as writers and see the dirty view.
/// txf-ktm §2.
#[test]
fn a_later_open_in_the_modifying_transaction_is_a_writer_and_sees_its_changes() {
    let mut lab = lab();
    let tx = lab.begin();
    let early = lab.open_in(tx, "f", READ).unwrap();
    let twin = lab.open_in(tx, "f", WRITE).unwrap();
    lab.write(twin, 0, b"new").unwrap();
    let late = lab.open_in(tx, "f", READ).unwrap();
    assert_eq!(lab.read(late).unwrap(), b"new");
    assert_eq!(lab.read(early).unwrap(), b"old");
    assert!(lab.volume.is_transacted_writer(late).unwrap());
    assert!(!lab.volume.is_transacted_writer(early).unwrap());
    lab.close(twin);
    lab.close(late);
    let last = lab.open_in(tx, "f", READ).unwrap();
    assert_eq!(lab.read(last).unwrap(), b"new", "also when the writer is closed");
}

/// txf-ktm §4.1, §4.10: sizes, times, attributes, EAs, security and streams are isolated like data.
/// txf-ktm §4.3, §4.9.
#[test]
fn metadata_is_isolated_and_undone_like_data() {
    let mut lab = lab();
    let before = lab.volume.tree();
    let plain = lab.open("f", READ).unwrap();
    let tx = lab.begin();
    let twin = lab.open_in(tx, "f", WRITE | access::WRITE_DAC).unwrap();
    let basic =
        BasicUpdate { creation: Some(77), attributes: Some(attributes::HIDDEN), ..BasicUpdate::default() };
    lab.volume.set_basic(twin, basic).unwrap();
    lab.volume.set_ea(twin, &[Ea { flags: 0, name: b"K".to_vec(), value: b"v".to_vec() }]).unwrap();
    let closed = descriptor(LOCAL_SYSTEM, &[]);
    lab.volume.set_security(twin, &closed).unwrap();
    lab.volume.set_end_of_file(twin, 1).unwrap();
    let stream = CreateRequest::path("f:s").access(WRITE).disposition(Disposition::Create).inside(tx);
    lab.create(stream).unwrap();

    let (inside, outside) = (lab.volume.query(twin).unwrap(), lab.volume.query(plain).unwrap());
    assert_eq!(
        (inside.basic.times.creation, inside.basic.attributes),
        (77, attributes::HIDDEN | attributes::ARCHIVE)
    );
    assert_eq!((inside.ea_size, inside.standard.size), (12, 1));
    assert_eq!((outside.ea_size, outside.standard.size), (0, 3));
    assert_eq!(outside.basic.attributes, attributes::ARCHIVE);
    assert_eq!(lab.volume.streams(twin).unwrap().len(), 2);
    assert_eq!(lab.volume.streams(plain).unwrap().len(), 1);
    assert_eq!(lab.volume.security(plain).unwrap(), everyone_all());
    assert_eq!(lab.volume.tree(), before);

    let mut undone = lab.clone();
    undone.rollback(tx).unwrap();
    assert_eq!(undone.volume.tree(), before);
    lab.commit(tx).unwrap();
    assert_eq!(lab.volume.query(plain).unwrap().ea_size, 12);
    assert_eq!(lab.volume.security(plain).unwrap(), closed);
    assert_eq!(lab.volume.streams(plain).unwrap().len(), 2);
}

/// txf-ktm §4.1: directory changes outside show inside at once, changes inside show outside at commit.
/// txf-ktm §2.
#[test]
fn directories_show_outside_changes_inside_at_once_and_inside_changes_outside_at_commit() {
    let mut lab = lab();
    let tx = lab.begin();
    let made = lab.make_in(tx, "inside").unwrap();
    lab.write(made, 0, b"x").unwrap();
    let plain = lab.make("outside").unwrap();
    lab.close(plain);
    assert_eq!(lab.names(Some(tx)), ["d", "f", "inside", "outside"]);
    assert_eq!(lab.names(None), ["d", "f", "outside"]);
    lab.close(made);
    lab.commit(tx).unwrap();
    assert_eq!(lab.names(None), ["d", "f", "inside", "outside"]);
}

/// txf-ktm §4.1: sizes in directory listings follow the view.
#[test]
fn a_directory_listing_shows_the_sizes_of_its_view() {
    let mut lab = lab();
    let tx = lab.begin();
    let twin = lab.open_in(tx, "f", WRITE).unwrap();
    lab.write(twin, 0, b"0123456789").unwrap();
    let size = |lab: &mut Lab, tx| {
        let request = CreateRequest { transaction: tx, ..CreateRequest::path(r"\").access(READ) };
        let root = lab.create(request).unwrap().open;
        let pattern = Wide::from("F*");
        lab.volume.directory(root, Some(&pattern.0)).unwrap()[0].size
    };
    assert_eq!(size(&mut lab, Some(tx)), 10);
    assert_eq!(size(&mut lab, None), 3);
}

#[test]
fn two_transactions_on_two_files_do_not_meet() {
    let mut lab = lab();
    let (one, two) = (lab.begin(), lab.begin());
    let first = lab.open_in(one, "f", WRITE).unwrap();
    let second = lab.open_in(two, r"d\g", WRITE).unwrap();
    lab.write(first, 0, b"one").unwrap();
    lab.write(second, 0, b"two").unwrap();
    assert_eq!(lab.open_in(one, r"d\g", READ).and_then(|open| lab.read(open)).unwrap(), b"inner");
    lab.commit(two).unwrap();
    lab.rollback(one).unwrap();
    assert_eq!(lab.contents("f").unwrap(), "old");
    assert_eq!(lab.contents(r"d\g").unwrap(), "twoer");
}

/// txf-ktm §4.10.
#[test]
fn an_in_place_change_keeps_the_file_id() {
    let mut lab = lab();
    let before = lab.volume.tree()["f"].id;
    let tx = lab.begin();
    let twin = lab.open_in(tx, "f", WRITE).unwrap();
    lab.write(twin, 0, b"new and longer").unwrap();
    assert_eq!(lab.volume.id(twin), Ok(before));
    lab.close(twin);
    lab.commit(tx).unwrap();
    assert_eq!((lab.volume.tree()["f"].id, lab.contents("f").unwrap().as_str()), (before, "new and longer"));
}

/// txf-ktm §4.9: FileAllocationInformation and FileEndOfFileInformation are transacted.
#[test]
fn allocation_is_transacted_like_the_end_of_the_file() {
    let mut lab = lab();
    let before = lab.volume.tree();
    let plain = lab.open("f", READ).unwrap();
    let tx = lab.begin();
    let twin = lab.open_in(tx, "f", WRITE).unwrap();
    lab.volume.set_allocation(twin, 0).unwrap();
    assert_eq!(lab.volume.standard(twin).unwrap().size, 0, "cut to its allocation");
    assert_eq!(lab.volume.standard(plain).unwrap().size, 3);
    let mut undone = lab.clone();
    undone.rollback(tx).unwrap();
    assert_eq!(undone.volume.tree(), before);
    lab.close(twin);
    lab.commit(tx).unwrap();
    assert_eq!(lab.contents("f").unwrap(), "");
}

//! The lab's volume: a [disk](Disk), [NTFS](Volume) with TxF, and [KTM](Ktm), as plain Rust models.
//!
//! No ABI, no unsafe code, no globals, no clocks, no output: the same calls and seeds give the same results.
//! The caller is the I/O manager. It turns requests into calls of [`Volume`], keeps handles and checks that a
//! handle has the right for an operation (the file system does not check again: `txf-ktm §9`), and carries
//! notifications between [`Ktm`], the volume and the filter manager.
//!
//! # An open, a transaction, a crash
//!
//! ```
//! use lab_volume::*;
//!
//! // 16 MiB, formatted, with one file on it.
//! let mut volume = Volume::mount(Base::formatted(4096, "C")).unwrap();
//! volume.put_file(r"Data\report.txt", b"old contents").unwrap();
//! let mut ktm = Ktm::new(1, volume.time());
//!
//! // A transacted writer.
//! let tx = ktm.create(CreateTransaction::default()).unwrap();
//! let request = CreateRequest::path(r"\Data\report.txt")
//!     .access(access::GENERIC_READ | access::GENERIC_WRITE)
//!     .share(Share::READ)
//!     .inside(tx);
//! let twin = volume.create(&mut ktm, request).unwrap().opened().unwrap();
//! volume.write(twin.open, WriteAt::Offset(0), b"NEW", Io::default()).unwrap();
//!
//! // The writer sees its own version, everybody else the committed one.
//! assert_eq!(volume.read(twin.open, 0, 100, Io::default()).unwrap(), b"NEW contents");
//! assert_eq!(volume.contents(r"Data\report.txt").unwrap(), b"old contents");
//!
//! // The power goes before the commit: whatever the disk kept, the old file is there.
//! let now = volume.disk.effect_count();
//! for seed in 0..20 {
//!     let after = Volume::mount(volume.disk.crash_after(now, seed)).unwrap();
//!     assert_eq!(after.contents(r"Data\report.txt").unwrap(), b"old contents");
//! }
//!
//! // Close and commit.
//! volume.cleanup(twin.open, 0).unwrap();
//! volume.close(twin.open).unwrap();
//! commit(&mut ktm, &mut volume, tx).unwrap();
//! assert_eq!(volume.contents(r"Data\report.txt").unwrap(), b"NEW contents");
//! ```
//!
//! # The three rooms
//!
//! **Disk** ([`Disk`], [`Base`], [`CrashStates`], [`Faults`]): the only crash points. A numbered stream of
//! effects over a shared base; [`Disk::crash_after`] builds one legal base by seed,
//! [`CrashStates::enumerate`] a bounded set of them; [`Disk::set_lying`] makes flushes worthless;
//! [`Faults`] plans power cuts and I/O errors; [`Base::save`] and [`Base::load`] keep images.
//!
//! **NTFS** ([`Volume`]): [`create`](Volume::create) with a [`CreateRequest`] gives an [`OpenId`] (a file
//! object's file-system half); then [`read`](Volume::read), [`write`](Volume::write),
//! [`query`](Volume::query) (one answer for all information classes), [`directory`](Volume::directory),
//! `set_*`, [`rename`](Volume::rename), [`link`](Volume::link), [`lock`](Volume::lock),
//! [`flush`](Volume::flush); at the end [`cleanup`](Volume::cleanup) (last handle) and
//! [`close`](Volume::close) (last reference). After a transaction's end only these two succeed on its opens.
//! [`Volume::tree`] and [`Volume::contents`] show the committed state to oracles, past opens and faults;
//! [`Volume::check`] is their chkdsk. Faults above the disk: [`Volume::set_free_space`],
//! [`Volume::fail_write`], [`Volume::abort_after_operations`], [`Volume::restart_resource_manager`].
//!
//! **KTM** ([`Ktm`]): transactions by [`TxId`]; handles are counted by the caller. [`commit`] and
//! [`rollback`] here drive one transaction on one volume to its end; with filters enlisted use
//! [`Ktm::commit`] and deliver what [`Ktm::next_delivery`] returns: to [`Volume::notify`] for
//! [`Participant::Volume`], to the filter for [`Participant::Other`], each answered with [`Ktm::answer`].
//!
//! What Windows does not document is a field of [`Switches`] or [`KtmSwitches`]. What is approximated says so
//! at its place: search for "Approximated" and "assumed".

mod disk;
mod ktm;
mod names;
mod ntfs;
mod status;
mod switches;

pub use disk::*;
pub use ktm::*;
pub use names::{Key, Wide, is_valid_component, matches, upcase};
pub use ntfs::*;
pub use status::Status;
pub use switches::{Switches, WritableView};

/// Commits a transaction in which only this volume (and silent participants) take part.
///
/// # Errors
/// Those of [`Ktm::commit`]; TRANSACTION_ALREADY_ABORTED if the volume could not prepare or commit;
/// PENDING if it waits (frozen KTM, writable view).
pub fn commit(ktm: &mut Ktm, volume: &mut Volume, transaction: TxId) -> Result<(), Status> {
    tell_aborts(ktm, volume);
    ktm.commit(transaction)?;
    settle(ktm, volume);
    match ktm.phase(transaction)? {
        Phase::Committed => Ok(()),
        Phase::Aborted | Phase::Aborting => Err(Status::TRANSACTION_ALREADY_ABORTED),
        _ => Err(Status::PENDING),
    }
}

/// Rolls a transaction back in which only this volume (and silent participants) take part.
///
/// # Errors
/// Those of [`Ktm::rollback`].
pub fn rollback(ktm: &mut Ktm, volume: &mut Volume, transaction: TxId) -> Result<(), Status> {
    tell_aborts(ktm, volume);
    let result = ktm.rollback(transaction);
    settle(ktm, volume);
    result
}

/// Delivers every queued notification to the volume; other participants complete at once. For use after
/// [`Ktm::advance_to`], [`Ktm::abort`], [`Ktm::last_handle_closed`] and [`Ktm::thaw`].
pub fn settle(ktm: &mut Ktm, volume: &mut Volume) {
    tell_aborts(ktm, volume);
    ktm.pump(|delivery| match delivery.participant {
        Participant::Volume(_) => volume.notify(delivery),
        Participant::Other(_) => Answer::Complete,
    });
}

fn tell_aborts(ktm: &mut Ktm, volume: &mut Volume) {
    for transaction in volume.take_aborted() {
        ktm.abort(transaction);
    }
}

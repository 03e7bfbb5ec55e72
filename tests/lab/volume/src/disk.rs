//! The disk: the only place where a crash can happen.
//!
//! A disk is a [`Base`] (what is durable) and an ordered, numbered stream of [`Effect`]s on top of it.
//! The fault model, after design section 4 *Crash model*, for a crash after effect N:
//!
//! - Everything up to the last [`Effect::Flush`] at or before N is durable, unless the disk
//!   [lies](Disk::set_lying) about flushes.
//! - Log records after it persist as a prefix, in order; one record is all or nothing.
//! - Sectors after it persist in any subset and in any version that was written; a sector may tear:
//!   part of it one version, part of it another.
//!
//! The stream counts one effect per contiguous piece of a write, at most [`MAX_WRITE`] bytes: the subset
//! rule already covers a crash between two sectors of one piece.

mod crash;
mod digest;
mod image;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::Status;
pub use crash::{Choice, CrashState, CrashStates, Fate, LogFate, SectorFate};
pub use digest::Digest;
pub use image::ImageError;

/// Bytes in a sector, the unit that persists or does not.
pub const SECTOR: usize = 512;
/// Bytes in a cluster, the unit of allocation.
pub const CLUSTER: usize = 4096;
/// Sectors in a cluster.
pub const SECTORS_PER_CLUSTER: u64 = (CLUSTER / SECTOR) as u64;
/// The most bytes that one write effect carries.
pub const MAX_WRITE: usize = 64 * 1024;

type Page = Arc<[u8]>;
type Pages = BTreeMap<u64, Page>;

/// What is durable: clusters (absent ones are zero) and the log. Cloning is cheap, contents are shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    clusters: u64,
    pages: Arc<Pages>,
    log: Arc<Vec<Arc<[u8]>>>,
    digest: Digest,
}

impl Base {
    /// An empty disk of that many 4 KiB clusters, with an empty log.
    pub fn blank(clusters: u64) -> Base {
        Base { clusters, pages: Arc::default(), log: Arc::default(), digest: Digest::default() }
    }

    /// Capacity in clusters.
    pub fn clusters(&self) -> u64 {
        self.clusters
    }

    /// The durable log records, oldest first.
    pub fn log(&self) -> &[Arc<[u8]>] {
        &self.log
    }

    /// Replaces the log, for a checkpoint of a volume at rest.
    pub(crate) fn set_log(&mut self, log: Vec<Arc<[u8]>>) {
        for (position, record) in self.log.iter().enumerate() {
            self.digest.remove_record(position, record);
        }
        for (position, record) in log.iter().enumerate() {
            self.digest.add_record(position, record);
        }
        self.log = Arc::new(log);
    }

    /// What the disk holds, as a number: equal contents have equal digests, and others in practice do not.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The bytes of one cluster; `None` if it was never written (all zero).
    pub fn cluster(&self, cluster: u64) -> Option<&[u8]> {
        self.pages.get(&cluster).map(|page| &page[..])
    }

    /// The bytes of one sector.
    pub fn sector(&self, sector: u64) -> [u8; SECTOR] {
        let mut bytes = [0; SECTOR];
        if let Some(page) = self.pages.get(&(sector / SECTORS_PER_CLUSTER)) {
            bytes.copy_from_slice(&page[in_page(sector)]);
        }
        bytes
    }

    fn write(&mut self, first: u64, bytes: &[u8]) {
        let pages = Arc::make_mut(&mut self.pages);
        let mut sector = first;
        let mut rest = bytes;
        while !rest.is_empty() {
            let at = in_page(sector).start;
            let count = rest.len().min(CLUSTER - at);
            let page = pages.entry(sector / SECTORS_PER_CLUSTER).or_insert_with(|| Arc::from([0; CLUSTER]));
            for (number, (old, new)) in
                (sector..).zip(page[at..].chunks(SECTOR).zip(rest[..count].chunks(SECTOR)))
            {
                self.digest.replace_sector(number, old, new);
            }
            if count == CLUSTER {
                *page = Arc::from(&rest[..count]);
            } else {
                Arc::make_mut(page)[at..at + count].copy_from_slice(&rest[..count]);
            }
            sector += (count / SECTOR) as u64;
            rest = &rest[count..];
        }
    }

    fn append(&mut self, record: &Arc<[u8]>) {
        self.digest.add_record(self.log.len(), record);
        Arc::make_mut(&mut self.log).push(record.clone());
    }

    fn apply(&mut self, effect: &Effect) {
        match effect {
            Effect::Write { first, bytes } => self.write(*first, bytes),
            Effect::Log(record) => self.append(record),
            Effect::Flush => {}
        }
    }
}

fn in_page(sector: u64) -> Range<usize> {
    let start = (sector % SECTORS_PER_CLUSTER) as usize * SECTOR;
    start..start + SECTOR
}

/// One numbered effect. Numbers start at 1: "a crash after effect 0" is a crash before the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A contiguous write of whole sectors.
    Write {
        /// The first sector.
        first: u64,
        /// The contents, a multiple of [`SECTOR`] bytes.
        bytes: Arc<[u8]>,
    },
    /// A record at the end of the log.
    Log(Arc<[u8]>),
    /// Everything before is durable.
    Flush,
}

/// How much of the effect stream is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recording {
    /// All of it: any crash point can be built afterwards.
    All,
    /// Only what follows the last flush, which bounds memory in long runs: only crashes at the present
    /// end of the stream can be built.
    SinceFlush,
}

/// Faults that a test plans for a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// The power goes after this many effects: later ones are refused with
    /// [`Status::DEVICE_POWER_FAILURE`], and so are reads.
    pub power_cut_after: Option<u64>,
    /// These effects fail once each with [`Status::IO_DEVICE_ERROR`]. A failed effect has no number of its
    /// own in the stream, so the list counts attempts, starting at 1.
    pub failing_effects: Vec<u64>,
    /// These cluster reads fail with [`Status::IO_DEVICE_ERROR`], counted from 1.
    pub failing_reads: Vec<u64>,
}

/// A running disk.
#[derive(Clone, Debug)]
pub struct Disk {
    /// What was durable before `effects`.
    base: Base,
    effects: Vec<Effect>,
    /// Effects dropped from the front of the stream.
    folded: u64,
    /// The base with every effect applied.
    now: Base,
    recording: Recording,
    lying: bool,
    attempts: u64,
    reads: u64,
    power_gone: bool,
    /// Effects after the last flush, lying or not.
    unflushed: u64,
    /// Planned faults.
    pub faults: Faults,
}

impl Disk {
    /// Powers up a disk with these durable contents.
    pub fn new(base: Base) -> Disk {
        Disk {
            now: base.clone(),
            base,
            effects: Vec::new(),
            folded: 0,
            recording: Recording::All,
            lying: false,
            attempts: 0,
            reads: 0,
            power_gone: false,
            unflushed: 0,
            faults: Faults::default(),
        }
    }

    /// Whether flushes have no effect on what a crash leaves (a drive that acknowledges a flush and keeps
    /// the data in its cache: `txf-ktm §4.6`, T19). Applies to the whole stream when a crash is built.
    pub fn set_lying(&mut self, lying: bool) {
        self.lying = lying;
    }

    /// Chooses how much of the stream to keep from now on.
    pub fn set_recording(&mut self, recording: Recording) {
        self.recording = recording;
    }

    /// Number of the last effect.
    pub fn effect_count(&self) -> u64 {
        self.folded + self.effects.len() as u64
    }

    /// Effects since the last flush.
    pub fn unflushed_count(&self) -> u64 {
        self.unflushed
    }

    /// The effects that are still kept, with the number of the first.
    pub fn effects(&self) -> (u64, &[Effect]) {
        (self.folded + 1, &self.effects)
    }

    /// Whether the planned power cut has happened.
    pub fn power_is_gone(&self) -> bool {
        self.power_gone
    }

    /// Cuts the power now.
    pub fn cut_power(&mut self) {
        self.power_gone = true;
    }

    /// Capacity in clusters.
    pub fn clusters(&self) -> u64 {
        self.now.clusters
    }

    /// Contents of a cluster as a running system sees them (caches included); `None` is all zero.
    ///
    /// # Errors
    /// A planned read fault, or the power is gone.
    pub fn read_cluster(&mut self, cluster: u64) -> Result<Option<Arc<[u8]>>, Status> {
        self.powered()?;
        self.reads += 1;
        if self.faults.failing_reads.contains(&self.reads) {
            return Err(Status::IO_DEVICE_ERROR);
        }
        Ok(self.now.pages.get(&cluster).cloned())
    }

    /// Contents of a cluster, past every fault: for oracles.
    pub fn peek_cluster(&self, cluster: u64) -> Option<&[u8]> {
        self.now.cluster(cluster)
    }

    /// Contents of a sector, past every fault.
    pub fn peek_sector(&self, sector: u64) -> [u8; SECTOR] {
        self.now.sector(sector)
    }

    /// Writes whole sectors.
    ///
    /// # Errors
    /// A planned fault; pieces before the failed one are written.
    pub fn write(&mut self, first: u64, bytes: &[u8]) -> Result<(), Status> {
        debug_assert!(bytes.len().is_multiple_of(SECTOR));
        let mut sector = first;
        for piece in bytes.chunks(MAX_WRITE) {
            self.push(Effect::Write { first: sector, bytes: piece.into() })?;
            sector += (piece.len() / SECTOR) as u64;
        }
        Ok(())
    }

    /// Appends a log record.
    ///
    /// # Errors
    /// A planned fault; the record is then not in the log.
    pub fn append(&mut self, record: Vec<u8>) -> Result<(), Status> {
        self.push(Effect::Log(record.into()))
    }

    /// Makes everything before durable.
    ///
    /// # Errors
    /// A planned fault; nothing is promised then.
    pub fn flush(&mut self) -> Result<(), Status> {
        self.push(Effect::Flush)
    }

    fn push(&mut self, effect: Effect) -> Result<(), Status> {
        self.powered()?;
        if self.faults.power_cut_after.is_some_and(|limit| self.effect_count() >= limit) {
            self.power_gone = true;
            return Err(Status::DEVICE_POWER_FAILURE);
        }
        self.attempts += 1;
        if self.faults.failing_effects.contains(&self.attempts) {
            return Err(Status::IO_DEVICE_ERROR);
        }
        self.now.apply(&effect);
        self.unflushed = if effect == Effect::Flush { 0 } else { self.unflushed + 1 };
        self.effects.push(effect);
        if self.unflushed == 0 && self.recording == Recording::SinceFlush && !self.lying {
            self.base = self.now.clone();
            self.folded += self.effects.len() as u64;
            self.effects.clear();
        }
        Ok(())
    }

    fn powered(&self) -> Result<(), Status> {
        if self.power_gone { Err(Status::DEVICE_POWER_FAILURE) } else { Ok(()) }
    }

    /// Everything written so far, as after an orderly power-down.
    pub fn orderly(&self) -> Base {
        self.now.clone()
    }
}

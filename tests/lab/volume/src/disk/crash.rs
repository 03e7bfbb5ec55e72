//! What a crash may leave: bases that the fault model of [`disk`](super) allows.

use std::collections::BTreeMap;
use std::sync::Arc;

use oorandom::Rand64;

use super::{Base, Digest, Disk, Effect, SECTOR};

/// What became of the log records after the last flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFate {
    /// None persisted.
    None,
    /// The first so many persisted.
    Prefix(usize),
    /// All persisted.
    All,
}

/// What became of the sectors written after the last flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SectorFate {
    /// None persisted.
    None,
    /// All persisted, in their last version.
    All,
    /// Each sector for itself, by this seed: any version of it, or torn between two.
    Seeded(u64),
}

/// A choice of what a crash leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    /// The log.
    pub log: LogFate,
    /// The sectors.
    pub sectors: SectorFate,
}

impl Fate {
    /// Everything from one seed.
    pub fn seeded(seed: u64) -> Fate {
        let mut random = Rand64::new(u128::from(seed));
        let log = match random.rand_range(0..4) {
            0 => LogFate::None,
            1 => LogFate::All,
            _ => LogFate::Prefix(random.rand_u64() as usize),
        };
        let sectors = match random.rand_range(0..6) {
            0 => SectorFate::None,
            1 => SectorFate::All,
            _ => SectorFate::Seeded(random.rand_u64()),
        };
        Fate { log, sectors }
    }
}

/// What became of one sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Choice {
    /// A version: 0 is the durable one, then those written after the last flush, oldest first.
    Version(usize),
    /// Torn: the bytes before `at` are of the first version, the others of the second.
    Torn {
        /// Version of the front.
        front: usize,
        /// Version of the back.
        back: usize,
        /// Where the back begins.
        at: usize,
    },
}

/// One legal state, written out: how many log records persisted, and each sector that is not at its durable version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CrashState {
    /// The length of the prefix of unflushed log records.
    pub log: usize,
    /// Sectors that are not in [`Choice::Version`] 0.
    pub sectors: BTreeMap<u64, Choice>,
}

/// The unflushed tail of a stream, from which any legal base can be built.
#[derive(Clone, Debug)]
pub struct CrashStates {
    durable: Base,
    log: Vec<Arc<[u8]>>,
    /// Versions of each sector, oldest first, the durable one excluded.
    sectors: BTreeMap<u64, Vec<[u8; SECTOR]>>,
}

impl CrashStates {
    /// Number of unflushed log records: the number of prefixes less one.
    pub fn log_records(&self) -> usize {
        self.log.len()
    }

    /// Number of sectors written since the last flush.
    pub fn sectors(&self) -> usize {
        self.sectors.len()
    }

    /// Builds one base.
    pub fn base(&self, fate: Fate) -> Base {
        let mut base = self.durable.clone();
        let records = match fate.log {
            LogFate::None => 0,
            LogFate::Prefix(count) => count % (self.log.len() + 1),
            LogFate::All => self.log.len(),
        };
        for record in &self.log[..records] {
            base.append(record);
        }
        match fate.sectors {
            SectorFate::None => {}
            SectorFate::All => {
                for (&sector, versions) in &self.sectors {
                    base.write(sector, versions.last().expect("a written sector has a version"));
                }
            }
            SectorFate::Seeded(seed) => {
                let mut random = Rand64::new(u128::from(seed));
                for (&sector, versions) in &self.sectors {
                    let before = base.sector(sector);
                    let bytes = survivor(&mut random, before, versions);
                    base.write(sector, &bytes);
                }
            }
        }
        base
    }

    /// The sectors written since the last flush, with the number of versions of each, the durable one included.
    pub fn versions(&self) -> impl Iterator<Item = (u64, usize)> + '_ {
        self.sectors.iter().map(|(&sector, versions)| (sector, versions.len() + 1))
    }

    fn contents(&self, sector: u64, choice: Choice) -> [u8; SECTOR] {
        let version = |index: usize| match index.checked_sub(1) {
            None => self.durable.sector(sector),
            Some(index) => self.sectors[&sector][index],
        };
        match choice {
            Choice::Version(index) => version(index),
            Choice::Torn { front, back, at } => {
                let mut bytes = version(front);
                bytes[at..].copy_from_slice(&version(back)[at..]);
                bytes
            }
        }
    }

    /// The digest of a state's disk, without building it.
    ///
    /// # Panics
    /// If the state is none of these.
    pub fn digest(&self, state: &CrashState) -> Digest {
        let mut digest = self.durable.digest();
        for (position, record) in (self.durable.log().len()..).zip(&self.log[..state.log]) {
            digest.add_record(position, record);
        }
        for (&sector, &choice) in &state.sectors {
            digest.replace_sector(
                sector,
                &self.contents(sector, Choice::Version(0)),
                &self.contents(sector, choice),
            );
        }
        digest
    }

    /// Builds the disk of a state.
    ///
    /// # Panics
    /// If the state is none of these.
    pub fn build(&self, state: &CrashState) -> Base {
        let mut base = self.durable.clone();
        self.log[..state.log].iter().for_each(|record| base.append(record));
        for (&sector, &choice) in &state.sectors {
            base.write(sector, &self.contents(sector, choice));
        }
        base
    }

    /// A state chosen by a seed: any log prefix; each sector in any version, or torn between two.
    pub fn sample(&self, seed: u64) -> CrashState {
        let mut random = Rand64::new(u128::from(seed));
        let log = random.rand_range(0..self.log.len() as u64 + 1) as usize;
        let mut sectors = BTreeMap::new();
        for (sector, versions) in self.versions() {
            let mut pick = || random.rand_range(0..versions as u64) as usize;
            let (front, back) = (pick(), pick());
            let choice = if front != back && random.rand_range(0..4) == 0 {
                Choice::Torn { front, back, at: random.rand_range(1..SECTOR as u64) as usize }
            } else {
                Choice::Version(front)
            };
            if choice != Choice::Version(0) {
                sectors.insert(sector, choice);
            }
        }
        CrashState { log, sectors }
    }

    /// A bounded enumeration: every log prefix (at most `prefixes` of them, the ends included) with no
    /// sectors, with all sectors, and with `seeds` seeded choices.
    pub fn enumerate(&self, prefixes: usize, seeds: u64) -> impl Iterator<Item = Base> + '_ {
        let count = self.log.len() + 1;
        let step = count.div_ceil(prefixes.max(1)).max(1);
        let mut lengths: Vec<usize> = (0..count).step_by(step).collect();
        if !lengths.contains(&self.log.len()) {
            lengths.push(self.log.len());
        }
        lengths.into_iter().flat_map(move |length| {
            let fixed = [SectorFate::None, SectorFate::All].into_iter();
            let seeded = (0..seeds).map(SectorFate::Seeded);
            fixed.chain(seeded).map(move |sectors| self.base(Fate { log: LogFate::Prefix(length), sectors }))
        })
    }
}

/// One legal outcome for a sector: the durable version, any later one, or a tear between two of them.
fn survivor(random: &mut Rand64, before: [u8; SECTOR], versions: &[[u8; SECTOR]]) -> [u8; SECTOR] {
    let mut pick = || match random.rand_range(0..versions.len() as u64 + 1) {
        0 => before,
        index => versions[index as usize - 1],
    };
    let (mut bytes, other) = (pick(), pick());
    if random.rand_range(0..4) == 0 {
        let at = random.rand_range(1..SECTOR as u64) as usize;
        bytes[at..].copy_from_slice(&other[at..]);
    }
    bytes
}

impl Disk {
    /// What a crash after effect `number` may leave. A number past the end means now.
    ///
    /// # Panics
    /// If the stream before `number` is no longer kept ([`Recording::SinceFlush`](super::Recording)).
    pub fn crash_states(&self, number: u64) -> CrashStates {
        assert!(number >= self.folded, "effects up to {} are folded into the base", self.folded);
        let kept = usize::try_from(number - self.folded).unwrap_or(usize::MAX).min(self.effects.len());
        let effects = &self.effects[..kept];
        let flushed = if self.lying {
            0
        } else {
            effects.iter().rposition(|effect| *effect == Effect::Flush).map_or(0, |index| index + 1)
        };
        let mut durable = self.base.clone();
        effects[..flushed].iter().for_each(|effect| durable.apply(effect));
        let mut states = CrashStates { durable, log: Vec::new(), sectors: BTreeMap::new() };
        for effect in &effects[flushed..] {
            match effect {
                Effect::Write { first, bytes } => {
                    for (sector, bytes) in (*first..).zip(bytes.chunks_exact(SECTOR)) {
                        let bytes = bytes.try_into().expect("chunks are whole sectors");
                        states.sectors.entry(sector).or_default().push(bytes);
                    }
                }
                Effect::Log(record) => states.log.push(record.clone()),
                Effect::Flush => {}
            }
        }
        states
    }

    /// One legal base for a crash after effect `number`, chosen by `seed`.
    pub fn crash_after(&self, number: u64, seed: u64) -> Base {
        self.crash_states(number).base(Fate::seeded(seed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Status;

    fn written(sectors: &[(u64, u8)]) -> Disk {
        let mut disk = Disk::new(Base::blank(16));
        for &(sector, byte) in sectors {
            disk.write(sector, &[byte; SECTOR]).unwrap();
        }
        disk
    }

    #[test]
    fn what_was_flushed_survives_every_crash() {
        let mut disk = written(&[(1, 7)]);
        disk.append(vec![9]).unwrap();
        disk.flush().unwrap();
        disk.write(1, &[8; SECTOR]).unwrap();
        for seed in 0..50 {
            let base = disk.crash_after(3, seed);
            assert_eq!(base.sector(1), [7; SECTOR]);
            assert_eq!(base.log().len(), 1);
        }
    }

    #[test]
    fn unflushed_sectors_persist_in_any_subset_and_may_tear() {
        let disk = written(&[(1, 7), (2, 7)]);
        let mut seen = std::collections::BTreeSet::new();
        let mut torn = false;
        for seed in 0..200 {
            let base = disk.crash_after(2, seed);
            let (one, two) = (base.sector(1), base.sector(2));
            torn |= one[0] != one[SECTOR - 1];
            seen.insert((one[0], two[0]));
        }
        assert_eq!(seen.len(), 4, "neither, one, the other, both");
        assert!(torn);
    }

    #[test]
    fn a_state_that_is_written_out_has_the_digest_of_the_disk_that_it_builds() {
        let mut disk = written(&[(1, 7), (2, 7), (1, 8)]);
        disk.append(vec![9]).unwrap();
        let states = disk.crash_states(4);
        assert_eq!(states.versions().collect::<Vec<_>>(), [(1, 3), (2, 2)]);
        let torn = CrashState {
            log: 1,
            sectors: BTreeMap::from([(1, Choice::Torn { front: 0, back: 2, at: 100 })]),
        };
        let base = states.build(&torn);
        assert_eq!((base.sector(1)[99], base.sector(1)[100], base.sector(2)[0]), (0, 8, 0));
        assert_eq!(base.log().len(), 1);
        for state in (0..50).map(|seed| states.sample(seed)).chain([torn]) {
            assert_eq!(states.digest(&state), states.build(&state).digest());
        }
    }

    #[test]
    fn unflushed_log_records_persist_as_a_prefix() {
        let mut disk = Disk::new(Base::blank(1));
        for record in 0..5u8 {
            disk.append(vec![record]).unwrap();
        }
        let mut lengths = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let base = disk.crash_after(5, seed);
            for (index, record) in base.log().iter().enumerate() {
                assert_eq!(record[..], [index as u8]);
            }
            lengths.insert(base.log().len());
        }
        assert_eq!(lengths.len(), 6);
    }

    #[test]
    fn a_lying_disk_may_lose_what_was_flushed() {
        let mut disk = written(&[(1, 7)]);
        disk.flush().unwrap();
        disk.set_lying(true);
        assert!((0..50).any(|seed| disk.crash_after(2, seed).sector(1) == [0; SECTOR]));
    }

    #[test]
    fn a_power_cut_drops_every_later_effect() {
        let mut disk = written(&[(1, 7)]);
        disk.faults.power_cut_after = Some(2);
        disk.write(2, &[7; SECTOR]).unwrap();
        assert_eq!(disk.write(3, &[7; SECTOR]), Err(Status::DEVICE_POWER_FAILURE));
        assert_eq!(disk.read_cluster(0), Err(Status::DEVICE_POWER_FAILURE));
        assert!(disk.power_is_gone());
        assert_eq!(disk.effect_count(), 2);
    }

    #[test]
    fn a_planned_fault_fails_one_effect() {
        let mut disk = Disk::new(Base::blank(1));
        disk.faults.failing_effects = vec![2];
        disk.append(vec![1]).unwrap();
        assert_eq!(disk.append(vec![2]), Err(Status::IO_DEVICE_ERROR));
        disk.append(vec![3]).unwrap();
        assert_eq!(disk.orderly().log().len(), 2);
    }

    #[test]
    fn recording_since_the_last_flush_keeps_the_numbers() {
        let mut disk = written(&[(1, 7)]);
        disk.set_recording(super::super::Recording::SinceFlush);
        disk.flush().unwrap();
        disk.write(1, &[8; SECTOR]).unwrap();
        assert_eq!(disk.effect_count(), 3);
        assert_eq!(disk.effects().0, 3);
        let states = disk.crash_states(3);
        assert_eq!(states.sectors(), 1);
        assert_eq!(states.base(Fate { log: LogFate::All, sectors: SectorFate::None }).sector(1), [7; SECTOR]);
    }
}

//! Which of the legal states of a crash are looked at: all of them where there are few, the corners of the space where
//! there are many, and a seeded sample beyond.

use std::collections::BTreeMap;

use lab_volume::{Choice, CrashState, CrashStates, SECTOR};
use serde::{Deserialize, Serialize};

/// Where enumeration is exhaustive, and how much is sampled beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Every combination of versions of the sectors, if there are no more combinations than this.
    pub combinations: usize,
    /// Where sectors tear, each in turn; evenly spread over the sector.
    pub tears: usize,
    /// Seeded states for each crash point, besides.
    pub samples: u64,
}

impl Bounds {
    /// For the ordinary tests.
    pub const SLICE: Bounds = Bounds { combinations: 16, tears: 1, samples: 2 };
    /// For a full run.
    pub const FULL: Bounds = Bounds { combinations: 64, tears: 2, samples: 6 };
}

type Sectors = BTreeMap<u64, Choice>;

/// The states of one crash point. Each log prefix with:
/// - every combination of sector versions, if there are few;
/// - otherwise no sector, all sectors, each sector alone, all but each, and the sectors in the order of the disk up to
///   each and from each on;
/// - each sector torn between its oldest and its newest version, both ways round, the others all there or not there;
///
/// and the seeded sample.
pub fn of(states: &CrashStates, bounds: Bounds, seed: u64) -> Vec<CrashState> {
    let versions: Vec<(u64, usize)> = states.versions().collect();
    let combinations = versions.iter().try_fold(1_usize, |all, (_, count)| all.checked_mul(*count));
    let mut sets = match combinations.filter(|count| *count <= bounds.combinations) {
        Some(count) => (0..count).map(|number| combination(&versions, number)).collect(),
        None => corners(&versions),
    };
    torn(&versions, bounds.tears, &mut sets);
    let mut all = Vec::with_capacity(sets.len() * (states.log_records() + 1));
    for log in 0..=states.log_records() {
        all.extend(sets.iter().map(|sectors| CrashState { log, sectors: sectors.clone() }));
    }
    all.extend(
        (0..bounds.samples).map(|sample| states.sample(seed.wrapping_mul(0x9E37_79B9).wrapping_add(sample))),
    );
    all
}

fn combination(versions: &[(u64, usize)], mut number: usize) -> Sectors {
    let mut sectors = Sectors::new();
    for &(sector, count) in versions {
        if !number.is_multiple_of(count) {
            sectors.insert(sector, Choice::Version(number % count));
        }
        number /= count;
    }
    sectors
}

fn corners(versions: &[(u64, usize)]) -> Vec<Sectors> {
    let pick = |wanted: &dyn Fn(usize) -> bool| -> Sectors {
        let chosen = versions.iter().enumerate().filter(|(index, _)| wanted(*index));
        chosen.map(|(_, &(sector, count))| (sector, Choice::Version(count - 1))).collect()
    };
    let mut sets = vec![Sectors::new(), pick(&|_| true)];
    for (at, &(sector, count)) in versions.iter().enumerate() {
        sets.push(pick(&|index| index == at));
        sets.push(pick(&|index| index != at));
        sets.push(pick(&|index| index < at));
        sets.push(pick(&|index| index > at));
        // Versions between the oldest and the newest.
        for version in 1..count - 1 {
            for others in [false, true] {
                let mut set = pick(&|index| others && index != at);
                set.insert(sector, Choice::Version(version));
                sets.push(set);
            }
        }
    }
    sets
}

fn torn(versions: &[(u64, usize)], tears: usize, sets: &mut Vec<Sectors>) {
    for (index, &(sector, count)) in versions.iter().enumerate() {
        for tear in 1..=tears {
            let at = tear * SECTOR / (tears + 1);
            for (front, back) in [(0, count - 1), (count - 1, 0)] {
                for others in [false, true] {
                    let rest = versions.iter().enumerate().filter(|(other, _)| others && *other != index);
                    let mut set: Sectors =
                        rest.map(|(_, &(sector, count))| (sector, Choice::Version(count - 1))).collect();
                    set.insert(sector, Choice::Torn { front, back, at });
                    sets.push(set);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use lab_volume::{Base, Disk};

    use super::*;

    fn disk(sectors: &[u64]) -> Disk {
        let mut disk = Disk::new(Base::blank(64));
        for &sector in sectors {
            disk.write(sector, &[sector as u8 + 1; SECTOR]).unwrap();
        }
        disk
    }

    fn digests(disk: &Disk, bounds: Bounds) -> BTreeSet<lab_volume::Digest> {
        let states = disk.crash_states(u64::MAX);
        of(&states, bounds, 7).iter().map(|state| states.digest(state)).collect()
    }

    #[test]
    fn few_sectors_persist_in_every_subset() {
        let bounds = Bounds { combinations: 16, tears: 0, samples: 0 };
        assert_eq!(digests(&disk(&[1, 2, 3, 4]), bounds).len(), 16);
    }

    #[test]
    fn of_many_sectors_each_is_missing_and_each_is_alone() {
        let bounds = Bounds { combinations: 16, tears: 0, samples: 0 };
        let found = digests(&disk(&[1, 2, 3, 4, 5, 6]), bounds);
        // None, all, 6 alone, 6 missing, and of the runs from either end those that are none of these: 2 × 3.
        assert_eq!(found.len(), 20);
    }

    #[test]
    fn log_prefixes_and_tears_come_with_every_choice() {
        let mut disk = disk(&[1]);
        disk.append(vec![1]).unwrap();
        disk.append(vec![2]).unwrap();
        let bounds = Bounds { combinations: 16, tears: 2, samples: 0 };
        // The sector old, new, or torn at two places both ways; three lengths of the log.
        assert_eq!(digests(&disk, bounds).len(), 6 * 3);
    }

    #[test]
    fn samples_depend_on_the_seed() {
        let states = disk(&[1, 2, 3, 4, 5, 6, 7, 8]).crash_states(u64::MAX);
        let bounds = Bounds { combinations: 0, tears: 0, samples: 4 };
        assert_ne!(of(&states, bounds, 1), of(&states, bounds, 2));
        assert_eq!(of(&states, bounds, 1), of(&states, bounds, 1));
    }
}

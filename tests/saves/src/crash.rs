//! Power cuts: what a disk may hold after one.

use lab::Lab;
use lab_volume::{Base, Fate};

/// One state that a power cut may leave.
pub struct Cut {
    /// After how many disk effects.
    pub after: u64,
    /// Which of the legal states.
    pub seed: u64,
    /// The disk.
    pub base: Base,
}

/// For each point between two disk effects from `from` on, this many of the states that the crash model allows.
pub fn cuts(lab: &Lab, from: u64, seeds: u64) -> Vec<Cut> {
    let disk = lab.with_volume(|volume| volume.disk.clone());
    let mut cuts = Vec::new();
    for after in from..=disk.effect_count() {
        let states = disk.crash_states(after);
        // The two ends, nothing and everything of what was not flushed, and seeded states between them.
        for seed in 0..seeds {
            let fate = match seed {
                0 => Fate { log: lab_volume::LogFate::None, sectors: lab_volume::SectorFate::All },
                1 => Fate { log: lab_volume::LogFate::All, sectors: lab_volume::SectorFate::None },
                _ => Fate::seeded(after.wrapping_mul(1009).wrapping_add(seed)),
            };
            cuts.push(Cut { after, seed, base: states.base(fate) });
        }
    }
    cuts
}

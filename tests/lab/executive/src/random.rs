//! The lab's only source of chance: a seeded generator (SplitMix64, public domain algorithm by Steele, Lea and Flood).

use std::cell::Cell;

/// Seeded choices; the same seed makes the same ones.
#[derive(Debug)]
pub struct Random(Cell<u64>);

impl Random {
    /// A generator for `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    /// The next 64 bits.
    pub fn next(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.0.set(state);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 if `bound` is 0.
    pub fn below(&self, bound: usize) -> usize {
        if bound == 0 { 0 } else { (self.next() % bound as u64) as usize }
    }

    /// True in `per_mille` of 1000 cases.
    pub fn chance(&self, per_mille: u32) -> bool {
        per_mille > 0 && self.next() % 1000 < u64::from(per_mille)
    }
}

/// Mixes `value` into a running hash (FNV-1a over its bytes).
pub(crate) fn mix(hash: u64, value: u64) -> u64 {
    value.to_le_bytes().iter().fold(hash, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01B3))
}

/// The hash to begin with.
pub(crate) const HASH_START: u64 = 0xCBF2_9CE4_8422_2325;

//! Digests that say whether something is what it was (FNV-1a, 64 bits). They keep no secrets.

/// Of nothing.
pub const START: u64 = 0xCBF2_9CE4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01B3;

/// With these units behind.
pub fn units(digest: u64, units: &[u16]) -> u64 {
    units.iter().fold(digest, |digest, &unit| (digest ^ u64::from(unit)).wrapping_mul(PRIME))
}

/// With these bytes and their number behind.
pub fn bytes(digest: u64, bytes: &[u8]) -> u64 {
    let digest = (digest ^ bytes.len() as u64).wrapping_mul(PRIME);
    bytes.iter().fold(digest, |digest, &byte| (digest ^ u64::from(byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_byte_and_boundary_counts() {
        let digests = [
            START,
            units(START, &[1]),
            units(START, &[1, 2]),
            units(START, &[2, 1]),
            bytes(START, &[]),
            bytes(START, &[1]),
            bytes(START, &[1, 0]),
            bytes(bytes(START, &[1]), &[2]),
            bytes(START, &[1, 2]),
        ];
        for (index, digest) in digests.iter().enumerate() {
            assert!(!digests[index + 1..].contains(digest), "{index}");
        }
    }
}

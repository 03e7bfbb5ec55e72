//! What a disk holds, as one number that every write keeps up to date.

/// A sum over the sectors that are not all zero and the log records, each hashed with its place. Adding and taking
/// away cost one hash each, so a crash state's digest is known without building the state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(u128);

impl Digest {
    /// The contents of a sector changed. Zeros are nothing: a cluster that was never written equals one of zeros.
    pub(super) fn replace_sector(&mut self, sector: u64, old: &[u8], new: &[u8]) {
        self.0 = self.0.wrapping_sub(of_sector(sector, old)).wrapping_add(of_sector(sector, new));
    }

    pub(super) fn add_record(&mut self, position: usize, record: &[u8]) {
        self.0 = self.0.wrapping_add(of_record(position, record));
    }

    pub(super) fn remove_record(&mut self, position: usize, record: &[u8]) {
        self.0 = self.0.wrapping_sub(of_record(position, record));
    }
}

fn of_sector(sector: u64, bytes: &[u8]) -> u128 {
    if bytes.iter().all(|byte| *byte == 0) { 0 } else { hash(sector, bytes) }
}

fn of_record(position: usize, record: &[u8]) -> u128 {
    // Positions count from the other end of the numbers, where no disk has a sector.
    hash(!(position as u64), record)
}

/// Two multiply-and-shift lanes over 8 bytes at a time: fast, and good enough to tell states apart, which nobody
/// makes up to collide.
fn hash(seed: u64, bytes: &[u8]) -> u128 {
    let mut low = seed ^ 0x9E37_79B9_7F4A_7C15;
    let mut high = seed.rotate_left(32) ^ 0xC2B2_AE3D_27D4_EB4F;
    let mut take = |word: u64| {
        low = (low ^ word).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        low ^= low >> 29;
        high = (high.rotate_left(23) ^ word).wrapping_mul(0x94D0_49BB_1331_11EB);
        high ^= high >> 31;
    };
    let (words, rest) = bytes.as_chunks::<8>();
    words.iter().for_each(|word| take(u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    take(u64::from_le_bytes(last));
    take(bytes.len() as u64);
    u128::from(high) << 64 | u128::from(low)
}

#[cfg(test)]
mod tests {
    use super::super::{Base, SECTOR};

    #[test]
    fn a_digest_depends_on_what_is_there_and_not_on_how_it_came_there() {
        let mut one = Base::blank(4);
        one.write(1, &[7; SECTOR]);
        one.write(2, &[8; SECTOR]);
        let mut two = Base::blank(4);
        two.write(2, &[9; SECTOR]);
        two.write(1, &[[7; SECTOR], [8; SECTOR]].concat());
        assert_eq!(one.digest(), two.digest());
        two.write(3, &[0; SECTOR]);
        assert_eq!(one.digest(), two.digest(), "zeros are nothing");
        two.write(3, &[1; SECTOR]);
        assert_ne!(one.digest(), two.digest());
    }

    #[test]
    fn a_digest_knows_the_place_of_a_sector_and_of_a_record() {
        let mut one = Base::blank(4);
        one.write(1, &[7; SECTOR]);
        let mut two = Base::blank(4);
        two.write(2, &[7; SECTOR]);
        assert_ne!(one.digest(), two.digest());
        let (a, b): (std::sync::Arc<[u8]>, std::sync::Arc<[u8]>) = ([1].into(), [2].into());
        let (mut forth, mut back) = (Base::blank(4), Base::blank(4));
        forth.append(&a);
        forth.append(&b);
        back.append(&b);
        back.append(&a);
        assert_ne!(forth.digest(), back.digest());
        back.set_log(vec![a, b]);
        assert_eq!(forth.digest(), back.digest());
    }

    #[test]
    fn an_image_has_the_digest_of_what_it_was_made_from() {
        let mut base = Base::blank(9);
        base.write(3, &[5; SECTOR]);
        base.append(&[1, 2, 3].into());
        assert_eq!(Base::from_image(&base.to_image()).unwrap().digest(), base.digest());
    }
}

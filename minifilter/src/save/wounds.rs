//! Wounds: what the program asked for and did not get.
//!
//! A write that fails (disk full, I/O error) leaves a wound on its byte range; a later successful write over the
//! range heals it, because then the file holds what the program asked for last. A save with an open wound is
//! rolled back (design: a save commits only if every byte range and every metadata change succeeded).
//!
//! Cutting the file heals a wound only if it takes away all that the failed write was to put there. A program that meets
//! a full disk, writes what still fits and cuts the file behind that, has not written what it set out to: Python's
//! buffered files do so when they are closed.
//!
//! The set has a fixed capacity and errs on one side only: when it is full, neighbouring wounds are merged into
//! one that covers both, so that a wound may be reported too large but never be forgotten.

use arrayvec::ArrayVec;

/// How many separate byte ranges are remembered before neighbours are merged.
const RANGES: usize = 8;

/// A non-empty range of bytes: first byte, and the byte after the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    start: u64,
    end: u64,
}

impl Range {
    /// The range of `length` bytes from `start`; `None` if it is empty. A range that would pass the largest
    /// offset ends there.
    pub fn new(start: u64, length: u64) -> Option<Self> {
        let end = start.saturating_add(length);
        (start < end).then_some(Self { start, end })
    }

    /// Everything from `start` on.
    pub fn from(start: u64) -> Self {
        Self { start: start.min(u64::MAX.saturating_sub(1)), end: u64::MAX }
    }

    /// Its bytes.
    pub fn length(self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    fn touches(self, other: Self) -> bool {
        self.start <= other.end && other.start <= self.end
    }

    fn cover(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    fn without(self, healed: Self) -> (Option<Self>, Option<Self>) {
        let before = (self.start < healed.start)
            .then_some(Self { start: self.start, end: self.end.min(healed.start) });
        let after =
            (healed.end < self.end).then_some(Self { start: self.start.max(healed.end), end: self.end });
        (before, after)
    }
}

/// What is left of a failed write.
#[derive(Clone, Copy, Debug)]
struct Wound {
    /// Where the write was to begin.
    origin: u64,
    open: Range,
}

impl Wound {
    fn cover(self, other: Self) -> Self {
        Self { origin: self.origin.min(other.origin), open: self.open.cover(other.open) }
    }
}

/// A kind of metadata change; a failed one is healed by the next successful one of the same kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Change {
    /// End of file, or valid data length.
    Size = 0,
    /// Allocation size.
    Allocation = 1,
    /// Times and attributes.
    Basic = 2,
    /// Extended attributes.
    ExtendedAttributes = 3,
    /// Security descriptor.
    Security = 4,
    /// Anything else that a file-system control changes.
    Control = 5,
    /// Names: rename and hard link.
    Name = 6,
    /// Deletion asked for, or taken back.
    Deletion = 7,
}

impl Change {
    fn bit(self) -> u8 {
        1_u8.wrapping_shl(u32::from(self as u8))
    }
}

/// The open wounds of one file of a save.
#[derive(Clone, Debug, Default)]
pub struct Wounds {
    ranges: ArrayVec<Wound, RANGES>,
    changes: u8,
}

impl Wounds {
    /// No wound yet.
    pub const fn new() -> Self {
        Self { ranges: ArrayVec::new_const(), changes: 0 }
    }

    /// Whether everything that was asked for has been done.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty() && self.changes == 0
    }

    /// A write over `range` failed.
    pub fn wound(&mut self, range: Range) {
        self.add(Wound { origin: range.start, open: range });
    }

    fn add(&mut self, new: Wound) {
        let mut wound = new;
        self.ranges.retain(|other| {
            let merged = wound.open.touches(other.open);
            if merged {
                wound = wound.cover(*other);
            }
            !merged
        });
        if let Err(full) = self.ranges.try_push(wound) {
            self.merge_into_nearest(full.element());
        }
    }

    /// A write over `range` succeeded.
    pub fn heal(&mut self, range: Range) {
        let mut left = Self::new();
        for wound in &self.ranges {
            let (before, after) = wound.open.without(range);
            match (before, after) {
                // Healing the middle makes two wounds of one; where there is no room the whole stays open.
                (Some(_), Some(_)) if left.ranges.remaining_capacity() < 2 => left.add(*wound),
                _ => before.into_iter().chain(after).for_each(|open| left.add(Wound { open, ..*wound })),
            }
        }
        self.ranges = left.ranges;
    }

    /// The file was successfully cut (or grown) to `size`: what was to begin there or later is no longer asked for.
    pub fn resize(&mut self, size: u64) {
        self.ranges.retain(|wound| wound.origin < size);
        self.heal_change(Change::Size);
    }

    /// A metadata change failed.
    pub fn wound_change(&mut self, change: Change) {
        self.changes |= change.bit();
    }

    /// A metadata change succeeded.
    pub fn heal_change(&mut self, change: Change) {
        self.changes &= !change.bit();
    }

    fn merge_into_nearest(&mut self, wound: Wound) {
        // On the side where it is not, nothing.
        let gap = |other: &Wound| {
            let (before, after) = (
                wound.open.start.saturating_sub(other.open.end),
                other.open.start.saturating_sub(wound.open.end),
            );
            before.max(after)
        };
        if let Some(nearest) = self.ranges.iter_mut().min_by_key(|other| gap(other)) {
            *nearest = nearest.cover(wound);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, length: u64) -> Range {
        Range::new(start, length).unwrap()
    }

    #[test]
    fn a_new_save_has_no_wound() {
        assert!(Wounds::new().is_empty());
    }

    #[test]
    fn a_write_over_the_whole_wound_heals_it() {
        let mut wounds = Wounds::new();
        wounds.wound(range(100, 50));
        wounds.heal(range(90, 80));
        assert!(wounds.is_empty());
    }

    #[test]
    fn a_write_over_part_of_the_wound_leaves_the_rest_open() {
        for partial in [range(100, 49), range(101, 49), range(120, 10), range(0, 100), range(150, 10)] {
            let mut wounds = Wounds::new();
            wounds.wound(range(100, 50));
            wounds.heal(partial);
            assert!(!wounds.is_empty(), "{partial:?}");
        }
    }

    #[test]
    fn two_writes_that_cover_the_wound_together_heal_it() {
        let mut wounds = Wounds::new();
        wounds.wound(range(100, 50));
        wounds.heal(range(100, 20));
        wounds.heal(range(120, 30));
        assert!(wounds.is_empty());
    }

    #[test]
    fn cutting_the_file_below_a_wound_heals_it() {
        let mut wounds = Wounds::new();
        wounds.wound(range(100, 50));
        wounds.resize(120);
        assert!(!wounds.is_empty());
        wounds.resize(100);
        assert!(wounds.is_empty());
    }

    #[test]
    fn writing_what_still_fits_and_cutting_behind_it_heals_nothing() {
        let mut wounds = Wounds::new();
        wounds.wound(range(4096, 8192));
        wounds.heal(range(4096, 129));
        wounds.resize(4096 + 129);
        assert!(!wounds.is_empty());
        wounds.resize(0);
        assert!(wounds.is_empty(), "starting over heals");
    }

    /// Wounds far from each other and from those of a test.
    fn far(count: u64) -> impl Iterator<Item = Range> + Clone {
        (1..=count).map(|number| range(number * 100_000, 10))
    }

    /// Those that touch are one, so that there is room for as many others as ever, each exact.
    #[test]
    fn wounds_that_touch_take_the_room_of_one() {
        let touching: [u64; 5] = [200, 210, 220, 190, 180];
        let mut wounds = Wounds::new();
        touching.iter().for_each(|start| wounds.wound(range(*start, 10)));
        far(7).for_each(|range| wounds.wound(range));
        wounds.heal(range(180, 50));
        far(7).for_each(|range| wounds.heal(range));
        assert!(wounds.is_empty(), "{wounds:?}");
    }

    /// In this order none of them is between two that were apart before.
    #[test]
    fn what_begins_where_another_one_ends_is_one_with_it() {
        let mut wounds = Wounds::new();
        (0..4).for_each(|place| wounds.wound(range(200 + place * 10, 10)));
        far(7).for_each(|range| wounds.wound(range));
        wounds.heal(range(200, 40));
        far(7).for_each(|range| wounds.heal(range));
        assert!(wounds.is_empty(), "{wounds:?}");
    }

    #[test]
    fn what_touches_begins_where_the_first_write_was_to_begin() {
        for starts in [[100, 150], [150, 100]] {
            let mut wounds = Wounds::new();
            starts.iter().for_each(|start| wounds.wound(range(*start, 50)));
            wounds.resize(150);
            assert!(!wounds.is_empty());
            wounds.resize(100);
            assert!(wounds.is_empty());
        }
    }

    #[test]
    fn healing_the_middle_leaves_both_sides_as_long_as_there_is_room() {
        for others in [0, 6] {
            let mut wounds = Wounds::new();
            far(others).for_each(|range| wounds.wound(range));
            wounds.wound(range(1_000, 100));
            far(others).for_each(|range| wounds.heal(range));
            far(others).for_each(|range| wounds.wound(range));
            wounds.heal(range(1_040, 20));
            wounds.heal(range(1_000, 40));
            wounds.heal(range(1_060, 40));
            far(others).for_each(|range| wounds.heal(range));
            assert!(wounds.is_empty(), "{others}: {wounds:?}");
        }
    }

    #[test]
    fn the_last_room_for_both_sides_is_used() {
        let mut wounds = Wounds::new();
        far(6).for_each(|range| wounds.wound(range));
        wounds.wound(range(1_000, 100));
        wounds.heal(range(1_040, 20));
        wounds.heal(range(1_000, 40));
        wounds.heal(range(1_060, 40));
        far(6).for_each(|range| wounds.heal(range));
        assert!(wounds.is_empty(), "{wounds:?}");
    }

    /// Where there is no room for both sides the whole stays, and nothing that is beside it.
    #[test]
    fn without_room_for_both_sides_a_wound_stays_whole_and_alone() {
        let mut wounds = Wounds::new();
        far(6).for_each(|range| wounds.wound(range));
        wounds.wound(range(1_110, 10));
        wounds.wound(range(1_000, 100));
        wounds.heal(range(1_001, 98));
        wounds.heal(range(1_000, 100));
        wounds.heal(range(1_110, 10));
        far(6).for_each(|range| wounds.heal(range));
        assert!(wounds.is_empty(), "{wounds:?}");
    }

    /// With as many wounds as can be told apart, the next one becomes part of the nearest.
    #[test]
    fn one_too_many_is_merged_into_the_nearest_on_either_side() {
        for (extra, between) in
            [(range(100_030, 10), range(100_010, 20)), (range(99_970, 10), range(99_980, 20))]
        {
            let mut wounds = Wounds::new();
            far(8).for_each(|range| wounds.wound(range));
            wounds.wound(extra);
            far(8).for_each(|range| wounds.heal(range));
            wounds.heal(extra);
            assert!(!wounds.is_empty());
            wounds.heal(between);
            assert!(wounds.is_empty(), "{wounds:?}");
        }
    }

    #[test]
    fn a_metadata_wound_is_healed_by_the_same_change_only() {
        let mut wounds = Wounds::new();
        wounds.wound_change(Change::Basic);
        wounds.wound_change(Change::Basic);
        wounds.heal_change(Change::Security);
        assert!(!wounds.is_empty());
        wounds.heal_change(Change::Basic);
        assert!(wounds.is_empty());
    }

    #[test]
    fn an_empty_write_wounds_nothing_and_a_write_at_the_largest_offset_still_does() {
        assert_eq!(Range::new(5, 0), None);
        assert_eq!(Range::new(u64::MAX, 10), None);
        assert!(Range::new(u64::MAX - 1, 10).is_some());
    }

    /// Neighbours are one wound, so that they leave room for others.
    #[test]
    fn adjoining_wounds_take_the_room_of_one_in_either_order() {
        let forwards: Vec<u64> = (0..20).collect();
        let backwards: Vec<u64> = (0..20).rev().collect();
        for order in [forwards, backwards] {
            let mut wounds = Wounds::new();
            (1..RANGES as u64).for_each(|far| wounds.wound(range(far * 10_000, 10)));
            order.iter().for_each(|at| wounds.wound(range(at * 10, 10)));
            (1..RANGES as u64).for_each(|far| wounds.heal(range(far * 10_000, 10)));
            assert!(!wounds.is_empty());
            wounds.heal(range(0, 200));
            assert!(wounds.is_empty(), "none was made larger: {wounds:?}");
        }
    }

    #[test]
    fn a_wound_without_room_is_merged_into_the_nearest() {
        for (wound, nearest) in
            [(range(2_005, 10), 2_000), (range(1_990, 5), 2_000), (range(9_000, 5), 8_000)]
        {
            let mut wounds = Wounds::new();
            (1..=RANGES as u64).for_each(|at| wounds.wound(range(at * 1_000, 1)));
            wounds.wound(wound);
            let others = (1..=RANGES as u64).map(|at| at * 1_000).filter(|at| *at != nearest);
            others.for_each(|at| wounds.heal(range(at, 1)));
            let first = wound.start.min(nearest);
            wounds.heal(range(first, wound.end.max(nearest + 1) - first));
            assert!(wounds.is_empty(), "{wound:?}: {wounds:?}");
        }
    }

    #[test]
    fn healing_the_middle_where_there_is_no_room_heals_nothing() {
        let mut wounds = Wounds::new();
        (0..RANGES as u64).for_each(|at| wounds.wound(range(at * 1_000, 100)));
        wounds.heal(range(7_040, 20));
        (0..RANGES as u64 - 1).for_each(|at| wounds.heal(range(at * 1_000, 100)));
        wounds.heal(range(7_000, 40));
        wounds.heal(range(7_060, 40));
        assert!(!wounds.is_empty(), "the middle is still open");
        wounds.heal(range(7_040, 20));
        assert!(wounds.is_empty());
    }

    #[test]
    fn the_length_of_a_range_is_that_of_its_bytes() {
        assert_eq!(range(5, 7).length(), 7);
        assert_eq!(Range::from(u64::MAX).length(), 1);
        assert_eq!(Range::from(10), Range { start: 10, end: u64::MAX });
    }

    /// Compared with one flag per byte: the set may keep a byte too many, never lose one; and while no more
    /// than the capacity is needed it is exact.
    #[test]
    fn no_wound_is_ever_forgotten() {
        let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
        let mut next = |bound: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % bound
        };
        for round in 0..2_000 {
            let mut wounds = Wounds::new();
            let mut bytes = [false; 256];
            for _ in 0..40 {
                let (start, length) = (next(255), 1 + next(40));
                let covered = start as usize..(start + length).min(256) as usize;
                if next(3) == 0 {
                    wounds.heal(range(start, length));
                    bytes[covered].fill(false);
                } else {
                    wounds.wound(range(start, (covered.end - covered.start) as u64));
                    bytes[covered].fill(true);
                }
                for (byte, wounded) in bytes.iter().enumerate() {
                    let known =
                        wounds.ranges.iter().any(|w| (w.open.start..w.open.end).contains(&(byte as u64)));
                    assert!(known || !wounded, "round {round}: byte {byte} was forgotten");
                }
            }
        }
    }
}

//! Reading and writing numbers and text in a block of UTF-16 units, without ever reading or writing outside of it.

/// Appends to a block, and goes on counting when it is full.
pub(crate) struct Writer<'a> {
    block: &'a mut [u16],
    at: usize,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(block: &'a mut [u16]) -> Self {
        Writer { block, at: 0 }
    }

    /// Writes over what is at `at`.
    pub(crate) fn starting_at(block: &'a mut [u16], at: usize) -> Self {
        Writer { block, at }
    }

    /// Units written, or that would have been.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn push(&mut self, unit: u16) {
        self.set(self.at, unit);
        self.at = self.at.saturating_add(1);
    }

    pub(crate) fn push_u32(&mut self, number: u32) {
        let (low, high) = halves(number);
        self.push(low);
        self.push(high);
    }

    pub(crate) fn extend(&mut self, units: &[u16]) {
        let end = self.at.saturating_add(units.len());
        if let Some(room) = self.block.get_mut(self.at..end) {
            room.iter_mut().zip(units).for_each(|(slot, unit)| *slot = *unit);
        }
        self.at = end;
    }

    /// Takes back everything after `at`.
    pub(crate) fn truncate(&mut self, at: usize) {
        self.at = self.at.min(at);
    }

    pub(crate) fn set(&mut self, at: usize, unit: u16) {
        if let Some(slot) = self.block.get_mut(at) {
            *slot = unit;
        }
    }

    pub(crate) fn set_u32(&mut self, at: usize, number: u32) {
        let (low, high) = halves(number);
        self.set(at, low);
        self.set(at.saturating_add(1), high);
    }

    /// What was written, unless the block was too small for it.
    pub(crate) fn finish(self) -> Option<&'a [u16]> {
        let block: &'a [u16] = self.block;
        block.get(..self.at)
    }

    /// The whole block.
    pub(crate) fn block(&mut self) -> &mut [u16] {
        self.block
    }
}

fn halves(number: u32) -> (u16, u16) {
    let [a, b, c, d] = number.to_le_bytes();
    (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]))
}

/// What [`halves`] took apart.
#[inline]
pub(crate) fn join(low: u16, high: u16) -> u32 {
    let ([a, b], [c, d]) = (low.to_le_bytes(), high.to_le_bytes());
    u32::from_le_bytes([a, b, c, d])
}

/// Reads numbers from a block; what lies outside of it reads as zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u16]);

impl<'a> Reader<'a> {
    pub(crate) fn u16(self, at: usize) -> u16 {
        self.0.get(at).copied().unwrap_or(0)
    }

    pub(crate) fn u32(self, at: usize) -> u32 {
        join(self.u16(at), self.u16(at.saturating_add(1)))
    }

    pub(crate) fn size(self, at: usize) -> usize {
        usize::try_from(self.u32(at)).unwrap_or(usize::MAX)
    }

    pub(crate) fn slice(self, at: usize, length: usize) -> &'a [u16] {
        self.0.get(at..).and_then(|rest| rest.get(..length)).unwrap_or(&[])
    }
}

/// A length as it is stored. Nothing longer than `u32::MAX` is ever in a block.
pub(crate) fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

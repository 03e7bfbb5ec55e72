//! Putting information structures together, field by field, as their layouts are documented.

use super::{Answer, Call, Failure, fail, status_of};
use crate::memory;

/// A structure under construction.
#[derive(Default)]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl Bytes {
    pub(super) fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    pub(super) fn u16(mut self, value: u16) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(super) fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(super) fn i64(mut self, value: i64) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(super) fn u64(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(super) fn zeros(mut self, count: usize) -> Self {
        self.0.resize(self.0.len() + count, 0);
        self
    }

    pub(super) fn units(mut self, units: &[u16]) -> Self {
        self.0.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
        self
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }
}

/// Copies an answer whose first `fixed` bytes must fit; what follows may be cut, which is STATUS_BUFFER_OVERFLOW.
pub(super) fn give(
    call: &Call<'_>,
    to: fltkernel::PVOID,
    length: usize,
    fixed: usize,
    answer: &Bytes,
) -> Answer {
    if length < fixed {
        return fail(status_of::INFO_LENGTH_MISMATCH);
    }
    let fits = answer.0.len().min(length);
    memory::fill(call.buffer(to, length), &answer.0[..fits]);
    if fits < answer.0.len() {
        return Err(Failure { status: status_of::BUFFER_OVERFLOW, information: fits });
    }
    Ok(fits)
}

/// Reads integers out of a buffer; what lies outside is a length mismatch.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&self, at: usize) -> Result<[u8; N], Failure> {
        let bytes = self.0.get(at..at + N).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or_else(|| fail(status_of::INFO_LENGTH_MISMATCH), Ok)
    }

    pub(super) fn u8(&self, at: usize) -> Result<u8, Failure> {
        Ok(self.array::<1>(at)?[0])
    }

    pub(super) fn u16(&self, at: usize) -> Result<u16, Failure> {
        Ok(u16::from_le_bytes(self.array(at)?))
    }

    pub(super) fn u32(&self, at: usize) -> Result<u32, Failure> {
        Ok(u32::from_le_bytes(self.array(at)?))
    }

    pub(super) fn i64(&self, at: usize) -> Result<i64, Failure> {
        Ok(i64::from_le_bytes(self.array(at)?))
    }

    pub(super) fn units(&self, at: usize, bytes: usize) -> Result<Vec<u16>, Failure> {
        let range = at.checked_add(bytes).and_then(|end| self.0.get(at..end));
        let bytes = range.map_or_else(|| fail(status_of::INFO_LENGTH_MISMATCH), Ok)?;
        Ok(bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect())
    }
}

//! UTF-16 text as NT compares it: unit by unit, after upcasing each unit by itself.

/// NT's upcase table. The driver passes `RtlUpcaseUnicodeChar`; other hosts use [`HostUpcase`].
///
/// A policy must be compiled and matched with the same table.
pub trait Upcase {
    /// The upper case of one UTF-16 unit; surrogates and units without an upper case are returned unchanged.
    fn upcase(&self, unit: u16) -> u16;
}

impl<F: Fn(u16) -> u16> Upcase for F {
    fn upcase(&self, unit: u16) -> u16 {
        self(unit)
    }
}

/// An upcase table for hosts without NT: Unicode's one-to-one upper case within the Basic Multilingual Plane, where
/// lower-casing leads back.
///
/// The second condition keeps letters apart that NT keeps apart too (`ı` and `I`, `ſ` and `S`, `µ` and `Μ`). This
/// approximates NT's table; the two differ in letters newer than the table of a given Windows.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostUpcase;

impl Upcase for HostUpcase {
    fn upcase(&self, unit: u16) -> u16 {
        let Some(lower) = char::from_u32(u32::from(unit)) else { return unit };
        let Some(upper) = only(lower.to_uppercase()) else { return unit };
        match only(upper.to_lowercase()) {
            Some(back) if back == lower => u16::try_from(u32::from(upper)).unwrap_or(unit),
            _ => unit,
        }
    }
}

fn only(mut chars: impl Iterator<Item = char>) -> Option<char> {
    let first = chars.next()?;
    chars.next().is_none().then_some(first)
}

pub(crate) const BACKSLASH: u16 = b'\\' as u16;
pub(crate) const COLON: u16 = b':' as u16;
pub(crate) const STAR: u16 = b'*' as u16;
pub(crate) const QUESTION: u16 = b'?' as u16;

/// Upcases one unit, without a call for ASCII.
#[inline]
pub(crate) fn fold<U: Upcase + ?Sized>(upcase: &U, unit: u16) -> u16 {
    match unit {
        0x61..=0x7A => unit ^ 0x20,
        0..=0x7F => unit,
        _ => upcase.upcase(unit),
    }
}

/// ASCII-only comparison without regard to case, for the fixed words of registry and path syntax.
pub(crate) fn is_ascii_word(units: &[u16], word: &str) -> bool {
    units.len() == word.len() && starts_with_ascii(units, word)
}

/// Whether `units` begins with `word`, by ASCII without regard to case.
pub(crate) fn starts_with_ascii(units: &[u16], word: &str) -> bool {
    let mut units = units.iter();
    word.bytes().all(|byte| {
        units.next().is_some_and(|&unit| ascii_upper(unit) == u16::from(byte.to_ascii_uppercase()))
    })
}

fn ascii_upper(unit: u16) -> u16 {
    if (0x61..=0x7A).contains(&unit) { unit ^ 0x20 } else { unit }
}

/// How two names sort without regard to case.
pub(crate) fn compare<U: Upcase + ?Sized>(upcase: &U, left: &[u16], right: &[u16]) -> core::cmp::Ordering {
    left.iter().map(|&unit| fold(upcase, unit)).cmp(right.iter().map(|&unit| fold(upcase, unit)))
}

/// Splits at the first `separator`; the second half is without it, and `None` if there was none.
pub(crate) fn split_once(units: &[u16], separator: u16) -> (&[u16], Option<&[u16]>) {
    match units.iter().position(|&unit| unit == separator) {
        Some(at) => (units.get(..at).unwrap_or(&[]), units.get(at.saturating_add(1)..)),
        None => (units, None),
    }
}

/// Splits after the last `separator`; the first half includes it and is empty if there was none.
pub(crate) fn split_last(units: &[u16], separator: u16) -> (&[u16], &[u16]) {
    let at = units.iter().rposition(|&unit| unit == separator).map_or(0, |at| at.saturating_add(1));
    units.split_at_checked(at).unwrap_or((&[], units))
}

/// Four units as one number, the first lowest.
#[inline]
pub(crate) fn pack(units: [u16; 4]) -> u64 {
    let [[a, b], [c, d], [e, f], [g, h]] = units.map(u16::to_le_bytes);
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// The units of a packed number.
#[inline]
pub(crate) fn unpack(word: u64) -> [u16; 4] {
    let [a, b, c, d, e, f, g, h] = word.to_le_bytes();
    [[a, b], [c, d], [e, f], [g, h]].map(u16::from_le_bytes)
}

/// The same number in each of four units.
const fn each(unit: u16) -> u64 {
    let [low, high] = unit.to_le_bytes();
    u64::from_le_bytes([low, high, low, high, low, high, low, high])
}

/// Upcases four units at once and says how many of them come before a backslash.
#[inline]
pub(crate) fn fold_four<U: Upcase + ?Sized>(upcase: &U, units: [u16; 4]) -> (u64, usize) {
    let word = pack(units);
    if word & each(0xFF80) != 0 {
        let before = units.iter().position(|&unit| unit == BACKSLASH).unwrap_or(4);
        return (pack(units.map(|unit| fold(upcase, unit))), before);
    }
    // Sums stay within their units: both parts are below 0x80.
    let from_a = word.wrapping_add(each(0x80 - 0x61));
    let past_z = word.wrapping_add(each(0x80 - 0x7B));
    let lower = (from_a & !past_z) & each(0x80);
    let other = (word ^ each(BACKSLASH)).wrapping_add(each(0x7F));
    let backslash = !other & each(0x80);
    let before = usize::try_from(backslash.trailing_zeros() >> 4).unwrap_or(4);
    (word ^ (lower >> 2), before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_units_at_once_are_upcased_as_each_by_itself() {
        // Every unit in every place, among neighbours of each kind.
        for unit in 0..=u16::MAX {
            for neighbour in [0x61, 0x5A, BACKSLASH, 0xE9, 0xD83D, 0] {
                for place in 0..4 {
                    let mut units = [neighbour; 4];
                    units[place] = unit;
                    let (word, before) = fold_four(&HostUpcase, units);
                    assert_eq!(unpack(word), units.map(|unit| fold(&HostUpcase, unit)), "{units:x?}");
                    let first = units.iter().position(|&unit| unit == BACKSLASH).unwrap_or(4);
                    assert_eq!(before, first, "{units:x?}");
                }
            }
        }
    }
}

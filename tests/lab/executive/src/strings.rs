//! Comparing names as NT does: one UTF-16 unit at a time, upper-cased one to one.

/// Upper case of one unit, if it is one unit. Windows has a table of its own; this is Unicode's simple mapping,
/// which agrees on ASCII, Latin, Greek and Cyrillic letters.
pub fn upcase(unit: u16) -> u16 {
    map_one(unit, |c| {
        let mut upper = c.to_uppercase();
        (upper.next(), upper.next())
    })
}

/// Lower case of one unit, if it is one unit.
pub fn downcase(unit: u16) -> u16 {
    map_one(unit, |c| {
        let mut lower = c.to_lowercase();
        (lower.next(), lower.next())
    })
}

fn map_one(unit: u16, map: impl Fn(char) -> (Option<char>, Option<char>)) -> u16 {
    match char::from_u32(u32::from(unit)).map(map) {
        Some((Some(mapped), None)) => u16::try_from(u32::from(mapped)).unwrap_or(unit),
        _ => unit,
    }
}

/// Compares as RtlCompareUnicodeString: the first difference, else the lengths.
pub fn compare(a: &[u16], b: &[u16], ignore_case: bool) -> i32 {
    let key = |unit: u16| i32::from(if ignore_case { upcase(unit) } else { unit });
    let difference = a.iter().zip(b).map(|(a, b)| key(*a) - key(*b)).find(|d| *d != 0);
    difference.unwrap_or_else(|| i32::try_from(a.len()).unwrap_or(0) - i32::try_from(b.len()).unwrap_or(0))
}

/// Whether two names are the same to NT.
pub fn same_name(a: &str, b: &str) -> bool {
    let (a, b): (Vec<u16>, Vec<u16>) = (a.encode_utf16().collect(), b.encode_utf16().collect());
    a.len() == b.len() && compare(&a, &b, true) == 0
}

/// A name in upper case, for use as a key.
pub fn folded(name: &str) -> String {
    String::from_utf16_lossy(&name.encode_utf16().map(upcase).collect::<Vec<_>>())
}

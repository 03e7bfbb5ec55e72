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

const STAR: u16 = b'*' as u16;
const QUESTION: u16 = b'?' as u16;
/// `<`: any run of characters up to the last dot of the name.
const DOS_STAR: u16 = b'<' as u16;
/// `>`: one character, or nothing before a dot or at the end.
const DOS_QUESTION: u16 = b'>' as u16;
/// `"`: a dot, or nothing at the end.
const DOS_DOT: u16 = b'"' as u16;
const DOT: u16 = b'.' as u16;

/// Whether a name fits a pattern, by the rules of FsRtlIsNameInExpression.
pub fn is_name_in_expression(pattern: &[u16], name: &[u16]) -> bool {
    // The set of pattern positions that the name read so far can have reached.
    let mut reached = vec![false; pattern.len() + 1];
    reached[0] = true;
    let last_dot = name.iter().rposition(|u| *u == DOT);
    for (at, unit) in name.iter().enumerate() {
        skip_empty(pattern, &mut reached, Some(*unit));
        let mut next = vec![false; pattern.len() + 1];
        for position in (0..pattern.len()).filter(|p| reached[*p]) {
            match pattern[position] {
                STAR => next[position] = true,
                DOS_STAR => {
                    next[position] |= *unit != DOT || last_dot != Some(at);
                    next[position + 1] |= *unit == DOT && last_dot == Some(at);
                }
                QUESTION => next[position + 1] = true,
                DOS_QUESTION => next[position + 1] |= *unit != DOT,
                DOS_DOT => next[position + 1] |= *unit == DOT,
                literal => next[position + 1] |= literal == *unit,
            }
        }
        reached = next;
    }
    skip_empty(pattern, &mut reached, None);
    reached[pattern.len()]
}

/// Steps over what may stand for nothing before `next` (`None`: the end of the name).
fn skip_empty(pattern: &[u16], reached: &mut [bool], next: Option<u16>) {
    for position in 0..pattern.len() {
        let empty = match pattern[position] {
            STAR | DOS_STAR => true,
            DOS_QUESTION => next.is_none_or(|u| u == DOT),
            DOS_DOT => next.is_none(),
            _ => false,
        };
        if reached[position] && empty {
            reached[position + 1] = true;
        }
    }
}

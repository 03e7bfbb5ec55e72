//! Altitudes: decimal strings, compared as numbers of any length (minifilter-rules §3.7).

use std::cmp::Ordering;
use std::fmt;

/// A position in the stack of instances; higher sees an operation earlier.
#[derive(Clone, PartialEq, Eq)]
pub struct Altitude {
    /// Without leading zeros.
    whole: String,
    /// Without trailing zeros.
    fraction: String,
}

impl Altitude {
    /// Reads a decimal number such as `225000` or `225000.5`.
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) || text.ends_with('.') {
            return None;
        }
        Some(Self {
            whole: whole.trim_start_matches('0').to_owned(),
            fraction: fraction.trim_end_matches('0').to_owned(),
        })
    }
}

impl Ord for Altitude {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.whole.len().cmp(&other.whole.len()))
            .then_with(|| self.whole.cmp(&other.whole))
            .then_with(|| self.fraction.cmp(&other.fraction))
    }
}

impl PartialOrd for Altitude {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Altitude {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.whole.is_empty() { "0" } else { &self.whole })?;
        if !self.fraction.is_empty() {
            write!(f, ".{}", self.fraction)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Altitude {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::Altitude;

    /// minifilter-rules §3.7.
    #[test]
    fn altitudes_compare_as_numbers() {
        let in_order = ["9", "0020000", "180451", "180451.05", "180451.5", "225000", "1000000"];
        for pair in in_order.windows(2) {
            assert!(Altitude::parse(pair[0]) < Altitude::parse(pair[1]), "{pair:?}");
        }
        assert_eq!(Altitude::parse("225000.50"), Altitude::parse("0225000.5"));
    }

    #[test]
    fn other_strings_are_no_altitudes() {
        for text in ["", ".5", "5.", "-1", "22e3", "1.2.3", "225 000"] {
            assert_eq!(Altitude::parse(text), None, "{text}");
        }
    }
}

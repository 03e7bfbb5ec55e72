//! What became of a file: the old version, the new one, or neither.

use std::ops::Range;

/// A file's bytes, or `None` where there is no such file.
pub type Contents = Option<Vec<u8>>;

/// The verdict on one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// As before; the program does not change it.
    Same,
    /// Whole, as the program leaves it.
    New,
    /// Whole, as it was before the program ran; also a file that the program creates and that is not there.
    Old,
    /// Neither there before nor left by the program: a temporary file, for example.
    Extra,
    /// The program leaves something else each time, and whoever knows its files finds nothing wrong.
    Sound,
    /// The program leaves something else each time, so nothing can be said.
    Uncertain,
    /// It was there before, and is gone.
    Missing,
    /// There, but neither the old version nor the new one.
    Damaged,
}

impl State {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            State::Same => "same",
            State::New => "new",
            State::Old => "old",
            State::Extra => "extra",
            State::Sound => "sound",
            State::Uncertain => "changed, cannot be compared",
            State::Missing => "missing",
            State::Damaged => "damaged",
        }
    }

    /// Whether something was lost.
    pub fn is_loss(self) -> bool {
        matches!(self, State::Missing | State::Damaged)
    }
}

/// Judges a file. `new` is what one undisturbed run leaves and `again` what another does: if they differ,
/// only the old version can be recognised.
pub fn judge(old: &Contents, new: &Contents, again: &Contents, found: &Contents) -> State {
    let certain = new == again;
    if certain && found == new {
        return if old == new { State::Same } else { State::New };
    }
    if found == old {
        return State::Old;
    }
    match (old, new, found) {
        (None, None, Some(_)) if certain => State::Extra,
        (Some(_), _, None) => State::Missing,
        _ if !certain => State::Uncertain,
        _ => State::Damaged,
    }
}

/// Where bytes of a found file come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The same in the old and the new version.
    Both,
    /// The old version.
    Old,
    /// The new version.
    New,
    /// Neither.
    Foreign,
    /// One of the versions is longer: bytes that are not there.
    Absent,
}

impl Origin {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Origin::Both => "both",
            Origin::Old => "old",
            Origin::New => "new",
            Origin::Foreign => "foreign",
            Origin::Absent => "absent",
        }
    }
}

/// Compares that many bytes at a time, as a disk would tear them.
const GRAIN: usize = 512;

/// The found file as a sequence of ranges, with what would be missing of the longer of the two versions.
pub fn origins(old: &[u8], new: &[u8], found: &[u8]) -> Vec<(Range<usize>, Origin)> {
    let mut ranges: Vec<(Range<usize>, Origin)> = Vec::new();
    let mut add = |range: Range<usize>, origin: Origin| match ranges.last_mut() {
        Some((last, same)) if *same == origin => last.end = range.end,
        _ => ranges.push((range, origin)),
    };
    for start in (0..found.len()).step_by(GRAIN) {
        let end = (start + GRAIN).min(found.len());
        let piece = Some(&found[start..end]);
        // The last piece of a whole version ends where the version ends.
        let is = |version: &[u8]| version.get(start..end) == piece;
        let origin = match (is(old), is(new)) {
            (true, true) => Origin::Both,
            (true, false) => Origin::Old,
            (false, true) => Origin::New,
            (false, false) => Origin::Foreign,
        };
        add(start..end, origin);
    }
    let expected = old.len().max(new.len());
    if found.len() < expected {
        add(found.len()..expected, Origin::Absent);
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Contents {
        Some(text.as_bytes().to_vec())
    }

    #[test]
    fn each_state_is_told_from_the_others() {
        let table = [
            (file("a"), file("b"), file("b"), State::New),
            (file("a"), file("b"), file("a"), State::Old),
            (file("a"), file("b"), file("ab"), State::Damaged),
            (file("a"), file("b"), file(""), State::Damaged),
            (file("a"), file("b"), None, State::Missing),
            (file("a"), file("a"), file("a"), State::Same),
            (file("a"), file("a"), file("x"), State::Damaged),
            (file("a"), None, file("a"), State::Old),
            (file("a"), None, None, State::New),
            (None, file("b"), None, State::Old),
            (None, file("b"), file(""), State::Damaged),
            (None, None, file("tmp"), State::Extra),
        ];
        for (old, new, found, state) in table {
            assert_eq!(judge(&old, &new, &new, &found), state, "{old:?} {new:?} {found:?}");
        }
    }

    #[test]
    fn a_program_that_never_saves_the_same_twice_is_not_called_damaging() {
        let (old, new, again) = (file("a"), file("b1"), file("b2"));
        assert_eq!(judge(&old, &new, &again, &file("b3")), State::Uncertain);
        assert_eq!(judge(&old, &new, &again, &file("a")), State::Old);
        assert_eq!(judge(&old, &new, &again, &None), State::Missing);
    }

    #[test]
    fn ranges_say_which_version_each_part_is() {
        let old = vec![1; 2048];
        let mut new = vec![2; 2048];
        new[..512].fill(1);
        let found = [&new[..1024], &old[1024..1536]].concat();
        let expected = [
            (0..512, Origin::Both),
            (512..1024, Origin::New),
            (1024..1536, Origin::Old),
            (1536..2048, Origin::Absent),
        ];
        assert_eq!(origins(&old, &new, &found), expected);
    }

    #[test]
    fn bytes_past_both_versions_are_foreign() {
        assert_eq!(origins(b"old", b"new", b"old and more"), [(0..12, Origin::Foreign)]);
    }
}

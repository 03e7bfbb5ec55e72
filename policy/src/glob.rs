//! Does one compiled pattern match one path?
//!
//! Two pointers and one point of return each for `*` and `**`; never recursion, and never more than
//! `pattern × path` steps. Going back to the latest wildcard alone is enough: whatever the ones before it could have
//! swallowed in addition, the latest can swallow too.

use crate::text::{BACKSLASH, QUESTION, STAR, Upcase, fold, split_once};

/// Whether `pattern` (compiled: upcased, components after `\`) matches all of `path`.
pub(crate) fn matches<U: Upcase + ?Sized>(upcase: &U, pattern: &[u16], path: &[u16]) -> bool {
    let mut pattern = components(pattern);
    let mut path = components(path);
    let mut latest: Option<Place<'_>> = None;
    loop {
        let Some(wanted) = pattern else {
            if path.is_none() {
                return true;
            }
            match again(&mut latest) {
                Some((after, rest)) => (pattern, path) = (after, rest),
                None => return false,
            }
            continue;
        };
        let (want, after) = split_once(wanted, BACKSLASH);
        if let [STAR, STAR] = want {
            if after.is_none() {
                return path.is_some();
            }
            latest = Some((after, path));
            pattern = after;
            continue;
        }
        let Some(have) = path else { return false };
        let (have, rest) = split_once(have, BACKSLASH);
        if component_matches(upcase, want, have) {
            (pattern, path) = (after, rest);
        } else {
            match again(&mut latest) {
                Some((after, rest)) => (pattern, path) = (after, rest),
                None => return false,
            }
        }
    }
}

/// What is left of the pattern and of the path; `None`: nothing.
type Place<'a> = (Option<&'a [u16]>, Option<&'a [u16]>);

/// Lets the latest `**` swallow one component more.
fn again<'a>(latest: &mut Option<Place<'a>>) -> Option<Place<'a>> {
    let (after, path) = (*latest)?;
    let (_, rest) = split_once(path?, BACKSLASH);
    *latest = Some((after, rest));
    *latest
}

/// What follows the first backslash.
fn components(path: &[u16]) -> Option<&[u16]> {
    match path {
        [BACKSLASH, rest @ ..] => Some(rest),
        _ => Some(path),
    }
}

/// Whether `pattern`, without `\`, matches all of `name`.
pub(crate) fn component_matches<U: Upcase + ?Sized>(
    upcase: &U,
    mut pattern: &[u16],
    mut name: &[u16],
) -> bool {
    let mut latest: Option<(&[u16], &[u16])> = None;
    loop {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => return true,
            (Some((&STAR, after)), _) => {
                latest = Some((after, name));
                pattern = after;
                continue;
            }
            (Some((&want, after)), Some((&have, rest))) if want == QUESTION || want == fold(upcase, have) => {
                (pattern, name) = (after, rest);
                continue;
            }
            _ => {}
        }
        let Some((after, [_, rest @ ..])) = latest else { return false };
        latest = Some((after, rest));
        (pattern, name) = (after, rest);
    }
}

//! A matcher that is slow, and right at a glance.

use intact_policy::{HostUpcase, Upcase, Value};

use super::{DISK_1, DISK_2, Registry, TestPolicy, utf16};

pub(crate) const BACKSLASH: u16 = b'\\' as u16;
const COLON: u16 = b':' as u16;

fn upper(text: &[u16]) -> Vec<u16> {
    text.iter().map(|&unit| HostUpcase.upcase(unit)).collect()
}

fn components(path: &[u16]) -> Vec<Vec<u16>> {
    upper(path).split(|&unit| unit == BACKSLASH).map(<[u16]>::to_vec).collect()
}

/// Does a list of pattern components match a list of names?
pub(crate) fn matches(pattern: &[Vec<u16>], path: &[Vec<u16>]) -> bool {
    let Some((first, after)) = pattern.split_first() else { return path.is_empty() };
    if *first == [u16::from(b'*'); 2] {
        let least = usize::from(after.is_empty());
        return (least..=path.len()).any(|swallowed| matches(after, &path[swallowed..]));
    }
    path.split_first().is_some_and(|(name, rest)| component_matches(first, name) && matches(after, rest))
}

fn component_matches(pattern: &[u16], name: &[u16]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((&0x2A, after)) => {
            (0..=name.len()).any(|swallowed| component_matches(after, &name[swallowed..]))
        }
        Some((&0x3F, after)) => !name.is_empty() && component_matches(after, &name[1..]),
        Some((unit, after)) => name.first() == Some(unit) && component_matches(after, &name[1..]),
    }
}

#[derive(Clone, Debug)]
pub(crate) struct RuleText {
    pub(crate) order: u32,
    pub(crate) paths: Vec<Vec<u16>>,
    pub(crate) excluded: Vec<Vec<u16>>,
}

/// The rule that wins, by its place among `rules`, which are named by their place.
pub(crate) fn winner(rules: &[RuleText], path: &[u16]) -> Option<usize> {
    let (file, stream) = parted(path);
    let with_stream = stream.map(|stream| [file, &[COLON], stream].concat());
    let one = |pattern: &Vec<u16>| {
        let (volume, rest) = pattern.split_at(2);
        let (rest, stream) = parted(rest);
        let stream = stream.map_or(vec![], |stream| [&[COLON], stream].concat());
        let pattern = components(&on_device(&[volume, rest, &stream].concat()));
        if pattern.iter().flatten().any(|&unit| unit == COLON) {
            with_stream.as_ref().is_some_and(|path| matches(&pattern, &components(path)))
        } else {
            matches(&pattern, &components(file))
        }
    };
    let any = |patterns: &[Vec<u16>]| patterns.iter().any(one);
    let mut places: Vec<usize> = (0..rules.len()).collect();
    places.sort_by_key(|&place| rules[place].order);
    places.into_iter().find(|&place| any(&rules[place].paths) && !any(&rules[place].excluded))
}

/// A path without its stream, and the stream's name if it is not the unnamed one.
fn parted(path: &[u16]) -> (&[u16], Option<&[u16]>) {
    let mut parts = path.split(|&unit| unit == COLON);
    (parts.next().unwrap_or_default(), parts.next().filter(|name| !name.is_empty()))
}

/// The pattern with the device name in place of its drive letter, if it has one.
fn on_device(pattern: &[u16]) -> Vec<u16> {
    let device = match pattern[0] {
        0x43 | 0x63 => DISK_1,
        0x44 => DISK_2,
        BACKSLASH => return pattern.to_vec(),
        _ => return [&[BACKSLASH], pattern].concat(),
    };
    [&utf16(device), &pattern[2..]].concat()
}

pub(crate) fn compiled(rules: &[RuleText]) -> TestPolicy {
    let mut registry = Registry::new();
    for (place, rule) in rules.iter().enumerate() {
        registry = registry
            .rule(&format!("{place:04}"))
            .number(Value::Order, rule.order)
            .list_of_units(Value::Paths, &rule.paths)
            .list_of_units(Value::ExcludePaths, &rule.excluded);
    }
    registry.policy()
}

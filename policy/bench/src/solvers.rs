//! The whole problem, solved with each crate: which rule wins for a path.
//!
//! Intact is given the path as a program wrote it, in UTF-16, and upcases it itself. The others are given bytes that are
//! upcased already, with `/` for `\`: what that costs is not counted against them.

use std::collections::HashMap;

use aho_corasick::{AhoCorasick, MatchKind};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use intact_policy::{Gather, HostUpcase, Key, Policy, RuleSet, Upcase, Value, check, compile, kind};
use regex::bytes::{RegexSet, RegexSetBuilder};

use crate::mix::{Mix, VOLUMES};

/// A path in both forms.
pub(crate) struct Path {
    units: Vec<u16>,
    folded: Vec<u8>,
}

impl Path {
    pub(crate) fn new(path: &str) -> Path {
        Path { units: path.encode_utf16().collect(), folded: folded(path).into_bytes() }
    }
}

/// Names of the solvers.
pub(crate) const NAMES: [&str; 4] = ["intact-policy", "globset", "regex", "aho-corasick"];

pub(crate) trait Solver {
    /// The place of the rule that wins.
    fn winner(&mut self, path: &Path) -> Option<u16>;

    /// The size of what is kept, where the solver knows it better than the allocator.
    fn size(&self) -> Option<usize> {
        None
    }
}

pub(crate) fn build(name: &str, mix: &Mix) -> Result<Box<dyn Solver>, String> {
    Ok(match name {
        "intact-policy" => Box::new(Intact::new(mix)?),
        "globset" => Box::new(Globs::new(mix)?),
        "regex" => Box::new(Regexes::new(mix)?),
        "aho-corasick" => Box::new(Verified::new(mix)?),
        _ => return Err(format!("there is no solver {name}")),
    })
}

struct Intact {
    policy: Policy<Vec<u16>>,
    everyone: RuleSet,
}

impl Intact {
    fn new(mix: &Mix) -> Result<Intact, String> {
        let mut measure = Gather::new(&mut []);
        fill(&mut measure, mix);
        let mut block = vec![0; measure.needed()];
        let mut gather = Gather::new(&mut block);
        fill(&mut gather, mix);
        let raw = gather.finish().map_err(|full| format!("{full:?}"))?;
        let size =
            check(&raw, &HostUpcase, &mut device, &mut |_| {}).map_err(|invalid| format!("{invalid:?}"))?;
        let policy =
            compile(&raw, &HostUpcase, &mut device, vec![0; size]).map_err(|error| format!("{error:?}"))?;
        // As the driver does: only what is used is kept.
        let policy = policy.copy_to(vec![0; policy.size()]).map_err(|full| format!("{full:?}"))?;
        let everyone = policy.match_process(&[], &HostUpcase);
        Ok(Intact { policy, everyone })
    }
}

impl Solver for Intact {
    fn winner(&mut self, path: &Path) -> Option<u16> {
        self.policy.match_path(&path.units, &self.everyone, &HostUpcase).map(|rule| rule.0)
    }

    fn size(&self) -> Option<usize> {
        Some(self.policy.size() * 2)
    }
}

fn fill(gather: &mut Gather<'_>, mix: &Mix) {
    let utf16 = |text: &str| text.encode_utf16().collect::<Vec<u16>>();
    gather.key(Key::Policies);
    for (place, patterns) in mix.rules.iter().enumerate() {
        gather.rule(&utf16(&format!("{place:04}")));
        let text = patterns.join("\0") + "\0\0";
        let data: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        gather.value(&utf16(Value::Paths.name()), kind::MULTI_SZ, &data);
    }
}

fn device(link: &[u16], device: &mut [u16]) -> Option<usize> {
    let link = String::from_utf16(link).ok()?;
    let (_, target) = VOLUMES.iter().find(|(name, _)| link.ends_with(name))?;
    let target: Vec<u16> = target.encode_utf16().collect();
    device.get_mut(..target.len())?.copy_from_slice(&target);
    Some(target.len())
}

/// Text as the others see it.
fn folded(text: &str) -> String {
    let units: Vec<u16> = text.encode_utf16().map(|unit| HostUpcase.upcase(unit)).collect();
    String::from_utf16_lossy(&units).replace('\\', "/")
}

/// Every pattern, with the place of its rule, as the others see it.
fn patterns(mix: &Mix) -> impl Iterator<Item = (u16, String)> {
    mix.rules.iter().enumerate().flat_map(|(rule, patterns)| {
        patterns.iter().map(move |pattern| {
            let volume = VOLUMES.iter().find(|(letter, _)| pattern.starts_with(letter));
            let whole = match volume {
                Some((letter, device)) => format!("{device}{}", &pattern[letter.len()..]),
                None => format!(r"\{pattern}"),
            };
            (rule as u16, folded(&whole))
        })
    })
}

struct Globs {
    set: GlobSet,
    rules: Vec<u16>,
    found: Vec<usize>,
}

impl Globs {
    fn new(mix: &Mix) -> Result<Globs, String> {
        let mut builder = GlobSetBuilder::new();
        let mut rules = Vec::new();
        for (rule, pattern) in patterns(mix) {
            let escaped: String = pattern
                .chars()
                .map(|letter| match letter {
                    '[' | ']' | '{' | '}' => format!("[{letter}]"),
                    letter => letter.to_string(),
                })
                .collect();
            let glob = GlobBuilder::new(&escaped).literal_separator(true).backslash_escape(false).build();
            builder.add(glob.map_err(|error| error.to_string())?);
            rules.push(rule);
        }
        let set = builder.build().map_err(|error| error.to_string())?;
        Ok(Globs { set, rules, found: Vec::new() })
    }
}

impl Solver for Globs {
    fn winner(&mut self, path: &Path) -> Option<u16> {
        let text = std::str::from_utf8(&path.folded).ok()?;
        self.set.matches_into(text, &mut self.found);
        self.found.iter().map(|&place| self.rules[place]).min()
    }
}

struct Regexes {
    set: RegexSet,
    rules: Vec<u16>,
}

impl Regexes {
    fn new(mix: &Mix) -> Result<Regexes, String> {
        let (rules, sources): (Vec<u16>, Vec<String>) =
            patterns(mix).map(|(rule, pattern)| (rule, regex_of(&pattern))).unzip();
        let set = RegexSetBuilder::new(sources)
            .unicode(false)
            .size_limit(4 << 30)
            .dfa_size_limit(64 << 20)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Regexes { set, rules })
    }
}

impl Solver for Regexes {
    fn winner(&mut self, path: &Path) -> Option<u16> {
        self.set.matches(&path.folded).iter().map(|place| self.rules[place]).min()
    }
}

fn regex_of(pattern: &str) -> String {
    let components: Vec<&str> = pattern.trim_start_matches('/').split('/').collect();
    let mut source = String::from("^");
    for (place, component) in components.iter().enumerate() {
        let is_last = place + 1 == components.len();
        match (*component, is_last) {
            ("**", true) => source.push_str("(?s:/.*)"),
            ("**", false) => source.push_str("(?:/[^/]*)*"),
            _ => {
                source.push('/');
                for letter in component.chars() {
                    match letter {
                        '*' => source.push_str("[^/]*"),
                        '?' => source.push_str("[^/]"),
                        _ => source.push_str(&regex::escape(letter.encode_utf8(&mut [0; 4]))),
                    }
                }
            }
        }
    }
    source.push('$');
    source
}

/// One automaton over the longest literal part of each pattern; what it finds is compared as a whole.
struct Verified {
    automaton: AhoCorasick,
    /// Which patterns have this literal part.
    users: Vec<Vec<u32>>,
    patterns: Vec<(u16, Vec<u8>)>,
}

impl Verified {
    fn new(mix: &Mix) -> Result<Verified, String> {
        let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut parts: Vec<Vec<u8>> = Vec::new();
        let mut users: Vec<Vec<u32>> = Vec::new();
        let mut all = Vec::new();
        for (rule, pattern) in patterns(mix) {
            let part = pattern.split(['*', '?']).max_by_key(|part| part.len()).unwrap_or_default();
            let part = part.as_bytes().to_vec();
            let place = *places.entry(part.clone()).or_insert_with(|| {
                parts.push(part);
                users.push(Vec::new());
                users.len() - 1
            });
            users[place].push(all.len() as u32);
            all.push((rule, pattern.into_bytes()));
        }
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .build(parts)
            .map_err(|error| error.to_string())?;
        Ok(Verified { automaton, users, patterns: all })
    }
}

impl Solver for Verified {
    fn winner(&mut self, path: &Path) -> Option<u16> {
        let mut best: Option<u16> = None;
        for found in self.automaton.find_overlapping_iter(&path.folded) {
            for &user in &self.users[found.pattern().as_usize()] {
                let (rule, pattern) = &self.patterns[user as usize];
                if best.is_none_or(|best| *rule < best) && is_match(pattern, &path.folded) {
                    best = Some(*rule);
                }
            }
        }
        best
    }
}

/// Whether a pattern of components matches a path of components.
fn is_match(pattern: &[u8], path: &[u8]) -> bool {
    let (mut pattern, mut path) = (pattern, path);
    let mut latest: Option<(&[u8], &[u8])> = None;
    loop {
        if pattern == b"/**" {
            return !path.is_empty();
        }
        if let Some(after) = pattern.strip_prefix(b"/**/") {
            let after = &pattern[pattern.len() - after.len() - 1..];
            latest = Some((after, path));
            pattern = after;
            continue;
        }
        let (want, after) = first(pattern);
        let (have, rest) = first(path);
        if pattern.is_empty() && path.is_empty() {
            return true;
        }
        if !pattern.is_empty() && !path.is_empty() && is_name_match(want, have) {
            (pattern, path) = (after, rest);
            continue;
        }
        let Some((after, [_, ..])) = latest else { return false };
        let (_, rest) = first(latest.map_or(&[][..], |(_, path)| path));
        latest = Some((after, rest));
        (pattern, path) = (after, rest);
    }
}

/// The first component with its slash, and the rest.
fn first(path: &[u8]) -> (&[u8], &[u8]) {
    let end = path.iter().skip(1).position(|&byte| byte == b'/').map_or(path.len(), |at| at + 1);
    path.split_at(end)
}

fn is_name_match(mut pattern: &[u8], mut name: &[u8]) -> bool {
    let mut latest: Option<(&[u8], &[u8])> = None;
    loop {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => return true,
            (Some((b'*', after)), _) => {
                latest = Some((after, name));
                pattern = after;
            }
            (Some((want, after)), Some((have, rest))) if want == have || (*want == b'?' && *have != b'/') => {
                (pattern, name) = (after, rest);
            }
            _ => {
                let Some((after, [_, rest @ ..])) = latest else { return false };
                latest = Some((after, rest));
                (pattern, name) = (after, rest);
            }
        }
    }
}

//! Looking a path up in the index: one step per component, all patterns at once.
//!
//! What is active is a small set of nodes: those that the components so far lead to, and those behind a `**`, which
//! stay. Each step asks each active node for the edges that the next component matches. Patterns that are alike share
//! nodes, so the set does not grow with the number of patterns but with the number of *different* wildcards that match
//! the same path. If it does not fit, the caller asks every pattern instead; so it does if the hash table, whose hashes
//! are no secret, was filled with patterns that all collide.

use crate::block::{Reader, join};
use crate::glob::component_matches;
use crate::index::{
    ACCEPT, ALONE, EXCLUDED, KEY_UNITS, LITERAL, PREFIX, SLOT, SUFFIX, edge, hash, key_of, node, pair_bits,
    tag, wild,
};
use crate::policy::{RuleId, RuleSet, header};
use crate::text::{BACKSLASH, Upcase, fold_four, unpack};

/// Most nodes that are active at a time, and most behind a `**`.
const MOST: usize = 24;

/// Longest component: NTFS has none longer than 255 units.
const NAME_UNITS: usize = 256;

/// How many slots of the hash table that belong to other edges are passed over, for each unit of the path. Of a table
/// that nobody arranged, it takes one or two for each look-up.
const PROBES_PER_UNIT: usize = 32;

/// The path does not fit: too many nodes are active, a component is too long, or too many hashes collide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overflow;

/// Rules with a path pattern that matches, and rules with an excluding one.
#[derive(Default)]
pub(crate) struct Hits {
    pub(crate) included: RuleSet,
    pub(crate) excluded: RuleSet,
}

impl Hits {
    /// Adds what an element of a list of rules says.
    #[inline]
    fn insert(&mut self, accept: u16) {
        let set = if accept & EXCLUDED == 0 { &mut self.included } else { &mut self.excluded };
        set.insert(RuleId(accept & !EXCLUDED));
    }
}

/// Collects what matches `path`, beginning at one of the roots.
pub(crate) fn walk<U: Upcase + ?Sized>(
    block: &[u16],
    root: u32,
    path: &[u16],
    upcase: &U,
    hits: &mut Hits,
) -> Result<(), Overflow> {
    let header = Reader(block);
    let index = Index {
        block: header,
        nodes: header.size(header::NODES),
        wilds: header.size(header::WILDS),
        accepts: header.size(header::ACCEPTS),
        table: header.size(header::TABLE),
        mask: header.size(header::MASK),
    };
    let mut now = Active::new();
    let probes = path.len().saturating_mul(PROBES_PER_UNIT);
    let mut reached = Reached { next: Active::new(), stars: Active::new(), is_last: false, probes, hits };
    let mut name = [0u16; NAME_UNITS];
    let mut path = match path {
        [BACKSLASH, rest @ ..] => rest,
        _ => path,
    };
    index.enter(root, &mut reached)?;
    now.take(&mut reached.next);
    while !now.is_empty() || !reached.stars.is_empty() {
        let (length, sum, rest) = component(path, upcase, &mut name)?;
        let name = Name { units: name.get(..length).unwrap_or_default(), sum };
        reached.is_last = rest.is_none();
        // Those that this component reaches are asked about the next one.
        let resting = reached.stars.length;
        for &node in now.nodes() {
            index.step(node, name, &mut reached)?;
        }
        for place in 0..resting {
            let node = reached.stars.nodes.get(place).copied().unwrap_or(0);
            index.step(node, name, &mut reached)?;
        }
        now.take(&mut reached.next);
        match rest {
            Some(rest) => path = rest,
            None => break,
        }
    }
    Ok(())
}

/// Upcases the first component of `path` into `name`. Returns its length, its hash, and the path behind it.
#[inline]
fn component<'p, U: Upcase + ?Sized>(
    path: &'p [u16],
    upcase: &U,
    name: &mut [u16; NAME_UNITS],
) -> Result<(usize, u64, Option<&'p [u16]>), Overflow> {
    let mut length = 0usize;
    let mut sum = 0;
    let mut left = path;
    let mut slots = name.as_chunks_mut::<4>().0.iter_mut();
    loop {
        let (units, rest) = match left.split_first_chunk::<4>() {
            Some((units, rest)) => (*units, rest),
            None => {
                let mut units = [BACKSLASH; 4];
                units.iter_mut().zip(left).for_each(|(slot, unit)| *slot = *unit);
                (units, &[][..])
            }
        };
        let (word, before) = fold_four(upcase, units);
        if before == 4 {
            *slots.next().ok_or(Overflow)? = unpack(word);
            sum = hash(sum, word);
            length = length.wrapping_add(4);
            left = rest;
            continue;
        }
        if before > 0 {
            let word = word & 1u64.wrapping_shl(small_shift(before)).wrapping_sub(1);
            *slots.next().ok_or(Overflow)? = unpack(word);
            sum = hash(sum, word);
            length = length.wrapping_add(before);
        }
        return Ok((length, sum, left.get(before.wrapping_add(1)..).filter(|_| before < left.len())));
    }
}

/// How many bits so many units have.
#[inline]
fn small_shift(units: usize) -> u32 {
    u32::try_from(units).unwrap_or(0) << 4
}

/// A component, upcased, and its hash.
#[derive(Clone, Copy)]
struct Name<'n> {
    units: &'n [u16],
    sum: u64,
}

/// What a component leads to.
struct Reached<'h> {
    next: Active,
    /// Nodes behind a `**`.
    stars: Active,
    /// No component follows.
    is_last: bool,
    /// Slots that may still be passed over.
    probes: usize,
    hits: &'h mut Hits,
}

/// A small set of nodes.
struct Active {
    nodes: [u32; MOST],
    length: usize,
}

impl Active {
    fn new() -> Self {
        Active { nodes: [0; MOST], length: 0 }
    }

    fn nodes(&self) -> &[u32] {
        self.nodes.get(..self.length).unwrap_or_default()
    }

    fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Becomes what `other` is, which becomes empty. Nearly always they are one or two: less than to swap the memory of both.
    fn take(&mut self, other: &mut Active) {
        self.length = other.length;
        for (to, from) in self.nodes.iter_mut().zip(other.nodes()) {
            *to = *from;
        }
        other.length = 0;
    }

    fn push(&mut self, node: u32) -> Result<(), Overflow> {
        *self.nodes.get_mut(self.length).ok_or(Overflow)? = node;
        self.length = self.length.saturating_add(1);
        Ok(())
    }
}

#[derive(Clone, Copy)]
struct Index<'p> {
    block: Reader<'p>,
    nodes: usize,
    wilds: usize,
    accepts: usize,
    table: usize,
    mask: usize,
}

/// One node, or its record of edges with wildcards, read at once.
#[derive(Clone, Copy)]
struct Record<'p, const SIZE: usize>(&'p [u16; SIZE]);

type Node<'p> = Record<'p, { node::SIZE }>;
type Wild<'p> = Record<'p, { wild::SIZE }>;

impl<'p, const SIZE: usize> Record<'p, SIZE> {
    const NONE: &'static [u16; SIZE] = &[0; SIZE];

    #[inline]
    fn read(block: Reader<'p>, at: usize) -> Self {
        Record(block.0.get(at..).and_then(<[u16]>::first_chunk).unwrap_or(Self::NONE))
    }

    #[inline]
    fn u16(self, field: usize) -> u16 {
        self.0.get(field).copied().unwrap_or(0)
    }

    #[inline]
    fn u32(self, field: usize) -> u32 {
        join(self.u16(field), self.u16(field.saturating_add(1)))
    }

    #[inline]
    fn u64(self, field: usize) -> u64 {
        let ([a, b, c, d], [e, f, g, h]) =
            (self.u32(field).to_le_bytes(), self.u32(field.saturating_add(2)).to_le_bytes());
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

impl<'p> Index<'p> {
    #[inline]
    fn node(self, node: u32) -> Node<'p> {
        Record::read(self.block, self.nodes.saturating_add(size(node)))
    }

    /// The edges with wildcards that lead on from a node.
    #[inline]
    fn wild(self, node: Node<'p>) -> Option<Wild<'p>> {
        match node.u32(node::WILD) {
            0 => None,
            number => {
                let at = self.wilds.saturating_add(size(number).saturating_mul(wild::SIZE));
                Some(Record::read(self.block, at))
            }
        }
    }

    /// The text of the edge to a node.
    #[inline]
    fn text(self, id: u32, node: Node<'p>) -> &'p [u16] {
        let at = self.nodes.saturating_add(size(id)).saturating_add(node::SIZE);
        self.block.slice(at, usize::from(node.u16(node::LENGTH)))
    }

    /// Arrives at a node: accepts its rules, and makes it active if the path goes on.
    #[inline]
    fn enter(self, id: u32, reached: &mut Reached<'_>) -> Result<(), Overflow> {
        let node = self.node(id);
        let mut list = node.u32(if reached.is_last { node::HERE } else { node::BELOW });
        if list & ALONE != 0 {
            let [low, high, ..] = list.to_le_bytes();
            reached.hits.insert(u16::from_le_bytes([low, high]));
            list = 0;
        }
        while list != 0 {
            let element = self.accepts.saturating_add(size(list).saturating_mul(ACCEPT));
            reached.hits.insert(self.block.u16(element));
            list = self.block.u32(element.saturating_add(1));
        }
        if reached.is_last {
            return Ok(());
        }
        let behind = self.wild(node).map_or(0, |wild| wild.u32(wild::STARS));
        if behind != 0 && !reached.stars.nodes().contains(&behind) {
            reached.stars.push(behind)?;
        }
        if node.u16(node::FLAGS) & node::INNER != 0 {
            reached.next.push(id)?;
        }
        Ok(())
    }

    /// Follows every edge of a node that a component matches.
    fn step(self, id: u32, name: Name<'_>, reached: &mut Reached<'_>) -> Result<(), Overflow> {
        let node = self.node(id);
        if node.u16(node::FLAGS) & node::LITERALS != 0 {
            let child = self.find(id, LITERAL, name.sum, reached, |text| text == name.units)?;
            if child != 0 {
                self.enter(child, reached)?;
            }
        }
        let Some(wild) = self.wild(node) else { return Ok(()) };
        let any = wild.u32(wild::ANY);
        if any != 0 {
            self.enter(any, reached)?;
        }
        let others = wild.u32(wild::OTHERS);
        if others != 0 {
            self.chain(others, name, reached)?;
        }
        // Most components are none of those looked for: their first or last two units tell.
        let first = pair_bits(name.units.iter().copied());
        if wild.u64(wild::FIRSTS) & first == first {
            self.keyed(id, PREFIX, wild.u32(wild::PREFIXES), name, reached)?;
        }
        let last = pair_bits(name.units.iter().rev().copied());
        if wild.u64(wild::LASTS) & last == last {
            self.keyed(id, SUFFIX, wild.u32(wild::SUFFIXES), name, reached)?;
        }
        Ok(())
    }

    /// Follows the edges whose literal beginning or end, of one of `lengths`, is that of the component.
    fn keyed(
        self,
        id: u32,
        kind: u16,
        mut lengths: u32,
        name: Name<'_>,
        reached: &mut Reached<'_>,
    ) -> Result<(), Overflow> {
        let mut sum = 0;
        for length in 1..=name.units.len().min(KEY_UNITS) {
            if lengths == 0 {
                break;
            }
            let start = name.units.len().saturating_sub(length);
            let (unit, key) = if kind == PREFIX {
                (name.units.get(length.saturating_sub(1)), name.units.get(..length))
            } else {
                (name.units.get(start), name.units.get(start..))
            };
            sum = hash(sum, u64::from(unit.copied().unwrap_or(0)));
            if lengths & 1 != 0 {
                let key = (kind, key.unwrap_or_default());
                let head = self.find(id, kind, sum, reached, |glob| key_of(glob) == key)?;
                self.chain(head, name, reached)?;
            }
            lengths >>= 1;
        }
        Ok(())
    }

    /// Follows those edges of a chain that match.
    fn chain(self, head: u32, name: Name<'_>, reached: &mut Reached<'_>) -> Result<(), Overflow> {
        let folded = |unit: u16| unit;
        let mut edge = head;
        while edge != 0 {
            let node = self.node(edge);
            if component_matches(&folded, self.text(edge, node), name.units) {
                self.enter(edge, reached)?;
            }
            edge = node.u32(node::NEXT);
        }
        Ok(())
    }

    /// The hashed edge of a node whose text is the right one; 0: none.
    #[inline]
    fn find(
        self,
        parent: u32,
        kind: u16,
        sum: u64,
        reached: &mut Reached<'_>,
        is_right: impl Fn(&[u16]) -> bool,
    ) -> Result<u32, Overflow> {
        let edge = edge(parent, kind, sum);
        let mut slot = usize::try_from(edge & 0xFFFF_FFFF).unwrap_or(0) & self.mask;
        loop {
            let place = self.table.saturating_add(slot.saturating_mul(SLOT));
            let found = self.block.u32(place.saturating_add(1));
            if found == 0 {
                return Ok(0);
            }
            if self.block.u16(place) == tag(edge) {
                let node = self.node(found);
                let flags = node.u16(node::FLAGS);
                if node.u32(node::PARENT) == parent
                    && flags & node::KIND == kind
                    && is_right(self.text(found, node))
                {
                    return Ok(found);
                }
            }
            reached.probes = reached.probes.checked_sub(1).ok_or(Overflow)?;
            slot = slot.saturating_add(1) & self.mask;
        }
    }
}

fn size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use std::format;
    use std::vec;
    use std::vec::Vec;

    use super::*;
    use crate::index::FILES;
    use crate::{Gather, HostUpcase, Key, Policy, Value, check, compile, kind};

    fn utf16(text: &str) -> Vec<u16> {
        text.encode_utf16().collect()
    }

    fn policy(patterns: &[std::string::String]) -> (Vec<u16>, Policy<Vec<u16>>) {
        let mut block = vec![0; 200_000];
        let mut gather = Gather::new(&mut block);
        gather.key(Key::Policies);
        gather.rule(&utf16("R"));
        let text = utf16(&(patterns.join("\0") + "\0\0"));
        let bytes: Vec<u8> = text.into_iter().flat_map(u16::to_le_bytes).collect();
        gather.value(&utf16(Value::Paths.name()), kind::MULTI_SZ, &bytes);
        let raw = gather.finish().expect("room enough");
        let mut none = |_: &[u16], _: &mut [u16]| None;
        let size = check(&raw, &HostUpcase, &mut none, &mut |problem| panic!("{problem}")).expect("valid");
        let mut compiled = vec![0; size];
        compile(&raw, &HostUpcase, &mut none, &mut compiled).expect("valid");
        let policy = compile(&raw, &HostUpcase, &mut none, vec![0; size]).expect("valid");
        (compiled, policy)
    }

    /// Patterns `\Device\A\N…` of which the last components all begin at the same slot, and one more.
    fn colliding(count: usize) -> Vec<std::string::String> {
        // Behind the three roots are `DEVICE` and `A`.
        let parent = 3 * node::SIZE + node::SIZE + "DEVICE".len();
        let parent = u32::try_from(parent).expect("small");
        let mask = ((count + 5) * 2).next_power_of_two() - 1;
        let is_there = |name: &std::string::String| {
            let units = utf16(name);
            let sum = units.chunks(4).fold(0, |sum, units| {
                let mut four = [0; 4];
                four[..units.len()].copy_from_slice(units);
                hash(sum, crate::text::pack(four))
            });
            (edge(parent, LITERAL, sum) & 0xFFFF_FFFF) as usize & mask == 7
        };
        (0..).map(|number| format!("N{number:07}")).filter(is_there).take(count + 1).collect()
    }

    #[test]
    fn a_table_filled_with_colliding_hashes_is_given_up_and_the_answer_is_the_same() {
        let mut names = colliding(1000);
        let other = names.pop().expect("one more");
        let patterns: Vec<_> = names.iter().map(|name| format!(r"\Device\A\{name}")).collect();
        let (block, policy) = policy(&patterns);
        let path = |name: &str| utf16(&format!(r"\Device\A\{name}"));
        let walked = |path: &[u16]| walk(&block, FILES, path, &HostUpcase, &mut Hits::default());
        assert_eq!(walked(&path(&other)), Err(Overflow));
        assert_eq!(walked(&path(&names[0])), Ok(()));
        let everyone = policy.match_process(&[], &HostUpcase);
        assert_eq!(policy.match_path(&path(&other), &everyone, &HostUpcase), None);
        for name in &names {
            assert_eq!(policy.match_path(&path(name), &everyone, &HostUpcase), Some(RuleId(0)), "{name}");
        }
    }
}

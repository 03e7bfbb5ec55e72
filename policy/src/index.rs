//! All path patterns of a policy as one tree of components, so that a path is looked up once and not once per
//! pattern.
//!
//! A node stands for the components before it; an edge is a literal component, a component with wildcards, or `**`.
//! Patterns that begin alike share nodes. Edges are found by hashing, not by asking each:
//!
//! | edge | found by |
//! |---|---|
//! | literal | the component |
//! | `lit*…` | its literal beginning, for each length in use at the node |
//! | `…*lit` | its literal end, likewise |
//! | `*` | one link of the node |
//! | other wildcards (`*a*`, `?x?`) | a chain at the node |
//! | `**` | one link of the node, to a node that stays active |
//!
//! Each node has two lists of rules to accept: for paths that end at it, and for paths that go on below it (`\**` at
//! the end of a pattern). A list of one rule, which most are, is the rule itself.
//!
//! What is read together lies together: behind the fields of a node is the text of the edge to it. Finding one edge among
//! many reads one slot of the hash table and one node, in memory that is mostly in no cache.

use crate::block::{Reader, Writer, small};
use crate::pattern::flag;
use crate::policy::{header, rule};
use crate::schema::Value;
use crate::text::{BACKSLASH, QUESTION, STAR, pack, split_once, unpack};

/// The fields of a node. Its text follows them.
pub(crate) mod node {
    pub(crate) const PARENT: usize = 0;
    /// The length of the text of the edge to it.
    pub(crate) const LENGTH: usize = 2;
    pub(crate) const FLAGS: usize = 3;
    /// The edges with wildcards: the number of a [`super::wild`] record, or 0.
    pub(crate) const WILD: usize = 4;
    /// The next edge with the same beginning or end, or in the chain of others.
    pub(crate) const NEXT: usize = 6;
    /// Lists of rules: 0 for none, one rule with [`super::ALONE`], or the number of an element.
    pub(crate) const HERE: usize = 8;
    pub(crate) const BELOW: usize = 10;
    pub(crate) const SIZE: usize = 12;

    /// Flags: what kind of edge leads here (two bits), …
    pub(crate) const KIND: u16 = 3;
    /// … whether literal edges lead on, …
    pub(crate) const LITERALS: u16 = 4;
    /// … whether any edge but `**` leads on, …
    pub(crate) const INNER: u16 = 8;
    /// … and whether the hash table leads to it (and not the edge before it in a chain).
    pub(crate) const HASHED: u16 = 16;
}

/// The edges with wildcards that lead on from a node. Few nodes have any.
pub(crate) mod wild {
    /// The edges that need no hashing.
    pub(crate) const ANY: usize = 0;
    pub(crate) const STARS: usize = 2;
    pub(crate) const OTHERS: usize = 4;
    /// Which lengths of literal beginnings are in use (bit 0 is length 1), and which first two units
    /// ([`super::pair_bits`]).
    pub(crate) const PREFIXES: usize = 6;
    pub(crate) const FIRSTS: usize = 8;
    /// The same for literal ends and their last two units.
    pub(crate) const SUFFIXES: usize = 12;
    pub(crate) const LASTS: usize = 14;
    pub(crate) const SIZE: usize = 18;
}

/// Kinds of edges that are hashed.
pub(crate) const LITERAL: u16 = 0;
pub(crate) const PREFIX: u16 = 1;
pub(crate) const SUFFIX: u16 = 2;
const UNHASHED: u16 = 3;

/// A node is known by where it begins, in units behind the first; 0, where there is one that is never used, is none.
/// Patterns of files and of streams begin at different roots.
pub(crate) const FILES: u32 = 12;
pub(crate) const STREAMS: u32 = 24;
const ROOTS: usize = 3;

/// A slot of the hash table: some bits of the hash, then the node.
pub(crate) const SLOT: usize = 3;
/// An element of a list of rules: the rule, with [`EXCLUDED`] or without, then the next element.
pub(crate) const ACCEPT: usize = 3;
pub(crate) const EXCLUDED: u16 = 0x8000;
/// In place of the number of an element: the only rule of a list.
pub(crate) const ALONE: u32 = 0x8000_0000;

/// Longest literal beginning or end that is hashed.
pub(crate) const KEY_UNITS: usize = 32;

const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

/// Adds a unit, or four, to the hash of a text.
#[inline]
pub(crate) fn hash(hash: u64, units: u64) -> u64 {
    (hash.rotate_left(5) ^ units).wrapping_mul(MULTIPLIER)
}

/// The hash of a whole component: four units at a time, zeros behind the last.
fn hash_whole(text: &[u16]) -> u64 {
    text.chunks(4).fold(0, |sum, units| {
        let mut four = [0; 4];
        four.iter_mut().zip(units).for_each(|(slot, unit)| *slot = *unit);
        hash(sum, pack(four))
    })
}

/// The bits that stand for the first two units of a component, or for its last two from the end: two of 64, so that
/// other units rarely have both.
#[inline]
pub(crate) fn pair_bits(mut units: impl Iterator<Item = u16>) -> u64 {
    let [outer, inner] = [(); 2].map(|()| u32::from(units.next().unwrap_or(0)));
    let mixed = (outer | inner << 16).wrapping_mul(0x9E37_79B1);
    1u64.wrapping_shl(mixed >> 26) | 1u64.wrapping_shl(mixed >> 20 & 63)
}

/// The bits of a literal beginning or end. One unit alone says nothing about the second: all bits.
fn key_bits(kind: u16, key: &[u16]) -> u64 {
    match (key.len(), kind) {
        (..=1, _) => u64::MAX,
        (_, SUFFIX) => pair_bits(key.iter().rev().copied()),
        _ => pair_bits(key.iter().copied()),
    }
}

/// The hash of an edge.
#[inline]
pub(crate) fn edge(parent: u32, kind: u16, text: u64) -> u64 {
    // The hash of a text is good in its upper half, and a product is so in bits above those of its factors that are.
    let mixed = (text.rotate_left(32) ^ (u64::from(parent) << 2) ^ u64::from(kind)).wrapping_mul(MULTIPLIER);
    mixed ^ (mixed >> 32)
}

/// What is compared of the hash before the node is looked at.
#[inline]
pub(crate) fn tag(edge: u64) -> u16 {
    let [.., low, high] = edge.to_le_bytes();
    u16::from_le_bytes([low, high])
}

/// What the index is made of, at most.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) patterns: usize,
    pub(crate) components: usize,
    /// Components with wildcards.
    pub(crate) wild: usize,
    /// Units of all components.
    pub(crate) units: usize,
}

impl Counts {
    fn nodes(self) -> usize {
        self.components.saturating_add(ROOTS)
    }

    /// How many units the nodes take, the records of edges with wildcards, the lists of rules, and the hash table.
    fn sizes(self) -> [usize; 4] {
        [
            self.nodes().saturating_mul(node::SIZE).saturating_add(self.units),
            self.wild.saturating_add(1).saturating_mul(wild::SIZE),
            self.patterns.saturating_add(1).saturating_mul(ACCEPT),
            slots(self.nodes()).saturating_mul(SLOT),
        ]
    }
}

/// How much the index of so much takes at most, while it is built.
pub(crate) fn bound(counts: Counts) -> usize {
    counts.sizes().into_iter().fold(0, usize::saturating_add)
}

/// Twice as many slots as nodes, at least, and a power of two.
fn slots(nodes: usize) -> usize {
    nodes.saturating_mul(2).checked_next_power_of_two().unwrap_or(usize::MAX)
}

/// The literal beginning or end by which a component with wildcards is found, or `UNHASHED`.
pub(crate) fn key_of(glob: &[u16]) -> (u16, &[u16]) {
    let is_wild = |unit: &u16| matches!(*unit, STAR | QUESTION);
    let before = glob.iter().position(is_wild).unwrap_or(glob.len());
    let after = glob.iter().rposition(is_wild).map_or(0, |at| at.saturating_add(1));
    let prefix = glob.get(..before.min(KEY_UNITS)).unwrap_or_default();
    let suffix = glob.get(after.max(glob.len().saturating_sub(KEY_UNITS))..).unwrap_or_default();
    match (prefix.len(), suffix.len()) {
        (0, 0) => (UNHASHED, &[]),
        (prefix_length, suffix_length) if prefix_length >= suffix_length => (PREFIX, prefix),
        _ => (SUFFIX, suffix),
    }
}

fn hash_of(kind: u16, key: &[u16]) -> u64 {
    match kind {
        LITERAL => hash_whole(key),
        SUFFIX => key.iter().rev().fold(0, |sum, &unit| hash(sum, u64::from(unit))),
        _ => key.iter().fold(0, |sum, &unit| hash(sum, u64::from(unit))),
    }
}

/// Builds the index of a block whose rules and patterns are complete, behind them. The block must have
/// room for [`bound`] behind `end`.
pub(crate) fn build(block: &mut [u16], end: usize, rules: usize, counts: Counts) {
    let [nodes, wilds, accepts, table] = counts.sizes();
    let wilds_at = end.saturating_add(nodes);
    let accepts_at = wilds_at.saturating_add(wilds);
    let table_at = accepts_at.saturating_add(accepts);
    let used = block.len().min(table_at.saturating_add(table));
    block.get_mut(end..used).unwrap_or_default().fill(0);
    let mut builder = Builder {
        block,
        nodes: end,
        length: ROOTS.saturating_mul(node::SIZE),
        count: ROOTS,
        wilds: wilds_at,
        wild: 1,
        accepts: accepts_at,
        accept: 1,
        table: table_at,
        slots: slots(counts.nodes()),
    };
    for index in 0..rules {
        for (list, excluded) in [(Value::Paths, 0), (Value::ExcludePaths, EXCLUDED)] {
            let record = rule::Record::new(builder.block, index);
            let (mut at, count) = record.list(list);
            let accept = u16::try_from(index).unwrap_or(0) | excluded;
            for _ in 0..count {
                let reader = Reader(builder.block);
                let (flags, length) = (reader.u16(at), usize::from(reader.u16(at.saturating_add(1))));
                at = at.saturating_add(2);
                if flags & flag::INACTIVE == 0 {
                    builder.pattern(
                        if flags & flag::STREAM == 0 { FILES } else { STREAMS },
                        at,
                        length,
                        accept,
                    );
                }
                at = at.saturating_add(length);
            }
        }
    }
    builder.finish();
}

struct Builder<'b> {
    block: &'b mut [u16],
    /// Where the nodes are, how many units they take, and how many they are.
    nodes: usize,
    length: usize,
    count: usize,
    /// Where the records of edges with wildcards are, and how many; number 0 is none.
    wilds: usize,
    wild: usize,
    /// Where the elements of lists of rules are, and how many; number 0 is none.
    accepts: usize,
    accept: usize,
    /// Where the hash table is, and its slots.
    table: usize,
    slots: usize,
}

impl Builder<'_> {
    fn pattern(&mut self, root: u32, at: usize, length: usize, accept: u16) {
        let mut node = root;
        // Every compiled pattern begins with a backslash.
        let mut at = at.saturating_add(1);
        let mut left = length.saturating_sub(1);
        loop {
            let (component, after) = split_once(Reader(self.block).slice(at, left), BACKSLASH);
            let (is_stars, is_last, length) =
                (matches!(component, [STAR, STAR]), after.is_none(), component.len());
            if is_stars && is_last {
                return self.accept(node, node::BELOW, accept);
            }
            node = if is_stars {
                self.linked(node, wild::STARS, at, length)
            } else {
                self.child(node, at, length)
            };
            if is_last {
                return self.accept(node, node::HERE, accept);
            }
            at = at.saturating_add(length).saturating_add(1);
            left = left.saturating_sub(length).saturating_sub(1);
        }
    }

    fn accept(&mut self, node: u32, list: usize, accept: u16) {
        let alone = u32::from(accept) | ALONE;
        let mut first = self.get(node, list);
        if first == 0 || first == alone {
            return self.set(node, list, alone);
        }
        if first & ALONE != 0 {
            let [low, high, ..] = first.to_le_bytes();
            first = self.element(u16::from_le_bytes([low, high]), 0);
        } else if Reader(self.block).u16(self.element_at(first)) == accept {
            return;
        }
        let element = self.element(accept, first);
        self.set(node, list, element);
    }

    /// Adds an element of a list of rules.
    fn element(&mut self, accept: u16, next: u32) -> u32 {
        let new = small(self.accept);
        self.accept = self.accept.saturating_add(1);
        let at = self.element_at(new);
        let mut out = Writer::starting_at(self.block, at);
        out.push(accept);
        out.push_u32(next);
        new
    }

    fn element_at(&self, element: u32) -> usize {
        self.accepts.saturating_add(index(element).saturating_mul(ACCEPT))
    }

    /// The node that an edge other than `**` leads to.
    fn child(&mut self, parent: u32, at: usize, length: usize) -> u32 {
        self.flag(parent, node::INNER);
        let component = Reader(self.block).slice(at, length);
        if matches!(component, [STAR]) {
            return self.linked(parent, wild::ANY, at, length);
        }
        if !component.iter().any(|unit| matches!(*unit, STAR | QUESTION)) {
            self.flag(parent, node::LITERALS);
            return self.hashed(parent, LITERAL, at, length);
        }
        let (kind, key) = key_of(component);
        let bit = 1u32.wrapping_shl(small(key.len().saturating_sub(1)));
        let pairs = key_bits(kind, key);
        let (lengths, ends) = match kind {
            PREFIX => (wild::PREFIXES, wild::FIRSTS),
            _ => (wild::SUFFIXES, wild::LASTS),
        };
        let head = if kind == UNHASHED {
            self.linked(parent, wild::OTHERS, at, length)
        } else {
            self.mark(parent, lengths, u64::from(bit));
            self.mark(parent, ends, pairs);
            self.hashed(parent, kind, at, length)
        };
        self.in_chain(head, parent, kind, at, length)
    }

    /// The node that one link of the parent leads to.
    fn linked(&mut self, parent: u32, link: usize, at: usize, length: usize) -> u32 {
        let link = self.wild(parent).saturating_add(link);
        let known = Reader(self.block).u32(link);
        if known != 0 {
            return known;
        }
        let new = self.node(parent, UNHASHED, at, length);
        Writer::starting_at(self.block, link).push_u32(new);
        new
    }

    /// Where the record of a node's edges with wildcards is; made if need be.
    fn wild(&mut self, node: u32) -> usize {
        let mut number = self.get(node, node::WILD);
        if number == 0 {
            number = small(self.wild);
            self.wild = self.wild.saturating_add(1);
            self.set(node, node::WILD, number);
        }
        self.wilds.saturating_add(index(number).saturating_mul(wild::SIZE))
    }

    /// Sets bits of a record.
    fn mark(&mut self, node: u32, field: usize, bits: u64) {
        let at = self.wild(node).saturating_add(field);
        for (place, part) in (at..).zip(unpack(bits)) {
            let part = Reader(self.block).u16(place) | part;
            if part != 0 {
                self.block.get_mut(place).into_iter().for_each(|slot| *slot = part);
            }
        }
    }

    /// The edge with exactly this text in a chain, added to it if need be.
    fn in_chain(&mut self, head: u32, parent: u32, kind: u16, at: usize, length: usize) -> u32 {
        let mut edge = head;
        while edge != 0 {
            if self.text(edge) == Reader(self.block).slice(at, length) {
                return edge;
            }
            edge = self.get(edge, node::NEXT);
        }
        let new = self.node(parent, kind, at, length);
        self.set(new, node::NEXT, self.get(head, node::NEXT));
        self.set(head, node::NEXT, new);
        new
    }

    /// The node that the hash table leads to, with the same key if not with the same text.
    fn hashed(&mut self, parent: u32, kind: u16, at: usize, length: usize) -> u32 {
        let text = Reader(self.block).slice(at, length);
        let key = if kind == LITERAL { text } else { key_of(text).1 };
        let edge = edge(parent, kind, hash_of(kind, key));
        let mut slot = self.first_slot(edge);
        loop {
            let place = self.table.saturating_add(slot.saturating_mul(SLOT));
            let known = Reader(self.block).u32(place.saturating_add(1));
            if known == 0 {
                let new = self.node(parent, kind, at, length);
                self.flag(new, node::HASHED);
                self.fill(place, edge, new);
                return new;
            }
            let same = self.get(known, node::PARENT) == parent && self.kind(known) == kind && {
                let text = Reader(self.block).slice(at, length);
                if kind == LITERAL {
                    self.text(known) == text
                } else {
                    key_of(self.text(known)) == key_of(text)
                }
            };
            if same {
                return known;
            }
            slot = self.next_slot(slot);
        }
    }

    fn node(&mut self, parent: u32, kind: u16, text: usize, length: usize) -> u32 {
        let new = small(self.length);
        self.count = self.count.saturating_add(1);
        self.length = self.length.saturating_add(node::SIZE).saturating_add(length);
        self.set(new, node::PARENT, parent);
        let mut out = Writer::starting_at(self.block, self.place(new, node::LENGTH));
        out.push(u16::try_from(length).unwrap_or(u16::MAX));
        out.push(kind);
        let to = self.place(new, node::SIZE);
        copy(self.block, text, to, length);
        new
    }

    /// Closes the gaps, and puts a hash table of the right size behind.
    fn finish(mut self) {
        let wilds = self.nodes.saturating_add(self.length);
        let length = self.wild.saturating_mul(wild::SIZE);
        copy(self.block, self.wilds, wilds, length);
        let accepts = wilds.saturating_add(length);
        let length = self.accept.saturating_mul(ACCEPT);
        copy(self.block, self.accepts, accepts, length);
        self.table = accepts.saturating_add(length);
        self.slots = slots(self.count);
        let end = self.table.saturating_add(self.slots.saturating_mul(SLOT));
        self.block.get_mut(self.table..end).unwrap_or_default().fill(0);
        let mut next = ROOTS.saturating_mul(node::SIZE);
        while next < self.length {
            let node = small(next);
            let text = self.text(node);
            next = next.saturating_add(node::SIZE).saturating_add(text.len());
            if self.flags(node) & node::HASHED == 0 {
                continue;
            }
            let kind = self.kind(node);
            let key = if kind == LITERAL { text } else { key_of(text).1 };
            let edge = edge(self.get(node, node::PARENT), kind, hash_of(kind, key));
            let mut slot = self.first_slot(edge);
            loop {
                let place = self.table.saturating_add(slot.saturating_mul(SLOT));
                if Reader(self.block).u32(place.saturating_add(1)) == 0 {
                    self.fill(place, edge, node);
                    break;
                }
                slot = self.next_slot(slot);
            }
        }
        let mut out = Writer::starting_at(self.block, header::NODES);
        out.push_u32(small(self.nodes));
        out.push_u32(small(wilds));
        out.push_u32(small(accepts));
        out.push_u32(small(self.table));
        out.push_u32(small(self.slots.saturating_sub(1)));
        out.push_u32(small(end));
    }

    fn fill(&mut self, place: usize, edge: u64, node: u32) {
        let mut out = Writer::starting_at(self.block, place);
        out.push(tag(edge));
        out.push_u32(node);
    }

    fn first_slot(&self, edge: u64) -> usize {
        usize::try_from(edge & 0xFFFF_FFFF).unwrap_or(0) & self.slots.saturating_sub(1)
    }

    fn next_slot(&self, slot: usize) -> usize {
        slot.saturating_add(1) & self.slots.saturating_sub(1)
    }

    fn place(&self, node: u32, field: usize) -> usize {
        self.nodes.saturating_add(index(node)).saturating_add(field)
    }

    fn get(&self, node: u32, field: usize) -> u32 {
        Reader(self.block).u32(self.place(node, field))
    }

    fn set(&mut self, node: u32, field: usize, value: u32) {
        let place = self.place(node, field);
        Writer::starting_at(self.block, place).push_u32(value);
    }

    fn flags(&self, node: u32) -> u16 {
        Reader(self.block).u16(self.place(node, node::FLAGS))
    }

    fn kind(&self, node: u32) -> u16 {
        self.flags(node) & node::KIND
    }

    fn flag(&mut self, node: u32, flag: u16) {
        let place = self.place(node, node::FLAGS);
        let flags = self.flags(node) | flag;
        Writer::starting_at(self.block, place).push(flags);
    }

    fn text(&self, node: u32) -> &[u16] {
        let reader = Reader(self.block);
        let length = usize::from(reader.u16(self.place(node, node::LENGTH)));
        reader.slice(self.place(node, node::SIZE), length)
    }
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Copies towards the beginning of the block, or to where nothing overlaps.
fn copy(block: &mut [u16], from: usize, to: usize, length: usize) {
    for offset in 0..length {
        let unit = Reader(block).u16(from.saturating_add(offset));
        block.get_mut(to.saturating_add(offset)).into_iter().for_each(|slot| *slot = unit);
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use std::collections::HashSet;
    use std::format;
    use std::vec::Vec;

    use super::*;

    fn utf16(text: &str) -> Vec<u16> {
        text.encode_utf16().collect()
    }

    /// Edges as a policy of many patterns has them: alike texts below many nodes, of each kind.
    fn edges() -> Vec<u64> {
        let texts: Vec<u64> =
            (0..150).map(|number| hash_of(LITERAL, &utf16(&format!("PROJECT{number}")))).collect();
        let below = |parent: u32| texts.iter().map(move |text| (parent, *text));
        let kinds = [LITERAL, PREFIX, SUFFIX];
        (1..100)
            .flat_map(below)
            .flat_map(|(parent, text)| kinds.map(|kind| edge(parent, kind, text)))
            .collect()
    }

    #[test]
    fn edges_differ_and_spread_over_the_table() {
        let edges = edges();
        assert_eq!(edges.iter().collect::<HashSet<_>>().len(), edges.len());
        let mask = slots(edges.len()) - 1;
        let mut table = std::vec![false; mask + 1];
        let mut passed_over = 0;
        for edge in &edges {
            let mut slot = (edge & 0xFFFF_FFFF) as usize & mask;
            while table[slot] {
                passed_over += 1;
                slot = (slot + 1) & mask;
            }
            table[slot] = true;
        }
        // In a table a third full, places at random make it a quarter for each.
        assert!(passed_over * 3 < edges.len(), "{passed_over} of {}", edges.len());
    }

    #[test]
    fn tags_tell_edges_in_neighbouring_slots_apart() {
        let edges = edges();
        let tags: HashSet<u16> = edges[..2000].iter().map(|edge| tag(*edge)).collect();
        assert!(tags.len() > 1900, "{}", tags.len());
    }

    #[test]
    fn hashes_of_texts_differ_in_each_unit_and_in_their_order() {
        let texts: Vec<Vec<u16>> = (0..20_000).map(|number| utf16(&format!("{number}AB{number}"))).collect();
        for kind in [LITERAL, PREFIX, SUFFIX] {
            let hashes: HashSet<u64> = texts.iter().map(|text| hash_of(kind, text)).collect();
            assert_eq!(hashes.len(), texts.len());
        }
        assert_ne!(hash_of(PREFIX, &utf16("AB")), hash_of(PREFIX, &utf16("BA")));
        assert_eq!(hash_of(PREFIX, &utf16("AB")), hash_of(SUFFIX, &utf16("BA")));
    }

    #[test]
    fn the_bits_of_two_units_are_rarely_those_of_two_others() {
        let letters = 0x41u16..0x5B;
        let pairs: Vec<[u16; 2]> =
            letters.clone().flat_map(|one| letters.clone().map(move |two| [one, two])).collect();
        let mut confused = 0;
        for one in &pairs {
            let bits = pair_bits(one.iter().copied());
            assert!((1..=2).contains(&bits.count_ones()));
            let others = pairs.iter().filter(|two| *two != one);
            confused += others.filter(|two| pair_bits(two.iter().copied()) & !bits == 0).count();
        }
        let all = pairs.len() * (pairs.len() - 1);
        assert!(confused * 200 < all, "{confused} of {all}");
        assert_eq!(pair_bits([0x41].into_iter()), pair_bits([0x41, 0].into_iter()));
    }

    #[test]
    fn a_component_is_found_by_its_longer_literal_end() {
        for (glob, kind, key) in [
            ("ABC*D", PREFIX, "ABC"),
            ("A*BCD", SUFFIX, "BCD"),
            ("A*B", PREFIX, "A"),
            ("*B?C", SUFFIX, "C"),
            ("A?C*", PREFIX, "A"),
            ("*A*", UNHASHED, ""),
            ("?", UNHASHED, ""),
        ] {
            assert_eq!(key_of(&utf16(glob)), (kind, utf16(key).as_slice()), "{glob}");
        }
        let long = "L".repeat(KEY_UNITS + 1);
        assert_eq!(key_of(&utf16(&format!("{long}*"))).1.len(), KEY_UNITS);
        assert_eq!(key_of(&utf16(&format!("*{long}"))).1.len(), KEY_UNITS);
    }

    #[test]
    fn one_unit_stands_for_every_second_one() {
        assert_eq!(key_bits(PREFIX, &utf16("A")), u64::MAX);
        assert_eq!(key_bits(PREFIX, &utf16("AB")), pair_bits([0x41, 0x42].into_iter()));
        assert_eq!(key_bits(SUFFIX, &utf16("AB")), pair_bits([0x42, 0x41].into_iter()));
    }
}

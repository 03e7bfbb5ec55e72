//! What was read from the registry, in one block: keys, rules and values in the order in which they were met.

use crate::block::{Reader, Writer};

/// Where a rule was read from. Rules of the first hide rules of the same name in the second, and so do root values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// `HKLM\SOFTWARE\Policies\Intact`: Group Policy and Intune.
    Policies,
    /// The service's `Parameters` key: the local administrator.
    Parameters,
}

impl Key {
    /// The name of the key, for messages.
    pub fn name(self) -> &'static str {
        match self {
            Key::Policies => r"HKLM\SOFTWARE\Policies\Intact",
            Key::Parameters => r"HKLM\SYSTEM\CurrentControlSet\Services\Intact\Parameters",
        }
    }

    pub(crate) fn from_index(index: u16) -> Key {
        if index == Key::Policies as u16 { Key::Policies } else { Key::Parameters }
    }
}

/// The block was too small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// Units that are needed instead.
    pub needed: usize,
}

const KEY: u16 = 1;
const RULE: u16 = 2;
const VALUE: u16 = 3;
/// Tag and length of a record.
const HEAD: usize = 3;

/// Collects registry keys and values in a block of the caller's.
///
/// Values are kept byte for byte; nothing is judged here. When the block is full, gathering goes on counting, so one
/// pass over an empty block says how large it has to be.
pub struct Gather<'a> {
    out: Writer<'a>,
}

impl<'a> Gather<'a> {
    /// Starts with an empty block.
    pub fn new(block: &'a mut [u16]) -> Self {
        Gather { out: Writer::new(block) }
    }

    /// What follows was read from this key: root values until the first [`Gather::rule`].
    pub fn key(&mut self, key: Key) {
        let start = self.begin(KEY);
        self.out.push(key as u16);
        self.end(start);
    }

    /// What follows is the subkey of the rule with this name.
    pub fn rule(&mut self, name: &[u16]) {
        let start = self.begin(RULE);
        self.out.extend(name);
        self.end(start);
    }

    /// One value of the current key or rule, as `ZwQueryValueKey` returns it: its type ([`crate::kind`]) and bytes.
    pub fn value(&mut self, name: &[u16], kind: u32, data: &[u8]) {
        let start = self.begin(VALUE);
        self.out.push_u32(kind);
        self.out.push_u32(u32::try_from(name.len()).unwrap_or(u32::MAX));
        self.out.push_u32(u32::try_from(data.len()).unwrap_or(u32::MAX));
        self.out.extend(name);
        for pair in data.chunks(2) {
            let low = pair.first().copied().unwrap_or(0);
            let high = pair.get(1).copied().unwrap_or(0);
            self.out.push(u16::from_le_bytes([low, high]));
        }
        self.end(start);
    }

    /// Units used so far, or needed, when that is more than the block has.
    pub fn needed(&self) -> usize {
        self.out.at()
    }

    /// What was gathered, or how large a block it takes.
    pub fn finish(self) -> Result<Raw<'a>, Full> {
        let needed = self.out.at();
        match self.out.finish() {
            Some(block) => Ok(Raw { block }),
            None => Err(Full { needed }),
        }
    }

    fn begin(&mut self, tag: u16) -> usize {
        let start = self.out.at();
        self.out.push(tag);
        self.out.push_u32(0);
        start
    }

    fn end(&mut self, start: usize) {
        let length = self.out.at().saturating_sub(start).saturating_sub(HEAD);
        self.out.set_u32(start.saturating_add(1), u32::try_from(length).unwrap_or(u32::MAX));
    }
}

/// A gathered policy, not judged yet.
#[derive(Clone, Copy, Debug)]
pub struct Raw<'a> {
    block: &'a [u16],
}

/// One value as it was gathered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawValue<'a> {
    pub(crate) name: &'a [u16],
    pub(crate) kind: u32,
    /// Bytes of data; one less than the units hold if odd.
    pub(crate) bytes: u32,
    pub(crate) units: &'a [u16],
}

/// The values of one key or rule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawSection<'a> {
    pub(crate) key: Key,
    /// `None`: the policy key itself.
    pub(crate) rule: Option<&'a [u16]>,
    values: &'a [u16],
}

impl<'a> Raw<'a> {
    /// Every key and rule, in order.
    pub(crate) fn sections(self) -> impl Iterator<Item = RawSection<'a>> {
        let mut rest = self.block;
        let mut key = Key::Parameters;
        core::iter::from_fn(move || {
            let (tag, payload, after) = record(rest)?;
            if tag == KEY {
                key = Key::from_index(payload.first().copied().unwrap_or(0));
            }
            let mut end = after;
            while let Some((VALUE, _, next)) = record(end) {
                end = next;
            }
            let values = after.get(..after.len().saturating_sub(end.len())).unwrap_or(&[]);
            rest = end;
            Some(RawSection { key, rule: (tag == RULE).then_some(payload), values })
        })
    }
}

impl<'a> RawSection<'a> {
    pub(crate) fn values(self) -> impl Iterator<Item = RawValue<'a>> {
        let mut rest = self.values;
        core::iter::from_fn(move || {
            let (_, payload, after) = record(rest)?;
            rest = after;
            let fields = Reader(payload);
            let name_length = usize::try_from(fields.u32(2)).unwrap_or(usize::MAX);
            let (name, units) = payload.get(6..)?.split_at_checked(name_length)?;
            Some(RawValue { name, kind: fields.u32(0), bytes: fields.u32(4), units })
        })
    }
}

/// The first record: its tag, its payload and what follows it.
fn record(block: &[u16]) -> Option<(u16, &[u16], &[u16])> {
    let (tag, rest) = block.split_first()?;
    let length = usize::try_from(Reader(rest).u32(0)).ok()?;
    let (payload, after) = rest.get(2..)?.split_at_checked(length)?;
    Some((*tag, payload, after))
}

//! What was read from the registry, in one block: keys, rules and values in the order in which they were met.

use crate::block::{Reader, Writer, small};
use crate::text::is_ascii_word;

/// Where a rule was read from. Rules of the first hide rules of the same name in the second, and so do root values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// `HKLM\SOFTWARE\Policies\Intact`: Group Policy and Intune.
    Policies,
    /// The service's `Parameters` key: the local administrator. What Filter Manager keeps there (`Instances`,
    /// `SupportedFeatures`) is no part of the policy.
    Parameters,
}

impl Key {
    /// Its full path, as Regedit writes it.
    pub fn path(self) -> &'static str {
        match self {
            Key::Policies => r"HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Intact",
            Key::Parameters => r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\Intact\Parameters",
        }
    }

    /// Whether a subkey is Filter Manager's: from Windows 11 24H2 on, instances are below the service's `Parameters`
    /// (minifilter-rules §3.8), so no local rule can have this name.
    pub(crate) fn is_foreign_rule(self, name: &[u16]) -> bool {
        self == Key::Parameters && is_ascii_word(name, "Instances")
    }

    /// Whether a value of the key itself is Filter Manager's.
    pub(crate) fn is_foreign_value(self, name: &[u16]) -> bool {
        self == Key::Parameters && is_ascii_word(name, "SupportedFeatures")
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

// The block: sections, each a tag, the length of its subject (a key or a rule's name) and of its values, the subject,
// the values. A value: the lengths of its name, of its data in units and in bytes, its type, name and data.
const KEY: u16 = 1;
const RULE: u16 = 2;
const SECTION_HEAD: usize = 5;
const VALUE_HEAD: usize = 8;

/// Collects registry keys and values in a block of the caller's.
///
/// Values are kept byte for byte; nothing is judged here. When the block is full, gathering goes on counting, so one
/// pass over an empty block says how large it has to be.
pub struct Gather<'a> {
    out: Writer<'a>,
    /// Where the section that is being filled begins, and where its values do.
    section: Option<(usize, usize)>,
}

impl<'a> Gather<'a> {
    /// Starts with an empty block.
    pub fn new(block: &'a mut [u16]) -> Self {
        Gather { out: Writer::new(block), section: None }
    }

    /// What follows was read from this key: root values until the first [`Gather::rule`].
    pub fn key(&mut self, key: Key) {
        self.section(KEY, &[key as u16]);
    }

    /// What follows is the subkey of the rule with this name.
    pub fn rule(&mut self, name: &[u16]) {
        self.section(RULE, name);
    }

    /// One value of the current key or rule, as `ZwQueryValueKey` returns it: its type ([`crate::kind`]) and bytes.
    /// Values before the first [`Gather::key`] are not kept.
    pub fn value(&mut self, name: &[u16], kind: u32, data: &[u8]) {
        let Some((start, values)) = self.section else { return };
        self.out.push_u32(small(name.len()));
        self.out.push_u32(small(data.len().div_ceil(2)));
        self.out.push_u32(small(data.len()));
        self.out.push_u32(kind);
        self.out.extend(name);
        for pair in data.chunks(2) {
            let low = pair.first().copied().unwrap_or(0);
            let high = pair.get(1).copied().unwrap_or(0);
            self.out.push(u16::from_le_bytes([low, high]));
        }
        let length = self.out.at().saturating_sub(values);
        self.out.set_u32(start.saturating_add(3), small(length));
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

    fn section(&mut self, tag: u16, subject: &[u16]) {
        let start = self.out.at();
        self.out.push(tag);
        self.out.push_u32(small(subject.len()));
        self.out.push_u32(0);
        self.out.extend(subject);
        self.section = Some((start, self.out.at()));
    }
}

/// A gathered policy, not judged yet.
///
/// Two are equal if the same was read in the same order: Windows reports a change of a key also when Group Policy writes
/// again what is there, and then there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
            let head = Reader(rest);
            let (subject, after) = rest.get(SECTION_HEAD..)?.split_at_checked(head.size(1))?;
            let (values, after) = after.split_at_checked(head.size(3))?;
            rest = after;
            let is_rule = head.u16(0) == RULE;
            if !is_rule {
                key = Key::from_index(subject.first().copied().unwrap_or(0));
            }
            Some(RawSection { key, rule: is_rule.then_some(subject), values })
        })
    }
}

impl<'a> RawSection<'a> {
    /// Whether it has no values.
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub(crate) fn values(self) -> impl Iterator<Item = RawValue<'a>> {
        let mut rest = self.values;
        core::iter::from_fn(move || {
            let head = Reader(rest);
            let (name, after) = rest.get(VALUE_HEAD..)?.split_at_checked(head.size(0))?;
            let (units, after) = after.split_at_checked(head.size(2))?;
            rest = after;
            Some(RawValue { name, kind: head.u32(6), bytes: head.u32(4), units })
        })
    }
}

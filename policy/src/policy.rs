//! A compiled policy: one block that is never changed, and the questions it answers.
//!
//! Layout, in UTF-16 units (numbers of 32 bits take two): a header, the rule records in the order in which rules
//! are asked, then names and pattern lists, then the index. A pattern is its flags, its length and its units.

use crate::block::Reader;
use crate::gather::{Full, Key};
use crate::glob;
use crate::index::{FILES, STREAMS};
use crate::pattern::{Subject, flag};
use crate::schema::{OnExit, OnFlush, OnUnavailable, Scope, Settings, Value};
use crate::text::Upcase;
use crate::walk::{Hits, Overflow, walk};
use crate::{MAX_PATH_UNITS, MAX_RULES};

pub(crate) const MAGIC: u16 = 0x4950;
pub(crate) const HEADER: usize = 16;

pub(crate) mod header {
    pub(crate) const MAGIC: usize = 0;
    pub(crate) const ENABLED: usize = 1;
    pub(crate) const RULES: usize = 2;
    /// The index: its nodes, its records of edges with wildcards, its elements of lists of rules, its hash table, the
    /// table's mask.
    pub(crate) const NODES: usize = 4;
    pub(crate) const WILDS: usize = 6;
    pub(crate) const ACCEPTS: usize = 8;
    pub(crate) const TABLE: usize = 10;
    pub(crate) const MASK: usize = 12;
    /// Units in use.
    pub(crate) const END: usize = 14;
}

/// The record of a rule: where its fields are.
pub(crate) mod rule {
    use super::{HEADER, Reader, Value};

    pub(crate) const NAME: usize = 0;
    pub(crate) const NAME_LENGTH: usize = 2;
    pub(crate) const KEY: usize = 4;
    pub(crate) const SIZE: usize = 40;

    /// Where a pattern list is: its start, then its count.
    pub(crate) fn list(value: Value) -> Option<usize> {
        Some(match value {
            Value::Paths => 6,
            Value::ExcludePaths => 10,
            Value::Processes => 14,
            Value::ExcludeProcesses => 18,
            _ => return None,
        })
    }

    /// Where a choice of words is.
    pub(crate) fn word(value: Value) -> Option<usize> {
        Some(match value {
            Value::Scope => 22,
            Value::OnExit => 23,
            Value::OnFlush => 24,
            Value::OnUnavailable => 25,
            _ => return None,
        })
    }

    /// Where a number is.
    pub(crate) fn number(value: Value) -> Option<usize> {
        Some(match value {
            Value::Order => 26,
            Value::SettleMilliseconds => 28,
            Value::MaxSeconds => 30,
            Value::MaxMegabytes => 32,
            Value::MaxIdleSeconds => 34,
            Value::AuditOnly => 36,
            Value::IncludeChildren => 38,
            _ => return None,
        })
    }

    #[derive(Clone, Copy)]
    pub(crate) struct Record<'p> {
        block: Reader<'p>,
        at: usize,
    }

    impl<'p> Record<'p> {
        pub(crate) fn new(block: &'p [u16], index: usize) -> Self {
            Record { block: Reader(block), at: HEADER.saturating_add(index.saturating_mul(SIZE)) }
        }

        fn field(self, offset: usize) -> usize {
            self.at.saturating_add(offset)
        }

        pub(crate) fn name(self) -> &'p [u16] {
            self.block.slice(self.block.size(self.field(NAME)), self.block.size(self.field(NAME_LENGTH)))
        }

        pub(crate) fn order(self) -> u32 {
            self.number(Value::Order)
        }

        pub(crate) fn key(self) -> u16 {
            self.block.u16(self.field(KEY))
        }

        pub(crate) fn word(self, value: Value) -> u16 {
            word(value).map_or(0, |offset| self.block.u16(self.field(offset)))
        }

        pub(crate) fn number(self, value: Value) -> u32 {
            number(value).map_or(0, |offset| self.block.u32(self.field(offset)))
        }

        /// Where a list of patterns is, and how many it has.
        pub(crate) fn list(self, value: Value) -> (usize, u32) {
            let offset = list(value).map_or(0, |offset| self.field(offset));
            (self.block.size(offset), self.block.u32(offset.saturating_add(2)))
        }

        /// The patterns of a list: flags and units.
        pub(crate) fn patterns(self, value: Value) -> impl Iterator<Item = (u16, &'p [u16])> {
            let (mut at, mut left) = self.list(value);
            core::iter::from_fn(move || {
                left = left.checked_sub(1)?;
                let length = usize::from(self.block.u16(at.saturating_add(1)));
                let units = self.block.slice(at.saturating_add(2), length);
                let flags = self.block.u16(at);
                at = at.saturating_add(2).saturating_add(length);
                Some((flags, units))
            })
        }

        pub(crate) fn is_empty(self, value: Value) -> bool {
            self.list(value).1 == 0
        }
    }
}

/// A rule of one policy, by its place in the order in which rules are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub u16);

/// A set of rules of one policy: which of them are about a process. It means nothing with any other policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleSet {
    words: [u64; MAX_RULES / 64],
}

impl Default for RuleSet {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl RuleSet {
    /// No rule.
    pub const EMPTY: RuleSet = RuleSet { words: [0; MAX_RULES / 64] };

    /// Whether the rule is in the set.
    #[inline]
    pub fn contains(&self, rule: RuleId) -> bool {
        let (word, bit) = place(rule);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Adds a rule; one past [`MAX_RULES`] is not added.
    pub fn insert(&mut self, rule: RuleId) {
        let (word, bit) = place(rule);
        if let Some(word) = self.words.get_mut(word) {
            *word |= bit;
        }
    }

    /// Whether no rule is in the set: the process needs no more questions.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// The first rule that is in this set and in `other`, and not in `without`.
    fn first(&self, other: &RuleSet, without: &RuleSet) -> Option<RuleId> {
        let words = self.words.iter().zip(&other.words).zip(&without.words);
        let (word, bits) = words
            .map(|((one, other), without)| one & other & !without)
            .enumerate()
            .find(|&(_, bits)| bits != 0)?;
        u16::try_from(word.saturating_mul(64).saturating_add(usize::try_from(bits.trailing_zeros()).ok()?))
            .ok()
            .map(RuleId)
    }
}

fn place(rule: RuleId) -> (usize, u64) {
    (usize::from(rule.0 >> 6), 1u64.wrapping_shl(u32::from(rule.0 & 63)))
}

/// What a rule is called and how its saves behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule<'p> {
    /// The name of its registry key.
    pub name: &'p [u16],
    /// The key that it was read from.
    pub key: Key,
    /// Lower is asked first.
    pub order: u32,
    /// How its saves behave.
    pub settings: Settings,
}

/// A compiled policy in a block `B` (pool memory in a driver, a vector elsewhere). It answers at any IRQL at which its
/// block and the paths may be read, allocates nothing, and uses a small and fixed amount of stack.
#[derive(Clone, Debug)]
pub struct Policy<B> {
    block: B,
}

impl<B: AsRef<[u16]>> Policy<B> {
    pub(crate) fn new(block: B) -> Self {
        Policy { block }
    }

    /// Whether Intact is switched on (`Enabled`). A policy that is switched off matches nothing.
    pub fn is_enabled(&self) -> bool {
        self.reader().u16(header::MAGIC) == MAGIC && self.reader().u16(header::ENABLED) != 0
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.reader().size(header::RULES).min(MAX_RULES)
    }

    /// Whether there are no rules.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every rule, in the order in which they are asked.
    pub fn rules(&self) -> impl Iterator<Item = RuleId> + use<B> {
        (0..u16::try_from(self.len()).unwrap_or(u16::MAX)).map(RuleId)
    }

    /// A rule of this policy.
    pub fn rule(&self, id: RuleId) -> Option<Rule<'_>> {
        if usize::from(id.0) >= self.len() {
            return None;
        }
        let record = self.record(id);
        Some(Rule {
            name: record.name(),
            key: Key::from_index(record.key()),
            order: record.order(),
            settings: Settings {
                scope: Scope::from_index(record.word(Value::Scope)),
                include_children: record.number(Value::IncludeChildren) != 0,
                on_exit: OnExit::from_index(record.word(Value::OnExit)),
                on_flush: OnFlush::from_index(record.word(Value::OnFlush)),
                on_unavailable: OnUnavailable::from_index(record.word(Value::OnUnavailable)),
                settle_milliseconds: record.number(Value::SettleMilliseconds),
                max_seconds: record.number(Value::MaxSeconds),
                max_megabytes: record.number(Value::MaxMegabytes),
                max_idle_seconds: record.number(Value::MaxIdleSeconds),
                audit_only: record.number(Value::AuditOnly) != 0,
            },
        })
    }

    /// The rules that are about the process with this image path (`\Device\HarddiskVolume1\…\winword.exe`). The
    /// answer holds for the life of the process and of the policy: ask once.
    pub fn match_process<U: Upcase + ?Sized>(&self, image: &[u16], upcase: &U) -> RuleSet {
        let mut set = RuleSet::EMPTY;
        if self.is_enabled() && image.len() <= MAX_PATH_UNITS {
            let image = Subject::new(image);
            for id in self.rules() {
                let record = self.record(id);
                if (record.is_empty(Value::Processes) || any(upcase, record, Value::Processes, &image))
                    && !any(upcase, record, Value::ExcludeProcesses, &image)
                {
                    set.insert(id);
                }
            }
        }
        set
    }

    /// The rules that are about a process which a program of the rules `inherited` has started: its own, and those of
    /// `inherited` that include children and do not exclude it.
    pub fn match_child<U: Upcase + ?Sized>(&self, image: &[u16], inherited: &RuleSet, upcase: &U) -> RuleSet {
        let mut set = self.match_process(image, upcase);
        if self.is_enabled() {
            let inherits = |id: &RuleId| inherited.contains(*id) && self.includes_children(*id);
            self.rules()
                .filter(inherits)
                .filter(|&id| !self.excludes_process(id, image, upcase))
                .for_each(|id| set.insert(id));
        }
        set
    }

    /// Whether what a program of a rule starts counts as that program.
    pub fn includes_children(&self, id: RuleId) -> bool {
        self.rule(id).is_some_and(|rule| rule.settings.include_children)
    }

    /// Whether a rule takes the process with this image path out.
    pub fn excludes_process<U: Upcase + ?Sized>(&self, id: RuleId, image: &[u16], upcase: &U) -> bool {
        image.len() > MAX_PATH_UNITS
            || usize::from(id.0) < self.len()
                && any(upcase, self.record(id), Value::ExcludeProcesses, &Subject::new(image))
    }

    /// The rule with this name, as it is written in the policy.
    pub fn find(&self, name: &[u16]) -> Option<RuleId> {
        self.rules().find(|&id| self.record(id).name() == name)
    }

    /// The first rule, of those that are about the process, that is about the file with this normalized name
    /// (`\Device\HarddiskVolume1\Data\a.txt`, with or without `:stream:$DATA`).
    ///
    /// The cost is that of the path's length and of the few patterns that come close to it, whatever the number of
    /// others. Against patterns and paths made to be slow it is at most twice that of
    /// [`Policy::match_path_one_by_one`]. Stack: less than 2 KiB.
    pub fn match_path<U: Upcase + ?Sized>(
        &self,
        path: &[u16],
        process: &RuleSet,
        upcase: &U,
    ) -> Option<RuleId> {
        if !self.is_enabled() || path.len() > MAX_PATH_UNITS {
            return None;
        }
        let file = Subject::new(path);
        let block = self.block.as_ref();
        let mut hits = Hits::default();
        let walked = walk(block, FILES, file.file, upcase, &mut hits).and_then(|()| match file.with_stream {
            Some(path) => walk(block, STREAMS, path, upcase, &mut hits),
            None => Ok(()),
        });
        match walked {
            Ok(()) => hits.included.first(process, &hits.excluded),
            Err(Overflow) => self.match_path_one_by_one(path, process, upcase),
        }
    }

    /// The same answer as [`Policy::match_path`], by asking every pattern of every rule: at most
    /// `length of all patterns × length of the path` steps.
    pub fn match_path_one_by_one<U: Upcase + ?Sized>(
        &self,
        path: &[u16],
        process: &RuleSet,
        upcase: &U,
    ) -> Option<RuleId> {
        if !self.is_enabled() || path.len() > MAX_PATH_UNITS {
            return None;
        }
        let file = Subject::new(path);
        self.rules().filter(|&id| process.contains(id)).find(|&id| {
            let record = self.record(id);
            any(upcase, record, Value::Paths, &file) && !any(upcase, record, Value::ExcludePaths, &file)
        })
    }

    /// How many units of the block are in use: fewer than [`crate::check`] asked for, because building takes more.
    pub fn size(&self) -> usize {
        self.reader().size(header::END)
    }

    /// The same policy in another block, of [`Policy::size`] units or more.
    pub fn copy_to<C: AsRef<[u16]> + AsMut<[u16]>>(&self, mut block: C) -> Result<Policy<C>, Full> {
        let needed = self.size();
        let room = block.as_mut().get_mut(..needed).ok_or(Full { needed })?;
        room.iter_mut().zip(self.block.as_ref()).for_each(|(to, from)| *to = *from);
        Ok(Policy { block })
    }

    /// Which element of a list of a rule, counted from 1, is the first that matches a path or image: why a rule matches,
    /// or does not. For tools; a driver asks [`Policy::match_path`].
    pub fn matching_element<U: Upcase + ?Sized>(
        &self,
        id: RuleId,
        list: Value,
        path: &[u16],
        upcase: &U,
    ) -> Option<usize> {
        let subject = Subject::new(path);
        let mut patterns = self.record(id).patterns(list);
        patterns.position(|pattern| matches(upcase, pattern, &subject)).map(|place| place.saturating_add(1))
    }

    /// How many elements of path lists are inactive because their volume was not there. A caller compiles again when a
    /// volume comes, unless there are none.
    pub fn inactive_paths(&self) -> usize {
        let lists = [Value::Paths, Value::ExcludePaths];
        let patterns = self.rules().flat_map(|id| lists.map(|list| self.record(id).patterns(list))).flatten();
        patterns.filter(|(flags, _)| flags & flag::INACTIVE != 0).count()
    }

    /// How many elements a list of a rule has, inactive ones included.
    pub fn elements(&self, id: RuleId, list: Value) -> usize {
        usize::try_from(self.record(id).list(list).1).unwrap_or(usize::MAX)
    }

    fn record(&self, id: RuleId) -> rule::Record<'_> {
        rule::Record::new(self.block.as_ref(), usize::from(id.0))
    }

    fn reader(&self) -> Reader<'_> {
        Reader(self.block.as_ref())
    }
}

/// Whether any pattern of a list matches.
fn any<U: Upcase + ?Sized>(upcase: &U, record: rule::Record<'_>, list: Value, subject: &Subject<'_>) -> bool {
    record.patterns(list).any(|pattern| matches(upcase, pattern, subject))
}

/// Whether one pattern, with its flags, matches.
fn matches<U: Upcase + ?Sized>(upcase: &U, (flags, pattern): (u16, &[u16]), subject: &Subject<'_>) -> bool {
    if flags & flag::INACTIVE != 0 {
        return false;
    }
    if flags & flag::NAME != 0 {
        return glob::component_matches(upcase, pattern, subject.name());
    }
    if flags & flag::STREAM != 0 {
        return subject.with_stream.is_some_and(|path| glob::matches(upcase, pattern, path));
    }
    glob::matches(upcase, pattern, subject.file)
}

//! From gathered registry values to the block that [`Policy`] matches with.

use core::cmp::Ordering;

use crate::block::{Reader, Writer, small};
use crate::gather::{Full, Key, Raw, RawSection, RawValue};
use crate::index;
use crate::pattern::{self, Fault, LastVolume, flag};
use crate::policy::{HEADER, MAGIC, Policy, header, rule};
use crate::problem::{Problem, Reason};
use crate::schema::{Kind, Scope, Value, kind};
use crate::text::{Upcase, compare, is_ascii_word, split_once};
use crate::{MAX_RULES, MAX_UNITS, SCHEMA_VERSION};

/// Finds the device behind a drive letter or volume GUID.
pub trait Volumes {
    /// Writes the target of the symbolic link `link` (`\??\C:` or `\??\Volume{…}`) to `device` and returns its length
    /// in units; `None` if there is no such link or its target does not fit.
    fn device(&mut self, link: &[u16], device: &mut [u16]) -> Option<usize>;
}

impl<F: FnMut(&[u16], &mut [u16]) -> Option<usize>> Volumes for F {
    fn device(&mut self, link: &[u16], device: &mut [u16]) -> Option<usize> {
        self(link, device)
    }
}

/// The policy has errors; all of them were reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// How many.
    pub errors: u32,
}

/// Why there is no compiled policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompileError {
    /// It has errors.
    Invalid(Invalid),
    /// The block is too small: it takes [`Full::needed`] units.
    Full(Full),
}

/// Reports everything that is wrong with a policy, errors and warnings, and returns how many units the compiled policy
/// takes.
pub fn check<U: Upcase + ?Sized, V: Volumes + ?Sized>(
    raw: &Raw<'_>,
    upcase: &U,
    volumes: &mut V,
    report: &mut dyn FnMut(&Problem<'_>),
) -> Result<usize, Invalid> {
    Compiler::new(raw, upcase, volumes, report, &mut []).run()
}

/// Compiles a policy into `block`, which may be larger than needed. Problems are not reported again.
///
/// The volumes are asked again: if one has come or gone since [`check`], the size may differ.
pub fn compile<U: Upcase + ?Sized, V: Volumes + ?Sized, B: AsRef<[u16]> + AsMut<[u16]>>(
    raw: &Raw<'_>,
    upcase: &U,
    volumes: &mut V,
    mut block: B,
) -> Result<Policy<B>, CompileError> {
    let room = block.as_mut();
    let length = room.len();
    let report = &mut |_: &Problem<'_>| {};
    let needed = Compiler::new(raw, upcase, volumes, report, room).run().map_err(CompileError::Invalid)?;
    if needed > length {
        return Err(CompileError::Full(Full { needed }));
    }
    Ok(Policy::new(block))
}

struct Compiler<'r, 'w, U: ?Sized, V: ?Sized> {
    raw: Raw<'r>,
    upcase: &'w U,
    volumes: &'w mut V,
    report: &'w mut dyn FnMut(&Problem<'_>),
    errors: u32,
    last: LastVolume,
    out: Writer<'w>,
    /// Patterns of files: the index is made of them.
    counts: index::Counts,
}

impl<'r, 'w, U: Upcase + ?Sized, V: Volumes + ?Sized> Compiler<'r, 'w, U, V> {
    fn new(
        raw: &Raw<'r>,
        upcase: &'w U,
        volumes: &'w mut V,
        report: &'w mut dyn FnMut(&Problem<'_>),
        block: &'w mut [u16],
    ) -> Self {
        let (last, out) = (LastVolume::new(), Writer::new(block));
        let counts = index::Counts::default();
        Compiler { raw: *raw, upcase, volumes, report, errors: 0, last, out, counts }
    }

    /// Returns how many units it takes; they are written if the block has them.
    fn run(&mut self) -> Result<usize, Invalid> {
        let raw = self.raw;
        // Each key may hold all rules; more are not compared with each other, which takes the square of their number.
        let named = raw.sections().filter(|section| section.rule.is_some()).count();
        if named > MAX_RULES.saturating_mul(2) {
            return Err(self.refuse(Reason::TooManyRules));
        }
        let count = raw.sections().filter(|section| self.is_in_force(section)).count();
        if count > MAX_RULES {
            return Err(self.refuse(Reason::TooManyRules));
        }
        (0..HEADER.saturating_add(count.saturating_mul(rule::SIZE))).for_each(|_| self.out.push(0));
        self.out.set(header::MAGIC, MAGIC);
        self.out.set_u32(header::RULES, small(count));
        self.out.set(header::ENABLED, 1);

        let mut enabled_by = None;
        let mut at = HEADER;
        for section in raw.sections() {
            if section.rule.is_none() {
                self.root(section, &mut enabled_by);
            } else if self.is_in_force(&section) {
                self.rule(section, at);
                at = at.saturating_add(rule::SIZE);
            }
        }
        let end = self.out.at();
        let needed = end.saturating_add(index::bound(self.counts));
        if needed > MAX_UNITS {
            return Err(self.refuse(Reason::TooLarge));
        }
        if self.errors > 0 {
            return Err(Invalid { errors: self.errors });
        }
        let block = self.out.block();
        if needed <= block.len() {
            sort_rules(block, count, self.upcase);
            index::build(block, end, count, self.counts);
        }
        Ok(needed)
    }

    /// Reports what is wrong with the policy as a whole.
    fn refuse(&mut self, reason: Reason) -> Invalid {
        self.problem(Problem::whole(Key::Policies, None, reason));
        Invalid { errors: self.errors }
    }

    /// Whether a section is a rule that no rule of the same name hides: one of an earlier key, or one before it. A key
    /// without values is no rule: Group Policy leaves such keys behind when a setting is no longer configured.
    fn is_in_force(&self, section: &RawSection<'_>) -> bool {
        let Some(name) = section.rule.filter(|name| !section.key.is_foreign_rule(name)) else { return false };
        if section.is_empty() {
            return false;
        }
        let winner = self
            .raw
            .sections()
            .filter(|other| {
                !other.is_empty()
                    && other.rule.is_some_and(|other| compare(self.upcase, other, name) == Ordering::Equal)
            })
            .min_by_key(|other| other.key);
        winner.is_some_and(|winner| core::ptr::eq(winner.rule.unwrap_or_default(), name))
    }

    fn root(&mut self, section: RawSection<'r>, enabled_by: &mut Option<Key>) {
        for value in section.values() {
            match Value::find(value.name, true) {
                Some(which @ Value::Enabled) => {
                    let enabled = self.number(section, value, which);
                    if enabled_by.is_none_or(|by| section.key < by) {
                        *enabled_by = Some(section.key);
                        self.out.set(header::ENABLED, u16::from(enabled != 0));
                    }
                }
                Some(which) => {
                    if self.dword(section, value, which).is_some_and(|version| version != SCHEMA_VERSION) {
                        self.value_problem(section, value, Some(which), Reason::UnknownVersion);
                    }
                }
                None if section.key.is_foreign_value(value.name) => {}
                None => self.value_problem(section, value, None, Reason::UnknownValue),
            }
        }
    }

    /// Writes the record of one rule at `at`, its name and patterns at the end.
    fn rule(&mut self, section: RawSection<'r>, at: usize) {
        let field = |offset: usize| at.saturating_add(offset);
        let name = section.rule.unwrap_or_default();
        self.out.set_u32(field(rule::NAME), small(self.out.at()));
        self.out.set_u32(field(rule::NAME_LENGTH), small(name.len()));
        self.out.extend(name);
        self.out.set(field(rule::KEY), section.key as u16);
        for row in Value::ALL {
            if let (Kind::Number { default, .. }, Some(offset)) = (row.kind, rule::number(row.value)) {
                self.out.set_u32(field(offset), default);
            }
        }
        let (mut paths, mut programs, mut scope, mut children) = (0, 0, 0, None);
        for value in section.values() {
            let Some(which) = Value::find(value.name, false) else {
                self.value_problem(section, value, None, Reason::UnknownValue);
                continue;
            };
            match which.schema().kind {
                Kind::Patterns => {
                    let start = self.out.at();
                    let count = self.patterns(section, value, which);
                    match which {
                        Value::Paths => paths = count,
                        Value::Processes => programs = count,
                        _ => {}
                    }
                    if let Some(offset) = rule::list(which) {
                        self.out.set_u32(field(offset), small(start));
                        self.out.set_u32(field(offset).saturating_add(2), count);
                    }
                }
                Kind::Word(words) => {
                    let index = self.word(section, value, which, words);
                    if which == Value::Scope {
                        scope = index;
                    }
                    if let Some(offset) = rule::word(which) {
                        self.out.set(field(offset), index);
                    }
                }
                Kind::Number { .. } => {
                    let number = self.number(section, value, which);
                    if which == Value::IncludeChildren && number != 0 {
                        children = Some(value);
                    }
                    if let Some(offset) = rule::number(which) {
                        self.out.set_u32(field(offset), number);
                    }
                }
            }
        }
        if let Some(value) = children {
            let which = Value::IncludeChildren;
            let ignored = if Scope::from_index(scope) != Scope::Process {
                Some(Reason::ChildrenOfHandles)
            } else {
                (programs == 0).then_some(Reason::ChildrenOfAll)
            };
            if let (Some(reason), Some(offset)) = (ignored, rule::number(which)) {
                self.out.set_u32(field(offset), 0);
                self.value_problem(section, value, Some(which), reason);
            }
        }
        if paths == 0 {
            self.problem(Problem::whole(section.key, section.rule, Reason::MissingPaths));
        }
    }

    /// Compiles a list to the end of the block; returns how many patterns it holds, inactive ones included.
    fn patterns(&mut self, section: RawSection<'r>, value: RawValue<'r>, which: Value) -> u32 {
        if !self.is_of_kind(section, value, which, kind::MULTI_SZ) {
            return 0;
        }
        let programs = matches!(which, Value::Processes | Value::ExcludeProcesses);
        let mut rest = Some(value.units);
        let mut element = 0u32;
        while let Some(units) = rest {
            let (text, after) = split_once(units, 0);
            if text.is_empty() {
                if after.is_some_and(|after| after.iter().any(|&unit| unit != 0)) {
                    let element = element.saturating_add(1);
                    let fault = Fault::whole(Reason::TextAfterEnd);
                    self.element_problem(section, value, which, element, &[], fault);
                }
                break;
            }
            element = element.saturating_add(1);
            self.pattern(section, value, which, element, text, programs);
            rest = after;
        }
        element
    }

    fn pattern(
        &mut self,
        section: RawSection<'r>,
        value: RawValue<'r>,
        which: Value,
        element: u32,
        text: &'r [u16],
        programs: bool,
    ) {
        let start = self.out.at();
        self.out.push(0);
        self.out.push(0);
        let body = self.out.at();
        let result =
            pattern::compile(text, programs, self.upcase, self.volumes, &mut self.last, &mut self.out);
        match result {
            Ok(parsed) => {
                if parsed.flags & flag::INACTIVE != 0 {
                    self.out.truncate(body);
                }
                self.out.set(start, parsed.flags);
                let length = self.out.at().saturating_sub(body);
                self.out.set(start.saturating_add(1), u16::try_from(length).unwrap_or(u16::MAX));
                if !programs {
                    let counts = &mut self.counts;
                    counts.patterns = counts.patterns.saturating_add(1);
                    counts.components = counts.components.saturating_add(parsed.components);
                    counts.wild = counts.wild.saturating_add(parsed.wild);
                    counts.units = counts.units.saturating_add(length);
                }
                if let Some(warning) = parsed.warning {
                    self.element_problem(section, value, which, element, text, warning);
                }
            }
            Err(fault) => self.element_problem(section, value, which, element, text, fault),
        }
    }

    fn word(&mut self, section: RawSection<'r>, value: RawValue<'r>, which: Value, words: &[&str]) -> u16 {
        if !self.is_of_kind(section, value, which, kind::SZ) {
            return 0;
        }
        let (text, after) = split_once(value.units, 0);
        let at_end = after.is_none_or(|after| after.iter().all(|&unit| unit == 0));
        let found = words.iter().position(|word| is_ascii_word(text, word)).filter(|_| at_end);
        if found.is_none() {
            self.element_problem(section, value, which, 0, text, Fault::whole(Reason::UnknownWord));
        }
        found.and_then(|index| u16::try_from(index).ok()).unwrap_or(0)
    }

    /// A number within the bounds of its row; 0 with an error otherwise.
    fn number(&mut self, section: RawSection<'r>, value: RawValue<'r>, which: Value) -> u32 {
        let Some(number) = self.dword(section, value, which) else { return 0 };
        match which.schema().kind {
            Kind::Number { max, .. } if number > max => {
                self.value_problem(section, value, Some(which), Reason::NumberTooLarge);
                0
            }
            _ => number,
        }
    }

    fn dword(&mut self, section: RawSection<'r>, value: RawValue<'r>, which: Value) -> Option<u32> {
        if !self.is_of_kind(section, value, which, kind::DWORD) {
            return None;
        }
        if value.bytes != 4 {
            self.value_problem(section, value, Some(which), Reason::DataLength);
            return None;
        }
        Some(Reader(value.units).u32(0))
    }

    fn is_of_kind(
        &mut self,
        section: RawSection<'r>,
        value: RawValue<'r>,
        which: Value,
        wanted: u32,
    ) -> bool {
        let reason = if value.kind != wanted {
            Reason::WrongType(value.kind)
        } else if value.bytes & 1 != 0 {
            Reason::DataLength
        } else {
            return true;
        };
        self.value_problem(section, value, Some(which), reason);
        false
    }

    fn value_problem(
        &mut self,
        section: RawSection<'r>,
        value: RawValue<'r>,
        schema: Option<Value>,
        reason: Reason,
    ) {
        let whole = Problem::whole(section.key, section.rule, reason);
        self.problem(Problem { value: value.name, schema, ..whole });
    }

    fn element_problem(
        &mut self,
        section: RawSection<'r>,
        value: RawValue<'r>,
        which: Value,
        element: u32,
        text: &[u16],
        fault: Fault,
    ) {
        let position = fault.at.map_or(0, |at| small(at.saturating_add(1)));
        let whole = Problem::whole(section.key, section.rule, fault.reason);
        self.problem(Problem { value: value.name, schema: Some(which), element, text, position, ..whole });
    }

    fn problem(&mut self, problem: Problem<'_>) {
        if problem.is_error() {
            self.errors = self.errors.saturating_add(1);
        }
        (self.report)(&problem);
    }
}

/// Sorts the rule records by order, then by name.
fn sort_rules<U: Upcase + ?Sized>(block: &mut [u16], count: usize, upcase: &U) {
    let precedes = |block: &[u16], left: usize, right: usize| {
        let (left, right) = (rule::Record::new(block, left), rule::Record::new(block, right));
        left.order().cmp(&right.order()).then_with(|| compare(upcase, left.name(), right.name()))
            == Ordering::Less
    };
    for last in 1..count {
        let mut index = last;
        while index > 0 && precedes(block, index, index.saturating_sub(1)) {
            let start = HEADER.saturating_add(index.saturating_sub(1).saturating_mul(rule::SIZE));
            let pair = block.get_mut(start..).unwrap_or_default();
            let (left, right) = pair.split_at_mut_checked(rule::SIZE).unwrap_or_default();
            left.iter_mut().zip(right).for_each(|(left, right)| core::mem::swap(left, right));
            index = index.saturating_sub(1);
        }
    }
}
